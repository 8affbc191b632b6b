// SPDX-License-Identifier: Apache-2.0
// Turns by the clock: nobody speaks with anybody once it is known when the first one begins.
#include "tests/bench/load/turns.h"

#include <inttypes.h>
#include <stdio.h>

bool bn_turns_meet(struct bn_turns *t, uint64_t time) {
  t->time = time;
  puts("ready");
  fflush(stdout);
  return scanf("%" SCNu64 " %u %u", &t->begin, &t->mine, &t->count) == 3 && t->mine < t->count;
}

// How long ago the turn of this one began that was the last to begin.
static uint64_t since(const struct bn_turns *t, uint64_t now) {
  return (now - t->begin - t->mine * t->time) % (t->count * t->time);
}

uint64_t bn_turns_wait(const struct bn_turns *t, uint64_t now) {
  uint64_t first = t->begin + t->mine * t->time;
  if (now < first) return first - now;
  uint64_t ago = since(t, now);
  return ago < t->time ? 0 : t->count * t->time - ago;
}

uint64_t bn_turns_end(const struct bn_turns *t, uint64_t now) { return now - since(t, now) + t->time; }

uint64_t bn_turns_last(const struct bn_turns *t, uint64_t now) { return bn_turns_end(t, now) - t->time / 4; }
