// SPDX-License-Identifier: Apache-2.0
#include "broker/access/rules.h"

#include "bayeux/channel.h"
#include "bayeux/presence.h"

enum { MAX_RULES = 1000, MAX_CHANNEL = 1024 };

static const char *const grant_names[] = {"none", "any", "user", "owner", "authority", "server", "ack", NULL};

const char *bk_grant_name(enum bk_grant grant) { return grant_names[grant]; }

// -- patterns --------------------------------------------------------------------------------------

// The segments of a channel one by one, without a last one that is * or **.
struct walk {
  struct bx_slice rest;   // behind the slash
  enum { NO_TAIL, ONE_TAIL, MANY_TAIL } tail;
  size_t count;   // segments, without the tail
};

static struct walk walk_of(struct bx_slice channel) {
  struct walk w = {.rest = channel};
  if (bx_slice_equal(channel, BX_LIT("/**")) ||
      (channel.len > 3 && memcmp(channel.at + channel.len - 3, "/**", 3) == 0))
    w.tail = MANY_TAIL;
  else if (channel.len >= 2 && memcmp(channel.at + channel.len - 2, "/*", 2) == 0)
    w.tail = ONE_TAIL;
  w.rest.len -= w.tail == MANY_TAIL ? 3 : w.tail == ONE_TAIL ? 2 : 0;
  for (size_t i = 0; i < w.rest.len; i++) w.count += w.rest.at[i] == '/';
  return w;
}

// The next segment; false: there is none.
static bool step(struct walk *w, struct bx_slice *segment) {
  if (w->rest.len == 0) return false;
  const char *from = w->rest.at + 1, *end = w->rest.at + w->rest.len;
  const char *slash = memchr(from, '/', (size_t)(end - from));
  if (!slash) slash = end;
  *segment = (struct bx_slice){from, (size_t)(slash - from)};
  w->rest = (struct bx_slice){slash, (size_t)(end - slash)};
  return true;
}

static bool is_capture(struct bx_slice segment) { return segment.len > 0 && segment.at[0] == '{'; }

// The segments that both have fit.
static bool segments_fit(struct walk rule, struct walk pattern) {
  struct bx_slice r, p;
  while (step(&rule, &r) && step(&pattern, &p))
    if (!is_capture(r) && !bx_slice_equal(r, p)) return false;
  return true;
}

bool bk_pattern_covers(struct bx_slice rule, struct bx_slice pattern) {
  struct walk r = walk_of(rule), p = walk_of(pattern);
  size_t depth = p.count + (p.tail != NO_TAIL);   // at least
  bool reaches = r.tail == NO_TAIL    ? p.tail == NO_TAIL && depth == r.count
                 : r.tail == ONE_TAIL ? p.tail != MANY_TAIL && depth == r.count + 1
                                      : depth > r.count;
  return reaches && segments_fit(r, p);
}

// Some depth that channels of both have.
static bool depths_meet(const struct walk *a, const struct walk *b) {
  size_t low_a = a->count + (a->tail != NO_TAIL), low_b = b->count + (b->tail != NO_TAIL);
  return low_a == low_b || (low_a < low_b && a->tail == MANY_TAIL) || (low_b < low_a && b->tail == MANY_TAIL);
}

// Where one has ended in front of the other its tail takes any segment.
bool bk_pattern_overlaps(struct bx_slice rule, struct bx_slice pattern) {
  struct walk r = walk_of(rule), p = walk_of(pattern);
  return depths_meet(&r, &p) && segments_fit(r, p);
}

// The segment of the pattern at the place of {user}; empty: the pattern ends in front of it.
static struct bx_slice captured_user(struct bx_slice rule, struct bx_slice pattern) {
  struct walk r = walk_of(rule), p = walk_of(pattern);
  struct bx_slice at, segment;
  while (step(&r, &at) && step(&p, &segment))
    if (bx_slice_equal(at, BX_LIT("{user}"))) return segment;
  return (struct bx_slice){0};
}

// -- deciding --------------------------------------------------------------------------------------

static enum bk_ruling rule_on(const struct bk_rule *rule, enum bk_verb verb, struct bx_slice channel,
                              const struct bk_subject *who) {
  enum bk_grant grant = rule->grants[verb];
  bool allowed = who->server;
  if (grant == BK_GRANT_NONE) return BK_RULING_DENY;
  if (grant == BK_GRANT_ACK) return BK_RULING_ACK;
  if (grant == BK_GRANT_AUTHORITY && !who->server) return BK_RULING_ASK;
  if (grant == BK_GRANT_ANY) allowed = true;
  if (grant == BK_GRANT_USER) allowed |= who->user.len > 0;
  if (grant == BK_GRANT_OWNER)
    allowed |= who->user.len > 0 && bx_slice_equal(captured_user(rule->channel, channel), who->user);
  return allowed ? BK_RULING_ALLOW : BK_RULING_DENY;
}

