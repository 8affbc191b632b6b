// SPDX-License-Identifier: Apache-2.0
// permessage-deflate: never more than was allowed, no memory of the message before, and what comes out
// goes in again and comes out the same. The first byte says which of them.
#include "broker/host/deflate.h"

#define MUST(condition) BX_BUG_ON(!(condition))
#define MAX 20000
#define HEADROOM 14

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void there_and_back(struct bk_deflate *d, struct bx_slice message) {
  struct bx_buffer out = {0};
  struct bx_slice small = bk_deflate_message(d, message, HEADROOM);
  MUST(small.len < message.len || (small.len == 0 && message.len == 0));
  if (small.len > 0) {
    memset((char *)small.at - HEADROOM, 'h', HEADROOM);
    MUST(bk_inflate_message(d, small, message.len, &out) == BK_INFLATED_GOOD);
    MUST(bx_slice_equal(bx_buffer_view(&out), message));
    MUST(bk_inflate_message(d, small, message.len - 1, &out) == BK_INFLATED_TOO_LARGE);
  }
  bx_buffer_fini(&out);
}

static void inflate(struct bk_deflate *d, struct bx_slice bytes) {
  struct bk_deflate *fresh = bk_deflate_create();
  struct bx_buffer out = {0}, again = {0};
  enum bk_inflated result = bk_inflate_message(d, bytes, MAX, &out);
  MUST(out.len <= MAX + 1);
  MUST(result == BK_INFLATED_BROKEN || (result == BK_INFLATED_TOO_LARGE) == (out.len > MAX));
  // As with a decompressor that has seen nothing.
  MUST(bk_inflate_message(fresh, bytes, MAX, &again) == result);
  MUST(bx_slice_equal(bx_buffer_view(&out), bx_buffer_view(&again)));
  if (result == BK_INFLATED_GOOD) there_and_back(d, bx_buffer_view(&out));
  bx_buffer_fini(&out);
  bx_buffer_fini(&again);
  bk_deflate_destroy(fresh);
}

// An offer that is taken is taken behind others as well.
static void offers(struct bx_slice text) {
  struct bx_buffer longer = {0};
  bx_buffer_lit(&longer, "x-other; a=1,");
  bx_buffer_slice(&longer, text);
  MUST(bk_deflate_offered(text) == bk_deflate_offered(bx_buffer_view(&longer)));
  bx_buffer_fini(&longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct bk_deflate *d;   // one for all inputs, as a loop has one for all connections
  if (size < 2) return 0;
  if (!d) d = bk_deflate_create();
  struct bx_slice rest = {(const char *)data + 1, size - 1};
  switch (data[0]) {
  case 'o': offers(rest); break;
  case 'm': there_and_back(d, rest); break;
  default: inflate(d, rest); break;
  }
  return 0;
}
