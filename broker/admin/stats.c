// SPDX-License-Identifier: Apache-2.0
// Numbers: /v1/stats as JSON, /metrics as Prometheus reads them, from the same tables.
#include "broker/admin/parts.h"
#include "broker/engine/engine.h"

// What is computed when somebody asks.
#define GAUGES(X)                                                                        \
  X(epoch, "mora_epoch", "Epoch of the journal.", 0)                                     \
  X(head, "mora_journal_head", "Newest position.", 0)                                    \
  X(first, "mora_journal_first", "Oldest position that is kept.", 0)                     \
  X(mark, "mora_journal_mark", "Up to here the live sessions of this node stood.", 0)    \
  X(entries, "mora_journal_entries", "Messages kept in the journal.", 0)                 \
  X(bytes, "mora_journal_bytes", "Their size.", 0)                                       \
  X(span, "mora_journal_span_seconds", "Age of the oldest message that is kept.", 0.001) \
  X(uptime, "mora_uptime_seconds", "Since this process started.", 0.001)

struct gauges {
#define X(field, name, help, scale) uint64_t field;
  GAUGES(X)
#undef X
};

static const struct bk_metric gauge_metrics[] = {
#define X(field, name, help, scale) {name, help, BK_GAUGE, offsetof(struct gauges, field), scale},
    GAUGES(X)
#undef X
        {0}};

static struct gauges measure(const struct bk_admin *a) {
  const struct bx_server *server = a->options.server;
  const struct bx_journal *journal = &server->journal;
  const struct bx_entry *oldest = bx_journal_at(journal, journal->first);
  bx_millis now = bk_loop_now(a->options.loop);
  return (struct gauges){
      .epoch = server->engine->epoch,
      .head = bx_journal_head(journal),
      .first = bx_journal_first(journal),
      .mark = a->options.core ? er_core_mark(a->options.core) : bx_journal_head(journal),   // alone, no session lags
      .entries = journal->next - journal->first,
      .bytes = journal->bytes,
      .span = oldest && now > oldest->at ? now - oldest->at : 0,
      .uptime = now - a->started,
  };
}

static void collect(const struct bk_admin *a, struct bk_numbers *n) {
  n->server = a->options.server->counters;
  if (a->options.core) n->engine = *er_core_counters(a->options.core);
  if (a->options.engine) n->relay = *er_node_relay_counters(a->options.engine);
  n->transport = a->options.transport->counters;
  n->publish = a->publish.counters;
  n->admin = a->counters;
  n->access = a->options.guard->counters;
  if (a->options.authority) n->authority = *bk_authority_counters(a->options.authority);
  if (a->options.webhook) n->webhook = bk_webhook_numbers(a->options.webhook);
  n->host = bk_host_counters;
  n->lag = bk_host_lag;
}

void bk_admin_post_numbers(struct bk_admin *a) {
  if (a->options.board) collect(a, &a->options.board->slots[a->options.slot].now);
}

// Of this process, or of all workers.
static void sum(struct bk_admin *a, struct bk_numbers *total) {
  bk_admin_post_numbers(a);
  if (a->options.board)
    bk_board_sum(a->options.board, total);
  else
    collect(a, total);
}

static bool is_shown(const struct bk_admin *a, const struct bk_number_table *t) {
  return a->options.core || (t->metrics != bk_engine_metrics && t->metrics != bk_relay_metrics);
}

void bk_admin_metrics(struct bk_admin *a, struct bk_exchange *x) {
  struct bx_buffer text = {0};
  struct gauges gauges = measure(a);
  struct bk_numbers total = {0};
  sum(a, &total);
  bk_metrics_write(&text, gauge_metrics, &gauges);
  for (const struct bk_number_table *t = bk_number_tables; t->metrics; t++)
    if (is_shown(a, t)) bk_metrics_write(&text, t->metrics, (const char *)&total + t->offset);
  bk_lag_write(&text, &total.lag);
  bk_exchange_respond(x, &(struct bk_response){
                             .status = 200,
                             .content_type = "text/plain; version=0.0.4; charset=utf-8",
                             .body = bx_buffer_view(&text),
                         });
  bx_buffer_fini(&text);
}

