// SPDX-License-Identifier: Apache-2.0
// The scenarios, each as a script of process 0:
//
//   fanout    subscribers of one or many channels; so many messages in flight, or a fixed rate
//   idle      clients that do nothing but what keeps them alive
//   connect   what a client costs until it is subscribed, in blocks
//   storm     all clients are cut off, miss messages, and come back with their ids
//   slow      a share of the clients does not read while messages flow at a fixed rate
#include "tests/bench/load/load.h"

#define SECOND 1000000000ull
#define OTHER_CHANNELS 1000   // of messages that nobody here has subscribed to
#define ACKS_OWED 256

static uint64_t seconds(double s) { return (uint64_t)(s * 1e9); }

static void read_usage(const struct bn_load *load, struct bn_usage usage[BN_GROUPS]) {
  for (unsigned i = 0; i < load->options->group_count; i++) bn_group_read(&load->options->groups[i], &usage[i]);
}

// From now on.
static void use(const struct bn_load *load, struct bn_result *r) {
  r->last_time = bn_now();
  read_usage(load, r->last);
}

static void add_use(const struct bn_load *load, struct bn_result *r, struct bn_usage sums[BN_GROUPS], uint64_t *time) {
  struct bn_usage from[BN_GROUPS];
  uint64_t began = r->last_time;
  memcpy(from, r->last, sizeof from);
  use(load, r);
  *time += r->last_time - began;
  for (unsigned i = 0; i < load->options->group_count; i++) bn_usage_add(&sums[i], &from[i], &r->last[i]);
}

static void used(const struct bn_load *load, struct bn_result *r) { add_use(load, r, r->used, &r->own_time); }
static void used_aside(const struct bn_load *load, struct bn_result *r) { add_use(load, r, r->aside, &r->aside_time); }

static void read_pss(const struct bn_load *load, uint64_t pss[BN_GROUPS]) {
  for (unsigned i = 0; i < load->options->group_count; i++) pss[i] = bn_group_pss(&load->options->groups[i]);
}

static uint64_t read_cpu(const struct bn_load *load) {
  struct bn_usage usage[BN_GROUPS] = {0};
  read_usage(load, usage);
  return usage[0].cpu;
}

static void pause_for(struct bn_load *load, double time) {
  uint64_t end = bn_now() + seconds(time);
  for (uint64_t now; (now = bn_now()) < end;) bn_load_turn(load, end - now);
}

// Until `value` has reached the goal; gives up when it does not move any more.
static bool await(struct bn_load *load, unsigned long (*value)(const struct bn_load *), unsigned long goal) {
  unsigned long last = value(load);
  for (uint64_t since = bn_now(); value(load) < goal;) {
    bn_load_turn(load, SECOND / 100);
    if (value(load) != last) {
      last = value(load);
      since = bn_now();
    } else if (bn_now() - since > seconds(load->options->patience)) {
      return false;
    }
  }
  return true;
}

// -- connecting ------------------------------------------------------------------------------------

static unsigned long publishers_ready(const struct bn_load *load) { return load->publishers_ready; }

static void connect_publishers(struct bn_load *load) {
  for (unsigned i = 0; i < load->publisher_count; i++) {
    bn_conn_open(&load->publishers[i]);
    if (i % 64 == 63 && !await(load, publishers_ready, i - 32)) bn_load_give_up("the publishers do not become ready");
  }
  if (!await(load, publishers_ready, load->publisher_count)) bn_load_give_up("the publishers do not become ready");
}

static void end_block(const struct bn_load *load, struct bn_result *r) {
  if (r->block_count == BN_BLOCKS) return;
  r->blocks[r->block_count++] = (struct bn_block){(unsigned)bn_load_are_ready(load), bn_now(), read_cpu(load)};
}

static void connect_all(struct bn_load *load, struct bn_result *r) {
  const struct bn_options *o = load->options;
  uint64_t began = bn_now(), cpu = read_cpu(load);
  bn_load_enter(load, BN_CONNECT);
  end_block(load, r);
  for (unsigned goal = o->block; goal < o->clients; goal += o->block) {
    if (!await(load, bn_load_are_ready, goal)) break;
    end_block(load, r);
  }
  if (!await(load, bn_load_are_ready, o->clients)) bn_load_give_up("the clients do not become ready");
  end_block(load, r);
  r->connect_time = bn_now() - began;
  r->connect_cpu = read_cpu(load) - cpu;
  bn_load_enter(load, BN_RUN);
}

