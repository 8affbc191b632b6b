// SPDX-License-Identifier: Apache-2.0
// Reading forward, held against a model: sessions subscribe, lag, lose connections, unsubscribe and
// come back in random order; each must get exactly the entries of the intervals it was subscribed
// in, once, in order. And its cost: matches, never the length of the gap.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bayeux/reader.h"
#include "tests/unit/support/world.h"

// -- the model -------------------------------------------------------------------------------------

#define PATTERNS 7
#define CHANNELS 5
#define PUBLISHES 4000

static const char *const patterns[PATTERNS] = {"/a", "/a/b", "/a/*", "/a/**", "/*", "/**", "/c/d/e"};
static const char *const channels[CHANNELS] = {"/a", "/a/b", "/a/b/c", "/c/d/e", "/service/x"};

enum fate { NOT_FOR_IT, DUE, UNCONFIRMED, DONE };

struct client {
  char id[32];
  bx_position start[PATTERNS];   // 0: not subscribed
  unsigned char fate[PUBLISHES];
  struct wire wire;
  bool connected;
};

struct model {
  struct world w;
  struct client clients[4];
  bx_position at[PUBLISHES];
  unsigned channel[PUBLISHES];
  unsigned published;
};

static unsigned roll(struct model *m, unsigned sides) {
  uint32_t r;
  m->w.server->env.random(&m->w, &r, sizeof r);
  return r % sides;
}

// /service channels reach no pattern.
static bool matches(const struct client *k, const struct model *m, unsigned n) {
  if (bx_channel_is_service(bx_slice_of(channels[m->channel[n]]))) return false;
  for (unsigned p = 0; p < PATTERNS; p++)
    if (k->start[p] != 0 && k->start[p] < m->at[n] &&
        bx_channel_matches(bx_slice_of(patterns[p]), bx_slice_of(channels[m->channel[n]])))
      return true;
  return false;
}

static void model_publish(struct model *m, bx_position at, unsigned channel) {
  unsigned n = m->published++;

  m->at[n] = at;
  m->channel[n] = channel;
  for (unsigned i = 0; i < 4; i++) m->clients[i].fate[n] = matches(&m->clients[i], m, n) ? DUE : NOT_FOR_IT;
}

static void publish(struct model *m) {
  unsigned channel = roll(m, CHANNELS);

  if (m->published == PUBLISHES) return;
  model_publish(m, world_publish(&m->w, channels[channel], m->published), channel);
}

// What arrived must be what was due, all of it, in order.
static void check_arrivals(struct model *m, struct client *k) {
  const char *at = wire_take(&k->wire);
  unsigned n = 0, got;

  while ((at = strstr(at, "'data':")) != NULL) {
    got = (unsigned)strtoul(at + 7, NULL, 10);
    at += 7;
    while (n < m->published && k->fate[n] != DUE) n++;
    assert_int_equal(got, n);
    k->fate[n] = UNCONFIRMED;
  }
  while (n < m->published && k->fate[n] != DUE) n++;
  assert_int_equal(n, m->published);
}

static void check_all(struct model *m) {
  for (unsigned i = 0; i < 4; i++)
    if (m->clients[i].connected && !m->clients[i].wire.stuck) check_arrivals(m, &m->clients[i]);
}

static void settle(struct model *m, struct client *k, bool arrived) {
  for (unsigned n = 0; n < m->published; n++)
    if (k->fate[n] == UNCONFIRMED) k->fate[n] = arrived ? DONE : matches(k, m, n) ? DUE : NOT_FOR_IT;
}

static void connect_stream(struct model *m, struct client *k) {
  if (k->connected) return;
  wire_open(&k->wire, &m->w);
  k->connected = true;
  assert_true(wire_send(&k->wire, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'%u'}",
                        k->id, roll(m, 1000000)));
  world_turn(&m->w);
  check_arrivals(m, k);
}

static void cut_stream(struct model *m, struct client *k) {
  bool arrived = roll(m, 2) == 0;

  if (!k->connected) return;
  k->wire.stuck = false;
  world_turn(&m->w);
  check_arrivals(m, k);
  if (arrived)
    wire_echo(&k->wire);
  else
    wire_close(&k->wire);
  k->connected = false;
  settle(m, k, arrived);
}

