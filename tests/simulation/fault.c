// SPDX-License-Identifier: Apache-2.0
// What goes wrong, and when.
#include "tests/simulation/sim.h"

static void strike(struct sim *, void *unused);

static struct sim_node *some_node(struct sim *s) { return s->nodes[sim_uniform(s, 0, s->node_count - 1)]; }

static void trouble(struct sim *s, sim_time until) {
  if (until > s->last_trouble) s->last_trouble = until;
}

static void cut(struct sim *s) {
  struct sim_client *c = &s->clients[sim_uniform(s, 0, s->client_count - 1)];
  struct sim_wire *w = c->errand_wire != NULL && sim_chance(s, 20) ? c->errand_wire : c->wire;

  if (w != NULL) sim_client_cut(c, w, sim_chance(s, 50) ? SIM_CUT_RESET : SIM_CUT_SILENT);
}

static void twice(struct sim *s) { sim_client_double(&s->clients[sim_uniform(s, 0, s->client_count - 1)]); }

static void drop(struct sim *s) {
  enum er_which which = sim_chance(s, 65) ? ER_COMMAND : ER_TAIL;
  struct sim_node *n = some_node(s);

  if (sim_chance(s, 60)) {
    trouble(s, s->now);
    sim_link_drop(s, n, which, "fault");
  } else {
    sim_time until = s->now + SIM_MS(sim_uniform(s, 50, 4000));
    trouble(s, until);
    sim_link_freeze(s, n, which, until);
  }
}

static void stall(struct sim *s) {
  sim_time until = s->now + SIM_MS(sim_chance(s, 60) ? sim_uniform(s, 100, 2500) : sim_uniform(s, 2500, 9000));

  trouble(s, until);
  sim_node_stall(s, some_node(s), until);
}

static void crash(struct sim *s) { sim_node_crash(s, (unsigned)sim_uniform(s, 0, s->node_count - 1)); }

static void leave(struct sim *s) { sim_node_leave(s, (unsigned)sim_uniform(s, 0, s->node_count - 1)); }

static void has_room(struct sim *s, void *unused) {
  (void)unused;
  SIM_TRACE(s, "redis has memory again");
  s->redis.model->full = false;
}

static void fill(struct sim *s) {
  if (s->redis.model->full) return;
  SIM_TRACE(s, "redis is full");
  s->totals->fulls++;
  s->redis.model->full = true;
  sim_in(s, SIM_MS(sim_uniform(s, 100, 5000)), has_room, NULL);
}

static void go_on(struct sim *s, void *unused) {
  (void)unused;
  sim_redis_pause(s, false);
}

static void pause(struct sim *s) {
  sim_time time = SIM_MS(sim_uniform(s, 100, 6000));

  if (s->redis.paused || s->redis.down) return;
  s->totals->pauses++;
  trouble(s, s->now + time);
  sim_redis_pause(s, true);
  sim_in(s, time, go_on, NULL);
}

static void restart(struct sim *s) {
  sim_time time = SIM_MS(sim_uniform(s, 50, 3000));

  if (s->redis.down) return;
  s->totals->restarts++;
  trouble(s, s->now + time);
  sim_redis_crash(s, time, NULL);
}

static void fail_over(struct sim *s, void *unused) {
  sim_time time = SIM_MS(sim_uniform(s, 50, 3000));

  (void)unused;
  if (s->redis.replica == NULL || s->redis.down || s->calm) return;
  s->totals->rollbacks++;
  trouble(s, s->now + time);
  sim_redis_crash(s, time, s->redis.replica);
  sim_snapshot_destroy(s->redis.replica);
  s->redis.replica = NULL;
}

// The replica stands where the primary is now; by the time it takes over it lags.
static void lag(struct sim *s) {
  if (s->redis.replica != NULL || s->redis.down) return;
  s->redis.replica = sim_redis_snapshot(s->redis.model);
  sim_in(s, SIM_MS(sim_chance(s, 50) ? sim_uniform(s, 1, 50) : sim_uniform(s, 50, 1500)), fail_over, NULL);
}

static void flush(struct sim *s) {
  if (s->redis.down) return;
  s->totals->flushes++;
  trouble(s, s->now);
  sim_redis_flush(s);
}

static void jump(struct sim *s) {
  struct sim_node *n = some_node(s);

  trouble(s, s->now);
  if (sim_chance(s, 50)) {
    int64_t by = (int64_t)sim_uniform(s, 0, 10000000) - 5000000;

    SIM_TRACE(s, "redis' clock jumps by %.0f ms", (double)by / 1000);
    s->redis.clock_offset += by;
  } else {
    uint64_t by = sim_uniform(s, 100, 6000);

    SIM_TRACE(s, "%s's clock jumps by %llu ms", n->name, (unsigned long long)by);
    n->clock_offset += (int64_t)by;
    sim_node_woken(n);
  }
}

static const struct {
  unsigned fault;
  unsigned weight;
  void (*strike)(struct sim *);
} faults[] = {
    {SIM_CUTS, 12, cut},     {SIM_DOUBLES, 8, twice}, {SIM_DROPS, 6, drop},       {SIM_STALLS, 3, stall},
    {SIM_CRASHES, 2, crash}, {SIM_PAUSES, 2, pause},  {SIM_RESTARTS, 1, restart}, {SIM_ROLLBACKS, 1, lag},
    {SIM_FLUSHES, 1, flush}, {SIM_CLOCKS, 2, jump},   {SIM_LEAVES, 2, leave},     {SIM_FULL, 2, fill},
};

static void strike(struct sim *s, void *unused) {
  unsigned sum = 0;
  uint64_t dice;

  (void)unused;
  if (s->calm) return;
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
    sum += s->faults & faults[i].fault ? faults[i].weight : 0;
  dice = sim_uniform(s, 0, sum - 1);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    unsigned weight = s->faults & faults[i].fault ? faults[i].weight : 0;

    if (dice >= weight) {
      dice -= weight;
      continue;
    }
    faults[i].strike(s);
    break;
  }
  // The rarer kinds alone strike every few seconds, the common ones more often.
  sim_in(s, SIM_MS(sum < 5 ? sim_uniform(s, 1000, 7000) : sim_uniform(s, 50, 1500)), strike, NULL);
}

void sim_fault_start(struct sim *s) {
  if (s->faults != 0) sim_in(s, SIM_MS(sim_uniform(s, 1000, 5000)), strike, NULL);
}

// What was begun ends by itself, within seconds; nothing new begins.
void sim_fault_heal(struct sim *s) {
  sim_redis_pause(s, false);
  s->redis.model->full = false;
  sim_snapshot_destroy(s->redis.replica);
  s->redis.replica = NULL;
}