static void set_up(struct bn_load *load, struct bn_result *r) {
  pause_for(load, load->options->settle);
  read_pss(load, r->pss_before);
  connect_publishers(load);
  connect_all(load, r);
  pause_for(load, load->options->settle);
  read_pss(load, r->pss_after);
}

// -- messages --------------------------------------------------------------------------------------

static void publish_next(struct bn_load *load, uint64_t due) {
  bn_load_publish(load, (uint32_t)(load->published % load->options->channels), due);
}

// So many in flight: the next is published when one has come to all.
static void fill_window(struct bn_load *load) {
  for (uint64_t count = bn_load_in_flight(load); count < load->options->in_flight; count++)
    publish_next(load, bn_now());
}

// Until `end`; publishes until `last`.
static void send_until(struct bn_load *load, uint64_t last, uint64_t end) {
  const struct bn_options *o = load->options;
  uint64_t fan = o->clients / o->channels, due = bn_now(), wait;
  uint64_t interval = o->rate > 0 ? (uint64_t)(1e9 * (double)fan / o->rate) : 0;
  for (uint64_t now; (now = bn_now()) < end;) {
    wait = end - now;
    if (now < last && interval) {
      for (; due <= now; due += interval) publish_next(load, due);   // due, not now: a late sender hides nothing
      if (due < end) wait = due - now;
    } else if (now < last) {
      fill_window(load);
    }
    bn_load_turn(load, wait < SECOND / 100 ? wait : SECOND / 100);
  }
}

static void lie_down(struct bn_load *load) {
  load->resting = true;
  bn_turns_stop_clock(&load->turns, bn_now());
}

static void get_up(struct bn_load *load) {
  load->resting = false;
  bn_turns_start_clock(&load->turns, bn_now());
}

// Until its turn comes.
static void rest(struct bn_load *load) {
  lie_down(load);
  for (uint64_t wait; (wait = bn_turns_wait(&load->turns, bn_now())) > 0;) bn_load_turn(load, wait);
  get_up(load);
}

// Publishes until `last`, and adds that time, what was delivered in it, and what the server used until `end`.
static void work(struct bn_load *load, struct bn_result *r, uint64_t last, uint64_t end) {
  uint64_t began = bn_now(), delivered = bn_load_delivered(load);
  send_until(load, last, last);
  r->elapsed += bn_now() - began;
  r->timely += bn_load_delivered(load) - delivered;
  send_until(load, last, end);
  used(load, r);
}

// For so long, or in turns that come to that.
static void send_for(struct bn_load *load, struct bn_result *r, double time) {
  if (!load->options->turn) {
    uint64_t end = bn_now() + seconds(time);
    work(load, r, end, end);
    return;
  }
  for (unsigned left = bn_turns_of(&load->turns, seconds(time)); left > 0; left--) {
    rest(load);
    used_aside(load, r);
    uint64_t now = bn_now();
    work(load, r, bn_turns_last(&load->turns, now), bn_turns_end(&load->turns, now));
  }
}

static void warm_up(struct bn_load *load) {
  static struct bn_result unsaid;
  const struct bn_options *o = load->options;
  if (o->clock && !bn_turns_clock(&load->turns, o->clock)) bn_load_give_up("no such clock");
  if (o->turn && !bn_turns_meet(&load->turns, o->turn)) bn_load_give_up("nobody says when turns begin");
  send_for(load, &unsaid, o->warm);
}

// Adds up frames and reads of all processes.
static void add_frames(const struct bn_load *load, struct bn_result *r, int sign) {
  for (unsigned i = 0; i < load->options->processes; i++) {
    r->frames += (uint64_t)sign * load->shared->tallies[i].frames;
    r->reads += (uint64_t)sign * load->shared->tallies[i].reads;
  }
}

