// SPDX-License-Identifier: Apache-2.0
// Clients that acknowledge (CometD's ack extension): messages in answers to connects only, numbers as the only
// evidence, and every message once, whatever breaks.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

// -- helpers ---------------------------------------------------------------------------------------

// The numbers that were published and stand in a text, as "1 2 3".
static const char *numbers(const char *text) {
  static char out[8192];
  size_t len = 0;

  out[0] = '\0';
  for (const char *at = text; (at = strstr(at, "'data':")) != NULL; at += 7)
    len += (size_t)snprintf(out + len, sizeof out - len, "%s%lu", len > 0 ? " " : "",
                            (unsigned long)strtoul(at + 7, NULL, 10));
  return out;
}

// The number in the last answer of a text; 0: none.
static bx_position told_in(const char *text) {
  static const char mark[] = "'ext':{'ack':";
  bx_position told = 0;

  for (const char *at = text; (at = strstr(at, mark)) != NULL; at += sizeof mark)
    told = strtoull(at + sizeof mark - 1, NULL, 10);
  return told;
}

static unsigned lines_of(const char *text) {
  unsigned lines = 0;

  for (; *text != '\0'; text++) lines += *text == '\n';
  return lines;
}

static const char *handshake(struct world *w, char id[32], const char *more) {
  const char *reply =
      world_ask(w, "[{'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['websocket']%s}]", more);
  const char *at = strstr(reply, "'clientId':'");

  assert_non_null(at);
  memcpy(id, at + 12, 31);
  id[31] = '\0';
  return reply;
}

static void begin(struct world *w, char id[32]) {
  world_init(w, NULL);
  handshake(w, id, ",'ext':{'ack':true}");
  world_subscribe(w, id, "/a");
}

static void publish(struct world *w, unsigned first, unsigned last) {
  for (unsigned i = first; i <= last; i++) world_publish(w, "/a", i);
}

// `number` as it stands in the text.
static void send_text(struct wire *x, const char *id, const char *number, unsigned timeout) {
  static unsigned serial;

  assert_true(wire_send(x,
                        "[{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'%u',"
                        "'advice':{'timeout':%u},'ext':{'ack':%s}}]",
                        id, ++serial, timeout, number));
  world_turn(x->w);
}

static void send(struct wire *x, const char *id, bx_position number, unsigned timeout) {
  char text[24];

  snprintf(text, sizeof text, "%llu", (unsigned long long)number);
  send_text(x, id, text, timeout);
}

#define HOLD 9000

static struct bx_session *session(struct world *w, const char *id) { return world_session(w, id); }
static bx_position conf_of(struct world *w, const char *id) { return bx_session_conf(w->server, session(w, id)); }

// -- texts -----------------------------------------------------------------------------------------

static void only_true_asks_for_it(void **state) {
  static const char *const others[] = {"",
                                       ",'ext':{}",
                                       ",'ext':{'ack':false}",
                                       ",'ext':{'ack':'true'}",
                                       ",'ext':{'ack':1}",
                                       ",'ext':{'ack':true,'ack':null}",
                                       ",'ext':[true]",
                                       ",'ext':'ack'"};
  char id[32], expected[64];
  struct world w;

  (void)state;
  world_init(&w, NULL);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    assert_null(strstr(handshake(&w, id, others[i]), "'ext'"));
  assert_int_equal(w.server->counters.acking_sessions, 0);
  publish(&w, 1, 3);
  snprintf(expected, sizeof expected, "'ext':{'ack':{'enabled':true,'batch':%llu}}", (unsigned long long)w.base + 3);
  assert_non_null(strstr(handshake(&w, id, ",'ext':{'a':[1,{}],'ack':true}"), expected));
  assert_int_equal(w.server->counters.acking_sessions, 1);
  world_fini(&w);
}

static void a_plain_client_is_told_nothing(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");   // it did ask, but its connect has no number
  publish(&w, 1, 1);
  const char *text = wire_take(&x);
  assert_string_equal(numbers(text), "1");
  assert_null(strstr(text, "'ack'"));
  assert_null(strstr(text, "/meta/connect"));
  assert_int_equal(wire_ping(&x), w.base + 1);
  wire_close(&x);
  world_fini(&w);
}

