// SPDX-License-Identifier: Apache-2.0
// What the owners of option tables need for their own checks.
#pragma once

#include "bayeux/base.h"

// Each of these is a cf_option.check: NULL when the text is good, else what was expected. They judge
// the form only: nothing is resolved, opened or contacted.

// "host:port", "[v6]:port" or "unix:/path". The port is 0 to 65535, 0 meaning any free one; a host
// of digits and dots is an IPv4 address. A path is absolute and fits into a sockaddr_un.
const char *cf_check_address(struct bx_slice);

// "http://host[:port][/path]" or https: a base that paths are added to. No user, query, fragment, blanks.
const char *cf_check_http_url(struct bx_slice);

// "http://..." or https: a service that is sent requests, under a URL which may have a query. What would change
// the request (blanks, control characters) is refused; host and port are judged when it is sent.
const char *cf_check_service_url(struct bx_slice);

// The path of a mount: "/bayeux", "/a/b". Starts with a slash, does not end in one; "/" alone is the
// root. No empty parts, no "." or "..", no "?", "#", "%", blanks or control characters.
const char *cf_check_mount(struct bx_slice);

// "250ms" "5s" "10m" "2h" "1d", and "512B" "64KB" "256MB" "1GB", for values inside a CF_JSON. False:
// no whole number, another unit, or more than 64 bits.
bool cf_read_duration(struct bx_slice text, bx_millis *out) BX_MUST_CHECK;
bool cf_read_size(struct bx_slice text, uint64_t *bytes) BX_MUST_CHECK;