static void set(json_t *object, const char *key, uint64_t number) {
  json_object_set_new(object, key, json_integer((json_int_t)number));
}

#define SET_ALL(object, rows, values)     \
  do {                                    \
    json_t *to = (object);                \
    const typeof(values) from = (values); \
    rows(SET_ONE)                         \
  } while (0)
#define SET_ONE(field, ...) set(to, #field, from->field);

static json_t *listeners_of(const struct bk_admin *a) {
  json_t *list = json_array();
  for (size_t i = 0; i < *a->options.listener_count; i++) {
    const struct bk_listener *l = a->options.listeners[i];
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:I}", "listener", bk_listener_name(l), "address",
                                    bk_listener_address(l), "connections", (json_int_t)bk_listener_connections(l)));
  }
  return list;
}

static json_t *loop_of(const struct bk_lag *lag) {
  return json_pack("{s:I, s:I, s:f, s:f, s:f}", "turns", (json_int_t)bk_lag_turns(lag), "busy_ms",
                   (json_int_t)(lag->busy / 1000000), "p50_us", bk_lag_quantile(lag, .5), "p99_us",
                   bk_lag_quantile(lag, .99), "p999_us", bk_lag_quantile(lag, .999));
}

static json_t *pods_of(const struct er_node *node) {
  json_t *list = json_array();
  for (size_t i = 0; i < er_node_pod_count(node); i++) {
    struct er_pod_info pod = er_node_pod(node, i);
    json_array_append_new(list, json_pack("{s:s, s:I}", "state", pod.state, "cursor", (json_int_t)pod.cursor));
  }
  return list;
}

void bk_admin_stats(struct bk_admin *a, struct bk_exchange *x) {
  struct gauges gauges = measure(a);
  struct bk_numbers total = {0};
  sum(a, &total);
  json_t *all = json_pack("{s:s, s:s}", "version", MORA_VERSION, "node", a->options.node);
  json_t *transport = json_object(), *publish = json_object(), *host = json_object(), *admin = json_object();
  json_t *access = json_object(), *authority = json_object(), *webhook = json_object();
  set(all, "epoch", gauges.epoch);
  set(all, "first", gauges.first);
  set(all, "head", gauges.head);
  set(all, "mark", gauges.mark);
  set(all, "uptime", gauges.uptime / 1000);
  SET_ALL(all, BX_COUNTERS, &total.server);
  json_object_set_new(all, "journal",
                      json_pack("{s:I, s:I, s:I}", "entries", (json_int_t)gauges.entries, "bytes",
                                (json_int_t)gauges.bytes, "span_ms", (json_int_t)gauges.span));
  SET_ALL(transport, BK_TRANSPORT_COUNTERS, &total.transport);
  SET_ALL(publish, BK_PUBLISH_COUNTERS, &total.publish);
  SET_ALL(admin, BK_ADMIN_COUNTERS, &total.admin);
  SET_ALL(access, BK_ACCESS_COUNTERS, &total.access);
  SET_ALL(authority, BK_AUTHORITY_COUNTERS, &total.authority);
  SET_ALL(webhook, BK_WEBHOOK_COUNTERS, &total.webhook);
  SET_ALL(host, BK_HOST_COUNTERS, &total.host);
  if (a->options.core) {
    json_t *engine = json_object();
    SET_ALL(engine, ER_COUNTERS, &total.engine);
    SET_ALL(engine, ER_RELAY_COUNTERS, &total.relay);
    json_object_set_new(engine, "pods", pods_of(a->options.engine));
    json_object_set_new(all, "engine", engine);
  }
  json_object_set_new(all, "transport", transport);
  json_object_set_new(all, "publish", publish);
  json_object_set_new(all, "access", access);
  json_object_set_new(all, "authority", authority);
  json_object_set_new(all, "webhook", webhook);
  json_object_set_new(all, "admin", admin);
  json_object_set_new(all, "host", host);
  json_object_set_new(all, "loop", loop_of(&total.lag));
  json_object_set_new(all, "listeners", listeners_of(a));
  bk_admin_answer(x, all);
}
