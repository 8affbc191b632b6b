// SPDX-License-Identifier: Apache-2.0
// Connections: texts in, gathered texts out: see connection.h.
#include "bayeux/connection.h"

#include "bayeux/reader.h"
#include "bayeux/server_private.h"

static void hold_over(struct bx_timer *timer) {
  struct bx_connection *c = bx_container_of(timer, struct bx_connection, connect.timer);

  c->connect.due = true;
  bx_list_append(&c->server->due, &c->connect.due_link);
}

void bx_connection_init(struct bx_connection *c, struct bx_server *server, const struct bx_connection_ops *ops,
                        enum bx_connection_kind kind, const char *transport, const struct bx_mount *mount,
                        struct bx_slice address) {
  *c = (struct bx_connection){
      .ops = ops, .server = server, .mount = mount, .kind = kind, .transport = transport, .address = address};
  bx_list_init(&c->batches);
  bx_list_init(&c->connect.due_link);
  bx_timer_init(&c->connect.timer, hold_over);
  bx_list_append(&server->connections, &c->link);
  server->counters.connections++;
}

void bx_connection_fini(struct bx_connection *c) {
  BX_BUG_ON(c->session != NULL || c->receipt != NULL || !bx_list_empty(&c->batches));
  bx_connect_forget(c);
  bx_buffer_fini(&c->connect.id);
  bx_buffer_fini(&c->before);
  bx_buffer_fini(&c->after);
  bx_list_remove(&c->link);
  c->server->counters.connections--;
}

void bx_connection_wake(struct bx_connection *c) {
  if (c->woken) return;
  c->woken = true;
  c->ops->wake(c);
}

// A stream that does not read its replies is not worth more memory; nor is what it still sends until
// it is closed.
static void check_backlog(struct bx_connection *c) {
  struct bx_server *server = c->server;

  if (bx_connection_is_poll(c) || c->before.len + c->after.len <= server->options.max_replies_bytes) return;
  bx_buffer_fini(&c->before);
  bx_buffer_fini(&c->after);
  if (c->closing) return;
  BX_OVER(&server->counters, replies);
  c->closing = true;
  c->ops->close(c, 1013, "replies are not read");
}

static void append(struct bx_buffer *to, struct bx_slice replies) {
  if (to->len > 0) bx_buffer_char(to, ',');
  bx_buffer_slice(to, replies);
}

void bx_connection_reply(struct bx_connection *c, struct bx_slice replies, bool before) {
  append(before ? &c->before : &c->after, replies);
  check_backlog(c);
  bx_connection_wake(c);
}

// -- in --------------------------------------------------------------------------------------------

static void bad_text(struct bx_connection *c) {
  c->server->counters.bad_texts++;
  if (!bx_connection_is_poll(c))
    bx_connection_reply(c, BX_LIT("{\"successful\":false,\"error\":\"400::Bad request\"}"), false);
}

static void batch_free(struct bx_batch *b) {
  b->server->counters.batches--;
  b->server->counters.waiting_bytes -= b->cost;
  bx_list_remove(&b->link);
  bx_messages_fini(&b->messages);
  bx_buffer_fini(&b->replies);
  bx_free(b->index);
  bx_free(b);
}

// With what each message takes while the engine is asked for it, and access.
static size_t cost_of(const struct bx_batch *b) {
  size_t each = sizeof(struct bx_message) + sizeof(struct bx_pending) + sizeof *b->index;

  return sizeof *b + b->len + b->messages.count * each + b->messages.member_count * sizeof(struct bx_member);
}

static bool all_is_full(const struct bx_server *server) {
  return server->counters.waiting_bytes > server->options.max_all_waiting;
}

bool bx_connection_is_full(const struct bx_connection *c) {
  return c->waiting > c->server->options.max_waiting_bytes || (c->waiting > BX_WAITING_FREE && all_is_full(c->server));
}

// A stream is left unread before this; a request has been read. What other nodes carry here is bounded there.
static bool is_refused(struct bx_connection *c, struct bx_slice text) {
  if (!bx_connection_is_poll(c) || c->inside || text.len <= BX_WAITING_FREE || !all_is_full(c->server)) return false;
  BX_OVER(&c->server->counters, waiting);
  bx_connection_fail(c);
  return true;
}

