// SPDX-License-Identifier: Apache-2.0
// Invariants that are seen in what Redis holds and in what nodes remember: I1, I6, I7, I8, I10, I11.
// (I2 to I5 and I9 are in ledger.c, I12 in client.c.)
#include "engine-redis/core/private.h"
#include "tests/simulation/sim.h"

static uint64_t redis_now(const struct sim *s) { return s->redis.model->clock / 1000; }

static struct sim_value *record_of(struct sim *s, const struct sim_session *session) {
  return sim_key(s, SIM_NS ":session:%s", session->id);
}

static struct sim_node *node_named(struct sim *s, const char *name) {
  for (unsigned i = 0; i < s->nodes_made; i++)
    if (strcmp(s->all_nodes[i]->name, name) == 0) return s->all_nodes[i];
  return NULL;
}

// -- I6: one (n, g) at a time -----------------------------------------------------------------------

static bool is_script(const struct sim_exchange *e, const char *name) { return strcmp(e->name, name) == 0; }

static uint64_t deadline_of(struct sim *s, struct bx_slice id) {
  struct sim_value *all = sim_key(s, SIM_NS ":sessions");
  struct sim_item *item = all == NULL ? NULL : sim_value_find(all, id);

  return item == NULL ? 0 : (uint64_t)item->score;
}

static bool stands_at(struct sim_value *record, struct bx_slice n, struct bx_slice g) {
  struct sim_item *owner = record == NULL ? NULL : sim_value_find(record, BX_LIT("n"));

  return owner != NULL && bx_slice_equal(owner->value, n) && sim_field_u64(record, "g") == sim_text_u64(g);
}

void sim_check_before(struct sim *s, const struct sim_exchange *e, struct sim_before *b) {
  struct sim_value *record;

  *b = (struct sim_before){0};
  if (e->count < 4) return;
  if (is_script(e, "sub") || is_script(e, "unsub") || is_script(e, "release") || is_script(e, "end") ||
      is_script(e, "claim"))
    b->id = e->args[1];
  if (b->id.len == 0) return;
  record = sim_key(s, SIM_NS ":session:%.*s", (int)b->id.len, b->id.at);
  b->exists = record != NULL;
  b->deadline = deadline_of(s, b->id);
  b->owned = is_script(e, "claim") ? record != NULL && sim_field_u64(record, "g") == sim_text_u64(e->args[2])
                                   : stands_at(record, e->args[2], e->args[3]);
}

// ns e n incarnation head sessions mark N [id g k sent cid vary]xN M [id g]xM ...: a session that is not
// at (n, g) has to be among the refused.
static bool was_refused(const struct er_reply *r, struct bx_slice id) {
  for (size_t i = 4; i < r->count; i++) {
    struct bx_slice text = er_reply_text(r, i);   // the id, or id:reason
    bool ended = text.len > id.len && text.at[id.len] == ':';

    if (ended) text.len = id.len;
    if (bx_slice_equal(text, id)) return true;
  }
  return false;
}

static void check_tick(struct sim *s, const struct sim_exchange *e) {
  size_t exact = (size_t)sim_text_u64(e->args[7]), at = 8, live;

  if (!er_reply_is(e->reply, "OK")) return;
  live = (size_t)sim_text_u64(e->args[8 + 6 * exact]);
  for (size_t i = 0; i < exact + live; i++, at += i <= exact ? 6 : 2) {
    struct bx_slice id;

    if (i == exact) at = 9 + 6 * exact;
    id = e->args[at];
    if (stands_at(sim_key(s, SIM_NS ":session:%.*s", (int)id.len, id.at), e->args[2], e->args[at + 1])) continue;
    if (!was_refused(e->reply, id))
      sim_fail(s, "I6", "a tick of %.*s wrote %.6s at generation %.*s, which is not its own", (int)e->args[2].len,
               e->args[2].at, id.at, (int)e->args[at + 1].len, e->args[at + 1].at);
  }
}

#define SETTLE 3000   // ms of an epoch in which nobody claims

static uint64_t epoch_of(struct sim *s) { return sim_field_u64(sim_key(s, SIM_NS ":head"), "e"); }

// ns e n [id g k sent cid vary life user created nsubs [pattern start]xnsubs]... -> OK accepted...
static void see_resave(struct sim *s, const struct sim_exchange *e) {
  for (size_t i = 1; er_reply_is(e->reply, "OK") && i < e->reply->count; i++) {
    struct sim_session *session = sim_session_find(s, er_reply_text(e->reply, i));

    if (session != NULL) session->fragile = false;
  }
}

