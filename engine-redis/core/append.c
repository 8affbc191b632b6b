// SPDX-License-Identifier: Apache-2.0
// Publishing: one call for all publishes of a turn, in order, and three outcomes.
//
//   waiting --sent--> sent --the own tail has it, or 50 ms after Redis said so--> acknowledged
//      |                |---- refused by the script -----------------------------> refused
//      | link down      | link down
//      v                v
//    refused          unsure -- seen on the tail --> acknowledged
//                       |------ hello has answered on a new link (which fenced the old one), the tail
//                       |       has passed the head that it saw, and the entry is not there --> refused
//                       +------ the time is up --> unknown
//
// With engine.wait what is acknowledged here is held until replicas have it: confirm.c.
#include "engine-redis/core/private.h"

#define GRACE 500   // ms beyond the command's time in which an unsure publish may still become known

struct er_publish {
  struct bx_list link;
  struct bx_request *request;
  uint64_t sequence;
  uint64_t behind;   // record requests that were sent in front of it
  bx_millis deadline;
  bx_position position;   // told by the script; 0: not yet
  bx_position seen;       // on the tail; 0: not yet
  bx_millis told_at;      // the first of the two
  bool overdue;           // ER_ACK_DELAY ago, at the last look
  bool resolves;          // unsure, and a new hello has answered since
  bool held;              // on that list
};

struct append_call {
  struct er_call call;
  uint64_t first;   // sequence
  size_t count;
};

static struct er_publish *of(struct bx_list *link) { return bx_container_of(link, struct er_publish, link); }

static void finish(struct er_core *c, struct er_publish *p, enum bx_outcome outcome, bx_position position) {
  struct bx_request *request = p->request;

  if (outcome == BX_ACKNOWLEDGED && !request->repeated) er_own_keep(c, request, p->sequence, position);

  if (p->held) {
    c->held_count--;
    c->held_bytes -= request->frame->len;
  }
  bx_list_remove(&p->link);
  bx_free(p);
  request->done(request, outcome, position);
}

static void acknowledge(struct er_core *c, struct er_publish *p, bx_position position) {
  if (er_confirmed(c, position)) {
    finish(c, p, BX_ACKNOWLEDGED, position);
    return;
  }
  p->position = position;
  p->held = true;
  c->held_count++;
  c->held_bytes += p->request->frame->len;
  bx_list_remove(&p->link);
  bx_list_append(&c->held, &p->link);
  er_confirm_want(c, position);
}

static void finish_unconfirmed(struct er_core *c, struct er_publish *p) {
  c->counters.unconfirmed++;
  finish(c, p, BX_UNKNOWN, 0);
}

void er_append_confirmed(struct er_core *c) {
  bx_list_each (link, &c->held) {
    struct er_publish *p = of(link);

    if (er_confirmed(c, p->position))
      finish(c, p, BX_ACKNOWLEDGED, p->position);
    else if (er_confirm_void(c, p->position))
      finish_unconfirmed(c, p);
  }
}

static void finish_all(struct er_core *c, struct bx_list *list, enum bx_outcome outcome) {
  struct bx_list todo;

  bx_list_init(&todo);
  bx_list_splice(&todo, list);
  while (!bx_list_empty(&todo)) finish(c, of(todo.next), outcome, 0);
}

void er_publish(struct er_core *c, struct bx_request *request) {
  struct er_publish *p = bx_alloc(sizeof *p);
  size_t bytes = request->frame->len;

  p->request = request;
  p->deadline = c->now + c->options.command_timeout + GRACE;
  bx_list_init(&p->link);
  // What cannot be taken is told in the turn, as everything is.
  if (c->waiting_count >= ER_WAITING_COUNT || c->waiting_bytes + bytes > ER_WAITING_BYTES || !er_usable(c) ||
      c->held_count >= ER_HELD_COUNT || c->held_bytes + bytes > ER_HELD_BYTES) {
    bx_list_append(&c->told, &p->link);
    return;
  }
  bx_list_append(&c->waiting, &p->link);
  c->waiting_count++;
  c->waiting_bytes += bytes;
}

// -- the answer ------------------------------------------------------------------------------------

static struct er_publish *sent_as(struct er_core *c, uint64_t sequence) {
  bx_list_each (link, &c->sent) {
    if (of(link)->sequence == sequence) return of(link);
    if (of(link)->sequence > sequence) return NULL;
  }
  return NULL;
}

