// SPDX-License-Identifier: Apache-2.0
// The hash table.
#include "bayeux/table.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

struct word {
  struct bx_table_node node;
  char text[16];
  bool in;
  unsigned seen;
};

static const struct bx_table_key secret = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

static struct bx_slice key_of(const struct word *w) { return bx_slice_of(w->text); }

static struct word *words(unsigned count) {
  struct word *all = bx_alloc(count * sizeof *all);
  for (unsigned i = 0; i < count; i++) snprintf(all[i].text, sizeof all[i].text, "/key/%u", i);
  return all;
}

static struct word *word_of(struct bx_table_node *n) { return bx_container_of(n, struct word, node); }

// The list is what CPython 3.11 gives for the same bytes with PYTHONHASHSEED=0, which makes the
// secret zero; the empty text pins the order of a secret's bytes.
static void known_hashes(void **state) {
  (void)state;
  static const struct {
    size_t len;
    uint64_t hash;
  } known[] = {{1, 0x68a914128e01e473u},  {7, 0x2f098ab0c751325au},  {8, 0xead411e67ebe2eeau},
               {9, 0x75927f9d95124362u},  {15, 0xf30eb725bb91c9eau}, {16, 0x8972188433a5c5b7u},
               {17, 0x4883c49a2c009c1du}, {63, 0x385d3e39e5f37359u}};
  struct bx_table t;
  char bytes[64];
  for (int i = 0; i < 64; i++) bytes[i] = (char)i;
  bx_table_init(&t, secret);
  assert_true(bx_table_hash(&t, BX_LIT("")) == 0xabac0158050fc4dcu);
  assert_true(bx_table_hash(&t, (struct bx_slice){0}) == 0xabac0158050fc4dcu);
  bx_table_init(&t, (struct bx_table_key){0});
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    assert_true(bx_table_hash(&t, (struct bx_slice){bytes, known[i].len}) == known[i].hash);
  }
  bx_table_fini(&t);
}

static void empty(void **state) {
  (void)state;
  struct bx_table t;
  bx_table_init(&t, secret);
  assert_null(bx_table_find(&t, BX_LIT("x")));
  assert_null(bx_table_find_hashed(&t, BX_LIT("x"), 7));
  bx_table_each(&t, NULL, NULL);
  bx_table_fini(&t);
  bx_table_fini(&t);
}

static void insert_find_remove(void **state) {
  (void)state;
  struct bx_table t;
  struct word a = {.text = "a"}, b = {.text = "b"}, none = {.text = ""};
  bx_table_init(&t, secret);
  bx_table_insert(&t, &a.node, key_of(&a));
  bx_table_insert(&t, &b.node, key_of(&b));
  bx_table_insert(&t, &none.node, key_of(&none));
  assert_int_equal(t.count, 3);
  assert_ptr_equal(bx_table_find(&t, BX_LIT("a")), &a.node);
  assert_ptr_equal(bx_table_find(&t, BX_LIT("")), &none.node);
  assert_ptr_equal(bx_table_find_hashed(&t, BX_LIT("b"), bx_table_hash(&t, BX_LIT("b"))), &b.node);
  assert_null(bx_table_find(&t, BX_LIT("ab")));
  assert_null(bx_table_find(&t, BX_LIT("a\0")));
  bx_table_remove(&t, &a.node);
  assert_null(bx_table_find(&t, BX_LIT("a")));
  assert_ptr_equal(bx_table_find(&t, BX_LIT("b")), &b.node);
  bx_table_insert(&t, &a.node, key_of(&a));
  assert_ptr_equal(bx_table_find(&t, BX_LIT("a")), &a.node);
  bx_table_fini(&t);
}

static void it_grows_and_shrinks(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  struct bx_table t;
  struct word *all = words(COUNT);
  bx_table_init(&t, secret);
  for (unsigned i = 0; i < COUNT; i++) {
    bx_table_insert(&t, &all[i].node, key_of(&all[i]));
    assert_true(t.count <= t.mask + 1);
  }
  assert_int_equal(t.mask + 1, 8192);
  for (unsigned i = 0; i < COUNT; i++) {
    bx_table_remove(&t, &all[i].node);
    assert_true(t.mask + 1 == 16 || t.count >= (t.mask + 1) / 8);
    if (i + 1 < COUNT) assert_ptr_equal(bx_table_find(&t, key_of(&all[COUNT - 1])), &all[COUNT - 1].node);
  }
  assert_int_equal(t.count, 0);
  assert_int_equal(t.mask + 1, 16);
  bx_table_fini(&t);
  bx_free(all);
}