static void messages_go_in_answers_to_connects(void **state) {
  const char *text, *data, *answer;
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, 0);
  assert_int_equal(told_in(wire_take(&x)), w.base);
  publish(&w, 1, 2);
  assert_string_equal(wire_take(&x), "");   // no connect is held
  assert_true(wire_send(&x, "{'channel':'/x','clientId':'%s','data':9,'id':'p'}", id));
  world_turn(&w);
  text = wire_take(&x);   // another reply does not wait for them
  assert_non_null(strstr(text, "'id':'p'"));
  assert_string_equal(numbers(text), "");
  send(&x, id, w.base, HOLD);
  text = wire_take(&x);
  assert_int_equal(lines_of(text), 1);
  assert_string_equal(numbers(text), "1 2");
  assert_int_equal(told_in(text), w.base + 3);
  data = strstr(text, "'data':2");
  answer = strstr(text, "/meta/connect");
  assert_true(data < answer);   // who reads one by one has them before the number
  send(&x, id, w.base + 3, HOLD);
  assert_string_equal(wire_take(&x), "");
  publish(&w, 3, 3);
  text = wire_take(&x);
  assert_int_equal(lines_of(text), 1);
  assert_string_equal(numbers(text), "3");
  assert_int_equal(told_in(text), w.base + 4);
  wire_close(&x);
  world_fini(&w);
}

// What waited goes out with the connect, and not when a message of the same text is done at last.
static void a_connect_beside_a_slow_publish_is_heard_at_once(void **state) {
  const char *text;
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, 0);
  publish(&w, 1, 1);
  wire_take(&x);
  w.hold = 1u << BX_REQUEST_PUBLISH;
  assert_true(
      wire_send(&x,
                "[{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'c',"
                "'advice':{'timeout':%u},'ext':{'ack':%llu}},{'channel':'/x','clientId':'%s','data':9,'id':'p'}]",
                id, HOLD, (unsigned long long)w.base, id));
  world_turn(&w);
  text = wire_take(&x);
  assert_string_equal(numbers(text), "1");
  assert_int_equal(told_in(text), w.base + 1);
  assert_null(strstr(text, "'id':'p'"));
  w.hold = 0;
  world_turn(&w);
  assert_non_null(strstr(wire_take(&x), "'id':'p'"));
  wire_close(&x);
  world_fini(&w);
}

static void a_poll_brings_the_number(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 2);
  poll_open(&x, &w);
  send(&x, id, w.base, HOLD);
  assert_true(x.answered);
  const char *text = wire_take(&x);
  assert_string_equal(numbers(text), "1 2");
  assert_int_equal(told_in(text), w.base + 2);
  assert_true(strstr(text, "'data':2") < strstr(text, "/meta/connect"));
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

// More than an outbox holds comes connect by connect.
static void a_backlog_comes_in_answers(void **state) {
  unsigned next = 1, answers = 0;
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, HOLD);
  while (next <= 3000) {
    if (answers == 0) publish(&w, 1, 3000);
    const char *text = wire_take(&x);
    assert_int_equal(lines_of(text), 1);
    for (const char *at = text; (at = strstr(at, "'data':")) != NULL; at += 7)
      assert_int_equal(strtoul(at + 7, NULL, 10), next++);
    assert_in_range(strlen(text), 1, 2 * 65536);
    answers++;
    send(&x, id, told_in(text), HOLD);
  }
  assert_in_range(answers, 2, 20);
  assert_string_equal(wire_take(&x), "");
  assert_int_equal(session(&w, id)->state, BX_SESSION_LIVE);
  assert_int_equal(w.server->counters.resent, 0);
  wire_close(&x);
  world_fini(&w);
}

// -- evidence --------------------------------------------------------------------------------------