// A rule in front that is not wide enough may not restrict what a wider one gives: only where it
// allows without condition it can be passed over.
struct bk_decision bk_rules_decide(const struct bk_rules *rules, enum bk_verb verb, struct bx_slice channel,
                                   const struct bk_subject *who) {
  const struct bk_rule *blocking = NULL;
  struct bx_slice of;
  if (rules->presence && bx_companion_of(channel, &of)) {
    if (verb == BK_PUBLISH) return (struct bk_decision){BK_RULING_DENY, NULL, NULL};
    channel = of;
  }
  for (size_t i = 0; i < rules->count; i++) {
    const struct bk_rule *rule = &rules->at[i];
    if (!bk_pattern_overlaps(rule->channel, channel)) continue;
    enum bk_ruling ruling = rule_on(rule, verb, channel, who);
    if (bk_pattern_covers(rule->channel, channel)) {
      if (blocking) ruling = BK_RULING_DENY;
      return (struct bk_decision){ruling, rule, ruling == BK_RULING_DENY ? blocking : NULL};
    }
    if (ruling != BK_RULING_ALLOW && !blocking) blocking = rule;
  }
  if (who->server && !blocking) return (struct bk_decision){BK_RULING_ALLOW, NULL, NULL};
  return (struct bk_decision){BK_RULING_DENY, NULL, blocking};
}

// As bk_rules_decide(): of a name the first rule that matches.
bool bk_rules_count(const struct bk_rules *rules, struct bx_slice channel) {
  struct bx_slice of;
  if (!rules->presence || bx_companion_of(channel, &of)) return false;
  for (size_t i = 0; i < rules->count; i++)
    if (bk_pattern_covers(rules->at[i].channel, channel)) return rules->at[i].presence;
  return false;
}

void bk_rules_error(const struct bk_decision *d, enum bk_verb verb, struct bx_slice channel, struct bx_buffer *out) {
  static const struct bx_slice name = {"{channel}", 9};
  const struct bk_rule *says = d->rule ? d->rule : d->blocking;
  struct bx_slice text = says ? says->deny[verb] : (struct bx_slice){0};
  if (text.len == 0) text = BX_LIT("403:{channel}:Not allowed");
  for (size_t i = 0; i < text.len;) {
    if (text.len - i >= name.len && memcmp(text.at + i, name.at, name.len) == 0) {
      bx_buffer_slice(out, channel);   // of a channel's characters none needs an escape
      i += name.len;
    } else {
      bx_buffer_char(out, text.at[i++]);
    }
  }
}

// -- reading ---------------------------------------------------------------------------------------

static const char a_rule[] =
    "a rule such as {\"channel\": \"/chat/**\", \"subscribe\": \"user\", \"publish\": \"none\"}";
static const char a_channel[] = "a rule's \"channel\" such as /chat/**, /users/{user}/* or /news";
static const char a_denial[] =
    "\"deny\": a text such as \"403::Not yours\", or {\"subscribe\": TEXT, \"publish\": TEXT}";

static bool plain_text(const struct bx_value *v, struct bx_slice *text) {
  if (v->type != BX_JSON_STRING || v->escaped) return false;
  *text = bx_value_inside(v);
  return true;
}

