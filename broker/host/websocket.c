// SPDX-License-Identifier: Apache-2.0
// Websockets: gathering what comes in, writing directly, and the two ways of closing.
//
// The close handshake is ours: we write the close frame ourselves and know the peer's answer by its
// code. A close that the peer begins is answered by the library.
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "broker/host/internal.h"

#define CLOSE_TIME 2000   // ms for the peer's close frame after ours

enum { OPCODE_TEXT = 1, OPCODE_CLOSE = 8, OPCODE_PING = 9 };

void *bk_websocket_user(const struct bk_websocket *w) { return w->user; }

struct bx_slice bk_websocket_peer(const struct bk_websocket *w) {
  return bx_slice_of(bk_connection_of_websocket(w)->peer);
}

const struct bk_peer *bk_websocket_address(const struct bk_websocket *w) { return &bk_connection_of_websocket(w)->who; }

static bool is_open(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_WEBSOCKET && c->ws.opened && !c->ws.closing && bx_list_empty(&c->doomed);
}

bool bk_websocket_ready(const struct bk_websocket *w) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  return is_open(c) && !bk_lws_unsent(c->wsi);
}

static bool write_frame(struct bk_connection *c, char *at, size_t len, unsigned opcode) {
  if (!bk_lws_websocket_write(c->wsi, at, len, opcode)) {
    bk_connection_doom(c);
    return false;
  }
  if (bk_lws_unsent(c->wsi)) bk_host_counters.websocket_partials++;
  return true;
}

bool bk_websocket_write(struct bk_websocket *w, char *at, size_t len) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c)) return false;
  return write_frame(c, at, len, OPCODE_TEXT);
}

void bk_websocket_want_writable(struct bk_websocket *w) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c)) return;
  w->want = true;
  bk_lws_want_writable(c->wsi);
}

static void write_control(struct bk_connection *c, unsigned opcode, struct bx_slice payload) {
  char frame[BK_WEBSOCKET_HEADROOM + 125];
  memcpy(frame + BK_WEBSOCKET_HEADROOM, payload.at, payload.len);
  write_frame(c, frame + BK_WEBSOCKET_HEADROOM, payload.len, opcode);
}

static void forget_ping(struct bk_websocket *w) {
  bx_free((char *)w->ping.at);
  w->ping = (struct bx_slice){0};
}

void bk_websocket_ping(struct bk_websocket *w, struct bx_slice payload) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  BX_BUG_ON(payload.len > 125);
  if (!is_open(c)) return;
  forget_ping(w);
  if (!bk_lws_unsent(c->wsi)) {
    write_control(c, OPCODE_PING, payload);
    return;
  }
  char *copy = bx_alloc(payload.len + 1);
  memcpy(copy, payload.at, payload.len);
  w->ping = (struct bx_slice){copy, payload.len};
  bk_lws_want_writable(c->wsi);
}

// -- closing -----------------------------------------------------------------------------------

static void send_close(struct bk_connection *c) {
  char payload[125] = {(char)(c->ws.close_code >> 8), (char)c->ws.close_code};
  size_t len = c->ws.close_reason ? strlen(c->ws.close_reason) : 0;
  if (len > sizeof payload - 2) len = sizeof payload - 2;
  if (len) memcpy(payload + 2, c->ws.close_reason, len);
  c->ws.close_sent = true;
  write_control(c, OPCODE_CLOSE, (struct bx_slice){payload, len + 2});
}

void bk_websocket_close(struct bk_websocket *w, unsigned code, const char *reason) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c)) return;
  w->closing = true;
  w->close_code = (uint16_t)code;
  if (reason && *reason) {
    size_t size = strlen(reason) + 1;
    w->close_reason = memcpy(bx_alloc(size), reason, size);
  }
  bk_connection_timer(c, CLOSE_TIME);
  if (bk_lws_unsent(c->wsi))
    bk_lws_want_writable(c->wsi);
  else
    send_close(c);
}

