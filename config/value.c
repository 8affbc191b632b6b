// SPDX-License-Identifier: Apache-2.0
// One value into one field: type, bounds, the row's own check, and the message when it does not fit.
#include "config/set.h"

// A value on its way into a field.
struct attempt {
  struct cf_set *set;
  const struct cf_row *row;
  const struct bx_value *value;
  struct bx_slice text;    // what the row keeps when it fits
  struct bx_value blame;   // what the message points at: the value, or an item of it
  const char *expected;    // what was expected of it; NULL: what the type expects
};

static const size_t field_size[] = {
    [CF_STRING] = sizeof(const char *),
    [CF_SECRET] = sizeof(const char *),
    [CF_BOOL] = sizeof(bool),
    [CF_NUMBER] = sizeof(uint64_t),
    [CF_DURATION] = sizeof(bx_millis),
    [CF_SIZE] = sizeof(uint64_t),
    [CF_ENUM] = sizeof(int),
    [CF_STRINGS] = sizeof(struct cf_strings),
    [CF_SECRETS] = sizeof(struct cf_strings),
    [CF_JSON] = sizeof(struct bx_slice),
};

static void fill(const struct cf_row *row, const void *value) {
  memcpy(row->field, value, field_size[row->option->type]);
}

// "[" text "]": a list of one.
static struct bx_slice list_of(struct cf_set *s, struct bx_slice text) {
  char *list = cf_memory(s, text.len + 3);
  list[0] = '[';
  memcpy(list + 1, text.at, text.len);
  list[text.len + 1] = ']';
  return (struct bx_slice){list, text.len + 2};
}

static bool passes(struct attempt *a, struct bx_slice text) {
  a->expected = a->row->option->check ? a->row->option->check(text) : NULL;
  return a->expected == NULL;
}

// -- text ------------------------------------------------------------------------------------

static bool text_fits(struct attempt *a, struct bx_slice text) {
  bool secret = cf_is_secret(a->row->option->type);
  if (text.len > 0 && memchr(text.at, '\0', text.len)) {
    a->expected = "a text without NUL characters";
  } else if (cf_is_masked(text)) {
    a->expected = "the secret itself: *** stands for one when a configuration is printed";
  } else if (secret && text.len == 0) {
    a->expected = "a secret that is not empty";
  } else {
    return passes(a, text);
  }
  return false;
}

// The decoded string, kept; NULL when it does not fit.
static const char *take_text(struct attempt *a, const struct bx_value *v) {
  a->blame = *v;
  if (v->type != BX_JSON_STRING) return NULL;
  struct bx_buffer decoded = {0};
  bx_value_decode(v, &decoded);
  const char *text = text_fits(a, bx_buffer_view(&decoded)) ? cf_keep(a->set, bx_buffer_view(&decoded)) : NULL;
  bx_buffer_fini(&decoded);
  return text;
}

static bool store_text(struct attempt *a) {
  const char *text = take_text(a, a->value);
  if (text) fill(a->row, &text);
  return text != NULL;
}

static size_t count_items(const struct bx_value *list) {
  struct bx_scan scan;
  struct bx_value key, item;
  size_t count = 0;
  bx_scan_init(&scan, list->raw, CF_DEPTH);
  BX_BUG_ON(!bx_scan_enter(&scan));
  while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &item)) count++;
  return count;
}

static bool store_texts(struct attempt *a) {
  struct bx_value list = *a->value, key, item;
  if (list.type == BX_JSON_STRING) {
    list = (struct bx_value){.type = BX_JSON_ARRAY, .raw = list_of(a->set, list.raw)};
    a->text = list.raw;
  }
  if (list.type != BX_JSON_ARRAY) return false;
  const char **at = cf_memory(a->set, (count_items(&list) + 1) * sizeof *at);
  struct cf_strings texts = {at, 0};
  struct bx_scan scan;
  bx_scan_init(&scan, list.raw, CF_DEPTH);
  BX_BUG_ON(!bx_scan_enter(&scan));
  while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &item)) {
    at[texts.count] = take_text(a, &item);
    if (!at[texts.count++]) return false;
  }
  fill(a->row, &texts);
  return true;
}

