// SPDX-License-Identifier: Apache-2.0
// How long turns take: quantiles, sums, and what Prometheus reads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/host/lag.h"

static void quantiles_are_right_within_a_tenth(void **state) {
  (void)state;
  struct bk_lag lag = {0};
  for (uint64_t us = 1; us <= 100000; us++) bk_lag_note(&lag, us * 1000);
  assert_int_equal(bk_lag_turns(&lag), 100000);
  for (double share = .001; share < 1; share += .0371) {
    double found = bk_lag_quantile(&lag, share), wanted = share * 100000;
    assert_true(found > .9 * wanted && found < 1.1 * wanted);
  }
  assert_true(bk_lag_quantile(&lag, 1) >= 100000 && bk_lag_quantile(&lag, 1) < 120000);
}

static void one_turn_in_a_thousand_is_seen(void **state) {
  (void)state;
  struct bk_lag lag = {0};
  assert_true(bk_lag_quantile(&lag, .999) == 0);
  for (int i = 0; i < 9980; i++) bk_lag_note(&lag, 20000);
  for (int i = 0; i < 20; i++) bk_lag_note(&lag, 30000000);
  assert_true(bk_lag_quantile(&lag, .99) < 25);
  assert_true(bk_lag_quantile(&lag, .999) > 27000 && bk_lag_quantile(&lag, .999) < 33000);
}

static void the_ends_are_open(void **state) {
  (void)state;
  struct bk_lag lag = {0};
  bk_lag_note(&lag, 0);
  bk_lag_note(&lag, 7999);
  assert_int_equal(lag.turns[0], 2);
  bk_lag_note(&lag, 8000);
  assert_int_equal(lag.turns[1], 1);
  bk_lag_note(&lag, 16776999999);
  assert_int_equal(lag.turns[BK_LAG_BUCKETS - 2], 1);
  bk_lag_note(&lag, 16777216000);
  bk_lag_note(&lag, UINT64_MAX);
  assert_int_equal(lag.turns[BK_LAG_BUCKETS - 1], 2);
  assert_true(bk_lag_quantile(&lag, 1) == 16777216);
}

static void sums_of_processes_and_text(void **state) {
  (void)state;
  struct bk_lag lag = {0}, more = {0};
  struct bx_buffer out = {0};
  bk_lag_note(&lag, 1000000);
  bk_lag_note(&more, 9000);
  bk_lag_note(&more, 40000000000);
  bk_lag_add(&lag, &more);
  bk_lag_write(&out, &lag);
  bx_buffer_char(&out, '\0');
  assert_non_null(strstr(out.at, "# TYPE mora_loop_turn_seconds histogram\n"
                                 "mora_loop_turn_seconds_bucket{le=\"0.000008\"} 0\n"
                                 "mora_loop_turn_seconds_bucket{le=\"0.000032\"} 1\n"));
  assert_non_null(strstr(out.at, "{le=\"0.002048\"} 2\n"));
  assert_non_null(strstr(out.at, "{le=\"+Inf\"} 3\nmora_loop_turn_seconds_sum 40.001009\n"
                                 "mora_loop_turn_seconds_count 3\n"));
  bx_buffer_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_are_right_within_a_tenth),
      cmocka_unit_test(one_turn_in_a_thousand_is_seen),
      cmocka_unit_test(the_ends_are_open),
      cmocka_unit_test(sums_of_processes_and_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