static bool is_name(struct bx_slice name) {
  for (size_t i = 0; i < name.len; i++) {
    char c = name.at[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return name.len > 0;
}

// With every {name} replaced it is a channel or a pattern. {user} comes once at most.
static const char *read_channel(const struct bx_value *v, struct bk_rule *rule) {
  char plain[MAX_CHANNEL];
  size_t len = 0, users = 0;
  if (!plain_text(v, &rule->channel) || rule->channel.len == 0 || rule->channel.len > sizeof plain) return a_channel;
  for (size_t i = 0; i < rule->channel.len; i++) {
    struct bx_slice rest = {rule->channel.at + i, rule->channel.len - i};
    const char *end = rest.at[0] == '{' ? memchr(rest.at, '}', rest.len) : NULL;
    if (!end) {
      plain[len++] = rest.at[0];
      continue;
    }
    bool whole = i > 0 && rest.at[-1] == '/' && (end + 1 == rest.at + rest.len || end[1] == '/');
    struct bx_slice name = {rest.at + 1, (size_t)(end - rest.at - 1)};
    if (!whole || !is_name(name)) return a_channel;
    users += bx_slice_equal(name, BX_LIT("user"));
    plain[len++] = 'x';
    i += name.len + 1;
  }
  struct bx_slice channel = {plain, len};
  if (bx_channel_classify(channel) == BX_CHANNEL_INVALID || bx_channel_is_meta(channel)) return a_channel;
  return users > 1 ? "{user} once in a rule's \"channel\"" : NULL;
}

static const char *read_grant(const struct bx_value *v, enum bk_verb verb, struct bk_rule *rule) {
  for (size_t i = 0; grant_names[i]; i++) {
    if (!bx_value_is(v, bx_slice_of(grant_names[i])) || (i == BK_GRANT_ACK && verb == BK_SUBSCRIBE)) continue;
    rule->grants[verb] = (enum bk_grant)i;
    return NULL;
  }
  return verb == BK_SUBSCRIBE ? "\"subscribe\": any, user, owner, authority, server or none"
                              : "\"publish\": any, user, owner, authority, server, ack or none";
}

// "403::Why" or "404:argument:Why". Escapes stay as they are: it is written into replies as it was read.
static bool read_error(const struct bx_value *v, struct bx_slice *text) {
  if (v->type != BX_JSON_STRING) return false;
  *text = bx_value_inside(v);
  if (text->len < 5 || text->len > 200 || text->at[3] != ':') return false;
  for (int i = 0; i < 3; i++)
    if (text->at[i] < '0' || text->at[i] > '9') return false;
  return memchr(text->at + 4, ':', text->len - 4) != NULL;
}

static const char *read_denials(const struct bx_value *v, struct bk_rule *rule) {
  struct bx_value key, value;
  struct bx_scan scan;
  if (v->type == BX_JSON_STRING) {
    if (!read_error(v, &rule->deny[BK_SUBSCRIBE])) return a_denial;
    rule->deny[BK_PUBLISH] = rule->deny[BK_SUBSCRIBE];
    return NULL;
  }
  bx_scan_init(&scan, v->raw, 8);
  if (v->type != BX_JSON_OBJECT || !bx_scan_enter(&scan)) return a_denial;
  while (bx_scan_item(&scan, &key) && bx_scan_value(&scan, &value)) {
    enum bk_verb verb = bx_value_is(&key, BX_LIT("publish")) ? BK_PUBLISH : BK_SUBSCRIBE;
    if (verb == BK_SUBSCRIBE && !bx_value_is(&key, BX_LIT("subscribe"))) return a_denial;
    if (!read_error(&value, &rule->deny[verb])) return a_denial;
  }
  return NULL;
}

static bool read_flag(const struct bx_value *v, bool *flag) {
  *flag = v->type == BX_JSON_TRUE;
  return *flag || v->type == BX_JSON_FALSE;
}

static const char *read_member(const struct bx_value *key, const struct bx_value *v, struct bk_rule *rule) {
  if (bx_value_is(key, BX_LIT("channel"))) return read_channel(v, rule);
  if (bx_value_is(key, BX_LIT("subscribe"))) return read_grant(v, BK_SUBSCRIBE, rule);
  if (bx_value_is(key, BX_LIT("publish"))) return read_grant(v, BK_PUBLISH, rule);
  if (bx_value_is(key, BX_LIT("deny"))) return read_denials(v, rule);
  if (bx_value_is(key, BX_LIT("ext"))) return read_flag(v, &rule->forward_ext) ? NULL : "\"ext\": true or false";
  if (bx_value_is(key, BX_LIT("presence"))) return read_flag(v, &rule->presence) ? NULL : "\"presence\": true or false";
  return a_rule;
}

static bool names_a_user(struct bx_slice channel) {
  struct walk w = walk_of(channel);
  struct bx_slice segment;
  while (step(&w, &segment))
    if (bx_slice_equal(segment, BX_LIT("{user}"))) return true;
  return false;
}

static const char *read_rule(struct bx_scan *scan, struct bk_rule *rule) {
  struct bx_value key, value;
  const char *fault = NULL;
  if (bx_scan_peek(scan) != BX_JSON_OBJECT || !bx_scan_enter(scan)) return a_rule;
  while (bx_scan_item(scan, &key)) {
    if (!bx_scan_value(scan, &value)) return a_rule;
    if (!fault) fault = read_member(&key, &value, rule);
  }
  if (fault) return fault;
  if (rule->channel.len == 0) return a_rule;
  bool owned = rule->grants[BK_SUBSCRIBE] == BK_GRANT_OWNER || rule->grants[BK_PUBLISH] == BK_GRANT_OWNER;
  return owned && !names_a_user(rule->channel) ? "a segment {user} in the \"channel\" of a rule for the owner" : NULL;
}

static const char *read_rules(struct bx_slice json, struct bk_rules *rules) {
  struct bx_scan scan;
  struct bx_value key;
  bx_scan_init(&scan, json, 8);
  if (bx_scan_peek(&scan) != BX_JSON_ARRAY || !bx_scan_enter(&scan)) return a_rule;
  while (bx_scan_item(&scan, &key)) {
    if (rules->count == MAX_RULES) return "at most 1000 rules";
    rules->at = bx_realloc(rules->at, (rules->count + 1) * sizeof *rules->at);
    struct bk_rule *rule = &rules->at[rules->count++];
    *rule = (struct bk_rule){.grants = {BK_GRANT_SERVER, BK_GRANT_SERVER}};
    const char *fault = read_rule(&scan, rule);
    if (fault) return fault;
    rules->presence |= rule->presence;
  }
  return bx_scan_failed(&scan) ? a_rule : NULL;
}

const char *bk_rules_read(struct bx_slice json, struct bk_rules *rules) {
  *rules = (struct bk_rules){0};
  const char *fault = read_rules(json, rules);
  if (fault) bk_rules_fini(rules);
  return fault;
}

void bk_rules_fini(struct bk_rules *rules) {
  bx_free(rules->at);
  *rules = (struct bk_rules){0};
}
