// SPDX-License-Identifier: Apache-2.0
// A frame: the wire text of one delivered message, or of several that many get at once (bayeux/outbox.h), made once and
// shared by every recipient.
//
// Invariants: immutable once it was appended to the journal; `refs` holders. The text stands in
// brackets, `[{...}]`, with head-room in front, so that it goes to a websocket without
// being copied: only the head-room is written to, with the same bytes for every socket.
// Lifetime: created with one reference; freed by the last bx_frame_unref().
#pragma once

#include "bayeux/base.h"

#define BX_FRAME_HEADROOM 32   // bytes; at least what a transport writes in front

struct bx_frame {
  uint32_t refs;
  uint32_t len;           // of the text without the brackets
  bx_position position;   // 0 until it was appended
  uint64_t *live;         // counts frames that exist: its owner's
  char bytes[];
};

// A frame for a text of `len` bytes, to be filled through bx_frame_text() before it is shared.
struct bx_frame *bx_frame_create(size_t len, uint64_t *live);
void bx_frame_free(struct bx_frame *);   // for bx_frame_unref(): nobody has it any more

static inline struct bx_frame *bx_frame_ref(struct bx_frame *f) {
  f->refs++;
  return f;
}

static inline void bx_frame_unref(struct bx_frame *f) {
  if (f == NULL) return;
  BX_BUG_ON(f->refs == 0);
  if (--f->refs == 0) bx_frame_free(f);
}

static inline char *bx_frame_text(struct bx_frame *f) { return f->bytes + BX_FRAME_HEADROOM + 1; }

// The text, to be read while the frame is there.
static inline struct bx_slice bx_frame_slice(const struct bx_frame *f) {
  return (struct bx_slice){f->bytes + BX_FRAME_HEADROOM + 1, f->len};
}

// `[text]`, with BX_FRAME_HEADROOM bytes in front that the caller may overwrite.
static inline char *bx_frame_array(struct bx_frame *f) { return f->bytes + BX_FRAME_HEADROOM; }
static inline size_t bx_frame_array_len(const struct bx_frame *f) { return f->len + 2; }
