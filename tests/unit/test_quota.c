// SPDX-License-Identifier: Apache-2.0
// Token buckets, and what addresses have taken.
#include "broker/access/quota.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static const struct bx_table_key secret = {1, 2};

static unsigned take_all(struct bk_bucket *b, uint64_t rate, bx_millis now) {
  unsigned taken = 0;
  while (bk_bucket_take(b, rate, now)) taken++;
  return taken;
}

static void a_bucket_gives_its_rate(void **state) {
  (void)state;
  static const uint64_t rates[] = {1, 3, 7, 1000, 999999, 1000000};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    uint64_t rate = rates[i];
    struct bk_bucket b = {0};
    bx_millis now = 0;
    assert_int_equal(take_all(&b, rate, now), rate * BK_QUOTA_BURST);
    assert_int_equal(take_all(&b, rate, now), 0);
    // In steps of any size: never more than the rate, and what was not asked for is not lost.
    uint64_t taken = 0;
    for (unsigned step = 0; step < 1000; step++) {
      now += step % 7;
      taken += take_all(&b, rate, now);
    }
    assert_true(taken <= rate * now / 1000);
    assert_true(taken + 1 >= rate * now / 1000);
    now += BK_QUOTA_BURST * 1000 + 1;
    assert_int_equal(take_all(&b, rate, now), rate * BK_QUOTA_BURST);
  }
}

static void a_bucket_tells_how_long_to_wait(void **state) {
  (void)state;
  struct bk_bucket b = {0};
  bx_millis now = 5;
  assert_int_equal(bk_bucket_wait(&b, 10, now), 0);
  take_all(&b, 10, now);
  assert_int_equal(bk_bucket_wait(&b, 10, now), 100);
  assert_int_equal(bk_bucket_wait(&b, 10, now + 99), 1);
  assert_int_equal(bk_bucket_wait(&b, 10, now + 100), 0);
  assert_int_equal(bk_bucket_wait(&b, 10, now - 5), 100);   // a clock that went back does not count
}

static struct bk_quota *find(struct bk_quotas *q, const char *address) {
  struct bk_peer peer;
  assert_true(bk_peer_parse(&peer, bx_slice_of(address)));
  return bk_quotas_find(q, &peer);
}

static void which_addresses_are_one(void **state) {
  (void)state;
  struct bk_quotas q;
  bk_quotas_init(&q, secret);
  struct bk_quota *v4 = find(&q, "192.0.2.1:80"), *v6 = find(&q, "[2001:db8:1:2::3]:80");
  assert_ptr_equal(find(&q, "192.0.2.1:4711"), v4);
  assert_ptr_equal(find(&q, "192.0.2.1"), v4);
  assert_ptr_equal(find(&q, "[::ffff:192.0.2.1]:9"), v4);
  assert_ptr_not_equal(find(&q, "192.0.2.2:80"), v4);
  assert_ptr_equal(find(&q, "2001:db8:1:2:ffff::"), v6);
  assert_ptr_equal(find(&q, "[2001:db8:1:2::]"), v6);
  assert_ptr_not_equal(find(&q, "[2001:db8:1:3::3]:80"), v6);
  // The first bytes of an IPv6 address are no IPv4 address.
  assert_ptr_not_equal(find(&q, "[c000:0201::]:80"), v4);
  for (enum bk_family family = BK_FAMILY_NONE; family <= BK_FAMILY_UNIX; family++)
    assert_null(bk_quotas_find(&q, &(struct bk_peer){.family = family}));
  bk_quotas_fini(&q);
}

static void the_table_does_not_grow_with_addresses(void **state) {
  (void)state;
  struct bk_quotas q;
  char text[32];
  bk_quotas_init(&q, secret);
  struct bk_quota *kept = find(&q, "10.0.0.1"), *seen = find(&q, "10.0.0.2");
  bk_quota_join(&q, kept);
  take_all(&kept->handshakes, 1, 0);
  take_all(&seen->handshakes, 1, 0);
  for (unsigned i = 0; i < 100000; i++) {
    snprintf(text, sizeof text, "11.%u.%u.%u:1", i >> 16, i >> 8 & 255, i & 255);
    assert_non_null(find(&q, text));
    if (i % 1000 == 0) assert_ptr_equal(find(&q, "10.0.0.2"), seen);   // it is not the oldest
  }
  assert_int_equal(q.idle_count, BK_QUOTA_IDLE);
  assert_int_equal(q.table.count, BK_QUOTA_IDLE + 1);
  assert_ptr_equal(find(&q, "10.0.0.1"), kept);
  assert_int_equal(kept->sessions, 1);
  assert_true(bk_bucket_wait(&kept->handshakes, 1, 0) > 0);
  assert_true(bk_bucket_wait(&find(&q, "10.0.0.2")->handshakes, 1, 0) > 0);
  assert_int_equal(bk_bucket_wait(&find(&q, "11.0.0.0")->handshakes, 1, 0), 0);
  bk_quota_leave(&q, kept);
  assert_int_equal(q.idle_count, BK_QUOTA_IDLE);
  assert_ptr_equal(find(&q, "10.0.0.1"), kept);   // the others went first
  bk_quotas_fini(&q);
}

static void sessions_keep_an_address(void **state) {
  (void)state;
  struct bk_quotas q;
  bk_quotas_init(&q, secret);
  struct bk_quota *quota = find(&q, "10.0.0.1");
  assert_int_equal(q.idle_count, 1);
  for (int i = 0; i < 3; i++) bk_quota_join(&q, quota);
  assert_int_equal(q.idle_count, 0);
  for (int i = 0; i < 3; i++) bk_quota_leave(&q, find(&q, "10.0.0.1"));
  assert_int_equal(q.idle_count, 1);
  bk_quotas_fini(&q);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_bucket_gives_its_rate),  cmocka_unit_test(a_bucket_tells_how_long_to_wait),
      cmocka_unit_test(which_addresses_are_one),  cmocka_unit_test(the_table_does_not_grow_with_addresses),
      cmocka_unit_test(sessions_keep_an_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
