// SPDX-License-Identifier: Apache-2.0
#include "broker/broker.h"

#include "bayeux/memory_engine.h"
#include "broker/host/health.h"
#include "broker/host/log.h"
#include "broker/publish/auth.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

enum {
  MAX_MEMBERS = 256,       // of one message
  MAX_REPLIES = 1 << 20,   // bytes that wait for a websocket which does not read
  MAX_WAITING = 4 << 20,   // bytes of a connection's texts that are not done; then a websocket is not read
  MAX_ONCE = 1000000,      // idempotency keys
  HEADER_TIME = 30000,     // ms, from accept to a whole request, and idle between two
  ADMIN_BODY = 16 << 20,   // a thousand messages of some size
  ADMIN_GATHERED = 4 * ADMIN_BODY,
};

// -- what the server asks of its surroundings ------------------------------------------------------

static void random_bytes(void *context, void *bytes, size_t count) {
  (void)context;
  char *at = bytes;
  while (count > 0) {
    ssize_t got = getrandom(at, count, 0);
    if (got < 0) continue;   // a signal came
    at += got;
    count -= (size_t)got;
  }
}

static bx_millis loop_time(void *context) {
  const struct bk_broker *b = context;
  return bk_loop_now(b->loop);
}

// Many at once are one line a second, with the number of those left out before it.
static void log_lost(struct bk_broker *b, struct bx_slice client, struct bx_slice reason) {
  bx_millis now = bk_loop_now(b->loop);
  if (b->lost_logged != 0 && now < b->lost_logged + 1000) {
    b->lost_unsaid++;
    return;
  }
  bk_warn("session.lost", bk_sl("client", client), bk_sl("reason", reason), bk_u("left_out", b->lost_unsaid));
  b->lost_logged = now;
  b->lost_unsaid = 0;
}

// With Redis the webhook is told what stands in the stream, whichever node it happened on.
static void tell(struct bk_broker *b, const char *kind, const struct bx_session *s, struct bx_slice detail) {
  if (b->webhook && !b->engine) bk_webhook_happened(b->webhook, kind, bx_session_id(s), bx_session_user(s), detail);
}

static void on_event(void *context, enum bx_event event, const struct bx_session *s, struct bx_slice detail) {
  struct bk_broker *b = context;
  struct bx_slice id = bx_session_id(s);
  switch (event) {
  case BX_EVENT_HANDSHAKE:
    bk_debug("session.handshake", bk_sl("client", id), bk_sl("user", bx_session_user(s)));
    tell(b, "handshake", s, detail);
    break;
  case BX_EVENT_SUBSCRIBE:
    bk_debug("session.subscribe", bk_sl("client", id), bk_sl("pattern", detail));
    tell(b, "subscribe", s, detail);
    break;
  case BX_EVENT_UNSUBSCRIBE:
  case BX_EVENT_DROP:
    bk_debug("session.unsubscribe", bk_sl("client", id), bk_sl("pattern", detail));
    if (event == BX_EVENT_UNSUBSCRIBE) tell(b, "unsubscribe", s, detail);
    break;
  case BX_EVENT_DISCONNECT:
    bk_debug("session.disconnect", bk_sl("client", id), bk_sl("reason", detail));
    tell(b, "disconnect", s, detail);
    break;
  case BX_EVENT_LOST: log_lost(b, id, detail); break;
  }
}

static const char *admit(void *context, struct bx_slice address, void **tally) {
  return bk_limits_admit(&((struct bk_broker *)context)->limits, address, tally);
}

static void leave(void *context, void *tally) { bk_limits_leave(&((struct bk_broker *)context)->limits, tally); }

static void appended(void *context, const struct bx_entry *entry) {
  struct bk_broker *b = context;
  if (b->admin) bk_admin_appended(b->admin, entry);
}

// -- parts -----------------------------------------------------------------------------------------

static bx_millis longest_life(const struct bk_broker *b) {
  bx_millis timeout = 0;
  for (size_t i = 0; i < b->mount_count; i++)
    if (b->mounts[i].timeout > timeout) timeout = b->mounts[i].timeout;
  return 2 * timeout;
}

// Other nodes are told the address of the first listener, with its real port.
static struct bx_engine *create_engine(struct bk_broker *b) {
  if (b->options->engine.type == BK_ENGINE_REDIS) {
    const char *address = b->listener_count > 0 ? bk_listener_address(b->listeners[0]) : "";
    b->engine = bk_engine_create(b->loop, &b->options->engine, b->node, "broker", address, longest_life(b));
    return er_node_engine(bk_engine_node(b->engine));
  }
  struct bx_table_key secret;
  random_bytes(NULL, &secret, sizeof secret);
  return bx_memory_engine_create(bk_wall_clock() / 1000, MAX_ONCE, secret);
}

