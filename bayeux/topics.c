// SPDX-License-Identifier: Apache-2.0
// The subscription index: see topics.h.
#include "bayeux/topics.h"

static struct bx_topic *of(struct bx_table_node *node) {
  return node == NULL ? NULL : bx_container_of(node, struct bx_topic, node);
}

void bx_topics_init(struct bx_topics *topics, struct bx_table_key secret) { bx_table_init(&topics->table, secret); }

void bx_topics_fini(struct bx_topics *topics) {
  BX_BUG_ON(topics->table.count != 0);
  bx_table_fini(&topics->table);
}

struct bx_topic *bx_topics_find(const struct bx_topics *topics, struct bx_slice pattern) {
  return of(bx_table_find(&topics->table, pattern));
}

struct bx_topic *bx_topics_get(struct bx_topics *topics, struct bx_slice pattern) {
  struct bx_topic *t = bx_topics_find(topics, pattern);

  if (t != NULL) return t;
  t = bx_alloc(sizeof *t + pattern.len);
  memcpy(t->pattern, pattern.at, pattern.len);
  bx_table_insert(&topics->table, &t->node, (struct bx_slice){t->pattern, pattern.len});
  return t;
}

void bx_topics_drop_if_unused(struct bx_topics *topics, struct bx_topic *t) {
  if (t->count > 0 || t->entries > 0) return;
  bx_table_remove(&topics->table, &t->node);
  bx_free(t->places);
  bx_free(t);
}

static void place(struct bx_topic *t, uint32_t index, struct bx_subscription *s) {
  t->places[index] = (struct bx_place){s->session, s->start, s};
  s->index = index;
}

static void swap(struct bx_topic *t, uint32_t a, uint32_t b) {
  struct bx_subscription *at_a = t->places[a].subscription, *at_b = t->places[b].subscription;

  place(t, a, at_b);
  place(t, b, at_a);
}

void bx_topic_add(struct bx_topic *t, struct bx_subscription *s) {
  if (t->count == t->cap) {
    t->cap = t->cap ? 2 * t->cap : 1;
    t->places = bx_realloc(t->places, t->cap * sizeof *t->places);
  }
  place(t, t->count++, s);
  s->topic = t;
}

void bx_topic_remove(struct bx_topic *t, struct bx_subscription *s) {
  BX_BUG_ON(s->topic != t || t->places[s->index].subscription != s);
  bx_topic_set_live(t, s, false);
  swap(t, s->index, t->count - 1);
  t->count--;
  s->topic = NULL;
  if (t->cap > 8 && t->count < t->cap / 4) {
    t->cap /= 2;
    t->places = bx_realloc(t->places, t->cap * sizeof *t->places);
  }
}

void bx_topic_set_live(struct bx_topic *t, struct bx_subscription *s, bool live) {
  if (live == (s->index < t->live)) return;
  if (live) {
    swap(t, s->index, t->live);
    t->live++;
  } else {
    t->live--;
    swap(t, s->index, t->live);
  }
}
