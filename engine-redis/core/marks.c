// SPDX-License-Identifier: Apache-2.0
// The mark: one position that speaks for all live sessions of this node, so that a crash needs no
// write per delivery.
//
// A session is *covered* when its record says `live`: then everything up to the mark has arrived at it.
// What holds the mark back stands on the list of a tick: covered sessions with something unconfirmed,
// on the list of the tick of the oldest of it; and covered sessions that stopped being live, on the
// list of that tick, until their exact position is written. The mark is this node's head at the start
// of the tick of the oldest list that is not empty. A list older than ER_HOLD_TICKS is exported: the
// records get exact positions and the sessions are not covered any more.
//
// One tick is one script: exact positions first, then `live`, then the mark. Until it is answered all
// that it wrote counts as not written, and is written again should the link end: it is true then, too.
#include <stdio.h>

#include "engine-redis/core/private.h"

// A subscription that is being made, or was read back and is not confirmed, has a past of its own: the
// head does not speak for it.
static bool has_past(const struct bx_session *s) { return s->backfilled || s->mark.asking > 0; }

static bool is_clean(const struct bx_session *s) {
  return s->state == BX_SESSION_LIVE && !s->pending && s->outbox.count == 0 && !has_past(s);
}

// What a record may say: no subscription misses anything when reading goes on from here.
bx_position er_conf(const struct bx_server *server, const struct bx_session *s) {
  bx_position conf = bx_session_conf(server, s);

  if (s->mark.asking > 0 && s->mark.asked_from < conf) conf = s->mark.asked_from;
  if (!s->backfilled) return conf;
  for (const struct bx_list *link = s->subscriptions.next; link != &s->subscriptions; link = link->next) {
    const struct bx_subscription *sub = bx_container_of(link, const struct bx_subscription, link);

    if ((sub->upto != 0 || sub->behind) && sub->known < conf) conf = sub->known;
  }
  return conf;
}

static struct er_mark_list *list_of(struct er_core *c, uint64_t tick) { return &c->marks[tick % ER_MARK_LISTS]; }

static void open_list(struct er_core *c, uint64_t tick) {
  struct er_mark_list *l = list_of(c, tick);

  l->head = c->head;
  l->tick = tick;
}

void er_marks_init(struct er_core *c) {
  for (size_t i = 0; i < ER_MARK_LISTS; i++) bx_list_init(&c->marks[i].sessions);
  bx_list_init(&c->dirty);
  bx_list_init(&c->touched);
  c->engine.tick = c->oldest_mark = 1;
  open_list(c, 1);
}

static void hold_back(struct er_core *c, struct bx_session *s, uint64_t tick) {
  if (tick < c->oldest_mark) tick = c->oldest_mark;
  s->mark.since = tick;
  bx_list_remove(&s->mark.link);
  bx_list_append(&list_of(c, tick)->sessions, &s->mark.link);
}

static void make_dirty(struct er_core *c, struct bx_session *s) {
  s->mark.dirty = true;
  bx_list_remove(&s->mark.dirty_link);
  bx_list_append(&c->dirty, &s->mark.dirty_link);
}

void er_changed(struct bx_engine *engine, struct bx_session *s, bool partly) {
  struct er_core *c = er_core_of(engine);
  bool held = !bx_list_empty(&s->mark.link);

  if (!s->mark.covered) {
    make_dirty(c, s);
  } else if (is_clean(s)) {
    bx_list_remove(&s->mark.link);
  } else if (!held) {
    // A subscription was asked for before this turn, perhaps in the tick before.
    hold_back(c, s, has_past(s) ? c->engine.tick - 1 : c->engine.tick);
  } else if (partly && s->mark.pinged > s->mark.since && !has_past(s)) {
    hold_back(c, s, s->mark.pinged);   // what is unconfirmed now was handed over behind that ping
  }
}

void er_gone(struct bx_engine *engine, struct bx_session *s) {
  (void)engine;
  bx_list_remove(&s->mark.link);
  bx_list_remove(&s->mark.dirty_link);
  bx_list_remove(&s->mark.touched_link);
}

void er_touch(struct bx_engine *engine, struct bx_session *s) {
  struct er_core *c = er_core_of(engine);

  if (!s->recorded || !bx_list_empty(&s->mark.touched_link)) return;
  if (s->mark.deadline_told != 0 && s->expiry.at < s->mark.deadline_told + s->life / 8) return;
  bx_list_append(&c->touched, &s->mark.touched_link);
}

