// SPDX-License-Identifier: Apache-2.0
// What is known to have arrived: by which evidence `conf` moves, what is sent again for want of it, in
// which order. Every step of the world asserts conf <= sent <= head and that no conf falls.
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

// A session that has subscribed to /a.
static void begin(struct world *w, char id[32]) {
  world_init(w, NULL);
  world_handshake(w, id);
  world_subscribe(w, id, "/a");
}

static void publish(struct world *w, unsigned first, unsigned last) {
  for (unsigned i = first; i <= last; i++) world_publish(w, "/a", i);
}

// A poll that is answered, with its exchange still open.
static void poll_now(struct wire *x, struct world *w, const char *id, const char *message_id, const char *expected) {
  assert_true(poll_send(x, w,
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'%s',"
                        "'advice':{'timeout':0}}",
                        id, message_id));
  world_turn(w);
  assert_true(x->answered);
  assert_string_equal(numbers(wire_take(x)), expected);
}

static bx_position conf_of(struct world *w, const char *id) { return bx_session_conf(w->server, world_session(w, id)); }

// -- polls -----------------------------------------------------------------------------------------

static void another_id_confirms(void **state) {
  static const enum bx_arrival arrivals[] = {BX_ARRIVAL_YES, BX_ARRIVAL_PENDING};
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  for (unsigned i = 0; i < 2; i++) {
    begin(&w, id);
    publish(&w, 1, 2);
    poll_now(&first, &w, id, "1", "1 2");
    assert_int_equal(conf_of(&w, id), w.base);
    first.arrival = arrivals[i];
    poll_now(&second, &w, id, "2", "");
    assert_int_equal(conf_of(&w, id), w.base + 2);
    poll_end(&first, BX_ARRIVAL_LOST);   // late news of an answer that was confirmed
    assert_int_equal(conf_of(&w, id), w.base + 2);
    poll_end(&second, BX_ARRIVAL_YES);
    assert_int_equal(w.server->counters.resent, 0);
    world_fini(&w);
  }
}

static void another_id_is_no_evidence_against_tcp(void **state) {
  static const enum bx_arrival arrivals[] = {BX_ARRIVAL_LOST, BX_ARRIVAL_RESET};
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  for (unsigned i = 0; i < 4; i++) {
    begin(&w, id);
    publish(&w, 1, 2);
    poll_now(&first, &w, id, "1", "1 2");
    first.arrival = arrivals[i % 2];
    if (i < 2) poll_end(&first, arrivals[i]);   // it has ended already, or is looked at
    poll_now(&second, &w, id, "2", "1 2");
    assert_int_equal(w.server->counters.resent, 2);
    assert_int_equal(w.server->counters.fallbacks, 1);
    if (i >= 2) poll_end(&first, arrivals[i % 2]);
    poll_end(&second, BX_ARRIVAL_YES);
    world_fini(&w);
  }
}

// A peer that resets whatever it has read gets each message, and the first twice.
static void of_resets_in_a_row_the_first_counts(void **state) {
  static const char *const expected[] = {"1", "1 2", "3", "4", "5"};
  struct wire wires[7];
  struct world w;
  char id[32], n[4];

  (void)state;
  begin(&w, id);
  for (unsigned i = 0; i < 5; i++) {
    publish(&w, i + 1, i + 1);
    snprintf(n, sizeof n, "%u", i);
    poll_now(&wires[i], &w, id, n, expected[i]);
    poll_end(&wires[i], BX_ARRIVAL_RESET);
  }
  poll_now(&wires[5], &w, id, "5", "");
  poll_end(&wires[5], BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.resent, 1);
  // One that got through in between: the next reset is a first one.
  publish(&w, 6, 6);
  poll_now(&wires[5], &w, id, "6", "6");
  poll_end(&wires[5], BX_ARRIVAL_YES);
  publish(&w, 7, 7);
  poll_now(&wires[5], &w, id, "7", "7");
  poll_end(&wires[5], BX_ARRIVAL_RESET);
  poll_now(&wires[6], &w, id, "8", "7");
  poll_end(&wires[6], BX_ARRIVAL_RESET);
  poll_now(&wires[5], &w, id, "8", "7");   // the id itself says that it did not arrive
  poll_end(&wires[5], BX_ARRIVAL_RESET);
  poll_now(&wires[6], &w, id, "9", "");
  poll_end(&wires[6], BX_ARRIVAL_YES);
  world_fini(&w);
}

