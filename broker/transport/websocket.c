// SPDX-License-Identifier: Apache-2.0
// Websockets: frames in, one write per turn out, pings for life and for evidence, closing.
//
// Two kinds of pings, one counter of those that were missed. Every `ping` one that asks whether the
// peer is there. And, soon after something was written, one that carries the position of what was
// written: TCP keeps the order, so the pong says that all of it arrived. That timer is armed by
// writes only: a silent socket costs nothing. Shortly before it fires, the ping goes along with what is
// written then, in the same write: where messages flow, it costs none of its own. One such ping is under
// way at a time: only the newest speaks for the session, and pongs that are slower than the timer would
// all be too old. What was written in the last 2 s may come twice, so the ping goes out that much earlier than
// these are over as pongs take, twice, and not earlier still: with its pong it costs the server more than two
// messages do.
#include "broker/host/log.h"
#include "broker/transport/link.h"

#include <stdio.h>

_Static_assert(BX_FRAME_HEADROOM >= BK_WEBSOCKET_HEADROOM, "a frame has room for a websocket's header");

enum {
  EVIDENCE_MOST =
      1600,   // ms, less twice the pong's way; the rest of 2 s is for one that takes longer than those before
  EVIDENCE_LEAST = 1000,   // ms, however long the way is
  UNKNOWN_WAY = 100,       // ms
  EVIDENCE_EARLY = 300,    // ms before that in which it goes along with a message
  MISSED_PINGS = 2,
  LINGER = 1000,   // ms that a close waits for a peer which does not read
};

struct socket {
  struct bx_timer evidence;
  bx_position asked;   // of the ping that is under way; 0: none
  bx_millis asked_at;
  uint16_t close_code;   // 0: not to be closed
  uint16_t way;          // ms, of a ping there and its pong back: the last one's, or half of what it was before
  bool ask_again;        // the timer fired meanwhile
  bool secure;           // of the upgrade
  _Alignas(BX_LINE) struct bk_link link;   // not in use while it has no websocket
  struct bk_endpoint *endpoint;
  struct bx_timer keep_alive, linger, stranger;
  unsigned unanswered;   // pings since the last pong
  const char *close_reason;
};

_Static_assert(offsetof(struct socket, link) == BK_LINK_FRONT, "what a delivery touches in front of the link");

static struct socket *socket_of(struct bk_link *l) { return bx_container_of(l, struct socket, link); }

static void set_timer(struct socket *s, struct bx_timer *timer, bx_millis delay) {
  struct bk_loop *loop = s->link.transport->loop;
  bx_wheel_set(bk_loop_wheel(loop), timer, bk_loop_now(loop) + delay);
}

// -- out -------------------------------------------------------------------------------------------

// The ping's text for a position, terminated.
static struct bx_slice position_text(bx_position position, char text[24]) {
  return (struct bx_slice){text, (size_t)snprintf(text, 24, "%llu", (unsigned long long)position)};
}

// A ping with a position is under way, or is to go out now. False: nothing is unconfirmed.
static bool ask(struct socket *s) {
  if (s->asked != 0) return true;
  if (!bx_connection_ping_position(&s->link.connection, &s->asked)) return false;
  s->asked_at = bk_loop_now(s->link.transport->loop);
  return true;
}

static bx_millis evidence_time(const struct socket *s) {
  unsigned less = 2u * s->way, most = EVIDENCE_MOST - EVIDENCE_LEAST;
  return EVIDENCE_MOST - (less < most ? less : most);
}

// The position that a ping behind this write carries; 0: no such ping is due yet.
static bx_position evidence_due(struct socket *s) {
  if (!s->evidence.armed) {
    set_timer(s, &s->evidence, evidence_time(s));
    return 0;
  }
  if (s->asked != 0 || bk_loop_now(s->link.transport->loop) + EVIDENCE_EARLY < s->evidence.at) return 0;
  if (!ask(s)) return 0;
  bx_wheel_cancel(bk_loop_wheel(s->link.transport->loop), &s->evidence);
  return s->asked;
}

