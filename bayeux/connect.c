// SPDX-License-Identifier: Apache-2.0
// /meta/connect: which connection a session's messages go to, how long an answer waits, and what a
// new connect tells about the answer before it.
#include "bayeux/reader.h"
#include "bayeux/server_private.h"

#define SUPERSEDE_WINDOW 10000   // milliseconds in which superseded connects are counted
#define SUPERSEDE_FREE 3         // of them are answered with the normal interval

// -- held connects ---------------------------------------------------------------------------------

void bx_connect_hold(struct bx_connection *c, struct bx_slice id, bx_millis hold) {
  struct bx_held_connect *h = &c->connect;

  BX_BUG_ON(h->held);
  bx_buffer_exactly(&h->id, id);   // kept for as long as the client is idle
  h->held = true;
  h->since = c->server->now;
  h->due = hold == 0;
  if (h->due)
    bx_list_append(&c->server->due, &h->due_link);
  else
    bx_wheel_set(&c->server->wheel, &h->timer, c->server->now + hold);
}

void bx_connect_forget(struct bx_connection *c) {
  c->connect.held = c->connect.due = false;
  bx_list_remove(&c->connect.due_link);
  bx_wheel_cancel(&c->server->wheel, &c->connect.timer);
}

void bx_connect_write(struct bx_connection *c, struct bx_buffer *out, const char *error, uint32_t interval) {
  bx_buffer_char(out, '{');
  if (c->connect.id.len > 0) {
    bx_buffer_lit(out, "\"id\":");
    bx_buffer_slice(out, bx_buffer_view(&c->connect.id));
    bx_buffer_char(out, ',');
  }
  if (error == NULL) {
    bx_buffer_lit(out, "\"clientId\":\"");
    bx_buffer_slice(out, bx_session_id(c->session));
    bx_buffer_lit(out, "\",\"channel\":\"/meta/connect\",\"successful\":true");
    bx_reply_advice(out, interval, c->mount->timeout);
    if (c->session->acks) bx_ack_write(c->server, c->session, out);
  } else {
    bx_buffer_lit(out, "\"channel\":\"/meta/connect\",\"successful\":false");
    bx_reply_error_member(out, bx_slice_of(error));
    bx_reply_handshake_advice(c->server, out);
  }
  bx_buffer_char(out, '}');
  bx_connect_forget(c);
}

void bx_connect_answer(struct bx_connection *c, uint32_t interval) {
  struct bx_buffer reply = {0};

  if (!c->connect.held) return;
  bx_connect_write(c, &reply, NULL, interval);
  bx_connection_reply(c, bx_buffer_view(&reply), false);
  bx_buffer_fini(&reply);
}

uint32_t bx_connect_interval(struct bx_connection *c) {
  return c->server->draining ? bx_server_uniform(c->server, 1000, 5000) : (uint32_t)c->mount->interval;
}

// Its answer is made when it is drained, with the messages in it.
static bool carries_messages(const struct bx_connection *c) {
  return bx_connection_is_poll(c) ||
         (c->session->acks && c->session->outbox.count > 0 && c->unsaid == 0 && !bx_ack_waits(c->session));
}

// A session that is being read forward gets its slice before its connect is answered empty; one that
// waits for evidence is put here again when it has it.
bool bx_connects_due(struct bx_server *server) {
  struct bx_list todo, *link;

  bx_list_init(&todo);
  bx_list_splice(&todo, &server->due);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct bx_connection *c = bx_container_of(link, struct bx_connection, connect.due_link);
    const struct bx_session *s = c->session;

    if (s != NULL && s->weigh.armed) continue;
    if (s != NULL && bx_session_is_catching_up(s))
      bx_list_append(&server->due, link);
    else if (s == NULL || carries_messages(c))
      bx_connection_wake(c);
    else
      bx_connect_answer(c, bx_connect_interval(c));
  }
  return !bx_list_empty(&server->due);
}

// -- taking over -----------------------------------------------------------------------------------

