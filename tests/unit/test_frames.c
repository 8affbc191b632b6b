// SPDX-License-Identifier: Apache-2.0
// Websocket frames, whole and cut anywhere; UTF-8 piece by piece; close codes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bayeux/buffer.h"
#include "broker/host/frames.h"

// Appends a frame with a mask. `form`: 0 the shortest form of the length, else that many bytes.
static void add(struct bx_buffer *b, unsigned flags, const char *payload, size_t len, unsigned form) {
  static const char mask[4] = {0x11, 0x22, 0x33, (char)0xf4};
  if (form == 0) form = len < 126 ? 1 : len < 65536 ? 2 : 8;
  bx_buffer_char(b, (char)flags);
  bx_buffer_char(b, (char)(0x80 | (form == 1 ? len : form == 2 ? 126 : 127)));
  for (unsigned i = form; i > 0 && form > 1; i--) bx_buffer_char(b, (char)((uint64_t)len >> (8 * (i - 1))));
  bx_buffer_add(b, mask, 4);
  for (size_t i = 0; i < len; i++) bx_buffer_char(b, payload[i] ^ mask[i % 4]);
}

// Reads everything in pieces of `step` bytes. What came in is noted as "1:text;" or "1c:" when
// compressed; a fault as its code.
static void read_all(const struct bx_buffer *in, size_t step, bool compress, struct bx_buffer *out) {
  struct bk_frames f = {.may_compress = compress};
  struct bx_buffer copy = {0};
  bx_buffer_clear(out);
  bx_buffer_slice(&copy, bx_buffer_view(in));
  for (size_t done = 0; done < copy.len;) {
    size_t len = copy.len - done < step ? copy.len - done : step;
    char *at = copy.at + done;
    struct bk_frame_piece p;
    done += len;
    for (int result; (result = bk_frames_next(&f, &at, &len, &p)) != 0;) {
      if (result != 1) {
        bx_buffer_printf(out, "%d", result);
        done = copy.len;
        break;
      }
      if (p.first) bx_buffer_printf(out, "%d%s:", p.opcode, p.compressed ? "c" : "");
      if (p.len) bx_buffer_add(out, p.at, p.len);
      assert_int_equal(p.frame_over, p.left == 0);
      if (p.message_over) bx_buffer_char(out, ';');
    }
  }
  bx_buffer_fini(&copy);
}

static void expect(struct bx_buffer *in, bool compress, const char *notes) {
  struct bx_buffer out = {0};
  for (size_t step = 1; step <= in->len; step += in->len > 1000 ? 997 : 1) {
    read_all(in, step, compress, &out);
    if (!bx_slice_equal(bx_buffer_view(&out), bx_slice_of(notes)))
      fail_msg("step %zu: expected %s, got %.*s", step, notes, (int)out.len, out.at);
  }
  bx_buffer_fini(&out);
  bx_buffer_fini(in);
}

static void good(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  add(&b, 0x81, "hello, world", 12, 0);
  add(&b, 0x81, "", 0, 0);
  add(&b, 0x82, "\x01\xff", 2, 0);
  expect(&b, false, "1:hello, world;1:;2:\x01\xff;");
}

static void fragments(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  add(&b, 0x01, "one ", 4, 0);
  add(&b, 0x00, "", 0, 0);
  add(&b, 0x00, "two ", 4, 0);
  add(&b, 0x80, "three", 5, 0);
  add(&b, 0x82, "four", 4, 0);
  expect(&b, false, "1:one two three;2:four;");
}

static void sizes(void **state) {
  (void)state;
  static const size_t all[] = {0, 1, 7, 8, 9, 125, 126, 127, 1000, 65535, 65536, 70000};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    struct bx_buffer b = {0}, notes = {0};
    char *text = malloc(all[i] + 1);
    for (size_t n = 0; n < all[i]; n++) text[n] = (char)('a' + n % 26);
    add(&b, 0x81, text, all[i], 0);
    bx_buffer_lit(&notes, "1:");
    bx_buffer_add(&notes, text, all[i]);
    bx_buffer_add(&notes, ";", 2);
    expect(&b, false, notes.at);
    bx_buffer_fini(&notes);
    free(text);
  }
}

static void bad(void **state) {
  (void)state;
  static const unsigned flags[] = {0x83, 0x87, 0x8b, 0x8f, 0x91, 0xa1, 0xc1, 0xf1, 0x80, 0x00, 0x09, 0x08, 0x0a, 0xc9};
  struct bx_buffer b = {0};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    add(&b, flags[i], "x", 1, 0);
    expect(&b, false, "1002");
  }
  bx_buffer_lit(&b, "\x81\x01x");   // not masked
  expect(&b, false, "1002");
  add(&b, 0x81, "x", 1, 2);   // longer forms than needed
  expect(&b, false, "1002");
  add(&b, 0x81, "x", 1, 8);
  expect(&b, false, "1002");
  char text[200];
  memset(text, 'x', sizeof text);
  add(&b, 0x81, text, 200, 8);
  expect(&b, false, "1002");
  bx_buffer_lit(&b, "\x81\xff\x80\0\0\0\0\0\0\0mask");   // a length with its highest bit
  expect(&b, false, "1002");
  add(&b, 0x89, text, 126, 0);   // too large a ping
  expect(&b, false, "1002");
  add(&b, 0x01, "one", 3, 0);   // a message inside another
  add(&b, 0x81, "two", 3, 0);
  expect(&b, false, "1:one1002");
}

