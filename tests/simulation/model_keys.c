// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/model_keys.h"

static struct bx_slice copy(struct bx_slice s) {
  if (s.len == 0) return (struct bx_slice){NULL, 0};
  char *at = bx_alloc(s.len);
  memcpy(at, s.at, s.len);
  return (struct bx_slice){at, s.len};
}

static void drop(struct bx_slice *s) {
  bx_free((char *)s->at);
  *s = (struct bx_slice){NULL, 0};
}

static struct sim_value *value_of(struct bx_table_node *node) { return bx_container_of(node, struct sim_value, node); }

// -- values --------------------------------------------------------------------------------------

static void entry_fini(struct sim_entry *e) {
  for (size_t i = 0; i < e->count; i++) drop(&e->fields[i]);
  bx_free(e->fields);
}

static void value_destroy(struct sim_value *v) {
  for (size_t i = 0; i < v->count; i++) {
    drop(&v->items[i].name);
    drop(&v->items[i].value);
  }
  for (size_t i = v->first; i < v->end; i++) entry_fini(&v->entries[i]);
  bx_free(v->items);
  bx_free(v->entries);
  drop(&v->text);
  drop(&v->key);
  bx_free(v);
}

struct sim_item *sim_value_find(const struct sim_value *v, struct bx_slice name) {
  for (size_t i = 0; i < v->count; i++)
    if (bx_slice_equal(v->items[i].name, name)) return &v->items[i];
  return NULL;
}

static struct sim_item *insert(struct sim_value *v, size_t at) {
  if (v->count == v->cap) {
    v->cap = v->cap ? 2 * v->cap : 4;
    v->items = bx_realloc(v->items, v->cap * sizeof *v->items);
  }
  memmove(&v->items[at + 1], &v->items[at], (v->count - at) * sizeof *v->items);
  v->count++;
  v->items[at] = (struct sim_item){0};
  return &v->items[at];
}

bool sim_value_set(struct sim_value *v, struct bx_slice name, struct bx_slice value) {
  struct sim_item *item = sim_value_find(v, name);
  bool new = !item;
  if (new) {
    item = insert(v, v->count);
    item->name = copy(name);
  }
  struct bx_slice old = item->value;
  item->value = copy(value);
  drop(&old);
  return new;
}

void sim_value_drop(struct sim_value *v, struct sim_item *item) {
  drop(&item->name);
  drop(&item->value);
  v->count--;
  memmove(item, item + 1, (size_t)(&v->items[v->count] - item) * sizeof *item);
}

static bool before(const struct sim_item *item, double score, struct bx_slice name) {
  if (item->score != score) return item->score < score;
  size_t len = item->name.len < name.len ? item->name.len : name.len;
  int order = len ? memcmp(item->name.at, name.at, len) : 0;
  return order ? order < 0 : item->name.len < name.len;
}

bool sim_value_score(struct sim_value *v, struct bx_slice name, double score) {
  struct sim_item *old = sim_value_find(v, name);
  if (old) sim_value_drop(v, old);
  size_t at = 0, end = v->count;
  while (at < end) {
    size_t middle = (at + end) / 2;
    if (before(&v->items[middle], score, name))
      at = middle + 1;
    else
      end = middle;
  }
  struct sim_item *item = insert(v, at);
  item->name = copy(name);
  item->score = score;
  return !old;
}

void sim_value_text(struct sim_value *v, struct bx_slice text) {
  struct bx_slice old = v->text;
  v->text = copy(text);
  drop(&old);
}

// -- streams -------------------------------------------------------------------------------------

int sim_id_compare(struct sim_id a, struct sim_id b) {
  if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
  return a.seq < b.seq ? -1 : a.seq > b.seq;
}

void sim_stream_add(struct sim_value *v, struct sim_id id, const struct bx_slice *fields, size_t count) {
  if (v->end == v->room) {
    // Most of a stream that is trimmed as it grows lies before `first`.
    if (v->first > v->room / 2) {
      memmove(v->entries, &v->entries[v->first], (v->end - v->first) * sizeof *v->entries);
      v->end -= v->first;
      v->first = 0;
    } else {
      v->room = v->room ? 2 * v->room : 8;
      v->entries = bx_realloc(v->entries, v->room * sizeof *v->entries);
    }
  }
  struct sim_entry *e = &v->entries[v->end++];
  *e = (struct sim_entry){id, bx_alloc(count * sizeof *fields), count};
  for (size_t i = 0; i < count; i++) e->fields[i] = copy(fields[i]);
  v->last = id;
  v->added++;
}

void sim_stream_trim(struct sim_value *v, size_t count) {
  while (count-- > 0 && v->first < v->end) entry_fini(&v->entries[v->first++]);
}

// -- keys ----------------------------------------------------------------------------------------

void sim_keys_init(struct sim_keys *k) { bx_table_init(&k->table, (struct bx_table_key){1, 2}); }

void sim_keys_remove(struct sim_keys *k, struct sim_value *v) {
  bx_table_remove(&k->table, &v->node);
  value_destroy(v);
}

struct clearing {
  struct sim_keys *keys;
  uint64_t now;
};

static bool remove_expired(struct bx_table_node *node, void *context) {
  struct clearing *c = context;
  struct sim_value *v = value_of(node);
  if (v->expire && v->expire <= c->now) sim_keys_remove(c->keys, v);
  return true;
}

static bool remove_any(struct bx_table_node *node, void *context) {
  sim_keys_remove(context, value_of(node));
  return true;
}

void sim_keys_expire(struct sim_keys *k, uint64_t now) {
  struct clearing c = {k, now};
  bx_table_each(&k->table, remove_expired, &c);
}

void sim_keys_clear(struct sim_keys *k) { bx_table_each(&k->table, remove_any, k); }

void sim_keys_fini(struct sim_keys *k) {
  sim_keys_clear(k);
  bx_table_fini(&k->table);
}

struct sim_value *sim_keys_add(struct sim_keys *k, struct bx_slice key, enum sim_type type) {
  struct sim_value *v = bx_alloc(sizeof *v);
  v->type = type;
  v->key = copy(key);
  bx_table_insert(&k->table, &v->node, v->key);
  return v;
}

struct sim_value *sim_keys_find(struct sim_keys *k, struct bx_slice key, uint64_t now) {
  struct bx_table_node *node = bx_table_find(&k->table, key);
  if (!node) return NULL;
  struct sim_value *v = value_of(node);
  if (!v->expire || v->expire > now) return v;
  sim_keys_remove(k, v);
  return NULL;
}

static bool copy_value(struct bx_table_node *node, void *context) {
  const struct sim_value *from = value_of(node);
  struct sim_value *v = sim_keys_add(context, from->key, from->type);
  v->expire = from->expire;
  v->text = copy(from->text);
  for (size_t i = 0; i < from->count; i++) {
    struct sim_item *item = insert(v, i);
    *item = (struct sim_item){copy(from->items[i].name), copy(from->items[i].value), from->items[i].score};
  }
  for (size_t i = from->first; i < from->end; i++)
    sim_stream_add(v, from->entries[i].id, from->entries[i].fields, from->entries[i].count);
  v->last = from->last;
  v->added = from->added;
  return true;
}

void sim_keys_copy(struct sim_keys *to, const struct sim_keys *from) {
  bx_table_each((struct bx_table *)&from->table, copy_value, to);
}
