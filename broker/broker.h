// SPDX-License-Identifier: Apache-2.0
// The broker put together: loop, engine, server, transports, admin, listeners, and its end.
//
// Drain, on SIGTERM or SIGINT: not ready, no more connections, held connects answered, websockets
// closed; when the last client is gone the engine takes leave of the other nodes, and the loop ends. All of
// it within broker.drain. A second signal ends the process at once.
#pragma once

#include "broker/access/authority.h"
#include "broker/access/guard.h"
#include "broker/access/limits.h"
#include "broker/admin/admin.h"
#include "broker/host/health.h"
#include "broker/options.h"
#include "broker/supervisor.h"
#include "broker/transport/script.h"
#include "broker/transport/transport.h"
#include "broker/webhook/webhook.h"

enum { BK_MAX_LISTENERS = 32 };

struct bk_broker {
  const struct bk_options *options;
  const struct bk_worker *worker;   // NULL: this process is the whole broker
  char node[BK_NODE_ID];
  struct bk_loop *loop;
  struct bk_engine *engine;   // NULL: the memory engine
  struct bx_server *server;
  struct bk_limits limits;
  struct bk_authority *authority;      // NULL: nobody is asked
  struct bk_webhook *webhook;          // NULL: nobody is told
  struct bk_gathered admin_gathered;   // clients may not use up what is mora-api's
  struct bk_guard guard;               // used unless access.mode is open
  struct bk_transport transport;
  struct bk_scripts scripts;
  struct bk_admin *admin;
  struct bk_owed owed;   // answers to publishes
  struct bk_health health;
  struct bk_proxies proxies;
  struct bk_tls *tls;   // NULL: plain
  struct bx_mount *mounts;
  size_t mount_count;
  struct bk_endpoint *endpoints[2];   // per mount; [1]: on loopback listeners
  struct bk_route *routes[2];         // of broker listeners, as above
  struct bk_route *admin_routes;
  struct bk_listener *listeners[BK_MAX_LISTENERS];
  size_t listener_count, client_listeners;   // those of clients come first
  bool draining, leaving;
  unsigned ends;           // SIGTERM and SIGINT that came
  bx_millis lost_logged;   // a flood of lost sessions is a line a second
  uint64_t lost_unsaid;
  struct bk_turn_hook hook;
  struct bx_timer drain_timer;
};

// The loop, and who this node is. The options outlive it, and so do the certificates (NULL: no TLS), the
// keys of tokens (NULL: none) and what
// a worker was given (NULL: it is none).
void bk_broker_init(struct bk_broker *, const struct bk_options *, struct bk_tls *, struct bk_jwt *,
                    const struct bk_worker *);
// Opens the listeners and makes every other part. False: a listener could not be, which was logged; the
// broker is only good for fini then.
bool bk_broker_start(struct bk_broker *);
void bk_broker_run(struct bk_broker *);
// Everything ends, in the opposite order. `left`: what should be nothing.
void bk_broker_fini(struct bk_broker *, struct bx_counters *left);
