// SPDX-License-Identifier: Apache-2.0
// The Redis engine as a daemon uses it: a core, and its two links on a libuv loop.
//
// It begins to connect with the loop's first turn, reports what happens on the links to the core, and
// makes it tick. Until Redis is there, and whenever it is not, the engine says so (`not_ready`) and
// refuses what it is asked for; nobody has to start anything again.
//
// Times are those of `now`, on every path: the server's turn and the links agree. `now` has to be
// the clock by which the wheel is advanced.
//
// Lifetime: loop and wheel outlive it. The engine is destroyed by the server that it was given to, and
// the node after that, while the loop can still run: it closes the links.
#pragma once

#include "engine-redis/core/core.h"
#include "engine-redis/core/relay.h"
#include "engine-redis/url.h"

struct uv_loop_s;
struct bx_wheel;
struct er_node;

struct er_node_options {
  const struct er_url *url;    // copied
  struct bx_slice pod;         // the letter of this pod; empty: there are no others
  const struct er_url *pods;   // the others; copied
  size_t pod_count;
  struct er_core_options core;   // copied
  bx_millis (*now)(void *context);
  // For the log: a stable id and a detail in words. No secrets.
  void (*event)(void *context, const char *id, struct bx_slice detail);
  void *context;
};

struct er_node *er_node_create(struct uv_loop_s *, struct bx_wheel *, const struct er_node_options *);
void er_node_destroy(struct er_node *);

struct bx_engine *er_node_engine(struct er_node *);
struct er_core *er_node_core(struct er_node *);

// What the Redis that is connected promises less than it could: ids and words as in the log.
enum { ER_FINDINGS = 4 };
struct er_finding {
  char id[32], text[160];
};
size_t er_node_findings(const struct er_node *, const struct er_finding **out);

// How it stands with the other pods, in the order of `pods`.
struct er_pod_info {
  const char *state;    // of the relay to it: "down", "waiting", "relaying"
  bx_position cursor;   // up to which this pod's journal is known to be there; 0: not known here
};
struct er_pod_info er_node_pod(const struct er_node *, size_t i);
const struct er_relay_counters *er_node_relay_counters(const struct er_node *);   // zeros without other pods
size_t er_node_pod_count(const struct er_node *);

// Takes leave: call it when the last connection is gone, and run the loop until it has left: at the latest
// after 3 s, when Redis does not answer.
void er_node_leave(struct er_node *);
bool er_node_has_left(const struct er_node *);
