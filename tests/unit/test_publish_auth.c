// SPDX-License-Identifier: Apache-2.0
// Tokens, and which addresses, hosts and origins are this machine's own.
#include "broker/publish/auth.h"

#include <setjmp.h>

#include <cmocka.h>

static void tokens(void **state) {
  (void)state;
  static const char *const list[] = {"alpha", "", "a much longer token than the other one", NULL};
  struct bk_secrets t;
  bk_secrets_init(&t, list, 4);
  assert_int_equal(t.count, 2);
  assert_true(bk_secrets_match(&t, BX_LIT("alpha")));
  assert_true(bk_secrets_match(&t, BX_LIT("a much longer token than the other one")));
  assert_false(bk_secrets_match(&t, BX_LIT("")));
  assert_false(bk_secrets_match(&t, BX_LIT("alph")));
  assert_false(bk_secrets_match(&t, BX_LIT("alphaa")));
  assert_false(bk_secrets_match(&t, BX_LIT("Alpha")));
  assert_int_equal(bk_secrets_find(&t, BX_LIT("alpha")), 0);
  assert_int_equal(bk_secrets_find(&t, BX_LIT("a much longer token than the other one")), 1);
  assert_int_equal(bk_secrets_find(&t, BX_LIT("alph")), 2);
  bk_secrets_fini(&t);
}

static void an_empty_set_matches_nothing(void **state) {
  (void)state;
  static const char *const empty[] = {""};
  struct bk_secrets t;
  bk_secrets_init(&t, NULL, 0);
  assert_false(bk_secrets_match(&t, BX_LIT("")));
  bk_secrets_fini(&t);
  bk_secrets_init(&t, empty, 1);
  assert_int_equal(t.count, 0);
  assert_false(bk_secrets_match(&t, BX_LIT("")));
  bk_secrets_fini(&t);
}

static void addresses(void **state) {
  (void)state;
  static const char *const local[] = {"127.0.0.1:80", "127.9.9.9:1", "localhost:80", "LocalHost:80",
                                      "[::1]:80",     "unix:/a/b",   "127.0.0.1:0"};
  static const char *const remote[] = {"0.0.0.0:80",
                                       "10.0.0.1:80",
                                       "[::]:80",
                                       "[::ffff:1.2.3.4]:80",
                                       "example.com:80",
                                       "127.example.com:80",
                                       "localhost.example.com:80",
                                       "*:80",
                                       ":80",
                                       ""};
  for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
    if (!bk_address_is_local(local[i])) fail_msg("%s is local", local[i]);
    if (i < 5 && !bk_host_is_local(bx_slice_of(local[i]))) fail_msg("%s is local", local[i]);
  }
  for (size_t i = 0; i < sizeof remote / sizeof *remote; i++) {
    if (bk_address_is_local(remote[i])) fail_msg("%s is not local", remote[i]);
    if (*remote[i] && bk_host_is_local(bx_slice_of(remote[i]))) fail_msg("%s is not local", remote[i]);
  }
  assert_true(bk_host_is_local(BX_LIT("")));   // HTTP/1.0
  assert_true(bk_host_is_local(BX_LIT("localhost")));
  assert_true(bk_host_is_local(BX_LIT("[::1]")));
  assert_false(bk_host_is_local(BX_LIT("[::1")));
  static const char *const sites[] = {"https://chat.example.org", "http://other.example:81"};
  const struct cf_strings origins = {.at = sites, .count = 2}, none = {0};
  assert_true(bk_host_is_of(origins, BX_LIT("Chat.example.org")));
  assert_true(bk_host_is_of(origins, BX_LIT("chat.example.org:443")));
  assert_true(bk_host_is_of(origins, BX_LIT("other.example")));
  assert_false(bk_host_is_of(origins, BX_LIT("example.org")));
  assert_false(bk_host_is_of(origins, BX_LIT("https")));
  assert_false(bk_host_is_of(none, BX_LIT("chat.example.org")));
  static const char *const all[] = {"*"};
  assert_true(bk_host_is_of((struct cf_strings){.at = all, .count = 1}, BX_LIT("a")));
}

static void origins(void **state) {
  (void)state;
  assert_true(bk_origin_is_host(BX_LIT("http://a.example:8080"), BX_LIT("a.example:8080")));
  assert_true(bk_origin_is_host(BX_LIT("https://A.example"), BX_LIT("a.example")));
  assert_false(bk_origin_is_host(BX_LIT("http://a.example:8081"), BX_LIT("a.example:8080")));
  assert_false(bk_origin_is_host(BX_LIT("http://evil.a.example"), BX_LIT("a.example")));
  assert_false(bk_origin_is_host(BX_LIT("http://a.example.evil"), BX_LIT("a.example")));
  assert_false(bk_origin_is_host(BX_LIT("null"), BX_LIT("null")));
  assert_false(bk_origin_is_host(BX_LIT("http://"), BX_LIT("")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tokens),
      cmocka_unit_test(an_empty_set_matches_nothing),
      cmocka_unit_test(addresses),
      cmocka_unit_test(origins),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
