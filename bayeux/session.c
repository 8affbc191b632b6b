// SPDX-License-Identifier: Apache-2.0
// Sessions: states, outbox, positions, subscriptions: see session.h.
#include "bayeux/reader.h"
#include "bayeux/server_private.h"

static const char *const state_names[BX_SESSION_STATES] = {"live", "reading", "away", "closing"};

// Which state may follow which: rows are from, columns are to.
static const bool may_follow[BX_SESSION_STATES][BX_SESSION_STATES] = {
    [BX_SESSION_LIVE] = {[BX_SESSION_READING] = true, [BX_SESSION_AWAY] = true, [BX_SESSION_CLOSING] = true},
    [BX_SESSION_READING] = {[BX_SESSION_LIVE] = true, [BX_SESSION_AWAY] = true, [BX_SESSION_CLOSING] = true},
    [BX_SESSION_AWAY] = {[BX_SESSION_READING] = true, [BX_SESSION_CLOSING] = true},
};

const char *bx_session_state_name(enum bx_session_state state) { return state_names[state]; }

static uint64_t *gauge(struct bx_server *server, enum bx_session_state state) {
  switch (state) {
  case BX_SESSION_LIVE: return &server->counters.live;
  case BX_SESSION_READING: return &server->counters.reading;
  case BX_SESSION_AWAY: return &server->counters.away;
  default: return &server->counters.closing;
  }
}

static void enlist(struct bx_server *server, struct bx_session *s, enum bx_session_state state) {
  s->state = state;
  bx_list_append(&server->states[state], &s->state_link);
  ++*gauge(server, state);
}

// The one mutator. What only one state has is made and dropped here.
void bx_session_set_state(struct bx_server *server, struct bx_session *s, enum bx_session_state state) {
  enum bx_session_state old = s->state;

  BX_BUG_ON(!may_follow[old][state]);
  BX_BUG_ON((state == BX_SESSION_LIVE || state == BX_SESSION_READING) && s->connection == NULL);
  if (old == BX_SESSION_LIVE) s->cursor = bx_journal_head(&server->journal);
  if (old == BX_SESSION_READING) bx_reader_stop(s);
  bx_list_remove(&s->state_link);
  --*gauge(server, old);
  if (old == BX_SESSION_LIVE || state == BX_SESSION_LIVE)
    bx_list_each (link, &s->subscriptions) {
      struct bx_subscription *sub = bx_subscription_of(link);
      bx_topic_set_live(sub->topic, sub, state == BX_SESSION_LIVE);
    }
  enlist(server, s, state);
  if (state == BX_SESSION_READING) bx_reader_start(server, s);
  bx_session_changed(server, s, false);
}

static void expire(struct bx_timer *timer) {
  struct bx_session *s = bx_container_of(timer, struct bx_session, expiry);

  bx_session_ask_end(s->server, s, s->lost ? BX_END_LOST : BX_END_EXPIRED);
}

struct bx_session *bx_session_create(struct bx_server *server, struct bx_slice id) {
  struct bx_session *s = bx_alloc_lines(sizeof *s + id.len + 1);

  memcpy(s->id, id.at, id.len);
  bx_table_insert(&server->sessions, &s->node, (struct bx_slice){s->id, id.len});
  bx_list_init(&s->state_link);
  bx_list_init(&s->read_link);
  bx_list_init(&s->subscriptions);
  bx_list_init(&s->mark.link);
  bx_list_init(&s->mark.dirty_link);
  bx_list_init(&s->mark.touched_link);
  bx_timer_init(&s->expiry, expire);
  bx_timer_init(&s->weigh, bx_session_weigh);
  s->server = server;
  s->cursor = s->written = s->conf = bx_journal_head(&server->journal);
  s->created = s->last_connect = server->now;
  s->generation = 1;
  s->settled = BX_ARRIVAL_YES;
  s->transport = "";
  enlist(server, s, BX_SESSION_AWAY);
  server->counters.sessions++;
  return s;
}

static char *copy(struct bx_slice text) {
  char *out = text.len == 0 ? NULL : bx_alloc(text.len + 1);

  if (out != NULL) memcpy(out, text.at, text.len);
  return out;
}

void bx_session_set_user(struct bx_session *s, struct bx_slice user) { s->user = copy(user); }
void bx_session_set_token(struct bx_session *s, struct bx_slice token) { s->token = copy(token); }

// -- positions -------------------------------------------------------------------------------------

bx_position bx_session_sent(const struct bx_server *server, const struct bx_session *s) {
  if (s->outbox.count > 0) return s->written;
  return s->state == BX_SESSION_LIVE ? bx_journal_head(&server->journal) : s->cursor;
}