// It is told when the tail has it, or soon.
static void wait_for_tail(struct er_core *c, struct er_publish *p) {
  p->told_at = c->now;
  if (c->ack_due > c->now + ER_ACK_DELAY) c->ack_due = c->now + ER_ACK_DELAY;
}

// One that a key answers may be as new as ours, and on its way here: it, too, waits for the tail.
static void take_result(struct er_core *c, struct er_publish *p, struct bx_slice result) {
  bool repeated = result.len > 1 && result.at[0] == '=';
  struct bx_slice digits = repeated ? (struct bx_slice){result.at + 1, result.len - 1} : result;
  uint64_t position;

  if (p->seen != 0) {
    acknowledge(c, p, p->seen);
  } else if (bx_slice_equal(result, BX_LIT("-401"))) {
    finish(c, p, BX_NO_SESSION, 0);
  } else if (!er_text_u64(digits, &position) || position == 0) {
    er_malformed(c, "append result", result);
    finish(c, p, BX_UNKNOWN, 0);
  } else {
    p->request->repeated = repeated;
    p->position = position;
    er_confirm_want(c, position);
    if (position <= c->head)
      acknowledge(c, p, position);
    else
      wait_for_tail(c, p);
  }
}

static void end_call(struct er_core *c, const struct append_call *a, enum bx_outcome outcome) {
  for (uint64_t s = a->first; s < a->first + a->count; s++) {
    struct er_publish *p = sent_as(c, s);
    if (p == NULL) continue;
    if (p->seen != 0)
      acknowledge(c, p, p->seen);
    else
      finish(c, p, outcome, 0);
  }
}

// What says that nothing was written: an error, too, see scripts/keys.lua. Of anything else nobody knows.
static bool is_refusal(const struct er_reply *reply) {
  static const char *const words[] = {"EPOCH", "FENCED", "LATE", "FULL", "BAD"};

  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (er_reply_is(reply, words[i])) return true;
  return er_reply_is_error(reply);
}

static void appended(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct append_call *a = bx_container_of(call, struct append_call, call);

  c->appends--;
  if (reply == NULL) {
    // er_append_link_down() has made them unsure.
  } else if (er_reply_is(reply, "OK")) {
    for (size_t i = 0; i < a->count; i++) {
      struct er_publish *p = sent_as(c, a->first + i);
      if (p != NULL) take_result(c, p, er_reply_text(reply, i + 1));
    }
  } else if (!is_refusal(reply)) {
    er_malformed(c, "append reply", er_reply_text(reply, 0));
    end_call(c, a, BX_UNKNOWN);
  } else {
    end_call(c, a, BX_REFUSED);
    if (er_reply_is(reply, "EPOCH")) er_hello(c);
    if (er_reply_is(reply, "FENCED")) {
      c->counters.fenced++;
      er_fenced(c, "fenced");
    }
    if (er_reply_is(reply, "FULL")) er_event(c, "engine.full", "Redis is out of memory");
    if (er_reply_is_error(reply)) er_event(c, "engine.refused", "%.*s", (int)reply->text.len, reply->text.at);
  }
  bx_free(a);
}

// -- one call a turn -------------------------------------------------------------------------------

static void add_entry(struct er_arguments *args, const struct bx_request *r) {
  er_arguments_text(args, r->publisher);
  er_arguments_text(args, r->once);
  er_arguments_text(args, r->channel);
  er_arguments_text(args, bx_frame_slice(r->frame));
}

void er_append_begin(struct er_core *c, struct er_arguments *args, uint64_t first) {
  er_arguments_u64(args, c->epoch);
  er_arguments_text(args, c->options.node);
  er_arguments_u64(args, c->incarnation);
  er_arguments_u64(args, (uint64_t)((int64_t)c->now + c->clock + (int64_t)c->options.command_timeout));
  er_arguments_u64(args, first);
  er_arguments_u64(args, 2 * c->options.journal_messages);
}

static void send_some(struct er_core *c) {
  struct append_call *a = bx_alloc(sizeof *a);
  struct er_arguments args = {0};

  a->call.done = appended;
  a->first = c->sequence + 1;
  er_append_begin(c, &args, a->first);
  while (!bx_list_empty(&c->waiting) && a->count < ER_APPEND_ENTRIES) {
    struct er_publish *p = of(bx_list_take(&c->waiting));

    p->sequence = ++c->sequence;
    p->behind = c->records_sent;
    add_entry(&args, p->request);
    bx_list_append(&c->sent, &p->link);
    c->waiting_count--;
    c->waiting_bytes -= p->request->frame->len;
    a->count++;
  }
  c->appends++;
  c->counters.appends++;
  er_send(c, ER_COMMAND, "append", &args, &a->call);
}

