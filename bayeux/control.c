// SPDX-License-Identifier: Apache-2.0
// Sessions that are ended, and messages that are made, by others than clients: see control.h.
#include "bayeux/control.h"

#include "bayeux/server_private.h"

// Another node is told through its inbox; here it is in the table, or it is not.
static void kicked(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_kick *k = bx_container_of(request, struct bx_kick, request);
  struct bx_session *s = bx_server_find_session(k->server, request->id);

  (void)position;
  if (s != NULL && (outcome == BX_ACKNOWLEDGED || outcome == BX_NO_SESSION))
    bx_session_close(k->server, s, BX_END_KICKED);
  k->done(k, outcome);
}

void bx_server_kick(struct bx_server *server, struct bx_kick *k, struct bx_slice id) {
  k->server = server;
  k->request = (struct bx_request){.kind = BX_REQUEST_KICK, .done = kicked, .id = id};
  bx_list_init(&k->request.link);
  server->engine->ops->submit(server->engine, &k->request);
}

static bool is_of(const struct bx_session *s, struct bx_slice name, bool of_token) {
  return bx_slice_equal(of_token ? bx_session_token(s) : bx_session_user(s), name);
}

// Where all sessions are in one table nobody keeps them by user: they are looked for.
static size_t find_members(struct bx_server *server, const struct bx_request *r, struct bx_slice *ids) {
  size_t count = 0;

  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &server->states[state]) {
      const struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      if (is_of(s, r->id, r->of_token)) ids[count++] = bx_session_id(s);
    }
  return count;
}

static void listed(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_members *m = bx_container_of(request, struct bx_members, request);
  struct bx_slice *ids;
  size_t count;

  (void)position;
  if (m->server->engine->ops->locates) {
    m->done(m, outcome, request->members, request->member_count);
    return;
  }
  ids = bx_alloc((m->server->counters.sessions + 1) * sizeof *ids);
  count = find_members(m->server, request, ids);
  m->done(m, outcome, ids, count);
  bx_free(ids);
}

void bx_server_members(struct bx_server *server, struct bx_members *m, struct bx_slice name, bool of_token) {
  m->server = server;
  m->request = (struct bx_request){.kind = BX_REQUEST_MEMBERS, .done = listed, .id = name, .of_token = of_token};
  bx_list_init(&m->request.link);
  server->engine->ops->submit(server->engine, &m->request);
}

// -- revocation ------------------------------------------------------------------------------------

struct own_kick {
  struct bx_kick kick;
  char id[];
};

static void own_kicked(struct bx_kick *k, enum bx_outcome outcome) {
  (void)outcome;   // refused: its record is kicked by whoever revoked, or expires
  bx_free(bx_container_of(k, struct own_kick, kick));
}

// By the engine, not here alone: its record may be on its way, or somebody else's by now.
static void kick_own(struct bx_server *server, const struct bx_session *s) {
  struct bx_slice id = bx_session_id(s);
  struct own_kick *k = bx_alloc(sizeof *k + id.len);

  memcpy(k->id, id.at, id.len);
  k->kick.done = own_kicked;
  bx_server_kick(server, &k->kick, (struct bx_slice){k->id, id.len});
}

static void kick_all_of(struct bx_server *server, struct bx_slice name, bool of_token) {
  server->counters.revocations++;
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    bx_list_each (link, &server->states[state]) {
      const struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      if (is_of(s, name, of_token)) kick_own(server, s);
    }
}

void bx_server_revoked(struct bx_server *server, struct bx_slice user) {
  struct bx_access *access = server->access;

  if (access != NULL && access->ops->revoked != NULL) access->ops->revoked(access, user);
  if (user.len > 0) kick_all_of(server, user, false);
}

void bx_server_revoked_token(struct bx_server *server, struct bx_slice token) {
  if (token.len > 0) kick_all_of(server, token, true);
}

static void revoke_done(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_revocation *r = bx_container_of(request, struct bx_revocation, request);

  r->done(r, outcome, position);
}

static void revoke(struct bx_server *server, struct bx_revocation *r, struct bx_request request) {
  r->request = request;
  r->request.kind = BX_REQUEST_REVOKE;
  r->request.done = revoke_done;
  bx_list_init(&r->request.link);
  server->engine->ops->submit(server->engine, &r->request);
}

void bx_server_revoke(struct bx_server *server, struct bx_revocation *r, struct bx_slice user) {
  revoke(server, r, (struct bx_request){.id = user});
}

void bx_server_revoke_token(struct bx_server *server, struct bx_revocation *r, struct bx_slice token,
                            bx_millis lasting) {
  revoke(server, r, (struct bx_request){.id = token, .of_token = true, .lasting = lasting});
}

void bx_server_execute(struct bx_server *server, struct bx_remote_call *call) {
  bx_server_clock(server);
  bx_relay_open(server, call, false);
}
