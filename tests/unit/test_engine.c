// SPDX-License-Identifier: Apache-2.0
// The memory engine: the scripts that every engine has to follow, and its idempotency keys.
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/memory_engine.h"
#include "tests/unit/support/engine_script.h"

#define SECONDS 1700000000ull

static bx_millis now;

static struct bx_engine *create(struct engine_host *host) {
  (void)host;
  return bx_memory_engine_create(SECONDS, 100, (struct bx_table_key){1, 2});
}

static void settle(struct engine_host *host, struct bx_engine *engine) {
  (void)host;
  do engine->ops->turn(engine, now);
  while (engine->ops->busy(engine));
}

static void scripts(void **state) {
  struct engine_host host = {.create = create, .settle = settle};
  unsigned count = 0;

  (void)state;
  for (const struct engine_script *s = engine_scripts; s->name != NULL; s++, count++) engine_script_check(&host, s);
  assert_int_equal(count, 5);
}

// -- its own -----------------------------------------------------------------------------------------

static unsigned entries;

static void appended(void *context, bx_position position, struct bx_slice channel, struct bx_frame *frame) {
  (void)context;
  (void)position;
  (void)channel;
  (void)frame;
  entries++;
}

struct result {
  struct bx_request request;
  enum bx_outcome outcome;
  bx_position position;
};

static void done(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct result *r = bx_container_of(request, struct result, request);
  r->outcome = outcome;
  r->position = position;
}

static struct bx_engine *make(size_t once_max) {
  struct bx_engine *engine = bx_memory_engine_create(SECONDS, once_max, (struct bx_table_key){1, 2});

  engine->events.appended = appended;
  entries = 0;
  now = 5000;
  return engine;
}

// One publish with a key; the position, and whether it was a repeat.
static bx_position publish(struct bx_engine *engine, const char *key, bool *repeated) {
  struct result r = {.request = {.kind = BX_REQUEST_PUBLISH, .done = done, .channel = BX_LIT("/a")}};
  uint64_t frames = 0;

  r.request.once = bx_slice_of(key);
  r.request.frame = bx_frame_create(2, &frames);
  bx_list_init(&r.request.link);
  engine->ops->submit(engine, &r.request);
  assert_true(engine->ops->busy(engine));
  engine->ops->turn(engine, now);
  assert_false(engine->ops->busy(engine));
  assert_int_equal(r.outcome, BX_ACKNOWLEDGED);
  bx_frame_unref(r.request.frame);
  assert_int_equal(frames, 0);
  *repeated = r.request.repeated;
  return r.position;
}

static void where_positions_begin(void **state) {
  struct bx_engine *engine = make(10);
  bool repeated;

  (void)state;
  assert_string_equal(engine->ops->name, "memory");
  assert_null(engine->ops->not_ready(engine));
  assert_int_equal(engine->epoch, SECONDS);
  assert_int_equal(engine->base, SECONDS * 1000000);
  assert_int_equal(publish(engine, "", &repeated), SECONDS * 1000000 + 1);
  assert_int_equal(publish(engine, "", &repeated), SECONDS * 1000000 + 2);
  assert_false(repeated);
  engine->ops->destroy(engine);
}

static void keys_are_kept_for_five_minutes(void **state) {
  struct bx_engine *engine = make(10);
  bool repeated;

  (void)state;
  assert_int_equal(publish(engine, "key", &repeated), engine->base + 1);
  now += 4 * 60 * 1000;
  assert_int_equal(publish(engine, "younger", &repeated), engine->base + 2);
  now += 60 * 1000 - 1;
  assert_int_equal(publish(engine, "key", &repeated), engine->base + 1);
  assert_true(repeated);   // and a repeat does not prolong its life
  now += 1;
  assert_int_equal(publish(engine, "key", &repeated), engine->base + 3);
  assert_false(repeated);
  assert_int_equal(publish(engine, "younger", &repeated), engine->base + 2);
  assert_true(repeated);
  assert_int_equal(entries, 3);
  engine->ops->destroy(engine);
}

static void keys_are_bounded(void **state) {
  struct bx_engine *engine = make(3);
  bool repeated;

  (void)state;
  publish(engine, "a", &repeated);
  publish(engine, "b", &repeated);
  publish(engine, "c", &repeated);
  publish(engine, "d", &repeated);   // the oldest goes
  publish(engine, "b", &repeated);
  assert_true(repeated);
  publish(engine, "d", &repeated);
  assert_true(repeated);
  publish(engine, "a", &repeated);
  assert_false(repeated);
  publish(engine, "c", &repeated);
  assert_true(repeated);
  assert_int_equal(entries, 5);
  engine->ops->destroy(engine);
}

static void keys_of_one_turn_are_bounded(void **state) {
  static char names[50][8];
  static struct result many[50];
  struct bx_engine *engine = make(3);
  uint64_t frames = 0;
  struct bx_frame *f = bx_frame_create(2, &frames);
  bool repeated;

  (void)state;
  for (unsigned i = 0; i < 50; i++) {
    snprintf(names[i], sizeof names[i], "%u", i);
    many[i].request = (struct bx_request){
        .kind = BX_REQUEST_PUBLISH, .done = done, .channel = BX_LIT("/a"), .frame = f, .once = bx_slice_of(names[i])};
    bx_list_init(&many[i].request.link);
    engine->ops->submit(engine, &many[i].request);
  }
  engine->ops->turn(engine, now);
  for (unsigned i = 0; i < 50; i++) assert_int_equal(many[i].position, engine->base + 1 + i);
  publish(engine, "46", &repeated);
  assert_false(repeated);
  publish(engine, "49", &repeated);
  assert_true(repeated);
  engine->ops->destroy(engine);
  bx_frame_unref(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scripts),
      cmocka_unit_test(where_positions_begin),
      cmocka_unit_test(keys_are_kept_for_five_minutes),
      cmocka_unit_test(keys_are_bounded),
      cmocka_unit_test(keys_of_one_turn_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
