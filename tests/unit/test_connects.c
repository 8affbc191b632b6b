// SPDX-License-Identifier: Apache-2.0
// Connects: how long they are held, who takes whose place, how sessions and the server end.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

#define TIMEOUT 10000   // of the world's mount

static void begin(struct world *w, char id[32]) {
  world_init(w, NULL);
  world_handshake(w, id);
  world_subscribe(w, id, "/a");
}

static void connect_with(struct wire *x, struct world *w, const char *id, const char *advice) {
  assert_true(poll_send(x, w,
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'1'%s%s}", id,
                        advice[0] ? ",'advice':" : "", advice));
  world_turn(w);
}

static void again(struct wire *stream, const char *id, const char *message_id) {
  assert_true(wire_send(stream, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'%s'}",
                        id, message_id));
  world_turn(stream->w);
}

static unsigned interval_of(const char *text) {
  const char *at = strstr(text, "'interval':");

  assert_non_null(at);
  return (unsigned)strtoul(at + 11, NULL, 10);
}

// -- how long --------------------------------------------------------------------------------------

static void a_connect_is_held_as_long_as_it_wishes(void **state) {
  static const struct {
    const char *advice;
    bx_millis hold;
  } rows[] = {
      {"", TIMEOUT},
      {"{}", TIMEOUT},
      {"5", TIMEOUT},
      {"{'interval':5}", TIMEOUT},
      {"{'timeout':500}", 500},
      {"{'timeout':'300'}", 300},
      {"{'timeout':1.5e3}", 1500},
      {"{'timeout':5,'tim\\u0065out':700}", 700},
      {"{'timeout':0}", 0},
      {"{'timeout':'0'}", 0},
      {"{'timeout':-1}", 0},
      {"{'timeout':'-300'}", 0},
      {"{'timeout':0.5}", 0},
      {"{'timeout':9999}", 9999},
      {"{'timeout':10001}", TIMEOUT},
      {"{'timeout':'1e9'}", TIMEOUT},
      {"{'timeout':1e999}", TIMEOUT},
      {"{'timeout':99999999999999999999999}", TIMEOUT},
      {"{'timeout':'soon'}", TIMEOUT},
      {"{'timeout':null}", TIMEOUT},
      {"{'timeout':{}}", TIMEOUT},
  };
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    connect_with(&x, &w, id, rows[i].advice);
    if (rows[i].hold > 0) {
      assert_false(x.answered);
      world_pass(&w, rows[i].hold - 1);
      assert_false(x.answered);
      world_pass(&w, 1);
    }
    if (!x.answered) print_error("%s\n", rows[i].advice);
    assert_true(x.answered);
    assert_non_null(
        strstr(wire_take(&x), "'successful':true,'advice':{'reconnect':'retry','interval':0,'timeout':10000}}]"));
    poll_end(&x, BX_ARRIVAL_YES);
  }
  world_fini(&w);
}

