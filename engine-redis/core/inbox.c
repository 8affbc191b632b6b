// SPDX-License-Identifier: Apache-2.0
// The inboxes: what nodes say to one another about single sessions, through streams in Redis (ns:inbox:<node>).
// Nothing is certain to arrive: who asks has a time limit, and what does not belong to a question is left alone.
//
//   question          answers
//   ask  (a mover)    yours: its record is this node's now    moved: it is not there any more, load it again
//                     unknown: the owner does not know it
//   call (the others) done: with the replies    busy: not yet, at times    or as above
//   survey            report (survey.c)
//
// Of themselves come: lost (another node has claimed the session), ended (somebody ended it), here (this
// node's own, see marks.c).
#include "engine-redis/core/private.h"

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

// -- what a message holds --------------------------------------------------------------------------

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
static void take_known(struct er_core *, const struct inbox *, struct bx_session *);
static void take_unknown(struct er_core *, const struct inbox *, struct bx_session *);
static void take_done(struct er_core *, const struct inbox *, struct bx_session *);
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
    TYPE("yours", HAS_ID | HAS_Q, take_known),
    TYPE("moved", HAS_ID | HAS_Q, take_known),
    TYPE("unknown", HAS_ID | HAS_Q, take_unknown),
    TYPE("here", HAS_ID | HAS_Q, take_here),
    TYPE("done", HAS_Q | HAS_REPLIES, take_done),
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

// -- what this node is asked -----------------------------------------------------------------------

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

void er_inbox_tick(struct er_core *c) {
  if (!er_usable(c)) return;
  bx_list_each (link, &c->remotes) {
    struct remote *r = bx_container_of(link, struct remote, link);

    if (c->now < r->told + ER_BUSY_TIME) continue;
    r->told = c->now;
    er_post(c, bx_buffer_view(&r->from), "busy", bx_buffer_view(&r->id), r->question, NULL, (struct bx_slice){0});
  }
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
  bool moving = er_locate_is_under_way(c, m->id);

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

static bool is_array(struct bx_slice text) {
  struct bx_value value;
  struct bx_scan s;

  bx_scan_init(&s, text, 64);
  return bx_scan_peek(&s) == BX_JSON_ARRAY && bx_scan_value(&s, &value) && bx_scan_end(&s);
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

static void take_survey(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  er_survey_answer(c, m->question, m->from, m->raw);
}

// -- what it is told -------------------------------------------------------------------------------

static void take_lost(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  if (s != NULL && s->generation < m->generation) c->engine.events.forget(c->engine.events.context, s);
}

static void take_ended(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  if (s != NULL)
    c->engine.events.ended(c->engine.events.context, s, m->reason);
  else
    er_locate_over(c, m->id);
}

// From this node itself: all that was taken from it while it had no heartbeat has been read.
static void take_here(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  if (m->question != c->recheck) return;
  c->recheck = 0;
  c->engine.stale = false;
  c->engine.events.resume(c->engine.events.context);
}

// An answer to a question of this node, for the session that it asked for.
static void check(struct er_core *c, const struct inbox *m, bool good) {
  if (!good) er_malformed(c, "inbox message", m->type);
}

static void take_known(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  check(c, m, er_locate_answered(c, m->question, m->id, true));
}

static void take_unknown(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  check(c, m, er_locate_answered(c, m->question, m->id, false));
}

static void take_busy(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  check(c, m, er_locate_busy(c, m->question, m->id));
}

static void take_done(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  er_locate_relayed(c, m->question, m->replies);
}

static void take_report(struct er_core *c, const struct inbox *m, struct bx_session *s) {
  (void)s;
  er_survey_report(c, m->question, m->from, m->replies);
}

// --------------------------------------------------------------------------------------------------

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