static void only_the_number_is_evidence(void **state) {
  struct wire x, y;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  publish(&w, 1, 1);
  send(&x, id, w.base, HOLD);
  assert_string_equal(numbers(wire_take(&x)), "1");
  assert_int_equal(wire_ping(&x), 0);   // a pong would tell of a proxy
  wire_pong(&x, w.base + 1);
  assert_int_equal(conf_of(&w, id), w.base);
  wire_open(&y, &w);
  send(&y, id, w.base, HOLD);   // it takes over, and has not had the answer
  assert_string_equal(numbers(wire_take(&y)), "1");
  assert_true(x.close_asked);
  wire_echo(&x);
  assert_int_equal(conf_of(&w, id), w.base);
  assert_int_equal(w.server->counters.resent, 1);
  send(&y, id, w.base + 1, HOLD);
  assert_int_equal(conf_of(&w, id), w.base + 1);
  assert_string_equal(wire_take(&y), "");
  wire_close(&y);
  world_fini(&w);
}

static void what_tcp_says_of_a_poll_does_not_count(void **state) {
  static const enum bx_arrival arrivals[] = {BX_ARRIVAL_YES, BX_ARRIVAL_PENDING, BX_ARRIVAL_LOST, BX_ARRIVAL_RESET};
  struct wire x, y;
  struct world w;
  char id[32];

  (void)state;
  for (size_t i = 0; i < 4; i++)
    for (int had = 0; had < 2; had++)
      for (int ended = 0; ended < 2; ended++) {
        begin(&w, id);
        publish(&w, 1, 1);
        poll_open(&x, &w);
        send(&x, id, w.base, 0);
        assert_string_equal(numbers(wire_take(&x)), "1");
        x.arrival = arrivals[i];
        if (ended) poll_end(&x, arrivals[i]);
        publish(&w, 2, 2);
        poll_open(&y, &w);
        send(&y, id, w.base + (unsigned)had, 0);   // answered at once: it waits for no evidence
        assert_true(y.answered);
        assert_string_equal(numbers(wire_take(&y)), had ? "2" : "1 2");
        if (!ended) poll_end(&x, arrivals[i]);
        poll_end(&y, BX_ARRIVAL_YES);
        world_fini(&w);
      }
}

static void a_connection_that_ends_leaves_it_to_the_number(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  for (int had = 0; had < 2; had++) {
    begin(&w, id);
    publish(&w, 1, 2);
    wire_open(&x, &w);
    send(&x, id, w.base, HOLD);
    wire_close(&x);
    assert_int_equal(conf_of(&w, id), w.base);
    publish(&w, 3, 3);
    wire_open(&x, &w);
    send(&x, id, w.base + (had ? 2 : 0), HOLD);
    assert_string_equal(numbers(wire_take(&x)), had ? "3" : "1 2 3");
    assert_int_equal(w.server->counters.resent, had ? 0 : 2);
    wire_close(&x);
    world_fini(&w);
  }
}

// As a drain ends: the echo tells of TCP, too.
static void the_echo_of_a_close_does_not_count(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 1);
  wire_open(&x, &w);
  send(&x, id, w.base, HOLD);
  wire_echo(&x);
  assert_int_equal(conf_of(&w, id), w.base);
  poll_open(&x, &w);
  send(&x, id, w.base, 0);
  assert_string_equal(numbers(wire_take(&x)), "1");
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

// What was handed over before the first number came has had no answer that speaks for it.
static void a_number_that_comes_late(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  publish(&w, 1, 1);
  assert_string_equal(numbers(wire_take(&x)), "1");
  send(&x, id, w.base, HOLD);
  const char *text = wire_take(&x);
  assert_string_equal(numbers(text), "1");
  send(&x, id, told_in(text), HOLD);
  assert_int_equal(conf_of(&w, id), w.base + 1);
  wire_close(&x);
  world_fini(&w);
}

