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

struct bk_jwt;

struct bk_guard {
  struct bx_access access;
  const struct bk_access_options *options;
  struct bk_rules rules;
  struct bk_jwt *tokens;               // NULL: none can be checked
  struct bx_access *authority;         // NULL: there is none
  struct bx_buffer user, ext, error;   // texts of the answer that is being given
};

void bk_guard_init(struct bk_guard *, const struct bk_access_options *, struct bk_jwt *);
void bk_guard_fini(struct bk_guard *);

// The authority's answer to a request that was handed on: completed by what the configuration adds
// (access.handshake_ext, a rule's `ext` and `deny`, advice), then given to the server.
void bk_guard_decide(struct bk_guard *, struct bx_access_request *, const struct bx_access_answer *);
// The channel is the authority's to decide; the others of the request are allowed already.
bool bk_guard_hands_on(const struct bk_guard *, const struct bx_access_request *, size_t channel);

// One of the secrets. The time it takes tells the length of `given` and nothing of theirs.
bool bk_secret_is_one_of(struct bx_slice given, struct cf_strings secrets);
