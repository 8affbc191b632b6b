// SPDX-License-Identifier: Apache-2.0
// Query strings.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bayeux/buffer.h"
#include "broker/host/http.h"

static void expect(const char *query, const char *name, const char *value) {
  struct bx_buffer out = {0};
  bool found = bk_query_get(bx_slice_of(query), name, &out);
  assert_int_equal(found, value != NULL);
  if (value) assert_true(bx_slice_equal(bx_buffer_view(&out), bx_slice_of(value)));
  bx_buffer_fini(&out);
}

static void values(void **state) {
  (void)state;
  expect("", "a", NULL);
  expect("a=1", "a", "1");
  expect("b=2&a=1&c=3", "a", "1");
  expect("a=1&a=2", "a", "1");
  expect("ab=1", "a", NULL);
  expect("a", "a", "");
  expect("a=", "a", "");
  expect("&&a=1&&", "a", "1");
  expect("a=b=c", "a", "b=c");
  expect("%61=1", "a", "1");
}

static void decoding(void **state) {
  (void)state;
  expect("a=x+y%20z", "a", "x y z");
  expect("a=%26%3d%2B%3D", "a", "&=+=");
  expect("a=%E2%82%AC", "a", "\xe2\x82\xac");
  expect("a=%zz", "a", "%zz");
  expect("a=%4", "a", "%4");
  expect("a=%", "a", "%");
  expect("a=%2541", "a", "%41");
}

static void appends_to_what_is_there(void **state) {
  (void)state;
  struct bx_buffer out = {0};
  bx_buffer_lit(&out, "before ");
  assert_true(bk_query_get(BX_LIT("a=after"), "a", &out));
  assert_true(bx_slice_equal(bx_buffer_view(&out), BX_LIT("before after")));
  bx_buffer_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values),
      cmocka_unit_test(decoding),
      cmocka_unit_test(appends_to_what_is_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
