// SPDX-License-Identifier: Apache-2.0
#include "broker/access/shares.h"

#include "broker/access/quota.h"

void bk_shares_init(struct bk_shares *s, struct bx_table_key secret) { bx_table_init(&s->table, secret); }

void bk_shares_fini(struct bk_shares *s) {
  BX_BUG_ON(s->table.count > 0);
  bx_table_fini(&s->table);
}

static struct bk_share *create(struct bk_shares *s, struct bx_slice key) {
  struct bk_share *share = bx_alloc(sizeof *share);
  memcpy(share->key, key.at, key.len);
  bx_table_insert(&s->table, &share->node, (struct bx_slice){(char *)share->key, key.len});
  return share;
}

struct bk_share *bk_shares_take(struct bk_shares *s, struct bx_slice address, size_t bytes) {
  struct bk_peer peer;
  struct bx_slice key = bk_peer_parse(&peer, address) ? bk_quota_key(&peer) : (struct bx_slice){0};
  if (key.len == 0) return NULL;
  struct bx_table_node *node = bx_table_find(&s->table, key);
  struct bk_share *share = node ? bx_container_of(node, struct bk_share, node) : create(s, key);
  share->held++;
  share->bytes += bytes;
  return share;
}

void bk_shares_give(struct bk_shares *s, struct bk_share *share, size_t bytes) {
  if (!share) return;
  share->bytes -= bytes;
  if (--share->held > 0) return;
  bx_table_remove(&s->table, &share->node);
  bx_free(share);
}
