// SPDX-License-Identifier: Apache-2.0
// What the server's processes use: CPU, memory, system calls, instructions.
//
// CPU is the kernel's clock of a process (clock_getcpuclockid): user and system time of all its threads,
// those that have ended included, in nanoseconds. Of a thread that runs on another core just then it is behind by up
// to a tick of that core (4 ms at 250 Hz); of one that sleeps it is exact. Memory is Pss of smaps_rollup. System calls and user
// instructions come from perf_event_open where the kernel permits and the processor has counters; -1 says
// that they could not be counted.
#pragma once

#include "bayeux/base.h"

#define BN_GROUPS 4
#define BN_PIDS 64

// Processes that are reported together, such as "server" or "redis".
struct bn_group {
  char name[16];
  unsigned count;
  int pids[BN_PIDS];
  unsigned counters;   // of perf, of each kind
  int calls[4 * BN_PIDS], instructions[4 * BN_PIDS];
};

struct bn_usage {
  uint64_t cpu;               // ns
  long calls, instructions;   // -1: not counted
};

// "name=1,2,3" or "1,2,3" (then "server"). False: malformed.
bool bn_group_parse(struct bn_group *, const char *text);
// Begins to count calls and instructions of all threads there are.
void bn_group_count(struct bn_group *);
void bn_group_read(const struct bn_group *, struct bn_usage *);
// Adds what was used from one reading to a later one.
void bn_usage_add(struct bn_usage *, const struct bn_usage *from, const struct bn_usage *to);
// Bytes; 0 when it cannot be read.
uint64_t bn_group_pss(const struct bn_group *);

uint64_t bn_now(void);   // CLOCK_MONOTONIC, ns
