// SPDX-License-Identifier: Apache-2.0
// The link to Redis: against real redis-servers, which it starts itself, and against a server of its
// own that says what no Redis would. One thread; the loop runs until what is waited for has happened.
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-redis/link/internal.h"

enum { DEADLINE = 30, STEP = 2000 };   // seconds; ms

// --- the loop

struct end;

static struct {
  uv_loop_t loop;
  struct bx_wheel wheel;
  uv_timer_t tick;
  struct end *ends[2];
} rig;

static void on_tick(uv_timer_t *timer) { (void)timer; }

static void turn(void) {
  bx_wheel_advance(&rig.wheel, uv_now(&rig.loop));
  bx_millis next = bx_wheel_next(&rig.wheel), now = uv_now(&rig.loop);
  uv_timer_start(&rig.tick, on_tick, next <= now ? 0 : next - now < 100 ? next - now : 100, 0);
  uv_run(&rig.loop, UV_RUN_ONCE);
}

static uint64_t give_up_at(void) { return uv_hrtime() + DEADLINE * 1000000000ull; }

#define until(condition)                                                       \
  for (uint64_t give_up = give_up_at(); !(condition); turn()) {                \
    if (uv_hrtime() > give_up) fail_msg("it never came to this: " #condition); \
  }

// --- one link, and what it has said

struct end {
  struct er_link *link;
  unsigned ups, downs, replies, notices;
  bool is_up;
  char run_id[2][80];   // of the last time it was up, and the time before
  char reason[300], notice[100];
  void (*on_up)(struct end *);
  void (*on_down)(struct end *);
  void (*on_notice)(struct end *);
  void (*on_reply)(struct end *, const struct er_reply *);
  struct bx_buffer text;   // of replies that are texts or errors
};

static void destroy_link(struct end *e) {
  er_link_destroy(e->link);
  e->link = NULL;
}

static void up(void *context, const char *run_id) {
  struct end *e = context;
  assert_false(e->is_up);
  e->is_up = true;
  e->ups++;
  memcpy(e->run_id[1], e->run_id[0], sizeof e->run_id[0]);
  snprintf(e->run_id[0], sizeof e->run_id[0], "%s", run_id);
  if (e->on_up) e->on_up(e);
}

static void down(void *context, const char *reason) {
  struct end *e = context;
  e->is_up = false;
  e->downs++;
  snprintf(e->reason, sizeof e->reason, "%s", reason);
  assert_int_not_equal(e->reason[0], 0);
  if (e->on_down) e->on_down(e);
}

static void reply(void *context, const struct er_reply *r) {
  struct end *e = context;
  assert_true(e->is_up);
  e->replies++;
  bx_buffer_clear(&e->text);
  bx_buffer_slice(&e->text, r->text);
  bx_buffer_char(&e->text, 0);
  if (e->on_reply) e->on_reply(e, r);
}

static void notice(void *context, const char *event, const char *text) {
  struct end *e = context;
  assert_int_not_equal(text[0], 0);
  e->notices++;
  snprintf(e->notice, sizeof e->notice, "%s", event);
  if (e->on_notice) e->on_notice(e);
}

static const struct er_link_events events = {up, down, reply, notice};

#define SCRIPT(name, text) \
  { name, text, sizeof(text) - 1 }
static const struct er_script scripts[] = {
    SCRIPT("back", "return {'OK', ARGV[1], tostring(#ARGV)}"),
    SCRIPT("tree", "return {'W', 7, -7, false, {{'in'}, {}}, redis.error_reply('NO no'), ''}"),
    SCRIPT("many", "local t = {}; for i = 1, tonumber(ARGV[1]) do t[i] = i end; return t"),
};

struct how {
  bx_millis answer;   // 0: 10 s
  size_t limit;
  bool plain;
};

static void start(struct end *e, const char *text, struct how how) {
  struct er_url url;
  const char *wrong = er_url_parse(&url, bx_slice_of(text));
  if (wrong) fail_msg("%s: %s", text, wrong);
  const struct er_link_options options = {
      .url = &url,
      .name = "mora-test-command",
      .scripts = how.plain ? NULL : scripts,
      .script_count = how.plain ? 0 : sizeof scripts / sizeof *scripts,
      .step_timeout = STEP,
      .answer_timeout = how.answer ? how.answer : 10000,
      .reply_limit = how.limit,
      .events = &events,
      .context = e,
  };
  e->link = er_link_create(&rig.loop, &rig.wheel, &options);
  rig.ends[rig.ends[0] != NULL] = e;
  er_url_fini(&url);
}

// A command of words separated by blanks.
static bool say(struct end *e, const char *words) {
  struct bx_slice args[16];
  size_t n = 0;
  char name[32];
  const char *rest = strchrnul(words, ' ');
  snprintf(name, sizeof name, "%.*s", (int)(rest - words), words);
  while (*rest == ' ') {
    const char *end = strchrnul(rest + 1, ' ');
    args[n++] = (struct bx_slice){rest + 1, (size_t)(end - rest - 1)};
    rest = end;
  }
  return er_link_send(e->link, name, args, n);
}

static const char *answer(struct end *e, const char *words) {
  unsigned before = e->replies;
  assert_true(say(e, words));
  until(e->replies > before);
  return e->text.at;
}

static void expect_reason(struct end *e, const char *part) {
  if (!strstr(e->reason, part)) fail_msg("the reason is not %s: %s", part, e->reason);
}

// --- servers

struct server {
  pid_t pid;
  int port;
  char folder[32], socket[64], url[64];
};

static struct server servers[2];

static int free_port(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
  close(fd);
  return ntohs(a.sin_port);
}

static void place(struct server *s) {
  strcpy(s->folder, "/tmp/mora-link-XXXXXX");
  assert_non_null(mkdtemp(s->folder));
  s->port = free_port();
  snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->folder);
  snprintf(s->url, sizeof s->url, "redis://127.0.0.1:%d", s->port);
}

