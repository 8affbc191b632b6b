// SPDX-License-Identifier: Apache-2.0
// The head of a request: its end is found in pieces as in one, what is refused has a status, and what
// is accepted, written anew from what was read, is read as the same.
#include "broker/host/head.h"

#define MUST(condition) BX_BUG_ON(!(condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long find_end(struct bx_slice text, size_t step) {
  size_t scanned = 0;
  long end = 0;
  for (size_t n = 0; n < text.len && end == 0;) {
    n = n + step < text.len ? n + step : text.len;
    end = bk_head_end(text.at, n, &scanned);
  }
  return end;
}

static bool inside(struct bx_slice part, struct bx_slice text) {
  return part.len == 0 || (part.at >= text.at && part.at + part.len <= text.at + text.len);
}

// Every field as it was split; a host that stood in the URI only becomes a field.
static void write_again(const struct bk_head *h, struct bx_slice text, struct bx_buffer *out) {
  struct bk_head_field f;
  bx_buffer_add(out, text.at, (size_t)((const char *)memchr(text.at, ' ', text.len) - text.at + 1));
  bx_buffer_slice(out, h->target);
  bx_buffer_printf(out, " HTTP/1.%d\r\n", h->http_1_1);
  if (bk_head_count(h->fields, "host") == 0 && h->host.len > 0)
    bx_buffer_printf(out, "host:%.*s\r\n", (int)h->host.len, h->host.at);
  for (size_t at = 0; bk_head_next(h->fields, &at, &f);) {
    MUST(inside(f.name, h->fields) && inside(f.value, h->fields) && f.name.len > 0);
    bx_buffer_slice(out, f.name);
    bx_buffer_lit(out, ":");
    bx_buffer_slice(out, f.value);
    bx_buffer_lit(out, "\r\n");
  }
  bx_buffer_lit(out, "\r\n");
}

static void same_again(const struct bk_head *h, struct bx_slice text) {
  struct bx_buffer out = {0};
  struct bk_head again;
  const char *why = NULL;
  size_t scanned = 0;
  write_again(h, text, &out);
  MUST(bk_head_end(out.at, out.len, &scanned) == (long)out.len);
  int status = bk_head_parse(&again, bx_buffer_view(&out), &why);
  // One field more may be one too many.
  MUST(status == 0 || (status == 431 && bk_head_count(h->fields, "host") == 0));
  if (status == 0) {
    MUST(bx_slice_equal(again.target, h->target) && again.path_len == h->path_len);
    MUST(bx_slice_equal(again.host, h->host));
    MUST(again.method == h->method && again.http_1_1 == h->http_1_1);
    MUST(again.framing == h->framing && again.content_length == h->content_length);
  }
  bx_buffer_fini(&out);
}

// One reading only: how long the body is, and for whom the request is.
static void unmistakable(const struct bk_head *h) {
  unsigned lengths = bk_head_count(h->fields, "Content-Length"),
           codings = bk_head_count(h->fields, "Transfer-Encoding");
  MUST(lengths + codings <= 1 && bk_head_count(h->fields, "Host") <= 1);
  MUST((h->framing == BK_BODY_LENGTH) == (lengths == 1) && (h->framing == BK_BODY_CHUNKED) == (codings == 1));
  MUST(codings == 0 || (h->http_1_1 && bk_head_has(h->fields, "transfer-encoding", "CHUNKED")));
  MUST(!h->http_1_1 || h->host.len > 0);
}

// With every byte behind the first slash escaped, the path is the same.
static void path(const struct bk_head *h) {
  struct bx_buffer plain = {0}, escaped = {0}, again = {0};
  if (bk_head_path(h, &plain)) {
    struct bk_head other = *h;
    MUST(plain.len > 0 && plain.at[0] == '/');
    for (size_t i = 0; i < plain.len; i++) {
      MUST((unsigned char)plain.at[i] >= ' ' && plain.at[i] != 0x7f);
      bx_buffer_printf(&escaped, i == 0 ? "/" : "%%%02x", (unsigned char)plain.at[i]);
    }
    other.target = bx_buffer_view(&escaped);
    other.path_len = escaped.len;
    MUST(bk_head_path(&other, &again) && bx_slice_equal(bx_buffer_view(&again), bx_buffer_view(&plain)));
  }
  bx_buffer_fini(&plain);
  bx_buffer_fini(&escaped);
  bx_buffer_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bx_slice text = {(const char *)data, size};
  struct bk_head h;
  const char *why = NULL;
  if (size == 0) return 0;
  long end = find_end(text, size);
  for (size_t step = 1; step <= 3; step++) MUST(find_end(text, step) == end);
  MUST(end >= -1 && end <= (long)size);
  if (end <= 0) return 0;
  text.len = (size_t)end;
  int status = bk_head_parse(&h, text, &why);
  MUST(status == 0 || status == 400 || status == 431 || status == 501 || status == 505);
  if (status != 0) {
    MUST(why);
    return 0;
  }
  MUST(inside(h.fields, text) && inside(h.target, text) && inside(h.host, text));
  MUST(h.path_len > 0 && h.path_len <= h.target.len);
  unmistakable(&h);
  same_again(&h, text);
  path(&h);
  return 0;
}
