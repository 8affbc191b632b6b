// SPDX-License-Identifier: Apache-2.0
#include "broker/access/guard.h"

#include "broker/host/log.h"

const struct bk_metric bk_access_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_access_counters, field), 0},
    BK_ACCESS_COUNTERS(X)
#undef X
        {0}};

static struct bk_guard *guard_of(struct bx_access *a) { return bx_container_of(a, struct bk_guard, access); }

// -- secrets ---------------------------------------------------------------------------------------

static bool is_server(struct bx_access *a, const struct bx_message *m) {
  struct bk_guard *g = guard_of(a);
  struct bx_buffer text = {0};
  if (m->ext.type != BX_JSON_OBJECT || g->servers.count == 0) return false;
  struct bx_value given = bx_ext_member(&m->ext, BX_LIT("password"));
  if (given.type != BX_JSON_STRING) return false;
  bx_value_decode(&given, &text);
  bool is = bk_secrets_match(&g->servers, bx_buffer_view(&text));
  bx_buffer_fini(&text);
  return is;
}

// -- what the configuration adds to an answer ------------------------------------------------------

static bool is_empty_object(struct bx_slice json) {
  for (size_t i = 1; i + 1 < json.len; i++)
    if (!strchr(" \t\r\n", json.at[i])) return false;
  return true;
}

// Two objects as one; of a name that both have the last one counts.
static struct bx_slice join_objects(struct bx_slice a, struct bx_slice b, struct bx_buffer *to) {
  if (a.len == 0 || is_empty_object(a)) return b;
  if (b.len == 0 || is_empty_object(b)) return a;
  bx_buffer_add(to, a.at, a.len - 1);
  bx_buffer_char(to, ',');
  bx_buffer_add(to, b.at + 1, b.len - 1);
  return bx_buffer_view(to);
}

// Of a handshake: as configured. Else whoever is not known any more shakes hands again.
static void advise(const struct bk_guard *g, const struct bx_access_request *r, struct bx_access_answer *a) {
  const struct bk_access_options *o = g->options;
  if (a->reconnect) return;
  if (r->verb == BX_ACCESS_HANDSHAKE && (o->denied_reconnect != 0 || o->denied_interval > 0)) {
    a->reconnect = bk_reconnects[o->denied_reconnect];
    a->interval = o->denied_interval;
  } else if (r->verb != BX_ACCESS_HANDSHAKE && a->error.len > 3 && memcmp(a->error.at, "401", 3) == 0) {
    a->reconnect = "handshake";
  } else {
    return;
  }
  if (a->interval == 0) a->interval = bx_server_retry(g->access.server);
}

// -- the name of what opens a session --------------------------------------------------------------

static void write_digest(struct bx_slice text, struct bx_buffer *name) {
  char digest[BK_DIGEST_HEX];
  bk_digest(text, digest);
  bx_buffer_printf(name, "sha256:%s", digest);
}

static void write_token_name(struct bx_slice token, struct bx_slice jti, struct bx_buffer *name) {
  struct bx_slice part = bk_jwt_signed_part(token);
  if (jti.len > 0) {
    bx_buffer_lit(name, "jti:");
    bx_buffer_slice(name, jti);
  } else {
    write_digest(part.len > 0 ? part : token, name);
  }
}

// A token that nobody looks at has opened nothing.
static bool tokens_count(const struct bk_guard *g) {
  return g->tokens || g->options->handshake == BK_HANDSHAKE_AUTHORITY;
}

// Of the secret of servers that this is; empty: of none.
static struct bx_slice name_of_secret(const struct bk_guard *g, struct bx_slice given) {
  size_t i = bk_secrets_find(&g->servers, given);
  return i < g->servers.count ? bx_slice_of(g->server_names[i]) : (struct bx_slice){0};
}

static void name_opener(struct bk_guard *g, const struct bx_access_request *r, struct bx_access_answer *a) {
  struct bx_value given = bx_ext_member(&r->message->ext, r->server ? BX_LIT("password") : BX_LIT("token"));
  struct bx_buffer text = {0};
  if (given.type != BX_JSON_STRING || (!r->server && !tokens_count(g))) return;
  bx_value_decode(&given, &text);
  bx_buffer_clear(&g->token);
  if (r->server)
    bx_buffer_slice(&g->token, name_of_secret(g, bx_buffer_view(&text)));
  else if (text.len > 0)
    write_token_name(bx_buffer_view(&text), bx_buffer_view(&g->claims.id), &g->token);
  a->token = bx_buffer_view(&g->token);
  bx_buffer_fini(&text);
}

static bool begins(struct bx_slice text, struct bx_slice with) {
  return text.len > with.len && bx_slice_starts(text, with);
}

