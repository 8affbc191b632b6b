// SPDX-License-Identifier: Apache-2.0
// The verbs: every reply member by member as Faye wrote it into tests/conformance/faye-vectors.jsonl,
// then what Mora does on purpose, limits, and what subscribers get to see.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/support/world.h"

#define HELLO "'channel':'/meta/handshake','version':'1.0','supportedConnectionTypes':['long-polling']"
#define TYPES "['long-polling','cross-origin-long-polling','callback-polling','websocket','eventsource','in-process']"

// -- what Faye was recorded to say ------------------------------------------------------------------

// Scripted below, or not to be compared: a big number that JavaScript rounds.
static const char *const not_replayed[] = {"batch.queued-then-connect", "publish.data-nested-types",
                                           "publish.data-nested-types.delivered"};

// What Mora says instead.
static const struct {
  const char *name, *reply;
} differences[] = {
    {"handshake.error-field-in-request",
     "[{'id':'1','channel':'/meta/handshake','successful':false,'version':'1.0','supportedConnectionTypes':" TYPES
     ",'error':'400::Bad request','advice':{'reconnect':'handshake'}}]"},
    {"subscribe.error-field", "[{'id':'3','clientId':'<C>','channel':'/meta/subscribe','successful':false,"
                              "'error':'400::Bad request','subscription':'/foo'}]"},
    {"publish.error-field", "[{'id':'5','channel':'/chat','successful':false,'error':'400::Bad request'}]"},
    {"publish.unknown-clientId", "[{'id':'5','clientId':'fake','channel':'/chat','successful':false,"
                                 "'error':'401:fake:Unknown client','advice':{'reconnect':'handshake'}}]"},
    {"publish.channel-array", "[{'id':'5','channel':['/a'],'successful':false,'error':'405:/a:Invalid channel'}]"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool is_replayed(const char *name) {
  static const char *const groups[] = {"handshake.", "connect.", "subscribe.", "unsubscribe.",
                                       "publish.",   "meta.",    "batch.",     "disconnect."};

  for (size_t i = 0; i < COUNT(not_replayed); i++)
    if (strcmp(name, not_replayed[i]) == 0) return false;
  for (size_t i = 0; i < COUNT(groups); i++)
    if (strncmp(name, groups[i], strlen(groups[i])) == 0) return true;
  return false;
}

// Every `from` becomes `to`.
static void replace(struct bx_buffer *text, const char *from, const char *to) {
  struct bx_buffer out = {0};
  const char *at, *found;

  bx_buffer_char(text, '\0');
  for (at = text->at; (found = strstr(at, from)) != NULL; at = found + strlen(from)) {
    bx_buffer_add(&out, at, (size_t)(found - at));
    bx_buffer_add(&out, to, strlen(to));
  }
  bx_buffer_add(&out, at, strlen(at));
  bx_buffer_fini(text);
  *text = out;
}

// Client ids by what they are: <C> the session of the case, <N> one that it made.
static void name_clients(struct bx_buffer *text, const char *id) {
  const char *at;
  char other[32];

  replace(text, id, "<C>");
  bx_buffer_char(text, '\0');
  for (at = text->at; (at = strstr(at, "'clientId':'")) != NULL; at++) {
    const char *value = at + 12;

    if (strspn(value, "0123456789abcdefghijklmnopqrstuvwxyz") != 31) continue;
    memcpy(other, value, 31);
    other[31] = '\0';
    text->len--;
    replace(text, other, "<N>");
    return;
  }
  text->len--;
}

// Advice to shake hands again carries an interval of 1 to 2 s, which is taken out.
static void drop_intervals(struct bx_buffer *text) {
  static const char advice[] = "'advice':{'reconnect':'handshake'";
  const char *at;
  char piece[64];

  for (;;) {
    bx_buffer_char(text, '\0');
    text->len--;
    at = strstr(text->at, "'advice':{'reconnect':'handshake','interval':");
    if (at == NULL) break;
    assert_in_range(strtoul(at + strlen(advice) + 12, NULL, 10), 1000, 2000);
    snprintf(piece, sizeof piece, "%.*s", (int)(strchr(at, '}') - at), at);
    replace(text, piece, advice);
  }
  assert_null(strstr(text->at, "'advice':{'reconnect':'handshake','"));
}

static void load_text(struct bx_buffer *out, const char *text) {
  bx_buffer_clear(out);
  bx_buffer_add(out, text, strlen(text));
  for (size_t i = 0; i < out->len; i++)
    if (out->at[i] == '"') out->at[i] = '\'';
}

// A session with the subscriptions that some cases rest on.
static void prepare(struct world *w, char id[32]) {
  world_init(w, NULL);
  world_handshake(w, id);
  world_subscribe(w, id, "/batch");
  world_subscribe(w, id, "/own");
}

// The one placeholder of the request (<CID11>) is the session; others of the reply are new.
static void name_placeholders(struct bx_buffer *request, struct bx_buffer *expected, const char *id) {
  char *at;
  char placeholder[16];

  bx_buffer_char(request, '\0');
  request->len--;
  if ((at = strstr(request->at, "<CID")) != NULL) {
    snprintf(placeholder, sizeof placeholder, "%.*s", (int)(strchr(at, '>') + 1 - at), at);
    replace(request, placeholder, id);
    replace(expected, placeholder, "<C>");
  }
  bx_buffer_char(expected, '\0');
  expected->len--;
  if ((at = strstr(expected->at, "<CID")) != NULL) {
    snprintf(placeholder, sizeof placeholder, "%.*s", (int)(strchr(at, '>') + 1 - at), at);
    replace(expected, placeholder, "<N>");
  }
}

static void replay(const char *name, const char *body, const char *reply) {
  struct bx_buffer request = {0}, expected = {0}, got = {0};
  struct world w;
  struct wire x;
  char id[32];

  prepare(&w, id);
  bx_buffer_add(&request, body, strlen(body));
  load_text(&expected, reply);
  for (size_t i = 0; i < COUNT(differences); i++)
    if (strcmp(name, differences[i].name) == 0) load_text(&expected, differences[i].reply);
  name_placeholders(&request, &expected, id);
  poll_open(&x, &w);
  assert_true(wire_bytes(&x, bx_buffer_view(&request)));
  world_turn(&w);
  if (!x.answered) world_pass(&w, 600);   // a held connect
  assert_true(x.answered);
  load_text(&got, wire_take(&x));
  name_clients(&got, id);
  drop_intervals(&got);
  bx_buffer_char(&got, '\0');
  bx_buffer_char(&expected, '\0');
  if (strcmp(got.at, expected.at) != 0) print_error("%s\n", name);
  assert_string_equal(got.at, expected.at);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
  bx_buffer_fini(&request);
  bx_buffer_fini(&expected);
  bx_buffer_fini(&got);
}

static void replies_are_faye_s(void **state) {
  FILE *file = fopen(MORA_VECTORS, "r");
  unsigned replayed = 0, different = 0;
  char line[1 << 16];

  (void)state;
  assert_non_null(file);
  while (fgets(line, sizeof line, file) != NULL) {
    json_t *vector = json_loads(line, 0, NULL);   // NULL: a number too big, in one that is not replayed
    const char *name = vector == NULL ? "" : json_string_value(json_object_get(vector, "name"));
    char *body;

    if (is_replayed(name)) {
      body = json_dumps(json_object_get(json_object_get(vector, "request"), "body"), JSON_COMPACT | JSON_ENCODE_ANY);
      replay(name, body, json_string_value(json_object_get(vector, "reply_normalised")));
      free(body);
      replayed++;
      for (size_t i = 0; i < COUNT(differences); i++) different += strcmp(name, differences[i].name) == 0;
    }
    json_decref(vector);
  }
  fclose(file);
  assert_int_equal(different, COUNT(differences));
  assert_int_equal(replayed, 104);
}

// -- what is Mora's own ------------------------------------------------------------------------------

static void texts_that_are_not_messages(void **state) {
  static const char *const bad[] = {"", "{bad", "5", "'x'", "true", "[{'channel':'/foo'", "[1,]", "{} {}", "[] x"};
  struct world w;
  struct wire stream, poll;

  (void)state;
  world_init(&w, NULL);
  wire_open(&stream, &w);
  for (size_t i = 0; i < COUNT(bad); i++) {
    assert_false(poll_send(&poll, &w, "%s", bad[i]));   // the transport answers 400
    poll_abort(&poll);
    assert_false(wire_send(&stream, "%s", bad[i]));
    world_turn(&w);
    assert_string_equal(wire_take(&stream), "[{'successful':false,'error':'400::Bad request'}]\n");
    assert_false(stream.close_asked);
  }
  assert_int_equal(w.server->counters.bad_texts, 2 * COUNT(bad));
  assert_false(wire_bytes(&stream, (struct bx_slice){0}));   // as an empty body comes
  assert_false(wire_send(&stream, "null"));
  world_turn(&w);
  assert_string_equal(wire_take(&stream), "[{'successful':false,'error':'400::Bad request'},"
                                          "{'successful':false,'error':'400::Bad request'}]\n");
  assert_string_equal(world_ask(&w, "null"), "[]");
  assert_string_equal(world_ask(&w, "[]"), "[]");
  assert_string_equal(world_ask(&w, "[null]"), "[]");
  wire_close(&stream);
  world_fini(&w);
}

static void empty_texts_of_a_stream_are_answered_each(void **state) {
  struct world w;
  struct wire x;

  (void)state;
  world_init(&w, NULL);
  wire_open(&x, &w);
  assert_true(wire_send(&x, "[]"));
  assert_true(wire_send(&x, "[null]"));
  assert_true(wire_send(&x, "{'channel':'/a','data':1}"));
  assert_true(wire_send(&x, " [ ] "));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "[]\n"), 3);
  assert_int_equal(wire_count(&x, "[{'channel':'/a','successful':true}]\n"), 1);
  wire_close(&x);
  world_fini(&w);
}

