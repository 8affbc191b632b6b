// SPDX-License-Identifier: Apache-2.0
// Slices, and their sums.
#include "tests/bench/load/slice.h"

static void read_usage(const struct bn_load *load, struct bn_usage usage[BN_GROUPS]) {
  for (unsigned i = 0; i < load->options->group_count; i++) bn_group_read(&load->options->groups[i], &usage[i]);
}

void bn_slice_begin(struct bn_slice *s, const struct bn_load *load) {
  const struct bn_shared *shared = load->shared;
  *s = (struct bn_slice){.delivered = bn_load_delivered(load), .published = load->published, .gauge = shared->gauge};
  for (unsigned i = 0; i < load->options->processes; i++) {
    s->frames += shared->tallies[i].frames;
    s->reads += shared->tallies[i].reads;
    bn_latency_join(&s->latency, &shared->tallies[i].latency, 1);
  }
  read_usage(load, s->usage);
  s->began = bn_now();
}

static void add(struct bn_sum *sum, const struct bn_slice *from, const struct bn_slice *to) {
  sum->elapsed += to->began - from->began;
  sum->deliveries += to->delivered - from->delivered;
  sum->publishes += to->published - from->published;
  sum->frames += to->frames - from->frames;
  sum->reads += to->reads - from->reads;
  bn_latency_join(&sum->latency, &to->latency, 1);
  bn_latency_join(&sum->latency, &from->latency, -1);
  for (unsigned i = 0; i < BN_GROUPS; i++) {
    const struct bn_usage *a = &from->usage[i], *b = &to->usage[i];
    struct bn_usage *u = &sum->used[i];
    bool counted = u->calls >= 0 && a->calls >= 0 && b->calls >= 0;
    u->cpu += b->cpu - a->cpu;
    u->calls = counted ? u->calls + b->calls - a->calls : -1;
    counted = u->instructions >= 0 && a->instructions >= 0 && b->instructions >= 0;
    u->instructions = counted ? u->instructions + b->instructions - a->instructions : -1;
  }
}

void bn_slice_end(const struct bn_slice *s, const struct bn_load *load, struct bn_result *r) {
  static struct bn_slice now;
  bn_slice_begin(&now, load);
  add(&r->all, s, &now);
  if (load->options->gauged && bn_gauge_was_alone(&now.gauge, &s->gauge, load->options->pace)) add(&r->alone, s, &now);
}

bool bn_slices_suffice(const struct bn_options *o, const struct bn_result *r) {
  double all = (double)r->all.elapsed / 1e9, alone = (double)r->alone.elapsed / 1e9;
  return all >= (o->gauged ? o->limit : o->seconds) || alone >= o->seconds;
}

const struct bn_sum *bn_slices_said(const struct bn_options *o, const struct bn_result *r) {
  return o->gauged && !o->count && (double)r->alone.elapsed / 1e9 >= o->seconds / 2 ? &r->alone : &r->all;
}