// `options`: further words for redis-server. Also starts one that was killed, in its place.
static void launch(struct server *s, const char *options) {
  char words[700], *args[40];
  size_t n = 0;
  if (!s->port) place(s);
  snprintf(words, sizeof words, "redis-server --port %d --bind 127.0.0.1 --unixsocket %s --dir %s --appendonly no %s",
           s->port, s->socket, s->folder, options);
  for (char *at = words, *word; (word = strsep(&at, " "));)
    if (*word) args[n++] = word;
  args[n++] = (char *)"--save";
  args[n++] = (char *)"";
  args[n] = NULL;
  s->pid = fork();
  if (s->pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int quiet = open("/dev/null", O_RDWR);
    dup2(quiet, 0);
    dup2(quiet, 1);
    execvp(args[0], args);
    _exit(127);
  }
}

static void end_server(struct server *s) {
  if (s->pid <= 0) return;
  kill(s->pid, SIGKILL);
  waitpid(s->pid, NULL, 0);
  s->pid = 0;
}

static struct server *redis(const char *options) {
  struct server *s = &servers[servers[0].port != 0];
  launch(s, options);
  return s;
}

static int prepare(void **state) {
  (void)state;
  memset(&rig, 0, sizeof rig);
  memset(servers, 0, sizeof servers);
  uv_loop_init(&rig.loop);
  uv_timer_init(&rig.loop, &rig.tick);
  bx_wheel_init(&rig.wheel, uv_now(&rig.loop));
  return 0;
}

// Nothing is left: no timer, no handle, no process, no file.
static int finish(void **state) {
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    if (!rig.ends[i]) continue;
    destroy_link(rig.ends[i]);
    bx_buffer_fini(&rig.ends[i]->text);
  }
  for (size_t i = 0; i < 2; i++) {
    end_server(&servers[i]);
    if (!servers[i].port) continue;
    char nodes[64];
    snprintf(nodes, sizeof nodes, "%s/nodes.conf", servers[i].folder);
    unlink(nodes);
    unlink(servers[i].socket);
    rmdir(servers[i].folder);
  }
  uv_close((uv_handle_t *)&rig.tick, NULL);
  for (uint64_t give_up = give_up_at(); uv_loop_alive(&rig.loop) && uv_hrtime() < give_up; usleep(1000))
    uv_run(&rig.loop, UV_RUN_NOWAIT);
  return uv_loop_close(&rig.loop) == 0 && rig.wheel.count == 0 ? 0 : -1;
}

// --- coming up

static void comes_up(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("")->url, (struct how){0});
  until(e.ups == 1);
  assert_int_equal(strlen(e.run_id[0]), 40);
  assert_string_equal(answer(&e, "CLIENT GETNAME"), "mora-test-command");
  assert_string_equal(answer(&e, "NOSUCH"), "ERR unknown command 'NOSUCH', with args beginning with: ");
  assert_int_equal(e.notices, 0);
  assert_true(e.is_up);
}

static void on_back(struct end *e, const struct er_reply *r) {
  (void)e;
  uint64_t n = 0;
  assert_true(er_reply_is(r, "OK"));
  assert_true(bx_slice_equal(er_reply_text(r, 1), BX_LIT("a\0 b")));
  assert_true(er_reply_u64(r, 2, &n));
  assert_int_equal(n, 3);
}

