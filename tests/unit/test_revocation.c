// SPDX-License-Identifier: Apache-2.0
// Revoked tokens on the memory engine (bayeux/control.h): whose sessions end, what is denied and for how
// long, and how many there can be. The engine on Redis: tests/integration/revoke-token.test.mjs.
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/control.h"
#include "bayeux/memory_engine.h"
#include "tests/unit/support/world.h"

#define HELLO "{'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']}"

// Allows everything; sessions are opened with what is in `given`.
static struct bx_access_answer given;

static bool is_server(struct bx_access *a, const struct bx_message *m) {
  (void)a;
  (void)m;
  return false;
}

static enum bx_verdict ask(struct bx_access *a, struct bx_access_request *r, struct bx_access_answer *answer) {
  (void)a;
  (void)r;
  *answer = given;
  return BX_ALLOW;
}

static const struct bx_access_ops ops = {.is_server = is_server, .ask = ask};
static struct bx_access access = {.ops = &ops};

static void begin(struct world *w) {
  world_init(w, NULL);
  bx_server_guard(w->server, &access);
}

static void handshake_with(struct world *w, const char *token, char id[32]) {
  given = (struct bx_access_answer){.user = BX_LIT("bob"), .token = bx_slice_of(token)};
  world_handshake(w, id);
}

static bool is_denied(struct world *w, const char *token) {
  given = (struct bx_access_answer){.user = BX_LIT("bob"), .token = bx_slice_of(token)};
  const char *reply = world_ask(w, HELLO);
  bool denied = strstr(reply, "'error':'401::Invalid access token','advice':{'reconnect':'handshake'") != NULL;
  if (!denied) assert_non_null(strstr(reply, "'successful':true"));
  return denied;
}

static enum bx_outcome outcome;
static void done(struct bx_revocation *r, enum bx_outcome is, bx_position at) {
  (void)r;
  (void)at;
  outcome = is;
}

static enum bx_outcome revoke(struct world *w, const char *token, bx_millis lasting) {
  struct bx_revocation r = {.done = done};
  bx_server_revoke_token(w->server, &r, bx_slice_of(token), lasting);
  world_turn(w);
  return outcome;
}

static void its_sessions_end_and_it_opens_none_until_then(void **state) {
  struct world w;
  char first[32], second[32], other[32], none[32];

  (void)state;
  begin(&w);
  handshake_with(&w, "jti:1", first);
  handshake_with(&w, "jti:1", second);
  handshake_with(&w, "jti:2", other);
  handshake_with(&w, "", none);
  assert_int_equal(revoke(&w, "jti:1", 5000), BX_ACKNOWLEDGED);
  assert_null(world_session(&w, first));
  assert_null(world_session(&w, second));
  assert_non_null(world_session(&w, other));
  assert_non_null(world_session(&w, none));
  assert_int_equal(w.server->counters.kicked, 2);
  assert_true(is_denied(&w, "jti:1"));
  assert_false(is_denied(&w, "jti:2"));
  assert_false(is_denied(&w, ""));
  assert_int_equal(revoke(&w, "jti:1", 1000), BX_ACKNOWLEDGED);   // not sooner for that
  world_pass(&w, 4999);
  assert_true(is_denied(&w, "jti:1"));
  assert_int_equal(revoke(&w, "jti:1", 100), BX_ACKNOWLEDGED);   // later
  world_pass(&w, 99);
  assert_true(is_denied(&w, "jti:1"));
  world_pass(&w, 1);
  assert_false(is_denied(&w, "jti:1"));
  assert_int_equal(w.server->counters.revoked_handshakes, 3);
  world_fini(&w);
}

static void one_that_is_being_made_is_denied(void **state) {
  struct bx_revocation r = {.done = done};
  struct world w;

  (void)state;
  begin(&w);
  bx_server_revoke_token(w.server, &r, BX_LIT("jti:1"), 5000);   // both in one turn
  assert_true(is_denied(&w, "jti:1"));
  assert_int_equal(w.server->counters.sessions, 0);
  world_fini(&w);
}

static void there_is_room_for_so_many(void **state) {
  struct world w;
  char name[32];

  (void)state;
  begin(&w);
  for (int i = 0; i < BX_MAX_REVOKED; i++) {
    snprintf(name, sizeof name, "jti:%d", i);
    assert_int_equal(revoke(&w, name, i == 7 ? 1000 : 60000), BX_ACKNOWLEDGED);
  }
  assert_int_equal(revoke(&w, "jti:more", 1000), BX_DENIED);
  assert_false(is_denied(&w, "jti:more"));
  assert_int_equal(revoke(&w, "jti:8", 1000), BX_ACKNOWLEDGED);   // one that is there
  world_pass(&w, 1000);
  assert_int_equal(revoke(&w, "jti:more", 1000), BX_ACKNOWLEDGED);   // one is over
  assert_true(is_denied(&w, "jti:more"));
  world_fini(&w);
}

static void names_that_are_none_are_left_out(void **state) {
  char long_one[BX_MAX_TOKEN + 2], id[32];
  struct world w;

  (void)state;
  begin(&w);
  memset(long_one, 't', sizeof long_one - 1);
  long_one[BX_MAX_TOKEN + 1] = '\0';
  handshake_with(&w, long_one, id);
  assert_null(world_session(&w, id)->token);
  long_one[BX_MAX_TOKEN] = '\0';
  handshake_with(&w, long_one, id);
  assert_string_equal(world_session(&w, id)->token, long_one);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(its_sessions_end_and_it_opens_none_until_then),
      cmocka_unit_test(one_that_is_being_made_is_denied),
      cmocka_unit_test(there_is_room_for_so_many),
      cmocka_unit_test(names_that_are_none_are_left_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