// One that goes on without numbers is judged as others are.
static void a_connect_without_a_number_falls_back(void **state) {
  static const char *const none[] = {"null", "'1700000000000009'", "true", "{}", "[5]"};
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
    begin(&w, id);
    publish(&w, 1, 2);
    wire_open(&x, &w);
    send(&x, id, w.base, HOLD);
    wire_close(&x);
    wire_open(&x, &w);
    send_text(&x, id, none[i], HOLD);
    const char *text = wire_take(&x);
    assert_string_equal(numbers(text), "1 2");
    assert_null(strstr(text, "'ack'"));
    assert_int_equal(wire_ping(&x), w.base + 2);
    wire_pong(&x, w.base + 2);
    assert_int_equal(conf_of(&w, id), w.base + 2);
    wire_close(&x);
    world_fini(&w);
  }
}

// -- numbers ---------------------------------------------------------------------------------------

static void an_old_number_moves_nothing_back(void **state) {
  static const char *const old[] = {"-1", "0", "1", "1700000000000001", "-1e300"};
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
    begin(&w, id);
    publish(&w, 1, 3);
    wire_open(&x, &w);
    send(&x, id, w.base, HOLD);
    wire_take(&x);
    send(&x, id, w.base + 3, HOLD);
    send_text(&x, id, old[i], HOLD);
    assert_string_equal(numbers(wire_take(&x)), "");
    assert_int_equal(conf_of(&w, id), w.base + 3);
    publish(&w, 4, 4);
    assert_string_equal(numbers(wire_take(&x)), "4");
    send_text(&x, id, old[i], HOLD);   // it did not have that one
    assert_string_equal(numbers(wire_take(&x)), "4");
    assert_int_equal(w.server->counters.bad_acks, 0);
    wire_close(&x);
    world_fini(&w);
  }
}

static void a_number_in_between_and_a_fraction(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 4);
  wire_open(&x, &w);
  send(&x, id, w.base, HOLD);
  assert_string_equal(numbers(wire_take(&x)), "1 2 3 4");
  send(&x, id, w.base + 2, HOLD);   // as after an answer that was cut in two
  assert_string_equal(numbers(wire_take(&x)), "3 4");
  assert_int_equal(conf_of(&w, id), w.base + 2);
  send_text(&x, id, "1700000000000003.5", HOLD);
  assert_string_equal(numbers(wire_take(&x)), "4");
  send_text(&x, id, "17000000000000040e-1", HOLD);
  assert_int_equal(conf_of(&w, id), w.base + 4);
  wire_close(&x);
  world_fini(&w);
}

static void a_number_that_no_answer_had(void **state) {
  static const char *const bad[] = {"1700000000000009", "1800000000000000", "9007199254740993", "1e300"};
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    begin(&w, id);
    wire_open(&x, &w);
    send_text(&x, id, bad[i], HOLD);
    publish(&w, 1, 1);
    assert_string_equal(numbers(wire_take(&x)), "1");
    send_text(&x, id, bad[i], HOLD);   // all that was handed over has arrived, and no more
    publish(&w, 2, 2);
    assert_string_equal(numbers(wire_take(&x)), "2");
    assert_int_equal(w.server->counters.bad_acks, 2);
    wire_close(&x);
    world_fini(&w);
  }
}

// -- from other nodes ------------------------------------------------------------------------------

static struct bx_session *adopt(struct world *w, bx_position conf, bx_position sent,
                                struct bx_record_subscription *subscriptions, size_t count) {
  struct bx_record record = {.id = BX_LIT("anothernodessessionanothernodes"),
                             .generation = 2,
                             .conf = conf,
                             .sent = sent,
                             .life = 20000,
                             .remaining = 20000,
                             .subscriptions = subscriptions,
                             .subscription_count = count};

  if (sent > w->ahead) w->ahead = sent;
  return w->server->engine->events.adopt(w->server, &record);
}