static void a_client_s_error_is_refused_by_every_verb(void **state) {
  static const char *const channels[] = {"/meta/handshake",   "/meta/connect",    "/meta/subscribe",
                                         "/meta/unsubscribe", "/meta/disconnect", "/a"};
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  for (size_t i = 0; i < COUNT(channels); i++) {
    const char *reply = world_ask(&w,
                                  "{'channel':'%s','clientId':'%s','version':'1.0','connectionType':'long-polling',"
                                  "'supportedConnectionTypes':['websocket'],'subscription':'/a','data':1,"
                                  "'err\\u006fr':'I said so'}",
                                  channels[i], id);
    assert_non_null(strstr(reply, "'successful':false"));
    assert_non_null(strstr(reply, "'error':'400::Bad request'"));
    assert_null(strstr(reply, "I said so"));
  }
  assert_int_equal(w.server->counters.published, 0);
  assert_int_equal(w.server->counters.subscriptions, 0);
  assert_int_equal(w.server->counters.sessions, 1);
  // An empty one, too.
  assert_string_equal(world_ask(&w, "{'channel':'/a','data':1,'error':null}"),
                      "[{'channel':'/a','successful':false,'error':'400::Bad request'}]");
  world_fini(&w);
}

// -- what subscribers see --------------------------------------------------------------------------

