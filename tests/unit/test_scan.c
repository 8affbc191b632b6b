// SPDX-License-Identifier: Apache-2.0
// The JSON reader: what it accepts, what it refuses and where, and what values say.
#include "bayeux/scan.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

// A text in memory that is exactly as long: reading past it is seen by the sanitizer.
static char *exact(struct bx_slice text) {
  char *copy = bx_alloc(text.len);
  if (text.len) memcpy(copy, text.at, text.len);
  return copy;
}

static bool walk(struct bx_scan *s, struct bx_buffer *out);

// The two ways through a text, as one value and item by item, must agree.
static bool accepts_at(struct bx_slice text, unsigned max_depth) {
  char *copy = exact(text);
  struct bx_scan whole, steps;
  struct bx_value v;
  struct bx_buffer out = {0};
  bx_scan_init(&whole, (struct bx_slice){copy, text.len}, max_depth);
  bx_scan_init(&steps, (struct bx_slice){copy, text.len}, max_depth);
  bool accepted = bx_scan_value(&whole, &v) && bx_scan_end(&whole);
  bool walked = walk(&steps, &out) && bx_scan_end(&steps);
  assert_int_equal(accepted, walked);
  assert_int_equal(accepted, !bx_scan_failed(&whole));
  if (!accepted) {
    assert_ptr_equal(whole.at, steps.at);
    assert_string_equal(whole.fault, steps.fault);
    if (text.len) assert_true(whole.at >= copy && whole.at <= copy + text.len);
  }
  bx_buffer_fini(&out);
  bx_free(copy);
  return accepted;
}

static bool accepts(struct bx_slice text) { return accepts_at(text, 64); }

static const char *fault_of(const char *text, unsigned *line, unsigned *column) {
  struct bx_scan s;
  struct bx_value v;
  bx_scan_init(&s, bx_slice_of(text), 64);
  if (bx_scan_value(&s, &v) && bx_scan_end(&s)) return NULL;
  bx_scan_where(&s, line, column);
  return s.fault;
}

// Writes what follows without its white space. Recursion is the test's, not the reader's.
static bool walk(struct bx_scan *s, struct bx_buffer *out) {
  struct bx_value v;
  enum bx_json type = bx_scan_peek(s);
  if (type != BX_JSON_ARRAY && type != BX_JSON_OBJECT) {
    if (!bx_scan_value(s, &v)) return false;
    assert_int_equal(v.type, type);
    bx_buffer_slice(out, v.raw);
    return true;
  }
  bool object = type == BX_JSON_OBJECT;
  if (!bx_scan_enter(s)) return false;
  bx_buffer_char(out, object ? '{' : '[');
  for (bool first = true; bx_scan_item(s, &v); first = false) {
    if (!first) bx_buffer_char(out, ',');
    assert_int_equal(v.type, object ? BX_JSON_STRING : BX_JSON_NONE);
    if (object) {
      bx_buffer_slice(out, v.raw);
      bx_buffer_char(out, ':');
    }
    if (!walk(s, out)) return false;
  }
  bx_buffer_char(out, object ? '}' : ']');
  return !bx_scan_failed(s);
}

// -- grammar ---------------------------------------------------------------------------------