// The node that died had sent more than its record tells; it may have been ahead of this one.
static void the_number_wins_over_a_record_that_is_old(void **state) {
  struct bx_record_subscription a = {.pattern = BX_LIT("/a")};
  const char *id = "anothernodessessionanothernodes";
  struct wire x;
  struct world w;

  (void)state;
  for (unsigned head = 6; head <= 12; head += 3) {
    world_init(&w, NULL);
    publish(&w, 1, head);
    a.start = w.base;
    adopt(&w, w.base + 3, w.base + 3, &a, 1);
    w.ahead = w.base + 9;
    wire_open(&x, &w);
    send(&x, id, w.base + 9, HOLD);
    publish(&w, head + 1, 13);
    char got[64] = "";
    for (int i = 0; i < 9; i++) {   // as many answers as it takes
      const char *text = wire_take(&x), *these = numbers(text);
      if (*these == '\0') break;
      snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", these);
      send(&x, id, told_in(text), HOLD);
    }
    assert_string_equal(got, "10 11 12 13 ");
    assert_int_equal(w.server->counters.bad_acks, 0);
    wire_close(&x);
    world_fini(&w);
  }
}

// The record remembers that something was read back for /b. The number was told when that had come.
static void the_number_wins_over_a_backfill_in_the_record(void **state) {
  struct bx_record_subscription subs[] = {{.pattern = BX_LIT("/a")}, {.pattern = BX_LIT("/b")}};
  const char *id = "anothernodessessionanothernodes";
  struct wire x;
  struct world w;

  (void)state;
  for (unsigned said = 2; said <= 5; said += 3) {
    world_init(&w, NULL);
    publish(&w, 1, 2);
    for (unsigned i = 3; i <= 6; i++) world_publish(&w, "/b", i);
    subs[0].start = w.base;
    subs[1].start = w.base + 2;
    subs[1].upto = w.base + 4;
    adopt(&w, w.base + 3, w.base + 3, subs, 2);
    wire_open(&x, &w);
    send(&x, id, w.base + said, HOLD);
    assert_string_equal(numbers(wire_take(&x)), said == 5 ? "6" : "3 4 5 6");
    wire_close(&x);
    world_fini(&w);
  }
}

static void a_record_with_an_open_answer(void **state) {
  struct bx_record_subscription a = {.pattern = BX_LIT("/a")};
  const char *id = "anothernodessessionanothernodes", *const expected[] = {"4 5 6", "4 5 6", "6", "6"};
  static const unsigned said[] = {1, 3, 5, 5};
  struct wire x;
  struct world w;

  (void)state;
  for (size_t i = 0; i < 4; i++) {
    world_init(&w, NULL);
    publish(&w, 1, 6);
    a.start = w.base;
    adopt(&w, w.base + 3, w.base + (i < 3 ? 5 : 4), &a, 1);
    wire_open(&x, &w);
    send(&x, id, w.base + said[i], HOLD);
    assert_string_equal(numbers(wire_take(&x)), expected[i]);
    wire_close(&x);
    world_fini(&w);
  }
}

// The other node did not know what was subscribed to here; what it knew of /a is not /b's.
static void the_number_does_not_speak_for_later_subscriptions(void **state) {
  struct bx_record_subscription a = {.pattern = BX_LIT("/a")};
  const char *id = "anothernodessessionanothernodes";
  struct wire x;
  struct world w;

  (void)state;
  world_init(&w, NULL);
  publish(&w, 1, 4);
  a.start = w.base;
  adopt(&w, w.base + 2, w.base + 2, &a, 1);
  world_subscribe(&w, id, "/b");
  world_publish(&w, "/b", 100);
  publish(&w, 6, 8);
  wire_open(&x, &w);
  send(&x, id, w.base + 7, HOLD);
  const char *text = wire_take(&x);
  assert_string_equal(numbers(text), "100 8");
  assert_int_equal(told_in(text), w.base + 8);
  wire_close(&x);
  world_fini(&w);
}

