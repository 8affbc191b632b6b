// SPDX-License-Identifier: Apache-2.0
// The Redis engine: the scripts that every engine has to follow, on the model of Redis, whichever of
// its links is heard first; and what it alone can be told.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "engine-redis/core/core.h"
#include "tests/simulation/model.h"
#include "tests/unit/support/engine_script.h"

#define CLOCK 1700000000000000ull   // microseconds

struct command {
  struct bx_list link;
  char *name;
  struct bx_slice *args;
  size_t count;
};

// A core, its links, and a Redis behind them.
struct node {
  struct engine_host host;
  struct sim_redis *redis;
  struct er_core *core;
  bx_millis now;
  bool tail_first;
  struct bx_list commands[ER_LINKS];
  unsigned resets, malformed;
  char lost[100];   // by their positions
};

// -- links -----------------------------------------------------------------------------------------

static char *copy(struct bx_slice text) {
  char *to = bx_alloc(text.len + 1);

  if (text.len > 0) memcpy(to, text.at, text.len);
  return to;
}

static void send(void *context, enum er_which which, const char *name, const struct bx_slice *args, size_t count) {
  struct node *n = context;
  struct command *c = bx_alloc(sizeof *c);

  c->name = copy(bx_slice_of(name));
  c->args = bx_alloc((count + 1) * sizeof *c->args);
  c->count = count;
  for (size_t i = 0; i < count; i++) c->args[i] = (struct bx_slice){copy(args[i]), args[i].len};
  bx_list_init(&c->link);
  bx_list_append(&n->commands[which], &c->link);
}

static void drop(struct command *c) {
  bx_list_remove(&c->link);
  for (size_t i = 0; i < c->count; i++) bx_free((char *)c->args[i].at);
  bx_free(c->args);
  bx_free(c->name);
  bx_free(c);
}

static void reset(void *context, enum er_which which, const char *why) {
  (void)which;
  (void)why;
  ((struct node *)context)->resets++;
}

static void event(void *context, const char *id, struct bx_slice detail) {
  struct node *n = context;
  if (strcmp(id, "engine.not_recovered") == 0) snprintf(n->lost, sizeof n->lost, "%.*s", (int)detail.len, detail.at);
  if (strcmp(id, "engine.malformed") == 0) n->malformed++;
}

// Executes the oldest command of a link, and tells its answer; `tail_first`: what it did is read before.
// False: there is none, or it waits for news.
static bool serve(struct node *n, enum er_which which) {
  struct er_reply *reply;
  bool news;

  if (bx_list_empty(&n->commands[which])) return false;
  struct command *c = bx_container_of(n->commands[which].next, struct command, link);
  n->redis->clock = CLOCK + 1000 * n->now;
  reply = sim_redis_call(n->redis, c->name, c->args, c->count);
  news = reply->type != ER_REPLY_NIL || strcmp(c->name, "XREAD") != 0;
  if (news) {
    drop(c);
    while (which == ER_COMMAND && n->tail_first && serve(n, ER_TAIL)) continue;
    er_core_reply(n->core, which, reply, n->now);
  }
  sim_reply_destroy(reply);
  return news;
}

static void serve_all(struct node *n) {
  while (serve(n, ER_COMMAND) || serve(n, ER_TAIL)) continue;
}

// -- what the scripts ask for ------------------------------------------------------------------------

static unsigned wait;   // of the next node: replicas

static struct node *of(struct engine_host *host) { return bx_container_of(host, struct node, host); }

static struct bx_engine *create(struct engine_host *host) {
  struct node *n = of(host);
  struct er_core_env env = {.context = n, .send = send, .reset = reset, .event = event};
  struct er_core_options options = {.ns = BX_LIT("t"),
                                    .node = BX_LIT("n1"),
                                    .role = BX_LIT("broker"),
                                    .address = BX_LIT("here"),
                                    .command_timeout = 2000,
                                    .life = 60000,
                                    .journal_messages = 1000,
                                    .wait = wait};

  n->core = er_core_create(&env, &options, n->now);
  return er_core_engine(n->core);
}