static void good_texts(void **state) {
  (void)state;
  static const char *good[] = {"null",
                               "true",
                               "false",
                               "0",
                               "-0",
                               "10",
                               "-1.5",
                               "0.0",
                               "1e5",
                               "1E+5",
                               "1e-05",
                               "0e0",
                               "-0.1e+10",
                               "1.0E0",
                               "\"\"",
                               "\"a\"",
                               "[]",
                               "{}",
                               " [ ] ",
                               "\t\r\n {\n}\t",
                               "[1]",
                               "[1,2]",
                               "[ 1 , 2 ]",
                               "[[]]",
                               "[[],[]]",
                               "[{}]",
                               "{\"a\":1}",
                               "{\"a\":[]}",
                               "{ \"a\" : { } , \"b\" : [ ] }",
                               "{\"\":0}",
                               "{\"a\":1,\"a\":2}",
                               "[null,true,false,\"x\",1,{},[]]",
                               "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFFFF\\uabCD\"",
                               "\"\\ud800\"",
                               "\"\\udc00\\ud800\"",
                               "\"\x7f\"",
                               "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
                               "\"\xf4\x8f\xbf\xbf\"",
                               "\"\xef\xbb\xbf\"",
                               "\"\xed\x9f\xbf\xee\x80\x80\"",
                               "\"\\u005C\"",
                               "\"/**/\""};
  for (size_t i = 0; i < COUNT(good); i++) {
    if (!accepts(bx_slice_of(good[i]))) fail_msg("refused: %s", good[i]);
  }
  assert_true(accepts(BX_LIT("123456789012345678901234567890.123456789012345678901234567890e999999")));
}

static void bad_texts(void **state) {
  (void)state;
  static const char *bad[] = {
      "", " ", "nul", "nulL", "Null", "tru", "truE", "fals", "undefined", "NaN", "Infinity", "-Infinity", "01", "-01",
      "00", "+1", "-", "--1", "1.", ".5", "-.5", "1.e5", "1e", "1e+", "1e-", "1e5.5", "0x10", "1_000", "1 2", "1,",
      "1a", "- 1", "\"", "\"a", "'a'", "\"\n\"", "\"\t\"", "\"\x01\"", "\"\x1f\"", "\"\\\"", "\"\\x41\"", "\"\\u\"",
      "\"\\u12\"", "\"\\u123\"", "\"\\u123g\"", "\"\\u 123\"", "\"\\U0041\"", "\"\\a\"", "\"\\0\"", "\"\\'\"", "\"\\",
      "\"\\u12", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1}", "[1]]", "[\"a\":1]", "[1;2]",
      "{", "}", "{]", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}",
      "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{\"a\":1:2}", "{\"a\",\"b\"}", "{\"a\":1]", "{null:1}", "{[]:1}",
      "{\"a\"::1}", "[]{}", "{}[]", "[] x", "[]\v", "\f[]", "\xc2\xa0[]", "//c\n1", "/**/1", "[1]#", "\xef\xbb\xbf[]",
      "\xef\xbb\xbf",
      // Not UTF-8: lone continuation, overlong, surrogates, too large, cut off.
      "\"\x80\"", "\"\xc0\x80\"", "\"\xc1\xbf\"", "\"\xc3\"", "\"\xc3x\"", "\"\xe0\x80\x80\"", "\"\xe0\x9f\xbf\"",
      "\"\xed\xa0\x80\"", "\"\xed\xbf\xbf\"", "\"\xe2\x82\"", "\"\xf0\x80\x80\x80\"", "\"\xf0\x8f\xbf\xbf\"",
      "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xf0\x9f\x98\"", "\"\xfe\"", "\"\xff\"", "{\"\xff\":1}",
      "\xff", "[\x80]"};
  for (size_t i = 0; i < COUNT(bad); i++) {
    if (accepts(bx_slice_of(bad[i]))) fail_msg("accepted: %s", bad[i]);
  }
  assert_false(accepts((struct bx_slice){0}));
  assert_false(accepts(BX_LIT("\0")));
  assert_false(accepts(BX_LIT("[]\0")));
  assert_false(accepts(BX_LIT("\"a\0b\"")));
  assert_false(accepts(BX_LIT("[1\0,2]")));
}

// The bytes of strings are looked at eight at a time: so every kind of byte in every place.
static void bytes_in_every_place(void **state) {
  (void)state;
  char text[40];
  for (unsigned len = 0; len <= 26; len++) {
    for (unsigned place = 0; place < len; place++) {
      for (int c = 0; c < 256; c++) {
        text[0] = '"';
        memset(text + 1, 'A' + (int)(len % 20), len);   // no letter of an escape
        text[len + 1] = '"';
        text[place + 1] = (char)c;
        bool closes_early = c == '"' && place + 1 < len;
        bool good = c >= 0x20 && c < 0x80 && c != '\\' && !closes_early;
        struct bx_slice all = {text, len + 2};
        if (c == '"' && place + 1 == len) good = false;   // a second quote behind the end
        if (accepts(all) != good) fail_msg("byte %02x at %u of %u", c, place, len);
      }
    }
  }
}

