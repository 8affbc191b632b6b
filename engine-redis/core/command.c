// SPDX-License-Identifier: Apache-2.0
// Commands: their arguments, and the order of their answers.
#include <stdio.h>

#include "engine-redis/core/private.h"

void er_arguments_text(struct er_arguments *a, struct bx_slice text) {
  if (a->count == a->cap) {
    a->cap = a->cap ? 2 * a->cap : 16;
    a->ends = bx_realloc(a->ends, a->cap * sizeof *a->ends);
  }
  bx_buffer_slice(&a->bytes, text);
  a->ends[a->count++] = a->bytes.len;
}

void er_arguments_u64(struct er_arguments *a, uint64_t number) {
  char text[24];

  snprintf(text, sizeof text, "%llu", (unsigned long long)number);
  er_arguments_text(a, bx_slice_of(text));
}

void er_arguments_connect_id(struct er_arguments *a, bool known, uint64_t id) {
  if (known)
    er_arguments_u64(a, id);
  else
    er_arguments_text(a, BX_LIT(""));
}

static bool is_script(const char *command) { return command[0] >= 'a' && command[0] <= 'z'; }

void er_arguments_send(struct er_arguments *a, const struct er_core_env *env, enum er_which which, const char *command,
                       struct bx_slice ns) {
  size_t extra = is_script(command) ? 1 : 0, from = 0;
  struct bx_slice *slices = bx_alloc((a->count + 1) * sizeof *slices);

  if (extra) slices[0] = ns;
  for (size_t i = 0; i < a->count; from = a->ends[i++])
    slices[i + extra] = (struct bx_slice){a->bytes.at == NULL ? "" : a->bytes.at + from, a->ends[i] - from};
  env->send(env->context, which, command, slices, a->count + extra);
  bx_free(slices);
  bx_free(a->ends);
  bx_buffer_fini(&a->bytes);
  *a = (struct er_arguments){0};
}

void er_send(struct er_core *c, enum er_which which, const char *command, struct er_arguments *a,
             struct er_call *call) {
  bx_list_init(&call->link);
  bx_list_append(&c->calls[which], &call->link);
  er_arguments_send(a, &c->env, which, command, c->options.ns);
}

static void ignore(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  if (er_reply_is_error(reply)) er_event(c, "engine.refused", "%.*s", (int)reply->text.len, reply->text.at);
  bx_free(call);
}

void er_send_blind(struct er_core *c, const char *command, struct er_arguments *a) {
  struct er_call *call = bx_alloc(sizeof *call);

  call->done = ignore;
  er_send(c, ER_COMMAND, command, a, call);
}

void er_event(struct er_core *c, const char *id, const char *format, ...) {
  char text[256];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  c->env.event(c->env.context, id, bx_slice_of(text));
}

void er_malformed(struct er_core *c, const char *what, struct bx_slice where) {
  c->counters.malformed++;
  er_event(c, "engine.malformed", "%s %.*s", what, (int)(where.len < 100 ? where.len : 100), where.at);
}
