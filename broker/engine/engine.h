// SPDX-License-Identifier: Apache-2.0
// The Redis engine as the daemons use it: the options that they share, a node on their loop, its
// events in the log, its numbers.
//
// Lifetime: the loop outlives it. bk_engine_destroy() after whoever owns the engine (the server, a
// publisher) has destroyed that, and before the loop is.
#pragma once

#include "broker/host/loop.h"
#include "broker/host/metrics.h"
#include "config/config.h"
#include "engine-redis/node.h"

enum bk_engine_type { BK_ENGINE_MEMORY, BK_ENGINE_REDIS };

// What all who append to a journal have to agree on.
struct bk_engine_options {
  int type;   // enum bk_engine_type
  const char *url, *ns;
  const char *pod;          // a letter; NULL: there are no others
  struct cf_strings pods;   // URLs
  bx_millis command_timeout;
  uint64_t journal_messages, wait;
  uint64_t max_message, max_channel_length, max_channel_depth;
};
extern const struct cf_option bk_engine_options[];

// What the rows can not judge: appends a line per fault.
void bk_engine_check(const struct cf_set *, const struct bk_engine_options *, struct bx_buffer *faults);

extern const struct bk_metric bk_engine_metrics[];   // of struct er_counters
extern const struct bk_metric bk_relay_metrics[];    // of struct er_relay_counters

struct bk_engine;

enum { BK_NODE_ID = 37 };   // bytes, with the terminator
void bk_engine_new_id(char out[BK_NODE_ID]);

// `node`: new with each start of a process. `role`: "broker", "publisher". `life`: the longest of a session.
// All texts are copied.
struct bk_engine *bk_engine_create(struct bk_loop *, const struct bk_engine_options *, const char *node,
                                   const char *role, const char *address, bx_millis life);
void bk_engine_destroy(struct bk_engine *);
struct er_node *bk_engine_node(struct bk_engine *);

// Once a turn: says in the log when the engine becomes ready, and when it stops to be.
void bk_engine_watch(struct bk_engine *);
