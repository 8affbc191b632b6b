// SPDX-License-Identifier: Apache-2.0
// The core's life, its links, its turn and its tick: see core.h.
#include "engine-redis/core/keys.h"
#include "engine-redis/core/private.h"

#define REAP_EVERY 1000    // ms
#define REAP_AFTER 10000   // beyond their deadline: a living owner ends them itself
#define REAP_TICKS 50      // uninterrupted ticks before this node reaps
#define REAP_LIMIT 200
#define STALE_AFTER 2000   // ms without an answered tick

// -- the engine ------------------------------------------------------------------------------------

static void submit(struct bx_engine *engine, struct bx_request *r) {
  struct er_core *c = er_core_of(engine);

  if (r->kind == BX_REQUEST_PUBLISH)
    er_publish(c, r);
  else
    bx_list_append(&c->requests, &r->link);
}

static void run_requests(struct er_core *c) {
  struct bx_list todo, *link;

  bx_list_init(&todo);
  bx_list_splice(&todo, &c->requests);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct bx_request *r = bx_container_of(link, struct bx_request, link);

    if (r->kind == BX_REQUEST_LOCATE)
      er_locate(c, r);
    else if (!er_usable(c) || !c->warm)
      r->done(r, BX_REFUSED, 0);
    else if (r->kind == BX_REQUEST_KICK)
      er_kick(c, r);
    else if (r->kind == BX_REQUEST_REVOKE)
      er_revoke(c, r);
    else if (r->kind == BX_REQUEST_MEMBERS)
      er_members(c, r);
    else if (r->kind == BX_REQUEST_PRESENCE)
      er_presence(c, r);
    else
      er_record_request(c, r);
  }
}

static void turn(struct bx_engine *engine, bx_millis now) {
  struct er_core *c = er_core_of(engine);

  c->now = now;
  er_watch_heartbeat(c);
  run_requests(c);
  er_append_turn(c);
}

static bool busy(const struct bx_engine *engine) {
  const struct er_core *c = bx_container_of(engine, const struct er_core, engine);
  return !bx_list_empty(&c->requests) || er_append_busy(c);
}

static const char *not_ready(const struct bx_engine *engine) {
  const struct er_core *c = bx_container_of(engine, const struct er_core, engine);

  if (!c->up[ER_COMMAND] || !c->greeted) return "no link to Redis";
  if (!c->warm || c->tail != ER_TAIL_READING) return "the journal is not read yet";
  if (c->now > c->last_tick + STALE_AFTER) return "Redis does not answer";
  return NULL;
}

static void drop_calls(struct er_core *c, enum er_which which) {
  struct bx_list todo, *link;

  bx_list_init(&todo);
  bx_list_splice(&todo, &c->calls[which]);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct er_call *call = bx_container_of(link, struct er_call, link);
    call->done(c, call, NULL);
  }
}

static void refuse_requests(struct er_core *c) {
  struct bx_list *link;

  while ((link = bx_list_take(&c->requests)) != NULL) {
    struct bx_request *r = bx_container_of(link, struct bx_request, link);
    r->done(r, BX_REFUSED, 0);
  }
}

static void destroy(struct bx_engine *engine) {
  struct er_core *c = er_core_of(engine);

  c->up[ER_COMMAND] = c->up[ER_TAIL] = c->up[ER_CONFIRM] = c->greeted = false;
  c->tail = ER_TAIL_DOWN;
  drop_calls(c, ER_TAIL);
  drop_calls(c, ER_COMMAND);
  drop_calls(c, ER_CONFIRM);
  er_locate_end_all(c, BX_REFUSED);
  er_survey_end_all(c);
  do {   // what is submitted from `done`, too
    refuse_requests(c);
    er_append_refuse_all(c);
  } while (busy(engine));
  er_recover_fini(c);
  bx_buffer_fini(&c->run);
  bx_free(c->strings);
  bx_free(c);
}

static const struct bx_engine_ops ops = {.name = "redis",
                                         .submit = submit,
                                         .locates = true,
                                         .touch = er_touch,
                                         .changed = er_changed,
                                         .gone = er_gone,
                                         .turn = turn,
                                         .busy = busy,
                                         .not_ready = not_ready,
                                         .destroy = destroy};

static struct bx_slice keep(char **at, struct bx_slice text) {
  struct bx_slice kept = {*at, text.len};

  if (text.len > 0) memcpy(*at, text.at, text.len);
  *at += text.len;
  return kept;
}

struct er_core *er_core_create(const struct er_core_env *env, const struct er_core_options *o, bx_millis now) {
  struct er_core *c = bx_alloc(sizeof *c);
  char *at = bx_alloc(o->ns.len + o->node.len + o->role.len + o->address.len + 1);

  c->engine.ops = &ops;
  c->env = *env;
  c->options = *o;
  c->strings = at;
  c->options.ns = keep(&at, o->ns);
  c->options.node = keep(&at, o->node);
  c->options.role = keep(&at, o->role);
  c->options.address = keep(&at, o->address);
  c->now = now;
  c->ack_due = BX_NEVER;
  for (size_t i = 0; i < ER_LINKS; i++) bx_list_init(&c->calls[i]);
  bx_list_init(&c->waiting);
  bx_list_init(&c->sent);
  bx_list_init(&c->unsure);
  bx_list_init(&c->held);
  bx_list_init(&c->told);
  bx_list_init(&c->own);
  bx_list_init(&c->orphans);
  bx_list_init(&c->requests);
  bx_list_init(&c->locates);
  bx_list_init(&c->remotes);
  bx_list_init(&c->surveys);
  memcpy(c->journal_at, "0-0", 4);
  memcpy(c->inbox_at, "0-0", 4);
  er_marks_init(c);
  return c;
}

