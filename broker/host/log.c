// SPDX-License-Identifier: Apache-2.0
// One line per event, one write per line.
#include "broker/host/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "bayeux/buffer.h"

static struct {
  enum bk_level lowest;
  bool json;
} sink = {BK_INFO, false};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void bk_log_configure(enum bk_level lowest, bool json) {
  sink.lowest = lowest;
  sink.json = json;
}

bool bk_log_enabled(enum bk_level level) { return level >= sink.lowest; }

static void write_time(struct bx_buffer *out) {
  struct timespec now;
  struct tm t;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &t);
  bx_buffer_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                   t.tm_min, t.tm_sec, now.tv_nsec / 1000000);
}

// A value that could be mistaken for something else, or that could break the line, is quoted.
static bool is_plain(struct bx_slice text) {
  if (text.len == 0) return false;
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.at[i];
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f) return false;
  }
  return true;
}

static void write_value(struct bx_buffer *out, const struct bk_field *f, bool json) {
  if (f->type == BK_FIELD_U64)
    bx_buffer_u64(out, f->number);
  else if (f->type == BK_FIELD_BOOL)
    bx_buffer_slice(out, bx_slice_of(f->number ? "true" : "false"));
  else if (!json && is_plain(f->string))
    bx_buffer_slice(out, f->string);
  else
    bx_buffer_json_string(out, f->string);
}

static void write_text(struct bx_buffer *out, enum bk_level level, const char *event, const struct bk_field *f) {
  write_time(out);
  bx_buffer_printf(out, " %s %s", level_names[level], event);
  for (; f->key; f++) {
    bx_buffer_printf(out, " %s=", f->key);
    write_value(out, f, false);
  }
}

static void write_json(struct bx_buffer *out, enum bk_level level, const char *event, const struct bk_field *f) {
  bx_buffer_lit(out, "{\"time\":\"");
  write_time(out);
  bx_buffer_printf(out, "\",\"level\":\"%s\",\"event\":", level_names[level]);
  bx_buffer_json_string(out, bx_slice_of(event));
  for (; f->key; f++) {
    bx_buffer_char(out, ',');
    bx_buffer_json_string(out, bx_slice_of(f->key));
    bx_buffer_char(out, ':');
    write_value(out, f, true);
  }
  bx_buffer_char(out, '}');
}

void bk_log(enum bk_level level, const char *event, const struct bk_field *fields) {
  struct bx_buffer line = {0};
  if (!bk_log_enabled(level)) return;
  (sink.json ? write_json : write_text)(&line, level, event, fields);
  bx_buffer_char(&line, '\n');
  ssize_t ignored = write(STDERR_FILENO, line.at, line.len);   // there is nowhere to complain
  (void)ignored;
  bx_buffer_fini(&line);
}
