// SPDX-License-Identifier: Apache-2.0
// Evidence against a model: clients poll, stream, cut, resume and repeat at random; nothing may be
// lost, and what comes twice was not confirmed.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/support/world.h"

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

// -- a model -----------------------------------------------------------------------------------------

// A client on a bad network, and what the server should think of it: `sent` and `conf` count messages of
// /a. Whatever is handed to a connection must be message number `sent`; whatever the client gets must be
// one it has had or the next.
#define CLIENTS 3
#define PUBLISHES 2000

struct client {
  char id[32];
  bool constant;     // one message id for all connects
  unsigned serial;   // else: counts up, but not for a repeat
  bool reached;      // the last answer: else the next connect is a repeat
  unsigned next;     // the message that it has not had
  unsigned repeats;

  unsigned sent, conf, high;
  bool pending;
  enum { IDLE, POLLING, STREAMING } mode;
  struct wire *now, *before, *old;   // attached; an answered poll; a stream that was taken over
  bool before_counts;                // nobody has judged by it yet
  enum bx_arrival settled;
  bool reset;   // so was the answer that was judged last
  bool dark;    // the stream is broken, and nobody knows yet
  bx_position ping;
  unsigned pinged;
};

struct model {
  struct world w;
  struct client clients[CLIENTS];
  bx_position at[PUBLISHES];
  unsigned published;
};

static unsigned roll(struct model *m, unsigned sides) {
  uint32_t r;
  m->w.server->env.random(&m->w, &r, sizeof r);
  return r % sides;
}

static void fall_back(struct client *k) {
  if (k->pending) k->sent = k->conf;
  k->pending = false;
}

static void confirm(struct client *k) {
  k->conf = k->sent;
  k->pending = false;
}

// What was handed over since the last look.
static void look(struct client *k, bool arrives) {
  const char *at = wire_take(k->now);

  for (; (at = strstr(at, "'data':")) != NULL; at += 7) {
    unsigned n = (unsigned)strtoul(at + 7, NULL, 10);

    assert_int_equal(n, k->sent);
    k->repeats += n < k->high;
    if (!k->pending) k->conf = k->sent;
    k->pending = true;
    k->sent++;
    if (k->sent > k->high) k->high = k->sent;
    if (!arrives) continue;
    assert_true(n <= k->next);
    if (n == k->next) k->next++;
  }
}

static enum bx_arrival random_arrival(struct model *m, const struct client *k) {
  static const enum bx_arrival all[] = {BX_ARRIVAL_YES, BX_ARRIVAL_PENDING, BX_ARRIVAL_RESET, BX_ARRIVAL_LOST};

  // One whose ids are all the same is told by TCP alone, which must not say yes to what did not arrive.
  return all[k->reached || !k->constant ? roll(m, 4) : 1 + roll(m, 3)];
}

// The exchange of the answered poll is over.
static void end_before(struct model *m, struct client *k) {
  enum bx_arrival how;

  if (k->before == NULL) return;
  for (how = k->before->arrival; how == BX_ARRIVAL_PENDING;) how = random_arrival(m, k);
  if (k->before_counts) {
    k->settled = how;
    if (how == BX_ARRIVAL_LOST) fall_back(k);
  }
  k->before_counts = false;
  poll_end(k->before, how);
  bx_free(k->before);
  k->before = NULL;
}

static void end_old(struct model *m, struct client *k) {
  if (k->old == NULL) return;
  assert_true(k->old->close_asked);
  if (roll(m, 2))
    wire_echo(k->old);
  else
    wire_close(k->old);
  bx_free(k->old);
  k->old = NULL;
}

static void take_answer(struct model *m, struct client *k) {
  if (k->mode != POLLING || !k->now->answered) return;
  k->reached = roll(m, 3) > 0;
  look(k, k->reached);
  end_before(m, k);
  k->before = k->now;
  k->before_counts = true;
  k->before->arrival = random_arrival(m, k);
  k->now = NULL;
  k->mode = IDLE;
}