bool bx_connection_receive(struct bx_connection *c, struct bx_slice text) {
  struct bx_server *server = c->server;
  struct bx_batch *b;
  enum bx_parse parsed;

  bx_server_clock(server);
  if (is_refused(c, text)) return true;
  b = bx_alloc(sizeof *b + text.len);
  if (text.len > 0) memcpy(b->text, text.at, text.len);
  b->len = text.len;
  b->server = server;
  b->connection = c;
  b->events = c->kind == BX_CONNECTION_EVENTS;
  bx_list_init(&b->link);
  bx_list_init(&b->asking);
  server->counters.batches++;
  parsed = bx_messages_parse(&b->messages, (struct bx_slice){b->text, text.len}, &server->options.message);
  if (parsed == BX_PARSE_TOO_MANY) BX_OVER(&server->counters, batch);
  if (parsed == BX_PARSE_TOO_DEEP) BX_OVER(&server->counters, depth);
  if (parsed >= BX_PARSE_BAD || (parsed == BX_PARSE_NULL && !bx_connection_is_poll(c))) {
    batch_free(b);
    bad_text(c);
    return false;
  }
  bx_list_append(&c->batches, &b->link);
  b->cost = cost_of(b);
  c->waiting += b->cost;
  server->counters.waiting_bytes += b->cost;
  bx_batch_run(c, b);
  return true;
}

// A message of its own making asks for the session: it passes the pipeline, and on several nodes the
// session comes here, as with a connect of the client.
void bx_connection_open_events(struct bx_connection *c, struct bx_slice id, struct bx_slice last_event) {
  static const char text[] = "{\"channel\":\"/meta/connect\",\"connectionType\":\"eventsource\",\"clientId\":";
  struct bx_buffer message = {0};

  c->last_event = last_event;
  bx_buffer_lit(&message, text);
  bx_buffer_json_string(&message, id);
  bx_buffer_char(&message, '}');
  if (!bx_connection_receive(c, bx_buffer_view(&message))) {
    c->sought = true;
    bx_connection_wake(c);
  }
  bx_buffer_fini(&message);
}

// The replies, in the order of their messages: Faye's order, too, where all of them are synchronous.
static void collect(struct bx_batch *b, struct bx_buffer *out) {
  for (size_t i = 0; i < b->messages.count; i++) {
    if (b->index[i].len == 0) continue;
    if (out->len > 0) bx_buffer_char(out, ',');
    bx_buffer_add(out, b->replies.at + b->index[i].at, b->index[i].len);
  }
}

static void finish(struct bx_batch *b) {
  struct bx_connection *c = b->connection;
  struct bx_buffer out = {0};

  if (c != NULL) {
    collect(b, &out);
    if (b->subscribed) c->unsaid--;
    bx_list_remove(&b->link);
    c->waiting -= b->cost;
    if (b->events)
      c->sought = true;
    else if (out.len > 0)
      bx_connection_reply(c, bx_buffer_view(&out), b->subscribed);
    else if (b->messages.count == 0)
      c->empty_replies++;
    bx_connection_wake(c);
  }
  bx_buffer_fini(&out);
  batch_free(b);
}

void bx_batch_done(struct bx_batch *b) {
  BX_BUG_ON(b->open == 0);
  if (--b->open == 0) finish(b);
}

// -- out -------------------------------------------------------------------------------------------

// What is gathered is copied, by the library too when the socket takes a part of it only: so it is bounded.
// One text that is longer by itself goes alone.
static bool has_room(const struct bx_buffer *out, size_t from, size_t len) {
  return out->len == from + 1 || out->len - from + len + 2 <= BX_GATHER_BYTES;
}

static void join(struct bx_buffer *out, size_t from, struct bx_slice text) {
  if (out->len > from + 1) bx_buffer_char(out, ',');
  bx_buffer_slice(out, text);
}

// Replies are taken whole: a text that asked for much gets a long frame.
static void join_replies(struct bx_buffer *out, size_t from, struct bx_buffer *replies) {
  if (replies->len == 0) return;
  join(out, from, bx_buffer_view(replies));
  bx_buffer_fini(replies);
}

// A message with a forwarded `ext` ends with it (publish.c): that is looked for where the end looks like it.
// 2: of an empty one, 1: of another, 0: there is none.
static int ext_at_end(struct bx_slice text) {
  struct bx_value key, value, last = {0};
  struct bx_scan s;

  if (text.len < 3 || text.at[text.len - 2] != '}') return 0;
  bx_scan_init(&s, text, 64);
  if (!bx_scan_enter(&s)) return 0;
  while (bx_scan_item(&s, &key) && bx_scan_value(&s, &value)) last = key;
  if (bx_scan_failed(&s) || !bx_value_is(&last, BX_LIT("ext"))) return 0;
  return text.at[text.len - 3] == '{' ? 2 : 1;
}

