// SPDX-License-Identifier: Apache-2.0
// Addresses of listeners, to socket addresses and back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/host/internal.h"

static void round_trip(const char *text, const char *back) {
  struct bk_address a;
  char out[64];
  assert_true(bk_address_parse(&a, text));
  bk_address_text(&a.socket.generic, out, sizeof out);
  assert_string_equal(out, back);
}

static void good(void **state) {
  (void)state;
  round_trip("127.0.0.1:8000", "127.0.0.1:8000");
  round_trip("0.0.0.0:0", "0.0.0.0:0");
  round_trip("localhost:80", "127.0.0.1:80");
  round_trip("[::1]:65535", "[::1]:65535");
  round_trip("[::]:1", "[::]:1");
  round_trip("unix:/run/mora", "unix");
  struct bk_address a;
  assert_true(bk_address_parse(&a, "unix:/run/mora"));
  assert_string_equal(a.unix_path, "/run/mora");
}

static void bad(void **state) {
  (void)state;
  static const char *const texts[] = {"",
                                      ":",
                                      ":80",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:x",
                                      "127.0.0.1:80x",
                                      "127.0.0.1: 80",
                                      "127.0.0.1:+80",
                                      "127.0.0.1:65536",
                                      "::1:80",
                                      "[::1]",
                                      "[::1]80",
                                      "[]:80",
                                      "[::1:80",
                                      "example.org:80",
                                      "unix:",
                                      "256.0.0.1:80"};
  struct bk_address a;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) assert_false(bk_address_parse(&a, texts[i]));
  char path[200];
  memset(path, 'x', sizeof path);
  memcpy(path, "unix:/", 6);
  path[sizeof path - 1] = '\0';
  assert_false(bk_address_parse(&a, path));   // longer than a socket's name can be
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(bad)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
