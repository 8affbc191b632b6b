// SPDX-License-Identifier: Apache-2.0
// Chains in an array of buckets; one node a bucket on average when it doubles.
#include "bayeux/table.h"

#define SMALLEST 16   // buckets

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = rotate(v[1], 13) ^ v[0];
  v[0] = rotate(v[0], 32);
  v[2] += v[3];
  v[3] = rotate(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotate(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotate(v[1], 17) ^ v[2];
  v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  sip_round(v);
  v[0] ^= word;
}

static uint64_t little_endian(const unsigned char *bytes, size_t count) {
  uint64_t word = 0;
  for (size_t i = 0; i < count; i++) word |= (uint64_t)bytes[i] << (8 * i);
  return word;
}

// SipHash-1-3 (Aumasson, Bernstein): one round a word, three at the end.
uint64_t bx_table_hash(const struct bx_table *t, struct bx_slice key) {
  uint64_t v[4] = {
      t->secret.k0 ^ 0x736f6d6570736575u,
      t->secret.k1 ^ 0x646f72616e646f6du,
      t->secret.k0 ^ 0x6c7967656e657261u,
      t->secret.k1 ^ 0x7465646279746573u,
  };
  const unsigned char *bytes = (const unsigned char *)key.at;
  size_t left = key.len;
  for (; left >= 8; bytes += 8, left -= 8) sip_word(v, little_endian(bytes, 8));
  sip_word(v, (uint64_t)key.len << 56 | little_endian(bytes, left));
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t size_of(const struct bx_table *t) { return t->buckets ? t->mask + 1 : 0; }

static void push(struct bx_table *t, struct bx_table_node *n) {
  struct bx_table_node **bucket = &t->buckets[n->hash & t->mask];
  n->next = *bucket;
  *bucket = n;
}

static void resize(struct bx_table *t, size_t size) {
  struct bx_table_node **old = t->buckets;
  size_t old_size = size_of(t);
  t->buckets = bx_alloc(size * sizeof *t->buckets);
  t->mask = size - 1;
  for (size_t i = 0; i < old_size; i++) {
    for (struct bx_table_node *n = old[i], *next; n; n = next) {
      next = n->next;
      push(t, n);
    }
  }
  bx_free(old);
}

// At an eighth it halves, so that it is a quarter full then: far from doubling again.
static void shrink(struct bx_table *t) {
  size_t size = size_of(t);
  while (size > SMALLEST && t->count < size / 8) size /= 2;
  if (size != size_of(t)) resize(t, size);
}

void bx_table_init(struct bx_table *t, struct bx_table_key secret) { *t = (struct bx_table){.secret = secret}; }

void bx_table_fini(struct bx_table *t) {
  bx_free(t->buckets);
  *t = (struct bx_table){.secret = t->secret};
}

struct bx_table_node *bx_table_find(const struct bx_table *t, struct bx_slice key) {
  return t->count ? bx_table_find_hashed(t, key, bx_table_hash(t, key)) : NULL;
}

struct bx_table_node *bx_table_find_hashed(const struct bx_table *t, struct bx_slice key, uint64_t hash) {
  if (t->count == 0) return NULL;
  struct bx_table_node *n = t->buckets[hash & t->mask];
  while (n && !(n->hash == hash && bx_slice_equal(n->key, key))) n = n->next;
  return n;
}

void bx_table_insert(struct bx_table *t, struct bx_table_node *n, struct bx_slice key) {
  BX_BUG_ON(t->walks);
  if (t->count == size_of(t)) resize(t, t->count ? 2 * t->count : SMALLEST);
  n->key = key;
  n->hash = bx_table_hash(t, key);
  push(t, n);
  t->count++;
}

void bx_table_remove(struct bx_table *t, struct bx_table_node *n) {
  BX_BUG_ON(t->count == 0);
  struct bx_table_node **link = &t->buckets[n->hash & t->mask];
  while (*link != n) {
    BX_BUG_ON(*link == NULL);
    link = &(*link)->next;
  }
  *link = n->next;
  n->next = NULL;
  t->count--;
  if (!t->walks) shrink(t);
}

void bx_table_each(struct bx_table *t, bool (*visit)(struct bx_table_node *, void *context), void *context) {
  bool more = true;
  t->walks++;
  for (size_t i = 0; more && i < size_of(t); i++) {
    for (struct bx_table_node *n = t->buckets[i], *next; more && n; n = next) {
      next = n->next;
      more = visit(n, context);
    }
  }
  t->walks--;
  if (!t->walks) shrink(t);
}