static bool see(struct bx_table_node *n, void *context) {
  struct word *w = word_of(n);
  w->seen++;
  ++*(unsigned *)context;
  return true;
}

static void random_operations(void **state) {
  (void)state;
  enum { COUNT = 700 };
  struct bx_table t;
  struct word *all = words(COUNT);
  uint64_t random = 88172645463325252u;
  size_t count = 0;
  bx_table_init(&t, secret);
  for (unsigned step = 0; step < 60000; step++) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    struct word *w = &all[random % COUNT];
    // The tide comes and goes, so that the table does grow and shrink.
    bool wanted = (random >> 40) % 100 < (step / 5000 % 2 ? 97 : 3);
    if (w->in != wanted) {
      if (wanted)
        bx_table_insert(&t, &w->node, key_of(w));
      else
        bx_table_remove(&t, &w->node);
      w->in = wanted;
      count = wanted ? count + 1 : count - 1;
    }
    assert_int_equal(t.count, count);
    w = &all[(random >> 20) % COUNT];
    assert_ptr_equal(bx_table_find(&t, key_of(w)), w->in ? &w->node : NULL);
    if (step % 1000) continue;
    unsigned visits = 0;
    bx_table_each(&t, see, &visits);
    assert_int_equal(visits, count);
    for (unsigned i = 0; i < COUNT; i++) {
      assert_int_equal(all[i].seen, all[i].in);
      all[i].seen = 0;
    }
  }
  bx_table_fini(&t);
  bx_free(all);
}

struct removal {
  struct bx_table *table;
  unsigned visits, keep_every, stop_after;
};

static bool remove_in_hand(struct bx_table_node *n, void *context) {
  struct removal *r = context;
  word_of(n)->seen++;
  if (r->visits++ % r->keep_every != 0) {
    bx_table_remove(r->table, n);
    memset(n, 0xdb, sizeof *n);   // as if it had been freed
  }
  return r->visits != r->stop_after;
}

static void removing_while_visiting(void **state) {
  (void)state;
  enum { COUNT = 3000 };
  struct bx_table t;
  struct word *all = words(COUNT);
  bx_table_init(&t, secret);
  for (unsigned i = 0; i < COUNT; i++) bx_table_insert(&t, &all[i].node, key_of(&all[i]));
  struct removal r = {&t, 0, 100, 0};
  bx_table_each(&t, remove_in_hand, &r);
  assert_int_equal(r.visits, COUNT);
  for (unsigned i = 0; i < COUNT; i++) assert_int_equal(all[i].seen, 1);
  assert_int_equal(t.count, COUNT / 100);
  assert_true(t.mask + 1 < 512);   // it shrank behind the visit
  unsigned left = 0;
  bx_table_each(&t, see, &left);
  assert_int_equal(left, COUNT / 100);
  bx_table_fini(&t);
  bx_free(all);
}

static void a_visit_can_stop(void **state) {
  (void)state;
  struct bx_table t;
  struct word *all = words(50);
  bx_table_init(&t, secret);
  for (unsigned i = 0; i < 50; i++) bx_table_insert(&t, &all[i].node, key_of(&all[i]));
  struct removal r = {&t, 0, 1, 7};
  bx_table_each(&t, remove_in_hand, &r);
  assert_int_equal(r.visits, 7);
  bx_table_fini(&t);
  bx_free(all);
}

static void the_secret_changes_everything(void **state) {
  (void)state;
  struct bx_table a, b;
  bx_table_init(&a, (struct bx_table_key){1, 2});
  bx_table_init(&b, (struct bx_table_key){1, 3});
  assert_true(bx_table_hash(&a, BX_LIT("/a/b")) != bx_table_hash(&b, BX_LIT("/a/b")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_hashes),       cmocka_unit_test(empty),
      cmocka_unit_test(insert_find_remove), cmocka_unit_test(it_grows_and_shrinks),
      cmocka_unit_test(random_operations),  cmocka_unit_test(removing_while_visiting),
      cmocka_unit_test(a_visit_can_stop),   cmocka_unit_test(the_secret_changes_everything),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
