// SPDX-License-Identifier: Apache-2.0
// One run: its queue of events, its random numbers, its phases. See sim.h.
#include "tests/simulation/sim.h"

#include <stdarg.h>

#define WILD 22000   // ms of faults
#define CALM 18000   // ms in which everything heals and all that is missing comes
#define GONE 45000   // ms after which nothing of the clients is left in Redis

// -- random numbers: xorshift64* --------------------------------------------------------------------

uint64_t sim_random(struct sim *s) {
  s->random ^= s->random >> 12;
  s->random ^= s->random << 25;
  s->random ^= s->random >> 27;
  return s->random * 0x2545F4914F6CDD1Dull;
}

uint64_t sim_uniform(struct sim *s, uint64_t low, uint64_t high) {
  return low + (uint64_t)((__uint128_t)sim_random(s) * (high - low + 1) >> 64);
}

bool sim_chance(struct sim *s, unsigned percent) { return sim_uniform(s, 0, 99) < percent; }

// -- memory of the run ------------------------------------------------------------------------------

void *sim_new(struct sim *s, size_t size) {
  struct bx_list *block = bx_alloc(sizeof *block + size);

  bx_list_append(&s->arena, block);
  return block + 1;
}

struct bx_slice sim_keep(struct sim *s, struct bx_slice text) {
  char *copy = sim_new(s, text.len + 1);

  if (text.len > 0) memcpy(copy, text.at, text.len);
  return (struct bx_slice){copy, text.len};
}

// -- the queue: a heap by time, then by order of arrival --------------------------------------------

