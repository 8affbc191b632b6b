// SPDX-License-Identifier: Apache-2.0
// RFC 9112, without its leniencies: no bare line feeds, no folded lines, no space before a colon, one
// Host, one length.
#include "broker/host/head.h"

#include <stdlib.h>
#include <strings.h>

static const struct {
  struct bx_slice name;
  enum bk_method method;
} methods[] = {
    {{"GET", 3}, BK_GET},       {{"POST", 4}, BK_POST}, {{"PUT", 3}, BK_PUT},         {{"PATCH", 5}, BK_PATCH},
    {{"DELETE", 6}, BK_DELETE}, {{"HEAD", 4}, BK_HEAD}, {{"OPTIONS", 7}, BK_OPTIONS},
};

// A bit for each of the first 128: letters, digits, !#$%&'*+-.^_`|~
bool bk_is_token(unsigned char c) {
  static const uint64_t bits[2] = {0x03ff6cfa00000000, 0x57ffffffc7fffffe};
  return c < 128 && (bits[c / 64] >> (c % 64) & 1);
}

static bool is_control(unsigned char c) { return (c < ' ' && c != '\t') || c == 0x7f; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_space(char c) { return c == ' ' || c == '\t'; }

static bool same(struct bx_slice s, const char *text) {
  return s.len == strlen(text) && strncasecmp(s.at, text, s.len) == 0;
}

long bk_head_end(const char *at, size_t len, size_t *scanned) {
  for (size_t i = *scanned; i < len; i++) {
    unsigned char c = (unsigned char)at[i];
    if (c == '\n') {
      if (i == 0 || at[i - 1] != '\r') return -1;
      if (i >= 3 && at[i - 2] == '\n') return (long)i + 1;
    } else if ((c != '\r' && is_control(c)) || (i > 0 && at[i - 1] == '\r')) {
      return -1;
    }
  }
  *scanned = len;
  return 0;
}

// -- fields ------------------------------------------------------------------------------------

static struct bx_slice trimmed(const char *at, const char *end) {
  while (at < end && is_space(*at)) at++;
  while (end > at && is_space(end[-1])) end--;
  return (struct bx_slice){at, (size_t)(end - at)};
}

// The next line without its end; false behind the last.
static bool next_line(struct bx_slice text, size_t *at, struct bx_slice *line) {
  const char *begin = text.at + *at;
  const char *end = *at < text.len ? memchr(begin, '\r', text.len - *at) : NULL;
  if (!end) return false;
  *line = (struct bx_slice){begin, (size_t)(end - begin)};
  *at += line->len + 2;
  return true;
}

// A folded line begins with a space, which no name has.
static bool split(struct bx_slice line, struct bk_head_field *f) {
  size_t n = 0;
  while (n < line.len && bk_is_token((unsigned char)line.at[n])) n++;
  if (n == 0 || n == line.len || line.at[n] != ':') return false;
  f->name = (struct bx_slice){line.at, n};
  f->value = trimmed(line.at + n + 1, line.at + line.len);
  return true;
}

bool bk_head_next(struct bx_slice fields, size_t *at, struct bk_head_field *f) {
  struct bx_slice line;
  return next_line(fields, at, &line) && split(line, f);
}

bool bk_head_get(struct bx_slice fields, const char *name, struct bx_buffer *out) {
  struct bk_head_field f;
  size_t before = out->len;
  for (size_t at = 0; bk_head_next(fields, &at, &f);) {
    if (!same(f.name, name) || f.value.len == 0) continue;
    if (out->len > before) bx_buffer_lit(out, ", ");
    bx_buffer_slice(out, f.value);
  }
  return out->len > before;
}

unsigned bk_head_count(struct bx_slice fields, const char *name) {
  struct bk_head_field f;
  unsigned count = 0;
  for (size_t at = 0; bk_head_next(fields, &at, &f);) count += same(f.name, name);
  return count;
}

static bool list_has(struct bx_slice list, const char *word) {
  const char *end = list.at + list.len;
  for (const char *at = list.at; at < end;) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    if (!comma) comma = end;
    if (same(trimmed(at, comma), word)) return true;
    at = comma + 1;
  }
  return false;
}

