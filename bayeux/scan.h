// SPDX-License-Identifier: Apache-2.0
// The one JSON reader. A cursor that checks as it goes: UTF-8, RFC 8259 grammar and depth are
// verified in the single pass in which values come out as slices of the input, with their bytes as
// they were sent (numbers, escapes, white space inside, key order).
//
// What differs from a library that builds trees: numbers of any length, \u0000 and lone surrogates
// written as escapes are accepted (they are valid JSON and Faye accepts them); nothing is decoded
// unless asked for. A byte order mark is refused.
//
// Lifetime: values borrow from the text given to bx_scan_init(). After the first fault every
// function returns false / BX_JSON_NONE and the fault stays readable.
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"

enum bx_json {
  BX_JSON_NONE,   // no value: end of text, or a fault
  BX_JSON_NULL,
  BX_JSON_FALSE,
  BX_JSON_TRUE,
  BX_JSON_NUMBER,
  BX_JSON_STRING,
  BX_JSON_ARRAY,
  BX_JSON_OBJECT,
};

struct bx_value {
  enum bx_json type;
  bool escaped;          // a string that contains a backslash
  struct bx_slice raw;   // the whole value; of a string with its quotes
};

struct bx_scan {
  const char *begin, *at, *end;
  unsigned depth, max_depth;
  bool too_deep;       // that is the fault
  bool first;          // directly behind an opening bracket
  uint64_t objects;    // bit d: level d is an object (max_depth <= 64)
  const char *fault;   // what was wrong, in words; NULL = nothing
};

// max_depth: how many brackets may be open at once, 1..64.
void bx_scan_init(struct bx_scan *, struct bx_slice text, unsigned max_depth);

// The type of the value that follows, by its first byte; consumes white space only.
enum bx_json bx_scan_peek(struct bx_scan *);

// Reads one whole value, checked to its end.
bool bx_scan_value(struct bx_scan *, struct bx_value *) BX_MUST_CHECK;

// Steps into the array or object that follows.
bool bx_scan_enter(struct bx_scan *) BX_MUST_CHECK;

// Inside: true when another item follows (in an object its key was read into *key and the cursor
// stands at its value; in an array *key is BX_JSON_NONE). False behind the closing bracket, which
// it consumes, and after a fault: tell them apart by bx_scan_failed(). The item itself must be read
// (bx_scan_value, or bx_scan_enter and all its items) before the next call.
bool bx_scan_item(struct bx_scan *, struct bx_value *key);

// True when every bracket is closed and nothing but white space is left; else that is the fault.
bool bx_scan_end(struct bx_scan *) BX_MUST_CHECK;

static inline bool bx_scan_failed(const struct bx_scan *s) { return s->fault != NULL; }

// Where the cursor stands, after a fault the place of it: lines and characters, counted from 1.
void bx_scan_where(const struct bx_scan *, unsigned *line, unsigned *column);
// The line of any place in the text, counted from 1.
unsigned bx_scan_line_of(const struct bx_scan *, const char *place);

// -- values ----------------------------------------------------------------------------------

// Between the quotes of a string, escapes as sent.
static inline struct bx_slice bx_value_inside(const struct bx_value *v) {
  return (struct bx_slice){v->raw.at + 1, v->raw.len - 2};
}

// A string equal to `text` after decoding.
bool bx_value_is(const struct bx_value *, struct bx_slice text);

// Appends the decoded string. Lone surrogates become U+FFFD. Of what is no string: nothing.
void bx_value_decode(const struct bx_value *, struct bx_buffer *out);

// JavaScript's truth: false for NONE, null, false, "", 0, -0, 0.0, 0e9, 1e-999.
bool bx_value_truthy(const struct bx_value *);

// Appends what JavaScript's String(value) would show, as the inside of a JSON string (escapes
// kept): arrays joined by commas, objects as "[object Object]", numbers as sent.
void bx_value_text(const struct bx_value *, struct bx_buffer *out);

// A number, or a string that holds one (JSON's grammar, nothing around it), as a double; false for
// everything else and for what is too large for a double. Slices that bx_scan_value() gave.
bool bx_value_number(const struct bx_value *, double *out);