static void start(struct engine_host *host, struct bx_engine *engine) {
  struct node *n = of(host);

  assert_non_null(engine->ops->not_ready(engine));
  er_core_up(n->core, ER_COMMAND, BX_LIT("run1"), n->now);
  er_core_up(n->core, ER_TAIL, BX_LIT("run1"), n->now);
  serve_all(n);
  assert_null(engine->ops->not_ready(engine));
}

static void settle(struct engine_host *host, struct bx_engine *engine) {
  struct node *n = of(host);

  do {
    engine->ops->turn(engine, n->now);
    serve_all(n);
  } while (engine->ops->busy(engine));
}

static void init(struct node *n, bool tail_first) {
  *n = (struct node){.host = {create, start, settle, true}, .tail_first = tail_first, .now = 1000};
  for (int i = 0; i < ER_LINKS; i++) bx_list_init(&n->commands[i]);
  n->redis = sim_redis_create(CLOCK, "run1");
}

static void forget_commands(struct node *n) {
  for (int i = 0; i < ER_LINKS; i++)
    bx_list_each (link, &n->commands[i]) drop(bx_container_of(link, struct command, link));
}

static void fini(struct node *n) {
  forget_commands(n);
  sim_redis_destroy(n->redis);
  assert_int_equal(n->resets, 0);
  assert_int_equal(n->malformed, 0);
}

static void follow(bool tail_first) {
  unsigned count = 0;

  for (const struct engine_script *s = engine_scripts; s->name != NULL; s++, count++) {
    struct node n;

    init(&n, tail_first);
    engine_script_check(&n.host, s);
    fini(&n);
  }
  assert_int_equal(count, 5);
}

static void scripts_command_first(void **state) {
  (void)state;
  follow(false);
}

static void scripts_tail_first(void **state) {
  (void)state;
  follow(true);
}

// -- its own -----------------------------------------------------------------------------------------

struct publish {
  struct bx_request request;
  unsigned done;
  enum bx_outcome outcome;
  bx_position position;
};

static bx_position head;
static uint64_t frames;

static void appended(void *context, bx_position position, struct bx_slice channel, struct bx_frame *frame) {
  (void)context;
  (void)channel;
  (void)frame;
  head = position;
}

static void moved(void *context, bx_position to) {
  (void)context;
  head = to;
}

static void done(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct publish *p = bx_container_of(request, struct publish, request);

  p->done++;
  p->outcome = outcome;
  p->position = position;
}

static void submit(struct node *n, struct publish *p, const char *publisher, const char *once) {
  struct bx_engine *engine = er_core_engine(n->core);

  *p = (struct publish){.request = {.kind = BX_REQUEST_PUBLISH, .done = done, .channel = BX_LIT("/a")}};
  p->request.publisher = bx_slice_of(publisher);
  p->request.once = bx_slice_of(once);
  p->request.frame = bx_frame_create(2, &frames);
  memcpy(bx_frame_text(p->request.frame), "{}", 2);
  bx_list_init(&p->request.link);
  engine->ops->submit(engine, &p->request);
  engine->ops->turn(engine, n->now);
}

static void check(struct publish *p, enum bx_outcome outcome, bx_position position) {
  assert_int_equal(p->done, 1);
  assert_int_equal(p->outcome, outcome);
  assert_int_equal(p->position, position);
}

static void release(struct publish *p) {
  assert_int_equal(p->done, 1);
  bx_frame_unref(p->request.frame);   // the node may keep it until it ends
}

// No server: as a publisher, which has no sessions.
static void run(struct node *n) {
  struct bx_engine *engine;

  init(n, false);
  engine = create(&n->host);
  engine->events.appended = appended;
  engine->events.begin = engine->events.jump = moved;
  engine->frames = &frames;
  start(&n->host, engine);
}

static void stop(struct node *n) {
  struct bx_engine *engine = er_core_engine(n->core);

  engine->ops->destroy(engine);
  forget_commands(n);
  sim_redis_destroy(n->redis);
}

// Of all nodes, which have ended, and publishers.
static int no_frame_is_left(void **state) { return (void)state, frames == 0 ? 0 : -1; }

static void who_publishes_has_a_record(void **state) {
  struct publish p;
  struct node n;

  (void)state;
  run(&n);
  submit(&n, &p, "nobody", "");
  serve_all(&n);
  check(&p, BX_NO_SESSION, 0);
  release(&p);
  stop(&n);
}

