// SPDX-License-Identifier: Apache-2.0
// Presence (bayeux/presence.h) on the memory engine, by a virtual clock.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

#define GRACE 5000

// Counts everybody below /room/, and lets the next handshake be `user`'s.
struct guard {
  struct bx_access access;
  const char *user;
};

static bool is_server(struct bx_access *a, const struct bx_message *m) {
  (void)a;
  (void)m;
  return false;
}

static enum bx_verdict ask(struct bx_access *a, struct bx_access_request *r, struct bx_access_answer *answer) {
  struct guard *g = bx_container_of(a, struct guard, access);

  if (r->verb == BX_ACCESS_HANDSHAKE) answer->user = bx_slice_of(g->user);
  if (r->verb == BX_ACCESS_SUBSCRIBE && bx_slice_equal(r->channels[0], BX_LIT("/room/ext")))
    answer->ext = BX_LIT("{ \"snapshot\":[] }");
  return BX_ALLOW;
}

static bool counts(struct bx_access *a, struct bx_slice channel) {
  (void)a;
  return bx_slice_starts(channel, BX_LIT("/room/"));
}

static const struct bx_access_ops ops = {.is_server = is_server, .ask = ask, .counts = counts};

struct house {
  struct world w;
  struct guard guard;
  char watcher[32];
  struct wire wire;   // of the watcher, who hears the companion of /room/1
};

static void open_house_with(struct house *h, uint32_t members) {
  struct bx_server_options o = world_options();

  o.presence_grace = GRACE;
  o.presence_members = members;
  o.max_sessions = 2000;
  world_init(&h->w, &o);
  h->guard = (struct guard){.access.ops = &ops, .user = ""};
  bx_server_guard(h->w.server, &h->guard.access);
  world_handshake(&h->w, h->watcher);
  world_subscribe(&h->w, h->watcher, "/presence/room/1");
  stream_connect(&h->wire, &h->w, h->watcher, "1");
  wire_take(&h->wire);
}

static void open_house(struct house *h) { open_house_with(h, 2); }

static void close_house(struct house *h) {
  wire_close(&h->wire);
  world_fini(&h->w);
}

static void handshake_as(struct house *h, const char *user, char id[32]) {
  h->guard.user = user;
  world_handshake(&h->w, id);
}

// What the companion told since the last look: "join alice 1, ..."
static const char *told(struct house *h) {
  static char out[1024];
  char *at = out;
  const char *text;

  world_turn(&h->w);
  text = wire_take(&h->wire);
  *at = '\0';
  while ((text = strstr(text, "{'event':'")) != NULL) {
    char event[16], user[64] = "";
    const char *users = strstr(text, "'users':"), *name = strstr(text, "'user':");

    assert_int_equal(sscanf(text, "{'event':'%15[a-z]", event), 1);
    if (name != NULL && name < users) assert_int_equal(sscanf(name, "'user':%63[^,]", user), 1);
    at += sprintf(at, "%s%s%s %d", at == out ? "" : ", ", event, user, atoi(users + 8));
    text = users;
  }
  return out;
}

// With a session of alice, which `id` names.
static void open_house_with_alice(struct house *h, char id[32]) {
  open_house(h);
  handshake_as(h, "alice", id);
}

// And she is on /room/1.
static void open_house_with_alice_present(struct house *h, char id[32]) {
  open_house_with_alice(h, id);
  world_subscribe(&h->w, id, "/room/1");
  assert_string_equal(told(h), "occupied 1, join'alice' 1");
}

static void the_first_joins_and_the_last_leaves_after_the_grace_time(void **state) {
  char a[32], b[32], c[32];
  struct house h;

  (void)state;
  open_house_with_alice_present(&h, a);
  handshake_as(&h, "alice", b);
  handshake_as(&h, "bob", c);
  world_subscribe(&h.w, b, "/room/1");
  world_subscribe(&h.w, b, "/room/1");
  assert_string_equal(told(&h), "");
  world_subscribe(&h.w, c, "/room/1");
  assert_string_equal(told(&h), "join'bob' 2");
  world_unsubscribe(&h.w, a, "/room/1");
  world_pass(&h.w, GRACE + 1);
  assert_string_equal(told(&h), "");
  world_ask(&h.w, "{'channel':'/meta/disconnect','clientId':'%s'}", b);
  world_pass(&h.w, GRACE - 1);
  assert_string_equal(told(&h), "");
  world_pass(&h.w, 2);
  assert_string_equal(told(&h), "leave'alice' 1");
  world_unsubscribe(&h.w, c, "/room/1");
  world_pass(&h.w, GRACE + 1);
  assert_string_equal(told(&h), "leave'bob' 0, vacated 0");
  close_house(&h);
}

