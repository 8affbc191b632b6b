// SPDX-License-Identifier: Apache-2.0
// Websockets: the upgrade, gathering what comes in, writing directly, and the ways of closing.
//
// After a close frame of the peer, or a fault of it, nothing more is read: our close frame goes out,
// then our end of the stream, and the peer has some time to see both.
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "broker/host/internal.h"

#define CLOSE_TIME 2000      // ms for the peer's close frame after ours
#define NO_CODE 1005         // of a close frame without one
#define COMPRESSED 0x40      // the bit in a frame's first byte
#define LONG_MESSAGE 16384   // bytes; of a longer one a second write costs less than a copy

void *bk_websocket_user(const struct bk_websocket *w) { return w->user; }

struct bx_slice bk_websocket_peer(const struct bk_websocket *w) {
  return bx_slice_of(bk_connection_of_websocket(w)->peer);
}

static bool is_open(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_WEBSOCKET && c->ws.opened && !c->ws.closing && bx_list_empty(&c->doomed);
}

void bk_websocket_fetch_ahead(const struct bk_websocket *w) {
  if (w) bx_fetch_ahead(bk_connection_of_websocket(w), offsetof(struct bk_connection, ws.frames));
}

bool bk_websocket_ready(const struct bk_websocket *w) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  return is_open(c) && !bk_wire_unsent(&c->wire);
}

// A frame's header, written in front of its payload. Returns its length.
static size_t put_header(char *payload, size_t len, unsigned opcode) {
  size_t size = len < 126 ? 2 : len < 65536 ? 4 : 10;
  unsigned char *head = (unsigned char *)payload - size;
  head[0] = (unsigned char)(0x80 | opcode);
  head[1] = (unsigned char)(len < 126 ? len : len < 65536 ? 126 : 127);
  for (size_t i = 2; i < size; i++) head[i] = (unsigned char)((uint64_t)len >> (8 * (size - 1 - i)));
  return size;
}

// Frames as they go over the wire.
static bool put_bytes(struct bk_connection *c, const char *at, size_t len) {
  if (!bk_wire_write(&c->wire, at, len)) {
    bk_connection_doom(c);
    return false;
  }
  if (bk_wire_unsent(&c->wire)) {
    bk_host_counters.websocket_partials++;
    bk_connection_settle(c);
  }
  return true;
}

bool bk_websocket_frame(struct bk_connection *c, char *at, size_t len, unsigned opcode) {
  size_t head = put_header(at, len, opcode);
  return put_bytes(c, at - head, head + len);
}

// Puts the header in front of a message, which is compressed where that was agreed on and is worth it.
static struct bx_slice frame_message(struct bk_websocket *w, char *at, size_t len) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  unsigned opcode = BK_FRAME_TEXT;
  if (w->deflate) {
    struct bx_slice small = bk_deflate_message(c->loop->deflate, (struct bx_slice){at, len}, BK_WEBSOCKET_HEADROOM);
    if (small.len > 0) {
      bk_host_counters.websocket_deflated++;
      opcode |= COMPRESSED;
      at = (char *)small.at;
      len = small.len;
    }
  }
  size_t head = put_header(at, len, opcode);
  return (struct bx_slice){at - head, head + len};
}

bool bk_websocket_write(struct bk_websocket *w, char *at, size_t len) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c)) return false;
  struct bx_slice frame = frame_message(w, at, len);
  return put_bytes(c, frame.at, frame.len);
}

// The message's bytes may be everybody's: it is copied, so that the ping can stand behind it.
bool bk_websocket_write_and_ping(struct bk_websocket *w, char *at, size_t len, struct bx_slice payload) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  struct bx_buffer *out = &c->loop->scratch;
  BX_BUG_ON(payload.len == 0 || payload.len > 125);
  if (len > LONG_MESSAGE) {
    bool good = bk_websocket_write(w, at, len);
    if (good) bk_websocket_ping(w, payload);
    return good;
  }
  if (!is_open(c)) return false;
  bx_buffer_clear(out);
  bx_buffer_slice(out, frame_message(w, at, len));
  bx_buffer_char(out, (char)(0x80 | BK_FRAME_PING));
  bx_buffer_char(out, (char)payload.len);
  bx_buffer_slice(out, payload);
  return put_bytes(c, out->at, out->len);
}

