// SPDX-License-Identifier: Apache-2.0
// The engine of one process: see memory_engine.h.
#include "bayeux/memory_engine.h"

#include "bayeux/session.h"

struct once {
  struct bx_table_node node;
  struct bx_list link;   // oldest first
  bx_millis until;
  bx_position position;
  char key[];
};

// A token that opens no session.
struct revoked {
  struct bx_table_node node;
  bx_millis until;
  char name[];
};

struct memory_engine {
  struct bx_engine engine;
  struct bx_list waiting;
  bx_position head;
  struct bx_table once;
  struct bx_list once_order;
  size_t once_max;
  struct bx_table revoked;
};

static struct memory_engine *of(struct bx_engine *e) { return bx_container_of(e, struct memory_engine, engine); }

static void submit(struct bx_engine *engine, struct bx_request *r) { bx_list_append(&of(engine)->waiting, &r->link); }

static void forget(struct memory_engine *m, struct once *o) {
  bx_table_remove(&m->once, &o->node);
  bx_list_remove(&o->link);
  bx_free(o);
}

static void expire(struct memory_engine *m, bx_millis now) {
  while (!bx_list_empty(&m->once_order)) {
    struct once *o = bx_container_of(m->once_order.next, struct once, link);

    if (o->until > now && m->once.count <= m->once_max) return;
    forget(m, o);
  }
}

static void remember(struct memory_engine *m, struct bx_slice key, bx_position position, bx_millis now) {
  struct once *o = bx_alloc(sizeof *o + key.len);

  memcpy(o->key, key.at, key.len);
  o->position = position;
  o->until = now + BX_ONCE_LIFE;
  bx_table_insert(&m->once, &o->node, (struct bx_slice){o->key, key.len});
  bx_list_append(&m->once_order, &o->link);
}

static bx_position publish(struct memory_engine *m, struct bx_request *r, bx_millis now) {
  if (r->once.len > 0) {
    struct bx_table_node *known = bx_table_find(&m->once, r->once);

    if (known != NULL) {
      r->repeated = true;
      return bx_container_of(known, struct once, node)->position;
    }
    remember(m, r->once, m->head + 1, now);
  }
  m->head++;
  m->engine.events.appended(m->engine.events.context, m->head, r->channel, r->frame);
  return m->head;
}

// A disconnect in front of it ended the session that publishes.
static bool publisher_is_gone(const struct bx_request *r) {
  return r->kind == BX_REQUEST_PUBLISH && r->session != NULL && r->session->state == BX_SESSION_CLOSING;
}

// Sessions are all in the server's table here.
static bool nobody_to_kick(struct memory_engine *m, const struct bx_request *r) {
  return r->kind == BX_REQUEST_KICK && m->engine.events.find(m->engine.events.context, r->id) == NULL;
}

// -- revoked tokens --------------------------------------------------------------------------------

static void forget_revoked(struct memory_engine *m, struct bx_table_node *node) {
  bx_table_remove(&m->revoked, node);
  bx_free(bx_container_of(node, struct revoked, node));
}

static bool is_revoked(struct memory_engine *m, const struct bx_request *r, bx_millis now) {
  struct bx_table_node *node = NULL;

  if (r->kind == BX_REQUEST_CREATE && r->session->token != NULL)
    node = bx_table_find(&m->revoked, bx_session_token(r->session));
  if (node == NULL) return false;
  if (bx_container_of(node, struct revoked, node)->until > now) return true;
  forget_revoked(m, node);
  return false;
}

struct sweep {
  struct memory_engine *engine;
  bx_millis now;
};

static bool drop_if_over(struct bx_table_node *node, void *context) {
  struct sweep *s = context;

  if (bx_container_of(node, struct revoked, node)->until <= s->now) forget_revoked(s->engine, node);
  return true;
}

static bool has_room(struct memory_engine *m, bx_millis now) {
  struct sweep s = {m, now};

  if (m->revoked.count >= BX_MAX_REVOKED) bx_table_each(&m->revoked, drop_if_over, &s);
  return m->revoked.count < BX_MAX_REVOKED;
}

// False: there are too many. Said again it may last longer, not less.
static bool revoke_token(struct memory_engine *m, const struct bx_request *r, bx_millis now) {
  struct bx_table_node *node = bx_table_find(&m->revoked, r->id);
  struct revoked *t;

  if (node == NULL) {
    if (!has_room(m, now)) return false;
    t = bx_alloc(sizeof *t + r->id.len);
    memcpy(t->name, r->id.at, r->id.len);
    bx_table_insert(&m->revoked, &t->node, (struct bx_slice){t->name, r->id.len});
  } else {
    t = bx_container_of(node, struct revoked, node);
  }
  if (t->until < now + r->lasting) t->until = now + r->lasting;
  m->engine.events.revoked_token(m->engine.events.context, r->id);
  return true;
}

