// SPDX-License-Identifier: Apache-2.0
// What values of the JSON reader say: decoded text, truth, JavaScript's String(), numbers.
#include "bayeux/scan.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

// The value of a text. The copy that the value borrows from is exact, for the sanitizer; the caller
// frees it.
static struct bx_value value_of(struct bx_slice text, char **copy) {
  struct bx_scan s;
  struct bx_value v;
  *copy = bx_alloc(text.len);
  memcpy(*copy, text.at, text.len);
  bx_scan_init(&s, (struct bx_slice){*copy, text.len}, 64);
  assert_true(bx_scan_value(&s, &v));
  assert_true(bx_scan_end(&s));
  return v;
}

static void decoding(void **state) {
  (void)state;
  static const struct {
    struct bx_slice json, text;
  } cases[] = {{BX_LIT("\"\""), BX_LIT("")},
               {BX_LIT("\"/meta/connect\""), BX_LIT("/meta/connect")},
               {BX_LIT("\"\\u0061\""), BX_LIT("a")},
               {BX_LIT("\"x\\u0061y\""), BX_LIT("xay")},
               {BX_LIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), BX_LIT("\"\\/\b\f\n\r\t")},
               {BX_LIT("\"a\\u0000b\""), BX_LIT("a\0b")},
               {BX_LIT("\"\\u00e9\\u20AC\""), BX_LIT("\xc3\xa9\xe2\x82\xac")},
               {BX_LIT("\"\xc3\xa9\\n\xe2\x82\xac\""), BX_LIT("\xc3\xa9\n\xe2\x82\xac")},
               {BX_LIT("\"\\ud83d\\ude00\""), BX_LIT("\xf0\x9f\x98\x80")},
               {BX_LIT("\"\\uD800\\uDC00\\uDBFF\\uDFFF\""), BX_LIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
               {BX_LIT("\"\\uffff\\ud7ff\\ue000\""), BX_LIT("\xef\xbf\xbf\xed\x9f\xbf\xee\x80\x80")},
               // Lone ones: high at the end, low first, two high before a low,
               // two low, high before something else.
               {BX_LIT("\"\\ud83d\""), BX_LIT("\xef\xbf\xbd")},
               {BX_LIT("\"\\ude00x\""), BX_LIT("\xef\xbf\xbdx")},
               {BX_LIT("\"\\ud83d\\ud83d\\ude00\""), BX_LIT("\xef\xbf\xbd\xf0\x9f\x98\x80")},
               {BX_LIT("\"\\udc00\\udc00\""), BX_LIT("\xef\xbf\xbd\xef\xbf\xbd")},
               {BX_LIT("\"\\ud83d\\ue000\""), BX_LIT("\xef\xbf\xbd\xee\x80\x80")},
               {BX_LIT("\"\\ud83d\\n\""), BX_LIT("\xef\xbf\xbd\n")},
               {BX_LIT("\"\\ud83dude00\""), BX_LIT("\xef\xbf\xbdude00")},
               {BX_LIT("\"\\ud83d\\u0041\""), BX_LIT("\xef\xbf\xbd"
                                                     "A")},
               {BX_LIT("\"\\\\u0061\""), BX_LIT("\\u0061")}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    char *copy;
    struct bx_value v = value_of(cases[i].json, &copy);
    struct bx_buffer out = {0};
    bx_buffer_lit(&out, "+");
    bx_value_decode(&v, &out);
    assert_int_equal(out.len, cases[i].text.len + 1);
    assert_true(bx_slice_equal((struct bx_slice){out.at + 1, out.len - 1}, cases[i].text));
    assert_int_equal(v.escaped, memchr(cases[i].json.at, '\\', cases[i].json.len) != NULL);

    assert_true(bx_value_is(&v, cases[i].text));
    for (size_t other = 0; other < COUNT(cases); other++) {
      assert_int_equal(bx_value_is(&v, cases[other].text), bx_slice_equal(cases[other].text, cases[i].text));
    }
    if (cases[i].text.len) {
      assert_false(bx_value_is(&v, (struct bx_slice){cases[i].text.at, cases[i].text.len - 1}));
      assert_false(bx_value_is(&v, (struct bx_slice){cases[i].text.at + 1, cases[i].text.len - 1}));
    }
    bx_buffer_lit(&out, "!");
    assert_false(bx_value_is(&v, (struct bx_slice){out.at + 1, out.len - 1}));
    bx_buffer_fini(&out);
    bx_free(copy);
  }
}

static void only_strings_are_decoded(void **state) {
  (void)state;
  static const char *others[] = {"null", "true", "12", "[\"a\"]", "{}"};
  struct bx_buffer out = {0};
  for (size_t i = 0; i < COUNT(others); i++) {
    char *copy;
    struct bx_value v = value_of(bx_slice_of(others[i]), &copy);
    assert_false(bx_value_is(&v, bx_slice_of(others[i])));
    bx_value_decode(&v, &out);
    bx_free(copy);
  }
  struct bx_value none = {0};
  bx_value_decode(&none, &out);
  assert_false(bx_value_is(&none, BX_LIT("")));
  assert_int_equal(out.len, 0);
}

