// SPDX-License-Identifier: Apache-2.0
// Bugs, memory, and the two things everybody needs to know about UTF-8.
#include "bayeux/base.h"

#include <stdio.h>
#include <stdlib.h>

#define SMALL 1024   // bytes; what a thread of glibc keeps for itself is hardly larger

_Noreturn void bx_bug(const char *file, int line, const char *function, const char *what) {
  fprintf(stderr, "bug: %s:%d: %s: %s\n", file, line, function, what);
  abort();
}

// glibc's malloc() takes first what was freed last, its calloc() does not before 2.41: several blocks come and go with
// each message. Not inlined, else the compiler makes one calloc() of malloc() and memset().
static __attribute__((noinline)) void *take(size_t size) {
  void *memory = malloc(size ? size : 1);
  BX_BUG_ON(memory == NULL);
  return memory;
}

void *bx_alloc(size_t size) {
  if (size <= SMALL) return memset(take(size), 0, size);
  void *memory = calloc(1, size);
  BX_BUG_ON(memory == NULL);
  return memory;
}

void *bx_alloc_lines(size_t size) {
  void *memory;
  BX_BUG_ON(posix_memalign(&memory, BX_LINE, size) != 0);
  return memset(memory, 0, size);
}

void *bx_realloc(void *old, size_t size) {
  void *memory = realloc(old, size ? size : 1);
  BX_BUG_ON(memory == NULL);
  return memory;
}

void bx_free(void *memory) { free(memory); }

static bool continues(unsigned char byte) { return (byte & 0xc0) == 0x80; }

// The second byte decides about overlong forms (E0, F0), surrogates (ED) and the end of Unicode
// (F4); what follows it may be any continuation.
unsigned bx_utf8_length(const char *text, const char *end) {
  const unsigned char *p = (const unsigned char *)text;
  size_t left = (size_t)(end - text);
  if (left == 0) return 0;
  if (p[0] < 0x80) return 1;
  if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2 || !continues(p[1])) return 0;
  if (p[0] < 0xe0) return 2;
  if (left < 3 || !continues(p[2])) return 0;
  if (p[0] < 0xf0) {
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0;
    if (p[0] == 0xed && p[1] > 0x9f) return 0;
    return 3;
  }
  if (left < 4 || !continues(p[3])) return 0;
  if (p[0] == 0xf0 && p[1] < 0x90) return 0;
  if (p[0] == 0xf4 && p[1] > 0x8f) return 0;
  return 4;
}

unsigned bx_utf8_encode(uint32_t code, char out[4]) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3f));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
  }
  out[0] = (char)(0xf0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 0x3f));
  out[2] = (char)(0x80 | (code >> 6 & 0x3f));
  out[3] = (char)(0x80 | (code & 0x3f));
  return 4;
}
