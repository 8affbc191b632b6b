// SPDX-License-Identifier: Apache-2.0
// Entries that are delivered together: everybody gets each once, in order, as if they came one by one.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

enum { MANY = 80 };

struct room {
  struct world w;
  struct wire publisher;
  struct wire stream[2];
  char id[2][32];
};

// Two sessions with a stream each.
static void begin(struct room *r, const struct bx_server_options *options) {
  *r = (struct room){0};
  world_init(&r->w, options);
  wire_open(&r->publisher, &r->w);
  for (unsigned i = 0; i < 2; i++) {
    world_handshake(&r->w, r->id[i]);
    stream_connect(&r->stream[i], &r->w, r->id[i], "1");
    wire_take(&r->stream[i]);
  }
}

static void end(struct room *r) {
  for (unsigned i = 0; i < 2; i++) wire_close(&r->stream[i]);
  wire_close(&r->publisher);
  world_fini(&r->w);
}

// Messages `from`, .., `from + count - 1` in one text, so that one turn brings them all; number n goes to the channel
// n % channels of those named. A turn passes, and all of them are acknowledged.
static void publish(struct room *r, unsigned from, unsigned count, const char *const *channels, unsigned named) {
  struct bx_buffer text = {0};

  for (unsigned n = from; n < from + count; n++)
    bx_buffer_printf(&text, "%c{\"channel\":\"%s\",\"data\":%u}", n == from ? '[' : ',', channels[n % named], n);
  bx_buffer_char(&text, ']');
  assert_true(wire_bytes(&r->publisher, bx_buffer_view(&text)));
  bx_buffer_fini(&text);
  world_turn(&r->w);
  assert_int_equal(wire_count(&r->publisher, "'successful':true"), count);
  wire_take(&r->publisher);
}

static void publish_to(struct room *r, const char *channel, unsigned from, unsigned count) {
  publish(r, from, count, &channel, 1);
}

// Since the last look: `count` messages, from number `from` on, each `step` above the last one.
static void assert_arrived(struct wire *x, unsigned from, unsigned count, unsigned step) {
  const char *at = wire_take(x);

  for (unsigned i = 0; i < count; i++) {
    at = strstr(at, "'data':");
    if (at == NULL) fail_msg("%u of %u messages arrived", i, count);
    at += 7;
    assert_int_equal(strtoul(at, NULL, 10), from + i * step);
  }
  assert_null(strstr(at, "'data':"));
}

static void assert_got(struct room *r, unsigned stream, unsigned from, unsigned count) {
  assert_arrived(&r->stream[stream], from, count, 1);
}

static enum bx_session_state state_of(struct room *r, unsigned i) { return world_session(&r->w, r->id[i])->state; }

static void a_turn_brings_them_at_once(void **state) {
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  world_subscribe(&r.w, r.id[1], "/a");
  for (unsigned count = 1, from = 0; count <= 3 * BX_RUN + 1; from += count, count++) {
    publish_to(&r, "/a", from, count);
    assert_got(&r, 0, from, count);
    assert_got(&r, 1, from, count);
  }
  assert_int_equal(state_of(&r, 0), BX_SESSION_LIVE);
  assert_int_equal(r.w.server->counters.overflows, 0);
  end(&r);
}

// Those of several channels stay in the order in which they were published.
static void of_several_channels(void **state) {
  static const char *const channels[] = {"/a", "/a", "/b", "/c", "/a"};
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  world_subscribe(&r.w, r.id[0], "/b");
  world_subscribe(&r.w, r.id[0], "/c");
  world_subscribe(&r.w, r.id[1], "/*");
  publish(&r, 0, 50, channels, 5);
  assert_got(&r, 0, 0, 50);
  assert_got(&r, 1, 0, 50);
  end(&r);
}

static void each_its_own_channel(void **state) {
  static const char *const channels[] = {"/a", "/b"};
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  world_subscribe(&r.w, r.id[1], "/b");
  publish(&r, 0, 50, channels, 2);
  assert_arrived(&r.stream[0], 0, 25, 2);
  assert_arrived(&r.stream[1], 1, 25, 2);
  end(&r);
}

