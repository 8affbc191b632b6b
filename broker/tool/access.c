// SPDX-License-Identifier: Apache-2.0
// mora token, mora check-config: what needs a configuration, or nothing, instead of a running broker.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bayeux/access.h"
#include "bayeux/channel.h"
#include "bayeux/presence.h"
#include "broker/access/mint.h"
#include "broker/access/options.h"
#include "broker/access/rules.h"
#include "broker/tool/tool.h"
#include "config/check.h"

// Options of one command: --name VALUE, or --name alone for those without one.
struct option {
  const char *name;
  const char **value;   // NULL: a flag
  bool *flag;
};

// What is not of the table stays, for the loader of configurations, in `rest` (terminated).
static bool take_options(const struct option *table, char **argv, char **rest) {
  size_t kept = 0;
  for (; *argv; argv++) {
    const struct option *o = table;
    while (o->name && strcmp(o->name, *argv) != 0) o++;
    if (!o->name) {
      rest[kept++] = *argv;
    } else if (o->flag) {
      *o->flag = true;
    } else if (!argv[1]) {
      tool_fail(TOOL_USAGE, "%s: its value is missing", *argv);
      return false;
    } else {
      *o->value = *++argv;
    }
  }
  rest[kept] = NULL;
  return true;
}

// Keys of the daemons that do not matter here.
static const char *const foreign[] = {
    "access.insecure", "access.origins", "access.jsonp", "admin.",   "api.",    "authority.",
    "broker.",         "engine.",        "events.",      "journal.", "limits.", "logging.",
    "presence.",       "redis.",         "tls.",         "web.",     NULL};

// --config FILE and --set KEY=VALUE as the daemons take them. The environment is not looked at: it has the tool's
// own variables. NULL: said what is wrong.
static struct cf_set *load(char **arguments, struct bk_access_options *options) {
  const struct cf_section section = {bk_access_options, options};
  struct bx_buffer error = {0};
  char name[] = "mora", *argv[64] = {name};
  enum cf_action action = CF_RUN;
  int argc = 1;
  for (; arguments[argc - 1] && argc < 63; argc++) argv[argc] = arguments[argc - 1];
  struct cf_set *set = cf_load(&section, 1, foreign, argc, argv, NULL, &action, &error);
  if (set) bk_access_check(set, options, &error);
  if (set && error.len > 0) {
    cf_free(set);
    set = NULL;
  }
  if (error.len > 0) fprintf(stderr, "%.*s", (int)error.len, error.at);
  bx_buffer_fini(&error);
  return set;
}

// -- token -----------------------------------------------------------------------------------------

struct token_request {
  const char *user, *expires, *audience, *algorithm, *kid, *key;
  bool configured;
};

static bool read_file(const char *name, struct bx_buffer *to) {
  FILE *f = fopen(name, "rb");
  if (!f) return false;
  bx_buffer_reserve(to, 65536);
  to->len = fread(to->at, 1, 65536, f);
  bool good = !ferror(f) && to->len < 65536;
  fclose(f);
  return good;
}

static void write_claims(const struct token_request *r, bx_millis life, struct bx_buffer *claims) {
  long long now = (long long)time(NULL);
  bx_buffer_lit(claims, "{\"sub\":");
  bx_buffer_json_string(claims, bx_slice_of(r->user));
  bx_buffer_printf(claims, ",\"iat\":%lld,\"exp\":%lld", now, now + (long long)(life / 1000));
  if (r->audience) {
    bx_buffer_lit(claims, ",\"aud\":");
    bx_buffer_json_string(claims, bx_slice_of(r->audience));
  }
  bx_buffer_char(claims, '}');
}

static int mint(const struct token_request *r, const struct bk_access_options *options, bx_millis life) {
  struct bx_buffer claims = {0}, pem = {0}, token = {0};
  struct bk_mint m = {.algorithm = r->algorithm, .kid = r->kid};
  const char *secret = getenv("MORA_JWT_SECRET");
  if (!secret && options->jwt_secrets.count > 0) secret = options->jwt_secrets.at[0];
  write_claims(r, life, &claims);
  m.claims = bx_buffer_view(&claims);
  const char *why = NULL;
  if (!r->key)
    m.secret = bx_slice_of(secret ? secret : "");
  else if (read_file(r->key, &pem))
    m.pem = bx_buffer_view(&pem);
  else
    why = "cannot be read";
  if (!why) why = bk_mint_token(&m, &token);
  if (why)
    tool_fail(TOOL_FAILED, "%s%s%s", r->key ? r->key : "", r->key ? ": " : "", why);
  else
    printf("%.*s\n", (int)token.len, token.at);
  bx_buffer_fini(&claims);
  bx_buffer_fini(&pem);
  bx_buffer_fini(&token);
  return why ? TOOL_FAILED : TOOL_OK;
}

