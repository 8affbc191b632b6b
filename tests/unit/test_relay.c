// SPDX-License-Identifier: Apache-2.0
// The relay between pods, driven by hand: what it asks when, what it carries, and that answers to
// questions which were given up, gaps and nonsense do no harm.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine-redis/core/relay.h"

static struct {
  char said[2048];   // what was sent and told since the last look: "<link> <command> <args>;"
  struct er_relay *relay;
  struct er_relay_counters counters;
  bx_millis now;
} t;

static void add(const char *format, ...) {
  size_t len = strlen(t.said);
  va_list args;
  va_start(args, format);
  vsnprintf(t.said + len, sizeof t.said - len, format, args);
  va_end(args);
}

static void send(void *context, enum er_which which, const char *command, const struct bx_slice *args, size_t count) {
  (void)context;
  add("%s %s", which == ER_COMMAND ? "there" : "here", command);
  for (size_t i = 0; i < count; i++) add(" %.*s", args[i].len ? (int)args[i].len : 1, args[i].len ? args[i].at : "''");
  add(";");
}

static void reset(void *context, enum er_which which, const char *why) {
  (void)context, (void)which, add("reset %s;", why);
}

static void event(void *context, const char *id, struct bx_slice detail) {
  (void)context;
  add("%s %.*s;", id, (int)detail.len, detail.at);
}

#define EXPECT(text) (assert_string_equal(t.said, text), t.said[0] = 0)
#define ASKED "there relay ns a n run ' ' 2000;"
#define READS(at) "here XREAD BLOCK 1000 COUNT 256 STREAMS ns:journal " at "-0;"

static struct er_reply text(const char *s) { return (struct er_reply){.type = ER_REPLY_TEXT, .text = bx_slice_of(s)}; }
static struct er_reply list(struct er_reply *items, size_t count) {
  return (struct er_reply){.type = ER_REPLY_ARRAY, .items = items, .count = count};
}

static void there(const char *word, const char *number) {
  struct er_reply items[] = {text(word), text(number ? number : "")}, reply = list(items, number ? 2 : 1);
  er_relay_reply(t.relay, ER_COMMAND, &reply, t.now);
}

// Entries, each "id name value name value".
static void here(const char *const *entries) {
  struct er_reply rows[8], pairs[8][2], fields[8][12], stream[2], streams[1];
  char copies[8][200];
  size_t n = 0;
  for (; entries[n]; n++) {
    size_t count = 0;
    snprintf(copies[n], sizeof copies[n], "%s", entries[n]);
    char *at = copies[n], *id = strsep(&at, " ");
    while (at) fields[n][count++] = text(strsep(&at, " "));
    pairs[n][0] = text(id);
    pairs[n][1] = list(fields[n], count);
    rows[n] = list(pairs[n], 2);
  }
  stream[0] = text("ns:journal");
  stream[1] = list(rows, n);
  streams[0] = list(stream, 2);
  struct er_reply reply = n ? list(streams, 1) : (struct er_reply){.type = ER_REPLY_NIL};
  er_relay_reply(t.relay, ER_TAIL, &reply, t.now);
}
#define HERE(...) here((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING here((const char *const[]){NULL})

static void both_up(void) {
  er_relay_up(t.relay, ER_TAIL, BX_LIT("own"), t.now);
  EXPECT("");
  er_relay_up(t.relay, ER_COMMAND, BX_LIT("run"), t.now);
  EXPECT(ASKED);
}

static int open_relay(void **state) {
  static const struct er_core_env env = {.send = send, .reset = reset, .event = event};
  (void)state;
  memset(&t, 0, sizeof t);
  t.now = 1000;
  t.relay =
      er_relay_create(&env, &(struct er_relay_options){BX_LIT("ns"), BX_LIT("a"), BX_LIT("n"), 1000}, &t.counters);
  return 0;
}

