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

static void note(void *context, enum bx_event event, const struct bx_session *s, struct bx_slice detail) {
  struct world *w = context;
  size_t len = detail.len < sizeof w->last_detail - 1 ? detail.len : sizeof w->last_detail - 1;

  (void)s;
  if (event == BX_EVENT_HANDSHAKE) w->handshakes++;
  if (event == BX_EVENT_SUBSCRIBE) w->subscribes++;
  if (event == BX_EVENT_UNSUBSCRIBE) w->unsubscribes++;
  if (event == BX_EVENT_DISCONNECT) w->disconnects++;
  if (len > 0) memcpy(w->last_detail, detail.at, len);
  w->last_detail[len] = '\0';
}

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
  };
}

void world_init(struct world *w, const struct bx_server_options *options) {
  struct bx_server_options standard = world_options();
  struct bx_env env = {.context = w, .random = fill, .event = note};

  *w = (struct world){.now = 1000, .seed = 88172645463325252ull};
  w->mount = (struct bx_mount){.path = BX_LIT("/bayeux"), .timeout = 10000};
  w->base = 1700000000ull * 1000000;
  w->server = bx_server_create(&env, options ? options : &standard,
                               bx_memory_engine_create(1700000000, 1000, (struct bx_table_key){1, 2}), w->now);
}

void world_fini(struct world *w) {
  struct bx_counters left;

  bx_server_destroy(w->server, &left);
  assert_int_equal(left.sessions, 0);
  assert_int_equal(left.frames, 0);
  assert_int_equal(left.batches, 0);
  assert_int_equal(left.subscriptions, 0);
  assert_int_equal(left.connections, 0);
  assert_int_equal(left.live + left.reading + left.away + left.closing, 0);
}

// -- connections -----------------------------------------------------------------------------------

static struct wire *wire_of(struct bx_connection *c) { return bx_container_of(c, struct wire, c); }

static void wake(struct bx_connection *c) { (void)c; }

static void ask_close(struct bx_connection *c, unsigned code, const char *reason) {
  (void)reason;
  wire_of(c)->close_asked = true;
  wire_of(c)->close_code = code;
}

static enum bx_arrival arrival(struct bx_connection *c) { return wire_of(c)->arrival; }

static const struct bx_connection_ops ops = {wake, ask_close, arrival};

static void drain_stream(struct wire *x) {
  struct bx_gathered gathered;

  while (!x->stuck && bx_connection_gather(&x->c, &x->got, &gathered)) {
    if (gathered.frame != NULL) {
      bx_buffer_add(&x->got, bx_frame_array(gathered.frame), bx_frame_array_len(gathered.frame));
      bx_frame_unref(gathered.frame);
    }
    bx_buffer_char(&x->got, '\n');
  }
}

static void drain(struct world *w) {
  bx_list_each(link, &w->server->connections) {
    struct wire *x = wire_of(bx_container_of(link, struct bx_connection, link));

    if (x->c.kind == BX_CONNECTION_STREAM)
      drain_stream(x);
    else if (!x->answered && bx_connection_answer(&x->c, &x->got))
      x->answered = true;
  }
}

void world_turn(struct world *w) {
  for (int i = 0; i < 10000; i++) {
    bool more = bx_server_turn(w->server, w->now);

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

static void over(struct wire *x, bool all_arrived) {
  bx_connection_lost(&x->c, all_arrived);
  bx_connection_fini(&x->c);
  bx_buffer_fini(&x->got);
  x->open = false;
}

void wire_close(struct wire *x) { over(x, false); }
void wire_echo(struct wire *x) { over(x, true); }

static bool send_text(struct wire *x, const char *text, va_list arguments) {
  static char line[1 << 16];
  int len = vsnprintf(line, sizeof line, text, arguments);

  assert_in_range(len, 0, sizeof line - 1);
  for (char *p = line; *p != '\0'; p++)
    if (*p == '\'') *p = '"';
  return bx_connection_receive(&x->c, (struct bx_slice){line, (size_t)len});
}

bool wire_send(struct wire *x, const char *text, ...) {
  va_list arguments;
  bool good;

  va_start(arguments, text);
  good = send_text(x, text, arguments);
  va_end(arguments);
  return good;
}

bool poll_send(struct wire *x, struct world *w, const char *text, ...) {
  va_list arguments;
  bool good;

  *x = (struct wire){.w = w, .open = true, .arrival = BX_ARRIVAL_PENDING};
  bx_connection_init(&x->c, w->server, &ops, BX_CONNECTION_POLL, "long-polling", &w->mount, BX_LIT("127.0.0.1:2"));
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

  assert_true(poll_send(&x, w, "[{'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']}]"));
  world_turn(w);
  at = strstr(wire_take(&x), "'clientId':'");
  assert_non_null(at);
  memcpy(id, at + 12, 31);
  id[31] = '\0';
  poll_end(&x, BX_ARRIVAL_YES);
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
