// SPDX-License-Identifier: Apache-2.0
// Which web pages may talk to the broker: by the Origin header that browsers send with a request
// from a page of another site and with every websocket.
//
// A script of such a page comes without an Origin: browsers say so with Sec-Fetch-Site, and Referer is looked
// at instead (transport/cors.c). Any other request without an Origin was not made by such a page and passes.
// On a listener that only this machine reaches, and without a proxy in front, pages of this machine pass:
// http(s)://localhost, 127.0.0.1 and [::1], any port.
// Everything else must be in the list `access.origins`; "*" in it lets every page pass.
#pragma once

#include "bayeux/base.h"
#include "config/config.h"

bool bk_origin_allowed(struct cf_strings allowed, struct bx_slice origin, bool loopback);

// For struct cf_option.check, per item: "*", "null", or scheme://host[:port] as browsers write it.
const char *bk_origin_check(struct bx_slice);
