// SPDX-License-Identifier: Apache-2.0
// The Redis process of a run, and the links to it: commands travel, wait, are executed, perhaps long
// after their link was given up; replies travel back. See sim.h.
#include "tests/simulation/sim.h"

#include <stdarg.h>

#define TAIL_TIMEOUT SIM_MS(3000)
#define BACKOFF_MAX 2000   // ms

static void run(struct sim *, void *what);
static void output(struct sim *, void *what);

// -- keys -------------------------------------------------------------------------------------------

static void set_clock(struct sim *s) {
  s->redis.model->clock = (uint64_t)((int64_t)(SIM_EPOCH + s->now) + s->redis.clock_offset);
}

struct sim_value *sim_key(struct sim *s, const char *format, ...) {
  char key[128];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(key, sizeof key, format, arguments);
  va_end(arguments);
  set_clock(s);
  return sim_keys_find(&s->redis.model->keys, bx_slice_of(key), s->redis.model->clock / 1000);
}

const char *sim_field(struct sim_value *v, const char *name, char *out, size_t size) {
  struct sim_item *item = v == NULL ? NULL : sim_value_find(v, bx_slice_of(name));

  if (item == NULL) return NULL;
  snprintf(out, size, "%.*s", (int)item->value.len, item->value.at);
  return out;
}

uint64_t sim_text_u64(struct bx_slice text) {
  uint64_t n = 0;
  return er_text_u64(text, &n) ? n : 0;
}

uint64_t sim_field_u64(struct sim_value *v, const char *name) {
  struct sim_item *item = v == NULL ? NULL : sim_value_find(v, bx_slice_of(name));
  return item == NULL ? 0 : sim_text_u64(item->value);
}

// -- the process ------------------------------------------------------------------------------------

static void new_run(struct sim *s) {
  snprintf(s->redis.model->run_id, sizeof s->redis.model->run_id, "run%u", ++s->redis.runs);
}

void sim_redis_start(struct sim *s) {
  s->redis.model = sim_redis_create(SIM_EPOCH, "run0");
  bx_list_init(&s->redis.connections);
  sim_break_scripts(s);
}

void sim_redis_stop(struct sim *s) {
  bx_list_each (link, &s->redis.connections) {
    struct sim_connection *c = bx_container_of(link, struct sim_connection, link);

    bx_list_each (e, &c->replies) sim_reply_destroy(bx_container_of(e, struct sim_exchange, link)->reply);
  }
  sim_snapshot_destroy(s->redis.replica);
  sim_redis_destroy(s->redis.model);
}

void sim_redis_pause(struct sim *s, bool paused) {
  if (s->redis.paused == paused) return;
  SIM_TRACE(s, "redis %s", paused ? "has no time" : "goes on");
  s->redis.paused = paused;
  if (paused) return;
  bx_list_each (link, &s->redis.connections)
    sim_in(s, sim_uniform(s, 0, 2000), run, bx_container_of(link, struct sim_connection, link));
}

static void came_back(struct sim *s, void *unused) {
  (void)unused;
  s->redis.down = false;
  SIM_TRACE(s, "redis is back: %s", s->redis.model->run_id);
}

// Whoever is connected hears of it soon.
static void reset_by_redis(struct sim *s, void *what) {
  struct sim_connection *c = what;

  if (c->ours) sim_link_drop(s, c->node, c->which, "connection reset");
}

void sim_redis_crash(struct sim *s, sim_time downtime, struct sim_keys *data) {
  SIM_TRACE(s, "redis %s", data == NULL ? "restarts with its data" : "fails over to its replica");
  s->redis.down = true;
  s->redis.paused = false;
  bx_list_each (link, &s->redis.connections) {
    struct sim_connection *c = bx_container_of(link, struct sim_connection, link);

    if (c->dead) continue;
    c->dead = true;
    sim_in(s, sim_uniform(s, 100, 20000), reset_by_redis, c);
  }
  new_run(s);
  if (data != NULL) {
    sim_redis_restore(s->redis.model, data);
    sim_ledger_rolled_back(s, sim_field_u64(sim_key(s, SIM_NS ":head"), "p"));
    sim_watch_restored(s);
  }
  sim_in(s, downtime, came_back, NULL);
}

void sim_redis_flush(struct sim *s) {
  SIM_TRACE(s, "FLUSHALL");
  sim_keys_clear(&s->redis.model->keys);
  sim_ledger_rolled_back(s, 0);
  sim_watch_restored(s);
}

// -- executing --------------------------------------------------------------------------------------