// The last of two equal names counts: a publisher cannot choose the number.
static void join_numbered(struct bx_buffer *out, size_t from, struct bx_slice text, uint32_t number) {
  int ext = ext_at_end(text);

  join(out, from, (struct bx_slice){text.at, text.len - (ext ? 2 : 1)});
  if (ext) {
    bx_buffer_printf(out, "%s\"c\":%u}}", ext == 1 ? "," : "", number);
    return;
  }
  bx_buffer_printf(out, ",\"ext\":{\"c\":%u}}", number);
}

static void join_messages(struct bx_connection *c, struct bx_buffer *out, size_t from, bool bounded) {
  struct bx_frame *f;

  while (c->session != NULL && !(bounded && !has_room(out, from, bx_session_next_bytes(c->session))) &&
         (f = bx_session_hand_over(c->server, c->session)) != NULL) {
    struct bx_slice text = bx_frame_slice(f);

    if (c->mount->sequence)
      join_numbered(out, from, text, c->session->sequence);
    else
      join(out, from, text);
    bx_frame_unref(f);
  }
}

// They were published before it was ended, and may be what it is to know of that.
void bx_connection_take_messages(struct bx_connection *c) {
  struct bx_buffer text = {0};
  bool poll = bx_connection_is_poll(c);

  if (c->kind == BX_CONNECTION_EVENTS || c->unsaid > 0 || (poll && (!c->connect.held || c->server->engine->stale)))
    return;
  bx_buffer_char(&text, '[');
  join_messages(c, &text, 0, false);
  if (text.len > 1) bx_connection_reply(c, (struct bx_slice){text.at + 1, text.len - 1}, false);
  bx_buffer_fini(&text);
}

// A poll takes what a reader finds, up to a limit, and not only what an outbox holds.
static void join_all_messages(struct bx_connection *c, struct bx_buffer *out, size_t from) {
  do {
    join_messages(c, out, from, false);
    if (out->len - from < BX_READ_BYTES) bx_reader_refill(c->server, c->session);
  } while (c->session->outbox.count > 0);
}

// A client that acknowledges gets messages together with the answer to its connect only.
static bool messages_wait(const struct bx_connection *c) {
  return c->session != NULL && c->session->outbox.count > 0 && (!c->session->acks || c->connect.held);
}

// Messages and nothing else, in frames that are everybody's: the oldest, or all of them.
static struct bx_frame *take_frame(struct bx_connection *c) {
  struct bx_session *s = c->session;

  if (c->before.len > 0 || c->after.len > 0 || c->mount->sequence || s->acks) return NULL;
  if (s->outbox.count == 1) return bx_session_hand_over(c->server, s);
  return bx_session_hand_over_joined(c->server, s, BX_GATHER_BYTES - 2);   // the brackets
}

static bool messages_may_go(const struct bx_connection *c) {
  return c->unsaid == 0 && messages_wait(c) && !bx_ack_waits(c->session);
}

static void join_answer(struct bx_connection *c, struct bx_buffer *out, size_t from) {
  struct bx_buffer reply = {0};

  bx_connect_write(c, &reply, NULL, bx_connect_interval(c));
  join(out, from, bx_buffer_view(&reply));
  bx_buffer_fini(&reply);
}

// Messages for an answer are all in its frame. One that waits for messages which have gone meanwhile is due again.
static bool join_acknowledged(struct bx_connection *c, struct bx_buffer *out, size_t from) {
  bool carried = messages_may_go(c);

  if (carried)
    join_all_messages(c, out, from);
  else if (c->connect.due && bx_list_empty(&c->connect.due_link))
    bx_list_append(&c->server->due, &c->connect.due_link);
  return carried;
}

bool bx_connection_gather(struct bx_connection *c, struct bx_buffer *out, struct bx_gathered *gathered) {
  bool acks = c->session != NULL && c->session->acks, carried = false;
  size_t from = out->len;

  c->woken = false;
  gathered->frame = messages_may_go(c) ? take_frame(c) : NULL;
  if (gathered->frame != NULL) return true;
  bx_buffer_char(out, '[');
  join_replies(out, from, &c->before);
  if (acks)
    carried = join_acknowledged(c, out, from);
  else if (messages_may_go(c))
    join_messages(c, out, from, true);
  if (!messages_wait(c) && has_room(out, from, c->after.len)) join_replies(out, from, &c->after);
  if (carried) join_answer(c, out, from);
  if (out->len == from + 1 && c->empty_replies == 0) {
    out->len = from;
    return false;
  }
  if (out->len == from + 1) c->empty_replies--;
  bx_buffer_char(out, ']');
  return true;
}

// Numbered messages: the next number, too, so that it goes on from there.
void bx_connection_event_id(const struct bx_connection *c, struct bx_buffer *out) {
  bx_buffer_printf(out, "%llu", (unsigned long long)bx_session_sent(c->server, c->session));
  if (c->mount->sequence) bx_buffer_printf(out, "-%u", c->session->sequence);
}

