// SPDX-License-Identifier: Apache-2.0
// bench_lws: libwebsockets on libuv with nothing around it, driven as its own documentation does not tell:
// an accept loop of ours, written directly, timers off, headers of held requests given back at once.
//
//   bench_lws [--port N]
//
// A text at websocket /sub/NUMBER comes back; a text at /pub/NUMBER goes to all websockets and to all held
// GETs of /poll/NUMBER. A GET says by If-None-Match which message it has; the next one may wait for it
// already. Prints "listening PORT".
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <libwebsockets.h>
#include <uv.h>

#include "bayeux/buffer.h"
#include "tests/bench/reference/listen.h"

enum { CHANNELS = 1000000, KEPT = 256, LONGEST = 512 };

struct channel {
  struct bx_list sockets, polls;   // of struct session
  unsigned long published;
  struct bx_buffer kept[KEPT];   // the last messages, by number
};

// What libwebsockets keeps for each connection; linked while it receives.
struct session {
  struct bx_list link;
  struct lws *wsi;
  struct channel *channel;
  bool publishes;
  struct bx_buffer part;   // of a message that came in pieces
  unsigned long seen;      // of polls: the last message the client has
};

static struct channel *channels[CHANNELS];
static struct lws_vhost *vhost;
static const lws_retry_bo_t no_pings = {0};

static struct channel *channel_of(unsigned number) {
  struct channel **place = &channels[number % CHANNELS];
  if (!*place) {
    *place = bx_alloc(sizeof **place);
    bx_list_init(&(*place)->sockets);
    bx_list_init(&(*place)->polls);
  }
  return *place;
}

// "/sub/12": the kind is `s`. False: not ours.
static bool read_path(const char *path, char *kind, unsigned *number) {
  if (sscanf(path, "/%c%*[a-z]/%u", kind, number) != 2) return false;
  return *kind == 's' || *kind == 'p';
}

static int write_text(struct lws *wsi, const char *at, size_t len) {
  static char out[LWS_PRE + LONGEST];
  if (len > LONGEST) return -1;
  memcpy(out + LWS_PRE, at, len);
  return lws_write(wsi, (unsigned char *)out + LWS_PRE, len, LWS_WRITE_TEXT) < 0 ? -1 : 0;
}

// -- websockets ------------------------------------------------------------------------------------

static int opened(struct lws *wsi, struct session *s) {
  char path[64], kind;
  unsigned number;
  bx_list_init(&s->link);
  s->wsi = wsi;
  if (lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI) <= 0 || !read_path(path, &kind, &number)) return -1;
  s->channel = channel_of(number);
  s->publishes = kind == 'p';
  if (!s->publishes) bx_list_append(&s->channel->sockets, &s->link);
  return 0;
}

static void publish(struct channel *ch, const char *at, size_t len) {
  struct bx_buffer *kept = &ch->kept[++ch->published % KEPT];
  bx_buffer_clear(kept);
  bx_buffer_add(kept, at, len);
  bx_list_each (link, &ch->sockets) write_text(bx_container_of(link, struct session, link)->wsi, at, len);
  bx_list_each (link, &ch->polls) {
    bx_list_remove(link);
    lws_callback_on_writable(bx_container_of(link, struct session, link)->wsi);
  }
}

static int take(struct lws *wsi, struct session *s, const char *at, size_t len) {
  if (!s->publishes) return write_text(wsi, at, len);
  publish(s->channel, at, len);
  return 0;
}

static int received(struct lws *wsi, struct session *s, const char *at, size_t len) {
  bool whole = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
  if (whole && s->part.len == 0) return take(wsi, s, at, len);
  bx_buffer_add(&s->part, at, len);
  if (!whole) return 0;
  int result = take(wsi, s, s->part.at, s->part.len);
  bx_buffer_fini(&s->part);
  return result;
}

// -- held GETs -------------------------------------------------------------------------------------

