// SPDX-License-Identifier: Apache-2.0
// Life-cycle events (handshake, subscribe, unsubscribe, disconnect) to a back end of the operator's, in
// batches, in their order, each at least once with an id of its own. What is sent: docs/events.md.
//
//   a source gives a batch -> POST -> 2xx: told, the source gives the next
//                                  -> else: the same batch again, after a pause that grows
//
// Two sources. With Redis the stream of events: all nodes ask for it, one has the lease and tells; how
// far it got stands in Redis, so whoever takes over goes on there, and tells again what the dead one may
// have told. Without: a bounded queue in this process (bk_webhook_happened()).
// One batch is on its way at a time. What a source had to drop untold is counted and logged.
//
// Lifetime: create before the first message, destroy after the server (whose engine answers the last
// call), while the loop is there.
#pragma once

#include "broker/host/loop.h"
#include "broker/host/metrics.h"
#include "broker/webhook/options.h"
#include "engine-redis/core/core.h"

#define BK_WEBHOOK_COUNTERS(X)                                                                                \
  X(told, BK_COUNTER, "mora_webhook_told_total", "Events that the webhook took.")                             \
  X(requests, BK_COUNTER, "mora_webhook_requests_total", "HTTP requests to the webhook.")                     \
  X(failures, BK_COUNTER, "mora_webhook_failures_total", "Of these, without a 2xx answer in time.")           \
  X(missed, BK_COUNTER, "mora_webhook_missed_total",                                                          \
    "Events dropped untold, by events.webhook.queue or because Redis keeps no more.")                         \
  X(takeovers, BK_COUNTER, "mora_webhook_takeovers_total", "Times that this node began to tell the webhook.") \
  X(telling, BK_GAUGE, "mora_webhook_telling", "1 on the node that tells the webhook.")                       \
  X(waiting, BK_GAUGE, "mora_webhook_waiting", "Events that wait in this process: those of a batch, or of the queue.")

struct bk_webhook_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_WEBHOOK_COUNTERS(X)
#undef X
};
extern const struct bk_metric bk_webhook_metrics[];

struct bk_webhook;

// `core`: of the Redis engine; NULL: the memory engine. `node`: the id of this process, which ids of events
// begin with there; `pod`: theirs with Redis, NULL: none. Options are borrowed, texts copied.
struct bk_webhook *bk_webhook_create(struct bk_loop *, const struct bk_webhook_options *, struct er_core *core,
                                     const char *node, const char *pod);
void bk_webhook_destroy(struct bk_webhook *);
// This node leaves: no further batch is begun. With Redis only; the next node goes on.
void bk_webhook_leave(struct bk_webhook *);
struct bk_webhook_counters bk_webhook_numbers(const struct bk_webhook *);

// The memory engine: something happened. `detail`: as in struct er_event.
void bk_webhook_happened(struct bk_webhook *, const char *kind, struct bx_slice client, struct bx_slice user,
                         struct bx_slice detail);
