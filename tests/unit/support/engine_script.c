// SPDX-License-Identifier: Apache-2.0
// Scripts that every engine has to follow: see engine_script.h.
#include "tests/unit/support/engine_script.h"

#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/session.h"

// -- a run -------------------------------------------------------------------------------------------

#define REQUESTS 16

struct run;

struct step {
  struct bx_request request;
  struct run *run;
  char name;
  unsigned done;
  struct step *then;   // submitted from inside `done`
};

struct run {
  struct engine_host *host;
  struct bx_engine *engine;
  struct bx_buffer *out;
  bx_position base;
  uint64_t frames;
  bool telling;   // events may come now
  bx_position appended, delivered;
  struct step steps[REQUESTS];
  unsigned count;
  struct bx_slice pattern;
};

static void say(struct run *r, const char *words) { bx_buffer_printf(r->out, "-- %s\n", words); }

static void appended(void *context, bx_position position, struct bx_slice channel, struct bx_frame *frame) {
  struct run *r = context;

  assert_true(r->telling);
  assert_int_equal(frame->position == 0 || frame->position == position, true);
  r->appended = position;
  bx_buffer_printf(r->out, "appended %llu %.*s %.*s\n", (unsigned long long)(position - r->base), (int)channel.len,
                   channel.at, (int)frame->len, bx_frame_text(frame));
}

static void deliver(void *context) {
  struct run *r = context;

  assert_true(r->telling);
  if (r->delivered == r->appended) return;
  r->delivered = r->appended;
  bx_buffer_printf(r->out, "to sessions: up to %llu\n", (unsigned long long)(r->delivered - r->base));
}

static void done(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  static const char *const outcomes[] = {"acknowledged", "refused", "unknown", "no session"};
  struct step *s = bx_container_of(request, struct step, request);
  struct run *r = s->run;

  assert_true(r->telling);
  assert_int_equal(r->delivered, r->appended);   // before anything else is told
  if (request->kind == BX_REQUEST_PUBLISH && outcome == BX_ACKNOWLEDGED) assert_true(position <= r->delivered);
  assert_int_equal(s->done++, 0);
  bx_buffer_printf(r->out, "done %c %s", s->name, outcomes[outcome]);
  if (request->kind == BX_REQUEST_PUBLISH && outcome == BX_ACKNOWLEDGED)
    bx_buffer_printf(r->out, " %llu%s", (unsigned long long)(position - r->base), request->repeated ? " repeated" : "");
  bx_buffer_char(r->out, '\n');
  if (s->then != NULL) r->engine->ops->submit(r->engine, &s->then->request);
}

// Engines of several nodes have an entry or two of their own before the first head.
static void moved(void *context, bx_position head) {
  struct run *r = context;

  assert_int_equal(r->out->len, 0);
  r->base = head;
}

static void begin(struct run *r, struct engine_host *host, struct bx_buffer *out) {
  *r = (struct run){.host = host, .out = out, .pattern = BX_LIT("/a/*")};
  r->engine = host->create(host);
  r->engine->events.context = r;
  r->engine->events.appended = appended;
  r->engine->events.deliver = deliver;
  r->engine->events.begin = r->engine->events.jump = moved;
  r->engine->frames = &r->frames;
  r->base = r->engine->base;
  r->telling = true;
  if (host->start != NULL) host->start(host, r->engine);
  r->telling = false;
}

static void settle(struct run *r) {
  r->telling = true;
  r->host->settle(r->host, r->engine);
  r->telling = false;
  assert_false(r->engine->ops->busy(r->engine));
}

static void end(struct run *r) {
  r->telling = true;
  r->engine->ops->destroy(r->engine);
  for (unsigned i = 0; i < r->count; i++) {
    assert_int_equal(r->steps[i].done, 1);
    bx_frame_unref(r->steps[i].request.frame);
  }
  assert_int_equal(r->frames, 0);
}

static struct step *prepare(struct run *r, char name, enum bx_request_kind kind) {
  struct step *s = &r->steps[r->count++];

  assert_true(r->count <= REQUESTS);
  s->run = r;
  s->name = name;
  s->request = (struct bx_request){.kind = kind, .done = done};
  bx_list_init(&s->request.link);
  return s;
}

static struct step *prepare_publish(struct run *r, char name, const char *channel, const char *once) {
  struct step *s = prepare(r, name, BX_REQUEST_PUBLISH);
  char text[64];
  int len = snprintf(text, sizeof text, "{\"channel\":\"%s\",\"data\":\"%c\"}", channel, name);

