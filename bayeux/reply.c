// SPDX-License-Identifier: Apache-2.0
// The text of replies. Members come in the order in which Faye writes them.
#include "bayeux/server_private.h"

static void member(struct bx_buffer *out, const char *name, const struct bx_value *value) {
  if (!bx_value_truthy(value)) return;
  bx_buffer_char(out, '"');
  bx_buffer_slice(out, bx_slice_of(name));
  bx_buffer_lit(out, "\":");
  bx_buffer_slice(out, value->raw);
  bx_buffer_char(out, ',');
}

struct bx_buffer *bx_reply_open(struct bx_batch *batch, uint32_t index, bool with_client, bool successful) {
  const struct bx_message *m = &batch->messages.at[index];
  struct bx_buffer *out = &batch->replies;

  batch->index[index].at = out->len;
  bx_buffer_char(out, '{');
  member(out, "id", &m->id);
  if (with_client) member(out, "clientId", &m->client_id);
  member(out, "channel", &m->channel);
  if (successful)
    bx_buffer_lit(out, "\"successful\":true");
  else
    bx_buffer_lit(out, "\"successful\":false");
  if (!successful) batch->server->counters.refused_messages++;
  return out;
}

void bx_reply_close(struct bx_batch *batch, uint32_t index) {
  bx_buffer_char(&batch->replies, '}');
  batch->index[index].len = batch->replies.len - batch->index[index].at;
}

void bx_reply_error_member(struct bx_buffer *out, struct bx_slice error) {
  bx_buffer_lit(out, ",\"error\":\"");
  bx_buffer_slice(out, error);
  bx_buffer_char(out, '"');
}

void bx_reply_error(struct bx_batch *batch, uint32_t index, bool with_client, struct bx_slice error) {
  bx_reply_error_member(bx_reply_open(batch, index, with_client, false), error);
  bx_reply_close(batch, index);
}

void bx_reply_advice(struct bx_buffer *out, uint32_t interval, bx_millis timeout) {
  bx_buffer_lit(out, ",\"advice\":{\"reconnect\":\"retry\",\"interval\":");
  bx_buffer_u64(out, interval);
  bx_buffer_lit(out, ",\"timeout\":");
  bx_buffer_u64(out, timeout);
  bx_buffer_char(out, '}');
}

// When all sessions are lost at once, clients are told to come back at the rate that this node takes.
uint32_t bx_server_retry(struct bx_server *server) {
  uint64_t spread =
      server->counters.sessions * 1000 / (server->options.handshake_rate ? server->options.handshake_rate : 1000);

  if (!server->losing_all && server->options.retry > 0) return server->options.retry;
  if (!server->losing_all) return bx_server_uniform(server, 1000, 2000);
  return bx_server_uniform(server, 0, spread > 1000 ? (uint32_t)spread : 1000);
}

void bx_reply_handshake_advice(struct bx_server *server, struct bx_buffer *out) {
  bx_buffer_printf(out, ",\"advice\":{\"reconnect\":\"handshake\",\"interval\":%u}", bx_server_retry(server));
}

void bx_reply_chosen_advice(struct bx_server *server, struct bx_buffer *out) {
  if (server->options.retry > 0) bx_reply_handshake_advice(server, out);
}

// Nobody could decide: not all come back at once when somebody can.
void bx_reply_jittered_advice(struct bx_server *server, struct bx_buffer *out) {
  bx_buffer_printf(out, ",\"advice\":{\"reconnect\":\"handshake\",\"interval\":%u}",
                   bx_server_uniform(server, 5000, 30000));
}

void bx_error_text(struct bx_buffer *out, const char *code, const struct bx_value *argument, const char *text) {
  bx_buffer_printf(out, "%s:", code);
  if (argument != NULL && argument->type != BX_JSON_NONE && argument->type != BX_JSON_NULL)
    bx_value_text(argument, out);
  bx_buffer_printf(out, ":%s", text);
}

enum bx_fault bx_client_fault(const struct bx_call *call, struct bx_buffer *error) {
  const struct bx_value *id = &call->message->client_id;

  if (call->session != NULL) return BX_NO_FAULT;
  if (!bx_value_truthy(id)) {
    bx_buffer_lit(error, "402:clientId:Missing required parameter");
    return BX_FAULT_OTHER;
  }
  bx_error_text(error, "401", id, BX_UNKNOWN_CLIENT);
  return BX_FAULT_CLIENT;
}

bool bx_is_connection_type(const struct bx_value *v) {
  static const char *const types[] = {
      "long-polling", "cross-origin-long-polling", "callback-polling", "websocket", "eventsource", "in-process"};

  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (bx_value_is(v, bx_slice_of(types[i]))) return true;
  return false;
}
