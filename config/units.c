// SPDX-License-Identifier: Apache-2.0
// Numbers with and without units, both ways, and what each type expects in words.
#include "config/set.h"

struct unit {
  const char *name;
  uint64_t factor;
};

// Largest first: cf_write_number() takes the first that divides.
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit sizes[] = {
    {"GB", 1u << 30}, {"MB", 1u << 20}, {"KB", 1u << 10}, {"B", 1}, {NULL, 0},
};

// Takes the digits off the front of *text. False: none, or more than 64 bits.
static bool take_digits(struct bx_slice *text, uint64_t *out) {
  size_t used = 0;
  uint64_t number = 0;
  for (; used < text->len && text->at[used] >= '0' && text->at[used] <= '9'; used++) {
    if (__builtin_mul_overflow(number, 10, &number)) return false;
    if (__builtin_add_overflow(number, (uint64_t)(text->at[used] - '0'), &number)) return false;
  }
  *text = (struct bx_slice){text->at + used, text->len - used};
  *out = number;
  return used > 0;
}

bool cf_read_number(struct bx_slice text, uint64_t *out) { return take_digits(&text, out) && text.len == 0; }

static bool read_units(struct bx_slice text, const struct unit *units, uint64_t *out) {
  uint64_t number;
  if (!take_digits(&text, &number)) return false;
  for (const struct unit *u = units; u->name; u++) {
    if (bx_slice_equal(text, bx_slice_of(u->name))) return !__builtin_mul_overflow(number, u->factor, out);
  }
  return false;
}

bool cf_read_duration(struct bx_slice text, uint64_t *out) { return read_units(text, durations, out); }
bool cf_read_size(struct bx_slice text, uint64_t *out) { return read_units(text, sizes, out); }

void cf_write_number(enum cf_type type, uint64_t number, struct bx_buffer *out) {
  const struct unit *u = type == CF_DURATION ? durations : sizes;
  if (type == CF_NUMBER) {
    bx_buffer_u64(out, number);
    return;
  }
  if (number == 0) {
    bx_buffer_printf(out, type == CF_DURATION ? "0s" : "0B");
    return;
  }
  while (number % u->factor != 0) u++;
  bx_buffer_u64(out, number / u->factor);
  bx_buffer_printf(out, "%s", u->name);
}

static void add_bounds(const struct cf_option *o, struct bx_buffer *out) {
  if (o->min > 0) {
    bx_buffer_lit(out, ", at least ");
    cf_write_number(o->type, o->min, out);
  }
  if (o->max > 0) {
    bx_buffer_lit(out, ", at most ");
    cf_write_number(o->type, o->max, out);
  }
}

static void add_choices(const struct cf_option *o, struct bx_buffer *out) {
  bx_buffer_lit(out, "one of ");
  for (size_t i = 0; o->choices[i]; i++) bx_buffer_printf(out, "%s\"%s\"", i > 0 ? ", " : "", o->choices[i]);
}

void cf_expected(const struct cf_option *o, struct bx_buffer *out) {
  switch (o->type) {
  case CF_STRING: bx_buffer_lit(out, "a text"); break;
  case CF_SECRET: bx_buffer_lit(out, "a text"); break;
  case CF_BOOL: bx_buffer_lit(out, "true or false"); break;
  case CF_NUMBER: bx_buffer_lit(out, "a whole number without a unit"); break;
  case CF_DURATION: bx_buffer_lit(out, "a duration with its unit (ms, s, m, h, d), such as \"30s\""); break;
  case CF_SIZE: bx_buffer_lit(out, "a size with its unit (B, KB, MB, GB), such as \"64KB\""); break;
  case CF_ENUM: add_choices(o, out); break;
  case CF_STRINGS: bx_buffer_lit(out, "a text or a list of texts"); break;
  case CF_SECRETS: bx_buffer_lit(out, "a text or a list of texts"); break;
  case CF_JSON: bx_buffer_lit(out, "an object"); break;   // the one shape that is refused by type
  }
  add_bounds(o, out);
}
