// SPDX-License-Identifier: Apache-2.0
// Reads /proc, process clocks and perf counters.
#include <dirent.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load/measure.h"

static uint64_t read_clock(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t) != 0) return 0;
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bn_now(void) { return read_clock(CLOCK_MONOTONIC); }

bool bn_group_parse(struct bn_group *g, const char *text) {
  const char *equals = strchr(text, '=');
  int len = equals ? (int)(equals - text) : 6;
  snprintf(g->name, sizeof g->name, "%.*s", len, equals ? text : "server");
  for (const char *at = equals ? equals + 1 : text; *at;) {
    char *end;
    long pid = strtol(at, &end, 10);
    if (end == at || pid <= 0 || g->count == BN_PIDS || (*end && *end != ',')) return false;
    g->pids[g->count++] = (int)pid;
    at = *end ? end + 1 : end;
  }
  return g->count > 0;
}

// -- perf ------------------------------------------------------------------------------------------

static uint64_t syscall_tracepoint(void) {
  unsigned long id = 0;
  FILE *f = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "r");
  if (!f) f = fopen("/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id", "r");
  if (!f) return 0;
  if (fscanf(f, "%lu", &id) != 1) id = 0;
  fclose(f);
  return id;
}

static int open_counter(uint32_t type, uint64_t config, int tid) {
  struct perf_event_attr attr = {.type = type, .size = sizeof attr, .config = config, .inherit = 1};
  attr.exclude_kernel = type == PERF_TYPE_HARDWARE;
  return (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static void count_thread(struct bn_group *g, uint64_t tracepoint, int tid) {
  if (g->counters == sizeof g->calls / sizeof *g->calls) return;
  g->calls[g->counters] = tracepoint ? open_counter(PERF_TYPE_TRACEPOINT, tracepoint, tid) : -1;
  g->instructions[g->counters] = open_counter(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, tid);
  g->counters++;
}

void bn_group_count(struct bn_group *g) {
  uint64_t tracepoint = syscall_tracepoint();
  for (unsigned i = 0; i < g->count; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", g->pids[i]);
    DIR *tasks = opendir(path);
    if (!tasks) continue;
    for (struct dirent *each; (each = readdir(tasks));)
      if (each->d_name[0] != '.') count_thread(g, tracepoint, atoi(each->d_name));
    closedir(tasks);
  }
}

static long sum(const int *counters, unsigned count) {
  long all = 0;
  for (unsigned i = 0; i < count; i++) {
    uint64_t value;
    if (counters[i] < 0 || read(counters[i], &value, sizeof value) != sizeof value) return -1;
    all += (long)value;
  }
  return count ? all : -1;
}

// -- what was used ---------------------------------------------------------------------------------

void bn_group_read(const struct bn_group *g, struct bn_usage *u) {
  *u = (struct bn_usage){.calls = sum(g->calls, g->counters), .instructions = sum(g->instructions, g->counters)};
  for (unsigned i = 0; i < g->count; i++) {
    clockid_t clock;
    if (clock_getcpuclockid(g->pids[i], &clock) == 0) u->cpu += read_clock(clock);
  }
}

static void add_counted(long *sum, long from, long to) {
  *sum = *sum < 0 || from < 0 || to < 0 ? -1 : *sum + to - from;
}

void bn_usage_add(struct bn_usage *u, const struct bn_usage *from, const struct bn_usage *to) {
  u->cpu += to->cpu - from->cpu;
  add_counted(&u->calls, from->calls, to->calls);
  add_counted(&u->instructions, from->instructions, to->instructions);
}

uint64_t bn_group_pss(const struct bn_group *g) {
  uint64_t bytes = 0;
  for (unsigned i = 0; i < g->count; i++) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", g->pids[i]);
    FILE *f = fopen(path, "r");
    unsigned long kb;
    while (f && fgets(line, sizeof line, f))
      if (sscanf(line, "Pss: %lu kB", &kb) == 1) bytes += (uint64_t)kb * 1024;
    if (f) fclose(f);
  }
  return bytes;
}
