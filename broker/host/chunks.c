// SPDX-License-Identifier: Apache-2.0
// Chunked request bodies. Every line ends with CR LF: what takes less is read differently by proxies.
#include "broker/host/head.h"
#include "broker/host/internal.h"

#define MAX_LINES 16384   // bytes of chunk extensions and trailers in all

// A line is over.
static bool end_of_line(struct bk_chunks *c) {
  bool empty = c->line == 0;
  c->line = 0;
  switch (c->state) {
  case BK_CHUNK_SIZE:
  case BK_CHUNK_EXTENSION:
    if (c->digits == 0) return false;
    c->digits = 0;
    c->state = c->left ? BK_CHUNK_DATA : BK_CHUNK_TRAILER;
    return true;
  case BK_CHUNK_END: c->state = BK_CHUNK_SIZE; return empty;
  default:
    if (!empty && !c->colon) return false;
    c->colon = false;
    if (empty) c->state = BK_CHUNKS_OVER;
    return true;
  }
}

// One byte that is not data. False: it makes no sense.
static bool feed_byte(struct bk_chunks *c, char byte) {
  if (c->cr) {
    c->cr = false;
    return byte == '\n' && end_of_line(c);
  }
  if (byte == '\r') {
    c->cr = true;
    return true;
  }
  c->line++;
  if (c->state == BK_CHUNK_SIZE && bk_hex(byte) >= 0) {
    c->left = c->left * 16 + (unsigned)bk_hex(byte);
    return ++c->digits <= 15;
  }
  if (c->state == BK_CHUNK_SIZE) {
    c->state = BK_CHUNK_EXTENSION;
    return c->digits > 0 && byte == ';';
  }
  if (c->state == BK_CHUNK_TRAILER && !c->colon) {
    c->colon = byte == ':' && c->line > 1;
    return c->colon || bk_is_token((unsigned char)byte);
  }
  return c->state != BK_CHUNK_END && ((unsigned char)byte >= ' ' || byte == '\t') && byte != 0x7f;
}

long bk_chunks_feed(struct bk_chunks *c, const char *at, size_t len, struct bx_buffer *out) {
  size_t used = 0;
  while (used < len && c->state != BK_CHUNKS_OVER) {
    if (c->state == BK_CHUNK_DATA) {
      size_t n = len - used < c->left ? len - used : (size_t)c->left;
      bx_buffer_add(out, at + used, n);
      used += n;
      c->left -= n;
      if (c->left == 0) c->state = BK_CHUNK_END;
      continue;
    }
    if (c->state == BK_CHUNK_EXTENSION || c->state == BK_CHUNK_TRAILER)
      if (++c->overhead > MAX_LINES) return -1;
    if (!feed_byte(c, at[used++])) return -1;
  }
  return (long)used;
}