// A subscription that is not recorded yet, or has not been read back: the number stays below.
static void the_number_leaves_room_for_what_is_being_read_back(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, HOLD);
  struct bx_session *s = session(&w, id);
  s->mark.asking = 1;   // as the Redis engine notes it
  s->mark.asked_from = w.base + 1;
  world_publish(&w, "/other", 1);
  world_publish(&w, "/other", 2);
  send(&x, id, w.base, 0);
  assert_int_equal(told_in(strrchr(wire_take(&x), '[')), w.base + 1);
  send(&x, id, w.base + 1, HOLD);
  publish(&w, 1, 3);
  assert_string_equal(wire_take(&x), "");   // no number could tell of them
  wire_close(&x);
  poll_open(&x, &w);
  send(&x, id, w.base + 1, 0);
  const char *text = wire_take(&x);
  assert_string_equal(numbers(text), "");
  assert_int_equal(told_in(text), w.base + 1);
  poll_end(&x, BX_ARRIVAL_YES);
  wire_open(&x, &w);
  send(&x, id, w.base + 1, HOLD);
  s->mark.asking = 0;
  x.woken = true;   // as the answer of the engine does it
  world_turn(&w);
  text = wire_take(&x);
  assert_string_equal(numbers(text), "1 2 3");
  assert_int_equal(told_in(text), w.base + 5);
  wire_close(&x);
  world_fini(&w);
}

// The answer of one that is taken over: the next connection may be on another node, and this one die.
static void the_number_leaves_room_for_what_was_read_back_and_waits(void **state) {
  struct wire x, y;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  publish(&w, 1, 3);
  send(&x, id, w.base + 3, HOLD);
  wire_take(&x);
  w.hold = 1 << BX_REQUEST_SUBSCRIBE;
  send(&x, id, w.base + 3, HOLD);
  assert_true(wire_send(&x, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/b'}", id));
  world_turn(&w);
  world_publish(&w, "/b", 50);
  world_publish(&w, "/c", 51);
  w.hold = 0;
  x.stuck = true;
  world_turn(&w);
  wire_open(&y, &w);
  send(&y, id, w.base + 3, HOLD);
  assert_string_equal(numbers(wire_take(&y)), "50");
  x.stuck = false;
  x.woken = true;
  world_turn(&w);
  assert_int_equal(told_in(wire_take(&x)), w.base + 3);
  wire_close(&x);
  wire_close(&y);
  world_fini(&w);
}

// -- connects that wait ----------------------------------------------------------------------------

static void what_waited_and_was_given_up_leaves_no_connect_behind(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, 0);
  wire_take(&x);
  publish(&w, 1, 1);
  x.stuck = true;
  send(&x, id, w.base, 0);   // due, with a message, and the socket takes nothing
  assert_true(wire_send(&x, "{'channel':'/meta/unsubscribe','clientId':'%s','subscription':'/a'}", id));
  x.stuck = false;
  x.woken = true;
  world_turn(&w);
  const char *text = wire_take(&x);
  assert_string_equal(numbers(text), "");
  assert_int_equal(told_in(text), w.base + 1);
  assert_false(x.c.connect.held);
  wire_close(&x);
  world_fini(&w);
}

static void a_superseded_connect_tells_the_number(void **state) {
  struct wire x, y;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, HOLD);
  wire_open(&y, &w);
  send(&y, id, w.base, HOLD);
  assert_int_equal(told_in(wire_take(&x)), w.base);
  wire_echo(&x);
  publish(&w, 1, 1);
  assert_string_equal(numbers(wire_take(&y)), "1");
  wire_close(&y);
  world_fini(&w);
}

static void a_hold_that_is_over_tells_the_number(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  wire_open(&x, &w);
  send(&x, id, w.base, 500);
  world_publish(&w, "/other", 1);
  world_pass(&w, 600);
  assert_int_equal(told_in(wire_take(&x)), w.base + 1);
  wire_close(&x);
  world_fini(&w);
}

// -- anything --------------------------------------------------------------------------------------

// A client that reconnects at random over streams and polls, loses answers before or behind its ears, and repeats:
// every message once, in order.
struct client {
  struct world w;
  struct wire now;
  enum { NONE, STREAM, POLL } mode;
  bool held;
  char id[32];
  bx_position told;
  unsigned next, published;
};

static unsigned roll(struct client *c, unsigned sides) {
  uint32_t r;
  c->w.server->env.random(&c->w, &r, sizeof r);
  return r % sides;
}