// It was sent, and nobody knows: that is not a refusal.
static void destroyed_while_it_was_sent(void **state) {
  struct publish p;
  struct node n;

  (void)state;
  run(&n);
  submit(&n, &p, "", "");
  assert_int_equal(p.done, 0);
  stop(&n);
  check(&p, BX_UNKNOWN, 0);
  release(&p);
}

// A repeat of something that the tail has not brought yet is told behind it, or after 50 ms.
static void a_repeat_waits_for_its_entry(void **state) {
  struct publish first, second;
  bx_position before;
  struct node n;

  (void)state;
  run(&n);
  before = head;
  submit(&n, &first, "", "key");
  submit(&n, &second, "", "key");
  assert_true(serve(&n, ER_COMMAND));
  assert_true(serve(&n, ER_COMMAND));
  assert_int_equal(first.done + second.done, 0);
  assert_true(serve(&n, ER_TAIL));
  check(&first, BX_ACKNOWLEDGED, before + 1);
  check(&second, BX_ACKNOWLEDGED, before + 1);
  assert_false(first.request.repeated);
  assert_true(second.request.repeated);
  release(&first);
  release(&second);
  submit(&n, &first, "", "other");
  submit(&n, &second, "", "other");
  while (serve(&n, ER_COMMAND)) continue;
  assert_int_equal(er_core_due(n.core), n.now + 50);
  er_core_wake(n.core, n.now + 49);
  assert_int_equal(er_core_due(n.core), n.now + 50);
  er_core_wake(n.core, n.now += 50);   // the tail may have been there all the time: it is looked at once more
  assert_int_equal(first.done + second.done, 0);
  assert_int_equal(er_core_due(n.core), n.now + 1);
  er_core_wake(n.core, n.now += 1);
  assert_int_equal(er_core_due(n.core), BX_NEVER);
  check(&first, BX_ACKNOWLEDGED, before + 2);
  check(&second, BX_ACKNOWLEDGED, before + 2);
  release(&first);
  release(&second);
  stop(&n);
}

// What cannot be read may have been done: counted, and not called a refusal.
static void a_result_that_can_not_be_read(void **state) {
  static const char *const results[] = {"", "=", "x", "0", "=0", "-402", "18446744073709551616"};
  struct publish p;
  struct node n;

  (void)state;
  run(&n);
  for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
    struct er_reply items[] = {{.type = ER_REPLY_TEXT, .text = BX_LIT("OK")},
                               {.type = ER_REPLY_TEXT, .text = bx_slice_of(results[i])}};

    submit(&n, &p, "", "");
    drop(bx_container_of(n.commands[ER_COMMAND].next, struct command, link));
    er_core_reply(n.core, ER_COMMAND, &(struct er_reply){.type = ER_REPLY_ARRAY, .items = items, .count = 2}, n.now);
    check(&p, BX_UNKNOWN, 0);
    release(&p);
    assert_int_equal(er_core_counters(n.core)->malformed, i + 1);
  }
  stop(&n);
}

static void answer(struct node *n, const struct er_reply *reply) {
  drop(bx_container_of(n->commands[ER_COMMAND].next, struct command, link));
  er_core_reply(n->core, ER_COMMAND, reply, n->now);
}

// Refused is what is known not to be in the journal; what nobody understands is not known.
static void an_answer_that_is_no_answer(void **state) {
  static const struct {
    enum er_reply_type type;
    const char *word;
    enum bx_outcome outcome;
    unsigned resets;
  } answers[] = {
      {ER_REPLY_ARRAY, "LATE", BX_REFUSED, 0},   {ER_REPLY_ARRAY, "FULL", BX_REFUSED, 0},
      {ER_REPLY_ARRAY, "BAD", BX_REFUSED, 0},    {ER_REPLY_ARRAY, "FENCED", BX_REFUSED, 1},
      {ER_REPLY_ERROR, "ERR no", BX_REFUSED, 0}, {ER_REPLY_ARRAY, "LATER", BX_UNKNOWN, 0},
      {ER_REPLY_ARRAY, "", BX_UNKNOWN, 0},       {ER_REPLY_TEXT, "1", BX_UNKNOWN, 0},
      {ER_REPLY_NIL, "", BX_UNKNOWN, 0},
  };
  struct publish p;
  struct node n;

  (void)state;
  run(&n);
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    struct er_reply word = {.type = ER_REPLY_TEXT, .text = bx_slice_of(answers[i].word)};
    unsigned malformed = n.malformed;

    n.resets = 0;
    submit(&n, &p, "", "");
    answer(&n, &(struct er_reply){.type = answers[i].type, .text = word.text, .items = &word, .count = 1});
    check(&p, answers[i].outcome, 0);
    assert_int_equal(n.malformed - malformed, answers[i].outcome == BX_UNKNOWN);
    assert_int_equal(n.resets, answers[i].resets);
    release(&p);
  }
  stop(&n);
}