bx_position bx_session_conf(const struct bx_server *server, const struct bx_session *s) {
  return s->pending ? s->conf : bx_session_sent(server, s);
}

bool bx_session_is_catching_up(const struct bx_session *s) {
  return s->state == BX_SESSION_READING && s->outbox.count == 0 && !s->ending && !bx_reader_waits(s);
}

// Backfills are to be read again from `floor` on, but no further back than what is confirmed.
static void backfill_again(struct bx_session *s, bx_position floor) {
  if (!s->backfilled) return;
  bx_list_each (link, &s->subscriptions) {
    struct bx_subscription *sub = bx_subscription_of(link);

    if (sub->upto <= floor) continue;
    sub->behind = true;
    sub->from = floor > sub->known ? floor : sub->known;
  }
}

static void confirm_backfills(struct bx_session *s) {
  if (!s->backfilled) return;
  s->backfilled = false;
  bx_list_each (link, &s->subscriptions) {
    struct bx_subscription *sub = bx_subscription_of(link);

    if (!sub->behind && s->outbox.count == 0 && s->reader == NULL) {
      sub->upto = 0;
      continue;
    }
    if (sub->behind && s->outbox.count == 0) sub->known = sub->from;
    s->backfilled = true;
  }
}

void bx_session_confirm_all(struct bx_server *server, struct bx_session *s) {
  s->conf = bx_session_sent(server, s);
  s->pending = false;
  s->arrived = s->handed;
  confirm_backfills(s);
  bx_session_changed(server, s, false);
}

void bx_session_confirm_ping(struct bx_server *server, struct bx_session *s, bx_position position) {
  if (!s->pending || s->ping_position == 0 || position != s->ping_position) return;
  s->ping_position = 0;
  s->arrived = s->ping_handed;
  if (s->handed == s->ping_handed)
    bx_session_confirm_all(server, s);
  else if (position > s->conf)
    s->conf = position;
  bx_session_changed(server, s, true);
}

static void go_back(struct bx_session *s, bx_position to) {
  s->cursor = to;
  if (s->passed > to) s->passed = to;
}

// later: how much of it comes again is not known yet.
static void fall_back(struct bx_server *server, struct bx_session *s, bool later) {
  bx_position sent = bx_session_sent(server, s);

  BX_BUG_ON(s->state == BX_SESSION_LIVE || s->outbox.count > 0);
  if (!s->pending) return;
  server->counters.fallbacks++;
  if (!later && s->again <= s->conf)
    server->counters.resent += s->handed - s->arrived;
  else if (sent > s->again)
    s->again = sent;
  s->sequence -= s->handed - s->arrived;
  s->arrived = s->handed;
  s->pending = false;
  go_back(s, s->conf);
  backfill_again(s, 0);
  bx_session_changed(server, s, false);
}

void bx_session_fall_back(struct bx_server *server, struct bx_session *s) { fall_back(server, s, false); }
void bx_session_lose_stream(struct bx_server *server, struct bx_session *s) { fall_back(server, s, true); }

// A connection that ended had put `sent` back: then the position is above it, up to the head. Backfills
// are not in order of position: while one is not confirmed, it is read again.
bool bx_session_confirm_until(struct bx_server *server, struct bx_session *s, bx_position position) {
  bx_position sent = bx_session_sent(server, s), head = bx_journal_head(&server->journal);

  BX_BUG_ON(s->connection != NULL);
  if (position < bx_session_conf(server, s)) return false;
  if (position > sent && (s->pending || position > head)) return false;
  if (!s->pending) {
    s->cursor = position;
    bx_session_changed(server, s, false);
  } else if (position == sent && !s->backfilled) {
    bx_session_confirm_all(server, s);
  } else {
    s->conf = position;
    bx_session_lose_stream(server, s);
  }
  return true;
}

// -- connections -----------------------------------------------------------------------------------

void bx_session_attach(struct bx_server *server, struct bx_session *s, struct bx_connection *c) {
  BX_BUG_ON(s->state != BX_SESSION_AWAY || c->session != NULL);
  s->connection = c;
  c->session = s;
  s->transport = c->transport;
  bx_session_set_state(server, s, BX_SESSION_READING);
}

// Lets go of frames that were not handed over: the cursor stays in front of them. The pass that fed
// them stops first, so that what it notes of a backfill is overruled.
static void unqueue(struct bx_server *server, struct bx_session *s) {
  if (s->state == BX_SESSION_READING) bx_reader_stop(s);
  if (s->outbox.count == 0) return;
  backfill_again(s, bx_outbox_first(&s->outbox)->position - 1);   // an outbox is in order of position
  bx_outbox_drop(&server->outboxes, &s->outbox);
}