static void truth(void **state) {
  (void)state;
  static const char *truths[] = {
      "true",   "1",     "-1",    "0.1",
      "1e-300", "1e999", "\"0\"", "\"false\"",
      "\" \"",  "[]",    "{}",    "0.00000000000000000000000000000000000000000000000000000000000000000000000000001"};
  static const char *lies[] = {
      "null",      "false",
      "0",         "-0",
      "0.0",       "0e9",
      "-0.000e-5", "\"\"",
      "1e-999",    "0.00000000000000000000000000000000000000000000000000000000000000000000000000000"};
  struct bx_value none = {0};
  char *copy;
  assert_false(bx_value_truthy(&none));
  for (size_t i = 0; i < COUNT(truths) + COUNT(lies); i++) {
    bool expected = i < COUNT(truths);
    struct bx_value v = value_of(bx_slice_of(expected ? truths[i] : lies[i - COUNT(truths)]), &copy);
    assert_int_equal(bx_value_truthy(&v), expected);
    bx_free(copy);
  }
}

static void texts_as_javascript_shows_them(void **state) {
  (void)state;
  static const struct {
    const char *json, *text;
  } cases[] = {{"null", "null"},
               {"true", "true"},
               {"false", "false"},
               {"1.50", "1.50"},
               {"-0", "-0"},
               {"\"\"", ""},
               {"\"/a\"", "/a"},
               {"\"a\\n\\u00e9\\\"\"", "a\\n\\u00e9\\\""},
               {"{}", "[object Object]"},
               {"{\"a\":[1,2]}", "[object Object]"},
               {"[]", ""},
               {"[null]", ""},
               {"[null,null]", ","},
               {"[[]]", ""},
               {"[[],[]]", ","},
               {"[1]", "1"},
               {"[ 1 , 2 ]", "1,2"},
               {"[[\"/a\",\"/b\"]]", "/a,/b"},
               {"[[1,2],3]", "1,2,3"},
               {"[1,[2,3]]", "1,2,3"},
               {"[1,[null,[2,[[]],{}]],null]", "1,,2,,[object Object],"},
               {"[true,false,null,\"x\\ty\",{\"a\":[1,[2]]},-1e5]", "true,false,,x\\ty,[object Object],-1e5"}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    char *copy;
    struct bx_value v = value_of(bx_slice_of(cases[i].json), &copy);
    struct bx_buffer out = {0};
    bx_value_text(&v, &out);
    if (!bx_slice_equal(bx_buffer_view(&out), bx_slice_of(cases[i].text))) {
      fail_msg("%s: %.*s", cases[i].json, (int)out.len, out.at);
    }
    bx_buffer_fini(&out);
    bx_free(copy);
  }
  struct bx_buffer out = {0}, deep = {0};
  struct bx_value none = {0}, v;
  struct bx_scan s;
  bx_value_text(&none, &out);
  assert_int_equal(out.len, 0);
  for (int i = 0; i < 64; i++) bx_buffer_char(&deep, '[');
  bx_buffer_char(&deep, '7');
  for (int i = 0; i < 64; i++) bx_buffer_char(&deep, ']');
  bx_scan_init(&s, bx_buffer_view(&deep), 64);
  assert_true(bx_scan_value(&s, &v));
  bx_value_text(&v, &out);
  assert_true(bx_slice_equal(bx_buffer_view(&out), BX_LIT("7")));
  bx_buffer_fini(&out);
  bx_buffer_fini(&deep);
}

static void numbers(void **state) {
  (void)state;
  static const struct {
    const char *json;
    double number;
  } good[] = {{"0", 0},
              {"60000", 60000},
              {"-1.5e2", -150},
              {"\"60000\"", 60000},
              {"\"1e3\"", 1000},
              {"\"\\u0031\\u0032\"", 12},
              {"1e-999", 0},
              {"9007199254740993", 9007199254740992.0},
              {"10000000000000000000000000000000000000000000000000000000000000000000000000000000", 1e79}};
  static const char *bad[] = {"null",   "true",    "[]",      "{}",     "[1]",    "\"\"",
                              "\" 1\"", "\"1 \"",  "\"x\"",   "\"01\"", "\"1.\"", "\"0x1\"",
                              "\"1a\"", "\"inf\"", "\"nan\"", "1e999",  "-1e999", "\"1e999\""};
  char *copy;
  double number;
  for (size_t i = 0; i < COUNT(good); i++) {
    struct bx_value v = value_of(bx_slice_of(good[i].json), &copy);
    assert_true(bx_value_number(&v, &number));
    assert_true(number == good[i].number);
    bx_free(copy);
  }
  for (size_t i = 0; i < COUNT(bad); i++) {
    struct bx_value v = value_of(bx_slice_of(bad[i]), &copy);
    number = 42;
    assert_false(bx_value_number(&v, &number));
    assert_true(number == 42);
    bx_free(copy);
  }
  struct bx_value none = {0};
  assert_false(bx_value_number(&none, &number));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(decoding), cmocka_unit_test(only_strings_are_decoded),
      cmocka_unit_test(truth),    cmocka_unit_test(texts_as_javascript_shows_them),
      cmocka_unit_test(numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
