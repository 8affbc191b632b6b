// SPDX-License-Identifier: Apache-2.0
// What exists in the cluster: channels, subscribers, clients. Every broker lists what it has itself;
// whoever is asked asks the others (er_core_survey) and merges. Who did not answer in time is named
// under `missing`, and the answer is marked `partial`.
//
// A broker gives the first `limit` + 1 rows behind `after`: so the first `limit` of the merged rows are
// whole, and one more tells that there is a next page.
#include "broker/admin/parts.h"

#include <stdlib.h>

// -- what is here ----------------------------------------------------------------------------------

struct bk_listing_query {
  struct bk_page page;
  struct bx_buffer channel;   // of subscribers
  enum bx_channel_kind kind;
};

static bool offer_topic(struct bx_table_node *node, void *page) {
  const struct bx_topic *topic = bx_container_of(node, struct bx_topic, node);
  if (topic->count > 0) bk_page_offer(page, bx_topic_pattern(topic), (struct bx_slice){0}, topic);
  return true;
}

static void list_channels(struct bk_admin *a, struct bk_listing_query *q, json_t *rows) {
  bx_table_each(&a->options.server->topics.table, offer_topic, &q->page);
  bk_page_sort(&q->page);
  for (size_t i = 0; i < q->page.count; i++) {
    const struct bx_topic *topic = q->page.rows[i].item;
    json_array_append_new(rows, json_pack("{s:o, s:I}", "channel", bk_admin_string(q->page.rows[i].key), "subscribers",
                                          (json_int_t)topic->count));
  }
}

