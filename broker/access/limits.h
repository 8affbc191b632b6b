// SPDX-License-Identifier: Apache-2.0
// Limits of single messages, of addresses, and of rates: what is over them is refused before any verb
// sees it. Counted by the server (mora_over_*); connections by the host.
//
// Rates are token buckets of BK_QUOTA_BURST seconds; one address gets at most half of each.
// Lifetime: init, attach to the server; outlives the server and the listeners.
#pragma once

#include "bayeux/server.h"
#include "broker/access/quota.h"
#include "broker/host/gathered.h"
#include "broker/host/http.h"

struct bk_limits_options {
  uint64_t message;                   // bytes of `data`, and of all the rest of a message
  uint64_t clients_per_address;       // sessions made by handshakes of one address
  uint64_t handshake_rate;            // a second
  uint64_t accept_rate;               // connections a second
  uint64_t gathered;                  // bytes of what is not complete, of all connections of clients
  const struct bk_proxies *proxies;   // who connects for many; borrowed
};

enum { BK_LIMITS_WATCHED = 16 };

struct bk_limits {
  struct bx_extension extension;
  struct bk_limits_options options;
  struct bk_loop *loop;
  struct bx_server *server;
  struct bk_quotas quotas;
  struct bk_bucket handshakes, connections;   // of all together
  struct bk_gate gate;                        // for listeners of clients
  struct bk_gathered gathered;                // likewise
  struct {
    const char *key;
    const uint64_t *counter;
    uint64_t told;
  } watched[BK_LIMITS_WATCHED];
  size_t watched_count;
  bx_millis watched_at;
};

void bk_limits_init(struct bk_limits *, const struct bk_limits_options *, struct bk_loop *, struct bx_table_key secret);
void bk_limits_fini(struct bk_limits *);
// As the first extension.
void bk_limits_attach(struct bk_limits *, struct bx_server *);

// Logs which limits were reached since it did so last, at most once a second.
void bk_limits_watch(struct bk_limits *);

// For struct bx_env.
const char *bk_limits_admit(struct bk_limits *, struct bx_slice address, void **tally);
void bk_limits_leave(struct bk_limits *, void *tally);
