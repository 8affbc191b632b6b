// SPDX-License-Identifier: Apache-2.0
// The order in which things are said: messages, replies and acknowledgements on streams and polls; and
// what passes in front of the verbs.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bayeux/control.h"
#include "tests/unit/support/world.h"

#define HELLO "'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']"

// -- order -------------------------------------------------------------------------------------------

static void assert_order(const char *text, const char *first, const char *second) {
  const char *a = strstr(text, first), *b = strstr(text, second);

  if (a == NULL || b == NULL || a >= b) print_error("not %s before %s in\n%s\n", first, second, text);
  assert_non_null(a);
  assert_non_null(b);
  assert_true(a < b);
}

static void the_own_push_comes_before_the_own_ack(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  stream_connect(&x, &w, id, "1");
  for (unsigned i = 0; i < 3; i++) {
    assert_true(
        wire_send(&x, "[{'channel':'/a','data':1,'id':'p','clientId':'%s'},{'channel':'/b','data':2,'id':'q'}]", id));
    world_turn(&w);
    assert_order(wire_take(&x), "{'channel':'/a','data':1,'id':'p'}", "{'id':'p','clientId':");
  }
  wire_close(&x);
  world_fini(&w);
}

static void a_poll_gets_replies_then_messages(void **state) {
  const char *text;
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  text = world_ask(&w,
                   "[{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'c',"
                   "'advice':{'timeout':0}},{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a','id':'s'},"
                   "{'channel':'/a','data':1,'id':'p'}]",
                   id, id);
  assert_order(text, "[{'id':'s'", "{'id':'p','channel':'/a','successful':true}");
  assert_order(text, "{'id':'p','channel':'/a','successful':true}", "{'id':'c'");
  assert_order(text, "{'id':'c'", "{'channel':'/a','data':1,'id':'p'}]");
  world_fini(&w);
}

static void a_subscription_is_confirmed_before_its_first_message(void **state) {
  const char *text;
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  stream_connect(&x, &w, id, "1");
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a','id':'s'}", id));
  assert_true(wire_send(&x, "{'channel':'/a','data':1,'id':'p'}"));
  world_turn(&w);
  text = wire_take(&x);
  assert_order(text, "{'id':'s'", "{'channel':'/a','data':1,'id':'p'}");
  assert_order(text, "{'channel':'/a','data':1,'id':'p'}", "{'id':'p','channel':'/a','successful':true}");
  // In one frame, whose replies go out together.
  assert_true(wire_send(&x,
                        "[{'channel':'/b','data':1,'id':'p'},"
                        "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/b','id':'s'},"
                        "{'channel':'/b','data':2,'id':'q'}]",
                        id));
  world_turn(&w);
  text = wire_take(&x);
  assert_order(text, "{'id':'p'", "{'id':'s'");
  assert_order(text, "{'id':'s'", "{'id':'q'");
  assert_order(text, "{'id':'s'", "{'channel':'/b','data':2,'id':'q'}");
  wire_close(&x);
  world_fini(&w);
}

// The frame's reply waits for its slow message, and messages wait for the reply.
static void a_slow_neighbour_of_a_subscription(void **state) {
  const char *text;
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/old");
  stream_connect(&x, &w, id, "1");
  w.hold = 1u << BX_REQUEST_UNSUBSCRIBE;
  assert_true(wire_send(&x,
                        "[{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a','id':'s'},"
                        "{'channel':'/meta/unsubscribe','clientId':'%s','subscription':'/never','id':'u'}]",
                        id, id));
  world_turn(&w);
  assert_true(wire_send(&x, "{'channel':'/a','data':1,'id':'p'}"));
  assert_true(wire_send(&x, "{'channel':'/old','data':2,'id':'o'}"));
  world_turn(&w);
  assert_string_equal(wire_take(&x), "");
  w.hold = 0;
  world_turn(&w);
  text = wire_take(&x);
  assert_order(text, "{'id':'s'", "{'channel':'/a','data':1");
  assert_order(text, "{'channel':'/a','data':1", "{'channel':'/old','data':2");
  assert_order(text, "{'channel':'/old','data':2", "{'id':'p'");
  assert_order(text, "{'id':'p'", "{'id':'o'");
  wire_close(&x);
  world_fini(&w);
}

static void replies_of_a_frame_go_out_together(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  wire_open(&x, &w);
  w.hold = 1u << BX_REQUEST_PUBLISH;
  assert_true(wire_send(&x,
                        "[{'channel':'/a','data':1,'id':'p'},{'channel':'/meta/x','id':'m'},"
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'c'}]",
                        id));
  assert_true(wire_send(&x, "{'channel':'/meta/y','id':'n'}"));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "{'id':'n'"), 1);   // another frame
  assert_int_equal(wire_count(&x, "{'id':'m'"), 0);
  wire_take(&x);
  w.hold = 0;
  world_turn(&w);
  assert_string_equal(wire_take(&x), "[{'id':'p','channel':'/a','successful':true},{'id':'m','channel':'/meta/x',"
                                     "'successful':false,'error':'403:/meta/x:Forbidden channel'}]\n");
  wire_close(&x);
  world_fini(&w);
}

