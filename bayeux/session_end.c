// SPDX-License-Identifier: Apache-2.0
// How sessions end. bx_session_ask_end() is for an end that no message of the client asks for: the engine decides, so
// that it happens once. bx_session_close() answers what is held, unsubscribes and tells; the reap frees what nothing
// names any more. See session.h.
#include "bayeux/server_private.h"

static const char *const end_names[] = {"disconnect", "expired", "lost", "refused", "shutdown", "moved", "kicked"};

// Tells the connection: a held connect is answered, a stream is closed.
static void dismiss(struct bx_server *server, struct bx_session *s, enum bx_end why) {
  bool good = why == BX_END_DISCONNECT;   // its connect is answered as if nothing was
  struct bx_connection *c = s->connection;
  struct bx_buffer reply = {0}, error = {0};

  if (why == BX_END_KICKED) bx_connection_take_messages(c);
  if (why == BX_END_MOVED) {
    // Its owner may have answered this very connect in vain: only the owner can answer it again.
    if (c->connect.held && bx_connection_is_poll(c)) bx_connection_fail(c);
  } else if (c->connect.held && (bx_connection_is_poll(c) || !good)) {
    if (!good) bx_buffer_printf(&error, "401:%s:" BX_UNKNOWN_CLIENT, s->id);
    bx_buffer_char(&error, '\0');
    bx_connect_write(c, &reply, good ? NULL : error.at, (uint32_t)c->mount->interval);
    bx_connection_reply(c, bx_buffer_view(&reply), false);
  }
  bx_connect_forget(c);
  bx_session_detach(server, s);
  bx_connection_wake(c);
  if (!bx_connection_is_poll(c)) {
    c->closing = true;
    c->ops->close(c, why == BX_END_SHUTDOWN ? 1001 : 1000, end_names[why]);
  }
  bx_buffer_fini(&reply);
  bx_buffer_fini(&error);
}

// Nobody was told of a session that was never recorded, and one that moved goes on.
static void tell(struct bx_server *server, enum bx_event event, const struct bx_session *s, struct bx_slice detail) {
  if (s->recorded && s->why != BX_END_MOVED && server->env.event != NULL)
    server->env.event(server->env.context, event, s, detail);
}

void bx_session_close(struct bx_server *server, struct bx_session *s, enum bx_end why) {
  if (s->state == BX_SESSION_CLOSING) return;
  s->why = why;
  if (why == BX_END_KICKED) server->counters.kicked++;
  if (s->connection != NULL) dismiss(server, s, why);
  if (s->answered != NULL) {
    s->answered->receipt = NULL;
    s->answered = NULL;
  }
  while (!bx_list_empty(&s->subscriptions)) {
    struct bx_subscription *sub = bx_subscription_of(s->subscriptions.next);

    tell(server, BX_EVENT_DROP, s, bx_topic_pattern(sub->topic));
    bx_session_drop_subscription(server, s, sub);
  }
  bx_wheel_cancel(&server->wheel, &s->expiry);
  if (s->tally != NULL) server->env.leave(server->env.context, s->tally);
  s->tally = NULL;
  if (!s->released) bx_table_remove(&server->sessions, &s->node);
  bx_session_set_state(server, s, BX_SESSION_CLOSING);
  if (server->engine->ops->gone != NULL) server->engine->ops->gone(server->engine, s);
  server->counters.sessions--;
  tell(server, BX_EVENT_DISCONNECT, s, bx_slice_of(end_names[why]));
}

struct ask_end {
  struct bx_request request;
  struct bx_server *server;
  enum bx_end why;
};

static void end_decided(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct ask_end *ask = bx_container_of(request, struct ask_end, request);
  struct bx_session *s = request->session;
  struct bx_server *server = ask->server;

  (void)position;
  s->pins--;
  s->ending = false;
  if (s->state == BX_SESSION_CLOSING) {
    // It is gone from here already.
  } else if (outcome == BX_ACKNOWLEDGED || outcome == BX_NO_SESSION) {
    if (ask->why == BX_END_EXPIRED) server->counters.expired++;
    bx_session_close(server, s, ask->why);
  } else {
    bx_wheel_set(&server->wheel, &s->expiry, server->now + 1000);
  }
  bx_free(ask);
}

void bx_session_ask_end(struct bx_server *server, struct bx_session *s, enum bx_end why) {
  struct ask_end *ask;

  if (s->ending) return;
  s->ending = true;
  ask = bx_alloc(sizeof *ask);
  ask->server = server;
  ask->why = why;
  ask->request = (struct bx_request){.kind = BX_REQUEST_END, .done = end_decided, .session = s};
  ask->request.reason = why == BX_END_LOST ? BX_REASON_LOST : BX_REASON_EXPIRED;
  bx_list_init(&ask->request.link);
  s->pins++;
  server->engine->ops->submit(server->engine, &ask->request);
}

void bx_sessions_reap(struct bx_server *server) {
  bx_list_each (link, &server->states[BX_SESSION_CLOSING]) {
    struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

    if (s->pins > 0) continue;
    bx_list_remove(&s->state_link);
    bx_list_remove(&s->read_link);
    server->counters.closing--;
    bx_free(s->user);
    bx_free(s->token);
    bx_free(s);
  }
}
