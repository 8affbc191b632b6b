// SPDX-License-Identifier: Apache-2.0
// /healthz and /readyz for any listener of any daemon: 200 or 503 with
// {"ready": bool, "reasons": ["..."]}. /healthz says that the process answers; /readyz asks the
// daemon why it should get no work.
#pragma once

#include "broker/host/http.h"

struct bk_health {
  // Calls bk_health_reason() for each reason not to be ready. NULL: always ready. Called per request;
  // what is dear to find out is remembered by the daemon.
  void (*reasons)(void *context, struct bk_health *);
  void *context;
  struct bx_buffer *answer;   // while `reasons` runs
};

void bk_health_reason(struct bk_health *, const char *reason);

// Two rows for a route table; the struct is borrowed as long as the table is used.
#define BK_HEALTH_ROUTES(health)                                                                       \
  {.methods = BK_GET | BK_HEAD, .path = "/healthz", .handle = bk_health_alive, .context = (health)}, { \
    .methods = BK_GET | BK_HEAD, .path = "/readyz", .handle = bk_health_ready, .context = (health)     \
  }

void bk_health_alive(void *health, struct bk_exchange *);
void bk_health_ready(void *health, struct bk_exchange *);