// -- sessions of other nodes ---------------------------------------------------------------------------

struct locate {
  struct bx_request request;
  bool wanted;
  unsigned done;
  enum bx_outcome outcome;
};

static struct bx_session adopted;

static struct bx_session *find_none(void *context, struct bx_slice id) {
  (void)context;
  (void)id;
  return NULL;
}

static struct bx_session *adopt(void *context, const struct bx_record *record) {
  (void)context;
  (void)record;
  return &adopted;
}

static void located(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct locate *l = bx_container_of(request, struct locate, request);

  (void)position;
  l->done++;
  l->outcome = outcome;
}

static bool is_wanted(const struct bx_request *request) {
  return bx_container_of(request, const struct locate, request)->wanted;
}

// A connect for the session `s1`, up to the first command behind `load`, or the end.
static void look_for(struct node *n, struct locate *l, bool wanted) {
  struct bx_engine *engine = er_core_engine(n->core);

  *l = (struct locate){.request = {.kind = BX_REQUEST_LOCATE, .done = located, .id = BX_LIT("s1"), .mover = true},
                       .wanted = wanted};
  l->request.wanted = is_wanted;
  bx_list_init(&l->request.link);
  engine->ops->submit(engine, &l->request);
  engine->ops->turn(engine, n->now);
  assert_true(serve(n, ER_COMMAND));
}

static void call(struct node *n, const char *name, const struct bx_slice *args, size_t count) {
  struct er_reply *reply = sim_redis_call(n->redis, name, args, count);

  assert_true(er_reply_is(reply, "OK"));
  sim_reply_destroy(reply);
}

// Node n2 owns `s1`, and lives.
static void make_owner(struct node *n, char epoch[24]) {
  struct bx_slice hello[] = {BX_LIT("t"),     BX_LIT("run1"), BX_LIT("n2"), BX_LIT("broker"),
                             BX_LIT("there"), BX_LIT("1"),    BX_LIT("0"),  BX_LIT("0")};
  snprintf(epoch, 24, "%llu", (unsigned long long)er_core_engine(n->core)->epoch);
  struct bx_slice create[] = {BX_LIT("t"), bx_slice_of(epoch), BX_LIT("n2"), BX_LIT("s1"),
                              BX_LIT(""),  BX_LIT("60000"),    BX_LIT("1"),  BX_LIT("")};

  call(n, "hello", hello, 8);
  call(n, "create", create, 8);
}

// Its client has gone, and may be at the owner by now: the session is left where it is.
static void a_session_is_not_taken_for_nobody(void **state) {
  struct locate l;
  struct node n;
  char epoch[24];

  (void)state;
  run(&n);
  er_core_engine(n.core)->events.find = find_none;
  make_owner(&n, epoch);
  look_for(&n, &l, false);
  assert_int_equal(l.done, 1);
  assert_int_equal(l.outcome, BX_UNKNOWN);
  assert_int_equal(er_core_counters(n.core)->asks, 0);
  look_for(&n, &l, true);
  assert_int_equal(l.done, 0);
  assert_int_equal(er_core_counters(n.core)->asks, 1);
  l.wanted = false;   // and it is not claimed either
  er_core_tick(n.core, n.now += 300);
  assert_int_equal(l.done, 1);
  assert_int_equal(er_core_counters(n.core)->claims, 0);
  stop(&n);
}

