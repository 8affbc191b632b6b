// SPDX-License-Identifier: Apache-2.0
// What the authority is made of: permissions that are kept, the breaker, and answers as they are read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "broker/access/authority_wire.h"
#include "broker/access/breaker.h"
#include "broker/access/grants.h"

#define ANN BX_LIT("ann")
#define BOB BX_LIT("bob")

// -- permissions -----------------------------------------------------------------------------------

static void kept_for_a_while(void **state) {
  struct bk_grants g;

  (void)state;
  bk_grants_init(&g, 100, 10, (struct bx_table_key){1, 2});
  bk_grants_add(&g, 's', ANN, BX_LIT("/a"), 1000);
  assert_true(bk_grants_have(&g, 's', ANN, BX_LIT("/a"), 1099));
  assert_false(bk_grants_have(&g, 'p', ANN, BX_LIT("/a"), 1000));
  assert_false(bk_grants_have(&g, 's', BOB, BX_LIT("/a"), 1000));
  assert_false(bk_grants_have(&g, 's', ANN, BX_LIT("/ab"), 1000));
  assert_false(bk_grants_have(&g, 's', BX_LIT("annx"), BX_LIT("/a"), 1000));
  bk_grants_add(&g, 's', ANN, BX_LIT("/a"), 1050);   // renewed
  assert_int_equal(bk_grants_count(&g), 1);
  assert_true(bk_grants_have(&g, 's', ANN, BX_LIT("/a"), 1149));
  assert_false(bk_grants_have(&g, 's', ANN, BX_LIT("/a"), 1150));
  assert_int_equal(bk_grants_count(&g), 0);
  bk_grants_fini(&g);
}

static void the_oldest_goes(void **state) {
  struct bk_grants g;
  char name[16];

  (void)state;
  bk_grants_init(&g, 100, 10, (struct bx_table_key){1, 2});
  for (int i = 0; i < 25; i++) {
    snprintf(name, sizeof name, "/%d", i);
    bk_grants_add(&g, 's', i % 2 ? ANN : (struct bx_slice){0}, bx_slice_of(name), 1000);
    assert_true(bk_grants_count(&g) <= 10);
  }
  assert_false(bk_grants_have(&g, 's', (struct bx_slice){0}, BX_LIT("/14"), 1000));
  assert_true(bk_grants_have(&g, 's', ANN, BX_LIT("/15"), 1000));
  bk_grants_fini(&g);
}

static void what_a_user_has_goes_in_one_piece(void **state) {
  struct bk_grants g;

  (void)state;
  bk_grants_init(&g, 100, 10, (struct bx_table_key){1, 2});
  bk_grants_add(&g, 's', ANN, BX_LIT("/a"), 1000);
  bk_grants_add(&g, 's', BOB, BX_LIT("/a"), 1000);
  bk_grants_add(&g, 'p', ANN, BX_LIT("/a"), 1000);
  bk_grants_forget(&g, ANN);
  bk_grants_forget(&g, BX_LIT("nobody"));
  assert_int_equal(bk_grants_count(&g), 1);
  assert_true(bk_grants_have(&g, 's', BOB, BX_LIT("/a"), 1000));
  bk_grants_fini(&g);
  bk_grants_init(&g, 0, 10, (struct bx_table_key){1, 2});   // nothing is kept
  bk_grants_add(&g, 's', ANN, BX_LIT("/a"), 1000);
  assert_int_equal(bk_grants_count(&g), 0);
  bk_grants_fini(&g);
}

// -- the breaker -----------------------------------------------------------------------------------

static void one_try_after_a_pause(void **state) {
  struct bk_breaker b = {0};
  bx_millis now = 1000;

  (void)state;
  for (int i = 1; i < BK_BREAKER_FAILURES; i++) assert_false(bk_breaker_failed(&b, now, false));
  bk_breaker_succeeded(&b);   // not in a row
  for (int i = 1; i < BK_BREAKER_FAILURES; i++) assert_false(bk_breaker_failed(&b, now, false));
  assert_true(bk_breaker_failed(&b, now, false));
  assert_false(bk_breaker_failed(&b, now, false));   // of a request that was under way: no longer pause
  for (bx_millis pause = BK_BREAKER_PAUSE_MIN; pause < 4 * BK_BREAKER_PAUSE_MAX; pause *= 2) {
    bx_millis wait = pause < BK_BREAKER_PAUSE_MAX ? pause : BK_BREAKER_PAUSE_MAX;
    assert_false(bk_breaker_admits(&b, now + wait - 1));
    assert_true(bk_breaker_is_open(&b, now + wait - 1));
    now += wait;
    assert_false(bk_breaker_is_open(&b, now));
    assert_true(bk_breaker_admits(&b, now));
    assert_false(bk_breaker_admits(&b, now));   // one
    assert_true(bk_breaker_is_open(&b, now));
    assert_false(bk_breaker_failed(&b, now, true));
  }
  now += BK_BREAKER_PAUSE_MAX;
  assert_true(bk_breaker_admits(&b, now));
  bk_breaker_succeeded(&b);
  assert_true(bk_breaker_admits(&b, now));
  assert_true(bk_breaker_admits(&b, now));
}

