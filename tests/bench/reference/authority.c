// SPDX-License-Identifier: Apache-2.0
// bench_authority: an authority (docs/authority.md) that allows everything, as fast as it can be asked.
//
//   bench_authority [--port N]
//
// Each handshake gets a user of its own. Requests are searched, not parsed: Mora is known, and what
// clients send there holds no `"verb":`. Prints "listening PORT" when it does.
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bayeux/buffer.h"
#include "tests/bench/reference/listen.h"

enum { EVENTS = 64, READ_AT_ONCE = 64 * 1024 };

struct conn {
  int fd;
  struct bx_buffer in, out;
};

static struct {
  int epoll, listener;
  unsigned long users;
  char bytes[READ_AT_ONCE];
} server;

static void watch(struct conn *c, int how, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(server.epoll, how, c->fd, &e);
}

// A peer that does not read is not read either, until it has.
static bool send_out(struct conn *c) {
  ssize_t sent = c->out.len ? send(c->fd, c->out.at, c->out.len, MSG_NOSIGNAL) : 0;
  if (sent < 0 && errno != EAGAIN) return false;
  if (sent < 0) sent = 0;
  memmove(c->out.at, c->out.at + sent, c->out.len - (size_t)sent);
  c->out.len -= (size_t)sent;
  watch(c, EPOLL_CTL_MOD, c->out.len ? EPOLLOUT : EPOLLIN);
  return true;
}

static void answer(struct conn *c, const char *at, const char *end) {
  static const char verb[] = "\"verb\":\"";
  struct bx_buffer text = {0};
  bool first = true;
  bx_buffer_lit(&text, "{\"answers\":[");
  while ((at = memmem(at, (size_t)(end - at), verb, sizeof verb - 1)) != NULL) {
    at += sizeof verb - 1;
    if (!first) bx_buffer_char(&text, ',');
    first = false;
    if (*at == 'h')
      bx_buffer_printf(&text, "{\"allow\":true,\"user\":\"u%lu\"}", ++server.users);
    else
      bx_buffer_lit(&text, "{\"allow\":true}");
  }
  bx_buffer_lit(&text, "]}");
  bx_buffer_printf(&c->out, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", text.len);
  bx_buffer_slice(&c->out, bx_buffer_view(&text));
  bx_buffer_fini(&text);
}

// The bytes of the whole request at the front; 0: it is not all there.
static size_t request_at(struct conn *c, const char *at, size_t len) {
  static const char name[] = "content-length: ";
  const char *end = memmem(at, len, "\r\n\r\n", 4);
  if (!end) return 0;
  const char *length = memmem(at, (size_t)(end - at), name, sizeof name - 1);
  if (!length) length = memmem(at, (size_t)(end - at), "Content-Length: ", sizeof name - 1);
  size_t body = length ? strtoul(length + sizeof name - 1, NULL, 10) : 0, head = (size_t)(end + 4 - at);
  if (len < head + body) return 0;
  answer(c, at + head, at + head + body);
  return head + body;
}

static bool read_in(struct conn *c) {
  ssize_t n = recv(c->fd, server.bytes, sizeof server.bytes, 0);
  if (n < 0 && errno == EAGAIN) return true;
  if (n <= 0) return false;
  bx_buffer_add(&c->in, server.bytes, (size_t)n);
  size_t used = 0;
  for (size_t more; used < c->in.len && (more = request_at(c, c->in.at + used, c->in.len - used)) > 0;) used += more;
  memmove(c->in.at, c->in.at + used, c->in.len - used);
  c->in.len -= used;
  return send_out(c);
}

static void accept_one(void) {
  int on = 1, fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct conn *c = bx_alloc(sizeof *c);
  c->fd = fd;
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void close_conn(struct conn *c) {
  close(c->fd);
  bx_buffer_fini(&c->in);
  bx_buffer_fini(&c->out);
  bx_free(c);
}

static void run(void) {
  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(server.epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      struct conn *c = events[i].data.ptr;
      if (!c)
        accept_one();
      else if (!(events[i].events & EPOLLOUT ? send_out(c) : read_in(c)))
        close_conn(c);
    }
  }
}

static void end(int signo) {
  (void)signo;
  _exit(0);
}

int main(int argc, char **argv) {
  static const struct option words[] = {{"port", 1, NULL, 'p'}, {0}};
  unsigned port = 0;
  for (int word; (word = getopt_long(argc, argv, "", words, NULL)) != -1;) {
    if (word == 'p') port = (unsigned)strtoul(optarg, NULL, 10);
    if (word == '?') return 2;
  }
  signal(SIGTERM, end);
  server.epoll = epoll_create1(EPOLL_CLOEXEC);
  server.listener = listen_on(port, "bench_authority");
  epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &(struct epoll_event){.events = EPOLLIN});   // no conn
  run();
}
