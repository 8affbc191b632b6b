// SPDX-License-Identifier: Apache-2.0
// The timing wheel, against a model that looks at every timer. Time is a number here.
#include "bayeux/wheel.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static struct bx_wheel wheel;
static bx_millis fired[64];
static unsigned fired_count;

static void note(struct bx_timer *t) {
  assert_false(t->armed);
  assert_true(fired_count < 64);
  fired[fired_count++] = t->at;
}

static void start(bx_millis now) {
  bx_wheel_init(&wheel, now);
  fired_count = 0;
}

static void nothing_set(void **state) {
  (void)state;
  start(1000);
  assert_true(bx_wheel_next(&wheel) == BX_NEVER);
  bx_wheel_advance(&wheel, 1ull << 50);
  assert_true(wheel.now == 1ull << 50);
  struct bx_timer t;
  bx_timer_init(&t, note);
  bx_wheel_cancel(&wheel, &t);
  bx_wheel_cancel(&wheel, &t);
  assert_int_equal(wheel.count, 0);
}

// Delays at and around every border between levels, from many a now: each fires at its time and
// not a millisecond before.
static void exact_times(void **state) {
  (void)state;
  static const bx_millis nows[] = {0, 1, 63, 64, 65, 4095, 4096, 262143, 1700000000123, (1ull << 36) - 1, 1ull << 36};
  struct bx_timer t;
  bx_timer_init(&t, note);
  for (unsigned n = 0; n < sizeof nows / sizeof *nows; n++) {
    for (unsigned bits = 0; bits < 42; bits++) {
      for (int around = -1; around <= 1; around++) {
        bx_millis at = nows[n] + (1ull << bits) + (bx_millis)around;
        start(nows[n]);
        bx_wheel_set(&wheel, &t, at);
        assert_int_equal(wheel.count, 1);
        if (at > nows[n]) {
          bx_wheel_advance(&wheel, at - 1);
          assert_int_equal(fired_count, 0);
          assert_true(t.armed);
          assert_true(bx_wheel_next(&wheel) == at);
        }
        bx_wheel_advance(&wheel, at);
        assert_int_equal(fired_count, 1);
        assert_int_equal(wheel.count, 0);
        assert_true(bx_wheel_next(&wheel) == BX_NEVER);
      }
    }
  }
}

// A program sleeps until bx_wheel_next(): it must not sleep too long, nor wake up often for nothing.
static void sleeping_until_next(void **state) {
  (void)state;
  static const bx_millis delays[] = {1, 63, 64, 4097, 60000, 86400000, 1ull << 31, 1ull << 36, 10ull << 36};
  struct bx_timer t;
  bx_timer_init(&t, note);
  for (unsigned i = 0; i < sizeof delays / sizeof *delays; i++) {
    start(123456789);
    bx_wheel_set(&wheel, &t, wheel.now + delays[i]);
    unsigned wakes = 0;
    while (fired_count == 0) {
      bx_millis next = bx_wheel_next(&wheel);
      assert_true(next > wheel.now && next <= t.at);
      bx_wheel_advance(&wheel, next);
      wakes++;
    }
    assert_true(wheel.now == t.at);
    assert_true(wakes <= BX_WHEEL_LEVELS + (delays[i] >> 36));
  }
}

static void in_order_of_time(void **state) {
  (void)state;
  static const bx_millis at[] = {70000, 5, 64, 5, 4096, 63, 300000, 0, 128, 1ull << 40, 65, 4095};
  enum { COUNT = sizeof at / sizeof *at };
  struct bx_timer timers[COUNT];
  start(0);
  for (unsigned i = 0; i < COUNT; i++) {
    bx_timer_init(&timers[i], note);
    bx_wheel_set(&wheel, &timers[i], at[i]);
  }
  bx_wheel_advance(&wheel, 1ull << 40);
  assert_int_equal(fired_count, COUNT);
  for (unsigned i = 1; i < COUNT; i++) assert_true(fired[i - 1] <= fired[i]);
}

static void a_past_time_is_now(void **state) {
  (void)state;
  struct bx_timer early, late;
  start(5000);
  bx_timer_init(&early, note);
  bx_timer_init(&late, note);
  bx_wheel_set(&wheel, &late, 5001);
  bx_wheel_set(&wheel, &early, 17);
  assert_true(bx_wheel_next(&wheel) == 5000);
  bx_wheel_advance(&wheel, 4000);   // not backwards
  assert_true(wheel.now == 5000);
  assert_int_equal(fired_count, 1);
  assert_true(late.armed && !early.armed);
  bx_wheel_cancel(&wheel, &late);
}

