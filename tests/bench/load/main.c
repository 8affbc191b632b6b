// SPDX-License-Identifier: Apache-2.0
// bench_load: puts one kind of load on one server, and prints one JSON object that says how it did.
//
//   bench_load fanout --dialect bayeux --url ws://127.0.0.1:8000/bayeux --clients 1000 --in-flight 8 --pids 4711
//
// See docs/benchmarks.md for what the figures mean, tests/bench/load/dialect.h for the dialects and
// scenario.c for the scenarios.
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/load/load.h"

static const char usage[] =
    "bench_load fanout|idle|connect|storm|slow --dialect NAME --url URL [--url URL...] [--publish-url URL]\n"
    "  --clients N       subscribers (100)\n"
    "  --channels N      channels, which the subscribers share equally (1)\n"
    "  --in-flight N     messages published and not yet delivered to all (1)\n"
    "  --rate N          deliveries a second, in place of --in-flight\n"
    "  --warm S --seconds S --settle S   times before, of and around the measurement (0.5, 2, 0.3)\n"
    "  --pids [NAME=]PID,PID...   processes to measure; repeat it for several groups, the first is the server\n"
    "  --count           count system calls and instructions (costs the server a little)\n"
    "  --concurrency N   connections being opened at a time (64)\n"
    "  --block N         connect: report after every so many (1000)\n"
    "  --missed N --others N   storm: messages for each client, and messages for nobody\n"
    "  --slow PERCENT    slow: clients that do not read\n"
    "  --base N          the first channel's number: another one for each run on a server that goes on (0)\n"
    "  --patience S      without progress, then what is missing is lost (20)\n"
    "  --processes N     share the clients among processes (1)\n"
    "  --spin            never sleep: to wake a client that sleeps is work of who sends to it\n"
    "  --turn S          take turns with others, of so long: see tests/bench/load/turns.h\n"
    "  --clock FILE      of the server, stopped in the others' turns: see tests/bench/load/clock.h\n"
    "  --sources N       addresses 127.0.0.2... to connect from (8)\n";

enum {
  DIALECT = 1,
  URL,
  PUBLISH,
  CLIENTS,
  CHANNELS,
  IN_FLIGHT,
  RATE,
  WARM,
  SECONDS,
  SETTLE,
  PIDS,
  COUNT,
  CONCURRENCY,
  BLOCK,
  MISSED,
  OTHERS,
  SLOW,
  BASE,
  PATIENCE,
  PROCESSES,
  SOURCES,
  SPIN,
  TURN,
  CLOCK
};

static const struct option words[] = {
    {"dialect", 1, NULL, DIALECT},
    {"url", 1, NULL, URL},
    {"publish-url", 1, NULL, PUBLISH},
    {"clients", 1, NULL, CLIENTS},
    {"channels", 1, NULL, CHANNELS},
    {"in-flight", 1, NULL, IN_FLIGHT},
    {"rate", 1, NULL, RATE},
    {"warm", 1, NULL, WARM},
    {"seconds", 1, NULL, SECONDS},
    {"settle", 1, NULL, SETTLE},
    {"pids", 1, NULL, PIDS},
    {"count", 0, NULL, COUNT},
    {"concurrency", 1, NULL, CONCURRENCY},
    {"block", 1, NULL, BLOCK},
    {"missed", 1, NULL, MISSED},
    {"others", 1, NULL, OTHERS},
    {"slow", 1, NULL, SLOW},
    {"processes", 1, NULL, PROCESSES},
    {"sources", 1, NULL, SOURCES},
    {"base", 1, NULL, BASE},
    {"patience", 1, NULL, PATIENCE},
    {"spin", 0, NULL, SPIN},
    {"turn", 1, NULL, TURN},
    {"clock", 1, NULL, CLOCK},
    {0},
};

#define MIN_TURN 1000000   // ns

_Noreturn static void refuse(const char *what) {
  fprintf(stderr, "bench_load: %s\n%s", what, usage);
  exit(2);
}