static void who_comes_back_in_time_never_left(void **state) {
  char a[32], b[32];
  struct house h;

  (void)state;
  open_house_with_alice_present(&h, a);
  world_ask(&h.w, "{'channel':'/meta/disconnect','clientId':'%s'}", a);
  world_pass(&h.w, GRACE - 1);
  handshake_as(&h, "alice", b);
  world_subscribe(&h.w, b, "/room/1");
  world_pass(&h.w, 3 * GRACE);
  assert_string_equal(told(&h), "");
  close_house(&h);
}

static void an_expired_session_leaves(void **state) {
  char a[32];
  struct house h;

  (void)state;
  open_house_with_alice_present(&h, a);
  world_pass(&h.w, world_session(&h.w, a)->life + GRACE + 1000);
  assert_null(world_session(&h.w, a));
  assert_int_equal(h.w.server->counters.presence_told, 4);   // the watcher's session expired, too
  close_house(&h);
}

// Their ids are secrets: they are one member without a name.
static void sessions_without_a_user_are_one_member(void **state) {
  char a[32], b[32];
  struct house h;

  (void)state;
  open_house(&h);
  handshake_as(&h, "", a);
  handshake_as(&h, "", b);
  world_subscribe(&h.w, a, "/room/1");
  world_subscribe(&h.w, b, "/room/1");
  assert_string_equal(told(&h), "occupied 1, joinnull 1");
  world_unsubscribe(&h.w, a, "/room/1");
  world_unsubscribe(&h.w, b, "/room/1");
  world_pass(&h.w, GRACE + 1);
  assert_string_equal(told(&h), "leavenull 0, vacated 0");
  close_house(&h);
}

static void patterns_companions_and_other_channels_are_not_counted(void **state) {
  char a[32];
  struct house h;

  (void)state;
  open_house_with_alice(&h, a);
  world_subscribe(&h.w, a, "/room/*");
  world_subscribe(&h.w, a, "/room/**");
  world_subscribe(&h.w, a, "/hall");
  assert_string_equal(told(&h), "");
  assert_int_equal(h.w.server->counters.presence_told, 0);
  close_house(&h);
}

static const char *subscribe_and_list(struct house *h, const char *id, const char *subscription) {
  return world_ask(&h->w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':%s,'ext':{'presence':true}}", id,
                   subscription);
}