// Dissolving the association is the one way to send a reset before the library's orderly shutdown.
void bk_websocket_abort(struct bk_websocket *w) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (c->state != BK_CONNECTION_WEBSOCKET) return;
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  (void)connect(c->fd, &nobody, sizeof nobody);
  w->closing = true;
  bk_connection_doom(c);
}

// -- from the library --------------------------------------------------------------------------

void bk_websocket_on_open(struct bk_connection *c) {
  c->ws.opened = true;
  bk_host_counters.websockets++;
  bk_host_counters.websocket_upgrades++;
  if (c->ws.ops->open) c->ws.ops->open(&c->ws, c->ws.user);
}

static void refuse_large(struct bk_connection *c) {
  bk_host_counters.websocket_too_large++;
  bx_buffer_fini(&c->ws.gathered);
  bk_websocket_close(&c->ws, 1009, "Message too large");
}

int bk_websocket_on_receive(struct bk_connection *c, const char *at, size_t len, bool final, size_t remaining) {
  struct bk_websocket *w = &c->ws;
  if (!is_open(c)) return 0;
  size_t max = w->ops->max_message;
  if (remaining > max || w->gathered.len + len > max - remaining) {
    refuse_large(c);
    return 0;
  }
  bool complete = final && remaining == 0;
  if (complete && w->gathered.len == 0) {
    w->ops->message(w, (struct bx_slice){at, len});
    return 0;
  }
  bx_buffer_add(&w->gathered, at, len);
  if (!complete) return 0;
  struct bx_buffer message = w->gathered;
  w->gathered = (struct bx_buffer){0};   // nothing is held between messages
  w->ops->message(w, bx_buffer_view(&message));
  bx_buffer_fini(&message);
  return 0;
}

int bk_websocket_on_pong(struct bk_connection *c, const char *at, size_t len) {
  if (is_open(c) && c->ws.ops->pong) c->ws.ops->pong(&c->ws, (struct bx_slice){at, len});
  return 0;
}

int bk_websocket_on_writable(struct bk_connection *c) {
  struct bk_websocket *w = &c->ws;
  if (c->state != BK_CONNECTION_WEBSOCKET || !bx_list_empty(&c->doomed)) return 0;
  if (bk_lws_unsent(c->wsi)) return 0;   // it calls again
  if (w->closing && !w->close_sent) {
    send_close(c);
  } else if (w->ping.at) {
    write_control(c, OPCODE_PING, w->ping);
    forget_ping(w);
    if (w->want) bk_lws_want_writable(c->wsi);
  } else if (w->want && is_open(c)) {
    w->want = false;
    w->ops->writable(w);
  }
  return 0;
}

// Codes that may stand in a close frame: RFC 6455, 7.4, and the registry.
static bool is_close_code(unsigned code) {
  if (code >= 3000) return code < 5000;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

// Nonzero closes without a word; zero lets the library answer with what it got. A peer answers our
// close frame with the code it carries; a frame with another code crossed ours on the way and says
// nothing about what it has read.
int bk_websocket_on_peer_close(struct bk_connection *c, const char *at, size_t len) {
  struct bk_websocket *w = &c->ws;
  unsigned code = len >= 2 ? (unsigned)(unsigned char)at[0] << 8 | (unsigned char)at[1] : 0;
  if (!w->close_sent) {
    if (len == 0 || (len >= 2 && is_close_code(code))) return 0;
    w->close_code = 1002;
    if (!bk_lws_unsent(c->wsi)) send_close(c);
    return 1;
  }
  w->echoed = code == w->close_code;
  return 1;
}

void bk_websocket_over(struct bk_connection *c) {
  struct bk_websocket *w = &c->ws;
  if (w->opened) bk_host_counters.websockets--;
  forget_ping(w);
  bx_buffer_fini(&w->gathered);
  bx_free(w->close_reason);
  w->close_reason = NULL;
  if (w->ops->closed) w->ops->closed(w, w->echoed);
  w->ops = NULL;
}
