// SPDX-License-Identifier: Apache-2.0
// The subscription index against a model: who is where, who is live, what is freed.
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/topics.h"

static uint32_t roll(uint32_t sides) {
  static uint64_t seed = 88172645463325252ull;

  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed >> 32) % sides;
}

static struct bx_topics make(void) {
  struct bx_topics topics;
  bx_topics_init(&topics, (struct bx_table_key){1, 2});
  return topics;
}

static void topics_live_as_long_as_somebody_needs_them(void **state) {
  struct bx_topics topics = make();
  struct bx_subscription a = {0}, b = {0};
  struct bx_topic *t;

  (void)state;
  assert_null(bx_topics_find(&topics, BX_LIT("/a")));
  t = bx_topics_get(&topics, BX_LIT("/a"));
  assert_ptr_equal(bx_topics_get(&topics, BX_LIT("/a")), t);
  assert_ptr_equal(bx_topics_find(&topics, BX_LIT("/a")), t);
  assert_true(bx_slice_equal(bx_topic_pattern(t), BX_LIT("/a")));
  bx_topic_add(t, &a);
  bx_topic_add(t, &b);
  bx_topics_drop_if_unused(&topics, t);
  assert_ptr_equal(bx_topics_find(&topics, BX_LIT("/a")), t);
  bx_topic_remove(t, &a);
  assert_null(a.topic);
  bx_topics_drop_if_unused(&topics, t);
  assert_ptr_equal(bx_topics_find(&topics, BX_LIT("/a")), t);
  bx_topic_remove(t, &b);
  t->entries = 1;   // the journal's
  bx_topics_drop_if_unused(&topics, t);
  assert_ptr_equal(bx_topics_find(&topics, BX_LIT("/a")), t);
  t->entries = 0;
  bx_topics_drop_if_unused(&topics, t);
  assert_null(bx_topics_find(&topics, BX_LIT("/a")));
  bx_topics_fini(&topics);
}

// The pattern's bytes are the topic's own.
static void long_patterns(void **state) {
  struct bx_topics topics = make();
  struct bx_topic *t[64];
  char name[1 << 10];
  size_t len = 0;

  (void)state;
  for (unsigned i = 0; i < 64; i++) {
    len += (size_t)snprintf(name + len, sizeof name - len, "/segment-%u", i);
    t[i] = bx_topics_get(&topics, (struct bx_slice){name, len});
  }
  assert_int_equal(topics.table.count, 64);
  assert_int_equal(bx_channel_depth(bx_topic_pattern(t[63])), 64);
  len = strlen("/segment-0/segment-1");
  assert_ptr_equal(bx_topics_find(&topics, (struct bx_slice){name, len}), t[1]);
  memset(name, 'x', sizeof name);
  assert_true(bx_slice_equal(bx_topic_pattern(t[1]), BX_LIT("/segment-0/segment-1")));
  for (unsigned i = 0; i < 64; i++) bx_topics_drop_if_unused(&topics, t[i]);
  bx_topics_fini(&topics);
}

#define SUBSCRIPTIONS 300

static void assert_partition(const struct bx_topic *t, const struct bx_subscription *subs, const bool *in,
                             const bool *live) {
  uint32_t count = 0, alive = 0;

  for (unsigned i = 0; i < SUBSCRIPTIONS; i++) {
    if (!in[i]) continue;
    count++;
    alive += live[i];
    assert_ptr_equal(subs[i].topic, t);
    assert_true(subs[i].index < t->count);
    assert_ptr_equal(t->places[subs[i].index].subscription, &subs[i]);
    assert_int_equal(subs[i].index < t->live, live[i]);
  }
  assert_int_equal(t->count, count);
  assert_int_equal(t->live, alive);
  assert_true(t->cap >= t->count);
  assert_true(t->cap <= 8 || t->cap <= 4 * (t->count + 1));
}

static void the_live_stand_first(void **state) {
  static struct bx_subscription subs[SUBSCRIPTIONS];
  static bool in[SUBSCRIPTIONS], live[SUBSCRIPTIONS];
  struct bx_topics topics = make();
  struct bx_topic *t = bx_topics_get(&topics, BX_LIT("/a/**"));

  (void)state;
  for (unsigned i = 0; i < 20000; i++) {
    unsigned k = roll(i / 5000 % 2 ? 8 : SUBSCRIPTIONS);   // crowds come and go

    if (!in[k]) {
      bx_topic_add(t, &subs[k]);
      live[k] = false;
      in[k] = true;
    } else if (roll(3) == 0) {
      bx_topic_remove(t, &subs[k]);
      in[k] = false;
    } else {
      live[k] = roll(2);
      bx_topic_set_live(t, &subs[k], live[k]);
      bx_topic_set_live(t, &subs[k], live[k]);
    }
    if (i == 10000)   // all but a few leave
      for (k = 10; k < SUBSCRIPTIONS; k++) {
        if (in[k]) bx_topic_remove(t, &subs[k]);
        in[k] = false;
      }
    assert_partition(t, subs, in, live);
  }
  for (unsigned k = 0; k < SUBSCRIPTIONS; k++)
    if (in[k]) bx_topic_remove(t, &subs[k]);
  bx_topics_drop_if_unused(&topics, t);
  bx_topics_fini(&topics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(topics_live_as_long_as_somebody_needs_them),
      cmocka_unit_test(long_patterns),
      cmocka_unit_test(the_live_stand_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
