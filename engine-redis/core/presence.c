// SPDX-License-Identifier: Apache-2.0
// Who is present on channels (bayeux/presence.h). Redis counts: sub, unsub, resave and whatever ends a session do it
// in the script that writes the record. Here lists are asked for, and leaves are settled at each tick.
#include "engine-redis/core/private.h"

#define SETTLE_AT_ONCE 200   // users; five times a second

struct presence_call {
  struct er_call call;
  struct bx_request *request;
};

// -- lists -----------------------------------------------------------------------------------------

// OK users sessions members [user sessions]xmembers [id user]...
static bool read_list(const struct er_reply *reply, struct bx_presence_list *list) {
  uint64_t members;
  size_t clients;

  if (!er_reply_is(reply, "OK") || !er_reply_u64(reply, 1, &list->users) || !er_reply_u64(reply, 2, &list->sessions) ||
      !er_reply_u64(reply, 3, &members) || members > (reply->count - 4) / 2)
    return false;
  clients = (reply->count - 4) / 2 - members;
  list->members = bx_alloc((members + 1) * sizeof *list->members);
  list->clients = bx_alloc((clients + 1) * sizeof *list->clients);
  for (size_t i = 4; list->member_count < members; i += 2) {
    struct bx_presence_member *m = &list->members[list->member_count++];

    m->user = er_reply_text(reply, i);
    er_reply_u64(reply, i + 1, &m->sessions);
  }
  for (size_t i = 4 + 2 * members; list->client_count < clients; i += 2)
    list->clients[list->client_count++] =
        (struct bx_presence_client){er_reply_text(reply, i), er_reply_text(reply, i + 1)};
  return true;
}

static void listed(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct presence_call *pc = bx_container_of(call, struct presence_call, call);
  struct bx_request *r = pc->request;
  struct bx_presence_list list = {0};
  bool good = read_list(reply, &list);

  bx_free(pc);
  if (er_reply_is(reply, "BAD")) er_malformed(c, "presence", er_reply_text(reply, 1));
  r->present = &list;
  r->done(r, good ? BX_ACKNOWLEDGED : BX_REFUSED, 0);
  bx_free(list.members);
  bx_free(list.clients);
}

void er_presence(struct er_core *c, struct bx_request *r) {
  struct presence_call *pc = bx_alloc(sizeof *pc);
  struct er_arguments args = {0};

  pc->call.done = listed;
  pc->request = r;
  er_arguments_text(&args, r->id);
  er_arguments_u64(&args, r->limit);
  er_arguments_u64(&args, r->with_clients);
  er_send(c, ER_COMMAND, "present", &args, &pc->call);
}

// -- leaves ----------------------------------------------------------------------------------------

void er_presence_told(struct er_core *c, const struct er_reply *reply) {
  uint64_t told;

  if (er_reply_is(reply, "OK") && reply->count > 1 && er_reply_u64(reply, 1, &told))
    c->engine.events.told(c->engine.events.context, told);
}

static void settled(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  bx_free(call);
  c->settling = false;
  er_presence_told(c, reply);
  if (er_reply_is(reply, "BAD")) er_malformed(c, "presence", er_reply_text(reply, 1));
}

// By every node that counts: whoever comes first does it.
void er_presence_tick(struct er_core *c) {
  struct bx_server *server = c->engine.events.context;
  struct er_arguments args = {0};
  struct er_call *call;

  if (server == NULL || server->access == NULL || server->access->ops->counts == NULL) return;
  if (c->settling || !c->warm || c->leaving) return;
  call = bx_alloc(sizeof *call);
  call->done = settled;
  c->settling = true;
  er_arguments_text(&args, c->options.node);
  er_arguments_u64(&args, c->incarnation);
  er_arguments_u64(&args, server->options.presence_grace);
  er_arguments_u64(&args, SETTLE_AT_ONCE);
  er_send(c, ER_COMMAND, "settle", &args, call);
}