// -- numbers and choices ---------------------------------------------------------------------

static bool store_bool(struct attempt *a) {
  bool value = a->value->type == BX_JSON_TRUE;
  if (!value && a->value->type != BX_JSON_FALSE) return false;
  fill(a->row, &value);
  return true;
}

static bool store_number(struct attempt *a) {
  const struct cf_option *o = a->row->option;
  bool bare = o->type == CF_NUMBER;
  if (a->value->type != (bare ? BX_JSON_NUMBER : BX_JSON_STRING)) return false;
  struct bx_slice text = bare ? a->value->raw : bx_value_inside(a->value);
  uint64_t number;
  bool good = bare                     ? cf_read_number(text, &number)
              : o->type == CF_DURATION ? cf_read_duration(text, &number)
                                       : cf_read_size(text, &number);
  if (!good || number < o->min || (o->max > 0 && number > o->max) || !passes(a, text)) return false;
  fill(a->row, &number);
  return true;
}

static bool store_choice(struct attempt *a) {
  if (a->value->type != BX_JSON_STRING) return false;
  for (int i = 0; a->row->option->choices[i]; i++) {
    struct bx_slice choice = bx_slice_of(a->row->option->choices[i]);
    if (!bx_value_is(a->value, choice)) continue;
    if (!passes(a, choice)) return false;
    fill(a->row, &i);
    return true;
  }
  return false;
}

// -- JSON ------------------------------------------------------------------------------------

// The check refused a list as a whole: which item is it? One that is refused on its own as well.
static void blame_item(struct attempt *a, const struct bx_value *list) {
  const char *whole = a->expected;
  struct bx_scan scan;
  struct bx_value key, item;
  bx_scan_init(&scan, list->raw, CF_DEPTH);
  BX_BUG_ON(!bx_scan_enter(&scan));
  while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &item)) {
    if (passes(a, list_of(a->set, item.raw))) continue;
    a->blame = item;
    return;
  }
  a->expected = whole;
}

static bool store_json(struct attempt *a) {
  const char *standard = a->row->option->standard;
  char shape = standard ? standard[strspn(standard, " \t\n")] : '\0';
  if (shape == '{' && a->value->type != BX_JSON_OBJECT) return false;
  if (shape == '[' && a->value->type != BX_JSON_ARRAY) a->text = list_of(a->set, a->text);
  if (!passes(a, a->text)) {
    if (a->value->type == BX_JSON_ARRAY) blame_item(a, a->value);
    return false;
  }
  a->text = (struct bx_slice){cf_keep(a->set, a->text), a->text.len};
  fill(a->row, &a->text);
  return true;
}

// -- messages --------------------------------------------------------------------------------

static void show_short(struct bx_slice text, struct bx_buffer *out) {
  size_t limit = 60;
  if (text.len <= limit) {
    bx_buffer_slice(out, text);
    return;
  }
  while ((text.at[limit] & 0xc0) == 0x80) limit--;
  bx_buffer_add(out, text.at, limit);
  bx_buffer_lit(out, "...");
}

// A message may end in a log: of a URL that names a user, nothing before the host is shown. It was
// refused, so it need not have the form in which cf_mask_url() finds the password.
static void show_text(const struct bx_value *v, struct bx_buffer *out) {
  struct bx_buffer text = {0}, quoted = {0};
  bx_value_decode(v, &text);
  char *mark = text.len > 0 ? memmem(text.at, text.len, "://", 3) : NULL;
  char *host = mark ? memrchr(mark, '@', text.len - (size_t)(mark - text.at)) : NULL;
  if (host) {
    struct bx_buffer masked = {0};
    bx_buffer_add(&masked, text.at, (size_t)(mark + 3 - text.at));
    bx_buffer_lit(&masked, "***");
    bx_buffer_add(&masked, host, text.len - (size_t)(host - text.at));
    bx_buffer_fini(&text);
    text = masked;
  }
  bx_buffer_json_string(&quoted, bx_buffer_view(&text));
  show_short(bx_buffer_view(&quoted), out);
  bx_buffer_fini(&quoted);
  bx_buffer_fini(&text);
}

