// SPDX-License-Identifier: Apache-2.0
// Channel names and patterns.
#include "bayeux/channel.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static enum bx_channel_kind classify(const char *text) {
  // A copy of exactly this length: reading past the end is seen by the sanitizer.
  size_t len = strlen(text);
  char *copy = bx_alloc(len);
  memcpy(copy, text, len);
  enum bx_channel_kind kind = bx_channel_classify((struct bx_slice){copy, len});
  bx_free(copy);
  return kind;
}

static void kinds(void **state) {
  (void)state;
  static const char *names[] = {"/a",         "/a/b", "/a-b_c!d~e(f)g$h@i", "/META/x",       "/meta/connect", "/meta",
                                "/service/x", "/0",   "/(/)/$/@/!",         "/a/b/c/d/e/f/g"};
  static const char *patterns[] = {"/*", "/**", "/a/*", "/a/b/**", "/meta/*", "/service/**"};
  static const char *neither[] = {"",       "a",      "/",     "/a/",   "//a",          "/a//b",  "/a.b",  "/a/*/b",
                                  "/a/***", "/a*",    "/*a",   "/a**",  "/caf\xc3\xa9", "*",      "**",    "a/*",
                                  "//*",    "//**",   "/a//*", "/**/a", "/*/*",         "/**/*",  "/*/**", "/**/**",
                                  "/a/*/",  "/a/**/", "/a b",  "/a\n",  "/a?",          "/a%20b", "/a{b}", "/ ",
                                  "///",    "/a#",    "/\x80", "a/b/c", "/a/b/ c"};
  for (size_t i = 0; i < COUNT(names); i++) assert_int_equal(classify(names[i]), BX_CHANNEL_NAME);
  for (size_t i = 0; i < COUNT(patterns); i++) assert_int_equal(classify(patterns[i]), BX_CHANNEL_PATTERN);
  for (size_t i = 0; i < COUNT(neither); i++) assert_int_equal(classify(neither[i]), BX_CHANNEL_INVALID);
  assert_int_equal(bx_channel_classify((struct bx_slice){0}), BX_CHANNEL_INVALID);
  assert_int_equal(bx_channel_classify(BX_LIT("/a\0b")), BX_CHANNEL_INVALID);
}

static void the_bytes_of_a_segment(void **state) {
  (void)state;
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_!~()$@";
  for (int c = 0; c < 256; c++) {
    const char first[] = {'/', (char)c}, middle[] = {'/', 'a', (char)c, 'b', '/', 'c'};
    bool good = c != 0 && strchr(allowed, c);
    assert_int_equal(bx_channel_classify((struct bx_slice){first, 2}) == BX_CHANNEL_NAME, good);
    good |= c == '/';
    assert_int_equal(bx_channel_classify((struct bx_slice){middle, 6}) == BX_CHANNEL_NAME, good);
  }
}

static void depth(void **state) {
  (void)state;
  assert_int_equal(bx_channel_depth(BX_LIT("/a")), 1);
  assert_int_equal(bx_channel_depth(BX_LIT("/**")), 1);
  assert_int_equal(bx_channel_depth(BX_LIT("/a/b")), 2);
  assert_int_equal(bx_channel_depth(BX_LIT("/a/*")), 2);
}

static void first_segments(void **state) {
  (void)state;
  static const char *meta[] = {"/meta", "/meta/connect", "/meta/subscribe/x", "/meta/*", "/meta/**"};
  static const char *service[] = {"/service", "/service/x", "/service/*", "/service/**"};
  static const char *plain[] = {"/metadata",  "/META/x", "/met", "/a/meta", "/services/x",
                                "/Service/x", "/*",      "/**",  "/a"};
  for (size_t i = 0; i < COUNT(meta); i++) {
    assert_true(bx_channel_is_meta(bx_slice_of(meta[i])));
    assert_false(bx_channel_is_service(bx_slice_of(meta[i])));
  }
  for (size_t i = 0; i < COUNT(service); i++) {
    assert_true(bx_channel_is_service(bx_slice_of(service[i])));
    assert_false(bx_channel_is_meta(bx_slice_of(service[i])));
  }
  for (size_t i = 0; i < COUNT(plain); i++) {
    assert_false(bx_channel_is_meta(bx_slice_of(plain[i])));
    assert_false(bx_channel_is_service(bx_slice_of(plain[i])));
  }
}

// Both memories are exactly as long as the header says.
static struct bx_slice *expand(struct bx_slice name, size_t *count, char **scratch) {
  struct bx_slice *keys = bx_alloc((bx_channel_depth(name) + 2) * sizeof *keys);
  *scratch = bx_alloc(bx_channel_scratch(name));
  *count = bx_channel_expand(name, keys, *scratch);
  return keys;
}

