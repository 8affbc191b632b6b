// SPDX-License-Identifier: Apache-2.0
// What can be configured in mora-broker.
#pragma once

#include "bayeux/server.h"
#include "broker/access/options.h"
#include "broker/engine/engine.h"
#include "broker/host/peer.h"
#include "broker/host/tls.h"
#include "broker/webhook/options.h"
#include "config/config.h"

struct bk_options {
  uint64_t workers;
  struct cf_strings listen;
  const char *socket_mode;   // see bk_mode_read()
  struct cf_strings trusted_proxies;
  bool proxy_protocol, deflate;
  struct bx_slice mounts;   // JSON; see bk_mounts_read()
  bx_millis timeout, interval, retry, ping, drain;

  uint64_t journal_bytes;
  bx_millis journal_age;

  struct bk_access_options access;   // of a table of its own: the tool reads it too
  struct cf_strings origins;
  bool jsonp, insecure;

  bx_millis presence_grace;
  uint64_t presence_members;

  uint64_t max_body, max_batch, max_channels, max_clients, max_clients_per_address, handshake_rate, accept_rate;
  uint64_t max_json_depth, max_outbox, max_lag;
  uint64_t max_head, max_gathered, max_waiting;
  bx_millis handshake_time, header_time, idle_time, answer_time;

  struct bk_tls_files tls;
  struct bx_slice certificates;   // JSON; see bk_certificates_read()

  struct cf_strings admin_listen;
  const char *admin_token;

  struct bk_webhook_options webhook;   // of a table of its own
  struct bk_engine_options engine;     // of a table of its own: mora-api reads it too
};

extern const struct cf_option bk_options[];

// Keys of other daemons, skipped so that one file serves all.
extern const char *const bk_foreign_options[];

// The value of broker.mounts. A mount without a timeout has `standard` ones. NULL: *mounts (bx_free)
// and *count are filled, paths point into `json`. Else what was expected.
const char *bk_mounts_read(struct bx_slice json, const struct bx_mount *standard, struct bx_mount **mounts,
                           size_t *count);

// The value of broker.socket_mode; 0 for NULL.
unsigned bk_mode_read(const char *text);

// tls.certificate first, then tls.certificates. Empty: no TLS.
struct bk_certificates {
  struct bk_tls_files *at;
  size_t count;
};
void bk_certificates_read(const struct bk_options *, struct bk_certificates *);
void bk_certificates_fini(struct bk_certificates *);