static void measure(struct bn_load *load, struct bn_result *r) {
  uint64_t delivered = bn_load_delivered(load), published = load->published;
  add_frames(load, r, -1);
  r->pings = load->net.pings;
  use(load, r);
  load->shared->from = bn_now();
  load->shared->to = UINT64_MAX;
  send_for(load, r, load->options->seconds);
  load->shared->to = bn_now();
  r->deliveries = bn_load_delivered(load) - delivered;
  add_frames(load, r, 1);
  r->pings = load->net.pings - r->pings;
  r->publishes = load->published - published;
}

// While the others have their last turns.
static void stand_by(struct bn_load *load) {
  if (!load->options->turn) return;
  lie_down(load);
  pause_for(load, (double)(load->turns.count * load->turns.time) / 1e9);
  get_up(load);
}

// What is still under way. What never comes is counted as lost.
static void drain(struct bn_load *load) {
  uint64_t fan = load->options->clients / load->options->channels;
  await(load, bn_load_delivered, load->published * fan);
  pause_for(load, load->options->settle);   // for what comes twice
}

static void count_if_asked(struct bn_load *load) {
  const struct bn_options *o = load->options;
  for (unsigned i = 0; o->count && i < o->group_count; i++) bn_group_count((struct bn_group *)&o->groups[i]);
}

static void fanout(struct bn_load *load, struct bn_result *r) {
  set_up(load, r);
  warm_up(load);
  count_if_asked(load);
  measure(load, r);
  stand_by(load);
  drain(load);
}

static void slow(struct bn_load *load, struct bn_result *r) {
  set_up(load, r);
  warm_up(load);
  drain(load);
  bn_load_enter(load, BN_DEAF);
  measure(load, r);
  bn_load_enter(load, BN_HEAR);
  drain(load);
}

static void idle(struct bn_load *load, struct bn_result *r) {
  set_up(load, r);
  pause_for(load, load->options->warm);
  count_if_asked(load);
  uint64_t began = bn_now();
  use(load, r);
  pause_for(load, load->options->seconds);
  used(load, r);
  r->elapsed = bn_now() - began;
}

static void connecting(struct bn_load *load, struct bn_result *r) {
  pause_for(load, load->options->settle);
  count_if_asked(load);
  read_pss(load, r->pss_before);
  use(load, r);
  connect_all(load, r);
  used(load, r);
  r->elapsed = r->connect_time;
  read_pss(load, r->pss_after);
}

// -- the storm -------------------------------------------------------------------------------------

static unsigned long acks(const struct bn_load *load) { return load->tally->acks; }

// Each client's messages, and those of others between them.
static void publish_missed(struct bn_load *load) {
  const struct bn_options *o = load->options;
  uint64_t owed = acks(load), all = (uint64_t)o->missed * o->channels, others = 0;
  for (uint64_t i = 0; i < all; i++) {
    publish_next(load, bn_now());
    owed++;
    for (; others * all < (uint64_t)o->others * (i + 1); others++, owed++)
      bn_load_publish_aside(load, (uint32_t)(others % OTHER_CHANNELS));
    if (owed > acks(load) + ACKS_OWED && !await(load, acks, owed - ACKS_OWED / 2))
      bn_load_give_up("publishes are not acknowledged");
  }
  if (!await(load, acks, owed)) bn_load_give_up("publishes are not acknowledged");
}

static void storm(struct bn_load *load, struct bn_result *r) {
  set_up(load, r);
  bn_load_enter(load, BN_CUT);
  pause_for(load, load->options->settle);
  uint64_t began = bn_now();
  publish_missed(load);
  r->publish_time = bn_now() - began;
  count_if_asked(load);
  began = bn_now();
  load->shared->from = 0;
  use(load, r);
  bn_load_enter(load, BN_RESUME);
  await(load, bn_load_delivered, load->published * (load->options->clients / load->options->channels));
  used(load, r);
  r->elapsed = bn_now() - began;
  r->deliveries = r->timely = bn_load_delivered(load);
  pause_for(load, load->options->settle);
}

bool bn_scenario_run(struct bn_load *load, struct bn_result *r) {
  static const struct {
    const char *name;
    void (*run)(struct bn_load *, struct bn_result *);
  } scenarios[] = {{"fanout", fanout}, {"idle", idle}, {"connect", connecting}, {"storm", storm}, {"slow", slow}};
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
    if (strcmp(scenarios[i].name, load->options->scenario) != 0) continue;
    scenarios[i].run(load, r);
    return true;
  }
  return false;
}