// -- the tick --------------------------------------------------------------------------------------

struct tick_call {
  struct er_call call;
  bx_millis sent;
  bool last;                  // this node leaves
  struct bx_buffer written;   // ids, each with a terminator: what this tick wrote
};

// What was written and is not known to be: once more, as it is then.
static void write_again(struct er_core *c, struct bx_slice id) {
  struct bx_session *s = c->engine.events.find(c->engine.events.context, id);

  if (s == NULL) return;
  s->mark.covered = false;
  bx_list_remove(&s->mark.link);
  make_dirty(c, s);
}

static void each_written(struct er_core *c, const struct tick_call *t,
                         void (*visit)(struct er_core *, struct bx_slice)) {
  for (size_t at = 0; at < t->written.len;) {
    struct bx_slice id = bx_slice_of(t->written.at + at);

    visit(c, id);
    at += id.len + 1;
  }
}

// A record that names another owner, or none: this copy is not the session any more. That it has ended, and
// why, stands in the inbox, behind what was published before; or this node is the one that says so there.
static void refused(struct er_core *c, struct bx_slice text) {
  const char *colon = memchr(text.at, ':', text.len);
  struct bx_slice id = {text.at, colon == NULL ? text.len : (size_t)(colon - text.at)};
  struct bx_session *s = c->engine.events.find(c->engine.events.context, id);

  if (s != NULL && colon != NULL)
    er_post(c, c->options.node, "ended", id, 0, "reason", (struct bx_slice){colon + 1, text.len - id.len - 1});
  else if (s != NULL)
    c->engine.events.forget(c->engine.events.context, s);
}

static void departed(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  (void)reply;
  bx_free(call);
  c->left = true;
}

// Without its heartbeat this node is gone at once, and its sessions can be claimed.
static void depart(struct er_core *c) {
  struct er_call *call = bx_alloc(sizeof *call);
  struct er_arguments args = {0};

  c->departing = true;
  call->done = departed;
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, c->incarnation);
  er_send(c, ER_COMMAND, "depart", &args, call);
}

void er_watch_heartbeat(struct er_core *c) {
  if (c->alive_at == 0 || c->now < c->alive_at + ER_HEARTBEAT || c->engine.stale) return;
  c->engine.stale = true;
  c->engine.stale_from = c->alive_at + ER_HEARTBEAT;
}

// The heartbeat is back. What others took meanwhile stands in the inbox, in front of a message that is
// put there now.
static void heard(struct er_core *c, bx_millis sent) {
  c->alive_at = sent;
  if (!c->engine.stale || c->recheck != 0) return;
  c->recheck = ++c->questions;
  er_post(c, c->options.node, "here", c->options.node, c->recheck, NULL, (struct bx_slice){0});
}

static void ticked(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct tick_call *t = bx_container_of(call, struct tick_call, call);
  uint64_t time;

  c->ticking = false;
  if (er_reply_is(reply, "OK") && er_reply_u64(reply, 2, &time)) {
    c->counters.ticks++;
    c->good_ticks++;
    c->clock = (int64_t)time - (int64_t)c->now;
    c->last_tick = c->now;
    heard(c, t->sent);
    for (size_t i = 4; i < reply->count; i++) refused(c, er_reply_text(reply, i));
    if (t->last) depart(c);
  } else {
    c->good_ticks = 0;
    each_written(c, t, write_again);
    if (er_reply_is(reply, "EPOCH")) {
      er_hello(c);
    } else if (reply != NULL) {
      struct bx_slice why = reply->type == ER_REPLY_ARRAY ? er_reply_text(reply, 0) : er_reply_bytes(reply);
      char text[100];

      if (er_reply_is(reply, "FENCED")) c->counters.fenced++;
      snprintf(text, sizeof text, "the tick was refused: %.*s", (int)why.len, why.len > 0 ? why.at : "");
      er_fenced(c, text);
    }
  }
  bx_buffer_fini(&t->written);
  bx_free(t);
}

static void note(struct tick_call *t, const struct bx_session *s) {
  bx_buffer_slice(&t->written, bx_session_id(s));
  bx_buffer_char(&t->written, '\0');
}