// Nothing was rolled back, so there is no owner that is about to save its sessions again.
static void a_new_journal_needs_no_time_to_settle(void **state) {
  struct bx_slice heartbeat[] = {BX_LIT("t:node:n2")};
  static struct bx_server server;   // for its counters
  struct locate l;
  struct node n;
  char epoch[24];

  (void)state;
  run(&n);
  er_core_engine(n.core)->events.find = find_none;
  er_core_engine(n.core)->events.adopt = adopt;
  make_owner(&n, epoch);
  sim_reply_destroy(sim_redis_call(n.redis, "DEL", heartbeat, 1));
  look_for(&n, &l, true);
  er_core_engine(n.core)->events.context = &server;
  assert_true(serve(&n, ER_COMMAND));
  er_core_engine(n.core)->events.context = NULL;
  assert_int_equal(l.done, 1);
  assert_int_equal(l.outcome, BX_ACKNOWLEDGED);
  assert_ptr_equal(l.request.session, &adopted);
  assert_int_equal(er_core_counters(n.core)->claims, 1);
  stop(&n);
}

// -- a rollback ----------------------------------------------------------------------------------------

static bx_position stood_at[8];
static unsigned again_count;

static void again(void *context, bx_position was) {
  (void)context;
  stood_at[again_count++ % 8] = was;
}

static uint64_t two_are_void(void *context, uint64_t epoch, bx_position first, bx_position survived) {
  (void)context;
  (void)epoch;
  (void)first;
  (void)survived;
  return 2;
}

static unsigned journal_length(struct node *n) {
  struct bx_slice range[] = {BX_LIT("t:journal"), BX_LIT("-"), BX_LIT("+")};
  struct er_reply *reply = sim_redis_call(n->redis, "XRANGE", range, 3);
  unsigned count = (unsigned)reply->count;

  sim_reply_destroy(reply);
  return count;
}

static void publish_one(struct node *n, bx_position position) {
  struct publish p;

  submit(n, &p, "", "");
  serve_all(n);
  check(&p, BX_ACKNOWLEDGED, position);
  release(&p);
}

// Three are acknowledged, and Redis goes back to the first of them.
static void roll_back(struct node *n) {
  struct sim_keys *snapshot;
  bx_position before;

  again_count = 0;
  run(n);
  er_core_engine(n->core)->events.again = again;
  er_core_engine(n->core)->events.epoch = two_are_void;
  before = head;
  publish_one(n, before + 1);
  snapshot = sim_redis_snapshot(n->redis);
  publish_one(n, before + 2);
  publish_one(n, before + 3);
  sim_redis_restore(n->redis, snapshot);
  sim_snapshot_destroy(snapshot);
  er_core_down(n->core, ER_COMMAND, n->now);
  er_core_down(n->core, ER_TAIL, n->now);
  forget_commands(n);
  er_core_up(n->core, ER_COMMAND, BX_LIT("run2"), n->now);
  er_core_up(n->core, ER_TAIL, BX_LIT("run2"), n->now);
}

// They are appended again in front of what is new, and known for what they are.
static void what_a_rollback_took_is_appended_again(void **state) {
  struct bx_engine *engine;
  struct publish p;
  struct node n;

  (void)state;
  roll_back(&n);
  engine = er_core_engine(n.core);
  bx_position old = head;
  serve_all(&n);
  assert_true(engine->ops->busy(engine));
  submit(&n, &p, "", "");
  serve_all(&n);
  assert_int_equal(p.position, head);
  check(&p, BX_ACKNOWLEDGED, head);
  release(&p);
  assert_int_equal(journal_length(&n), 6);   // two epochs, and four entries
  assert_int_equal(again_count, 2);
  assert_int_equal(stood_at[0], old - 1);
  assert_int_equal(stood_at[1], old);
  assert_int_equal(er_core_counters(n.core)->recovered, 2);
  er_core_tick(n.core, n.now += 30000);
  assert_int_equal(er_core_counters(n.core)->not_recovered, 0);
  stop(&n);
}