void bk_websocket_want_writable(struct bk_websocket *w) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c)) return;
  w->want = true;
  bk_connection_settle(c);
}

void bk_websocket_pause(struct bk_websocket *w, bool paused) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c) || w->paused == paused) return;
  w->paused = paused;
  if (paused) bk_host_counters.websocket_pauses++;
  bk_connection_settle(c);
}

bool bk_websocket_is_paused(const struct bk_websocket *w) { return w->paused; }

static void write_control(struct bk_connection *c, unsigned opcode, struct bx_slice payload) {
  char frame[BK_WEBSOCKET_HEADROOM + 125];
  if (payload.len) memcpy(frame + BK_WEBSOCKET_HEADROOM, payload.at, payload.len);
  bk_websocket_frame(c, frame + BK_WEBSOCKET_HEADROOM, payload.len, opcode);
}

void bk_websocket_ping(struct bk_websocket *w, struct bx_slice payload) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  BX_BUG_ON(payload.len > 125);
  if (!is_open(c)) return;
  w->has_ping = bk_wire_unsent(&c->wire);
  bx_buffer_clear(&w->ping);
  if (w->has_ping)
    bx_buffer_slice(&w->ping, payload);
  else
    write_control(c, BK_FRAME_PING, payload);
}

// Of several pings that wait for an answer the last one has it.
static void pong(struct bk_connection *c, struct bx_slice payload) {
  struct bk_websocket *w = &c->ws;
  w->has_pong = bk_wire_unsent(&c->wire);
  bx_buffer_clear(&w->pong);
  if (w->has_pong)
    bx_buffer_slice(&w->pong, payload);
  else
    write_control(c, BK_FRAME_PONG, payload);
}

// -- closing -----------------------------------------------------------------------------------

static void send_close(struct bk_connection *c) {
  char payload[125] = {(char)(c->ws.close_code >> 8), (char)c->ws.close_code};
  size_t len = c->ws.close_reason ? strlen(c->ws.close_reason) : 0, code = c->ws.close_code == NO_CODE ? 0 : 2;
  if (len > sizeof payload - 2) len = sizeof payload - 2;
  if (len) memcpy(payload + 2, c->ws.close_reason, len);
  c->ws.close_sent = true;
  write_control(c, BK_FRAME_CLOSE, (struct bx_slice){payload, code + len});
  if (c->ws.final && bx_list_empty(&c->doomed) && !bk_wire_unsent(&c->wire)) bk_connection_linger(c);
}

static void begin_close(struct bk_connection *c, unsigned code, const char *reason) {
  struct bk_websocket *w = &c->ws;
  w->closing = true;
  w->close_code = (uint16_t)code;
  if (reason && *reason) w->close_reason = bk_copy_text(reason);
  bk_connection_timer(c, CLOSE_TIME);
  if (!bk_wire_unsent(&c->wire)) send_close(c);   // else when the socket takes bytes again
}

void bk_websocket_close(struct bk_websocket *w, unsigned code, const char *reason) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (!is_open(c)) return;
  begin_close(c, code, reason);
  if (w->paused) bk_connection_settle(c);   // its answer is read
}

static void forget_gathered(struct bk_connection *c) {
  bx_buffer_fini(&c->ws.gathered);
  bk_connection_gathered(c);
}

// The last word: what the peer sends from now on is not read.
static void end(struct bk_connection *c, unsigned code, const char *reason) {
  c->ws.final = true;
  forget_gathered(c);
  if (!c->ws.closing)
    begin_close(c, code, reason);
  else if (c->ws.close_sent)
    c->failed = true;
}

void bk_websocket_abort(struct bk_websocket *w) {
  struct bk_connection *c = bk_connection_of_websocket(w);
  if (c->state != BK_CONNECTION_WEBSOCKET && c->state != BK_CONNECTION_LINGERING) return;
  bk_wire_reset(&c->wire);
  w->closing = true;
  bk_connection_doom(c);
}

// -- the upgrade -------------------------------------------------------------------------------