static void on_tree(struct end *e, const struct er_reply *r) {
  (void)e;
  uint64_t n = 1;
  assert_int_equal(r->type, ER_REPLY_ARRAY);
  assert_int_equal(r->count, 7);
  assert_true(er_reply_is(r, "W"));
  assert_false(er_reply_is(r, "WO"));
  assert_true(er_reply_u64(r, 1, &n));
  assert_int_equal(n, 7);
  assert_int_equal(er_reply_item(r, 2)->number, -7);
  assert_false(er_reply_u64(r, 2, &n));
  assert_int_equal(n, 7);
  assert_int_equal(er_reply_item(r, 3)->type, ER_REPLY_NIL);
  const struct er_reply *inner = er_reply_item(r, 4);
  assert_int_equal(inner->count, 2);
  assert_true(er_reply_is(er_reply_item(inner, 0), "in"));
  assert_int_equal(er_reply_item(inner, 1)->type, ER_REPLY_ARRAY);
  assert_int_equal(er_reply_item(inner, 1)->count, 0);
  assert_true(er_reply_is_error(er_reply_item(r, 5)));
  assert_int_equal(er_reply_item(r, 6)->type, ER_REPLY_TEXT);
  assert_int_equal(er_reply_text(r, 6).len, 0);
  assert_null(er_reply_item(r, 7));
  assert_false(er_reply_u64(r, 7, &n));
}

static void scripts_and_trees(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){.on_reply = on_back};
  start(&e, redis("")->url, (struct how){0});
  until(e.ups == 1);
  assert_true(er_link_send(e.link, "back", (struct bx_slice[]){BX_LIT("a\0 b"), {NULL, 0}, BX_LIT("\r\n")}, 3));
  until(e.replies == 1);
  e.on_reply = on_tree;
  answer(&e, "tree");
}

enum { PIPELINED = 10000 };

static void in_order(struct end *e, const struct er_reply *r) {
  uint64_t n;
  assert_true(er_text_u64(er_reply_bytes(r), &n));
  assert_int_equal(n, e->replies - 1);
}

static void replies_are_in_order(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){.on_reply = in_order};
  start(&e, redis("")->url, (struct how){.plain = true});
  until(e.ups == 1);
  for (int i = 0; i < PIPELINED; i++) {
    char words[32];
    snprintf(words, sizeof words, "ECHO %d", i);
    assert_true(say(&e, words));
    if (i == PIPELINED / 2) until(e.replies > 100);
  }
  until(e.replies == PIPELINED);
  assert_int_equal(e.downs, 0);
}

static void unix_socket_and_names(void **state) {
  (void)state;
  static struct end by_path, by_name;
  by_path = by_name = (struct end){0};
  struct server *s = redis("");
  char url[128];
  snprintf(url, sizeof url, "redis+unix://%s?db=5", s->socket);
  start(&by_path, url, (struct how){0});
  snprintf(url, sizeof url, "redis://localhost:%d/6", s->port);   // perhaps ::1 first, where nobody listens
  start(&by_name, url, (struct how){0});
  until(by_path.ups == 1 && by_name.ups == 1);
  assert_non_null(strstr(answer(&by_path, "CLIENT INFO"), " db=5 "));
  assert_non_null(strstr(answer(&by_name, "CLIENT INFO"), " db=6 "));
}

static void an_unknown_name(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, "redis://no-such-host.invalid:1", (struct how){0});
  until(e.downs == 2);
  expect_reason(&e, "resolve: no-such-host.invalid: ");
}

static void password_user_db(void **state) {
  (void)state;
  static struct end admin, user;
  admin = user = (struct end){0};
  struct server *s = redis("--requirepass top");
  char url[128];
  snprintf(url, sizeof url, "redis://:top@127.0.0.1:%d", s->port);
  start(&admin, url, (struct how){.plain = true});
  until(admin.ups == 1);
  assert_string_equal(answer(&admin, "ACL SETUSER mora on >p@ss ~* &* +@all"), "OK");
  snprintf(url, sizeof url, "redis://mora:p%%40ss@127.0.0.1:%d/3", s->port);
  start(&user, url, (struct how){0});
  until(user.ups == 1);
  const char *info = answer(&user, "CLIENT INFO");
  assert_non_null(strstr(info, " db=3 "));
  assert_non_null(strstr(info, " user=mora "));
}

static void a_wrong_password_is_tried_on(void **state) {
  (void)state;
  static struct end admin, wrong;
  admin = wrong = (struct end){0};
  struct server *s = redis("--requirepass first");
  char url[128];
  snprintf(url, sizeof url, "redis://:second@127.0.0.1:%d", s->port);
  start(&wrong, url, (struct how){0});
  snprintf(url, sizeof url, "redis://:first@127.0.0.1:%d", s->port);
  start(&admin, url, (struct how){.plain = true});
  until(admin.ups == 1 && strstr(wrong.reason, "auth: WRONGPASS"));
  unsigned downs = wrong.downs;
  until(wrong.downs >= downs + 2);
  assert_int_equal(wrong.ups, 0);
  assert_string_equal(answer(&admin, "CONFIG SET requirepass second"), "OK");
  until(wrong.ups == 1);
}

