// SPDX-License-Identifier: Apache-2.0
// mora-broker: configuration, what its keys mean together, and the exit status.
//
//   0   drained, or answered (--help, --check-config, ...)
//   1   could not start
//   2   wrong configuration
//   70  something was left at the end that should not have been
#include "broker/broker.h"
#include "broker/host/log.h"
#include "broker/publish/auth.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_CANNOT_START = 1, EXIT_CONFIGURATION = 2, EXIT_LEAK = 70 };

static int print(FILE *to, struct bx_buffer *text, int status) {
  fwrite(text->at, 1, text->len, to);
  bx_buffer_fini(text);
  return fflush(to) == 0 ? status : 1;
}

static const char *first_reachable(struct cf_strings addresses) {
  for (size_t i = 0; i < addresses.count; i++)
    if (!bk_address_is_local(addresses.at[i])) return addresses.at[i];
  return NULL;
}

static void fault(const struct cf_set *config, const char *key, struct bx_buffer *text) {
  bx_buffer_printf(text, "%s: %s: ", cf_origin(config, key), key);
}

// What no row of the table can judge alone.
static bool is_sound(const struct cf_set *config, const struct bk_options *o, struct bx_buffer *text) {
  const char *reachable;
  if (o->engine == BK_ENGINE_REDIS) {
    fault(config, "engine.type", text);
    bx_buffer_lit(text, "the Redis engine is not part of this version; set memory\n");
  }
  if ((reachable = first_reachable(o->listen)) != NULL && !o->insecure) {
    fault(config, "broker.listen", text);
    bx_buffer_printf(text,
                     "other machines reach %s, and access.mode is open: everybody could read and publish "
                     "everything. If that is meant, set access.insecure to true\n",
                     reachable);
  }
  if ((reachable = first_reachable(o->admin_listen)) != NULL && !o->admin_token) {
    fault(config, "admin.listen", text);
    bx_buffer_printf(text, "other machines reach %s: set admin.token\n", reachable);
  }
  if (o->max_message > o->max_body) {
    fault(config, "limits.message", text);
    bx_buffer_lit(text, "more than limits.body, in which messages come\n");
  }
  return text->len == 0;
}

// One descriptor per connection: as many as the system lets us have.
static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
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

static int run(const struct bk_options *options) {
  struct bk_broker broker;
  raise_descriptor_limit();
  bk_broker_init(&broker, options);
  bk_info("start", bk_s("version", MORA_VERSION), bk_s("node", broker.node), bk_s("engine", "memory"));
  bool listening = bk_broker_listen(&broker);
  if (listening) bk_broker_run(&broker);
  int status = finish(&broker);
  return listening ? status : EXIT_CANNOT_START;
}

int main(int argc, char **argv) {
  static const struct cf_program program = {
      .name = "mora-broker", .purpose = "The Bayeux server: websockets and polls of clients, delivery of messages."};
  struct bk_options options;
  struct cf_section section = {bk_options, &options};
  enum cf_action action;
  struct bx_buffer text = {0};
  struct cf_set *config = cf_load(&section, 1, bk_foreign_options, argc, argv, environ, &action, &text);
  if (!config) return print(stderr, &text, EXIT_CONFIGURATION);
  int status;
  if ((action == CF_RUN || action == CF_CHECK) && !is_sound(config, &options, &text)) {
    status = print(stderr, &text, EXIT_CONFIGURATION);
  } else if (action != CF_RUN) {
    cf_answer(config, action, &program, &text);
    status = print(stdout, &text, 0);
  } else {
    bx_buffer_fini(&text);
    bk_log_configure((enum bk_level)options.log_level, options.log_format == 1);
    status = run(&options);
  }
  cf_free(config);
  return status;
}