static void refuse_version(struct bk_exchange *x) {
  static const struct bk_header headers[] = {{"upgrade", {"websocket", 9}}, {"sec-websocket-version", {"13", 2}}};
  bk_host_counters.bad_requests++;
  bk_exchange_respond(x, &(struct bk_response){.status = 426,
                                               .content_type = "application/json",
                                               .headers = headers,
                                               .header_count = 2,
                                               .body = BX_LIT("{\"error\":\"Websocket version 13 is supported\"}")});
}

// 16 bytes in base64.
static bool read_key(struct bk_exchange *x, struct bx_buffer *key) {
  static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (!bk_head_get(x->fields, "sec-websocket-key", key) || key->len != 24) return false;
  for (size_t i = 0; i < 22; i++)
    if (!key->at[i] || !strchr(base64, key->at[i])) return false;
  return memcmp(key->at + 22, "==", 2) == 0;
}

static bool version_is_13(struct bk_exchange *x) {
  struct bx_buffer version = {0};
  bool is = bk_head_get(x->fields, "sec-websocket-version", &version) &&
            bx_slice_equal(bx_buffer_view(&version), BX_LIT("13"));
  bx_buffer_fini(&version);
  return is;
}

static bool agree_on_deflate(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  struct bx_buffer offers = {0};
  if (!c->listener->deflate) return false;
  bool agreed =
      bk_head_get(x->fields, "sec-websocket-extensions", &offers) && bk_deflate_offered(bx_buffer_view(&offers));
  bx_buffer_fini(&offers);
  if (agreed && !c->loop->deflate) c->loop->deflate = bk_deflate_create();
  return agreed;
}