static void check_model(struct model *m) {
  world_turn(&m->w);
  for (unsigned i = 0; i < CLIENTS; i++) {
    struct client *k = &m->clients[i];
    struct bx_session *s = world_session(&m->w, k->id);
    bx_position conf = bx_session_conf(m->w.server, s);
    unsigned confirmed = 0;

    take_answer(m, k);
    if (k->mode == STREAMING) look(k, !k->dark);
    if (k->mode != IDLE) assert_int_equal(k->sent, m->published);
    assert_int_equal(s->pending, k->pending);
    while (confirmed < m->published && m->at[confirmed] <= bx_session_conf(m->w.server, s)) confirmed++;
    assert_int_equal(confirmed, k->pending ? k->conf : k->sent);
    assert_true(conf <= bx_session_conf(m->w.server, s));
    bx_wheel_set(&m->w.server->wheel, &s->expiry, m->w.now + 1000000);   // nobody expires
  }
}

enum verdict { ARRIVED, NOT_ARRIVED, NOT_KNOWN };

static enum verdict judge(struct client *k, bool differs) {
  enum bx_arrival arrival = k->before_counts ? k->before->arrival : k->settled;
  bool again = k->reset;

  if (!k->pending) return ARRIVED;
  k->reset = arrival == BX_ARRIVAL_RESET;
  if (k->reset && again && !k->constant && differs) return ARRIVED;
  if (arrival == BX_ARRIVAL_LOST || arrival == BX_ARRIVAL_RESET) return NOT_ARRIVED;
  if (!k->constant) return differs ? ARRIVED : NOT_ARRIVED;
  return arrival == BX_ARRIVAL_YES ? ARRIVED : NOT_KNOWN;
}

// The connect waits for TCP: which hears of the rest, or of the end, or of nothing.
static void wait_for_news(struct model *m, struct client *k) {
  assert_string_equal(numbers(wire_take(k->now)), "");
  assert_non_null(k->before);
  k->reset = false;
  switch (roll(m, 3)) {
  case 0:
    k->before->arrival = k->reached ? BX_ARRIVAL_YES : BX_ARRIVAL_LOST;
    world_pass(&m->w, 10);
    k->reached ? confirm(k) : fall_back(k);
    break;
  case 1:
    end_before(m, k);
    k->reset = k->settled == BX_ARRIVAL_RESET;
    k->settled == BX_ARRIVAL_YES ? confirm(k) : fall_back(k);
    break;
  default:
    world_pass(&m->w, 300);
    fall_back(k);
    break;
  }
  world_turn(&m->w);
}

// The connect waits for the echo of the close of a stream that it took over: which comes, or does not, or
// would come too late.
static void wait_for_echo(struct model *m, struct client *k) {
  assert_string_equal(numbers(wire_take(k->now)), "");
  k->reset = false;
  switch (roll(m, 3)) {
  case 0:
    k->dark ? wire_close(k->old) : wire_echo(k->old);
    k->dark ? fall_back(k) : confirm(k);
    break;
  case 1:
    wire_close(k->old);
    fall_back(k);
    break;
  default:
    world_pass(&m->w, 1000);
    fall_back(k);
    return;
  }
  bx_free(k->old);
  k->old = NULL;
}

// What is attached makes room. True: it was a stream that carried something unconfirmed.
static bool leave(struct model *m, struct client *k) {
  bool carried = k->mode == STREAMING && k->pending;

  if (k->mode == POLLING) {   // answered at once, without messages
    assert_true(k->now->answered);
    assert_string_equal(numbers(wire_take(k->now)), "");
    poll_end(k->now, BX_ARRIVAL_YES);
    bx_free(k->now);
  } else if (k->mode == STREAMING) {
    assert_true(k->now->close_asked);
    end_old(m, k);
    k->old = k->now;
  }
  k->mode = IDLE;
  return carried;
}