static const char document[] = " [ {\"channel\" : \"/a/b\", \"data\": {\"n\": -12.50e+3, \"t\": "
                               "[true,false,null,\"\\u00e9\\\\\\\"\", \"\xe2\x82\xac\"]},"
                               " \"id\":\"1\" } , [ ] , { } ]\n";

static void every_beginning_is_refused(void **state) {
  (void)state;
  size_t whole = strlen(document);
  for (size_t len = 0; len < whole - 1; len++) assert_false(accepts((struct bx_slice){document, len}));
  assert_true(accepts((struct bx_slice){document, whole - 1}));
  assert_true(accepts((struct bx_slice){document, whole}));
}

static void one_byte_changed_never_disagrees(void **state) {
  (void)state;
  char text[sizeof document];
  unsigned refused = 0;
  for (size_t place = 0; place < sizeof document - 1; place++) {
    for (int c = 0; c < 256; c++) {
      memcpy(text, document, sizeof document);
      text[place] = (char)c;
      refused += !accepts((struct bx_slice){text, sizeof document - 1});
    }
  }
  assert_true(refused > 0 && refused < 256 * sizeof document);
}

// -- depth -----------------------------------------------------------------------------------

static struct bx_slice nested(struct bx_buffer *b, unsigned depth) {
  bx_buffer_clear(b);
  for (unsigned i = 0; i < depth; i++) bx_buffer_slice(b, i % 3 ? BX_LIT("[") : BX_LIT("{\"k\":"));
  bx_buffer_lit(b, "0");
  for (unsigned i = depth; i-- > 0;) bx_buffer_char(b, i % 3 ? ']' : '}');
  return bx_buffer_view(b);
}

static void depth_is_limited(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  for (unsigned max = 1; max <= 64; max++) {
    assert_true(accepts_at(nested(&b, max), max));
    assert_false(accepts_at(nested(&b, max + 1), max));
  }
  // Beside each other they do not add up.
  assert_true(accepts_at(BX_LIT("[[],[],{},[[]],{\"a\":[]}]"), 3));
  assert_false(accepts_at(BX_LIT("[[],[],{},[[[]]]]"), 3));
  bx_buffer_fini(&b);
}

static void wrong_brackets_at_every_depth(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  for (unsigned depth = 1; depth <= 64; depth++) {
    struct bx_slice text = nested(&b, depth);
    for (unsigned i = 0; i < depth; i++) {
      char *bracket = b.at + text.len - 1 - i, was = *bracket;
      *bracket = was == ']' ? '}' : ']';
      assert_false(accepts(text));
      *bracket = was;
    }
    assert_true(accepts(text));
  }
  bx_buffer_fini(&b);
}

static void a_million_brackets(void **state) {
  (void)state;
  enum { MANY = 1000000 };
  char *text = bx_alloc(MANY);
  memset(text, '[', MANY);
  assert_false(accepts((struct bx_slice){text, MANY}));
  bx_free(text);
}

static void entered_levels_count(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value key, v;
  bx_scan_init(&s, BX_LIT("[[[0]]]"), 2);
  assert_true(bx_scan_enter(&s));
  assert_true(bx_scan_item(&s, &key));
  assert_false(bx_scan_value(&s, &v));
  assert_int_equal(v.type, BX_JSON_NONE);
  assert_true(bx_scan_failed(&s));
}

// -- the cursor ------------------------------------------------------------------------------

