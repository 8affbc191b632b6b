// SPDX-License-Identifier: Apache-2.0
// The link to Redis against real redis-servers: coming up, what is refused, going down, large replies,
// closing and destroying, back-off.
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/component/redis_rig.h"

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
  assert_int_equal(e.notices, 1);   // it keeps nothing
  assert_string_equal(e.notice, "redis.not_durable");
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

static void the_scripts_of_the_engine(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){0};
  start(&e, redis("")->url, (struct how){.real = true});
  until(e.ups == 1);
  assert_true(er_link_send(e.link, "nodes", (struct bx_slice[]){BX_LIT("ns")}, 1));
  until(e.replies == 1);
  assert_true(e.is_up);
}

enum { PIPELINED = 10000 };

static void in_order(struct end *e, const struct er_reply *r) {
  uint64_t n = 0;
  assert_true(er_text_u64(er_reply_bytes(r), &n));
  assert_int_equal(n, e->replies - 1);
}

static void replies_are_in_order(void **state) {
  (void)state;
  static struct end e;
  e = (struct end){.on_reply = in_order};
  start(&e, redis("")->url, (struct how){.plain = true});
  until(e.ups == 1);
  unsigned downs = e.downs;
  for (int i = 0; i < PIPELINED; i++) {
    char words[32];
    snprintf(words, sizeof words, "ECHO %d", i);
    assert_true(say(&e, words));
    if (i == PIPELINED / 2) until(e.replies > 100);
  }
  until(e.replies == PIPELINED);
  assert_int_equal(e.downs, downs);
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

static void dialing(struct end *e) {
  until(e->link->state == ER_SETTING_UP && e->link->socket);
  assert_null(e->link->next_address);
}

// A name with two addresses: at the first nobody listens, or somebody who never accepts.
static void the_next_address_is_tried(void **state) {
  (void)state;
  static struct end refused, silent;
  refused = silent = (struct end){0};
  struct server *s = redis("");
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, there = here;
  struct addrinfo second = {.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&here, .ai_addrlen = sizeof here};
  there.sin_port = htons((uint16_t)s->port);
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  char url[64];
  start(&refused, s->url, (struct how){0});
  until(refused.ups == 1);
  destroy_link(&refused);

  refused = (struct end){0};
  rig.ends[0] = NULL;
  snprintf(url, sizeof url, "redis://127.0.0.2:%d", s->port);
  start(&refused, url, (struct how){0});
  dialing(&refused);
  refused.link->next_address = &second;
  until(refused.ups + refused.downs == 1);
  assert_int_equal(refused.ups, 1);

  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filler[4];
  assert_int_equal(bind(listener, (struct sockaddr *)&there, sizeof there), 0);
  assert_int_equal(listen(listener, 0), 0);
  for (size_t i = 0; i < 4; i++) {
    filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)!connect(filler[i], (struct sockaddr *)&there, sizeof there);   // the last ones hang
  }
  start(&silent, url, (struct how){0});
  until(silent.downs == 1);
  assert_string_equal(silent.reason, "connect: no answer in 2000 ms");
  dialing(&silent);
  silent.link->next_address = &second;
  until(silent.ups + silent.downs == 2);
  assert_int_equal(silent.ups, 1);
  for (size_t i = 0; i < 4; i++) close(filler[i]);
  close(listener);
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
  start(&e, s->url, (struct how){.answer = 1000});
  until(e.ups == 1);
  unsigned downs = e.downs;
  kill(s->pid, SIGSTOP);
  assert_true(say(&e, "ECHO 1"));
  until(e.downs == downs + 1);
  assert_string_equal(e.reason, "no answer in 1000 ms");
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
  start(&e, redis("")->url, (struct how){.answer = 2500, .plain = true});
  until(e.ups == 1);
  unsigned downs = e.downs;
  for (int i = 1; i <= 4; i++) {
    assert_true(say(&e, "BLPOP nothing 0.8"));
    until(e.replies == (unsigned)i);
  }
  assert_int_equal(e.downs, downs);
  for (int i = 0; i < 8; i++) assert_true(say(&e, "BLPOP nothing 0.8"));
  until(e.downs == downs + 1);
  assert_string_equal(e.reason, "no answer in 2500 ms");
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

int main(void) {
  const struct CMUnitTest tests[] = {
      RIG_TEST(comes_up),
      RIG_TEST(scripts_and_trees),
      RIG_TEST(the_scripts_of_the_engine),
      RIG_TEST(replies_are_in_order),
      RIG_TEST(unix_socket_and_names),
      RIG_TEST(an_unknown_name),
      RIG_TEST(password_user_db),
      RIG_TEST(a_wrong_password_is_tried_on),
      RIG_TEST(a_missing_password),
      RIG_TEST(a_db_that_is_not_there),
      RIG_TEST(cluster_is_refused),
      RIG_TEST(eviction_is_refused),
      RIG_TEST(a_replica_is_refused),
      RIG_TEST(nobody_listens_yet),
      RIG_TEST(the_next_address_is_tried),
      RIG_TEST(a_server_comes_back),
      RIG_TEST(a_stopped_server),
      RIG_TEST(each_command_has_its_own_time),
      RIG_TEST(replies_are_read_before_they_are_judged),
      RIG_TEST(scripts_that_are_gone),
      RIG_TEST(a_master_that_becomes_a_replica),
      RIG_TEST(too_many_commands),
      RIG_TEST(a_large_reply),
      RIG_TEST(replies_over_the_limit),
      RIG_TEST(close_is_deferred),
      RIG_TEST(destroy_in_callbacks),
      RIG_TEST(destroy_while_coming_up),
      RIG_TEST(backoff_grows_and_begins_anew),
  };
  if (system("command -v redis-server >/dev/null") != 0) {   // NOLINT(cert-env33-c): a constant command
    fprintf(stderr, "skipped: there is no redis-server here (apt-get install redis-server)\n");
    return 77;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