static bool write_text(struct socket *s, char *at, size_t len) {
  char text[24];
  bx_position position = evidence_due(s);
  if (position == 0) return bk_websocket_write(s->link.websocket, at, len);
  return bk_websocket_write_and_ping(s->link.websocket, at, len, position_text(position, text));
}

// One write of what waits. False: nothing waits, or the socket is broken.
static bool write_some(struct socket *s) {
  struct bx_buffer *out = &s->link.transport->out;
  struct bx_gathered gathered = {0};
  bx_buffer_clear(out);
  bx_buffer_reserve(out, BK_WEBSOCKET_HEADROOM);
  out->len = BK_WEBSOCKET_HEADROOM;
  if (!bx_connection_gather(&s->link.connection, out, &gathered)) return false;
  if (!gathered.frame) return write_text(s, out->at + BK_WEBSOCKET_HEADROOM, out->len - BK_WEBSOCKET_HEADROOM);
  bool good = write_text(s, bx_frame_array(gathered.frame), bx_frame_array_len(gathered.frame));
  bx_frame_unref(gathered.frame);
  return good;
}

static void drain(struct bk_link *l) {
  struct socket *s = socket_of(l);
  struct bk_websocket *w = s->link.websocket;
  if (bk_websocket_is_paused(w) && !bx_connection_is_full(&s->link.connection)) bk_websocket_pause(w, false);
  while (bk_websocket_ready(w)) {
    if (write_some(s)) continue;
    if (s->close_code) bk_websocket_close(w, s->close_code, s->close_reason);
    return;
  }
  bk_websocket_want_writable(w);
}

static void writable(struct bk_websocket *w) {
  struct socket *s = bk_websocket_user(w);
  drain(&s->link);
}

// -- pings -----------------------------------------------------------------------------------------

// Carries a position whenever something is unconfirmed or one is under way: a newer ping may replace one
// that waits. Never empty: an empty pong is not reported.
static void ping(struct socket *s, const char *otherwise) {
  char text[24];
  if (ask(s))
    bk_websocket_ping(s->link.websocket, position_text(s->asked, text));
  else if (otherwise)
    bk_websocket_ping(s->link.websocket, bx_slice_of(otherwise));
}

static void ask_for_evidence(struct bx_timer *timer) {
  struct socket *s = bx_container_of(timer, struct socket, evidence);
  s->ask_again = s->asked != 0;
  if (!s->ask_again) ping(s, NULL);
}

static void close_now(struct bx_timer *timer) {
  struct socket *s = bx_container_of(timer, struct socket, linger);
  bk_websocket_close(s->link.websocket, s->close_code, s->close_reason);
}

static void keep_alive(struct bx_timer *timer) {
  struct socket *s = bx_container_of(timer, struct socket, keep_alive);
  struct bk_transport *t = s->link.transport;
  if (bk_websocket_is_paused(s->link.websocket)) {   // so are its pongs
    set_timer(s, timer, t->options.ping);
    return;
  }
  if (s->unanswered >= MISSED_PINGS) {
    t->counters.unresponsive++;
    bk_debug("websocket.unresponsive", bk_sl("peer", bk_websocket_peer(s->link.websocket)));
    bk_websocket_close(s->link.websocket, 1001, "no answer to pings");
    return;
  }
  s->unanswered++;
  ping(s, "alive");
  set_timer(s, timer, t->options.ping);
}

// Nobody's connection is not kept: one that never shook hands, or whose session ended long ago. Who only
// publishes is somebody.
static void look_at_stranger(struct bx_timer *timer) {
  struct socket *s = bx_container_of(timer, struct socket, stranger);
  const struct bx_connection *c = &s->link.connection;
  struct bk_transport *t = s->link.transport;
  bx_millis patience = t->options.handshake_time, life = 2 * c->mount->timeout;
  if (c->known && life > patience) patience = life;
  if (c->session || (c->known && bk_loop_now(t->loop) < c->known + patience)) {
    set_timer(s, timer, patience);
    return;
  }
  t->counters.silent++;
  bk_websocket_close(s->link.websocket, 1008, "no handshake");
}

// Up to 16 digits, what positions have.
static bool read_position(struct bx_slice text, bx_position *position) {
  if (text.len == 0 || text.len > 16) return false;
  *position = 0;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    *position = *position * 10 + (bx_position)(text.at[i] - '0');
  }
  return true;
}