bool bk_guard_name_token(struct bk_guard *g, struct bx_slice text, struct bx_buffer *name, uint64_t *until) {
  struct bk_claims claims = {0};
  *until = 0;
  struct bx_slice secret = name_of_secret(g, text);
  bool is_name = begins(text, BX_LIT("jti:")) || begins(text, BX_LIT("sha256:")) || begins(text, BX_LIT("secret:"));
  if (secret.len > 0 || is_name) {
    bx_buffer_slice(name, secret.len > 0 ? secret : text);
    return true;
  }
  bool looked_at = g->tokens && g->options->handshake != BK_HANDSHAKE_AUTHORITY;
  if (looked_at && !bk_jwt_check(g->tokens, text, &claims)) *until = claims.until;
  bool known = !looked_at || claims.genuine || bk_jwt_signed_part(text).len == 0;
  if (known) write_token_name(text, bx_buffer_view(&claims.id), name);
  bk_claims_fini(&claims);
  return known;
}

// --------------------------------------------------------------------------------------------------

static void complete(struct bk_guard *g, const struct bx_access_request *r, struct bx_access_answer *a) {
  if (a->verdict == BX_DENY) advise(g, r, a);
  if (a->verdict != BX_ALLOW || r->verb != BX_ACCESS_HANDSHAKE) return;
  a->ext = join_objects(g->options->handshake_ext, a->ext, &g->ext);
  name_opener(g, r, a);
}

static void forget_texts(struct bk_guard *g) {
  bx_buffer_clear(&g->claims.user);
  bx_buffer_clear(&g->claims.id);
  bx_buffer_clear(&g->token);
  bx_buffer_clear(&g->ext);
  bx_buffer_clear(&g->error);
}

// -- handshakes ------------------------------------------------------------------------------------

static enum bx_verdict hand_on(struct bk_guard *g, struct bx_access_request *r, struct bx_access_answer *a) {
  if (!g->authority) return BX_UNAVAILABLE;
  return a->verdict = g->authority->ops->ask(g->authority, r, a);
}

static enum bx_verdict deny(struct bx_access_answer *a, const char *error) {
  a->error = bx_slice_of(error);
  return BX_DENY;
}

static void keys_failed(struct bk_guard *g, const char *error) {
  g->counters.key_failures++;
  bk_error("tokens.reload_failed", bk_s("error", error));
}

void bk_guard_reload(struct bk_guard *g) {
  char error[256];
  if (g->tokens && !bk_jwt_reload(g->tokens, error, sizeof error)) keys_failed(g, error);
}

static enum bx_verdict look_at_token(struct bk_guard *g, const struct bx_access_request *r,
                                     struct bx_access_answer *a) {
  struct bx_value token = bx_ext_member(&r->message->ext, BX_LIT("token"));
  if (!g->tokens || !bx_value_truthy(&token))
    return g->options->handshake == BK_HANDSHAKE_USER ? deny(a, "401::Access token required") : BX_ALLOW;
  const char *why =
      token.type == BX_JSON_STRING ? bk_jwt_check(g->tokens, bx_value_inside(&token), &g->claims) : "it is no text";
  const char *trouble = bk_jwt_trouble(g->tokens);
  if (trouble) keys_failed(g, trouble);
  if (why) {
    g->counters.tokens_refused++;
    bk_debug("token.refused", bk_s("why", why));
    return deny(a, "401::Invalid access token");
  }
  a->user = bx_buffer_view(&g->claims.user);
  return BX_ALLOW;
}

static enum bx_verdict ask_handshake(struct bk_guard *g, struct bx_access_request *r, struct bx_access_answer *a) {
  if (r->server) return BX_ALLOW;
  if (g->options->handshake == BK_HANDSHAKE_SERVER) return deny(a, "403::Forbidden");
  if (g->options->handshake == BK_HANDSHAKE_AUTHORITY) return hand_on(g, r, a);
  return look_at_token(g, r, a);
}

// -- channels --------------------------------------------------------------------------------------

static enum bk_verb verb_of(const struct bx_access_request *r) {
  return r->verb == BX_ACCESS_SUBSCRIBE ? BK_SUBSCRIBE : BK_PUBLISH;
}

static struct bk_decision decide(const struct bk_guard *g, const struct bx_access_request *r, size_t channel) {
  const struct bk_subject who = {r->user, r->server};
  return bk_rules_decide(&g->rules, verb_of(r), r->channels[channel], &who);
}

bool bk_guard_hands_on(const struct bk_guard *g, const struct bx_access_request *r, size_t channel) {
  return decide(g, r, channel).ruling == BK_RULING_ASK;
}

static void say_why(struct bk_guard *g, const struct bx_access_request *r, size_t channel, const struct bk_decision *d,
                    struct bx_access_answer *a) {
  bk_rules_error(d, verb_of(r), r->channels[channel], &g->error);
  a->error = bx_buffer_view(&g->error);
}

// As if it were the name of one channel, which only the last rule, if any, has a text for.
static enum bx_verdict deny_list(struct bk_guard *g, const struct bx_access_request *r, struct bx_access_answer *a) {
  const struct bk_decision last = {BK_RULING_DENY, g->rules.count > 0 ? &g->rules.at[g->rules.count - 1] : NULL, NULL};
  struct bx_buffer names = {0};
  for (size_t i = 0; i < r->channel_count; i++) {
    if (i > 0) bx_buffer_char(&names, ',');
    bx_buffer_slice(&names, r->channels[i]);
  }
  bk_rules_error(&last, verb_of(r), bx_buffer_view(&names), &g->error);
  a->error = bx_buffer_view(&g->error);
  bx_buffer_fini(&names);
  return BX_DENY;
}

