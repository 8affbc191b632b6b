// SPDX-License-Identifier: Apache-2.0
#include "broker/access/quota.h"

// -- buckets ---------------------------------------------------------------------------------------

static uint64_t used_now(const struct bk_bucket *b, uint64_t rate, bx_millis now) {
  uint64_t passed = now > b->at ? now - b->at : 0;
  return passed >= b->used / rate + 1 ? 0 : b->used - passed * rate;
}

bx_millis bk_bucket_wait(const struct bk_bucket *b, uint64_t rate, bx_millis now) {
  uint64_t used = used_now(b, rate, now) + 1000, room = rate * BK_QUOTA_BURST * 1000;
  return used <= room ? 0 : (used - room + rate - 1) / rate;
}

bool bk_bucket_take(struct bk_bucket *b, uint64_t rate, bx_millis now) {
  if (bk_bucket_wait(b, rate, now) > 0) return false;
  b->used = used_now(b, rate, now) + 1000;
  b->at = now;
  return true;
}

// -- the table -------------------------------------------------------------------------------------

struct bx_slice bk_quota_key(const struct bk_peer *peer) {
  if (peer->family == BK_FAMILY_V4) return (struct bx_slice){(const char *)peer->ip + 12, 4};
  if (peer->family == BK_FAMILY_V6) return (struct bx_slice){(const char *)peer->ip, 8};
  return (struct bx_slice){0};
}

void bk_quotas_init(struct bk_quotas *q, struct bx_table_key secret) {
  *q = (struct bk_quotas){0};
  bx_table_init(&q->table, secret);
  bx_list_init(&q->idle);
}

static void forget(struct bk_quotas *q, struct bk_quota *quota) {
  bx_list_remove(&quota->idle);
  q->idle_count--;
  bx_table_remove(&q->table, &quota->node);
  bx_free(quota);
}

static struct bk_quota *oldest(struct bk_quotas *q) { return bx_container_of(q->idle.next, struct bk_quota, idle); }

void bk_quotas_fini(struct bk_quotas *q) {
  while (q->idle_count > 0) forget(q, oldest(q));
  BX_BUG_ON(q->table.count > 0);
  bx_table_fini(&q->table);
}

static struct bk_quota *create(struct bk_quotas *q, struct bx_slice key) {
  if (q->idle_count == BK_QUOTA_IDLE) forget(q, oldest(q));
  struct bk_quota *quota = bx_alloc(sizeof *quota);
  memcpy(quota->key, key.at, key.len);
  bx_table_insert(&q->table, &quota->node, (struct bx_slice){(char *)quota->key, key.len});
  bx_list_append(&q->idle, &quota->idle);
  q->idle_count++;
  return quota;
}

struct bk_quota *bk_quotas_find(struct bk_quotas *q, const struct bk_peer *peer) {
  struct bx_slice key = bk_quota_key(peer);
  if (key.len == 0) return NULL;
  struct bx_table_node *node = bx_table_find(&q->table, key);
  if (!node) return create(q, key);
  struct bk_quota *quota = bx_container_of(node, struct bk_quota, node);
  if (quota->sessions == 0) {
    bx_list_remove(&quota->idle);
    bx_list_append(&q->idle, &quota->idle);
  }
  return quota;
}

void bk_quota_join(struct bk_quotas *q, struct bk_quota *quota) {
  if (quota->sessions++ > 0) return;
  bx_list_remove(&quota->idle);
  q->idle_count--;
}

void bk_quota_leave(struct bk_quotas *q, struct bk_quota *quota) {
  BX_BUG_ON(quota->sessions == 0);
  if (--quota->sessions > 0) return;
  bx_list_append(&q->idle, &quota->idle);
  if (q->idle_count++ == BK_QUOTA_IDLE) forget(q, oldest(q));
}
