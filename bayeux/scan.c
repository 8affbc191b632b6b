// SPDX-License-Identifier: Apache-2.0
// The JSON reader.
//
// Nothing here recurses: the open brackets are counted in `depth` and told apart by one bit each in
// `objects`, for the caller's own steps and for those that bx_scan_value() makes inside a value.
#include "bayeux/scan.h"

#include <math.h>
#include <stdlib.h>

static bool fault(struct bx_scan *s, const char *place, const char *what) {
  s->at = place;
  s->fault = what;
  return false;
}

// -- tokens ----------------------------------------------------------------------------------

static const char *skip_white(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
  return p;
}

static const char *skip_digits(const char *p, const char *end) {
  while (p < end && *p >= '0' && *p <= '9') p++;
  return p;
}

// Behind the number, or NULL.
static const char *skip_number(const char *p, const char *end) {
  if (p < end && *p == '-') p++;
  const char *digits = p;
  p = skip_digits(p, end);
  if (p == digits || (*digits == '0' && p - digits > 1)) return NULL;
  if (p < end && *p == '.') {
    digits = ++p;
    p = skip_digits(p, end);
    if (p == digits) return NULL;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    p++;
    if (p < end && (*p == '+' || *p == '-')) p++;
    digits = p;
    p = skip_digits(p, end);
    if (p == digits) return NULL;
  }
  return p;
}

// What a byte means inside a string; zero is an ordinary character.
enum { QUOTE = 1, BACKSLASH, CONTROL, HIGH };

static const unsigned char string_class[256] = {
    [0x00 ... 0x1f] = CONTROL,
    ['"'] = QUOTE,
    ['\\'] = BACKSLASH,
    [0x80 ... 0xff] = HIGH,
};

// To the first byte that is not ordinary, or the end. Eight at a time: a byte's top bit in `stop`
// is set when it is below a space, a quote, a backslash or above ASCII. A borrow can mark a byte in
// error only above one that is rightly marked, and then the bytes are looked at singly.
static const char *skip_ordinary(const char *p, const char *end) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  while (end - p >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    uint64_t stop = word | (word - ones * ' ') | (quote - ones) | (backslash - ones);
    if (stop & tops) break;
    p += 8;
  }
  while (p < end && string_class[(unsigned char)*p] == 0) p++;
  return p;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Behind the escape whose backslash is at p, or NULL.
static const char *skip_escape(const char *p, const char *end) {
  if (end - p < 2) return NULL;
  if (p[1] != 'u') return memchr("\"\\/bfnrt", p[1], 8) ? p + 2 : NULL;
  if (end - p < 6) return NULL;
  for (int i = 2; i < 6; i++) {
    if (hex_digit(p[i]) < 0) return NULL;
  }
  return p + 6;
}

// Reads the string whose opening quote is at the cursor.
static bool scan_string(struct bx_scan *s, bool *escaped) {
  const char *p = s->at + 1;
  for (;;) {
    p = skip_ordinary(p, s->end);
    if (p == s->end) return fault(s, p, "a string without its closing quote");
    switch (string_class[(unsigned char)*p]) {
    case QUOTE: s->at = p + 1; return true;
    case BACKSLASH: {
      const char *behind = skip_escape(p, s->end);
      if (!behind) return fault(s, p, "an escape that is none");
      *escaped = true;
      p = behind;
      break;
    }
    case CONTROL: return fault(s, p, "a control character in a string");
    default: {
      unsigned len = bx_utf8_length(p, s->end);
      if (len == 0) return fault(s, p, "a string that is not UTF-8");
      p += len;
    }
    }
  }
}

static bool scan_word(struct bx_scan *s, struct bx_slice word) {
  if ((size_t)(s->end - s->at) < word.len || memcmp(s->at, word.at, word.len) != 0) {
    return fault(s, s->at, "an unknown word");
  }
  s->at += word.len;
  return true;
}