bool bk_head_has(struct bx_slice fields, const char *name, const char *word) {
  struct bk_head_field f;
  for (size_t at = 0; bk_head_next(fields, &at, &f);)
    if (same(f.name, name) && list_has(f.value, word)) return true;
  return false;
}

// -- the request line --------------------------------------------------------------------------

static enum bk_method method_of(struct bx_slice word) {
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
    if (bx_slice_equal(methods[i].name, word)) return methods[i].method;
  return 0;
}

static bool take(struct bx_slice *text, const char *prefix) {
  size_t len = strlen(prefix);
  if (text->len < len || strncasecmp(text->at, prefix, len) != 0) return false;
  *text = (struct bx_slice){text->at + len, text->len - len};
  return true;
}

// "/path?query", or what a proxy is sent: "http://host/path?query".
static bool read_target(struct bk_head *h, struct bx_slice target) {
  if (take(&target, "http://") || take(&target, "https://")) {
    size_t n = 0;
    while (n < target.len && target.at[n] != '/' && target.at[n] != '?') n++;
    h->host = (struct bx_slice){target.at, n};
    target = (struct bx_slice){target.at + n, target.len - n};
    if (n == 0) return false;
  }
  if (target.len == 0 || target.at[0] != '/') return false;
  const char *query = memchr(target.at, '?', target.len);
  h->target = target;
  h->path_len = query ? (size_t)(query - target.at) : target.len;
  return true;
}

// "HTTP/1.1". What a later minor version adds may be passed over (RFC 9110, 2.5).
static bool is_version(struct bx_slice s) {
  return s.len == 8 && memcmp(s.at, "HTTP/", 5) == 0 && is_digit(s.at[5]) && s.at[6] == '.' && is_digit(s.at[7]);
}

static int read_line(struct bk_head *h, struct bx_slice line, const char **why) {
  *why = "request line";
  size_t n = 0;
  while (n < line.len && bk_is_token((unsigned char)line.at[n])) n++;
  if (n == 0 || n == line.len || line.at[n] != ' ') return 400;
  h->method = method_of((struct bx_slice){line.at, n});
  if (!h->method) {
    *why = "method";
    return 501;
  }
  struct bx_slice rest = {line.at + n + 1, line.len - n - 1};
  const char *space = memchr(rest.at, ' ', rest.len);
  if (!space || memchr(rest.at, '\t', rest.len) || memchr(rest.at, '#', rest.len)) return 400;
  struct bx_slice target = {rest.at, (size_t)(space - rest.at)};
  struct bx_slice version = {space + 1, rest.len - target.len - 1};
  if (!is_version(version)) return 400;
  h->http_1_1 = version.at[7] != '0';
  if (version.at[5] != '1') {
    *why = "version";
    return 505;
  }
  return read_target(h, target) ? 0 : 400;
}

// -- fields that say what belongs to the request -----------------------------------------------

static bool is_port(const char *at, const char *end) {
  while (at < end && *at >= '0' && *at <= '9') at++;
  return at == end;
}

// A name or number, or "[IPv6]", and perhaps ":port".
static bool is_host(struct bx_slice host) {
  const char *at = host.at, *end = at + host.len;
  bool brackets = at < end && *at == '[';
  if (brackets) {
    at++;
    while (at < end && strchr("0123456789abcdefABCDEF:.%", *at)) at++;
    if (at == end || *at++ != ']') return false;
  } else {
    while (at < end && *at != ':' && ((unsigned char)*at >= 0x80 || (bk_is_token((unsigned char)*at) && *at != '^')))
      at++;
  }
  return at == end || (*at == ':' && (brackets || at > host.at) && is_port(at + 1, end));
}

