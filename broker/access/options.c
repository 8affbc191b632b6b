// SPDX-License-Identifier: Apache-2.0
#include "broker/access/options.h"

#include "broker/access/rules.h"
#include "config/check.h"

static const char *const modes[] = {"open", "rules", NULL};
static const char *const handshakes[] = {"any", "user", "authority", "server", NULL};
const char *const bk_reconnects[] = {"handshake", "none", "retry", NULL};

static const char *check_rules(struct bx_slice json) {
  struct bk_rules rules;
  const char *fault = bk_rules_read(json, &rules);
  if (!fault) bk_rules_fini(&rules);
  return fault;
}

static const char *check_algorithm(struct bx_slice name) {
  bool known = bx_slice_equal(name, BX_LIT("HS256")) || bx_slice_equal(name, BX_LIT("RS256")) ||
               bx_slice_equal(name, BX_LIT("ES256"));
  return known ? NULL : "HS256, RS256 or ES256";
}

// Shorter ones than the hash can be guessed from one token (RFC 7518, 3.2).
static const char *check_jwt_secret(struct bx_slice text) {
  return text.len >= 32 ? NULL : "a secret of 32 bytes or more";
}

// It stands in a header.
static const char *check_bearer(struct bx_slice text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.at[i] <= ' ' || text.at[i] > '~') return "a token of visible ASCII characters";
  return NULL;
}

#define FIELD(field) offsetof(struct bk_access_options, field)

const struct cf_option bk_access_options[] = {
    {.key = "access.mode",
     .type = CF_ENUM,
     .offset = FIELD(mode),
     .standard = "open",
     .choices = modes,
     .doc = "open: everybody may do everything. Off loopback that needs access.insecure. rules: what access.rules "
            "allows, and nothing else. Where access.rules are given and this is not, it is rules."},
    {.key = "access.rules",
     .type = CF_JSON,
     .offset = FIELD(rules),
     .standard = "[]",
     .check = check_rules,
     .doc =
         "Who may subscribe and publish where; the first rule that matches decides, and what none matches is "
         "denied. {\"channel\": \"/users/{user}/**\", \"subscribe\": \"owner\", \"publish\": \"server\", \"deny\": "
         "\"403::Not yours\"}. Grants: any, user (has a name), owner (is {user}), authority, server, none, and for "
         "publish ack (acknowledged, sent to nobody). With \"presence\": true who is on its channels is counted: see "
         "docs/presence.md. What a rule does not mention is for servers. A pattern needs a rule at least as wide. "
         "See docs/security.md."},
    {.key = "access.lists",
     .type = CF_BOOL,
     .offset = FIELD(lists),
     .standard = "true",
     .doc = "Whether one message may subscribe to several channels. If not, such a list is denied with the text of the "
            "last rule, servers excepted."},
    {.key = "access.handshake",
     .type = CF_ENUM,
     .offset = FIELD(handshake),
     .standard = "any",
     .choices = handshakes,
     .doc = "Who may shake hands. any: also clients without a token, who have no name then; a token that is sent has "
            "to be good. user: needs a good token. authority: whomever the authority says. server: only servers."},
    {.key = "access.handshake_ext",
     .type = CF_JSON,
     .offset = FIELD(handshake_ext),
     .standard = "{}",
     .doc = "What every handshake that succeeds is answered as ext, such as {\"appVersion\": \"1.2\"}."},
    {.key = "access.denied_reconnect",
     .type = CF_ENUM,
     .offset = FIELD(denied_reconnect),
     .standard = "handshake",
     .choices = bk_reconnects,
     .doc = "What clients whose handshake is denied are advised to do. With none they give up until their page is "
            "loaded anew. One that nobody could decide is always advised to come back."},
    {.key = "access.denied_interval",
     .type = CF_DURATION,
     .offset = FIELD(denied_interval),
     .standard = "0s",
     .max = 8640000000,
     .doc = "After how long. 0s: 1 to 2 seconds."},
    {.key = "access.revoked_for",
     .type = CF_DURATION,
     .offset = FIELD(revoked_for),
     .standard = "30d",
     .min = 1000,
     .max = 315360000000,
     .doc = "How long a revoked token opens no session, unless it is known when it expires: at least as long as your "
            "tokens hold."},
    {.key = "auth.superclient",
     .type = CF_SECRETS,
     .offset = FIELD(superclient),
     .doc = "Secrets of servers: a message with one of them as ext.password may do everything that no rule denies to "
            "all. Several, so that they can be changed without a gap."},
    {.key = "auth.jwt.secret",
     .type = CF_SECRETS,
     .offset = FIELD(jwt_secrets),
     .check = check_jwt_secret,
     .doc = "Of tokens signed with HS256: 32 bytes or more. Several, so that they can be changed without a gap."},
    {.key = "auth.jwt.jwks",
     .type = CF_STRING,
     .offset = FIELD(jwks),
     .doc = "A file with the public keys of tokens signed with RS256 (2048 bits or more) or ES256, as a JWKS. It is "
            "read again when it changes, and at SIGHUP."},
    {.key = "auth.jwt.audience",
     .type = CF_STRING,
     .offset = FIELD(audience),
     .doc = "What the aud of a token has to be, or to contain."},
    {.key = "auth.jwt.algorithms",
     .type = CF_STRINGS,
     .offset = FIELD(jwt_algorithms),
     .check = check_algorithm,
     .doc = "HS256, RS256, ES256: which of them are accepted. Without it: those that the keys are for, HS256 with "
            "auth.jwt.secret, RS256 and ES256 with auth.jwt.jwks."},
    {.key = "authority.url",
     .type = CF_STRING,
     .offset = FIELD(authority_url),
     .check = cf_check_service_url,
     .doc = "The HTTP service that decides who may shake hands, subscribe and publish; see authority.md. Without it "
            "nobody is asked."},
    {.key = "authority.token",
     .type = CF_SECRET,
     .offset = FIELD(authority_token),
     .check = check_bearer,
     .doc = "Sent to it as Authorization: Bearer."},
    {.key = "authority.timeout",
     .type = CF_DURATION,
     .offset = FIELD(authority_timeout),
     .standard = "5s",
     .min = 10,
     .max = 60000,
     .doc = "How long a request to it may take, and how long a message may wait to be asked for. Beyond it: 503."},
    {.key = "authority.cache",
     .type = CF_DURATION,
     .offset = FIELD(authority_cache),
     .standard = "0s",
     .max = 86400000,
     .doc = "How long a permission holds for the same user and channel without asking again. 0s: it is asked every "
            "time."},
    {.key = "authority.concurrency",
     .type = CF_NUMBER,
     .offset = FIELD(authority_concurrency),
     .standard = "16",
     .min = 1,
     .max = 64,
     .doc = "Requests to it at the same time. What comes meanwhile is gathered into the next ones."},
    {0}};

