// SPDX-License-Identifier: Apache-2.0
// A clock that can be stopped: of a server that waits while others have their turn.
//
// What a server does by the clock it would do so many times as often, for each second of its own, as there are servers
// that take turns. Some of that falls into its own turns whenever they are: a ping that goes along with a message. So its
// clock (clock_gettime, monotonic and real, and gettimeofday) stands still meanwhile, and it does by the clock what it
// does when it is up alone. A node and its Redis have the same one: they compare their times. The kernel's timers go on:
// a server wakes up early, in another one's turn, and sees that it is not time yet. One that waits until a time of its
// clock, by the kernel (pthread_cond_timedwait, timerfd), is not for turns: to the kernel that time is over.
//
// The clock is one word in a file. The load that puts the server to work writes it; the module bench_clock
// (LD_PRELOAD), told the file by BENCH_CLOCK, reads it in each of the server's processes.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define BN_CLOCK_STILL (1ull << 63)

// How many ns the clock is behind; or BN_CLOCK_STILL and what it shows.
typedef _Atomic uint64_t bn_clock;

static inline uint64_t bn_clock_behind(uint64_t word, uint64_t now) {
  if (!(word & BN_CLOCK_STILL)) return word;
  word &= ~BN_CLOCK_STILL;
  return now > word ? now - word : 0;
}