static void poll(struct model *m, struct client *k) {
  bool arrived = roll(m, 2) == 0;
  struct wire keep = k->wire;

  if (k->connected) return;
  assert_true(poll_send(
      &k->wire, &m->w,
      "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','advice':{'timeout':0},'id':'%u'}",
      k->id, roll(m, 1000000)));
  world_turn(&m->w);
  assert_true(k->wire.answered);
  // One answer carries one outbox at most; what is left stays due.
  const char *at = wire_take(&k->wire);
  for (unsigned n = 0; (at = strstr(at, "'data':")) != NULL; at += 7) {
    while (n < m->published && k->fate[n] != DUE) n++;
    assert_int_equal(strtoul(at + 7, NULL, 10), n);
    k->fate[n] = UNCONFIRMED;
  }
  poll_end(&k->wire, arrived ? BX_ARRIVAL_YES : BX_ARRIVAL_LOST);
  k->wire = keep;
  settle(m, k, arrived);
}

static void subscribe(struct model *m, struct client *k, unsigned p) {
  bx_position head = bx_journal_head(&m->w.server->journal);

  world_subscribe(&m->w, k->id, patterns[p]);
  if (k->start[p] == 0) k->start[p] = head;
  if (k->connected && !k->wire.stuck) check_arrivals(m, k);
}

struct noted {
  struct bx_outside_publish o;
  bx_position position;
};

static void note_position(struct bx_outside_publish *o, enum bx_outcome outcome, bx_position position) {
  assert_int_equal(outcome, BX_ACKNOWLEDGED);
  bx_container_of(o, struct noted, o)->position = position;
}

