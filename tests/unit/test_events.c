// SPDX-License-Identifier: Apache-2.0
// Streams of events: whose they are, what Last-Event-ID and later connects confirm, and the numbers of
// messages on mounts that number them.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

static struct world w;
static char id[32];

static void begin(void) {
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
}

static void publish(unsigned first, unsigned last) {
  for (unsigned i = first; i <= last; i++) world_publish(&w, "/a", i);
  world_turn(&w);
}

// The numbers behind `name` in what arrived, as "1 2 3".
static const char *numbers(struct wire *x, const char *name) {
  static char out[1024];
  size_t len = 0;

  out[0] = '\0';
  for (const char *at = wire_take(x); (at = strstr(at, name)) != NULL; at += strlen(name))
    len += (size_t)snprintf(out + len, sizeof out - len, "%s%lu", len > 0 ? " " : "",
                            strtoul(at + strlen(name), NULL, 10));
  return out;
}

static void gets(struct wire *x, const char *expected) { assert_string_equal(numbers(x, "'data':"), expected); }

static const char *event_id(const struct wire *x) {
  static char out[64];
  struct bx_buffer text = {0};

  bx_connection_event_id(&x->c, &text);
  snprintf(out, sizeof out, "%.*s", (int)text.len, text.at);
  bx_buffer_fini(&text);
  return out;
}

static void connect_by_post(void) {
  const char *answer =
      world_ask(&w, "{'channel':'/meta/connect','clientId':'%s','connectionType':'eventsource','id':'x'}", id);
  assert_non_null(strstr(answer, "'successful':true"));
}

static void a_stream_is_of_a_session_that_exists(void **state) {
  static const char *const bad[] = {"", "nobody", "\"", "\xff", "a\\u0041"};
  struct wire x;

  (void)state;
  begin();
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    events_open(&x, &w, bad[i], "");
    assert_true(x.c.sought);
    assert_null(x.c.session);
    assert_string_equal(wire_take(&x), "");   // no reply comes this way
    wire_close(&x);
  }
  events_open(&x, &w, id, "");
  assert_ptr_equal(x.c.session, world_session(&w, id));
  publish(1, 1);
  gets(&x, "1");
  wire_close(&x);
  world_fini(&w);
}

static void the_last_event_is_where_it_goes_on(void **state) {
  struct wire x, again;
  char last[64];

  (void)state;
  for (unsigned open = 0; open < 2; open++) {   // the first stream is broken, or is still there
    begin();
    events_open(&x, &w, id, "");
    publish(1, 2);
    gets(&x, "1 2");
    snprintf(last, sizeof last, "%s", event_id(&x));
    publish(3, 4);
    gets(&x, "3 4");
    if (!open) wire_close(&x);
    publish(5, 5);
    events_open(&again, &w, id, last);
    gets(&again, "3 4 5");
    if (open) {
      assert_true(x.close_asked);
      wire_echo(&x);
    }
    assert_int_equal(w.server->counters.bad_event_ids, 0);
    assert_int_equal(w.server->counters.resent, open ? 3 : 2);
    wire_close(&again);
    world_fini(&w);
  }
}

// What came again is counted, not what might have: a client that has it all goes on behind it.
static void what_comes_again_is_counted(void **state) {
  struct wire x;
  char last[64];

  (void)state;
  begin();
  events_open(&x, &w, id, "");
  publish(1, 100);
  snprintf(last, sizeof last, "%s", event_id(&x));
  wire_close(&x);
  publish(101, 101);
  events_open(&x, &w, id, last);
  gets(&x, "101");
  assert_int_equal(w.server->counters.resent, 0);
  publish(102, 102);
  wire_close(&x);
  events_open(&x, &w, id, "");   // knows nothing: both come again
  publish(103, 103);
  assert_int_equal(w.server->counters.resent, 2);
  wire_close(&x);
  events_open(&x, &w, id, "");   // and once more, with the one behind them
  assert_int_equal(w.server->counters.resent, 5);
  publish(104, 104);
  assert_int_equal(w.server->counters.resent, 5);
  wire_close(&x);
  world_fini(&w);
}