static int parked(struct lws *wsi, struct session *s, const char *path) {
  char kind, etag[32] = "";
  unsigned number;
  bx_list_init(&s->link);
  s->wsi = wsi;
  if (!read_path(path, &kind, &number) || kind != 'p') return -1;
  s->channel = channel_of(number);
  s->seen = s->channel->published;
  if (lws_hdr_copy(wsi, etag, sizeof etag, WSI_TOKEN_HTTP_IF_NONE_MATCH) > 0) s->seen = strtoul(etag, NULL, 10);
  lws_http_headers_detach(wsi);
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
  if (s->seen < s->channel->published)
    lws_callback_on_writable(wsi);
  else
    bx_list_append(&s->channel->polls, &s->link);
  return 0;
}

// The head and the message in one write.
static int answer(struct lws *wsi, struct session *s) {
  static char out[LWS_PRE + 2 * LONGEST];
  if (!s || !s->channel || s->seen >= s->channel->published) return 0;
  struct bx_buffer *message = &s->channel->kept[++s->seen % KEPT];
  int head = snprintf(out + LWS_PRE, LONGEST,
                      "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n"
                      "cache-control: no-cache, no-store\r\netag: %lu\r\ncontent-length: %zu\r\n\r\n",
                      s->seen, message->len);
  memcpy(out + LWS_PRE + head, message->at, message->len);
  if (lws_write(wsi, (unsigned char *)out + LWS_PRE, (size_t)head + message->len, LWS_WRITE_HTTP_HEADERS) < 0)
    return -1;
  s->channel = NULL;
  if (lws_http_transaction_completed(wsi)) return -1;
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
  return 0;
}

static int on_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
  struct session *s = user;
  switch (reason) {
  case LWS_CALLBACK_HTTP: return parked(wsi, s, in);
  case LWS_CALLBACK_HTTP_WRITEABLE: return answer(wsi, s);
  case LWS_CALLBACK_ESTABLISHED: return opened(wsi, s);
  case LWS_CALLBACK_RECEIVE: return received(wsi, s, in, len);
  case LWS_CALLBACK_CLOSED:
  case LWS_CALLBACK_CLOSED_HTTP:
    if (!s || !s->link.next) return 0;
    bx_list_remove(&s->link);
    bx_buffer_fini(&s->part);
    return 0;
  default: return 0;
  }
}

static const struct lws_protocols protocols[] = {
    {.name = "bench",
     .callback = on_callback,
     .per_session_data_size = sizeof(struct session),
     .rx_buffer_size = 512,
     .tx_packet_size = 65536},
    {0},
};

// -- life ------------------------------------------------------------------------------------------

static void on_acceptable(uv_poll_t *poll, int status, int events) {
  int listener = *(int *)poll->data, on = 1;
  (void)status;
  (void)events;
  for (int i = 0; i < 64; i++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct lws *wsi = lws_adopt_socket_vhost(vhost, fd);
    if (wsi) lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
  }
}

static void end(int signo) {
  (void)signo;
  _exit(0);
}

int main(int argc, char **argv) {
  static const struct option words[] = {{"port", 1, NULL, 'p'}, {0}};
  unsigned port = 0;
  uv_loop_t loop;
  void *loops[1] = {&loop};
  for (int word; (word = getopt_long(argc, argv, "", words, NULL)) != -1;) {
    if (word != 'p') return 2;
    port = (unsigned)strtoul(optarg, NULL, 10);
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  uv_loop_init(&loop);
  lws_set_log_level(0, NULL);
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN_SERVER,
      .options =
          LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN,
      .foreign_loops = loops,
      .protocols = protocols,
      .retry_and_idle_policy = &no_pings,
      .gid = -1,
      .uid = -1,
      .timeout_secs = 3600,
      .keepalive_timeout = 3600,
  };
  struct lws_context *context = lws_create_context(&info);
  if (!context || !(vhost = lws_create_vhost(context, &info))) return 1;
  signal(SIGTERM, end);   // libwebsockets has taken it
  int listener = listen_on(port, "bench_lws");
  uv_poll_t poll = {.data = &listener};
  uv_poll_init(&loop, &poll, listener);
  uv_poll_start(&poll, UV_READABLE, on_acceptable);
  return uv_run(&loop, UV_RUN_DEFAULT);
}
