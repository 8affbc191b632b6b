// SPDX-License-Identifier: Apache-2.0
// The routes of the admin listener and what all of them do first.
#include "broker/admin/local_publisher.h"
#include "broker/admin/parts.h"

#include <stdlib.h>

void bk_admin_answer(struct bk_exchange *x, json_t *body) {
  char *text = json_dumps(body, JSON_COMPACT);
  BX_BUG_ON(!text);
  static const struct bk_header headers[] = {{"cache-control", {"no-store", 8}}};
  bk_exchange_respond(x, &(struct bk_response){
                             .status = 200,
                             .content_type = "application/json",
                             .headers = headers,
                             .header_count = 1,
                             .body = bx_slice_of(text),
                         });
  free(text);
  json_decref(body);
}

json_t *bk_admin_string(struct bx_slice s) { return json_stringn(s.at ? s.at : "", s.len); }

static void handle(void *context, struct bk_exchange *x) {
  struct bk_admin_verb *verb = context;
  struct bk_admin *a = verb->admin;
  if (!bk_tokens_admit(&a->tokens, x)) {
    a->counters.unauthorized++;
    return;
  }
  a->counters.requests++;
  verb->handle(a, x);
}

static const struct {
  unsigned method;
  const char *path;
  void (*handle)(struct bk_admin *, struct bk_exchange *);
} verbs[BK_ADMIN_VERBS] = {
    {BK_GET, "/metrics", bk_admin_metrics},
    {BK_GET, "/v1/stats", bk_admin_stats},
    {BK_GET, "/v1/channels", bk_admin_channels},
    {BK_GET, "/v1/subscribers", bk_admin_subscribers},
    {BK_GET, "/v1/clients", bk_admin_clients},
    {BK_GET, "/v1/clients/:id", bk_admin_client},
    {BK_GET, "/v1/presence", bk_admin_presence},
    {BK_GET, "/v1/nodes", bk_admin_nodes},
    {BK_GET, "/v1/tail", bk_admin_tail},
    {BK_GET, "/v1/doctor", bk_admin_doctor},
    {BK_DELETE, "/v1/clients/:id", bk_admin_kick},
    {BK_POST, "/v1/clients/:id/unsubscribe", bk_admin_unsubscribe},
    {BK_DELETE, "/v1/clients", bk_admin_kick_user},
    {BK_POST, "/v1/unsubscribe", bk_admin_unsubscribe_user},
    {BK_POST, "/v1/revoke", bk_admin_revoke},
    {BK_POST, "/v1/disconnect-token", bk_admin_kick_token},
    {BK_POST, "/v1/revoke-token", bk_admin_revoke_token},
    {BK_POST, "/v1/drain", bk_admin_begin_drain},
};

size_t bk_admin_routes(struct bk_admin *a, struct bk_route *rows, size_t room) {
  BX_BUG_ON(room < BK_ADMIN_VERBS + 1);
  for (size_t i = 0; i < BK_ADMIN_VERBS; i++)
    rows[i] =
        (struct bk_route){.methods = verbs[i].method, .path = verbs[i].path, .handle = handle, .context = &a->verbs[i]};
  rows[BK_ADMIN_VERBS] =
      (struct bk_route){.methods = BK_POST, .path = "/v1/publish", .handle = bk_publish_handle, .context = &a->publish};
  return BK_ADMIN_VERBS + 1;
}

struct bk_admin *bk_admin_create(const struct bk_admin_options *options) {
  struct bk_admin *a = bx_alloc(sizeof *a);
  a->options = *options;
  a->started = bk_loop_now(options->loop);
  bx_list_init(&a->tails);
  bk_secrets_init(&a->tokens, &options->token, 1);
  a->publish.tokens = &a->tokens;
  a->publish.owed = options->owed;
  a->publish.max_data = options->max_message;
  a->publish.publisher = bk_local_publisher_create(options->loop, options->server);
  bk_admin_listing_init(a);
  for (size_t i = 0; i < BK_ADMIN_VERBS; i++) a->verbs[i] = (struct bk_admin_verb){a, verbs[i].handle};
  return a;
}

void bk_admin_destroy(struct bk_admin *a) {
  if (!a) return;
  BX_BUG_ON(!bx_list_empty(&a->tails));
  bk_publisher_destroy(a->publish.publisher);
  bk_secrets_fini(&a->tokens);
  bx_free(a);
}
