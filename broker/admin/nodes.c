// SPDX-License-Identifier: Apache-2.0
// /v1/nodes: the brokers and publishers that share a journal. Redis keeps the list; without it this
// node tells of itself, and that the answer is partial.
#include "broker/admin/parts.h"

struct directory {
  struct bk_asked asked;
  struct bk_admin *admin;
};

static json_t *describe(const struct er_node_info *node) {
  return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "node", bk_admin_string(node->node), "role",
                   bk_admin_string(node->role), "address", bk_admin_string(node->address), "head",
                   (json_int_t)node->head, "mark", (json_int_t)node->mark, "sessions", (json_int_t)node->sessions,
                   "age", (json_int_t)node->age);
}

static json_t *describe_self(const struct bk_admin *a) {
  const struct bx_server *server = a->options.server;
  struct bk_listener *const *listeners = a->options.listeners;
  bx_position head = bx_journal_head(&server->journal);
  return describe(&(struct er_node_info){
      .node = bx_slice_of(a->options.node),
      .role = BX_LIT("broker"),
      .address = bx_slice_of(*a->options.listener_count > 0 ? bk_listener_address(listeners[0]) : ""),
      .head = head,
      .mark = a->options.core ? er_core_mark(a->options.core) : head,
      .sessions = server->counters.sessions,
  });
}

static void answer_alone(struct bk_admin *a, struct bk_exchange *x, bool partial) {
  json_t *answer = json_pack("{s:[o]}", "nodes", describe_self(a));
  if (partial) json_object_set_new(answer, "partial", json_true());
  bk_admin_answer(x, answer);
}

static void answered(void *context, const struct er_node_info *nodes, size_t count) {
  struct directory *d = context;
  struct bk_exchange *x = bk_asked_answer(&d->asked);
  if (x && nodes) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, describe(&nodes[i]));
    bk_admin_answer(x, json_pack("{s:o}", "nodes", list));
  } else if (x) {
    answer_alone(d->admin, x, true);
  }
  bk_asked_done(&d->asked);
}

static void release(struct bk_asked *asked) { bx_free(bx_container_of(asked, struct directory, asked)); }

void bk_admin_nodes(struct bk_admin *a, struct bk_exchange *x) {
  if (!a->options.core) {
    answer_alone(a, x, false);
    return;
  }
  struct directory *d = bx_alloc(sizeof *d);
  d->admin = a;
  bk_asked_begin(&d->asked, x, a->options.owed, release);
  er_core_ask_nodes(a->options.core, answered, d);
}

// /v1/doctor: what this broker or its Redis promises less than it could.
void bk_admin_doctor(struct bk_admin *a, struct bk_exchange *x) {
  json_t *list = json_array();
  struct bx_engine *engine = a->options.server->engine;
  const char *why = engine->ops->not_ready(engine);
  const struct er_finding *findings;
  size_t count = a->options.engine ? er_node_findings(a->options.engine, &findings) : 0;
  if (why) json_array_append_new(list, json_pack("{s:s, s:s}", "id", "not_ready", "text", why));
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, json_pack("{s:s, s:s}", "id", findings[i].id, "text", findings[i].text));
  bk_admin_answer(x, json_pack("{s:o}", "findings", list));
}
