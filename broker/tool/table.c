// SPDX-License-Identifier: Apache-2.0
// Tables for people.
#include <stdio.h>
#include <stdlib.h>

#include "broker/tool/tool.h"

enum { MAX_COLUMNS = 12 };

// What a peer chose must not steer the terminal: control characters are shown as "?".
static void print_plain(const char *text) {
  for (; *text; text++) putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void text_of(const json_t *value, char *out, size_t size) {
  if (json_is_string(value))
    snprintf(out, size, "%s", json_string_value(value));
  else if (json_is_integer(value))
    snprintf(out, size, "%lld", (long long)json_integer_value(value));
  else if (json_is_boolean(value))
    snprintf(out, size, "%s", json_is_true(value) ? "true" : "false");
  else
    snprintf(out, size, "-");
}

static void print_cell(const char *text, int width, bool right, bool last) {
  int blanks = width - (int)strlen(text);
  if (right) printf("%*s", blanks > 0 ? blanks : 0, "");
  print_plain(text);
  if (!last) printf("%*s  ", !right && blanks > 0 ? blanks : 0, "");
}

void tool_print_table(const struct tool_column *columns, const json_t *rows) {
  char text[2048];
  int width[MAX_COLUMNS], count = 0;
  bool right[MAX_COLUMNS];
  size_t i;
  json_t *row;
  for (; columns[count].title; count++) {
    BX_BUG_ON(count == MAX_COLUMNS);
    width[count] = (int)strlen(columns[count].title);
    right[count] = json_array_size(rows) > 0;
    json_array_foreach(rows, i, row) {
      const json_t *value = json_object_get(row, columns[count].member);
      text_of(value, text, sizeof text);
      if ((int)strlen(text) > width[count]) width[count] = (int)strlen(text);
      if (!json_is_integer(value)) right[count] = false;
    }
  }
  for (int c = 0; c < count; c++) print_cell(columns[c].title, width[c], right[c], c == count - 1);
  putchar('\n');
  json_array_foreach(rows, i, row) {
    for (int c = 0; c < count; c++) {
      text_of(json_object_get(row, columns[c].member), text, sizeof text);
      print_cell(text, width[c], right[c], c == count - 1);
    }
    putchar('\n');
  }
}

static void print_members(const json_t *object, const char *outer) {
  char name[128], text[2048];
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    snprintf(name, sizeof name, "%s%s%s", outer, *outer ? "." : "", key);
    if (json_is_object(value)) {
      print_members(value, name);
    } else if (!json_is_array(value)) {
      text_of(value, text, sizeof text);
      printf("%-32s  ", name);
      print_plain(text);
      putchar('\n');
    }
  }
}

void tool_print_members(const json_t *object) { print_members(object, ""); }

int tool_print_json(const json_t *value) {
  char *text = json_dumps(value, JSON_COMPACT);
  puts(text);
  free(text);
  return TOOL_OK;
}
