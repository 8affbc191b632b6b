// SPDX-License-Identifier: Apache-2.0
// The authority: an HTTP service of the operator's that decides what rules leave to it.
// What is asked and answered: docs/authority.md.
//
//   ask -> granted before? -> allow at once
//       -> breaker open, queue full -> unavailable at once
//       -> waits -> one request per text of a client; while all connections are busy what waits is
//          gathered, BATCH questions at a time
//
// Anything but a good answer in time is *unavailable*: never a permission, never a ban. Redirects are
// not followed. Nothing of a client's stands in a URL or header: all of it is JSON in the body.
//
// What was asked before a user was revoked is not believed after it.
//
// Lifetime: create before the first message, destroy after the server; the guard outlives the server, too.
#pragma once

#include "bayeux/table.h"
#include "broker/access/guard.h"
#include "broker/host/http_client.h"
#include "broker/host/metrics.h"

#define BK_AUTHORITY_COUNTERS(X)                                                                               \
  X(asked, BK_COUNTER, "mora_authority_asked_total", "Messages that the authority was to decide about.")       \
  X(cache_hits, BK_COUNTER, "mora_authority_cache_hits_total", "Of these, allowed from authority.cache.")      \
  X(requests, BK_COUNTER, "mora_authority_requests_total", "HTTP requests to the authority.")                  \
  X(failures, BK_COUNTER, "mora_authority_failures_total", "Of these, without a good answer in time.")         \
  X(allowed, BK_COUNTER, "mora_authority_allowed_total", "Messages that the authority allowed.")               \
  X(denied, BK_COUNTER, "mora_authority_denied_total", "Messages that it denied.")                             \
  X(unavailable, BK_COUNTER, "mora_authority_unavailable_total",                                               \
    "Messages answered 503: no good answer in time, the breaker open, or too many waiting.")                   \
  X(discarded, BK_COUNTER, "mora_authority_discarded_total", "Answers older than a revocation of their user.") \
  X(openings, BK_COUNTER, "mora_authority_breaker_openings_total", "Times that the breaker opened.")           \
  X(open, BK_GAUGE, "mora_authority_breaker_open", "1 while the breaker is open.")                             \
  X(waiting, BK_GAUGE, "mora_authority_waiting", "Messages that wait for the authority.")                      \
  X(in_flight, BK_GAUGE, "mora_authority_in_flight", "HTTP requests under way.")                               \
  X(grants, BK_GAUGE, "mora_authority_cached", "Permissions in authority.cache.")

struct bk_authority_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_AUTHORITY_COUNTERS(X)
#undef X
};
extern const struct bk_metric bk_authority_metrics[];

struct bk_authority_options {
  const char *url;     // of the service
  const char *token;   // for Authorization: Bearer; NULL: none
  bx_millis timeout;   // of one request, and of the wait for it
  bx_millis cache;     // 0: nothing is kept
  uint64_t concurrency;
};

struct bk_authority;

// Sets guard->authority; options are borrowed.
struct bk_authority *bk_authority_create(struct bk_loop *, struct bk_guard *, const struct bk_authority_options *,
                                         struct bx_table_key);
void bk_authority_destroy(struct bk_authority *);
const struct bk_authority_counters *bk_authority_counters(struct bk_authority *);
