// SPDX-License-Identifier: Apache-2.0
// One run of the load generator: its clients, its publishers, and what is shared by its processes.
//
// Process 0 leads: it publishes, measures and reports. The others hold their share of the clients and do
// what the shared phase says; so does process 0 with its own. A connection that fails ends the run, with
// the reason and status 1: there is nothing to measure then.
#pragma once

#include "tests/bench/load/dialect.h"
#include "tests/bench/load/measure.h"
#include "tests/bench/load/turns.h"

enum { BN_PROCESSES = 8, BN_TARGETS = 8, BN_BLOCKS = 64, BN_WINDOW = 1024 };

struct bn_options {
  const char *scenario, *clock;
  const struct bn_dialect *dialect;
  struct bn_target targets[BN_TARGETS], publish;   // clients take the targets in turn
  unsigned target_count, clients, channels, in_flight, concurrency, sources, processes;
  unsigned missed, others, slow, block, base;
  double rate, warm, seconds, settle, patience;
  bool count, spin, publish_given;
  uint64_t turn;   // ns; 0: nobody takes turns
  struct bn_group groups[BN_GROUPS];
  unsigned group_count;
};

enum bn_phase { BN_WAIT, BN_CONNECT, BN_RUN, BN_CUT, BN_RESUME, BN_DEAF, BN_HEAR, BN_END };

struct bn_shared {
  atomic_int phase;
  atomic_ullong from, to;   // messages due in between are measured
  struct bn_tally tallies[BN_PROCESSES];
  atomic_uint published[];   // by channel, from `base` on
};

struct bn_load {
  const struct bn_options *options;
  struct bn_net net;
  struct bn_shared *shared;
  struct bn_tally *tally;   // of this process
  unsigned self, count, next, opening, publishers_ready;
  enum bn_phase phase;
  struct bn_turns turns;
  bool resting;   // it is the turn of another one
  struct bn_conn *conns, *publishers;
  unsigned publisher_count;
  uint64_t published, completed;   // messages; completed: delivered to all, and all before them
  uint32_t arrived[BN_WINDOW];     // deliveries of each message that is under way, by its number
  unsigned long last_read;         // that brought a delivery
};

struct bn_block {
  unsigned clients;
  uint64_t time, cpu;
};

// What a scenario found out, beyond the tallies.
struct bn_result {
  // While it was measured, and while others had their turns meanwhile. `last`: the reading that the next one adds to.
  struct bn_usage used[BN_GROUPS], aside[BN_GROUPS], last[BN_GROUPS];
  uint64_t own_time, aside_time, last_time;
  uint64_t deliveries, frames, reads, publishes;   // while it was measured
  uint64_t pings;                                  // that came meanwhile, to this process
  uint64_t elapsed, timely;   // of that, while messages were published: the time, and the deliveries
  uint64_t pss_before[BN_GROUPS], pss_after[BN_GROUPS];   // around connecting
  uint64_t connect_time, connect_cpu;
  uint64_t publish_time;
  struct bn_block blocks[BN_BLOCKS];
  unsigned block_count;
};

void bn_load_init(struct bn_load *, const struct bn_options *, struct bn_shared *, unsigned self);
void bn_load_enter(struct bn_load *, enum bn_phase);
// One turn of the loop; opens more connections when some are to be opened.
void bn_load_turn(struct bn_load *, uint64_t wait);
// A process that does not lead: until the phase is BN_END.
void bn_load_follow(struct bn_load *);
void bn_load_finish(struct bn_load *);   // closes the books, then the connections
_Noreturn void bn_load_give_up(const char *why);

unsigned long bn_load_delivered(const struct bn_load *);
unsigned long bn_load_are_ready(const struct bn_load *);

// A message of the channel (from 0, here and below), due at that time.
void bn_load_publish(struct bn_load *, uint32_t channel, uint64_t due);
// Messages that were published, channel after channel, and have not come to all their subscribers.
// Of runs with one process only.
uint64_t bn_load_in_flight(struct bn_load *);
// To a channel without subscribers.
void bn_load_publish_aside(struct bn_load *, uint32_t channel);

// False: there is no such scenario.
bool bn_scenario_run(struct bn_load *, struct bn_result *);