// More than a few in a short time: two pollers share an id, and each would drive the other on.
static uint32_t superseded_interval(struct bx_server *server, struct bx_session *s, const struct bx_connection *c) {
  static const uint32_t steps[] = {1000, 2000, 4000, 5000};
  uint32_t over;

  server->counters.superseded++;
  if (server->now - s->superseded_since > SUPERSEDE_WINDOW) {
    s->superseded = 0;
    s->superseded_since = server->now;
  }
  if (++s->superseded <= SUPERSEDE_FREE) return (uint32_t)c->mount->interval;
  over = s->superseded - SUPERSEDE_FREE - 1;
  over = steps[over < 3 ? over : 3];
  return bx_server_uniform(server, over - over / 5, over + over / 5);
}

// The session leaves its connection for another one. A poll is answered, a stream flushed and closed.
void bx_session_supersede(struct bx_server *server, struct bx_session *s) {
  struct bx_connection *old = s->connection;

  bx_connect_answer(old, old->connect.held ? superseded_interval(server, s, old) : 0);
  bx_session_detach(server, s);
  bx_connection_wake(old);
  if (bx_connection_is_poll(old)) return;   // it was handed nothing yet
  if (s->acks) {
    bx_session_part(server, s);
  } else if (s->pending && s->answered == NULL) {   // else it was handed nothing yet: it waited for evidence itself
    // The echo of the close tells that all of it has arrived: a client that is there sends it at once.
    s->answered = old;
    s->settled = BX_ARRIVAL_PENDING;
    s->from_stream = true;
    old->receipt = s;
  }
  old->closing = true;
  old->ops->close(old, 1000, "superseded");
}

// The connection leaves another session for this one: it pushes to one client at a time.
static void let_go(struct bx_connection *c) {
  struct bx_session *other = c->session;

  bx_connect_answer(c, (uint32_t)c->mount->interval);
  bx_session_detach(c->server, other);
  if (!bx_connection_is_poll(c)) bx_session_part(c->server, other);
}

// -- evidence --------------------------------------------------------------------------------------

// The next connect tells of the answer before it: another id means that the client saw it (a client
// that did not repeats the connect as it was), unless TCP knows better. Clients that use one id for
// all are told by TCP alone; while it has not heard of the last bytes yet (peers acknowledge late),
// their connect waits. A reset may be how a peer ends all it has read: of two answers in a row that
// were reset, the second is the id's to tell of, or the same messages would come for ever.
enum verdict { ARRIVED, NOT_ARRIVED, NOT_KNOWN };

enum bx_arrival bx_session_arrival(const struct bx_session *s) {
  return s->answered == NULL || s->from_stream ? s->settled : s->answered->ops->arrival(s->answered);
}

static enum verdict judge(struct bx_session *s, const struct bx_connection *c, bool differs) {
  enum bx_arrival arrival = bx_session_arrival(s);
  bool by_id = !s->from_stream && c->kind != BX_CONNECTION_EVENTS, again = s->reset;

  s->reset = arrival == BX_ARRIVAL_RESET;
  if (arrival == BX_ARRIVAL_LOST || (s->reset && !(again && by_id && differs))) return NOT_ARRIVED;
  if (by_id && differs) return ARRIVED;
  if (by_id && s->ids_vary) return NOT_ARRIVED;
  return arrival == BX_ARRIVAL_YES ? ARRIVED : NOT_KNOWN;
}

static void forget_answer(struct bx_session *s) {
  if (s->answered != NULL) s->answered->receipt = NULL;
  s->answered = NULL;
  s->settled = BX_ARRIVAL_YES;
  s->from_stream = false;
}

static void decide(struct bx_server *server, struct bx_session *s, bool arrived) {
  forget_answer(s);
  if (arrived)
    bx_session_confirm_all(server, s);
  else
    bx_session_fall_back(server, s);
}

// A look every 10 ms; peers acknowledge within 200 ms. After 30 looks the answer counts as not arrived.
#define WEIGH_EVERY 10
#define WEIGH_LOOKS 30
#define ECHO_LOOKS 100   // of a stream: its peer may be far away