static void a_missing_password(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("--requirepass top")->url, (struct how){0});
  until(strstr(e.reason, "name: NOAUTH"));
}

static void a_db_that_is_not_there(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  struct server *s = redis("");
  char url[128];
  snprintf(url, sizeof url, "redis://127.0.0.1:%d/16", s->port);
  start(&e, url, (struct how){0});
  until(strstr(e.reason, "select: ERR DB index is out of range"));
}

// --- what is refused

static void cluster_is_refused(void **state) {
  (void)state;
  static struct end e;
  char options[128];
  e = (struct end){0};
  snprintf(options, sizeof options, "--cluster-enabled yes --cluster-port %d", free_port());
  start(&e, redis(options)->url, (struct how){0});
  until(strstr(e.reason, "check: Redis Cluster is refused"));
  assert_int_equal(e.ups, 0);
}

static void eviction_is_refused(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("--maxmemory-policy allkeys-lru")->url, (struct how){0});
  until(strstr(e.reason, "check: maxmemory-policy is allkeys-lru; it must be noeviction"));
  assert_int_equal(e.ups, 0);
}

static void a_replica_is_refused(void **state) {
  (void)state;
  static struct end e;
  char options[64];
  e = (struct end){0};
  snprintf(options, sizeof options, "--replicaof 127.0.0.1 %d", redis("")->port);
  start(&e, redis(options)->url, (struct how){0});
  until(strstr(e.reason, "check: this is a replica"));
}

static void nobody_listens_yet(void **state) {
  (void)state;
  static struct end by_port, by_path;
  by_port = by_path = (struct end){0};
  struct server *s = &servers[0];
  char url[128];
  place(s);
  snprintf(url, sizeof url, "redis+unix://%s", s->socket);
  start(&by_port, s->url, (struct how){0});
  start(&by_path, url, (struct how){0});
  until(by_port.downs >= 3 && by_path.downs >= 3);
  expect_reason(&by_port, "connect: Connection refused");
  expect_reason(&by_path, "connect: No such file or directory");
  launch(s, "");
  until(by_port.ups == 1 && by_path.ups == 1);
}

// --- going down

static void a_server_comes_back(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  struct server *s = redis("");
  start(&e, s->url, (struct how){0});
  until(e.ups == 1);
  assert_string_equal(answer(&e, "ECHO 1"), "1");
  unsigned downs = e.downs;
  end_server(s);
  until(e.downs > downs);
  assert_false(say(&e, "ECHO 2"));
  launch(s, "");
  until(e.ups == 2);
  assert_string_not_equal(e.run_id[0], e.run_id[1]);
  answer(&e, "back x");   // loaded again
  assert_int_equal(e.replies, 2);
}

static void a_stopped_server(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  struct server *s = redis("");
  start(&e, s->url, (struct how){.answer = 300});
  until(e.ups == 1);
  unsigned downs = e.downs;
  kill(s->pid, SIGSTOP);
  assert_true(say(&e, "ECHO 1"));
  until(e.downs == downs + 1);
  assert_string_equal(e.reason, "no answer in 300 ms");
  until(e.downs == downs + 2);   // connected by the kernel, answered by nobody
  assert_string_equal(e.reason, "name: no answer in 2000 ms");
  kill(s->pid, SIGCONT);
  until(e.ups == 2);
  assert_string_equal(answer(&e, "ECHO 2"), "2");
  assert_int_equal(e.replies, 1);
}

// Replies that are on time, but slower together than one may be alone.
static void each_command_has_its_own_time(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("")->url, (struct how){.answer = 1500, .plain = true});
  until(e.ups == 1);
  unsigned downs = e.downs;
  for (int i = 1; i <= 4; i++) {
    assert_true(say(&e, "BLPOP nothing 0.5"));
    until(e.replies == (unsigned)i);
  }
  assert_int_equal(e.downs, downs);
  for (int i = 0; i < 8; i++) assert_true(say(&e, "BLPOP nothing 0.5"));
  until(e.downs == downs + 1);
  assert_string_equal(e.reason, "no answer in 1500 ms");
  assert_in_range(e.replies, 5, 11);   // it was not silent, and still too late
}