static void take_word(struct bn_options *o, int word, const char *value) {
  if (!value) value = "";   // --count, --spin
  unsigned number = (unsigned)strtoul(value, NULL, 10);
  switch (word) {
  case DIALECT:
    if (!(o->dialect = bn_dialect_find(value))) refuse("no such dialect");
    break;
  case URL:
    if (o->target_count == BN_TARGETS || !bn_target_parse(&o->targets[o->target_count++], value)) refuse("bad --url");
    break;
  case PUBLISH:
    if (!bn_target_parse(&o->publish, value)) refuse("bad --publish-url");
    o->publish_given = true;
    break;
  case PIDS:
    if (o->group_count == BN_GROUPS || !bn_group_parse(&o->groups[o->group_count++], value)) refuse("bad --pids");
    break;
  case CLIENTS: o->clients = number; break;
  case CHANNELS: o->channels = number; break;
  case IN_FLIGHT: o->in_flight = number; break;
  case RATE: o->rate = strtod(value, NULL); break;
  case WARM: o->warm = strtod(value, NULL); break;
  case SECONDS: o->seconds = strtod(value, NULL); break;
  case SETTLE: o->settle = strtod(value, NULL); break;
  case COUNT: o->count = true; break;
  case CONCURRENCY: o->concurrency = number; break;
  case BLOCK: o->block = number; break;
  case MISSED: o->missed = number; break;
  case OTHERS: o->others = number; break;
  case SLOW: o->slow = number; break;
  case PATIENCE: o->patience = strtod(value, NULL); break;
  case BASE: o->base = number; break;
  case PROCESSES: o->processes = number; break;
  case SOURCES: o->sources = number; break;
  case SPIN: o->spin = true; break;
  case TURN:
    o->turn = (uint64_t)(strtod(value, NULL) * 1e9);
    if (o->turn < MIN_TURN) refuse("a turn is too short");
    break;
  case CLOCK: o->clock = value; break;
  default: refuse("bad option");
  }
}

static void read_options(struct bn_options *o, int argc, char **argv) {
  for (int word; (word = getopt_long(argc, argv, "", words, NULL)) != -1;) take_word(o, word, optarg);
  if (optind != argc - 1) refuse("one scenario is needed");
  o->scenario = argv[optind];
  if (!o->dialect || o->target_count == 0) refuse("--dialect and --url are needed");
  if (!o->publish_given) o->publish = o->targets[0];
  if (o->channels == 0 || o->clients == 0 || o->clients % o->channels) refuse("clients are shared equally by channels");
  if (o->in_flight == 0 || o->concurrency == 0 || o->block == 0) refuse("a number may not be 0");
  if (o->in_flight > BN_WINDOW / 2) refuse("too many in flight");
  if (o->processes > 1 && o->rate <= 0 && strcmp(o->scenario, "fanout") == 0) refuse("several processes need a --rate");
  if (o->processes > 1 && (o->spin || o->turn)) refuse("only one process spins, or takes turns");
  if (o->turn && strcmp(o->scenario, "fanout") != 0) refuse("only a fanout takes turns");
  if (o->clock && !o->turn) refuse("a clock is stopped for who takes turns");
  if (o->processes == 0 || o->processes > BN_PROCESSES) refuse("1 to 8 processes");
}

// -- the report ------------------------------------------------------------------------------------

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static void print_usage(const struct bn_options *o, const struct bn_result *r) {
  uint64_t first = o->clients;
  printf("  \"groups\": {");
  for (unsigned i = 0; i < o->group_count; i++) {
    const struct bn_usage *u = &r->used[i];
    double memory = (double)r->pss_after[i] - (double)r->pss_before[i];
    printf(
        "%s\n    \"%s\": {\"cpu_s\": %.6f, \"cpu_s_aside\": %.6f, \"cpu_us_per_delivery\": %.4f, \"pss_before\": %lu, "
        "\"pss_after\": %lu, \"pss_per_client\": %.1f",
        i ? "," : "", o->groups[i].name, (double)u->cpu / 1e9, (double)r->aside[i].cpu / 1e9,
        ratio((double)u->cpu / 1e3, (double)r->deliveries), (unsigned long)r->pss_before[i],
        (unsigned long)r->pss_after[i], memory / (double)first);
    if (u->calls >= 0)
      printf(", \"calls_per_delivery\": %.4f, \"calls\": %ld", ratio((double)u->calls, (double)r->deliveries),
             u->calls);
    if (u->instructions >= 0)
      printf(", \"instructions_per_delivery\": %.1f", ratio((double)u->instructions, (double)r->deliveries));
    printf("}");
  }
  printf("\n  },\n");
}