void sim_check_command(struct sim *s, const struct sim_exchange *e, const struct sim_before *b) {
  if (is_script(e, "tick")) check_tick(s, e);
  if (is_script(e, "resave")) see_resave(s, e);
  if (b->id.len == 0 || !er_reply_is(e->reply, "OK")) return;
  if (is_script(e, "claim")) {
    struct sim_session *session = sim_session_find(s, b->id);
    if (session != NULL) sim_incident(s, session);
    // An owner that takes longer than the others wait for it.
    if (session != NULL && session->fragile) session->excused |= redis_now(s) >= epoch_of(s) + SETTLE;
  }
  if (b->owned) return;
  if (is_script(e, "end") && (b->deadline <= redis_now(s) || sim_text_u64(e->args[6]) == 1)) return;   // by force
  sim_fail(s, "I6", "%s of %.6s was accepted from %.*s at %.*s, which does not own it", e->name, b->id.at,
           (int)e->args[2].len, e->args[2].at, (int)e->args[3].len, e->args[3].at);
}

// A node whose heartbeat has lapsed may not deliver on polls what another one owns.
void sim_check_poll(struct sim_node *n, const struct bx_session *session) {
  struct sim_value *record = sim_key(n->sim, SIM_NS ":session:%s", session->id);
  char owner[24];

  if (record == NULL || sim_field(record, "n", owner, sizeof owner) == NULL || strcmp(owner, n->name) == 0) return;
  if (sim_field_u64(record, "g") <= session->generation) return;   // of before a rollback
  if (sim_key(n->sim, SIM_NS ":node:%s", n->name) != NULL) return;
  sim_fail(n->sim, "I6", "%s delivers on a poll of %.6s, which %s owns, and its heartbeat has lapsed", n->name,
           session->id, owner);
}

// -- I7: the mark speaks the truth ------------------------------------------------------------------

// As claim reads it: "position:epoch"; that of another epoch than the record does not count.
static uint64_t mark_for(struct sim_value *marked, struct sim_value *record) {
  const char *colon = memchr(marked->text.at, ':', marked->text.len);
  size_t len = colon == NULL ? marked->text.len : (size_t)(colon - marked->text.at);
  uint64_t epoch = colon == NULL ? 0 : sim_text_u64((struct bx_slice){colon + 1, marked->text.len - len - 1});

  if (epoch != sim_field_u64(record, "e")) return sim_field_u64(record, "sent");
  return sim_text_u64((struct bx_slice){marked->text.at, len});
}

static void check_covered(struct sim *s, struct sim_session *session, struct sim_value *record) {
  uint64_t mark, g = sim_field_u64(record, "g");
  struct sim_value *marked;
  struct bx_session *b;
  struct sim_node *n;
  char text[24], owner[24];
  bx_position conf;

  if (sim_field(record, "k", text, sizeof text) == NULL || strcmp(text, "live") != 0) return;
  if (sim_field(record, "n", owner, sizeof owner) == NULL || (n = node_named(s, owner)) == NULL) return;
  marked = sim_key(s, SIM_NS ":mark:%s", owner);
  if (marked == NULL) {
    sim_fail(s, "I7", "the record of %.6s says live, and %s has no mark", session->id, owner);
    return;
  }
  mark = mark_for(marked, record);
  b = n->alive ? bx_server_find_session(n->server, bx_slice_of(session->id)) : NULL;
  if (b != NULL && b->generation == g)
    conf = bx_session_conf(n->server, b);
  else if (session->ghost[n->number].generation == g)
    conf = session->ghost[n->number].conf;
  else
    return;
  if (conf < mark)
    sim_fail(s, "I7", "%s's mark is %llu, and %.6s (c%u), which is live there, has confirmed %llu", owner,
             (unsigned long long)mark, session->id, session->client->number, (unsigned long long)conf);
}

static void check_record(struct sim *s, struct sim_session *session) {
  struct sim_value *record = record_of(s, session);
  uint64_t g;

  if (record == NULL) return;
  session->deadline = deadline_of(s, bx_slice_of(session->id));
  g = sim_field_u64(record, "g");
  if (g < session->generation)
    sim_fail(s, "I6", "the generation of %.6s fell from %llu to %llu", session->id,
             (unsigned long long)session->generation, (unsigned long long)g);
  session->generation = g;
  if (g > session->highest) session->highest = g;
  check_covered(s, session, record);
}

