// SPDX-License-Identifier: Apache-2.0
// A websocket server that sends back every message as it came, text as text and binary as binary:
// the host library alone, for conformance suites that are written against an echo. On a free port;
// its log says which (`listening`). Ends with SIGTERM.
//
//   websocket_echo [ADDRESS [LARGEST-MESSAGE]]
#include <signal.h>
#include <stdio.h>

#include "broker/host/internal.h"

// A message that waits for the socket: the frame's headroom, then its bytes.
struct waiting {
  struct bx_list link;
  unsigned opcode;
  size_t len;
  char frame[];
};

struct echo {
  struct bx_list waiting;
};

static void send_waiting(struct bk_websocket *w) {
  struct echo *e = bk_websocket_user(w);
  struct bk_connection *c = bk_connection_of_websocket(w);
  while (!bx_list_empty(&e->waiting) && bk_websocket_ready(w)) {
    struct waiting *first = bx_container_of(e->waiting.next, struct waiting, link);
    bx_list_remove(&first->link);
    bool sent = bk_websocket_frame(c, first->frame + BK_WEBSOCKET_HEADROOM, first->len, first->opcode);
    bx_free(first);
    if (!sent) return;
  }
  if (!bx_list_empty(&e->waiting)) bk_websocket_want_writable(w);
}

static void on_message(struct bk_websocket *w, struct bx_slice message) {
  struct echo *e = bk_websocket_user(w);
  struct waiting *m = bx_alloc(sizeof *m + BK_WEBSOCKET_HEADROOM + message.len + 1);
  m->opcode = w->binary ? BK_FRAME_BINARY : BK_FRAME_TEXT;
  m->len = message.len;
  if (message.len) memcpy(m->frame + BK_WEBSOCKET_HEADROOM, message.at, message.len);
  bx_list_append(&e->waiting, &m->link);
  send_waiting(w);
}

static void on_closed(struct bk_websocket *w, bool echoed) {
  struct echo *e = bk_websocket_user(w);
  (void)echoed;
  while (!bx_list_empty(&e->waiting)) {
    struct waiting *first = bx_container_of(e->waiting.next, struct waiting, link);
    bx_list_remove(&first->link);
    bx_free(first);
  }
  bx_free(e);
}

static const struct bk_websocket_ops ops = {
    .message = on_message, .writable = send_waiting, .closed = on_closed, .max_message = 64 * 1024 * 1024};

static const struct bk_websocket_ops *on_upgrade(void *context, struct bk_exchange *x, void **user) {
  (void)context;
  (void)x;
  struct echo *e = bx_alloc(sizeof *e);
  bx_list_init(&e->waiting);
  *user = e;
  return &ops;
}

static void on_get(void *context, struct bk_exchange *x) {
  (void)context;
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .content_type = "text/plain", .body = BX_LIT("echo\n")});
}

static bool any_path(void *context, struct bx_slice path) {
  (void)context;
  (void)path;
  return true;
}

static void on_signal(void *context, int signo) {
  (void)signo;
  bk_loop_stop(context);
}

int main(void) {
  static const struct bk_route routes[] = {
      {.methods = BK_GET, .match = any_path, .handle = on_get, .upgrade = on_upgrade},
      {0},
  };
  char error[256];
  bk_log_configure(BK_INFO, true);
  struct bk_loop *loop = bk_loop_create();
  struct bk_listener *listener = bk_listener_open(
      loop,
      &(struct bk_listener_options){
          .name = "echo", .address = "127.0.0.1:0", .routes = routes, .max_body = 65536, .header_time = 60000},
      error, sizeof error);
  if (!listener) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  bk_loop_on_signal(loop, SIGTERM, on_signal, loop);
  bk_loop_run(loop);
  bk_loop_destroy(loop);
  return 0;
}
