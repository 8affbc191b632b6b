// SPDX-License-Identifier: Apache-2.0
#include "broker/access/grants.h"

#include "bayeux/buffer.h"

struct owner {
  struct bx_table_node node;   // key: the user
  struct bx_list grants;
  char name[];
};

struct grant {
  struct bx_table_node node;   // key: verb, user, NUL, channel
  struct bx_list order_link, owner_link;
  struct owner *owner;
  bx_millis until;
  char key[];
};

static void make_key(struct bx_buffer *key, char verb, struct bx_slice user, struct bx_slice channel) {
  bx_buffer_char(key, verb);
  bx_buffer_slice(key, user);
  bx_buffer_char(key, '\0');   // in no user's name
  bx_buffer_slice(key, channel);
}

static struct grant *find(const struct bk_grants *g, char verb, struct bx_slice user, struct bx_slice channel) {
  struct bx_buffer key = {0};
  make_key(&key, verb, user, channel);
  struct bx_table_node *node = bx_table_find(&g->grants, bx_buffer_view(&key));
  bx_buffer_fini(&key);
  return node ? bx_container_of(node, struct grant, node) : NULL;
}

static void drop(struct bk_grants *g, struct grant *grant) {
  struct owner *owner = grant->owner;
  bx_table_remove(&g->grants, &grant->node);
  bx_list_remove(&grant->order_link);
  bx_list_remove(&grant->owner_link);
  bx_free(grant);
  if (!bx_list_empty(&owner->grants)) return;
  bx_table_remove(&g->users, &owner->node);
  bx_free(owner);
}

static struct owner *owner_of(struct bk_grants *g, struct bx_slice user) {
  struct bx_table_node *node = bx_table_find(&g->users, user);
  if (node) return bx_container_of(node, struct owner, node);
  struct owner *owner = bx_alloc(sizeof *owner + user.len + 1);
  if (user.len > 0) memcpy(owner->name, user.at, user.len);
  bx_list_init(&owner->grants);
  bx_table_insert(&g->users, &owner->node, (struct bx_slice){owner->name, user.len});
  return owner;
}

void bk_grants_add(struct bk_grants *g, char verb, struct bx_slice user, struct bx_slice channel, bx_millis now) {
  if (g->life == 0 || g->max == 0) return;
  struct grant *known = find(g, verb, user, channel);
  if (known) drop(g, known);
  if (g->grants.count >= g->max) drop(g, bx_container_of(g->order.next, struct grant, order_link));
  struct bx_buffer key = {0};
  make_key(&key, verb, user, channel);
  struct grant *grant = bx_alloc(sizeof *grant + key.len);
  memcpy(grant->key, key.at, key.len);
  grant->until = now + g->life;
  grant->owner = owner_of(g, user);
  bx_table_insert(&g->grants, &grant->node, (struct bx_slice){grant->key, key.len});
  bx_list_append(&g->order, &grant->order_link);
  bx_list_append(&grant->owner->grants, &grant->owner_link);
  bx_buffer_fini(&key);
}

bool bk_grants_have(struct bk_grants *g, char verb, struct bx_slice user, struct bx_slice channel, bx_millis now) {
  struct grant *grant = g->grants.count > 0 ? find(g, verb, user, channel) : NULL;
  if (!grant) return false;
  if (now < grant->until) return true;
  drop(g, grant);
  return false;
}

void bk_grants_forget(struct bk_grants *g, struct bx_slice user) {
  struct bx_table_node *node = bx_table_find(&g->users, user);
  if (!node) return;
  struct owner *owner = bx_container_of(node, struct owner, node);
  size_t left = 0;
  bx_list_each (link, &owner->grants) left++;
  for (; left > 0; left--)
    drop(g, bx_container_of(owner->grants.next, struct grant, owner_link));   // the last frees it
}

void bk_grants_init(struct bk_grants *g, bx_millis life, size_t max, struct bx_table_key secret) {
  *g = (struct bk_grants){.max = max, .life = life};
  bx_table_init(&g->grants, secret);
  bx_table_init(&g->users, secret);
  bx_list_init(&g->order);
}

void bk_grants_clear(struct bk_grants *g) {
  while (!bx_list_empty(&g->order)) drop(g, bx_container_of(g->order.next, struct grant, order_link));
}

void bk_grants_fini(struct bk_grants *g) {
  bk_grants_clear(g);
  bx_table_fini(&g->grants);
  bx_table_fini(&g->users);
}