void sim_check_records(struct sim *s) {
  for (unsigned i = 0; i < s->session_count && !s->failed; i++)
    if (s->sessions[i]->events == 0 || s->rollbacks > 0) check_record(s, s->sessions[i]);
  sim_presence_check(s);
}

// -- I8: conf <= sent <= head; I11: the outbox ------------------------------------------------------

static void check_session(struct sim_node *n, const struct bx_session *b) {
  bx_position conf = bx_session_conf(n->server, b), sent = bx_session_sent(n->server, b);
  bx_position head = bx_journal_head(&n->server->journal);
  struct sim_session *session = sim_session_find(n->sim, bx_session_id(b));
  struct sim_value *record;

  if (conf > sent)
    sim_fail(n->sim, "I8", "%s: %.6s has conf %llu above sent %llu", n->name, b->id, (unsigned long long)conf,
             (unsigned long long)sent);
  if (b->outbox.count > BX_OUTBOX_FRAMES) sim_fail(n->sim, "I11", "%s: an outbox of %u", n->name, b->outbox.count);
  if (session == NULL || b->released) return;
  if (sent > head && sent > session->loaded_sent)
    sim_fail(n->sim, "I8", "%s: %.6s has sent %llu above the head %llu", n->name, b->id, (unsigned long long)sent,
             (unsigned long long)head);
  if (conf < session->conf[n->number])
    sim_fail(n->sim, "I8", "%s: conf of %.6s fell from %llu to %llu", n->name, b->id,
             (unsigned long long)session->conf[n->number], (unsigned long long)conf);
  session->conf[n->number] = conf;
  session->stood = er_conf(n->server, b);
  record = record_of(n->sim, session);
  if (record != NULL) check_covered(n->sim, session, record);
}

void sim_check_node(struct sim_node *n) {
  for (int state = 0; state < BX_SESSION_CLOSING && !n->sim->failed; state++)
    bx_list_each (link, &n->server->states[state])
      check_session(n, bx_container_of(link, struct bx_session, state_link));
}

// -- what is new in Redis: I1, I10 ------------------------------------------------------------------

static struct bx_slice field(const struct sim_entry *e, const char *name) {
  for (size_t i = 0; i + 1 < e->count; i += 2)
    if (bx_slice_equal(e->fields[i], bx_slice_of(name))) return e->fields[i + 1];
  return (struct bx_slice){"", 0};
}

// I1: up by one; a jump only over an epoch; nothing is used twice, also not what was rolled back.
static void see_entry(struct sim *s, const struct sim_entry *e) {
  bool epoch = bx_slice_equal(field(e, "k"), BX_LIT("epoch"));
  bx_position position = e->id.ms;

  if (position <= s->journal_max)
    sim_fail(s, "I1", "position %llu is used again (the highest was %llu)", (unsigned long long)position,
             (unsigned long long)s->journal_max);
  if (!epoch && s->journal_seen != 0 && position != s->journal_seen + 1)
    sim_fail(s, "I1", "position %llu follows %llu", (unsigned long long)position, (unsigned long long)s->journal_seen);
  s->journal_max = s->journal_seen = position;
  if (sim_presence_appended(s, field(e, "c"), field(e, "m"))) return;
  if (field(e, "k").len == 0) sim_ledger_appended(s, position, field(e, "m"));
}

static void see_journal(struct sim *s) {
  struct sim_value *v = sim_key(s, SIM_NS ":journal");
  size_t from;

  if (v == NULL) return;
  for (from = v->end; from > v->first && v->entries[from - 1].id.ms > s->journal_seen;) from--;
  for (; from < v->end; from++) see_entry(s, &v->entries[from]);
}

// It stood so far back that what it needs may have left a ring.
static bool may_be_lost(const struct sim *s, const struct sim_session *session) {
  return s->faults & SIM_TRIMS && s->journal_seen >= session->stood + s->ring;
}

