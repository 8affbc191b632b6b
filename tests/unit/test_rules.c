// SPDX-License-Identifier: Apache-2.0
// Rules: what they say one by one, and against an oracle that knows nothing but single channels: it
// goes through all channels of a small world and takes the first rule that matches each.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bayeux/channel.h"
#include "broker/access/rules.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

// Written with ' for ".
static struct bx_slice json(const char *text, struct bx_buffer *to) {
  bx_buffer_clear(to);
  for (; *text; text++) bx_buffer_char(to, *text == '\'' ? '"' : *text);
  return bx_buffer_view(to);
}

static const struct bk_subject nobody, alice = {.user = {"alice", 5}}, server = {.server = true};

// "allow", "deny", "ask", "ack", and for denials the text.
static const char *ruling(const char *rules, enum bk_verb verb, const char *channel, const struct bk_subject *who) {
  static const char *const names[] = {"deny", "allow", "ask", "ack"};
  static char text[256];
  struct bx_buffer buffer = {0}, error = {0};
  struct bk_rules r;

  assert_null(bk_rules_read(json(rules, &buffer), &r));
  struct bk_decision d = bk_rules_decide(&r, verb, bx_slice_of(channel), who);
  bk_rules_error(&d, verb, bx_slice_of(channel), &error);
  snprintf(text, sizeof text, "%s%s%.*s", names[d.ruling], d.ruling == BK_RULING_DENY ? " " : "",
           d.ruling == BK_RULING_DENY ? (int)error.len : 0, error.at);
  bk_rules_fini(&r);
  bx_buffer_fini(&buffer);
  bx_buffer_fini(&error);
  return text;
}

static void the_first_rule_that_matches_decides(void **state) {
  static const char rules[] = "[{'channel':'/a/b','subscribe':'none'},{'channel':'/a/*','subscribe':'any'}]";
  (void)state;
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/a/b", &alice), "deny 403:/a/b:Not allowed");
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/a/c", &nobody), "allow");
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/a/b/c", &alice), "deny 403:/a/b/c:Not allowed");
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/a", &alice), "deny 403:/a:Not allowed");
  assert_string_equal(ruling(rules, BK_PUBLISH, "/a/c", &alice), "deny 403:/a/c:Not allowed");
  assert_string_equal(ruling("[]", BK_SUBSCRIBE, "/a", &alice), "deny 403:/a:Not allowed");
}

static void grants(void **state) {
  static const struct {
    const char *grant, *nobody, *alice, *server;
  } rows[] = {
      {"none", "deny", "deny", "deny"},    {"any", "allow", "allow", "allow"},   {"user", "deny", "allow", "allow"},
      {"owner", "deny", "allow", "allow"}, {"authority", "ask", "ask", "allow"}, {"server", "deny", "deny", "allow"},
      {"ack", "ack", "ack", "ack"},
  };
  char rules[128];
  (void)state;
  for (size_t i = 0; i < COUNT(rows); i++) {
    snprintf(rules, sizeof rules, "[{'channel':'/u/{user}','publish':'%s','deny':'403::No'}]", rows[i].grant);
    assert_memory_equal(ruling(rules, BK_PUBLISH, "/u/alice", &nobody), rows[i].nobody, strlen(rows[i].nobody));
    assert_memory_equal(ruling(rules, BK_PUBLISH, "/u/alice", &alice), rows[i].alice, strlen(rows[i].alice));
    assert_memory_equal(ruling(rules, BK_PUBLISH, "/u/alice", &server), rows[i].server, strlen(rows[i].server));
    if (strcmp(rows[i].grant, "owner") == 0)
      assert_string_equal(ruling(rules, BK_PUBLISH, "/u/bob", &alice), "deny 403::No");
  }
  assert_string_equal(ruling("[]", BK_PUBLISH, "/x", &server), "allow");
}

static void texts_of_denials(void **state) {
  static const char rules[] = "[{'channel':'/a','deny':{'publish':'403::Push access "
                              "denied'}},{'channel':'/**','deny':'404::Unknown subscription "
                              "{channel}'}]";
  (void)state;
  assert_string_equal(ruling(rules, BK_PUBLISH, "/a", &alice), "deny 403::Push access denied");
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/a", &alice), "deny 403:/a:Not allowed");
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/x/y", &alice), "deny 404::Unknown subscription /x/y");
}

