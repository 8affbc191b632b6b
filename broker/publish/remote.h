// SPDX-License-Identifier: Apache-2.0
// A publisher that posts to a broker's admin URL.
//
// One request is under way at a time, so order holds; what comes meanwhile waits and goes out
// together in the next one. Waiting room is bounded: what finds it full is refused.
//
//   no connection could be made       refused      (nothing was sent)
//   HTTP 4xx, or 503                  refused      (the broker took none of it)
//   no answer in time, broken answer,
//   connection lost, other HTTP 5xx   unknown
//
// While it runs it asks the broker's /readyz every second, so that not_ready() is truthful also
// when nobody publishes.
#pragma once

#include "bayeux/base.h"
#include "broker/host/http_client.h"
#include "broker/host/loop.h"
#include "broker/host/metrics.h"
#include "broker/publish/publisher.h"

#define BK_REMOTE_COUNTERS(X)                                                                                   \
  X(requests, BK_COUNTER, "mora_publisher_requests_total", "Requests made to the broker to publish.")           \
  X(items, BK_COUNTER, "mora_publisher_items_total", "Messages handed to the broker.")                          \
  X(overflows, BK_COUNTER, "mora_publisher_overflows_total", "Messages refused because too many were waiting.") \
  X(refused, BK_COUNTER, "mora_publisher_refused_total", "Messages refused by the broker, or never sent.")      \
  X(unknown, BK_COUNTER, "mora_publisher_unknown_total", "Messages handed over whose outcome is unknown.")      \
  X(waiting, BK_GAUGE, "mora_publisher_waiting", "Messages that wait for the request under way.")

struct bk_remote_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_REMOTE_COUNTERS(X)
#undef X
};
extern const struct bk_metric bk_remote_metrics[];

enum {
  BK_REMOTE_MAX_WAITING = 1000,    // messages
  BK_REMOTE_MAX_BYTES = 4 << 20,   // of their JSON text
};

struct bk_remote_options {
  const char *url;     // "http://127.0.0.1:8001"; a trailing slash is fine
  const char *token;   // bearer token; NULL: none
  bx_millis timeout;   // of one request
};

// `loop` and `client` must outlive it. The options are copied.
struct bk_publisher *bk_remote_create(struct bk_loop *, struct bk_http_client *, const struct bk_remote_options *);

// Only for a publisher made by bk_remote_create().
const struct bk_remote_counters *bk_remote_counters(const struct bk_publisher *);