static bool same_host(struct bx_slice a, struct bx_slice b) {
  return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0;
}

static bool read_length(struct bk_head *h, struct bx_slice value) {
  h->content_length = 0;
  for (size_t i = 0; i < value.len; i++) {
    if (value.at[i] < '0' || value.at[i] > '9') return false;
    h->content_length = h->content_length * 10 + (unsigned)(value.at[i] - '0');
  }
  h->framing = BK_BODY_LENGTH;
  return value.len > 0 && value.len <= 15;
}

struct seen {
  unsigned fields, hosts, lengths, codings;
  struct bx_slice host;
};

// False: *why says which field makes no sense.
static bool read_field(struct bk_head *h, struct seen *seen, struct bk_head_field f, const char **why) {
  if (same(f.name, "host")) {
    *why = "host";
    seen->host = f.value;
    return seen->hosts++ == 0 && is_host(f.value);
  }
  if (same(f.name, "content-length")) {
    *why = "content-length";
    return seen->lengths++ == 0 && read_length(h, f.value);
  }
  if (same(f.name, "transfer-encoding")) {
    *why = "transfer-encoding";
    h->framing = BK_BODY_CHUNKED;
    return seen->codings++ == 0 && h->http_1_1 && same(f.value, "chunked");
  }
  return true;
}

static int read_fields(struct bk_head *h, const char **why) {
  struct seen seen = {0};
  struct bx_slice line;
  for (size_t at = 0; next_line(h->fields, &at, &line); seen.fields++) {
    struct bk_head_field f;
    *why = "header line";
    if (!split(line, &f)) return 400;
    if (!read_field(h, &seen, f, why)) return 400;
  }
  *why = "number of headers";
  if (seen.fields > BK_HEAD_MAX_FIELDS) return 431;
  *why = "content-length and transfer-encoding";
  if (seen.lengths && seen.codings) return 400;
  *why = "host";
  if (h->http_1_1 && seen.host.len == 0) return 400;
  if (h->host.len > 0 && (!is_host(h->host) || (seen.hosts && !same_host(h->host, seen.host)))) return 400;
  h->host = seen.hosts ? seen.host : h->host;
  return 0;
}

int bk_head_parse(struct bk_head *h, struct bx_slice text, const char **why) {
  struct bx_slice line = {0};
  size_t at = 0;
  *h = (struct bk_head){0};
  next_line(text, &at, &line);
  int status = read_line(h, line, why);
  if (status) return status;
  h->fields = (struct bx_slice){text.at + at, text.len - at - 2};   // without the empty line
  return read_fields(h, why);
}

// -- the path ----------------------------------------------------------------------------------

// "/a/../b": a reader that resolves it and one that does not see two paths.
static bool has_dots(struct bx_slice path) {
  for (size_t i = 0; i < path.len; i++) {
    if (path.at[i] != '/') continue;
    size_t n = i + 1;
    while (n < path.len && path.at[n] == '.') n++;
    size_t dots = n - i - 1;
    if ((dots == 1 || dots == 2) && (n == path.len || path.at[n] == '/')) return true;
  }
  return false;
}

bool bk_head_path(const struct bk_head *h, struct bx_buffer *out) {
  size_t before = out->len;
  for (size_t i = 0; i < h->path_len; i++) {
    char c = h->target.at[i];
    if (c == '%') {
      if (i + 2 >= h->path_len || bk_hex(h->target.at[i + 1]) < 0 || bk_hex(h->target.at[i + 2]) < 0) return false;
      c = (char)(bk_hex(h->target.at[i + 1]) * 16 + bk_hex(h->target.at[i + 2]));
      i += 2;
    }
    if (is_control((unsigned char)c) || c == '\t') return false;
    bx_buffer_char(out, c);
  }
  return !has_dots((struct bx_slice){out->at + before, out->len - before});
}
