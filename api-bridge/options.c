// SPDX-License-Identifier: Apache-2.0
// The option table of mora-api.
#include "api-bridge/options.h"

#include "config/check.h"

static const char *check_publish(struct bx_slice s) {
  static const char expected[] = "redis, or the admin URL of a broker such as http://127.0.0.1:8001, or unix:/path";
  if (bx_slice_equal(s, BX_LIT("redis"))) return NULL;
  if (bx_slice_starts(s, BX_LIT("unix:"))) return cf_check_address(s);
  return cf_check_http_url(s) ? expected : NULL;
}

static const char *check_token(struct bx_slice s) { return s.len <= 512 ? NULL : "a token of at most 512 bytes"; }

#define FIELD(field) offsetof(struct ab_options, field)

const struct cf_option ab_options[] = {
    {.key = "api.listen",
     .type = CF_STRINGS,
     .offset = FIELD(listen),
     .standard = "[\"127.0.0.1:8002\"]",
     .check = cf_check_address,
     .doc = "Addresses that mora-api listens on. Off loopback it needs api.tokens."},
    {.key = "api.tokens",
     .type = CF_SECRETS,
     .offset = FIELD(tokens),
     .standard = "[]",
     .check = check_token,
     .doc = "Bearer tokens that clients of the API present; any of them will do, so that one can be replaced "
            "without a gap. Empty: open, which is allowed on loopback only."},
    {.key = "api.publish",
     .type = CF_STRING,
     .offset = FIELD(publish),
     .check = check_publish,
     .doc = "Where events are published: redis, straight into the journal that engine.* describes; or the admin URL of "
            "a broker. Without it: redis when engine.type is redis, else http://127.0.0.1:8001."},
    {.key = "api.publish_token",
     .type = CF_SECRET,
     .offset = FIELD(publish_token),
     .check = check_token,
     .doc = "The token presented there: that broker's admin.token."},
    {.key = "api.timeout",
     .type = CF_DURATION,
     .offset = FIELD(timeout),
     .standard = "\"10s\"",
     .min = 50,
     .max = 60000,
     .doc = "How long the broker may take to answer. What it has not answered by then has an unknown outcome."},
    {0}};
