// SPDX-License-Identifier: Apache-2.0
// Publishing: one path for every origin, with three outcomes.
#include "bayeux/server_private.h"

// What is wrong with a channel to publish on; NULL: nothing.
static const char *channel_fault(struct bx_server *server, struct bx_slice channel, const char **code) {
  enum bx_channel_kind kind = bx_channel_classify(channel);

  *code = "405";
  if (kind == BX_CHANNEL_INVALID) return "Invalid channel";
  if (bx_channel_is_meta(channel)) {
    *code = "403";
    return "Forbidden channel";
  }
  if (kind == BX_CHANNEL_PATTERN) return "Invalid channel";
  if (channel.len <= server->options.max_channel_length &&
      bx_channel_depth(channel) <= server->options.max_channel_depth)
    return NULL;
  BX_OVER(&server->counters, channel_name);
  return "Channel too long";
}

// The session that a publish names: one that is here, or one that the engine can look for.
static struct bx_slice publisher_of(const struct bx_call *call) {
  const struct bx_value *id = &call->message->client_id;

  const struct bx_server *server = call->batch->server;
  bool looked_for = server->access != NULL && !call->server;   // and if it is not here, it is nowhere

  if (call->session != NULL) return bx_session_id(call->session);
  if (!server->engine->ops->locates || looked_for || id->type != BX_JSON_STRING || id->escaped)
    return (struct bx_slice){0};
  return bx_value_inside(id);
}

static void say_unknown(const struct bx_batch *b, const struct bx_message *m, struct bx_slice channel,
                        struct bx_buffer *error) {
  struct bx_access *access = b->server->access;

  if (access != NULL && access->ops->unknown != NULL) access->ops->unknown(access, channel, error);
  if (error->len == 0) bx_error_text(error, "401", &m->client_id, BX_UNKNOWN_CLIENT);
}

// A meta channel is forbidden whatever comes with it; else missing data beats a bad channel, as in Faye.
static enum bx_fault wrong(struct bx_call *call, struct bx_buffer *error) {
  const struct bx_message *m = call->message;
  const char *code, *fault = channel_fault(call->batch->server, bx_buffer_view(&call->channel), &code);
  bool forbidden = fault != NULL && strcmp(code, "403") == 0;

  if (m->error.type != BX_JSON_NONE) {
    bx_buffer_lit(error, "400::Bad request");
  } else if (m->data.type == BX_JSON_NONE && !forbidden) {
    bx_buffer_lit(error, "402:data:Missing required parameter");
  } else if (fault != NULL) {
    bx_error_text(error, code, &m->channel, fault);
    return BX_FAULT_CHANNEL;
  } else if (bx_value_truthy(&m->client_id) && publisher_of(call).len == 0) {
    say_unknown(call->batch, m, bx_buffer_view(&call->channel), error);
    return BX_FAULT_CLIENT;
  } else {
    return BX_NO_FAULT;
  }
  return BX_FAULT_OTHER;
}

static void count(struct bx_server *server, const struct bx_request *r, enum bx_outcome outcome) {
  switch (outcome) {
  case BX_ACKNOWLEDGED:
    server->counters.published++;
    if (r->repeated) server->counters.repeated_publishes++;
    break;
  case BX_UNKNOWN: server->counters.unknown_publishes++; break;
  default: server->counters.refused_publishes++; break;
  }
}

static void appended(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_pending *p = bx_pending_of(request);
  struct bx_batch *batch = p->batch;
  const struct bx_message *m = &batch->messages.at[p->index];
  struct bx_buffer *out;

  (void)position;
  count(batch->server, request, outcome);
  if (outcome == BX_ACKNOWLEDGED) bx_connection_know(batch->connection);
  if (outcome == BX_REFUSED) bx_error_text(&p->error, "503", &m->channel, "Not published");
  if (outcome == BX_UNKNOWN) bx_error_text(&p->error, "504", &m->channel, "Outcome unknown");
  if (outcome == BX_NO_SESSION) bx_error_text(&p->error, "401", &m->client_id, BX_UNKNOWN_CLIENT);
  out = bx_reply_open(batch, p->index, true, outcome == BX_ACKNOWLEDGED);
  if (p->error.len > 0) bx_reply_error_member(out, bx_buffer_view(&p->error));
  if (outcome == BX_NO_SESSION) bx_reply_handshake_advice(batch->server, out);
  if (outcome == BX_ACKNOWLEDGED) bx_reply_ext(out, bx_buffer_view(&p->ext));
  bx_reply_close(batch, p->index);
  bx_pending_destroy(p);
}

// A client that did not get its acknowledgement sends the message once more as it was, perhaps to
// another node: client, id and text together are its idempotency key. The text belongs to it because
// some clients use one id for all they publish.
static void add_once(struct bx_pending *p) {
  const struct bx_value *id = &p->batch->messages.at[p->index].id;
  const struct bx_frame *f = p->request.frame;
  size_t channel = p->names.len;

  if (!p->batch->server->engine->ops->locates || p->request.publisher.len == 0 || !bx_value_truthy(id)) return;
  bx_buffer_slice(&p->names, p->request.publisher);
  bx_buffer_char(&p->names, ':');
  bx_buffer_hex(&p->names, bx_hash(id->raw));
  bx_buffer_hex(&p->names, bx_hash(bx_frame_slice(f)));
  p->request.channel = (struct bx_slice){p->names.at, channel};   // it may have moved
  p->request.once = (struct bx_slice){p->names.at + channel, p->names.len - channel};
}

