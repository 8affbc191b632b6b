// SPDX-License-Identifier: Apache-2.0
// mora-web: the chat page and what it loads.
#include "api-bridge/daemon.h"
#include "broker/publish/probe.h"
#include "web-gateway/assets.h"
#include "web-gateway/messages.h"
#include "web-gateway/options.h"
#include "web-gateway/page.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BODY = 64 << 10, HEADER_TIME = 10000 };   // bytes, ms

struct web {
  struct ab_daemon daemon;
  struct gw_options options;
  struct gw_assets assets;
  struct gw_page page;
  struct gw_messages messages;
  struct bk_probe probe;   // of mora-api
  struct bx_buffer probe_url;
};

static const char *not_ready(void *context) { return bk_probe_not_ready(&((struct web *)context)->probe); }

static void to_a_room(void *context, struct bk_exchange *x) {
  (void)context;
  const struct bk_header location = {"location", BX_LIT("/rooms/lobby")};
  bk_exchange_respond(x, &(struct bk_response){.status = 302, .headers = &location, .header_count = 1});
}

static int load_files(struct web *w) {
  static const char *const needed[] = {"room.html", "room.css", "room.js", "faye.js"};
  char folder[PATH_MAX], error[PATH_MAX + 128];
  if (w->options.files)
    snprintf(folder, sizeof folder, "%s", w->options.files);
  else
    gw_assets_default_folder(folder, sizeof folder);
  if (!gw_assets_load(&w->assets, folder, error, sizeof error))
    return ab_daemon_fault(&w->daemon, "web.static", "%s", error);
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    if (!gw_assets_find(&w->assets, bx_slice_of(needed[i])))
      return ab_daemon_fault(&w->daemon, "web.static", "%s has no file %s", folder, needed[i]);
  return 0;
}

static bool serve(struct web *w) {
  const struct bk_route routes[] = {
      {.methods = BK_GET | BK_HEAD, .path = "/", .handle = to_a_room},
      {.methods = BK_GET | BK_HEAD, .path = "/rooms/:roomId", .handle = gw_page_serve, .context = &w->page},
      {.methods = BK_POST, .path = "/rooms/:roomId/messages", .handle = gw_messages_post, .context = &w->messages},
      {.methods = BK_GET | BK_HEAD, .path = "/static/:name", .handle = gw_assets_serve, .context = &w->assets},
      BK_HEALTH_ROUTES(&w->daemon.health),
      {0}};
  const struct bk_listener_options options = {.name = "web",
                                              .routes = routes,
                                              .max_body = MAX_BODY,
                                              .header_time = HEADER_TIME,
                                              .names = &w->options.origins,
                                              .names_key = "web.origins"};
  if (!ab_daemon_listen(&w->daemon, w->options.listen, &options)) return false;
  ab_daemon_run(&w->daemon);
  ab_daemon_close(&w->daemon);
  return true;
}

// A page can be served while nothing can be published, so readiness asks whether mora-api is there,
// not whether it is ready.
static void start(struct web *w) {
  struct bk_loop *loop = w->daemon.loop;
  gw_page_init(&w->page, gw_assets_find(&w->assets, BX_LIT("room.html"))->bytes, w->options.broker);
  w->messages = (struct gw_messages){.client = bk_http_client_create(loop),
                                     .api = w->options.api,
                                     .token = w->options.api_token,
                                     .owed = &w->daemon.owed};
  size_t base = strlen(w->options.api);
  while (base > 0 && w->options.api[base - 1] == '/') base--;
  bx_buffer_printf(&w->probe_url, "%.*s/healthz", (int)base, w->options.api);
  bx_buffer_char(&w->probe_url, 0);
  w->probe = (struct bk_probe){
      .what = "api", .url = w->probe_url.at, .token = w->options.api_token, .loop = loop, .client = w->messages.client};
  bk_probe_start(&w->probe);
}

static void stop(struct web *w) {
  bk_probe_stop(&w->probe);
  bk_http_client_destroy(w->messages.client);
  bx_buffer_fini(&w->probe_url);
  gw_page_fini(&w->page);
}

int main(int argc, char **argv) {
  static const char *const foreign[] = {"broker.", "engine.", "journal.", "access.", "auth.", "authority.",
                                        "limits.", "tls.",    "admin.",   "api.",    NULL};
  struct web w = {
      .daemon = {.program = {"mora-web", "Chat pages for browsers, on top of mora-broker and mora-api."},
                 .foreign = foreign,
                 .not_ready = not_ready,
                 .context = &w},
  };
  struct cf_section section = {gw_options, &w.options};
  int status = ab_daemon_configure(&w.daemon, &section, 1, argc, argv);
  if (status >= 0) return status;
  status = load_files(&w);
  if (status == 0) {
    start(&w);
    status = serve(&w) ? 0 : 1;
    stop(&w);
  }
  gw_assets_fini(&w.assets);
  ab_daemon_fini(&w.daemon);
  return status;
}
