// SPDX-License-Identifier: Apache-2.0
// One session loses subscriptions, wherever it lives: which it has is read here or from its record,
// then /meta/unsubscribe goes the way of a client's own. So a session that moves meanwhile is found.
#include "bayeux/control.h"

#include "broker/admin/parts.h"

#include <stdlib.h>

enum { TEXT = 16384 };   // bytes of names in one message, about

struct strip {
  struct bx_remote_call call;
  struct bk_admin *admin;
  struct bx_buffer id, channel, text;
  bool covered;
  json_t *names;
  size_t sent, next;   // of `names`: taken away; behind the message that is under way
  bk_admin_stripped *done;
  void *context;
};

static void finish(struct strip *s, enum bx_outcome outcome) {
  s->done(s->context, outcome, s->names, s->sent);
  json_decref(s->names);
  bx_buffer_fini(&s->id);
  bx_buffer_fini(&s->channel);
  bx_buffer_fini(&s->text);
  bx_free(s);
}

static void consider(struct strip *s, struct bx_slice pattern) {
  struct bx_slice wanted = bx_buffer_view(&s->channel);
  if (s->covered ? bx_channel_matches(wanted, pattern) : bx_slice_equal(wanted, pattern))
    json_array_append_new(s->names, bk_admin_string(pattern));
}

// -- taking away -----------------------------------------------------------------------------------

static void go_on(struct strip *s);

static enum bx_outcome outcome_of(struct bx_slice replies) {
  json_t *list = json_loadb(replies.at, replies.len, 0, NULL), *reply = json_array_get(list, 0);
  const char *error = json_string_value(json_object_get(reply, "error"));
  enum bx_outcome outcome = BX_REFUSED;
  if (json_is_true(json_object_get(reply, "successful"))) outcome = BX_ACKNOWLEDGED;
  if (error && strncmp(error, "401:", 4) == 0) outcome = BX_NO_SESSION;
  json_decref(list);
  return outcome;
}

static void executed(struct bx_remote_call *call, struct bx_slice replies) {
  struct strip *s = bx_container_of(call, struct strip, call);
  enum bx_outcome outcome = outcome_of(replies);
  if (outcome == BX_ACKNOWLEDGED) s->sent = s->next;
  if (outcome == BX_ACKNOWLEDGED && s->sent < json_array_size(s->names))
    go_on(s);
  else
    finish(s, outcome);
}

static void go_on(struct strip *s) {
  struct bx_buffer *text = &s->text;
  bx_buffer_clear(text);
  bx_buffer_lit(text, "[{\"channel\":\"/meta/unsubscribe\",\"clientId\":");
  bx_buffer_json_string(text, bx_buffer_view(&s->id));
  bx_buffer_lit(text, ",\"subscription\":[");
  for (s->next = s->sent; s->next < json_array_size(s->names) && text->len < TEXT; s->next++) {
    const json_t *name = json_array_get(s->names, s->next);
    if (s->next > s->sent) bx_buffer_char(text, ',');
    bx_buffer_json_string(text, (struct bx_slice){json_string_value(name), json_string_length(name)});
  }
  bx_buffer_lit(text, "]}]");
  s->call = (struct bx_remote_call){.text = bx_buffer_view(text), .done = executed};
  bx_server_execute(s->admin->options.server, &s->call);
}

static void begin(struct strip *s) {
  if (json_array_size(s->names) > 0)
    go_on(s);
  else
    finish(s, BX_ACKNOWLEDGED);
}

// -- which -----------------------------------------------------------------------------------------

static void told(void *context, enum bx_outcome outcome, const struct er_session_info *info) {
  struct strip *s = context;
  for (size_t i = 0; info && i < info->subscription_count; i++) consider(s, info->subscriptions[i].pattern);
  if (info)
    begin(s);
  else
    finish(s, outcome);
}

void bk_admin_strip(struct bk_admin *a, struct bx_slice id, struct bx_slice channel, bool covered,
                    bk_admin_stripped *done, void *context) {
  const struct bx_session *session = bx_server_find_session(a->options.server, id);
  struct strip *s = bx_alloc(sizeof *s);
  *s = (struct strip){.admin = a, .covered = covered, .names = json_array(), .done = done, .context = context};
  bx_buffer_slice(&s->id, id);
  bx_buffer_slice(&s->channel, channel);
  if (session) {
    bx_list_each (link, &session->subscriptions)
      consider(s, bx_topic_pattern(bx_container_of(link, struct bx_subscription, link)->topic));
    begin(s);
  } else if (a->options.core) {
    er_core_ask_session(a->options.core, bx_buffer_view(&s->id), told, s);
  } else {
    finish(s, BX_NO_SESSION);
  }
}