static void show_value(const struct bx_value *v, bool secret, struct bx_buffer *out) {
  if (v->type == BX_JSON_ARRAY)
    bx_buffer_lit(out, "a list");
  else if (v->type == BX_JSON_OBJECT)
    bx_buffer_lit(out, "an object");
  else if (secret)
    bx_buffer_printf(out, "a %s", v->type == BX_JSON_STRING ? "text" : "value that is no text");
  else if (v->type == BX_JSON_STRING)
    show_text(v, out);
  else
    show_short(v->raw, out);
}

static bool wants_text(enum cf_type type) {
  return type == CF_STRING || type == CF_SECRET || type == CF_STRINGS || type == CF_SECRETS;
}

static void add_hint(const struct attempt *a, const struct cf_source *source, struct bx_buffer *out) {
  const struct cf_option *o = a->row->option;
  const struct bx_value *v = &a->blame;
  bool scalar = v->type == BX_JSON_NUMBER || v->type == BX_JSON_TRUE || v->type == BX_JSON_FALSE;
  if (o->type == CF_ENUM && v->type == BX_JSON_STRING) {
    struct cf_guess guess;
    cf_guess_init(&guess, bx_value_inside(v));
    for (size_t i = 0; o->choices[i]; i++) cf_guess_try(&guess, bx_slice_of(o->choices[i]));
    if (guess.best.len > 0) bx_buffer_printf(out, "; did you mean \"%.*s\"?", (int)guess.best.len, guess.best.at);
  } else if (wants_text(o->type) && scalar && source->layer != CF_FILE) {
    bx_buffer_lit(out, "; in double quotes it is a text");
  } else if (source->guessed && memchr("[{", v->raw.at[1], 2)) {
    bx_buffer_lit(out, "; it is not JSON and was taken for a text");
  }
}

static void report(const struct attempt *a, const struct cf_source *source) {
  const struct cf_option *o = a->row->option;
  struct bx_buffer words = {0};
  bx_buffer_lit(&words, "expected ");
  if (a->expected)
    bx_buffer_printf(&words, "%s", a->expected);
  else
    cf_expected(o, &words);
  bx_buffer_lit(&words, "; found ");
  show_value(&a->blame, cf_is_secret(o->type), &words);
  add_hint(a, source, &words);
  cf_fault(a->set, source, a->blame.raw.at, bx_slice_of(o->key), "%.*s", (int)words.len, words.at);
  bx_buffer_fini(&words);
}

// -- rows ------------------------------------------------------------------------------------

static bool (*const store_by_type[])(struct attempt *) = {
    [CF_STRING] = store_text,     [CF_SECRET] = store_text, [CF_BOOL] = store_bool,   [CF_NUMBER] = store_number,
    [CF_DURATION] = store_number, [CF_SIZE] = store_number, [CF_ENUM] = store_choice, [CF_STRINGS] = store_texts,
    [CF_SECRETS] = store_texts,   [CF_JSON] = store_json,
};

void cf_store(struct cf_set *s, const struct cf_source *source, struct cf_row *row, const struct bx_value *v) {
  if (v->type == BX_JSON_NULL) {
    cf_reset(s, row);
    return;
  }
  struct attempt a = {.set = s, .row = row, .value = v, .text = v->raw, .blame = *v};
  if (!store_by_type[row->option->type](&a)) {
    report(&a, source);
    return;
  }
  row->text = (struct bx_slice){cf_keep(s, a.text), a.text.len};
  row->origin = cf_where(s, source, v->raw.at);
}

void cf_reset(struct cf_set *s, struct cf_row *row) {
  const char *standard = row->option->standard;
  memset(row->field, 0, field_size[row->option->type]);
  row->text = (struct bx_slice){0};
  row->origin = "default";
  if (!standard) return;
  struct cf_source source = {.layer = CF_DEFAULT, .name = "default"};
  struct bx_buffer quoted = {0};
  struct bx_value v;
  BX_BUG_ON(!cf_json_or_text(&source, bx_slice_of(standard), &quoted, &v));
  BX_BUG_ON(v.type == BX_JSON_NULL);   // no default is NULL, not "null"
  cf_store(s, &source, row, &v);
  bx_buffer_fini(&quoted);
}