static void connect(struct model *m, struct client *k, bool stream) {
  bool repeat = k->mode == POLLING ? roll(m, 2) : !k->reached;
  struct wire *x = bx_alloc(sizeof *x);
  enum verdict verdict;
  bool carried;

  if (!k->constant && !repeat) k->serial++;
  if (stream) {
    wire_open(x, &m->w);
    assert_true(wire_send(x, "{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket','id':'%u'}",
                          k->id, k->serial));
  } else {
    assert_true(poll_send(x, &m->w,
                          "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-polling','id':'%u'}",
                          k->id, k->serial));
  }
  world_turn(&m->w);
  carried = leave(m, k);
  k->now = x;
  if (carried) wait_for_echo(m, k);
  verdict = judge(k, !repeat);
  if (verdict == ARRIVED) confirm(k);
  if (verdict == NOT_ARRIVED) fall_back(k);
  if (verdict == NOT_KNOWN) wait_for_news(m, k);
  k->before_counts = false;
  k->settled = BX_ARRIVAL_YES;
  k->mode = stream ? STREAMING : POLLING;
  k->dark = false;
  k->ping = 0;
  if (stream) k->reached = true;
}

static void end_stream(struct client *k, bool echoed) {
  if (echoed) {
    wire_echo(k->now);
    confirm(k);
  } else {
    wire_close(k->now);
    fall_back(k);
  }
  bx_free(k->now);
  k->mode = IDLE;
}

static void stream_step(struct model *m, struct client *k) {
  switch (roll(m, 6)) {
  case 0:
  case 1:
    k->ping = wire_ping(k->now);
    assert_int_equal(k->ping != 0, k->pending);
    k->pinged = k->sent;
    break;
  case 2:
  case 3:
    if (k->dark || k->ping == 0) return;
    wire_pong(k->now, k->ping);
    k->ping = 0;
    if (k->pending) k->conf = k->pinged;
    if (k->conf == k->sent) k->pending = false;
    break;
  case 4: k->dark |= roll(m, 3) == 0; break;
  default:
    if (roll(m, 2)) end_stream(k, !k->dark && roll(m, 2));
    break;
  }
}

static void step(struct model *m) {
  struct client *k = &m->clients[roll(m, CLIENTS)];

  switch (roll(m, 10)) {
  case 0: connect(m, k, true); break;
  case 1:
  case 2: connect(m, k, false); break;
  case 3: end_before(m, k); break;
  case 4: end_old(m, k); break;
  case 5:
    if (k->mode != POLLING) break;
    poll_abort(k->now);
    bx_free(k->now);
    k->mode = IDLE;
    k->reached = false;
    break;
  case 6: world_pass(&m->w, roll(m, 6000)); break;
  case 7:
    if (k->mode == STREAMING) stream_step(m, k);
    break;
  case 8: world_publish(&m->w, "/noise", 0); break;
  default:
    for (unsigned n = roll(m, 4); n > 0 && m->published < PUBLISHES; n--) {
      m->at[m->published] = world_publish(&m->w, "/a", m->published);
      m->published++;
    }
    break;
  }
}

static void start(struct model *m, struct client *k, bool constant) {
  world_handshake(&m->w, k->id);
  world_subscribe(&m->w, k->id, "/a");
  k->constant = constant;
  k->reached = true;
  k->settled = BX_ARRIVAL_YES;
  for (unsigned i = 0; i < 2; i++) {   // so that the ids are known to vary
    connect(m, k, true);
    end_stream(k, true);
  }
}

static void finish(struct model *m, struct client *k) {
  connect(m, k, true);
  check_model(m);
  assert_int_equal(k->next, m->published);
  end_stream(k, true);
  end_before(m, k);
  end_old(m, k);
}

static void nothing_is_lost_and_what_comes_twice_was_not_confirmed(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 100; seed++) {
    struct model *m = bx_alloc(sizeof *m);
    unsigned repeats = 0;

    world_init(&m->w, NULL);
    m->w.seed += seed * 7919;
    for (unsigned i = 0; i < CLIENTS; i++) start(m, &m->clients[i], i == 0);
    for (unsigned i = 0; i < 300; i++) {
      step(m);
      check_model(m);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
      finish(m, &m->clients[i]);
      repeats += m->clients[i].repeats;
    }
    assert_int_equal(m->w.server->counters.resent, repeats);
    world_fini(&m->w);
    bx_free(m);
  }
}
int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_lost_and_what_comes_twice_was_not_confirmed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