static void a_pattern_needs_a_rule_at_least_as_wide(void **state) {
  static const char rules[] = "[{'channel':'/u/{user}/**','subscribe':'owner','deny':'403::Not yours'},"
                              "{'channel':'/news/*','subscribe':'any'},{'channel':'/r/{room}/log','subscribe':'any'},"
                              "{'channel':'/**','subscribe':'server','deny':'404::{channel}'}]";
  static const struct {
    const char *pattern, *says;
  } rows[] = {
      {"/u/alice/**", "allow"},
      {"/u/alice/rooms/*", "allow"},
      {"/u/bob/**", "deny 403::Not yours"},
      {"/u/*", "deny 404::/u/*"},
      {"/u/**", "deny 404::/u/**"},
      {"/**", "deny 404::/**"},
      {"/*", "deny 404::/*"},
      {"/news/*", "allow"},
      {"/news/**", "deny 404::/news/**"},
      {"/news/today", "allow"},
      {"/news/today/*", "deny 404::/news/today/*"},
      {"/r/1/log", "allow"},
      {"/r/*", "deny 404::/r/*"},
      {"/r/1/*", "deny 404::/r/1/*"},
      {"/r/**", "deny 404::/r/**"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT(rows); i++)
    assert_string_equal(ruling(rules, BK_SUBSCRIBE, rows[i].pattern, &alice), rows[i].says);
  assert_string_equal(ruling(rules, BK_SUBSCRIBE, "/**", &server), "allow");
  // A narrower rule in front that says otherwise stands in the way of a wide one.
  assert_string_equal(
      ruling("[{'channel':'/a/secret'},{'channel':'/a/**','subscribe':'any'}]", BK_SUBSCRIBE, "/a/**", &alice),
      "deny 403:/a/**:Not allowed");
  assert_string_equal(ruling("[{'channel':'/a/b','subscribe':'user'},{'channel':'/a/**','subscribe':'any'}]",
                             BK_SUBSCRIBE, "/a/**", &alice),
                      "allow");
  // {x} is no wildcard: what ends in it is asked for by name.
  assert_string_equal(ruling("[{'channel':'/a/{x}','subscribe':'any'}]", BK_SUBSCRIBE, "/a/*", &alice),
                      "deny 403:/a/*:Not allowed");
}

static bool counts(const char *rules, const char *channel) {
  struct bx_buffer buffer = {0};
  struct bk_rules r;

  assert_null(bk_rules_read(json(rules, &buffer), &r));
  bool counted = bk_rules_count(&r, bx_slice_of(channel));
  bk_rules_fini(&r);
  bx_buffer_fini(&buffer);
  return counted;
}

static void who_is_present_is_counted_by_the_first_rule(void **state) {
  static const char rules[] = "[{'channel':'/a/b','subscribe':'any'},{'channel':'/a/*','presence':true}]";
  (void)state;
  assert_true(counts(rules, "/a/c"));
  assert_false(counts(rules, "/a/b"));
  assert_false(counts(rules, "/b"));
  assert_false(counts("[{'channel':'/**','presence':true}]", "/presence/a"));
  assert_false(counts("[{'channel':'/**','presence':false}]", "/a"));
}

static void companions_are_heard_by_who_may_subscribe_and_nobody_speaks_there(void **state) {
  static const char rules[] = "[{'channel':'/u/{user}/*','subscribe':'owner'},{'channel':'/r/no','subscribe':'none'},"
                              "{'channel':'/r/**','subscribe':'any','publish':'any','presence':true},"
                              "{'channel':'/presence/**','subscribe':'any','publish':'any'}]";
  static const struct {
    const char *pattern, *says;
  } rows[] = {
      {"/presence/r/1", "allow"},
      {"/presence/r/no", "deny 403:/presence/r/no:Not allowed"},
      {"/presence/r/*", "deny 403:/presence/r/*:Not allowed"},
      {"/presence/r/1/**", "allow"},
      {"/presence/u/alice/x", "allow"},
      {"/presence/u/bob/x", "deny 403:/presence/u/bob/x:Not allowed"},
      {"/presence/**", "deny 403:/presence/**:Not allowed"},
      {"/presence/*", "deny 403:/presence/*:Not allowed"},
      {"/presence/presence/r/1", "allow"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT(rows); i++)
    assert_string_equal(ruling(rules, BK_SUBSCRIBE, rows[i].pattern, &alice), rows[i].says);
  assert_string_equal(ruling(rules, BK_PUBLISH, "/presence/r/1", &alice), "deny 403:/presence/r/1:Not allowed");
  assert_string_equal(ruling(rules, BK_PUBLISH, "/presence/r/1", &server), "deny 403:/presence/r/1:Not allowed");
  // Where nobody is counted it is a channel as others.
  assert_string_equal(ruling("[{'channel':'/presence/**','publish':'any'}]", BK_PUBLISH, "/presence/r/1", &alice),
                      "allow");
}

// -- reading ---------------------------------------------------------------------------------------

static void rules_that_are_none(void **state) {
  static const char *const bad[] = {
      "{}",
      "7",
      "[7]",
      "[{}]",
      "[{'channel':'a'}]",
      "[{'channel':''}]",
      "[{'channel':'/'}]",
      "[{'channel':'/a/'}]",
      "[{'channel':'/a//b'}]",
      "[{'channel':'/a/*/b'}]",
      "[{'channel':'/a/**/b'}]",
      "[{'channel':'/a/{x'}]",
      "[{'channel':'/a/{}'}]",
      "[{'channel':'/a','presence':1}]",
      "[{'channel':'/a/b{x}'}]",
      "[{'channel':'/a/{x}b'}]",
      "[{'channel':'/a/{x-y}'}]",
      "[{'channel':'/a/{x}{y}'}]",
      "[{'channel':'/{user}/{user}'}]",
      "[{'channel':'/a b'}]",
      "[{'channel':'/a%2fb'}]",
      "[{'channel':'/\\u0061'}]",
      "[{'channel':'/meta/x'}]",
      "[{'channel':'/a','subscribe':'all'}]",
      "[{'channel':'/a','subscribe':'ack'}]",
      "[{'channel':'/a','subscribe':true}]",
      "[{'channel':'/a','subscribe':'owner'}]",
      "[{'channel':'/a/{users}','publish':'owner'}]",
      "[{'channel':'/a','deny':'no'}]",
      "[{'channel':'/a','deny':'403:no'}]",
      "[{'channel':'/a','deny':{'read':'403::x'}}]",
      "[{'channel':'/a','deny':7}]",
      "[{'channel':'/a','ext':1}]",
      "[{'channel':'/a','sbscribe':'any'}]",
      "[{'subscribe':'any'}]",
  };
  struct bx_buffer buffer = {0};
  struct bk_rules r;
  (void)state;
  for (size_t i = 0; i < COUNT(bad); i++) {
    if (bk_rules_read(json(bad[i], &buffer), &r) == NULL) fail_msg("%s was taken", bad[i]);
    assert_null(r.at);
  }
  bx_buffer_fini(&buffer);
}

static void what_no_channel_looks_like_matches_nothing(void **state) {
  // Such channels are refused before a rule is asked; were they not, no rule would know them.
  static const char *const alike[] = {"/a%2fb",
                                      "/\xd0\xb0/b",
                                      "/A/b",
                                      ("/a\xe2\x88\x95"
                                       "b"),   // not a hexadecimal digit more
                                      "/a/./b",
                                      "/a/../a/b"};
  (void)state;
  for (size_t i = 0; i < COUNT(alike); i++) {
    struct bx_slice channel = bx_slice_of(alike[i]);
    if (strcmp(alike[i], "/A/b") != 0) assert_int_equal(bx_channel_classify(channel), BX_CHANNEL_INVALID);
    assert_memory_equal(ruling("[{'channel':'/a/b','subscribe':'any'}]", BK_SUBSCRIBE, alike[i], &alice), "deny", 4);
  }
}

// -- the oracle ------------------------------------------------------------------------------------

enum { DEPTH = 4, LETTERS = 3, WORLD = 3 + 9 + 27 + 81 };
static char channels[WORLD][2 * DEPTH + 1];

static void make_world(void) {
  size_t n = 0;
  for (int depth = 1, all = LETTERS; depth <= DEPTH; depth++, all *= LETTERS)
    for (int i = 0; i < all; i++, n++)
      for (int at = 0, rest = i; at < depth; at++, rest /= LETTERS) {
        channels[n][2 * at] = '/';
        channels[n][2 * at + 1] = (char)('a' + rest % LETTERS);
      }
}

// By regular-expression-like recursion over characters, with nothing of rules.c.
static bool matches(const char *rule, const char *channel, bool *owned, const char *user) {
  if (*rule == '\0' || *channel == '\0') return *rule == *channel;
  if (strcmp(rule, "/**") == 0) return true;
  if (strcmp(rule, "/*") == 0) return strchr(channel + 1, '/') == NULL;
  if (rule[1] == '{') {
    if (strncmp(rule, "/{user}", 7) == 0) *owned = channel[1] == user[0];
    return matches(strchr(rule, '}') + 1, channel + 2, owned, user);
  }
  return rule[1] == channel[1] && matches(rule + 2, channel + 2, owned, user);
}

struct drawn {
  char channel[64];
  enum bk_grant grant;
};

static unsigned draw(unsigned n) {
  static uint64_t seed = 88172645463325252ull;
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (unsigned)(seed >> 20) % n;
}

static void draw_pattern(char *out, bool captures, bool *user) {
  unsigned depth = 1 + draw(DEPTH);
  *user = false;
  for (unsigned i = 0; i < depth; i++) {
    unsigned kind = draw(captures ? 6 : 4);
    if (i + 1 == depth && draw(2))
      out += sprintf(out, draw(2) ? "/*" : "/**");
    else if (kind == 4)
      out += sprintf(out, "/{x}");
    else if (kind == 5 && !*user)
      out += sprintf(out, "/{user}"), *user = true;
    else
      out += sprintf(out, "/%c", 'a' + (char)draw(LETTERS));
  }
}

static bool oracle(const struct drawn *rules, unsigned count, const char *channel, const struct bk_subject *who) {
  for (unsigned i = 0; i < count; i++) {
    bool owned = false;
    if (!matches(rules[i].channel, channel, &owned, who->user.len ? who->user.at : "-")) continue;
    switch (rules[i].grant) {
    case BK_GRANT_ANY: return true;
    case BK_GRANT_USER: return who->user.len > 0 || who->server;
    case BK_GRANT_OWNER: return owned || who->server;
    case BK_GRANT_AUTHORITY:
    case BK_GRANT_SERVER: return who->server;
    default: return false;
    }
  }
  return who->server;
}

static void write_rules(const struct drawn *rules, unsigned count, struct bx_buffer *out) {
  bx_buffer_clear(out);
  for (unsigned i = 0; i < count; i++)
    bx_buffer_printf(out, "%c{\"channel\":\"%s\",\"subscribe\":\"%s\"}", i ? ',' : '[', rules[i].channel,
                     bk_grant_name(rules[i].grant));
  bx_buffer_char(out, ']');
}

static void a_granted_pattern_matches_no_channel_that_would_be_denied(void **state) {
  static const enum bk_grant of_any[] = {BK_GRANT_NONE,      BK_GRANT_ANY,    BK_GRANT_ANY,  BK_GRANT_USER,
                                         BK_GRANT_AUTHORITY, BK_GRANT_SERVER, BK_GRANT_OWNER};
  const struct bk_subject who[] = {{.user = {"a", 1}}, {.user = {"b", 1}}, {.server = true}, {{0}, false}};
  unsigned wide_and_granted = 0, denied = 0;
  struct bx_buffer text = {0};
  (void)state;
  make_world();
  for (int round = 0; round < 3000; round++) {
    struct drawn rules[5];
    unsigned count = 1 + draw(5);
    struct bk_rules r;
    for (unsigned i = 0; i < count; i++) {
      bool user;
      draw_pattern(rules[i].channel, true, &user);
      rules[i].grant = of_any[draw(user ? COUNT(of_any) : COUNT(of_any) - 1)];
    }
    write_rules(rules, count, &text);
    assert_null(bk_rules_read(bx_buffer_view(&text), &r));
    for (int ask = 0; ask < 20; ask++) {
      const struct bk_subject *subject = &who[draw(COUNT(who))];
      char pattern[64];
      bool ignored;
      draw_pattern(pattern, false, &ignored);
      bool granted = bk_rules_decide(&r, BK_SUBSCRIBE, bx_slice_of(pattern), subject).ruling == BK_RULING_ALLOW;
      bool name = strchr(pattern, '*') == NULL;
      for (unsigned c = 0; c < WORLD; c++) {
        if (!bx_channel_matches(bx_slice_of(pattern), bx_slice_of(channels[c]))) continue;
        bool allowed = oracle(rules, count, channels[c], subject);
        if ((granted && !allowed) || (name && granted != allowed))
          fail_msg("%s %s %s: %.*s", pattern, channels[c], granted ? "granted" : "denied", (int)text.len, text.at);
      }
      wide_and_granted += granted && !name;
      denied += !granted;
    }
    bk_rules_fini(&r);
  }
  bx_buffer_fini(&text);
  assert_true(wide_and_granted > 3000);   // else nothing was looked at
  assert_true(denied > 3000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_rule_that_matches_decides),
      cmocka_unit_test(grants),
      cmocka_unit_test(texts_of_denials),
      cmocka_unit_test(a_pattern_needs_a_rule_at_least_as_wide),
      cmocka_unit_test(who_is_present_is_counted_by_the_first_rule),
      cmocka_unit_test(companions_are_heard_by_who_may_subscribe_and_nobody_speaks_there),
      cmocka_unit_test(rules_that_are_none),
      cmocka_unit_test(what_no_channel_looks_like_matches_nothing),
      cmocka_unit_test(a_granted_pattern_matches_no_channel_that_would_be_denied),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