void bx_session_detach(struct bx_server *server, struct bx_session *s) {
  bx_position sent = bx_session_sent(server, s);

  if (s->connection == NULL) return;
  bx_wheel_cancel(&server->wheel, &s->weigh);
  unqueue(server, s);
  if (s->state != BX_SESSION_CLOSING) {
    bx_session_set_state(server, s, BX_SESSION_AWAY);
    go_back(s, sent);
  }
  s->ping_position = 0;   // a pong of another connection does not speak for it
  s->connection->session = NULL;
  s->connection = NULL;
}

// -- delivery --------------------------------------------------------------------------------------

// The twin of an entry that it had before a rollback.
static bool had(const struct bx_session *s, bx_position was) { return was != 0 && was <= s->passed; }

// The outbox of a live session is not empty any more: what stands before `first` was handed over.
static void begin_waiting(struct bx_server *server, struct bx_session *s, bx_position first) {
  s->written = first - 1;
  if (!s->pending) bx_session_changed(server, s, false);
  bx_connection_wake(s->connection);
}

void bx_session_push(struct bx_server *server, struct bx_session *s, struct bx_frame *frame, bx_position was) {
  if (s->last_pushed >= frame->position || had(s, was)) return;
  s->last_pushed = frame->position;
  if (!bx_outbox_has_room(&server->outboxes, &s->outbox, frame)) {
    server->counters.overflows++;
    bx_session_set_state(server, s, BX_SESSION_READING);
    s->cursor = frame->position - 1;
    return;
  }
  bx_outbox_put(&server->outboxes, &s->outbox, frame);
  if (s->outbox.count == 1) begin_waiting(server, s, frame->position);
}

bool bx_session_push_all(struct bx_server *server, struct bx_session *s, const struct bx_run *run) {
  if (s->outbox.count > 0 || run->bytes > server->outboxes.max_bytes) return false;
  s->last_pushed = run->frames[run->count - 1]->position;
  bx_outbox_fill(&server->outboxes, &s->outbox, run->frames, run->count, run->bytes);
  begin_waiting(server, s, run->frames[0]->position);
  return true;
}

bool bx_session_feed(struct bx_server *server, struct bx_session *s, const struct bx_entry *e) {
  if (had(s, e->was)) return true;
  if (!bx_outbox_has_room(&server->outboxes, &s->outbox, e->frame)) return false;
  if (s->outbox.count == 0) s->written = e->position > s->cursor ? e->position - 1 : s->cursor;
  bx_outbox_put(&server->outboxes, &s->outbox, e->frame);
  if (e->position > s->cursor) s->cursor = e->position;
  if (s->outbox.count == 1) bx_connection_wake(s->connection);
  return true;
}

// `count` messages of the outbox, the last of which has this position, are the connection's.
static void handed_over(struct bx_server *server, struct bx_session *s, uint32_t count, bx_position last) {
  s->told = BX_TOLD_NOTHING;
  if (!s->pending) {
    s->pending = true;
    if (s->written > s->conf) s->conf = s->written;
  }
  if (last > s->written) s->written = last;
  s->handed += count;
  s->sequence += count;
  server->counters.delivered += count;
  if (s->outbox.count == 0 && s->state == BX_SESSION_READING) bx_reader_start(server, s);
}

struct bx_frame *bx_session_hand_over(struct bx_server *server, struct bx_session *s) {
  struct bx_frame *f;

  if (s->outbox.count == 0) return NULL;
  f = bx_outbox_take(&server->outboxes, &s->outbox);
  if (f->position <= s->again) server->counters.resent++;
  handed_over(server, s, 1, f->position);
  return f;
}

struct bx_frame *bx_session_hand_over_joined(struct bx_server *server, struct bx_session *s, size_t max) {
  uint32_t count = s->outbox.count;
  bx_position last;
  struct bx_frame *joined;

  if (count < 2 || bx_outbox_first(&s->outbox)->position <= s->again) return NULL;
  joined = bx_outbox_join(&server->outboxes, &s->outbox, max);
  if (joined == NULL) return NULL;
  last = bx_outbox_last(&s->outbox)->position;
  bx_outbox_drop(&server->outboxes, &s->outbox);
  handed_over(server, s, count, last);
  return joined;
}

size_t bx_session_next_bytes(const struct bx_session *s) {
  return s->outbox.count == 0 ? 0 : bx_outbox_first(&s->outbox)->len;
}