// The link breaks before the answer: they are there, the tail tells, and they are not appended a third time.
static void in_doubt_the_tail_tells(void **state) {
  struct bx_engine *engine;
  struct node n;

  (void)state;
  roll_back(&n);
  engine = er_core_engine(n.core);
  serve_all(&n);
  engine->ops->turn(engine, n.now);
  struct command *c = bx_container_of(n.commands[ER_COMMAND].next, struct command, link);
  assert_string_equal(c->name, "append");
  sim_reply_destroy(sim_redis_call(n.redis, c->name, c->args, c->count));
  drop(c);
  er_core_down(n.core, ER_COMMAND, n.now);
  er_core_up(n.core, ER_COMMAND, BX_LIT("run2"), n.now);
  settle(&n.host, engine);
  assert_int_equal(journal_length(&n), 5);
  assert_int_equal(er_core_counters(n.core)->recovered, 2);
  assert_false(engine->ops->busy(engine));
  stop(&n);
}

// Nobody appends them: counted and named, when nobody can be expected to any more.
static void what_does_not_come_back_is_counted(void **state) {
  struct er_reply full = {.type = ER_REPLY_TEXT, .text = BX_LIT("FULL")};
  struct node n;

  (void)state;
  roll_back(&n);
  bx_position last = head;
  serve_all(&n);
  er_core_engine(n.core)->ops->turn(er_core_engine(n.core), n.now);
  answer(&n, &(struct er_reply){.type = ER_REPLY_ARRAY, .items = &full, .count = 1});
  serve_all(&n);
  er_core_tick(n.core, n.now += 29999);
  assert_int_equal(er_core_counters(n.core)->not_recovered, 0);
  er_core_tick(n.core, n.now += 1);
  assert_int_equal(er_core_counters(n.core)->not_recovered, 2);
  assert_int_equal(strtoull(strrchr(n.lost, '-') + 1, NULL, 10), last);
  assert_int_equal(er_core_counters(n.core)->recovered, 0);
  stop(&n);
}

static void listed(void *context, const struct er_node_info *nodes, size_t count) {
  *(size_t *)context = nodes == NULL ? SIZE_MAX : count;
}

// A word that stands alone has nothing behind it.
static void a_directory_that_is_a_word(void **state) {
  struct er_reply items[12] = {{.type = ER_REPLY_TEXT, .text = BX_LIT("OK")}};
  size_t count = 5;
  struct node n;

  (void)state;
  run(&n);
  er_core_ask_nodes(n.core, listed, &count);
  answer(&n, &items[0]);
  assert_int_equal(count, 0);
  er_core_ask_nodes(n.core, listed, &count);
  answer(&n, &(struct er_reply){.type = ER_REPLY_ARRAY, .items = items, .count = 12});   // one, and a part of one
  assert_int_equal(count, 1);
  er_core_ask_nodes(n.core, listed, &count);
  answer(&n, &(struct er_reply){.type = ER_REPLY_NIL});
  assert_int_equal(count, SIZE_MAX);
  stop(&n);
}

static void add(struct node *n, const struct bx_slice *args, size_t count) {
  struct er_reply *reply = sim_redis_call(n->redis, "XADD", args, count);

  assert_int_equal(reply->type, ER_REPLY_TEXT);
  sim_reply_destroy(reply);
  serve_all(n);
}

// Entries and messages that somebody else wrote: counted, skipped, and the next one is read.
static void what_is_malformed_is_counted(void **state) {
  static const struct bx_slice entries[][2] = {{{"/a", 2}, {"[]", 2}}, {{"/a", 2}, {"{", 1}},
                                               {{"/*", 2}, {"{}", 2}}, {{"/meta/x", 7}, {"{}", 2}},
                                               {{"", 0}, {"", 0}},     {{"/a", 2}, {"{}", 2}}};   // the last is good
  static const struct bx_slice messages[][4] = {{{"t", 1}, {"ask", 3}, {"id", 2}, {"x", 1}},
                                                {{"t", 1}, {"lost", 4}, {"g", 1}, {"-1", 2}},
                                                {{"t", 1}, {"other", 5}, {"id", 2}, {"x", 1}},
                                                {{"x", 1}, {"y", 1}, {"z", 1}, {"", 0}}};
  size_t count = sizeof entries / sizeof *entries;
  bx_position before;
  struct node n;

  (void)state;
  run(&n);
  before = head;
  for (size_t i = 0; i < count; i++) {
    char id[32];

    snprintf(id, sizeof id, "%llu-0", (unsigned long long)before + 1 + i);
    add(&n,
        (struct bx_slice[]){BX_LIT("t:journal"), bx_slice_of(id), BX_LIT("c"), entries[i][0], BX_LIT("m"),
                            entries[i][1]},
        6);
    assert_int_equal(er_core_counters(n.core)->malformed, i + 1 < count ? i + 1 : i);
    assert_int_equal(head, before + 1 + i);
  }
  for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
    const struct bx_slice *m = messages[i];

    add(&n, (struct bx_slice[]){BX_LIT("t:inbox:n1"), BX_LIT("*"), m[0], m[1], m[2], m[3]}, 6);
    assert_int_equal(er_core_counters(n.core)->malformed, count + i);
  }
  assert_int_equal(n.malformed, er_core_counters(n.core)->malformed);
  assert_int_equal(n.resets, 0);
  stop(&n);
}

