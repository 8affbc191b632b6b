// SPDX-License-Identifier: Apache-2.0
// The few words everything else is written in: slices, bugs, memory, lists.
//
// Memory: an allocation whose size the program fixes cannot usefully fail, so bx_alloc() and
// bx_realloc() abort instead of returning NULL. What a peer can size is checked against a limit
// before it gets here.
//
// Threads: none. Nothing in bayeux/ is shared between threads, so nothing is locked or atomic.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// A position in the journal. Grows for ever, 0 = before everything; below 2^53, so that a
// JavaScript number holds it exactly.
typedef uint64_t bx_position;

// Milliseconds on a clock that never runs backwards; its zero means nothing.
typedef uint64_t bx_millis;

// Bytes owned by somebody else. Not terminated.
struct bx_slice {
  const char *at;
  size_t len;
};

#define BX_LIT(text) ((struct bx_slice){(text), sizeof(text) - 1})

static inline struct bx_slice bx_slice_of(const char *text) { return (struct bx_slice){text, strlen(text)}; }

static inline bool bx_slice_equal(struct bx_slice a, struct bx_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool bx_slice_starts(struct bx_slice a, struct bx_slice prefix) {
  return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.at, prefix.at, prefix.len) == 0);
}

// FNV-1a: for comparing, the same on every node and for ever. Peers can find collisions: use it where
// they only fool themselves, and a keyed table (bayeux/table.h) elsewhere.
static inline uint64_t bx_hash(struct bx_slice s) {
  uint64_t hash = 14695981039346656037ull;

  for (size_t i = 0; i < s.len; i++) hash = (hash ^ (unsigned char)s.at[i]) * 1099511628211ull;
  return hash;
}

#define BX_LINE 64   // bytes of a cache line

// Asks for `bytes` of memory that will be needed soon: a fan-out goes from client to client, and each is
// far from the last one in memory. It need not be there any more.
static inline void bx_fetch_ahead(const void *at, size_t bytes) {
  for (size_t i = 0; i < bytes; i += BX_LINE) __builtin_prefetch((const char *)at + i, 1);
  if (bytes > 0) __builtin_prefetch((const char *)at + bytes - 1, 1);   // `at` may be anywhere in its line
}

#define BX_MUST_CHECK __attribute__((warn_unused_result))
#define BX_PRINTF(f, a) __attribute__((format(printf, f, a)))

// A state that only a bug can bring about: says where, and aborts.
#define BX_BUG_ON(condition)                                                                  \
  do {                                                                                        \
    if (__builtin_expect(!!(condition), 0)) bx_bug(__FILE__, __LINE__, __func__, #condition); \
  } while (0)

_Noreturn void bx_bug(const char *file, int line, const char *function, const char *what);

void *bx_alloc(size_t size) __attribute__((malloc, returns_nonnull));   // zeroed
// The same, from the beginning of a cache line on: for what each delivery touches.
void *bx_alloc_lines(size_t size) __attribute__((malloc, returns_nonnull));
void *bx_realloc(void *old, size_t size) __attribute__((returns_nonnull));
void bx_free(void *memory);   // NULL is allowed

// Bytes of the one character at `text`: 1..4, or 0 when it is not UTF-8 (overlong, a surrogate,
// above U+10FFFF, cut off) or `text` is the end.
unsigned bx_utf8_length(const char *text, const char *end);
// Writes a code point up to U+10FFFF; returns how many bytes.
unsigned bx_utf8_encode(uint32_t code, char out[4]);

#define bx_container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

// An intrusive, circular, doubly linked list. A head that was initialised is never NULL-ended;
// a link that is on no list points to itself, so that removing it twice is harmless.
struct bx_list {
  struct bx_list *next, *prev;
};

static inline void bx_list_init(struct bx_list *l) { l->next = l->prev = l; }
static inline bool bx_list_empty(const struct bx_list *l) { return l->next == l; }

static inline void bx_list_append(struct bx_list *head, struct bx_list *l) {
  l->prev = head->prev;
  l->next = head;
  head->prev->next = l;
  head->prev = l;
}

static inline void bx_list_remove(struct bx_list *l) {
  l->prev->next = l->next;
  l->next->prev = l->prev;
  bx_list_init(l);
}

// Moves all of `from` behind `to`; `from` is empty afterwards.
static inline void bx_list_splice(struct bx_list *to, struct bx_list *from) {
  if (bx_list_empty(from)) return;
  from->next->prev = to->prev;
  from->prev->next = to;
  to->prev->next = from->next;
  to->prev = from->prev;
  bx_list_init(from);
}

// The first link, removed; NULL when empty. The way to walk a list that callbacks may change:
// splice it to a local head, then take until empty.
static inline struct bx_list *bx_list_take(struct bx_list *head) {
  struct bx_list *l = head->next;
  if (l == head) return NULL;
  bx_list_remove(l);
  return l;
}

// `link` may be removed in the body, others may not.
#define bx_list_each(link, head)                                                       \
  for (struct bx_list *link = (head)->next, *link##_next = link->next; link != (head); \
       link = link##_next, link##_next = link->next)