// -- subscriptions ---------------------------------------------------------------------------------

struct bx_subscription *bx_session_find_subscription(const struct bx_session *s, const struct bx_topic *t) {
  // The shorter of the two lists.
  if (t->count < s->subscription_count) {
    for (uint32_t i = 0; i < t->count; i++)
      if (t->places[i].session == s) return t->places[i].subscription;
    return NULL;
  }
  for (struct bx_list *link = s->subscriptions.next; link != &s->subscriptions; link = link->next)
    if (bx_subscription_of(link)->topic == t) return bx_subscription_of(link);
  return NULL;
}

void bx_session_read_again(struct bx_server *server, struct bx_session *s) {
  bx_position sent = bx_session_sent(server, s);

  if (s->state != BX_SESSION_LIVE && s->state != BX_SESSION_READING) return;
  unqueue(server, s);
  if (s->state == BX_SESSION_LIVE)
    bx_session_set_state(server, s, BX_SESSION_READING);
  else
    bx_reader_start(server, s);
  go_back(s, sent);
}

bool bx_session_subscribe(struct bx_server *server, struct bx_session *s, struct bx_slice pattern, bx_position start) {
  struct bx_topic *t = bx_journal_topic(&server->journal, pattern);
  const struct bx_entry *newest = bx_journal_at(&server->journal, t->newest);
  struct bx_subscription *sub;

  if (bx_session_find_subscription(s, t) != NULL) return false;
  sub = bx_alloc(sizeof *sub);
  sub->session = s;
  sub->start = start;
  sub->noted = s->recorded;   // perhaps: entries came before it was recorded
  bx_topic_add(t, sub);
  bx_list_append(&s->subscriptions, &sub->link);
  s->subscription_count++;
  server->counters.subscriptions++;
  server->counters.subscribes++;
  sub->present = server->presence != NULL && bx_server_counts(server, pattern);
  if (sub->present) bx_presence_enter(server->presence, pattern, bx_session_user(s));
  if (s->state == BX_SESSION_LIVE) bx_topic_set_live(t, sub, true);
  if ((newest != NULL && newest->position > start) || t->trimmed > start) {
    // Entries of (start, head] came before the subscription was in the index; some may be lost already.
    sub->behind = start < bx_session_sent(server, s);
    sub->from = sub->known = start;
    s->backfilled |= sub->behind;
    bx_session_read_again(server, s);
  } else if (s->state == BX_SESSION_READING) {
    bx_session_read_again(server, s);   // its pass has walked past this subscription
  }
  return true;
}

void bx_session_restore(struct bx_server *server, struct bx_session *s, struct bx_slice pattern, bx_position start,
                        bx_position upto) {
  struct bx_topic *t = bx_journal_topic(&server->journal, pattern);
  struct bx_subscription *sub;

  if (bx_session_find_subscription(s, t) != NULL) return;
  sub = bx_alloc(sizeof *sub);
  *sub = (struct bx_subscription){.session = s, .start = start, .known = start, .from = start, .noted = upto > 0};
  // What was backfilled elsewhere and not confirmed comes again. Something behind it was: so was it.
  sub->behind = upto >= s->conf && upto > 0;
  sub->upto = sub->behind ? upto : 0;
  sub->adopted = true;
  s->backfilled |= sub->behind;
  bx_topic_add(t, sub);
  bx_list_append(&s->subscriptions, &sub->link);
  s->subscription_count++;
  server->counters.subscriptions++;
}

void bx_session_drop_subscription(struct bx_server *server, struct bx_session *s, struct bx_subscription *sub) {
  struct bx_topic *t = sub->topic;

  if (sub->present) bx_presence_leave(server->presence, bx_topic_pattern(t), bx_session_user(s));
  bx_topic_remove(t, sub);
  bx_topics_drop_if_unused(&server->topics, t);
  bx_list_remove(&sub->link);
  s->subscription_count--;
  server->counters.subscriptions--;
  bx_free(sub);
}

bool bx_session_unsubscribe(struct bx_server *server, struct bx_session *s, struct bx_slice pattern) {
  struct bx_topic *t = bx_topics_find(&server->topics, pattern);
  struct bx_subscription *sub = t == NULL ? NULL : bx_session_find_subscription(s, t);

  if (sub == NULL) return false;
  if (s->state == BX_SESSION_READING || s->outbox.count > 0) bx_session_read_again(server, s);
  bx_session_drop_subscription(server, s, sub);
  server->counters.unsubscribes++;
  return true;
}
