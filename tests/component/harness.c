// SPDX-License-Identifier: Apache-2.0
#include "tests/component/harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/host/log.h"

static void on_stop(uv_async_t *async) {
  struct harness *h = async->data;
  bk_loop_stop(h->loop);
}

static void on_call(uv_async_t *async) {
  struct harness *h = async->data;
  h->called(h);
}

void harness_options(struct harness *h, const struct bk_route *routes, struct bk_listener_options o) {
  char error[256];
  bk_log_configure(BK_WARN, false);
  check(pipe(h->notes) == 0);
  h->loop = bk_loop_create();
  o.routes = routes;
  h->listener = bk_listener_open(h->loop, &o, error, sizeof error);
  if (!h->listener) fprintf(stderr, "%s\n", error);
  check(h->listener);
  if (strncmp(o.address, "unix:", 5) == 0)
    h->unix_path = o.address + 5;
  else
    h->port = (int)strtol(strrchr(bk_listener_address(h->listener), ':') + 1, NULL, 10);
  check(uv_async_init(bk_loop_uv(h->loop), &h->stop, on_stop) == 0);
  check(uv_async_init(bk_loop_uv(h->loop), &h->call, on_call) == 0);
  h->stop.data = h->call.data = h;
}

void harness_open(struct harness *h, const struct bk_route *routes, const char *address) {
  harness_options(h, routes,
                  (struct bk_listener_options){.name = "test",
                                               .address = address ? address : "127.0.0.1:0",
                                               .max_body = 100000,
                                               .header_time = DEADLINE * 1000});
}

static void *thread(void *argument) {
  struct harness *h = argument;
  h->client(h);
  uv_async_send(&h->stop);
  return NULL;
}

void harness_run(struct harness *h, void (*client)(struct harness *)) {
  pthread_t t;
  h->client = client;
  check(pthread_create(&t, NULL, thread, h) == 0);
  bk_loop_run(h->loop);
  check(pthread_join(t, NULL) == 0);
}

void harness_close(struct harness *h) {
  uv_close((uv_handle_t *)&h->stop, NULL);
  uv_close((uv_handle_t *)&h->call, NULL);
  bk_loop_destroy(h->loop);
  close(h->notes[0]);
  close(h->notes[1]);
}

void harness_note(struct harness *h, char letter) { check(write(h->notes[1], &letter, 1) == 1); }

void harness_await(struct harness *h, char letter) {
  char got;
  struct pollfd p = {.fd = h->notes[0], .events = POLLIN};
  if (poll(&p, 1, DEADLINE * 1000) != 1) fprintf(stderr, "nothing came, expected '%c'\n", letter);
  check(p.revents);
  check(read(h->notes[0], &got, 1) == 1);
  if (got != letter) fprintf(stderr, "expected '%c', got '%c'\n", letter, got);
  check(got == letter);
}

void harness_call(struct harness *h, void (*f)(struct harness *)) {
  h->called = f;
  uv_async_send(&h->call);
}

void unix_address(char *address, size_t size) {
  const char *base = getenv("TMPDIR");
  snprintf(address, size, "unix:%s/mora-XXXXXX", base ? base : P_tmpdir);
  check(mkdtemp(address + 5));
  size_t len = strlen(address);
  check(len + 3 < size);
  memcpy(address + len, "/s", 3);
}

void unix_address_done(const char *address) {
  char folder[128];
  snprintf(folder, sizeof folder, "%.*s", (int)strlen(address) - 7, address + 5);
  check(rmdir(folder) == 0);   // the listener has removed its socket
}

int dial(struct harness *h) {
  struct timeval deadline = {.tv_sec = DEADLINE};
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)h->port)};
  struct sockaddr_in6 v6 = {
      .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)h->port), .sin6_addr = in6addr_loopback};
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool is_v6 = bk_listener_address(h->listener)[0] == '[';
  int family = h->unix_path ? AF_UNIX : is_v6 ? AF_INET6 : AF_INET;
  if (h->unix_path) strncpy(un.sun_path, h->unix_path, sizeof un.sun_path - 1);
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd >= 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  const struct sockaddr *to = h->unix_path ? (void *)&un : is_v6 ? (void *)&v6 : (void *)&v4;
  check(connect(fd, to, h->unix_path ? sizeof un : is_v6 ? sizeof v6 : sizeof v4) == 0);
  return fd;
}

void send_bytes(int fd, const void *at, size_t len) {
  const char *p = at;
  while (len > 0) {
    ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
    check(n > 0);
    p += n;
    len -= (size_t)n;
  }
}

void send_text(int fd, const char *text) { send_bytes(fd, text, strlen(text)); }

int read_some(int fd, void *at, size_t len) {
  ssize_t n = recv(fd, at, len, 0);
  if (n < 0) check(errno == ECONNRESET || errno == EPIPE);   // and not a deadline
  return (int)n;
}

void read_exactly(int fd, void *at, size_t len) {
  char *p = at;
  while (len > 0) {
    int n = read_some(fd, p, len);
    check(n > 0);
    p += n;
    len -= (size_t)n;
  }
}

void close_with_reset(int fd) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

void read_head(int fd, struct answer *a) {
  size_t len = 0;
  memset(a, 0, sizeof *a);
  while (len < 4 || memcmp(a->head + len - 4, "\r\n\r\n", 4) != 0) {
    check(len < sizeof a->head - 1);
    read_exactly(fd, a->head + len++, 1);
  }
  check(strncmp(a->head, "HTTP/1.", 7) == 0 && a->head[8] == ' ');
  a->status = (int)strtol(a->head + 9, NULL, 10);
  check(a->status >= 100);
}

bool read_chunk(int fd, struct bx_buffer *out) {
  char line[32];
  size_t n = 0;
  do read_exactly(fd, line + n, 1);
  while (line[n++] != '\n' && n < sizeof line - 1);
  line[n] = '\0';
  unsigned long len = strtoul(line, NULL, 16);
  bx_buffer_reserve(out, len + 2);
  read_exactly(fd, out->at + out->len, len + 2);
  check(memcmp(out->at + out->len + len, "\r\n", 2) == 0);
  out->len += len;
  return len > 0;
}

void read_answer(int fd, struct answer *a) {
  read_head(fd, a);
  const char *length = strstr(a->head, "content-length: ");
  if (length) {
    a->len = strtoul(length + 16, NULL, 10);
    a->body = calloc(1, a->len + 1);
    read_exactly(fd, a->body, a->len);
    return;
  }
  struct bx_buffer body = {0};
  if (head_has(a, "transfer-encoding: chunked"))
    while (read_chunk(fd, &body)) continue;
  a->len = body.len;
  a->body = calloc(1, body.len + 1);
  if (body.len) memcpy(a->body, body.at, body.len);
  bx_buffer_fini(&body);
}

bool head_has(const struct answer *a, const char *line) {
  const char *at = strcasestr(a->head, line);
  return at && at[-1] == '\n' && at[strlen(line)] == '\r';
}

void answer_free(struct answer *a) {
  free(a->body);
  a->body = NULL;
}