// -- sessions that others end ------------------------------------------------------------------------

struct place {
  struct bx_request request;
  unsigned done;
  enum bx_outcome outcome;
};

static void placed(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct place *p = bx_container_of(request, struct place, request);

  (void)position;
  p->done++;
  p->outcome = outcome;
}

static unsigned adoptions;

static struct bx_session *nobody(void *context, struct bx_slice id) {
  (void)context;
  (void)id;
  return NULL;
}

static struct bx_session *adopt_nothing(void *context, const struct bx_record *record) {
  (void)context;
  (void)record;
  adoptions++;
  return NULL;
}

static void call_script(struct node *n, const char *name, size_t count, const char *const *words) {
  struct bx_slice args[12];
  struct er_reply *reply;

  for (size_t i = 0; i < count; i++) args[i] = bx_slice_of(words[i]);
  n->redis->clock = CLOCK + 1000 * n->now;
  reply = sim_redis_call(n->redis, name, args, count);
  assert_true(er_reply_is(reply, "OK"));
  sim_reply_destroy(reply);
}

// A session that was given to this node is sought here: `load` is executed, and its answer is on its way.
static struct er_reply *seek(struct node *n, struct place *p) {
  struct bx_engine *engine = er_core_engine(n->core);
  struct er_reply *reply;
  char epoch[24];

  snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)engine->epoch);
  call_script(n, "hello", 8, (const char *const[]){"t", "run1", "n2", "broker", "there", "1", "0", "0"});
  call_script(n, "create", 8, (const char *const[]){"t", epoch, "n1", "s", "bob", "60000", "5", ""});
  engine->events.find = nobody;
  engine->events.adopt = adopt_nothing;
  adoptions = 0;
  *p = (struct place){.request = {.kind = BX_REQUEST_LOCATE, .done = placed, .id = BX_LIT("s"), .mover = true}};
  bx_list_init(&p->request.link);
  engine->ops->submit(engine, &p->request);
  engine->ops->turn(engine, n->now);
  struct command *c = bx_container_of(n->commands[ER_COMMAND].next, struct command, link);
  assert_string_equal(c->name, "load");
  reply = sim_redis_call(n->redis, c->name, c->args, c->count);
  drop(c);
  return reply;
}

static void one_that_was_ended_on_its_way_is_not_taken_in(void **state) {
  (void)state;
  for (int ended = 0; ended < 2; ended++) {
    struct er_reply *reply;
    struct place p;
    struct node n;

    run(&n);
    reply = seek(&n, &p);
    if (ended) call_script(&n, "end", 8, (const char *const[]){"t", "s", "", "0", "1", "kicked", "1", "n2"});
    assert_int_equal(serve(&n, ER_TAIL), ended);
    er_core_reply(n.core, ER_COMMAND, reply, n.now);
    sim_reply_destroy(reply);
    assert_int_equal(adoptions, !ended);
    assert_int_equal(p.done, 1);
    assert_int_equal(p.outcome, BX_NO_SESSION);
    stop(&n);
  }
}

static void kick(struct node *n, struct place *p) {
  struct bx_engine *engine = er_core_engine(n->core);

  *p = (struct place){.request = {.kind = BX_REQUEST_KICK, .done = placed, .id = BX_LIT("s")}};
  bx_list_init(&p->request.link);
  engine->ops->submit(engine, &p->request);
  engine->ops->turn(engine, n->now);
}