struct bx_engine *er_core_engine(struct er_core *c) {
  return &c->engine;
}
const struct er_counters *er_core_counters(const struct er_core *c) { return &c->counters; }

// -- links -----------------------------------------------------------------------------------------

void er_core_up(struct er_core *c, enum er_which which, struct bx_slice run_id, bx_millis now) {
  c->now = now;
  c->up[which] = true;
  if (which == ER_TAIL) {
    er_tail_up(c);
    return;
  }
  if (which == ER_CONFIRM) {
    er_confirm(c);
    return;
  }
  bx_buffer_clear(&c->run);
  bx_buffer_slice(&c->run, run_id);
  er_hello(c);
}

void er_core_reply(struct er_core *c, enum er_which which, const struct er_reply *reply, bx_millis now) {
  struct bx_list *link = bx_list_take(&c->calls[which]);
  struct er_call *call;

  c->now = now;
  if (link == NULL) {
    c->env.reset(c->env.context, which, "an answer to nothing");
    return;
  }
  call = bx_container_of(link, struct er_call, link);
  call->done(c, call, reply);
}

void er_core_down(struct er_core *c, enum er_which which, bx_millis now) {
  c->now = now;
  c->up[which] = false;
  if (which != ER_COMMAND) {
    if (which == ER_TAIL) er_tail_down(c);
    drop_calls(c, which);
    return;
  }
  c->greeted = false;
  c->recheck = 0;
  c->good_ticks = 0;
  er_append_link_down(c);
  drop_calls(c, which);
  er_locate_end_all(c, BX_REFUSED);
}

// -- time ------------------------------------------------------------------------------------------

static void reaped(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  bx_free(call);
  if (er_reply_is(reply, "OK")) c->counters.reaped += er_reply_rest(reply);
}

// Sessions that nobody ended in time: their owner is gone. Not by a node that has just come back
// itself, and not for a session's life after a new epoch.
static void reap(struct er_core *c) {
  struct er_arguments args = {0};
  struct er_call *call;

  if (c->good_ticks < REAP_TICKS || c->now < c->last_reap + REAP_EVERY) return;
  if (c->counters.epochs > 0 && c->now < c->epoch_since + c->options.life) return;
  c->last_reap = c->now;
  call = bx_alloc(sizeof *call);
  call->done = reaped;
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, (uint64_t)((int64_t)c->now + c->clock - REAP_AFTER));
  er_arguments_u64(&args, REAP_LIMIT);
  er_send(c, ER_COMMAND, "reap", &args, call);
}

// The rings know size and age of every entry; the stream is cut where the ring begins, when that
// moved by a hundredth of the limit.
static void trim(struct er_core *c) {
  struct bx_server *server = c->engine.events.context;
  struct er_arguments args = {0};
  struct bx_buffer text = {0};
  bx_position first;

  if (server == NULL || !c->warm) return;
  first = bx_journal_first(&server->journal);
  if (first <= c->trimmed_at + c->options.journal_messages / 100) return;
  c->trimmed_at = first;
  bx_buffer_slice(&text, c->options.ns);
  bx_buffer_lit(&text, ER_KEY_JOURNAL);
  er_arguments_text(&args, bx_buffer_view(&text));
  er_arguments_text(&args, BX_LIT("MINID"));
  er_arguments_text(&args, BX_LIT("~"));
  er_arguments_u64(&args, first);
  er_send_blind(c, "XTRIM", &args);
  bx_buffer_fini(&text);
}

bx_millis er_core_due(const struct er_core *c) { return c->ack_due; }

void er_core_wake(struct er_core *c, bx_millis now) {
  c->now = now;
  if (now >= c->ack_due) er_append_tick(c);
}

void er_core_tick(struct er_core *c, bx_millis now) {
  c->now = now;
  er_append_tick(c);
  er_recover_tick(c);
  er_inbox_tick(c);
  er_locate_tick(c);
  er_survey_tick(c);
  if (c->leaving && now >= c->leave_until) c->left = true;
  if (!er_usable(c)) return;
  er_marks_tick(c);
  er_presence_tick(c);
  trim(c);
  reap(c);
}

// -- leaving ---------------------------------------------------------------------------------------

void er_core_leave(struct er_core *c, bx_millis now) {
  struct bx_server *server = c->engine.events.context;

  c->now = now;
  c->leaving = true;
  c->leave_until = now + ER_HEARTBEAT;   // from then on others take its sessions without it
  for (int state = 0; server != NULL && state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &server->states[state]) {
      struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      if (!s->recorded || s->released) continue;
      c->engine.events.settle(server, s);
      s->mark.covered = false;
      bx_list_remove(&s->mark.link);
      er_changed(&c->engine, s, false);
    }
  if (!c->warm) c->left = true;
}

// The last tick is answered: others need not wait for the heartbeat to end.
bool er_core_has_left(const struct er_core *c) { return c->left; }