static void offer_subscribers(struct bk_admin *a, struct bx_slice pattern, struct bk_page *page) {
  const struct bx_topic *topic = bx_topics_find(&a->options.server->topics, pattern);
  if (!topic) return;
  for (uint32_t i = 0; i < topic->count; i++)
    bk_page_offer(page, bx_session_id(topic->places[i].session), bx_topic_pattern(topic), topic->places[i].session);
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

static void set_user(json_t *row, const struct bx_session *s) {
  if (s->user) json_object_set_new(row, "user", bk_admin_string(bx_session_user(s)));
}

static json_t *describe_subscriber(const struct bk_page_row *r) {
  json_t *row = json_pack("{s:o, s:o}", "client", bk_admin_string(r->key), "pattern", bk_admin_string(r->second));
  set_user(row, r->item);
  return row;
}

static void list_subscribers(struct bk_admin *a, struct bk_listing_query *q, json_t *rows) {
  offer_all_subscribers(a, bx_buffer_view(&q->channel), q->kind, &q->page);
  bk_page_sort(&q->page);
  for (size_t i = 0; i < q->page.count; i++) json_array_append_new(rows, describe_subscriber(&q->page.rows[i]));
}

json_t *bk_admin_describe(const struct bk_admin *a, const struct bx_session *s) {
  const struct bx_server *server = a->options.server;
  bx_position head = bx_journal_head(&server->journal), sent = bx_session_sent(server, s);
  json_t *row =
      json_pack("{s:o, s:s, s:s, s:s, s:b, s:I, s:I}", "client", bk_admin_string(bx_session_id(s)), "node",
                a->options.node, "state", bx_session_state_name(s->state), "address", s->address, "secure", s->secure,
                "subscriptions", (json_int_t)s->subscription_count, "lag", (json_int_t)(head > sent ? head - sent : 0));
  if (s->transport) json_object_set_new(row, "transport", json_string(s->transport));
  set_user(row, s);
  return row;
}

static bool offer_session(struct bx_table_node *node, void *page) {
  const struct bx_session *s = bx_container_of(node, struct bx_session, node);
  bk_page_offer(page, bx_session_id(s), (struct bx_slice){0}, s);
  return true;
}

static void list_clients(struct bk_admin *a, struct bk_listing_query *q, json_t *rows) {
  bx_table_each(&a->options.server->sessions, offer_session, &q->page);
  bk_page_sort(&q->page);
  for (size_t i = 0; i < q->page.count; i++) json_array_append_new(rows, bk_admin_describe(a, q->page.rows[i].item));
}

// -- the listings ----------------------------------------------------------------------------------

static const struct listing {
  const char *name, *key, *second;   // of the answer's list; what its rows are ordered by
  bool adds;                         // rows with one key are one, with the sum of `subscribers`
  void (*list)(struct bk_admin *, struct bk_listing_query *, json_t *rows);
} listings[] = {
    {"channels", "channel", NULL, true, list_channels},
    {"subscribers", "client", "pattern", false, list_subscribers},
    {"clients", "client", NULL, false, list_clients},
};

static const struct listing *listing_named(const char *name) {
  for (size_t i = 0; name && i < sizeof listings / sizeof *listings; i++)
    if (strcmp(listings[i].name, name) == 0) return &listings[i];
  return NULL;
}

static void query_fini(struct bk_listing_query *q) {
  bk_page_fini(&q->page);
  bx_buffer_fini(&q->channel);
}

static bool set_channel(struct bk_listing_query *q) {
  q->kind = bx_channel_classify(bx_buffer_view(&q->channel));
  return q->kind != BX_CHANNEL_INVALID;
}

// False: the request was answered.
static bool query_read(struct bk_listing_query *q, const struct listing *l, struct bk_exchange *x) {
  *q = (struct bk_listing_query){0};
  if (l->list == list_subscribers) {
    bk_query_get(bk_exchange_query(x), "channel", &q->channel);
    if (!set_channel(q)) {
      bk_exchange_refuse(x, 400, "channel is a channel such as /a/b, or a pattern");
      return false;
    }
  }
  return bk_page_init(&q->page, x);
}

// -- another broker asks ---------------------------------------------------------------------------

static json_t *text_of(const struct bx_buffer *b) { return bk_admin_string(bx_buffer_view(b)); }

static char *ask(const struct listing *l, const struct bk_listing_query *q) {
  json_t *question =
      json_pack("{s:s, s:o, s:o, s:o, s:I}", "list", l->name, "channel", text_of(&q->channel), "prefix",
                text_of(&q->page.prefix), "after", text_of(&q->page.after), "limit", (json_int_t)q->page.limit);
  char *text = json_dumps(question, JSON_COMPACT);
  json_decref(question);
  BX_BUG_ON(!text);
  return text;
}

static void take(const json_t *question, const char *name, struct bx_buffer *to) {
  const json_t *value = json_object_get(question, name);
  bx_buffer_add(to, json_is_string(value) ? json_string_value(value) : "", json_string_length(value));
}

// The question of another broker, as ask() writes it.
static const struct listing *query_parse(struct bk_listing_query *q, const json_t *question) {
  const struct listing *l = listing_named(json_string_value(json_object_get(question, "list")));
  *q = (struct bk_listing_query){0};
  take(question, "channel", &q->channel);
  take(question, "prefix", &q->page.prefix);
  take(question, "after", &q->page.after);
  bool good = l && bk_page_set_limit(&q->page, json_integer_value(json_object_get(question, "limit"))) &&
              (l->list != list_subscribers || set_channel(q));
  return good ? l : NULL;
}

// {"client": id}: who has that session describes it; the others have nothing to say, and say so at once.
static json_t *describe_client(const struct bk_admin *a, const json_t *id) {
  struct bx_slice text = {json_string_value(id), json_string_length(id)};
  const struct bx_session *s = bx_server_find_session(a->options.server, text);
  return s && s->state != BX_SESSION_CLOSING ? bk_admin_describe_whole(a, s) : json_null();
}

static json_t *list_here(struct bk_admin *a, const json_t *question) {
  struct bk_listing_query q;
  const struct listing *l = query_parse(&q, question);
  json_t *rows = l ? json_array() : NULL;
  if (l) l->list(a, &q, rows);
  query_fini(&q);
  return rows;
}

static void answer_survey(void *context, struct bx_slice text, struct bx_buffer *out) {
  json_t *question = json_loadb(text.at, text.len, 0, NULL), *client = json_object_get(question, "client");
  json_t *told = json_is_string(client) ? describe_client(context, client) : list_here(context, question);
  char *answer = told ? json_dumps(told, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
  if (answer) bx_buffer_slice(out, bx_slice_of(answer));
  free(answer);
  json_decref(told);
  json_decref(question);
}

void bk_admin_listing_init(struct bk_admin *a) {
  if (a->options.core) er_core_on_survey(a->options.core, answer_survey, a);
}

// -- merging ---------------------------------------------------------------------------------------

static struct bx_slice field(const json_t *row, const char *name) {
  const json_t *value = name ? json_object_get(row, name) : NULL;
  return (struct bx_slice){json_is_string(value) ? json_string_value(value) : "", json_string_length(value)};
}

// Rows of equal channels become one, in the first of them.
static void add_up(json_t *rows, const char *key) {
  json_t *seen = json_object(), *sums = json_array(), *row;
  size_t i;
  json_array_foreach(rows, i, row) {
    struct bx_slice name = field(row, key);
    json_t *known = json_object_getn(seen, name.at, name.len), *count = json_object_get(row, "subscribers");
    if (known) {
      json_t *sum = json_object_get(known, "subscribers");
      json_integer_set(sum, json_integer_value(sum) + json_integer_value(count));
    } else if (json_is_integer(count)) {
      json_object_setn(seen, name.at, name.len, row);
      json_array_append(sums, row);
    }
  }
  json_array_clear(rows);
  json_array_extend(rows, sums);
  json_decref(seen);
  json_decref(sums);
}

// The page of all rows, in order; takes `rows`.
static json_t *merge(const struct listing *l, struct bk_page *page, json_t *rows) {
  json_t *list = json_array(), *answer = json_pack("{s:o}", l->name, list), *row;
  size_t i;
  if (l->adds) add_up(rows, l->key);
  bk_page_clear(page);
  json_array_foreach(rows, i, row) bk_page_offer(page, field(row, l->key), field(row, l->second), row);
  bk_page_close(page, answer);
  for (i = 0; i < page->count; i++) json_array_append(list, (json_t *)page->rows[i].item);
  json_decref(rows);
  return answer;
}

struct gathering {
  struct bk_asked asked;
  const struct listing *listing;
  struct bk_listing_query query;
  json_t *rows;
};

// Their rows; false: no list of objects came.
static bool take_report(json_t *rows, const struct er_report *report) {
  json_t *theirs = report->missing ? NULL : json_loadb(report->text.at, report->text.len, 0, NULL);
  bool good = json_is_array(theirs);
  if (good) json_array_extend(rows, theirs);
  json_decref(theirs);
  return good;
}

static void gathered(void *context, const struct er_report *reports, size_t count) {
  struct gathering *g = context;
  json_t *missing = json_array();
  for (size_t i = 0; i < count; i++)
    if (!take_report(g->rows, &reports[i])) json_array_append_new(missing, bk_admin_string(reports[i].node));
  json_t *answer = merge(g->listing, &g->query.page, g->rows);
  g->rows = NULL;
  if (!reports || json_array_size(missing) > 0) {
    json_object_set_new(answer, "partial", json_true());
    json_object_set(answer, "missing", missing);
  }
  json_decref(missing);
  struct bk_exchange *x = bk_asked_answer(&g->asked);
  if (x)
    bk_admin_answer(x, answer);
  else
    json_decref(answer);
  bk_asked_done(&g->asked);
}

static void release(struct bk_asked *asked) {
  struct gathering *g = bx_container_of(asked, struct gathering, asked);
  query_fini(&g->query);
  bx_free(g);
}

static void answer(struct bk_admin *a, struct bk_exchange *x, const struct listing *l) {
  struct bk_listing_query q;
  if (!query_read(&q, l, x)) {
    query_fini(&q);
    return;
  }
  json_t *rows = json_array();
  l->list(a, &q, rows);
  if (!a->options.core) {
    bk_admin_answer(x, merge(l, &q.page, rows));
    query_fini(&q);
    return;
  }
  struct gathering *g = bx_alloc(sizeof *g);
  char *question = ask(l, &q);
  g->listing = l;
  g->query = q;
  g->rows = rows;
  bk_asked_begin(&g->asked, x, a->options.owed, release);
  er_core_survey(a->options.core, bx_slice_of(question), gathered, g);
  free(question);
}

void bk_admin_channels(struct bk_admin *a, struct bk_exchange *x) { answer(a, x, &listings[0]); }
void bk_admin_subscribers(struct bk_admin *a, struct bk_exchange *x) { answer(a, x, &listings[1]); }
void bk_admin_clients(struct bk_admin *a, struct bk_exchange *x) { answer(a, x, &listings[2]); }
