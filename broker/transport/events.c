// SPDX-License-Identifier: Apache-2.0
// EventSource: GET <mount>/<client id>, an answer without an end that carries what is delivered. What the
// client says comes by posts.
//
// The id of an event is the position up to which everything was handed over. A client that comes back tells it
// (Last-Event-ID), and gets what is behind it. A stream whose session is not here yet, or cannot be had
// now, is answered and ended at once: a browser comes back by itself after an end, but not after an error.
#include "broker/host/log.h"
#include "broker/transport/link.h"

#include <stdio.h>

enum {
  RETRY = 5000,   // ms after which a browser comes back; as Faye has it
  MISSED_PINGS = 2,
  LAST_EVENT_MAX = 64,
  PATIENCE = 3000,   // ms that an end waits for a peer which does not read
};

struct stream {
  struct bk_link link;
  struct bk_exchange *exchange;
  struct bx_timer keep_alive, patience;
  bool begun;            // its head is written
  bool over;             // we ended it, or answered otherwise
  bool closing;          // to be ended when what waits is written
  unsigned unanswered;   // pings in a row that found the peer where it was
  uint64_t taken;
  char last_event[LAST_EVENT_MAX];
  char origin[];   // of an admitted page; empty: none
};

static struct stream *stream_of(struct bk_link *l) { return bx_container_of(l, struct stream, link); }

static void set_timer(struct stream *s, struct bx_timer *timer, bx_millis delay) {
  struct bk_loop *loop = s->link.transport->loop;
  bx_wheel_set(bk_loop_wheel(loop), timer, bk_loop_now(loop) + delay);
}

// -- out -------------------------------------------------------------------------------------------

static void begin(struct stream *s) {
  struct bk_header headers[1 + BK_CORS_HEADERS] = {{"cache-control", BX_LIT("no-cache, no-store")}};
  size_t count = 1 + bk_cors_headers(s->origin, headers + 1);
  char retry[32];
  s->begun = true;
  bk_exchange_close_after(s->exchange);
  bk_exchange_stream(
      s->exchange, &(struct bk_response){
                       .status = 200, .content_type = "text/event-stream", .headers = headers, .header_count = count});
  snprintf(retry, sizeof retry, "retry: %d\r\n\r\n", RETRY);
  bk_exchange_stream_write(s->exchange, bx_slice_of(retry));
}

// A line end between two tokens of a message would end the event's line.
static void add_on_one_line(struct bx_buffer *out, const char *at, size_t len) {
  for (size_t i = 0; i < len; i++) bx_buffer_char(out, at[i] == '\r' || at[i] == '\n' ? ' ' : at[i]);
}

// One event of what waits. False: nothing waits.
static bool write_some(struct stream *s) {
  struct bk_transport *t = s->link.transport;
  struct bx_gathered gathered = {0};
  struct bx_buffer event = {0};
  bx_buffer_clear(&t->out);
  if (!bx_connection_gather(&s->link.connection, &t->out, &gathered)) return false;
  bx_buffer_lit(&event, "id: ");
  bx_connection_event_id(&s->link.connection, &event);
  bx_buffer_lit(&event, "\r\ndata: ");
  if (gathered.frame)
    add_on_one_line(&event, bx_frame_array(gathered.frame), bx_frame_array_len(gathered.frame));
  else
    add_on_one_line(&event, t->out.at, t->out.len);
  bx_buffer_lit(&event, "\r\n\r\n");
  bx_frame_unref(gathered.frame);
  bk_exchange_stream_write(s->exchange, bx_buffer_view(&event));
  bx_buffer_fini(&event);
  return true;
}

static void end(struct stream *s) {
  s->over = true;
  bk_exchange_stream_end(s->exchange);
}

static void refuse(struct stream *s) {
  s->over = true;
  s->link.transport->counters.streams_refused++;
  bk_answer_text(s->exchange, 404, BX_LIT("Unknown client"));
}

static void drain(struct bk_link *l) {
  struct stream *s = stream_of(l);
  const struct bx_connection *c = &l->connection;
  if (s->over || (!s->begun && !s->closing && !c->sought)) return;
  if (!s->begun && !s->closing && !c->session) {
    refuse(s);
    return;
  }
  if (!s->begun) begin(s);
  do {
    if (bk_exchange_stream_ready(s->exchange)) continue;
    bk_exchange_want_writable(s->exchange);
    return;
  } while (write_some(s));
  if (s->closing) end(s);
}

