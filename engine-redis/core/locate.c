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

enum {
  HAS_ID = 1,
  HAS_FROM = 2,
  HAS_RAW = 4,
  HAS_REPLIES = 8,
  HAS_Q = 16,
  HAS_G = 32,
  HAS_DEADLINE = 64,
  HAS_REASON = 128,
};

struct inbox {
  struct bx_slice type, id, from, raw, replies, reason;
  uint64_t question, generation, deadline;
  unsigned has;
};

// The types, what each must carry, and what is done with it.
static void take_ask(struct er_core *, const struct inbox *, struct bx_session *);
static void take_call(struct er_core *, const struct inbox *, struct bx_session *);
static void take_lost(struct er_core *, const struct inbox *, struct bx_session *);
static void take_ended(struct er_core *, const struct inbox *, struct bx_session *);
static void take_here(struct er_core *, const struct inbox *, struct bx_session *);
static void take_answer(struct er_core *, const struct inbox *, struct bx_session *);
static void take_busy(struct er_core *, const struct inbox *, struct bx_session *);
static void take_survey(struct er_core *, const struct inbox *, struct bx_session *);
static void take_report(struct er_core *, const struct inbox *, struct bx_session *);

static const struct {
  struct bx_slice type;
  unsigned needs;
  void (*take)(struct er_core *, const struct inbox *, struct bx_session *);
} types[] = {
#define TYPE(text, needs, take) \
  { {text, sizeof text - 1}, needs, take }
    TYPE("ask", HAS_ID | HAS_FROM | HAS_Q | HAS_G | HAS_DEADLINE, take_ask),
    TYPE("call", HAS_ID | HAS_FROM | HAS_Q | HAS_RAW | HAS_DEADLINE, take_call),
    TYPE("lost", HAS_ID | HAS_G, take_lost),
    TYPE("ended", HAS_ID, take_ended),
    TYPE("yours", HAS_ID | HAS_Q, take_answer),
    TYPE("moved", HAS_ID | HAS_Q, take_answer),
    TYPE("unknown", HAS_ID | HAS_Q, take_answer),
    TYPE("here", HAS_ID | HAS_Q, take_here),
    TYPE("done", HAS_Q | HAS_REPLIES, take_answer),
    TYPE("busy", HAS_ID | HAS_Q, take_busy),
    TYPE("survey", HAS_Q | HAS_FROM | HAS_RAW, take_survey),
    TYPE("report", HAS_Q | HAS_FROM | HAS_REPLIES, take_report),
#undef TYPE
};

static const struct {
  struct bx_slice name;
  unsigned bit;
  size_t offset;
  bool number;
} fields_of_inbox[] = {
#define FIELD(text, bit, member, number) \
  { {text, sizeof text - 1}, bit, offsetof(struct inbox, member), number }
    FIELD("t", 0, type, false),
    FIELD("id", HAS_ID, id, false),
    FIELD("from", HAS_FROM, from, false),
    FIELD("raw", HAS_RAW, raw, false),
    FIELD("replies", HAS_REPLIES, replies, false),
    FIELD("reason", HAS_REASON, reason, false),
    FIELD("q", HAS_Q, question, true),
    FIELD("g", HAS_G, generation, true),
    FIELD("deadline", HAS_DEADLINE, deadline, true),
#undef FIELD
};

static bool read_field(struct inbox *m, struct bx_slice name, struct bx_slice value) {
  for (size_t i = 0; i < sizeof fields_of_inbox / sizeof fields_of_inbox[0]; i++) {
    char *to = (char *)m + fields_of_inbox[i].offset;

    if (!bx_slice_equal(name, fields_of_inbox[i].name)) continue;
    m->has |= fields_of_inbox[i].bit;
    if (fields_of_inbox[i].number) return er_text_u64(value, (uint64_t *)(void *)to);
    *(struct bx_slice *)(void *)to = value;
    return value.len > 0;
  }
  return true;   // of a later version
}

static bool read_inbox(const struct er_reply *fields, struct inbox *m) {
  for (size_t i = 0; fields != NULL && i + 1 < fields->count; i += 2)
    if (!read_field(m, er_reply_text(fields, i), er_reply_text(fields, i + 1))) return false;
  return true;
}

static bool is_array(struct bx_slice text) {
  struct bx_value value;
  struct bx_scan s;

  bx_scan_init(&s, text, 64);
  return bx_scan_peek(&s) == BX_JSON_ARRAY && bx_scan_value(&s, &value) && bx_scan_end(&s);
}

// Messages of another node, executed here; the answer goes back with its question. Who asked is told from time to time
// that it is not done: somebody may have to decide first whether it is allowed.
struct remote {
  struct bx_list link;
  bx_millis told;
  struct bx_remote_call call;
  struct er_core *core;
  struct bx_buffer text, from, id;
  uint64_t question;
};

static void executed(struct bx_remote_call *call, struct bx_slice replies) {
  struct remote *r = bx_container_of(call, struct remote, call);

  if (er_usable(r->core))
    er_post(r->core, bx_buffer_view(&r->from), "done", bx_buffer_view(&r->id), r->question, "replies", replies);
  bx_list_remove(&r->link);
  bx_buffer_fini(&r->text);
  bx_buffer_fini(&r->from);
  bx_buffer_fini(&r->id);
  bx_free(r);
}

