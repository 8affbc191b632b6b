// SPDX-License-Identifier: Apache-2.0
// The decider (bayeux/access.h) of a broker with access.mode = rules: servers by their secrets, users
// by their tokens, channels by the rules; and what rules leave to the authority is handed on.
//
// Handshake, in this order: a secret of servers; the authority, when access.handshake says so; a token.
// Subscribe, publish: the rules (rules.h). A subscription of several patterns is denied when one of
// them is, and handed on when one of them is the authority's to decide.
//
// An authority is a struct bx_access of its own: its ask() gets the requests that are handed on, and
// answers with BX_LATER and then bk_guard_decide(), or at once. Without one such requests are unavailable.
//
// Lifetime: init, then bx_server_guard(); outlives the server. Options are borrowed.
#pragma once

#include "bayeux/server.h"
#include "broker/access/options.h"
#include "broker/access/rules.h"
#include "broker/access/tokens.h"
#include "broker/host/metrics.h"
#include "broker/host/secrets.h"

#define BK_ACCESS_COUNTERS(X)                                                                               \
  X(tokens_refused, BK_COUNTER, "mora_access_tokens_refused_total", "Handshakes whose token was not good.") \
  X(key_failures, BK_COUNTER, "mora_access_key_failures_total",                                             \
    "Times that auth.jwt.jwks vanished, or could not be read when it changed or at SIGHUP.")

struct bk_access_counters {
#define X(field, kind, name, help) uint64_t field;
  BK_ACCESS_COUNTERS(X)
#undef X
};
extern const struct bk_metric bk_access_metrics[];

// "secret:" and a digest, terminated.
enum { BK_GUARD_SECRET_NAME = 7 + BK_DIGEST_HEX };

struct bk_guard {
  struct bx_access access;
  const struct bk_access_options *options;
  struct bk_rules rules;
  struct bk_secrets servers;                    // auth.superclient
  char (*server_names)[BK_GUARD_SECRET_NAME];   // of each of `servers`
  struct bk_jwt *tokens;                        // NULL: none can be checked
  struct bx_access *authority;                  // NULL: there is none
  struct bk_claims claims;                      // of the token of a handshake
  struct bx_buffer token, ext, error;           // texts of the answer that is being given
  struct bk_access_counters counters;
};

void bk_guard_init(struct bk_guard *, const struct bk_access_options *, struct bk_jwt *);
void bk_guard_fini(struct bk_guard *);

// The authority's answer to a request that was handed on: completed by what the configuration adds
// (access.handshake_ext, a rule's `ext` and `deny`, advice), then given to the server.
void bk_guard_decide(struct bk_guard *, struct bx_access_request *, const struct bx_access_answer *);
// The name of what opens sessions, as bx_access_answer.token has it: "jti:<jti>" of a JWT that has one; else
// "sha256:<hex>" of what is signed of a JWT, of any other token; "secret:<hex>" of a secret of servers, a slow
// one. `text`: such a name, or the token, or the secret. *until: the token says that it holds no longer, ms since
// 1970; else 0.
// False: a JWT that no key verifies (any more): what it says of its name is not believed.
bool bk_guard_name_token(struct bk_guard *, struct bx_slice text, struct bx_buffer *name, uint64_t *until);
// SIGHUP: the keys of tokens are read again, if there are any.
void bk_guard_reload(struct bk_guard *);
// The channel is the authority's to decide; the others of the request are allowed already.
bool bk_guard_hands_on(const struct bk_guard *, const struct bx_access_request *, size_t channel);