// A channel and a pattern that matches it, by one session and by two.
static void through_several_topics(void **state) {
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a/**");
  world_subscribe(&r.w, r.id[0], "/a/b");
  world_subscribe(&r.w, r.id[1], "/a/*");
  publish_to(&r, "/a/b", 0, 40);
  assert_got(&r, 0, 0, 40);
  assert_got(&r, 1, 0, 40);
  end(&r);
}

// More than an outbox takes: the session reads the rest from the journal.
static void more_than_there_is_room_for(void **state) {
  struct bx_server_options options = world_options();

  (void)state;
  options.max_outbox_bytes = 100;   // three
  for (unsigned i = 0; i < 2; i++) {
    struct room r;

    begin(&r, &options);
    world_subscribe(&r.w, r.id[0], "/a");
    world_subscribe(&r.w, r.id[1], i == 0 ? "/a" : "/*");
    publish_to(&r, "/a", 10, 2);
    assert_int_equal(r.w.server->counters.overflows, 0);
    assert_got(&r, 0, 10, 2);
    assert_got(&r, 1, 10, 2);
    publish_to(&r, "/a", 20, 10);
    assert_int_equal(r.w.server->counters.overflows, 2);
    assert_got(&r, 0, 20, 10);
    assert_got(&r, 1, 20, 10);
    assert_int_equal(state_of(&r, 0), BX_SESSION_LIVE);
    end(&r);
  }
}

// What waits already stays in front; the other one is not held up.
static void behind_what_waits(void **state) {
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  world_subscribe(&r.w, r.id[1], "/a");
  r.stream[0].stuck = true;
  publish_to(&r, "/a", 0, 1);
  publish_to(&r, "/a", 1, 10);
  publish_to(&r, "/a", 11, 10);
  assert_got(&r, 1, 0, 21);
  assert_got(&r, 0, 0, 0);
  publish_to(&r, "/a", 21, 60);   // an outbox holds 64
  assert_int_equal(state_of(&r, 0), BX_SESSION_READING);
  r.stream[0].stuck = false;
  r.stream[0].woken = true;
  world_turn(&r.w);
  world_turn(&r.w);
  assert_got(&r, 0, 0, 81);
  assert_got(&r, 1, 21, 60);
  end(&r);
}

// They leave the journal before they are delivered.
static void a_journal_of_a_few(void **state) {
  struct bx_server_options options = world_options();
  struct room r;

  (void)state;
  options.journal.messages = 3;
  begin(&r, &options);
  world_subscribe(&r.w, r.id[0], "/a");
  world_subscribe(&r.w, r.id[1], "/**");
  publish_to(&r, "/a", 0, 40);
  assert_got(&r, 0, 0, 40);
  assert_got(&r, 1, 0, 40);
  world_unsubscribe(&r.w, r.id[1], "/**");
  publish_to(&r, "/a", 40, 40);
  assert_got(&r, 0, 40, 40);
  assert_int_equal(r.w.server->counters.overflows, 0);
  end(&r);
}

// What was not handed over before the connection went comes again, and what was does not.
static void to_a_stream_that_goes(void **state) {
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  publish_to(&r, "/a", 0, 5);
  assert_got(&r, 0, 0, 5);
  wire_pong(&r.stream[0], wire_ping(&r.stream[0]));
  r.stream[0].stuck = true;
  publish_to(&r, "/a", 5, 20);
  wire_close(&r.stream[0]);
  stream_connect(&r.stream[0], &r.w, r.id[0], "2");
  assert_got(&r, 0, 5, 20);
  end(&r);
}

// Polls have one answer: all of it.
static void to_polls(void **state) {
  struct room r;
  struct wire poll;
  char id[32];

  (void)state;
  begin(&r, NULL);
  world_handshake(&r.w, id);
  world_subscribe(&r.w, id, "/a");
  poll_connect(&poll, &r.w, id, "1");
  publish_to(&r, "/a", 0, 30);
  assert_int_equal(wire_count(&poll, "'data':"), 30);
  poll_end(&poll, BX_ARRIVAL_YES);
  end(&r);
}

// -- as an engine tells them -------------------------------------------------------------------------

static void tell(struct room *r, bx_position position, const char *channel) {
  const struct bx_engine_events *events = &r->w.server->engine->events;
  struct bx_frame *frame;
  char text[64];
  int len = snprintf(text, sizeof text, "{\"data\":%u}", (unsigned)(position - r->w.base));

  frame = bx_frame_create((size_t)len, r->w.server->engine->frames);
  memcpy(bx_frame_text(frame), text, (size_t)len);
  events->appended(events->context, position, bx_slice_of(channel), frame);
  bx_frame_unref(frame);
}

static void deliver(struct room *r) {
  r->w.server->engine->events.deliver(r->w.server->engine->events.context);
  world_turn(&r->w);
}

static void more_than_a_run(void **state) {
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  for (unsigned n = 1; n <= 50; n++) tell(&r, r.w.base + n, "/a");
  deliver(&r);
  assert_got(&r, 0, 1, 50);
  end(&r);
}

// A place for the first one alone was never needed: the outbox was filled at once.
static void a_session_is_visited_once(void **state) {
  struct room r;

  (void)state;
  begin(&r, NULL);
  world_subscribe(&r.w, r.id[0], "/a");
  for (unsigned n = 1; n <= 5; n++) tell(&r, r.w.base + n, "/a");
  deliver(&r);
  assert_null(world_session(&r.w, r.id[0])->outbox.only);
  assert_got(&r, 0, 1, 5);
  end(&r);
}

// More than are looked at in advance.
static void to_many(void **state) {
  struct wire stream[MANY];
  struct room r;
  char id[32];

  (void)state;
  begin(&r, NULL);
  for (unsigned i = 0; i < MANY; i++) {
    world_handshake(&r.w, id);
    world_subscribe(&r.w, id, "/a");
    if (i % 2) world_subscribe(&r.w, id, "/*");
    stream_connect(&stream[i], &r.w, id, "1");
    wire_take(&stream[i]);
  }
  for (unsigned from = 0; from < 10; from += 5) {
    publish_to(&r, "/a", from, 5);
    for (unsigned i = 0; i < MANY; i++) assert_arrived(&stream[i], from, 5, 1);
  }
  for (unsigned i = 0; i < MANY; i++) wire_close(&stream[i]);
  end(&r);
}

// Of sessions that were made on a node further on: each of its patterns counts from its own position.
static void from_different_starts(void **state) {
  static const struct bx_record_subscription all[][2] = {
      {{.pattern = BX_LIT("/a/b")}, {.pattern = BX_LIT("/x")}},
      {{.pattern = BX_LIT("/a/b")}, {.pattern = BX_LIT("/a/*")}},
  };

  (void)state;
  for (unsigned i = 0; i < 2; i++) {
    struct bx_record_subscription subs[2] = {all[i][0], all[i][1]};
    struct bx_record record = {.id = BX_LIT("from-elsewhere"), .generation = 2, .life = 60000, .remaining = 60000};
    struct room r;
    struct wire x;

    begin(&r, NULL);
    record.conf = record.sent = r.w.base;
    record.subscriptions = subs;
    record.subscription_count = 2;
    subs[0].start = r.w.base + 5;
    subs[1].start = r.w.base + 2;
    r.w.server->engine->events.adopt(r.w.server, &record);
    stream_connect(&x, &r.w, "from-elsewhere", "1");
    wire_take(&x);
    for (unsigned n = 1; n <= 10; n++) tell(&r, r.w.base + n, "/a/b");
    deliver(&r);
    assert_arrived(&x, i == 0 ? 6 : 3, i == 0 ? 5 : 8, 1);
    wire_close(&x);
    end(&r);
  }
}

// Twins of what a rollback took: who had them does not get them again, and who came since does.
static void twins(void **state) {
  const struct bx_engine_events *events;
  struct room r;
  struct wire since;
  bx_position base;
  char id[32];

  (void)state;
  begin(&r, NULL);
  events = &r.w.server->engine->events;
  base = r.w.base;
  world_subscribe(&r.w, r.id[0], "/a");
  for (unsigned n = 1; n <= 3; n++) tell(&r, base + n, "/a");
  deliver(&r);
  assert_got(&r, 0, 1, 3);
  assert_int_equal(events->epoch(events->context, 2, base + 10, base + 1), 2);   // 2 and 3 are gone
  events->jump(events->context, base + 10);
  world_turn(&r.w);
  world_handshake(&r.w, id);
  world_subscribe(&r.w, id, "/a");
  stream_connect(&since, &r.w, id, "1");
  wire_take(&since);
  for (unsigned n = 11; n <= 17; n++) {
    if (n == 13 || n == 14) events->again(events->context, base + n - 11);
    tell(&r, base + n, "/a");
  }
  deliver(&r);
  assert_int_equal(wire_count(&r.stream[0], "'data':"), 5);
  assert_int_equal(wire_count(&r.stream[0], "{'data':13}") + wire_count(&r.stream[0], "{'data':14}"), 0);
  assert_arrived(&since, 11, 7, 1);
  wire_close(&since);
  end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_turn_brings_them_at_once),
      cmocka_unit_test(of_several_channels),
      cmocka_unit_test(each_its_own_channel),
      cmocka_unit_test(through_several_topics),
      cmocka_unit_test(more_than_there_is_room_for),
      cmocka_unit_test(behind_what_waits),
      cmocka_unit_test(a_journal_of_a_few),
      cmocka_unit_test(to_a_stream_that_goes),
      cmocka_unit_test(to_polls),
      cmocka_unit_test(more_than_a_run),
      cmocka_unit_test(a_session_is_visited_once),
      cmocka_unit_test(to_many),
      cmocka_unit_test(from_different_starts),
      cmocka_unit_test(twins),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