// The process itself was stopped: the replies are there, so nobody is late.
static void replies_are_read_before_they_are_judged(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("")->url, (struct how){.answer = 300});
  until(e.ups == 1);
  unsigned downs = e.downs;
  assert_true(say(&e, "ECHO 1"));
  while (e.link->socket && er_socket_unread(e.link->socket) == 0 && e.replies == 0) {
    uv_run(&rig.loop, UV_RUN_NOWAIT);   // written, perhaps read; time stands still for the wheel
    if (e.replies == 0) usleep(1000);
    if (er_socket_unread(e.link->socket)) break;
  }
  if (e.replies == 0) {
    usleep(400 * 1000);
    uv_update_time(&rig.loop);
    bx_wheel_advance(&rig.wheel, uv_now(&rig.loop));
  }
  assert_int_equal(e.replies, 1);
  assert_int_equal(e.downs, downs);
}

static void scripts_that_are_gone(void **state) {
  (void)state;
  static struct end e, admin;
  e = admin = (struct end){0};
  struct server *s = redis("");
  start(&e, s->url, (struct how){0});
  start(&admin, s->url, (struct how){.plain = true});
  until(e.ups == 1 && admin.ups == 1);
  unsigned downs = e.downs;
  assert_string_equal(answer(&admin, "SCRIPT FLUSH"), "OK");
  assert_true(say(&e, "back x"));
  assert_true(say(&e, "ECHO 1"));
  until(e.ups == 2);
  assert_int_equal(e.downs, downs + 1);
  expect_reason(&e, "NOSCRIPT");
  assert_int_equal(e.replies, 0);
  answer(&e, "back x");
}

static void a_master_that_becomes_a_replica(void **state) {
  (void)state;
  static struct end e, admin;
  e = admin = (struct end){0};
  char words[64];
  struct server *other = redis(""), *s = redis("");
  start(&e, s->url, (struct how){0});
  start(&admin, s->url, (struct how){.plain = true});
  until(e.ups == 1 && admin.ups == 1);
  snprintf(words, sizeof words, "REPLICAOF 127.0.0.1 %d", other->port);
  assert_string_equal(answer(&admin, words), "OK");
  assert_true(say(&e, "SET a b"));
  until(strstr(e.reason, "READONLY"));
  until(strstr(e.reason, "check: this is a replica"));
  if (admin.is_up) answer(&admin, "REPLICAOF NO ONE");
  until(e.ups == 2);
}

static void too_many_commands(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  struct server *s = redis("");
  start(&e, s->url, (struct how){.plain = true});
  until(e.ups == 1);
  unsigned downs = e.downs;
  for (int i = 0; i < ER_LINK_COMMANDS_MAX; i++) assert_true(say(&e, "PING"));
  assert_false(say(&e, "PING"));
  assert_int_equal(e.downs, downs);   // never from inside of a call
  until(e.downs == downs + 1);
  assert_string_equal(e.reason, "65536 commands without an answer");
  assert_int_equal(e.replies, 0);
  until(e.ups == 2);
}

// --- large replies

enum { LARGE = 8 * 1024 * 1024 };

static void on_large(struct end *e, const struct er_reply *r) {
  if (e->replies == 1) return;
  assert_int_equal(r->text.len, LARGE);
  for (size_t i = 0; i < LARGE; i += 4099) assert_int_equal(r->text.at[i], (char)(i % 251));
}

static void a_large_reply(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){.on_reply = on_large};
  start(&e, redis("")->url, (struct how){0});
  until(e.ups == 1);
  char *value = bx_alloc(LARGE);
  for (size_t i = 0; i < LARGE; i++) value[i] = (char)(i % 251);
  assert_true(er_link_send(e.link, "SET", (struct bx_slice[]){BX_LIT("k"), {value, LARGE}}, 2));
  bx_free(value);
  for (int i = 0; i < 3; i++) say(&e, "GET k");
  until(e.replies == 4);
}

static void on_many(struct end *e, const struct er_reply *r) {
  (void)e;
  assert_int_equal(r->count, 300000);
  for (size_t i = 0; i < r->count; i++) assert_int_equal(r->items[i].number, i + 1);
}

static void replies_over_the_limit(void **state) {
  (void)state;
  static struct end small, large;
  small = (struct end){0};
  large = (struct end){.on_reply = on_many};
  struct server *s = redis("");
  start(&small, s->url, (struct how){.limit = 64 * 1024});
  start(&large, s->url, (struct how){0});
  until(small.ups == 1 && large.ups == 1);
  unsigned large_downs = large.downs;
  answer(&large, "many 300000");
  large.on_reply = NULL;
  answer(&small, "many 1300");   // 48 bytes an item
  unsigned downs = small.downs;
  assert_true(say(&small, "many 1400"));
  until(small.ups == 2);
  assert_int_equal(small.downs, downs + 1);
  assert_string_equal(small.reason, "connection lost: a reply is larger than the limit");
  answer(&large, "SETRANGE k 70000 x");
  assert_true(say(&small, "GET k"));   // one text
  until(small.ups == 3);
  expect_reason(&small, "a reply is larger than the limit");
  assert_int_equal(small.replies, 1);
  assert_int_equal(large.downs, large_downs);
}

