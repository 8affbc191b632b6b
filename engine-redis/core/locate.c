// SPDX-License-Identifier: Apache-2.0
// Who answers: sessions that live on another node, or on one that is gone.
//
//   load --no record--> no such session
//    |--- ours (claimed or released to us) --> adopt
//    |--- owner alive --> ask (a mover) / call (the others), by its inbox
//    |         yours, moved --> load again        unknown, 300 ms --> claim        done --> relayed
//    |         busy --> wait on
//    +--- owner gone --> claim --> adopt, or load again
//
// One question per session at a time: what comes meanwhile waits in order and finds its result.
#include <stdio.h>

#include "engine-redis/core/private.h"

struct er_locate {
  struct bx_list link;
  struct bx_list waiting;   // requests for the same session, behind the one that is worked on
  struct bx_request *request;
  uint64_t question;
  unsigned rounds;
  bool asked, called;    // an inbox message is on its way to the owner
  bool over;             // somebody ended it while it was on its way here
  uint64_t generation;   // that the owner had when it was asked
  bx_millis deadline;
};

struct locate_call {
  struct er_call call;
  uint64_t question;
};

static struct er_locate *of(struct bx_list *link) { return bx_container_of(link, struct er_locate, link); }
static void load(struct er_core *c, struct er_locate *l);
static void start(struct er_core *c, struct er_locate *l);

static struct er_locate *find_question(struct er_core *c, uint64_t question) {
  bx_list_each (link, &c->locates)
    if (of(link)->question == question) return of(link);
  return NULL;
}

static struct er_locate *find_id(struct er_core *c, struct bx_slice id) {
  bx_list_each (link, &c->locates)
    if (bx_slice_equal(of(link)->request->id, id)) return of(link);
  return NULL;
}

// -- results ---------------------------------------------------------------------------------------

// What another node was called for and did not answer may have been done there.
static enum bx_outcome outcome_of(const struct er_locate *l, enum bx_outcome outcome) {
  return l->called && outcome == BX_REFUSED ? BX_UNKNOWN : outcome;
}

// The session is here, is nowhere, or cannot be placed: that answers all that wait. Anything else answers one.
static void finish(struct er_core *c, struct er_locate *l, enum bx_outcome outcome) {
  struct bx_request *request = l->request;
  struct bx_list *next = bx_list_take(&l->waiting);
  enum bx_outcome its = outcome_of(l, outcome);

  l->asked = l->called = false;
  if (next == NULL) {
    bx_list_remove(&l->link);
    bx_free(l);
    request->done(request, its, 0);
    return;
  }
  l->request = bx_container_of(next, struct bx_request, link);
  l->rounds = 0;
  l->question = ++c->questions;
  request->done(request, its, 0);
  if (outcome == BX_ACKNOWLEDGED || outcome == BX_NO_SESSION || outcome == BX_REFUSED)
    finish(c, l, outcome);
  else
    start(c, l);
}

static void adopt(struct er_core *c, struct er_locate *l, const struct er_reply *loaded) {
  struct bx_session *s = l->over ? NULL : er_adopt(c, l->request->id, loaded);

  if (s == NULL) {
    finish(c, l, BX_NO_SESSION);   // a record that cannot be read is none, and so is what it was before its end
    return;
  }
  l->request->session = s;
  finish(c, l, BX_ACKNOWLEDGED);
}

static void again(struct er_core *c, struct er_locate *l) {
  l->asked = l->called = false;
  if (++l->rounds < ER_ROUNDS)
    load(c, l);
  else
    finish(c, l, BX_REFUSED);
}

static void send_for(struct er_core *c, struct er_locate *l, const char *script, struct er_arguments *args,
                     void (*done)(struct er_core *, struct er_call *, const struct er_reply *)) {
  struct locate_call *lc = bx_alloc(sizeof *lc);

  lc->call.done = done;
  lc->question = l->question;
  er_send(c, ER_COMMAND, script, args, &lc->call);
}