static void hear(struct client *c) {
  const char *text = wire_take(&c->now);

  for (const char *at = text; (at = strstr(at, "'data':")) != NULL; at += 7)
    assert_int_equal(strtoul(at + 7, NULL, 10), c->next++);
  if (told_in(text) != 0) {
    c->told = told_in(text);
    c->held = false;
  }
}

static void leave(struct client *c, bool hears) {
  if (c->mode == NONE) return;
  if (hears) hear(c);
  if (c->mode == STREAM)
    wire_close(&c->now);
  else if (c->now.answered)
    poll_end(&c->now, (enum bx_arrival)roll(c, 4));
  else
    poll_abort(&c->now);
  c->mode = NONE;
  c->held = false;
}

static void step(struct client *c) {
  switch (roll(c, 8)) {
  case 0:
  case 1:
    for (unsigned n = roll(c, roll(c, 10) == 0 ? 300 : 4); n > 0; n--) world_publish(&c->w, "/a", ++c->published);
    break;
  case 2: leave(c, roll(c, 2) == 0); break;
  case 3: world_publish(&c->w, "/other", 0); break;
  case 4: world_pass(&c->w, roll(c, 100)); break;
  default:
    if (c->mode == POLL && c->now.answered) leave(c, true);
    if (c->mode == NONE) {
      c->mode = roll(c, 2) == 0 ? STREAM : POLL;
      if (c->mode == STREAM)
        wire_open(&c->now, &c->w);
      else
        poll_open(&c->now, &c->w);
    }
    if (c->mode == STREAM) hear(c);
    if (c->held) break;
    c->held = true;
    send(&c->now, c->id, c->told, roll(c, 2) * HOLD);
  }
}

static void every_message_once(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 300; seed++) {
    struct client *c = bx_alloc(sizeof *c);

    begin(&c->w, c->id);
    c->w.seed += seed * 7919;
    c->told = c->w.base;
    c->next = 1;
    for (int i = 0; i < 150; i++) step(c);
    leave(c, true);
    for (int i = 0; c->next <= c->published && i < 200; i++) {
      poll_open(&c->now, &c->w);
      c->mode = POLL;
      send(&c->now, c->id, c->told, 0);
      leave(c, true);
    }
    assert_int_equal(c->next, c->published + 1);
    assert_int_equal(c->w.server->counters.bad_acks, 0);
    world_fini(&c->w);
    bx_free(c);
  }
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_true_asks_for_it),
      cmocka_unit_test(a_plain_client_is_told_nothing),
      cmocka_unit_test(messages_go_in_answers_to_connects),
      cmocka_unit_test(a_connect_beside_a_slow_publish_is_heard_at_once),
      cmocka_unit_test(a_poll_brings_the_number),
      cmocka_unit_test(a_backlog_comes_in_answers),
      cmocka_unit_test(only_the_number_is_evidence),
      cmocka_unit_test(what_tcp_says_of_a_poll_does_not_count),
      cmocka_unit_test(a_connection_that_ends_leaves_it_to_the_number),
      cmocka_unit_test(the_echo_of_a_close_does_not_count),
      cmocka_unit_test(a_number_that_comes_late),
      cmocka_unit_test(a_connect_without_a_number_falls_back),
      cmocka_unit_test(an_old_number_moves_nothing_back),
      cmocka_unit_test(a_number_in_between_and_a_fraction),
      cmocka_unit_test(a_number_that_no_answer_had),
      cmocka_unit_test(the_number_wins_over_a_record_that_is_old),
      cmocka_unit_test(the_number_wins_over_a_backfill_in_the_record),
      cmocka_unit_test(a_record_with_an_open_answer),
      cmocka_unit_test(the_number_does_not_speak_for_later_subscriptions),
      cmocka_unit_test(the_number_leaves_room_for_what_is_being_read_back),
      cmocka_unit_test(the_number_leaves_room_for_what_was_read_back_and_waits),
      cmocka_unit_test(what_waited_and_was_given_up_leaves_no_connect_behind),
      cmocka_unit_test(a_superseded_connect_tells_the_number),
      cmocka_unit_test(a_hold_that_is_over_tells_the_number),
      cmocka_unit_test(every_message_once),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
