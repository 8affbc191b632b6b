// SPDX-License-Identifier: Apache-2.0
// Query strings: "a=b&c=d%20e".
#include "broker/host/internal.h"

static void decode(struct bx_slice in, struct bx_buffer *out) {
  for (size_t i = 0; i < in.len; i++) {
    char c = in.at[i];
    if (c == '+') {
      c = ' ';
    } else if (c == '%' && i + 2 < in.len && bk_hex(in.at[i + 1]) >= 0 && bk_hex(in.at[i + 2]) >= 0) {
      c = (char)(bk_hex(in.at[i + 1]) * 16 + bk_hex(in.at[i + 2]));
      i += 2;
    }
    bx_buffer_char(out, c);
  }
}

bool bk_query_get(struct bx_slice query, const char *name, struct bx_buffer *out) {
  struct bx_buffer key = {0};
  bool found = false;
  const char *at = query.at, *end = query.len ? query.at + query.len : at;
  while (at < end && !found) {
    const char *stop = memchr(at, '&', (size_t)(end - at));
    if (!stop) stop = end;
    const char *equals = memchr(at, '=', (size_t)(stop - at));
    bx_buffer_clear(&key);
    decode((struct bx_slice){at, (size_t)((equals ? equals : stop) - at)}, &key);
    found = bx_slice_equal(bx_buffer_view(&key), bx_slice_of(name));
    if (found && equals) decode((struct bx_slice){equals + 1, (size_t)(stop - equals - 1)}, out);
    at = stop + 1;
  }
  bx_buffer_fini(&key);
  return found;
}