// Replies to somebody who has gone go nowhere.
static void a_connection_ends_before_its_replies(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  stream_connect(&x, &w, id, "1");
  w.hold = ~0u;
  assert_true(wire_send(&x,
                        "[{'channel':'/a','data':1},{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{" HELLO "}]",
                        id));
  world_turn(&w);
  wire_close(&x);
  assert_int_equal(w.server->counters.batches, 1);
  w.hold = 0;
  world_turn(&w);
  assert_int_equal(w.server->counters.batches, 0);
  assert_int_equal(w.server->counters.published, 1);
  assert_int_equal(w.server->counters.subscriptions, 1);
  world_fini(&w);
}

static void requests_under_way_when_the_server_ends(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  wire_open(&x, &w);
  w.hold = ~0u;
  assert_true(wire_send(&x,
                        "[{'channel':'/a','data':1},{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'},"
                        "{" HELLO "},{'channel':'/meta/disconnect','clientId':'%s'}]",
                        id, id));
  world_turn(&w);
  wire_close(&x);
  world_fini(&w);   // asserts that nothing is left
}

// -- the pipeline ------------------------------------------------------------------------------------

struct no_secrets {
  struct bx_extension extension;
  unsigned calls;
};

static const char *refuse_secret(struct bx_extension *extension, const struct bx_incoming *in) {
  struct no_secrets *n = bx_container_of(extension, struct no_secrets, extension);

  n->calls++;
  assert_non_null(in->connection);
  return bx_slice_equal(in->channel, BX_LIT("/secret")) && in->session == NULL ? "403::Secret" : NULL;
}

static void extensions_come_before_the_verbs(void **state) {
  struct no_secrets first = {.extension.incoming = refuse_secret}, second = first;
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  bx_server_extend(w.server, &first.extension);
  bx_server_extend(w.server, &second.extension);
  world_handshake(&w, id);
  assert_string_equal(world_ask(&w, "{'channel':'/s\\u0065cret','data':1,'id':'1'}"),
                      "[{'id':'1','channel':'/s\\u0065cret','successful':false,'error':'403::Secret'}]");
  assert_int_equal(first.calls, 2);
  assert_int_equal(second.calls, 1);
  assert_non_null(strstr(world_ask(&w, "{'channel':'/secret','data':1,'clientId':'%s'}", id), "'successful':true"));
  world_fini(&w);
}
// -- what was published in front of the end of a session -------------------------------------------

struct kick {
  struct bx_kick kick;
  enum bx_outcome outcome;
};

static void kicked(struct bx_kick *k, enum bx_outcome outcome) {
  bx_container_of(k, struct kick, kick)->outcome = outcome;
}

// In the turn of the publish, before anything was written for it.
static void publish_and_kick(struct world *w, const char *id) {
  struct kick k = {.kick.done = kicked, .outcome = BX_UNKNOWN};
  struct wire x;

  wire_open(&x, w);
  assert_true(wire_send(&x, "{'channel':'/a','data':'the last'}"));
  bx_server_kick(w->server, &k.kick, bx_slice_of(id));
  world_turn(w);
  assert_int_equal(k.outcome, BX_ACKNOWLEDGED);
  wire_close(&x);
}

static void expect_message_then_401(struct wire *x) {
  const char *text = wire_take(x), *message = strstr(text, "the last"), *error = strstr(text, "'401:");

  assert_non_null(message);
  assert_non_null(error);
  assert_true(message < error);
}

static void a_held_poll_of_a_kicked_session_gets_its_messages_in_front_of_the_401(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  poll_connect(&x, &w, id, "1");
  world_turn(&w);
  wire_take(&x);
  publish_and_kick(&w, id);
  expect_message_then_401(&x);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void a_stream_of_a_kicked_session_gets_its_messages_in_front_of_the_401(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  stream_connect(&x, &w, id, "1");
  world_turn(&w);
  wire_take(&x);
  publish_and_kick(&w, id);
  expect_message_then_401(&x);
  wire_echo(&x);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_held_poll_of_a_kicked_session_gets_its_messages_in_front_of_the_401),
      cmocka_unit_test(a_stream_of_a_kicked_session_gets_its_messages_in_front_of_the_401),
      cmocka_unit_test(the_own_push_comes_before_the_own_ack),
      cmocka_unit_test(a_poll_gets_replies_then_messages),
      cmocka_unit_test(a_subscription_is_confirmed_before_its_first_message),
      cmocka_unit_test(a_slow_neighbour_of_a_subscription),
      cmocka_unit_test(replies_of_a_frame_go_out_together),
      cmocka_unit_test(a_connection_ends_before_its_replies),
      cmocka_unit_test(requests_under_way_when_the_server_ends),
      cmocka_unit_test(extensions_come_before_the_verbs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
