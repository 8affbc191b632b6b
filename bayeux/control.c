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

void bx_server_execute(struct bx_server *server, struct bx_remote_call *call) {
  bx_server_clock(server);
  bx_relay_open(server, call, false);
}
