// SPDX-License-Identifier: Apache-2.0
// A growing run of bytes: how replies and bodies are written.
//
// {0} is an empty buffer. The owner calls bx_buffer_fini(). A buffer grows without a limit of its
// own: the caller limits what it puts in.
#pragma once

#include "bayeux/base.h"

struct bx_buffer {
  char *at;
  size_t len;
  size_t cap;
};

void bx_buffer_fini(struct bx_buffer *);    // frees; the buffer is {0} again
void bx_buffer_clear(struct bx_buffer *);   // keeps the memory
void bx_buffer_reserve(struct bx_buffer *, size_t more);

// Holds these bytes, and no memory besides.
void bx_buffer_exactly(struct bx_buffer *, struct bx_slice);

void bx_buffer_add(struct bx_buffer *, const void *bytes, size_t len);
void bx_buffer_slice(struct bx_buffer *, struct bx_slice);
static inline void bx_buffer_char(struct bx_buffer *b, char c) {
  if (b->len == b->cap) bx_buffer_reserve(b, 1);
  b->at[b->len++] = c;
}
void bx_buffer_u64(struct bx_buffer *, uint64_t);
void bx_buffer_hex(struct bx_buffer *, uint64_t);   // 16 digits
void bx_buffer_printf(struct bx_buffer *, const char *format, ...) BX_PRINTF(2, 3);

#define bx_buffer_lit(buffer, text) bx_buffer_add((buffer), (text), sizeof(text) - 1)

// `text` as a JSON string with its quotes. Escapes what the grammar demands and nothing more;
// bytes that are not UTF-8 become U+FFFD.
void bx_buffer_json_string(struct bx_buffer *, struct bx_slice text);

// The contents as a slice: valid until the buffer is next changed.
static inline struct bx_slice bx_buffer_view(const struct bx_buffer *b) { return (struct bx_slice){b->at, b->len}; }

// The memory changes hands (caller frees with bx_free); the buffer is {0} again.
struct bx_slice bx_buffer_take(struct bx_buffer *);
