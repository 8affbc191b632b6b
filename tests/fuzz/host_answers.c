// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/host_answers.h"

#include "bayeux/buffer.h"
#include "bayeux/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MUST(condition) BX_BUG_ON(!(condition))

// -- reading -----------------------------------------------------------------------------------

static struct bx_slice take(struct bx_slice *from, size_t len) {
  struct bx_slice taken = {from->at, len};
  from->at += len;
  from->len -= len;
  return taken;
}

// Up to `end`, which is passed over. False: it is not there.
static bool take_until(struct bx_slice *from, const char *end, struct bx_slice *out) {
  size_t len = strlen(end);
  const char *at = from->len ? memmem(from->at, from->len, end, len) : NULL;
  if (!at) return false;
  *out = take(from, (size_t)(at - from->at));
  take(from, len);
  return true;
}

static bool is_json(struct bx_slice text, enum bx_json type) {
  struct bx_scan s;
  struct bx_value v;
  bx_scan_init(&s, text, 64);
  return bx_scan_value(&s, &v) && bx_scan_end(&s) && (type == BX_JSON_NONE || v.type == type);
}

// -- bodies ------------------------------------------------------------------------------------

static bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || c == '.';
}

// A call of a name with JSON, and nothing that a script of 2009 would take for the end of a line.
static void check_script(struct bx_slice text) {
  static const char *const separators[] = {"\xe2\x80\xa8", "\xe2\x80\xa9"};
  struct bx_slice name;
  if (!bx_slice_starts(text, BX_LIT("/**/"))) return;   // the client's own script
  take(&text, 4);
  MUST(take_until(&text, "(", &name) && name.len > 0 && name.at[0] != '.' && !(name.at[0] >= '0' && name.at[0] <= '9'));
  for (size_t i = 0; i < name.len; i++) MUST(in_name(name.at[i]));
  MUST(text.len >= 2 && memcmp(text.at + text.len - 2, ");", 2) == 0);
  for (int i = 0; i < 2; i++) MUST(!memmem(text.at, text.len, separators[i], 3));
  text.len -= 2;
  MUST(is_json(text, BX_JSON_ARRAY));
}

// Blank lines between events; fields that we send; data is JSON.
static void check_events(struct bx_slice text) {
  struct bx_slice line;
  while (take_until(&text, "\n", &line)) {
    if (line.len && line.at[line.len - 1] == '\r') line.len--;
    if (line.len == 0 || line.at[0] == ':') continue;
    if (bx_slice_starts(line, BX_LIT("data: "))) {
      take(&line, 6);
      MUST(is_json(line, BX_JSON_ARRAY));
    } else {
      MUST(bx_slice_starts(line, BX_LIT("id: ")) || bx_slice_starts(line, BX_LIT("retry: ")) ||
           bx_slice_starts(line, BX_LIT("event: ")));
    }
  }
}

static bool is_type(struct bx_slice type, const char *wanted) {
  size_t len = strlen(wanted);
  return bx_slice_starts(type, bx_slice_of(wanted)) && (type.len == len || type.at[len] == ';');
}

static void check_body(struct bx_slice type, struct bx_slice body, bool whole) {
  if (is_type(type, "text/event-stream")) check_events(body);
  if (!whole || body.len == 0) return;
  if (is_type(type, "application/json")) MUST(is_json(body, BX_JSON_NONE));
  if (is_type(type, "text/javascript")) check_script(body);
}

// -- answers -----------------------------------------------------------------------------------

struct head {
  int status;
  bool chunked, has_length, websocket;
  size_t length;
  struct bx_slice type;
};

static void read_field(struct bx_slice line, struct head *h) {
  struct bx_slice name;
  MUST(take_until(&line, ":", &name) && name.len > 0);
  for (size_t i = 0; i < name.len; i++) MUST(in_name(name.at[i]) || name.at[i] == '-');
  while (line.len && line.at[0] == ' ') take(&line, 1);
  for (size_t i = 0; i < line.len; i++) MUST((unsigned char)line.at[i] >= ' ' && line.at[i] != 127);
  if (name.len == 14 && strncasecmp(name.at, "content-length", 14) == 0) {
    MUST(!h->has_length && line.len > 0 && line.len < 12);
    for (size_t i = 0; i < line.len; i++) {
      MUST(line.at[i] >= '0' && line.at[i] <= '9');
      h->length = h->length * 10 + (size_t)(line.at[i] - '0');
    }
    h->has_length = true;
  } else if (name.len == 17 && strncasecmp(name.at, "transfer-encoding", 17) == 0) {
    MUST(bx_slice_equal(line, BX_LIT("chunked")));
    h->chunked = true;
  } else if (name.len == 12 && strncasecmp(name.at, "content-type", 12) == 0) {
    h->type = line;
  } else if (name.len == 7 && strncasecmp(name.at, "upgrade", 7) == 0) {
    h->websocket = line.len == 9 && strncasecmp(line.at, "websocket", 9) == 0;
  }
}

