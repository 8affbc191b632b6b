// SPDX-License-Identifier: Apache-2.0
// The module bench_clock, which a server is started with (LD_PRELOAD): clock_gettime of a clock that can be stopped.
#include "tests/bench/load/clock.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int get_time(clockid_t, struct timespec *);

static bn_clock *clock_word;

__attribute__((constructor)) static void map(void) {
  const char *path = getenv("BENCH_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *word = mmap(NULL, sizeof *clock_word, PROT_READ, MAP_SHARED, fd, 0);
  if (word != MAP_FAILED) clock_word = word;
  close(fd);
}

static get_time *real(void) {
  static _Atomic(get_time *) found;
  get_time *get = found;
  if (!get) found = get = (get_time *)dlsym(RTLD_NEXT, "clock_gettime");
  return get;
}

static uint64_t ns_of(const struct timespec *t) { return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec; }

static bool is_stopped_too(clockid_t id) {
  return id == CLOCK_MONOTONIC || id == CLOCK_REALTIME || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_REALTIME_COARSE;
}

// Of the word as it was when the time was read.
static uint64_t behind(uint64_t word, clockid_t id, const struct timespec *t) {
  struct timespec now = *t;
  if (!(word & BN_CLOCK_STILL)) return word;
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) real()(CLOCK_MONOTONIC, &now);
  return bn_clock_behind(word, ns_of(&now));
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *t) {
  uint64_t word;
  do {
    word = clock_word ? *clock_word : 0;
    int result = real()(id, t);
    if (result != 0 || word == 0 || !is_stopped_too(id)) return result;
  } while (word != *clock_word);
  uint64_t shown = ns_of(t) - behind(word, id, t);
  *t = (struct timespec){(time_t)(shown / 1000000000), (long)(shown % 1000000000)};
  return 0;
}

// Redis tells its time by this one.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