static void moving(void **state) {
  (void)state;
  struct bx_timer t;
  start(0);
  bx_timer_init(&t, note);
  bx_wheel_set(&wheel, &t, 10);
  bx_wheel_set(&wheel, &t, 100000);
  assert_int_equal(wheel.count, 1);
  bx_wheel_advance(&wheel, 99999);
  assert_int_equal(fired_count, 0);
  bx_wheel_set(&wheel, &t, 100001);
  bx_wheel_advance(&wheel, 100000);
  assert_int_equal(fired_count, 0);
  bx_wheel_advance(&wheel, 100001);
  assert_int_equal(fired_count, 1);
}

static void cancelling_leaves_nothing(void **state) {
  (void)state;
  static const bx_millis at[] = {1, 64, 5000, 300000, 1ull << 25, 1ull << 31, 1ull << 40, BX_NEVER};
  for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
    struct bx_timer *a = bx_alloc(sizeof *a), *b = bx_alloc(sizeof *b);
    start(1);
    bx_timer_init(a, note);
    bx_timer_init(b, note);
    bx_wheel_set(&wheel, a, at[i]);
    bx_wheel_set(&wheel, b, at[i]);
    bx_wheel_cancel(&wheel, a);
    assert_true(bx_wheel_next(&wheel) != BX_NEVER);
    bx_wheel_cancel(&wheel, b);
    assert_true(bx_wheel_next(&wheel) == BX_NEVER);
    bx_free(a);
    bx_free(b);
    bx_wheel_advance(&wheel, 1ull << 41);
    assert_int_equal(fired_count, 0);
  }
}

static void beyond_the_last_level(void **state) {
  (void)state;
  struct bx_timer t, never;
  start(7);
  bx_timer_init(&t, note);
  bx_timer_init(&never, note);
  bx_wheel_set(&wheel, &t, 5ull << 36);
  bx_wheel_set(&wheel, &never, BX_NEVER);
  bx_wheel_advance(&wheel, (5ull << 36) - 1);
  assert_int_equal(fired_count, 0);
  bx_wheel_advance(&wheel, 5ull << 36);
  assert_int_equal(fired_count, 1);
  assert_true(never.armed);
  bx_wheel_cancel(&wheel, &never);
}

// -- what `fire` may do ----------------------------------------------------------------------

struct actor {
  struct bx_timer timer;
  struct actor *other;
  unsigned fires;
};

static struct actor *actor_of(struct bx_timer *t) { return bx_container_of(t, struct actor, timer); }

static void set_again_at_once(struct bx_timer *t) {
  actor_of(t)->fires++;
  bx_wheel_set(&wheel, t, wheel.now);
}

static void setting_itself_again_does_not_hold_the_caller(void **state) {
  (void)state;
  struct actor a = {0};
  start(0);
  bx_timer_init(&a.timer, set_again_at_once);
  bx_wheel_set(&wheel, &a.timer, 50);
  bx_wheel_advance(&wheel, 1000);
  assert_int_equal(a.fires, 1);
  assert_true(bx_wheel_next(&wheel) == 1000);
  bx_wheel_advance(&wheel, 1000);
  assert_int_equal(a.fires, 2);
  bx_wheel_cancel(&wheel, &a.timer);
}

static void cancel_other(struct bx_timer *t) {
  struct actor *a = actor_of(t);
  a->fires++;
  bx_wheel_cancel(&wheel, &a->other->timer);
  bx_free(a->other);
  bx_free(a);
}

static void a_timer_may_cancel_and_free_what_is_due_too(void **state) {
  (void)state;
  start(0);
  for (bx_millis other_at = 10; other_at <= 20; other_at += 10) {
    struct actor *a = bx_alloc(sizeof *a), *b = bx_alloc(sizeof *b);
    *a = (struct actor){.other = b};
    *b = (struct actor){.other = a};
    bx_timer_init(&a->timer, cancel_other);
    bx_timer_init(&b->timer, cancel_other);
    bx_wheel_set(&wheel, &a->timer, wheel.now + 10);
    bx_wheel_set(&wheel, &b->timer, wheel.now + other_at);
    bx_wheel_advance(&wheel, wheel.now + 30);
    assert_int_equal(wheel.count, 0);
    assert_true(bx_wheel_next(&wheel) == BX_NEVER);
  }
}