static void the_same_id_of_one_whose_ids_vary_resends(void **state) {
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  poll_now(&first, &w, id, "1", "");
  poll_end(&first, BX_ARRIVAL_YES);
  publish(&w, 1, 2);
  poll_now(&first, &w, id, "2", "1 2");
  first.arrival = BX_ARRIVAL_YES;   // a proxy has it
  poll_now(&second, &w, id, "2", "1 2");
  poll_end(&first, BX_ARRIVAL_YES);
  poll_end(&second, BX_ARRIVAL_YES);
  publish(&w, 3, 3);
  poll_now(&first, &w, id, "2", "1 2 3");   // and again
  poll_end(&first, BX_ARRIVAL_YES);
  poll_now(&first, &w, id, "3", "");
  poll_end(&first, BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.resent, 4);
  world_fini(&w);
}

static void a_constant_id_asks_tcp(void **state) {
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 1);
  poll_now(&first, &w, id, "c", "1");
  first.arrival = BX_ARRIVAL_YES;
  publish(&w, 2, 2);
  poll_now(&second, &w, id, "c", "2");
  poll_end(&first, BX_ARRIVAL_YES);
  poll_end(&second, BX_ARRIVAL_RESET);
  publish(&w, 3, 3);
  poll_now(&first, &w, id, "c", "2 3");
  poll_end(&first, BX_ARRIVAL_LOST);
  poll_now(&first, &w, id, "c", "2 3");
  poll_end(&first, BX_ARRIVAL_YES);
  poll_now(&first, &w, id, "c", "");
  poll_end(&first, BX_ARRIVAL_YES);
  // No id at all is a constant one.
  publish(&w, 4, 4);
  poll_now(&first, &w, id, "c", "4");
  poll_end(&first, BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.resent, 3);
  assert_false(world_session(&w, id)->ids_vary);
  world_fini(&w);
}

// Sends a connect that finds the answer before it neither acknowledged nor lost.
static void wait_for_tcp(struct wire *x, struct world *w, const char *id, const char *message_id, unsigned hold) {
  assert_true(poll_send(x, w,
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'%s',"
                        "'advice':{'timeout':%u}}",
                        id, message_id, hold));
  world_turn(w);
  assert_false(x->answered);
}

static void a_connect_waits_for_tcp(void **state) {
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  for (unsigned hold = 0; hold <= 20; hold += 20) {
    begin(&w, id);
    publish(&w, 1, 1);
    poll_now(&first, &w, id, "c", "1");
    wait_for_tcp(&second, &w, id, "c", hold);
    publish(&w, 2, 2);   // is not sent ahead of what may have to be sent again
    world_pass(&w, 200);
    assert_false(second.answered);
    first.arrival = BX_ARRIVAL_YES;
    world_pass(&w, 10);
    assert_string_equal(numbers(wire_take(&second)), "2");
    poll_end(&first, BX_ARRIVAL_YES);
    poll_end(&second, BX_ARRIVAL_YES);
    assert_int_equal(w.server->counters.resent, 0);
    world_fini(&w);
  }
}

