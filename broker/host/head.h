// SPDX-License-Identifier: Apache-2.0
// The head of an HTTP/1 request, read strictly: what two readers could take for two different
// things is refused, so that no proxy in front of us sees other requests than we do.
//
// Pure: bytes in, slices out. Nothing is decoded here but the path.
#pragma once

#include "bayeux/buffer.h"
#include "broker/host/http.h"

#define BK_HEAD_MAX_FIELDS 128

// Looks for the end of a head that begins at `at`. The bytes' length with the empty line, 0 when more
// have to come, -1 when a byte is none that a head may have (a control character, a line that does
// not end with CR LF). `scanned` starts at 0 and says how far an earlier call came.
long bk_head_end(const char *at, size_t len, size_t *scanned);

struct bk_head_field {
  struct bx_slice name, value;   // value without the spaces around it, may be empty
};

// How the body behind a head is delimited.
enum bk_body { BK_BODY_NONE, BK_BODY_LENGTH, BK_BODY_CHUNKED };

struct bk_head {
  struct bx_slice fields;   // of the bytes that were parsed: "Name: value\r\n" each
  struct bx_slice target;   // as sent; of an absolute URI what stands behind the authority
  size_t path_len;          // of target, in front of '?'
  struct bx_slice host;     // of the Host field or the URI; empty when there is none (HTTP/1.0)
  enum bk_method method;
  bool http_1_1;
  enum bk_body framing;
  uint64_t content_length;
};

// `text` is what bk_head_end() delimited; slices point into it. 0, or the status to refuse with
// (400, 431, 501, 505), with a word for the log in *why. The method is known as soon as it could be read.
int bk_head_parse(struct bk_head *, struct bx_slice text, const char **why);

// Walks the fields: *at starts at 0.
bool bk_head_next(struct bx_slice fields, size_t *at, struct bk_head_field *);
// All values of a field, joined with ", "; false when there is none or all are empty.
bool bk_head_get(struct bx_slice fields, const char *name, struct bx_buffer *out);
unsigned bk_head_count(struct bx_slice fields, const char *name);
// Does a comma-separated field hold the word, in whatever case?
bool bk_head_has(struct bx_slice fields, const char *name, const char *word);

// The value of a hexadecimal digit, or -1.
static inline int bk_hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A character of a name (RFC 9110, "token").
bool bk_is_token(unsigned char);

// Appends the path, percent-decoded. False: a bad escape, a control character, a "." or ".." segment.
bool bk_head_path(const struct bk_head *, struct bx_buffer *out);