void bx_session_weigh(struct bx_timer *timer) {
  struct bx_session *s = bx_container_of(timer, struct bx_session, weigh);
  struct bx_server *server = s->server;
  enum verdict verdict = judge(s, s->connection, false);

  if (verdict == NOT_KNOWN && ++s->weighed < (s->from_stream ? ECHO_LOOKS : WEIGH_LOOKS)) {
    bx_wheel_set(&server->wheel, &s->weigh, server->now + WEIGH_EVERY);
    return;
  }
  bx_wheel_cancel(&server->wheel, &s->weigh);
  decide(server, s, verdict == ARRIVED);
  bx_reader_start(server, s);
  if (!s->connection->connect.due) return;
  bx_list_remove(&s->connection->connect.due_link);   // it may not have been looked at yet
  bx_list_append(&server->due, &s->connection->connect.due_link);
}

// True: another id than the last connect's.
static bool note_id(struct bx_session *s, struct bx_slice id) {
  uint64_t hash = bx_hash(id);
  bool differs = s->has_connect_id && hash != s->connect_id;

  s->ids_vary |= differs;
  s->connect_id = hash;
  s->has_connect_id = true;
  return differs;
}

// -- refusals, and how long a connect is held -----------------------------------------------------

static enum bx_fault wrong(const struct bx_call *call, struct bx_buffer *error) {
  const struct bx_message *m = call->message;

  if (m->error.type != BX_JSON_NONE)
    bx_buffer_lit(error, "400::Bad request");
  else if (!bx_value_truthy(&m->connection_type))
    bx_buffer_lit(error, "402:connectionType:Missing required parameter");
  else if (!bx_is_connection_type(&m->connection_type))
    bx_error_text(error, "301", &m->connection_type, "Connection types not supported");
  else
    return bx_client_fault(call, error);
  return BX_FAULT_OTHER;
}

static bool refuse(struct bx_call *call) {
  struct bx_buffer error = {0}, *out;

  if (wrong(call, &error) == BX_NO_FAULT) return false;
  out = bx_reply_open(call->batch, call->index, false, false);
  bx_reply_error_member(out, bx_buffer_view(&error));
  bx_reply_handshake_advice(call->batch->server, out);
  bx_reply_close(call->batch, call->index);
  bx_buffer_fini(&error);
  return true;
}

// How long the client wants its connect to be held: advice.timeout in milliseconds, at most what
// the mount allows.
static bx_millis wanted_hold(const struct bx_message *m, const struct bx_mount *mount) {
  struct bx_value key, value;
  double wish = -1;
  bool wished = false;
  struct bx_scan s;

  if (m->advice.type != BX_JSON_OBJECT) return mount->timeout;
  bx_scan_init(&s, m->advice.raw, 64);
  if (!bx_scan_enter(&s)) return mount->timeout;
  while (bx_scan_item(&s, &key) && bx_scan_value(&s, &value))
    if (bx_value_is(&key, BX_LIT("timeout"))) wished = bx_value_number(&value, &wish);
  if (!wished) return mount->timeout;
  if (!(wish > 0)) return 0;
  return wish < (double)mount->timeout ? (bx_millis)wish : mount->timeout;
}

void bx_session_refresh(struct bx_connection *c, struct bx_session *s) {
  struct bx_server *server = c->server;
  size_t len = c->address.len < sizeof s->address - 1 ? c->address.len : sizeof s->address - 1;

  s->last_connect = server->now;
  if (!c->relayed) {   // else nothing is known here of where it came from
    if (len > 0) memcpy(s->address, c->address.at, len);
    s->address[len] = '\0';
    s->secure = c->secure;
    s->life = 2 * c->mount->timeout;
  }
  bx_wheel_set(&server->wheel, &s->expiry, server->now + s->life);
  if (server->engine->ops->touch != NULL) server->engine->ops->touch(server->engine, s);
}

static void answer_at_once(struct bx_call *call, bx_millis interval, bx_millis timeout) {
  bx_reply_advice(bx_reply_open(call->batch, call->index, true, true), (uint32_t)interval, timeout);
  bx_reply_close(call->batch, call->index);
}

// -- streams of events -----------------------------------------------------------------------------

// "position", or "position-number" where messages are numbered. False: not an id of ours.
static bool read_event_id(struct bx_slice text, bx_position *position, uint32_t *number) {
  uint64_t n[2] = {0, 0};
  size_t part = 0;

  if (text.len == 0 || text.len > 28) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] == '-' && part == 0 && i > 0 && i + 1 < text.len)
      part = 1;
    else if (text.at[i] >= '0' && text.at[i] <= '9' && n[part] < 1000000000000000ull)
      n[part] = n[part] * 10 + (uint64_t)(text.at[i] - '0');
    else
      return false;
  }
  if (n[1] > UINT32_MAX) return false;
  *position = n[0];
  *number = (uint32_t)n[1];
  return true;
}