static void create_server(struct bk_broker *b) {
  const struct bk_options *o = b->options;
  struct bx_env env = {.context = b,
                       .random = random_bytes,
                       .now = loop_time,
                       .admit = admit,
                       .leave = leave,
                       .event = on_event,
                       .appended = appended};
  struct bx_server_options options = {
      .message = {.depth = (unsigned)o->max_json_depth, .batch = (unsigned)o->max_batch, .members = MAX_MEMBERS},
      .journal = {.messages = o->engine.journal_messages, .bytes = o->journal_bytes, .age = o->journal_age},
      .max_sessions = (uint32_t)o->max_clients,
      .max_subscriptions = (uint32_t)o->max_channels,
      .max_channel_length = (uint32_t)o->engine.max_channel_length,
      .max_channel_depth = (uint32_t)o->engine.max_channel_depth,
      .max_outbox_bytes = (uint32_t)o->max_outbox,
      .max_lag = o->max_lag,
      .handshake_rate = (uint32_t)o->handshake_rate,
      .retry = (uint32_t)o->retry,
      .max_replies_bytes = MAX_REPLIES,
      .max_waiting_bytes = MAX_WAITING,
      .max_all_waiting = o->max_waiting,
      .presence_grace = o->presence_grace,
      .presence_members = (uint32_t)o->presence_members,
      .pod = o->engine.pod ? o->engine.pod[0] : 0,
  };
  b->server = bx_server_create(&env, &options, create_engine(b), bk_loop_now(b->loop));
  bk_limits_attach(&b->limits, b->server);
  if (o->access.mode != BK_ACCESS_OPEN) bx_server_guard(b->server, &b->guard.access);
}

static void create_authority(struct bk_broker *b) {
  const struct bk_access_options *o = &b->options->access;
  struct bx_table_key secret;
  if (!o->authority_url) return;
  random_bytes(NULL, &secret, sizeof secret);
  b->authority = bk_authority_create(b->loop, &b->guard,
                                     &(struct bk_authority_options){.url = o->authority_url,
                                                                    .token = o->authority_token,
                                                                    .timeout = o->authority_timeout,
                                                                    .cache = o->authority_cache,
                                                                    .concurrency = o->authority_concurrency},
                                     secret);
}

static void create_webhook(struct bk_broker *b) {
  const struct bk_webhook_options *o = &b->options->webhook;
  if (!o->url) return;
  b->webhook = bk_webhook_create(b->loop, o, b->engine ? er_node_core(bk_engine_node(b->engine)) : NULL, b->node,
                                 b->options->engine.pod);
}

// -- health ----------------------------------------------------------------------------------------

static void not_ready(void *context, struct bk_health *health) {
  struct bk_broker *b = context;
  struct bx_engine *engine = b->server->engine;
  const char *why = engine->ops->not_ready(engine);
  if (b->draining) bk_health_reason(health, "draining");
  if (why) bk_health_reason(health, why);
}

// -- listeners -------------------------------------------------------------------------------------

enum { HEALTH = 2 };   // rows

static void create_limits(struct bk_broker *b) {
  const struct bk_options *o = b->options;
  struct bx_table_key secret;
  random_bytes(NULL, &secret, sizeof secret);
  bk_limits_init(&b->limits,
                 &(struct bk_limits_options){.message = o->engine.max_message,
                                             .clients_per_address = o->max_clients_per_address,
                                             .handshake_rate = o->handshake_rate,
                                             .accept_rate = o->accept_rate,
                                             .gathered = o->max_gathered,
                                             .proxies = &b->proxies},
                 b->loop, secret);
}

static void create_mounts(struct bk_broker *b) {
  const struct bk_route health[HEALTH] = {BK_HEALTH_ROUTES(&b->health)};
  const struct bx_mount standard = {.timeout = b->options->timeout, .interval = b->options->interval};
  BX_BUG_ON(bk_mounts_read(b->options->mounts, &standard, &b->mounts, &b->mount_count) != NULL);   // checked
  for (int loopback = 0; loopback < 2; loopback++) {
    struct bk_endpoint *endpoints = bx_alloc(b->mount_count * sizeof *endpoints);
    struct bk_route *routes = bx_alloc((HEALTH + b->mount_count + 1) * sizeof *routes);
    size_t n = HEALTH;
    memcpy(routes, health, sizeof health);
    for (size_t i = 0; i < b->mount_count; i++) {
      endpoints[i] = (struct bk_endpoint){&b->transport, &b->mounts[i], loopback};
      routes[n++] = bk_endpoint_route(&endpoints[i]);
    }
    b->endpoints[loopback] = endpoints;
    b->routes[loopback] = routes;
  }
}

