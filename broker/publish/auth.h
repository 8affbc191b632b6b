// SPDX-License-Identifier: Apache-2.0
// Bearer tokens of the admin and API listeners.
//
// A set of tokens is kept as their SHA-256 digests and compared in constant time, all of them
// always: neither the length nor the position of a match shows in time. An empty set means "open",
// which a listener may be on loopback only (bk_address_is_local). An open listener answers programs
// only: a request that a browser made for another site's page is refused, and so is a Host that is
// no name of this machine (DNS rebinding).
#pragma once

#include "bayeux/base.h"
#include "broker/host/http.h"
#include "broker/host/local.h"

enum { BK_TOKEN_MAX = 512 };   // bytes; a longer one never matches

struct bk_tokens {
  unsigned char (*digests)[32];
  size_t count;
};

// Copies what it needs. Empty strings are left out: an empty token can never be presented.
void bk_tokens_init(struct bk_tokens *, const char *const *tokens, size_t count);
void bk_tokens_fini(struct bk_tokens *);

// True when `token` is one of the set; false for an empty set.
bool bk_tokens_match(const struct bk_tokens *, struct bx_slice token);

// True when the request may go on. Else it was answered: 401, or 403 for a browser's request to an
// open listener. `tokens` may be NULL: open. Call it inside the handler (it reads headers).
bool bk_tokens_admit(const struct bk_tokens *, struct bk_exchange *);

// True when `origin`, an Origin header, is a web page of `host` itself.
bool bk_origin_is_host(struct bx_slice origin, struct bx_slice host);