// The last event that the client has is all that is known of a stream before this one.
static void hear_last_event(struct bx_connection *c, struct bx_session *s) {
  struct bx_server *server = c->server;
  uint32_t number = 0;
  bx_position position;

  if (!read_event_id(c->last_event, &position, &number) || !bx_session_confirm_until(server, s, position))
    server->counters.bad_event_ids++;
  else if (number > 0)
    s->sequence = number;
  decide(server, s, false);
}

// A connect of a client that gets its messages as events: it has had time to read what its stream had been
// given at the connect before this one.
static void confirm_events(struct bx_session *s) {
  struct bx_connection *events = s->connection;
  bx_position position;

  if (events == NULL || events->kind != BX_CONNECTION_EVENTS) return;
  if (events->ops->arrival(events) == BX_ARRIVAL_YES) bx_session_confirm_ping(s->server, s, s->ping_position);
  (void)bx_connection_ping_position(events, &position);
}

// -- the verb --------------------------------------------------------------------------------------

// The client says itself what it has. `number` NULL: it does not.
static void hear_number(struct bx_server *server, struct bx_session *s, const bx_position *number) {
  s->acks = number != NULL;
  if (!s->acks) return;
  forget_answer(s);
  if (s->weigh.armed) {
    bx_wheel_cancel(&server->wheel, &s->weigh);
    bx_reader_start(server, s);
  }
  bx_session_acknowledge(server, s, *number);
}

static bool take(struct bx_connection *c, struct bx_session *s, bool differs, const bx_position *number) {
  struct bx_server *server = c->server;
  bool repeated = s->weigh.armed;   // by the connect in between: the client did not have its answer
  bool stream_again = c->kind == BX_CONNECTION_EVENTS && s->connection != NULL && s->connection->kind == c->kind;
  enum verdict verdict = ARRIVED;

  if (c->closing) return false;
  if (s->connection != NULL) bx_session_supersede(server, s);
  if (c->last_event.len > 0) hear_last_event(c, s);
  hear_number(server, s, number);
  if (s->pending) verdict = stream_again ? NOT_ARRIVED : judge(s, c, differs && !repeated);
  if (verdict != NOT_KNOWN) decide(server, s, verdict == ARRIVED);
  if (c->session != NULL) let_go(c);
  s->weighed = 0;
  if (verdict == NOT_KNOWN) bx_wheel_set(&server->wheel, &s->weigh, server->now + WEIGH_EVERY);
  bx_session_attach(server, s, c);
  return true;
}

void bx_verb_connect(struct bx_call *call) {
  struct bx_connection *c = call->batch->connection;
  struct bx_server *server = call->batch->server;
  const struct bx_message *m = call->message;
  struct bx_session *s = call->session;
  struct bx_slice id = bx_value_truthy(&m->id) ? m->id.raw : (struct bx_slice){0};
  bx_position acknowledged, *number = bx_ack_read(m, &acknowledged) ? &acknowledged : NULL;
  bool differs;

  if (refuse(call)) return;
  if (call->batch->events) {
    take(c, s, false, NULL);
    return;
  }
  server->counters.connects++;
  bx_session_refresh(c, s);
  if (bx_value_is(&m->connection_type, BX_LIT("eventsource"))) {
    confirm_events(s);
    answer_at_once(call, s->life / 2, 0);   // its messages come by a stream of events
    return;
  }
  differs = note_id(s, id);
  if (s->connection != c) {
    if (!take(c, s, differs, number)) {
      answer_at_once(call, bx_connect_interval(c), c->mount->timeout);
      return;
    }
  } else {
    hear_number(server, s, number);
    if (s->outbox.count > 0) bx_connection_wake(c);   // of a client that acknowledges: they waited for this
    bx_connect_answer(c, c->connect.held ? superseded_interval(server, s, c) : 0);
  }
  bx_connect_hold(c, id, server->draining ? 0 : wanted_hold(m, c->mount));
}