// For workers it is their parent's business. However often it is asked, and whatever stops the process
// afterwards: a drain is not cut short by it, as it is by a second SIGTERM.
static void ask_to_drain(void *context) {
  struct bk_broker *b = context;
  kill(b->worker ? getppid() : getpid(), BK_DRAIN_SIGNAL);
}

static void create_admin(struct bk_broker *b) {
  enum { ROOM = 24 };
  const struct bk_route health[HEALTH] = {BK_HEALTH_ROUTES(&b->health)};
  b->admin = bk_admin_create(&(struct bk_admin_options){
      .loop = b->loop,
      .server = b->server,
      .transport = &b->transport,
      .engine = b->engine ? bk_engine_node(b->engine) : NULL,
      .core = b->engine ? er_node_core(bk_engine_node(b->engine)) : NULL,
      .node = b->node,
      .token = b->options->admin_token,
      .max_message = b->options->engine.max_message,
      .guard = &b->guard,
      .authority = b->authority,
      .webhook = b->webhook,
      .owed = &b->owed,
      .board = b->worker ? b->worker->board : NULL,
      .slot = b->worker ? b->worker->number : 0,
      .listeners = b->listeners,
      .listener_count = &b->listener_count,
      .drain = ask_to_drain,
      .drain_context = b,
  });
  b->admin_routes = bx_alloc((HEALTH + ROOM + 1) * sizeof *b->admin_routes);
  memcpy(b->admin_routes, health, sizeof health);
  bk_admin_routes(b->admin, b->admin_routes + HEALTH, ROOM);
}

static bool listen_on(struct bk_broker *b, struct cf_strings addresses, struct bk_listener_options options) {
  for (size_t i = 0; i < addresses.count; i++) {
    char error[256];
    options.address = addresses.at[i];
    if (strcmp(options.name, "broker") == 0) options.routes = b->routes[bk_address_is_local(options.address)];
    struct bk_listener *l = NULL;
    if (b->worker) options.fd = b->worker->fds[b->listener_count];
    if (b->listener_count == BK_MAX_LISTENERS)
      snprintf(error, sizeof error, "too many addresses");
    else
      l = bk_listener_open(b->loop, &options, error, sizeof error);
    if (!l) {
      bk_error("listen.failed", bk_s("listener", options.name), bk_s("address", options.address), bk_s("error", error));
      return false;
    }
    b->listeners[b->listener_count++] = l;
  }
  return true;
}

// -- draining --------------------------------------------------------------------------------------

// After the last client: the other nodes are told where its sessions stand.
static bool has_left(struct bk_broker *b) {
  if (!b->engine) return true;
  if (!b->leaving) {
    bk_webhook_leave(b->webhook);
    bk_transport_leave(&b->transport);
    er_node_leave(bk_engine_node(b->engine));
  }
  b->leaving = true;
  return er_node_has_left(bk_engine_node(b->engine));
}

static void end_of_turn(struct bk_turn_hook *hook) {
  struct bk_broker *b = bx_container_of(hook, struct bk_broker, hook);
  if (b->engine) bk_engine_watch(b->engine);
  bk_limits_watch(&b->limits);
  bk_admin_post_numbers(b->admin);
  if (b->draining && bk_transport_connections(&b->transport) + b->owed.count == 0 && has_left(b)) bk_loop_stop(b->loop);
}

static void drain_is_over(struct bx_timer *timer) {
  struct bk_broker *b = bx_container_of(timer, struct bk_broker, drain_timer);
  bk_warn("drain.cut_short", bk_u("connections", bk_transport_connections(&b->transport)));
  bk_loop_stop(b->loop);
}

static void on_drain(void *context, int signo) {
  struct bk_broker *b = context;
  (void)signo;
  if (b->draining) return;
  b->draining = b->owed.draining = true;
  bk_info("drain", bk_u("connections", bk_transport_connections(&b->transport)),
          bk_u("sessions", b->server->counters.sessions));
  for (size_t i = 0; i < b->client_listeners; i++) bk_listener_stop(b->listeners[i]);
  bk_transport_drain(&b->transport);
  bk_admin_drain(b->admin);
  bx_wheel_set(bk_loop_wheel(b->loop), &b->drain_timer, bk_loop_now(b->loop) + b->options->drain);
}

static void on_end(void *context, int signo) {
  struct bk_broker *b = context;
  if (b->ends++ > 0) _exit(128 + signo);
  on_drain(b, signo);
}

