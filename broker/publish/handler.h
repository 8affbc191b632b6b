// SPDX-License-Identifier: Apache-2.0
// `POST /v1/publish`: the one schema and the one handler of it, for the admin listener of the
// broker and for the listener of mora-api.
//
//   {"channel": "/a", "data": ..., "id"?: "...", "ext"?: {...}}    or a list of up to 1,000 of them
//
//   200  {"position": N, "epoch": N, "outcome": "acknowledged"}    for a list: a list, in order
//   400  {"error"}                       bad JSON, or a single bad entry
//   401  {"error"}                       token
//   413  {"error"}                       more than 1,000 entries, or a single one that is too large (too
//                                        large a body: the host)
//   503  {"outcome": "refused", "error"}     a single entry
//   504  {"outcome": "unknown", "error"}     a single entry
//
// In a list every entry has its slot, {"error"} for a bad one; the others are published all the
// same. The bytes of `data` are passed on as they were sent.
#pragma once

#include "bayeux/base.h"
#include "broker/host/http.h"
#include "broker/host/metrics.h"
#include "broker/publish/auth.h"
#include "broker/publish/owed.h"
#include "broker/publish/publisher.h"

#define BK_PUBLISH_COUNTERS(X)                                                                        \
  X(requests, BK_COUNTER, "mora_publish_requests_total", "Requests to POST /v1/publish.")             \
  X(unauthorized, BK_COUNTER, "mora_publish_unauthorized_total", "Requests refused for their token.") \
  X(acknowledged, BK_COUNTER, "mora_publish_acknowledged_total", "Entries acknowledged over HTTP.")   \
  X(refused, BK_COUNTER, "mora_publish_refused_total", "Entries refused over HTTP.")                  \
  X(unknown, BK_COUNTER, "mora_publish_unknown_total", "Entries over HTTP whose outcome is unknown.") \
  X(bad, BK_COUNTER, "mora_publish_bad_total", "Entries over HTTP that were at fault.")               \
  X(abandoned, BK_COUNTER, "mora_publish_abandoned_total", "Answers whose client had gone.")

struct bk_publish_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_PUBLISH_COUNTERS(X)
#undef X
};
extern const struct bk_metric bk_publish_metrics[];

// Lives as long as its route. `publisher` must outlive the listener's connections; requests that
// are under way when a connection ends keep only the publisher's `done` open.
struct bk_publish_handler {
  struct bk_publisher *publisher;
  const struct bk_secrets *tokens;   // NULL or empty: open
  struct bk_owed *owed;              // NULL: nobody waits for answers
  size_t max_data;                   // bytes of one entry's data and ext; 0: no limit of its own
  struct bk_publish_counters counters;
};

// For struct bk_route.handle; the context is the struct bk_publish_handler.
void bk_publish_handle(void *context, struct bk_exchange *);

// -- the schema by itself ------------------------------------------------------------------------

// An entry of a request as it was read.
struct bk_publish_entry {
  struct bk_publish_item item;   // when good
  const char *fault;             // NULL: good; else what was wrong (printed with `fault_name`)
  bool too_large;                // which is the fault
  struct bx_slice fault_name;    // the member or channel it is about, as sent; may be empty
};

// What a body says. Borrows from the body; owns `entries` and `strings`.
struct bk_publish_request {
  bool list;
  struct bk_publish_entry *entries;
  size_t count;
  struct bx_buffer strings;   // decoded channels and ids
};

enum bk_publish_parse { BK_PUBLISH_PARSED, BK_PUBLISH_NOT_JSON, BK_PUBLISH_TOO_MANY };

// On anything but PARSED, `error` has the text for the client; the request needs fini all the same.
enum bk_publish_parse bk_publish_request_parse(struct bk_publish_request *, struct bx_slice body,
                                               struct bx_buffer *error);
void bk_publish_request_fini(struct bk_publish_request *);

// The text of a bad entry.
void bk_publish_entry_error(const struct bk_publish_entry *, struct bx_buffer *out);