static int close_relay(void **state) {
  (void)state;
  er_relay_destroy(t.relay);
  return 0;
}

static void carries(void **state) {
  (void)state;
  both_up();
  assert_string_equal(er_relay_state(t.relay), "waiting");
  there("AT", "10");
  EXPECT(READS("10"));
  assert_string_equal(er_relay_state(t.relay), "relaying");
  HERE("11-0 c /a m 1 o n:1", "12-0 c /b m 2 o x:9 p b", "13-0 k probe c /meta/mora/n", "14-0 k revoke c /r m 3 o n:2",
       "900-0 k epoch s 14 e 2", "901-0 c /a m 4 o n:3");
  EXPECT("there relay ns a n run 10 901 2000 ' /a 1 n:1 revoke /r 3 n:2 ' /a 4 n:3;");
  assert_int_equal(er_relay_cursor(t.relay), 10);
  there("OK", "3");
  EXPECT(READS("901"));
  assert_int_equal(er_relay_cursor(t.relay), 901);
  assert_int_equal(t.counters.relayed, 3);
  NOTHING;
  EXPECT("there relay ns a n run 901 901 2000;");   // keeps the lease
  there("OK", "0");
  EXPECT(READS("901"));
  assert_int_equal(t.counters.relay_gaps, 0);
}

static void begins_at_the_newest(void **state) {
  (void)state;
  both_up();
  there("AT", "");
  EXPECT("here XREVRANGE ns:journal + - COUNT 1;");
  struct er_reply pair[] = {text("77-0"), list(NULL, 0)}, row = list(pair, 2), reply = list(&row, 1);
  er_relay_reply(t.relay, ER_TAIL, &reply, t.now);
  EXPECT("there relay ns a n run ' 77 2000;");
  there("OK", "0");
  EXPECT(READS("77"));
}

static void begins_with_an_empty_journal(void **state) {
  (void)state;
  both_up();
  there("AT", "");
  EXPECT("here XREVRANGE ns:journal + - COUNT 1;");
  struct er_reply reply = list(NULL, 0);
  er_relay_reply(t.relay, ER_TAIL, &reply, t.now);
  EXPECT("there relay ns a n run ' 0 2000;");
  there("OK", "0");
  EXPECT(READS("0"));
  HERE("5000000-0 k epoch s 0 e 1", "5000001-0 c /a m 1 o n:1");
  EXPECT("there relay ns a n run 0 5000001 2000 ' /a 1 n:1;");
  assert_int_equal(t.counters.relay_gaps, 0);
}

static void somebody_else_was_faster(void **state) {
  (void)state;
  both_up();
  there("AT", "10");
  EXPECT(READS("10"));
  HERE("11-0 c /a m 1 o n:1");
  t.said[0] = 0;
  there("AT", "12");
  EXPECT(READS("12"));
}

static void refusals_rest_and_are_told_once(void **state) {
  (void)state;
  both_up();
  there("HELD", NULL);
  EXPECT("");
  er_relay_tick(t.relay, t.now + 999);
  EXPECT("");
  er_relay_tick(t.relay, t.now + 1000);
  EXPECT(ASKED);
  t.now += 1000;
  there("EPOCH", NULL);
  EXPECT("pod.waits EPOCH;");
  er_relay_tick(t.relay, t.now += 1000);
  EXPECT(ASKED);
  there("EPOCH", NULL);
  EXPECT("");
  er_relay_tick(t.relay, t.now += 1000);
  EXPECT(ASKED);
  struct er_reply error = {.type = ER_REPLY_ERROR, .text = BX_LIT("ERR no")};
  er_relay_reply(t.relay, ER_COMMAND, &error, t.now);
  EXPECT("pod.waits ERR no;");
  er_relay_tick(t.relay, t.now += 1000);
  EXPECT(ASKED);
  there("AT", "x");   // as if nothing were there
  EXPECT("here XREVRANGE ns:journal + - COUNT 1;");
}

