// SPDX-License-Identifier: Apache-2.0
// A server with a virtual clock: see world.h.
#include "tests/unit/support/world.h"

#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

// -- the environment -------------------------------------------------------------------------------

// xorshift64*: the same numbers in every run.
static void fill(void *context, void *bytes, size_t count) {
  struct world *w = context;

  for (size_t i = 0; i < count; i++) {
    w->seed ^= w->seed >> 12;
    w->seed ^= w->seed << 25;
    w->seed ^= w->seed >> 27;
    ((unsigned char *)bytes)[i] = (unsigned char)(w->seed * 0x2545F4914F6CDD1Dull >> 56);
  }
}

static bx_millis now(void *context) { return ((struct world *)context)->now; }

static void note(void *context, enum bx_event event, const struct bx_session *s, struct bx_slice detail) {
  struct world *w = context;
  size_t len = detail.len < sizeof w->last_detail - 1 ? detail.len : sizeof w->last_detail - 1;

  (void)s;
  if (event == BX_EVENT_LOST) {
    w->lost++;
    snprintf(w->lost_why, sizeof w->lost_why, "%.*s", (int)detail.len, detail.at);
    return;
  }
  if (event == BX_EVENT_HANDSHAKE) w->handshakes++;
  if (event == BX_EVENT_SUBSCRIBE) w->subscribes++;
  if (event == BX_EVENT_UNSUBSCRIBE || event == BX_EVENT_DROP) w->unsubscribes++;
  if (event == BX_EVENT_DISCONNECT) w->disconnects++;
  if (len > 0) memcpy(w->last_detail, detail.at, len);
  w->last_detail[len] = '\0';
}

// -- an engine that can be slow, or refuse -----------------------------------------------------------

struct gate {
  struct bx_engine engine;
  struct bx_engine *inner;
  struct world *w;
  struct bx_list waiting;
};

static struct gate *gate_of(struct bx_engine *e) { return bx_container_of(e, struct gate, engine); }

static void gate_submit(struct bx_engine *engine, struct bx_request *r) {
  bx_list_append(&gate_of(engine)->waiting, &r->link);
}

static void gate_touch(struct bx_engine *engine, struct bx_session *s) {
  (void)engine;
  (void)s;
}

static bool passes(const struct gate *g, const struct bx_request *r) { return !(g->w->hold & 1u << r->kind); }

static void gate_turn(struct bx_engine *engine, bx_millis now) {
  struct gate *g = gate_of(engine);
  struct bx_list todo, *link;

  bx_list_init(&todo);
  bx_list_splice(&todo, &g->waiting);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct bx_request *r = bx_container_of(link, struct bx_request, link);

    if (!passes(g, r))
      bx_list_append(&g->waiting, link);
    else if (g->w->verdict != BX_ACKNOWLEDGED)
      r->done(r, g->w->verdict, 0);
    else
      g->inner->ops->submit(g->inner, r);
  }
  g->inner->events = engine->events;
  g->inner->ops->turn(g->inner, now);
}

static bool gate_busy(const struct bx_engine *engine) {
  const struct gate *g = bx_container_of(engine, const struct gate, engine);

  for (const struct bx_list *link = g->waiting.next; link != &g->waiting; link = link->next)
    if (passes(g, bx_container_of(link, const struct bx_request, link))) return true;
  return g->inner->ops->busy(g->inner);
}

static const char *gate_not_ready(const struct bx_engine *engine) {
  (void)engine;
  return NULL;
}

static void gate_destroy(struct bx_engine *engine) {
  struct gate *g = gate_of(engine);
  struct bx_list *link;

  while ((link = bx_list_take(&g->waiting)) != NULL) {
    struct bx_request *r = bx_container_of(link, struct bx_request, link);
    r->done(r, BX_REFUSED, 0);
  }
  g->inner->ops->destroy(g->inner);
  bx_free(g);
}

