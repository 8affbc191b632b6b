// SPDX-License-Identifier: Apache-2.0
// Chunked bodies, whole and cut anywhere.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/host/internal.h"

// Feeds `text` in pieces of `step`. Returns the bytes used when it is over, -1 when refused, -2 when
// it wants more.
static long feed(const char *text, size_t step, struct bx_buffer *out) {
  struct bk_chunks c = {0};
  size_t len = strlen(text), at = 0;
  bx_buffer_clear(out);
  while (at < len) {
    size_t n = len - at < step ? len - at : step;
    long used = bk_chunks_feed(&c, text + at, n, out);
    if (used < 0) return -1;
    at += (size_t)used;
    if (c.state == BK_CHUNKS_OVER) return (long)at;
    assert_int_equal(used, n);
  }
  return -2;
}

static void expect(const char *text, const char *body, long result) {
  struct bx_buffer out = {0};
  for (size_t step = 1; step <= strlen(text); step++) {
    assert_int_equal(feed(text, step, &out), result);
    if (body) assert_true(bx_slice_equal(bx_buffer_view(&out), bx_slice_of(body)));
  }
  bx_buffer_fini(&out);
}

static void good(void **state) {
  (void)state;
  expect("0\r\n\r\n", "", 5);
  expect("5\r\nhello\r\n0\r\n\r\n", "hello", 15);
  expect("5\r\nhello\r\n0\r\n\r\nGET /", "hello", 15);
  expect("5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\nB: y\r\n\r\n", "hello0123456789", 56);
  expect("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", 14);
}

static void unfinished(void **state) {
  (void)state;
  expect("5\r\nhell", "hell", -2);
  expect("5\r\nhello\r\n0\r\n", "hello", -2);
  expect("0\r\nTrailer: x\r\n", "", -2);
}

static void bad(void **state) {
  (void)state;
  expect("\r\n", NULL, -1);
  expect("g\r\n", NULL, -1);
  expect("-1\r\n", NULL, -1);
  expect("1\nx\r\n0\r\n\r\n", NULL, -1);   // a line feed alone ends no line
  expect("1\r\nx\n0\r\n\r\n", NULL, -1);
  expect("1\r\nx\r\r\n0\r\n\r\n", NULL, -1);
  expect("1\rx", NULL, -1);
  expect("1;a\nb\r\nx", NULL, -1);
  expect("0\r\nA: b\nC: d\r\n\r\n", NULL, -1);
  expect(" 1\r\nx\r\n", NULL, -1);
  expect("0x1\r\nx\r\n", NULL, -1);
  expect("1 \r\nx\r\n", NULL, -1);
  expect("1 1\r\nx\r\n", NULL, -1);
  expect("0\r\nno colon\r\n\r\n", NULL, -1);
  expect("0\r\nword\r\n\r\n", NULL, -1);
  expect("0\r\n: x\r\n\r\n", NULL, -1);
  expect("0\r\nA: b\r\n folded\r\n\r\n", NULL, -1);
  expect(";a\r\n", NULL, -1);
  expect("1\r\nxy", NULL, -1);
  expect("5\r\nhelloworld\r\n", NULL, -1);
  expect("1234567890123456\r\n", NULL, -1);   // longer than anything that is meant
  char long_line[20000];
  struct bx_buffer out = {0};
  memset(long_line, 'x', sizeof long_line);
  memcpy(long_line, "5;", 2);
  long_line[sizeof long_line - 1] = '\0';
  assert_int_equal(feed(long_line, sizeof long_line, &out), -1);
  bx_buffer_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(unfinished), cmocka_unit_test(bad)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
