// SPDX-License-Identifier: Apache-2.0
// The JSON reader against jansson, which builds trees: both must accept the same texts and read the
// same values in them. Where the two differ on purpose is a list, `struct features`.
#include "bayeux/scan.h"

#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#define MUST(condition) BX_BUG_ON(!(condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What is in a text that jansson refuses, though it is JSON by RFC 8259.
struct features {
  bool lone_surrogate;   // "\ud800": not a character, but an escape that the grammar allows
  bool nul_in_key;       // {"\u0000":1}: its keys end at NUL
  bool huge_number;      // 1e999: it wants doubles
  unsigned depth;        // its limit is 2048, ours is what we say
};

static bool within(struct bx_slice part, struct bx_slice whole) {
  return part.at >= whole.at && part.at + part.len <= whole.at + whole.len;
}

// -- what holds for every value --------------------------------------------------------------

static unsigned unit_at(const char *p) {
  const char digits[5] = {p[0], p[1], p[2], p[3]};
  return (unsigned)strtoul(digits, NULL, 16);
}

static void note_escapes(struct bx_slice inside, bool is_key, struct features *f) {
  const char *end = inside.at + inside.len;
  for (const char *p = inside.at; p < end; p++) {
    if (*p != '\\') continue;
    if (*++p != 'u') continue;
    unsigned unit = unit_at(p + 1);
    p += 4;
    if (unit == 0 && is_key) f->nul_in_key = true;
    if ((unit & 0xf800) != 0xd800) continue;
    bool pair = unit < 0xdc00 && end - p > 6 && p[1] == '\\' && p[2] == 'u' && (unit_at(p + 3) & 0xfc00) == 0xdc00;
    if (pair)
      p += 6;
    else
      f->lone_surrogate = true;
  }
}

// A text that begins and ends where its slice does.
static struct bx_value scan_all(struct bx_slice text, unsigned max_depth) {
  struct bx_scan s;
  struct bx_value v;
  bx_scan_init(&s, text, max_depth);
  MUST(bx_scan_value(&s, &v));
  MUST(bx_scan_end(&s));
  MUST(bx_slice_equal(v.raw, text));
  return v;
}

// Decoding gives UTF-8, which compares equal, and which, written as a string, is read as the same.
static void check_string(const struct bx_value *v, struct bx_buffer *decoded) {
  struct bx_buffer written = {0}, again = {0};
  bx_value_decode(v, decoded);
  for (size_t i = 0, len; i < decoded->len; i += len) {
    MUST((len = bx_utf8_length(decoded->at + i, decoded->at + decoded->len)) > 0);
  }
  MUST(bx_value_is(v, bx_buffer_view(decoded)));
  MUST(v->escaped || bx_slice_equal(bx_buffer_view(decoded), bx_value_inside(v)));
  bx_buffer_json_string(&written, bx_buffer_view(decoded));
  struct bx_value back = scan_all(bx_buffer_view(&written), 1);
  bx_value_decode(&back, &again);
  MUST(bx_slice_equal(bx_buffer_view(&again), bx_buffer_view(decoded)));
  bx_buffer_fini(&written);
  bx_buffer_fini(&again);
}

static void check_value(const struct bx_value *v, struct bx_slice text) {
  struct bx_buffer shown = {0}, decoded = {0};
  double number = 0;
  MUST(v->type != BX_JSON_NONE);
  MUST(within(v->raw, text));
  MUST(scan_all(v->raw, 64).type == v->type);
  // What String() would show can be put between quotes as it is.
  bx_buffer_char(&shown, '"');
  bx_value_text(v, &shown);
  bx_buffer_char(&shown, '"');
  MUST(scan_all(bx_buffer_view(&shown), 1).type == BX_JSON_STRING);
  if (v->type == BX_JSON_STRING) check_string(v, &decoded);
  bool numeric = bx_value_number(v, &number);
  MUST(!numeric || isfinite(number));
  if (v->type == BX_JSON_NUMBER) MUST(bx_value_truthy(v) == (!numeric || number != 0));
  bx_buffer_fini(&shown);
  bx_buffer_fini(&decoded);
}

// -- item by item ----------------------------------------------------------------------------

static bool walk(struct bx_scan *s, struct bx_slice text, struct features *f) {
  struct bx_value key, v;
  double number;
  enum bx_json type = bx_scan_peek(s);
  if (type != BX_JSON_ARRAY && type != BX_JSON_OBJECT) {
    if (!bx_scan_value(s, &v)) return false;
    check_value(&v, text);
    if (type == BX_JSON_STRING) note_escapes(bx_value_inside(&v), false, f);
    if (type == BX_JSON_NUMBER && !bx_value_number(&v, &number)) f->huge_number = true;
    return true;
  }
  if (!bx_scan_enter(s)) return false;
  if (s->depth > f->depth) f->depth = s->depth;
  while (bx_scan_item(s, &key)) {
    MUST((key.type == BX_JSON_STRING) == (type == BX_JSON_OBJECT));
    if (type == BX_JSON_OBJECT) {
      check_value(&key, text);
      note_escapes(bx_value_inside(&key), true, f);
    }
    if (!walk(s, text, f)) return false;
  }
  return !bx_scan_failed(s);
}