static void writable(struct bk_exchange *x) {
  struct stream *s = bk_exchange_user(x);
  drain(&s->link);
}

// -- life ------------------------------------------------------------------------------------------

static void keep_alive(struct bx_timer *timer) {
  struct stream *s = bx_container_of(timer, struct stream, keep_alive);
  struct bk_transport *t = s->link.transport;
  set_timer(s, timer, t->options.ping);
  if (!s->begun || s->over) return;
  uint64_t taken = bk_exchange_stream_taken(s->exchange);
  bool stuck = taken == s->taken && bk_exchange_arrival(s->exchange) == BK_ARRIVAL_PENDING;
  s->unanswered = stuck ? s->unanswered + 1 : 0;
  s->taken = taken;
  if (s->unanswered >= MISSED_PINGS) {
    t->counters.streams_unresponsive++;
    bk_debug("events.unresponsive", bk_sl("peer", bk_exchange_peer(s->exchange)));
    bk_exchange_abort(s->exchange);
  } else if (!stuck) {
    bk_exchange_stream_write(s->exchange, BX_LIT(":\r\n\r\n"));
  }
}

static void out_of_patience(struct bx_timer *timer) {
  bk_exchange_abort(bx_container_of(timer, struct stream, patience)->exchange);
}

static void close_connection(struct bx_connection *c, unsigned code, const char *reason) {
  struct stream *s = stream_of(bk_link_of(c));
  (void)code;
  (void)reason;
  if (s->closing) return;
  s->closing = true;
  set_timer(s, &s->patience, PATIENCE);
  bk_link_wake(c);
}

static enum bx_arrival arrival(struct bx_connection *c) {
  struct stream *s = stream_of(bk_link_of(c));
  return bk_exchange_arrival(s->exchange) == BK_ARRIVAL_YES ? BX_ARRIVAL_YES : BX_ARRIVAL_PENDING;
}

static void ended(struct bk_exchange *x, enum bk_arrival arrival) {
  struct stream *s = bk_exchange_user(x);
  struct bk_transport *t = s->link.transport;
  bx_wheel_cancel(bk_loop_wheel(t->loop), &s->keep_alive);
  bx_wheel_cancel(bk_loop_wheel(t->loop), &s->patience);
  bx_connection_lost(&s->link.connection, s->begun && s->over && arrival == BK_ARRIVAL_YES);
  bk_link_fini(&s->link);
  t->counters.streams--;
  bx_free(s);
}

static const struct bk_exchange_ops exchange_ops = {.writable = writable, .ended = ended};
static const struct bx_connection_ops connection_ops = {
    .wake = bk_link_wake, .close = close_connection, .arrival = arrival};

// Accept is a list, and this is one of its items, to the letter.
bool bk_events_wanted(const struct bk_exchange *x) {
  char accept[512], *rest = accept, *item;
  if (!bk_exchange_header(x, "accept", accept, sizeof accept)) return false;
  while ((item = strsep(&rest, ","))) {
    item += strspn(item, " \t");
    item[strcspn(item, " \t")] = 0;
    if (strcmp(item, "text/event-stream") == 0) return true;
  }
  return false;
}

void bk_events_open(struct bk_endpoint *e, struct bk_exchange *x, const char *origin) {
  struct bk_transport *t = e->transport;
  struct stream *s = bx_alloc(sizeof *s + strlen(origin) + 1);
  s->exchange = x;
  memcpy(s->origin, origin, strlen(origin) + 1);
  bk_exchange_header(x, "last-event-id", s->last_event, sizeof s->last_event);
  bx_timer_init(&s->keep_alive, keep_alive);
  bx_timer_init(&s->patience, out_of_patience);
  bk_exchange_hold(x, &exchange_ops, s);
  bk_link_init(&s->link, e, &connection_ops, BX_CONNECTION_EVENTS, "eventsource", bk_exchange_peer(x), drain);
  s->link.connection.secure = bk_exchange_secure(x);
  t->counters.streams++;
  t->counters.streams_opened++;
  set_timer(s, &s->keep_alive, t->options.ping);
  if (t->draining) close_connection(&s->link.connection, 1001, "");
  bx_connection_open_events(&s->link.connection, bk_last_segment(bk_exchange_path(x)), bx_slice_of(s->last_event));
}