static void print_blocks(const struct bn_result *r) {
  printf("  \"blocks\": [");
  for (unsigned i = 1; i < r->block_count; i++) {
    const struct bn_block *a = &r->blocks[i - 1], *b = &r->blocks[i];
    double count = (double)(b->clients - a->clients);
    printf("%s{\"clients\": %u, \"cpu_us\": %.2f, \"per_second\": %.0f}", i > 1 ? ", " : "", b->clients,
           ratio((double)(b->cpu - a->cpu) / 1e3, count), ratio(count * 1e9, (double)(b->time - a->time)));
  }
  printf("],\n");
}

static void print_report(const struct bn_options *o, const struct bn_result *r, const struct bn_tally *t) {
  static const struct {
    const char *name;
    double share;
  } shares[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}};
  printf("{\n  \"scenario\": \"%s\", \"dialect\": \"%s\", \"clients\": %u, \"channels\": %u,\n", o->scenario,
         o->dialect->name, o->clients, o->channels);
  printf("  \"in_flight\": %u, \"rate\": %.0f, \"seconds\": %.3f,\n", o->rate > 0 ? 0 : o->in_flight, o->rate,
         (double)r->elapsed / 1e9);
  printf("  \"publishes\": %lu, \"deliveries\": %lu, \"per_second\": %.0f, \"per_frame\": %.2f, \"per_read\": %.2f,\n",
         (unsigned long)r->publishes, (unsigned long)r->deliveries, ratio((double)r->timely * 1e9, (double)r->elapsed),
         ratio((double)r->deliveries, (double)r->frames), ratio((double)r->deliveries, (double)r->reads));
  printf("  \"own_s\": %.3f, \"aside_s\": %.3f, \"pings\": %lu,\n", (double)r->own_time / 1e9,
         (double)r->aside_time / 1e9, (unsigned long)r->pings);
  printf("  \"connects_per_second\": %.0f, \"connect_cpu_us\": %.2f, \"publish_seconds\": %.3f,\n",
         ratio(o->clients * 1e9, (double)r->connect_time), (double)r->connect_cpu / 1e3 / o->clients,
         (double)r->publish_time / 1e9);
  print_blocks(r);
  print_usage(o, r);
  printf("  \"latency_ms\": {");
  for (unsigned i = 0; i < 4; i++)
    printf("\"%s\": %.4f, ", shares[i].name, (double)bn_latency_at(t, shares[i].share) / 1e6);
  printf("\"max\": %.4f},\n", (double)t->slowest / 1e6);
  printf("  \"total\": %lu, \"lost\": %ld, \"doubled\": %lu, \"disordered\": %lu, \"stray\": %lu\n}\n",
         (unsigned long)t->delivered, t->lost, t->doubled, t->disordered, t->stray);
}

// -- processes -------------------------------------------------------------------------------------

static struct bn_shared *share(const struct bn_options *o) {
  size_t size = sizeof(struct bn_shared) + o->channels * sizeof(atomic_uint);
  struct bn_shared *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  BX_BUG_ON(shared == MAP_FAILED);
  return shared;
}

static void start_followers(const struct bn_options *o, struct bn_shared *shared) {
  for (unsigned i = 1; i < o->processes; i++) {
    pid_t child = fork();
    BX_BUG_ON(child < 0);
    if (child > 0) continue;
    struct bn_load load;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bn_load_init(&load, o, shared, i);
    bn_load_follow(&load);
    exit(0);
  }
}

static void await_followers(const struct bn_options *o, struct bn_shared *shared) {
  for (unsigned i = 1; i < o->processes; i++) {
    int status;
    if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) bn_load_give_up("a process failed");
    bn_tally_add(&shared->tallies[0], &shared->tallies[i]);
  }
}

int main(int argc, char **argv) {
  struct bn_options o = {.clients = 100,
                         .channels = 1,
                         .in_flight = 1,
                         .warm = .5,
                         .seconds = 2,
                         .settle = .3,
                         .patience = 20,
                         .concurrency = 64,
                         .sources = 8,
                         .processes = 1,
                         .block = 1000};
  static struct bn_result result;
  struct bn_load load;
  struct rlimit files;
  read_options(&o, argc, argv);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct bn_shared *shared = share(&o);
  start_followers(&o, shared);
  bn_load_init(&load, &o, shared, 0);
  if (!bn_scenario_run(&load, &result)) refuse("no such scenario");
  bn_load_enter(&load, BN_END);
  bn_load_finish(&load);
  await_followers(&o, shared);
  const struct bn_tally *all = &shared->tallies[0];
  print_report(&o, &result, all);
  return all->lost || all->doubled || all->disordered || all->stray ? 3 : 0;
}
