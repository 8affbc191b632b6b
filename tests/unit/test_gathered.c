// SPDX-License-Identifier: Apache-2.0
// The budget of what is not complete.
#include "broker/host/gathered.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { FREE = BK_GATHERED_FREE };

static void the_first_bytes_of_each_are_free(void **state) {
  (void)state;
  struct bk_gathered g = {.limit = 0};
  size_t shares[100] = {0};
  for (size_t i = 0; i < 100; i++) assert_true(bk_gathered_hold(&g, &shares[i], FREE));
  assert_int_equal(g.used, 0);
  assert_false(bk_gathered_hold(&g, &shares[0], FREE + 1));
  assert_int_equal(g.refused, 1);
}

static void it_is_one_budget_for_all(void **state) {
  (void)state;
  struct bk_gathered g = {.limit = 1000};
  size_t one = 0, other = 0;
  assert_true(bk_gathered_hold(&g, &one, FREE + 400));
  assert_true(bk_gathered_hold(&g, &one, FREE + 600));   // in all, not besides
  assert_int_equal(g.used, 600);
  assert_true(bk_gathered_hold(&g, &other, FREE + 400));
  assert_false(bk_gathered_hold(&g, &other, FREE + 401));
  assert_false(bk_gathered_hold(&g, &one, FREE + 601));
  assert_int_equal(one, 600);   // as they were
  assert_int_equal(other, 400);
  assert_int_equal(g.refused, 2);
  bk_gathered_release(&g, &one);
  bk_gathered_release(&g, &one);
  assert_int_equal(g.used, 400);
  assert_true(bk_gathered_hold(&g, &other, FREE + 1000));
  assert_false(bk_gathered_hold(&g, &one, SIZE_MAX));
  assert_true(bk_gathered_hold(&g, &other, 10));   // less than before is given back
  assert_int_equal(g.used, 0);
}

// Whatever happens, `used` is the sum, and never more than the limit.
static void any_order(void **state) {
  (void)state;
  struct bk_gathered g = {.limit = 50000};
  size_t shares[8] = {0}, held[8] = {0};
  uint64_t random = 1, refused = 0;
  for (unsigned step = 0; step < 20000; step++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t i = random >> 61, bytes = held[i] + (random >> 33) % 5000, sum = 0;
    if ((random >> 30) % 7 == 0) {
      bk_gathered_release(&g, &shares[i]);
      held[i] = 0;
    } else if (bk_gathered_hold(&g, &shares[i], bytes)) {
      held[i] = bytes;
    } else {
      refused++;
    }
    for (size_t k = 0; k < 8; k++) sum += held[k] > FREE ? held[k] - FREE : 0;
    assert_int_equal(g.used, sum);
    assert_true(g.used <= g.limit);
  }
  assert_true(refused > 100);
  assert_int_equal(g.refused, refused);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_bytes_of_each_are_free),
      cmocka_unit_test(it_is_one_budget_for_all),
      cmocka_unit_test(any_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
