// SPDX-License-Identifier: Apache-2.0
#include "broker/host/gathered.h"

bool bk_gathered_hold(struct bk_gathered *g, size_t *share, size_t held) {
  uint64_t others = g->used - *share;
  size_t due = held > BK_GATHERED_FREE ? held - BK_GATHERED_FREE : 0;
  if (due > *share && (others > g->limit || due > g->limit - others)) {
    g->refused++;
    return false;
  }
  g->used = others + due;
  *share = due;
  return true;
}

void bk_gathered_release(struct bk_gathered *g, size_t *share) {
  g->used -= *share;
  *share = 0;
}
