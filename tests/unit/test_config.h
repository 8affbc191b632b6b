// SPDX-License-Identifier: Apache-2.0
// What the tests of config/ share: a table with a key of every type, files in a temporary directory,
// and a load that says everything in one line.
#pragma once

#include "config/config.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/check.h"

struct target {
  const char *text, *plain, *url;
  const char *secret;
  bool flag;
  uint64_t number, size;
  bx_millis duration;
  int mode;
  struct cf_strings list, addresses, secrets;
  struct bx_slice any, rules, table;
};

static const char *const modes[] = {"memory", "redis", NULL};

// A rule is a list that holds objects only: enough to be refused by item.
static inline const char *check_rules(struct bx_slice text) {
  return memmem(text.at, text.len, "bad", 3) ? "rules that are not bad" : NULL;
}

#define FIELD(name) offsetof(struct target, name)
static const struct cf_option options[] = {
    {.key = "app.text", .type = CF_STRING, .offset = FIELD(text), .standard = "\"hello\"", .doc = "A greeting."},
    {.key = "app.plain", .type = CF_STRING, .offset = FIELD(plain), .doc = "One | two."},
    {.key = "app.flag", .type = CF_BOOL, .offset = FIELD(flag), .standard = "true", .doc = "A flag."},
    {.key = "app.number", .type = CF_NUMBER, .offset = FIELD(number), .standard = "4", .min = 1, .max = 64},
    {.key = "app.deep.timeout", .type = CF_DURATION, .offset = FIELD(duration), .standard = "60s", .max = 3600000},
    {.key = "app.deep.message_size", .type = CF_SIZE, .offset = FIELD(size), .standard = "\"64KB\"", .min = 1024},
    {.key = "engine.type", .type = CF_ENUM, .offset = FIELD(mode), .standard = "\"memory\"", .choices = modes},
    {.key = "engine.url", .type = CF_STRING, .offset = FIELD(url)},
    {.key = "app.list", .type = CF_STRINGS, .offset = FIELD(list), .standard = "[\"a\", \"b\"]"},
    {.key = "app.listen",
     .type = CF_STRINGS,
     .offset = FIELD(addresses),
     .standard = "[\"127.0.0.1:8000\"]",
     .check = cf_check_address},
    {.key = "admin.token", .type = CF_SECRET, .offset = FIELD(secret)},
    {.key = "admin.passwords", .type = CF_SECRETS, .offset = FIELD(secrets)},
    {.key = "app.any", .type = CF_JSON, .offset = FIELD(any)},
    {.key = "app.rules", .type = CF_JSON, .offset = FIELD(rules), .standard = "[]", .check = check_rules},
    {.key = "app.table", .type = CF_JSON, .offset = FIELD(table), .standard = "{}"},
    {0},
};

static const char *const foreign[] = {"api.", "engine.pods.", NULL};

struct attempt {
  struct target t;
  struct cf_set *set;
  enum cf_action action;
  struct bx_buffer error;
};

static inline void load(struct attempt *a, const char **environment, const char **arguments) {
  struct cf_section sections[] = {{options, &a->t}};
  int count = 0;
  while (arguments[count]) count++;
  memset(a, 0xa5, sizeof *a);
  a->error = (struct bx_buffer){0};
  a->set = cf_load(sections, 1, foreign, count, (char **)(uintptr_t)arguments, (char **)(uintptr_t)environment,
                   &a->action, &a->error);
}

static inline void done(struct attempt *a) {
  cf_free(a->set);
  bx_buffer_fini(&a->error);
}

#define NOTHING ((const char *[]){NULL})
#define VARIABLES(...) ((const char *[]){__VA_ARGS__, NULL})
#define ARGUMENTS(...) ((const char *[]){"mora-test", __VA_ARGS__ __VA_OPT__(, ) NULL})

// Loads, and fails with the messages when it was refused.
static inline void load_good(struct attempt *a, const char **environment, const char **arguments) {
  load(a, environment, arguments);
  if (!a->set) fail_msg("refused: %.*s", (int)a->error.len, a->error.at);
  assert_int_equal(a->error.len, 0);
}

static inline void same_text(struct bx_slice text, const char *expected) {
  if (!bx_slice_equal(text, bx_slice_of(expected))) fail_msg("got:\n%.*s\nnot:\n%s", (int)text.len, text.at, expected);
}

// The whole of the messages.
static inline void refused(const char **environment, const char **arguments, const char *expected) {
  struct attempt a;
  load(&a, environment, arguments);
  if (a.set) fail_msg("accepted, expected: %s", expected);
  same_text(bx_buffer_view(&a.error), expected);
  done(&a);
}

#define refused_set(setting, expected) refused(NOTHING, ARGUMENTS("--set", setting), expected)

static inline void write_file(const char *name, const char *text) {
  FILE *f = fopen(name, "w");
  assert_non_null(f);
  fputs(text, f);
  assert_int_equal(fclose(f), 0);
}

#define refused_file(text, expected)                                \
  do {                                                              \
    write_file("mora.json", text);                                  \
    refused(NOTHING, ARGUMENTS("--config", "mora.json"), expected); \
  } while (0)

// Tests run inside a directory of their own, so that files have short names.
static char directory[] = "mora-test-XXXXXX";

static inline int enter_directory(void **state) {
  (void)state;
  const char *base = getenv("TMPDIR");
  return chdir(base ? base : "/tmp") != 0 || !mkdtemp(directory) || chdir(directory) != 0;
}

static inline int leave_directory(void **state) {
  (void)state;
  static const char *const files[] = {"mora.json", "a.json", "b.json"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(files[i]);
  return chdir("..") != 0 || rmdir(directory) != 0;
}