static void a_connect_does_not_wait_long_for_tcp(void **state) {
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 1);
  poll_now(&first, &w, id, "c", "1");
  wait_for_tcp(&second, &w, id, "c", 0);
  world_pass(&w, 1000);
  assert_string_equal(numbers(wire_take(&second)), "1");
  poll_end(&first, BX_ARRIVAL_YES);
  poll_end(&second, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void the_end_of_the_exchange_ends_the_wait(void **state) {
  static const struct {
    enum bx_arrival how;
    const char *expected;
  } rows[] = {{BX_ARRIVAL_YES, "2"}, {BX_ARRIVAL_LOST, "1 2"}, {BX_ARRIVAL_RESET, "1 2"}};
  struct wire first, second;
  struct world w;
  char id[32];

  (void)state;
  for (unsigned i = 0; i < 6; i++) {
    begin(&w, id);
    publish(&w, 1, 1);
    poll_now(&first, &w, id, "c", "1");
    if (i < 3) {
      wait_for_tcp(&second, &w, id, "c", 0);
    } else {   // in the turn of the connect, before it was looked at for the first time
      assert_true(poll_send(&second, &w,
                            "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'c',"
                            "'advice':{'timeout':0}}",
                            id));
    }
    publish(&w, 2, 2);
    poll_end(&first, rows[i % 3].how);
    world_turn(&w);
    assert_string_equal(numbers(wire_take(&second)), rows[i % 3].expected);
    poll_end(&second, BX_ARRIVAL_YES);
    world_fini(&w);
  }
}

// The wait began long after the last turn: its first look is due in the turn that follows.
static void a_wait_that_is_over_in_its_first_turn(void **state) {
  struct wire first, second, neighbour;
  struct world w;
  char id[32], other[32];

  (void)state;
  begin(&w, id);
  world_handshake(&w, other);
  publish(&w, 1, 1);
  poll_now(&first, &w, id, "c", "1");
  assert_true(poll_send(&second, &w,
                        "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'c',"
                        "'advice':{'timeout':0}}",
                        id));
  wire_open(&neighbour, &w);
  assert_true(wire_send(
      &neighbour, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','advice':{'timeout':0}}",
      other));
  first.arrival = BX_ARRIVAL_YES;
  w.now += 10;
  world_turn(&w);
  assert_true(second.answered);
  assert_int_equal(wire_count(&neighbour, "'successful':true"), 1);   // on the list of those that are due, too
  assert_string_equal(numbers(wire_take(&second)), "");
  poll_end(&first, BX_ARRIVAL_YES);
  poll_end(&second, BX_ARRIVAL_YES);
  wire_close(&neighbour);
  world_fini(&w);
}

static void a_connect_that_waits_for_tcp_goes_away(void **state) {
  struct wire first, second, third;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 1);
  poll_now(&first, &w, id, "c", "1");
  wait_for_tcp(&second, &w, id, "c", 0);
  poll_abort(&second);
  world_pass(&w, 1000);
  wait_for_tcp(&second, &w, id, "c", 5000);
  wait_for_tcp(&third, &w, id, "c", 0);   // takes its place
  assert_true(second.answered);
  poll_end(&second, BX_ARRIVAL_YES);
  poll_end(&first, BX_ARRIVAL_LOST);
  world_turn(&w);
  assert_string_equal(numbers(wire_take(&third)), "1");
  poll_end(&third, BX_ARRIVAL_YES);
  // One whose session ends meanwhile.
  publish(&w, 2, 2);
  poll_now(&first, &w, id, "c", "2");
  wait_for_tcp(&second, &w, id, "c", 0);
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  assert_true(second.answered);
  poll_end(&second, BX_ARRIVAL_YES);
  poll_end(&first, BX_ARRIVAL_LOST);
  world_fini(&w);
}