static struct er_locate *of_call(struct er_core *c, struct er_call *call) {
  struct locate_call *lc = bx_container_of(call, struct locate_call, call);
  struct er_locate *l = find_question(c, lc->question);

  bx_free(lc);
  return l;
}

static void bad_record(struct er_core *c, struct er_locate *l) {
  er_malformed(c, "record", l->request->id);
  finish(c, l, BX_NO_SESSION);
}

// -- claim -----------------------------------------------------------------------------------------

static void claimed(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct er_locate *l = of_call(c, call);

  if (er_reply_is(reply, "OK")) {
    struct bx_server *server = c->engine.events.context;

    c->counters.claims++;
    server->counters.forced_moves++;
  }
  if (l == NULL) return;   // answered for want of time; the record is ours, and the next message adopts it
  if (er_reply_is(reply, "OK"))
    adopt(c, l, reply);
  else if (er_reply_is(reply, "NONE") || er_reply_is(reply, "LOST"))
    finish(c, l, BX_NO_SESSION);
  else if (er_reply_is(reply, "BAD"))
    bad_record(c, l);
  else if (er_reply_is(reply, "MOVED"))
    again(c, l);
  else
    finish(c, l, BX_REFUSED);
}

// Records may be those of before a rollback, and their owners about to save them again. The number of an
// epoch is the time at which it began. Where nothing survived there are none of before.
static bool is_settling(const struct er_core *c) {
  return c->survived > 0 && (int64_t)c->now + c->clock < (int64_t)c->epoch + ER_SETTLE;
}

// The connection that wanted the session here has gone. Its client may be on another node by now, and
// would lose it again.
static bool give_up(struct er_core *c, struct er_locate *l) {
  if (!l->request->mover || l->request->wanted == NULL || l->request->wanted(l->request)) return false;
  finish(c, l, BX_UNKNOWN);
  return true;
}

static void claim(struct er_core *c, struct er_locate *l) {
  struct er_arguments args = {0};

  l->asked = l->called = false;
  if (give_up(c, l)) return;
  if (is_settling(c)) {
    finish(c, l, BX_REFUSED);
    return;
  }
  er_arguments_text(&args, l->request->id);
  er_arguments_u64(&args, l->generation);
  er_arguments_text(&args, c->options.node);
  send_for(c, l, "claim", &args, claimed);
}

// -- load, and what follows ------------------------------------------------------------------------

// Another request may have brought it here meanwhile.
static bool is_here(struct er_core *c, struct er_locate *l) {
  l->request->session = c->engine.events.find(c->engine.events.context, l->request->id);
  return l->request->session != NULL;
}

static void ask(struct er_core *c, struct er_locate *l, struct bx_slice owner) {
  bool call = !l->request->mover;

  if (give_up(c, l)) return;
  if (call)
    c->counters.calls++;
  else
    c->counters.asks++;
  l->asked = !call;
  l->called = call;
  l->deadline = c->now + (call ? ER_CALL_TIME : ER_ASK_TIME);
  if (call) {
    er_post(c, owner, "call", l->request->id, l->question, "raw", l->request->text);
  } else {
    char generation[24];

    snprintf(generation, sizeof generation, "%llu", (unsigned long long)l->generation);
    er_post(c, owner, "ask", l->request->id, l->question, "g", bx_slice_of(generation));
  }
}

