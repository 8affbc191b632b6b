// SPDX-License-Identifier: Apache-2.0
// Turns: loads on several servers that share a core, one of which works while the others wait.
//
// The other half of a virtual machine's core is somebody else's, and slows a server down by up to a half, for tenths
// of seconds or minutes at a time. Servers that take short turns all meet with the same. A turn's last quarter publishes
// nothing, and what is under way arrives in it: a turn has to be longer than four times what is in flight takes.
//
// In each cycle everybody has one turn, in an order that all work out alike, and that is another one each time: what a
// server does a second or two later (a ping, a timer) falls into a turn of its own as often as into anybody else's. So the
// CPU of its own turns has that work at its own rate, as if the server were up alone. And its clock stands still meanwhile
// where it can be stopped.
#pragma once

#include <stdbool.h>

#include "tests/bench/load/clock.h"

enum { BN_TURNS_MOST = 16 };   // in a cycle

struct bn_turns {
  uint64_t time;          // of one turn, ns
  uint64_t begin;         // of the first cycle, by bn_now(); the order of turns comes from it, too
  unsigned mine, count;   // mine: from 0
  bn_clock *clock;        // of the server, or NULL
};

// Writes the line `ready`, and waits for a line `BEGIN MINE COUNT` on the standard input. False: there is none.
bool bn_turns_meet(struct bn_turns *, uint64_t time);
// Maps the server's clock. False: it cannot.
bool bn_turns_clock(struct bn_turns *, const char *path);
// While others have their turn.
void bn_turns_stop_clock(struct bn_turns *, uint64_t now);
void bn_turns_start_clock(struct bn_turns *, uint64_t now);
// How many turns come to so many ns: all who take as many of one length end in the same cycle.
static inline unsigned bn_turns_of(const struct bn_turns *t, uint64_t ns) {
  return (unsigned)((ns + t->time - 1) / t->time);
}
// Until the next turn of this one, ns; 0: it is now.
uint64_t bn_turns_wait(const struct bn_turns *, uint64_t now);
// Of a turn that is now: when it ends, and when the last message of it may be published.
uint64_t bn_turns_end(const struct bn_turns *, uint64_t now);
uint64_t bn_turns_last(const struct bn_turns *, uint64_t now);
