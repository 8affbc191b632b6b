// SPDX-License-Identifier: Apache-2.0
// Limits of sessions and connections: who is admitted, who is known, how far one may lag, how much one
// write carries. Limits of texts and verbs are in test_verbs.c.
#include "tests/unit/support/world.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define HELLO "'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']"

// -- who is admitted -------------------------------------------------------------------------------

static struct {
  unsigned sessions, refusals;
  bool refuse;
  char address[32];
} door;

static const char *admit(void *context, struct bx_slice address, void **tally) {
  (void)context;
  snprintf(door.address, sizeof door.address, "%.*s", (int)address.len, address.at);
  if (door.refuse) {
    door.refusals++;
    return "429::Too many";
  }
  door.sessions++;
  *tally = &door;
  return NULL;
}

static void leave(void *context, void *tally) {
  (void)context;
  assert_ptr_equal(tally, &door);
  assert_true(door.sessions-- > 0);
}

static void open_door(struct world *w, const struct bx_server_options *options) {
  memset(&door, 0, sizeof door);
  world_init(w, options);
  w->server->env.admit = admit;
  w->server->env.leave = leave;
}

static void each_session_is_given_back_once(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  char ids[4][32];

  (void)state;
  options.max_sessions = 4;
  open_door(&w, &options);
  for (int i = 0; i < 4; i++) world_handshake(&w, ids[i]);
  assert_string_equal(door.address, "127.0.0.1:2");
  assert_int_equal(door.sessions, 4);
  // Who is refused for another reason is not asked for.
  door.address[0] = '\0';
  assert_non_null(strstr(world_ask(&w, "{" HELLO "}"), "Too many clients"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/handshake'}"), "402:"));
  assert_string_equal(door.address, "");
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", ids[0]);
  assert_int_equal(door.sessions, 3);
  world_pass(&w, 2 * w.mount.timeout + 1000);
  assert_int_equal(w.server->counters.expired, 3);
  assert_int_equal(door.sessions, 0);
  // One that is never recorded, and one that is there at the end.
  w.verdict = BX_REFUSED;
  assert_non_null(strstr(world_ask(&w, "{" HELLO "}"), "503::Not available"));
  assert_int_equal(door.sessions, 0);
  w.verdict = BX_ACKNOWLEDGED;
  world_handshake(&w, ids[0]);
  world_fini(&w);
  assert_int_equal(door.sessions, 0);
}

static void who_is_not_admitted_is_told(void **state) {
  struct world w;

  (void)state;
  open_door(&w, NULL);
  door.refuse = true;
  assert_non_null(strstr(world_ask(&w, "[{" HELLO "},{" HELLO "}]"),
                         "'successful':false,'version':'1.0','supportedConnectionTypes':["));
  assert_non_null(
      strstr(world_ask(&w, "{" HELLO "}"), "'error':'429::Too many','advice':{'reconnect':'handshake','interval':1"));
  assert_int_equal(door.refusals, 3);
  assert_int_equal(w.server->counters.sessions + w.handshakes, 0);
  world_fini(&w);
}

// -- who is known ----------------------------------------------------------------------------------

static void a_connection_is_known_by_what_it_did(void **state) {
  static const struct {
    const char *text;
    bool known;
  } rows[] = {
      {"[]", false},
      {"{'channel':'/meta/handshake'}", false},
      {"{'channel':'/meta/connect','clientId':'nobody','connectionType':'websocket'}", false},
      {"{'channel':'/a/*','data':1}", false},
      {"{'channel':'/a','data':1,'clientId':'nobody'}", false},
      {"{" HELLO "}", true},
      {"{'channel':'/a','data':1}", true},
      {"{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", true},
      {"{'channel':'/meta/connect','clientId':'%s','connectionType':'websocket'}", true},
  };
  struct world w;
  struct wire x;
  char id[32], text[256];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *at = strstr(rows[i].text, "%s");

    if (at == NULL)
      snprintf(text, sizeof text, "%s", rows[i].text);
    else
      snprintf(text, sizeof text, "%.*s%s%s", (int)(at - rows[i].text), rows[i].text, id, at + 2);
    w.now += 10;
    wire_open(&x, &w);
    assert_true(wire_send(&x, "%s", text));
    world_turn(&w);
    assert_int_equal(x.c.known, rows[i].known ? w.now : 0);
    wire_close(&x);
  }
  world_fini(&w);
}

// -- lag -------------------------------------------------------------------------------------------

static void a_session_that_missed_too_much_is_told(void **state) {
  struct bx_server_options options = world_options();
  char id[2][32], fresh[32];
  struct world w;
  struct wire x;

  (void)state;
  options.max_lag = 100;
  world_init(&w, &options);
  for (int i = 0; i < 2; i++) {
    world_handshake(&w, id[i]);
    world_subscribe(&w, id[i], "/a");
  }
  // What does not match is not missed.
  for (unsigned i = 0; i < 500; i++) world_publish(&w, "/other", i);
  for (unsigned i = 0; i < 100; i++) world_publish(&w, "/a", i);
  stream_connect(&x, &w, id[0], "1");
  assert_int_equal(wire_count(&x, "'data'"), 100);
  wire_close(&x);
  world_publish(&w, "/a", 100);
  stream_connect(&x, &w, id[1], "1");
  assert_int_equal(wire_count(&x, "'data'"), 0);
  assert_int_equal(wire_count(&x, "'error':'401:"), 1);
  assert_int_equal(wire_count(&x, "'reconnect':'handshake'"), 1);
  assert_true(x.close_asked);
  wire_close(&x);
  assert_int_equal(w.server->counters.lagging_sessions, 1);
  assert_int_equal(w.server->counters.lost_sessions, 0);
  assert_int_equal(w.lost, 1);
  assert_string_equal(w.lost_why, "it missed more than limits.lag");
  // It begins anew.
  world_handshake(&w, fresh);
  world_subscribe(&w, fresh, "/a");
  world_publish(&w, "/a", 101);
  stream_connect(&x, &w, fresh, "1");
  assert_int_equal(wire_count(&x, "'data':101"), 1);
  wire_close(&x);
  world_fini(&w);
}

// A socket that takes no bytes and falls behind: when it takes them again it gets what was waiting for it,
// in order, and is told; nothing comes behind the hole.
static void a_stuck_stream_is_told_behind_what_waited(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  struct wire x;
  char id[32], piece[32];

  (void)state;
  options.journal.messages = 1000;
  world_init(&w, &options);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  stream_connect(&x, &w, id, "1");
  wire_take(&x);
  x.stuck = true;
  for (unsigned i = 0; i < 5000; i++) world_publish(&w, "/a", i);
  assert_int_equal(w.server->counters.overflows, 1);
  assert_in_range(w.server->counters.frames, 1000, 1000 + BX_OUTBOX_FRAMES);
  x.stuck = false;
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'data':"), BX_OUTBOX_FRAMES);
  for (unsigned i = 0; i < BX_OUTBOX_FRAMES; i++) {
    snprintf(piece, sizeof piece, "'data':%u}", i);
    assert_int_equal(wire_count(&x, piece), 1);
  }
  assert_int_equal(wire_count(&x, "'reconnect':'handshake'"), 1);
  assert_int_equal(w.server->counters.lost_sessions, 1);
  assert_string_equal(w.lost_why, "what it missed has left the journal");
  wire_close(&x);
  world_fini(&w);
}

// -- one write -------------------------------------------------------------------------------------

static void one_write_is_bounded(void **state) {
  static char data[20002];
  static const unsigned sizes[] = {100, 1000, 5000, 8100, 8200, 16000, 20000};
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  stream_connect(&x, &w, id, "1");
  wire_take(&x);
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    struct bx_gathered gathered;
    unsigned writes = 0, messages = 0;

    memset(data, 'x', sizeof data);
    data[0] = data[sizes[s] - 1] = '\'';
    data[sizes[s]] = '\0';
    x.stuck = true;
    for (unsigned i = 0; i < 3; i++) world_ask(&w, "{'channel':'/a','data':%s}", data);
    while (bx_connection_gather(&x.c, &x.got, &gathered)) {
      size_t len = gathered.frame == NULL ? x.got.len : bx_frame_array_len(gathered.frame);

      if (gathered.frame != NULL) bx_buffer_add(&x.got, bx_frame_array(gathered.frame), len);
      bx_frame_unref(gathered.frame);
      if (wire_count(&x, "'data'") > 1) assert_in_range(len, 1, BX_GATHER_BYTES);
      messages += wire_count(&x, "'data'");
      writes++;
      wire_take(&x);
    }
    assert_int_equal(messages, 3);
    assert_in_range(writes, 1, sizes[s] <= 5000 ? 1 : sizes[s] <= 8100 ? 2 : 3);
    x.stuck = false;
  }
  wire_close(&x);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_session_is_given_back_once),
      cmocka_unit_test(who_is_not_admitted_is_told),
      cmocka_unit_test(a_connection_is_known_by_what_it_did),
      cmocka_unit_test(a_session_that_missed_too_much_is_told),
      cmocka_unit_test(a_stuck_stream_is_told_behind_what_waited),
      cmocka_unit_test(one_write_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
