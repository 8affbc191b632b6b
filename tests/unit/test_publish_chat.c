// SPDX-License-Identifier: Apache-2.0
// Message ids and room names of mora-api.
#include "api-bridge/chat.h"
#include "api-bridge/object_id.h"

#include <setjmp.h>

#include <cmocka.h>

static const unsigned char known[8] = {1, 2, 3, 4, 0xff, 0, 0, 7};

static void an_id_is_time_process_counter(void **state) {
  (void)state;
  struct ab_object_ids ids;
  char id[AB_OBJECT_ID_LEN + 1];
  ab_object_ids_init(&ids, known);
  ab_object_id_next(&ids, 0x65432100ull * 1000 + 999, id);
  assert_string_equal(id, "6543210001020304ff000007");
  ab_object_id_next(&ids, 0x65432101ull * 1000, id);
  assert_string_equal(id, "6543210101020304ff000008");
}

// Across a clock that is set back, and a counter that runs over.
static void ids_grow(void **state) {
  (void)state;
  struct ab_object_ids ids;
  char last[AB_OBJECT_ID_LEN + 1] = "", id[AB_OBJECT_ID_LEN + 1];
  ab_object_ids_init(&ids, known);
  ids.counter = 0xfffffd;
  for (int i = 0; i < 10; i++) {
    ab_object_id_next(&ids, i % 2 ? 5000 : 9000, id);
    assert_int_equal(strlen(id), AB_OBJECT_ID_LEN);
    assert_int_equal(strspn(id, "0123456789abcdef"), AB_OBJECT_ID_LEN);
    if (strcmp(id, last) <= 0) fail_msg("%s does not come behind %s", id, last);
    memcpy(last, id, sizeof last);
  }
}

static void the_counter_starts_low(void **state) {
  (void)state;
  static const unsigned char high[8] = {255, 255, 255, 255, 255, 255, 255, 255};
  struct ab_object_ids ids;
  ab_object_ids_init(&ids, high);
  assert_int_equal(ids.counter, 0x7fffff);
}

static void rooms(void **state) {
  (void)state;
  static const char *const bad[] = {"", "a/b", "/a", "*", "**", "a*", "a.b", "a b", "é", "a%2fb", "<b>", "a\"b"};
  char long_name[AB_MAX_ROOM + 2];
  memset(long_name, 'a', sizeof long_name);
  assert_true(ab_room_is_good(BX_LIT("5f1e2d3c4b5a69788796a5b4")));
  assert_true(ab_room_is_good(BX_LIT("a-_!~()$@Z9")));
  assert_true(ab_room_is_good((struct bx_slice){long_name, AB_MAX_ROOM}));
  assert_false(ab_room_is_good((struct bx_slice){long_name, AB_MAX_ROOM + 1}));
  assert_false(ab_room_is_good((struct bx_slice){"a\0b", 3}));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (ab_room_is_good(bx_slice_of(bad[i]))) fail_msg("taken: %s", bad[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_id_is_time_process_counter),
      cmocka_unit_test(ids_grow),
      cmocka_unit_test(the_counter_starts_low),
      cmocka_unit_test(rooms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
