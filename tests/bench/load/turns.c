// SPDX-License-Identifier: Apache-2.0
// Turns by the clock: nobody speaks with anybody once it is known when the first one begins.
#include "tests/bench/load/turns.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

bool bn_turns_meet(struct bn_turns *t, uint64_t time) {
  t->time = time;
  puts("ready");
  fflush(stdout);
  if (scanf("%" SCNu64 " %u %u", &t->begin, &t->mine, &t->count) != 3) return false;
  return t->mine < t->count && t->count <= BN_TURNS_MOST;
}

// Of splitmix64.
static uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// When the turn of this one begins in a cycle: all shuffle alike.
static uint64_t begin_in(const struct bn_turns *t, uint64_t cycle) {
  unsigned places[BN_TURNS_MOST];   // by who has it
  uint64_t random = mixed(t->begin + cycle);
  for (unsigned i = 0; i < t->count; i++) {
    random = mixed(random + i);
    unsigned other = (unsigned)(random % (i + 1));
    places[i] = places[other];
    places[other] = i;
  }
  return t->begin + (cycle * t->count + places[t->mine]) * t->time;
}

static uint64_t cycle_of(const struct bn_turns *t, uint64_t now) { return (now - t->begin) / (t->count * t->time); }

uint64_t bn_turns_wait(const struct bn_turns *t, uint64_t now) {
  uint64_t cycle = now < t->begin ? 0 : cycle_of(t, now), turn = begin_in(t, cycle);
  if (now >= turn + t->time) turn = begin_in(t, cycle + 1);
  return now < turn ? turn - now : 0;
}

uint64_t bn_turns_end(const struct bn_turns *t, uint64_t now) { return begin_in(t, cycle_of(t, now)) + t->time; }

uint64_t bn_turns_last(const struct bn_turns *t, uint64_t now) { return bn_turns_end(t, now) - t->time / 4; }

bool bn_turns_clock(struct bn_turns *t, const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  void *word = mmap(NULL, sizeof *t->clock, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (word == MAP_FAILED) return false;
  t->clock = word;
  return true;
}

void bn_turns_stop_clock(struct bn_turns *t, uint64_t now) {
  uint64_t word = t->clock ? *t->clock : BN_CLOCK_STILL;
  if (!(word & BN_CLOCK_STILL)) *t->clock = BN_CLOCK_STILL | (now - word);
}

void bn_turns_start_clock(struct bn_turns *t, uint64_t now) {
  if (t->clock) *t->clock = bn_clock_behind(*t->clock, now);
}
