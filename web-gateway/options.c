// SPDX-License-Identifier: Apache-2.0
// The option table of mora-web.
#include "web-gateway/options.h"

#include "config/check.h"

static const char *check_broker(struct bx_slice s) {
  if (bx_slice_starts(s, BX_LIT("/")) && !cf_check_mount(s)) return NULL;
  return cf_check_http_url(s) ? "a URL such as http://127.0.0.1:8000/bayeux, or a path such as /bayeux" : NULL;
}

static const char *check_origin(struct bx_slice text) {
  bool good = bx_slice_equal(text, BX_LIT("*")) || memmem(text.at, text.len, "://", 3);
  return good ? NULL : "an origin such as https://chat.example.org, or \"*\"";
}

#define FIELD(field) offsetof(struct gw_options, field)

const struct cf_option gw_options[] = {
    {.key = "web.listen",
     .type = CF_STRINGS,
     .offset = FIELD(listen),
     .standard = "[\"127.0.0.1:8080\"]",
     .check = cf_check_address,
     .doc = "Addresses that mora-web listens on. Whoever reaches them may read and write in the rooms."},
    {.key = "web.api",
     .type = CF_STRING,
     .offset = FIELD(api),
     .standard = "\"http://127.0.0.1:8002\"",
     .check = cf_check_http_url,
     .doc = "The URL of mora-api, through which mora-web posts."},
    {.key = "web.api_token",
     .type = CF_SECRET,
     .offset = FIELD(api_token),
     .doc = "The token presented there: one of that daemon's api.tokens."},
    {.key = "web.origins",
     .type = CF_STRINGS,
     .offset = FIELD(origins),
     .standard = "[]",
     .check = check_origin,
     .doc = "Where browsers find mora-web when a proxy on this machine is in front, such as https://chat.example.org; "
            "* for "
            "any. On loopback it is reached by the names of this machine and of these."},
    {.key = "web.broker",
     .type = CF_STRING,
     .offset = FIELD(broker),
     .standard = "\"http://127.0.0.1:8000/bayeux\"",
     .check = check_broker,
     .doc = "Where browsers find the broker: the URL of one of its mounts as they see it. A path such as /bayeux "
            "means the site of the page itself, behind a reverse proxy."},
    {.key = "web.static",
     .type = CF_STRING,
     .offset = FIELD(files),
     .doc = "The folder of the pages' files. Without it: share/mora/web beside the program's bin, else where it was "
            "installed."},
    {0}};
