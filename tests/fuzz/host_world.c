// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/host_world.h"

#include "broker/broker.h"
#include "broker/host/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TURNS_TO_END = 2000, ID_LENGTH = 31 };

int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct {
  struct bk_options options;
  struct cf_set *config;
  struct bk_broker broker;
  uint64_t random;
  uint64_t accepted;
  unsigned dialled;
  char id[ID_LENGTH + 1];
} world;

// In place of the C library's: the same numbers for every input.
ssize_t getrandom(void *at, size_t len, unsigned flags) {
  (void)flags;
  for (size_t i = 0; i < len; i++) {
    world.random = world.random * 6364136223846793005u + 1442695040888963407u;
    ((unsigned char *)at)[i] = (unsigned char)(world.random >> 56);
  }
  return (ssize_t)len;
}

// Few descriptors: one that is not closed is soon seen.
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  const struct rlimit few = {64, 64};
  (void)argc;
  (void)argv;
  setrlimit(RLIMIT_NOFILE, &few);
  host_world_configure(NULL);
  return 0;
}

void host_world_configure(const char *setting) {
  static const struct cf_section sections[] = {{bk_options, &world.options},
                                               {bk_engine_options, &world.options.engine}};
  const char *flags[] = {"world",
                         "--set",
                         "broker.listen=127.0.0.1:0",
                         "--set",
                         "admin.listen=127.0.0.1:0",
                         "--set",
                         "limits.body=64KB",
                         "--set",
                         "limits.message=32KB",
                         "--set",
                         "journal.messages=64",
                         "--set",
                         "broker.trusted_proxies=127.0.0.0/8",
                         setting ? "--set" : NULL,
                         setting};
  static char *environment[] = {NULL};
  struct bx_buffer error = {0};
  enum cf_action action;
  int count = (int)(sizeof flags / sizeof *flags) - (setting ? 0 : 2);
  bk_log_configure(BK_ERROR + 1, false);
  cf_free(world.config);
  world.config = cf_load(sections, sizeof sections / sizeof *sections, bk_foreign_options, count,
                         (char **)(uintptr_t)flags, environment, &action, &error);
  if (!world.config) fprintf(stderr, "%.*s", (int)error.len, error.at);
  MUST(world.config);
}

// -- the loop ----------------------------------------------------------------------------------

void host_turns(unsigned count) {
  while (count--) bk_loop_turn(world.broker.loop);
}

static size_t connections(void) {
  size_t count = 0;
  for (size_t i = 0; i < world.broker.listener_count; i++) count += bk_listener_connections(world.broker.listeners[i]);
  return count;
}

// -- clients -----------------------------------------------------------------------------------

// The fuzzer's clock may interrupt it; the connection is made all the same.
static bool connected(int fd, const struct sockaddr_in *to) {
  int error = 0;
  socklen_t len = sizeof error;
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0) return true;
  if (errno != EINTR) return false;
  while (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1) < 0 && errno == EINTR) continue;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

int host_dial(enum host_listener which) {
  const char *address = bk_listener_address(world.broker.listeners[which]);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  MUST(fd >= 0);
  MUST(connected(fd, &to));
  for (unsigned i = 0; i < TURNS_TO_END && bk_host_counters.accepted == world.accepted; i++) host_turns(1);
  MUST(bk_host_counters.accepted == ++world.accepted);
  return fd;
}

bool host_send(int fd, struct bx_slice bytes) {
  for (unsigned stuck = 0; bytes.len > 0 && stuck < 20;) {
    ssize_t n = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) return false;
    stuck = n > 0 ? 0 : stuck + 1;
    if (n > 0) bytes = (struct bx_slice){bytes.at + n, bytes.len - (size_t)n};
    host_turns(3);
  }
  return true;
}

bool host_send_text(int fd, struct bx_slice text, size_t piece) {
  static const char word[] = "CLIENTID";
  struct bx_buffer out = {0};
  for (const char *at; (at = text.len ? memmem(text.at, text.len, word, sizeof word - 1) : NULL);) {
    size_t before = (size_t)(at - text.at);
    bx_buffer_add(&out, text.at, before);
    bx_buffer_slice(&out, host_client_id());
    text = (struct bx_slice){at + sizeof word - 1, text.len - before - (sizeof word - 1)};
  }
  bx_buffer_slice(&out, text);
  bool good = true;
  for (size_t at = 0, len; good && at < out.len; at += len) {
    len = piece && piece < out.len - at ? piece : out.len - at;
    good = host_send(fd, (struct bx_slice){out.at + at, len});
  }
  bx_buffer_fini(&out);
  return good;
}

bool host_receive(int fd, struct bx_buffer *out) {
  for (;;) {
    bx_buffer_reserve(out, 4096);
    ssize_t n = recv(fd, out->at + out->len, 4096, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    out->len += (size_t)n;
  }
}

void host_hang_up(int fd) {
  const struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
  host_turns(2);
}

// -- the session that waits -------------------------------------------------------------------------

static void post(int fd, const char *body, struct bx_buffer *answer) {
  struct bx_buffer text = {0};
  bx_buffer_printf(&text, "POST /bayeux HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n");
  bx_buffer_printf(&text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
  MUST(host_send(fd, bx_buffer_view(&text)));
  bx_buffer_clear(answer);
  for (unsigned i = 0; i < TURNS_TO_END && answer->len == 0; i++) {
    host_turns(1);
    MUST(host_receive(fd, answer));
  }
  bx_buffer_fini(&text);
}

static void begin_session(void) {
  struct bx_buffer answer = {0};
  char text[256];
  int fd = host_dial(HOST_CLIENTS);
  if (world.options.proxy_protocol) MUST(host_send(fd, BX_LIT("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")));
  post(fd, "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"long-polling\"]}]",
       &answer);
  const char *id = answer.len ? memmem(answer.at, answer.len, "\"clientId\":\"", 12) : NULL;
  MUST(id);
  memcpy(world.id, id + 12, ID_LENGTH);
  snprintf(text, sizeof text, "[{\"channel\":\"/meta/subscribe\",\"clientId\":\"%s\",\"subscription\":\"/**\"}]",
           world.id);
  post(fd, text, &answer);
  MUST(memmem(answer.at, answer.len, "\"successful\":true", 17));
  host_hang_up(fd);
  bx_buffer_fini(&answer);
}

struct bk_transport *host_transport(void) {
  return &world.broker.transport;
}

struct bx_slice host_client_id(void) {
  return (struct bx_slice){world.id, ID_LENGTH};
}

// -- life --------------------------------------------------------------------------------------

void host_world_open(bool proxy_protocol) {
  world.random = 1;
  world.options.proxy_protocol = proxy_protocol;
  world.accepted = bk_host_counters.accepted;
  bk_broker_init(&world.broker, &world.options, NULL, NULL, NULL);
  MUST(bk_broker_start(&world.broker));
  begin_session();
}

void host_world_close(void) {
  struct bx_counters left;
  for (unsigned i = 0; i < TURNS_TO_END && connections() > 0; i++) host_turns(1);
  MUST(connections() == 0);
  MUST(bk_transport_connections(&world.broker.transport) == 0);
  bk_broker_fini(&world.broker, &left);
  MUST(left.sessions + left.frames + left.connections + left.batches == 0);
  MUST(bk_host_counters.open == 0 && bk_host_counters.websockets == 0);
}