static bool before(const struct sim_event *a, const struct sim_event *b) {
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(struct sim_event *a, struct sim_event *b) {
  struct sim_event c = *a;

  *a = *b;
  *b = c;
}

void sim_at(struct sim *s, sim_time at, sim_fire *fire, void *what) {
  size_t i = s->heap_count++;

  if (s->heap_count > s->heap_cap) {
    s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 256;
    s->heap = bx_realloc(s->heap, s->heap_cap * sizeof *s->heap);
  }
  s->heap[i] = (struct sim_event){at < s->now ? s->now : at, ++s->order, fire, what};
  for (; i > 0 && before(&s->heap[i], &s->heap[(i - 1) / 2]); i = (i - 1) / 2) swap(&s->heap[i], &s->heap[(i - 1) / 2]);
}

static struct sim_event take(struct sim *s) {
  struct sim_event top = s->heap[0];

  s->heap[0] = s->heap[--s->heap_count];
  for (size_t i = 0;;) {
    size_t least = i;

    for (size_t k = 2 * i + 1; k < 2 * i + 3 && k < s->heap_count; k++)
      if (before(&s->heap[k], &s->heap[least])) least = k;
    if (least == i) return top;
    swap(&s->heap[i], &s->heap[least]);
    i = least;
  }
}

// -- telling ----------------------------------------------------------------------------------------

void sim_trace(struct sim *s, const char *format, ...) {
  va_list arguments;

  printf("%10.3f %7llu ", (double)s->now / 1000, (unsigned long long)s->step);
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
}

void sim_fail(struct sim *s, const char *invariant, const char *format, ...) {
  va_list arguments;

  if (s->failed) return;
  s->failed = true;
  snprintf(s->invariant, sizeof s->invariant, "%s", invariant);
  va_start(arguments, format);
  vsnprintf(s->message, sizeof s->message, format, arguments);
  va_end(arguments);
  SIM_TRACE(s, "FAILED %s: %s", s->invariant, s->message);
}

// -- phases -----------------------------------------------------------------------------------------

static void calm(struct sim *s, void *unused) {
  (void)unused;
  SIM_TRACE(s, "-- calm: no more faults");
  s->calm = true;
  sim_fault_heal(s);
}

static void leave(struct sim *s, void *unused) {
  (void)unused;
  sim_ledger_complete(s);
  sim_check_end(s);
  SIM_TRACE(s, "-- everybody leaves");
  s->leaving = true;
  for (unsigned i = 0; i < s->client_count; i++) sim_client_leave(&s->clients[i], sim_chance(s, 50));
}

static void over(struct sim *s, void *unused) {
  (void)unused;
  sim_check_gone(s);
  s->stopped = true;
}

// What kind of run this is: most have one kind of fault, some have all, some have none.
static unsigned choose_faults(struct sim *s) {
  static const unsigned profiles[] = {
      0,
      SIM_CUTS,
      SIM_CUTS | SIM_DOUBLES,
      SIM_DROPS,
      SIM_STALLS | SIM_CUTS,
      SIM_CRASHES,
      SIM_CRASHES | SIM_CUTS | SIM_STALLS,
      SIM_PAUSES | SIM_DROPS,
      SIM_RESTARTS | SIM_CUTS,
      SIM_ROLLBACKS,
      SIM_ROLLBACKS | SIM_CRASHES | SIM_CUTS,
      SIM_FLUSHES,
      SIM_CLOCKS | SIM_CUTS,
      SIM_LEAVES,
      SIM_LEAVES | SIM_CUTS | SIM_DROPS | SIM_STALLS,
      SIM_FULL | SIM_CRASHES | SIM_CUTS,
      SIM_TRIMS | SIM_STALLS | SIM_CUTS,
      SIM_TRIMS | SIM_DROPS | SIM_CRASHES | SIM_ROLLBACKS,
      SIM_CUTS | SIM_DROPS | SIM_STALLS | SIM_CRASHES | SIM_PAUSES | SIM_RESTARTS,
      ~0u,
  };
  return profiles[s->seed % (sizeof profiles / sizeof profiles[0])];
}

static void start(struct sim *s) {
  s->random = s->seed * 0x9E3779B97F4A7C15ull + 0x1234567;
  for (int i = 0; i < 8; i++) sim_random(s);
  bx_list_init(&s->arena);
  s->faults = choose_faults(s);
  s->ring = s->faults & SIM_TRIMS ? sim_uniform(s, 20, 60) : 100000;
  s->node_count = s->seed % 7 == 0 ? 1 : (unsigned)sim_uniform(s, 2, SIM_NODES);
  s->client_count = (unsigned)sim_uniform(s, 2, SIM_CLIENTS);
  SIM_TRACE(s, "seed %llu: %u nodes, %u clients, faults %#x", (unsigned long long)s->seed, s->node_count,
            s->client_count, s->faults);
  sim_redis_start(s);
  if (s->faults & SIM_TRIMS) s->redis.model->trim_step = 10;
  for (unsigned i = 0; i < s->node_count; i++) sim_node_start(s, i);
  for (unsigned i = 0; i < s->client_count; i++) sim_client_start(s, i);
  sim_in(s, SIM_MS(1500), sim_publisher_act, NULL);
  sim_fault_start(s);
  sim_at(s, SIM_MS(WILD), calm, NULL);
  sim_at(s, SIM_MS(WILD + CALM), leave, NULL);
  sim_at(s, SIM_MS(WILD + CALM + GONE), over, NULL);
}

static void finish(struct sim *s) {
  struct bx_list *block;

  s->stopped = true;
  for (unsigned i = 0; i < s->nodes_made; i++) sim_node_destroy(s->all_nodes[i]);
  sim_redis_stop(s);
  bx_free(s->heap);
  s->totals->steps += s->step;
  while ((block = bx_list_take(&s->arena)) != NULL) bx_free(block);
}

bool sim_run(struct sim *s) {
  start(s);
  while (!s->failed && !s->stopped && s->heap_count > 0 && (s->max_steps == 0 || s->step < s->max_steps)) {
    struct sim_event e = take(s);

    s->now = e.at;
    s->step++;
    e.fire(s, e.what);
  }
  finish(s);
  return !s->failed;
}
