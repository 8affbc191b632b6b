// SPDX-License-Identifier: Apache-2.0
// Asks another daemon's health URL every second, so that readiness is known without asking. Logs
// changes only: a daemon that stays away is one line.
#pragma once

#include "bayeux/base.h"
#include "bayeux/wheel.h"
#include "broker/host/http_client.h"
#include "broker/host/loop.h"

struct bk_probe_request;

struct bk_probe {
  const char *what;                // "broker", "api": for reasons and the log
  const char *url;                 // http://.../readyz
  const char *unix_path, *token;   // NULL: none
  struct bk_loop *loop;
  struct bk_http_client *client;

  // From here on its own.
  struct bx_timer timer;
  struct bk_probe_request *request;   // NULL: none under way
  char why[160];                      // why it is not ready; "" when it is
};

// The fields above the line are filled; they are borrowed. `client` outlives the probe.
void bk_probe_start(struct bk_probe *);
void bk_probe_stop(struct bk_probe *);

// NULL when ready, else why not: "broker: Connection refused". Not ready until the first answer.
const char *bk_probe_not_ready(const struct bk_probe *);

// Somebody else noticed that it does not answer. The next probe decides again.
void bk_probe_failed(struct bk_probe *, const char *why);
