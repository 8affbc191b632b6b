// SPDX-License-Identifier: Apache-2.0
// libwebsockets 4.1.6, translated. The only callback; each case is one call. What libwebsockets
// does not do well is not asked of it: it gets accepted sockets, parses requests and frames, and
// writes; listening, time, answers and closing are ours.
#include <libwebsockets.h>
#include <unistd.h>

#include "broker/host/internal.h"

_Static_assert(BK_WEBSOCKET_HEADROOM >= LWS_PRE, "a frame's header must fit in front of a message");

// The name of the one protocol, see accept_without_subprotocol(). Mostly empty.
static char protocol_name[64];

static struct bk_connection *connection_of(struct lws *wsi) {
  struct bk_connection *c = lws_get_opaque_user_data(wsi);
  BX_BUG_ON(c && c->magic != BK_CONNECTION_MAGIC);
  return c;
}

// libwebsockets refuses a client that offers only subprotocols it does not know. So our protocol is
// called what the client offers first while libwebsockets looks for it, and nothing while it answers,
// so that the answer names none. False: not a name it could find.
static bool accept_without_subprotocol(struct lws *wsi) {
  char offered[128] = "";
  if (lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) <= 0) return true;
  if (lws_hdr_copy(wsi, offered, sizeof offered, WSI_TOKEN_PROTOCOL) <= 0) return false;
  const char *name = offered + strspn(offered, " \t,");
  size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
  if (len == 0 || len >= sizeof protocol_name || (name[len] && !strchr(", \t", name[len]))) return false;
  memcpy(protocol_name, name, len);
  protocol_name[len] = '\0';
  return true;
}

static int on_upgrade(struct lws *wsi, struct bk_connection *c) {
  char protocol[16] = "";
  // Absent: libwebsockets has answered an upgrade it does not know by itself and asks nevertheless.
  if (lws_hdr_copy(wsi, protocol, sizeof protocol, WSI_TOKEN_UPGRADE) <= 0) return -1;
  return bk_request_on_upgrade(c, accept_without_subprotocol(wsi) ? protocol : "");
}

static int on_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
  if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {   // a TLS vhost is being made
    bk_tls_configure(lws_vhost_user(in), user);
    return 0;
  }
  struct bk_connection *c = connection_of(wsi);
  if (!c) return 0;
  switch (reason) {
  case LWS_CALLBACK_FILTER_HTTP_CONNECTION: bk_exchange_next(c); return 0;
  case LWS_CALLBACK_HTTP: return bk_request_on_headers(c);
  case LWS_CALLBACK_HTTP_BODY: return bk_request_on_body(c, in, len);
  case LWS_CALLBACK_HTTP_BODY_COMPLETION: return bk_request_on_body_end(c);
  case LWS_CALLBACK_HTTP_WRITEABLE: return bk_connection_on_writable(c);
  case LWS_CALLBACK_HTTP_DROP_PROTOCOL: bk_connection_on_unbind(c); return 0;
  case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return on_upgrade(wsi, c);
  case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: protocol_name[0] = '\0'; return 0;
  case LWS_CALLBACK_ESTABLISHED: bk_websocket_on_open(c); return 0;
  case LWS_CALLBACK_RECEIVE:
    return bk_websocket_on_receive(c, in, len, lws_is_final_fragment(wsi), lws_remaining_packet_payload(wsi));
  case LWS_CALLBACK_RECEIVE_PONG: return bk_websocket_on_pong(c, in, len);
  case LWS_CALLBACK_SERVER_WRITEABLE: return bk_websocket_on_writable(c);
  case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: return bk_websocket_on_peer_close(c, in, len);
  case LWS_CALLBACK_RAW_RX: return bk_connection_on_garbage(c, in, len);
  case LWS_CALLBACK_CLOSED_HTTP:
  case LWS_CALLBACK_RAW_CLOSE:
  case LWS_CALLBACK_CLOSED: bk_connection_on_closed(c); return 0;
  case LWS_CALLBACK_WSI_DESTROY: bk_connection_free(c); return 0;
  default: return 0;
  }
}

static const struct lws_protocols protocols[] = {
    {.name = protocol_name, .callback = on_callback, .rx_buffer_size = 512, .tx_packet_size = 65536},
    {0},
};

static void on_log(int level, const char *line) {
  struct bx_slice text = bx_slice_of(line);
  while (text.len && (text.at[text.len - 1] == '\n' || text.at[text.len - 1] == ' ')) text.len--;
  (void)level;   // what it calls an error is mostly a peer's
  bk_debug("lws", bk_sl("text", text));
}

#define VHOST_OPTIONS                                                                              \
  (LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8 | \
   LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |            \
   LWS_SERVER_OPTION_FALLBACK_TO_APPLY_LISTEN_ACCEPT_CONFIG)

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
      .pt_serv_buf_size = 16384,
      .max_http_header_data = 16384,
      .timeout_secs = 3600,   // the wheel is faster
      .timeout_secs_ah_idle = 3600,
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
                            .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | (c->tls ? LWS_ADOPT_ALLOW_SSL : 0),
                            .fd.sockfd = fd};
  struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&adopt);
  BX_BUG_ON(!wsi && !c->tls);   // only memory and its tables could fail it
  if (!wsi) return false;
  c->wsi = wsi;
  lws_set_opaque_user_data(wsi, c);
  if (c->tls) bk_tls_attach(lws_get_ssl(wsi), c);
  lws_set_wsi_user(wsi, c);   // without it libwebsockets leaves callbacks out
  bk_lws_hold(wsi);
  c->poll = handle_of(loop, fd);
  loop->lws_poll = c->poll->poll_cb;
  return true;
}

