// SPDX-License-Identifier: Apache-2.0
// JSON text as a whole: read and checked, searched for double keys, put on one line.
#include <stdlib.h>

#include "config/set.h"

bool cf_json_read(struct cf_source *source, struct bx_slice text, struct bx_value *v) {
  bx_scan_init(&source->scan, text, CF_DEPTH);
  return bx_scan_value(&source->scan, v) && bx_scan_end(&source->scan);
}

bool cf_json_or_text(struct cf_source *source, struct bx_slice text, struct bx_buffer *quoted, struct bx_value *v) {
  if (cf_json_read(source, text, v)) return true;
  source->guessed = true;
  bx_buffer_json_string(quoted, text);
  if (!cf_json_read(source, bx_buffer_view(quoted), v)) return false;
  struct bx_buffer back = {0};
  bx_value_decode(v, &back);
  bool same = bx_slice_equal(bx_buffer_view(&back), text);
  bx_buffer_fini(&back);
  return same;
}

// -- double keys -----------------------------------------------------------------------------

struct member {
  struct bx_slice name;   // decoded
  const char *place;
};

struct members {
  struct member *at;
  size_t count, room;
};

static void add_member(struct cf_set *s, struct members *m, const struct bx_value *key) {
  if (m->count == m->room) {
    m->room = m->room ? 2 * m->room : 16;
    m->at = bx_realloc(m->at, m->room * sizeof *m->at);
  }
  struct bx_slice name = bx_value_inside(key);
  if (key->escaped) {
    struct bx_buffer decoded = {0};
    bx_value_decode(key, &decoded);
    name = (struct bx_slice){cf_keep(s, bx_buffer_view(&decoded)), decoded.len};
    bx_buffer_fini(&decoded);
  }
  m->at[m->count++] = (struct member){name, key->raw.at};
}

static int compare(const void *a, const void *b) {
  const struct member *x = a, *y = b;
  size_t shorter = x->name.len < y->name.len ? x->name.len : y->name.len;
  int order = shorter > 0 ? memcmp(x->name.at, y->name.at, shorter) : 0;
  if (order != 0) return order;
  if (x->name.len != y->name.len) return x->name.len < y->name.len ? -1 : 1;
  return x->place < y->place ? -1 : 1;
}

static void add_word(struct bx_buffer *path, struct bx_slice word) {
  if (path->len > 0) bx_buffer_char(path, '.');
  bx_buffer_slice(path, word);
}

static void report_doubles(struct cf_set *s, const struct cf_source *source, struct members *m,
                           struct bx_buffer *path) {
  size_t length = path->len;
  if (m->count > 1) qsort(m->at, m->count, sizeof *m->at, compare);
  for (size_t i = 1; i < m->count; i++) {
    if (!bx_slice_equal(m->at[i].name, m->at[i - 1].name)) continue;
    add_word(path, m->at[i].name);
    if (source->layer == CF_FILE) {
      cf_fault(s, source, m->at[i].place, bx_buffer_view(path), "duplicate key; it is also on line %u",
               bx_scan_line_of(&source->scan, m->at[i - 1].place));
    } else {
      cf_fault(s, source, NULL, bx_buffer_view(path), "duplicate key");
    }
    path->len = length;
  }
}

static void search(struct cf_set *s, const struct cf_source *source, const struct bx_value *v, struct bx_buffer *path) {
  if (v->type != BX_JSON_OBJECT && v->type != BX_JSON_ARRAY) return;
  struct bx_scan scan;
  struct bx_value key, value;
  struct members members = {0};
  size_t length = path->len;
  bx_scan_init(&scan, v->raw, CF_DEPTH);
  BX_BUG_ON(!bx_scan_enter(&scan));
  for (size_t i = 0; bx_scan_item(&scan, &key) && bx_scan_value(&scan, &value); i++) {
    if (v->type == BX_JSON_OBJECT) {
      add_member(s, &members, &key);
      add_word(path, members.at[members.count - 1].name);
    } else {
      bx_buffer_printf(path, "[%zu]", i);
    }
    search(s, source, &value, path);
    path->len = length;
  }
  report_doubles(s, source, &members, path);
  bx_free(members.at);
}

void cf_json_unique(struct cf_set *s, const struct cf_source *source, const struct bx_value *v, struct bx_slice key) {
  struct bx_buffer path = {0};
  bx_buffer_slice(&path, key);
  search(s, source, v, &path);
  bx_buffer_fini(&path);
}

// -- as text ---------------------------------------------------------------------------------

void cf_json_one_line(struct bx_slice json, struct bx_buffer *out) {
  bool string = false;
  for (size_t i = 0; i < json.len; i++) {
    char c = json.at[i];
    if (string) {
      bx_buffer_char(out, c);
      if (c == '\\')
        bx_buffer_char(out, json.at[++i]);
      else if (c == '"')
        string = false;
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
      bx_buffer_char(out, c);
      if (c == ':' || c == ',') bx_buffer_char(out, ' ');
      string = c == '"';
    }
  }
}

void cf_json_word(struct bx_slice word, struct bx_buffer *out) {
  struct bx_buffer quoted = {0};
  bx_buffer_json_string(&quoted, word);
  bx_buffer_add(out, quoted.at + 1, quoted.len - 2);
  bx_buffer_fini(&quoted);
}
