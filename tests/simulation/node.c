// SPDX-License-Identifier: Apache-2.0
// A node: a server on a core, its turns and ticks, and its death. See sim.h.
#include "tests/simulation/sim.h"

#define CLOCK_ZERO 1000   // ms: what a node's clock says when the run begins

static void turn(struct sim *, void *what);
static void tick(struct sim *, void *what);

bx_millis sim_node_now(struct sim_node *n) {
  bx_millis now = (bx_millis)((int64_t)(CLOCK_ZERO + n->sim->now / 1000) + n->clock_offset);

  if (now > n->last_now) n->last_now = now;
  return n->last_now;
}

// -- what the server and the core ask for -----------------------------------------------------------

static void fill(void *context, void *bytes, size_t count) {
  struct sim_node *n = context;

  for (size_t i = 0; i < count; i++) ((unsigned char *)bytes)[i] = (unsigned char)(sim_random(n->sim) >> 56);
}

static bx_millis now(void *context) { return sim_node_now(context); }

static void core_send(void *context, enum er_which which, const char *name, const struct bx_slice *args, size_t count) {
  struct sim_node *n = context;
  struct bx_slice copy[64], *at = (struct bx_slice *)args;
  char mark[24];

  if (!n->alive) return;
  if (n->sim->broken == SIM_BREAK_MARK_FIRST && strcmp(name, "tick") == 0) {
    memcpy(copy, args, (count < 64 ? count : 64) * sizeof *copy);
    at = count <= 64 ? copy : at;
    sim_break_tick(n, copy, mark);
  }
  sim_link_send(n->sim, n, which, name, at, count);
}

struct reset {
  struct sim_node *node;
  struct sim_connection *connection;
  enum er_which which;
};

static void do_reset(struct sim *s, void *what) {
  struct reset *r = what;

  if (!r->node->alive || r->node->links[r->which].connection != r->connection || sim_node_defer(r->node, do_reset, r))
    return;
  sim_link_drop(s, r->node, r->which, "asked for");
}

static void core_reset(void *context, enum er_which which, const char *why) {
  struct sim_node *n = context;
  struct reset *r;

  if (!n->alive) return;
  SIM_TRACE(n->sim, "%s: resets its link: %s", n->name, why);
  r = sim_new(n->sim, sizeof *r);
  *r = (struct reset){n, n->links[which].connection, which};
  sim_in(n->sim, 10, do_reset, r);
}

static void core_event(void *context, const char *id, struct bx_slice detail) {
  struct sim_node *n = context;

  if (!n->alive) return;
  SIM_TRACE(n->sim, "%s: %s %.*s", n->name, id, (int)detail.len, detail.at);
  if (strcmp(id, "engine.malformed") == 0)
    sim_fail(n->sim, "wire", "%s found something malformed: %.*s", n->name, (int)detail.len, detail.at);
}

// -- what the core tells the server, listened to ----------------------------------------------------

static struct sim_node *node_of(void *context) {
  struct bx_server *server = context;
  return server->env.context;
}

static void remember(struct sim_node *n, const struct bx_session *b, bx_position conf) {
  struct sim_session *s = sim_session_find(n->sim, bx_session_id(b));

  if (s != NULL) s->ghost[n->number] = (struct sim_ghost){conf, b->generation};
}

static void released(void *context, struct bx_session *b, struct bx_record *out) {
  struct sim_node *n = node_of(context);
  struct sim_session *s = sim_session_find(n->sim, bx_session_id(b));

  // Before the echo of its close came.
  if (s != NULL && b->connection != NULL && b->connection->kind == BX_CONNECTION_STREAM) sim_incident(n->sim, s);
  n->events.release(context, b, out);
  remember(n, b, out->conf);
  SIM_TRACE(n->sim, "%s: releases %.6s conf %llu sent %llu", n->name, b->id, (unsigned long long)out->conf,
            (unsigned long long)out->sent);
}

