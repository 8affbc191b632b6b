// SPDX-License-Identifier: Apache-2.0
// Buffers, and the memory and UTF-8 words of base.h.
#include "bayeux/buffer.h"
#include "bayeux/scan.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_holds(const struct bx_buffer *b, struct bx_slice expected) {
  assert_int_equal(b->len, expected.len);
  if (expected.len) assert_memory_equal(b->at, expected.at, expected.len);
}

static void adding(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  bx_buffer_add(&b, NULL, 0);
  bx_buffer_slice(&b, (struct bx_slice){0});
  assert_null(b.at);
  bx_buffer_add(&b, "ab", 2);
  bx_buffer_slice(&b, BX_LIT("cd"));
  bx_buffer_char(&b, '-');
  bx_buffer_lit(&b, "ef\0g");
  assert_holds(&b, BX_LIT("abcd-ef\0g"));
  bx_buffer_fini(&b);
  assert_null(b.at);
  assert_int_equal(b.cap, 0);
  bx_buffer_fini(&b);
}

static void growing_keeps_what_is_there(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  for (unsigned i = 0; i < 100000; i++) {
    bx_buffer_char(&b, (char)(i * 7));
    assert_true(b.cap >= b.len);
  }
  for (unsigned i = 0; i < 100000; i++) assert_true(b.at[i] == (char)(i * 7));
  assert_true(b.cap < 3 * b.len);
  bx_buffer_fini(&b);
}

static void reserve_means_no_move(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  bx_buffer_lit(&b, "x");
  bx_buffer_reserve(&b, 1000);
  const char *at = b.at;
  for (int i = 0; i < 1000; i++) bx_buffer_char(&b, 'y');
  assert_ptr_equal(b.at, at);
  bx_buffer_clear(&b);
  assert_int_equal(b.len, 0);
  bx_buffer_lit(&b, "again");
  assert_ptr_equal(b.at, at);
  bx_buffer_fini(&b);
}

static void exactly_what_is_needed(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  bx_buffer_exactly(&b, BX_LIT("abc"));
  assert_holds(&b, BX_LIT("abc"));
  assert_int_equal(b.cap, 3);
  bx_buffer_exactly(&b, BX_LIT("de"));
  assert_holds(&b, BX_LIT("de"));
  bx_buffer_char(&b, 'f');
  assert_holds(&b, BX_LIT("def"));
  bx_buffer_exactly(&b, (struct bx_slice){0});
  assert_null(b.at);
}

static void numbers(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  const uint64_t values[] = {0, 7, 10, 99, 1000000007, UINT32_MAX, UINT64_MAX};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char expected[32];
    snprintf(expected, sizeof expected, "%llu", (unsigned long long)values[i]);
    bx_buffer_clear(&b);
    bx_buffer_u64(&b, values[i]);
    assert_holds(&b, bx_slice_of(expected));
  }
  bx_buffer_fini(&b);
}

static void printing(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  bx_buffer_printf(&b, "%s", "");
  assert_int_equal(b.len, 0);
  bx_buffer_printf(&b, "%d:%s", 403, "/a");
  bx_buffer_printf(&b, "|%c", 'x');
  assert_holds(&b, BX_LIT("403:/a|x"));
  // Longer than what is reserved at first, and exactly filling it.
  for (int len = 50; len < 140; len++) {
    bx_buffer_fini(&b);
    bx_buffer_printf(&b, "%0*d", len, 1);
    assert_int_equal(b.len, len);
    assert_true(b.at[len - 1] == '1' && b.at[0] == '0');
  }
  bx_buffer_fini(&b);
}

static void taking(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  struct bx_slice taken = bx_buffer_take(&b);
  assert_null(taken.at);
  bx_buffer_lit(&b, "mine");
  struct bx_slice view = bx_buffer_view(&b);
  taken = bx_buffer_take(&b);
  assert_ptr_equal(taken.at, view.at);
  assert_null(b.at);
  assert_int_equal(b.len + b.cap, 0);
  assert_true(bx_slice_equal(taken, BX_LIT("mine")));
  bx_free((char *)taken.at);
}

