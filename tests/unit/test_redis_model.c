// SPDX-License-Identifier: Apache-2.0
// What tests/integration/redis-scripts cannot ask of the model, because a real Redis cannot be asked:
// time that the test moves, and keyspaces that go back. Also the embedding of the scripts.
#include "tests/simulation/model.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine-redis/scripts/scripts.h"

#define START 1700000000000000ull   // microseconds
#define MOST 32

static struct sim_redis *redis;
static struct er_reply *last;

// Calls with the words of a line: `create ns 1700000000 A s bob 60000 5`. '' is an empty word.
static const struct er_reply *call(const char *format, ...) {
  static char line[1024];
  struct bx_slice words[MOST] = {{0}};
  size_t count = 0;
  va_list list;
  va_start(list, format);
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
    assert_true(count < MOST);
    words[count++] = bx_slice_of(strcmp(word, "''") == 0 ? "" : word);
  }
  sim_reply_destroy(last);
  assert_true(count > 0);
  last = sim_redis_call(redis, words[0].at, words + 1, count - 1);
  return last;
}

static void pass(uint64_t ms) { redis->clock += ms * 1000; }

static bool there(const char *key) { return call("EXISTS %s", key)->number == 1; }

static uint64_t number(size_t i) {
  uint64_t n = 0;
  assert_true(er_reply_u64(last, i, &n));
  return n;
}

#define assert_word(reply, word) assert_true(er_reply_is(reply, word))

static int open_model(void **state) {
  (void)state;
  redis = sim_redis_create(START, "run-1");
  return 0;
}

static int close_model(void **state) {
  (void)state;
  sim_reply_destroy(last);
  last = NULL;
  sim_redis_destroy(redis);
  return 0;
}

// Returns the epoch: START in milliseconds.
static uint64_t hello(const char *run, const char *node, unsigned incarnation, uint64_t seen) {
  assert_word(call("hello ns %s %s broker '' %u %llu 0", run, node, incarnation, (unsigned long long)seen), "OK");
  return number(1);
}

static void scripts_are_embedded(void **state) {
  (void)state;
  assert_int_equal(er_script_count, 25);
  for (size_t i = 0; i < er_script_count; i++) {
    const struct er_script *s = &er_scripts[i];
    assert_int_equal(s->length, strlen(s->text));
    assert_non_null(strstr(s->text, "local function essential()"));
    char title[64];
    snprintf(title, sizeof title, "\n-- %s: ", s->name);
    assert_non_null(strstr(s->text, title));
    assert_true(i == 0 || strcmp(er_scripts[i - 1].name, s->name) < 0);
  }
}

static void keys_expire(void **state) {
  (void)state;
  uint64_t e = hello("run-1", "A", 1, 0);
  assert_word(call("create ns %llu A s bob 60000 5 ''", (unsigned long long)e), "OK");
  assert_word(call("sub ns s A 1 1 /a 5"), "OK");
  assert_word(call("append ns %llu A 1 9999999999999 0 0 '' k /a text", (unsigned long long)e), "OK");
  assert_word(call("post ns A t ask"), "OK");
  assert_word(call("tick ns %llu A 1 5 1 5 0 0 0", (unsigned long long)e), "OK");
  pass(2999);
  assert_true(there("ns:node:A"));
  pass(1);
  assert_false(there("ns:node:A"));
  assert_word(call("load ns s"), "OK");
  assert_int_equal(number(2), 0);
  pass(57000);
  assert_false(there("ns:inbox:A"));
  pass(240000);
  assert_false(there("ns:once:k"));
  // The backstop: deadline + 1 h, for record, subscriptions and the user's set.
  pass(3660000 - 300000 - 1);
  assert_true(there("ns:session:s") && there("ns:subs:s") && there("ns:user:bob"));
  pass(1);
  assert_false(there("ns:session:s") || there("ns:subs:s") || there("ns:user:bob"));
  // And still one end, told once.
  assert_word(call("reap ns B 9999999999999 10"), "OK");
  assert_int_equal(last->count, 2);
  assert_int_equal(call("XLEN ns:events")->number, 3);   // and its handshake, its subscription
  assert_false(there("ns:link:A"));
  assert_true(there("ns:mark:A"));
  pass(7200000 - 3660000);
  assert_false(there("ns:mark:A"));
  // What stays for ever: head, journal, nodes, events.
  assert_int_equal(call("DBSIZE")->number, 4);
}