// -- tokens ----------------------------------------------------------------------------------------

static bool lists(struct cf_strings list, const char *name) {
  for (size_t i = 0; i < list.count; i++)
    if (strcmp(list.at[i], name) == 0) return true;
  return false;
}

static struct cf_strings algorithms_of(const struct bk_access_options *o) {
  static const char *const all[] = {"HS256", "RS256", "ES256"};
  bool secret = o->jwt_secrets.count > 0;
  if (o->jwt_algorithms.count > 0) return o->jwt_algorithms;
  return (struct cf_strings){secret ? all : all + 1, (size_t)secret + (o->jwks ? 2 : 0)};
}

struct bk_jwt *bk_access_tokens(const struct bk_access_options *o, uint64_t (*clock)(void), char *error, size_t size) {
  error[0] = '\0';
  if (!o->jwks && o->jwt_secrets.count == 0) return NULL;
  return bk_jwt_create(&(struct bk_token_options){.jwks = o->jwks,
                                                  .secrets = o->jwt_secrets,
                                                  .audience = o->audience,
                                                  .algorithms = algorithms_of(o),
                                                  .clock = clock},
                       error, size);
}

static void check_tokens(const struct cf_set *config, const struct bk_access_options *o, struct bx_buffer *faults) {
  const char *from = cf_origin(config, "auth.jwt.algorithms");
  bool keys = lists(o->jwt_algorithms, "RS256") || lists(o->jwt_algorithms, "ES256");
  if (lists(o->jwt_algorithms, "HS256") && o->jwt_secrets.count == 0)
    bx_buffer_printf(faults, "%s: auth.jwt.algorithms: HS256 needs auth.jwt.secret\n", from);
  if (keys && !o->jwks) bx_buffer_printf(faults, "%s: auth.jwt.algorithms: RS256 and ES256 need auth.jwt.jwks\n", from);
  if (o->handshake == BK_HANDSHAKE_USER && !o->jwks && o->jwt_secrets.count == 0)
    bx_buffer_printf(faults, "%s: access.handshake: no token can be checked: set auth.jwt.secret or auth.jwt.jwks\n",
                     cf_origin(config, "access.handshake"));
}

// -- what the keys mean together -------------------------------------------------------------------

static bool asks_authority(const struct bk_access_options *o) {
  struct bk_rules rules;
  bool asks = o->handshake == BK_HANDSHAKE_AUTHORITY;
  if (bk_rules_read(o->rules, &rules) != NULL) return asks;
  for (size_t i = 0; i < rules.count; i++)
    asks |=
        rules.at[i].grants[BK_SUBSCRIBE] == BK_GRANT_AUTHORITY || rules.at[i].grants[BK_PUBLISH] == BK_GRANT_AUTHORITY;
  bk_rules_fini(&rules);
  return asks;
}

static void check_authority(const struct cf_set *config, const struct bk_access_options *o, struct bx_buffer *faults) {
  const char *from = cf_origin(config, "authority.url");
  if (asks_authority(o) && !o->authority_url)
    bx_buffer_printf(
        faults, "%s: authority.url: access.rules or access.handshake name the authority, and it is not set\n", from);
  if (o->authority_url && o->mode == BK_ACCESS_OPEN)
    bx_buffer_printf(faults, "%s: authority.url: nobody asks it while access.mode is open\n", from);
}

static bool has_rules(const struct bk_access_options *o) {
  struct bk_rules rules;
  if (bk_rules_read(o->rules, &rules) != NULL) return false;
  size_t count = rules.count;
  bk_rules_fini(&rules);
  return count > 0;
}

void bk_access_check(const struct cf_set *config, struct bk_access_options *o, struct bx_buffer *faults) {
  const char *from = cf_origin(config, "access.mode");
  if (o->mode == BK_ACCESS_OPEN && has_rules(o)) {
    if (strcmp(from, "default") == 0)
      o->mode = BK_ACCESS_RULES;
    else
      bx_buffer_printf(faults, "%s: access.mode: access.rules mean nothing while it is open\n", from);
  }
  if (o->mode == BK_ACCESS_OPEN && o->handshake != BK_HANDSHAKE_ANY)
    bx_buffer_printf(faults, "%s: access.handshake: set access.mode to rules\n", cf_origin(config, "access.handshake"));
  check_tokens(config, o, faults);
  check_authority(config, o, faults);
  if (o->handshake == BK_HANDSHAKE_SERVER && o->superclient.count == 0)
    bx_buffer_printf(faults, "%s: access.handshake: no server has a secret: set auth.superclient\n",
                     cf_origin(config, "access.handshake"));
}