static void strings_escape_what_they_must(void **state) {
  (void)state;
  struct {
    struct bx_slice text, json;
  } cases[] = {
      {BX_LIT(""), BX_LIT("\"\"")},
      {{NULL, 0}, BX_LIT("\"\"")},
      {BX_LIT("/a/b"), BX_LIT("\"/a/b\"")},
      {BX_LIT("\"\\"), BX_LIT("\"\\\"\\\\\"")},
      {BX_LIT("\b\f\n\r\t"), BX_LIT("\"\\b\\f\\n\\r\\t\"")},
      {BX_LIT("a\0b\x1f\x7f"), BX_LIT("\"a\\u0000b\\u001f\x7f\"")},
      {BX_LIT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), BX_LIT("\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"")},
      {BX_LIT("\xff"), BX_LIT("\"\xef\xbf\xbd\"")},
      {BX_LIT("a\xc3"), BX_LIT("\"a\xef\xbf\xbd\"")},
      {BX_LIT("\xe2\x82z"), BX_LIT("\"\xef\xbf\xbd\xef\xbf\xbdz\"")},
      {BX_LIT("\xed\xa0\x80"), BX_LIT("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"")},
      {BX_LIT("\xc0\xaf"), BX_LIT("\"\xef\xbf\xbd\xef\xbf\xbd\"")}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct bx_buffer b = {0};
    bx_buffer_json_string(&b, cases[i].text);
    assert_holds(&b, cases[i].json);
    bx_buffer_fini(&b);
  }
}

// Whatever the bytes, the result is one JSON string; when they were UTF-8, it decodes to them.
static void strings_can_be_read_back(void **state) {
  (void)state;
  uint64_t random = 0x9e3779b97f4a7c15u;
  struct bx_buffer json = {0}, decoded = {0}, text = {0};
  for (int round = 0; round < 20000; round++) {
    bool utf8 = round % 2;
    bx_buffer_clear(&json), bx_buffer_clear(&decoded), bx_buffer_clear(&text);
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    for (unsigned i = 0; i < random % 23; i++) {
      uint64_t r = random * (i + 1) * 0xd1342543de82ef95u >> 20;
      uint32_t code = r % 3 ? r % 256 : r % 0x110000;
      char bytes[4];
      if (code >= 0xd800 && code < 0xe000) code = '"';
      if (utf8)
        bx_buffer_add(&text, bytes, bx_utf8_encode(code, bytes));
      else
        bx_buffer_char(&text, (char)r);
    }
    bx_buffer_json_string(&json, bx_buffer_view(&text));
    struct bx_scan s;
    struct bx_value v;
    bx_scan_init(&s, bx_buffer_view(&json), 1);
    assert_true(bx_scan_value(&s, &v));
    assert_true(bx_scan_end(&s));
    bx_value_decode(&v, &decoded);
    if (utf8) assert_holds(&decoded, bx_buffer_view(&text));
  }
  bx_buffer_fini(&json), bx_buffer_fini(&decoded), bx_buffer_fini(&text);
}

// -- base.h ----------------------------------------------------------------------------------

static void memory(void **state) {
  (void)state;
  unsigned char *zeroed = bx_alloc(100);
  for (int i = 0; i < 100; i++) assert_int_equal(zeroed[i], 0);
  zeroed[99] = 9;
  zeroed = bx_realloc(zeroed, 10000);
  assert_int_equal(zeroed[99], 9);
  bx_free(zeroed);
  bx_free(NULL);
  bx_free(bx_alloc(0));
  bx_free(bx_realloc(NULL, 0));
}

static void slices(void **state) {
  (void)state;
  assert_true(bx_slice_equal((struct bx_slice){0}, BX_LIT("")));
  assert_true(bx_slice_starts(BX_LIT("abc"), BX_LIT("ab")));
  assert_true(bx_slice_starts(BX_LIT("abc"), (struct bx_slice){0}));
  assert_false(bx_slice_starts(BX_LIT("ab"), BX_LIT("abc")));
  assert_false(bx_slice_equal(BX_LIT("ab"), BX_LIT("abc")));
  assert_false(bx_slice_equal(BX_LIT("ab"), BX_LIT("ac")));
}

// Of every size there are as many valid forms as Unicode has characters for it.
static void utf8_forms(void **state) {
  (void)state;
  unsigned valid[5] = {0};
  for (unsigned a = 0; a < 256; a++) {
    char text[4] = {(char)a};
    valid[1] += bx_utf8_length(text, text + 1) == 1;
    for (unsigned b = 0; b < 256; b++) {
      text[1] = (char)b;
      valid[2] += bx_utf8_length(text, text + 2) == 2;
      for (unsigned c = 0x70; c < 0xd0; c++) {
        text[2] = (char)c;
        valid[3] += bx_utf8_length(text, text + 3) == 3;
        for (unsigned d = 0x70; a >= 0xe0 && d < 0xd0; d += 3) {
          text[3] = (char)d;
          valid[4] += bx_utf8_length(text, text + 4) == 4;
        }
      }
    }
  }
  assert_int_equal(valid[1], 128);
  assert_int_equal(valid[2], 0x800 - 0x80);
  assert_int_equal(valid[3], 0x10000 - 0x800 - 0x800);
  assert_int_equal(valid[4], 0x100000 / 64 * 21);   // every third of the 64 last bytes: 82, 85 .. be
}

static void utf8_round_trip(void **state) {
  (void)state;
  for (uint32_t code = 0; code <= 0x10ffff; code++) {
    char text[4];
    unsigned len = bx_utf8_encode(code, text);
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    assert_int_equal(bx_utf8_length(text, text + len), surrogate ? 0 : len);
    for (unsigned cut = 0; cut < len; cut++) assert_int_equal(bx_utf8_length(text, text + cut), 0);
  }
}

struct item {
  struct bx_list link;
  int number;
};

static void lists(void **state) {
  (void)state;
  struct bx_list head, other, *link;
  struct item items[4];
  bx_list_init(&head);
  bx_list_init(&other);
  assert_null(bx_list_take(&head));
  for (int i = 0; i < 4; i++) {
    items[i].number = i;
    bx_list_append(i < 2 ? &head : &other, &items[i].link);
  }
  bx_list_splice(&head, &other);
  assert_true(bx_list_empty(&other));
  bx_list_splice(&head, &other);
  bx_list_remove(&items[1].link);
  bx_list_remove(&items[1].link);
  int sum = 0;
  bx_list_each (l, &head) {
    sum = sum * 10 + bx_container_of(l, struct item, link)->number;
    bx_list_remove(l);
  }
  assert_int_equal(sum, 23);
  assert_true(bx_list_empty(&head));
  bx_list_append(&head, &items[0].link);
  link = bx_list_take(&head);
  assert_ptr_equal(link, &items[0].link);
  assert_true(bx_list_empty(link) && bx_list_empty(&head));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adding),
      cmocka_unit_test(growing_keeps_what_is_there),
      cmocka_unit_test(reserve_means_no_move),
      cmocka_unit_test(exactly_what_is_needed),
      cmocka_unit_test(numbers),
      cmocka_unit_test(printing),
      cmocka_unit_test(taking),
      cmocka_unit_test(strings_escape_what_they_must),
      cmocka_unit_test(strings_can_be_read_back),
      cmocka_unit_test(memory),
      cmocka_unit_test(slices),
      cmocka_unit_test(utf8_forms),
      cmocka_unit_test(utf8_round_trip),
      cmocka_unit_test(lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