static void forgotten(void *context, struct bx_session *b) {
  struct sim_node *n = node_of(context);
  struct sim_session *s = sim_session_find(n->sim, bx_session_id(b));

  if (!b->released) remember(n, b, bx_session_conf(n->server, b));
  if (!b->released && s != NULL) sim_incident(n->sim, s);
  SIM_TRACE(n->sim, "%s: forgets %.6s", n->name, b->id);
  n->events.forget(context, b);
}

static struct bx_session *adopted(void *context, const struct bx_record *r) {
  struct sim_node *n = node_of(context);
  struct sim_session *s = sim_session_find(n->sim, r->id);

  if (s != NULL) {
    if (r->sent > s->loaded_sent) s->loaded_sent = r->sent;   // a copy that was claimed from goes on for a while
    s->conf[n->number] = 0;                                   // another copy
  }
  SIM_TRACE(n->sim, "%s: adopts %.6s g %u conf %llu sent %llu head %llu", n->name, r->id.at, r->generation,
            (unsigned long long)r->conf, (unsigned long long)r->sent,
            (unsigned long long)bx_journal_head(&n->server->journal));
  return n->events.adopt(context, r);
}

static void ended(void *context, struct bx_session *b, struct bx_slice reason) {
  struct sim_node *n = node_of(context);

  SIM_TRACE(n->sim, "%s: hears of the end of %.6s", n->name, b->id);
  n->events.ended(context, b, reason);
}

static void listen(struct sim_node *n) {
  struct bx_engine_events *e = &er_core_engine(n->core)->events;

  n->events = *e;
  e->release = released;
  e->forget = forgotten;
  e->adopt = adopted;
  e->ended = ended;
}

// Just before a verb acts: where this node stands when a subscription arrives.
static const char *incoming(struct bx_extension *x, const struct bx_incoming *in) {
  struct sim_node *n = bx_container_of(x, struct sim_node, probe);
  struct bx_slice pattern;
  bx_position head = bx_journal_head(&n->server->journal), sent;
  struct sim_session *s;
  struct sim_sub *sub;

  if (!n->alive || in->session == NULL || !bx_slice_equal(in->channel, BX_LIT("/meta/subscribe"))) return NULL;
  s = sim_session_find(n->sim, bx_session_id(in->session));
  if (s == NULL) return NULL;
  sent = bx_session_sent(n->server, in->session);
  if (sent > head) head = sent;   // further on where it came from
  pattern = bx_value_inside(&in->message->subscription);
  sub = sim_sub_of(s, pattern);
  if (!sub->executed || head < sub->least) sub->least = head;
  if (!sub->acked && head > sub->most) sub->most = head;
  sub->executed = true;
  sub->executed_at = n->sim->now;
  SIM_TRACE(n->sim, "%s: %.6s subscribes to %.*s at %llu", n->name, s->id, (int)pattern.len, pattern.at,
            (unsigned long long)head);
  return NULL;
}

static void told(void *context, enum bx_event event, const struct bx_session *b, struct bx_slice detail) {
  struct sim_node *n = context;

  if (n->alive && event == BX_EVENT_DISCONNECT)
    SIM_TRACE(n->sim, "%s: %.6s ended: %.*s", n->name, b->id, (int)detail.len, detail.at);
}

static void applied(void *context, const struct bx_entry *e) {
  struct sim_node *n = context;

  if (n->alive) sim_ledger_applied(n, e);
}

// -- life -------------------------------------------------------------------------------------------

static struct bx_server_options options(const struct sim *s) {
  return (struct bx_server_options){
      .message = {.depth = 32, .batch = 100, .members = 64},
      .journal = {.messages = s->ring, .bytes = 64 << 20, .age = 300000},
      .max_sessions = 1000,
      .max_subscriptions = 100,
      .max_channel_length = 100,
      .max_channel_depth = 8,
      .max_outbox_bytes = 65536,
      .max_replies_bytes = 1 << 20,
      .max_waiting_bytes = 4 << 20,
      .max_all_waiting = 256 << 20,
      .handshake_rate = 1000,
  };
}

