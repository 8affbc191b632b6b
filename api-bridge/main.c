// SPDX-License-Identifier: Apache-2.0
// mora-api: publishing and chat over HTTP.
#include "api-bridge/chat.h"
#include "api-bridge/daemon.h"
#include "api-bridge/options.h"
#include "broker/publish/handler.h"
#include "broker/publish/journal.h"
#include "broker/publish/remote.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BODY = 4 << 20, HEADER_TIME = 10000 };   // bytes, ms

static struct ab_options options;

struct api {
  struct ab_daemon daemon;
  struct bk_secrets tokens;
  struct bk_http_client *client;
  struct bk_publisher *publisher;
  struct bk_publish_handler publish;
  struct ab_chat chat;
};

// Straight into Redis; else through a broker.
static bool appends(void) {
  if (!options.publish) return options.engine.type == BK_ENGINE_REDIS;
  return strcmp(options.publish, "redis") == 0;
}

static const char *not_ready(void *context) { return bk_publisher_not_ready(((struct api *)context)->publisher); }

static bool leave(void *context) { return bk_publisher_leave(((struct api *)context)->publisher); }

static void metrics(void *context, struct bk_exchange *x) {
  struct api *a = context;
  if (!bk_tokens_admit(&a->tokens, x)) return;
  struct bx_buffer text = {0};
  bk_metrics_write(&text, bk_host_metrics, &bk_host_counters);
  bk_metrics_write(&text, bk_publish_metrics, &a->publish.counters);
  bk_metrics_write(&text, ab_chat_metrics, &a->chat.counters);
  if (appends())
    bk_metrics_write(&text, bk_engine_metrics, bk_journal_counters(a->publisher));
  else
    bk_metrics_write(&text, bk_remote_metrics, bk_remote_counters(a->publisher));
  bk_exchange_respond(x, &(struct bk_response){
                             .status = 200,
                             .content_type = "text/plain; version=0.0.4; charset=utf-8",
                             .body = bx_buffer_view(&text),
                         });
  bx_buffer_fini(&text);
}

// An open API must be out of reach of other machines.
static void check(const struct cf_set *config, struct bx_buffer *faults) {
  for (size_t i = 0; i < options.listen.count && options.tokens.count == 0; i++) {
    const char *address = options.listen.at[i];
    if (bk_address_is_local(address)) continue;
    bx_buffer_printf(faults, "%s: api.listen: other machines reach %s: set api.tokens\n",
                     cf_origin(config, "api.listen"), address);
  }
  bk_engine_check(config, &options.engine, faults);
  if (appends() && options.engine.type != BK_ENGINE_REDIS)
    bx_buffer_printf(faults, "%s: api.publish: redis needs engine.type redis\n", cf_origin(config, "api.publish"));
}

static void create_publisher(struct api *a) {
  struct bk_loop *loop = a->daemon.loop;
  if (appends()) {
    const char *address = a->daemon.listener_count > 0 ? bk_listener_address(a->daemon.listeners[0]) : "";
    a->publisher = bk_journal_create(loop, &options.engine, address);
    a->publish.max_data = options.engine.max_message;   // a broker would look itself
    return;
  }
  a->client = bk_http_client_create(loop);
  a->publisher = bk_remote_create(loop, a->client,
                                  &(struct bk_remote_options){
                                      .url = options.publish ? options.publish : "http://127.0.0.1:8001",
                                      .token = options.publish_token,
                                      .timeout = options.timeout,
                                  });
}

static void create_parts(struct api *a) {
  unsigned char random[8];
  if (RAND_bytes(random, sizeof random) != 1) abort();
  ab_object_ids_init(&a->chat.ids, random);
  create_publisher(a);
  a->publish.publisher = a->chat.publisher = a->publisher;
  a->publish.tokens = a->chat.tokens = &a->tokens;
  a->publish.owed = a->chat.owed = &a->daemon.owed;
}

// Nobody is answered before the loop runs: the listeners can be there before what stands behind them.
static bool serve(struct api *a) {
  const struct bk_route routes[] = {
      {.methods = BK_POST, .path = "/v1/publish", .handle = bk_publish_handle, .context = &a->publish},
      {.methods = BK_POST, .path = "/v1/rooms/:roomId/chatMessages", .handle = ab_chat_post, .context = &a->chat},
      BK_HEALTH_ROUTES(&a->daemon.health),
      {.methods = BK_GET, .path = "/metrics", .handle = metrics, .context = a},
      {0}};
  const struct bk_listener_options listener = {
      .name = "api", .routes = routes, .max_body = MAX_BODY, .header_time = HEADER_TIME};
  bool listening = ab_daemon_listen(&a->daemon, options.listen, &listener);
  create_parts(a);
  if (listening) ab_daemon_run(&a->daemon);
  ab_daemon_close(&a->daemon);
  return listening;
}

int main(int argc, char **argv) {
  static const char *const foreign[] = {"broker.", "journal.", "access.", "auth.", "authority.",
                                        "limits.", "tls.",     "admin.",  "web.",  NULL};
  struct api a = {
      .daemon = {.program = {"mora-api", "Publishing and chat over HTTP: what is posted becomes channel events."},
                 .foreign = foreign,
                 .check = check,
                 .not_ready = not_ready,
                 .leave = leave,
                 .context = &a},
  };
  const struct cf_section sections[] = {{ab_options, &options}, {bk_engine_options, &options.engine}};
  int status = ab_daemon_configure(&a.daemon, sections, 2, argc, argv);
  if (status >= 0) return status;
  bk_secrets_init(&a.tokens, options.tokens.at, options.tokens.count);
  status = serve(&a) ? 0 : 1;
  bk_publisher_destroy(a.publisher);
  bk_http_client_destroy(a.client);
  bk_secrets_fini(&a.tokens);
  ab_daemon_fini(&a.daemon);
  return status;
}