static void loaded(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct er_locate *l = of_call(c, call);
  uint64_t alive = 0;

  if (l == NULL) return;
  if (is_here(c, l)) {
    finish(c, l, BX_ACKNOWLEDGED);
  } else if (er_reply_is(reply, "NONE")) {
    finish(c, l, BX_NO_SESSION);
  } else if (er_reply_is(reply, "BAD")) {
    bad_record(c, l);
  } else if (!er_reply_is(reply, "OK") || !er_reply_u64(reply, 2, &alive) || !er_reply_u64(reply, 3, &l->generation)) {
    finish(c, l, BX_REFUSED);
  } else if (bx_slice_equal(er_reply_text(reply, 1), c->options.node)) {
    if (er_reply_is(er_reply_item(reply, 4), "live"))
      claim(c, l);   // it was ours and we forgot it: the mark speaks for it
    else if (l->rounds == 0 && is_settling(c))
      finish(c, l, BX_REFUSED);   // nobody has just given it to us
    else
      adopt(c, l, reply);
  } else if (alive) {
    ask(c, l, er_reply_text(reply, 1));
  } else {
    claim(c, l);
  }
}

static void load(struct er_core *c, struct er_locate *l) {
  struct er_arguments args = {0};

  er_arguments_text(&args, l->request->id);
  send_for(c, l, "load", &args, loaded);
}

static void start(struct er_core *c, struct er_locate *l) {
  if (is_here(c, l))
    finish(c, l, BX_ACKNOWLEDGED);
  else if (!er_usable(c) || !c->warm)
    finish(c, l, BX_REFUSED);
  else
    load(c, l);
}

void er_locate(struct er_core *c, struct bx_request *request) {
  struct er_locate *l = find_id(c, request->id);

  bx_list_init(&request->link);
  if (l != NULL) {
    bx_list_append(&l->waiting, &request->link);
    return;
  }
  l = bx_alloc(sizeof *l);
  l->request = request;
  l->question = ++c->questions;
  bx_list_init(&l->waiting);
  bx_list_append(&c->locates, &l->link);
  start(c, l);
}

void er_locate_end_all(struct er_core *c, enum bx_outcome outcome) {
  struct bx_list *link;

  while ((link = bx_list_take(&c->locates)) != NULL) {
    struct er_locate *l = of(link);
    struct bx_list *waiting;

    while ((waiting = bx_list_take(&l->waiting)) != NULL) {
      struct bx_request *r = bx_container_of(waiting, struct bx_request, link);
      r->done(r, outcome, 0);
    }
    l->request->done(l->request, outcome_of(l, outcome), 0);
    bx_free(l);
  }
}

// -- answers, from the inbox -----------------------------------------------------------------------

bool er_locate_is_under_way(struct er_core *c, struct bx_slice id) { return find_id(c, id) != NULL; }

void er_locate_over(struct er_core *c, struct bx_slice id) {
  struct er_locate *l = find_id(c, id);

  if (l != NULL) l->over = true;   // its record may have been read before that
}

void er_locate_relayed(struct er_core *c, uint64_t question, struct bx_slice replies) {
  struct er_locate *l = find_question(c, question);

  if (l == NULL || !(l->asked || l->called)) return;
  l->request->replies = replies;
  finish(c, l, BX_RELAYED);
}

bool er_locate_answered(struct er_core *c, uint64_t question, struct bx_slice id, bool known) {
  struct er_locate *l = find_question(c, question);

  if (l == NULL || !(l->asked || l->called)) return true;
  if (!bx_slice_equal(l->request->id, id)) return false;
  if (known)
    again(c, l);
  else
    claim(c, l);
  return true;
}

bool er_locate_busy(struct er_core *c, uint64_t question, struct bx_slice id) {
  struct er_locate *l = find_question(c, question);

  if (l == NULL || !l->called) return true;
  if (!bx_slice_equal(l->request->id, id)) return false;
  l->deadline = c->now + ER_CALL_TIME;
  return true;
}

// -- time ------------------------------------------------------------------------------------------

// An owner that does not answer: one that was asked loses the session; one that was called may have
// executed the messages, so nobody does it again.
void er_locate_tick(struct er_core *c) {
  bx_list_each (link, &c->locates) {
    struct er_locate *l = of(link);

    if (c->now < l->deadline) continue;
    if (l->asked)
      claim(c, l);
    else if (l->called)
      finish(c, l, BX_REFUSED);
  }
}
