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

static void guard(struct world *w, struct guard *g) {
  world_init(w, NULL);
  *g = (struct guard){.access.ops = &ops};
  bx_list_init(&g->waiting);
  bx_server_guard(w->server, &g->access);
}

static bool decide(struct world *w, struct guard *g, struct bx_access_answer answer) {
  struct bx_list *link = bx_list_take(&g->waiting);

  if (link == NULL) return false;
  bx_access_decide(w->server, bx_container_of(link, struct bx_access_request, link), &answer);
  world_turn(w);
  return true;
}

static const struct bx_access_answer allow = {.verdict = BX_ALLOW}, unavailable = {.verdict = BX_UNAVAILABLE};

static void handshake_as(struct world *w, struct guard *g, const char *user, char id[32]) {
  g->given.user = bx_slice_of(user);
  world_handshake(w, id);
  g->given = (struct bx_access_answer){0};
}

// -- at once ---------------------------------------------------------------------------------------

static void a_handshake_gives_the_session_its_user(void **state) {
  struct world w;
  struct guard g;
  char id[32];

  (void)state;
  guard(&w, &g);
  handshake_as(&w, &g, "alice", id);
  assert_string_equal(world_session(&w, id)->user, "alice");
  world_subscribe(&w, id, "/a");
  assert_string_equal(g.seen, "alice: /a");
  world_ask(&w, "{'channel':'/a','clientId':'%s','data':1}", id);
  assert_string_equal(g.seen, "alice: /a");
  world_ask(&w, "{'channel':'/b','data':1}");
  assert_string_equal(g.seen, ": /b");
  world_ask(&w, "{'channel':'/b','data':1,'ext':{'password':'open sesame'}}");
  assert_string_equal(g.seen, "server : /b");
  world_fini(&w);
}

static void names_that_are_none_are_refused(void **state) {
  static const char *const bad[] = {"a\nb", "\x7f", "\xc2\x9b;1m", "a\xc2\x80", "\xc2\x9f"};
  char longest[BX_MAX_USER + 2];
  struct world w;
  struct guard g;
  char id[32];

  (void)state;
  guard(&w, &g);
  memset(longest, 'u', sizeof longest - 1);
  longest[BX_MAX_USER + 1] = '\0';
  g.given.user = bx_slice_of(longest);
  assert_non_null(strstr(world_ask(&w, "{" HELLO "}"), "'error':'401::Bad user name'"));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    g.given.user = bx_slice_of(bad[i]);
    assert_non_null(strstr(world_ask(&w, "{" HELLO "}"), "'error':'401::Bad user name'"));
  }
  assert_int_equal(w.server->counters.sessions, 0);
  longest[BX_MAX_USER] = '\0';
  handshake_as(&w, &g, "\xc2\xa0\xc3\x80", id);   // the first that is none, and a letter
  handshake_as(&w, &g, longest, id);
  assert_int_equal(strlen(world_session(&w, id)->user), BX_MAX_USER);
  world_fini(&w);
}

static void denials_say_what_the_decider_says(void **state) {
  const char *reply;
  struct world w;
  struct guard g;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.verdict = BX_DENY;
  g.given.error = BX_LIT("403::Authorisation denied.");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/a','/b']}", id),
                         "'successful':false,'subscription':['/a','/b'],'error':'403::Authorisation denied.'}"));
  assert_string_equal(g.seen, ": /a /b");
  reply = world_ask(&w, "{'channel':'/a','data':1}");
  assert_string_equal(reply, "[{'channel':'/a','successful':false,'error':'403::Authorisation denied.'}]");
  g.given = (struct bx_access_answer){.error = BX_LIT("401::Invalid"), .reconnect = "none", .interval = 864000000};
  assert_non_null(strstr(world_ask(&w, "{" HELLO "}"),
                         "'error':'401::Invalid','advice':{'reconnect':'none','interval':864000000}}"));
  g.given = (struct bx_access_answer){0};
  assert_non_null(
      strstr(world_ask(&w, "{" HELLO "}"), "'error':'403::Forbidden','advice':{'reconnect':'handshake','interval':1"));
  assert_int_equal(w.server->counters.denied, 4);
  assert_int_equal(w.server->counters.sessions, 1);
  assert_int_equal(w.server->counters.subscriptions, 0);
  assert_int_equal(w.server->counters.published, 0);
  world_fini(&w);
}