// -- against the tree ------------------------------------------------------------------------

static void compare(struct bx_scan *s, const json_t *tree);

static void compare_scalar(const struct bx_value *v, const json_t *tree) {
  struct bx_buffer decoded = {0};
  double number;
  switch (v->type) {
  case BX_JSON_NULL: MUST(json_is_null(tree)); break;
  case BX_JSON_FALSE: MUST(json_is_false(tree)); break;
  case BX_JSON_TRUE: MUST(json_is_true(tree)); break;
  case BX_JSON_NUMBER:
    MUST(json_is_real(tree) && bx_value_number(v, &number));
    MUST(number == json_real_value(tree));
    break;
  default:
    MUST(json_is_string(tree));
    bx_value_decode(v, &decoded);
    MUST(
        bx_slice_equal(bx_buffer_view(&decoded), (struct bx_slice){json_string_value(tree), json_string_length(tree)}));
  }
  bx_buffer_fini(&decoded);
}

static size_t count_items(struct bx_scan s) {
  struct bx_value key, v;
  size_t count = 0;
  MUST(bx_scan_enter(&s));
  for (; bx_scan_item(&s, &key); count++) MUST(bx_scan_value(&s, &v));
  return count;
}

// An object with a key twice is passed over: the tree has the last value only.
static void compare_object(struct bx_scan *s, const json_t *tree) {
  struct bx_value key, v;
  struct bx_buffer name = {0};
  MUST(json_is_object(tree));
  bool unique = count_items(*s) == json_object_size(tree);
  MUST(bx_scan_enter(s));
  while (bx_scan_item(s, &key)) {
    bx_buffer_clear(&name);
    bx_value_decode(&key, &name);
    bx_buffer_char(&name, '\0');
    const json_t *member = json_object_get(tree, name.at);
    MUST(member);
    if (unique)
      compare(s, member);
    else
      MUST(bx_scan_value(s, &v));
  }
  bx_buffer_fini(&name);
}

static void compare(struct bx_scan *s, const json_t *tree) {
  struct bx_value v;
  switch (bx_scan_peek(s)) {
  case BX_JSON_OBJECT: compare_object(s, tree); break;
  case BX_JSON_ARRAY: {
    size_t index = 0;
    MUST(json_is_array(tree));
    MUST(bx_scan_enter(s));
    while (bx_scan_item(s, &v)) compare(s, json_array_get(tree, index++));
    MUST(index == json_array_size(tree));
    break;
  }
  default: MUST(bx_scan_value(s, &v)); compare_scalar(&v, tree);
  }
}

// The other way about: jansson loses a raw NUL behind a number or a word, and accepts "1\0" so. No
// JSON text has one.
static bool oracle_is_blind(struct bx_slice text, bool accepted) {
  bool nul = text.len && memchr(text.at, '\0', text.len);
  MUST(!(nul && accepted));
  return nul;
}

static void check_against_jansson(struct bx_slice text, bool accepted, const struct features *f) {
  // Numbers as doubles, since its integers end at 64 bits; duplicate keys are allowed by default.
  json_t *tree = json_loadb(text.at, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
  if (!accepted) {
    MUST(!tree);
    return;
  }
  MUST((tree == NULL) == (f->lone_surrogate || f->nul_in_key || f->huge_number));
  if (!tree) return;
  struct bx_scan s;
  bx_scan_init(&s, text, 64);
  compare(&s, tree);
  json_decref(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bx_slice text = {(const char *)data, size};
  struct features f = {0};
  struct bx_scan whole, steps, shallow;
  struct bx_value v;
  unsigned line, column;

  bx_scan_init(&whole, text, 64);
  bool accepted = bx_scan_value(&whole, &v);
  if (accepted) check_value(&v, text);
  accepted = accepted && bx_scan_end(&whole);
  MUST(accepted == !bx_scan_failed(&whole));
  MUST(size == 0 || within((struct bx_slice){whole.at, 0}, text));
  bx_scan_where(&whole, &line, &column);
  MUST(line >= 1 && column >= 1 && line + column <= size + 2);

  bx_scan_init(&steps, text, 64);
  MUST((walk(&steps, text, &f) && bx_scan_end(&steps)) == accepted);
  MUST(steps.fault == whole.fault && (size == 0 || steps.at == whole.at));

  bx_scan_init(&shallow, text, 3);
  MUST((bx_scan_value(&shallow, &v) && bx_scan_end(&shallow)) == (accepted && f.depth <= 3));

  // Deeper than our limit nothing can be said.
  if (!accepted && f.depth == 64) return 0;
  if (!oracle_is_blind(text, accepted)) check_against_jansson(text, accepted, &f);
  return 0;
}