static void a_kick_of_nobody_and_one_without_an_answer(void **state) {
  struct place p;
  struct node n;

  (void)state;
  run(&n);
  kick(&n, &p);
  while (serve(&n, ER_COMMAND)) continue;
  assert_int_equal(p.outcome, BX_NO_SESSION);
  kick(&n, &p);
  er_core_down(n.core, ER_COMMAND, n.now);
  assert_int_equal(p.done, 1);
  assert_int_equal(p.outcome, BX_REFUSED);   // it may have been done
  stop(&n);
}

// -- replicas ------------------------------------------------------------------------------------------

static void replicas_are(struct node *n, int64_t count) {
  struct er_reply reply = {.type = ER_REPLY_INT, .number = count};

  assert_true(serve(n, ER_CONFIRM));
  struct command *c = bx_container_of(n->commands[ER_CONFIRM].next, struct command, link);
  assert_string_equal(c->name, "WAIT");
  drop(c);
  er_core_reply(n->core, ER_CONFIRM, &reply, n->now);
}

static void run_with_replicas(struct node *n) {
  wait = 2;
  run(n);
  wait = 0;
  er_core_up(n->core, ER_CONFIRM, BX_LIT("run1"), n->now);
}

// One answer speaks for all that was known when it was asked for, and for no more.
static void replicas_confirm(void **state) {
  struct publish first, second, third;
  struct node n;

  (void)state;
  run_with_replicas(&n);
  submit(&n, &first, "", "");
  serve_all(&n);
  submit(&n, &second, "", "");
  serve_all(&n);
  assert_int_equal(first.done + second.done, 0);
  replicas_are(&n, 2);
  check(&first, BX_ACKNOWLEDGED, head - 1);
  replicas_are(&n, 1);   // not enough: once more with the next tick
  assert_int_equal(second.done, 0);
  er_core_tick(n.core, n.now += ER_TICK);
  replicas_are(&n, 3);
  check(&second, BX_ACKNOWLEDGED, head);
  submit(&n, &third, "", "");
  serve_all(&n);
  for (int i = 0; i < 13; i++) er_core_tick(n.core, n.now += ER_TICK);
  check(&third, BX_UNKNOWN, 0);
  assert_int_equal(er_core_counters(n.core)->unconfirmed, 1);
  release(&first), release(&second), release(&third);
  stop(&n);
}

static void a_new_journal_confirms_nothing(void **state) {
  struct publish p;
  struct node n;

  (void)state;
  run_with_replicas(&n);
  er_core_engine(n.core)->events.epoch = two_are_void;
  submit(&n, &p, "", "");
  serve_all(&n);
  sim_keys_clear(&n.redis->keys);
  er_core_tick(n.core, n.now += ER_TICK);
  serve_all(&n);
  check(&p, BX_UNKNOWN, 0);
  release(&p);
  replicas_are(&n, 2);   // to a question about the old one
  stop(&n);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scripts_command_first),
      cmocka_unit_test(scripts_tail_first),
      cmocka_unit_test(who_publishes_has_a_record),
      cmocka_unit_test(destroyed_while_it_was_sent),
      cmocka_unit_test(a_repeat_waits_for_its_entry),
      cmocka_unit_test(a_result_that_can_not_be_read),
      cmocka_unit_test(a_directory_that_is_a_word),
      cmocka_unit_test(what_is_malformed_is_counted),
      cmocka_unit_test(an_answer_that_is_no_answer),
      cmocka_unit_test(a_session_is_not_taken_for_nobody),
      cmocka_unit_test(a_new_journal_needs_no_time_to_settle),
      cmocka_unit_test(what_a_rollback_took_is_appended_again),
      cmocka_unit_test(one_that_was_ended_on_its_way_is_not_taken_in),
      cmocka_unit_test(a_kick_of_nobody_and_one_without_an_answer),
      cmocka_unit_test(replicas_confirm),
      cmocka_unit_test(a_new_journal_confirms_nothing),
      cmocka_unit_test(in_doubt_the_tail_tells),
      cmocka_unit_test(what_does_not_come_back_is_counted),
  };
  return cmocka_run_group_tests(tests, NULL, no_frame_is_left);
}
