// SPDX-License-Identifier: Apache-2.0
// Logging: a level, a stable event id, named fields. Wording lives in the fields' values; ids and
// field names are a contract (docs/operations.md lists them), so logs stay greppable.
//
//   bk_info("listening", bk_s("listener", "broker"), bk_s("address", "127.0.0.1:8000"));
//
//   text  2026-11-21T10:00:00.123Z info listening listener=broker address=127.0.0.1:8000
//   json  {"time":"2026-11-21T10:00:00.123Z","level":"info","event":"listening","listener":"broker",...}
//
// Values with spaces, quotes or control characters are quoted as JSON strings in the text format.
// One line per call, one write to standard error. No message bodies at info.
#pragma once

#include "bayeux/base.h"

enum bk_level { BK_DEBUG, BK_INFO, BK_WARN, BK_ERROR };

struct bk_field {
  const char *key;   // NULL ends the list
  enum { BK_FIELD_STRING, BK_FIELD_U64, BK_FIELD_BOOL } type;
  struct bx_slice string;
  uint64_t number;
};

static inline struct bk_field bk_s(const char *key, const char *value) {
  return (struct bk_field){key, BK_FIELD_STRING, bx_slice_of(value ? value : ""), 0};
}
static inline struct bk_field bk_sl(const char *key, struct bx_slice value) {
  return (struct bk_field){key, BK_FIELD_STRING, value, 0};
}
static inline struct bk_field bk_u(const char *key, uint64_t value) {
  return (struct bk_field){key, BK_FIELD_U64, {0}, value};
}
static inline struct bk_field bk_b(const char *key, bool value) {
  return (struct bk_field){key, BK_FIELD_BOOL, {0}, value};
}

// The process's one sink: set once at start, before anything is logged.
void bk_log_configure(enum bk_level lowest, bool json);
bool bk_log_enabled(enum bk_level);
void bk_log(enum bk_level, const char *event, const struct bk_field *fields);

#define BK_FIELDS(...) ((const struct bk_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
#define bk_log_at(level, event, ...)                                             \
  do {                                                                           \
    if (bk_log_enabled(level)) bk_log((level), (event), BK_FIELDS(__VA_ARGS__)); \
  } while (0)
#define bk_debug(event, ...) bk_log_at(BK_DEBUG, event __VA_OPT__(, ) __VA_ARGS__)
#define bk_info(event, ...) bk_log_at(BK_INFO, event __VA_OPT__(, ) __VA_ARGS__)
#define bk_warn(event, ...) bk_log_at(BK_WARN, event __VA_OPT__(, ) __VA_ARGS__)
#define bk_error(event, ...) bk_log_at(BK_ERROR, event __VA_OPT__(, ) __VA_ARGS__)
