// SPDX-License-Identifier: Apache-2.0
// An outbox: frames that wait for the connection of one session, oldest first, in order of position.
//
// One frame stands in `only`, several stand in `slots`, a block of BX_OUTBOX_FRAMES that goes back to the pool with the
// last of them. A frame that is put is referenced; who takes it has the reference.
//
// Of several frames that wait for many sessions the text is put together once, in a frame of its own: the pool keeps
// the last such text, and the frames it is of, until bx_outboxes_forget(), when the next turn begins.
#pragma once

#include "bayeux/frame.h"

#define BX_OUTBOX_FRAMES 64

struct bx_outbox {
  struct bx_frame *only;
  struct bx_frame **slots;   // NULL: there are none, or one
  uint32_t first, count;
  uint32_t bytes;
};

struct bx_outboxes {
  uint32_t max_bytes;     // of one outbox, which holds one frame of any size
  struct bx_list spare;   // blocks
  uint32_t spare_count;
  struct bx_frame *joined;   // NULL: nothing is kept
  struct bx_frame *of[BX_OUTBOX_FRAMES];
  uint32_t of_count;
};

void bx_outboxes_init(struct bx_outboxes *, uint32_t max_bytes);
void bx_outboxes_fini(struct bx_outboxes *);
void bx_outboxes_forget(struct bx_outboxes *);

static inline bool bx_outbox_has_room(const struct bx_outboxes *all, const struct bx_outbox *o,
                                      const struct bx_frame *f) {
  return o->count == 0 || (o->count < BX_OUTBOX_FRAMES && o->bytes + f->len <= all->max_bytes);
}

// Of one that is not empty.
static inline struct bx_frame *bx_outbox_first(const struct bx_outbox *o) {
  return o->slots != NULL ? o->slots[o->first] : o->only;
}
static inline struct bx_frame *bx_outbox_last(const struct bx_outbox *o) {
  return o->slots != NULL ? o->slots[(o->first + o->count - 1) % BX_OUTBOX_FRAMES] : o->only;
}

void bx_outbox_put(struct bx_outboxes *, struct bx_outbox *, struct bx_frame *);
// All of these at once, into one that is empty: 2 to BX_OUTBOX_FRAMES, of so many bytes.
void bx_outbox_fill(struct bx_outboxes *, struct bx_outbox *, struct bx_frame *const *, uint32_t count, size_t bytes);
struct bx_frame *bx_outbox_take(struct bx_outboxes *, struct bx_outbox *);
void bx_outbox_drop(struct bx_outboxes *, struct bx_outbox *);   // all of them

// One frame with the texts of all that wait, separated by commas, of `max` bytes at most. NULL: it would be longer, too
// few others wait for the same, or they stand around the end of the block. The reference is the caller's; the outbox is as it was.
struct bx_frame *bx_outbox_join(struct bx_outboxes *, const struct bx_outbox *, size_t max);