static struct bx_engine *gate_create(struct world *w) {
  static const struct bx_engine_ops gate_ops = {
      .name = "gate",
      .submit = gate_submit,
      .touch = gate_touch,
      .turn = gate_turn,
      .busy = gate_busy,
      .not_ready = gate_not_ready,
      .destroy = gate_destroy,
  };
  struct gate *g = bx_alloc(sizeof *g);

  g->inner = bx_memory_engine_create(1700000000, 1000, (struct bx_table_key){1, 2});
  g->engine.ops = &gate_ops;
  g->engine.epoch = g->inner->epoch;
  g->engine.base = g->inner->base;
  g->w = w;
  bx_list_init(&g->waiting);
  return &g->engine;
}

// -- invariants ------------------------------------------------------------------------------------

static struct world_conf *conf_of(struct world *w, const struct bx_session *s) {
  for (size_t i = 0; i < WORLD_CONFS; i++) {
    struct world_conf *k = &w->confs[i];

    if (k->id[0] == '\0') snprintf(k->id, sizeof k->id, "%s", s->id);
    if (strcmp(k->id, s->id) == 0) return k;
  }
  return NULL;
}

static void check(struct world *w) {
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &w->server->states[state]) {
      struct bx_session *s = bx_container_of(link, struct bx_session, state_link);
      struct world_conf *known = conf_of(w, s);
      bx_position conf = bx_session_conf(w->server, s), sent = bx_session_sent(w->server, s);

      assert_true(conf <= sent);
      assert_true(sent <= bx_journal_head(&w->server->journal) || sent <= w->ahead);
      assert_true((s->connection != NULL) == (state == BX_SESSION_LIVE || state == BX_SESSION_READING));
      if (known == NULL) continue;
      assert_true(conf >= known->conf);
      known->conf = conf;
    }
}

// -- life ------------------------------------------------------------------------------------------

struct bx_server_options world_options(void) {
  return (struct bx_server_options){
      .message = {.depth = 32, .batch = 1000, .members = 256},
      .journal = {.messages = 100000, .bytes = 64 << 20, .age = 300000},
      .max_sessions = 1000,
      .max_subscriptions = 100,
      .max_channel_length = 1024,
      .max_channel_depth = 32,
      .max_outbox_bytes = 65536,
      .max_replies_bytes = 1 << 20,
      .max_waiting_bytes = 4 << 20,
      .max_all_waiting = 256 << 20,
  };
}

void world_init(struct world *w, const struct bx_server_options *options) {
  struct bx_server_options standard = world_options();
  struct bx_env env = {.context = w, .random = fill, .now = now, .event = note};

  *w = (struct world){.now = 1000, .seed = 88172645463325252ull};
  w->mount = (struct bx_mount){.path = BX_LIT("/bayeux"), .timeout = 10000};
  w->base = 1700000000ull * 1000000;
  w->server = bx_server_create(&env, options ? options : &standard, gate_create(w), w->now);
}

void world_fini(struct world *w) {
  struct bx_counters left;

  bx_server_destroy(w->server, &left);
  assert_int_equal(left.sessions, 0);
  assert_int_equal(left.frames, 0);
  assert_int_equal(left.batches, 0);
  assert_int_equal(left.waiting_bytes, 0);
  assert_int_equal(left.subscriptions, 0);
  assert_int_equal(left.connections, 0);
  assert_int_equal(left.live + left.reading + left.away + left.closing, 0);
}

// -- connections -----------------------------------------------------------------------------------

static struct wire *wire_of(struct bx_connection *c) { return bx_container_of(c, struct wire, c); }

// Once until it is drained.
static void wake(struct bx_connection *c) { wire_of(c)->woken = true; }

static void ask_close(struct bx_connection *c, unsigned code, const char *reason) {
  (void)reason;
  wire_of(c)->close_asked = true;
  wire_of(c)->close_code = code;
  wire_of(c)->woken = true;
}

static enum bx_arrival arrival(struct bx_connection *c) { return wire_of(c)->arrival; }

static const struct bx_connection_ops ops = {wake, ask_close, arrival};

