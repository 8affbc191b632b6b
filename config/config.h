// SPDX-License-Identifier: Apache-2.0
// Configuration: rows that describe the fields of a struct, and a loader that fills it.
//
// Layers, each overriding the one before, key by key: the rows' defaults, files in the order of
// --config, the environment (MORA_BROKER__LISTEN), --set. The same rows give --print-config,
// --print-config-reference, docs/configuration.md and every error message.
//
// The rules a user sees (units, null, lists, names of variables) are written once, in the text that
// cf_print_reference() prints.
//
// Lifetime: the strings and lists of a filled struct belong to the struct cf_set and live as long
// as it does. Option tables are borrowed by the set; the list of sections is not.
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"

enum cf_type {
  CF_STRING,     // const char *            "text"; NULL when there is no default and none was set
  CF_SECRET,     // const char *            as CF_STRING, masked when printed, never empty
  CF_BOOL,       // bool
  CF_NUMBER,     // uint64_t                a bare integer
  CF_DURATION,   // bx_millis               "250ms" "5s" "10m" "2h" "1d"
  CF_SIZE,       // uint64_t                "512B" "64KB" "256MB" "1GB", 1024-based
  CF_ENUM,       // int                     one of `choices`, stored as its index
  CF_STRINGS,    // struct cf_strings       a list; a single value makes a list of one
  CF_SECRETS,    // struct cf_strings       masked when printed, none of them empty
  CF_JSON,       // struct bx_slice         any value, kept as its checked text (rules, mounts). When the
                 //                         default is a list or an object, so must every value be; a
                 //                         single value for a list makes a list of one
};

struct cf_strings {
  const char *const *at;
  size_t count;
};

// One key: small letters, digits and _ in words joined by dots. A key cannot be the start of another
// ("a" and "a.b"). `doc` is a sentence or two for the reference: what it does, and when to change it.
struct cf_option {
  const char *key;   // "broker.timeout"; NULL ends a table
  enum cf_type type;
  size_t offset;
  const char *standard;   // the default, as a user would write the JSON value; NULL: none
  const char *doc;
  uint64_t min, max;            // CF_NUMBER, CF_DURATION, CF_SIZE; max 0: no bound
  const char *const *choices;   // CF_ENUM, NULL-terminated
  // A further check of the value, NULL when none: returns what was expected ("an address such as
  // 127.0.0.1:8000"), or NULL when it is good. It sees a string decoded, everything else as text.
  // For CF_STRINGS and CF_SECRETS it is called per item. For CF_JSON it sees the whole value; when
  // it refuses a list it is asked again with a list of each one item, to name the line at fault.
  const char *(*check)(struct bx_slice value);
};

// A table and the struct it fills. A daemon hands over a list of them; keys are unique over all.
struct cf_section {
  const struct cf_option *options;
  void *target;
};

struct cf_set;

// argv as main() got it. Fills every target. NULL: *error holds the message(s), one a line, each
// naming file:line (or the flag, or the variable), key, what was expected, and a close match.
// Unknown keys anywhere under MORA_ / files / --set are errors - except keys in `foreign`
// (NULL-terminated list of key prefixes such as "api."), which other daemons own and which this
// one skips so that one file serves all. After NULL the targets hold nothing of use.
//
// --help, --version, --print-config, --print-config-reference and --check-config are recognised
// here and reported in *action; printing is done by cf_answer(). For help, version and reference
// only the defaults are loaded, so that a broken file does not stand in their way.
enum cf_action { CF_RUN, CF_CHECK, CF_HELP, CF_VERSION, CF_PRINT, CF_PRINT_REFERENCE };

struct cf_set *cf_load(const struct cf_section *sections, size_t count, const char *const *foreign, int argc,
                       char **argv, char **environment, enum cf_action *action, struct bx_buffer *error);
void cf_free(struct cf_set *);

// What the user asked for by `action`, as text for standard output; nothing for CF_RUN. `purpose` is
// the sentence below the usage line of --help. The caller writes it and exits 0.
struct cf_program {
  const char *name;   // "mora-broker"
  const char *purpose;
};
void cf_answer(const struct cf_set *, enum cf_action action, const struct cf_program *, struct bx_buffer *out);

// Where the value of a key comes from, for messages about what keys mean together: "mora.json:12",
// "--set", "MORA_ADMIN__TOKEN", "default". The key must be one of the tables.
const char *cf_origin(const struct cf_set *, const char *key);

// The effective configuration as a JSON file that could be given to --config once the masks are
// replaced: secrets, and passwords inside URLs, are shown as "***", which is refused when read.
void cf_print(const struct cf_set *, struct bx_buffer *);

// The rules of configuration and the option tables as Markdown, one table per first word of the
// keys. A key that several sections share is printed once.
void cf_print_reference(const struct cf_section *, size_t count, struct bx_buffer *);
