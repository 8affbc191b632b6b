// SPDX-License-Identifier: Apache-2.0
// Buffers grow by doubling, so that adding n bytes costs O(n) however small the pieces are.
#include "bayeux/buffer.h"

#include <stdio.h>

#define SMALLEST 64

void bx_buffer_fini(struct bx_buffer *b) {
  bx_free(b->at);
  *b = (struct bx_buffer){0};
}

void bx_buffer_clear(struct bx_buffer *b) { b->len = 0; }

void bx_buffer_reserve(struct bx_buffer *b, size_t more) {
  if (b->cap - b->len >= more) return;
  BX_BUG_ON(more > SIZE_MAX / 4 || b->len > SIZE_MAX / 4);
  size_t cap = b->cap ? b->cap : SMALLEST;
  while (cap - b->len < more) cap *= 2;
  b->at = bx_realloc(b->at, cap);
  b->cap = cap;
}

void bx_buffer_exactly(struct bx_buffer *b, struct bx_slice s) {
  bx_buffer_fini(b);
  if (s.len > 0) *b = (struct bx_buffer){memcpy(bx_alloc(s.len), s.at, s.len), s.len, s.len};
}

void bx_buffer_add(struct bx_buffer *b, const void *bytes, size_t len) {
  if (len == 0) return;
  bx_buffer_reserve(b, len);
  memcpy(b->at + b->len, bytes, len);
  b->len += len;
}

void bx_buffer_slice(struct bx_buffer *b, struct bx_slice s) { bx_buffer_add(b, s.at, s.len); }

void bx_buffer_u64(struct bx_buffer *b, uint64_t n) {
  char digits[20];
  size_t first = sizeof digits;
  do {
    digits[--first] = (char)('0' + n % 10);
    n /= 10;
  } while (n);
  bx_buffer_add(b, digits + first, sizeof digits - first);
}

static const char hex[] = "0123456789abcdef";

void bx_buffer_hex(struct bx_buffer *b, uint64_t n) {
  char digits[16];
  for (size_t i = sizeof digits; i > 0; n >>= 4) digits[--i] = hex[n & 15];
  bx_buffer_add(b, digits, sizeof digits);
}

void bx_buffer_printf(struct bx_buffer *b, const char *format, ...) {
  va_list measured, written;
  va_start(measured, format);
  va_copy(written, measured);
  int len = vsnprintf(NULL, 0, format, measured);
  va_end(measured);
  BX_BUG_ON(len < 0);
  bx_buffer_reserve(b, (size_t)len + 1);   // vsnprintf ends with a NUL, which is not counted in
  vsnprintf(b->at + b->len, (size_t)len + 1, format, written);
  va_end(written);
  b->len += (size_t)len;
}

static void add_escape(struct bx_buffer *b, unsigned char c) {
  static const char shorthand[] = {
      ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
  bx_buffer_char(b, '\\');
  if (shorthand[c]) {
    bx_buffer_char(b, shorthand[c]);
    return;
  }
  bx_buffer_lit(b, "u00");
  bx_buffer_char(b, hex[c >> 4]);
  bx_buffer_char(b, hex[c & 15]);
}

void bx_buffer_json_string(struct bx_buffer *b, struct bx_slice text) {
  bx_buffer_reserve(b, text.len + 2);
  bx_buffer_char(b, '"');
  const char *run = text.at, *p = text.at, *end = text.len ? text.at + text.len : text.at;
  while (p < end) {
    unsigned char c = (unsigned char)*p;
    unsigned len = bx_utf8_length(p, end);
    if (len > 1 || (len == 1 && c >= 0x20 && c != '"' && c != '\\')) {
      p += len;
      continue;
    }
    bx_buffer_add(b, run, (size_t)(p - run));
    if (len == 0) {
      bx_buffer_lit(b, "\xef\xbf\xbd");
    } else {
      add_escape(b, c);
    }
    run = ++p;
  }
  bx_buffer_add(b, run, (size_t)(p - run));
  bx_buffer_char(b, '"');
}

struct bx_slice bx_buffer_take(struct bx_buffer *b) {
  struct bx_slice taken = bx_buffer_view(b);
  *b = (struct bx_buffer){0};
  return taken;
}
