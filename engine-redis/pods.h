// SPDX-License-Identifier: Apache-2.0
// The relays of a node (core/relay.h) with their links on its loop: for each other pod one, with a
// connection to that pod's Redis and one to its own.
//
// Lifetime: loop and wheel outlive them, and so does what the options' context points to.
#pragma once

#include "engine-redis/core/relay.h"
#include "engine-redis/node.h"

struct er_pods;

struct er_pods *er_pods_create(struct uv_loop_s *, struct bx_wheel *, const struct er_node_options *);
void er_pods_destroy(struct er_pods *);   // NULL is allowed
void er_pods_tick(struct er_pods *, bx_millis now);
const struct er_relay_counters *er_pods_counters(const struct er_pods *);
size_t er_pods_count(const struct er_pods *);
struct er_pod_info er_pods_info(const struct er_pods *, size_t i);
