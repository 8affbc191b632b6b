// SPDX-License-Identifier: Apache-2.0
// What can be configured in mora-broker.
#pragma once

#include "bayeux/server.h"
#include "broker/engine/engine.h"
#include "config/config.h"

struct bk_options {
  struct cf_strings listen;
  struct bx_slice mounts;   // JSON; see bk_mounts_read()
  bx_millis timeout, interval, ping, drain;

  uint64_t journal_bytes;
  bx_millis journal_age;

  int access_mode;
  struct cf_strings origins;
  bool jsonp, insecure;

  uint64_t max_body, max_batch, max_channels, max_clients, handshake_rate, max_json_depth, max_outbox;

  struct cf_strings admin_listen;
  const char *admin_token;

  struct bk_engine_options engine;   // of a table of its own: mora-api reads it too
};

extern const struct cf_option bk_options[];

// Keys of other daemons, skipped so that one file serves all.
extern const char *const bk_foreign_options[];

// The value of broker.mounts. A mount without a timeout has `standard` ones. NULL: *mounts (bx_free)
// and *count are filled, paths point into `json`. Else what was expected.
const char *bk_mounts_read(struct bx_slice json, const struct bx_mount *standard, struct bx_mount **mounts,
                           size_t *count);
