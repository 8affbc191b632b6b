// SPDX-License-Identifier: Apache-2.0
// A hierarchical timing wheel: setting, moving and cancelling a timer is O(1) however many there
// are. Pure: time is passed in.
//
// Invariants: a timer is on at most one wheel; it fires once, at or after its time (never before),
// late by no more than the caller is. Lifetime: the owner of the struct bx_timer cancels it before
// freeing it. A firing timer is off the wheel already: `fire` may set it again, cancel others, or
// free it.
#pragma once

#include "bayeux/base.h"

struct bx_timer {
  struct bx_list link;
  bx_millis at;
  bool armed;
  uint16_t slot;   // the wheel's own: where it was put last
  void (*fire)(struct bx_timer *);
};

#define BX_WHEEL_BITS 6
#define BX_WHEEL_SLOTS (1u << BX_WHEEL_BITS)
#define BX_WHEEL_LEVELS 6   // 64^6 ms: two years; later times wait in the last level

struct bx_wheel {
  bx_millis now;
  size_t count;
  uint64_t occupied[BX_WHEEL_LEVELS];   // bit per slot
  struct bx_list slots[BX_WHEEL_LEVELS][BX_WHEEL_SLOTS];
};

#define BX_NEVER UINT64_MAX

void bx_wheel_init(struct bx_wheel *, bx_millis now);

static inline void bx_timer_init(struct bx_timer *t, void (*fire)(struct bx_timer *)) {
  bx_list_init(&t->link);
  t->armed = false;
  t->at = 0;
  t->slot = 0;
  t->fire = fire;
}

// Moves it if armed. A time that has passed counts as now.
void bx_wheel_set(struct bx_wheel *, struct bx_timer *, bx_millis at);
void bx_wheel_cancel(struct bx_wheel *, struct bx_timer *);   // harmless if not armed

// Not later than the next time a timer has to fire; BX_NEVER when there is none. Advancing to it
// may fire nothing (a slot of a higher level is only spread then), which is correct and rare.
bx_millis bx_wheel_next(const struct bx_wheel *);

// Fires, in order of time, all that is due at `now`. What `fire` sets for a time that has come is
// left to the next call, so that a timer which sets itself again cannot hold the caller for ever.
// An earlier `now` than the last counts as the last.
void bx_wheel_advance(struct bx_wheel *, bx_millis now);
