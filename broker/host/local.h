// SPDX-License-Identifier: Apache-2.0
// What belongs to this machine alone: addresses that nobody else reaches, names that lead to them.
//
// A web page whose own name was made to point to 127.0.0.1 (DNS rebinding) reaches a listener on
// loopback as a page of the same site. It cannot change the Host header: that has its own name.
#pragma once

#include "config/config.h"

// True when only this machine can reach the address ("127.0.0.1:80", "[::1]:80", "localhost:80",
// "unix:/path").
bool bk_address_is_local(const char *address);

// True when `host`, a Host header, names this machine: localhost, 127.x, [::1], any port; or empty.
bool bk_host_is_local(struct bx_slice host);

// True when one of `origins` (scheme://host[:port], or "*") is of this host, whatever the ports.
bool bk_host_is_of(struct cf_strings origins, struct bx_slice host);
