// SPDX-License-Identifier: Apache-2.0
// Documents and settings onto rows: which key a value belongs to, and what may stand where.
#include <errno.h>
#include <stdio.h>

#include "config/set.h"

// -- keys ------------------------------------------------------------------------------------

// "broker" is inside "broker.listen" and around nothing of "brokers.x".
static bool is_inside(struct bx_slice key, struct bx_slice group) {
  return key.len > group.len && bx_slice_starts(key, group) && key.at[group.len] == '.';
}

static bool is_group(const struct cf_set *s, struct bx_slice key) {
  for (size_t i = 0; i < s->count; i++) {
    if (is_inside(bx_slice_of(s->rows[i].option->key), key)) return true;
  }
  return false;
}

// Belongs to another daemon; or is a group of which a part does ("api" when "api." is foreign).
static bool is_foreign(const struct cf_set *s, struct bx_slice key, bool *partly) {
  *partly = false;
  for (const char *const *f = s->foreign; f && *f; f++) {
    struct bx_slice prefix = bx_slice_of(*f);
    if (bx_slice_starts(key, prefix)) return true;
    if (is_inside(prefix, key)) *partly = true;
  }
  return false;
}

bool cf_is_known(const struct cf_set *s, struct bx_slice key) {
  bool partly;
  return cf_find(s, key) || is_group(s, key) || is_foreign(s, key, &partly) || partly;
}

static const struct cf_row *row_around(const struct cf_set *s, struct bx_slice key) {
  for (size_t i = 0; i < s->count; i++) {
    if (is_inside(key, bx_slice_of(s->rows[i].option->key))) return &s->rows[i];
  }
  return NULL;
}

static void reset_group(struct cf_set *s, struct bx_slice group) {
  for (size_t i = 0; i < s->count; i++) {
    if (is_inside(bx_slice_of(s->rows[i].option->key), group)) cf_reset(s, &s->rows[i]);
  }
}

static void unknown_key(struct cf_set *s, const struct cf_source *source, const char *place, struct bx_slice key) {
  const struct cf_row *around = row_around(s, key);
  struct bx_slice near = cf_guess_key(s, key);
  if (around) {
    cf_fault(s, source, place, key, "unknown key; %s has no keys inside, it is set as a whole", around->option->key);
  } else if (near.len > 0) {
    cf_fault(s, source, place, key, "unknown key; did you mean %.*s?", (int)near.len, near.at);
  } else {
    cf_fault(s, source, place, key, "unknown key");
  }
}

// -- values ----------------------------------------------------------------------------------

static void apply_object(struct cf_set *, const struct cf_source *, const struct bx_value *object,
                         struct bx_buffer *path);

// `place` is where a message points at: the key in a file.
static void apply(struct cf_set *s, const struct cf_source *source, const char *place, struct bx_buffer *path,
                  const struct bx_value *v) {
  struct bx_slice key = bx_buffer_view(path);
  struct cf_row *row = cf_find(s, key);
  if (row) {
    cf_store(s, source, row, v);
    return;
  }
  bool partly, own = is_group(s, key);
  bool foreign = is_foreign(s, key, &partly);
  if (foreign && !own) return;
  if (!own && !partly) {
    unknown_key(s, source, place, key);
    return;
  }
  // A file adds to what other files say, key by key. One setting says it all.
  if (source->layer != CF_FILE || v->type == BX_JSON_NULL) reset_group(s, key);
  if (v->type == BX_JSON_OBJECT) {
    apply_object(s, source, v, path);
  } else if (v->type != BX_JSON_NULL) {
    cf_fault(s, source, place, key, "expected an object%s",
             source->guessed ? "; what was given is not JSON" : " that holds its keys");
  }
}