static bool scan_scalar(struct bx_scan *s, enum bx_json type, bool *escaped) {
  switch (type) {
  case BX_JSON_NULL: return scan_word(s, BX_LIT("null"));
  case BX_JSON_FALSE: return scan_word(s, BX_LIT("false"));
  case BX_JSON_TRUE: return scan_word(s, BX_LIT("true"));
  case BX_JSON_STRING: return scan_string(s, escaped);
  default: {
    const char *behind = skip_number(s->at, s->end);
    if (!behind) return fault(s, s->at, "a number that is none");
    s->at = behind;
    return true;
  }
  }
}

// -- the cursor ------------------------------------------------------------------------------

void bx_scan_init(struct bx_scan *s, struct bx_slice text, unsigned max_depth) {
  BX_BUG_ON(max_depth < 1 || max_depth > 64);
  const char *begin = text.len ? text.at : "";
  *s = (struct bx_scan){.begin = begin, .at = begin, .end = begin + text.len, .max_depth = max_depth};
}

enum bx_json bx_scan_peek(struct bx_scan *s) {
  static const unsigned char types[256] = {
      ['n'] = BX_JSON_NULL,   ['f'] = BX_JSON_FALSE, ['t'] = BX_JSON_TRUE,   ['-'] = BX_JSON_NUMBER,
      ['"'] = BX_JSON_STRING, ['['] = BX_JSON_ARRAY, ['{'] = BX_JSON_OBJECT, ['0' ... '9'] = BX_JSON_NUMBER,
  };
  if (s->fault) return BX_JSON_NONE;
  s->at = skip_white(s->at, s->end);
  return s->at < s->end ? (enum bx_json)types[(unsigned char)*s->at] : BX_JSON_NONE;
}

static bool expect_value(struct bx_scan *s) {
  if (bx_scan_peek(s) != BX_JSON_NONE) return true;
  if (s->fault) return false;
  if (s->at == s->end) return fault(s, s->at, "an end where a value should be");
  bool mark = s->end - s->begin >= 3 && memcmp(s->begin, "\xef\xbb\xbf", 3) == 0;
  return fault(s, s->at, mark && s->at == s->begin ? "a byte order mark" : "no value where one should be");
}

bool bx_scan_enter(struct bx_scan *s) {
  enum bx_json type = bx_scan_peek(s);
  if (s->fault) return false;
  if (type != BX_JSON_ARRAY && type != BX_JSON_OBJECT) return fault(s, s->at, "neither an array nor an object");
  if (s->depth == s->max_depth) s->too_deep = true;
  if (s->depth == s->max_depth) return fault(s, s->at, "brackets nested too deep");
  uint64_t bit = 1ull << s->depth;
  s->objects = type == BX_JSON_OBJECT ? s->objects | bit : s->objects & ~bit;
  s->depth++;
  s->at++;
  s->first = true;
  return true;
}

static bool scan_key(struct bx_scan *s, struct bx_value *key) {
  const char *start = s->at;
  bool escaped = false;
  if (s->at == s->end || *s->at != '"') return fault(s, s->at, "no key where one should be");
  if (!scan_string(s, &escaped)) return false;
  const char *behind = s->at;
  s->at = skip_white(s->at, s->end);
  if (s->at == s->end || *s->at != ':') return fault(s, s->at, "no colon behind a key");
  s->at++;
  *key = (struct bx_value){BX_JSON_STRING, escaped, {start, (size_t)(behind - start)}};
  return true;
}

bool bx_scan_item(struct bx_scan *s, struct bx_value *key) {
  *key = (struct bx_value){0};
  if (s->fault) return false;
  BX_BUG_ON(s->depth == 0);
  bool object = s->objects >> (s->depth - 1) & 1;
  bool first = s->first;
  s->first = false;
  s->at = skip_white(s->at, s->end);
  if (s->at == s->end) return fault(s, s->at, "a bracket that is not closed");
  if (*s->at == (object ? '}' : ']')) {
    s->at++;
    s->depth--;
    return false;
  }
  if (!first) {
    if (*s->at != ',') return fault(s, s->at, "neither a comma nor the closing bracket");
    s->at = skip_white(s->at + 1, s->end);
  }
  if (object && !scan_key(s, key)) return false;
  if (expect_value(s)) return true;
  *key = (struct bx_value){0};
  return false;
}