  s->request.channel = bx_slice_of(channel);
  s->request.once = bx_slice_of(once);
  s->request.frame = bx_frame_create((size_t)len, &r->frames);
  memcpy(bx_frame_text(s->request.frame), text, (size_t)len);
  return s;
}

static void submit(struct run *r, struct step *s) {
  size_t before = r->out->len;

  r->engine->ops->submit(r->engine, &s->request);
  assert_int_equal(r->out->len, before);   // nothing is told from inside a call
}

static void publish(struct run *r, char name, const char *channel, const char *once) {
  submit(r, prepare_publish(r, name, channel, once));
}

// -- scripts -----------------------------------------------------------------------------------------

static void in_order(struct engine_host *host, struct bx_buffer *out) {
  struct run r;

  begin(&r, host, out);
  publish(&r, 'a', "/a", "");
  publish(&r, 'b', "/service/x", "");
  publish(&r, 'c', "/a/b/c", "");
  say(&r, "three are submitted");
  settle(&r);
  say(&r, "one more");
  publish(&r, 'd', "/a", "");
  settle(&r);
  say(&r, "nothing follows");
  settle(&r);
  end(&r);
}

static void from_done(struct engine_host *host, struct bx_buffer *out) {
  struct step *first, *second, *third;
  struct run r;

  begin(&r, host, out);
  first = prepare_publish(&r, 'a', "/a", "");
  second = prepare_publish(&r, 'b', "/a", "");
  third = prepare_publish(&r, 'c', "/a", "");
  first->then = third;
  submit(&r, first);
  submit(&r, second);
  settle(&r);
  end(&r);
}

static void once(struct engine_host *host, struct bx_buffer *out) {
  struct run r;

  begin(&r, host, out);
  say(&r, "twice in a turn");
  publish(&r, 'a', "/a", "key");
  publish(&r, 'b', "/a", "key");
  settle(&r);
  say(&r, "later, on another channel");
  publish(&r, 'c', "/b", "key");
  settle(&r);
  say(&r, "another key, and none");
  publish(&r, 'd', "/a", "keys");
  publish(&r, 'e', "/a", "");
  publish(&r, 'f', "/a", "");
  publish(&r, 'g', "/a", "keys");
  settle(&r);
  end(&r);
}

static void records(struct engine_host *host, struct bx_buffer *out) {
  static const char id[] = "0123456789abcdefghijklmnopqrstu";
  struct bx_session *session = bx_alloc(sizeof *session + sizeof id);
  struct step *create, *subscribe, *unsubscribe, *finish;
  struct run r;

  memcpy(session->id, id, sizeof id);
  session->node.key = (struct bx_slice){session->id, sizeof id - 1};
  session->life = 20000;
  session->generation = 1;
  bx_list_init(&session->mark.link);
  bx_list_init(&session->mark.dirty_link);
  begin(&r, host, out);
  create = prepare(&r, 'h', BX_REQUEST_CREATE);
  subscribe = prepare(&r, 's', BX_REQUEST_SUBSCRIBE);
  unsubscribe = prepare(&r, 'u', BX_REQUEST_UNSUBSCRIBE);
  finish = prepare(&r, 'x', BX_REQUEST_END);
  create->request.session = subscribe->request.session = session;
  unsubscribe->request.session = finish->request.session = session;
  subscribe->request.patterns = unsubscribe->request.patterns = &r.pattern;
  subscribe->request.pattern_count = unsubscribe->request.pattern_count = 1;
  subscribe->request.start = r.base;
  submit(&r, create);
  settle(&r);
  session->recorded = true;
  say(&r, "between publishes");
  publish(&r, 'a', "/a/b", "");
  submit(&r, subscribe);
  publish(&r, 'b', "/a/b", "");
  r.steps[r.count - 1].request.publisher = bx_session_id(session);
  settle(&r);
  submit(&r, unsubscribe);
  settle(&r);
  submit(&r, finish);
  settle(&r);
  end(&r);
  bx_free(session);
}

static void destroyed(struct engine_host *host, struct bx_buffer *out) {
  struct step *last;
  struct run r;

  begin(&r, host, out);
  publish(&r, 'a', "/a", "");
  settle(&r);
  say(&r, "under way when it ends");
  publish(&r, 'b', "/a", "key");
  last = prepare_publish(&r, 'c', "/a", "");
  r.steps[1].then = last;   // what is submitted then, too
  end(&r);
}

