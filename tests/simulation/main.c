// SPDX-License-Identifier: Apache-2.0
// simulate [--seeds A..B [--every N]] [--seed N] [--trace] [--steps N] [--break NAME] [--jobs N] [--expect-failure]
//          [--presence]
//
// Runs the seeds, tells the first that fails with its invariant, and exits with 1. With --seed N
// --trace it writes what happened, step by step. --break puts in a fault on purpose: generation,
// mark-first, late-start, stays (with --presence); --expect-failure exits with 0 if and only if some seed
// fails. --presence: sessions have users, and who is on some channels is counted.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/simulation/sim.h"

struct options {
  uint64_t first, last, every, steps;
  enum sim_break broken;
  unsigned jobs;
  bool trace, expect_failure, all, presence;
};

static char epitaph[64];   // what a signal handler may not put together

static void usage(void) {
  fputs("usage: simulate [--seeds A..B [--every N]] [--seed N] [--trace] [--steps N] [--jobs N]\n"
        "                [--break generation|mark-first|late-start|stays] [--expect-failure] [--all] [--presence]\n",
        stderr);
  exit(2);
}

static enum sim_break break_named(const char *name) {
  static const char *const names[SIM_BREAKS] = {"", "generation", "mark-first", "late-start", "stays"};

  for (int i = 1; i < SIM_BREAKS; i++)
    if (strcmp(name, names[i]) == 0) return (enum sim_break)i;
  usage();
  return SIM_WHOLE;
}

static void parse(struct options *o, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    char *end;

    if (strcmp(argv[i], "--trace") == 0) {
      o->trace = true;
    } else if (strcmp(argv[i], "--expect-failure") == 0) {
      o->expect_failure = true;
    } else if (strcmp(argv[i], "--presence") == 0) {
      o->presence = true;
    } else if (strcmp(argv[i], "--all") == 0) {
      o->all = true;
    } else if (*value == '\0') {
      usage();
    } else if (strcmp(argv[i], "--seeds") == 0) {
      o->first = strtoull(value, &end, 10);
      if (strncmp(end, "..", 2) != 0) usage();
      o->last = strtoull(end + 2, NULL, 10);
      i++;
    } else if (strcmp(argv[i], "--every") == 0) {
      o->every = strtoull(value, NULL, 10);
      i++;
    } else if (strcmp(argv[i], "--seed") == 0) {
      o->first = o->last = strtoull(value, NULL, 10);
      i++;
    } else if (strcmp(argv[i], "--steps") == 0) {
      o->steps = strtoull(value, NULL, 10);
      i++;
    } else if (strcmp(argv[i], "--jobs") == 0) {
      o->jobs = (unsigned)strtoul(value, NULL, 10);
      i++;
    } else if (strcmp(argv[i], "--break") == 0) {
      o->broken = break_named(value);
      i++;
    } else {
      usage();
    }
  }
  if (o->first == 0 || o->last < o->first || o->every == 0 || o->jobs == 0 || o->jobs > 64) usage();
}

static bool run_seed(const struct options *o, uint64_t seed, struct sim_totals *totals) {
  struct sim *s = bx_alloc(sizeof *s);
  bool good;

  snprintf(epitaph, sizeof epitaph, "seed %llu aborts\n", (unsigned long long)seed);
  s->seed = seed;
  s->trace = o->trace;
  s->presence = o->presence;
  s->broken = o->broken;
  s->max_steps = o->steps;
  s->totals = totals;
  good = sim_run(s);
  if (!good)
    printf("seed %llu fails %s at step %llu (%.3f ms): %s\n", (unsigned long long)seed, s->invariant,
           (unsigned long long)s->step, (double)s->now / 1000, s->message);
  bx_free(s);
  return good;
}

// A bug that the code itself found: which seed it was.
static void aborted(int signal_number) {
  if (write(STDOUT_FILENO, epitaph, strlen(epitaph)) < 0) _exit(3);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

// Every jobs-th seed from `offset` on. Returns the number of those that failed.
static unsigned run_some(const struct options *o, unsigned offset) {
  struct sim_totals t = {0};
  unsigned failed = 0;
  uint64_t count = 0;

  for (uint64_t seed = o->first + offset * o->every; seed <= o->last; seed += o->jobs * o->every) {
    count++;
    if (run_seed(o, seed, &t)) continue;
    failed++;
    if (!o->all) break;
  }
#define N(field) (unsigned long long)t.field
  printf(
      "%llu seeds, %u failed: %llu steps, %llu publishes (%llu refused, %llu unknown), %llu deliveries, %llu repeats\n"
      "  %llu sessions, %llu moves, %llu claims, %llu calls, %llu lost; %llu crashes, %llu stalls, %llu link losses, "
      "%llu late commands\n  %llu pauses, %llu restarts, %llu rollbacks, %llu flushes, %llu epochs learnt, %llu not "
      "recovered\n  %llu leaves, %llu times full, %llu gaps, %llu of presence\n",
      (unsigned long long)count, failed, N(steps), N(publishes), N(refused), N(unknown), N(deliveries), N(repeats),
      N(sessions), N(moves), N(forced), N(relayed), N(lost), N(crashes), N(stalls), N(drops), N(late), N(pauses),
      N(restarts), N(rollbacks), N(flushes), N(epochs), N(not_recovered), N(leaves), N(fulls), N(gaps), N(told));
  fflush(stdout);
  return failed;
}

static bool run_all(const struct options *o) {
  bool good = true;

  for (unsigned i = 0; i < o->jobs; i++) {
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child < 0) return false;
    if (child == 0) exit(run_some(o, i) == 0 ? 0 : 1);
  }
  for (unsigned i = 0; i < o->jobs; i++) {
    int status;
    if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) good = false;
  }
  return good;
}

int main(int argc, char **argv) {
  struct options o = {.first = 1, .last = 100, .every = 1, .jobs = 1};
  bool good;

  parse(&o, argc, argv);
  setvbuf(stdout, NULL, o.trace ? _IOFBF : _IOLBF, 0);   // a long run tells what it finds
  signal(SIGABRT, aborted);
  good = o.jobs == 1 ? run_some(&o, 0) == 0 : run_all(&o);
  if (o.expect_failure) {
    puts(good ? "no seed found what was broken on purpose" : "found, as it should be");
    return good ? 1 : 0;
  }
  if (!good && o.first != o.last) puts("replay: simulate --seed N --trace");
  return good ? 0 : 1;
}
