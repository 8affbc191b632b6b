// SPDX-License-Identifier: Apache-2.0
// Session records: made, changed, given away, taken in, ended. Every write names the owner and the
// generation that it believes in; a script refuses one that is not the record's any more.
#include "engine-redis/core/private.h"

#define MEMBERS 10000   // sessions of a user that are listed at once

struct record_call {
  struct er_call call;
  struct bx_request *request;
};

static void finish(struct bx_request *request, enum bx_outcome outcome) { request->done(request, outcome, 0); }

// -- requests of the server ------------------------------------------------------------------------

static enum bx_outcome created(struct er_core *c, struct bx_request *r, const struct er_reply *reply) {
  uint64_t generation;

  if (er_reply_is(reply, "EPOCH")) er_hello(c);
  if (er_reply_is(reply, "DENIED")) return BX_DENIED;
  if (!er_reply_is(reply, "OK") || !er_reply_u64(reply, 1, &generation)) return BX_REFUSED;
  r->session->generation = (uint32_t)generation;
  r->session->mark.deadline_told = r->session->expiry.at;
  return BX_ACKNOWLEDGED;
}

static void answered(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct record_call *rc = bx_container_of(call, struct record_call, call);
  struct bx_request *r = rc->request;
  struct bx_session *s = r->session;
  enum bx_outcome outcome = BX_REFUSED;

  c->records_answered++;
  if (r->kind == BX_REQUEST_SUBSCRIBE) s->mark.asking--;
  bx_free(rc);
  if (r->kind == BX_REQUEST_SUBSCRIBE) er_presence_told(c, reply);
  if (r->kind == BX_REQUEST_CREATE)
    outcome = created(c, r, reply);
  else if (er_reply_is(reply, "OK"))
    outcome = BX_ACKNOWLEDGED;
  else if (er_reply_is(reply, "NONE"))
    outcome = BX_NO_SESSION;
  if (er_reply_is(reply, "MOVED") && s->state != BX_SESSION_CLOSING)
    c->engine.events.forget(c->engine.events.context, s);
  if (er_reply_is(reply, "BAD")) er_malformed(c, "record", er_reply_text(reply, 1));
  finish(r, outcome);
  // It is freed by the turn's reap at the earliest.
  if (s->recorded && s->state != BX_SESSION_CLOSING && !s->released) er_changed(&c->engine, s, false);
}

static void add_owner(struct er_core *c, struct er_arguments *args, const struct bx_session *s) {
  er_arguments_text(args, bx_session_id(s));
  er_arguments_text(args, c->options.node);
  er_arguments_u64(args, s->generation);
}

static const char *add_create(struct er_core *c, struct er_arguments *args, const struct bx_session *s) {
  er_arguments_u64(args, c->epoch);
  er_arguments_text(args, c->options.node);
  er_arguments_text(args, bx_session_id(s));
  er_arguments_text(args, bx_session_user(s));
  er_arguments_u64(args, s->life);
  er_arguments_u64(args, s->cursor);
  er_arguments_text(args, bx_session_token(s));
  return "create";
}

// With a mark where who is there is counted: presence.c.
static void add_start(struct er_core *c, struct er_arguments *args, struct bx_slice pattern, bx_position start) {
  struct bx_buffer text = {0};

  bx_buffer_u64(&text, start);
  if (c->engine.events.counts != NULL && c->engine.events.counts(c->engine.events.context, pattern))
    bx_buffer_char(&text, '+');
  er_arguments_text(args, bx_buffer_view(&text));
  bx_buffer_fini(&text);
}

static const char *add_patterns(struct er_core *c, struct er_arguments *args, const struct bx_request *r) {
  bool subscribe = r->kind == BX_REQUEST_SUBSCRIBE;

  add_owner(c, args, r->session);
  er_arguments_u64(args, c->incarnation);   // one that is executed late would undo what came after it
  for (size_t i = 0; i < r->pattern_count; i++) {
    er_arguments_text(args, r->patterns[i]);
    if (subscribe) add_start(c, args, r->patterns[i], r->start);
  }
  return subscribe ? "sub" : "unsub";
}

