// SPDX-License-Identifier: Apache-2.0
// What the broker decides without a socket: which paths belong to a mount, which origins pass, what
// broker.mounts may say, which page of a listing comes next.
#include "broker/access/origin.h"
#include "broker/admin/parts.h"
#include "broker/options.h"
#include "broker/transport/script.h"
#include "broker/transport/transport.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static void paths_of_a_mount(void **state) {
  (void)state;
  static const char *const inside[] = {"/bayeux",     "/bayeux/",      "/bayeux/a/b", "/bayeux/a.b/c.d",
                                       "/bayeux.foo", "/bayeux.foo/x", NULL};
  static const char *const outside[] = {"/bayeuxfoo", "/Bayeux", "/bayeux.a.b", "/bayeux.", "/", "/x", "", NULL};
  for (const char *const *p = inside; *p; p++)
    if (!bk_mount_matches(BX_LIT("/bayeux"), bx_slice_of(*p))) fail_msg("%s is inside", *p);
  for (const char *const *p = outside; *p; p++)
    if (bk_mount_matches(BX_LIT("/bayeux"), bx_slice_of(*p))) fail_msg("%s is outside", *p);
  assert_true(bk_mount_matches(BX_LIT("/"), BX_LIT("/anything")));
}

static const char *script_of(const struct bk_scripts *scripts, const char *mount, const char *path) {
  const struct bk_script *s = bk_scripts_find(scripts, bx_slice_of(mount), bx_slice_of(path));
  return s ? s->name : "";
}

static void scripts_and_who_has_them(void **state) {
  (void)state;
  struct bk_scripts scripts = {{{.name = "faye-browser-min.js", .bytes = {"x", 1}, .etag = "abc", .mtime = 86400},
                                {.name = "faye-browser-min.js.map", .bytes = {"x", 1}},
                                {.name = "faye-browser.js"},
                                {.name = "faye-browser.js.map"}}};
  static const char *const client[] = {"/b.js", "/b/client.js", "/b/x/b.js", "/b/faye-browser-min.js", NULL};
  static const char *const none[] = {"/b/faye-browser.js", "/b/bb.js", "/b/.js", "/b/client.js/", "/b/a.js",
                                     "/b/b.js.map",        NULL};
  for (const char *const *p = client; *p; p++)
    assert_string_equal(script_of(&scripts, "/b", *p), "faye-browser-min.js");
  for (const char *const *p = none; *p; p++) assert_string_equal(script_of(&scripts, "/b", *p), "");
  assert_string_equal(script_of(&scripts, "/b", "/b/faye-browser-min.js.map"), "faye-browser-min.js.map");
  assert_string_equal(script_of(&scripts, "/a/deep", "/a/deep.js"), "faye-browser-min.js");
  const struct bk_script *s = &scripts.at[0];
  assert_true(bk_script_is_known(s, "abc", ""));
  assert_false(bk_script_is_known(s, "\"abc\"", ""));
  assert_false(bk_script_is_known(s, "", ""));
  assert_true(bk_script_is_known(s, "", "Fri, 02 Jan 1970 00:00:00 GMT"));
  assert_false(bk_script_is_known(s, "", "Thu, 01 Jan 1970 23:59:59 GMT"));
  assert_false(bk_script_is_known(s, "", "Fri, 02 Jan 2070 00:00:00 GMT x"));
}

static bool allowed(const char *list, const char *origin, bool loopback) {
  struct cf_strings origins = {&list, list ? 1 : 0};
  return bk_origin_allowed(origins, bx_slice_of(origin), loopback);
}

static void origins_of_this_machine(void **state) {
  (void)state;
  static const char *const ours[] = {
      "http://localhost", "https://localhost:8080", "http://127.0.0.1:80",    "http://[::1]:8000",
      "HTTP://LOCALHOST", "https://[::1]",          "http://localhost:65535", NULL};
  static const char *const theirs[] = {"http://localhost.example.org",
                                       "http://127.0.0.1.example.org",
                                       "http://localhost:80.example",
                                       "http://example.org",
                                       "ftp://localhost",
                                       "http://127.0.0.2",
                                       "http://localhost:",
                                       "http://localhost:123456",
                                       "localhost",
                                       "null",
                                       NULL};
  for (const char *const *o = ours; *o; o++) {
    if (!allowed(NULL, *o, true)) fail_msg("%s passes on loopback", *o);
    if (allowed(NULL, *o, false)) fail_msg("%s passes nowhere else", *o);
  }
  for (const char *const *o = theirs; *o; o++)
    if (allowed(NULL, *o, true)) fail_msg("%s does not pass", *o);
  assert_true(allowed(NULL, "", false));
}