bool bx_scan_value(struct bx_scan *s, struct bx_value *v) {
  *v = (struct bx_value){0};
  if (!expect_value(s)) return false;
  const char *start = s->at;
  const unsigned outside = s->depth;
  enum bx_json type = bx_scan_peek(s);
  bool escaped = false, inner_escaped = false;
  struct bx_value key;
  if (type < BX_JSON_ARRAY) {
    if (!scan_scalar(s, type, &escaped)) return false;
  } else if (!bx_scan_enter(s)) {
    return false;
  }
  while (s->depth > outside) {
    if (!bx_scan_item(s, &key)) {
      if (s->fault) return false;
      continue;
    }
    enum bx_json inner = bx_scan_peek(s);
    if (!(inner < BX_JSON_ARRAY ? scan_scalar(s, inner, &inner_escaped) : bx_scan_enter(s))) return false;
  }
  *v = (struct bx_value){type, escaped, {start, (size_t)(s->at - start)}};
  return true;
}

bool bx_scan_end(struct bx_scan *s) {
  if (s->fault) return false;
  s->at = skip_white(s->at, s->end);
  if (s->depth > 0) return fault(s, s->at, "a bracket that is not closed");
  if (s->at < s->end) return fault(s, s->at, "something behind the end");
  return true;
}

unsigned bx_scan_line_of(const struct bx_scan *s, const char *place) {
  unsigned line = 1;
  for (const char *p = s->begin; p < place; p++) line += *p == '\n';
  return line;
}

void bx_scan_where(const struct bx_scan *s, unsigned *line, unsigned *column) {
  *line = bx_scan_line_of(s, s->at);
  *column = 1;
  for (const char *p = s->at; p > s->begin && p[-1] != '\n'; p--) {
    *column += ((unsigned char)p[-1] & 0xc0) != 0x80;
  }
}

// -- values ----------------------------------------------------------------------------------

static uint32_t hex_unit(const char *p) {
  uint32_t unit = 0;
  for (int i = 0; i < 4; i++) unit = unit << 4 | (uint32_t)hex_digit(p[i]);
  return unit;
}

// Decodes the escape whose backslash is at p (it was checked when it was scanned) into 1..4 bytes.
// Returns what is behind it, or behind the pair when it begins a surrogate pair.
static const char *decode_escape(const char *p, const char *end, char out[4], unsigned *len) {
  static const char plain[256] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
  if (p[1] != 'u') {
    out[0] = plain[(unsigned char)p[1]] ? plain[(unsigned char)p[1]] : p[1];
    *len = 1;
    return p + 2;
  }
  uint32_t code = hex_unit(p + 2);
  p += 6;
  if (code >= 0xd800 && code <= 0xdfff) {
    uint32_t low = code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex_unit(p + 2) : 0;
    if (low >= 0xdc00 && low <= 0xdfff) {
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      p += 6;
    } else {
      code = 0xfffd;
    }
  }
  *len = bx_utf8_encode(code, out);
  return p;
}

// Up to the next backslash.
static size_t run_length(const char *p, const char *end) {
  const char *backslash = memchr(p, '\\', (size_t)(end - p));
  return (size_t)((backslash ? backslash : end) - p);
}

bool bx_value_is(const struct bx_value *v, struct bx_slice text) {
  if (v->type != BX_JSON_STRING) return false;
  struct bx_slice inside = bx_value_inside(v);
  if (!v->escaped) return bx_slice_equal(inside, text);
  const char *p = inside.at, *end = p + inside.len;
  while (p < end) {
    char decoded[4];
    unsigned len;
    struct bx_slice part = {p, run_length(p, end)};
    p += part.len;
    if (part.len == 0) {
      p = decode_escape(p, end, decoded, &len);
      part = (struct bx_slice){decoded, len};
    }
    if (!bx_slice_starts(text, part)) return false;
    text.at += part.len;
    text.len -= part.len;
  }
  return text.len == 0;
}