// New certificates and keys. Without them SIGHUP, which ends a process that says nothing else, does nothing.
static void on_hangup(void *context, int signo) {
  struct bk_broker *b = context;
  char error[512];
  const char *file;
  (void)signo;
  if (!b->tls && !b->guard.tokens) bk_info("reload.nothing");
  bk_guard_reload(&b->guard);
  if (b->tls && !bk_tls_reload(b->tls, &file, error, sizeof error))
    bk_error("tls.reload_failed", bk_s("file", file), bk_s("error", error));
}

// -- life ------------------------------------------------------------------------------------------

void bk_broker_init(struct bk_broker *b, const struct bk_options *options, struct bk_tls *tls, struct bk_jwt *tokens,
                    const struct bk_worker *worker) {
  *b = (struct bk_broker){.options = options,
                          .worker = worker,
                          .tls = tls,
                          .admin_gathered.limit = ADMIN_GATHERED,
                          .health = {not_ready, b, NULL},
                          .hook.turn = end_of_turn};
  bk_engine_new_id(b->node);
  b->loop = bk_loop_create();
  bk_proxies_init(&b->proxies, options->trusted_proxies);
  create_limits(b);
  bk_guard_init(&b->guard, &options->access, tokens);
  create_mounts(b);
}

static void create_parts(struct bk_broker *b) {
  const struct bk_options *options = b->options;
  create_server(b);
  create_authority(b);
  create_webhook(b);
  bk_scripts_load(&b->scripts);
  bk_transport_init(&b->transport, b->loop, b->server,
                    &(struct bk_transport_options){
                        .ping = options->ping,
                        .handshake_time = options->handshake_time,
                        .max_message = options->max_body,
                        .jsonp = options->jsonp,
                        .origins = options->origins,
                        .scripts = &b->scripts,
                    });
  create_admin(b);
  bx_timer_init(&b->drain_timer, drain_is_over);
  bk_loop_add_hook(b->loop, &b->hook);
  bk_loop_on_signal(b->loop, SIGTERM, on_end, b);
  bk_loop_on_signal(b->loop, SIGINT, on_end, b);
  bk_loop_on_signal(b->loop, BK_DRAIN_SIGNAL, on_drain, b);
  bk_loop_on_signal(b->loop, SIGHUP, on_hangup, b);
}

// Nobody is answered before the loop runs: the listeners can be there before what stands behind them.
bool bk_broker_start(struct bk_broker *b) {
  const struct bk_options *o = b->options;
  bx_millis time = o->handshake_time < o->header_time ? o->handshake_time : o->header_time;
  struct bk_listener_options clients = {.name = "broker",
                                        .gate = &b->limits.gate,
                                        .max_body = b->options->max_body,
                                        .gathered = &b->limits.gathered,
                                        .max_head = o->max_head,
                                        .header_time = time,
                                        .idle_time = o->idle_time,
                                        .answer_time = o->answer_time,
                                        .names = &o->origins,
                                        .names_key = "access.origins",
                                        .unix_mode = bk_mode_read(b->options->socket_mode),
                                        .tls = b->tls,
                                        .proxies = b->proxies.count > 0 ? &b->proxies : NULL,
                                        .proxy_protocol = b->options->proxy_protocol,
                                        .deflate = b->options->deflate};
  bool good = listen_on(b, b->options->listen, clients);
  b->client_listeners = b->listener_count;
  create_parts(b);
  struct bk_listener_options admin = {.name = "admin",
                                      .routes = b->admin_routes,
                                      .max_body = ADMIN_BODY,
                                      .gathered = &b->admin_gathered,
                                      .header_time = HEADER_TIME};
  return good && listen_on(b, b->options->admin_listen, admin);
}

void bk_broker_run(struct bk_broker *b) {
  bk_info("ready", bk_u("epoch", b->server->engine->epoch), bk_u("head", bx_journal_head(&b->server->journal)));
  bk_loop_run(b->loop);
}

void bk_broker_fini(struct bk_broker *b, struct bx_counters *left) {
  while (b->listener_count > 0) bk_listener_close(b->listeners[--b->listener_count]);
  bx_wheel_cancel(bk_loop_wheel(b->loop), &b->drain_timer);
  bk_loop_remove_hook(b->loop, &b->hook);
  bk_transport_fini(&b->transport);
  bk_scripts_fini(&b->scripts);
  bx_server_destroy(b->server, left);
  bk_authority_destroy(b->authority);
  bk_webhook_destroy(b->webhook);
  bk_limits_fini(&b->limits);
  bk_guard_fini(&b->guard);
  bk_admin_destroy(b->admin);
  bk_engine_destroy(b->engine);
  bk_loop_destroy(b->loop);
  bk_proxies_fini(&b->proxies);
  for (int i = 0; i < 2; i++) {
    bx_free(b->endpoints[i]);
    bx_free(b->routes[i]);
  }
  bx_free(b->admin_routes);
  bx_free(b->mounts);
}
