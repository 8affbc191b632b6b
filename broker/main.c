// SPDX-License-Identifier: Apache-2.0
// mora-broker: configuration, what its keys mean together, and the exit status.
//
//   0   drained, or answered (--help, --check-config, ...)
//   1   could not start
//   2   wrong configuration
//   70  something was left at the end that should not have been
#include "broker/admin/numbers.h"
#include "broker/broker.h"
#include "broker/host/daemon.h"
#include "broker/host/log.h"
#include "broker/publish/auth.h"

enum { EXIT_CANNOT_START = 1, EXIT_LEAK = 70 };

static const char *first_reachable(struct cf_strings addresses) {
  for (size_t i = 0; i < addresses.count; i++)
    if (!bk_address_is_local(addresses.at[i])) return addresses.at[i];
  return NULL;
}

static void fault(const struct cf_set *config, const char *key, struct bx_buffer *text) {
  bx_buffer_printf(text, "%s: %s: ", cf_origin(config, key), key);
}

static struct bk_options options;
static struct bk_jwt *tokens;   // keys, as well
static struct bk_tls *tls;      // read while the configuration is checked; NULL: no TLS

static void read_certificates(const struct cf_set *config, const struct bk_options *o, struct bx_buffer *faults) {
  struct bk_certificates c;
  char error[512];
  const char *file = "";
  bk_certificates_read(o, &c);
  if (c.count > 0) tls = bk_tls_create(c.at, c.count, &file, error, sizeof error);
  if (c.count > 0 && !tls) {
    const char *key = "tls.certificates";
    if (o->tls.certificate && strcmp(file, o->tls.certificate) == 0) key = "tls.certificate";
    if (o->tls.key && strcmp(file, o->tls.key) == 0) key = "tls.key";
    fault(config, key, faults);
    bx_buffer_printf(faults, "%s: %s\n", file, error);
  }
  bk_certificates_fini(&c);
}

static void read_token_keys(const struct cf_set *config, const struct bk_options *o, struct bx_buffer *faults) {
  char error[512];
  tokens = bk_access_tokens(&o->access, bk_wall_clock, error, sizeof error);
  if (!error[0]) return;
  fault(config, "auth.jwt.jwks", faults);
  bx_buffer_printf(faults, "%s\n", error);
}

// What no row of the table can judge alone.
static void check(const struct cf_set *config, struct bx_buffer *faults) {
  const struct bk_options *o = &options;
  const char *reachable;
  bk_engine_check(config, &o->engine, faults);
  bk_access_check(config, &options.access, faults);
  bk_webhook_check(config, &o->webhook, faults);
  read_token_keys(config, o, faults);
  if (o->access.mode == BK_ACCESS_OPEN && (reachable = first_reachable(o->listen)) != NULL && !o->insecure) {
    fault(config, "broker.listen", faults);
    bx_buffer_printf(faults,
                     "other machines reach %s, and access.mode is open: everybody could read and publish "
                     "everything. Give access.rules; or, if that is meant, set access.insecure to true\n",
                     reachable);
  }
  if ((reachable = first_reachable(o->admin_listen)) != NULL && !o->admin_token) {
    fault(config, "admin.listen", faults);
    bx_buffer_printf(faults, "other machines reach %s: set admin.token\n", reachable);
  }
  if (o->workers > 1 && o->engine.type != BK_ENGINE_REDIS) {
    fault(config, "broker.workers", faults);
    bx_buffer_lit(faults, "workers meet in Redis: set engine.type to redis\n");
  }
  if (o->proxy_protocol && o->trusted_proxies.count == 0) {
    fault(config, "broker.proxy_protocol", faults);
    bx_buffer_lit(faults, "no proxy is trusted: set broker.trusted_proxies\n");
  }
  if (!o->tls.certificate != !o->tls.key) {
    fault(config, o->tls.key ? "tls.key" : "tls.certificate", faults);
    bx_buffer_printf(faults, "set %s, too\n", o->tls.key ? "tls.certificate" : "tls.key");
  }
  if (o->engine.max_message > o->max_body) {
    fault(config, "limits.message", faults);
    bx_buffer_lit(faults, "more than limits.body, in which messages come\n");
  }
  if (o->max_gathered < o->max_body) {
    fault(config, "limits.gathered", faults);
    bx_buffer_lit(faults, "less than limits.body: not one body of that size could come in\n");
  }
  read_certificates(config, o, faults);
}

static int finish(struct bk_broker *b) {
  struct bx_counters left;
  bk_broker_fini(b, &left);
  bk_info("stop", bk_u("sessions", left.sessions), bk_u("frames", left.frames), bk_u("connections", left.connections),
          bk_u("batches", left.batches));
  if (left.sessions + left.frames + left.connections + left.batches == 0) return 0;
  bk_error("leak", bk_u("sessions", left.sessions), bk_u("frames", left.frames), bk_u("connections", left.connections),
           bk_u("batches", left.batches));
  return EXIT_LEAK;
}

static int run(const struct bk_worker *worker) {
  struct bk_broker broker;
  bk_broker_init(&broker, &options, tls, tokens, worker);
  bk_info("start", bk_s("version", MORA_VERSION), bk_s("node", broker.node),
          bk_s("engine", options.engine.type == BK_ENGINE_REDIS ? "redis" : "memory"));
  bk_daemon_check_descriptors(options.max_clients);
  bool listening = bk_broker_start(&broker);
  if (listening) bk_broker_run(&broker);
  int status = finish(&broker);
  return listening ? status : EXIT_CANNOT_START;
}

int main(int argc, char **argv) {
  static const struct cf_section sections[] = {{bk_options, &options},
                                               {bk_engine_options, &options.engine},
                                               {bk_access_options, &options.access},
                                               {bk_webhook_options, &options.webhook}};
  static const struct bk_daemon daemon = {
      .program = {"mora-broker", "The Bayeux server: websockets and polls of clients, delivery of messages."},
      .sections = sections,
      .count = sizeof sections / sizeof *sections,
      .foreign = bk_foreign_options,
      .check = check,
  };
  int status;
  struct bk_worker worker;
  bool is_worker = bk_worker_init(&worker);
  struct cf_set *config = bk_daemon_start(&daemon, argc, argv, &status);
  if (config)
    status = options.workers > 1 && !is_worker ? bk_supervise(&options, argv) : run(is_worker ? &worker : NULL);
  if (is_worker) bk_board_close(worker.board);
  bk_tls_destroy(tls);
  bk_jwt_destroy(tokens);
  cf_free(config);
  return status;
}
