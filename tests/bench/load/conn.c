// SPDX-License-Identifier: Apache-2.0
// Sockets: connecting, reading, and one write a turn.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/load/conn.h"

enum { READ_AT_ONCE = 256 * 1024, EVENTS = 256 };

bool bn_target_parse(struct bn_target *t, const char *url) {
  char scheme[8], host[32];
  unsigned port;
  t->path[0] = '/';
  t->path[1] = '\0';
  if (sscanf(url, "%7[a-z]://%31[0-9.]:%u%250s", scheme, host, &port, t->path) < 3 || port > 65535) return false;
  t->tls = strcmp(scheme, "wss") == 0 || strcmp(scheme, "https") == 0;
  t->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  snprintf(t->authority, sizeof t->authority, "%s:%u", host, port);
  return inet_pton(AF_INET, host, &t->address.sin_addr) == 1;
}

void bn_net_init(struct bn_net *net) {
  net->epoll = epoll_create1(EPOLL_CLOEXEC);
  BX_BUG_ON(net->epoll < 0);
  net->bytes = bx_alloc(READ_AT_ONCE);
  bx_list_init(&net->unsent);
}

static void watch(struct bn_conn *c, int how, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(c->net->epoll, how, c->fd, &e);
}

void bn_conn_listen(struct bn_conn *c, bool listens) {
  if (c->state == BN_OPEN) watch(c, EPOLL_CTL_MOD, (listens ? EPOLLIN : 0) | (c->wants_out ? EPOLLOUT : 0));
}

// -- life ------------------------------------------------------------------------------------------

void bn_conn_close(struct bn_conn *c) {
  if (c->state == BN_CLOSED) return;
  struct linger at_once = {.l_onoff = 1};
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (c->ssl) SSL_free(c->ssl);
  c->ssl = NULL;
  close(c->fd);
  c->state = BN_CLOSED;
  c->ready = c->wants_out = false;
  bx_list_remove(&c->unsent);
  bx_buffer_fini(&c->in);
  bx_buffer_fini(&c->out);
  bx_buffer_fini(&c->fragments);
}

void bn_conn_fail(struct bn_conn *c, const char *why) {
  if (c->state == BN_CLOSED) return;
  bn_conn_close(c);
  c->net->failed(c, why);
}

static void choose_source(struct bn_conn *c) {
  if (c->net->sources == 0) return;
  int on = 1;
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + c->index % c->net->sources)};
  setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0) perror("bind");
}

void bn_conn_open(struct bn_conn *c) {
  int on = 1;
  bx_list_init(&c->unsent);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) {
    perror("socket");
    exit(1);
  }
  choose_source(c);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->state = BN_CONNECTING;
  if (connect(c->fd, (const struct sockaddr *)&c->target->address, sizeof c->target->address) != 0 &&
      errno != EINPROGRESS) {
    bn_conn_fail(c, strerror(errno));
    return;
  }
  watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void to_be_sent(struct bn_conn *c) {
  if (bx_list_empty(&c->unsent)) bx_list_append(&c->net->unsent, &c->unsent);
}

static void carry(struct bn_conn *c) {
  if (c->role->kind == BN_HTTP) {
    c->state = BN_OPEN;
    c->role->opened(c);
    return;
  }
  c->state = BN_UPGRADING;
  bn_upgrade_put(&c->out, c);
  to_be_sent(c);
}