static void execute(struct er_core *c, const struct inbox *m) {
  struct remote *r = bx_alloc(sizeof *r);

  bx_list_init(&r->link);
  bx_list_append(&c->remotes, &r->link);
  r->told = c->now;
  r->core = c;
  r->question = m->question;
  bx_buffer_slice(&r->text, m->raw);
  bx_buffer_slice(&r->from, m->from);
  bx_buffer_slice(&r->id, m->id);
  r->call.text = bx_buffer_view(&r->text);
  r->call.done = executed;
  c->engine.events.call(c->engine.events.context, &r->call);
}

static bool is_late(const struct er_core *c, const struct inbox *m) {
  return (int64_t)m->deadline < (int64_t)c->now + c->clock;
}

static void answer(struct er_core *c, const struct inbox *m, const char *type) {
  er_post(c, m->from, type, m->id, m->question, NULL, (struct bx_slice){0});
}

// Its record names this node, and it is not here: not yet, or not any more. That will be over soon.
static void answer_unknown(struct er_core *c, const struct inbox *m) {
  struct bx_server *server = c->engine.events.context;
  bool moving = find_id(c, m->id) != NULL;

  if (server != NULL)   // a publisher has no sessions
    bx_list_each (link, &server->states[BX_SESSION_AWAY]) {
      const struct bx_session *s = bx_container_of(link, struct bx_session, state_link);
      moving |= s->released && bx_slice_equal(bx_session_id(s), m->id);
    }
  answer(c, m, moving ? "moved" : "unknown");
}

static void take_ask(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  if (is_late(c, m) || !er_usable(c)) return;
  if (s == NULL)
    answer_unknown(c, m);
  else if (s->generation != m->generation)
    answer(c, m, "moved");
  else
    er_release(c, s, m->from, m->question);
}

// A session without a connection moves whatever was asked.
static void take_call(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  if (!is_array(m->raw)) {
    er_malformed(c, "inbox message", m->type);
    return;
  }
  if (is_late(c, m) || !er_usable(c)) return;
  if (s == NULL)
    answer_unknown(c, m);
  else if (s->connection != NULL)
    execute(c, m);
  else
    er_release(c, s, m->from, m->question);
}

static void take_lost(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  if (s != NULL && s->generation < m->generation) c->engine.events.forget(c->engine.events.context, s);
}

static void take_ended(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  struct er_locate *l = s == NULL ? find_id(c, m->id) : NULL;

  if (s != NULL) c->engine.events.ended(c->engine.events.context, s, m->reason);
  if (l != NULL) l->over = true;   // its record may have been read before that
}

// From this node itself: all that was taken from it while it had no heartbeat has been read.
static void take_here(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  if (m->question != c->recheck) return;
  c->recheck = 0;
  c->engine.stale = false;
  c->engine.events.resume(c->engine.events.context);
}

static void take_answer(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  struct er_locate *l = find_question(c, m->question);

  (void)s;
  if (l == NULL || !(l->asked || l->called)) return;
  if (bx_slice_equal(m->type, BX_LIT("done"))) {
    l->request->replies = m->replies;
    finish(c, l, BX_RELAYED);
  } else if (!bx_slice_equal(l->request->id, m->id)) {
    er_malformed(c, "inbox message", m->type);
  } else if (bx_slice_equal(m->type, BX_LIT("unknown"))) {
    claim(c, l);
  } else {
    again(c, l);
  }
}

static void take_busy(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  struct er_locate *l = find_question(c, m->question);

  (void)s;
  if (l == NULL || !l->called) return;
  if (bx_slice_equal(l->request->id, m->id))
    l->deadline = c->now + ER_CALL_TIME;
  else
    er_malformed(c, "inbox message", m->type);
}

static void say_busy(struct er_core *c) {
  bx_list_each (link, &c->remotes) {
    struct remote *r = bx_container_of(link, struct remote, link);

    if (c->now < r->told + ER_BUSY_TIME) continue;
    r->told = c->now;
    er_post(c, bx_buffer_view(&r->from), "busy", bx_buffer_view(&r->id), r->question, NULL, (struct bx_slice){0});
  }
}

static void take_survey(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  er_survey_answer(c, m->question, m->from, m->raw);
}

static void take_report(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  er_survey_report(c, m->question, m->from, m->replies);
}

void er_inbox(struct er_core *c, const struct er_reply *fields) {
  struct inbox m = {0};
  bool good = read_inbox(fields, &m);

  for (size_t i = 0; good && i < sizeof types / sizeof types[0]; i++) {
    if (!bx_slice_equal(m.type, types[i].type)) continue;
    if ((m.has & types[i].needs) != types[i].needs) break;
    types[i].take(c, &m, c->engine.events.find(c->engine.events.context, m.id));
    return;
  }
  er_malformed(c, "inbox message", m.type);
}

// -- time ------------------------------------------------------------------------------------------

// An owner that does not answer: one that was asked loses the session; one that was called may have
// executed the messages, so nobody does it again.
void er_locate_tick(struct er_core *c) {
  if (er_usable(c)) say_busy(c);
  bx_list_each (link, &c->locates) {
    struct er_locate *l = of(link);

    if (c->now < l->deadline) continue;
    if (l->asked)
      claim(c, l);
    else if (l->called)
      finish(c, l, BX_REFUSED);
  }
}
