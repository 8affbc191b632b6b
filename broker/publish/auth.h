// SPDX-License-Identifier: Apache-2.0
// Bearer tokens of the admin and API listeners.
//
// An empty set of tokens means "open", which a listener may be on loopback only (bk_address_is_local).
// An open listener answers programs only: a request that a browser made for another site's page is
// refused, and so is a Host that is no name of this machine (DNS rebinding).
#pragma once

#include "bayeux/base.h"
#include "broker/host/http.h"
#include "broker/host/local.h"
#include "broker/host/secrets.h"

enum { BK_TOKEN_MAX = 512 };   // bytes; a longer one never matches

// True when the request may go on. Else it was answered: 401, or 403 for a browser's request to an
// open listener. `tokens` may be NULL: open. Call it inside the handler (it reads headers).
bool bk_tokens_admit(const struct bk_secrets *, struct bk_exchange *);

// True when `origin`, an Origin header, is a web page of `host` itself.
bool bk_origin_is_host(struct bx_slice origin, struct bx_slice host);