static void deadlines_are_those_of_the_clock(void **state) {
  (void)state;
  unsigned long long e = hello("run-1", "A", 1, 0);
  assert_word(call("create ns %llu A s '' 60000 5 ''", e), "OK");
  assert_word(call("append ns %llu A 1 %llu 0 0 '' '' /a x", e, START / 1000), "OK");
  pass(1);
  assert_word(call("append ns %llu A 1 %llu 0 0 '' '' /a x", e, START / 1000), "LATE");
  pass(59998);
  hello("run-1", "B", 1, 0);
  assert_word(call("end ns s B 9 2 expired 0 B"), "FENCED");
  assert_word(call("end ns s B 9 1 expired 0 B"), "MOVED");
  assert_int_equal(call("reap ns B 9999999999999 10")->count, 1);
  pass(1);
  assert_int_equal(call("reap ns B 9999999999999 10")->count, 1);
  assert_word(call("end ns s B 9 1 expired 0 B"), "OK");
}

// A replica that lags is promoted: the node has seen more than there is.
static void a_failover_goes_back(void **state) {
  (void)state;
  unsigned long long e = hello("run-1", "A", 1, 0);
  call("append ns %llu A 1 9999999999999 0 0 '' '' /a one", e);
  struct sim_keys *replica = sim_redis_snapshot(redis);
  call("append ns %llu A 1 9999999999999 1 0 '' '' /a two", e);
  assert_word(call("create ns %llu A s bob 60000 5 ''", e), "OK");
  unsigned long long seen = START + 2;

  sim_redis_restore(redis, replica);
  uint64_t writes = redis->writes;
  assert_word(call("load ns s"), "NONE");
  assert_true(redis->writes == writes);
  assert_word(call("hello ns run-2 A broker '' 2 %llu 0", seen), "OK");
  assert_true(redis->writes > writes);
  assert_true(number(1) == e + 1);
  assert_true(number(2) == START + 1000002 && number(3) == START + 1);
  assert_word(call("append ns %llu A 2 9999999999999 1 0 '' '' /a two", e), "EPOCH");
  assert_word(call("resave ns %llu A s 1 live 5 '' 0 60000 bob 1 '' 0", e + 1), "OK");
  assert_word(call("load ns s"), "OK");

  // The snapshot has not moved, and may be promoted again.
  sim_redis_restore(redis, replica);
  assert_int_equal(call("XLEN ns:journal")->number, 2);
  assert_word(call("hello ns run-3 B broker '' 1 %llu 0", START + 1000001), "OK");
  assert_true(number(2) == START + 2000001 && number(3) == START + 1);
  sim_snapshot_destroy(replica);
}

// A clock that goes back: automatic ids and epochs do not.
static void the_clock_goes_back(void **state) {
  (void)state;
  unsigned long long e = hello("run-1", "A", 1, 0);
  assert_word(call("post ns A t first"), "OK");
  redis->clock -= 3600000000ull;
  assert_word(call("post ns A t second"), "OK");
  call("XRANGE ns:inbox:A - +");
  assert_int_equal(last->count, 2);
  assert_true(bx_slice_equal(er_reply_text(&last->items[1], 0), BX_LIT("1700000000000-1")));
  assert_true(hello("run-2", "A", 2, 0) == e + 1);
  assert_true(number(2) == START + 1000000);
}

static void a_full_memory_and_a_replica(void **state) {
  (void)state;
  unsigned long long e = hello("run-1", "A", 1, 0);
  redis->full = true;
  assert_word(call("append ns %llu A 1 9999999999999 0 0 '' '' /a x", e), "FULL");
  assert_true(er_reply_is_error(call("XADD ns:x * a b")));
  assert_false(er_reply_is_error(call("DEL ns:x")));
  redis->full = false;
  redis->refusing = "READONLY You can't write against a read only replica.";
  assert_true(er_reply_is_error(call("append ns %llu A 1 9999999999999 0 0 '' '' /a x", e)));
  assert_true(er_reply_is_error(call("hello ns run-1 A broker '' 2 0 0")));
  assert_word(call("load ns s"), "NONE");
  redis->refusing = NULL;
  assert_word(call("append ns %llu A 1 9999999999999 0 0 '' '' /a x", e), "OK");
  assert_true(number(1) == START + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(scripts_are_embedded, open_model, close_model),
      cmocka_unit_test_setup_teardown(keys_expire, open_model, close_model),
      cmocka_unit_test_setup_teardown(deadlines_are_those_of_the_clock, open_model, close_model),
      cmocka_unit_test_setup_teardown(a_failover_goes_back, open_model, close_model),
      cmocka_unit_test_setup_teardown(the_clock_goes_back, open_model, close_model),
      cmocka_unit_test_setup_teardown(a_full_memory_and_a_replica, open_model, close_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