// The publish is on its way when the subscription is asked for: it is behind its start.
static void publish_then_subscribe(struct model *m, struct client *k, unsigned p) {
  unsigned channel = roll(m, CHANNELS - 1);
  bx_position head = bx_journal_head(&m->w.server->journal);
  struct noted noted = {.o = {.done = note_position}};
  struct wire x;
  char data[16];

  if (m->published == PUBLISHES) return;
  snprintf(data, sizeof data, "%u", m->published);
  assert_null(bx_server_publish(m->w.server, &noted.o, bx_slice_of(channels[channel]), bx_slice_of(data),
                                (struct bx_slice){0}));
  assert_true(
      poll_send(&x, &m->w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'%s'}", k->id, patterns[p]));
  world_turn(&m->w);
  poll_end(&x, BX_ARRIVAL_YES);
  if (k->start[p] == 0) k->start[p] = head;
  model_publish(m, noted.position, channel);
}

// The record takes its time: what is published meanwhile belongs to the subscription, and comes late
// unless another one brought it.
static void subscribe_slowly(struct model *m, struct client *k, unsigned p) {
  bx_position head = bx_journal_head(&m->w.server->journal);
  struct wire x;

  m->w.hold = 1u << BX_REQUEST_SUBSCRIBE;
  assert_true(
      poll_send(&x, &m->w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'%s'}", k->id, patterns[p]));
  for (unsigned i = roll(m, 100); i > 0; i--) {
    publish(m);
    check_all(m);
  }
  m->w.hold = 0;
  world_turn(&m->w);
  poll_end(&x, BX_ARRIVAL_YES);
  if (k->start[p] == 0) k->start[p] = head;
  for (unsigned n = 0; n < m->published; n++)
    if (k->fate[n] == NOT_FOR_IT && m->at[n] > head && matches(k, m, n)) k->fate[n] = DUE;
}

static void unsubscribe(struct model *m, struct client *k, unsigned p) {
  world_unsubscribe(&m->w, k->id, patterns[p]);
  k->start[p] = 0;
  for (unsigned n = 0; n < m->published; n++)
    if (k->fate[n] == DUE && !matches(k, m, n)) k->fate[n] = NOT_FOR_IT;
}

static void step(struct model *m) {
  struct client *k = &m->clients[roll(m, 4)];

  switch (roll(m, 13)) {
  case 0: subscribe(m, k, roll(m, PATTERNS)); break;
  case 1: unsubscribe(m, k, roll(m, PATTERNS)); break;
  case 2: connect_stream(m, k); break;
  case 3: cut_stream(m, k); break;
  case 4: poll(m, k); break;
  case 5:
    if (k->connected) k->wire.stuck = !k->wire.stuck;
    break;
  case 6: publish_then_subscribe(m, k, roll(m, PATTERNS)); break;
  case 7: subscribe_slowly(m, k, roll(m, PATTERNS)); break;
  case 8:
    for (unsigned i = roll(m, 150); i > 0; i--) publish(m);   // more than an outbox holds
    break;
  default: publish(m); break;
  }
  world_turn(&m->w);
  check_all(m);
}

static void exactly_the_subscribed_intervals(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 60; seed++) {
    struct model *m = bx_alloc(sizeof *m);

    world_init(&m->w, NULL);
    m->w.seed += seed * 7919;
    for (unsigned i = 0; i < 4; i++) world_handshake(&m->w, m->clients[i].id);
    for (unsigned i = 0; i < 400; i++) {
      step(m);
      m->w.now += 1;
      for (unsigned k = 0; k < 4; k++)   // nobody expires: the test is about deliveries
        bx_wheel_set(&m->w.server->wheel, &world_session(&m->w, m->clients[k].id)->expiry, m->w.now + 100000);
    }
    for (unsigned i = 0; i < 4; i++) {
      cut_stream(m, &m->clients[i]);
      connect_stream(m, &m->clients[i]);
      wire_close(&m->clients[i].wire);
    }
    world_fini(&m->w);
    bx_free(m);
  }
}

// -- cost ------------------------------------------------------------------------------------------

static void a_resume_costs_its_matches_not_the_gap(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/mine");
  for (unsigned i = 0; i < 20000; i++) world_publish(&w, i % 1000 == 0 ? "/mine" : "/others/1", i);
  w.server->counters.read_steps = 0;
  wire_open(&x, &w);
  assert_true(wire_send(&x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket'}", id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'channel':'/mine'"), 20);
  assert_in_range(w.server->counters.read_steps, 20, 2 * 20);
  assert_int_equal(world_session(&w, id)->state, BX_SESSION_LIVE);
  wire_close(&x);
  world_fini(&w);
}

static void reading_to_live_has_no_hole_and_no_double(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/c");
  world_subscribe(&w, id, "/*");
  world_subscribe(&w, id, "/**");
  for (unsigned i = 0; i < 500; i++) world_publish(&w, "/c", i);
  wire_open(&x, &w);
  x.stuck = true;
  assert_true(wire_send(&x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket'}", id));
  world_turn(&w);
  assert_int_equal(world_session(&w, id)->state, BX_SESSION_READING);
  for (unsigned i = 500; i < 600; i++) world_publish(&w, "/c", i);   // while it is read forward
  x.stuck = false;
  world_turn(&w);
  for (unsigned i = 600; i < 610; i++) world_publish(&w, "/c", i);   // live again
  assert_int_equal(world_session(&w, id)->state, BX_SESSION_LIVE);
  const char *at = wire_take(&x);
  for (unsigned i = 0; i < 610; i++) {
    at = strstr(at, "'data':");
    assert_non_null(at);
    at += 7;
    assert_int_equal(strtoul(at, NULL, 10), i);
  }
  assert_null(strstr(at, "'data':"));
  wire_close(&x);
  world_fini(&w);
}

static void ignore(struct bx_outside_publish *o, enum bx_outcome outcome, bx_position position) {
  (void)o;
  (void)position;
  assert_int_equal(outcome, BX_ACKNOWLEDGED);
}

// The walk back over one chain takes more than a turn, and the other chain grows meanwhile: its new
// entries are not of this pass, or they would overtake what is.
static void a_walk_of_several_turns(void **state) {
  struct bx_outside_publish big = {.done = ignore}, late = {.done = ignore};
  const unsigned count = BX_READ_STEPS + 2000;
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/big");
  world_subscribe(&w, id, "/late");
  for (unsigned i = 0; i < count; i++) world_publish(&w, "/big", i);
  wire_open(&x, &w);
  assert_true(wire_send(&x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket'}", id));
  bx_server_turn(w.server, w.now);
  assert_non_null(world_session(&w, id)->reader->walking);
  assert_null(bx_server_publish(w.server, &big, BX_LIT("/big"), BX_LIT("1"), (struct bx_slice){0}));
  assert_null(bx_server_publish(w.server, &late, BX_LIT("/late"), BX_LIT("2"), (struct bx_slice){0}));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'channel':'/big'"), count + 1);
  assert_int_equal(wire_count(&x, "{'channel':'/big','data':1}"), 2);
  assert_int_equal(wire_count(&x, "{'channel':'/late','data':2}"), 1);
  assert_int_equal(world_session(&w, id)->state, BX_SESSION_LIVE);
  wire_close(&x);
  world_fini(&w);
}

static void a_session_off_the_journal_is_told(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  struct wire x;
  char lost[32], quiet[32];

  (void)state;
  options.journal.messages = 100;
  world_init(&w, &options);
  world_handshake(&w, lost);
  world_handshake(&w, quiet);
  world_subscribe(&w, lost, "/busy");
  world_subscribe(&w, quiet, "/quiet");
  for (unsigned i = 0; i < 300; i++) world_publish(&w, "/busy", i);
  assert_true(
      poll_send(&x, &w, "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'1'}", lost));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'error':'401:"), 1);
  assert_int_equal(wire_count(&x, "'reconnect':'handshake'"), 1);
  assert_int_equal(wire_count(&x, "'data'"), 0);
  poll_end(&x, BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.lost_sessions, 1);
  assert_string_equal(w.last_detail, "lost");
  // One whose channels were silent missed nothing, however far the journal went on.
  wire_open(&x, &w);
  assert_true(wire_send(&x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket'}", quiet));
  world_turn(&w);
  assert_int_equal(world_session(&w, quiet)->state, BX_SESSION_LIVE);
  wire_close(&x);
  world_fini(&w);
}

// It comes from a node that is further on, with a subscription that was not read there: what lies between is
// read when this node gets there.
static void one_from_further_on(void **state) {
  struct bx_record_subscription subs[] = {{.pattern = BX_LIT("/late")}, {.pattern = BX_LIT("/other")}};
  struct bx_record record = {
      .id = BX_LIT("from-elsewhere"), .generation = 2, .life = 60000, .remaining = 60000, .subscriptions = subs};
  struct world w;
  struct wire x;
  bx_position head;

  (void)state;
  world_init(&w, NULL);
  head = world_publish(&w, "/other", 0);
  record.conf = record.sent = w.ahead = head + 4;
  record.subscription_count = 2;
  subs[0].start = head + 1;
  subs[0].upto = head + 4;
  w.server->engine->events.adopt(w.server, &record);
  wire_open(&x, &w);
  assert_true(
      wire_send(&x, "{'channel':'/meta/connect','clientId':'from-elsewhere','connectionType':'websocket','id':'1'}"));
  world_turn(&w);
  for (unsigned i = 1; i <= 5; i++) world_publish(&w, i == 2 ? "/other" : "/late", i);
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'data'"), 3);
  assert_int_equal(wire_count(&x, "{'channel':'/late','data':3}"), 1);
  assert_int_equal(wire_count(&x, "{'channel':'/late','data':4}"), 1);
  assert_int_equal(wire_count(&x, "{'channel':'/late','data':5}"), 1);
  assert_int_equal(world_session(&w, "from-elsewhere")->state, BX_SESSION_LIVE);
  wire_close(&x);
  world_fini(&w);
}

static struct bx_session *arrive(struct world *w, const char *id, struct bx_slice pattern, bx_position position) {
  struct bx_record_subscription sub = {.pattern = pattern};
  struct bx_record record = {.id = bx_slice_of(id),
                             .generation = 2,
                             .conf = position,
                             .sent = position,
                             .life = 60000,
                             .remaining = 60000,
                             .subscriptions = &sub,
                             .subscription_count = 1};

  return w->server->engine->events.adopt(w->server, &record);
}

static void follow(struct world *w, struct wire *x, const char *id) {
  wire_open(x, w);
  assert_true(wire_send(x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'1'}", id));
  world_turn(w);
}

// Nobody reads past a gap: not who was live at its edge, not who comes later and stands below it, though the
// channel of both is silent. Who stands behind it goes on.
static void a_gap_is_not_read_past(void **state) {
  struct world w;
  struct wire live, late, behind;
  bx_position head;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/quiet");
  follow(&w, &live, id);
  assert_int_equal(world_session(&w, id)->state, BX_SESSION_LIVE);
  head = world_publish(&w, "/busy", 0);
  w.server->engine->events.gap(w.server, head + 1, head + 10);
  world_turn(&w);
  assert_int_equal(wire_count(&live, "'error':'401:"), 1);
  assert_null(world_session(&w, id));
  assert_int_equal(w.server->counters.lost_sessions, 1);
  assert_int_equal(w.server->counters.gaps, 1);

  assert_non_null(arrive(&w, "below", BX_LIT("/quiet"), head));
  assert_non_null(arrive(&w, "behind", BX_LIT("/quiet"), head + 10));
  follow(&w, &late, "below");
  follow(&w, &behind, "behind");
  assert_null(world_session(&w, "below"));
  assert_int_equal(world_session(&w, "behind")->state, BX_SESSION_LIVE);
  assert_int_equal(w.server->counters.lost_sessions, 2);
  wire_close(&live);
  wire_close(&late);
  wire_close(&behind);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exactly_the_subscribed_intervals),
      cmocka_unit_test(a_resume_costs_its_matches_not_the_gap),
      cmocka_unit_test(reading_to_live_has_no_hole_and_no_double),
      cmocka_unit_test(a_walk_of_several_turns),
      cmocka_unit_test(a_session_off_the_journal_is_told),
      cmocka_unit_test(one_from_further_on),
      cmocka_unit_test(a_gap_is_not_read_past),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