static void ext_comes_with_the_replies(void **state) {
  struct world w;
  struct guard g;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.given.ext = BX_LIT("{'snapshot':[1]}");
  assert_non_null(strstr(world_ask(&w, "{" HELLO "}"), "'timeout':10000},'ext':{'snapshot':[1]}}]"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", id),
                         "'subscription':'/a','ext':{'snapshot':[1]}}]"));
  assert_string_equal(world_ask(&w, "{'channel':'/a','data':1}"),
                      "[{'channel':'/a','successful':true,'ext':{'snapshot':[1]}}]");
  // Not with one that is refused for one of its channels.
  assert_null(
      strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/b','x']}", id), "snapshot"));
  world_fini(&w);
}

// What a subscriber gets of a publish, and the publisher's reply.
// CometD's ack extension answers in the same object.
static void ext_of_a_handshake_has_room_for_more(void **state) {
  static const char *const rows[][2] = {
      {"{\"a\":[1]}", "'ext':{'a':[1],'ack':{'enabled':true,'batch':"},
      {"{ }", "'ext':{ 'ack':{'enabled':true,'batch':"},
      {"", "'ext':{'ack':{'enabled':true,'batch':"},
  };
  struct guard g;
  struct world w;

  (void)state;
  for (size_t i = 0; i < 3; i++) {
    guard(&w, &g);
    g.given.ext = bx_slice_of(rows[i][0]);
    assert_non_null(strstr(world_ask(&w, "{" HELLO ",'ext':{'ack':true}}"), rows[i][1]));
    world_fini(&w);
  }
}

static const char *published(struct bx_access_answer given, const char *text, const char **reply) {
  static char out[512], said[512];
  struct world w;
  struct guard g;
  struct wire stream;
  char id[32];

  guard(&w, &g);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/**");
  stream_connect(&stream, &w, id, "1");
  g.given = given;
  snprintf(said, sizeof said, "%s", world_ask(&w, text, id));
  *reply = said;
  snprintf(out, sizeof out, "%s", wire_take(&stream));
  wire_close(&stream);
  world_fini(&w);
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
  struct world w;
  struct guard g;
  struct wire stream;
  char id[32];

  (void)state;
  guard(&w, &g);
  w.mount.sequence = true;
  world_handshake(&w, id);
  world_subscribe(&w, id, "/**");
  stream_connect(&stream, &w, id, "1");
  g.given.forward_ext = true;
  world_ask(&w, "{'channel':'/a','data':{'ext':{}},'ext':{'a':1,'c':'mine'}}");
  world_ask(&w, "{'channel':'/a','data':1,'ext':{}}");
  world_ask(&w, "{'channel':'/a','data':{'ext':{}}}");
  assert_string_equal(wire_take(&stream), "[{'channel':'/a','data':{'ext':{}},'ext':{'a':1,'c':'mine','c':1}}]\n"
                                          "[{'channel':'/a','data':1,'ext':{'c':2}}]\n"
                                          "[{'channel':'/a','data':{'ext':{}},'ext':{'c':3}}]\n");
  wire_close(&stream);
  world_fini(&w);
}

// -- later -----------------------------------------------------------------------------------------

static void replies_of_a_text_wait_for_the_decision_and_keep_their_order(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  const char *got;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  stream_connect(&x, &w, id, "1");
  wire_take(&x);
  g.verdict = BX_LATER;
  g.texts = 0;
  assert_true(wire_send(&x,
                        "[{'id':'s1','channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{'id':'s2','channel':'/meta/subscribe','clientId':'%s','subscription':'/b'},"
                        "{'id':'d','channel':'/meta/unsubscribe','clientId':'%s','subscription':'/x'}]",
                        id, id, id));
  assert_int_equal(g.texts, 1);
  world_turn(&w);
  assert_string_equal(wire_take(&x), "");
  assert_int_equal(w.server->counters.asking, 2);
  world_publish(&w, "/a", 1);   // after it was asked: it is not missed
  assert_true(decide(&w, &g, allow));
  assert_true(decide(&w, &g, (struct bx_access_answer){.verdict = BX_DENY}));
  got = wire_take(&x);
  assert_non_null(strstr(got, "[{'id':'s1'"));
  assert_true(strstr(got, "'id':'s1'") < strstr(got, "'id':'s2'"));
  assert_true(strstr(got, "'id':'s2'") < strstr(got, "'id':'d'"));
  assert_true(strstr(got, "'id':'d'") < strstr(got, "'data':1"));
  assert_non_null(strstr(got, "'subscription':'/b','error':'403::Forbidden'"));
  wire_close(&x);
  world_fini(&w);
}

static void a_held_connect_does_not_wait(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/here");
  stream_connect(&x, &w, id, "1");
  wire_take(&x);
  g.verdict = BX_LATER;
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", id));
  world_publish(&w, "/here", 5);
  assert_non_null(strstr(wire_take(&x), "'data':5"));
  world_pass(&w, 11000);
  assert_non_null(strstr(wire_take(&x), "'channel':'/meta/connect','successful':true"));
  assert_true(decide(&w, &g, allow));
  assert_non_null(strstr(wire_take(&x), "'subscription':'/a'"));
  wire_close(&x);
  world_fini(&w);
}

static void unavailable_is_no_ban(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  const char *got;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.verdict = BX_LATER;
  wire_open(&x, &w);
  assert_true(wire_send(&x, "{" HELLO "}"));
  decide(&w, &g, unavailable);
  got = wire_take(&x);
  assert_non_null(strstr(got, "'error':'503::Authority unavailable','advice':{'reconnect':'handshake','interval':"));
  assert_in_range(strtoul(strstr(got, "'interval':") + 11, NULL, 10), 5000, 30000);
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", id));
  decide(&w, &g, unavailable);
  assert_non_null(strstr(wire_take(&x), "'error':'503:/a:Authority unavailable'"));
  assert_true(wire_send(&x, "{'channel':'/a','data':1}"));
  decide(&w, &g, unavailable);
  assert_non_null(strstr(wire_take(&x), "'error':'503:/a:Authority unavailable'"));
  assert_int_equal(w.server->counters.unavailable, 3);
  wire_close(&x);
  world_fini(&w);
}

static void a_handshake_whose_connection_went_is_taken_back(void **state) {
  struct world w;
  struct guard g;
  struct wire x;

  (void)state;
  guard(&w, &g);
  g.verdict = BX_LATER;
  wire_open(&x, &w);
  assert_true(wire_send(&x, "[{" HELLO "},{" HELLO "},{'channel':'/a','data':1}]"));
  assert_int_equal(w.server->counters.asking, 3);
  wire_close(&x);
  assert_int_equal(g.cancelled, 2);
  assert_int_equal(w.server->counters.asking, 1);
  assert_true(decide(&w, &g, allow));   // the publish goes on
  assert_false(decide(&w, &g, allow));
  assert_int_equal(w.server->counters.published, 1);
  assert_int_equal(w.server->counters.sessions, 0);
  world_fini(&w);
}

static void a_session_that_ended_meanwhile_gets_nothing(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.verdict = BX_LATER;
  wire_open(&x, &w);
  assert_true(wire_send(&x,
                        "[{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{'channel':'/a','data':1,'clientId':'%s'}]",
                        id, id));
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  assert_int_equal(w.server->counters.sessions, 0);
  decide(&w, &g, allow);
  decide(&w, &g, allow);
  assert_int_equal(wire_count(&x, "Unknown client"), 2);
  assert_int_equal(w.server->counters.subscriptions, 0);
  assert_int_equal(w.server->counters.published, 0);
  wire_close(&x);
  world_fini(&w);
}

static void what_waits_counts_against_the_limit(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.verdict = BX_LATER;
  wire_open(&x, &w);
  for (int i = 0; i <= 100; i++)
    assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a%d'}", id, i));
  assert_int_equal(w.server->counters.asking, 100);
  for (int i = 0; i < 50; i++) decide(&w, &g, unavailable);
  for (int i = 0; i < 50; i++) decide(&w, &g, allow);
  assert_int_equal(w.server->counters.subscriptions, 50);
  g.verdict = BX_ALLOW;
  for (int i = 0; i < 50; i++)
    assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/b%d'}", id, i));
  world_turn(&w);
  assert_int_equal(w.server->counters.subscriptions, 100);
  wire_close(&x);
  world_fini(&w);
}

static void all_is_taken_back_when_the_server_goes(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.verdict = BX_LATER;
  wire_open(&x, &w);
  assert_true(wire_send(&x,
                        "[{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{'channel':'/a','data':1,'clientId':'%s'},{'channel':'/a','data':1}]",
                        id, id));
  wire_close(&x);
  world_fini(&w);   // asserts that nothing is left
  assert_int_equal(g.cancelled, 3);
}

static void a_drain_waits_a_second_for_decisions(void **state) {
  struct world w;
  struct guard g;
  struct wire x;
  char id[32];

  (void)state;
  guard(&w, &g);
  world_handshake(&w, id);
  g.verdict = BX_LATER;
  wire_open(&x, &w);
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", id));
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/b'}", id));
  bx_server_drain(w.server);
  world_pass(&w, 900);
  assert_true(decide(&w, &g, allow));
  assert_int_equal(w.server->counters.asking, 1);
  world_pass(&w, 200);
  assert_int_equal(w.server->counters.asking, 0);
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/c'}", id));
  assert_int_equal(w.server->counters.asking, 0);
  assert_int_equal(w.server->counters.subscriptions, 1);
  assert_int_equal(w.server->counters.unavailable, 2);
  wire_close(&x);
  world_fini(&w);
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