// --------------------------------------------------------------------------------------------------

static enum bx_outcome outcome_of(struct memory_engine *m, struct bx_request *r, bx_millis now) {
  if (publisher_is_gone(r) || nobody_to_kick(m, r)) return BX_NO_SESSION;
  if (is_revoked(m, r, now)) return BX_DENIED;
  if (r->kind == BX_REQUEST_REVOKE && r->of_token) return revoke_token(m, r, now) ? BX_ACKNOWLEDGED : BX_DENIED;
  if (r->kind == BX_REQUEST_REVOKE) m->engine.events.revoked(m->engine.events.context, r->id);
  return BX_ACKNOWLEDGED;
}

static struct bx_request *next(const struct bx_list *todo) {
  return bx_list_empty(todo) ? NULL : bx_container_of(todo->next, struct bx_request, link);
}

static void finish(struct memory_engine *m, struct bx_list *todo, bx_millis now) {
  struct bx_request *r = bx_container_of(bx_list_take(todo), struct bx_request, link);
  enum bx_outcome outcome = outcome_of(m, r, now);

  r->done(r, outcome, outcome == BX_ACKNOWLEDGED ? m->head : 0);
}

// Publishes that follow each other are delivered together; their completions come behind.
static void finish_publishes(struct memory_engine *m, struct bx_list *todo, bx_millis now) {
  struct {
    struct bx_request *request;
    enum bx_outcome outcome;
    bx_position position;
  } group[BX_RUN];
  unsigned count = 0;

  for (struct bx_request *r; count < BX_RUN && (r = next(todo)) != NULL && r->kind == BX_REQUEST_PUBLISH; count++) {
    bx_list_take(todo);
    group[count].request = r;
    group[count].outcome = outcome_of(m, r, now);
    group[count].position = group[count].outcome == BX_ACKNOWLEDGED ? publish(m, r, now) : 0;
  }
  bx_engine_deliver(&m->engine);
  for (unsigned i = 0; i < count; i++) group[i].request->done(group[i].request, group[i].outcome, group[i].position);
}

// What is submitted while the turn runs waits for the next one: a turn ends.
static void turn(struct bx_engine *engine, bx_millis now) {
  struct memory_engine *m = of(engine);
  struct bx_list todo;

  expire(m, now);
  bx_list_init(&todo);
  bx_list_splice(&todo, &m->waiting);
  for (const struct bx_request *r; (r = next(&todo)) != NULL;) {
    if (r->kind == BX_REQUEST_PUBLISH)
      finish_publishes(m, &todo, now);
    else
      finish(m, &todo, now);
  }
}

static bool busy(const struct bx_engine *engine) {
  const struct memory_engine *m = bx_container_of(engine, const struct memory_engine, engine);
  return !bx_list_empty(&m->waiting);
}

static const char *not_ready(const struct bx_engine *engine) {
  (void)engine;
  return NULL;
}

static bool free_revoked(struct bx_table_node *node, void *context) {
  forget_revoked(context, node);
  return true;
}

static void destroy(struct bx_engine *engine) {
  struct memory_engine *m = of(engine);
  struct bx_list *link;

  while ((link = bx_list_take(&m->waiting)) != NULL) {
    struct bx_request *r = bx_container_of(link, struct bx_request, link);
    r->done(r, BX_REFUSED, 0);
  }
  while (!bx_list_empty(&m->once_order)) forget(m, bx_container_of(m->once_order.next, struct once, link));
  bx_table_fini(&m->once);
  bx_table_each(&m->revoked, free_revoked, m);
  bx_table_fini(&m->revoked);
  bx_free(m);
}

struct bx_engine *bx_memory_engine_create(uint64_t seconds, size_t once_max, struct bx_table_key secret) {
  static const struct bx_engine_ops ops = {
      .name = "memory", .submit = submit, .turn = turn, .busy = busy, .not_ready = not_ready, .destroy = destroy};
  struct memory_engine *m = bx_alloc(sizeof *m);

  m->engine.ops = &ops;
  m->engine.epoch = seconds;
  m->engine.base = m->head = seconds * 1000000;
  m->once_max = once_max;
  bx_list_init(&m->waiting);
  bx_list_init(&m->once_order);
  bx_table_init(&m->once, secret);
  bx_table_init(&m->revoked, secret);
  return &m->engine;
}
