// SPDX-License-Identifier: Apache-2.0
// engine.wait: an append counts as acknowledged when so many replicas have it.
//
//   known position --held--> confirmed: acknowledged
//                     |---- a rollback took it, or the time is up: unknown. It is in the journal, or was.
//
// WAIT holds up its connection, so it has one of its own (ER_CONFIRM): `confirm`, a write, then WAIT,
// one pair at a time. Redis replicates in order, so who has that write has every entry that was known when
// the pair was sent: one answer speaks for all of them, and neither publishes nor ticks wait for it.
#include "engine-redis/core/private.h"

struct confirm_call {
  struct er_call script, wait;
  uint64_t epoch;
  bx_position position;
  bool good;   // the script said so
};

bool er_confirm_void(const struct er_core *c, bx_position position) {
  return position > c->survived && position < c->epoch_first;
}

bool er_confirmed(const struct er_core *c, bx_position position) {
  return c->options.wait == 0 || (position <= c->confirmed && !er_confirm_void(c, position));
}

static void written(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct confirm_call *a = bx_container_of(call, struct confirm_call, script);

  (void)c;
  a->good = er_reply_is(reply, "OK");
}

static void waited(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct confirm_call *a = bx_container_of(call, struct confirm_call, wait);
  uint64_t epoch = a->epoch;
  bx_position position = a->position;
  bool good = a->good && reply != NULL && reply->type == ER_REPLY_INT && reply->number >= (int64_t)c->options.wait;

  bx_free(a);
  c->confirming = false;
  if (!good || epoch != c->epoch) return;   // again with the next tick
  if (position > c->confirmed) c->confirmed = position;
  er_append_confirmed(c);
  er_confirm(c);
}

void er_confirm(struct er_core *c) {
  struct confirm_call *a;
  struct er_arguments args = {0}, words = {0};

  if (c->options.wait == 0 || c->confirming || c->confirm_wanted <= c->confirmed) return;
  if (!c->up[ER_CONFIRM] || !er_usable(c)) return;
  c->confirming = true;
  a = bx_alloc(sizeof *a);
  a->script.done = written;
  a->wait.done = waited;
  a->epoch = c->epoch;
  a->position = c->confirm_wanted;
  er_arguments_u64(&args, c->epoch);
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_u64(&args, a->position);
  er_send(c, ER_CONFIRM, "confirm", &args, &a->script);
  er_arguments_u64(&words, c->options.wait);
  er_arguments_u64(&words, c->options.command_timeout);
  er_send(c, ER_CONFIRM, "WAIT", &words, &a->wait);
}

void er_confirm_want(struct er_core *c, bx_position position) {
  if (c->options.wait == 0 || er_confirm_void(c, position) || position <= c->confirm_wanted) return;
  c->confirm_wanted = position;
  er_confirm(c);
}

// Nothing between survived and first is anywhere any more.
void er_confirm_epoch(struct er_core *c, bx_position first, bx_position survived) {
  c->epoch_first = first;
  if (c->confirmed > survived) c->confirmed = survived;
  if (c->confirm_wanted > survived) c->confirm_wanted = survived;
  er_append_confirmed(c);
}
