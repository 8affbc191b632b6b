// SPDX-License-Identifier: Apache-2.0
// All numbers that a broker process counts, in one piece, so that several processes can be added up.
//
// With workers the board is memory that they and their supervisor share: a slot for each worker, into
// which it copies its numbers at the end of every turn. When a worker has died its supervisor adds what
// it had counted to the slot's past, so that sums never run backwards; gauges die with it.
//
// A reader of a slot may meet a writer: single numbers are whole, and a slot whose past is just being
// added to is read again.
#pragma once

#include <stdatomic.h>

#include "broker/access/authority.h"
#include "broker/admin/admin.h"
#include "broker/host/lag.h"
#include "broker/host/metrics.h"
#include "broker/publish/handler.h"

#define BK_ADMIN_COUNTERS(X)                                                                                         \
  X(requests, BK_COUNTER, "mora_admin_requests_total", "Requests to the admin API, admitted.")                       \
  X(unauthorized, BK_COUNTER, "mora_admin_unauthorized_total", "Requests to the admin API refused for their token.") \
  X(tails, BK_GAUGE, "mora_admin_tails", "Streams of /v1/tail that are open.")                                       \
  X(tail_dropped, BK_COUNTER, "mora_admin_tail_dropped_total", "Messages that a slow reader of /v1/tail missed.")    \
  X(tokens_refused, BK_COUNTER, "mora_admin_tokens_refused_total", "Tokens that were not revoked because 100,000 are.")

struct bk_admin_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_ADMIN_COUNTERS(X)
#undef X
};

struct bk_numbers {
  struct bx_counters server;
  struct er_counters engine;
  struct er_relay_counters relay;
  struct bk_transport_counters transport;
  struct bk_publish_counters publish;
  struct bk_admin_counters admin;
  struct bk_access_counters access;
  struct bk_authority_counters authority;
  struct bk_webhook_counters webhook;
  struct bk_host_counters host;
  struct bk_lag lag;
};

// The tables, in the order in which they are shown, each with its place in struct bk_numbers.
struct bk_number_table {
  const struct bk_metric *metrics;
  size_t offset;
};
extern const struct bk_number_table bk_number_tables[];   // ends with {0}

// Counters are added; gauges too, if asked for.
void bk_numbers_add(struct bk_numbers *to, const struct bk_numbers *more, bool gauges);

struct bk_slot {
  _Atomic uint64_t past_changes;   // odd while `past` is being added to
  _Atomic bool begun;              // its process takes SIGHUP from here on, and has read no file before
  struct bk_numbers past, now;
};

struct bk_board {
  size_t count;
  struct bk_slot slots[];
};

// In memory that child processes inherit as descriptor *fd. NULL: there is none to be had.
struct bk_board *bk_board_create(size_t count, int *fd);
struct bk_board *bk_board_open(int fd);
void bk_board_close(struct bk_board *);

void bk_board_retire(struct bk_board *, size_t slot);                   // its process has died
void bk_board_sum(const struct bk_board *, struct bk_numbers *total);   // of all slots
