// SPDX-License-Identifier: Apache-2.0
// The access seam (bayeux/access.h) with a scripted decider: at once and later, with sessions and
// connections that end meanwhile.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

#define HELLO "'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']"

struct guard {
  struct bx_access access;
  enum bx_verdict verdict;         // what ask() says
  struct bx_access_answer given;   // with it
  struct bx_list waiting;
  unsigned asked, texts, cancelled;
  char seen[512];   // of the last one: user, channels
};

static struct guard *guard_of(struct bx_access *a) { return bx_container_of(a, struct guard, access); }

static bool is_server(struct bx_access *a, const struct bx_message *m) {
  struct bx_value v = bx_ext_member(&m->ext, BX_LIT("password"));
  (void)a;
  return bx_value_is(&v, BX_LIT("open sesame"));
}

static enum bx_verdict ask(struct bx_access *a, struct bx_access_request *r, struct bx_access_answer *answer) {
  struct guard *g = guard_of(a);
  int at = snprintf(g->seen, sizeof g->seen, "%s%.*s:", r->server ? "server " : "", (int)r->user.len,
                    r->user.len ? r->user.at : "");

  for (size_t i = 0; i < r->channel_count; i++)
    at += snprintf(g->seen + at, sizeof g->seen - (size_t)at, " %.*s", (int)r->channels[i].len, r->channels[i].at);
  g->asked++;
  *answer = g->given;
  if (g->verdict == BX_LATER) bx_list_append(&g->waiting, &r->link);
  return r->server ? BX_ALLOW : g->verdict;
}

static void asked(struct bx_access *a) { guard_of(a)->texts++; }

static void cancel(struct bx_access *a, struct bx_access_request *r) {
  guard_of(a)->cancelled++;
  bx_list_remove(&r->link);
}

static const struct bx_access_ops ops = {.is_server = is_server, .ask = ask, .asked = asked, .cancel = cancel};

// A server whose decider allows all until `g` says otherwise.
struct scene {
  struct world w;
  struct guard g;
  char id[32];     // the session, if it began with one
  struct wire x;   // closed at the end
};

static void begin(struct scene *s) {
  *s = (struct scene){.g.access.ops = &ops};
  world_init(&s->w, NULL);
  bx_list_init(&s->g.waiting);
  bx_server_guard(s->w.server, &s->g.access);
}

static void begin_with_session(struct scene *s) {
  begin(s);
  world_handshake(&s->w, s->id);
}

// What the stream asks is decided later.
static void begin_asking(struct scene *s) {
  begin_with_session(s);
  s->g.verdict = BX_LATER;
  wire_open(&s->x, &s->w);
}

static void end(struct scene *s) {
  if (s->x.open) wire_close(&s->x);
  world_fini(&s->w);
}

static void subscribe(struct scene *s, const char *pattern) {
  assert_true(wire_send(&s->x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'%s'}", s->id, pattern));
}

static bool decide(struct scene *s, struct bx_access_answer answer) {
  struct bx_list *link = bx_list_take(&s->g.waiting);

  if (link == NULL) return false;
  bx_access_decide(s->w.server, bx_container_of(link, struct bx_access_request, link), &answer);
  world_turn(&s->w);
  return true;
}

static const struct bx_access_answer allow = {.verdict = BX_ALLOW}, unavailable = {.verdict = BX_UNAVAILABLE};

static void handshake_as(struct scene *s, const char *user) {
  s->g.given.user = bx_slice_of(user);
  world_handshake(&s->w, s->id);
  s->g.given = (struct bx_access_answer){0};
}

// -- at once ---------------------------------------------------------------------------------------

static void a_handshake_gives_the_session_its_user(void **state) {
  struct scene s;

  (void)state;
  begin(&s);
  handshake_as(&s, "alice");
  assert_string_equal(world_session(&s.w, s.id)->user, "alice");
  world_subscribe(&s.w, s.id, "/a");
  assert_string_equal(s.g.seen, "alice: /a");
  world_ask(&s.w, "{'channel':'/a','clientId':'%s','data':1}", s.id);
  assert_string_equal(s.g.seen, "alice: /a");
  world_ask(&s.w, "{'channel':'/b','data':1}");
  assert_string_equal(s.g.seen, ": /b");
  world_ask(&s.w, "{'channel':'/b','data':1,'ext':{'password':'open sesame'}}");
  assert_string_equal(s.g.seen, "server : /b");
  end(&s);
}

static void names_that_are_none_are_refused(void **state) {
  static const char *const bad[] = {"a\nb", "\x7f", "\xc2\x9b;1m", "a\xc2\x80", "\xc2\x9f"};
  char longest[BX_MAX_USER + 2];
  struct scene s;

  (void)state;
  begin(&s);
  memset(longest, 'u', sizeof longest - 1);
  longest[BX_MAX_USER + 1] = '\0';
  s.g.given.user = bx_slice_of(longest);
  assert_non_null(strstr(world_ask(&s.w, "{" HELLO "}"), "'error':'401::Bad user name'"));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    s.g.given.user = bx_slice_of(bad[i]);
    assert_non_null(strstr(world_ask(&s.w, "{" HELLO "}"), "'error':'401::Bad user name'"));
  }
  assert_int_equal(s.w.server->counters.sessions, 0);
  longest[BX_MAX_USER] = '\0';
  handshake_as(&s, "\xc2\xa0\xc3\x80");   // the first that is none, and a letter
  handshake_as(&s, longest);
  assert_int_equal(strlen(world_session(&s.w, s.id)->user), BX_MAX_USER);
  end(&s);
}