const struct engine_script engine_scripts[] = {
    {"in order", in_order,
     "-- three are submitted\n"
     "appended 1 /a {\"channel\":\"/a\",\"data\":\"a\"}\n"
     "appended 2 /service/x {\"channel\":\"/service/x\",\"data\":\"b\"}\n"
     "appended 3 /a/b/c {\"channel\":\"/a/b/c\",\"data\":\"c\"}\n"
     "to sessions: up to 3\n"
     "done a acknowledged 1\n"
     "done b acknowledged 2\n"
     "done c acknowledged 3\n"
     "-- one more\n"
     "appended 4 /a {\"channel\":\"/a\",\"data\":\"d\"}\n"
     "to sessions: up to 4\n"
     "done d acknowledged 4\n"
     "-- nothing follows\n"},
    {"from done", from_done,
     "appended 1 /a {\"channel\":\"/a\",\"data\":\"a\"}\n"
     "appended 2 /a {\"channel\":\"/a\",\"data\":\"b\"}\n"
     "to sessions: up to 2\n"
     "done a acknowledged 1\n"
     "done b acknowledged 2\n"
     "appended 3 /a {\"channel\":\"/a\",\"data\":\"c\"}\n"
     "to sessions: up to 3\n"
     "done c acknowledged 3\n"},
    {"once", once,
     "-- twice in a turn\n"
     "appended 1 /a {\"channel\":\"/a\",\"data\":\"a\"}\n"
     "to sessions: up to 1\n"
     "done a acknowledged 1\n"
     "done b acknowledged 1 repeated\n"
     "-- later, on another channel\n"
     "done c acknowledged 1 repeated\n"
     "-- another key, and none\n"
     "appended 2 /a {\"channel\":\"/a\",\"data\":\"d\"}\n"
     "appended 3 /a {\"channel\":\"/a\",\"data\":\"e\"}\n"
     "appended 4 /a {\"channel\":\"/a\",\"data\":\"f\"}\n"
     "to sessions: up to 4\n"
     "done d acknowledged 2\n"
     "done e acknowledged 3\n"
     "done f acknowledged 4\n"
     "done g acknowledged 2 repeated\n"},
    {"records", records,
     "done h acknowledged\n"
     "-- between publishes\n"
     "appended 1 /a/b {\"channel\":\"/a/b\",\"data\":\"a\"}\n"
     "to sessions: up to 1\n"
     "done a acknowledged 1\n"
     "done s acknowledged\n"
     "appended 2 /a/b {\"channel\":\"/a/b\",\"data\":\"b\"}\n"
     "to sessions: up to 2\n"
     "done b acknowledged 2\n"
     "done u acknowledged\n"
     "done x acknowledged\n"},
    {"destroyed", destroyed,
     "appended 1 /a {\"channel\":\"/a\",\"data\":\"a\"}\n"
     "to sessions: up to 1\n"
     "done a acknowledged 1\n"
     "-- under way when it ends\n"
     "done b refused\n"
     "done c refused\n"},
    {0},
};

static void move_behind(struct bx_buffer *out, struct bx_buffer *later) {
  bx_buffer_slice(out, bx_buffer_view(later));
  bx_buffer_clear(later);
}

// Between words: what was appended, then completions of publishes, then those of records, which tell no position. Not
// how many entries are delivered together.
static struct bx_buffer set_apart(const char *text) {
  static const char record[] = "done x acknowledged\n";
  struct bx_buffer out = {0}, publishes = {0}, records = {0};

  for (const char *end; *text != '\0'; text = end) {
    end = strchr(text, '\n') + 1;
    struct bx_slice line = {text, (size_t)(end - text)};

    if (text[0] == '-') move_behind(&out, &publishes), move_behind(&out, &records);
    if (text[0] == 't') continue;
    bx_buffer_slice(text[0] != 'd' ? &out : line.len == sizeof record - 1 ? &records : &publishes, line);
  }
  move_behind(&out, &publishes);
  move_behind(&out, &records);
  bx_buffer_char(&out, '\0');
  bx_buffer_fini(&publishes);
  bx_buffer_fini(&records);
  return out;
}

void engine_script_check(struct engine_host *host, const struct engine_script *script) {
  struct bx_buffer out = {0}, expected = {0};

  script->run(host, &out);
  bx_buffer_char(&out, '\0');
  if (host->apart) {
    struct bx_buffer told = out;

    out = set_apart(told.at);
    expected = set_apart(script->transcript);
    bx_buffer_fini(&told);
  } else {
    bx_buffer_slice(&expected, bx_slice_of(script->transcript));
    bx_buffer_char(&expected, '\0');
  }
  if (strcmp(out.at, expected.at) != 0) print_error("script: %s\n", script->name);
  assert_string_equal(out.at, expected.at);
  bx_buffer_fini(&out);
  bx_buffer_fini(&expected);
}