static enum bx_verdict ask_channels(struct bk_guard *g, struct bx_access_request *r, struct bx_access_answer *a) {
  bool asks = false;
  if (r->channel_count > 1 && !g->options->lists && !r->server) return deny_list(g, r, a);
  for (size_t i = 0; i < r->channel_count; i++) {
    struct bk_decision d = decide(g, r, i);
    asks |= d.ruling == BK_RULING_ASK;
    a->unjournalled |= d.ruling == BK_RULING_ACK;
    a->forward_ext |= r->verb == BX_ACCESS_PUBLISH && d.rule && d.rule->forward_ext;
    if (d.ruling != BK_RULING_DENY) continue;
    say_why(g, r, i, &d, a);
    return BX_DENY;
  }
  return asks ? hand_on(g, r, a) : BX_ALLOW;
}

// -- the seam --------------------------------------------------------------------------------------

static enum bx_verdict ask(struct bx_access *access, struct bx_access_request *r, struct bx_access_answer *a) {
  struct bk_guard *g = guard_of(access);
  forget_texts(g);
  a->verdict = r->verb == BX_ACCESS_HANDSHAKE ? ask_handshake(g, r, a) : ask_channels(g, r, a);
  if (a->verdict != BX_LATER) complete(g, r, a);
  return a->verdict;
}

// What a rule says holds also where the authority decides.
void bk_guard_decide(struct bk_guard *g, struct bx_access_request *r, const struct bx_access_answer *given) {
  struct bx_access_answer a = *given;
  forget_texts(g);
  for (size_t i = 0; i < r->channel_count; i++) {
    struct bk_decision d = decide(g, r, i);
    a.forward_ext |= r->verb == BX_ACCESS_PUBLISH && d.rule && d.rule->forward_ext;
    if (a.verdict == BX_DENY && a.error.len == 0 && d.ruling == BK_RULING_ASK) say_why(g, r, i, &d, &a);
  }
  complete(g, r, &a);
  bx_access_decide(g->access.server, r, &a);
}

static void asked(struct bx_access *access) {
  struct bx_access *authority = guard_of(access)->authority;
  if (authority && authority->ops->asked) authority->ops->asked(authority);
}

// Only what was handed on is decided later.
static void cancel(struct bx_access *access, struct bx_access_request *r) {
  struct bx_access *authority = guard_of(access)->authority;
  authority->ops->cancel(authority, r);
}

static void revoked(struct bx_access *access, struct bx_slice user) {
  struct bx_access *authority = guard_of(access)->authority;
  if (authority && authority->ops->revoked) authority->ops->revoked(authority, user);
}

static void unknown(struct bx_access *access, struct bx_slice channel, struct bx_buffer *error) {
  const struct bk_guard *g = guard_of(access);
  struct bk_decision d = bk_rules_decide(&g->rules, BK_PUBLISH, channel, &(struct bk_subject){0});
  if (d.ruling == BK_RULING_ACK && d.rule->deny[BK_PUBLISH].len > 0) bk_rules_error(&d, BK_PUBLISH, channel, error);
}

static void denied(struct bx_access *access, const struct bx_access_request *r, struct bx_access_answer *a) {
  advise(guard_of(access), r, a);
}

static bool counts(struct bx_access *access, struct bx_slice channel) {
  return bk_rules_count(&guard_of(access)->rules, channel);
}

void bk_guard_init(struct bk_guard *g, const struct bk_access_options *options, struct bk_jwt *tokens) {
  static const struct bx_access_ops ops = {is_server, ask, asked, cancel, revoked, unknown, NULL, denied};
  static const struct bx_access_ops counting = {is_server, ask, asked, cancel, revoked, unknown, counts, denied};
  *g = (struct bk_guard){.access.ops = &ops, .options = options, .tokens = tokens};
  bk_secrets_init(&g->servers, options->superclient.at, options->superclient.count);
  size_t count = g->servers.count;
  BX_BUG_ON(count != options->superclient.count);   // the configuration has no empty ones
  if (count > 0) g->server_names = bx_alloc(count * sizeof *g->server_names);
  for (size_t i = 0; i < count; i++) {
    memcpy(g->server_names[i], "secret:", 7);
    bk_slow_digest(options->superclient.at[i], g->server_names[i] + 7);
  }
  // Checked; and where everybody may do everything they are not looked at.
  BX_BUG_ON(options->mode != BK_ACCESS_OPEN && bk_rules_read(options->rules, &g->rules) != NULL);
  if (g->rules.presence) g->access.ops = &counting;
}

void bk_guard_fini(struct bk_guard *g) {
  bk_rules_fini(&g->rules);
  bk_secrets_fini(&g->servers);
  bx_free(g->server_names);
  bk_claims_fini(&g->claims);
  bx_buffer_fini(&g->token);
  bx_buffer_fini(&g->ext);
  bx_buffer_fini(&g->error);
}