static void drain_stream(struct wire *x) {
  struct bx_gathered gathered;

  if (x->stuck) return;
  x->woken = false;
  while (bx_connection_gather(&x->c, &x->got, &gathered)) {
    if (gathered.frame != NULL) {
      bx_buffer_add(&x->got, bx_frame_array(gathered.frame), bx_frame_array_len(gathered.frame));
      bx_frame_unref(gathered.frame);
    }
    bx_buffer_char(&x->got, '\n');
  }
}

static void drain(struct world *w) {
  bx_list_each (link, &w->server->connections) {
    struct wire *x = wire_of(bx_container_of(link, struct bx_connection, link));

    if (!x->woken) continue;
    if (x->c.kind != BX_CONNECTION_POLL) {
      drain_stream(x);
    } else {
      x->woken = false;
      if (!x->answered && bx_connection_answer(&x->c, &x->got)) x->answered = true;
    }
    check(w);
  }
}

void world_turn(struct world *w) {
  for (int i = 0; i < 10000; i++) {
    bool more = bx_server_turn(w->server, w->now);

    check(w);
    drain(w);
    if (!more && bx_server_deadline(w->server) > w->now) return;
  }
  fail_msg("the server never comes to rest");
}

void world_pass(struct world *w, bx_millis time) {
  bx_millis until = w->now + time;

  world_turn(w);
  while (bx_server_deadline(w->server) <= until) {
    w->now = bx_server_deadline(w->server);
    world_turn(w);
  }
  w->now = until;
  world_turn(w);
}

void wire_open(struct wire *x, struct world *w) {
  *x = (struct wire){.w = w, .open = true};
  bx_connection_init(&x->c, w->server, &ops, BX_CONNECTION_STREAM, "websocket", &w->mount, BX_LIT("127.0.0.1:1"));
}

void events_open(struct wire *x, struct world *w, const char *id, const char *last_event) {
  *x = (struct wire){.w = w, .open = true};
  bx_connection_init(&x->c, w->server, &ops, BX_CONNECTION_EVENTS, "eventsource", &w->mount, BX_LIT("127.0.0.1:1"));
  bx_connection_open_events(&x->c, bx_slice_of(id), bx_slice_of(last_event));
  check(w);
  world_turn(w);
}

static void over(struct wire *x, bool all_arrived) {
  bx_connection_lost(&x->c, all_arrived);
  bx_connection_fini(&x->c);
  bx_buffer_fini(&x->got);
  x->open = false;
  check(x->w);
}

void wire_close(struct wire *x) { over(x, false); }
void wire_echo(struct wire *x) { over(x, true); }

bool wire_bytes(struct wire *x, struct bx_slice text) {
  bool good = bx_connection_receive(&x->c, text);

  check(x->w);
  return good;
}

static bool send_text(struct wire *x, const char *text, va_list arguments) {
  static char line[1 << 16];
  int len = vsnprintf(line, sizeof line, text, arguments);

  assert_in_range(len, 0, sizeof line - 1);
  for (char *p = line; *p != '\0'; p++)
    if (*p == '\'') *p = '"';
  return wire_bytes(x, (struct bx_slice){line, (size_t)len});
}

bool wire_send(struct wire *x, const char *text, ...) {
  va_list arguments;
  bool good;

  va_start(arguments, text);
  good = send_text(x, text, arguments);
  va_end(arguments);
  return good;
}

void poll_open(struct wire *x, struct world *w) {
  *x = (struct wire){.w = w, .open = true, .arrival = BX_ARRIVAL_PENDING};
  bx_connection_init(&x->c, w->server, &ops, BX_CONNECTION_POLL, "long-polling", &w->mount, BX_LIT("127.0.0.1:2"));
}

bool poll_send(struct wire *x, struct world *w, const char *text, ...) {
  va_list arguments;
  bool good;

  poll_open(x, w);
  va_start(arguments, text);
  good = send_text(x, text, arguments);
  va_end(arguments);
  return good;
}

void poll_end(struct wire *x, enum bx_arrival how) {
  assert_true(x->answered);
  bx_connection_settle(&x->c, how);
  over(x, false);
}