static void control_between_fragments(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  add(&b, 0x01, "one ", 4, 0);
  add(&b, 0x89, "ping", 4, 0);
  add(&b, 0x8a, "", 0, 0);
  add(&b, 0x80, "two", 3, 0);
  add(&b, 0x88, "", 0, 0);
  expect(&b, false, "1:one 9:ping;10:;two;8:;");
}

static void compression(void **state) {
  (void)state;
  struct bx_buffer b = {0};
  add(&b, 0x41, "ab", 2, 0);
  add(&b, 0x80, "cd", 2, 0);
  add(&b, 0x81, "plain", 5, 0);
  expect(&b, true, "1c:abcd;1:plain;");
  add(&b, 0x01, "ab", 2, 0);
  add(&b, 0xc0, "cd", 2, 0);   // only the first fragment says so
  expect(&b, true, "1:ab1002");
  add(&b, 0xc9, "", 0, 0);
  expect(&b, true, "1002");
}

static bool utf8(const char *text, size_t len) {
  bool whole = false;
  for (size_t step = 1; step <= len; step++) {
    struct bk_utf8 u = {0};
    bool good = true;
    for (size_t at = 0; at < len && good; at += step)
      good = bk_utf8_feed(&u, text + at, len - at < step ? len - at : step);
    good = good && bk_utf8_over(&u);
    assert_true(step == 1 || good == whole);
    whole = good;
  }
  return whole;
}

// Agrees with the one-character reader for every sequence of two bytes, and with the well-known
// edges of three and four.
static void utf8_piece_by_piece(void **state) {
  (void)state;
  for (unsigned i = 0; i < 65536; i++) {
    char text[2] = {(char)(i >> 8), (char)i};
    unsigned n = bx_utf8_length(text, text + 2);
    bool good = n == 2 || (n == 1 && bx_utf8_length(text + 1, text + 2) == 1);
    if (utf8(text, 2) != good) fail_msg("%x", i);
  }
  static const char *const valid[] = {"\xe0\xa0\x80",
                                      "\xed\x9f\xbf",
                                      "\xee\x80\x80",
                                      "\xef\xbf\xbf",
                                      "\xf0\x90\x80\x80",
                                      "\xf4\x8f\xbf\xbf",
                                      "12345678\xe2\x82\xac 12345678"};
  static const char *const wrong[] = {"\xe0\x9f\xbf",     "\xed\xa0\x80",     "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82",
                                      "\xf0\x9f\x98",     "1234567\xff",      "12345678\x80"};
  for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) assert_true(utf8(valid[i], strlen(valid[i])));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(utf8(wrong[i], strlen(wrong[i])));
}

static void close_codes(void **state) {
  (void)state;
  static const struct {
    const char *payload;
    size_t len;
    unsigned code, fault;
  } all[] = {
      {"", 0, 1005, 0},
      {"\x03", 1, 0, 1002},
      {"\x03\xe8", 2, 1000, 0},
      {"\x03\xe8 bye", 6, 1000, 0},
      {"\x03\xe7", 2, 0, 1002},
      {"\x03\xec", 2, 0, 1002},
      {"\x03\xed", 2, 0, 1002},
      {"\x03\xee", 2, 0, 1002},
      {"\x03\xf7", 2, 0, 1002},
      {"\x07\xd0", 2, 0, 1002},
      {"\x0b\xb8", 2, 3000, 0},
      {"\x13\x87", 2, 4999, 0},
      {"\x13\x88", 2, 0, 1002},
      {"\xff\xff", 2, 0, 1002},
      {"\x03\xe8\xff", 3, 0, 1007},
      {"\x03\xe8\xe2\x82", 4, 0, 1007},
      {"\x00\x00", 2, 0, 1002},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    unsigned fault;
    assert_int_equal(bk_close_code((struct bx_slice){all[i].payload, all[i].len}, &fault), all[i].code);
    assert_int_equal(fault, all[i].fault);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(good),
                                     cmocka_unit_test(fragments),
                                     cmocka_unit_test(sizes),
                                     cmocka_unit_test(bad),
                                     cmocka_unit_test(control_between_fragments),
                                     cmocka_unit_test(compression),
                                     cmocka_unit_test(utf8_piece_by_piece),
                                     cmocka_unit_test(close_codes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
