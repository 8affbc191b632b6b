// SPDX-License-Identifier: Apache-2.0
// What Redis tells of the other nodes and of their sessions, for those who look.
#include "engine-redis/core/private.h"

// -- the directory of nodes ------------------------------------------------------------------------

struct nodes_call {
  struct er_call call;
  void (*done)(void *context, const struct er_node_info *, size_t count);
  void *context;
};

static void listed(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct nodes_call *nc = bx_container_of(call, struct nodes_call, call);
  enum { FIELDS = 8 };   // node role address since head mark sessions age
  size_t count = er_reply_is(reply, "OK") ? er_reply_rest(reply) / FIELDS : 0;
  struct er_node_info *nodes = bx_alloc((count + 1) * sizeof *nodes);

  (void)c;
  for (size_t i = 0; i < count; i++) {
    size_t at = 1 + FIELDS * i;

    nodes[i] = (struct er_node_info){.node = er_reply_text(reply, at),
                                     .role = er_reply_text(reply, at + 1),
                                     .address = er_reply_text(reply, at + 2)};
    er_reply_u64(reply, at + 4, &nodes[i].head);
    er_reply_u64(reply, at + 5, &nodes[i].mark);
    er_reply_u64(reply, at + 6, &nodes[i].sessions);
    er_reply_u64(reply, at + 7, &nodes[i].age);
  }
  nc->done(nc->context, er_reply_is(reply, "OK") ? nodes : NULL, count);
  bx_free(nodes);
  bx_free(nc);
}

void er_core_ask_nodes(struct er_core *c, void (*done)(void *, const struct er_node_info *, size_t), void *context) {
  struct er_arguments args = {0};
  struct nodes_call *nc;

  if (!er_usable(c)) {
    done(context, NULL, 0);
    return;
  }
  nc = bx_alloc(sizeof *nc);
  nc->call.done = listed;
  nc->done = done;
  nc->context = context;
  er_send(c, ER_COMMAND, "nodes", &args, &nc->call);
}

// -- a session -------------------------------------------------------------------------------------

struct session_call {
  struct er_call call;
  void (*done)(void *context, enum bx_outcome, const struct er_session_info *);
  void *context;
};

static bool read_session(const struct er_reply *reply, struct er_session_info *info) {
  uint64_t live, alive;

  // OK live n alive g k sent cid vary life user created deadline token [pattern extent]...
  if (!er_reply_u64(reply, 1, &live) || !er_reply_u64(reply, 3, &alive) || !er_reply_u64(reply, 4, &info->generation) ||
      !er_reply_u64(reply, 5, &info->conf) || !er_reply_u64(reply, 6, &info->sent) ||
      !er_reply_u64(reply, 11, &info->created) || !er_reply_u64(reply, 12, &info->deadline))
    return false;
  info->node = er_reply_text(reply, 2);
  info->user = er_reply_text(reply, 10);
  info->token = er_reply_text(reply, 13);
  info->live = live != 0;
  info->alive = alive != 0;
  return true;
}

static void described(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct session_call *sc = bx_container_of(call, struct session_call, call);
  enum { SUBSCRIPTIONS = 14 };
  size_t count = er_reply_is(reply, "OK") && reply->count > SUBSCRIPTIONS ? (reply->count - SUBSCRIPTIONS) / 2 : 0;
  struct er_session_info info = {.subscriptions = bx_alloc((count + 1) * sizeof *info.subscriptions)};
  enum bx_outcome outcome = er_reply_is(reply, "NONE") ? BX_NO_SESSION : BX_REFUSED;

  for (size_t i = 0; i < count; i++) {
    struct bx_slice extent = er_reply_text(reply, SUBSCRIPTIONS + 2 * i + 1);   // start, or start:upto
    const char *colon = extent.len > 0 ? memchr(extent.at, ':', extent.len) : NULL;
    uint64_t start;

    if (colon != NULL) extent.len = (size_t)(colon - extent.at);
    if (!er_text_u64(extent, &start)) continue;   // not readable, as for who would take it in
    info.subscriptions[info.subscription_count++] =
        (struct er_session_subscription){er_reply_text(reply, SUBSCRIPTIONS + 2 * i), start};
  }
  if (er_reply_is(reply, "OK") && read_session(reply, &info)) outcome = BX_ACKNOWLEDGED;
  if (er_reply_is(reply, "BAD")) er_malformed(c, "record", er_reply_text(reply, 1));
  sc->done(sc->context, outcome, outcome == BX_ACKNOWLEDGED ? &info : NULL);
  bx_free(info.subscriptions);
  bx_free(sc);
}

void er_core_ask_session(struct er_core *c, struct bx_slice id,
                         void (*done)(void *, enum bx_outcome, const struct er_session_info *), void *context) {
  struct er_arguments args = {0};
  struct session_call *sc;

  if (!er_usable(c)) {
    done(context, BX_REFUSED, NULL);
    return;
  }
  sc = bx_alloc(sizeof *sc);
  sc->call.done = described;
  sc->done = done;
  sc->context = context;
  er_arguments_text(&args, id);
  er_send(c, ER_COMMAND, "about", &args, &sc->call);
}