static void the_reply_lists_who_is_there(void **state) {
  char a[32], b[32], c[32];
  const char *reply;
  struct house h;

  (void)state;
  open_house_with_alice(&h, a);
  reply = subscribe_and_list(&h, a, "'/room/1'");
  assert_non_null(strstr(reply, "'successful':true,'subscription':'/room/1','ext':{'presence':{'/room/1':"
                                "{'users':1,'sessions':1,'members':[{'user':'alice','sessions':1}]}}}"));
  assert_null(strstr(strstr(reply, "'ext'"), a));
  handshake_as(&h, "alice", b);
  reply = subscribe_and_list(&h, b, "['/hall','/room/1','/room/2']");
  assert_non_null(strstr(reply, "'/room/1':{'users':1,'sessions':2,'members':[{'user':'alice','sessions':2}]},"
                                "'/room/2':{'users':1,'sessions':1,"));
  assert_null(strstr(reply, "'/hall':"));
  // Not asked for, not listed; nothing to list, nothing said.
  assert_null(
      strstr(world_ask(&h.w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/room/1'}", b), "ext"));
  assert_null(strstr(subscribe_and_list(&h, b, "'/hall'"), "ext"));
  // With what the decider gave.
  assert_non_null(strstr(subscribe_and_list(&h, b, "'/room/ext'"), "'ext':{ 'snapshot':[] ,'presence':{'/room/ext':{"));
  handshake_as(&h, "", c);
  subscribe_and_list(&h, c, "'/room/1'");
  assert_int_equal(h.w.server->counters.presence_cut, 0);
  handshake_as(&h, "bob", c);
  reply = subscribe_and_list(&h, c, "'/room/1'");
  assert_non_null(strstr(reply, "'users':3,'sessions':4,"));
  assert_non_null(strstr(reply, "],'more':true}"));
  assert_int_equal(h.w.server->counters.presence_cut, 1);
  close_house(&h);
}

static unsigned count_lists(const char *reply) {
  unsigned count = 0;

  for (; (reply = strstr(reply, "':{'users':")) != NULL; reply++) count++;
  return count;
}

static void a_reply_lists_some_channels_only(void **state) {
  struct bx_buffer all = {0};
  char a[32];
  struct house h;

  (void)state;
  open_house_with_alice(&h, a);
  for (int i = 0; i < 20; i++) bx_buffer_printf(&all, "%c'/room/%d'", i == 0 ? '[' : ',', i);
  bx_buffer_lit(&all, "]");
  bx_buffer_char(&all, '\0');
  assert_int_equal(count_lists(subscribe_and_list(&h, a, all.at)), 16);
  assert_int_equal(h.w.server->counters.presence_cut, 1);
  assert_int_equal(world_session(&h.w, a)->subscription_count, 20);
  bx_buffer_fini(&all);
  close_house(&h);
}

static void a_text_has_some_lists_only(void **state) {
  struct bx_buffer all = {0};
  char a[32];
  struct house h;

  (void)state;
  open_house_with_alice(&h, a);
  for (int i = 0; i < 70; i++)
    bx_buffer_printf(
        &all, "%c{'channel':'/meta/subscribe','clientId':'%s','subscription':'/room/%d','ext':{'presence':true}}",
        i == 0 ? '[' : ',', a, i);
  bx_buffer_lit(&all, "]");
  bx_buffer_char(&all, '\0');
  assert_int_equal(count_lists(world_ask(&h.w, "%s", all.at)), 64);
  assert_int_equal(h.w.server->counters.presence_cut, 6);
  assert_int_equal(world_session(&h.w, a)->subscription_count, 70);
  bx_buffer_fini(&all);
  close_house(&h);
}

// Names of which every byte needs an escape: 1,000 of them are more than 256 KB.
static void a_reply_lists_some_bytes_only(void **state) {
  char user[BX_MAX_USER + 1], id[32];
  const char *reply;
  struct house h;

  (void)state;
  open_house_with(&h, 1000);
  memset(user, '"', sizeof user - 1);
  user[BX_MAX_USER] = '\0';
  for (int i = 0; i < 1000; i++) {
    memcpy(user, (char[3]){(char)('a' + i % 10), (char)('a' + i / 10 % 10), (char)('a' + i / 100)}, 3);
    handshake_as(&h, user, id);
    world_subscribe(&h.w, id, "/room/2");
  }
  reply = subscribe_and_list(&h, id, "['/room/2','/room/3']");
  assert_non_null(strstr(reply, "'/room/2':{'users':1000,'sessions':1000,'members':["));
  assert_null(strstr(reply, "'/room/3':"));
  assert_in_range(strlen(reply), 256 << 10, 512 << 10);
  assert_int_equal(h.w.server->counters.presence_cut, 1);
  close_house(&h);
}

// A subscription is made, and told of, whatever becomes of the list.
static void a_list_that_cannot_be_had_is_left_out(void **state) {
  const char *reply;
  struct wire poll;
  char a[32];
  struct house h;

  (void)state;
  open_house_with_alice(&h, a);
  h.w.hold = 1u << BX_REQUEST_PRESENCE;
  poll_send(&poll, &h.w,
            "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/room/1','ext':{'presence':true}}", a);
  assert_false(poll.answered);
  assert_string_equal(told(&h), "occupied 1, join'alice' 1");
  h.w.hold = 0;
  h.w.verdict = BX_REFUSED;
  world_turn(&h.w);
  h.w.verdict = BX_ACKNOWLEDGED;
  reply = wire_take(&poll);
  assert_non_null(strstr(reply, "'successful':true,'subscription':'/room/1','ext':{'presence':{}}"));
  poll_end(&poll, BX_ARRIVAL_YES);
  close_house(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_joins_and_the_last_leaves_after_the_grace_time),
      cmocka_unit_test(who_comes_back_in_time_never_left),
      cmocka_unit_test(an_expired_session_leaves),
      cmocka_unit_test(sessions_without_a_user_are_one_member),
      cmocka_unit_test(patterns_companions_and_other_channels_are_not_counted),
      cmocka_unit_test(the_reply_lists_who_is_there),
      cmocka_unit_test(a_reply_lists_some_channels_only),
      cmocka_unit_test(a_text_has_some_lists_only),
      cmocka_unit_test(a_reply_lists_some_bytes_only),
      cmocka_unit_test(a_list_that_cannot_be_had_is_left_out),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
