// SPDX-License-Identifier: Apache-2.0
// Messages compressed and back, what is no deflate data, and what would become too much.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "broker/host/deflate.h"

static const char text[] =
    "[{\"channel\":\"/chat/lobby\",\"data\":{\"text\":\"so many words, so many words, so many words\"}},"
    "{\"channel\":\"/chat/lobby\",\"data\":{\"text\":\"and so many words again, again, again\"}}]";

static void there_and_back(void **state) {
  (void)state;
  struct bk_deflate *d = bk_deflate_create();
  struct bx_buffer out = {0}, big = {0};
  struct bx_slice small = bk_deflate_message(d, BX_LIT(text), 32);
  assert_in_range(small.len, 1, sizeof text / 2);
  memset((char *)small.at - 32, 'h', 32);   // headroom
  assert_int_equal(bk_inflate_message(d, small, sizeof text - 1, &out), BK_INFLATED_GOOD);
  assert_true(bx_slice_equal(bx_buffer_view(&out), BX_LIT(text)));
  struct bx_slice again = bk_deflate_message(d, BX_LIT(text), 32);
  assert_ptr_equal(again.at, small.at);   // made once
  for (int i = 0; i < 5000; i++) bx_buffer_printf(&big, "%d,", i * 7919);
  small = bk_deflate_message(d, bx_buffer_view(&big), 32);
  assert_in_range(small.len, 1, big.len);
  assert_int_equal(bk_inflate_message(d, small, big.len, &out), BK_INFLATED_GOOD);
  assert_true(bx_slice_equal(bx_buffer_view(&out), bx_buffer_view(&big)));
  bx_buffer_fini(&out);
  bx_buffer_fini(&big);
  bk_deflate_destroy(d);
}

static void not_worth_it(void **state) {
  (void)state;
  struct bk_deflate *d = bk_deflate_create();
  assert_int_equal(bk_deflate_message(d, BX_LIT("short"), 32).len, 0);
  char noise[4096];
  uint64_t random = 4711;   // the same noise every time
  for (size_t i = 0; i < sizeof noise; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    noise[i] = (char)(random >> 56);
  }
  assert_int_equal(bk_deflate_message(d, (struct bx_slice){noise, sizeof noise}, 32).len, 0);
  bk_deflate_destroy(d);
}

static enum bk_inflated inflated(struct bx_slice bytes, size_t max, size_t *len) {
  struct bk_deflate *d = bk_deflate_create();
  struct bx_buffer out = {0};
  enum bk_inflated result = bk_inflate_message(d, bytes, max, &out);
  if (len) *len = out.len;
  assert_true(out.cap <= 2 * max + (64 << 10));   // it grows by doubling
  bx_buffer_fini(&out);
  bk_deflate_destroy(d);
  return result;
}

static void from_the_standard(void **state) {   // RFC 7692, 7.2.3
  (void)state;
  size_t len;
  assert_int_equal(inflated(BX_LIT("\xf2\x48\xcd\xc9\xc9\x07\x00"), 5, &len), BK_INFLATED_GOOD);
  assert_int_equal(len, 5);
  assert_int_equal(inflated(BX_LIT("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), 5, &len), BK_INFLATED_GOOD);
  assert_int_equal(len, 5);
  assert_int_equal(inflated(BX_LIT("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 5, &len), BK_INFLATED_GOOD);   // a last block
  assert_int_equal(len, 5);
  assert_int_equal(inflated(BX_LIT("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), 5, &len), BK_INFLATED_GOOD);
  assert_int_equal(len, 5);
  assert_int_equal(inflated(BX_LIT("\x00"), 5, &len), BK_INFLATED_GOOD);
  assert_int_equal(len, 0);
}

static void broken(void **state) {
  (void)state;
  assert_int_equal(inflated(BX_LIT("\xf2\x48\xcd"), 100, NULL), BK_INFLATED_BROKEN);
  assert_int_equal(inflated(BX_LIT("\xff\xff\xff"), 100, NULL), BK_INFLATED_BROKEN);
  assert_int_equal(inflated(BX_LIT("\x07"), 100, NULL), BK_INFLATED_BROKEN);
  assert_int_equal(inflated(BX_LIT("\x00\x05\x00\xfa\xff\x48"), 100, NULL), BK_INFLATED_BROKEN);
}

static void too_large(void **state) {
  (void)state;
  size_t len;
  assert_int_equal(inflated(BX_LIT("\xf2\x48\xcd\xc9\xc9\x07\x00"), 4, &len), BK_INFLATED_TOO_LARGE);
  // 64 MB of zeros in 64 KB.
  enum { ZEROS = 64 << 20 };
  char *zeros = calloc(1, ZEROS);
  unsigned long room = compressBound(ZEROS);
  unsigned char *bomb = malloc(room);
  z_stream z = {0};
  assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (unsigned char *)zeros;
  z.avail_in = ZEROS;
  z.next_out = bomb;
  z.avail_out = (unsigned)room;
  assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
  size_t size = room - z.avail_out - 4;
  assert_in_range(size, 1, 100000);
  deflateEnd(&z);
  assert_int_equal(inflated((struct bx_slice){(char *)bomb, size}, 1 << 20, &len), BK_INFLATED_TOO_LARGE);
  assert_int_equal(len, (1 << 20) + 1);   // no further
  free(bomb);
  free(zeros);
}

static void offers(void **state) {
  (void)state;
  static const char *const good[] = {"permessage-deflate",
                                     "permessage-deflate; client_max_window_bits",
                                     "permessage-deflate;client_max_window_bits=15",
                                     "permessage-deflate; client_max_window_bits=\"10\"",
                                     "permessage-deflate; server_no_context_takeover ; client_no_context_takeover",
                                     "x-webkit-deflate-frame, permessage-deflate",
                                     "permessage-deflate; server_max_window_bits=10, permessage-deflate"};
  static const char *const bad[] = {"",
                                    "deflate",
                                    "permessage-deflates",
                                    "permessage-deflate; server_max_window_bits=10",
                                    "permessage-deflate; client_max_window_bits=16",
                                    "permessage-deflate; client_max_window_bits=7",
                                    "permessage-deflate; client_max_window_bits=",
                                    "permessage-deflate; client_max_window_bits; client_max_window_bits",
                                    "permessage-deflate; server_no_context_takeover=1",
                                    "permessage-deflate; what",
                                    "permessage-deflate; ; client_max_window_bits",
                                    ",,;"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    if (!bk_deflate_offered(bx_slice_of(good[i]))) fail_msg("%s", good[i]);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (bk_deflate_offered(bx_slice_of(bad[i]))) fail_msg("%s", bad[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back),    cmocka_unit_test(not_worth_it),
                                     cmocka_unit_test(from_the_standard), cmocka_unit_test(broken),
                                     cmocka_unit_test(too_large),         cmocka_unit_test(offers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
