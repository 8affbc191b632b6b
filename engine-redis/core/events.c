// SPDX-License-Identifier: Apache-2.0
// What is next to be told of the stream of events: see scripts/events.lua.
#include "engine-redis/core/private.h"

enum { HEAD = 4, FIELDS = 5 };   // OK term of missed; entry kind id user detail

struct events_call {
  struct er_call call;
  void (*done)(void *context, const struct er_told *);
  void *context;
};

static void answered(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct events_call *ec = bx_container_of(call, struct events_call, call);
  bool good = er_reply_is(reply, "OK");
  size_t count = good && reply->count > HEAD ? (reply->count - HEAD) / FIELDS : 0;
  struct er_event *events = bx_alloc((count + 1) * sizeof *events);
  struct er_told told = {.events = events, .count = count};

  good = good && er_reply_u64(reply, 1, &told.term) && er_reply_u64(reply, 2, &told.of) &&
         er_reply_u64(reply, 3, &told.missed);
  for (size_t i = 0; i < count; i++) {
    size_t at = HEAD + FIELDS * i;

    events[i] = (struct er_event){.entry = er_reply_text(reply, at),
                                  .kind = er_reply_text(reply, at + 1),
                                  .id = er_reply_text(reply, at + 2),
                                  .user = er_reply_text(reply, at + 3),
                                  .detail = er_reply_text(reply, at + 4)};
  }
  if (er_reply_is(reply, "BAD")) er_malformed(c, "events", er_reply_text(reply, 1));
  if (er_reply_is_error(reply)) er_event(c, "engine.refused", "%.*s", (int)reply->text.len, reply->text.at);
  ec->done(ec->context, good ? &told : NULL);
  bx_free(events);
  bx_free(ec);
}

void er_core_tell_events(struct er_core *c, const struct er_telling *t,
                         void (*done)(void *context, const struct er_told *), void *context) {
  struct er_arguments args = {0};
  struct events_call *ec;

  if (!er_usable(c)) {
    done(context, NULL);
    return;
  }
  ec = bx_alloc(sizeof *ec);
  ec->call.done = answered;
  ec->done = done;
  ec->context = context;
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_u64(&args, t->lease);
  er_arguments_u64(&args, t->term);
  er_arguments_text(&args, t->told);
  er_arguments_u64(&args, t->of);
  er_arguments_u64(&args, t->limit);
  er_send(c, ER_COMMAND, "events", &args, &ec->call);
}