// The answer to a Sec-WebSocket-Key, terminated.
static void accept_key(struct bx_slice key, char out[32]) {
  unsigned char hash[20];
  struct bx_buffer text = {0};
  bx_buffer_slice(&text, key);
  bx_buffer_lit(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  SHA1((unsigned char *)text.at, text.len, hash);
  EVP_EncodeBlock((unsigned char *)out, hash, sizeof hash);
  bx_buffer_fini(&text);
}

static void open_websocket(struct bk_exchange *x, struct bx_slice key) {
  struct bk_connection *c = x->connection;
  char accept[32];
  accept_key(key, accept);
  c->ws.deflate = c->ws.frames.may_compress = agree_on_deflate(x);
  struct bx_buffer *out = &c->loop->scratch;
  bx_buffer_clear(out);
  bx_buffer_printf(out,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n%s\r\n",
                   accept, c->ws.deflate ? "Sec-WebSocket-Extensions: " BK_DEFLATE_AGREED "\r\n" : "");
  c->state = BK_CONNECTION_WEBSOCKET;
  bk_exchange_finish(x, BK_ARRIVAL_NONE);
  if (!bk_wire_write(&c->wire, out->at, out->len)) {
    c->failed = true;
    return;
  }
  c->ws.opened = true;
  bk_host_counters.websockets++;
  bk_host_counters.websocket_upgrades++;
  if (c->ws.ops->open) c->ws.ops->open(&c->ws, c->ws.user);
}

static void ask_route(struct bk_exchange *x, struct bx_slice key) {
  struct bk_connection *c = x->connection;
  x->in_handler = true;
  c->ws.ops = x->route->upgrade(x->route->context, x, &c->ws.user);
  x->in_handler = false;
  BX_BUG_ON(!c->ws.ops != x->answered);   // either a websocket or an answer
  if (c->ws.ops) open_websocket(x, key);
}

void bk_websocket_upgrade(struct bk_exchange *x) {
  struct bx_buffer key = {0};
  int status;
  x->close_after = true;
  x->route = bk_router_find_upgrade(x->connection->listener->routes, bk_exchange_path(x), x->parameters, &status);
  if (!x->route)
    bk_request_refuse(x, status, status == 404 ? "Not found" : "No websockets here", "route");
  else if (!bk_head_has(x->fields, "upgrade", "websocket") || x->method != BK_GET || !x->chunked_answer ||
           x->framing != BK_BODY_NONE)
    bk_request_refuse(x, 400, "Only websockets are upgraded to", "upgrade");
  else if (!version_is_13(x))
    refuse_version(x);
  else if (!bk_head_has(x->fields, "connection", "upgrade") || !read_key(x, &key))
    bk_request_refuse(x, 400, "Bad websocket request", "upgrade");
  else
    ask_route(x, bx_buffer_view(&key));
  bx_buffer_fini(&key);
}

// -- what comes in -----------------------------------------------------------------------------

static void fail(struct bk_connection *c, unsigned code, const char *reason) {
  if (code == 1009)
    bk_host_counters.websocket_too_large++;
  else
    bk_host_counters.websocket_bad_frames++;
  bk_debug("websocket_failed", bk_s("peer", c->peer), bk_u("code", code), bk_s("reason", reason));
  end(c, code, reason);
}

// A peer answers our close frame with the code it carries; a frame with another code crossed ours on
// the way and says nothing about what it has read.
static void on_close(struct bk_connection *c, struct bx_slice payload) {
  struct bk_websocket *w = &c->ws;
  unsigned fault, code = bk_close_code(payload, &fault);
  if (w->close_sent) {
    w->echoed = !fault && code == w->close_code;
    c->failed = true;
  } else if (fault) {
    fail(c, fault, "Bad close frame");
  } else {
    end(c, code, NULL);
  }
}

// Each fragment costs as much as a message: a thousand of any size, then they have to be of some.
#define FRAGMENTS 1024
#define FRAGMENT_SIZE 32   // bytes, on the average

static bool is_in_crumbs(struct bk_websocket *w, const struct bk_frame_piece *p) {
  w->fragments = p->message_over ? 0 : w->fragments + p->frame_over;
  return w->fragments > FRAGMENTS + w->gathered.len / FRAGMENT_SIZE;
}

// A thousand control frames at once, and one more every 10 ms.
#define CONTROLS 1000
#define CONTROL_EVERY 10

static bool is_flood(struct bk_connection *c) {
  struct bk_websocket *w = &c->ws;
  bx_millis forgotten = (bk_loop_now(c->loop) - w->controls_at) / CONTROL_EVERY;
  w->controls_at += forgotten * CONTROL_EVERY;
  w->controls = w->controls > forgotten ? w->controls - (unsigned)forgotten : 0;
  return ++w->controls > CONTROLS;
}

static void refuse_flood(struct bk_connection *c, const char *reason) {
  bk_host_counters.websocket_floods++;
  end(c, 1008, reason);
}

static void on_control(struct bk_connection *c, const struct bk_frame_piece *p) {
  struct bk_websocket *w = &c->ws;
  if (p->first && p->opcode != BK_FRAME_CLOSE && is_flood(c)) {
    refuse_flood(c, "Too many control frames");
    return;
  }
  struct bx_slice payload = {p->at, p->len};
  if (!p->first || !p->frame_over) {
    bx_buffer_add(&w->control, p->at, p->len);
    if (!p->frame_over) return;
    payload = bx_buffer_view(&w->control);
  }
  if (p->opcode == BK_FRAME_CLOSE)
    on_close(c, payload);
  else if (is_open(c) && p->opcode == BK_FRAME_PING)
    pong(c, payload);
  else if (is_open(c) && w->ops->pong)
    w->ops->pong(w, payload);
  bx_buffer_fini(&w->control);
}

// A whole message, which came compressed.
static void inflate_message(struct bk_connection *c, struct bx_slice small, bool is_text) {
  struct bk_websocket *w = &c->ws;
  struct bx_buffer message = {0};
  struct bk_utf8 utf8 = {0};
  enum bk_inflated result = bk_inflate_message(c->loop->deflate, small, w->ops->max_message, &message);
  if (result == BK_INFLATED_TOO_LARGE) {
    bk_host_counters.websocket_bombs++;
    fail(c, 1009, "Message too large");
  } else if (result == BK_INFLATED_BROKEN) {
    fail(c, 1007, "Not compressed as agreed");
  } else if (is_text && (!bk_utf8_feed(&utf8, message.at, message.len) || !bk_utf8_over(&utf8))) {
    fail(c, 1007, "Not UTF-8");
  } else {
    bk_host_counters.websocket_inflated++;
    w->ops->message(w, bx_buffer_view(&message));
  }
  bx_buffer_fini(&message);
}

static void on_data(struct bk_connection *c, const struct bk_frame_piece *p) {
  struct bk_websocket *w = &c->ws;
  size_t max = w->ops->max_message;
  if (!is_open(c)) return;
  if (p->left > max || w->gathered.len + p->len > max - p->left) {
    fail(c, 1009, "Message too large");
    return;
  }
  if (p->opcode == BK_FRAME_TEXT && !p->compressed &&
      (!bk_utf8_feed(&w->utf8, p->at, p->len) || (p->message_over && !bk_utf8_over(&w->utf8)))) {
    fail(c, 1007, "Not UTF-8");
    return;
  }
  if (is_in_crumbs(w, p)) {
    refuse_flood(c, "Too many fragments");
    return;
  }
  w->binary = p->opcode == BK_FRAME_BINARY;
  if (p->message_over && w->gathered.len == 0 && !p->compressed) {
    w->ops->message(w, (struct bx_slice){p->at, p->len});
    return;
  }
  if (!p->message_over && !bk_connection_gather(c, w->gathered.len + p->len)) {
    end(c, 1013, "Too many messages at once");
    return;
  }
  bx_buffer_add(&w->gathered, p->at, p->len);
  if (!p->message_over) return;
  struct bx_buffer message = w->gathered;
  w->gathered = (struct bx_buffer){0};   // nothing is held between messages
  bk_connection_gathered(c);
  if (p->compressed)
    inflate_message(c, bx_buffer_view(&message), p->opcode == BK_FRAME_TEXT);
  else
    w->ops->message(w, bx_buffer_view(&message));
  bx_buffer_fini(&message);
}

static bool listens(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_WEBSOCKET && !c->ws.final && !c->failed && bx_list_empty(&c->doomed);
}

void bk_websocket_take(struct bk_connection *c, char *at, size_t len) {
  struct bk_frame_piece piece;
  struct bx_buffer waited = {0};
  if (c->ws.rest) {
    waited = c->in;
    c->in = (struct bx_buffer){0};
    c->ws.rest = false;
    bx_buffer_add(&waited, at, len);
    at = waited.at;
    len = waited.len;
  }
  while (listens(c) && !bk_websocket_waits(&c->ws)) {
    int result = bk_frames_next(&c->ws.frames, &at, &len, &piece);
    if (result == 0) break;
    if (result != 1)
      fail(c, (unsigned)result, "Bad frame");
    else if (piece.opcode & 8)
      on_control(c, &piece);
    else
      on_data(c, &piece);
  }
  if (len > 0 && listens(c) && bk_websocket_waits(&c->ws)) {
    bx_buffer_add(&c->in, at, len);
    c->ws.rest = true;
  }
  bx_buffer_fini(&waited);
}

// -- the socket takes bytes --------------------------------------------------------------------

static void write_waiting(struct bk_connection *c, bool *waits, struct bx_buffer *payload, unsigned opcode) {
  if (!*waits || bk_wire_unsent(&c->wire) || !is_open(c)) return;
  *waits = false;
  write_control(c, opcode, bx_buffer_view(payload));
  bx_buffer_fini(payload);
}

void bk_websocket_on_writable(struct bk_connection *c) {
  struct bk_websocket *w = &c->ws;
  if (!bx_list_empty(&c->doomed) || bk_wire_unsent(&c->wire)) return;
  if (w->closing) {
    if (!w->close_sent)
      send_close(c);
    else if (w->final)
      bk_connection_linger(c);
    return;
  }
  write_waiting(c, &w->has_pong, &w->pong, BK_FRAME_PONG);
  write_waiting(c, &w->has_ping, &w->ping, BK_FRAME_PING);
  if (w->want && is_open(c) && !bk_wire_unsent(&c->wire)) {
    w->want = false;
    w->ops->writable(w);
  }
}

void bk_websocket_over(struct bk_connection *c) {
  struct bk_websocket *w = &c->ws;
  if (w->opened) bk_host_counters.websockets--;
  bx_buffer_fini(&w->ping);
  bx_buffer_fini(&w->pong);
  bx_buffer_fini(&w->control);
  forget_gathered(c);
  bx_free(w->close_reason);
  w->close_reason = NULL;
  if (w->ops->closed) w->ops->closed(w, w->echoed);
  w->ops = NULL;
}