static const char *add_end(struct er_core *c, struct er_arguments *args, const struct bx_request *r) {
  static const char *const reasons[] = {
      [BX_REASON_DISCONNECT] = "disconnect", [BX_REASON_EXPIRED] = "expired", [BX_REASON_LOST] = "lost"};

  add_owner(c, args, r->session);
  er_arguments_u64(args, c->incarnation);   // one that is executed late would end what lived on
  er_arguments_text(args, bx_slice_of(reasons[r->reason]));
  er_arguments_u64(args, 0);
  er_arguments_text(args, c->options.node);
  return "end";
}

// Until it is answered the mark stays in front of the start.
static void note_past(struct er_core *c, const struct bx_request *r) {
  struct bx_session *s = r->session;

  if (s->mark.asking++ == 0 || r->start < s->mark.asked_from) s->mark.asked_from = r->start;
  if (s->recorded && s->state != BX_SESSION_CLOSING && !s->released) er_changed(&c->engine, s, false);
}

void er_record_request(struct er_core *c, struct bx_request *r) {
  struct er_arguments args = {0};
  struct record_call *rc = bx_alloc(sizeof *rc);
  const char *script;

  rc->call.done = answered;
  rc->request = r;
  if (r->kind == BX_REQUEST_CREATE)
    script = add_create(c, &args, r->session);
  else if (r->kind == BX_REQUEST_END)
    script = add_end(c, &args, r);
  else
    script = add_patterns(c, &args, r);
  c->records_sent++;
  if (r->kind == BX_REQUEST_SUBSCRIBE) note_past(c, r);
  er_send(c, ER_COMMAND, script, &args, &rc->call);
}

// -- by others -------------------------------------------------------------------------------------

static void kicked(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct record_call *rc = bx_container_of(call, struct record_call, call);
  struct bx_request *r = rc->request;
  enum bx_outcome outcome = BX_REFUSED;

  bx_free(rc);
  if (er_reply_is(reply, "OK")) outcome = BX_ACKNOWLEDGED;
  if (er_reply_is(reply, "NONE")) outcome = BX_NO_SESSION;
  if (er_reply_is(reply, "BAD")) er_malformed(c, "record", er_reply_text(reply, 1));
  finish(r, outcome);
}

// By force: the record goes, and its owner, if that is another node, hears of it in its inbox.
void er_kick(struct er_core *c, struct bx_request *r) {
  struct record_call *rc = bx_alloc(sizeof *rc);
  struct er_arguments args = {0};

  rc->call.done = kicked;
  rc->request = r;
  er_arguments_text(&args, r->id);
  er_arguments_text(&args, BX_LIT(""));
  er_arguments_u64(&args, 0);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_text(&args, BX_LIT("kicked"));
  er_arguments_u64(&args, 1);
  er_arguments_text(&args, c->options.node);
  er_send(c, ER_COMMAND, "end", &args, &rc->call);
}

static void listed(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct record_call *rc = bx_container_of(call, struct record_call, call);
  struct bx_request *r = rc->request;
  enum bx_outcome outcome = er_reply_is(reply, "OK") ? BX_ACKNOWLEDGED : BX_REFUSED;
  size_t count = outcome == BX_ACKNOWLEDGED ? reply->count - 1 : 0;
  struct bx_slice *members = bx_alloc((count + 1) * sizeof *members);

  bx_free(rc);
  if (er_reply_is(reply, "BAD")) er_malformed(c, "user", er_reply_text(reply, 1));
  for (size_t i = 0; i < count; i++) members[i] = er_reply_text(reply, i + 1);
  r->members = members;
  r->member_count = count;
  finish(r, outcome);
  bx_free(members);
}

