// SPDX-License-Identifier: Apache-2.0
// What can be configured of who may do what.
#pragma once

#include "broker/access/tokens.h"
#include "config/config.h"

enum bk_access_mode { BK_ACCESS_OPEN, BK_ACCESS_RULES };
enum bk_handshakes { BK_HANDSHAKE_ANY, BK_HANDSHAKE_USER, BK_HANDSHAKE_AUTHORITY, BK_HANDSHAKE_SERVER };

struct bk_access_options {
  int mode;
  struct bx_slice rules;   // JSON; see bk_rules_read()
  int handshake;
  struct bx_slice handshake_ext;   // a JSON object
  int denied_reconnect;            // bk_reconnects
  bool lists;
  bx_millis denied_interval;
  bx_millis revoked_for;
  struct cf_strings superclient;
  const char *jwks, *audience;
  struct cf_strings jwt_secrets, jwt_algorithms;
  const char *authority_url, *authority_token;
  bx_millis authority_timeout, authority_cache;
  uint64_t authority_concurrency;
};

extern const struct cf_option bk_access_options[];
extern const char *const bk_reconnects[];

// The tokens of auth.jwt; NULL with an empty error: none are configured.
struct bk_jwt *bk_access_tokens(const struct bk_access_options *, uint64_t (*clock)(void), char *error, size_t size);
// What the keys mean together; faults are appended a line each. Rules without a mode are meant to hold:
// then the mode becomes BK_ACCESS_RULES.
void bk_access_check(const struct cf_set *, struct bk_access_options *, struct bx_buffer *faults);
