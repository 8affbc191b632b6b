// SPDX-License-Identifier: Apache-2.0
// What is sent, what arrives, and how late: stamps, one track per subscription, a tally per process.
//
// A message's data is 128 bytes, a JSON string with its quotes: a mark, the message's number in its
// channel (from 0), the time it was due (CLOCK_MONOTONIC, ns), the channel's number, padding. A server may
// put any number of messages into one frame: whoever scans for marks counts all of them.
//
// A track sees each number once, in order, or says what went wrong: a number that is jumped over is lost
// until it comes after all (then it is disordered); one that was seen is doubled. It remembers the last 64.
// The tally is in memory that the processes of one run share; each writes its own.
#pragma once

#include <stdatomic.h>

#include "bayeux/base.h"

#define BN_DATA 128

struct bn_stamp {
  uint32_t sequence, channel;
  uint64_t time;
};

void bn_stamp_write(char data[BN_DATA], const struct bn_stamp *);
// The next stamp in the text; moves *at behind it. False: there is none.
bool bn_stamp_next(const char **at, const char *end, struct bn_stamp *);

// Log-linear: 128 steps for each power of two, so that a value is known within 1 %.
#define BN_STEPS 128
#define BN_BUCKETS (BN_STEPS * 42)

struct bn_tally {
  atomic_ulong delivered, ready, open, acks;
  unsigned long frames, reads, bytes;   // that brought deliveries
  unsigned long doubled, disordered, stray, broken;
  long lost;   // jumped over and not come since
  uint64_t slowest;
  unsigned long latency[BN_BUCKETS];
};

struct bn_track {
  uint32_t next;
  uint64_t seen;   // bit i: number next - 1 - i
};

// False: this delivery is wrong in some way (and counted).
bool bn_track_take(struct bn_track *, uint32_t sequence, struct bn_tally *);
// At the end: what was published and never came.
void bn_track_finish(struct bn_track *, uint32_t published, struct bn_tally *);

void bn_latency_add(struct bn_tally *, uint64_t ns);
// The latency that a share of all (0..1) does not exceed, in ns.
uint64_t bn_latency_at(const struct bn_tally *, double share);
// Adds the second to the first.
void bn_tally_add(struct bn_tally *, const struct bn_tally *);
