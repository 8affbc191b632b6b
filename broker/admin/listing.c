// SPDX-License-Identifier: Apache-2.0
// What exists here: channels, subscribers, clients.
#include "broker/admin/parts.h"

enum { MAX_ID = 64 };   // a longer one is nobody's

// -- channels --------------------------------------------------------------------------------------

static bool offer_topic(struct bx_table_node *node, void *page) {
  const struct bx_topic *topic = bx_container_of(node, struct bx_topic, node);
  if (topic->count > 0) bk_page_offer(page, bx_topic_pattern(topic), (struct bx_slice){0}, topic);
  return true;
}

void bk_admin_channels(struct bk_admin *a, struct bk_exchange *x) {
  struct bk_page page;
  if (!bk_page_init(&page, x)) return;
  json_t *list = json_array(), *answer = json_pack("{s:o}", "channels", list);
  bx_table_each(&a->options.server->topics.table, offer_topic, &page);
  bk_page_close(&page, answer);
  for (size_t i = 0; i < page.count; i++) {
    const struct bx_topic *topic = page.rows[i].item;
    json_t *row =
        json_pack("{s:o, s:I}", "channel", bk_admin_string(page.rows[i].key), "subscribers", (json_int_t)topic->count);
    json_array_append_new(list, row);
  }
  bk_page_fini(&page);
  bk_admin_answer(x, answer);
}

// -- subscribers -----------------------------------------------------------------------------------

static void offer_subscribers(struct bk_admin *a, struct bx_slice pattern, struct bk_page *page) {
  const struct bx_topic *topic = bx_topics_find(&a->options.server->topics, pattern);
  if (!topic) return;
  for (uint32_t i = 0; i < topic->count; i++)
    bk_page_offer(page, bx_session_id(topic->subscriptions[i]->session), bx_topic_pattern(topic), NULL);
}

// Of a name: all whom a message there reaches. Of a pattern: those who asked for exactly it.
static void offer_all_subscribers(struct bk_admin *a, struct bx_slice channel, enum bx_channel_kind kind,
                                  struct bk_page *page) {
  if (kind == BX_CHANNEL_PATTERN) {
    offer_subscribers(a, channel, page);
    return;
  }
  struct bx_slice *keys = bx_alloc((bx_channel_depth(channel) + 2) * sizeof *keys);
  char *scratch = bx_alloc(bx_channel_scratch(channel) + 1);
  size_t count = bx_channel_expand(channel, keys, scratch);
  for (size_t i = 0; i < count; i++) offer_subscribers(a, keys[i], page);
  bx_free(scratch);
  bx_free(keys);
}

// The query's channel; BX_CHANNEL_INVALID: it was answered.
static enum bx_channel_kind read_channel(struct bk_exchange *x, struct bx_buffer *channel) {
  enum bx_channel_kind kind = BX_CHANNEL_INVALID;
  if (bk_query_get(bk_exchange_query(x), "channel", channel)) kind = bx_channel_classify(bx_buffer_view(channel));
  if (kind == BX_CHANNEL_INVALID) bk_exchange_refuse(x, 400, "channel is a channel such as /a/b, or a pattern");
  return kind;
}

void bk_admin_subscribers(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_buffer channel = {0};
  struct bk_page page;
  enum bx_channel_kind kind = read_channel(x, &channel);
  if (kind != BX_CHANNEL_INVALID && bk_page_init(&page, x)) {
    json_t *list = json_array(), *answer = json_pack("{s:o}", "subscribers", list);
    offer_all_subscribers(a, bx_buffer_view(&channel), kind, &page);
    bk_page_close(&page, answer);
    for (size_t i = 0; i < page.count; i++) {
      const struct bk_page_row *row = &page.rows[i];
      json_array_append_new(
          list, json_pack("{s:o, s:o}", "client", bk_admin_string(row->key), "pattern", bk_admin_string(row->second)));
    }
    bk_page_fini(&page);
    bk_admin_answer(x, answer);
  }
  bx_buffer_fini(&channel);
}