static void items_and_keys(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value key, v;
  bx_scan_init(&s, BX_LIT(" { \"a\" : 1 , \"b\\n\" : [ 2 , {} ] } "), 8);
  assert_int_equal(bx_scan_peek(&s), BX_JSON_OBJECT);
  assert_true(bx_scan_enter(&s));
  assert_true(bx_scan_item(&s, &key));
  assert_true(bx_slice_equal(key.raw, BX_LIT("\"a\"")));
  assert_false(key.escaped);
  assert_true(bx_scan_value(&s, &v));
  assert_int_equal(v.type, BX_JSON_NUMBER);
  assert_true(bx_slice_equal(v.raw, BX_LIT("1")));
  assert_true(bx_scan_item(&s, &key));
  assert_true(bx_slice_equal(key.raw, BX_LIT("\"b\\n\"")));
  assert_true(key.escaped);
  assert_int_equal(bx_scan_peek(&s), BX_JSON_ARRAY);
  assert_true(bx_scan_enter(&s));
  assert_true(bx_scan_item(&s, &key));
  assert_int_equal(key.type, BX_JSON_NONE);
  assert_true(bx_scan_value(&s, &v));
  assert_true(bx_scan_item(&s, &key));
  assert_true(bx_scan_value(&s, &v));
  assert_true(bx_slice_equal(v.raw, BX_LIT("{}")));
  assert_false(bx_scan_item(&s, &key));
  assert_false(bx_scan_failed(&s));
  assert_false(bx_scan_item(&s, &key));
  assert_false(bx_scan_failed(&s));
  assert_true(bx_scan_end(&s));
  assert_int_equal(bx_scan_peek(&s), BX_JSON_NONE);
}

static void values_keep_their_bytes(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value v;
  bx_scan_init(&s, BX_LIT("  { \"b\" : 1.50 , \"a\" :[ 1,\t2 ], \"b\":\"\\u00e9\" }  "), 8);
  assert_true(bx_scan_value(&s, &v));
  assert_int_equal(v.type, BX_JSON_OBJECT);
  assert_false(v.escaped);
  assert_true(bx_slice_equal(v.raw, BX_LIT("{ \"b\" : 1.50 , \"a\" :[ 1,\t2 ], \"b\":\"\\u00e9\" }")));
  assert_true(bx_scan_end(&s));
}

static void types_by_the_first_byte(void **state) {
  (void)state;
  static const struct {
    const char *text;
    enum bx_json type;
  } cases[] = {{" null", BX_JSON_NULL}, {"\tfalse", BX_JSON_FALSE}, {"\ntrue", BX_JSON_TRUE}, {"\r-1", BX_JSON_NUMBER},
               {"0", BX_JSON_NUMBER},   {"9", BX_JSON_NUMBER},      {"\"", BX_JSON_STRING},   {"[", BX_JSON_ARRAY},
               {"{", BX_JSON_OBJECT},   {"", BX_JSON_NONE},         {"]", BX_JSON_NONE},      {"+", BX_JSON_NONE},
               {"N", BX_JSON_NONE},     {":", BX_JSON_NONE},        {"/", BX_JSON_NONE},      {"\xff", BX_JSON_NONE}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct bx_scan s;
    bx_scan_init(&s, bx_slice_of(cases[i].text), 1);
    assert_int_equal(bx_scan_peek(&s), cases[i].type);
    assert_int_equal(bx_scan_peek(&s), cases[i].type);
    assert_false(bx_scan_failed(&s));
  }
}

static void a_fault_stays(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value key, v;
  bx_scan_init(&s, BX_LIT("[1 2]"), 4);
  assert_true(bx_scan_enter(&s));
  assert_true(bx_scan_item(&s, &key));
  assert_true(bx_scan_value(&s, &v));
  assert_false(bx_scan_item(&s, &key));
  assert_true(bx_scan_failed(&s));
  const char *fault = s.fault, *at = s.at;
  assert_int_equal(bx_scan_peek(&s), BX_JSON_NONE);
  assert_false(bx_scan_value(&s, &v));
  assert_int_equal(v.type, BX_JSON_NONE);
  assert_false(bx_scan_enter(&s));
  assert_false(bx_scan_item(&s, &key));
  assert_int_equal(key.type, BX_JSON_NONE);
  assert_false(bx_scan_end(&s));
  assert_ptr_equal(s.fault, fault);
  assert_ptr_equal(s.at, at);
}