void er_members(struct er_core *c, struct bx_request *r) {
  struct record_call *rc = bx_alloc(sizeof *rc);
  struct er_arguments args = {0};

  rc->call.done = listed;
  rc->request = r;
  er_arguments_text(&args, r->of_token ? (struct bx_slice){0} : r->id);
  er_arguments_text(&args, r->of_token ? r->id : (struct bx_slice){0});
  er_arguments_u64(&args, MEMBERS);
  er_send(c, ER_COMMAND, "members", &args, &rc->call);
}

static void revoked(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct record_call *rc = bx_container_of(call, struct record_call, call);
  struct bx_request *r = rc->request;
  uint64_t position = 0;
  bool good = er_reply_is(reply, "OK") && er_reply_u64(reply, 1, &position);

  bx_free(rc);
  if (er_reply_is(reply, "EPOCH")) er_hello(c);
  r->done(r, good ? BX_ACKNOWLEDGED : er_reply_is(reply, "MANY") ? BX_DENIED : BX_REFUSED, position);
}

void er_revoke(struct er_core *c, struct bx_request *r) {
  struct record_call *rc = bx_alloc(sizeof *rc);
  struct er_arguments args = {0};

  rc->call.done = revoked;
  rc->request = r;
  er_arguments_u64(&args, c->epoch);
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_text(&args, r->of_token ? (struct bx_slice){0} : r->id);
  if (r->of_token) er_arguments_text(&args, r->id);
  if (r->of_token) er_arguments_u64(&args, r->lasting);
  er_send(c, ER_COMMAND, "revoke", &args, &rc->call);
}

// -- taking in -------------------------------------------------------------------------------------

// "start" or "start:upto"
static bool read_extent(struct bx_slice text, struct bx_record_subscription *out) {
  const char *colon = memchr(text.at, ':', text.len);
  size_t len = colon == NULL ? text.len : (size_t)(colon - text.at);
  uint64_t upto = 0;

  if (colon != NULL && !er_text_u64((struct bx_slice){colon + 1, text.len - len - 1}, &upto)) return false;
  out->upto = upto;
  return er_text_u64((struct bx_slice){text.at, len}, &out->start);
}

// What cannot be read is left out: the others are not to suffer for it.
static void read_subscriptions(struct er_core *c, const struct er_reply *loaded, size_t from, struct bx_record *r) {
  r->subscriptions = bx_alloc((loaded->count / 2 + 1) * sizeof *r->subscriptions);
  for (size_t i = from; i + 1 < loaded->count; i += 2) {
    struct bx_record_subscription *sub = &r->subscriptions[r->subscription_count];

    sub->pattern = er_reply_text(loaded, i);
    if (bx_channel_classify(sub->pattern) != BX_CHANNEL_INVALID && bx_channel_depth(sub->pattern) <= 64 &&
        read_extent(er_reply_text(loaded, i + 1), sub))
      r->subscription_count++;
    else
      er_malformed(c, "subscription", sub->pattern);
  }
}

// What load and claim answer: OK n alive g k sent cid vary life user created deadline token [pattern extent]...
static bool read_record(struct er_core *c, const struct er_reply *loaded, struct bx_record *r) {
  uint64_t generation, vary, deadline;
  int64_t now = (int64_t)c->now + c->clock;

  if (!er_reply_u64(loaded, 3, &generation) || !er_reply_u64(loaded, 4, &r->conf) ||
      !er_reply_u64(loaded, 5, &r->sent) || !er_reply_u64(loaded, 7, &vary) || !er_reply_u64(loaded, 8, &r->life) ||
      !er_reply_u64(loaded, 10, &r->created) || !er_reply_u64(loaded, 11, &deadline) || r->conf > r->sent ||
      generation > UINT32_MAX)
    return false;
  r->remaining = (int64_t)deadline > now ? (bx_millis)((int64_t)deadline - now) : 0;
  r->generation = (uint32_t)generation;
  r->has_connect_id = er_reply_u64(loaded, 6, &r->connect_id);
  r->ids_vary = vary != 0;
  r->user = er_reply_text(loaded, 9);
  r->token = er_reply_text(loaded, 12);
  read_subscriptions(c, loaded, 13, r);
  return true;
}