// I10: one end, and for age only a life after the last connect.
static void see_end(struct sim *s, struct bx_slice id, struct bx_slice reason) {
  struct sim_session *session = sim_session_find(s, id);
  bool calm = s->now > s->last_trouble + SIM_MS(12000) || s->last_trouble == 0;

  if (session == NULL) return;
  SIM_TRACE(s, "the end of %.6s (c%u): %.*s", session->id, session->client->number, (int)reason.len, reason.at);
  session->events++;
  session->ended = s->now;
  if (session->events > 1 && s->last_rollback < session->created) sim_fail(s, "I10", "%.6s ends twice", session->id);
  if (bx_slice_equal(reason, BX_LIT("disconnect"))) {
    if (!session->disconnect_asked) sim_fail(s, "I10", "%.6s is disconnected, and nobody asked for it", session->id);
  } else if (bx_slice_equal(reason, BX_LIT("expired"))) {
    if (calm && s->now < session->last_connect + SIM_MS(SIM_LIFE - SIM_LIFE / 8 - 500))
      sim_fail(s, "I10", "%.6s expires although it connected %.0f ms ago", session->id,
               (double)(s->now - session->last_connect) / 1000);
  } else if (s->last_rollback < session->created && !may_be_lost(s, session)) {
    sim_fail(s, "I10", "%.6s is lost, and nothing was", session->id);
  }
}

static void see_events(struct sim *s) {
  struct sim_value *v = sim_key(s, SIM_NS ":events");
  size_t from;

  if (v == NULL) return;
  for (from = v->end; from > v->first && sim_id_compare(v->entries[from - 1].id, s->events_seen) > 0;) from--;
  for (; from < v->end; from++) {
    s->events_seen = v->entries[from].id;
    if (!bx_slice_equal(field(&v->entries[from], "k"), BX_LIT("disconnect"))) continue;
    see_end(s, field(&v->entries[from], "id"), field(&v->entries[from], "reason"));
  }
}

void sim_watch_redis(struct sim *s) {
  see_journal(s);
  see_events(s);
}

// The data is another: what it holds is not new.
void sim_watch_restored(struct sim *s) {
  struct sim_value *journal = sim_key(s, SIM_NS ":journal"), *events = sim_key(s, SIM_NS ":events");

  s->journal_seen = journal == NULL ? 0 : journal->last.ms;
  s->events_seen = events == NULL ? (struct sim_id){0} : events->last;
  sim_presence_restored(s);
  for (unsigned i = 0; i < s->session_count; i++) s->sessions[i]->generation = 0;
}

// -- the end ----------------------------------------------------------------------------------------

void sim_check_end(struct sim *s) {
  for (unsigned i = 0; i < s->node_count; i++) {
    struct sim_node *n = s->nodes[i];
    const struct bx_engine *engine = er_core_engine(n->core);
    const char *why = n->alive ? engine->ops->not_ready(engine) : "it is dead";

    if (why != NULL) sim_fail(s, "I12", "%s is not ready although all is calm: %s", n->name, why);
    if (n->alive && bx_journal_head(&n->server->journal) != s->journal_seen)
      sim_fail(s, "I1", "%s stands at %llu, the journal at %llu", n->name,
               (unsigned long long)bx_journal_head(&n->server->journal), (unsigned long long)s->journal_seen);
  }
}

static bool check_key(struct bx_table_node *node, void *context) {
  struct sim_value *v = bx_container_of(node, struct sim_value, node);
  struct sim *s = context;
  static const char *const prefixes[] = {SIM_NS ":session:", SIM_NS ":subs:", SIM_NS ":user:"};

  for (size_t i = 0; i < 3; i++)
    if (bx_slice_starts(v->key, bx_slice_of(prefixes[i])))
      sim_fail(s, "I11", "%.*s is left", (int)v->key.len, v->key.at);
  if (bx_slice_equal(v->key, BX_LIT(SIM_NS ":sessions")) && v->count > 0)
    sim_fail(s, "I11", "%zu ids are left in the set of sessions", v->count);
  if (bx_slice_starts(v->key, BX_LIT(SIM_NS ":inbox:")) && v->end - v->first > 10100)
    sim_fail(s, "I11", "%zu messages in an inbox", v->end - v->first);
  return !s->failed;
}

// I10 and I11 when everybody has left.
void sim_check_gone(struct sim *s) {
  sim_keys_expire(&s->redis.model->keys, redis_now(s));
  bx_table_each(&s->redis.model->keys.table, check_key, s);
  sim_presence_gone(s);
  for (unsigned i = 0; i < s->session_count; i++)
    if (s->sessions[i]->events == 0 && s->last_rollback < s->sessions[i]->created)
      sim_fail(s, "I10", "%.6s (c%u) has no end", s->sessions[i]->id, s->sessions[i]->client->number);
  for (unsigned i = 0; i < s->node_count; i++)
    if (s->nodes[i]->alive && s->nodes[i]->server->counters.sessions > 0)
      sim_fail(s, "I11", "%s still has %llu sessions", s->nodes[i]->name,
               (unsigned long long)s->nodes[i]->server->counters.sessions);
}