static void entering_what_has_no_inside(void **state) {
  (void)state;
  static const char *texts[] = {"", "1", "\"a\"", "null", "]"};
  for (size_t i = 0; i < COUNT(texts); i++) {
    struct bx_scan s;
    bx_scan_init(&s, bx_slice_of(texts[i]), 4);
    assert_false(bx_scan_enter(&s));
    assert_true(bx_scan_failed(&s));
  }
}

static void the_end_needs_closed_brackets(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value key, v;
  bx_scan_init(&s, BX_LIT("[1"), 4);
  assert_true(bx_scan_enter(&s));
  assert_true(bx_scan_item(&s, &key));
  assert_true(bx_scan_value(&s, &v));
  assert_false(bx_scan_end(&s));
  assert_true(bx_scan_failed(&s));
}

static void an_item_left_unread_is_a_fault(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value key;
  bx_scan_init(&s, BX_LIT("{\"a\":1}"), 4);
  assert_true(bx_scan_enter(&s));
  assert_true(bx_scan_item(&s, &key));
  assert_false(bx_scan_item(&s, &key));
  assert_true(bx_scan_failed(&s));
}

static void faults_say_what_and_where(void **state) {
  (void)state;
  static const struct {
    const char *text, *fault;
    unsigned line, column;
  } cases[] = {{"", "an end where a value should be", 1, 1},
               {"[\n1,\n  x]", "no value where one should be", 3, 3},
               {"{\"\xc3\xa9\xe2\x82\xac\": 01}", "a number that is none", 1, 8},
               {"[1\n2]", "neither a comma nor the closing bracket", 2, 1},
               {"{\"a\" 1}", "no colon behind a key", 1, 6},
               {"{a:1}", "no key where one should be", 1, 2},
               {"[\"a\\x\"]", "an escape that is none", 1, 4},
               {"[\"a\nb\"]", "a control character in a string", 1, 4},
               {"[\"\xff\"]", "a string that is not UTF-8", 1, 3},
               {"[\"abc", "a string without its closing quote", 1, 6},
               {"[1,", "an end where a value should be", 1, 4},
               {"[1", "a bracket that is not closed", 1, 3},
               {"[tru]", "an unknown word", 1, 2},
               {"[] []", "something behind the end", 1, 4},
               {"\xef\xbb\xbf[]", "a byte order mark", 1, 1}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    unsigned line = 0, column = 0;
    assert_string_equal(fault_of(cases[i].text, &line, &column), cases[i].fault);
    assert_int_equal(line, cases[i].line);
    assert_int_equal(column, cases[i].column);
  }
}

static void lines_of_places(void **state) {
  (void)state;
  struct bx_scan s;
  struct bx_value v;
  const char *text = "{\n\n\"a\": 1\n}";
  unsigned line, column;
  bx_scan_init(&s, bx_slice_of(text), 4);
  bx_scan_where(&s, &line, &column);
  assert_int_equal(line * 100 + column, 101);
  assert_true(bx_scan_value(&s, &v));
  bx_scan_where(&s, &line, &column);
  assert_int_equal(line * 100 + column, 402);
  assert_int_equal(bx_scan_line_of(&s, strchr(text, 'a')), 3);
  assert_int_equal(bx_scan_line_of(&s, text), 1);
}

// -- random documents ------------------------------------------------------------------------

static uint64_t random_state = 0x2545f4914f6cdd1du;

static unsigned rnd(unsigned below) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return (unsigned)(random_state >> 11) % below;
}

static void white(struct bx_buffer *b, bool spaced) {
  while (spaced && rnd(3) == 0) bx_buffer_char(b, " \t\r\n"[rnd(4)]);
}