static void build(struct sim *s, struct sim_node *n) {
  struct er_core_env core_env = {.context = n, .send = core_send, .reset = core_reset, .event = core_event};
  struct bx_env env = {.context = n, .random = fill, .now = now, .event = told, .appended = applied};
  struct er_core_options o = {.ns = BX_LIT(SIM_NS),
                              .node = bx_slice_of(n->name),
                              .role = BX_LIT("broker"),
                              .address = bx_slice_of(n->name),
                              .command_timeout = SIM_COMMAND_TIMEOUT,
                              .life = SIM_LIFE,
                              .journal_messages = s->ring};
  struct bx_server_options server_options = options(s);

  n->core = er_core_create(&core_env, &o, sim_node_now(n));
  sim_break_node(s, n);
  n->server = bx_server_create(&env, &server_options, er_core_engine(n->core), sim_node_now(n));
  sim_presence_guard(n);
  n->probe.incoming = incoming;
  bx_server_extend(n->server, &n->probe);
  listen(n);
}

static void ping(struct sim *s, void *what) {
  struct sim_node *n = what;

  if (!n->alive || sim_node_defer(n, ping, n)) return;
  sim_wire_ping(n);
  sim_in(s, SIM_MS(500), ping, n);
}

void sim_node_start(struct sim *s, unsigned slot) {
  struct sim_node *n = sim_new(s, sizeof *n);

  BX_BUG_ON(s->nodes_made == SIM_MADE);
  n->sim = s;
  n->slot = slot;
  n->number = s->nodes_made;
  s->all_nodes[s->nodes_made++] = n;
  s->nodes[slot] = n;
  snprintf(n->name, sizeof n->name, "%c%u", 'A' + (int)slot, s->nodes_made);
  n->alive = true;
  n->clock_offset = (int64_t)sim_uniform(s, 0, 100000);
  n->mount = (struct bx_mount){.path = BX_LIT("/bayeux"), .timeout = SIM_TIMEOUT};
  SIM_TRACE(s, "%s starts", n->name);
  build(s, n);
  sim_link_open(s, n, ER_COMMAND);
  sim_link_open(s, n, ER_TAIL);
  sim_in(s, sim_uniform(s, 0, 200000), tick, n);
  sim_in(s, sim_uniform(s, 0, 500000), ping, n);
  sim_node_woken(n);
}

static void start_again(struct sim *s, void *what) {
  unsigned slot = ((struct sim_node *)what)->slot;

  if (s->nodes[slot] == what && s->nodes_made < SIM_MADE) sim_node_start(s, slot);
}

// kill -9: what it had in memory is gone. For the checks it is looked at once more.
void sim_node_crash(struct sim *s, unsigned slot) {
  struct sim_node *n = s->nodes[slot];

  if (!n->alive) return;
  SIM_TRACE(s, "%s is killed", n->name);
  s->totals->crashes++;
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &n->server->states[state]) {
      struct bx_session *b = bx_container_of(link, struct bx_session, state_link);
      struct sim_session *session = sim_session_find(s, bx_session_id(b));

      if (!b->released) remember(n, b, bx_session_conf(n->server, b));
      if (session == NULL) continue;
      sim_incident(s, session);
      session->excused |= session->fragile;
    }
  n->alive = false;
  sim_link_forsake(s, n);
  sim_wires_crash(n);
  sim_node_destroy(n);
  sim_in(s, SIM_MS(sim_uniform(s, 100, 4000)), start_again, n);
}

// Everything is over in time, and it has told the others.
static void retire(struct sim *s, struct sim_node *n) {
  SIM_TRACE(s, "%s has left", n->name);
  s->totals->leaves++;
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &n->server->states[state]) {
      struct bx_session *b = bx_container_of(link, struct bx_session, state_link);

      if (!b->released) remember(n, b, bx_session_conf(n->server, b));
    }
  n->alive = false;
  sim_link_forsake(s, n);
  sim_node_destroy(n);
  sim_in(s, SIM_MS(sim_uniform(s, 100, 4000)), start_again, n);
}

