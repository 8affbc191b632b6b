// SPDX-License-Identifier: Apache-2.0
// Who answers: sessions that live on another node, or on one that is gone.
//
//   load --no record--> no such session
//    |--- ours (claimed or released to us) --> adopt
//    |--- owner alive --> ask (a mover) / call (the others), by its inbox
//    |         yours, moved --> load again        unknown, 300 ms --> claim        done --> relayed
//    +--- owner gone --> claim --> adopt, or load again
//
// One question per session at a time: what comes meanwhile waits in order and finds its result.
#include "engine-redis/core/private.h"

struct er_locate {
  struct bx_list link;
  struct bx_list waiting;      // requests for the same session, behind the one that is worked on
  struct bx_request *request;
  uint64_t question;
  unsigned rounds;
  bool asked, called;          // an inbox message is on its way to the owner
  uint64_t generation;         // that the owner had when it was asked
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

// The session is here, or is nowhere: that answers all that wait. Anything else answers one.
static void finish(struct er_core *c, struct er_locate *l, enum bx_outcome outcome) {
  struct bx_request *request = l->request;
  struct bx_list *next = bx_list_take(&l->waiting);

  l->asked = l->called = false;
  if (next == NULL) {
    bx_list_remove(&l->link);
    bx_free(l);
    request->done(request, outcome, 0);
    return;
  }
  l->request = bx_container_of(next, struct bx_request, link);
  l->rounds = 0;
  l->question = ++c->questions;
  request->done(request, outcome, 0);
  if (outcome == BX_ACKNOWLEDGED || outcome == BX_NO_SESSION || outcome == BX_REFUSED)
    finish(c, l, outcome);
  else
    start(c, l);
}

static void adopt(struct er_core *c, struct er_locate *l, const struct er_reply *loaded) {
  struct bx_session *s = er_adopt(c, l->request->id, loaded);

  if (s == NULL) {
    finish(c, l, BX_REFUSED);
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

static struct er_locate *take_call(struct er_core *c, struct er_call *call) {
  struct locate_call *lc = bx_container_of(call, struct locate_call, call);
  struct er_locate *l = find_question(c, lc->question);

  bx_free(lc);
  return l;
}

// -- claim -----------------------------------------------------------------------------------------

static void claimed(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct er_locate *l = take_call(c, call);

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
  else if (er_reply_is(reply, "MOVED"))
    again(c, l);
  else
    finish(c, l, BX_REFUSED);
}

static void claim(struct er_core *c, struct er_locate *l) {
  struct er_arguments args = {0};

  l->asked = l->called = false;
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

  if (call)
    c->counters.calls++;
  else
    c->counters.asks++;
  l->asked = !call;
  l->called = call;
  l->deadline = c->now + (call ? ER_CALL_TIME : ER_ASK_TIME);
  er_post(c, owner, call ? "call" : "ask", l->request->id, l->question, call ? "raw" : NULL, l->request->text);
}

static void loaded(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct er_locate *l = take_call(c, call);
  uint64_t alive = 0;

  if (l == NULL) return;
  if (is_here(c, l)) {
    finish(c, l, BX_ACKNOWLEDGED);
  } else if (er_reply_is(reply, "NONE")) {
    finish(c, l, BX_NO_SESSION);
  } else if (!er_reply_is(reply, "OK") || !er_reply_u64(reply, 2, &alive) || !er_reply_u64(reply, 3, &l->generation)) {
    if (er_reply_is(reply, "BAD")) er_malformed(c, "record", l->request->id);
    finish(c, l, BX_REFUSED);
  } else if (bx_slice_equal(er_reply_text(reply, 1), c->options.node)) {
    if (er_reply_is(er_reply_item(reply, 4), "live"))
      claim(c, l);   // it was ours and we forgot it: the mark speaks for it
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

void er_locate_end_all(struct er_core *c, enum bx_outcome outcome) {
  struct bx_list *link;

  while ((link = bx_list_take(&c->locates)) != NULL) {
    struct er_locate *l = of(link);
    struct bx_list *waiting;

    while ((waiting = bx_list_take(&l->waiting)) != NULL) {
      struct bx_request *r = bx_container_of(waiting, struct bx_request, link);
      r->done(r, outcome, 0);
    }
    l->request->done(l->request, outcome, 0);
    bx_free(l);
  }
}

// -- the inbox -------------------------------------------------------------------------------------

void er_post(struct er_core *c, struct bx_slice node, const char *type, struct bx_slice id, uint64_t question,
             const char *more_field, struct bx_slice more) {
  struct er_arguments args = {0};

  er_arguments_text(&args, node);
  er_arguments_text(&args, BX_LIT("t"));
  er_arguments_text(&args, bx_slice_of(type));
  er_arguments_text(&args, BX_LIT("id"));
  er_arguments_text(&args, id);
  er_arguments_text(&args, BX_LIT("q"));
  er_arguments_u64(&args, question);
  er_arguments_text(&args, BX_LIT("from"));
  er_arguments_text(&args, c->options.node);
  er_arguments_text(&args, BX_LIT("deadline"));
  er_arguments_u64(&args, (uint64_t)((int64_t)c->now + c->clock + ER_CALL_TIME));
  if (more_field != NULL) {
    er_arguments_text(&args, bx_slice_of(more_field));
    er_arguments_text(&args, more);
  }
  er_send_blind(c, "post", &args);
}

struct inbox {
  struct bx_slice type, id, from, raw, replies;
  uint64_t question, generation, deadline;
};

static bool read_inbox(const struct er_reply *fields, struct inbox *m) {
  for (size_t i = 0; fields != NULL && i + 1 < fields->count; i += 2) {
    struct bx_slice name = er_reply_text(fields, i), value = er_reply_text(fields, i + 1);

    if (bx_slice_equal(name, BX_LIT("t"))) m->type = value;
    if (bx_slice_equal(name, BX_LIT("id"))) m->id = value;
    if (bx_slice_equal(name, BX_LIT("from"))) m->from = value;
    if (bx_slice_equal(name, BX_LIT("raw"))) m->raw = value;
    if (bx_slice_equal(name, BX_LIT("replies"))) m->replies = value;
    if (bx_slice_equal(name, BX_LIT("q")) && !er_text_u64(value, &m->question)) return false;
    if (bx_slice_equal(name, BX_LIT("g")) && !er_text_u64(value, &m->generation)) return false;
    if (bx_slice_equal(name, BX_LIT("deadline")) && !er_text_u64(value, &m->deadline)) return false;
  }
  return m->type.len > 0;
}

// Messages of another node, executed here; the answer goes back with its question.
struct remote {
  struct bx_remote_call call;
  struct er_core *core;
  struct bx_buffer text, from, id;
  uint64_t question;
};

static void executed(struct bx_remote_call *call, struct bx_slice replies) {
  struct remote *r = bx_container_of(call, struct remote, call);

  if (er_usable(r->core))
    er_post(r->core, bx_buffer_view(&r->from), "done", bx_buffer_view(&r->id), r->question, "replies", replies);
  bx_buffer_fini(&r->text);
  bx_buffer_fini(&r->from);
  bx_buffer_fini(&r->id);
  bx_free(r);
}

static void execute(struct er_core *c, const struct inbox *m) {
  struct remote *r = bx_alloc(sizeof *r);

  r->core = c;
  r->question = m->question;
  bx_buffer_slice(&r->text, m->raw);
  bx_buffer_slice(&r->from, m->from);
  bx_buffer_slice(&r->id, m->id);
  r->call.text = bx_buffer_view(&r->text);
  r->call.done = executed;
  c->engine.events.call(c->engine.events.context, &r->call);
}

// A question about a session of ours. One without a connection moves whatever was asked.
static void take_question(struct er_core *c, const struct inbox *m, bool call) {
  struct bx_session *s = c->engine.events.find(c->engine.events.context, m->id);

  if (m->deadline != 0 && (int64_t)m->deadline < (int64_t)c->now + c->clock) return;
  if (!er_usable(c)) return;
  if (s == NULL)
    er_post(c, m->from, "unknown", m->id, m->question, NULL, (struct bx_slice){0});
  else if (call && s->connection != NULL)
    execute(c, m);
  else
    er_release(c, s, m->from, m->question);
}

static void take_answer(struct er_core *c, const struct inbox *m) {
  struct er_locate *l = find_question(c, m->question);

  if (l == NULL || !(l->asked || l->called) || !bx_slice_equal(l->request->id, m->id)) return;
  if (bx_slice_equal(m->type, BX_LIT("unknown"))) {
    claim(c, l);
  } else if (bx_slice_equal(m->type, BX_LIT("done"))) {
    l->request->replies = m->replies;
    finish(c, l, BX_RELAYED);
  } else {
    again(c, l);
  }
}

void er_inbox(struct er_core *c, const struct er_reply *fields) {
  struct inbox m = {0};
  struct bx_session *s;

  if (!read_inbox(fields, &m)) {
    er_malformed(c, "inbox message", m.type);
    return;
  }
  s = c->engine.events.find(c->engine.events.context, m.id);
  if (bx_slice_equal(m.type, BX_LIT("ask"))) {
    take_question(c, &m, false);
  } else if (bx_slice_equal(m.type, BX_LIT("call"))) {
    take_question(c, &m, true);
  } else if (bx_slice_equal(m.type, BX_LIT("lost"))) {
    if (s != NULL && s->generation < m.generation) c->engine.events.forget(c->engine.events.context, s);
  } else if (bx_slice_equal(m.type, BX_LIT("ended"))) {
    if (s != NULL) c->engine.events.ended(c->engine.events.context, s);
  } else if (bx_slice_equal(m.type, BX_LIT("yours")) || bx_slice_equal(m.type, BX_LIT("moved")) ||
             bx_slice_equal(m.type, BX_LIT("unknown")) || bx_slice_equal(m.type, BX_LIT("done"))) {
    take_answer(c, &m);
  } else {
    er_malformed(c, "inbox message", m.type);
  }
}
