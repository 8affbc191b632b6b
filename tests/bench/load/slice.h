// SPDX-License-Identifier: Apache-2.0
// What is measured, in slices: where a core is gauged, those count in which it was left alone (gauge.h).
#pragma once

#include "tests/bench/load/load.h"

enum { BN_SLICE = 20000000 };   // ns; of the load of 1,000 clients a few fan-outs

struct bn_slice {
  uint64_t began, delivered, published, frames, reads;
  struct bn_usage usage[BN_GROUPS];
  struct bn_latency latency;
  struct bn_gauge gauge;
};

void bn_slice_begin(struct bn_slice *, const struct bn_load *);
// Adds what has happened since then to what is said of the run.
void bn_slice_end(const struct bn_slice *, const struct bn_load *, struct bn_result *);
// As much as was asked for has passed: of what counts, or the most time that it may take. Without a gauge all counts.
bool bn_slices_suffice(const struct bn_options *, const struct bn_result *);
// What counts, where it is at least half of what was asked for; else all.
const struct bn_sum *bn_slices_said(const struct bn_options *, const struct bn_result *);