static void secure(struct bn_conn *c) {
  if (!c->ssl) {
    c->ssl = SSL_new(c->net->tls);
    SSL_set_fd(c->ssl, c->fd);
    c->state = BN_SECURING;
  }
  int result = SSL_connect(c->ssl);
  if (result == 1) {
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    carry(c);
    return;
  }
  int error = SSL_get_error(c->ssl, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
    watch(c, EPOLL_CTL_MOD, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
  else
    bn_conn_fail(c, "TLS handshake");
}

static void connected(struct bn_conn *c) {
  int error = 0;
  socklen_t len = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
  if (error) {
    bn_conn_fail(c, strerror(error));
  } else if (c->target->tls) {
    secure(c);
  } else {
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    carry(c);
  }
}

// -- bytes -----------------------------------------------------------------------------------------

void bn_conn_send_text(struct bn_conn *c, struct bx_slice text) {
  bn_frame_put(&c->out, 1, text);
  to_be_sent(c);
}

void bn_conn_send_pong(struct bn_conn *c) {
  bn_frame_put(&c->out, 10, BX_LIT("here"));
  to_be_sent(c);
}

void bn_conn_printf(struct bn_conn *c, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  BX_BUG_ON(len < 0 || (size_t)len >= sizeof text);
  bn_conn_send_text(c, (struct bx_slice){text, (size_t)len});
}

void bn_conn_post(struct bn_conn *c, const char *path, const char *type, struct bx_slice body) {
  bx_buffer_printf(&c->out,
                   "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nAccept: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   path, c->target->authority, type, body.len);
  bx_buffer_slice(&c->out, body);
  to_be_sent(c);
}

void bn_conn_get(struct bn_conn *c, const char *path) {
  bx_buffer_printf(&c->out, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, c->target->authority, c->id);
  to_be_sent(c);
}

static ssize_t write_some(struct bn_conn *c) {
  if (!c->ssl) return send(c->fd, c->out.at, c->out.len, MSG_NOSIGNAL);
  int n = SSL_write(c->ssl, c->out.at, (int)c->out.len);
  if (n > 0) return n;
  errno = SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
  return -1;
}

static void flush(struct bn_conn *c) {
  ssize_t n = write_some(c);
  if (n < 0 && errno != EAGAIN) {
    bn_conn_fail(c, strerror(errno));
    return;
  }
  size_t sent = n > 0 ? (size_t)n : 0;
  memmove(c->out.at, c->out.at + sent, c->out.len - sent);
  c->out.len -= sent;
  if (c->wants_out != (c->out.len > 0)) {
    c->wants_out = c->out.len > 0;
    bn_conn_listen(c, !c->slow);
  }
  if (c->out.len == 0) bx_buffer_fini(&c->out);   // thousands of idle clients hold nothing
}

void bn_net_flush(struct bn_net *net) {
  for (struct bx_list *l; (l = bx_list_take(&net->unsent));) flush(bx_container_of(l, struct bn_conn, unsent));
}

static ssize_t read_some(struct bn_conn *c) {
  if (!c->ssl) return recv(c->fd, c->net->bytes, READ_AT_ONCE, 0);
  int n = SSL_read(c->ssl, c->net->bytes, READ_AT_ONCE);
  if (n > 0) return n;
  int error = SSL_get_error(c->ssl, n);
  errno = error == SSL_ERROR_WANT_READ ? EAGAIN : ECONNRESET;
  return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void take(struct bn_conn *c, size_t len) {
  c->net->reads++;
  if (c->in.len == 0) {
    size_t used = bn_conn_parse(c, c->net->bytes, len);
    if (c->state != BN_CLOSED && used < len) bx_buffer_add(&c->in, c->net->bytes + used, len - used);
    return;
  }
  // Replies to what is parsed go to `out`; `in` is nobody else's meanwhile.
  bx_buffer_add(&c->in, c->net->bytes, len);
  size_t used = bn_conn_parse(c, c->in.at, c->in.len);
  if (c->state == BN_CLOSED) return;
  memmove(c->in.at, c->in.at + used, c->in.len - used);
  c->in.len -= used;
  if (c->in.len == 0) bx_buffer_fini(&c->in);
}

static void readable(struct bn_conn *c) {
  ssize_t n;
  do {
    n = read_some(c);
    if (n > 0)
      take(c, (size_t)n);
    else if (n == 0)
      bn_conn_fail(c, "the server closed the connection");
    else if (errno != EAGAIN)
      bn_conn_fail(c, strerror(errno));
  } while (n > 0 && c->state != BN_CLOSED && c->ssl);   // what OpenSSL holds, epoll does not see
}

static void on_event(struct bn_conn *c, uint32_t events) {
  if (c->state == BN_CONNECTING) {
    connected(c);
  } else if (c->state == BN_SECURING) {
    secure(c);
  } else if (c->state != BN_CLOSED) {
    if (events & EPOLLOUT) to_be_sent(c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
  }
}

void bn_net_turn(struct bn_net *net, uint64_t wait) {
  struct epoll_event events[EVENTS];
  struct timespec timeout = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
  bn_net_flush(net);
  int count = epoll_pwait2(net->epoll, events, EVENTS, &timeout, NULL);
  for (int i = 0; i < count; i++) on_event(events[i].data.ptr, events[i].events);
  bn_net_flush(net);
}