// -- clients ---------------------------------------------------------------------------------------

static json_t *describe(const struct bk_admin *a, const struct bx_session *s) {
  const struct bx_server *server = a->options.server;
  bx_position head = bx_journal_head(&server->journal), sent = bx_session_sent(server, s);
  json_t *row =
      json_pack("{s:o, s:s, s:s, s:s, s:I, s:I}", "client", bk_admin_string(bx_session_id(s)), "node", a->options.node,
                "state", bx_session_state_name(s->state), "address", s->address, "subscriptions",
                (json_int_t)s->subscription_count, "lag", (json_int_t)(head > sent ? head - sent : 0));
  if (s->transport) json_object_set_new(row, "transport", json_string(s->transport));
  return row;
}

static bool offer_session(struct bx_table_node *node, void *page) {
  const struct bx_session *s = bx_container_of(node, struct bx_session, node);
  bk_page_offer(page, bx_session_id(s), (struct bx_slice){0}, s);
  return true;
}

void bk_admin_clients(struct bk_admin *a, struct bk_exchange *x) {
  struct bk_page page;
  if (!bk_page_init(&page, x)) return;
  json_t *list = json_array(), *answer = json_pack("{s:o}", "clients", list);
  bx_table_each(&a->options.server->sessions, offer_session, &page);
  bk_page_close(&page, answer);
  for (size_t i = 0; i < page.count; i++) json_array_append_new(list, describe(a, page.rows[i].item));
  bk_page_fini(&page);
  bk_admin_answer(x, answer);
}

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

// One that lives on another node: what its record says.
struct elsewhere {
  struct bk_asked asked;
  struct bk_admin *admin;
  struct bx_buffer id;
};

static json_t *describe_record(const struct elsewhere *e, const struct er_session_info *info) {
  bx_position head = bx_journal_head(&e->admin->options.server->journal);
  json_t *list = json_array();
  for (size_t i = 0; i < info->subscription_count; i++)
    json_array_append_new(list, json_pack("{s:o, s:I}", "pattern", bk_admin_string(info->subscriptions[i].pattern),
                                          "start", (json_int_t)info->subscriptions[i].start));
  return json_pack("{s:o, s:o, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "client",
                   bk_admin_string(bx_buffer_view(&e->id)), "node", bk_admin_string(info->node), "alive", info->alive,
                   "state", info->live ? "live" : "recorded", "lag",
                   (json_int_t)(head > info->sent ? head - info->sent : 0), "generation", (json_int_t)info->generation,
                   "sent", (json_int_t)info->sent, "conf", (json_int_t)info->conf, "created", (json_int_t)info->created,
                   "deadline", (json_int_t)info->deadline, "subscriptions", list);
}

static void told(void *context, enum bx_outcome outcome, const struct er_session_info *info) {
  struct elsewhere *e = context;
  struct bk_exchange *x = bk_asked_answer(&e->asked);
  if (x && info)
    bk_admin_answer(x, describe_record(e, info));
  else if (x && outcome == BX_NO_SESSION)
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
  const struct bx_server *server = a->options.server;
  struct bx_slice id = bk_exchange_parameter(x, "id");
  const struct bx_session *s = bx_server_find_session(server, id);
  if (!s) {
    look_elsewhere(a, x, id);
    return;
  }
  json_t *row = describe(a, s);
  json_object_set_new(row, "generation", json_integer(s->generation));
  json_object_set_new(row, "sent", json_integer((json_int_t)bx_session_sent(server, s)));
  json_object_set_new(row, "conf", json_integer((json_int_t)bx_session_conf(server, s)));
  // A session that came from another node knows by its record when it was made.
  json_object_set_new(row, "created", s->born ? json_integer((json_int_t)s->born) : wall_time(a, s->created));
  json_object_set_new(row, "last_connect", wall_time(a, s->last_connect));
  json_object_set_new(row, "subscriptions", subscriptions_of(s));
  bk_admin_answer(x, row);
}
