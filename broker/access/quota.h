// SPDX-License-Identifier: Apache-2.0
// What one address has taken: how many sessions it has, how fast it shakes hands and connects.
//
// An address is an IPv4 address or the first 64 bits of an IPv6 one, which is what one customer of a
// provider has; an IPv4 address inside of IPv6 is that IPv4 address. Unix sockets have none.
//
// Invariants: an address with sessions is kept; of the others at most BK_QUOTA_IDLE, the ones seen last.
// The table is keyed (bayeux/table.h). Who comes from very many addresses is forgotten and begins anew,
// and is held by the rates that count for all.
#pragma once

#include "bayeux/table.h"
#include "broker/host/peer.h"

#define BK_QUOTA_IDLE 16384
#define BK_QUOTA_BURST 4   // seconds of a rate that may be used at once

// A token bucket. {0} is full.
struct bk_bucket {
  uint64_t used;   // thousandths of a token
  bx_millis at;
};

// One more at `rate` a second? Only a yes is counted.
bool bk_bucket_take(struct bk_bucket *, uint64_t rate, bx_millis now);
// Milliseconds until there is one; 0: now.
bx_millis bk_bucket_wait(const struct bk_bucket *, uint64_t rate, bx_millis now);

struct bk_quota {
  struct bx_table_node node;
  struct bx_list idle;   // among those without sessions, the one seen last at the end
  uint32_t sessions;
  struct bk_bucket handshakes, connections;
  unsigned char key[8];
};

struct bk_quotas {
  struct bx_table table;
  struct bx_list idle;
  size_t idle_count;
};

// Of 4 bytes or of 8, so that the two are never equal; empty: it has no address.
struct bx_slice bk_quota_key(const struct bk_peer *);

void bk_quotas_init(struct bk_quotas *, struct bx_table_key secret);
void bk_quotas_fini(struct bk_quotas *);   // no address has a session

// NULL: it has no address. Valid until the next call, and for as long as it has sessions.
struct bk_quota *bk_quotas_find(struct bk_quotas *, const struct bk_peer *);
void bk_quota_join(struct bk_quotas *, struct bk_quota *);
void bk_quota_leave(struct bk_quotas *, struct bk_quota *);
