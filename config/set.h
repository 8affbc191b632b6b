// SPDX-License-Identifier: Apache-2.0
// The inside of the loader: shared by the files of config/, included by nobody else.
//
// A value travels as JSON text: from a file as it stands there, from a flag or a variable after the
// rule "JSON, else a string". walk.c finds the row it belongs to, value.c checks it and fills the
// field, and the row remembers text and origin for printing.
//
// Faults are collected, not thrown: whoever finds one calls cf_fault() and goes on.
#pragma once

#include "bayeux/scan.h"
#include "config/check.h"
#include "config/config.h"

#define CF_DEPTH 64                 // brackets open at once in a file
#define CF_FILE_LIMIT (16u << 20)   // bytes of a file: a wrong file is refused before it fills memory

struct cf_row {
  const struct cf_option *option;
  void *field;            // option->offset into the target of its section
  struct bx_slice text;   // the value in force, as JSON; len 0: none
  const char *origin;
};

struct cf_set {
  struct cf_row *rows;   // in the order of the tables
  size_t count;
  const char *const *foreign;   // NULL: none
  struct cf_memory *memory;     // everything cf_memory() handed out
  struct bx_buffer *error;
  size_t faults;
};

enum cf_layer { CF_DEFAULT, CF_FILE, CF_ENVIRONMENT, CF_FLAG };

// Where a piece of JSON text comes from.
struct cf_source {
  enum cf_layer layer;
  const char *name;      // the file, the variable, "--set", "default"
  struct bx_scan scan;   // over the whole text: knows the lines
  bool guessed;          // it was not JSON and became a string
};

// -- config.c
void *cf_memory(struct cf_set *, size_t size);                        // lives as long as the set; zeroed
const char *cf_keep(struct cf_set *, struct bx_slice);                // a terminated copy
struct cf_row *cf_find(const struct cf_set *, struct bx_slice key);   // NULL: no such key
// One line of *error: where `place` is (NULL: no line), the key (empty: none), and the message.
void cf_fault(struct cf_set *, const struct cf_source *, const char *place, struct bx_slice key, const char *format,
              ...) BX_PRINTF(5, 6);
const char *cf_where(struct cf_set *, const struct cf_source *, const char *place);

// -- command.c
struct cf_command {
  enum cf_action action;
  const char **files;
  size_t file_count;
  const char **settings;   // "key=value"
  size_t setting_count;
};
void cf_command_read(struct cf_set *, int argc, char **argv, struct cf_command *);
void cf_print_help(const struct cf_program *, struct bx_buffer *out);

// -- walk.c: documents and settings onto rows
bool cf_is_known(const struct cf_set *, struct bx_slice key);   // a key or a group, ours or foreign
void cf_load_file(struct cf_set *, const char *name);
void cf_load_setting(struct cf_set *, const char *setting);   // "key=value"
void cf_load_text(struct cf_set *, enum cf_layer, const char *name, struct bx_slice key, struct bx_slice value);

// -- environment.c
void cf_load_environment(struct cf_set *, char **environment);

// -- json.c
bool cf_json_read(struct cf_source *, struct bx_slice text,
                  struct bx_value *) BX_MUST_CHECK;   // one value, nothing behind
// The rule of flags and variables: JSON, else a string, which is written to *quoted and outlived by it.
// False: not UTF-8, so it would not come out as it went in.
bool cf_json_or_text(struct cf_source *, struct bx_slice text, struct bx_buffer *quoted,
                     struct bx_value *) BX_MUST_CHECK;
// Reports every key that an object inside `v` has twice. `key` is the name of `v` itself.
void cf_json_unique(struct cf_set *, const struct cf_source *, const struct bx_value *v, struct bx_slice key);
// The value on one line, with a space behind colons and commas.
void cf_json_one_line(struct bx_slice json, struct bx_buffer *out);
// A key or word inside a message: control characters escaped, no quotes.
void cf_json_word(struct bx_slice word, struct bx_buffer *out);

// -- value.c
void cf_store(struct cf_set *, const struct cf_source *, struct cf_row *, const struct bx_value *);
void cf_reset(struct cf_set *, struct cf_row *);   // back to the default

// -- units.c
bool cf_read_number(struct bx_slice text, uint64_t *out) BX_MUST_CHECK;   // the others: check.h
// A number as a user would write it for this type, in the largest unit that fits: "90s", "64KB".
void cf_write_number(enum cf_type, uint64_t number, struct bx_buffer *out);
// What a value of this option must be, in words.
void cf_expected(const struct cf_option *, struct bx_buffer *out);

// -- suggest.c
// The nearest of several words to one that was not found.
struct cf_guess {
  struct bx_slice word, best;   // best.len 0: nothing is near
  size_t distance;
};
void cf_guess_init(struct cf_guess *, struct bx_slice word);
void cf_guess_try(struct cf_guess *, struct bx_slice candidate);
// The key or group nearest to `key`.
struct bx_slice cf_guess_key(const struct cf_set *, struct bx_slice key);

// -- print.c
bool cf_is_secret(enum cf_type);
// A URL's password becomes ***; any other text is copied.
void cf_mask_url(struct bx_slice text, struct bx_buffer *out);
// The mask itself, alone or as a URL's password: somebody loads what was printed.
bool cf_is_masked(struct bx_slice text);

// -- reference.c
void cf_print_options(const struct cf_option *const *, size_t count, struct bx_buffer *out);