// --- closing and destroying

static void close_once(struct end *e) {
  er_link_close(e->link, "enough");
  er_link_close(e->link, "too late");
  assert_false(say(e, "ECHO 2"));
}

static void close_in_reply(struct end *e, const struct er_reply *r) {
  (void)r;
  close_once(e);
}

static void close_is_deferred(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("")->url, (struct how){0});
  until(e.ups == 1);
  unsigned downs = e.downs;
  assert_true(say(&e, "ECHO 1"));
  close_once(&e);
  assert_int_equal(e.downs, downs);
  until(e.ups == 2);
  assert_int_equal(e.downs, downs + 1);
  assert_string_equal(e.reason, "enough");
  e.on_reply = close_in_reply;
  for (int i = 0; i < 10; i++) assert_true(say(&e, "ECHO 1"));
  until(e.ups == 3);
  assert_int_equal(e.downs, downs + 2);
  assert_int_equal(e.replies, 1);
  e.on_up = close_once;
  until(e.downs == downs + 3 || (er_link_close(e.link, "enough"), false));
  e.on_down = close_once;   // there is nothing to close
  unsigned ups = e.ups;
  until(e.ups > ups);
  e.on_up = e.on_down = NULL;
  until(e.is_up && e.ups > ups + 1);
}

static void destroy_in_reply(struct end *e, const struct er_reply *r) {
  destroy_link(e);
  assert_true(er_reply_bytes(r).len > 0);   // lives on until the call is over
}

static void destroy_in_callbacks(void **state) {
  (void)state;
  static struct end e;
  struct server *s = redis("");
  e = (struct end){.on_up = destroy_link};
  start(&e, s->url, (struct how){0});
  until(!e.link);
  assert_int_equal(e.ups, 1);
  rig.ends[0] = NULL;
  e = (struct end){.on_reply = destroy_in_reply};
  start(&e, s->url, (struct how){0});
  until(e.ups == 1);
  for (int i = 0; i < 100; i++) assert_true(say(&e, "ECHO 1"));
  until(!e.link);
  assert_int_equal(e.replies, 1);
  bx_buffer_fini(&e.text);
  rig.ends[0] = NULL;
  e = (struct end){.on_down = destroy_link};
  start(&e, s->url, (struct how){0});
  until(e.ups == 1);
  end_server(s);
  until(!e.link);
  assert_int_equal(e.downs, 1);
  e = (struct end){.on_down = destroy_link};
  start(&e, s->url, (struct how){0});
  until(!e.link);
  assert_int_equal(e.downs, 1);
}

// At every turn of its first attempt, whatever that is busy with then.
static void destroy_while_coming_up(void **state) {
  (void)state;
  static struct end e;
  char urls[4][128];
  struct server *s = redis("");
  snprintf(urls[0], sizeof urls[0], "%s", s->url);
  snprintf(urls[1], sizeof urls[1], "redis+unix://%s", s->socket);
  snprintf(urls[2], sizeof urls[2], "redis://127.0.0.1:%d", free_port());
  snprintf(urls[3], sizeof urls[3], "redis+unix:///nonexistent/redis.sock");
  e = (struct end){0};
  start(&e, s->url, (struct how){0});
  until(e.ups == 1);
  destroy_link(&e);
  for (int u = 0; u < 4; u++) {
    bool over = false;
    for (int turns = 0; !over; turns++) {
      rig.ends[0] = NULL;
      e = (struct end){0};
      start(&e, urls[u], (struct how){0});
      for (int i = 0; i < turns; i++) turn();
      over = e.ups > 0 || e.downs > 1;
      destroy_link(&e);
      assert_true(turns < 1000);
    }
  }
  er_link_destroy(NULL);
}

// --- back-off

static void backoff_grows_and_begins_anew(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  struct server *s = &servers[0];
  place(s);
  start(&e, s->url, (struct how){0});
  bx_millis limit = ER_LINK_BACKOFF_MIN;
  for (unsigned i = 1; i <= 8; i++) {
    until(e.downs == i);
    assert_int_equal(e.link->attempts, i);
    bx_millis now = uv_now(&rig.loop);
    assert_true(e.link->timer.at <= now + limit);
    limit = limit * 2 < ER_LINK_BACKOFF_MAX ? limit * 2 : ER_LINK_BACKOFF_MAX;
  }
  launch(s, "");
  until(e.ups == 1);
  unsigned attempts = e.link->attempts, downs = e.downs;
  assert_true(attempts >= 8);
  er_link_close(e.link, "too young");
  until(e.downs == downs + 1);
  assert_int_equal(e.link->attempts, attempts + 1);
  until(e.ups == 2);
  e.link->up_at -= ER_LINK_STEADY;
  er_link_close(e.link, "old enough");
  until(e.downs == downs + 2);
  assert_int_equal(e.link->attempts, 1);
}