struct bx_session *er_adopt(struct er_core *c, struct bx_slice id, const struct er_reply *loaded) {
  struct bx_record record = {.id = id};
  struct bx_session *s = NULL;

  if (read_record(c, loaded, &record))
    s = c->engine.events.adopt(c->engine.events.context, &record);
  else
    er_malformed(c, "record", id);
  bx_free(record.subscriptions);
  return s;
}

// -- giving away -----------------------------------------------------------------------------------

struct release_call {
  struct er_call call;
  struct bx_session *session;   // pinned
  uint64_t question;
  uint32_t generation;
  struct bx_buffer to;
};

// Nobody knows whether it was released. It stays, for its record may still say that it is live here and
// the mark must not pass it; if it has gone, the next tick is refused and it is forgotten.
static void take_back(struct er_core *c, struct bx_session *s) {
  c->engine.events.restore(c->engine.events.context, s);
  if (!c->engine.stale) c->engine.stale_from = c->now;
  c->engine.stale = true;   // until that tick no poll is handed what may be another's to give
  c->recheck = 0;
  s->mark.covered = false;
  bx_list_remove(&s->mark.link);
  er_changed(&c->engine, s, false);
}

static void released(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct release_call *rc = bx_container_of(call, struct release_call, call);
  struct bx_session *s = rc->session;
  bool done = reply != NULL && !er_reply_is(reply, "FENCED");

  if (er_reply_is(reply, "OK")) {
    c->counters.released++;
    er_post(c, bx_buffer_view(&rc->to), "yours", bx_session_id(s), rc->question, NULL, (struct bx_slice){0});
  } else if (done) {
    er_post(c, bx_buffer_view(&rc->to), "moved", bx_session_id(s), rc->question, NULL, (struct bx_slice){0});
  }
  s->pins--;
  if (done || s->state == BX_SESSION_CLOSING)
    c->engine.events.forget(c->engine.events.context, s);
  else
    take_back(c, s);
  bx_buffer_fini(&rc->to);
  bx_free(rc);
}

static void add_extent(struct er_arguments *args, struct bx_slice pattern, bx_position start, bx_position upto) {
  struct bx_buffer extent = {0};

  bx_buffer_u64(&extent, start);
  if (upto > 0) bx_buffer_char(&extent, ':');
  if (upto > 0) bx_buffer_u64(&extent, upto);
  er_arguments_text(args, pattern);
  er_arguments_text(args, bx_buffer_view(&extent));
  bx_buffer_fini(&extent);
}

static bool has_subscription(const struct bx_session *s, struct bx_slice pattern) {
  for (struct bx_list *link = s->subscriptions.next; link != &s->subscriptions; link = link->next)
    if (bx_slice_equal(bx_topic_pattern(bx_container_of(link, struct bx_subscription, link)->topic), pattern))
      return true;
  return false;
}

// Subscriptions on their way to the record, which reach it before the release does: nobody has read for
// them here.
static void add_uptos_on_the_way(struct er_core *c, struct er_arguments *args, const struct bx_session *s,
                                 bx_position sent) {
  bx_list_each (link, &c->calls[ER_COMMAND]) {
    struct er_call *call = bx_container_of(link, struct er_call, link);
    const struct bx_request *r =
        call->done == answered ? bx_container_of(call, struct record_call, call)->request : NULL;

    if (r == NULL || r->session != s || r->kind != BX_REQUEST_SUBSCRIBE || r->start >= sent) continue;
    for (size_t i = 0; i < r->pattern_count; i++)
      if (!has_subscription(s, r->patterns[i])) add_extent(args, r->patterns[i], r->start, sent);
  }
}

