// SPDX-License-Identifier: Apache-2.0
// The environment: MORA_BROKER__LISTEN is broker.listen. Every MORA_ variable must name a key, so that
// a typing error does not start a daemon on its defaults; the exceptions are listed here and in
// the reference.
#include <stdlib.h>

#include "config/set.h"

#define PREFIX "MORA_"

// Variables of the tool, the build and the tests; a name that ends in _ stands for all that start with it.
// The tool's MORA_ADMIN could be the group "admin": its keys are set one by one.
static const char *const not_keys[] = {"MORA_ADMIN", "MORA_TOKEN", "MORA_NO_INSTALL", "MORA_TEST_", "MORA_BENCH_"};

static bool ends(struct bx_slice text, struct bx_slice tail) {
  return text.len >= tail.len && memcmp(text.at + text.len - tail.len, tail.at, tail.len) == 0;
}

static bool contains(struct bx_slice text, struct bx_slice part) {
  return text.len >= part.len && memmem(text.at, text.len, part.at, part.len) != NULL;
}

// Kubernetes and Docker links describe a service called "mora" or "mora-broker" by variables that
// nobody wrote: MORA_SERVICE_HOST, MORA_BROKER_PORT=tcp://..., MORA_PORT_8000_TCP_ADDR.
static bool is_service(struct bx_slice name, struct bx_slice value) {
  if (contains(name, BX_LIT("__"))) return false;
  if (ends(name, BX_LIT("_SERVICE_HOST")) || ends(name, BX_LIT("_SERVICE_PORT"))) return true;
  if (contains(name, BX_LIT("_SERVICE_PORT_"))) return true;
  if (contains(name, BX_LIT("_TCP")) || contains(name, BX_LIT("_UDP"))) return contains(name, BX_LIT("_PORT_"));
  return ends(name, BX_LIT("_PORT")) && contains(value, BX_LIT("://"));
}

static bool is_no_key(struct bx_slice name) {
  for (size_t i = 0; i < sizeof not_keys / sizeof not_keys[0]; i++) {
    struct bx_slice known = bx_slice_of(not_keys[i]);
    bool all = known.at[known.len - 1] == '_';
    if (all ? bx_slice_starts(name, known) : bx_slice_equal(name, known)) return true;
  }
  return false;
}

static void key_of(struct bx_slice name, struct bx_buffer *key) {
  for (size_t i = sizeof PREFIX - 1; i < name.len; i++) {
    char c = name.at[i];
    if (c == '_' && i + 1 < name.len && name.at[i + 1] == '_') {
      bx_buffer_char(key, '.');
      i++;
    } else {
      bx_buffer_char(key, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
  }
}

static void name_of(struct bx_slice key, struct bx_buffer *name) {
  bx_buffer_lit(name, PREFIX);
  for (size_t i = 0; i < key.len; i++) {
    char c = key.at[i];
    if (c == '.')
      bx_buffer_lit(name, "__");
    else
      bx_buffer_char(name, c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
  }
}

// The fault speaks of variables, not of keys: that is what has to be changed.
static void unknown_variable(struct cf_set *s, const struct cf_source *source, struct bx_slice key) {
  struct bx_slice near = cf_find(s, key) ? key : cf_guess_key(s, key);
  struct bx_buffer name = {0};
  if (near.len > 0) {
    name_of(near, &name);
    cf_fault(s, source, NULL, (struct bx_slice){0}, "names no key; did you mean %.*s?", (int)name.len, name.at);
  } else {
    cf_fault(s, source, NULL, (struct bx_slice){0}, "names no key");
  }
  bx_buffer_fini(&name);
}

static void load_variable(struct cf_set *s, const char *variable) {
  struct bx_slice name = {variable, strcspn(variable, "=")};
  if (is_no_key(name)) return;
  struct bx_slice value = bx_slice_of(variable + name.len + (variable[name.len] == '='));
  struct bx_buffer key = {0}, again = {0};
  struct cf_source source = {.layer = CF_ENVIRONMENT, .name = cf_keep(s, name)};
  key_of(name, &key);
  name_of(bx_buffer_view(&key), &again);
  bool exact = bx_slice_equal(bx_buffer_view(&again), name);   // not MORA_broker__listen
  if (exact && cf_is_known(s, bx_buffer_view(&key))) {
    cf_load_text(s, CF_ENVIRONMENT, source.name, bx_buffer_view(&key), value);
  } else if (!is_service(name, value)) {
    unknown_variable(s, &source, bx_buffer_view(&key));
  }
  bx_buffer_fini(&again);
  bx_buffer_fini(&key);
}

static int compare(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

void cf_load_environment(struct cf_set *s, char **environment) {
  size_t count = 0;
  for (char **e = environment; e && *e; e++) count += strncmp(*e, PREFIX, sizeof PREFIX - 1) == 0;
  const char **found = cf_memory(s, (count + 1) * sizeof *found);
  count = 0;
  for (char **e = environment; e && *e; e++) {
    if (strncmp(*e, PREFIX, sizeof PREFIX - 1) == 0) found[count++] = *e;
  }
  // The environment has no order. By name, MORA_BROKER comes before MORA_BROKER__LISTEN, which
  // then changes one key of it.
  qsort(found, count, sizeof *found, compare);
  for (size_t i = 0; i < count; i++) load_variable(s, found[i]);
}
