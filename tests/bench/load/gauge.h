// SPDX-License-Identifier: Apache-2.0
// Whether a core was left alone. The other half of a virtual machine's core may be somebody else's: what runs
// there slows this half down by up to a half, for tenths of seconds or for minutes, and no clock tells of it.
//
// A process of its own does the same sums on that core again and again, 30 us in 2 ms, and notes how long each
// took by its own CPU clock. It costs every server the same: 2 % of the core.
#pragma once

#include <stdatomic.h>

#include "bayeux/base.h"

enum { BN_GAUGE_STEP = 250, BN_GAUGE_STEPS = 512 };   // ns, and how many

struct bn_gauge {
  atomic_ulong spent, sums;              // ns, and how many times
  atomic_ulong counts[BN_GAUGE_STEPS];   // of them, by how long they took
};

// In memory that is shared with the process, which ends with this one.
void bn_gauge_start(struct bn_gauge *, int cpu);

// What the sums take, ns, on a core that is left alone: a tenth of those so far took no longer.
unsigned long bn_gauge_pace(const struct bn_gauge *);

// Was the core left alone since `from`, a copy that was taken then? Not when nothing was gauged meanwhile. Nor
// when it was faster: for a while it may have a higher clock, too.
bool bn_gauge_was_alone(const struct bn_gauge *, const struct bn_gauge *from, unsigned long pace);