static void trace_reply(struct sim *s, const struct sim_connection *c, const struct sim_exchange *e) {
  struct bx_slice first = er_reply_text(e->reply, 0), second = er_reply_text(e->reply, 1);
  char line[400];
  size_t len = 0;

  if (strcmp(e->name, "XREAD") == 0 || strcmp(e->name, "XRANGE") == 0) return;
  for (size_t i = 1; i < e->count && len < 300; i++)
    len += (size_t)snprintf(line + len, sizeof line - len, " %.*s", (int)(e->args[i].len > 90 ? 90 : e->args[i].len),
                            e->args[i].at);
  line[len] = '\0';
  sim_trace(s, "redis: %s%s %s%s -> %.*s %.*s%s", c->node->name, c->ours ? "" : " (closed)", e->name, line,
            (int)first.len, first.at, (int)second.len, second.at, er_reply_is_error(e->reply) ? " ERROR" : "");
}

static void wake_blocked(struct sim *s) {
  for (unsigned i = 0; i < s->nodes_made; i++) {
    struct sim_connection *c = s->all_nodes[i]->links[ER_TAIL].connection;

    if (c != NULL && c->blocked_until != 0) sim_at(s, s->now, run, c);
  }
}

static bool blocks(const struct sim_exchange *e) {
  return strcmp(e->name, "XREAD") == 0 && e->count > 0 && bx_slice_equal(e->args[0], BX_LIT("BLOCK"));
}

static void execute(struct sim *s, struct sim_connection *c, struct sim_exchange *e) {
  uint64_t writes = s->redis.model->writes;
  struct sim_before before;

  set_clock(s);
  sim_check_before(s, e, &before);
  e->reply = sim_redis_call(s->redis.model, e->name, e->args, e->count);
  if (blocks(e) && e->reply->type == ER_REPLY_NIL) {
    if (c->blocked_until == 0) {
      c->blocked_until = s->now + SIM_MS(sim_text_u64(e->args[1]));
      sim_at(s, c->blocked_until, run, c);
    }
    if (s->now < c->blocked_until) {
      sim_reply_destroy(e->reply);
      e->reply = NULL;
      return;
    }
  }
  c->blocked_until = 0;
  if (!c->ours) s->totals->late++;
  if (s->trace) trace_reply(s, c, e);
  if (s->redis.model->writes == writes) return;
  sim_watch_redis(s);
  sim_check_command(s, e, &before);
  sim_check_records(s);
  wake_blocked(s);
}

static sim_time delay(struct sim *s) {
  return sim_chance(s, 2) ? sim_uniform(s, 1000, 30000) : sim_uniform(s, 50, 800);
}

static void answer(struct sim *s, struct sim_connection *c, struct sim_exchange *e) {
  bx_list_remove(&e->link);
  bx_list_append(&c->replies, &e->link);
  e->at = s->now + delay(s);
  if (e->at < c->last_here) e->at = c->last_here;
  c->last_here = e->at;
  if (c->ours) sim_at(s, e->at, output, c);
}

static void run(struct sim *s, void *what) {
  struct sim_connection *c = what;

  while (!s->failed && !c->dead && !s->redis.down && !s->redis.paused && !bx_list_empty(&c->commands)) {
    struct sim_exchange *e = bx_container_of(c->commands.next, struct sim_exchange, link);

    if (e->at > s->now) return;
    if (c->frozen > s->now) {
      sim_at(s, c->frozen, run, c);
      return;
    }
    execute(s, c, e);
    if (e->reply == NULL) return;   // a read that waits
    answer(s, c, e);
  }
  if (!c->ours && bx_list_empty(&c->commands)) c->dead = true;
}

static void output(struct sim *s, void *what) {
  struct sim_connection *c = what;
  struct sim_exchange *e;

  if (!c->ours || bx_list_empty(&c->replies) || sim_node_defer(c->node, output, c)) return;
  if (c->frozen > s->now) {
    sim_at(s, c->frozen, output, c);
    return;
  }
  e = bx_container_of(c->replies.next, struct sim_exchange, link);
  bx_list_remove(&e->link);
  er_core_reply(c->node->core, c->which, e->reply, sim_node_now(c->node));
  sim_reply_destroy(e->reply);
  e->reply = NULL;
  sim_node_woken(c->node);
}

// -- links ------------------------------------------------------------------------------------------

struct attempt {
  struct sim_node *node;
  enum er_which which;
};

static void attempt(struct sim *, void *what);

static void try_again(struct sim *s, struct attempt *a) {
  struct sim_link *link = &a->node->links[a->which];
  uint64_t wait = 50ull << (link->attempts < 6 ? link->attempts : 6);

  link->attempts++;
  sim_in(s, SIM_MS(sim_uniform(s, 1, wait < BACKOFF_MAX ? wait : BACKOFF_MAX)), attempt, a);
}