static void make_string(struct bx_buffer *b) {
  static const char *pieces[] = {
      "a", "channel", "\\u00e9", "\\\"", "\\\\", "\xc3\xa9", "\xf0\x9f\x98\x80", "\\ud83d\\ude00", "/", "abcdefghijklm",
      "{", "]",       ",",       ":",    "\\n"};
  bx_buffer_char(b, '"');
  for (unsigned i = rnd(5); i > 0; i--) bx_buffer_slice(b, bx_slice_of(pieces[rnd(COUNT(pieces))]));
  bx_buffer_char(b, '"');
}

// The same document twice: tight, and with white space wherever it is allowed.
static void make(struct bx_buffer *tight, struct bx_buffer *spaced, unsigned depth) {
  static const char *scalars[] = {"null", "true", "false", "0", "-1", "3.25", "1e9", "-0.0E-7", "12345678901234567890"};
  unsigned kind = rnd(depth ? 4 : 2);
  white(spaced, true);
  if (kind < 2) {
    size_t start = tight->len;
    if (kind)
      make_string(tight);
    else
      bx_buffer_slice(tight, bx_slice_of(scalars[rnd(COUNT(scalars))]));
    bx_buffer_add(spaced, tight->at + start, tight->len - start);
    white(spaced, true);
    return;
  }
  bx_buffer_char(tight, kind == 2 ? '[' : '{');
  bx_buffer_char(spaced, kind == 2 ? '[' : '{');
  white(spaced, true);
  unsigned items = rnd(4);
  for (unsigned i = 0; i < items; i++) {
    if (kind == 3) {
      size_t start = tight->len;
      make_string(tight);
      white(spaced, true);
      bx_buffer_add(spaced, tight->at + start, tight->len - start);
      white(spaced, true);
      bx_buffer_char(tight, ':');
      bx_buffer_char(spaced, ':');
    }
    make(tight, spaced, depth - 1);
    if (i + 1 == items) break;
    bx_buffer_char(tight, ',');
    bx_buffer_char(spaced, ',');
  }
  bx_buffer_char(tight, kind == 2 ? ']' : '}');
  bx_buffer_char(spaced, kind == 2 ? ']' : '}');
  white(spaced, true);
}

static void random_documents(void **state) {
  (void)state;
  for (unsigned round = 0; round < 5000; round++) {
    struct bx_buffer tight = {0}, spaced = {0}, out = {0};
    struct bx_scan s;
    make(&tight, &spaced, rnd(8));
    bx_scan_init(&s, bx_buffer_view(&spaced), 8);
    assert_true(walk(&s, &out));
    assert_true(bx_scan_end(&s));
    assert_true(bx_slice_equal(bx_buffer_view(&out), bx_buffer_view(&tight)));
    assert_true(accepts(bx_buffer_view(&spaced)));
    bx_buffer_fini(&tight), bx_buffer_fini(&spaced), bx_buffer_fini(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_texts),
      cmocka_unit_test(bad_texts),
      cmocka_unit_test(bytes_in_every_place),
      cmocka_unit_test(every_beginning_is_refused),
      cmocka_unit_test(one_byte_changed_never_disagrees),
      cmocka_unit_test(depth_is_limited),
      cmocka_unit_test(wrong_brackets_at_every_depth),
      cmocka_unit_test(a_million_brackets),
      cmocka_unit_test(entered_levels_count),
      cmocka_unit_test(items_and_keys),
      cmocka_unit_test(values_keep_their_bytes),
      cmocka_unit_test(types_by_the_first_byte),
      cmocka_unit_test(a_fault_stays),
      cmocka_unit_test(entering_what_has_no_inside),
      cmocka_unit_test(the_end_needs_closed_brackets),
      cmocka_unit_test(an_item_left_unread_is_a_fault),
      cmocka_unit_test(faults_say_what_and_where),
      cmocka_unit_test(lines_of_places),
      cmocka_unit_test(random_documents),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
