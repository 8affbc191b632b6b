// SPDX-License-Identifier: Apache-2.0
// /v1/tail: messages as they are appended, a line each, for as long as somebody reads.
#include "broker/admin/parts.h"

#include "bayeux/scan.h"

struct tail {
  struct bx_list link;
  struct bk_admin *admin;
  struct bk_exchange *exchange;
  struct bx_buffer pattern;
};

// Raw line ends in JSON text are white space between its tokens.
static void add_on_one_line(struct bx_buffer *out, struct bx_slice json) {
  size_t from = out->len;
  bx_buffer_slice(out, json);
  for (size_t i = from; i < out->len; i++)
    if (out->at[i] == '\n' || out->at[i] == '\r') out->at[i] = ' ';
}

// The message's own bytes of data and id: what was made once is looked at again only while somebody
// watches.
static void write_line(struct bx_buffer *out, const struct bx_entry *entry) {
  struct bx_scan scan;
  struct bx_value key, value, data = {0}, id = {0};
  bx_scan_init(&scan, bx_frame_slice(entry->frame), 64);
  if (!bx_scan_enter(&scan)) return;
  while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &value)) {
    if (bx_value_is(&key, BX_LIT("data"))) data = value;
    if (bx_value_is(&key, BX_LIT("id"))) id = value;
  }
  bx_buffer_printf(out, "{\"position\":%llu,\"channel\":", (unsigned long long)entry->position);
  bx_buffer_json_string(out, bx_entry_channel(entry));
  bx_buffer_lit(out, ",\"data\":");
  add_on_one_line(out, data.type == BX_JSON_NONE ? BX_LIT("null") : data.raw);
  if (id.type != BX_JSON_NONE) {
    bx_buffer_lit(out, ",\"id\":");
    add_on_one_line(out, id.raw);
  }
  bx_buffer_lit(out, "}\n");
}

void bk_admin_appended(struct bk_admin *a, const struct bx_entry *entry) {
  struct bx_buffer line = {0};
  bx_list_each (link, &a->tails) {
    struct tail *t = bx_container_of(link, struct tail, link);
    if (!bx_channel_matches(bx_buffer_view(&t->pattern), bx_entry_channel(entry))) continue;
    if (line.len == 0) write_line(&line, entry);
    if (!bk_exchange_stream_write(t->exchange, bx_buffer_view(&line))) a->counters.tail_dropped++;
  }
  bx_buffer_fini(&line);
}

void bk_admin_drain(struct bk_admin *a) {
  struct bx_list *link;
  while ((link = bx_list_take(&a->tails)) != NULL)
    bk_exchange_stream_end(bx_container_of(link, struct tail, link)->exchange);
}

static void ended(struct bk_exchange *x, enum bk_arrival arrival) {
  struct tail *t = bk_exchange_user(x);
  (void)arrival;
  t->admin->counters.tails--;
  bx_list_remove(&t->link);
  bx_buffer_fini(&t->pattern);
  bx_free(t);
}

void bk_admin_tail(struct bk_admin *a, struct bk_exchange *x) {
  static const struct bk_exchange_ops ops = {.ended = ended};
  static const struct bk_header headers[] = {{"cache-control", {"no-store", 8}}};
  struct bx_buffer pattern = {0};
  bk_query_get(bk_exchange_query(x), "channel", &pattern);
  if (bx_channel_classify(bx_buffer_view(&pattern)) == BX_CHANNEL_INVALID) {
    bk_exchange_refuse(x, 400, "channel is a channel such as /a/b, or a pattern such as /a/**");
    bx_buffer_fini(&pattern);
    return;
  }
  struct tail *t = bx_alloc(sizeof *t);
  *t = (struct tail){.admin = a, .exchange = x, .pattern = pattern};
  bx_list_append(&a->tails, &t->link);
  a->counters.tails++;
  bk_exchange_hold(x, &ops, t);
  bk_exchange_stream(x, &(struct bk_response){
                            .status = 200,
                            .content_type = "application/x-ndjson",
                            .headers = headers,
                            .header_count = 1,
                        });
}
