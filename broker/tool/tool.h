// SPDX-License-Identifier: Apache-2.0
// Inside of the tool `mora`: what was asked for, requests, tables, commands.
//
// Exit statuses: 0 it was done; 1 it was refused, or the broker did not answer; 2 wrong usage.
#pragma once

#include <jansson.h>

#include "bayeux/buffer.h"

enum { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

struct tool {
  const char *admin;   // URL of the admin listener, or unix:/path
  const char *token;   // NULL: none
  bool json;           // for programs
  char **arguments;    // of the command
};

// Says on standard error what went wrong; returns `status`.
int tool_fail(int status, const char *format, ...) BX_PRINTF(2, 3);

// -- request.c -------------------------------------------------------------------------------------

// path: "/v1/stats"; key and value, or NULL: one query parameter, encoded here. post: a JSON body,
// or empty. The answer's status, or 0 when there was none (said already).
int tool_request(const struct tool *, const char *path, const char *key, const char *value, struct bx_slice post,
                 struct bx_buffer *body);

// The same for GET, and anything but 200 is said. NULL: failed. The caller's reference.
json_t *tool_get(const struct tool *, const char *path, const char *key, const char *value);

// The same with another method; `post` may be empty.
json_t *tool_send(const struct tool *, const char *method, const char *path, struct bx_slice post);
// A segment of a path, percent-encoded.
void tool_add_segment(struct bx_buffer *path, const char *text);

// All pages of a listing as one object. `list`: the member that grows.
json_t *tool_get_all(const struct tool *, const char *path, const char *key, const char *value, const char *list);

// Lines as they come, until the stream ends; each without its line end.
int tool_stream(const struct tool *, const char *path, const char *key, const char *value,
                void (*line)(const struct tool *, struct bx_slice));

// Says what a refused request was refused for.
int tool_refused(int status, const struct bx_buffer *body);

// -- table.c ---------------------------------------------------------------------------------------

struct tool_column {
  const char *title;    // NULL ends
  const char *member;   // of a row; absent ones are shown as "-"
};

// Rows are objects. Numbers stand right.
void tool_print_table(const struct tool_column *, const json_t *rows);
// Member and value a line; objects inside as "outer.inner", lists left out.
void tool_print_members(const json_t *object);
// For --json: one line.
int tool_print_json(const json_t *);

// -- access.c: without a broker ---------------------------------------------------------------------
int tool_token(const struct tool *);
int tool_check_config(const struct tool *);

// -- commands.c ------------------------------------------------------------------------------------

struct tool_command {
  const char *name, *arguments, *purpose;
  int count;   // of arguments; -1: it reads them itself, options as well
  int (*run)(const struct tool *);
};
extern const struct tool_command tool_commands[];   // ends with {0}