static void an_answer_comes_with_the_first_message(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  poll_connect(&x, &w, id, "1");
  world_publish(&w, "/b", 1);
  assert_false(x.answered);
  world_publish(&w, "/a", 2);
  assert_true(x.answered);
  assert_non_null(strstr(wire_take(&x), "'timeout':10000}},{'channel':'/a','data':2}]"));
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void a_stream_is_answered_when_its_time_is_up(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  world_publish(&w, "/a", 1);
  assert_string_equal(wire_take(&x), "[{'channel':'/a','data':1}]\n");
  world_pass(&w, TIMEOUT - 1);
  assert_string_equal(wire_take(&x), "");
  world_pass(&w, 1);
  assert_int_equal(wire_count(&x, "{'id':'1','clientId':"), 1);
  assert_int_equal(wire_count(&x, "'channel':'/meta/connect','successful':true,'advice':{'reconnect':'retry'"), 1);
  wire_close(&x);
  world_fini(&w);
}

// The server has had no turn for longer than a session lives.
static void what_comes_after_a_long_silence(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  w.now += 3600000;
  world_handshake(&w, id);
  assert_non_null(world_session(&w, id));
  assert_int_equal(world_session(&w, id)->created, w.now);
  world_pass(&w, 2 * TIMEOUT - 1);
  assert_non_null(world_session(&w, id));
  w.now += 1;
  connect_with(&x, &w, id, "");   // comes with the timer that would have ended it
  assert_false(x.answered);
  assert_non_null(world_session(&w, id));
  world_pass(&w, TIMEOUT - 1);
  assert_false(x.answered);
  world_pass(&w, 1);
  assert_true(x.answered);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

// -- in one frame or request -------------------------------------------------------------------------

static void a_held_connect_delays_no_neighbour(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  assert_true(wire_send(&x,
                        "[{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'c'},"
                        "{'channel':'/b','data':1,'id':'p'},"
                        "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/c','id':'s'}]",
                        id, id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "{'id':'p','channel':'/b','successful':true},{'id':'s'"), 1);
  assert_int_equal(wire_count(&x, "{'id':'c'"), 0);
  wire_take(&x);
  world_pass(&w, TIMEOUT);
  assert_int_equal(wire_count(&x, "[{'id':'c'"), 1);
  wire_close(&x);
  world_fini(&w);
}

static void a_connect_is_answered_at_the_end_of_the_turn_at_the_earliest(void **state) {
  const char *text;
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  text =
      world_ask(&w,
                "[{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','advice':{'timeout':0}},"
                "{'channel':'/a','data':1,'id':'p'}]",
                id);
  assert_int_equal(strncmp(text, "[{'id':'p',", 11), 0);
  assert_non_null(strstr(text, "'/meta/connect','successful':true"));
  assert_non_null(strstr(text, ",{'channel':'/a','data':1,'id':'p'}]"));
  wire_open(&x, &w);
  assert_true(wire_send(&x,
                        "[{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'c',"
                        "'advice':{'timeout':0}},{'channel':'/a','data':2,'id':'p'}]",
                        id));
  world_turn(&w);
  text = wire_take(&x);
  assert_true(strstr(text, "{'channel':'/a','data':2") < strstr(text, "{'id':'p','channel':'/a','successful'"));
  assert_true(strstr(text, "{'id':'p','channel':'/a','successful'") < strstr(text, "{'id':'c'"));
  wire_close(&x);
  world_fini(&w);
}

static void a_poll_s_answer_waits_for_its_slow_neighbour(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  w.hold = 1u << BX_REQUEST_SUBSCRIBE;
  assert_true(poll_send(&x, &w,
                        "[{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'c'},"
                        "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/b','id':'s'}]",
                        id, id));
  world_turn(&w);
  world_publish(&w, "/a", 1);
  world_pass(&w, TIMEOUT);
  assert_false(x.answered);
  w.hold = 0;
  world_turn(&w);
  assert_true(x.answered);
  assert_int_equal(wire_count(&x, "[{'id':'s'"), 1);
  assert_int_equal(wire_count(&x, ",{'channel':'/a','data':1}]"), 1);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

// -- taking over -------------------------------------------------------------------------------------

static void a_superseded_poll_is_answered_at_once(void **state) {
  struct wire old, new;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  poll_connect(&old, &w, id, "A");
  poll_connect(&new, &w, id, "B");
  assert_true(old.answered);
  assert_false(new.answered);
  assert_non_null(strstr(wire_take(&old), "[{'id':'A','clientId':'"));
  assert_int_equal(w.server->counters.superseded, 1);
  poll_end(&old, BX_ARRIVAL_LOST);   // which nobody minds
  world_publish(&w, "/a", 1);
  assert_non_null(strstr(wire_take(&new), "'data':1"));
  poll_end(&new, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void a_superseded_stream_is_flushed_and_closed(void **state) {
  struct wire old, new;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&old, &w, id, "A");
  stream_connect(&new, &w, id, "B");
  assert_int_equal(wire_count(&old, "[{'id':'A','clientId':"), 1);
  assert_int_equal(wire_count(&old, "'successful':true"), 1);
  assert_true(old.close_asked);
  assert_int_equal(old.close_code, 1000);
  assert_string_equal(wire_take(&new), "");
  wire_close(&old);
  assert_false(new.close_asked);
  world_publish(&w, "/a", 1);
  assert_string_equal(wire_take(&new), "[{'channel':'/a','data':1}]\n");
  wire_close(&new);
  world_fini(&w);
}

static void a_stream_that_is_being_closed_takes_nothing_back(void **state) {
  struct wire old, new;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&old, &w, id, "A");
  stream_connect(&new, &w, id, "B");
  wire_take(&old);
  again(&old, id, "C");   // was on its way
  assert_int_equal(wire_count(&old, "{'id':'C','clientId':"), 1);
  assert_int_equal(wire_count(&old, "'successful':true,'advice':{'reconnect':'retry'"), 1);
  assert_false(new.close_asked);
  world_publish(&w, "/a", 1);
  assert_string_equal(wire_take(&new), "[{'channel':'/a','data':1}]\n");
  wire_close(&new);
  again(&old, id, "D");   // nor a session that nobody has
  assert_int_equal(world_session(&w, id)->state, BX_SESSION_AWAY);
  wire_close(&old);
  world_fini(&w);
}

static void a_second_connect_of_one_stream(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  again(&x, id, "2");
  assert_int_equal(wire_count(&x, "[{'id':'1','clientId':"), 1);
  assert_int_equal(wire_count(&x, "{'id':'2'"), 0);
  assert_false(x.close_asked);
  wire_take(&x);
  // The newer one's time counts.
  world_pass(&w, TIMEOUT - 1);
  assert_true(wire_send(
      &x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','advice':{'timeout':0},'id':'3'}",
      id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "{'id':'2'"), 1);
  assert_int_equal(wire_count(&x, "{'id':'3'"), 1);
  wire_take(&x);
  world_pass(&w, TIMEOUT);
  assert_string_equal(wire_take(&x), "");
  wire_close(&x);
  world_fini(&w);
}

struct pollers {
  struct world *w;
  struct wire x[2];
  unsigned turn;
  char id[32];
};

static unsigned supersede_poll(void *context) {
  struct pollers *p = context;
  struct wire *old = &p->x[p->turn % 2], *new = &p->x[++p->turn % 2];
  unsigned interval;

  poll_connect(new, p->w, p->id, p->turn % 2 ? "a" : "b");
  assert_true(old->answered);
  interval = interval_of(wire_take(old));
  poll_end(old, BX_ARRIVAL_YES);
  return interval;
}

static unsigned supersede_in_stream(void *context) {
  struct pollers *p = context;

  again(&p->x[0], p->id, "x");
  return interval_of(wire_take(&p->x[0]));
}

// Two pollers with one id would drive each other on: the fourth in 10 s, and those that follow, have to
// wait longer and longer.
static void pollers_with_one_id_are_slowed(void **state) {
  struct pollers p = {0};
  struct world w;

  (void)state;
  begin(&w, p.id);
  p.w = &w;
  poll_connect(&p.x[0], &w, p.id, "a");
  for (unsigned i = 0; i < 3; i++) assert_int_equal(supersede_poll(&p), 0);
  for (unsigned i = 0; i < 3; i++) assert_in_range(supersede_poll(&p), 800, 4800);
  world_pass(&w, TIMEOUT + 1);
  poll_end(&p.x[p.turn % 2], BX_ARRIVAL_YES);
  p.turn = 0;
  poll_connect(&p.x[0], &w, p.id, "c");
  for (unsigned i = 0; i < 3; i++) assert_int_equal(supersede_poll(&p), 0);
  assert_in_range(supersede_poll(&p), 800, 1200);
  assert_in_range(supersede_poll(&p), 1600, 2400);
  assert_in_range(supersede_poll(&p), 3200, 4800);
  for (unsigned i = 0; i < 20; i++) assert_in_range(supersede_poll(&p), 4000, 6000);
  world_pass(&w, TIMEOUT);
  poll_end(&p.x[p.turn % 2], BX_ARRIVAL_YES);
  world_fini(&w);
}

static void connects_of_one_stream_are_slowed(void **state) {
  struct pollers p = {0};
  struct world w;

  (void)state;
  begin(&w, p.id);
  p.w = &w;
  stream_connect(&p.x[0], &w, p.id, "a");
  for (unsigned i = 0; i < 3; i++) assert_int_equal(supersede_in_stream(&p), 0);
  assert_in_range(supersede_in_stream(&p), 800, 1200);
  assert_in_range(supersede_in_stream(&p), 1600, 2400);
  // The intervals are not all the same.
  unsigned first = supersede_in_stream(&p);
  assert_true(first != supersede_in_stream(&p) || first != supersede_in_stream(&p));
  wire_close(&p.x[0]);
  world_fini(&w);
}

static void two_clients_on_one_stream(void **state) {
  struct world w;
  struct wire x;
  char a[32], b[32];
  char text[64];

  (void)state;
  begin(&w, a);
  world_handshake(&w, b);
  world_subscribe(&w, b, "/b");
  stream_connect(&x, &w, a, "1");
  world_publish(&w, "/a", 1);
  assert_string_equal(wire_take(&x), "[{'channel':'/a','data':1}]\n");
  again(&x, b, "2");
  snprintf(text, sizeof text, "[{'id':'1','clientId':'%s'", a);
  assert_int_equal(wire_count(&x, text), 1);   // let go, at once
  assert_false(x.close_asked);
  wire_take(&x);
  world_publish(&w, "/a", 2);
  world_publish(&w, "/b", 3);
  assert_string_equal(wire_take(&x), "[{'channel':'/b','data':3}]\n");
  assert_int_equal(world_session(&w, a)->state, BX_SESSION_AWAY);
  again(&x, a, "3");
  assert_int_equal(wire_count(&x, "{'channel':'/a','data':1},{'channel':'/a','data':2}"), 1);   // 1 was not confirmed
  assert_int_equal(wire_count(&x, "{'id':'2'"), 1);
  // Both in one frame: each takes the stream, the last one keeps it.
  wire_take(&x);
  assert_true(wire_send(&x,
                        "[{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'4'},"
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'5'}]",
                        a, b));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "{'id':'3'"), 1);
  assert_int_equal(wire_count(&x, "{'id':'4'"), 1);
  assert_int_equal(wire_count(&x, "{'id':'5'"), 0);
  assert_ptr_equal(x.c.session, world_session(&w, b));
  wire_close(&x);
  world_fini(&w);
}

