// SPDX-License-Identifier: Apache-2.0
// A circuit breaker: after BK_BREAKER_FAILURES failures in a row nothing is tried for a while, then
// one try shows whether it is over. Pure.
//
//   CLOSED --failures--> OPEN --pause--> (one try) --success--> CLOSED
//                         ^--------------- failure, twice the pause
#pragma once

#include "bayeux/base.h"

enum {
  BK_BREAKER_FAILURES = 5,
  BK_BREAKER_PAUSE_MIN = 500,     // ms
  BK_BREAKER_PAUSE_MAX = 10000,   // ms
};

struct bk_breaker {
  unsigned failures;   // in a row
  bx_millis pause;     // of the last opening; 0: closed
  bx_millis until;     // open: nothing is tried before
  bool trying;         // the one try is under way
};

// A try may be made now; while open it is the only one, until its outcome is told.
static inline bool bk_breaker_admits(struct bk_breaker *b, bx_millis now) {
  if (b->pause == 0) return true;
  if (b->trying || now < b->until) return false;
  return b->trying = true;
}

// Would refuse now.
static inline bool bk_breaker_is_open(const struct bk_breaker *b, bx_millis now) {
  return b->pause > 0 && (b->trying || now < b->until);
}

static inline void bk_breaker_succeeded(struct bk_breaker *b) { *b = (struct bk_breaker){0}; }

// True: it opened, and was closed before. Outcomes of tries from before it opened count for nothing.
static inline bool bk_breaker_failed(struct bk_breaker *b, bx_millis now, bool was_try) {
  bool closed = b->pause == 0;
  b->failures++;
  if (closed && b->failures < BK_BREAKER_FAILURES) return false;
  if (!closed && !was_try) return false;
  b->pause = closed ? BK_BREAKER_PAUSE_MIN : 2 * b->pause;
  if (b->pause > BK_BREAKER_PAUSE_MAX) b->pause = BK_BREAKER_PAUSE_MAX;
  b->until = now + b->pause;
  b->trying = false;
  return closed;
}
