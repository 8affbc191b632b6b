// SPDX-License-Identifier: Apache-2.0
// The wheel. A timer lies on the level of the highest digit (base 64) in which its time differs from
// now, in the slot of that digit. From this follows:
//
// - on every level but the last, occupied slots lie ahead of now's own; level 0 may hold now's own;
// - all of a level comes before anything of the level above, so the next thing to do is the first
//   occupied slot of the lowest occupied level;
// - when now reaches the start of a slot above level 0, its timers spread to the levels below.
//
// The last level goes round: its slots are 1 to 64 turns ahead of now, and what is further away
// waits in the furthest.
#include "bayeux/wheel.h"

#define LAST (BX_WHEEL_LEVELS - 1)

static unsigned digit(bx_millis time, unsigned level) { return time >> (BX_WHEEL_BITS * level) & (BX_WHEEL_SLOTS - 1); }

void bx_wheel_init(struct bx_wheel *w, bx_millis now) {
  *w = (struct bx_wheel){.now = now};
  for (unsigned level = 0; level < BX_WHEEL_LEVELS; level++) {
    for (unsigned slot = 0; slot < BX_WHEEL_SLOTS; slot++) bx_list_init(&w->slots[level][slot]);
  }
}

static void place(struct bx_wheel *w, struct bx_timer *t) {
  bx_millis differs = t->at ^ w->now;
  unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / BX_WHEEL_BITS : 0;
  unsigned slot;
  if (level < LAST) {
    slot = digit(t->at, level);
  } else {
    level = LAST;
    bx_millis turns = (t->at >> (BX_WHEEL_BITS * LAST)) - (w->now >> (BX_WHEEL_BITS * LAST));
    slot = digit(turns < BX_WHEEL_SLOTS ? t->at : w->now, LAST);
  }
  t->slot = (uint16_t)(level * BX_WHEEL_SLOTS + slot);
  w->occupied[level] |= 1ull << slot;
  bx_list_append(&w->slots[level][slot], &t->link);
}

void bx_wheel_set(struct bx_wheel *w, struct bx_timer *t, bx_millis at) {
  bx_wheel_cancel(w, t);
  t->at = at > w->now ? at : w->now;
  t->armed = true;
  w->count++;
  place(w, t);
}

// A timer that is due is on another list already; its slot is then looked at for nothing.
void bx_wheel_cancel(struct bx_wheel *w, struct bx_timer *t) {
  if (!t->armed) return;
  t->armed = false;
  w->count--;
  bx_list_remove(&t->link);
  unsigned level = t->slot / BX_WHEEL_SLOTS, slot = t->slot % BX_WHEEL_SLOTS;
  if (bx_list_empty(&w->slots[level][slot])) w->occupied[level] &= ~(1ull << slot);
}

// The first occupied slot of the lowest occupied level, and when it begins.
static bx_millis first_slot(const struct bx_wheel *w, unsigned *level, unsigned *slot) {
  for (*level = 0; *level < LAST; ++*level) {
    if (!w->occupied[*level]) continue;
    unsigned shift = BX_WHEEL_BITS * *level;
    *slot = (unsigned)__builtin_ctzll(w->occupied[*level]);
    return (w->now >> (shift + BX_WHEEL_BITS) << BX_WHEEL_BITS | *slot) << shift;
  }
  uint64_t bits = w->occupied[LAST];
  if (!bits) return BX_NEVER;
  unsigned ahead = (digit(w->now, LAST) + 1) % BX_WHEEL_SLOTS;
  if (ahead) bits = bits >> ahead | bits << (BX_WHEEL_SLOTS - ahead);
  unsigned turns = (unsigned)__builtin_ctzll(bits) + 1;
  *slot = digit(w->now, LAST) + turns;
  *slot %= BX_WHEEL_SLOTS;
  return ((w->now >> (BX_WHEEL_BITS * LAST)) + turns) << (BX_WHEEL_BITS * LAST);
}

bx_millis bx_wheel_next(const struct bx_wheel *w) {
  unsigned level, slot;
  return first_slot(w, &level, &slot);
}

// Moves everything due at `now` to `due`, in order of time.
static void collect(struct bx_wheel *w, bx_millis now, struct bx_list *due) {
  unsigned level, slot;
  bx_millis begins;
  while ((begins = first_slot(w, &level, &slot)) <= now && begins != BX_NEVER) {
    struct bx_list spread, *link;
    bx_list_init(&spread);
    bx_list_splice(level == 0 ? due : &spread, &w->slots[level][slot]);
    w->occupied[level] &= ~(1ull << slot);
    w->now = begins;
    while ((link = bx_list_take(&spread))) place(w, bx_container_of(link, struct bx_timer, link));
  }
  w->now = now;
}

void bx_wheel_advance(struct bx_wheel *w, bx_millis now) {
  struct bx_list due, *link;
  bx_list_init(&due);
  collect(w, now > w->now ? now : w->now, &due);
  while ((link = bx_list_take(&due))) {
    struct bx_timer *t = bx_container_of(link, struct bx_timer, link);
    t->armed = false;
    w->count--;
    t->fire(t);
  }
}
