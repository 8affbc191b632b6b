// SPDX-License-Identifier: Apache-2.0
// libwebsockets 4.1.6, translated. The only callback; each case is one call. Of libwebsockets we take
// what reads and writes sockets, in plain text or TLS, and keeps what a socket did not take (its "raw"
// role). Listening, time, closing and the protocols are ours: see
// docs/decisions/0011-http-and-websocket-frames-are-read-here.md.
#include <libwebsockets.h>
#include <unistd.h>

#include "broker/host/internal.h"

static struct bk_connection *connection_of(struct lws *wsi) {
  struct bk_connection *c = lws_get_opaque_user_data(wsi);
  BX_BUG_ON(c && c->magic != BK_CONNECTION_MAGIC);
  return c;
}

static int on_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
  if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {   // a TLS vhost is being made
    bk_tls_configure(lws_vhost_user(in), user);
    return 0;
  }
  struct bk_connection *c = connection_of(wsi);
  if (!c) return 0;
  switch (reason) {
  case LWS_CALLBACK_RAW_RX: return bk_connection_on_bytes(c, in, len);
  case LWS_CALLBACK_RAW_WRITEABLE: return bk_connection_on_writable(c);
  case LWS_CALLBACK_RAW_SKT_DROP_PROTOCOL: bk_connection_on_unbind(c); return 0;
  case LWS_CALLBACK_RAW_CLOSE: bk_connection_on_closed(c); return 0;
  case LWS_CALLBACK_WSI_DESTROY: bk_connection_free(c); return 0;
  default: return 0;
  }
}

static const struct lws_protocols protocols[] = {
    {.name = "mora", .callback = on_callback, .tx_packet_size = 1024 * 1024},
    {0},
};

static void on_log(int level, const char *line) {
  struct bx_slice text = bx_slice_of(line);
  while (text.len && (text.at[text.len - 1] == '\n' || text.at[text.len - 1] == ' ')) text.len--;
  (void)level;   // what it calls an error is mostly a peer's
  bk_debug("lws", bk_sl("text", text));
}

// We are nobody's TLS client here: without the last it reads the system's certificates for each vhost.
#define VHOST_OPTIONS                                                                                          \
  (LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN | \
   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS)

static const lws_retry_bo_t no_pings = {0};

bool bk_lws_open(struct bk_loop *loop) {
  void *loops[1] = {&loop->uv};
  lws_set_log_level(bk_log_enabled(BK_DEBUG) ? LLL_ERR | LLL_WARN | LLL_NOTICE : 0, on_log);
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN_SERVER,
      .options = VHOST_OPTIONS,
      .foreign_loops = loops,
      .protocols = protocols,
      .retry_and_idle_policy = &no_pings,
      .gid = -1,
      .uid = -1,
      .server_string = "mora",
      .timeout_secs = 3600,   // the wheel is faster
      // More than a TLS record, so that none is left over in OpenSSL: libwebsockets would spin on that
      // while nothing is to be read.
      .pt_serv_buf_size = 17 * 1024,
      .vhost_name = "mora",
      .pcontext = &loop->lws,   // NULL again when it is gone
  };
  loop->max_fds = getdtablesize() - 8;   // as it is now, which is what libwebsockets goes by
  loop->lws = lws_create_context(&info);
  if (!loop->lws) return false;
  loop->vhost = lws_create_vhost(loop->lws, &info);
  return loop->vhost != NULL;
}

bool bk_lws_open_tls(struct bk_loop *loop, struct bk_tls *tls) {
  BX_BUG_ON(loop->tls && loop->tls != tls);
  if (loop->tls) return true;
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN_SERVER,
      .options = VHOST_OPTIONS | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX,
      .protocols = protocols,
      .retry_and_idle_policy = &no_pings,
      .server_string = "mora",
      .vhost_name = "mora-tls",
      .alpn = "http/1.1",
      .user = tls,
  };
  loop->tls_vhost = lws_create_vhost(loop->lws, &info);
  if (!loop->tls_vhost) return false;
  loop->tls = tls;
  bk_tls_report(tls);
  return true;
}

void bk_lws_close(struct bk_loop *loop) {
  if (loop->lws) lws_context_destroy(loop->lws);
}

// libwebsockets registers the socket with libuv while it adopts it: that handle is ours to park.
static uv_poll_t *handle_of(struct bk_loop *loop, int fd) {
  BX_BUG_ON((unsigned)fd >= loop->uv.nwatchers || !loop->uv.watchers[fd]);
  uv_poll_t *handle = bx_container_of(loop->uv.watchers[fd], uv_poll_t, io_watcher);
  BX_BUG_ON(handle->type != UV_POLL);
  return handle;
}

// What has already come of a TLS handshake is looked at from inside, and may be garbage: until the
// socket is adopted the connection is not libwebsockets' to report on.
bool bk_lws_adopt(struct bk_loop *loop, int fd, struct bk_connection *c) {
  lws_adopt_desc_t adopt = {.vh = c->tls ? loop->tls_vhost : loop->vhost,
                            .type = LWS_ADOPT_SOCKET | (c->tls ? LWS_ADOPT_ALLOW_SSL : 0),
                            .fd.sockfd = fd};
  struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&adopt);
  BX_BUG_ON(!wsi && !c->tls);   // only memory and its tables could fail it
  if (!wsi) return false;
  c->wsi = wsi;
  lws_set_opaque_user_data(wsi, c);
  if (c->tls) bk_tls_attach(lws_get_ssl(wsi), c);
  lws_set_wsi_user(wsi, c);   // without it libwebsockets leaves callbacks out
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
  c->poll = handle_of(loop, fd);
  loop->lws_poll = c->poll->poll_cb;
  return true;
}

struct bk_connection *bk_lws_connection(uv_poll_t *handle) {
  return connection_of(handle->data);
}

bool bk_lws_unsent(struct lws *wsi) { return lws_partial_buffered(wsi) != 0; }

bool bk_lws_write(struct lws *wsi, const char *at, size_t len) {
  return lws_write(wsi, (unsigned char *)at, len, LWS_WRITE_RAW) >= 0;
}

void bk_lws_want_writable(struct lws *wsi) { lws_callback_on_writable(wsi); }

void bk_lws_accept_key(struct bx_slice key, char out[32]) {
  unsigned char hash[20];
  struct bx_buffer text = {0};
  bx_buffer_slice(&text, key);
  bx_buffer_lit(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  lws_SHA1((unsigned char *)text.at, text.len, hash);
  lws_b64_encode_string((char *)hash, sizeof hash, out, 32);
  bx_buffer_fini(&text);
}