struct bk_connection *bk_lws_connection(uv_poll_t *handle) {
  return connection_of(handle->data);
}

bool bk_lws_has_unread(struct bk_loop *loop) { return lws_service_adjust_timeout(loop->lws, 1, 0) == 0; }

void bk_lws_read_on(struct lws *wsi, bool on) { lws_rx_flow_control(wsi, on); }

bool bk_lws_unsent(struct lws *wsi) { return lws_partial_buffered(wsi) != 0; }

bool bk_lws_write(struct lws *wsi, const char *at, size_t len) {
  return lws_write(wsi, (unsigned char *)at, len, LWS_WRITE_HTTP) >= 0;
}

void bk_lws_want_writable(struct lws *wsi) { lws_callback_on_writable(wsi); }

void bk_lws_hold(struct lws *wsi) {
  lws_http_headers_detach(wsi);
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
}

void bk_lws_no_timeout(struct lws *wsi) { lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0); }

bool bk_lws_request_over(struct lws *wsi) {
  if (lws_http_transaction_completed(wsi)) return false;
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
  return true;
}

// -- requests ----------------------------------------------------------------------------------

// libwebsockets keeps headers it knows apart from others, and has no search by name.
static int known_header(const char *name) {
  size_t len = strlen(name);
  for (int token = 0; token < WSI_TOKEN_COUNT; token++) {
    const char *known = (const char *)lws_token_to_string(token);
    if (known && strncmp(known, name, len) == 0 && known[len] == ':' && known[len + 1] == '\0') return token;
  }
  return -1;
}

static int custom_header(struct lws *wsi, const char *name, char *with_colon, size_t size) {
  int len = snprintf(with_colon, size, "%s:", name);
  if (len >= (int)size) return -1;
  return lws_hdr_custom_length(wsi, with_colon, len);
}

size_t bk_lws_header_length(struct lws *wsi, const char *name) {
  char with_colon[128];
  int token = known_header(name);
  int len = token >= 0 ? lws_hdr_total_length(wsi, token) : custom_header(wsi, name, with_colon, sizeof with_colon);
  return len > 0 ? (size_t)len : 0;
}

bool bk_lws_header(struct lws *wsi, const char *name, char *out, size_t size) {
  size_t len = bk_lws_header_length(wsi, name);
  if (len == 0) return false;
  int token = known_header(name);
  char with_colon[128], *whole = bx_alloc(len + 8);
  if (token >= 0)
    lws_hdr_copy(wsi, whole, (int)len + 8, token);
  else
    lws_hdr_custom_copy(wsi, whole, (int)len + 8, with_colon, snprintf(with_colon, sizeof with_colon, "%s:", name));
  snprintf(out, size, "%s", whole);
  bx_free(whole);
  return true;
}

bool bk_lws_http_1_1(struct lws *wsi) {
  char version[16] = "";
  lws_hdr_copy(wsi, version, sizeof version, WSI_TOKEN_HTTP);
  return strcmp(version, "HTTP/1.1") == 0;
}

// An encoded line end in the path ends libwebsockets' request line: what follows became a header.
static bool has_version(struct lws *wsi) {
  char version[16] = "";
  lws_hdr_copy(wsi, version, sizeof version, WSI_TOKEN_HTTP);
  return strcmp(version, "HTTP/1.1") == 0 || strcmp(version, "HTTP/1.0") == 0;
}

enum bk_method bk_lws_request_line(struct lws *wsi, struct bx_slice *path) {
  static const enum bk_method methods[] = {
      [LWSHUMETH_GET] = BK_GET,   [LWSHUMETH_POST] = BK_POST,   [LWSHUMETH_OPTIONS] = BK_OPTIONS,
      [LWSHUMETH_PUT] = BK_PUT,   [LWSHUMETH_PATCH] = BK_PATCH, [LWSHUMETH_DELETE] = BK_DELETE,
      [LWSHUMETH_HEAD] = BK_HEAD,
  };
  char *at;
  int len;
  int method = lws_http_get_uri_and_method(wsi, &at, &len);
  if (method < 0 || method >= (int)(sizeof methods / sizeof *methods) || !has_version(wsi)) return 0;
  *path = (struct bx_slice){at, (size_t)len};
  return methods[method];
}

bool bk_lws_query_part(struct lws *wsi, int n, struct bx_buffer *out) {
  int len = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, n);
  char nothing;
  // Also for one that is not there; copying tells them apart.
  if (len <= 0) return lws_hdr_copy_fragment(wsi, &nothing, 1, WSI_TOKEN_HTTP_URI_ARGS, n) == 0;
  bx_buffer_reserve(out, (size_t)len + 1);
  int copied = lws_hdr_copy_fragment(wsi, out->at + out->len, len + 1, WSI_TOKEN_HTTP_URI_ARGS, n);
  if (copied < 0) return false;
  out->len += (size_t)copied;
  return true;
}

bool bk_lws_websocket_write(struct lws *wsi, char *at, size_t len, unsigned opcode) {
  // 4 is its name for a close frame, which its headers keep back.
  static const unsigned char kinds[] = {[1] = LWS_WRITE_TEXT, [8] = 4, [9] = LWS_WRITE_PING};
  return lws_write(wsi, (unsigned char *)at, len, (enum lws_write_protocol)kinds[opcode]) >= 0;
}
