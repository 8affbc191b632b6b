// SPDX-License-Identifier: Apache-2.0
// How long the turns of the loop take: what comes while one runs waits for its end.
//
// A turn begins when the loop is told of something, and ends before it waits again; the wait is not in
// it. Buckets are a quarter of an octave wide, so that a quantile is right within 10 %.
// A turn in which libuv only tells the kernel what to watch is one, too.
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"

enum {
  BK_LAG_FIRST = 3,   // turns of less than 2^3 us are in one bucket
  BK_LAG_LAST = 24,   // and those of 2^24 us (17 s) or more
  BK_LAG_BUCKETS = 2 + 4 * (BK_LAG_LAST - BK_LAG_FIRST),
};

struct bk_lag {
  uint64_t turns[BK_LAG_BUCKETS];
  uint64_t busy;   // ns, all of them together
};
extern struct bk_lag bk_host_lag;   // of this process

void bk_lag_note(struct bk_lag *, uint64_t ns);
void bk_lag_add(struct bk_lag *to, const struct bk_lag *more);
uint64_t bk_lag_turns(const struct bk_lag *);
// Microseconds that this share of the turns (0 to 1) did not exceed; 0 when there were none.
double bk_lag_quantile(const struct bk_lag *, double share);
// As a histogram of Prometheus.
void bk_lag_write(struct bx_buffer *, const struct bk_lag *);