static void origins_of_the_list(void **state) {
  (void)state;
  assert_true(allowed("https://chat.example.org", "https://chat.example.org", false));
  assert_true(allowed("https://Chat.example.org", "https://chat.example.org", false));
  assert_false(allowed("https://chat.example.org", "http://chat.example.org", false));
  assert_false(allowed("https://chat.example.org", "https://chat.example.org.evil.example", false));
  assert_false(allowed("https://chat.example.org", "https://chat.example.org:8443", false));
  assert_true(allowed("*", "http://evil.example", false));
  assert_true(allowed("null", "null", false));
}

static void origins_as_they_are_configured(void **state) {
  (void)state;
  static const char *const good[] = {"*", "null", "https://chat.example.org", "http://a:8080", "app://local", NULL};
  static const char *const bad[] = {"",     "chat.example.org",      "https://",    "https://a/",  "https://a/b",
                                    "://a", "https://*.example.org", "https://a b", "https://u@a", NULL};
  for (const char *const *o = good; *o; o++)
    if (bk_origin_check(bx_slice_of(*o))) fail_msg("%s is good", *o);
  for (const char *const *o = bad; *o; o++)
    if (!bk_origin_check(bx_slice_of(*o))) fail_msg("%s is bad", *o);
}

static void mounts(void **state) {
  (void)state;
  const struct bx_mount standard = {.timeout = 60000, .interval = 7};
  struct bx_mount *list;
  size_t count;
  const char *json = "[\"/bayeux\", {\"path\": \"/faye\", \"timeout\": \"5m\", \"sequence\": true}, {\"path\": \"/c\", "
                     "\"sequence\": false}]";
  assert_null(bk_mounts_read(bx_slice_of(json), &standard, &list, &count));
  assert_int_equal(count, 3);
  assert_true(bx_slice_equal(list[0].path, BX_LIT("/bayeux")));
  assert_int_equal(list[0].timeout, 60000);
  assert_true(bx_slice_equal(list[1].path, BX_LIT("/faye")));
  assert_int_equal(list[1].timeout, 300000);
  assert_int_equal(list[1].interval, 7);
  assert_false(list[0].sequence);
  assert_true(list[1].sequence);
  assert_false(list[2].sequence);
  bx_free(list);
}

static void mounts_that_are_wrong(void **state) {
  (void)state;
  static const char *const bad[] = {"[]",
                                    "5",
                                    "[5]",
                                    "[null]",
                                    "[[\"/a\"]]",
                                    "[{}]",
                                    "[\"bayeux\"]",
                                    "[\"/a/\"]",
                                    "[{\"timeout\": \"5s\"}]",
                                    "[{\"path\": \"/a\", \"timeout\": 5}]",
                                    "[{\"path\": \"/a\", \"timeout\": \"0s\"}]",
                                    "[{\"path\": \"/a\", \"sequence\": 1}]",
                                    "[{\"path\": \"/a\", \"timeuot\": \"5s\"}]",
                                    NULL};
  const struct bx_mount standard = {.timeout = 1};
  struct bx_mount *list;
  size_t count;
  for (const char *const *each = bad; *each; each++)
    if (!bk_mounts_read(bx_slice_of(*each), &standard, &list, &count)) fail_msg("%s was taken", *each);
}

// Pages through keys 0..n-1, offered backwards, `limit` at a time.
static void pages(void **state) {
  (void)state;
  enum { N = 1000, LIMIT = 7 };
  char keys[N][8];
  struct bx_buffer after = {0};
  size_t seen = 0;
  for (int i = 0; i < N; i++) snprintf(keys[i], sizeof keys[i], "%04d", i);
  for (bool more = true; more;) {
    struct bk_page page = {.limit = LIMIT, .rows = bx_alloc(2 * (LIMIT + 1) * sizeof(struct bk_page_row))};
    json_t *answer = json_object();
    bx_buffer_slice(&page.after, bx_buffer_view(&after));
    for (int i = N; i-- > 0;) bk_page_offer(&page, bx_slice_of(keys[i]), (struct bx_slice){0}, keys[i]);
    bk_page_close(&page, answer);
    for (size_t i = 0; i < page.count; i++) assert_ptr_equal(page.rows[i].item, keys[seen++]);
    const char *next = json_string_value(json_object_get(answer, "next"));
    more = next != NULL;
    assert_int_equal(more, page.more);
    bx_buffer_clear(&after);
    if (more) bx_buffer_slice(&after, bx_slice_of(next));
    json_decref(answer);
    bk_page_fini(&page);
  }
  assert_int_equal(seen, N);
  bx_buffer_fini(&after);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(paths_of_a_mount),
      cmocka_unit_test(scripts_and_who_has_them),
      cmocka_unit_test(origins_of_this_machine),
      cmocka_unit_test(origins_of_the_list),
      cmocka_unit_test(origins_as_they_are_configured),
      cmocka_unit_test(mounts),
      cmocka_unit_test(mounts_that_are_wrong),
      cmocka_unit_test(pages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