// A read is under way when the other pod's link breaks: its answer comes into another question.
static void an_answer_to_what_was_given_up(void **state) {
  (void)state;
  both_up();
  there("AT", "10");
  EXPECT(READS("10"));
  er_relay_down(t.relay, ER_COMMAND, t.now);
  assert_string_equal(er_relay_state(t.relay), "down");
  er_relay_up(t.relay, ER_COMMAND, BX_LIT("other"), t.now);
  EXPECT("there relay ns a n other ' ' 2000;");
  there("AT", "20");
  EXPECT(READS("20"));
  HERE("11-0 c /a m 1 o n:1");   // to the first
  EXPECT("");
  HERE("21-0 c /a m 2 o n:2");
  EXPECT("there relay ns a n other 20 21 2000 ' /a 2 n:2;");
}

static void what_the_journal_lost_is_told(void **state) {
  (void)state;
  both_up();
  there("AT", "10");
  t.said[0] = 0;
  HERE("15-0 c /a m 1 o n:1");
  EXPECT("pod.gap 11 to 14;there relay ns a n run 10 15 2000 ' /a 1 n:1;");
  assert_int_equal(t.counters.relay_gaps, 1);
}

static void nonsense_in_the_journal(void **state) {
  (void)state;
  both_up();
  there("AT", "10");
  t.said[0] = 0;
  HERE("11-7 c /a m 1", "x c /a");
  EXPECT("there relay ns a n run 10 10 2000;");
  there("OK", "0");
  EXPECT("here XREAD BLOCK 1000 COUNT 256 STREAMS ns:journal x;");   // Redis says what it thinks of that
  struct er_reply error = {.type = ER_REPLY_ERROR, .text = BX_LIT("ERR Invalid stream ID")};
  er_relay_reply(t.relay, ER_TAIL, &error, t.now);
  EXPECT("pod.waits ERR Invalid stream ID;");
}

// What does not fit into one call is read again, so no more is read than did.
static void large_entries_are_read_few_at_a_time(void **state) {
  enum { LARGE = 600 << 10 };
  char *large = memset(malloc(LARGE), '1', LARGE);
  struct er_reply fields[4] = {text("c"), text("/a"), text("m"), {.type = ER_REPLY_TEXT, .text = {large, LARGE}}};
  struct er_reply pairs[3][2] = {
      {text("11-0"), list(fields, 4)}, {text("12-0"), list(fields, 4)}, {text("13-0"), list(fields, 4)}};
  struct er_reply rows[3] = {list(pairs[0], 2), list(pairs[1], 2), list(pairs[2], 2)};
  struct er_reply stream[2] = {text("ns:journal"), list(rows, 3)}, streams = list(stream, 2), reply = list(&streams, 1);
  (void)state;
  both_up();
  there("AT", "10");
  EXPECT(READS("10"));
  er_relay_reply(t.relay, ER_TAIL, &reply, t.now);
  t.said[0] = 0;
  there("OK", "2");
  EXPECT("here XREAD BLOCK 1000 COUNT 2 STREAMS ns:journal 12-0;");
  HERE("13-0 c /a m 1");
  t.said[0] = 0;
  there("OK", "1");
  EXPECT("here XREAD BLOCK 1000 COUNT 4 STREAMS ns:journal 13-0;");
  for (int i = 0; i < 7; i++) {
    NOTHING;
    t.said[0] = 0;
    there("OK", "0");
  }
  EXPECT(READS("13"));
  free(large);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_relay, close_relay)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(carries),
      TEST(begins_at_the_newest),
      TEST(begins_with_an_empty_journal),
      TEST(somebody_else_was_faster),
      TEST(refusals_rest_and_are_told_once),
      TEST(an_answer_to_what_was_given_up),
      TEST(what_the_journal_lost_is_told),
      TEST(nonsense_in_the_journal),
      TEST(large_entries_are_read_few_at_a_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
