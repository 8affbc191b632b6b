// SPDX-License-Identifier: Apache-2.0
// The process that gauges a core.
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load/gauge.h"

enum { EVERY = 2000000, SUMS = 22000 };             // ns; 30 us on a processor of 2023
static const double slower = 1.08, faster = 0.94;   // times the pace: no more of it is the same core

static unsigned long own_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (unsigned long)t.tv_sec * 1000000000 + (unsigned long)t.tv_nsec;
}

// Six chains that do not wait for each other: all that a core can do at a time, which is what two halves share.
static uint64_t sums(uint64_t seed) {
  uint64_t a = seed, b = 2, c = 3, d = 4, e = 5, f = 6;
  for (unsigned i = 0; i < SUMS; i++) {
    a = (a ^ a << 13) + i;
    b = (b ^ b << 13) + i;
    c = (c ^ c << 13) + i;
    d = (d ^ d << 13) + i;
    e = (e ^ e << 13) + i;
    f = (f ^ f << 13) + i;
  }
  return a + b + c + d + e + f;
}

static _Noreturn void gauge(struct bn_gauge *g) {
  volatile uint64_t kept = 1;
  for (;;) {
    nanosleep(&(struct timespec){.tv_nsec = EVERY}, NULL);
    unsigned long began = own_clock();
    kept = sums(kept);
    unsigned long took = own_clock() - began;
    unsigned long step = took / BN_GAUGE_STEP;
    g->counts[step < BN_GAUGE_STEPS ? step : BN_GAUGE_STEPS - 1]++;
    g->spent += took;
    g->sums++;
  }
}

void bn_gauge_start(struct bn_gauge *g, int cpu) {
  pid_t child = fork();
  BX_BUG_ON(child < 0);
  if (child > 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == 1 || sched_setaffinity(0, sizeof set, &set) != 0) exit(1);
  gauge(g);
}

unsigned long bn_gauge_pace(const struct bn_gauge *g) {
  unsigned long below = 0, step = 0;
  while (step < BN_GAUGE_STEPS - 1 && (below += g->counts[step]) * 10 < g->sums) step++;
  return (step + 1) * BN_GAUGE_STEP;
}

bool bn_gauge_was_alone(const struct bn_gauge *g, const struct bn_gauge *from, unsigned long pace) {
  double count = (double)(g->sums - from->sums), spent = (double)(g->spent - from->spent),
         expected = count * (double)pace;
  return count > 0 && spent <= slower * expected && spent >= faster * expected;
}
