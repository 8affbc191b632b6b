// SPDX-License-Identifier: Apache-2.0
// /meta/handshake and /meta/disconnect: how sessions come and go.
#include "bayeux/server_private.h"

#define ID_LENGTH 31   // 160 random bits in base 36
#define ID_WORDS 5

// 160 bits as a number in base 36, padded with zeros: the length never tells anything.
static void make_id(struct bx_server *server, char out[ID_LENGTH]) {
  uint32_t words[ID_WORDS];

  server->env.random(server->env.context, words, sizeof words);
  for (int i = ID_LENGTH - 1; i >= 0; i--) {
    uint64_t rest = 0;

    for (int w = 0; w < ID_WORDS; w++) {
      uint64_t part = rest << 32 | words[w];
      words[w] = (uint32_t)(part / 36);
      rest = part % 36;
    }
    out[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[rest];
  }
}

// At least one of the types that the client offers is known here. A bare string offers nothing.
static bool shares_a_type(const struct bx_value *offered) {
  struct bx_value ignored, item;
  struct bx_scan s;

  if (offered->type != BX_JSON_ARRAY) return false;
  bx_scan_init(&s, offered->raw, 64);
  if (!bx_scan_enter(&s)) return false;
  while (bx_scan_item(&s, &ignored) && bx_scan_value(&s, &item))
    if (bx_is_connection_type(&item)) return true;
  return false;
}

// `early`: Faye writes the error in front of the connection types when the version is what lacks.
static void refuse(struct bx_call *call, struct bx_slice error, bool early, const struct bx_access_answer *access) {
  struct bx_buffer *out = bx_reply_open(call->batch, call->index, false, false);

  bx_buffer_lit(out, ",\"version\":\"1.0\"");
  if (early) bx_reply_error_member(out, error);
  bx_buffer_lit(out, ",\"supportedConnectionTypes\":" BX_CONNECTION_TYPES);
  if (!early) bx_reply_error_member(out, error);
  if (access != NULL && access->verdict == BX_UNAVAILABLE)
    bx_reply_jittered_advice(call->batch->server, out);
  else if (access != NULL && access->reconnect != NULL)
    bx_reply_denial_advice(out, access);
  else
    bx_reply_handshake_advice(call->batch->server, out);
  bx_reply_close(call->batch, call->index);
}

static bool acceptable(struct bx_call *call) {
  const struct bx_message *m = call->message;
  bool no_version = !bx_value_truthy(&m->version);
  struct bx_buffer error = {0};

  if (no_version) bx_buffer_lit(&error, "402:version:Missing required parameter");
  if (!bx_value_truthy(&m->connection_types)) {
    bx_buffer_clear(&error);
    bx_buffer_lit(&error, "402:supportedConnectionTypes:Missing required parameter");
  } else if (!shares_a_type(&m->connection_types)) {
    bx_buffer_clear(&error);
    bx_error_text(&error, "301", &m->connection_types, "Connection types not supported");
  }
  if (m->error.type != BX_JSON_NONE) {
    bx_buffer_clear(&error);
    bx_buffer_lit(&error, "400::Bad request");
  }
  if (error.len == 0) return true;
  refuse(call, bx_buffer_view(&error), no_version, NULL);
  bx_buffer_fini(&error);
  return false;
}

// With a clientId in the request Faye's reply has it in the second place, else behind the types.
static void welcome(struct bx_pending *p) {
  struct bx_batch *batch = p->batch;
  const struct bx_message *m = &batch->messages.at[p->index];
  const struct bx_session *s = p->session;
  bool early = bx_value_truthy(&m->client_id);
  struct bx_buffer *out = &batch->replies;

  batch->index[p->index].at = out->len;
  bx_buffer_char(out, '{');
  if (bx_value_truthy(&m->id)) {
    bx_buffer_lit(out, "\"id\":");
    bx_buffer_slice(out, m->id.raw);
    bx_buffer_char(out, ',');
  }
  if (early) bx_buffer_printf(out, "\"clientId\":\"%s\",", s->id);
  bx_buffer_lit(out, "\"channel\":\"/meta/handshake\",\"successful\":true,\"version\":\"1.0\"");
  bx_buffer_lit(out, ",\"supportedConnectionTypes\":" BX_CONNECTION_TYPES);
  if (!early) bx_buffer_printf(out, ",\"clientId\":\"%s\"", s->id);
  bx_reply_advice(out, batch->connection == NULL ? 0 : bx_connect_interval(batch->connection), s->life / 2);
  if (bx_ack_is_wanted(m)) bx_ack_offer(batch->server, p->session, &p->ext);
  bx_reply_ext(out, bx_buffer_view(&p->ext));
  bx_reply_close(batch, p->index);
}

static void deny_token(struct bx_call *call, const struct bx_pending *p) {
  struct bx_server *server = call->batch->server;
  struct bx_access_answer a = {.verdict = BX_DENY, .error = BX_LIT("401::Invalid access token")};

  server->counters.revoked_handshakes++;
  if (server->access != NULL && server->access->ops->denied != NULL)
    server->access->ops->denied(server->access, &p->access, &a);
  refuse(call, a.error, false, &a);
}

static void created(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_pending *p = bx_pending_of(request);
  struct bx_server *server = p->batch->server;
  struct bx_call call = {.batch = p->batch, .index = p->index};

  (void)position;
  if (outcome == BX_ACKNOWLEDGED && p->session->state != BX_SESSION_CLOSING) {
    server->counters.handshakes++;
    p->session->recorded = true;
    bx_connection_know(p->batch->connection);
    welcome(p);
    if (server->env.event != NULL)
      server->env.event(server->env.context, BX_EVENT_HANDSHAKE, p->session, (struct bx_slice){0});
  } else {
    bx_session_close(server, p->session, BX_END_REFUSED);
    if (outcome == BX_DENIED)
      deny_token(&call, p);
    else
      refuse(&call, BX_LIT("503::Not available"), false, NULL);
  }
  bx_pending_destroy(p);
}

static bool admitted(struct bx_call *call, void **tally) {
  const struct bx_env *env = &call->batch->server->env;
  const char *error;

  *tally = NULL;
  if (env->admit == NULL || (error = env->admit(env->context, call->batch->connection->address, tally)) == NULL)
    return true;
  refuse(call, bx_slice_of(error), false, NULL);
  return false;
}

static bool is_full(struct bx_call *call) {
  struct bx_server *server = call->batch->server;

  if (server->counters.sessions < server->options.max_sessions) return false;
  BX_OVER(&server->counters, clients);
  refuse(call, BX_LIT("503::Too many clients"), false, NULL);
  return true;
}

static void make_session(struct bx_pending *p, const struct bx_access_answer *a) {
  struct bx_server *server = p->batch->server;
  struct bx_connection *c = p->batch->connection;
  char id[ID_LENGTH + 1];
  size_t pod = server->options.pod != 0;

  id[0] = server->options.pod;
  do make_id(server, id + pod);
  while (bx_server_find_session(server, (struct bx_slice){id, ID_LENGTH + pod}) != NULL);
  p->request.session = p->session = bx_session_create(server, (struct bx_slice){id, ID_LENGTH + pod});
  p->session->pins++;
  p->session->tally = p->tally;
  p->tally = NULL;
  p->session->transport = c->transport;
  bx_session_set_user(p->session, a->user);
  if (bx_token_is_valid(a->token)) bx_session_set_token(p->session, a->token);
  bx_session_refresh(c, p->session);
}

static void give_up(struct bx_pending *p) {
  struct bx_server *server = p->batch->server;

  if (p->tally != NULL) server->env.leave(server->env.context, p->tally);
  bx_pending_destroy(p);
}

// Nobody waits for a session whose connection has gone.
static void decided(struct bx_pending *p, const struct bx_access_answer *a) {
  static const struct bx_access_answer no_name = {.verdict = BX_DENY, .error = {"401::Bad user name", 18}};
  struct bx_call call = {.batch = p->batch, .index = p->index};

  if (a->verdict == BX_ALLOW && a->user.len > 0 && !bx_user_is_valid(a->user)) a = &no_name;
  if (a->verdict != BX_ALLOW) {
    bx_access_error(a, NULL, &p->error);
    refuse(&call, bx_buffer_view(&p->error), false, a);
    give_up(p);
  } else if (p->batch->connection == NULL || is_full(&call)) {
    give_up(p);
  } else {
    make_session(p, a);
    bx_buffer_slice(&p->ext, a->ext);
    bx_pending_submit(p);
  }
}

void bx_verb_handshake(struct bx_call *call) {
  struct bx_pending *p;
  void *tally;

  if (!acceptable(call) || is_full(call) || !admitted(call, &tally)) return;
  call->session = NULL;   // whatever it names: it gets a new one
  p = bx_pending_create(call, BX_REQUEST_CREATE, created);
  p->tally = tally;
  p->decided = decided;
  bx_pending_ask(call, p, BX_ACCESS_HANDSHAKE, NULL, 0);
}

// -- disconnect ------------------------------------------------------------------------------------

static void refuse_end(struct bx_batch *batch, uint32_t index, enum bx_fault fault, struct bx_slice error) {
  struct bx_buffer *out = bx_reply_open(batch, index, false, false);

  bx_reply_error_member(out, error);
  if (fault == BX_FAULT_CLIENT) bx_reply_chosen_advice(batch->server, out);
  bx_reply_close(batch, index);
}

static void ended(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_pending *p = bx_pending_of(request);
  struct bx_server *server = p->batch->server;

  (void)position;
  if (outcome != BX_ACKNOWLEDGED && bx_pending_follow(p)) return;
  if (outcome == BX_ACKNOWLEDGED && p->session->state != BX_SESSION_CLOSING) {
    bx_reply_open(p->batch, p->index, true, true);
    bx_reply_close(p->batch, p->index);
    server->counters.disconnects++;
    bx_session_close(server, p->session, BX_END_DISCONNECT);
  } else {
    enum bx_fault fault = outcome == BX_REFUSED ? BX_FAULT_OTHER : BX_FAULT_CLIENT;
    struct bx_buffer error = {0};

    bx_buffer_printf(&error, fault == BX_FAULT_CLIENT ? "401:%s:" BX_UNKNOWN_CLIENT : "503:%s:Not available",
                     p->session->id);
    refuse_end(p->batch, p->index, fault, bx_buffer_view(&error));
    bx_buffer_fini(&error);
  }
  bx_pending_destroy(p);
}

static enum bx_fault wrong_end(const struct bx_call *call, struct bx_buffer *error) {
  if (call->message->error.type == BX_JSON_NONE) return bx_client_fault(call, error);
  bx_buffer_lit(error, "400::Bad request");
  return BX_FAULT_OTHER;
}

void bx_verb_disconnect(struct bx_call *call) {
  struct bx_buffer error = {0};
  enum bx_fault fault = wrong_end(call, &error);
  struct bx_pending *p;

  if (fault != BX_NO_FAULT) {
    refuse_end(call->batch, call->index, fault, bx_buffer_view(&error));
    bx_buffer_fini(&error);
    return;
  }
  p = bx_pending_create(call, BX_REQUEST_END, ended);
  p->request.reason = BX_REASON_DISCONNECT;
  bx_pending_submit(p);
}