void bx_value_decode(const struct bx_value *v, struct bx_buffer *out) {
  if (v->type != BX_JSON_STRING) return;
  struct bx_slice inside = bx_value_inside(v);
  if (!v->escaped) {
    bx_buffer_slice(out, inside);
    return;
  }
  const char *p = inside.at, *end = p + inside.len;
  bx_buffer_reserve(out, inside.len);
  while (p < end) {
    char decoded[4];
    unsigned len;
    size_t run = run_length(p, end);
    bx_buffer_add(out, p, run);
    p += run;
    if (p == end) break;
    p = decode_escape(p, end, decoded, &len);
    bx_buffer_add(out, decoded, len);
  }
}

// strtod wants an end and gets a copy. The point is '.', as in every process that does not call
// setlocale().
static double to_double(struct bx_slice number) {
  char small[64];
  char *copy = number.len < sizeof small ? small : bx_alloc(number.len + 1);
  memcpy(copy, number.at, number.len);
  copy[number.len] = '\0';
  double value = strtod(copy, NULL);
  if (copy != small) bx_free(copy);
  return value;
}

bool bx_value_truthy(const struct bx_value *v) {
  switch (v->type) {
  case BX_JSON_NONE:
  case BX_JSON_NULL:
  case BX_JSON_FALSE: return false;
  case BX_JSON_NUMBER: return to_double(v->raw) != 0;
  case BX_JSON_STRING: return v->raw.len > 2;
  default: return true;
  }
}

static void text_of(const struct bx_value *v, struct bx_buffer *out) {
  switch (v->type) {
  case BX_JSON_NONE:
  case BX_JSON_ARRAY: break;
  case BX_JSON_STRING: bx_buffer_slice(out, bx_value_inside(v)); break;
  case BX_JSON_OBJECT: bx_buffer_lit(out, "[object Object]"); break;
  default: bx_buffer_slice(out, v->raw);
  }
}

// JavaScript joins an array's items by commas, and arrays in arrays the same way: so the commas are
// those of every level, the brackets go, and so does null.
void bx_value_text(const struct bx_value *v, struct bx_buffer *out) {
  if (v->type != BX_JSON_ARRAY) {
    text_of(v, out);
    return;
  }
  struct bx_scan s;
  struct bx_value item;
  bx_scan_init(&s, v->raw, 64);
  bool read = bx_scan_enter(&s);
  while (read && s.depth > 0) {
    bool first = s.first;
    if (!bx_scan_item(&s, &item)) {
      read = !s.fault;
      continue;
    }
    if (!first) bx_buffer_char(out, ',');
    if (bx_scan_peek(&s) == BX_JSON_ARRAY) {
      read = bx_scan_enter(&s);
    } else {
      read = bx_scan_value(&s, &item);
      if (item.type != BX_JSON_NULL) text_of(&item, out);
    }
  }
  BX_BUG_ON(!read);   // it was checked when it was scanned
}

bool bx_value_number(const struct bx_value *v, double *out) {
  struct bx_slice number = v->raw;
  struct bx_buffer decoded = {0};
  if (v->type == BX_JSON_STRING) {
    bx_value_decode(v, &decoded);
    number = bx_buffer_view(&decoded);
  } else if (v->type != BX_JSON_NUMBER) {
    return false;
  }
  bool whole = number.len > 0 && skip_number(number.at, number.at + number.len) == number.at + number.len;
  double value = whole ? to_double(number) : 0;
  bx_buffer_fini(&decoded);
  if (!whole || !isfinite(value)) return false;
  *out = value;
  return true;
}
