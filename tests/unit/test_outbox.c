// SPDX-License-Identifier: Apache-2.0
// Outboxes: the order of their frames, and the text that many of them share.
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/outbox.h"

enum { SESSIONS = 10, FRAMES = 5, ROOM = 1000 };

struct world {
  uint64_t live;
  struct bx_outboxes all;
  struct bx_outbox of[SESSIONS];
  struct bx_frame *frames[FRAMES];
};

// Frames {"n":0}, {"n":1} and so on.
static void begin(struct world *w) {
  *w = (struct world){0};
  bx_outboxes_init(&w->all, ROOM);
  for (unsigned i = 0; i < FRAMES; i++) {
    w->frames[i] = bx_frame_create(7, &w->live);
    memcpy(bx_frame_text(w->frames[i]), "{\"n\":0}", 7);
    bx_frame_text(w->frames[i])[5] = (char)('0' + i);
  }
}

static void end(struct world *w) {
  for (unsigned i = 0; i < SESSIONS; i++) bx_outbox_drop(&w->all, &w->of[i]);
  for (unsigned i = 0; i < FRAMES; i++) bx_frame_unref(w->frames[i]);
  bx_outboxes_fini(&w->all);
  assert_int_equal(w->live, 0);
}

static void fill(struct world *w, unsigned sessions, unsigned from, unsigned to) {
  for (unsigned i = 0; i < sessions; i++)
    for (unsigned k = from; k < to; k++) bx_outbox_put(&w->all, &w->of[i], w->frames[k]);
}

static void assert_text(struct bx_frame *f, const char *text) {
  assert_non_null(f);
  assert_int_equal(bx_frame_array_len(f), strlen(text));
  assert_memory_equal(bx_frame_array(f), text, strlen(text));
  bx_frame_unref(f);
}

static void frames_come_out_in_their_order(void **state) {
  struct world w;

  (void)state;
  begin(&w);
  for (unsigned i = 0; i < 1000; i++) {   // around the block more than once
    bx_outbox_put(&w.all, &w.of[0], w.frames[i % FRAMES]);
    if (i < 3) continue;
    assert_ptr_equal(bx_outbox_first(&w.of[0]), w.frames[(i - 3) % FRAMES]);
    assert_ptr_equal(bx_outbox_last(&w.of[0]), w.frames[i % FRAMES]);
    bx_frame_unref(bx_outbox_take(&w.all, &w.of[0]));
    assert_int_equal(w.of[0].count, 3);
    assert_int_equal(w.of[0].bytes, 21);
  }
  end(&w);
}

static void what_waits_for_many_is_one_text(void **state) {
  struct world w;
  struct bx_frame *first;

  (void)state;
  begin(&w);
  fill(&w, SESSIONS, 0, 3);
  first = bx_outbox_join(&w.all, &w.of[0], ROOM);
  for (unsigned i = 1; i < SESSIONS; i++) {
    struct bx_frame *f = bx_outbox_join(&w.all, &w.of[i], ROOM);
    assert_ptr_equal(f, first);
    bx_frame_unref(f);
  }
  assert_text(first, "[{\"n\":0},{\"n\":1},{\"n\":2}]");
  assert_int_equal(w.of[0].count, 3);

  for (unsigned i = 3; i < SESSIONS; i++) bx_outbox_put(&w.all, &w.of[i], w.frames[4]);   // some of them get more
  assert_text(bx_outbox_join(&w.all, &w.of[3], ROOM), "[{\"n\":0},{\"n\":1},{\"n\":2},{\"n\":4}]");
  assert_text(bx_outbox_join(&w.all, &w.of[2], ROOM), "[{\"n\":0},{\"n\":1},{\"n\":2}]");
  bx_outbox_put(&w.all, &w.of[2], w.frames[3]);   // the last one is its own
  assert_null(bx_outbox_join(&w.all, &w.of[2], ROOM));
  bx_outboxes_forget(&w.all);
  assert_int_equal(w.live, FRAMES);
  end(&w);
}

static void what_is_not_worth_it_is_not_joined(void **state) {
  struct world w;

  (void)state;
  begin(&w);
  fill(&w, 2, 0, 3);   // of few
  assert_null(bx_outbox_join(&w.all, &w.of[0], ROOM));
  bx_outbox_drop(&w.all, &w.of[0]);
  fill(&w, SESSIONS, 3, 4);   // a single one
  assert_null(bx_outbox_join(&w.all, &w.of[0], ROOM));
  fill(&w, SESSIONS, 4, 5);   // too long: 7 + 1 + 7
  assert_null(bx_outbox_join(&w.all, &w.of[0], 14));
  assert_text(bx_outbox_join(&w.all, &w.of[0], 15), "[{\"n\":3},{\"n\":4}]");
  assert_int_equal(w.live, FRAMES + 1);   // the text is kept for the next one
  end(&w);
}

// Filled at once it is as if they were put one by one, whatever stood there before.
static void filled_at_once(void **state) {
  struct world w;

  (void)state;
  begin(&w);
  fill(&w, SESSIONS, 0, 2);
  for (unsigned i = 0; i < 3; i++) {
    bx_frame_unref(bx_outbox_take(&w.all, &w.of[0]));   // the last two stand anywhere in the block
    bx_outbox_put(&w.all, &w.of[0], w.frames[2 + i]);
  }
  bx_outbox_drop(&w.all, &w.of[0]);
  assert_int_equal(w.of[0].count, 0);
  assert_int_equal(w.of[0].bytes, 0);

  bx_outbox_fill(&w.all, &w.of[0], w.frames, 2, 14);
  assert_int_equal(w.of[0].count, 2);
  assert_int_equal(w.of[0].bytes, 14);
  assert_text(bx_outbox_join(&w.all, &w.of[1], ROOM), "[{\"n\":0},{\"n\":1}]");
  assert_text(bx_outbox_join(&w.all, &w.of[0], ROOM), "[{\"n\":0},{\"n\":1}]");
  bx_outbox_put(&w.all, &w.of[0], w.frames[4]);
  for (unsigned i = 0; i < 3; i++) {
    struct bx_frame *f = bx_outbox_take(&w.all, &w.of[0]);
    assert_ptr_equal(f, w.frames[i < 2 ? i : 4]);
    bx_frame_unref(f);
  }
  assert_int_equal(w.of[0].bytes, 0);
  end(&w);
}

// Round the end of the block they do not stand side by side.
static void what_wraps_is_not_joined(void **state) {
  struct world w;

  (void)state;
  begin(&w);
  fill(&w, SESSIONS, 0, 1);
  for (unsigned i = 0; i < BX_OUTBOX_FRAMES; i++) {
    bx_outbox_put(&w.all, &w.of[0], w.frames[0]);
    if (i > 0) bx_frame_unref(bx_outbox_take(&w.all, &w.of[0]));
  }
  assert_int_equal(w.of[0].first, BX_OUTBOX_FRAMES - 1);
  assert_null(bx_outbox_join(&w.all, &w.of[0], ROOM));
  end(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(frames_come_out_in_their_order),     cmocka_unit_test(what_waits_for_many_is_one_text),
      cmocka_unit_test(what_is_not_worth_it_is_not_joined), cmocka_unit_test(filled_at_once),
      cmocka_unit_test(what_wraps_is_not_joined),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
