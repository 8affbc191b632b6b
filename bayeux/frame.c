// SPDX-License-Identifier: Apache-2.0
// Frames: see frame.h.
#include "bayeux/frame.h"

struct bx_frame *bx_frame_create(size_t len, uint64_t *live) {
  struct bx_frame *f = bx_alloc(sizeof *f + BX_FRAME_HEADROOM + len + 2);

  BX_BUG_ON(len > UINT32_MAX - 2);
  f->refs = 1;
  f->len = (uint32_t)len;
  f->live = live;
  f->bytes[BX_FRAME_HEADROOM] = '[';
  f->bytes[BX_FRAME_HEADROOM + 1 + len] = ']';
  ++*live;
  return f;
}

void bx_frame_free(struct bx_frame *f) {
  --*f->live;
  bx_free(f);
}