static void move_other(struct bx_timer *t) {
  struct actor *a = actor_of(t);
  a->fires++;
  if (a->other) bx_wheel_set(&wheel, &a->other->timer, wheel.now + 1);
}

static void a_timer_may_move_what_is_due_too(void **state) {
  (void)state;
  struct actor b = {0}, a = {.other = &b};
  start(0);
  bx_timer_init(&a.timer, move_other);
  bx_timer_init(&b.timer, move_other);
  bx_wheel_set(&wheel, &a.timer, 10);
  bx_wheel_set(&wheel, &b.timer, 11);
  bx_wheel_advance(&wheel, 20);
  assert_int_equal(a.fires, 1);
  assert_int_equal(b.fires, 0);
  bx_wheel_advance(&wheel, 21);
  assert_int_equal(b.fires, 1);
}

// -- against the model -----------------------------------------------------------------------

enum { ACTORS = 300 };

static struct model {
  struct bx_timer timer;
  bool armed, waits;   // waits: set for a time that had come while others fired
  bx_millis at;
} models[ACTORS];

static uint64_t random_state;
static bool firing;
static bx_millis target, last_fired;

static uint64_t rnd(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static bx_millis some_delay(void) { return rnd() % (1ull << (rnd() % 40)); }

static void touch_one(void) {
  struct model *m = &models[rnd() % ACTORS];
  if (rnd() % 4 == 0) {
    bx_wheel_cancel(&wheel, &m->timer);
    m->armed = false;
    return;
  }
  bx_millis now = firing ? target : wheel.now, at = now + some_delay();
  if (rnd() % 8 == 0) at = now - (now ? rnd() % now : 0);
  bx_wheel_set(&wheel, &m->timer, at);
  m->armed = true;
  m->at = at > now ? at : now;
  m->waits = firing && at <= now;
}

static void check_fire(struct bx_timer *t) {
  struct model *m = bx_container_of(t, struct model, timer);
  assert_true(m->armed && !m->waits);
  assert_true(m->at <= target && m->at >= last_fired && t->at == m->at);
  last_fired = m->at;
  m->armed = false;
  for (uint64_t i = rnd() % 3; i > 0; i--) touch_one();
}

static void check_state(void) {
  size_t count = 0;
  bx_millis earliest = BX_NEVER, next = bx_wheel_next(&wheel);
  for (unsigned i = 0; i < ACTORS; i++) {
    assert_int_equal(models[i].timer.armed, models[i].armed);
    if (!models[i].armed) continue;
    count++;
    if (models[i].at < earliest) earliest = models[i].at;
  }
  assert_int_equal(wheel.count, count);
  assert_true(next <= earliest);
  assert_true(next >= wheel.now);
  if (count == 0) assert_true(next == BX_NEVER);
}

static void check_advance(bx_millis now) {
  target = now;
  last_fired = 0;
  firing = true;
  bx_wheel_advance(&wheel, now);
  firing = false;
  for (unsigned i = 0; i < ACTORS; i++) {
    if (models[i].armed) assert_true(models[i].at > now || models[i].waits);
    models[i].waits = false;
  }
}

static void random_operations(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    random_state = seed * 0x9e3779b97f4a7c15u;
    start(seed % 3 ? rnd() % (1ull << 42) : 0);
    for (unsigned i = 0; i < ACTORS; i++) {
      models[i] = (struct model){0};
      bx_timer_init(&models[i].timer, check_fire);
    }
    for (unsigned step = 0; step < 3000; step++) {
      for (uint64_t i = rnd() % 4; i > 0; i--) touch_one();
      check_state();
      bx_millis next = bx_wheel_next(&wheel);
      if (rnd() % 2 && next != BX_NEVER)
        check_advance(next);
      else
        check_advance(wheel.now + some_delay() / 16);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_set),
      cmocka_unit_test(exact_times),
      cmocka_unit_test(sleeping_until_next),
      cmocka_unit_test(in_order_of_time),
      cmocka_unit_test(a_past_time_is_now),
      cmocka_unit_test(moving),
      cmocka_unit_test(cancelling_leaves_nothing),
      cmocka_unit_test(beyond_the_last_level),
      cmocka_unit_test(setting_itself_again_does_not_hold_the_caller),
      cmocka_unit_test(a_timer_may_cancel_and_free_what_is_due_too),
      cmocka_unit_test(a_timer_may_move_what_is_due_too),
      cmocka_unit_test(random_operations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