static void two_connects_in_one_request(void **state) {
  struct world w;
  struct wire x;
  char a[32], b[32];

  (void)state;
  begin(&w, a);
  world_handshake(&w, b);
  world_subscribe(&w, b, "/b");
  assert_true(poll_send(&x, &w,
                        "[{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'1'},"
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'2'},"
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'3'}]",
                        a, b, b));
  world_turn(&w);
  assert_false(x.answered);
  world_publish(&w, "/a", 1);
  assert_false(x.answered);
  world_publish(&w, "/b", 2);
  assert_true(x.answered);
  assert_int_equal(wire_count(&x, "'successful':true"), 3);
  assert_int_equal(wire_count(&x, "'data':2"), 1);
  assert_int_equal(wire_count(&x, "'data':1"), 0);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void a_connect_of_an_event_stream_takes_nothing(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  world_pass(&w, TIMEOUT / 2);
  assert_non_null(
      strstr(world_ask(&w, "{'channel':'/meta/connect','clientId':'%s','connectionType':'eventsource'}", id),
             "'advice':{'reconnect':'retry','interval':10000,'timeout':0}"));
  assert_false(x.close_asked);
  assert_int_equal(world_session(&w, id)->last_connect, w.now);
  world_publish(&w, "/a", 1);
  assert_int_equal(wire_count(&x, "'data':1"), 1);
  wire_close(&x);
  world_fini(&w);
}