// What a subscriber to everything gets of one published text.
static const char *delivered(const char *text) {
  static char out[4096];
  struct world w;
  struct wire stream, poll;
  char id[32];

  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/**");
  stream_connect(&stream, &w, id, "1");
  assert_true(poll_send(&poll, &w, text, id));
  world_turn(&w);
  assert_non_null(strstr(wire_take(&poll), "'successful':true"));
  poll_end(&poll, BX_ARRIVAL_YES);
  snprintf(out, sizeof out, "%s", wire_take(&stream));
  wire_close(&stream);
  world_fini(&w);
  return out;
}

static void members_that_are_forwarded(void **state) {
  (void)state;
  assert_string_equal(delivered("{'client\\u0049d':'me','id':7,'foo':{'a':[1]},'channel':'/"
                                "a','clientId':'%s','ext':{'password':'x'},'data':1,'advice':{},"
                                "'successful':true,'subscription':'/b','version':'1.0','connectionType':'websocket',"
                                "'\\u0065xt':2,'Ext':3}"),
                      "[{'id':7,'foo':{'a':[1]},'channel':'/a','data':1,'connectionType':'websocket','Ext':3}]\n");
}

static void values_are_forwarded_byte_for_byte(void **state) {
  (void)state;
  assert_string_equal(
      delivered("{'channel':'/a', 'data' : { 'z': 1.10, 'a':-0,\n 'big':12345678901234567890, 'e':1E400,"
                " 'u':'\\u00e9\\ud800\\/\\u0000', 'a':'\xc3\xa9' } ,'id':1.0}"),
      "[{'channel':'/a','data':{ 'z': 1.10, 'a':-0,\n 'big':12345678901234567890, 'e':1E400,"
      " 'u':'\\u00e9\\ud800\\/\\u0000', 'a':'\xc3\xa9' },'id':1.0}]\n");
}

static void of_a_member_that_comes_twice_the_last_value_counts(void **state) {
  (void)state;
  assert_string_equal(
      delivered("{'channel':'/x','da\\u0074a':1,'id':1,'chann\\u0065l':'/a','k':1,'data':2,'\\u006b':2}"),
      "[{'channel':'/a','da\\u0074a':2,'id':1,'k':2}]\n");
  // Also where it hides what was there.
  struct world w;
  world_init(&w, NULL);
  assert_string_equal(world_ask(&w, "{'channel':'/a','data':1,'clientId':'nobody','clientId':''}"),
                      "[{'channel':'/a','successful':true}]");
  assert_string_equal(world_ask(&w, "{'channel':'/a','data':1,'chann\\u0065l':'/meta/x','clientId':null}"),
                      "[{'channel':'/meta/x','successful':false,'error':'403:/meta/x:Forbidden channel'}]");
  world_fini(&w);
}

static void escapes_are_decoded_where_they_matter(void **state) {
  struct world w;
  char id[32];
  const char *reply;

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  reply =
      world_ask(&w, "{'channel':'\\/met\\u0061/subscribe','client\\u0049d':'\\u00%02x%s','subscription':'\\/a\\u0062'}",
                (unsigned)id[0], id + 1);
  assert_non_null(strstr(reply, "'successful':true,'subscription':'\\/a\\u0062'"));
  world_ask(&w, "{'channel':'/\\u0061b','data':1}");
  reply = world_ask(&w,
                    "{'channel':'/meta/connect','clientId':'%s','connectionType':'long-p\\u006flling',"
                    "'advice':{'tim\\u0065out':0}}",
                    id);
  assert_non_null(strstr(reply, "{'channel':'/\\u0061b','data':1}"));
  world_fini(&w);
}

static void service_channels_reach_no_pattern(void **state) {
  (void)state;
  assert_string_equal(delivered("{'channel':'/service/x','data':1}"), "");
  assert_string_equal(delivered("{'channel':'/services/x','data':1}"), "[{'channel':'/services/x','data':1}]\n");
}

// -- errors and limits -------------------------------------------------------------------------------

static void dead_clients_are_told(void **state) {
  static const char *const dead[] = {"'nobody'", "5", "{}", "true", "['x']"};
  struct world w;

  (void)state;
  world_init(&w, NULL);
  for (size_t i = 0; i < COUNT(dead); i++) {
    const char *reply = world_ask(&w, "{'channel':'/a','data':1,'clientId':%s}", dead[i]);
    assert_non_null(strstr(reply, ":Unknown client','advice':{'reconnect':'handshake','interval':1"));
    reply = world_ask(&w, "{'channel':'/meta/connect','connectionType':'websocket','clientId':%s}", dead[i]);
    assert_non_null(strstr(reply, ":Unknown client','advice':{'reconnect':'handshake','interval':1"));
    assert_null(strstr(reply, "clientId"));
  }
  assert_int_equal(w.server->counters.published, 0);
  assert_int_equal(w.server->counters.refused_messages, 2 * COUNT(dead));
  world_fini(&w);
}

static void outcomes_of_a_publish(void **state) {
  static const struct {
    enum bx_outcome outcome;
    const char *reply;
  } rows[] = {
      {BX_REFUSED, "[{'channel':'/a','successful':false,'error':'503:/a:Not published'}]"},
      {BX_UNKNOWN, "[{'channel':'/a','successful':false,'error':'504:/a:Outcome unknown'}]"},
  };
  const char *reply;
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  for (size_t i = 0; i < COUNT(rows); i++) {
    w.verdict = rows[i].outcome;
    assert_string_equal(world_ask(&w, "{'channel':'/a','data':1}"), rows[i].reply);
  }
  w.verdict = BX_NO_SESSION;
  reply = world_ask(&w, "{'channel':'/a','data':1,'clientId':'%s'}", id);
  assert_non_null(strstr(reply, "401:"));
  assert_non_null(strstr(reply, "'advice':{'reconnect':'handshake','interval':1"));
  assert_int_equal(w.server->counters.refused_publishes, 2);
  assert_int_equal(w.server->counters.unknown_publishes, 1);
  assert_int_equal(bx_journal_head(&w.server->journal), w.base);
  w.verdict = BX_ACKNOWLEDGED;
  world_fini(&w);
}

static void an_engine_that_refuses_records(void **state) {
  const char *reply;
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  w.verdict = BX_REFUSED;
  reply = world_ask(&w, "{" HELLO "}");
  assert_non_null(strstr(reply, "'error':'503::Not available','advice':{'reconnect':'handshake','interval':1"));
  assert_null(strstr(reply, "clientId"));
  reply = world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", id);
  assert_non_null(strstr(reply, ":Not available','subscription':'/a'}"));
  reply = world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  assert_non_null(strstr(reply, ":Not available'}"));
  assert_int_equal(w.server->counters.sessions, 1);
  assert_int_equal(w.server->counters.subscriptions, 0);
  assert_int_equal(w.handshakes, 1);
  assert_int_equal(w.disconnects, 0);   // what never was does not end
  w.verdict = BX_NO_SESSION;
  reply = world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}", id);
  assert_non_null(strstr(reply, "'error':'401:"));
  reply = world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  assert_non_null(strstr(reply, "'error':'401:"));
  w.verdict = BX_ACKNOWLEDGED;
  world_fini(&w);
}

static void a_session_that_ends_while_it_is_recorded(void **state) {
  struct world w;
  struct wire x;

  (void)state;
  world_init(&w, NULL);
  w.hold = 1u << BX_REQUEST_CREATE;
  assert_true(poll_send(&x, &w, "{" HELLO "}"));
  world_pass(&w, 20001);
  assert_int_equal(w.server->counters.expired, 1);
  assert_false(x.answered);
  w.hold = 0;
  world_turn(&w);
  assert_non_null(strstr(wire_take(&x), "'successful':false"));
  assert_int_equal(w.handshakes + w.disconnects, 0);
  poll_end(&x, BX_ARRIVAL_YES);
  world_fini(&w);
}

static void limits_of_a_text(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  struct wire x;

  (void)state;
  options.message = (struct bx_message_limits){.depth = 4, .batch = 2, .members = 3};
  world_init(&w, &options);
  assert_string_equal(world_ask(&w, "[null,{'channel':'/a','data':1},null,{'channel':'/a','data':2},null]"),
                      "[{'channel':'/a','successful':true},{'channel':'/a','successful':true}]");
  assert_false(poll_send(&x, &w, "[{'channel':'/a','data':1},5,{'channel':'/a','data':2}]"));
  poll_abort(&x);
  assert_int_equal(w.server->counters.over_limits, 1);
  assert_string_equal(world_ask(&w, "{'channel':'/a','data':1,'id':1,'data':2,'id':2}"),
                      "[{'id':2,'channel':'/a','successful':true}]");
  assert_false(poll_send(&x, &w, "{'channel':'/a','data':1,'id':1,'k':2}"));
  poll_abort(&x);
  assert_int_equal(w.server->counters.over_limits, 2);
  world_ask(&w, "[{'channel':'/a','data':[[1]]}]");
  assert_false(poll_send(&x, &w, "[{'channel':'/a','data':[[[1]]]}]"));
  poll_abort(&x);
  assert_int_equal(w.server->counters.published, 4);
  assert_int_equal(w.server->counters.bad_texts, 3);
  world_fini(&w);
}

static void limits_of_channels(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  char id[32];

  (void)state;
  options.max_channel_length = 8;
  options.max_channel_depth = 3;
  world_init(&w, &options);
  world_handshake(&w, id);
  assert_non_null(strstr(world_ask(&w, "{'channel':'/a/b/c','data':1}"), "'successful':true"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/a/b/c/d','data':1}"), "'405:/a/b/c/d:Channel too long'"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/2345678','data':1}"), "'successful':true"));
  assert_non_null(strstr(world_ask(&w, "{'channel':'/23456789','data':1}"), "'405:/23456789:Channel too long'"));
  world_subscribe(&w, id, "/a/b/*");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a/b/c/*'}", id),
                         "'405:/a/b/c/*:Channel too long'"));
  assert_int_equal(w.server->counters.over_limits, 3);
  world_fini(&w);
}

static void the_limit_of_subscriptions(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  options.max_subscriptions = 3;
  world_init(&w, &options);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  world_subscribe(&w, id, "/b");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/c','/d']}", id),
                         "'successful':false,'subscription':['/c','/d'],'error':'403:/c,/d:Too many subscriptions'"));
  assert_int_equal(w.server->counters.subscriptions, 2);
  // Those of one text count together, though none is recorded when the next is looked at.
  assert_true(poll_send(&x, &w,
                        "[{'channel':'/meta/subscribe','clientId':'%s','subscription':'/c'},"
                        "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/d'},"
                        "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/e'}]",
                        id, id, id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'successful':true"), 1);
  assert_int_equal(wire_count(&x, "Too many subscriptions"), 2);
  poll_end(&x, BX_ARRIVAL_YES);
  assert_int_equal(w.server->counters.subscriptions, 3);
  // What is there already is not one more.
  world_subscribe(&w, id, "/a");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/c','/b']}", id),
                         "'successful':true"));
  // Refused and unsubscribed ones leave room.
  w.verdict = BX_REFUSED;
  world_ask(&w, "{'channel':'/meta/unsubscribe','clientId':'%s','subscription':'/c'}", id);
  w.verdict = BX_ACKNOWLEDGED;
  world_unsubscribe(&w, id, "/c");
  w.verdict = BX_REFUSED;
  world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/d'}", id);
  w.verdict = BX_ACKNOWLEDGED;
  world_subscribe(&w, id, "/d");
  assert_int_equal(w.server->counters.subscriptions, 3);
  world_fini(&w);
}

static void ones(void *context, void *bytes, size_t count) {
  (void)context;
  memset(bytes, 0xff, count);
}

static void zeros(void *context, void *bytes, size_t count) {
  (void)context;
  memset(bytes, 0, count);
}

// 160 random bits as a number in base 36, of one length.
static void ids_of_clients(void **state) {
  struct world w;
  char id[32], other[32];

  (void)state;
  world_init(&w, NULL);
  w.server->env.random = zeros;
  world_handshake(&w, id);
  assert_string_equal(id, "0000000000000000000000000000000");
  w.server->env.random = ones;
  world_handshake(&w, id);
  assert_string_equal(id, "twj4yidkw7a8pn4g709kzmfoaol3x8f");   // 2^160 - 1
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  world_handshake(&w, other);
  assert_string_equal(other, id);   // free again
  world_fini(&w);
}

static void the_limit_of_clients(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  char id[32];

  (void)state;
  options.max_sessions = 2;
  world_init(&w, &options);
  world_handshake(&w, id);
  assert_non_null(strstr(world_ask(&w, "[{" HELLO "},{" HELLO "}]"),
                         "'error':'503::Too many clients','advice':{'reconnect':'handshake','interval':1"));
  assert_int_equal(w.server->counters.sessions, 2);
  assert_int_equal(w.server->counters.over_limits, 1);
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  world_handshake(&w, id);
  world_fini(&w);
}

static void a_stream_that_does_not_read_its_replies(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  struct wire x;

  (void)state;
  options.max_replies_bytes = 1000;
  world_init(&w, &options);
  wire_open(&x, &w);
  x.stuck = true;
  for (unsigned i = 0; i < 100 && !x.close_asked; i++) {
    assert_true(wire_send(&x, "{'channel':'/a','data':1}"));
    world_turn(&w);
    assert_in_range(x.c.before.len + x.c.after.len, 0, 1000);
  }
  assert_true(x.close_asked);
  assert_int_equal(x.close_code, 1013);
  assert_int_equal(w.server->counters.over_limits, 1);
  for (unsigned i = 0; i < 100; i++) {   // what still comes until it is closed takes no more room
    assert_true(wire_send(&x, "{'channel':'/a','data':1}"));
    world_turn(&w);
    assert_in_range(x.c.before.len + x.c.after.len, 0, 1000);
  }
  assert_int_equal(w.server->counters.over_limits, 1);
  wire_close(&x);
  world_fini(&w);
}

static void a_stream_of_which_much_is_not_done_is_full(void **state) {
  struct bx_server_options options = world_options();
  struct world w;
  struct wire x, y;
  unsigned texts = 0;

  (void)state;
  options.max_waiting_bytes = 10000;
  world_init(&w, &options);
  wire_open(&x, &w);
  wire_open(&y, &w);
  w.hold = 1 << BX_REQUEST_PUBLISH;
  for (; !bx_connection_is_full(&x.c) && texts < 100; texts++) {
    assert_true(wire_send(&x, "{'channel':'/a','data':1}"));
    assert_false(wire_send(&x, "{"));   // what is none does not count
    world_turn(&w);
  }
  assert_in_range(texts, 2, 99);
  assert_in_range(x.c.waiting, 10001, 12000);
  assert_false(bx_connection_is_full(&y.c));   // each for itself
  assert_true(wire_send(&y, "{'channel':'/a','data':1}"));
  wire_close(&y);   // and what it sent is done without it
  w.hold = 0;
  world_turn(&w);
  assert_int_equal(x.c.waiting, 0);
  assert_int_equal(wire_count(&x, "'successful':true"), texts);
  wire_close(&x);
  world_fini(&w);
}

// A text of more than BX_WAITING_FREE, or one of less.
static bool send_padded(struct wire *x, const char *channel, int length) {
  return wire_send(x, "{'channel':'%s','data':'%0*d'}", channel, length, 1);
}

static void when_much_of_all_is_not_done_who_has_a_part_in_it_is_full(void **state) {
  enum { LONG = BX_WAITING_FREE + 100, SHORT = 100, ALL = 2 * LONG };
  struct bx_server_options options = world_options();
  struct wire streams[2], light, poll, late, inside;
  struct world w;

  (void)state;
  options.max_all_waiting = ALL;
  world_init(&w, &options);
  for (int i = 0; i < 2; i++) wire_open(&streams[i], &w);
  wire_open(&light, &w);
  w.hold = 1 << BX_REQUEST_PUBLISH;
  assert_true(send_padded(&streams[0], "/long", LONG));
  assert_true(send_padded(&light, "/short", SHORT));
  assert_false(bx_connection_is_full(&streams[0].c));
  assert_true(send_padded(&streams[1], "/long", LONG));
  assert_true(w.server->counters.waiting_bytes > ALL);
  for (int i = 0; i < 2; i++) assert_true(bx_connection_is_full(&streams[i].c));
  assert_false(bx_connection_is_full(&light.c));
  // A request cannot be left unread. One that is short gets through.
  poll_open(&poll, &w);
  assert_true(send_padded(&poll, "/refused", LONG));
  world_turn(&w);
  assert_true(poll.answered && poll.c.failed);
  assert_int_equal(wire_count(&poll, "'channel'"), 0);
  assert_int_equal(w.server->counters.over_waiting, 1);
  poll_end(&poll, BX_ARRIVAL_YES);
  poll_open(&poll, &w);
  assert_true(send_padded(&poll, "/short", SHORT));
  poll_open(&inside, &w);
  inside.c.inside = true;   // of another node
  assert_true(send_padded(&inside, "/long", LONG));
  world_turn(&w);
  assert_false(poll.answered || inside.answered);
  wire_close(&streams[0]);   // what it sent still waits
  assert_true(bx_connection_is_full(&streams[1].c));
  w.hold = 0;
  world_turn(&w);
  assert_true(poll.answered && inside.answered && !poll.c.failed && !inside.c.failed);
  assert_false(bx_connection_is_full(&streams[1].c));
  assert_int_equal(w.server->counters.waiting_bytes, 0);
  assert_int_equal(wire_count(&streams[1], "'successful':true"), 1);
  assert_int_equal(wire_count(&light, "'successful':true"), 1);
  poll_open(&late, &w);
  assert_true(send_padded(&late, "/long", LONG));
  world_turn(&w);
  assert_int_equal(wire_count(&late, "'successful':true"), 1);
  assert_int_equal(w.server->counters.published, 6);
  assert_int_equal(w.server->counters.over_limits, 1);
  poll_end(&late, BX_ARRIVAL_YES);
  poll_end(&poll, BX_ARRIVAL_YES);
  poll_end(&inside, BX_ARRIVAL_YES);
  wire_close(&streams[1]);
  wire_close(&light);
  world_fini(&w);
}

// -- subscribing -------------------------------------------------------------------------------------

static void what_comes_before_a_bad_item_is_subscribed(void **state) {
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  assert_non_null(
      strstr(world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/ok','bad','/ok2']}", id),
             "'error':'405:bad:Invalid channel'"));
  assert_int_equal(w.subscribes, 1);
  assert_string_equal(w.last_detail, "/ok");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/unsubscribe','clientId':'%s','subscription':['/ok',7]}", id),
                         "'error':'405:7:Invalid channel'"));
  assert_int_equal(w.unsubscribes, 1);
  assert_int_equal(w.server->counters.subscriptions, 0);
  world_fini(&w);
}

static void events_come_once(void **state) {
  struct world w;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  world_subscribe(&w, id, "/a");
  world_subscribe(&w, id, "/a");
  world_ask(&w, "{'channel':'/meta/subscribe','clientId':'%s','subscription':['/b','/b']}", id);
  assert_int_equal(w.subscribes, 2);
  world_unsubscribe(&w, id, "/never");
  assert_int_equal(w.unsubscribes, 0);
  world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id);
  assert_int_equal(w.unsubscribes, 2);
  assert_int_equal(w.disconnects, 1);
  assert_string_equal(w.last_detail, "disconnect");
  assert_non_null(strstr(world_ask(&w, "{'channel':'/meta/disconnect','clientId':'%s'}", id), "'401:"));
  assert_int_equal(w.disconnects, 1);
  world_fini(&w);
}

static void two_disconnects_of_one_text(void **state) {
  struct world w;
  struct wire x;
  char id[32];

  (void)state;
  world_init(&w, NULL);
  world_handshake(&w, id);
  assert_true(
      poll_send(&x, &w,
                "[{'channel':'/meta/disconnect','clientId':'%s'},{'channel':'/meta/disconnect','clientId':'%s'},"
                "{'channel':'/meta/subscribe','clientId':'%s','subscription':'/a'}]",
                id, id, id));
  world_turn(&w);
  assert_int_equal(wire_count(&x, "'successful':true"), 1);
  assert_int_equal(wire_count(&x, "Unknown client"), 2);
  poll_end(&x, BX_ARRIVAL_YES);
  assert_int_equal(w.disconnects, 1);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(replies_are_faye_s),
      cmocka_unit_test(texts_that_are_not_messages),
      cmocka_unit_test(empty_texts_of_a_stream_are_answered_each),
      cmocka_unit_test(a_client_s_error_is_refused_by_every_verb),
      cmocka_unit_test(members_that_are_forwarded),
      cmocka_unit_test(values_are_forwarded_byte_for_byte),
      cmocka_unit_test(of_a_member_that_comes_twice_the_last_value_counts),
      cmocka_unit_test(escapes_are_decoded_where_they_matter),
      cmocka_unit_test(service_channels_reach_no_pattern),
      cmocka_unit_test(dead_clients_are_told),
      cmocka_unit_test(outcomes_of_a_publish),
      cmocka_unit_test(an_engine_that_refuses_records),
      cmocka_unit_test(a_session_that_ends_while_it_is_recorded),
      cmocka_unit_test(limits_of_a_text),
      cmocka_unit_test(limits_of_channels),
      cmocka_unit_test(the_limit_of_subscriptions),
      cmocka_unit_test(ids_of_clients),
      cmocka_unit_test(the_limit_of_clients),
      cmocka_unit_test(a_stream_that_does_not_read_its_replies),
      cmocka_unit_test(a_stream_of_which_much_is_not_done_is_full),
      cmocka_unit_test(when_much_of_all_is_not_done_who_has_a_part_in_it_is_full),
      cmocka_unit_test(what_comes_before_a_bad_item_is_subscribed),
      cmocka_unit_test(events_come_once),
      cmocka_unit_test(two_disconnects_of_one_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
