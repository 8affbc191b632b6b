// SPDX-License-Identifier: Apache-2.0
// Channel names and patterns: checked once, at the door; everything after that trusts them.
#include "bayeux/channel.h"

static bool segment_byte(unsigned char c) {
  static const bool table[256] = {
      ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true, ['_'] = true, ['!'] = true,
      ['~'] = true,         ['('] = true,         [')'] = true,         ['$'] = true, ['@'] = true,
  };
  return table[c];
}

// How many bytes of `s` come before a last segment that is a wildcard, or all.
static size_t before_wildcard(struct bx_slice s) {
  if (s.len >= 3 && memcmp(s.at + s.len - 3, "/**", 3) == 0) return s.len - 3;
  if (s.len >= 2 && memcmp(s.at + s.len - 2, "/*", 2) == 0) return s.len - 2;
  return s.len;
}

enum bx_channel_kind bx_channel_classify(struct bx_slice s) {
  size_t plain = before_wildcard(s);
  if (s.len == 0) return BX_CHANNEL_INVALID;
  if (plain && (s.at[0] != '/' || s.at[plain - 1] == '/')) return BX_CHANNEL_INVALID;
  for (size_t i = 1; i < plain; i++) {
    if (s.at[i] == '/' ? s.at[i - 1] == '/' : !segment_byte((unsigned char)s.at[i])) return BX_CHANNEL_INVALID;
  }
  return plain == s.len ? BX_CHANNEL_NAME : BX_CHANNEL_PATTERN;
}

unsigned bx_channel_depth(struct bx_slice s) {
  unsigned depth = 0;
  for (size_t i = 0; i < s.len; i++) depth += s.at[i] == '/';
  return depth;
}

static bool below(struct bx_slice s, struct bx_slice root) {
  return bx_slice_starts(s, root) && (s.len == root.len || s.at[root.len] == '/');
}

bool bx_channel_is_meta(struct bx_slice s) { return below(s, BX_LIT("/meta")); }

bool bx_channel_is_service(struct bx_slice s) { return below(s, BX_LIT("/service")); }

bool bx_channel_matches(struct bx_slice pattern, struct bx_slice name) {
  size_t prefix = before_wildcard(pattern);
  if (prefix == pattern.len) return bx_slice_equal(pattern, name);
  if (name.len <= prefix || name.at[prefix] != '/' || memcmp(name.at, pattern.at, prefix) != 0) return false;
  if (pattern.len - prefix == 3) return true;
  struct bx_slice rest = {name.at + prefix + 1, name.len - prefix - 1};
  return !memchr(rest.at, '/', rest.len) && !bx_slice_equal(rest, BX_LIT("**"));
}

// One "/prefix/**" for each slash behind the first; "/parent/*" is the last of them without its
// last byte.
size_t bx_channel_scratch(struct bx_slice name) {
  size_t bytes = 0;
  if (bx_channel_is_service(name)) return 0;
  for (size_t i = 1; i < name.len; i++) {
    if (name.at[i] == '/') bytes += i + 3;
  }
  return bytes;
}

size_t bx_channel_expand(struct bx_slice name, struct bx_slice *keys, char *scratch) {
  size_t count = 0;
  if (!bx_channel_is_service(name)) {
    keys[count++] = BX_LIT("/**");
    for (size_t i = 1; i < name.len; i++) {
      if (name.at[i] != '/') continue;
      memcpy(scratch, name.at, i);
      memcpy(scratch + i, "/**", 3);
      keys[count++] = (struct bx_slice){scratch, i + 3};
      scratch += i + 3;
    }
    keys[count] = keys[count - 1];
    keys[count++].len--;
  }
  keys[count++] = name;
  return count;
}
