// SPDX-License-Identifier: Apache-2.0
// Outboxes and their blocks: see outbox.h.
#include "bayeux/outbox.h"

#define SPARE_BLOCKS 4096   // blocks kept for reuse: 2 MB
#define MANY 8              // holders of a frame from which on its text is likely to be asked for again

void bx_outboxes_init(struct bx_outboxes *all, uint32_t max_bytes) {
  *all = (struct bx_outboxes){.max_bytes = max_bytes};
  bx_list_init(&all->spare);
}

void bx_outboxes_fini(struct bx_outboxes *all) {
  struct bx_list *block;

  bx_outboxes_forget(all);
  while ((block = bx_list_take(&all->spare)) != NULL) bx_free(block);
}

void bx_outboxes_forget(struct bx_outboxes *all) {
  if (all->joined == NULL) return;
  bx_frame_unref(all->joined);
  all->joined = NULL;
  for (uint32_t i = 0; i < all->of_count; i++) bx_frame_unref(all->of[i]);
  all->of_count = 0;
}

static struct bx_frame **block_take(struct bx_outboxes *all) {
  struct bx_list *spare = bx_list_take(&all->spare);

  if (spare == NULL) return bx_alloc(BX_OUTBOX_FRAMES * sizeof(struct bx_frame *));
  all->spare_count--;
  return (struct bx_frame **)(void *)spare;
}

static void block_give(struct bx_outboxes *all, struct bx_frame **block) {
  if (all->spare_count == SPARE_BLOCKS) {
    bx_free(block);
    return;
  }
  all->spare_count++;
  bx_list_append(&all->spare, (struct bx_list *)(void *)block);
}

void bx_outbox_put(struct bx_outboxes *all, struct bx_outbox *o, struct bx_frame *f) {
  bx_frame_ref(f);
  if (o->count == 0) {
    o->only = f;
  } else {
    if (o->slots == NULL) {
      o->slots = block_take(all);
      o->slots[o->first = 0] = o->only;
    }
    o->slots[(o->first + o->count) % BX_OUTBOX_FRAMES] = f;
  }
  o->count++;
  o->bytes += f->len;
}

void bx_outbox_fill(struct bx_outboxes *all, struct bx_outbox *o, struct bx_frame *const *frames, uint32_t count,
                    size_t bytes) {
  BX_BUG_ON(o->count > 0 || count < 2 || count > BX_OUTBOX_FRAMES);
  o->slots = block_take(all);
  for (uint32_t i = 0; i < count; i++) o->slots[i] = bx_frame_ref(frames[i]);
  o->first = 0;
  o->count = count;
  o->bytes = (uint32_t)bytes;
}

struct bx_frame *bx_outbox_take(struct bx_outboxes *all, struct bx_outbox *o) {
  struct bx_frame *f = bx_outbox_first(o);

  o->count--;
  o->bytes -= f->len;
  if (o->slots != NULL) {
    o->first = (o->first + 1) % BX_OUTBOX_FRAMES;
    if (o->count == 0) {
      block_give(all, o->slots);
      o->slots = NULL;
    }
  }
  return f;
}

void bx_outbox_drop(struct bx_outboxes *all, struct bx_outbox *o) {
  if (o->slots == NULL && o->count > 0) bx_frame_unref(o->only);
  if (o->slots != NULL) {
    for (uint32_t i = 0; i < o->count; i++) bx_frame_unref(o->slots[(o->first + i) % BX_OUTBOX_FRAMES]);
    block_give(all, o->slots);
    o->slots = NULL;
  }
  o->count = o->bytes = 0;
}

static void join(struct bx_outboxes *all, struct bx_frame *const *frames, uint32_t count, size_t len) {
  char *out;

  bx_outboxes_forget(all);
  all->joined = bx_frame_create(len, frames[0]->live);
  out = bx_frame_text(all->joined);
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0) *out++ = ',';
    memcpy(out, bx_frame_text(frames[i]), frames[i]->len);
    out += frames[i]->len;
    all->of[i] = bx_frame_ref(frames[i]);
  }
  all->of_count = count;
}

struct bx_frame *bx_outbox_join(struct bx_outboxes *all, const struct bx_outbox *o, size_t max) {
  size_t len = o->bytes + o->count - 1;
  struct bx_frame *const *frames;

  if (o->slots == NULL || o->first + o->count > BX_OUTBOX_FRAMES || len > max) return NULL;
  frames = o->slots + o->first;
  if (all->of_count != o->count || memcmp(all->of, frames, o->count * sizeof *frames) != 0) {
    if (frames[0]->refs < MANY || frames[o->count - 1]->refs < MANY) return NULL;
    join(all, frames, o->count, len);
  }
  return bx_frame_ref(all->joined);
}