static void denials_say_what_the_decider_says(void **state) {
  const char *reply;
  struct scene s;

  (void)state;
  begin_with_session(&s);
  s.g.verdict = BX_DENY;
  s.g.given.error = BX_LIT("403::Authorisation denied.");
  assert_non_null(
      strstr(world_ask(&s.w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/a','/b']}", s.id),
             "'successful':false,'subscription':['/a','/b'],'error':'403::Authorisation denied.'}"));
  assert_string_equal(s.g.seen, ": /a /b");
  reply = world_ask(&s.w, "{'channel':'/a','data':1}");
  assert_string_equal(reply, "[{'channel':'/a','successful':false,'error':'403::Authorisation denied.'}]");
  s.g.given = (struct bx_access_answer){.error = BX_LIT("401::Invalid"), .reconnect = "none", .interval = 864000000};
  assert_non_null(strstr(world_ask(&s.w, "{" HELLO "}"),
                         "'error':'401::Invalid','advice':{'reconnect':'none','interval':864000000}}"));
  s.g.given = (struct bx_access_answer){0};
  assert_non_null(strstr(world_ask(&s.w, "{" HELLO "}"),
                         "'error':'403::Forbidden','advice':{'reconnect':'handshake','interval':1"));
  assert_int_equal(s.w.server->counters.denied, 4);
  assert_int_equal(s.w.server->counters.sessions, 1);
  assert_int_equal(s.w.server->counters.subscriptions, 0);
  assert_int_equal(s.w.server->counters.published, 0);
  end(&s);
}

static void ext_comes_with_the_replies(void **state) {
  struct scene s;

  (void)state;
  begin_with_session(&s);
  s.g.given.ext = BX_LIT("{'snapshot':[1]}");
  assert_non_null(strstr(world_ask(&s.w, "{" HELLO "}"), "'timeout':10000},'ext':{'snapshot':[1]}}]"));
  assert_non_null(strstr(world_ask(&s.w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", s.id),
                         "'subscription':'/a','ext':{'snapshot':[1]}}]"));
  assert_string_equal(world_ask(&s.w, "{'channel':'/a','data':1}"),
                      "[{'channel':'/a','successful':true,'ext':{'snapshot':[1]}}]");
  // Not with one that is refused for one of its channels.
  assert_null(strstr(world_ask(&s.w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/b','x']}", s.id),
                     "snapshot"));
  end(&s);
}

// CometD's ack extension answers in the same object.
static void ext_of_a_handshake_has_room_for_more(void **state) {
  static const char *const rows[][2] = {
      {"{\"a\":[1]}", "'ext':{'a':[1],'ack':{'enabled':true,'batch':"},
      {"{ }", "'ext':{ 'ack':{'enabled':true,'batch':"},
      {"", "'ext':{'ack':{'enabled':true,'batch':"},
  };
  struct scene s;

  (void)state;
  for (size_t i = 0; i < 3; i++) {
    begin(&s);
    s.g.given.ext = bx_slice_of(rows[i][0]);
    assert_non_null(strstr(world_ask(&s.w, "{" HELLO ",'ext':{'ack':true}}"), rows[i][1]));
    end(&s);
  }
}

// What a subscriber gets of a publish, and the publisher's reply.
static const char *published(struct bx_access_answer given, const char *text, const char **reply) {
  static char out[512], said[512];
  struct scene s;

  begin_with_session(&s);
  world_subscribe(&s.w, s.id, "/**");
  stream_connect(&s.x, &s.w, s.id, "1");
  s.g.given = given;
  snprintf(said, sizeof said, "%s", world_ask(&s.w, text, s.id));
  *reply = said;
  snprintf(out, sizeof out, "%s", wire_take(&s.x));
  end(&s);
  return out;
}

static void publishes_that_are_only_acknowledged(void **state) {
  const struct bx_access_answer silent = {.unjournalled = true};
  const char *reply;

  (void)state;
  assert_string_equal(published(silent, "{'channel':'/ping','data':1,'clientId':'%s'}", &reply), "");
  assert_non_null(strstr(reply, "'channel':'/ping','successful':true}]"));
  assert_string_equal(published(silent, "{'channel':'/ping','data':1}", &reply), "");
  assert_non_null(strstr(reply, "'successful':false,'error':'401::Unknown client','advice':{'reconnect':'handshake'"));
}

static void ext_is_forwarded_without_secrets(void **state) {
  const struct bx_access_answer forward = {.forward_ext = true};
  const char *reply;

  (void)state;
  assert_string_equal(published(forward, "{'channel':'/a','data':1}", &reply), "[{'channel':'/a','data':1}]\n");
  assert_string_equal(published(forward, "{'channel':'/a','data':1,'ext':7}", &reply), "[{'channel':'/a','data':1}]\n");
  assert_string_equal(
      published(forward, "{'ext':{'password':'p','a':1,'t\\u006fken':'t','b':{'token':2}},'channel':'/a','data':1}",
                &reply),
      "[{'channel':'/a','data':1,'ext':{'a':1,'b':{'token':2}}}]\n");
  assert_string_equal(published(allow, "{'ext':{'a':1},'channel':'/a','data':1}", &reply),
                      "[{'channel':'/a','data':1}]\n");
}

static void numbers_join_what_is_forwarded(void **state) {
  struct scene s;

  (void)state;
  begin(&s);
  s.w.mount.sequence = true;
  world_handshake(&s.w, s.id);
  world_subscribe(&s.w, s.id, "/**");
  stream_connect(&s.x, &s.w, s.id, "1");
  s.g.given.forward_ext = true;
  world_ask(&s.w, "{'channel':'/a','data':{'ext':{}},'ext':{'a':1,'c':'mine'}}");
  world_ask(&s.w, "{'channel':'/a','data':1,'ext':{}}");
  world_ask(&s.w, "{'channel':'/a','data':{'ext':{}}}");
  assert_string_equal(wire_take(&s.x), "[{'channel':'/a','data':{'ext':{}},'ext':{'a':1,'c':'mine','c':1}}]\n"
                                       "[{'channel':'/a','data':1,'ext':{'c':2}}]\n"
                                       "[{'channel':'/a','data':{'ext':{}},'ext':{'c':3}}]\n");
  end(&s);
}

// -- later -----------------------------------------------------------------------------------------

static void replies_of_a_text_wait_for_the_decision_and_keep_their_order(void **state) {
  struct scene s;
  const char *got;

  (void)state;
  begin_with_session(&s);
  stream_connect(&s.x, &s.w, s.id, "1");
  wire_take(&s.x);
  s.g.verdict = BX_LATER;
  s.g.texts = 0;
  assert_true(wire_send(&s.x,
                        "[{'id':'s1','channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{'id':'s2','channel':'/meta/subscribe','clientId':'%s','subscription':'/b'},"
                        "{'id':'d','channel':'/meta/unsubscribe','clientId':'%s','subscription':'/x'}]",
                        s.id, s.id, s.id));
  assert_int_equal(s.g.texts, 1);
  world_turn(&s.w);
  assert_string_equal(wire_take(&s.x), "");
  assert_int_equal(s.w.server->counters.asking, 2);
  world_publish(&s.w, "/a", 1);   // after it was asked: it is not missed
  assert_true(decide(&s, allow));
  assert_true(decide(&s, (struct bx_access_answer){.verdict = BX_DENY}));
  got = wire_take(&s.x);
  assert_non_null(strstr(got, "[{'id':'s1'"));
  assert_true(strstr(got, "'id':'s1'") < strstr(got, "'id':'s2'"));
  assert_true(strstr(got, "'id':'s2'") < strstr(got, "'id':'d'"));
  assert_true(strstr(got, "'id':'d'") < strstr(got, "'data':1"));
  assert_non_null(strstr(got, "'subscription':'/b','error':'403::Forbidden'"));
  end(&s);
}

static void a_held_connect_does_not_wait(void **state) {
  struct scene s;

  (void)state;
  begin_with_session(&s);
  world_subscribe(&s.w, s.id, "/here");
  stream_connect(&s.x, &s.w, s.id, "1");
  wire_take(&s.x);
  s.g.verdict = BX_LATER;
  subscribe(&s, "/a");
  world_publish(&s.w, "/here", 5);
  assert_non_null(strstr(wire_take(&s.x), "'data':5"));
  world_pass(&s.w, 11000);
  assert_non_null(strstr(wire_take(&s.x), "'channel':'/meta/connect','successful':true"));
  assert_true(decide(&s, allow));
  assert_non_null(strstr(wire_take(&s.x), "'subscription':'/a'"));
  end(&s);
}

static void unavailable_is_no_ban(void **state) {
  struct scene s;
  const char *got;

  (void)state;
  begin_asking(&s);
  assert_true(wire_send(&s.x, "{" HELLO "}"));
  decide(&s, unavailable);
  got = wire_take(&s.x);
  assert_non_null(strstr(got, "'error':'503::Authority unavailable','advice':{'reconnect':'handshake','interval':"));
  assert_in_range(strtoul(strstr(got, "'interval':") + 11, NULL, 10), 5000, 30000);
  subscribe(&s, "/a");
  decide(&s, unavailable);
  assert_non_null(strstr(wire_take(&s.x), "'error':'503:/a:Authority unavailable'"));
  assert_true(wire_send(&s.x, "{'channel':'/a','data':1}"));
  decide(&s, unavailable);
  assert_non_null(strstr(wire_take(&s.x), "'error':'503:/a:Authority unavailable'"));
  assert_int_equal(s.w.server->counters.unavailable, 3);
  end(&s);
}

static void a_handshake_whose_connection_went_is_taken_back(void **state) {
  struct scene s;

  (void)state;
  begin(&s);
  s.g.verdict = BX_LATER;
  wire_open(&s.x, &s.w);
  assert_true(wire_send(&s.x, "[{" HELLO "},{" HELLO "},{'channel':'/a','data':1}]"));
  assert_int_equal(s.w.server->counters.asking, 3);
  wire_close(&s.x);
  assert_int_equal(s.g.cancelled, 2);
  assert_int_equal(s.w.server->counters.asking, 1);
  assert_true(decide(&s, allow));   // the publish goes on
  assert_false(decide(&s, allow));
  assert_int_equal(s.w.server->counters.published, 1);
  assert_int_equal(s.w.server->counters.sessions, 0);
  end(&s);
}

static void a_session_that_ended_meanwhile_gets_nothing(void **state) {
  struct scene s;

  (void)state;
  begin_asking(&s);
  assert_true(wire_send(&s.x,
                        "[{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{'channel':'/a','data':1,'clientId':'%s'}]",
                        s.id, s.id));
  world_ask(&s.w, "{'channel':'/meta/disconnect','clientId':'%s'}", s.id);
  assert_int_equal(s.w.server->counters.sessions, 0);
  decide(&s, allow);
  decide(&s, allow);
  assert_int_equal(wire_count(&s.x, "Unknown client"), 2);
  assert_int_equal(s.w.server->counters.subscriptions, 0);
  assert_int_equal(s.w.server->counters.published, 0);
  end(&s);
}

static void what_waits_counts_against_the_limit(void **state) {
  struct scene s;

  (void)state;
  begin_asking(&s);
  for (int i = 0; i <= 100; i++)
    assert_true(wire_send(&s.x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a%d'}", s.id, i));
  assert_int_equal(s.w.server->counters.asking, 100);
  for (int i = 0; i < 50; i++) decide(&s, unavailable);
  for (int i = 0; i < 50; i++) decide(&s, allow);
  assert_int_equal(s.w.server->counters.subscriptions, 50);
  s.g.verdict = BX_ALLOW;
  for (int i = 0; i < 50; i++)
    assert_true(wire_send(&s.x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/b%d'}", s.id, i));
  world_turn(&s.w);
  assert_int_equal(s.w.server->counters.subscriptions, 100);
  end(&s);
}

static void all_is_taken_back_when_the_server_goes(void **state) {
  struct scene s;

  (void)state;
  begin_asking(&s);
  assert_true(wire_send(&s.x,
                        "[{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{'channel':'/a','data':1,'clientId':'%s'},{'channel':'/a','data':1}]",
                        s.id, s.id));
  wire_close(&s.x);
  end(&s);   // asserts that nothing is left
  assert_int_equal(s.g.cancelled, 3);
}

static void a_drain_waits_a_second_for_decisions(void **state) {
  struct scene s;

  (void)state;
  begin_asking(&s);
  subscribe(&s, "/a");
  subscribe(&s, "/b");
  bx_server_drain(s.w.server);
  world_pass(&s.w, 900);
  assert_true(decide(&s, allow));
  assert_int_equal(s.w.server->counters.asking, 1);
  world_pass(&s.w, 200);
  assert_int_equal(s.w.server->counters.asking, 0);
  subscribe(&s, "/c");
  assert_int_equal(s.w.server->counters.asking, 0);
  assert_int_equal(s.w.server->counters.subscriptions, 1);
  assert_int_equal(s.w.server->counters.unavailable, 2);
  end(&s);
}

// -- ext -------------------------------------------------------------------------------------------

static void members_of_ext(void **state) {
  struct bx_value ext = {0}, v;
  struct bx_buffer out = {0};
  struct bx_scan s;

  (void)state;
  bx_scan_init(&s, BX_LIT("{\"a\":1,\"p\\u0061ssword\":\"x\",\"a\":[2] , \"token\":3}"), 8);
  assert_true(bx_scan_value(&s, &ext));
  v = bx_ext_member(&ext, BX_LIT("a"));
  assert_true(bx_slice_equal(v.raw, BX_LIT("[2]")));
  v = bx_ext_member(&ext, BX_LIT("b"));
  assert_int_equal(v.type, BX_JSON_NONE);
  bx_ext_strip(&ext, &out);
  assert_true(bx_slice_equal(bx_buffer_view(&out), BX_LIT("{\"a\":1,\"a\":[2]}")));
  bx_buffer_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_handshake_gives_the_session_its_user),
      cmocka_unit_test(names_that_are_none_are_refused),
      cmocka_unit_test(denials_say_what_the_decider_says),
      cmocka_unit_test(ext_comes_with_the_replies),
      cmocka_unit_test(ext_of_a_handshake_has_room_for_more),
      cmocka_unit_test(publishes_that_are_only_acknowledged),
      cmocka_unit_test(ext_is_forwarded_without_secrets),
      cmocka_unit_test(numbers_join_what_is_forwarded),
      cmocka_unit_test(replies_of_a_text_wait_for_the_decision_and_keep_their_order),
      cmocka_unit_test(a_held_connect_does_not_wait),
      cmocka_unit_test(unavailable_is_no_ban),
      cmocka_unit_test(a_handshake_whose_connection_went_is_taken_back),
      cmocka_unit_test(a_session_that_ended_meanwhile_gets_nothing),
      cmocka_unit_test(what_waits_counts_against_the_limit),
      cmocka_unit_test(all_is_taken_back_when_the_server_goes),
      cmocka_unit_test(a_drain_waits_a_second_for_decisions),
      cmocka_unit_test(members_of_ext),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