static void attempt(struct sim *s, void *what) {
  struct attempt *a = what;
  struct sim_node *node = a->node;
  struct sim_link *link = &node->links[a->which];
  struct sim_connection *c;

  if (!node->alive || link->connection != NULL || sim_node_defer(node, attempt, a)) return;
  if (s->redis.down || s->redis.paused) {
    try_again(s, a);
    return;
  }
  c = sim_new(s, sizeof *c);
  c->node = node;
  c->which = a->which;
  c->ours = true;
  bx_list_init(&c->commands);
  bx_list_init(&c->replies);
  bx_list_append(&s->redis.connections, &c->link);
  link->connection = c;
  link->attempts = 0;
  SIM_TRACE(s, "%s: %s link up", node->name, a->which == ER_TAIL ? "tail" : "command");
  er_core_up(node->core, a->which, bx_slice_of(s->redis.model->run_id), sim_node_now(node));
  sim_node_woken(node);
}

void sim_link_open(struct sim *s, struct sim_node *node, enum er_which which) {
  struct attempt *a = sim_new(s, sizeof *a);

  *a = (struct attempt){node, which};
  sim_in(s, sim_uniform(s, 500, 8000), attempt, a);
}

void sim_link_send(struct sim *s, struct sim_node *node, enum er_which which, const char *name,
                   const struct bx_slice *args, size_t count) {
  struct sim_connection *c = node->links[which].connection;
  struct sim_exchange *e = sim_new(s, sizeof *e);

  if (c == NULL) {
    sim_fail(s, "seam", "%s sends %s over a link that is down", node->name, name);
    return;
  }
  *e = (struct sim_exchange){.name = sim_keep(s, bx_slice_of(name)).at, .count = count, .sent = s->now};
  e->args = sim_new(s, count * sizeof *e->args);
  for (size_t i = 0; i < count; i++) e->args[i] = sim_keep(s, args[i]);
  e->at = s->now + delay(s);
  if (e->at < c->last_there) e->at = c->last_there;
  c->last_there = e->at;
  bx_list_append(&c->commands, &e->link);
  sim_at(s, e->at, run, c);
}

// What is on its way: a part of it, perhaps all, still gets there, and perhaps late.
static void leave_behind(struct sim *s, struct sim_connection *c) {
  size_t count = 0, kept;
  sim_time late = sim_chance(s, 40) ? SIM_MS(sim_uniform(s, 1, 6000)) : 0;

  bx_list_each (link, &c->commands) count++;
  kept = sim_uniform(s, 0, count);
  if (c->which == ER_TAIL) kept = 0;   // reads only
  bx_list_each (link, &c->commands) {
    struct sim_exchange *e = bx_container_of(link, struct sim_exchange, link);

    if (kept == 0) {
      bx_list_remove(link);
      continue;
    }
    kept--;
    if (e->at < s->now + late) e->at = s->now + late;
    sim_at(s, e->at, run, c);
  }
  if (bx_list_empty(&c->commands)) c->dead = true;
}

void sim_link_drop(struct sim *s, struct sim_node *node, enum er_which which, const char *why) {
  struct sim_connection *c = node->links[which].connection;

  if (c == NULL || !node->alive) return;
  SIM_TRACE(s, "%s: %s link down: %s", node->name, which == ER_TAIL ? "tail" : "command", why);
  s->totals->drops++;
  node->links[which].connection = NULL;
  c->ours = false;
  c->blocked_until = 0;
  if (!c->dead) leave_behind(s, c);
  er_core_down(node->core, which, sim_node_now(node));
  sim_node_woken(node);
  sim_link_open(s, node, which);
}

// A process that is killed: what its kernel has taken is sent, or not.
void sim_link_forsake(struct sim *s, struct sim_node *node) {
  for (int i = 0; i < ER_LINKS; i++) {
    struct sim_connection *c = node->links[i].connection;

    if (c == NULL) continue;
    node->links[i].connection = NULL;
    c->ours = false;
    c->blocked_until = 0;
    if (!c->dead) leave_behind(s, c);
  }
}

void sim_link_freeze(struct sim *s, struct sim_node *node, enum er_which which, sim_time until) {
  struct sim_connection *c = node->links[which].connection;

  if (c == NULL) return;
  SIM_TRACE(s, "%s: %s link passes nothing for %.0f ms", node->name, which == ER_TAIL ? "tail" : "command",
            (double)(until - s->now) / 1000);
  c->frozen = until;
}

// A command that is not answered in time ends its link.
void sim_link_watch(struct sim *s, struct sim_node *node) {
  for (int i = 0; i < ER_LINKS; i++) {
    struct sim_connection *c = node->links[i].connection;
    struct bx_list *oldest;

    if (c == NULL) continue;
    oldest = !bx_list_empty(&c->replies) ? c->replies.next : c->commands.next;
    if (oldest == &c->commands) continue;
    if (s->now - bx_container_of(oldest, struct sim_exchange, link)->sent <
        (i == ER_TAIL ? TAIL_TIMEOUT : SIM_MS(SIM_COMMAND_TIMEOUT)))
      continue;
    sim_link_drop(s, node, (enum er_which)i, "no answer");
  }
}
