// SPDX-License-Identifier: Apache-2.0
// What Redis answered, as a tree that knows nothing of the library that read it.
//
// A script answers {"<WORD>", value, ...} with every number as decimal text; a plain command answers
// what Redis says it does. The tree and its bytes live as long as the call they are passed to. Nothing
// in it is trusted: the getters take any index and any type and say so when it is not what was asked.
#pragma once

#include "bayeux/base.h"

enum er_reply_type { ER_REPLY_NIL, ER_REPLY_INT, ER_REPLY_TEXT, ER_REPLY_ERROR, ER_REPLY_ARRAY };

struct er_reply {
  enum er_reply_type type;
  int64_t number;           // INT
  struct bx_slice text;     // TEXT (a bulk or a status), ERROR
  struct er_reply *items;   // ARRAY
  size_t count;
};

// NULL when there is no such item.
static inline const struct er_reply *er_reply_item(const struct er_reply *r, size_t i) {
  return r && r->type == ER_REPLY_ARRAY && i < r->count ? &r->items[i] : NULL;
}

// The bytes of a text; empty when `r` is NULL or something else.
static inline struct bx_slice er_reply_bytes(const struct er_reply *r) {
  return r && r->type == ER_REPLY_TEXT ? r->text : (struct bx_slice){"", 0};
}

// Item `i` as bytes; empty when it is not there or not a text.
static inline struct bx_slice er_reply_text(const struct er_reply *r, size_t i) {
  return er_reply_bytes(er_reply_item(r, i));
}

// The word an array begins with, or a text as a whole.
static inline bool er_reply_is(const struct er_reply *r, const char *word) {
  const struct er_reply *first = r && r->type == ER_REPLY_ARRAY ? er_reply_item(r, 0) : r;
  return first && first->type == ER_REPLY_TEXT && bx_slice_equal(first->text, bx_slice_of(word));
}

// How many items follow the word; a text that is a word has none.
static inline size_t er_reply_rest(const struct er_reply *r) {
  return r && r->type == ER_REPLY_ARRAY && r->count > 0 ? r->count - 1 : 0;
}

static inline bool er_reply_is_error(const struct er_reply *r) { return r && r->type == ER_REPLY_ERROR; }

// Decimal digits and nothing else, no sign, no overflow.
static inline bool er_text_u64(struct bx_slice text, uint64_t *out) {
  uint64_t n = 0;
  if (text.len == 0) return false;
  for (size_t i = 0; i < text.len; i++) {
    unsigned digit = (unsigned char)text.at[i] - '0';
    if (digit > 9 || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n)) return false;
  }
  *out = n;
  return true;
}

// Item `i` as a number: digits, or an integer that is not negative. False leaves `out` as it was.
static inline bool er_reply_u64(const struct er_reply *r, size_t i, uint64_t *out) {
  const struct er_reply *item = er_reply_item(r, i);
  if (item && item->type == ER_REPLY_INT && item->number >= 0) {
    *out = (uint64_t)item->number;
    return true;
  }
  return er_text_u64(er_reply_bytes(item), out);
}
