// SPDX-License-Identifier: Apache-2.0
// Who is present on a channel, on all nodes.
#include "broker/admin/parts.h"

struct attendance {
  struct bk_asked asked;
  struct bx_presence_query query;
  struct bx_buffer channel;
};

enum { LIMIT = 1000 };   // of users, and of sessions

static void write_clients(const struct bx_presence_list *list, struct bx_buffer *out) {
  bx_buffer_lit(out, ",\"clients\":[");
  for (size_t i = 0; i < list->client_count; i++) {
    if (i > 0) bx_buffer_char(out, ',');
    bx_buffer_lit(out, "{\"client\":");
    bx_buffer_json_string(out, list->clients[i].id);
    bx_buffer_lit(out, ",\"user\":");
    bx_presence_write_user(list->clients[i].user, out);
    bx_buffer_char(out, '}');
  }
  bx_buffer_char(out, ']');
}

static json_t *describe(const struct attendance *a, const struct bx_presence_list *list) {
  struct bx_buffer text = {0};
  bx_buffer_lit(&text, "{\"channel\":");
  bx_buffer_json_string(&text, bx_buffer_view(&a->channel));
  bx_buffer_char(&text, ',');
  bx_presence_write(list, &text);
  write_clients(list, &text);
  bx_buffer_char(&text, '}');
  json_t *body = json_loadb(text.at, text.len, 0, NULL);
  bx_buffer_fini(&text);
  return body;
}

static void listed(struct bx_presence_query *q, const struct bx_presence_list *list) {
  struct attendance *a = bx_container_of(q, struct attendance, query);
  struct bk_exchange *x = bk_asked_answer(&a->asked);
  if (x && list)
    bk_admin_answer(x, describe(a, list));
  else if (x)
    bk_exchange_refuse(x, 503, "Redis does not answer");
  bk_asked_done(&a->asked);
}

static void release(struct bk_asked *asked) {
  struct attendance *a = bx_container_of(asked, struct attendance, asked);
  bx_buffer_fini(&a->channel);
  bx_free(a);
}

void bk_admin_presence(struct bk_admin *admin, struct bk_exchange *x) {
  struct attendance *a = bx_alloc(sizeof *a);
  bk_query_get(bk_exchange_query(x), "channel", &a->channel);
  struct bx_slice channel = bx_buffer_view(&a->channel);
  bool valid = bx_channel_classify(channel) == BX_CHANNEL_NAME;
  if (!valid || !bx_server_counts(admin->options.server, channel)) {
    bk_exchange_refuse(x, valid ? 404 : 400,
                       valid ? "nobody is counted there: no rule with \"presence\": true is about this channel"
                             : "channel is a channel such as /a/b");
    release(&a->asked);
    return;
  }
  bk_asked_begin(&a->asked, x, admin->options.owed, release);
  a->query.done = listed;
  bx_server_presence(admin->options.server, &a->query, channel, LIMIT, true);
}