static void refuse(struct bx_batch *batch, uint32_t index, enum bx_fault fault, struct bx_slice error,
                   const struct bx_access_answer *access) {
  struct bx_buffer *out = bx_reply_open(batch, index, true, false);

  bx_reply_error_member(out, error);
  if (fault == BX_FAULT_CLIENT) bx_reply_handshake_advice(batch->server, out);
  if (access != NULL) bx_reply_denial_advice(out, access);
  bx_reply_close(batch, index);
}

// Allowed, but nobody is to get it: the session is looked at, and that is all. One that moved meanwhile lives.
static void acknowledge(struct bx_pending *p) {
  const struct bx_session *s = p->session;
  bool unknown = s == NULL || (s->state == BX_SESSION_CLOSING && s->why != BX_END_MOVED);

  if (unknown) {
    say_unknown(p->batch, &p->batch->messages.at[p->index], p->request.channel, &p->error);
    refuse(p->batch, p->index, BX_FAULT_CLIENT, bx_buffer_view(&p->error), NULL);
  } else {
    bx_reply_ext(bx_reply_open(p->batch, p->index, true, true), bx_buffer_view(&p->ext));
    bx_reply_close(p->batch, p->index);
  }
  bx_pending_destroy(p);
}

static struct bx_frame *make_client_frame(struct bx_pending *p, bool forward_ext) {
  struct bx_server *server = p->batch->server;
  const struct bx_messages *set = &p->batch->messages;
  const struct bx_message *m = &set->at[p->index];
  struct bx_buffer ext = {0};
  struct bx_frame *f;
  size_t len = bx_message_wire(set, m, NULL), more;

  if (forward_ext) bx_ext_strip(&m->ext, &ext);
  more = ext.len == 0 ? 0 : ext.len + (len > 2 ? 7 : 6);
  f = bx_frame_create(len + more, &server->counters.frames);
  bx_message_wire(set, m, bx_frame_text(f));
  if (more > 0) {
    char *at = bx_frame_text(f) + len - 1;   // over the closing bracket

    if (len > 2) *at++ = ',';
    memcpy(at, "\"ext\":", 6);
    memcpy(at + 6, ext.at, ext.len);
    at[6 + ext.len] = '}';
  }
  bx_buffer_fini(&ext);
  return f;
}

static void decided(struct bx_pending *p, const struct bx_access_answer *a) {
  const struct bx_message *m = &p->batch->messages.at[p->index];

  if (a->verdict != BX_ALLOW) {
    p->batch->server->counters.refused_publishes++;
    bx_access_error(a, &m->channel, &p->error);
    refuse(p->batch, p->index, BX_FAULT_CHANNEL, bx_buffer_view(&p->error), a);
    bx_pending_destroy(p);
    return;
  }
  bx_buffer_slice(&p->ext, a->ext);
  if (a->unjournalled) {
    acknowledge(p);
    return;
  }
  p->request.frame = make_client_frame(p, a->forward_ext);
  add_once(p);
  bx_pending_submit(p);
}

// `names` holds the channel, then the key.
void bx_verb_publish(struct bx_call *call) {
  struct bx_buffer error = {0};
  enum bx_fault fault = wrong(call, &error);
  struct bx_pending *p;

  if (fault != BX_NO_FAULT) {
    refuse(call->batch, call->index, fault, bx_buffer_view(&error), NULL);
    bx_buffer_fini(&error);
    return;
  }
  p = bx_pending_create(call, BX_REQUEST_PUBLISH, appended);
  p->request.publisher = publisher_of(call);
  bx_buffer_slice(&p->names, bx_buffer_view(&call->channel));
  p->request.channel = bx_buffer_view(&p->names);
  p->decided = decided;
  bx_pending_ask(call, p, BX_ACCESS_PUBLISH, &p->request.channel, 1);
}

// -- from elsewhere --------------------------------------------------------------------------------

static size_t put(char *out, size_t at, struct bx_slice s) {
  memcpy(out + at, s.at, s.len);
  return at + s.len;
}

static struct bx_frame *make_frame(struct bx_server *server, struct bx_slice channel, struct bx_slice data) {
  static const struct bx_slice head = {"{\"channel\":\"", 12}, middle = {"\",\"data\":", 9}, tail = {"}", 1};
  struct bx_frame *f =
      bx_frame_create(head.len + channel.len + middle.len + data.len + tail.len, &server->counters.frames);
  char *out = bx_frame_text(f);
  size_t at = put(out, 0, head);

  at = put(out, at, channel);
  at = put(out, at, middle);
  at = put(out, at, data);
  put(out, at, tail);
  return f;
}

// The caller's `done` wants the frame gone and the outcome counted; both are done in front of it.
static void outside_done(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_outside_publish *o = bx_container_of(request, struct bx_outside_publish, request);

  count(o->server, request, outcome);
  bx_frame_unref(request->frame);
  request->frame = NULL;
  o->done(o, outcome, position);
}

const char *bx_server_publish(struct bx_server *server, struct bx_outside_publish *o, struct bx_slice channel,
                              struct bx_slice data, struct bx_slice once) {
  const char *code, *fault = channel_fault(server, channel, &code);

  if (fault != NULL) return fault;
  o->server = server;
  o->request = (struct bx_request){.kind = BX_REQUEST_PUBLISH, .done = outside_done, .channel = channel, .once = once};
  o->request.frame = make_frame(server, channel, data);
  bx_list_init(&o->request.link);
  server->engine->ops->submit(server->engine, &o->request);
  return NULL;
}