// -- ends --------------------------------------------------------------------------------------------

static void a_session_expires_after_twice_the_timeout(void **state) {
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  world_pass(&w, TIMEOUT);
  world_subscribe(&w, id, "/b");   // these do not count
  world_unsubscribe(&w, id, "/b");
  world_ask(&w, "{'channel':'/a','data':1,'clientId':'%s'}", id);
  world_pass(&w, TIMEOUT - 1);
  assert_int_equal(w.server->counters.sessions, 1);
  assert_int_equal(w.disconnects, 0);
  world_pass(&w, 1);
  assert_int_equal(w.server->counters.sessions, 0);
  assert_int_equal(w.server->counters.expired, 1);
  assert_int_equal(w.disconnects, 1);
  assert_int_equal(w.unsubscribes, 2);   // its last one before the end
  assert_string_equal(w.last_detail, "expired");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/a','data':1,'clientId':'%s'}", id), "'error':'401:"));
  assert_non_null(
      strstr(world_ask(&w, "{'channel':'/meta/subscribe','subscription':'/a','clientId':'%s'}", id), "'error':'401:"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id), "'error':'401:"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/connect','connectionType':'websocket','clientId':'%s'}", id),
                         "'error':'401:"));
  world_fini(&w);
}

static void each_connect_counts_anew(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  for (unsigned i = 0; i < 5; i++) {
    world_pass(&w, 2 * TIMEOUT - 1);
    connect_with(&x, &w, id, "{'timeout':0}");
    poll_end(&x, BX_ARRIVAL_YES);
  }
  connect_with(&x, &w, id, "");
  world_pass(&w, TIMEOUT);   // while it is held, the time runs
  poll_end(&x, BX_ARRIVAL_YES);
  world_pass(&w, TIMEOUT - 1);
  assert_int_equal(w.server->counters.sessions, 1);
  world_pass(&w, 1);
  assert_int_equal(w.server->counters.sessions, 0);
  world_fini(&w);
}

