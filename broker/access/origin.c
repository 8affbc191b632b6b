// SPDX-License-Identifier: Apache-2.0
#include "broker/access/origin.h"

#include <strings.h>

static bool same(struct bx_slice a, struct bx_slice b) { return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0; }

// Takes `prefix` off the front, whatever its case.
static bool take(struct bx_slice *text, struct bx_slice prefix) {
  if (text->len < prefix.len || strncasecmp(text->at, prefix.at, prefix.len) != 0) return false;
  *text = (struct bx_slice){text->at + prefix.len, text->len - prefix.len};
  return true;
}

// Nothing, or ":" and digits.
static bool is_port(struct bx_slice text) {
  if (text.len == 0) return true;
  if (text.at[0] != ':' || text.len < 2 || text.len > 6) return false;
  for (size_t i = 1; i < text.len; i++)
    if (text.at[i] < '0' || text.at[i] > '9') return false;
  return true;
}

static bool is_this_machine(struct bx_slice origin) {
  if (!take(&origin, BX_LIT("http://")) && !take(&origin, BX_LIT("https://"))) return false;
  static const struct bx_slice names[] = {{"localhost", 9}, {"127.0.0.1", 9}, {"[::1]", 5}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    struct bx_slice rest = origin;
    if (take(&rest, names[i]) && is_port(rest)) return true;
  }
  return false;
}

bool bk_origin_allowed(struct cf_strings allowed, struct bx_slice origin, bool loopback) {
  if (origin.len == 0) return true;
  if (loopback && is_this_machine(origin)) return true;
  for (size_t i = 0; i < allowed.count; i++) {
    struct bx_slice each = bx_slice_of(allowed.at[i]);
    if (bx_slice_equal(each, BX_LIT("*")) || same(each, origin)) return true;
  }
  return false;
}

const char *bk_origin_check(struct bx_slice text) {
  static const char expected[] = "an origin such as https://chat.example.org, without a path, or \"*\"";
  if (bx_slice_equal(text, BX_LIT("*")) || bx_slice_equal(text, BX_LIT("null"))) return NULL;
  const char *mark = memmem(text.at, text.len, "://", 3);
  if (!mark || mark == text.at) return expected;
  struct bx_slice rest = {mark + 3, text.len - (size_t)(mark + 3 - text.at)};
  if (rest.len == 0) return expected;
  for (size_t i = 0; i < rest.len; i++)
    if (rest.at[i] <= ' ' || rest.at[i] > '~' || strchr("/?#@*\\\"", rest.at[i])) return expected;
  return NULL;
}