// The connect was repeated before another id came: the other id speaks for the repeat only.
static void another_id_behind_a_repeat(void **state) {
  struct wire first, second, third;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 1);
  poll_now(&first, &w, id, "1", "1");
  wait_for_tcp(&second, &w, id, "1", 0);
  poll_now(&third, &w, id, "2", "1");
  poll_end(&second, BX_ARRIVAL_YES);
  poll_end(&first, BX_ARRIVAL_LOST);
  poll_end(&third, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void a_lost_answer_is_known_at_once(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 3);
  poll_now(&x, &w, id, "1", "1 2 3");
  assert_int_equal(bx_session_sent(w.server, world_session(&w, id)), w.base + 3);
  poll_end(&x, BX_ARRIVAL_LOST);
  assert_int_equal(bx_session_sent(w.server, world_session(&w, id)), w.base);
  assert_int_equal(w.server->counters.fallbacks, 1);
  poll_now(&x, &w, id, "2", "1 2 3");
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void a_poll_that_is_gone_keeps_its_messages(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  poll_connect(&x, &w, id, "1");
  assert_false(x.answered);
  poll_abort(&x);
  publish(&w, 1, 1);
  poll_connect(&x, &w, id, "1");
  assert_true(x.answered);
  poll_end(&x, BX_ARRIVAL_YES);
  // Gone in the moment in which it would have been answered.
  poll_connect(&x, &w, id, "2");
  world_session(&w, id)->connection->woken = true;   // the transport has not come to it yet
  publish(&w, 2, 2);
  assert_false(x.answered);
  poll_abort(&x);
  poll_now(&x, &w, id, "3", "2");
  poll_end(&x, BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.resent, 0);
  world_fini(&w);
}

static void a_poll_takes_more_than_an_outbox(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 200);
  poll_connect(&x, &w, id, "1");
  assert_int_equal(wire_count(&x, "'data'"), 200);
  poll_end(&x, BX_ARRIVAL_LOST);
  poll_connect(&x, &w, id, "2");
  assert_int_equal(wire_count(&x, "'data'"), 200);
  assert_int_equal(w.server->counters.resent, 200);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

// -- streams ---------------------------------------------------------------------------------------

static void a_pong_confirms_what_was_handed_over_before_its_ping(void **state) {
  bx_position ping;
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  assert_int_equal(wire_ping(&x), 0);   // nothing to ask for
  publish(&w, 1, 2);
  assert_int_equal(conf_of(&w, id), w.base);
  ping = wire_ping(&x);
  assert_int_equal(ping, w.base + 2);
  publish(&w, 3, 4);
  wire_pong(&x, ping - 1);
  wire_pong(&x, ping + 1);
  wire_pong(&x, 0);
  assert_int_equal(conf_of(&w, id), w.base);
  wire_pong(&x, ping);
  assert_int_equal(conf_of(&w, id), w.base + 2);
  wire_close(&x);
  stream_connect(&x, &w, id, "2");
  assert_string_equal(numbers(wire_take(&x)), "3 4");
  assert_int_equal(w.server->counters.resent, 2);
  // All of it.
  ping = wire_ping(&x);
  wire_pong(&x, ping);
  assert_int_equal(conf_of(&w, id), w.base + 4);
  assert_int_equal(wire_ping(&x), 0);
  wire_close(&x);
  assert_int_equal(w.server->counters.fallbacks, 1);
  stream_connect(&x, &w, id, "3");
  assert_string_equal(numbers(wire_take(&x)), "");
  wire_close(&x);
  world_fini(&w);
}

// What waits for the socket was not handed over: a ping says nothing about it.
static void a_pong_says_nothing_about_the_outbox(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  publish(&w, 1, 2);
  wire_take(&x);
  x.stuck = true;
  publish(&w, 3, 4);
  wire_pong(&x, wire_ping(&x));
  assert_int_equal(conf_of(&w, id), w.base + 2);
  wire_close(&x);
  stream_connect(&x, &w, id, "2");
  assert_string_equal(numbers(wire_take(&x)), "3 4");
  assert_int_equal(w.server->counters.resent, 0);
  wire_close(&x);
  world_fini(&w);
}

static void a_pong_of_another_connection_is_no_evidence(void **state) {
  struct wire x, y;
  bx_position ping;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  publish(&w, 1, 2);
  ping = wire_ping(&x);
  wire_close(&x);
  w.server->outboxes.max_bytes = 30;   // one message at a time
  wire_open(&y, &w);
  y.stuck = true;
  assert_true(wire_send(&y, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'2'}", id));
  world_turn(&w);
  struct bx_gathered g;
  struct bx_buffer out = {0};
  assert_true(bx_connection_gather(&y.c, &out, &g));   // only the first
  assert_non_null(g.frame);
  bx_frame_unref(g.frame);
  wire_pong(&y, ping);   // of a ping that this connection never saw
  assert_int_equal(conf_of(&w, id), w.base);
  wire_close(&y);
  stream_connect(&x, &w, id, "3");
  assert_string_equal(numbers(wire_take(&x)), "1 2");
  wire_close(&x);
  world_fini(&w);
}

// What is handed over to the first of `count` streams that all get the same three messages in one write: how it counts.
static void hand_over_three(unsigned count, uint64_t seen[7]) {
  struct wire x[10];
  char id[10][32];
  struct world w;
  const struct bx_session *s;

  begin(&w, id[0]);
  for (unsigned i = 1; i < count; i++) {
    world_handshake(&w, id[i]);
    world_subscribe(&w, id[i], "/a");
  }
  for (unsigned i = 0; i < count; i++) {
    stream_connect(&x[i], &w, id[i], "1");
    x[i].stuck = true;
  }
  publish(&w, 1, 3);
  for (unsigned i = 0; i < count; i++) {
    struct bx_buffer out = {0};
    struct bx_gathered g;

    assert_true(bx_connection_gather(&x[i].c, &out, &g));
    assert_int_equal(g.frame != NULL, count > 1);   // put together for all of them
    if (g.frame != NULL) bx_buffer_add(&out, bx_frame_array(g.frame), bx_frame_array_len(g.frame));
    bx_buffer_char(&out, '\0');
    assert_non_null(strstr(out.at, "\"data\":1}"));
    assert_non_null(strstr(strstr(out.at, "\"data\":1}"), "},{"));
    assert_non_null(strstr(strstr(out.at, "\"data\":2}"), "\"data\":3}]"));
    bx_frame_unref(g.frame);
    bx_buffer_fini(&out);
    assert_false(bx_connection_gather(&x[i].c, &out, &g));
    bx_buffer_fini(&out);
  }
  s = world_session(&w, id[0]);
  seen[0] = s->pending;
  seen[1] = s->handed;
  seen[2] = s->sequence;
  seen[3] = s->written - w.base;
  seen[4] = s->conf - w.base;
  seen[5] = w.server->counters.delivered / count;
  for (unsigned i = 0; i < count; i++) wire_close(&x[i]);
  seen[6] = w.server->counters.resent / count;
  stream_connect(&x[0], &w, id[0], "2");
  assert_string_equal(numbers(wire_take(&x[0])), "1 2 3");
  wire_close(&x[0]);
  world_fini(&w);
}

static void what_many_get_at_once_counts_as_one_by_one(void **state) {
  uint64_t alone[7], together[7];

  (void)state;
  hand_over_three(1, alone);
  hand_over_three(10, together);
  assert_memory_equal(alone, together, sizeof alone);
  assert_int_equal(alone[1], 3);
  assert_int_equal(alone[3], 3);
}

static void the_echo_of_our_close_confirms(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  publish(&w, 1, 3);
  wire_echo(&x);
  assert_int_equal(conf_of(&w, id), w.base + 3);
  stream_connect(&x, &w, id, "2");
  assert_string_equal(numbers(wire_take(&x)), "");
  assert_int_equal(w.server->counters.fallbacks, 0);
  // Not what had not been handed over.
  x.stuck = true;
  publish(&w, 4, 4);
  wire_echo(&x);
  stream_connect(&x, &w, id, "3");
  assert_string_equal(numbers(wire_take(&x)), "4");
  wire_close(&x);
  world_fini(&w);
}

static void what_a_broken_stream_carried_comes_again_in_order(void **state) {
  struct wire x;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  publish(&w, 1, 2);
  wire_close(&x);
  publish(&w, 3, 4);
  stream_connect(&x, &w, id, "2");
  publish(&w, 5, 5);
  assert_string_equal(numbers(wire_take(&x)), "1 2 3 4 5");
  assert_int_equal(w.server->counters.resent, 2);
  assert_int_equal(w.server->counters.fallbacks, 1);
  wire_close(&x);
  stream_connect(&x, &w, id, "3");
  assert_string_equal(numbers(wire_take(&x)), "1 2 3 4 5");
  assert_int_equal(w.server->counters.resent, 7);
  wire_close(&x);
  world_fini(&w);
}

// How the stream that is taken over ends, and what the new one gets of the messages that it carried.
static void take_over(void (*end)(struct wire *), bx_millis wait, const char *again, bx_position confirmed) {
  struct wire old, new;
  struct world w;
  char id[32];

  begin(&w, id);
  stream_connect(&old, &w, id, "1");
  publish(&w, 1, 2);
  bx_position ping = wire_ping(&old);
  stream_connect(&new, &w, id, "2");
  assert_true(old.close_asked);
  publish(&w, 3, 3);
  assert_string_equal(numbers(wire_take(&new)), "");   // where to read from is not known yet
  wire_pong(&old, ping);                               // comes too late: it is closed
  wire_take(&old);
  world_pass(&w, wait);
  if (end != NULL) end(&old);
  world_turn(&w);
  assert_string_equal(numbers(wire_take(&new)), again);
  assert_int_equal(conf_of(&w, id), w.base + confirmed);
  publish(&w, 4, 4);
  assert_string_equal(numbers(wire_take(&new)), "4");
  if (end == NULL) wire_echo(&old);   // nobody waits for it any more
  assert_int_equal(conf_of(&w, id), w.base + confirmed);
  wire_close(&new);
  world_fini(&w);
}

static void a_stream_that_is_taken_over(void **state) {
  (void)state;
  take_over(wire_echo, 50, "3", 2);        // it was there: nothing comes twice
  take_over(wire_close, 50, "1 2 3", 0);   // it was not
  take_over(NULL, 1000, "1 2 3", 0);       // nobody knows, and the new one has waited long enough
}

static void from_a_poll_to_a_stream_and_back(void **state) {
  struct wire poll, stream;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  publish(&w, 1, 1);
  poll_now(&poll, &w, id, "1", "1");
  stream_connect(&stream, &w, id, "2");
  assert_string_equal(numbers(wire_take(&stream)), "");
  poll_end(&poll, BX_ARRIVAL_YES);
  publish(&w, 2, 2);
  assert_true(
      poll_send(&poll, &w, "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'3'}", id));
  world_turn(&w);
  assert_true(stream.close_asked);
  assert_false(poll.answered);
  wire_close(&stream);   // the stream gave no evidence of it
  world_turn(&w);
  assert_string_equal(numbers(wire_take(&poll)), "2");
  poll_end(&poll, BX_ARRIVAL_YES);
  stream_connect(&stream, &w, id, "4");
  assert_string_equal(numbers(wire_take(&stream)), "");
  wire_close(&stream);
  world_fini(&w);
}

// -- subscriptions that are behind the session -------------------------------------------------------

// A subscription to /new that is asked for now and recorded at behind_end(): what is published between
// belongs to it.
static void behind_begin(struct wire *ask, struct world *w, const char *id, const char *pattern) {
  w->hold = 1u << BX_REQUEST_SUBSCRIBE;
  assert_true(poll_send(ask, w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'%s'}", id, pattern));
  world_turn(w);
}

static void behind_end(struct wire *ask, struct world *w) {
  w->hold = 0;
  world_turn(w);
  assert_int_equal(wire_count(ask, "'successful':true"), 1);
  poll_end(ask, BX_ARRIVAL_YES);
}

static void a_pong_in_the_middle_of_a_backfill(void **state) {
  struct bx_buffer out = {0};
  struct bx_gathered g;
  struct wire x, ask;
  struct world w;
  char id[32], expected[1024] = "";

  (void)state;
  begin(&w, id);
  stream_connect(&x, &w, id, "1");
  behind_begin(&ask, &w, id, "/new");
  for (unsigned i = 0; i < 200; i++) world_publish(&w, "/new", i);
  x.stuck = true;
  behind_end(&ask, &w);
  while (world_session(&w, id)->outbox.count > 0)   // one outbox goes; the reader has not had its next slice
    assert_true(bx_connection_gather(&x.c, &out, &g) && g.frame == NULL);
  bx_buffer_fini(&out);
  wire_pong(&x, wire_ping(&x));
  wire_close(&x);
  stream_connect(&x, &w, id, "2");
  for (unsigned i = BX_OUTBOX_FRAMES; i < 200; i++) {
    size_t len = strlen(expected);
    snprintf(expected + len, sizeof expected - len, "%s%u", len > 0 ? " " : "", i);
  }
  assert_string_equal(numbers(wire_take(&x)), expected);
  wire_close(&x);
  world_fini(&w);
}

// Between two pings of one position older entries were handed over: the pong of the first says nothing
// about them.
static void pings_of_one_position(void **state) {
  struct wire x, ask;
  bx_position ping;
  struct world w;
  char id[32];

  (void)state;
  for (unsigned asks_again = 0; asks_again < 2; asks_again++) {
    begin(&w, id);
    stream_connect(&x, &w, id, "1");
    behind_begin(&ask, &w, id, "/new");
    for (unsigned i = 1; i <= 3; i++) world_publish(&w, "/new", i);
    publish(&w, 4, 4);
    assert_string_equal(numbers(wire_take(&x)), "4");
    ping = wire_ping(&x);
    behind_end(&ask, &w);
    assert_string_equal(numbers(wire_take(&x)), "1 2 3");
    assert_int_equal(wire_ping(&x), ping);
    wire_pong(&x, ping);
    wire_pong(&x, ping);   // they cannot be told apart
    assert_true(world_session(&w, id)->pending);
    if (asks_again) {
      wire_pong(&x, wire_ping(&x));   // one that was sent behind all of it
      assert_false(world_session(&w, id)->pending);
    }
    wire_close(&x);
    stream_connect(&x, &w, id, "2");
    assert_string_equal(numbers(wire_take(&x)), asks_again ? "" : "1 2 3");
    wire_close(&x);
    world_fini(&w);
  }
}

static void a_backfill_leaves_out_what_another_pattern_brought(void **state) {
  struct wire x, ask;
  struct world w;
  char id[32];

  (void)state;
  begin(&w, id);
  world_subscribe(&w, id, "/new/*");
  stream_connect(&x, &w, id, "1");
  behind_begin(&ask, &w, id, "/new/**");
  world_publish(&w, "/new/a", 1);
  world_publish(&w, "/new/a/b", 2);
  world_publish(&w, "/new/a", 3);
  assert_string_equal(numbers(wire_take(&x)), "1 3");
  behind_end(&ask, &w);
  assert_string_equal(numbers(wire_take(&x)), "2");
  wire_close(&x);
  stream_connect(&x, &w, id, "2");
  assert_string_equal(numbers(wire_take(&x)), "1 2 3");
  wire_pong(&x, wire_ping(&x));
  wire_close(&x);
  stream_connect(&x, &w, id, "3");
  assert_string_equal(numbers(wire_take(&x)), "");
  wire_close(&x);
  world_fini(&w);
}

// Entries that a subscription should have had left the journal before it was recorded: said, not passed over.
static void a_subscription_that_is_behind_the_journal(void **state) {
  struct bx_server_options options = world_options();
  struct wire x, ask;
  struct world w;
  char id[32];

  (void)state;
  options.journal.messages = 3;
  for (unsigned late = 0; late < 3; late++) {
    world_init(&w, &options);
    world_handshake(&w, id);
    stream_connect(&x, &w, id, "1");
    behind_begin(&ask, &w, id, "/new");
    world_publish(&w, "/new", 1);
    for (unsigned i = 0; i < 2 + late; i++) world_publish(&w, "/other", i);
    if (late == 2) world_publish(&w, "/new", 2);   // the topic is a new one
    behind_end(&ask, &w);
    assert_string_equal(numbers(wire_take(&x)), late == 0 ? "1" : "");
    assert_int_equal(w.server->counters.lost_sessions, late > 0);
    assert_int_equal(x.close_asked, late > 0);
    wire_close(&x);
    world_fini(&w);
  }
}

// The stream before it died unnoticed, and was superseded: what that carried is still asked about when this one is
// closed in order.
static void an_echo_speaks_for_its_own_stream(void **state) {
  struct world w;
  struct wire dead, second, third;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/c");
  stream_connect(&dead, &w, id, "1");
  world_publish(&w, "/c", 7);
  assert_int_equal(wire_count(&dead, "'data':7"), 1);
  stream_connect(&second, &w, id, "2");
  assert_true(world_session(&w, id)->weigh.armed);
  wire_echo(&second);
  wire_close(&dead);
  stream_connect(&third, &w, id, "3");
  assert_int_equal(wire_count(&third, "'data':7"), 1);
  wire_close(&third);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(another_id_confirms),
      cmocka_unit_test(another_id_is_no_evidence_against_tcp),
      cmocka_unit_test(of_resets_in_a_row_the_first_counts),
      cmocka_unit_test(the_same_id_of_one_whose_ids_vary_resends),
      cmocka_unit_test(a_constant_id_asks_tcp),
      cmocka_unit_test(a_connect_waits_for_tcp),
      cmocka_unit_test(a_connect_does_not_wait_long_for_tcp),
      cmocka_unit_test(the_end_of_the_exchange_ends_the_wait),
      cmocka_unit_test(a_wait_that_is_over_in_its_first_turn),
      cmocka_unit_test(a_connect_that_waits_for_tcp_goes_away),
      cmocka_unit_test(another_id_behind_a_repeat),
      cmocka_unit_test(a_lost_answer_is_known_at_once),
      cmocka_unit_test(a_poll_that_is_gone_keeps_its_messages),
      cmocka_unit_test(a_poll_takes_more_than_an_outbox),
      cmocka_unit_test(a_pong_confirms_what_was_handed_over_before_its_ping),
      cmocka_unit_test(a_pong_says_nothing_about_the_outbox),
      cmocka_unit_test(a_pong_of_another_connection_is_no_evidence),
      cmocka_unit_test(the_echo_of_our_close_confirms),
      cmocka_unit_test(what_a_broken_stream_carried_comes_again_in_order),
      cmocka_unit_test(a_stream_that_is_taken_over),
      cmocka_unit_test(from_a_poll_to_a_stream_and_back),
      cmocka_unit_test(a_pong_in_the_middle_of_a_backfill),
      cmocka_unit_test(pings_of_one_position),
      cmocka_unit_test(what_many_get_at_once_counts_as_one_by_one),
      cmocka_unit_test(a_backfill_leaves_out_what_another_pattern_brought),
      cmocka_unit_test(a_subscription_that_is_behind_the_journal),
      cmocka_unit_test(an_echo_speaks_for_its_own_stream),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