// --- a server that says what it is told to

static struct {
  uv_tcp_t listener;
  const char *const *says;   // at the next bytes of the client; "" closes; NULL: silence
  int at;
} fake;

struct guest {
  uv_tcp_t tcp;
  int at;
};

static void free_guest(uv_handle_t *h) { bx_free(bx_container_of((uv_tcp_t *)h, struct guest, tcp)); }

static void give_room(uv_handle_t *h, size_t size, uv_buf_t *out) {
  (void)h, (void)size;
  static char room[65536];
  *out = uv_buf_init(room, sizeof room);
}

static void tell(struct guest *g) {
  const char *text = fake.says[g->at];
  if (!text) return;
  g->at++;
  uv_buf_t out = uv_buf_init((char *)text, (unsigned)strlen(text));
  if (*text)
    uv_try_write((uv_stream_t *)&g->tcp, &out, 1);
  else if (!uv_is_closing((uv_handle_t *)&g->tcp))
    uv_close((uv_handle_t *)&g->tcp, free_guest);
}

static void on_heard(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  (void)buffer;
  struct guest *g = bx_container_of((uv_tcp_t *)stream, struct guest, tcp);
  if (n > 0)
    tell(g);
  else if (n < 0 && !uv_is_closing((uv_handle_t *)stream))
    uv_close((uv_handle_t *)stream, free_guest);
}

static void on_guest(uv_stream_t *listener, int status) {
  assert_int_equal(status, 0);
  struct guest *g = bx_alloc(sizeof *g);
  uv_tcp_init(&rig.loop, &g->tcp);
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&g->tcp), 0);
  uv_read_start((uv_stream_t *)&g->tcp, give_room, on_heard);
}

static void fake_open(char *url, size_t size) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int len = sizeof a;
  uv_tcp_init(&rig.loop, &fake.listener);
  assert_int_equal(uv_tcp_bind(&fake.listener, (struct sockaddr *)&a, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&fake.listener, 8, on_guest), 0);
  uv_tcp_getsockname(&fake.listener, (struct sockaddr *)&a, &len);
  snprintf(url, size, "redis://u:hush@127.0.0.1:%d", ntohs(a.sin_port));
}

static const char *reason_for(const char *url, const char *const *says, bool *was_up, unsigned *notices) {
  static struct end e;
  e = (struct end){.on_down = destroy_link};
  fake.says = says;
  start(&e, url, (struct how){.plain = true, .answer = 100});
  rig.ends[0] = NULL;   // ends by itself
  until(!e.link);
  assert_int_equal(e.downs, 1);
  if (was_up) *was_up = e.ups == 1;
  if (notices) *notices = e.notices;
  bx_buffer_fini(&e.text);
  static char reason[300];
  return strcpy(reason, e.reason);
}