static void assert_expands(const char *name, const char *expected) {
  char shown[512] = "", *scratch;
  size_t count, len = 0;
  struct bx_slice *keys = expand(bx_slice_of(name), &count, &scratch);
  for (size_t i = 0; i < count; i++) {
    len += (size_t)snprintf(shown + len, sizeof shown - len, "%s%.*s", i ? " " : "", (int)keys[i].len, keys[i].at);
  }
  assert_string_equal(shown, expected);
  bx_free(keys);
  bx_free(scratch);
}

static void expansion(void **state) {
  (void)state;
  assert_expands("/a", "/** /* /a");
  assert_expands("/a/b", "/** /a/** /a/* /a/b");
  assert_expands("/ab/c/def", "/** /ab/** /ab/c/** /ab/c/* /ab/c/def");
  assert_expands("/a/b/c/d", "/** /a/** /a/b/** /a/b/c/** /a/b/c/* /a/b/c/d");
  assert_expands("/service/x", "/service/x");
  assert_expands("/service", "/service");
  assert_expands("/services/x", "/** /services/** /services/* /services/x");
  assert_expands("/a/service", "/** /a/** /a/* /a/service");
}

static bool matches(const char *pattern, const char *name) {
  return bx_channel_matches(bx_slice_of(pattern), bx_slice_of(name));
}

static void matching(void **state) {
  (void)state;
  assert_true(matches("/a/b", "/a/b"));
  assert_false(matches("/a/b", "/a/c"));
  assert_false(matches("/a", "/a/b"));
  assert_true(matches("/a/*", "/a/b"));
  assert_false(matches("/a/*", "/a"));
  assert_false(matches("/a/*", "/a/b/c"));
  assert_false(matches("/a/*", "/ab/c"));
  assert_false(matches("/a/*", "/b/a"));
  assert_true(matches("/a/**", "/a/b"));
  assert_true(matches("/a/**", "/a/b/c"));
  assert_false(matches("/a/**", "/a"));
  assert_false(matches("/a/**", "/ab/c"));
  assert_true(matches("/*", "/a"));
  assert_false(matches("/*", "/a/b"));
  assert_true(matches("/**", "/a"));
  assert_true(matches("/**", "/a/b/c"));
}

static void patterns_cover_patterns(void **state) {
  (void)state;
  assert_true(matches("/a/**", "/a/**"));
  assert_true(matches("/a/**", "/a/*"));
  assert_true(matches("/a/**", "/a/b/**"));
  assert_true(matches("/a/*", "/a/*"));
  assert_true(matches("/**", "/*"));
  assert_false(matches("/a/*", "/a/**"));
  assert_false(matches("/a/*", "/a/b/*"));
  assert_false(matches("/a/**", "/**"));
  assert_false(matches("/a/**", "/*"));
  assert_false(matches("/a/b", "/a/*"));
  assert_false(matches("/*", "/**"));
  assert_true(matches("/**", "/service/x"));
}

// All names and patterns of up to three segments out of a few: the two ways to say who gets what
// agree, and each key comes once.
static void matching_is_expansion(void **state) {
  (void)state;
  static const char *segments[] = {"a", "b", "ab", "service"};
  char all[400][32];
  unsigned count = 0, names = 0;
  for (unsigned d = 1; d <= 3; d++) {
    for (unsigned i = 0; i < (d == 1 ? 4u : d == 2 ? 16u : 64u); i++) {
      unsigned rest = i, len = 0;
      for (unsigned k = 0; k < d; k++, rest /= 4) len += (unsigned)sprintf(all[count] + len, "/%s", segments[rest % 4]);
      count++;
    }
  }
  names = count;
  strcpy(all[count++], "/*");
  strcpy(all[count++], "/**");
  for (unsigned i = 0; i < names; i++) {
    snprintf(all[count++], sizeof *all, "%.20s/*", all[i]);
    snprintf(all[count++], sizeof *all, "%.20s/**", all[i]);
  }
  assert_true(count <= COUNT(all));
  for (unsigned n = 0; n < names; n++) {
    struct bx_slice name = bx_slice_of(all[n]);
    if (bx_channel_is_service(name)) continue;
    size_t key_count, found = 0;
    char *scratch;
    struct bx_slice *keys = expand(name, &key_count, &scratch);
    assert_int_equal(key_count, bx_channel_depth(name) + 2);
    for (unsigned p = 0; p < count; p++) {
      unsigned is_key = 0;
      for (size_t k = 0; k < key_count; k++) is_key += bx_slice_equal(keys[k], bx_slice_of(all[p]));
      assert_int_equal(bx_channel_matches(bx_slice_of(all[p]), name), is_key);
      found += is_key;
    }
    assert_int_equal(found, key_count);
    bx_free(keys);
    bx_free(scratch);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kinds),
      cmocka_unit_test(the_bytes_of_a_segment),
      cmocka_unit_test(depth),
      cmocka_unit_test(first_segments),
      cmocka_unit_test(expansion),
      cmocka_unit_test(matching),
      cmocka_unit_test(patterns_cover_patterns),
      cmocka_unit_test(matching_is_expansion),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
