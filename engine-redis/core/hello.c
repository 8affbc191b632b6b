// SPDX-License-Identifier: Apache-2.0
// hello, and epochs: no write goes over a link before hello has answered on it, and a journal that was
// lost or went back is noticed before anything is appended to it.
#include "engine-redis/core/private.h"

struct hello_call {
  struct er_call call;
  bx_millis sent;
  uint64_t incarnation;
};

static void greeted(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  uint64_t epoch, first, survived, p, time;
  struct hello_call *h = bx_container_of(call, struct hello_call, call);
  bool current = h->incarnation == c->incarnation;
  bx_millis sent;

  sent = h->sent;
  bx_free(h);
  c->greeting = false;
  if (reply == NULL || !current) return;
  if (!er_reply_is(reply, "OK") || !er_reply_u64(reply, 1, &epoch) || !er_reply_u64(reply, 2, &first) ||
      !er_reply_u64(reply, 3, &survived) || !er_reply_u64(reply, 4, &p) || !er_reply_u64(reply, 5, &time)) {
    er_event(c, "engine.hello_failed", "%.*s", (int)er_reply_text(reply, 0).len, er_reply_text(reply, 0).at);
    c->env.reset(c->env.context, ER_COMMAND, "hello was refused");
    return;
  }
  c->counters.hellos++;
  c->clock = (int64_t)time - (int64_t)c->now;
  c->hello_p = p;
  if (c->alive_at == 0) c->alive_at = sent;   // later it is the ticks' to say: a heartbeat may have been missed
  c->greeted = true;
  if (c->epoch == 0) {
    c->epoch = c->engine.epoch = epoch;
    c->survived = survived;
    c->epoch_first = first;
    c->epoch_since = c->now;
  } else {
    er_learn_epoch(c, epoch, first, survived);
    er_resave(c);
  }
  er_append_greeted(c);
  if (c->up[ER_TAIL] && c->tail == ER_TAIL_DOWN) er_tail_up(c);
}

void er_hello(struct er_core *c) {
  struct hello_call *h;
  struct er_arguments args = {0};

  if (!c->up[ER_COMMAND] || c->greeting) return;
  c->greeting = true;
  h = bx_alloc(sizeof *h);
  c->greeted = false;
  h->incarnation = ++c->incarnation;
  h->sent = c->now;
  h->call.done = greeted;
  er_arguments_text(&args, bx_buffer_view(&c->run));
  er_arguments_text(&args, c->options.node);
  er_arguments_text(&args, c->options.role);
  er_arguments_text(&args, c->options.address);
  er_arguments_u64(&args, h->incarnation);
  er_arguments_u64(&args, c->head);
  er_arguments_u64(&args, c->epoch);
  er_send(c, ER_COMMAND, "hello", &args, &h->call);
}

// A hello that is on its way makes the link good again; a node that has departed needs none.
void er_fenced(struct er_core *c, const char *why) {
  if (!c->greeting && !c->departing) c->env.reset(c->env.context, ER_COMMAND, why);
}

// From hello, or from the entry itself, whichever comes first.
void er_learn_epoch(struct er_core *c, uint64_t epoch, bx_position first, bx_position survived) {
  uint64_t entries;

  if (epoch <= c->epoch) return;
  c->epoch = c->engine.epoch = epoch;
  c->survived = survived;
  c->epoch_since = c->now;
  c->counters.epochs++;
  er_event(c, "engine.epoch", "epoch %llu first %llu survived %llu", (unsigned long long)epoch,
           (unsigned long long)first, (unsigned long long)survived);
  entries = c->engine.events.epoch(c->engine.events.context, epoch, first, survived);
  er_recover_epoch(c, first, survived, entries);
  er_confirm_epoch(c, first, survived);
  if (survived == 0 && c->warm && c->head < first - 1) {
    // Nothing below `first` counts any more; what is made from here on belongs to the new journal.
    c->head = first - 1;
    c->engine.events.jump(c->engine.events.context, c->head);
  }
  // The inbox has gone, too, and another's ids may be those of a clock that went back. What survived is
  // not read twice: a call would be executed again.
  if (survived == 0) memcpy(c->inbox_at, "0-0", 4);
  c->recheck = 0;
  c->resave_due = survived > 0;
  er_resave(c);
}