void er_append_turn(struct er_core *c) {
  finish_all(c, &c->told, BX_REFUSED);
  er_recover_turn(c);   // in front of all that is new
  while (!bx_list_empty(&c->waiting) && er_usable(c) && c->appends < ER_APPENDS) send_some(c);
}

bool er_append_busy(const struct er_core *c) {
  bool can_send = er_usable(c) && c->appends < ER_APPENDS;
  return !bx_list_empty(&c->told) || (can_send && (!bx_list_empty(&c->waiting) || er_recover_due(c)));
}

// -- the tail --------------------------------------------------------------------------------------

static void acknowledge_from(struct er_core *c, struct bx_list *list, uint64_t sequence, bx_position position) {
  bx_list_each (link, list) {
    if (of(link)->sequence != sequence) continue;
    acknowledge(c, of(link), position);
    return;
  }
}

struct bx_frame *er_append_frame(struct er_core *c, uint64_t sequence, struct bx_slice channel, struct bx_slice text) {
  const struct er_publish *p = sent_as(c, sequence);
  const struct bx_request *r = p == NULL ? NULL : p->request;
  bool same = r != NULL && r->frame->position == 0 && bx_slice_equal(r->channel, channel) &&
              bx_slice_equal(bx_frame_slice(r->frame), text);

  return same ? r->frame : NULL;
}

// The tail may be read before the answers on the other link: then what was asked in front of the publish
// is still answered in front of it.
void er_append_saw(struct er_core *c, uint64_t sequence, bx_position position) {
  struct er_publish *p = sent_as(c, sequence);

  if (p == NULL) {
    acknowledge_from(c, &c->unsure, sequence, position);
  } else if (p->position != 0 || c->records_answered >= p->behind) {
    acknowledge(c, p, position);
  } else {
    p->seen = position;
    wait_for_tail(c, p);
  }
}

// What was unsure and is not in the journal up to the head that hello saw is not there at all: the
// link that carried it can not write any more.
void er_append_tailed(struct er_core *c) {
  bx_list_each (link, &c->sent)
    if (of(link)->position != 0 && of(link)->position <= c->head) acknowledge(c, of(link), of(link)->position);
  if (c->head < c->hello_p) return;
  if (c->greeted) er_recover_tailed(c);
  bx_list_each (link, &c->unsure)
    if (of(link)->resolves) finish(c, of(link), BX_REFUSED, 0);
}

void er_append_link_down(struct er_core *c) {
  bx_list_each (link, &c->sent) {
    if (of(link)->seen != 0 || of(link)->position != 0)
      acknowledge(c, of(link), of(link)->seen ? of(link)->seen : of(link)->position);
    else
      bx_list_remove(link), bx_list_append(&c->unsure, link);
  }
  finish_all(c, &c->waiting, BX_REFUSED);
  c->waiting_count = c->waiting_bytes = 0;
}

void er_append_greeted(struct er_core *c) {
  bx_list_each (link, &c->unsure) of(link)->resolves = true;
  er_append_tailed(c);
  er_confirm(c);
}

// Twice overdue: at the first look the process may have slept, with the tail's entry in its socket.
static void acknowledge_overdue(struct er_core *c) {
  c->ack_due = BX_NEVER;
  bx_list_each (link, &c->sent) {
    struct er_publish *p = of(link);
    bx_position known = p->seen ? p->seen : p->position;
    bx_millis due = p->told_at + ER_ACK_DELAY;

    if (known == 0) continue;
    if (p->overdue) {
      acknowledge(c, p, known);
      continue;
    }
    p->overdue = c->now >= due;
    if (p->overdue) due = c->now + 1;
    if (due < c->ack_due) c->ack_due = due;
  }
}

void er_append_tick(struct er_core *c) {
  acknowledge_overdue(c);
  er_confirm(c);
  bx_list_each (link, &c->unsure)
    if (c->now >= of(link)->deadline) finish(c, of(link), BX_UNKNOWN, 0);
  bx_list_each (link, &c->held)
    if (c->now >= of(link)->deadline) finish_unconfirmed(c, of(link));
}

void er_append_refuse_all(struct er_core *c) {
  finish_all(c, &c->told, BX_REFUSED);
  finish_all(c, &c->waiting, BX_REFUSED);
  finish_all(c, &c->sent, BX_UNKNOWN);
  finish_all(c, &c->unsure, BX_UNKNOWN);
  finish_all(c, &c->held, BX_UNKNOWN);
}
