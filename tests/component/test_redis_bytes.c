// SPDX-License-Identifier: Apache-2.0
// The link to Redis against a server that says what no Redis would.
#include <arpa/inet.h>

#include "tests/component/redis_rig.h"

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
  snprintf(reason, sizeof reason, "%s", e.reason);
  return reason;
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
}

#define SAFE GOOD "run_id:r\r\nmaxmemory_policy:noeviction\r\n"
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
      {SAFE "aof_enabled:1\r\n", "nothing was sent for", true, 0},
      {SAFE "aof_enabled:0\r\n", "nothing was sent for", true, 1},
      {SAFE "role:master\r\nconnected_slaves:1\r\n", "nothing was sent for", true, 1},
      {SAFE "role:master\r\nconnected_slaves:1\r\nmin_slaves_good_slaves:1\r\n", "nothing was sent for", true, 0},
      {SAFE "role:master\r\nconnected_slaves:0\r\n", "nothing was sent for", true, 0},
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
}

// The fake is the Sentinel, and the primary that it names. A password is for both.
static void what_a_sentinel_says(void **state) {
  (void)state;
  char plain[64], url[120], here[160];
  fake_open(plain, sizeof plain);
  const char *port = strrchr(plain, ':') + 1;
  snprintf(url, sizeof url, "redis+sentinel://u:hush@127.0.0.1:%s/main", port);
  snprintf(here, sizeof here, "-ERR no password\r\n*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
  const struct {
    const char *says[6], *reason;
    unsigned notices;
  } cases[] = {
      {{"+OK\r\n*-1\r\n"}, "knows no \"main\"", 0},
      {{"+OK\r\n-NOAUTH Authentication required.\r\n"}, "sentinel: NOAUTH", 0},
      {{"-WRONGPASS no\r\n-NOAUTH Authentication required.\r\n"}, "sentinel: NOAUTH", 0},
      {{"+OK\r\n:3\r\n"}, "gave no address", 0},
      {{"+OK\r\n*2\r\n$1\r\na\r\n$1\r\nx\r\n"}, "gave no address", 0},
      {{"+OK\r\n*2\r\n$0\r\n\r\n$1\r\n1\r\n"}, "gave no address", 0},
      {{"+OK\r\n*2\r\n$1\r\na\r\n$5\r\n65536\r\n"}, "gave no address", 0},
      {{"+OK\r\n*1\r\n$9\r\n127.0.0.1\r\n"}, "gave no address", 0},
      {{"+OK\r\n"}, "sentinel: no answer in 2000 ms", 0},
      {{""}, "connect: Server closed the connection", 0},
      {{here}, "auth: ERR no password", 1},   // it is the primary now, and says the same again
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    unsigned notices;
    bool was_up;
    const char *reason = reason_for(url, cases[i].says, &was_up, &notices);
    if (!strstr(reason, cases[i].reason)) fail_msg("case %zu: %s", i, reason);
    assert_null(strstr(reason, "hush"));
    assert_int_equal(notices, cases[i].notices);
    assert_false(was_up);
  }
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
}

static int fake_close(void **state) {
  uv_close((uv_handle_t *)&fake.listener, NULL);
  return rig_close(state);
}

#define FAKE_TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, fake_close)

int main(void) {
  const struct CMUnitTest tests[] = {
      FAKE_TEST(bytes_that_are_no_replies),
      FAKE_TEST(what_info_says),
      FAKE_TEST(what_a_sentinel_says),
      FAKE_TEST(destroy_in_notice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