// Sessions that hold the mark back for too long are told by their exact positions from now on.
static void expire_lists(struct er_core *c) {
  for (; c->oldest_mark + ER_HOLD_TICKS < c->engine.tick || (c->leaving && c->oldest_mark <= c->engine.tick);
       c->oldest_mark++) {
    struct bx_list *link;

    while ((link = bx_list_take(&list_of(c, c->oldest_mark)->sessions)) != NULL) {
      struct bx_session *s = er_session_of_mark(link);

      s->mark.covered = false;
      make_dirty(c, s);
    }
  }
}

static bx_position mark(struct er_core *c) {
  for (uint64_t t = c->oldest_mark; t <= c->engine.tick; t++)
    if (!bx_list_empty(&list_of(c, t)->sessions)) return list_of(c, t)->head;
  return c->head;
}

bx_position er_core_mark(struct er_core *c) { return mark(c); }

void er_arguments_stand(struct er_core *c, struct er_arguments *args, const struct bx_session *s) {
  struct bx_server *server = c->engine.events.context;
  bx_position conf = er_conf(server, s);

  er_arguments_text(args, bx_session_id(s));
  er_arguments_u64(args, s->generation);
  er_arguments_u64(args, conf);
  er_arguments_u64(args, conf < bx_session_conf(server, s) ? conf : er_sent(server, s));
  er_arguments_connect_id(args, s->has_connect_id, s->connect_id);
  er_arguments_u64(args, s->ids_vary);
}

// A list of the tick's arguments, behind its count.
static void add_list(struct er_arguments *to, struct er_arguments *list, size_t count) {
  er_arguments_u64(to, count);
  for (size_t i = 0, from = 0; i < list->count; from = list->ends[i++])
    er_arguments_text(to, (struct bx_slice){list->bytes.at == NULL ? "" : list->bytes.at + from, list->ends[i] - from});
  bx_buffer_fini(&list->bytes);
  bx_free(list->ends);
}

static void add_sessions(struct er_core *c, struct er_arguments *args, struct tick_call *t) {
  struct er_arguments exact = {0}, live = {0};
  size_t exacts = 0, lives = 0;
  struct bx_list *link;

  while ((link = bx_list_take(&c->dirty)) != NULL) {
    struct bx_session *s = bx_container_of(link, struct bx_session, mark.dirty_link);

    s->mark.dirty = false;
    note(t, s);
    if (is_clean(s) && !c->leaving) {
      s->mark.covered = true;
      er_arguments_text(&live, bx_session_id(s));
      er_arguments_u64(&live, s->generation);
      lives++;
    } else {
      c->counters.exports++;
      er_arguments_stand(c, &exact, s);
      exacts++;
    }
  }
  add_list(args, &exact, exacts);
  add_list(args, &live, lives);
}

static void add_deadlines(struct er_core *c, struct er_arguments *args) {
  struct er_arguments list = {0};
  struct bx_list *link;
  size_t count = 0;

  while ((link = bx_list_take(&c->touched)) != NULL) {
    struct bx_session *s = bx_container_of(link, struct bx_session, mark.touched_link);

    s->mark.deadline_told = s->expiry.at;
    er_arguments_text(&list, bx_session_id(s));
    er_arguments_u64(&list, s->expiry.at > c->now ? s->expiry.at - c->now : 0);
    count++;
  }
  add_list(args, &list, count);
}

void er_marks_tick(struct er_core *c) {
  struct bx_server *server = c->engine.events.context;
  struct er_arguments args = {0};
  struct tick_call *t;

  if (c->ticking || !er_usable(c) || !c->warm || c->departing || c->left) return;
  t = bx_alloc(sizeof *t);
  t->call.done = ticked;
  t->sent = c->now;
  t->last = c->leaving;
  c->ticking = true;
  expire_lists(c);
  er_arguments_u64(&args, c->epoch);
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_u64(&args, c->head);
  er_arguments_u64(&args, server == NULL ? 0 : server->counters.sessions);
  er_arguments_u64(&args, mark(c));
  add_sessions(c, &args, t);
  add_deadlines(c, &args);
  if (c->oldest_mark + ER_MARK_LISTS > c->engine.tick + 1) open_list(c, ++c->engine.tick);
  er_send(c, ER_COMMAND, "tick", &args, &t->call);
}
