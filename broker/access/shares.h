// SPDX-License-Identifier: Apache-2.0
// What each address has waiting for something that all wait for: messages, and bytes that stay meanwhile.
// An address is what quota.h says. Who has none (unix sockets, other nodes) is not counted.
//
// Lifetime: a share is there as long as something of its address waits.
#pragma once

#include "bayeux/table.h"

struct bk_share {
  struct bx_table_node node;
  size_t held, bytes;
  unsigned char key[8];
};

struct bk_shares {
  struct bx_table table;
};

void bk_shares_init(struct bk_shares *, struct bx_table_key secret);
void bk_shares_fini(struct bk_shares *);   // nothing waits

// One more that waits. NULL: it has no address.
struct bk_share *bk_shares_take(struct bk_shares *, struct bx_slice address, size_t bytes);
void bk_shares_give(struct bk_shares *, struct bk_share *, size_t bytes);   // NULL is ok