int tool_token(const struct tool *t) {
  struct token_request r = {.expires = "1h"};
  const struct option table[] = {{"--user", &r.user, NULL},
                                 {"--expires", &r.expires, NULL},
                                 {"--audience", &r.audience, NULL},
                                 {"--key", &r.key, NULL},
                                 {"--algorithm", &r.algorithm, NULL},
                                 {"--kid", &r.kid, NULL},
                                 {0}};
  struct bk_access_options options;
  bx_millis life;
  if (!take_options(table, t->arguments, t->arguments)) return TOOL_USAGE;
  if (!r.user || !bx_user_is_valid(bx_slice_of(r.user)))
    return tool_fail(TOOL_USAGE, "--user NAME: of 1 to %d bytes; see mora --help", BX_MAX_USER);
  if (!cf_read_duration(bx_slice_of(r.expires), &life) || life < 1000)
    return tool_fail(TOOL_USAGE, "--expires: a duration such as 1h");
  struct cf_set *set = load(t->arguments, &options);
  if (!set) return TOOL_USAGE;
  if (!r.audience) r.audience = options.audience;
  int status = mint(&r, &options, life);
  cf_free(set);
  return status;
}

// -- check-config ----------------------------------------------------------------------------------

static const char *const rulings[] = {"denied", "allowed", "authority", "acknowledged"};

static void explain(const struct bk_rules *rules, const struct bk_decision *d, enum bk_verb verb, const char *error,
                    bool companion) {
  static const char *const verbs[] = {"subscribe", "publish"};
  const struct bk_rule *rule = d->blocking ? d->blocking : d->rule;
  printf("%s", rulings[d->ruling]);
  if (d->ruling == BK_RULING_DENY) printf(": %s", error);
  putchar('\n');
  if (!rule && companion) {
    puts("Only the broker publishes there: it tells who is present.");
    return;
  }
  if (!rule) {
    puts(d->ruling == BK_RULING_ALLOW ? "No rule matches, and servers may do what no rule denies."
                                      : "No rule is at least as wide.");
    return;
  }
  printf("Rule %zu: channel %.*s, %s %s.\n", (size_t)(rule - rules->at) + 1, (int)rule->channel.len, rule->channel.at,
         verbs[verb], bk_grant_name(rule->grants[verb]));
  if (d->blocking) puts("It says otherwise about some channels of this pattern.");
}

static void print_decision(const struct bk_rules *rules, const struct bk_decision *d, const char *error) {
  const struct bk_rule *rule = d->blocking ? d->blocking : d->rule;
  json_t *answer = json_pack("{s:s}", "ruling", rulings[d->ruling]);
  if (d->ruling == BK_RULING_DENY) json_object_set_new(answer, "error", json_string(error));
  if (rule) json_object_set_new(answer, "rule", json_integer(rule - rules->at + 1));
  if (rule) json_object_set_new(answer, "channel", json_stringn(rule->channel.at, rule->channel.len));
  tool_print_json(answer);
  json_decref(answer);
}

static int judge(bool json, const struct bk_access_options *options, enum bk_verb verb, const char *channel,
                 const struct bk_subject *who) {
  struct bk_decision d = {.ruling = BK_RULING_ALLOW};
  struct bx_buffer error = {0};
  struct bk_rules rules;
  struct bx_slice of;
  bool companion;
  if (options->mode == BK_ACCESS_OPEN) {
    puts("allowed\naccess.mode is open: everybody may do everything.");
    return TOOL_OK;
  }
  BX_BUG_ON(bk_rules_read(options->rules, &rules) != NULL);   // checked
  d = bk_rules_decide(&rules, verb, bx_slice_of(channel), who);
  companion = rules.presence && verb == BK_PUBLISH && bx_companion_of(bx_slice_of(channel), &of);
  bk_rules_error(&d, verb, bx_slice_of(channel), &error);
  bx_buffer_char(&error, 0);
  if (json)
    print_decision(&rules, &d, error.at);
  else
    explain(&rules, &d, verb, error.at, companion);
  bk_rules_fini(&rules);
  bx_buffer_fini(&error);
  return d.ruling == BK_RULING_DENY ? TOOL_FAILED : TOOL_OK;
}

int tool_check_config(const struct tool *t) {
  const char *user = NULL, *subscribe = NULL, *publish = NULL;
  bool server = false, json = t->json;
  const struct option table[] = {{"--user", &user, NULL},       {"--subscribe", &subscribe, NULL},
                                 {"--publish", &publish, NULL}, {"--server", NULL, &server},
                                 {"--json", NULL, &json},       {0}};
  struct bk_access_options options;
  if (!take_options(table, t->arguments, t->arguments)) return TOOL_USAGE;
  const char *channel = subscribe ? subscribe : publish;
  if (!channel || (subscribe && publish))
    return tool_fail(TOOL_USAGE,
                     "--subscribe CHANNEL or --publish CHANNEL; mora-broker --check-config looks at all else");
  enum bx_channel_kind kind = bx_channel_classify(bx_slice_of(channel));
  if (kind == BX_CHANNEL_INVALID || (publish && kind == BX_CHANNEL_PATTERN) || bx_channel_is_meta(bx_slice_of(channel)))
    return tool_fail(TOOL_USAGE, "%s is no channel to %s", channel, publish ? "publish on" : "subscribe to");
  struct cf_set *set = load(t->arguments, &options);
  if (!set) return TOOL_USAGE;
  const struct bk_subject who = {user ? bx_slice_of(user) : (struct bx_slice){0}, server};
  int status = judge(json, &options, publish ? BK_PUBLISH : BK_SUBSCRIBE, channel, &who);
  cf_free(set);
  return status;
}
