// SPDX-License-Identifier: Apache-2.0
// What can be configured, for people: the rules once, then the tables. docs/configuration.md is this
// output. Every rule stated here is held by a test in tests/unit/test_config*.c.
#include "config/set.h"

static const char rules[] =
    "# Configuration\n"
    "\n"
    "Without any configuration Mora listens on loopback, open to everyone on the machine. The tables below\n"
    "are those that the daemons read their configuration with; `--print-config-reference` prints this text\n"
    "and a daemon's own tables.\n"
    "\n"
    "## Where values come from\n"
    "\n"
    "Four layers. Each overrides the one before it, key by key:\n"
    "\n"
    "1. the defaults in the tables below;\n"
    "2. files, in the order of `--config FILE` (repeatable);\n"
    "3. environment variables, such as `MORA_BROKER__LISTEN`;\n"
    "4. `--set key=value` (repeatable, in order).\n"
    "\n"
    "`--check-config` checks all layers and exits. `--print-config` prints what is in force as one file:\n"
    "secrets, and passwords inside URLs, are shown as `***`; a value of `***` is refused when it is read, so\n"
    "replace the masks before you use that file. The exit code is 2 when the configuration is wrong. All\n"
    "mistakes are reported at once, each with its file and line (or flag, or variable), the key, what was\n"
    "expected, and the known key that looks most like an unknown one.\n"
    "\n"
    "## Files\n"
    "\n"
    "A file is JSON. The words of a key are nested objects, so `broker.listen` is written\n"
    "\n"
    "```json\n"
    "{\n"
    "  \"broker\": {\n"
    "    \"listen\": [\"127.0.0.1:8000\"]\n"
    "  }\n"
    "}\n"
    "```\n"
    "\n"
    "Unknown keys, keys given twice and keys with dots are errors; comments are not JSON. One file may serve\n"
    "all daemons: each skips the keys that only the others know. `null` puts a key back to its default.\n"
    "\n"
    "## Values\n"
    "\n"
    "| Type | Written as |\n"
    "|---|---|\n"
    "| text | `\"text\"` |\n"
    "| secret | as a text, not empty; masked when printed |\n"
    "| true or false | `true`, `false` |\n"
    "| number | `4`: whole, without a unit |\n"
    "| duration | `\"250ms\"`, `\"5s\"`, `\"10m\"`, `\"2h\"`, `\"1d\"`: a whole number and its unit; `\"0s\"` for none "
    "|\n"
    "| size | `\"512B\"`, `\"64KB\"`, `\"256MB\"`, `\"1GB\"`: a whole number and its unit, 1024-based |\n"
    "| one of | one of the words listed, as a text |\n"
    "| list of texts | `[\"a\", \"b\"]`; a single text is a list of one |\n"
    "| JSON | a value whose form the key describes; where it is a list, a single value is a list of one |\n"
    "\n"
    "A bare number where a unit belongs is an error, and so is a unit where a bare number belongs.\n"
    "\n"
    "## Flags and variables\n"
    "\n"
    "The value of `--set key=value` is JSON; what is not JSON is a text. So `--set broker.timeout=30s`,\n"
    "`--set 'broker.listen=[\"127.0.0.1:8000\", \"[::1]:8000\"]'` and, as a list of one,\n"
    "`--set broker.listen=127.0.0.1:8000` all work; a text that looks like a number needs its quotes:\n"
    "`--set 'admin.token=\"12345\"'`. A list is replaced, not added to. An object replaces all keys inside:\n"
    "after `--set 'journal={\"age\": \"10m\"}'` the other keys of `journal` have their defaults.\n"
    "\n"
    "A variable is named `MORA_` and the key in capitals, with `__` for each dot: `journal.age` is\n"
    "`MORA_JOURNAL__AGE`. Its value follows the same rules, objects included. Variables are read in the order\n"
    "of their names, so `MORA_JOURNAL__AGE` changes what `MORA_JOURNAL` has set.\n"
    "\n"
    "A `MORA_` variable that names no key is an error. Exceptions are `MORA_ADMIN` and `MORA_TOKEN`, which\n"
    "belong to the tool `mora`, `MORA_NO_INSTALL`, `MORA_TEST_*` and\n"
    "`MORA_BENCH_*`, which belong to build and tests, and the variables by which Kubernetes and Docker links\n"
    "describe services (`MORA_SERVICE_HOST`, `MORA_BROKER_PORT=tcp://...`, `MORA_PORT_8000_TCP_ADDR`, ...).\n"
    "\n"
    "## Keys\n";

