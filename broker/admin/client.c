// SPDX-License-Identifier: Apache-2.0
// One client: from the session that is here; of one that is elsewhere from its owner, and from its record
// when the owner does not answer.
#include "broker/admin/parts.h"

#include <stdlib.h>

enum { MAX_ID = 64 };   // a longer one is nobody's

// Milliseconds since 1970 of a time on the loop's clock.
static json_t *wall_time(const struct bk_admin *a, bx_millis at) {
  return json_integer((json_int_t)(bk_wall_clock() - (bk_loop_now(a->options.loop) - at)));
}

static json_t *subscriptions_of(const struct bx_session *s) {
  json_t *list = json_array();
  bx_list_each (link, &s->subscriptions) {
    const struct bx_subscription *sub = bx_container_of(link, struct bx_subscription, link);
    json_array_append_new(list, json_pack("{s:o, s:I}", "pattern", bk_admin_string(bx_topic_pattern(sub->topic)),
                                          "start", (json_int_t)sub->start));
  }
  return list;
}

json_t *bk_admin_describe_whole(const struct bk_admin *a, const struct bx_session *s) {
  const struct bx_server *server = a->options.server;
  json_t *row = bk_admin_describe(a, s);
  if (s->token) json_object_set_new(row, "token", json_string(s->token));
  json_object_set_new(row, "generation", json_integer(s->generation));
  json_object_set_new(row, "sent", json_integer((json_int_t)bx_session_sent(server, s)));
  json_object_set_new(row, "conf", json_integer((json_int_t)bx_session_conf(server, s)));
  if (s->acks) json_object_set_new(row, "ack", json_true());
  // A session that came from another node knows by its record when it was made.
  json_object_set_new(row, "created", s->born ? json_integer((json_int_t)s->born) : wall_time(a, s->created));
  json_object_set_new(row, "last_connect", wall_time(a, s->last_connect));
  json_object_set_new(row, "subscriptions", subscriptions_of(s));
  return row;
}

// -- on another node -------------------------------------------------------------------------------

struct elsewhere {
  struct bk_asked asked;
  struct bk_admin *admin;
  struct bx_buffer id;
  json_t *record;   // as told by Redis, until its owner has been asked
};

static json_t *describe_record(const struct elsewhere *e, const struct er_session_info *info) {
  bx_position head = bx_journal_head(&e->admin->options.server->journal);
  json_t *list = json_array();
  for (size_t i = 0; i < info->subscription_count; i++)
    json_array_append_new(list, json_pack("{s:o, s:I}", "pattern", bk_admin_string(info->subscriptions[i].pattern),
                                          "start", (json_int_t)info->subscriptions[i].start));
  json_t *row = json_pack(
      "{s:o, s:o, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "client", bk_admin_string(bx_buffer_view(&e->id)),
      "node", bk_admin_string(info->node), "alive", info->alive, "state", info->live ? "live" : "away", "lag",
      (json_int_t)(head > info->sent ? head - info->sent : 0), "generation", (json_int_t)info->generation, "sent",
      (json_int_t)info->sent, "conf", (json_int_t)info->conf, "created", (json_int_t)info->created, "deadline",
      (json_int_t)info->deadline, "subscriptions", list);
  if (info->user.len > 0) json_object_set_new(row, "user", bk_admin_string(info->user));
  if (info->token.len > 0) json_object_set_new(row, "token", bk_admin_string(info->token));
  return row;
}

// What the owner says, with what only the record knows.
static json_t *of_owner(const struct elsewhere *e, const struct er_report *reports, size_t count) {
  for (size_t i = 0; i < count; i++) {
    json_t *row = reports[i].missing ? NULL : json_loadb(reports[i].text.at, reports[i].text.len, 0, NULL);
    if (json_is_object(row)) {
      json_object_set(row, "alive", json_object_get(e->record, "alive"));
      json_object_set(row, "deadline", json_object_get(e->record, "deadline"));
      return row;
    }
    json_decref(row);
  }
  return NULL;
}

static void owner_told(void *context, const struct er_report *reports, size_t count) {
  struct elsewhere *e = context;
  struct bk_exchange *x = bk_asked_answer(&e->asked);
  json_t *row = x ? of_owner(e, reports, count) : NULL;
  if (x) bk_admin_answer(x, row ? row : json_incref(e->record));
  json_decref(e->record);
  e->record = NULL;
  bk_asked_done(&e->asked);
}

static void told(void *context, enum bx_outcome outcome, const struct er_session_info *info) {
  struct elsewhere *e = context;
  if (info) {
    json_t *question = json_pack("{s:o}", "client", bk_admin_string(bx_buffer_view(&e->id)));
    char *text = json_dumps(question, JSON_COMPACT);
    e->record = describe_record(e, info);
    er_core_survey(e->admin->options.core, bx_slice_of(text), owner_told, e);
    free(text);
    json_decref(question);
    return;
  }
  struct bk_exchange *x = bk_asked_answer(&e->asked);
  if (x && outcome == BX_NO_SESSION)
    bk_exchange_refuse(x, 404, "no such client");
  else if (x)
    bk_exchange_refuse(x, 503, "not on this node, and Redis does not answer");
  bk_asked_done(&e->asked);
}

static void release(struct bk_asked *asked) {
  struct elsewhere *e = bx_container_of(asked, struct elsewhere, asked);
  bx_buffer_fini(&e->id);
  bx_free(e);
}

static void look_elsewhere(struct bk_admin *a, struct bk_exchange *x, struct bx_slice id) {
  if (!a->options.core || id.len > MAX_ID) {
    bk_exchange_refuse(x, 404, "no such client");
    return;
  }
  struct elsewhere *e = bx_alloc(sizeof *e);
  e->admin = a;
  bx_buffer_slice(&e->id, id);
  bk_asked_begin(&e->asked, x, a->options.owed, release);
  er_core_ask_session(a->options.core, bx_buffer_view(&e->id), told, e);
}

void bk_admin_client(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_slice id = bk_exchange_parameter(x, "id");
  const struct bx_session *s = bx_server_find_session(a->options.server, id);
  if (s)
    bk_admin_answer(x, bk_admin_describe_whole(a, s));
  else
    look_elsewhere(a, x, id);
}
