// SPDX-License-Identifier: Apache-2.0
// The loader's frame: rows out of tables, the four layers in their order, faults, memory.
#include "config/config.h"

#include <stdio.h>

#include "config/set.h"

struct cf_memory {
  struct cf_memory *next;
  max_align_t bytes[];
};

void *cf_memory(struct cf_set *s, size_t size) {
  struct cf_memory *m = bx_alloc(sizeof *m + size);
  m->next = s->memory;
  s->memory = m;
  return m->bytes;
}

const char *cf_keep(struct cf_set *s, struct bx_slice text) {
  char *copy = cf_memory(s, text.len + 1);
  if (text.len > 0) memcpy(copy, text.at, text.len);
  return copy;
}

// -- rows ------------------------------------------------------------------------------------

struct cf_row *cf_find(const struct cf_set *s, struct bx_slice key) {
  for (size_t i = 0; i < s->count; i++) {
    if (bx_slice_equal(bx_slice_of(s->rows[i].option->key), key)) return &s->rows[i];
  }
  return NULL;
}

// Tables are code: a bad one is a bug, found by the first start.
static void check_key(const struct cf_set *s, size_t row) {
  const char *key = s->rows[row].option->key;
  struct bx_slice k = bx_slice_of(key);
  BX_BUG_ON(k.len == 0 || key[0] == '.' || key[k.len - 1] == '.' || strstr(key, "..") != NULL);
  BX_BUG_ON(strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.") != k.len);
  BX_BUG_ON(strstr(key, "__") != NULL);   // would be read as a dot in a variable's name
  for (size_t i = 0; i < s->count; i++) {
    struct bx_slice other = bx_slice_of(s->rows[i].option->key);
    BX_BUG_ON(i != row && bx_slice_equal(other, k));
    BX_BUG_ON(other.len > k.len && bx_slice_starts(other, k) && other.at[k.len] == '.');
  }
}

static void collect_rows(struct cf_set *s, const struct cf_section *sections, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    for (const struct cf_option *o = sections[i].options; o->key; o++) total++;
  }
  s->rows = cf_memory(s, total * sizeof *s->rows);
  for (size_t i = 0; i < count; i++) {
    for (const struct cf_option *o = sections[i].options; o->key; o++) {
      s->rows[s->count++] = (struct cf_row){.option = o, .field = (char *)sections[i].target + o->offset};
    }
  }
  for (size_t i = 0; i < s->count; i++) check_key(s, i);
  for (size_t i = 0; i < s->count; i++) cf_reset(s, &s->rows[i]);
}

// -- faults ----------------------------------------------------------------------------------

const char *cf_where(struct cf_set *s, const struct cf_source *source, const char *place) {
  if (source->layer != CF_FILE || !place) return source->name;
  struct bx_buffer where = {0};
  bx_buffer_printf(&where, "%s:%u", source->name, bx_scan_line_of(&source->scan, place));
  const char *kept = cf_keep(s, bx_buffer_view(&where));
  bx_buffer_fini(&where);
  return kept;
}

void cf_fault(struct cf_set *s, const struct cf_source *source, const char *place, struct bx_slice key,
              const char *format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  cf_json_word(bx_slice_of(cf_where(s, source, place)), s->error);   // a name may hold anything
  bx_buffer_lit(s->error, ": ");
  if (key.len > 0) {
    cf_json_word(key, s->error);
    bx_buffer_lit(s->error, ": ");
  }
  bx_buffer_printf(s->error, "%s\n", message);
  s->faults++;
}

// -- loading ---------------------------------------------------------------------------------

static void load_layers(struct cf_set *s, const struct cf_command *command, char **environment) {
  for (size_t i = 0; i < command->file_count; i++) cf_load_file(s, command->files[i]);
  cf_load_environment(s, environment);
  for (size_t i = 0; i < command->setting_count; i++) cf_load_setting(s, command->settings[i]);
}

struct cf_set *cf_load(const struct cf_section *sections, size_t count, const char *const *foreign, int argc,
                       char **argv, char **environment, enum cf_action *action, struct bx_buffer *error) {
  struct cf_set *s = bx_alloc(sizeof *s);
  s->foreign = foreign;
  s->error = error;
  collect_rows(s, sections, count);
  if (s->faults > 0) fprintf(stderr, "%.*s", (int)error->len, error->at);
  BX_BUG_ON(s->faults > 0);   // a default that its own row refuses

  struct cf_command command = {0};
  cf_command_read(s, argc, argv, &command);
  *action = command.action;
  bool only_defaults = *action == CF_HELP || *action == CF_VERSION || *action == CF_PRINT_REFERENCE;
  if (!only_defaults) load_layers(s, &command, environment);

  s->error = NULL;
  if (s->faults == 0) return s;
  cf_free(s);
  return NULL;
}

void cf_free(struct cf_set *s) {
  if (!s) return;
  for (struct cf_memory *m = s->memory, *next; m; m = next) {
    next = m->next;
    bx_free(m);
  }
  bx_free(s);
}

const char *cf_origin(const struct cf_set *s, const char *key) {
  const struct cf_row *row = cf_find(s, bx_slice_of(key));
  BX_BUG_ON(!row);
  return row->origin;
}