static bool read_head(struct bx_slice *from, struct head *h) {
  struct bx_slice text, line;
  *h = (struct head){0};
  if (!take_until(from, "\r\n\r\n", &text)) return false;
  text.len += 2;   // the last line has an end, too
  MUST(take_until(&text, "\r\n", &line));
  MUST(line.len > 13 && bx_slice_starts(line, BX_LIT("HTTP/1.")) && line.at[8] == ' ' && line.at[12] == ' ');
  for (int i = 9; i < 12; i++) {
    MUST(line.at[i] >= '0' && line.at[i] <= '9');
    h->status = h->status * 10 + line.at[i] - '0';
  }
  MUST(line.at[7] == '1');
  MUST(h->status >= 100 && h->status < 600);
  while (take_until(&text, "\r\n", &line)) read_field(line, h);
  MUST(text.len == 0);
  MUST(!(h->chunked && h->has_length));
  return true;
}

// False: it is cut off.
static bool read_chunks(struct bx_slice *from, struct bx_buffer *body) {
  struct bx_slice line;
  while (take_until(from, "\r\n", &line)) {
    size_t len = 0;
    MUST(line.len > 0 && line.len < 9);
    for (size_t i = 0; i < line.len; i++) {
      const char *digits = "0123456789abcdef", *at = strchr(digits, line.at[i]);
      MUST(at);
      len = len * 16 + (size_t)(at - digits);
    }
    if (from->len < len + 2) {
      bx_buffer_add(body, from->at, from->len < len ? from->len : len);
      return false;
    }
    bx_buffer_slice(body, take(from, len));
    MUST(memcmp(take(from, 2).at, "\r\n", 2) == 0);
    if (len == 0) return true;
  }
  return false;
}

// The answer to a HEAD has a length and no body: another answer, or nothing, follows.
static bool read_body(struct bx_slice *from, const struct head *h) {
  if (h->status < 200 || h->status == 204 || h->status == 304) return true;
  if (from->len == 0 || bx_slice_starts(*from, BX_LIT("HTTP/1."))) return true;
  if (h->chunked) {
    struct bx_buffer body = {0};
    bool whole = read_chunks(from, &body);
    check_body(h->type, bx_buffer_view(&body), whole);
    bx_buffer_fini(&body);
    return whole;
  }
  bool whole = h->has_length && from->len >= h->length;
  check_body(h->type, take(from, whole ? h->length : from->len), whole);
  return whole;
}

void host_check_answers(struct bx_slice bytes) {
  struct head h;
  if (getenv("FUZZ_SHOW")) fwrite(bytes.at, 1, bytes.len, stderr);
  while (read_head(&bytes, &h)) {
    if (h.status == 101) {
      MUST(h.websocket);
      host_check_frames(bytes);
      return;
    }
    if (!read_body(&bytes, &h)) return;
  }
  // What is left is the beginning of a head.
  size_t len = bytes.len < 7 ? bytes.len : 7;
  MUST(len == 0 || memcmp(bytes.at, "HTTP/1.", len) == 0);
}

// -- frames ------------------------------------------------------------------------------------

static void check_close(struct bx_slice payload) {
  if (payload.len == 0) return;
  MUST(payload.len >= 2 && payload.len <= 125);
  unsigned code = (unsigned)(unsigned char)payload.at[0] << 8 | (unsigned char)payload.at[1];
  MUST((code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) || (code >= 3000 && code < 5000));
}

static void check_frame(unsigned opcode, struct bx_slice payload) {
  switch (opcode) {
  case 1: MUST(is_json(payload, BX_JSON_ARRAY)); break;
  case 8: check_close(payload); break;
  case 9:
  case 10: MUST(payload.len <= 125); break;
  default: MUST(!"an opcode that the broker does not send");
  }
}

void host_check_frames(struct bx_slice bytes) {
  bool closed = false;
  while (bytes.len >= 2) {
    unsigned first = (unsigned char)bytes.at[0], second = (unsigned char)bytes.at[1];
    size_t len = second & 127, more = len == 126 ? 2 : len == 127 ? 8 : 0;
    MUST((first & 0xf0) == 0x80 && !(second & 128) && !closed);
    if (bytes.len < 2 + more) return;
    take(&bytes, 2);
    if (more) len = 0;
    for (size_t i = 0; i < more; i++) len = len << 8 | (unsigned char)bytes.at[i];
    take(&bytes, more);
    if (bytes.len < len) return;
    check_frame(first & 15, take(&bytes, len));
    closed = (first & 15) == 8;
  }
}