static bool answer_is_due(struct bx_connection *c) {
  if (c->answered || !bx_list_empty(&c->batches)) return false;
  if (!c->connect.held || c->session == NULL) return true;
  // The messages may be another's to give; and what came since may repeat what another has answered.
  if (c->server->engine->stale && (c->session->outbox.count > 0 || c->connect.since >= c->server->engine->stale_from))
    return c->failed = c->connect.due;
  if (c->session->outbox.count > 0 && !bx_ack_waits(c->session)) return true;
  return c->connect.due && !bx_session_is_catching_up(c->session);
}

// From here on the session waits for evidence of what this answer carries.
static void take_receipt(struct bx_connection *c, struct bx_session *s) {
  bx_session_detach(c->server, s);
  if (s->answered != NULL) s->answered->receipt = NULL;
  s->answered = c;
  s->settled = BX_ARRIVAL_PENDING;
  c->receipt = s;
}

void bx_connection_fail(struct bx_connection *c) {
  if (bx_connection_is_poll(c)) {
    c->failed = true;
    bx_connection_wake(c);
  } else if (!c->closing) {
    c->closing = true;
    c->ops->close(c, 1013, "not available");
  }
}

bool bx_connection_answer(struct bx_connection *c, struct bx_buffer *out) {
  struct bx_session *s = c->session;
  size_t from = out->len;

  c->woken = false;
  if (!answer_is_due(c)) return false;
  c->answered = true;
  if (c->failed) {
    if (s != NULL) bx_session_detach(c->server, s);
    bx_connect_forget(c);
    return true;
  }
  bx_buffer_char(out, '[');
  join_replies(out, from, &c->before);
  join_replies(out, from, &c->after);
  if (c->connect.held) {
    bool acks = s != NULL && s->acks;   // the number counts what is in front of it

    if (!acks) join_answer(c, out, from);
    if (s != NULL && !bx_ack_waits(s)) join_all_messages(c, out, from);
    if (acks) join_answer(c, out, from);
  }
  bx_buffer_char(out, ']');
  if (s != NULL) take_receipt(c, s);
  return true;
}

void bx_connection_settle(struct bx_connection *c, enum bx_arrival arrival) {
  struct bx_session *s = c->receipt;

  if (s == NULL) return;
  c->receipt = NULL;
  s->answered = NULL;
  s->settled = arrival;
  bx_server_clock(c->server);
  if (s->weigh.armed)
    bx_session_weigh(&s->weigh);
  else if (arrival == BX_ARRIVAL_LOST && !s->acks)
    bx_session_fall_back(c->server, s);
}

// -- the end, and evidence -------------------------------------------------------------------------

void bx_connection_lost(struct bx_connection *c, bool all_arrived) {
  struct bx_session *s = c->session;
  struct bx_list *link;

  c->closing = true;
  bx_connect_forget(c);
  bx_connection_settle(c, all_arrived ? BX_ARRIVAL_YES : BX_ARRIVAL_LOST);
  if (s != NULL) {
    if (all_arrived && !s->weigh.armed && !s->acks)
      bx_session_confirm_all(c->server, s);   // armed: what is pending went another way
    bx_session_detach(c->server, s);
    if (c->kind == BX_CONNECTION_EVENTS)
      bx_session_lose_stream(c->server, s);
    else if (!bx_connection_is_poll(c))
      bx_session_part(c->server, s);   // a poll was handed nothing yet
  }
  while ((link = bx_list_take(&c->batches)) != NULL) {
    struct bx_batch *b = bx_container_of(link, struct bx_batch, link);

    b->connection = NULL;
    bx_batch_cancel_asking(b);
  }
}

bool bx_connection_ping_position(struct bx_connection *c, bx_position *position) {
  struct bx_session *s = c->session;
  bx_position sent;

  if (s == NULL || !s->pending || s->acks || s->weigh.armed) return false;   // armed: what is pending went another way
  sent = bx_session_sent(c->server, s);
  if (s->ping_position != sent) s->ping_handed = s->handed;   // else the older ping's pong would speak for it
  s->ping_position = *position = sent;
  // What waits, or is still to be read, may be older than this tick.
  s->mark.pinged = s->state == BX_SESSION_LIVE && s->outbox.count == 0 ? c->server->engine->tick : 0;
  return true;
}

void bx_connection_pong(struct bx_connection *c, bx_position position) {
  if (c->session != NULL && !c->session->acks) bx_session_confirm_ping(c->server, c->session, position);
}