static void apply_object(struct cf_set *s, const struct cf_source *source, const struct bx_value *object,
                         struct bx_buffer *path) {
  struct bx_scan scan;
  struct bx_value key, value;
  size_t length = path->len;
  bx_scan_init(&scan, object->raw, CF_DEPTH);
  BX_BUG_ON(!bx_scan_enter(&scan));   // the whole text was read before
  while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &value)) {
    if (length > 0) bx_buffer_char(path, '.');
    size_t word = path->len;
    bx_value_decode(&key, path);
    if (path->len > word && memchr(path->at + word, '.', path->len - word)) {
      cf_fault(s, source, key.raw.at, bx_buffer_view(path),
               "a key with a dot; in JSON write objects: {\"broker\": {\"listen\": ...}}");
    } else {
      apply(s, source, key.raw.at, path, &value);
    }
    path->len = length;
  }
}

// -- files -----------------------------------------------------------------------------------

static bool read_all(FILE *file, struct bx_buffer *text) {
  size_t got;
  do {
    bx_buffer_reserve(text, 16384);
    got = fread(text->at + text->len, 1, 16384, file);
    text->len += got;
  } while (got > 0 && text->len <= CF_FILE_LIMIT);
  return !ferror(file);
}

static bool read_file(struct cf_set *s, const struct cf_source *source, struct bx_buffer *text) {
  FILE *file = fopen(source->name, "rb");
  bool good = file && read_all(file, text);
  int code = errno;
  if (file) fclose(file);
  if (!good) {
    cf_fault(s, source, NULL, (struct bx_slice){0}, "cannot read it: %s", strerror(code));
  } else if (text->len > CF_FILE_LIMIT) {
    cf_fault(s, source, NULL, (struct bx_slice){0}, "longer than %u MB, so no configuration", CF_FILE_LIMIT >> 20);
    good = false;
  }
  return good;
}

static void load_document(struct cf_set *s, struct cf_source *source, struct bx_slice text) {
  struct bx_value v;
  if (!cf_json_read(source, text, &v)) {
    unsigned line, column;
    bx_scan_where(&source->scan, &line, &column);
    struct bx_buffer name = {0};
    bx_buffer_printf(&name, "%s:%u:%u", source->name, line, column);
    struct cf_source there = {.layer = CF_FLAG, .name = cf_keep(s, bx_buffer_view(&name))};
    cf_fault(s, &there, NULL, (struct bx_slice){0}, "not JSON: %s",
             source->scan.fault ? source->scan.fault : "there is more behind the end");
    bx_buffer_fini(&name);
    return;
  }
  if (v.type != BX_JSON_OBJECT) {
    cf_fault(s, source, v.raw.at, (struct bx_slice){0}, "expected an object such as {\"broker\": {...}}");
    return;
  }
  struct bx_buffer path = {0};
  cf_json_unique(s, source, &v, (struct bx_slice){0});
  apply_object(s, source, &v, &path);
  bx_buffer_fini(&path);
}

void cf_load_file(struct cf_set *s, const char *name) {
  struct cf_source source = {.layer = CF_FILE, .name = name};
  struct bx_buffer text = {0};
  if (read_file(s, &source, &text)) load_document(s, &source, bx_buffer_view(&text));
  bx_buffer_fini(&text);
}

// -- settings --------------------------------------------------------------------------------

void cf_load_text(struct cf_set *s, enum cf_layer layer, const char *name, struct bx_slice key, struct bx_slice text) {
  struct cf_source source = {.layer = layer, .name = name};
  struct bx_buffer quoted = {0}, path = {0};
  struct bx_value v;
  if (cf_json_or_text(&source, text, &quoted, &v)) {
    cf_json_unique(s, &source, &v, key);
    bx_buffer_slice(&path, key);
    apply(s, &source, NULL, &path, &v);
  } else {
    cf_fault(s, &source, NULL, key, "expected UTF-8 text");
  }
  bx_buffer_fini(&path);
  bx_buffer_fini(&quoted);
}

void cf_load_setting(struct cf_set *s, const char *setting) {
  size_t length = strcspn(setting, "=");
  struct bx_slice key = {setting, length};
  if (length == 0 || setting[length] == '\0') {
    struct cf_source source = {.layer = CF_FLAG, .name = "--set"};
    cf_fault(s, &source, NULL, key, "expected KEY=VALUE, such as broker.timeout=60s");
    return;
  }
  cf_load_text(s, CF_FLAG, "--set", key, bx_slice_of(setting + length + 1));
}