static void without_it_what_is_not_confirmed_comes_again(void **state) {
  struct wire x, again;

  (void)state;
  begin();
  events_open(&x, &w, id, "");
  publish(1, 2);
  gets(&x, "1 2");
  x.arrival = BX_ARRIVAL_YES;   // TCP alone is no evidence for a stream that is opened anew
  events_open(&again, &w, id, "");
  wire_echo(&x);
  gets(&again, "1 2");
  wire_close(&again);
  world_fini(&w);
}

static void ids_that_are_none_of_the_session(void **state) {
  static const char *const bad[] = {
      "x",  "1",  "-1",  "1-",           "1--1", "9007199254740991", "99999999999999999999",
      "1 ", "+1", "1e3", "1-4294967296", "12-x"};
  struct wire x;

  (void)state;
  begin();
  publish(1, 1);
  for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    events_open(&x, &w, id, bad[i]);
    assert_int_equal(w.server->counters.bad_event_ids, i + 1);
    gets(&x, "1");
    wire_close(&x);
  }
  world_fini(&w);
}

static void a_connect_confirms_what_was_handed_over_at_the_one_before(void **state) {
  struct wire x;
  bx_position conf;

  (void)state;
  begin();
  events_open(&x, &w, id, "");
  publish(1, 1);
  conf = bx_session_conf(w.server, world_session(&w, id));
  connect_by_post();
  publish(2, 2);
  x.arrival = BX_ARRIVAL_PENDING;   // TCP knows better
  connect_by_post();
  assert_int_equal(bx_session_conf(w.server, world_session(&w, id)), conf);
  x.arrival = BX_ARRIVAL_YES;
  publish(3, 3);
  connect_by_post();
  assert_int_equal(bx_session_conf(w.server, world_session(&w, id)), conf + 2);
  gets(&x, "1 2 3");
  wire_close(&x);
  events_open(&x, &w, id, "");
  gets(&x, "3");
  wire_close(&x);
  world_fini(&w);
}

static void a_close_of_ours_that_arrived_confirms(void **state) {
  struct wire x;

  (void)state;
  begin();
  events_open(&x, &w, id, "");
  publish(1, 1);
  gets(&x, "1");
  bx_server_drain(w.server);
  assert_true(x.close_asked);
  wire_echo(&x);
  assert_false(world_session(&w, id)->pending);
  world_fini(&w);
}

// A message that comes again has the number that it had.
static void numbered_messages(void **state) {
  struct wire x;
  char last[64];

  (void)state;
  begin();
  w.mount.sequence = true;
  events_open(&x, &w, id, "");
  publish(1, 2);
  snprintf(last, sizeof last, "%s", event_id(&x));
  assert_non_null(strstr(last, "-2"));
  publish(3, 4);
  assert_string_equal(numbers(&x, "'ext':{'c':"), "1 2 3 4");
  wire_close(&x);
  events_open(&x, &w, id, last);
  publish(5, 5);
  assert_string_equal(numbers(&x, "'ext':{'c':"), "3 4 5");
  wire_close(&x);
  stream_connect(&x, &w, id, "1");
  publish(6, 6);
  assert_string_equal(numbers(&x, "'ext':{'c':"), "3 4 5 6");
  wire_close(&x);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stream_is_of_a_session_that_exists),
      cmocka_unit_test(the_last_event_is_where_it_goes_on),
      cmocka_unit_test(what_comes_again_is_counted),
      cmocka_unit_test(without_it_what_is_not_confirmed_comes_again),
      cmocka_unit_test(ids_that_are_none_of_the_session),
      cmocka_unit_test(a_connect_confirms_what_was_handed_over_at_the_one_before),
      cmocka_unit_test(a_close_of_ours_that_arrived_confirms),
      cmocka_unit_test(numbered_messages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