static void a_stream_without_connects_is_closed_at_expiry(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  world_pass(&w, 2 * TIMEOUT - 1);
  wire_take(&x);   // the connect was answered at its time
  assert_false(x.close_asked);
  world_pass(&w, 1);
  assert_true(x.close_asked);
  assert_int_equal(x.close_code, 1000);
  assert_string_equal(wire_take(&x), "");
  wire_echo(&x);
  world_fini(&w);
}

// A connect on a mount with a short timeout shortens the life of a session that is held on another.
static void expiry_answers_what_is_held(void **state) {
  static const struct bx_mount brief = {.path = {"/brief", 6}, .timeout = 1000};
  struct world w;
  struct wire held, x;
  char id[32];

  (void)state;
  for (unsigned stream = 0; stream < 2; stream++) {
    begin(&w, id);
    if (stream)
      stream_connect(&held, &w, id, "1");
    else
      poll_connect(&held, &w, id, "1");
    poll_open(&x, &w);
    x.c.mount = &brief;
    assert_true(wire_send(&x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'eventsource'}", id));
    world_turn(&w);
    poll_end(&x, BX_ARRIVAL_YES);
    world_pass(&w, 1999);
    assert_int_equal(wire_count(&held, "'"), 0);
    world_pass(&w, 1);
    assert_int_equal(wire_count(&held, "[{'id':'1','channel':'/meta/connect','successful':false,'error':'401:"), 1);
    assert_int_equal(wire_count(&held, ":Unknown client','advice':{'reconnect':'handshake','interval':1"), 1);
    assert_int_equal(held.close_asked, stream);
    if (stream)
      wire_echo(&held);
    else
      poll_end(&held, BX_ARRIVAL_YES);
    world_fini(&w);
  }
}

static void disconnect_answers_a_held_poll(void **state) {
  struct world w;
  struct wire held;
  char id[32];

  (void)state;
  begin(&w, id);
  poll_connect(&held, &w, id, "D1");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s','id':'D2'}", id),
                         "'channel':'/meta/disconnect','successful':true}]"));
  assert_true(held.answered);
  assert_int_equal(wire_count(&held, "[{'id':'D1','clientId':"), 1);
  assert_int_equal(wire_count(&held, "'successful':true,'advice':{'reconnect':'retry'"), 1);
  poll_end(&held, BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.disconnects, 1);
  assert_int_equal(w.server->counters.sessions, 0);
  world_fini(&w);
}

