// SPDX-License-Identifier: Apache-2.0
// A hash table from strings to structures that carry their own node. Peers choose the keys, so the
// hash is keyed (SipHash-1-3): without the key nobody can aim for one bucket.
//
// Invariants: a node is in at most one table; its key bytes stay where they are while it is in.
// The table owns its bucket array only. It grows by doubling and shrinks when nearly empty.
// A table may be changed during bx_table_each() only by removing the node in hand.
#pragma once

#include "bayeux/base.h"

struct bx_table_key {
  uint64_t k0, k1;
};

struct bx_table_node {
  struct bx_table_node *next;
  uint64_t hash;
  struct bx_slice key;   // borrowed: points into the structure that embeds the node
};

struct bx_table {
  struct bx_table_node **buckets;
  size_t mask;   // buckets - 1; buckets are a power of two
  size_t count;
  unsigned walks;   // bx_table_each() under way: the buckets stay as they are
  struct bx_table_key secret;
};

void bx_table_init(struct bx_table *, struct bx_table_key secret);
void bx_table_fini(struct bx_table *);   // nodes are the caller's business

uint64_t bx_table_hash(const struct bx_table *, struct bx_slice key);
struct bx_table_node *bx_table_find(const struct bx_table *, struct bx_slice key);
struct bx_table_node *bx_table_find_hashed(const struct bx_table *, struct bx_slice key, uint64_t hash);
void bx_table_insert(struct bx_table *, struct bx_table_node *, struct bx_slice key);   // key must be new
void bx_table_remove(struct bx_table *, struct bx_table_node *);

// Every node once, in no order: `visit` returns false to stop.
void bx_table_each(struct bx_table *, bool (*visit)(struct bx_table_node *, void *context), void *context);
