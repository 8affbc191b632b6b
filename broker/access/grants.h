// SPDX-License-Identifier: Apache-2.0
// What was allowed and holds for a while: a user may do something on a channel. Pure.
//
// Bounded: beyond `max` the oldest goes. A lookup takes one hash; what a user has goes in one piece.
#pragma once

#include "bayeux/table.h"

struct bk_grants {
  struct bx_table grants, users;
  struct bx_list order;   // oldest first
  size_t max;
  bx_millis life;   // 0: nothing is kept
};

void bk_grants_init(struct bk_grants *, bx_millis life, size_t max, struct bx_table_key secret);
void bk_grants_fini(struct bk_grants *);

// `verb`: one letter. Adding what is there renews it.
void bk_grants_add(struct bk_grants *, char verb, struct bx_slice user, struct bx_slice channel, bx_millis now);
bool bk_grants_have(struct bk_grants *, char verb, struct bx_slice user, struct bx_slice channel, bx_millis now);
void bk_grants_clear(struct bk_grants *);
void bk_grants_forget(struct bk_grants *, struct bx_slice user);
static inline size_t bk_grants_count(const struct bk_grants *g) { return g->grants.count; }
