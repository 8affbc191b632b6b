// SPDX-License-Identifier: Apache-2.0
// Chunked request bodies, which libwebsockets hands over with their framing.
#include "broker/host/internal.h"

#define MAX_LINES 16384   // bytes of chunk extensions and trailers in all

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool end_of_size(struct bk_chunks *c) {
  if (c->digits == 0) return false;
  c->digits = 0;
  c->line = 0;
  c->state = c->left ? BK_CHUNK_DATA : BK_CHUNK_TRAILER;
  return true;
}

// One byte that is not data. False: it makes no sense.
static bool feed_byte(struct bk_chunks *c, char byte) {
  switch (c->state) {
  case BK_CHUNK_SIZE:
    if (hex(byte) >= 0) {
      c->left = c->left * 16 + (unsigned)hex(byte);
      return ++c->digits <= 15;
    }
    if (byte == '\n') return end_of_size(c);
    if (byte != '\r') c->state = BK_CHUNK_EXTENSION;
    return byte == '\r' || byte == ';' || byte == ' ' || byte == '\t';
  case BK_CHUNK_EXTENSION:
    if (byte == '\n') return end_of_size(c);
    return true;
  case BK_CHUNK_END:
    if (byte == '\n') c->state = BK_CHUNK_SIZE;
    return byte == '\r' || byte == '\n';
  case BK_CHUNK_TRAILER:
    if (byte == '\r') return true;
    if (byte != '\n')
      c->line++;
    else if (c->line == 0)
      c->state = BK_CHUNKS_OVER;
    else
      c->line = 0;
    return true;
  default: return false;
  }
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