// As the daemon does it: it waits for connections to end, then for its last tick to be answered, and not for ever.
static void leave_on(struct sim *s, void *what) {
  struct sim_node *n = what;
  bool over = s->now >= n->leave_by;

  if (!n->alive || sim_node_defer(n, leave_on, n)) return;
  if (!n->departing && bx_list_empty(&n->server->connections)) {
    n->departing = true;
    er_core_leave(n->core, sim_node_now(n));
  } else if (n->departing && n->links[ER_COMMAND].connection != NULL && er_core_has_left(n->core)) {
    retire(s, n);
    return;
  }
  if (over) {
    sim_node_crash(s, n->slot);
    return;
  }
  sim_in(s, SIM_MS(20), leave_on, n);
}

void sim_node_leave(struct sim *s, unsigned slot) {
  struct sim_node *n = s->nodes[slot];

  if (!n->alive || n->draining) return;
  SIM_TRACE(s, "%s is told to stop", n->name);
  n->draining = true;
  n->leave_by = s->now + SIM_MS(5000);
  bx_server_drain(n->server);
  sim_node_woken(n);
  leave_on(s, n);
}

static void count(struct sim_node *n) {
  struct sim_totals *t = n->sim->totals;
  const struct bx_counters *c = &n->server->counters;
  const struct er_counters *e = er_core_counters(n->core);

  t->moves += c->moves;
  t->forced += c->forced_moves;
  t->lost += c->lost_sessions;
  t->repeats += c->resent;
  t->deliveries += c->delivered;
  t->epochs += e->epochs;
  t->released += e->released;
  t->relayed += e->calls;
  t->not_recovered += e->not_recovered;
  t->gaps += c->gaps;
}

void sim_node_destroy(struct sim_node *n) {
  if (n->server == NULL) return;
  if (n->alive) sim_wires_crash(n);
  n->alive = false;
  count(n);
  bx_server_destroy(n->server, NULL);
  n->server = NULL;
}

// -- time -------------------------------------------------------------------------------------------

void sim_node_stall(struct sim *s, struct sim_node *n, sim_time until) {
  if (!n->alive || until <= n->stalled) return;
  SIM_TRACE(s, "%s has no time for %.0f ms", n->name, (double)(until - s->now) / 1000);
  s->totals->stalls++;
  n->stalled = until;
  sim_incident_all(s);
}

bool sim_node_defer(struct sim_node *n, sim_fire *fire, void *what) {
  if (n->stalled <= n->sim->now) return false;
  sim_at(n->sim, n->stalled, fire, what);
  return true;
}

static void turn_at(struct sim_node *n, sim_time at) {
  if (n->turn_at != 0 && n->turn_at <= at) return;
  n->turn_at = at == 0 ? 1 : at;
  sim_at(n->sim, at, turn, n);
}

void sim_node_woken(struct sim_node *n) {
  if (n->alive) turn_at(n, n->sim->now + sim_uniform(n->sim, 10, 300));
}

static void turn(struct sim *s, void *what) {
  struct sim_node *n = what;
  bx_millis deadline, clock;

  if (!n->alive || n->turn_at > s->now || n->turn_at == 0) return;   // another one is on the queue
  if (sim_node_defer(n, turn, n)) {
    n->turn_at = n->stalled;
    return;
  }
  n->turn_at = 0;
  clock = sim_node_now(n);
  if (bx_server_turn(n->server, clock)) turn_at(n, s->now + 50);
  sim_wire_drain(n);
  sim_check_node(n);
  deadline = bx_server_deadline(n->server);
  if (deadline <= clock)
    turn_at(n, s->now + 50);
  else if (deadline != BX_NEVER)
    turn_at(n, s->now + SIM_MS(deadline - clock));
}

static void tick(struct sim *s, void *what) {
  struct sim_node *n = what;

  if (!n->alive || sim_node_defer(n, tick, n)) return;
  sim_link_watch(s, n);
  er_core_tick(n->core, sim_node_now(n));
  sim_node_woken(n);
  sim_in(s, SIM_MS(ER_TICK), tick, n);
}
