// SPDX-License-Identifier: Apache-2.0
// What is published in this pod, carried to one other pod: each entry once, in order.
//
// A relay has two links, told apart as those of a core are: ER_TAIL reads the journal of this pod's
// Redis, ER_COMMAND runs `relay` on the other's, and nothing else is sent on either. How far the other
// pod has come is written there, by the same script that appends; nothing is remembered here. So any
// node may relay, and die; the journal is the only queue. Every node has a relay for each other pod, and
// one of them at a time works: the lease lies in the other pod.
//
// Carried are the entries that were published here: those that came from a pod have its letter. What
// the journal does not keep any more when a pod comes back is lost for that pod: `relay_gaps` counts.
//
// Pure, driven as a core is: er_relay_up, _reply, _down, and _tick every ER_TICK ms.
#pragma once

#include "engine-redis/core/core.h"

struct er_relay;

#define ER_RELAY_COUNTERS(X)                                                                                 \
  X(relayed, COUNTER, "mora_engine_relayed_total", "Messages of this pod that this node carried to others.") \
  X(relay_gaps, COUNTER, "mora_engine_relay_gaps_total", "Gaps: a pod was away for longer than the journal keeps.")

struct er_relay_counters {
#define X(field, kind, name, help) uint64_t field;
  ER_RELAY_COUNTERS(X)
#undef X
};

struct er_relay_options {
  struct bx_slice ns;          // of both pods
  struct bx_slice pod;         // this pod's letter
  struct bx_slice node;        // this node
  uint64_t journal_messages;   // the other pod's stream is kept at about twice as many
};

// All outlive the relay but the options, which are copied.
struct er_relay *er_relay_create(const struct er_core_env *, const struct er_relay_options *,
                                 struct er_relay_counters *);
void er_relay_destroy(struct er_relay *);

void er_relay_up(struct er_relay *, enum er_which, struct bx_slice run_id, bx_millis now);
void er_relay_reply(struct er_relay *, enum er_which, const struct er_reply *, bx_millis now);
void er_relay_down(struct er_relay *, enum er_which, bx_millis now);
void er_relay_tick(struct er_relay *, bx_millis now);

// "down", "waiting" (for the lease, or for the other pod to be ready), "relaying".
const char *er_relay_state(const struct er_relay *);
// The last position of this pod's journal that is known to be there; 0: not known.
bx_position er_relay_cursor(const struct er_relay *);
