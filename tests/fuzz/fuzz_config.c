// SPDX-License-Identifier: Apache-2.0
// The configuration loader. The first byte says how the rest is given: as a file, as --set, as a
// variable. What is refused is refused in whole lines of plain text; what is accepted can be printed,
// loaded again, and prints the same.
#include "config/check.h"
#include "config/config.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MUST(condition) BX_BUG_ON(!(condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
  const char *text;
  bool flag;
  uint64_t number, size;
  bx_millis duration;
  int mode;
  struct cf_strings list, secrets;
  struct bx_slice any, rules;
};

static const char *const modes[] = {"memory", "redis", NULL};

static const char *check_rules(struct bx_slice text) {
  return memmem(text.at, text.len, "bad", 3) ? "good rules" : NULL;
}

#define FIELD(name) offsetof(struct target, name)
static const struct cf_option options[] = {
    {.key = "a.text", .type = CF_STRING, .offset = FIELD(text)},
    {.key = "a.flag", .type = CF_BOOL, .offset = FIELD(flag), .standard = "true"},
    {.key = "a.number", .type = CF_NUMBER, .offset = FIELD(number), .standard = "4", .min = 1, .max = 64},
    {.key = "a.size", .type = CF_SIZE, .offset = FIELD(size), .standard = "64KB"},
    {.key = "b.c.time", .type = CF_DURATION, .offset = FIELD(duration), .standard = "60s"},
    {.key = "b.c.mode", .type = CF_ENUM, .offset = FIELD(mode), .standard = "memory", .choices = modes},
    {.key = "b.list", .type = CF_STRINGS, .offset = FIELD(list), .standard = "[]", .check = cf_check_address},
    {.key = "b.secrets", .type = CF_SECRETS, .offset = FIELD(secrets)},
    {.key = "b.any", .type = CF_JSON, .offset = FIELD(any)},
    {.key = "b.rules", .type = CF_JSON, .offset = FIELD(rules), .standard = "[]", .check = check_rules},
    {0},
};
static const char *const foreign[] = {"x.", "b.y.", NULL};

static struct cf_set *load(const char *flag, const char *value, const char *variable, struct target *t) {
  struct cf_section section = {options, t};
  struct bx_buffer error = {0};
  enum cf_action action;
  const char *arguments[] = {"fuzz", flag, value, NULL}, *environment[] = {variable, NULL};
  struct cf_set *set = cf_load(&section, 1, foreign, flag ? 3 : 1, (char **)(uintptr_t)arguments,
                               (char **)(uintptr_t)environment, &action, &error);
  MUST((set == NULL) == (error.len > 0));
  MUST(set || error.at[error.len - 1] == '\n');
  for (size_t i = 0; i < error.len; i++) MUST(error.at[i] == '\n' || (unsigned char)error.at[i] >= ' ');
  bx_buffer_fini(&error);
  return set;
}

static struct cf_set *load_file(struct bx_slice text, struct target *t) {
  char name[64];
  int fd = memfd_create("fuzz", 0);
  MUST(fd >= 0 && write(fd, text.at, text.len) == (ssize_t)text.len);
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  struct cf_set *set = load("--config", name, NULL, t);
  close(fd);
  return set;
}

static void check_again(const struct cf_set *set) {
  struct target t;
  struct bx_buffer first = {0}, second = {0};
  cf_print(set, &first);
  struct cf_set *again = load_file(bx_buffer_view(&first), &t);
  MUST(again || memmem(first.at, first.len, "***", 3));
  if (again) {
    cf_print(again, &second);
    MUST(bx_slice_equal(bx_buffer_view(&first), bx_buffer_view(&second)));
  }
  cf_free(again);
  bx_buffer_fini(&first);
  bx_buffer_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  struct target t;
  struct cf_set *set;
  struct bx_buffer text = {0};
  if (data[0] == 's') {
    bx_buffer_add(&text, data + 1, size - 1);
    bx_buffer_char(&text, '\0');
    set = load("--set", text.at, NULL, &t);
  } else if (data[0] == 'v') {
    bx_buffer_lit(&text, "MORA_");
    bx_buffer_add(&text, data + 1, size - 1);
    bx_buffer_char(&text, '\0');
    set = load(NULL, NULL, text.at, &t);
  } else {
    set = load_file((struct bx_slice){(const char *)data + 1, size - 1}, &t);
  }
  if (set) check_again(set);
  cf_free(set);
  bx_buffer_fini(&text);
  return 0;
}
