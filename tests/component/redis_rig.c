// SPDX-License-Identifier: Apache-2.0
// What the tests of the link share.
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/component/redis_rig.h"

enum { DEADLINE = 30 };   // seconds

struct rig rig;
struct server servers[2];

static void on_tick(uv_timer_t *timer) { (void)timer; }

void turn(void) {
  bx_wheel_advance(&rig.wheel, uv_now(&rig.loop));
  bx_millis next = bx_wheel_next(&rig.wheel), now = uv_now(&rig.loop);
  uv_timer_start(&rig.tick, on_tick, next <= now ? 0 : next - now < 100 ? next - now : 100, 0);
  uv_run(&rig.loop, UV_RUN_ONCE);
}

uint64_t give_up_at(void) { return uv_hrtime() + DEADLINE * 1000000000ull; }

void destroy_link(struct end *e) {
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

void start(struct end *e, const char *text, struct how how) {
  struct er_url url;
  const char *wrong = er_url_parse(&url, bx_slice_of(text));
  if (wrong) fail_msg("%s: %s", text, wrong);
  const struct er_link_options options = {
      .url = &url,
      .name = "mora-test-command",
      .scripts = how.plain  ? NULL
                 : how.real ? er_scripts
                            : scripts,
      .script_count = how.plain  ? 0
                      : how.real ? er_script_count
                                 : sizeof scripts / sizeof *scripts,
      .step_timeout = STEP_TIMEOUT,
      .answer_timeout = how.answer ? how.answer : 10000,
      .reply_limit = how.limit,
      .events = &events,
      .context = e,
  };
  e->link = er_link_create(&rig.loop, &rig.wheel, &options);
  rig.ends[rig.ends[0] != NULL] = e;
  er_url_fini(&url);
}

bool say(struct end *e, const char *words) {
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

const char *answer(struct end *e, const char *words) {
  unsigned before = e->replies;
  assert_true(say(e, words));
  until(e->replies > before);
  return e->text.at;
}

void expect_reason(struct end *e, const char *part) {
  if (!strstr(e->reason, part)) fail_msg("the reason is not %s: %s", part, e->reason);
}

// --- servers

int free_port(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
  close(fd);
  return ntohs(a.sin_port);
}

void place(struct server *s) {
  const char *temporary = getenv("TMPDIR");
  snprintf(s->folder, sizeof s->folder, "%s/mora-link-XXXXXX", temporary ? temporary : P_tmpdir);
  assert_non_null(mkdtemp(s->folder));
  s->port = free_port();
  snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->folder);
  snprintf(s->url, sizeof s->url, "redis://127.0.0.1:%d", s->port);
}

void launch(struct server *s, const char *options) {
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

void end_server(struct server *s) {
  if (s->pid <= 0) return;
  kill(s->pid, SIGKILL);
  waitpid(s->pid, NULL, 0);
  s->pid = 0;
}

struct server *redis(const char *options) {
  struct server *s = &servers[servers[0].port != 0];
  launch(s, options);
  return s;
}

int rig_open(void **state) {
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  memset(&rig, 0, sizeof rig);
  memset(servers, 0, sizeof servers);
  uv_loop_init(&rig.loop);
  uv_timer_init(&rig.loop, &rig.tick);
  bx_wheel_init(&rig.wheel, uv_now(&rig.loop));
  return 0;
}

int rig_close(void **state) {
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    if (!rig.ends[i]) continue;
    destroy_link(rig.ends[i]);
    bx_buffer_fini(&rig.ends[i]->text);
  }
  for (size_t i = 0; i < 2; i++) {
    end_server(&servers[i]);
    if (!servers[i].port) continue;
    char nodes[96];
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