static void pong(struct bk_websocket *w, struct bx_slice payload) {
  struct socket *s = bk_websocket_user(w);
  bx_position position;
  s->unanswered = 0;
  if (!read_position(payload, &position)) return;
  bx_connection_pong(&s->link.connection, position);
  if (s->asked == 0 || position != s->asked) return;
  bx_millis way = bk_loop_now(s->link.transport->loop) - s->asked_at;
  if (way < s->way / 2u) way = s->way / 2u;
  s->way = (uint16_t)(way < EVIDENCE_MOST ? way : EVIDENCE_MOST);
  s->asked = 0;
  if (s->ask_again) ping(s, NULL);
  s->ask_again = false;
}

// -- in --------------------------------------------------------------------------------------------

static void message(struct bk_websocket *w, struct bx_slice text) {
  struct socket *s = bk_websocket_user(w);
  // Not Bayeux: the reply that says so is queued.
  (void)!bx_connection_receive(&s->link.connection, text);
  if (bx_connection_is_full(&s->link.connection)) bk_websocket_pause(w, true);   // too much of it is not done
}

// -- life ------------------------------------------------------------------------------------------

// The protocol is done with the connection: what is ready goes out, then the close.
static void close_connection(struct bx_connection *c, unsigned code, const char *reason) {
  struct socket *s = socket_of(bk_link_of(c));
  s->close_code = (uint16_t)code;
  s->close_reason = reason;
  set_timer(s, &s->linger, LINGER);
  bk_link_wake(c);
}

static const struct bx_connection_ops connection_ops = {.wake = bk_link_wake, .close = close_connection};

const struct bk_websocket_ops *bk_socket_upgrade(void *endpoint, struct bk_exchange *x, void **user) {
  struct bk_endpoint *e = endpoint;
  char origin[BK_ORIGIN_MAX];
  if (!bk_cors_admit(e, x, origin)) {
    bk_exchange_refuse(x, 403, "this origin is not in access.origins");
    return NULL;
  }
  struct socket *s = bx_alloc_lines(sizeof *s);
  s->endpoint = e;
  s->secure = bk_exchange_secure(x);
  s->way = UNKNOWN_WAY;
  *user = s;
  return &e->transport->websocket_ops;
}

static void opened(struct bk_websocket *w, void *user) {
  struct socket *s = user;
  struct bk_transport *t = s->endpoint->transport;
  bx_timer_init(&s->keep_alive, keep_alive);
  bx_timer_init(&s->evidence, ask_for_evidence);
  bx_timer_init(&s->linger, close_now);
  bx_timer_init(&s->stranger, look_at_stranger);
  bk_link_init(&s->link, s->endpoint, &connection_ops, BX_CONNECTION_STREAM, "websocket", bk_websocket_peer(w), drain);
  s->link.websocket = w;
  s->link.connection.secure = s->secure;
  t->counters.sockets++;
  t->counters.sockets_opened++;
  set_timer(s, &s->keep_alive, t->options.ping);
  set_timer(s, &s->stranger, t->options.handshake_time);
  if (t->draining) close_connection(&s->link.connection, 1001, "shutting down");
}

static void end(struct socket *s, bool echoed) {
  struct bk_transport *t = s->link.transport;
  struct bx_wheel *wheel = bk_loop_wheel(t->loop);
  bx_wheel_cancel(wheel, &s->keep_alive);
  bx_wheel_cancel(wheel, &s->evidence);
  bx_wheel_cancel(wheel, &s->linger);
  bx_wheel_cancel(wheel, &s->stranger);
  bx_connection_lost(&s->link.connection, echoed);
  bk_link_fini(&s->link);
  t->counters.sockets--;
}

static void closed(struct bk_websocket *w, bool echoed) {
  struct socket *s = bk_websocket_user(w);
  if (s->link.websocket) end(s, echoed);
  bx_free(s);
}

struct bk_websocket_ops bk_socket_ops(size_t max_message) {
  return (struct bk_websocket_ops){
      .open = opened,
      .message = message,
      .pong = pong,
      .writable = writable,
      .closed = closed,
      .max_message = max_message,
  };
}