void poll_abort(struct wire *x) {
  assert_false(x->answered);
  over(x, false);
}

bx_position wire_ping(struct wire *x) {
  bx_position position;
  return bx_connection_ping_position(&x->c, &position) ? position : 0;
}

void wire_pong(struct wire *x, bx_position position) {
  bx_connection_pong(&x->c, position);
  check(x->w);
}

const char *wire_take(struct wire *x) {
  static char text[1 << 20];
  size_t len = x->got.len < sizeof text - 1 ? x->got.len : sizeof text - 1;

  if (len > 0) memcpy(text, x->got.at, len);
  text[len] = '\0';
  for (char *p = text; *p != '\0'; p++)
    if (*p == '"') *p = '\'';
  bx_buffer_clear(&x->got);
  return text;
}

unsigned wire_count(struct wire *x, const char *piece) {
  struct bx_buffer wanted = {0};
  unsigned count = 0;
  char *at;

  bx_buffer_char(&x->got, '\0');
  bx_buffer_add(&wanted, piece, strlen(piece) + 1);
  for (char *p = wanted.at; *p != '\0'; p++)
    if (*p == '\'') *p = '"';
  for (at = x->got.at; (at = strstr(at, wanted.at)) != NULL; at++) count++;
  x->got.len--;
  bx_buffer_fini(&wanted);
  return count;
}

// -- clients ---------------------------------------------------------------------------------------

void world_handshake(struct world *w, char id[32]) {
  struct wire x;
  const char *at;

  assert_true(
      poll_send(&x, w, "[{'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']}]"));
  world_turn(w);
  at = strstr(wire_take(&x), "'clientId':'");
  assert_non_null(at);
  memcpy(id, at + 12, 31);
  id[31] = '\0';
  poll_end(&x, BX_ARRIVAL_YES);
}

const char *world_ask(struct world *w, const char *text, ...) {
  const char *reply;
  va_list arguments;
  struct wire x;

  poll_open(&x, w);
  va_start(arguments, text);
  assert_true(send_text(&x, text, arguments));
  va_end(arguments);
  world_turn(w);
  reply = wire_take(&x);
  poll_end(&x, BX_ARRIVAL_YES);
  return reply;
}

void poll_connect(struct wire *x, struct world *w, const char *id, const char *message_id) {
  assert_true(poll_send(x, w, "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'%s'}",
                        id, message_id));
  world_turn(w);
}

void stream_connect(struct wire *x, struct world *w, const char *id, const char *message_id) {
  wire_open(x, w);
  assert_true(wire_send(x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'%s'}", id,
                        message_id));
  world_turn(w);
}

static void ask(struct world *w, const char *verb, const char *id, const char *pattern) {
  struct wire x;

  assert_true(poll_send(&x, w, "{'channel':'/meta/%s','clientId':'%s','subscription':'%s'}", verb, id, pattern));
  world_turn(w);
  assert_int_equal(wire_count(&x, "'successful':true"), 1);
  poll_end(&x, BX_ARRIVAL_YES);
}

void world_subscribe(struct world *w, const char *id, const char *pattern) { ask(w, "subscribe", id, pattern); }
void world_unsubscribe(struct world *w, const char *id, const char *pattern) { ask(w, "unsubscribe", id, pattern); }

static bx_position published_at;

static void published(struct bx_outside_publish *o, enum bx_outcome outcome, bx_position position) {
  (void)o;
  assert_int_equal(outcome, BX_ACKNOWLEDGED);
  published_at = position;
}

bx_position world_publish(struct world *w, const char *channel, unsigned data) {
  struct bx_outside_publish o = {.done = published};
  char text[16];

  snprintf(text, sizeof text, "%u", data);
  assert_null(bx_server_publish(w->server, &o, bx_slice_of(channel), bx_slice_of(text), (struct bx_slice){0}));
  world_turn(w);
  return published_at;
}

struct bx_session *world_session(struct world *w, const char *id) {
  return bx_server_find_session(w->server, bx_slice_of(id));
}