static void add_uptos(struct er_arguments *args, const struct bx_session *s, bx_position sent) {
  for (struct bx_list *link = s->subscriptions.next; link != &s->subscriptions; link = link->next) {
    const struct bx_subscription *sub = bx_container_of(link, struct bx_subscription, link);

    bx_position upto = sub->behind && sent > sub->upto ? sent : sub->upto;

    if (upto > 0)
      add_extent(args, bx_topic_pattern(sub->topic), sub->known, upto);
    else if (sub->noted)
      add_extent(args, bx_topic_pattern(sub->topic), sub->start, 0);
  }
}

void er_release(struct er_core *c, struct bx_session *s, struct bx_slice to, uint64_t question) {
  struct release_call *rc = bx_alloc(sizeof *rc);
  struct er_arguments args = {0};
  struct bx_record record;

  c->engine.events.release(c->engine.events.context, s, &record);   // holds the mark back until that is answered
  s->pins++;
  rc->call.done = released;
  rc->session = s;
  rc->question = question;
  bx_buffer_slice(&rc->to, to);
  add_owner(c, &args, s);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_text(&args, to);
  er_arguments_u64(&args, record.conf);
  er_arguments_u64(&args, record.sent);
  er_arguments_connect_id(&args, record.has_connect_id, record.connect_id);
  er_arguments_u64(&args, record.ids_vary);
  add_uptos(&args, s, record.sent);
  add_uptos_on_the_way(c, &args, s, record.sent);
  er_send(c, ER_COMMAND, "release", &args, &rc->call);
}

// -- after a new epoch -----------------------------------------------------------------------------

#define RESAVE_AT_ONCE 100

// Records that a rollback took back are written again, from what this node knows.
static void add_record(struct er_core *c, struct er_arguments *args, const struct bx_session *s) {
  er_arguments_stand(c, args, s);
  er_arguments_u64(args, s->life);
  er_arguments_text(args, bx_session_user(s));
  er_arguments_u64(args, s->born);
  er_arguments_text(args, bx_session_token(s));
  er_arguments_u64(args, s->subscription_count);
  for (struct bx_list *link = s->subscriptions.next; link != &s->subscriptions; link = link->next) {
    const struct bx_subscription *sub = bx_container_of(link, struct bx_subscription, link);

    er_arguments_text(args, bx_topic_pattern(sub->topic));
    add_start(c, args, bx_topic_pattern(sub->topic), sub->start);
  }
}

// Not known to be written: once more, when there is a link.
static void resaved(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  bx_free(call);
  if (!er_reply_is(reply, "OK")) c->resave_due = true;
  if (er_reply_is(reply, "EPOCH")) er_hello(c);
}

static void send_resave(struct er_core *c, struct er_arguments *args) {
  struct er_call *call = bx_alloc(sizeof *call);

  call->done = resaved;
  er_send(c, ER_COMMAND, "resave", args, call);
}

static void send_records(struct er_core *c, struct bx_list *states) {
  struct er_arguments args = {0};
  size_t count = 0;

  for (struct bx_list *link = states->next; link != states; link = link->next) {
    struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

    if (!s->recorded || s->released) continue;
    if (count == 0) {
      er_arguments_u64(&args, c->epoch);
      er_arguments_text(&args, c->options.node);
    }
    add_record(c, &args, s);
    s->mark.covered = false;   // the record has an exact position now
    er_changed(&c->engine, s, false);
    if (++count < RESAVE_AT_ONCE) continue;
    send_resave(c, &args);
    count = 0;
  }
  if (count > 0) send_resave(c, &args);
}

void er_resave(struct er_core *c) {
  struct bx_server *server = c->engine.events.context;

  if (!c->resave_due || !er_usable(c) || server == NULL) return;
  c->resave_due = false;
  for (int state = 0; state < BX_SESSION_CLOSING; state++) send_records(c, &server->states[state]);
}