static void bytes_that_are_no_replies(void **state) {
  (void)state;
  char url[64];
  static const struct {
    const char *says[4], *reason;
  } cases[] = {
      {{""}, "connect: Server closed the connection"},
      {{"HTTP/1.1 400 Bad Request\r\n\r\n"}, "Protocol error"},
      {{"$99999999999999999999\r\n"}, "Bad bulk string length"},
      {{"$9223372036854775807\r\n"}, "auth: no answer in 2000 ms"},
      {{"*2147483647\r\n"}, "larger than the limit"},
      {{"*-5\r\n"}, "Multi-bulk length out of range"},
      {{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"}, "depth > 7"},
      {{":12x\r\n"}, "Bad integer value"},
      {{"+OK\r\n+OK\r\n"}, "a reply that nothing was sent for"},
      {{"-ERR unknown command 'AUTH', with args beginning with: 'u' 'hush' \r\n"}, "auth: ERR unknown command 'AUTH'"},
      {{"-\x01\x7f\xff\r\n"}, "auth: ???"},
      {{"+OK\r\n", "+OK\r\n", "+OK\r\n"}, "check: Redis of unknown version"},
      {{"+OK\r\n", "+OK\r\n", "*0\r\n"}, "check: Redis of unknown version"},
      {{"+OK\r\n", "", NULL}, "Server closed the connection"},
      {{"+OK\r\n", NULL}, "name: no answer in 2000 ms"},
  };
  fake_open(url, sizeof url);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bool was_up;
    const char *reason = reason_for(url, cases[i].says, &was_up, NULL);
    if (!strstr(reason, cases[i].reason)) fail_msg("case %zu: %s", i, reason);
    assert_null(strstr(reason, "hush"));
    assert_false(was_up);
  }
  uv_close((uv_handle_t *)&fake.listener, NULL);
}

#define GOOD "redis_version:7.0.15\r\nredis_mode:standalone\r\n"

static void what_info_says(void **state) {
  (void)state;
  char url[64];
  static const struct {
    const char *info, *reason;
    bool up;
    unsigned notices;
  } cases[] = {
      {GOOD "run_id:r\r\nmaxmemory_policy:noeviction\r\n", "nothing was sent for", true, 0},
      {"redis_version:6.2.0\r\nrun_id:r\r\n", "nothing was sent for", true, 1},
      {"redis_version:10.0\nrun_id:r", "nothing was sent for", true, 1},
      {"redis_version:6.1.9\r\nrun_id:r\r\n", "check: Redis 6.1.9: 6.2 or later is needed", false, 0},
      {"redis_version:new\r\nrun_id:r\r\n", "check: Redis new: 6.2 or later", false, 0},
      {"# x_redis_version:7.0.0\r\nrun_id:r\r\n", "check: Redis of unknown version", false, 0},
      {GOOD "role:slave\r\nrun_id:r\r\n", "check: this is a replica", false, 0},
      {GOOD "loading:1\r\nrun_id:r\r\n", "check: Redis is loading its data", false, 0},
      {GOOD "cluster_enabled:1\r\nrun_id:r\r\n", "check: Redis Cluster is refused", false, 0},
      {"redis_version:7.0.0\r\nredis_mode:sentinel\r\nrun_id:r\r\n", "check: this is a Sentinel", false, 0},
      {GOOD "maxmemory_policy:volatile-ttl\r\nrun_id:r\r\n", "check: maxmemory-policy is volatile-ttl", false, 0},
      {GOOD "maxmemory_policy:noeviction\r\n", "check: INFO has no run_id", false, 0},
  };
  fake_open(url, sizeof url);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char info[512];
    bool was_up;
    unsigned notices;
    snprintf(info, sizeof info, "$%zu\r\n%s\r\n+unasked\r\n", strlen(cases[i].info), cases[i].info);
    const char *reason = reason_for(url, (const char *[]){"+OK\r\n", "+OK\r\n", info, NULL}, &was_up, &notices);
    if (!strstr(reason, cases[i].reason)) fail_msg("case %zu: %s", i, reason);
    if (was_up != cases[i].up || notices != cases[i].notices) fail_msg("case %zu: up or notices", i);
  }
  uv_close((uv_handle_t *)&fake.listener, NULL);
}

static void destroy_in_notice(void **state) {
  (void)state;
  static struct end e;
  char url[64];
  e = (struct end){.on_notice = destroy_link};
  fake_open(url, sizeof url);
  fake.says = (const char *[]){"+OK\r\n", "+OK\r\n", "$31\r\nredis_version:6.2.0\r\nrun_id:r\r\n\r\n", NULL};
  start(&e, url, (struct how){.plain = true});
  until(!e.link);
  assert_string_equal(e.notice, "redis.policy_unknown");
  assert_int_equal(e.ups + e.downs, 0);
  uv_close((uv_handle_t *)&fake.listener, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, prepare, finish)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(comes_up),
      TEST(scripts_and_trees),
      TEST(replies_are_in_order),
      TEST(unix_socket_and_names),
      TEST(an_unknown_name),
      TEST(password_user_db),
      TEST(a_wrong_password_is_tried_on),
      TEST(a_missing_password),
      TEST(a_db_that_is_not_there),
      TEST(cluster_is_refused),
      TEST(eviction_is_refused),
      TEST(a_replica_is_refused),
      TEST(nobody_listens_yet),
      TEST(a_server_comes_back),
      TEST(a_stopped_server),
      TEST(each_command_has_its_own_time),
      TEST(replies_are_read_before_they_are_judged),
      TEST(scripts_that_are_gone),
      TEST(a_master_that_becomes_a_replica),
      TEST(too_many_commands),
      TEST(a_large_reply),
      TEST(replies_over_the_limit),
      TEST(close_is_deferred),
      TEST(destroy_in_callbacks),
      TEST(destroy_while_coming_up),
      TEST(backoff_grows_and_begins_anew),
      TEST(bytes_that_are_no_replies),
      TEST(what_info_says),
      TEST(destroy_in_notice),
  };
  if (system("command -v redis-server >/dev/null") != 0) {
    fprintf(stderr, "skipped: there is no redis-server here (apt-get install redis-server)\n");
    return 77;
  }
  signal(SIGPIPE, SIG_IGN);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