// -- answers ---------------------------------------------------------------------------------------

static char read_as[512];

static void note(void *context, size_t index, const struct bk_authority_answer *a) {
  static const char *const verdicts[] = {[BX_ALLOW] = "allow", [BX_DENY] = "deny", [BX_UNAVAILABLE] = "unavailable"};
  size_t at = strlen(read_as);

  (void)context;
  snprintf(read_as + at, sizeof read_as - at, "%zu %s %.*s|%.*s|%.*s|%s%llu|%d%s;", index, verdicts[a->access.verdict],
           (int)a->access.user.len, a->access.user.at ? a->access.user.at : "", (int)a->access.ext.len,
           a->access.ext.at ? a->access.ext.at : "", (int)a->access.error.len,
           a->access.error.at ? a->access.error.at : "", a->access.reconnect ? a->access.reconnect : "",
           (unsigned long long)a->access.interval, a->cache, a->access.unjournalled ? " undelivered" : "");
}

static void reads(const char *text, size_t count, const char *expected) {
  read_as[0] = '\0';
  bool good = bk_authority_read(bx_slice_of(text), count, note, NULL);
  assert_int_equal(good, expected != NULL);
  assert_string_equal(read_as, expected ? expected : "");
}

static void answers(void **state) {
  (void)state;
  reads("{\"answers\":[]}", 0, "");
  reads(" {\"x\":[1],\"answers\":[{\"allow\":true}]} ", 1, "0 allow |||0|0;");
  reads("{\"answers\":[{\"allow\":true,\"user\":\"\\u00e9\",\"ext\":{\"a\": 1.50}},{\"allow\":false}]}", 2,
        "0 allow \xc3\xa9|{\"a\": 1.50}||0|0;1 deny |||0|0;");
  reads("{\"answers\":[{\"allow\":false,\"error\":\"403:a:b\",\"advice\":{\"reconnect\":\"retry\",\"interval\":7}}]}",
        1, "0 deny ||403:a:b|retry7|0;");
  reads("{\"answers\":[{\"allow\":false,\"error\":\"no\"},{\"allow\":false,\"error\":\"\\\"\"}]}", 2,
        "0 deny ||403::no|0|0;1 deny ||403::\\\"|0|0;");
  reads("{\"answers\":[{\"allow\":true,\"cache\":true},{\"allow\":true,\"cache\":false}]}", 2,
        "0 allow |||0|2;1 allow |||0|1;");
  reads("{\"answers\":[{\"allow\":false,\"allow\":true,\"user\":null,\"more\":1}]}", 1, "0 allow |||0|0;");
  reads("{\"answers\":[{\"allow\":true,\"deliver\":false},{\"allow\":true,\"deliver\":true}]}", 2,
        "0 allow |||0|0 undelivered;1 allow |||0|0;");
  reads("{\"answers\":[{\"allow\":true,\"deliver\":0}]}", 1, "0 unavailable |||0|0;");
  // One that is not understood spoils itself.
  reads("{\"answers\":[{\"allow\":1},{\"allow\":true},null,{\"allow\":true,\"ext\":\"x\"}]}", 4,
        "0 unavailable |||0|0;1 allow |||0|0;2 unavailable |||0|0;3 unavailable |||0|0;");
  reads("{\"answers\":[{\"allow\":true,\"user\":\"\"},{\"allow\":true,\"cache\":1}]}", 2,
        "0 unavailable |||0|0;1 unavailable |||0|1;");
}

static void what_is_no_list_of_answers(void **state) {
  static const char *const texts[] = {"",
                                      "x",
                                      "[]",
                                      "{}",
                                      "{\"answers\":{}}",
                                      "{\"answers\":[]}",
                                      "{\"answers\":[{},{}]}",
                                      "{\"answers\":[{}]}x",
                                      "{\"answers\":[{}]",
                                      "{\"answers\":[{\"a\":}]}",
                                      "{\"answers\":[{}],\"answers\":[]}"};

  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) reads(texts[i], 1, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kept_for_a_while),
      cmocka_unit_test(the_oldest_goes),
      cmocka_unit_test(what_a_user_has_goes_in_one_piece),
      cmocka_unit_test(one_try_after_a_pause),
      cmocka_unit_test(answers),
      cmocka_unit_test(what_is_no_list_of_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