static void add_type(const struct cf_option *o, struct bx_buffer *out) {
  char shape = o->standard ? o->standard[0] : '\0';
  switch (o->type) {
  case CF_STRING: bx_buffer_lit(out, "text"); break;
  case CF_SECRET: bx_buffer_lit(out, "secret"); break;
  case CF_BOOL: bx_buffer_lit(out, "true or false"); break;
  case CF_NUMBER: bx_buffer_lit(out, "number"); break;
  case CF_DURATION: bx_buffer_lit(out, "duration"); break;
  case CF_SIZE: bx_buffer_lit(out, "size"); break;
  case CF_ENUM: bx_buffer_lit(out, "one of"); break;
  case CF_STRINGS: bx_buffer_lit(out, "list of texts"); break;
  case CF_SECRETS: bx_buffer_lit(out, "list of secrets"); break;
  case CF_JSON: bx_buffer_printf(out, "JSON%s", shape == '[' ? ", a list" : shape == '{' ? ", an object" : ""); break;
  }
  for (size_t i = 0; o->type == CF_ENUM && o->choices[i]; i++) {
    bx_buffer_printf(out, "%s `%s`", i > 0 ? "," : "", o->choices[i]);
  }
}

static void add_bound(const struct cf_option *o, const char *words, uint64_t bound, struct bx_buffer *out) {
  if (bound == 0) return;
  bx_buffer_printf(out, ", %s `", words);
  cf_write_number(o->type, bound, out);
  bx_buffer_char(out, '`');
}

// Text inside a cell: a bar would end it.
static void add_cell(const char *text, struct bx_buffer *out) {
  for (; *text; text++) {
    if (*text == '|') bx_buffer_char(out, '\\');
    bx_buffer_char(out, *text == '\n' ? ' ' : *text);
  }
}

// As it would stand in a file: a table may leave the quotes of a text out.
static void add_default(const struct cf_option *o, struct bx_buffer *out) {
  struct cf_source source = {.layer = CF_DEFAULT, .name = "default"};
  struct bx_buffer quoted = {0}, line = {0};
  struct bx_value v;
  if (!o->standard) {
    bx_buffer_lit(out, "none");
    return;
  }
  BX_BUG_ON(!cf_json_or_text(&source, bx_slice_of(o->standard), &quoted, &v));
  cf_json_one_line(v.raw, &line);
  bx_buffer_char(&line, '\0');
  bx_buffer_char(out, '`');
  add_cell(line.at, out);
  bx_buffer_char(out, '`');
  bx_buffer_fini(&line);
  bx_buffer_fini(&quoted);
}

static void add_row(const struct cf_option *o, struct bx_buffer *out) {
  bx_buffer_printf(out, "| `%s` | ", o->key);
  add_type(o, out);
  add_bound(o, "at least", o->min, out);
  add_bound(o, "at most", o->max, out);
  bx_buffer_lit(out, " | ");
  add_default(o, out);
  bx_buffer_lit(out, " | ");
  add_cell(o->doc ? o->doc : "", out);
  bx_buffer_lit(out, " |\n");
}

static struct bx_slice first_word(const char *key) { return (struct bx_slice){key, strcspn(key, ".")}; }

// Has an option before this one the same key, or with `group` the same first word?
static bool seen(const struct cf_option *const *all, size_t index, bool group) {
  for (size_t i = 0; i < index; i++) {
    if (strcmp(all[i]->key, all[index]->key) == 0) return true;
    if (group && bx_slice_equal(first_word(all[i]->key), first_word(all[index]->key))) return true;
  }
  return false;
}

static void add_table(const struct cf_option *const *all, size_t count, size_t first, struct bx_buffer *out) {
  struct bx_slice word = first_word(all[first]->key);
  bx_buffer_printf(out, "\n### %.*s\n\n| Key | Type | Default | What it does |\n|---|---|---|---|\n", (int)word.len,
                   word.at);
  for (size_t i = first; i < count; i++) {
    if (bx_slice_equal(first_word(all[i]->key), word) && !seen(all, i, false)) add_row(all[i], out);
  }
}

void cf_print_options(const struct cf_option *const *all, size_t count, struct bx_buffer *out) {
  bx_buffer_lit(out, rules);
  for (size_t i = 0; i < count; i++) {
    if (!seen(all, i, true)) add_table(all, count, i, out);
  }
}

void cf_print_reference(const struct cf_section *sections, size_t count, struct bx_buffer *out) {
  size_t total = 0, n = 0;
  for (size_t i = 0; i < count; i++) {
    for (const struct cf_option *o = sections[i].options; o->key; o++) total++;
  }
  const struct cf_option **all = bx_alloc((total + 1) * sizeof *all);
  for (size_t i = 0; i < count; i++) {
    for (const struct cf_option *o = sections[i].options; o->key; o++) all[n++] = o;
  }
  cf_print_options(all, total, out);
  bx_free(all);
}
