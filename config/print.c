// SPDX-License-Identifier: Apache-2.0
// The configuration in force as a file, with everything secret behind a mask.
#include "config/set.h"

#define MASK "***"

bool cf_is_secret(enum cf_type type) { return type == CF_SECRET || type == CF_SECRETS; }

// -- masks -----------------------------------------------------------------------------------

// The password in scheme://user:password@host. False: there is none.
static bool find_password(struct bx_slice url, struct bx_slice *password) {
  const char *mark = url.len > 0 ? memmem(url.at, url.len, "://", 3) : NULL;
  if (!mark) return false;
  const char *from = mark + 3, *end = url.at + url.len, *host = NULL, *colon = NULL;
  for (const char *c = from; c < end && *c != '/' && *c != '?' && *c != '#'; c++) {
    if (*c == '@') host = c;
    if (*c == ':' && !colon) colon = c;
  }
  if (!host || !colon || colon > host) return false;
  *password = (struct bx_slice){colon + 1, (size_t)(host - colon - 1)};
  return true;
}

void cf_mask_url(struct bx_slice text, struct bx_buffer *out) {
  struct bx_slice password;
  if (!find_password(text, &password)) {
    bx_buffer_slice(out, text);
    return;
  }
  const char *behind = password.at + password.len;
  bx_buffer_add(out, text.at, (size_t)(password.at - text.at));
  bx_buffer_lit(out, MASK);
  bx_buffer_add(out, behind, text.len - (size_t)(behind - text.at));
}

bool cf_is_masked(struct bx_slice text) {
  struct bx_slice password;
  return bx_slice_equal(text, BX_LIT(MASK)) ||
         (find_password(text, &password) && bx_slice_equal(password, BX_LIT(MASK)));
}

// -- values ----------------------------------------------------------------------------------

static void print_text(const char *text, bool secret, struct bx_buffer *out) {
  struct bx_buffer shown = {0};
  if (secret)
    bx_buffer_lit(&shown, MASK);
  else
    cf_mask_url(bx_slice_of(text), &shown);
  bx_buffer_json_string(out, bx_buffer_view(&shown));
  bx_buffer_fini(&shown);
}

static void print_texts(const struct cf_strings *texts, bool secret, struct bx_buffer *out) {
  bx_buffer_char(out, '[');
  for (size_t i = 0; i < texts->count; i++) {
    if (i > 0) bx_buffer_lit(out, ", ");
    print_text(texts->at[i], secret, out);
  }
  bx_buffer_char(out, ']');
}

static void print_value(const struct cf_row *row, struct bx_buffer *out) {
  bool secret = cf_is_secret(row->option->type);
  if (row->text.len == 0) {
    bx_buffer_lit(out, "null");
    return;
  }
  switch (row->option->type) {
  case CF_STRING:
  case CF_SECRET: print_text(*(const char *const *)row->field, secret, out); break;
  case CF_STRINGS:
  case CF_SECRETS: print_texts(row->field, secret, out); break;
  case CF_BOOL:
  case CF_NUMBER:
  case CF_DURATION:
  case CF_SIZE:
  case CF_ENUM:
  case CF_JSON: cf_json_one_line(row->text, out); break;
  }
}

// -- groups ----------------------------------------------------------------------------------

// What stands behind the group's name and its dot; len 0: not in the group. "" is the whole.
static struct bx_slice inside(struct bx_slice key, struct bx_slice group) {
  if (group.len == 0) return key;
  if (key.len <= group.len || !bx_slice_starts(key, group) || key.at[group.len] != '.') return (struct bx_slice){0};
  return (struct bx_slice){key.at + group.len + 1, key.len - group.len - 1};
}

static bool is_first_of(const struct cf_set *s, size_t row, struct bx_slice group) {
  for (size_t i = 0; i < row; i++) {
    if (inside(bx_slice_of(s->rows[i].option->key), group).len > 0) return false;
  }
  return true;
}

static void start_line(struct bx_buffer *out, size_t indent, bool comma) {
  bx_buffer_printf(out, "%s\n%*s", comma ? "," : "", (int)(2 * indent), "");
}

static void print_group(const struct cf_set *s, struct bx_slice group, size_t indent, struct bx_buffer *out) {
  bool comma = false;
  bx_buffer_char(out, '{');
  for (size_t i = 0; i < s->count; i++) {
    struct bx_slice key = bx_slice_of(s->rows[i].option->key), rest = inside(key, group);
    if (rest.len == 0) continue;
    const char *dot = memchr(rest.at, '.', rest.len);
    struct bx_slice word = {rest.at, dot ? (size_t)(dot - rest.at) : rest.len};
    struct bx_slice whole = {key.at, (size_t)(word.at + word.len - key.at)};
    if (dot && !is_first_of(s, i, whole)) continue;
    start_line(out, indent, comma);
    bx_buffer_printf(out, "\"%.*s\": ", (int)word.len, word.at);
    if (dot)
      print_group(s, whole, indent + 1, out);
    else
      print_value(&s->rows[i], out);
    comma = true;
  }
  start_line(out, indent - 1, false);
  bx_buffer_char(out, '}');
}

void cf_print(const struct cf_set *s, struct bx_buffer *out) {
  print_group(s, (struct bx_slice){0}, 1, out);
  bx_buffer_char(out, '\n');
}

// -- answers ---------------------------------------------------------------------------------

static void print_own_reference(const struct cf_set *s, struct bx_buffer *out) {
  const struct cf_option **all = bx_alloc((s->count + 1) * sizeof *all);
  for (size_t i = 0; i < s->count; i++) all[i] = s->rows[i].option;
  cf_print_options(all, s->count, out);
  bx_free(all);
}

void cf_answer(const struct cf_set *s, enum cf_action action, const struct cf_program *program, struct bx_buffer *out) {
  switch (action) {
  case CF_RUN: break;
  case CF_CHECK: bx_buffer_lit(out, "the configuration is good\n"); break;
  case CF_HELP: cf_print_help(program, out); break;
  case CF_VERSION: bx_buffer_printf(out, "%s %s\n", program->name, MORA_VERSION); break;
  case CF_PRINT: cf_print(s, out); break;
  case CF_PRINT_REFERENCE: print_own_reference(s, out); break;
  }
}