static void disconnect_closes_a_stream(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "D1");
  assert_true(wire_send(
      &x, "[{'channel':'/meta/disconnect','clientId':'%s','id':'D2'},{'channel':'/b','data':1,'id':'p'}]", id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "{'id':'D2','clientId':"), 1);
  assert_int_equal(wire_count(&x, "'successful':true"), 2);
  assert_int_equal(wire_count(&x, "{'id':'D1'"), 0);   // its connect is not answered
  assert_true(x.close_asked);
  assert_int_equal(x.close_code, 1000);
  world_pass(&w, 2 * TIMEOUT);
  assert_int_equal(wire_count(&x, "{'id':'D1'"), 0);
  wire_echo(&x);
  world_fini(&w);
}

// The answer in hand is that of a session that is gone.
static void a_session_ends_behind_its_answer(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  world_publish(&w, "/a", 1);
  poll_connect(&x, &w, id, "1");
  assert_true(x.answered);
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  assert_int_equal(w.server->counters.closing, 0);
  poll_end(&x, BX_ARRIVAL_LOST);
  world_fini(&w);
}

static void a_publish_behind_a_disconnect_has_no_client(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  assert_true(poll_send(&x, &w,
                        "[{'channel':'/a','data':1,'clientId':'%s'},{'channel':'/meta/disconnect','clientId':'%s'},"
                        "{'channel':'/a','data':2,'clientId':'%s'},{'channel':'/a','data':3}]",
                        id, id, id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'successful':true"), 3);
  assert_int_equal(wire_count(&x, ":Unknown client','advice':{'reconnect':'handshake','interval':1"), 1);
  assert_int_equal(w.server->counters.appended, 2);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

// -- drain -------------------------------------------------------------------------------------------

static void drain_sends_everybody_away(void **state) {
  struct wire poll, stream, idle;
  struct world w;
  char a[32], b[32];
  const char *text;

  (void)state;
  begin(&w, a);
  world_handshake(&w, b);
  poll_connect(&poll, &w, a, "1");
  stream_connect(&stream, &w, b, "2");
  wire_open(&idle, &w);
  bx_server_drain(w.server);
  bx_server_drain(w.server);
  world_turn(&w);
  assert_true(poll.answered);
  text = wire_take(&poll);
  assert_non_null(strstr(text, "'successful':true"));
  assert_in_range(interval_of(text), 1000, 5000);
  poll_end(&poll, BX_ARRIVAL_YES);
  text = wire_take(&stream);
  assert_non_null(strstr(text, "[{'id':'2','clientId':"));
  assert_in_range(interval_of(text), 1000, 5000);
  assert_int_equal(stream.close_code, 1001);
  assert_int_equal(idle.close_code, 1001);
  wire_echo(&stream);
  wire_close(&idle);
  // Who still comes is answered, and sent away, too.
  connect_with(&poll, &w, a, "");
  assert_true(poll.answered);
  assert_in_range(interval_of(wire_take(&poll)), 1000, 5000);
  poll_end(&poll, BX_ARRIVAL_YES);
  assert_in_range(interval_of(world_ask(
                      &w, "{'channel':'/meta/handshake','version':'1','supportedConnectionTypes':['websocket']}")),
                  1000, 5000);
  assert_int_equal(w.server->counters.sessions, 3);   // they stay
  assert_int_equal(w.disconnects, 0);
  world_fini(&w);
}

static void intervals_of_a_drain_are_spread(void **state) {
  struct wire x[20];
  struct world w;
  unsigned low = 5000, high = 1000;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  for (unsigned i = 0; i < 20; i++) {
    world_handshake(&w, id);
    poll_connect(&x[i], &w, id, "1");
  }
  bx_server_drain(w.server);
  world_turn(&w);
  for (unsigned i = 0; i < 20; i++) {
    unsigned interval = interval_of(wire_take(&x[i]));

    if (interval < low) low = interval;
    if (interval > high) high = interval;
    poll_end(&x[i], BX_ARRIVAL_YES);
  }
  assert_in_range(low, 1000, 2500);
  assert_in_range(high, 3500, 5000);
  world_fini(&w);
}

// They are on the list already, in an order of their own.
static void a_drain_of_connects_that_are_due(void **state) {
  struct wire x, y;
  struct world w;
  char a[32], b[32];

  (void)state;
  begin(&w, a);
  world_handshake(&w, b);
  wire_open(&x, &w);
  wire_open(&y, &w);
  assert_true(wire_send(
      &y, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','advice':{'timeout':0}}", b));
  assert_true(wire_send(
      &x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','advice':{'timeout':0}}", a));
  bx_server_drain(w.server);
  world_turn(&w);
  assert_in_range(interval_of(wire_take(&x)), 1000, 5000);
  assert_in_range(interval_of(wire_take(&y)), 1000, 5000);
  wire_close(&x);
  wire_close(&y);
  world_fini(&w);
}

static void a_drain_doubles_nothing(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  world_publish(&w, "/a", 1);
  bx_server_drain(w.server);
  world_publish(&w, "/a", 2);
  assert_int_equal(wire_count(&x, "'data':1"), 1);
  assert_int_equal(wire_count(&x, "'data':2"), 1);
  wire_echo(&x);
  assert_int_equal(bx_session_conf(w.server, world_session(&w, id)), w.base + 2);
  assert_int_equal(w.server->counters.fallbacks, 0);
  world_fini(&w);
}

static void the_interval_of_a_mount(void **state) {
  struct wire a, b;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  w.mount.interval = 250;
  poll_connect(&a, &w, id, "1");
  poll_connect(&b, &w, id, "2");
  assert_int_equal(interval_of(wire_take(&a)), 250);
  poll_end(&a, BX_ARRIVAL_YES);
  world_publish(&w, "/a", 1);
  assert_int_equal(interval_of(wire_take(&b)), 250);
  poll_end(&b, BX_ARRIVAL_YES);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_connect_is_held_as_long_as_it_wishes),
      cmocka_unit_test(an_answer_comes_with_the_first_message),
      cmocka_unit_test(a_stream_is_answered_when_its_time_is_up),
      cmocka_unit_test(what_comes_after_a_long_silence),
      cmocka_unit_test(a_held_connect_delays_no_neighbour),
      cmocka_unit_test(a_connect_is_answered_at_the_end_of_the_turn_at_the_earliest),
      cmocka_unit_test(a_poll_s_answer_waits_for_its_slow_neighbour),
      cmocka_unit_test(a_superseded_poll_is_answered_at_once),
      cmocka_unit_test(a_superseded_stream_is_flushed_and_closed),
      cmocka_unit_test(a_stream_that_is_being_closed_takes_nothing_back),
      cmocka_unit_test(a_second_connect_of_one_stream),
      cmocka_unit_test(pollers_with_one_id_are_slowed),
      cmocka_unit_test(connects_of_one_stream_are_slowed),
      cmocka_unit_test(two_clients_on_one_stream),
      cmocka_unit_test(two_connects_in_one_request),
      cmocka_unit_test(a_connect_of_an_event_stream_takes_nothing),
      cmocka_unit_test(a_session_expires_after_twice_the_timeout),
      cmocka_unit_test(each_connect_counts_anew),
      cmocka_unit_test(a_stream_without_connects_is_closed_at_expiry),
      cmocka_unit_test(expiry_answers_what_is_held),
      cmocka_unit_test(disconnect_answers_a_held_poll),
      cmocka_unit_test(disconnect_closes_a_stream),
      cmocka_unit_test(a_session_ends_behind_its_answer),
      cmocka_unit_test(a_publish_behind_a_disconnect_has_no_client),
      cmocka_unit_test(drain_sends_everybody_away),
      cmocka_unit_test(intervals_of_a_drain_are_spread),
      cmocka_unit_test(a_drain_of_connects_that_are_due),
      cmocka_unit_test(a_drain_doubles_nothing),
      cmocka_unit_test(the_interval_of_a_mount),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
