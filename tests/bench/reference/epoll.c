// SPDX-License-Identifier: Apache-2.0
// bench_epoll: what a websocket fan-out costs when there is nothing around it. Raw epoll, no sessions, no
// JSON, no limits: the floor that the figures of docs/benchmarks.md are compared with.
//
//   bench_epoll [--port N] [--batch] [--ping MS] [--hold MS] [--tls CERTIFICATE,KEY] [--misbehave lose|double|swap]
//
// A websocket at /sub/NUMBER gets every text that a websocket at /pub/NUMBER sends from then on. One
// send() for each message and subscriber; with --batch one for all that a turn of the loop brought, which
// is how Mora does it. A text at /sub/NUMBER is answered after --hold ms (0: at once) with a text as long
// as Bayeux's answer to a connect; --ping sends pings; --tls speaks TLS as thriftily as OpenSSL can.
// --misbehave does wrong to one delivery in a thousand, for the test of who watches. Prints "listening PORT" when it does.
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bayeux/buffer.h"
#include "tests/bench/reference/listen.h"

enum { CHANNELS = 1000000, EVENTS = 1024, READ_AT_ONCE = 64 * 1024, WRONG_EVERY = 997 };
enum misbehaviour { GOOD, LOSE, DOUBLE, SWAP };

struct channel {
  struct conn **subscribers;
  unsigned count, room;
  struct bx_buffer pending;   // frames of this turn
  struct bx_list due;
};

struct conn {
  struct bx_list ping, hold;
  uint64_t ping_at, hold_at;
  struct channel *channel;   // NULL: before the upgrade
  struct bx_buffer in, out, kept;
  SSL *ssl;
  int fd;
  unsigned place;   // among the channel's subscribers
  bool publishes;
};

struct server {
  int epoll, listener;
  bool batch;
  uint64_t ping, hold, now;   // ms
  enum misbehaviour misbehaviour;
  unsigned long deliveries;
  SSL_CTX *tls;
  struct bx_list due, pings, holds;   // the last two ordered by time
  struct channel *channels[CHANNELS];
  char bytes[READ_AT_ONCE];
};

static struct server server;

static uint64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct channel *channel_of(unsigned number) {
  struct channel **place = &server.channels[number % CHANNELS];
  if (!*place) {
    *place = bx_alloc(sizeof **place);
    bx_list_init(&(*place)->due);
  }
  return *place;
}

// -- out -------------------------------------------------------------------------------------------

static void watch(struct conn *c, int how, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(server.epoll, how, c->fd, &e);
}

static ssize_t put(struct conn *c, const char *at, size_t len) {
  if (!c->ssl) return send(c->fd, at, len, MSG_NOSIGNAL);
  int n = SSL_write(c->ssl, at, (int)len);
  if (n > 0) return n;
  errno = SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
  return -1;
}

static ssize_t get(struct conn *c) {
  if (!c->ssl) return recv(c->fd, server.bytes, sizeof server.bytes, 0);
  int n = SSL_read(c->ssl, server.bytes, sizeof server.bytes);
  if (n > 0) return n;
  errno = SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ ? EAGAIN : EPIPE;
  return -1;
}

// What the socket does not take waits for it. A broken socket is seen when it is read.
static void send_bytes(struct conn *c, const char *at, size_t len) {
  ssize_t sent = c->out.len ? 0 : put(c, at, len);
  if (sent < 0 && errno != EAGAIN) return;
  if (sent < 0) sent = 0;
  if ((size_t)sent == len) return;
  if (c->out.len == 0) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  bx_buffer_add(&c->out, at + sent, len - (size_t)sent);
}

static void send_rest(struct conn *c) {
  ssize_t sent = put(c, c->out.at, c->out.len);
  if (sent <= 0) return;
  memmove(c->out.at, c->out.at + sent, c->out.len - (size_t)sent);
  c->out.len -= (size_t)sent;
  if (c->out.len) return;
  bx_buffer_fini(&c->out);
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void put_frame(struct bx_buffer *out, unsigned opcode, const char *at, size_t len) {
  unsigned char head[4] = {(unsigned char)(0x80 | opcode), (unsigned char)(len < 126 ? len : 126),
                           (unsigned char)(len >> 8), (unsigned char)len};
  BX_BUG_ON(len > 65535);
  bx_buffer_add(out, head, len < 126 ? 2 : 4);
  bx_buffer_add(out, at, len);
}

static void send_frame(struct conn *c, unsigned opcode, struct bx_slice text) {
  struct bx_buffer frame = {0};
  put_frame(&frame, opcode, text.at, text.len);
  send_bytes(c, frame.at, frame.len);
  bx_buffer_fini(&frame);
}

static void send_wrongly(struct conn *c, const char *at, size_t len) {
  bool now = ++server.deliveries % WRONG_EVERY == 0;
  if (now && server.misbehaviour == LOSE) return;
  if (now && server.misbehaviour == SWAP && c->kept.len == 0) {
    bx_buffer_add(&c->kept, at, len);
    return;
  }
  send_bytes(c, at, len);
  if (now && server.misbehaviour == DOUBLE) send_bytes(c, at, len);
  if (c->kept.len) send_bytes(c, c->kept.at, c->kept.len);
  bx_buffer_fini(&c->kept);
}

static void fan_out(struct channel *ch, const char *at, size_t len) {
  for (unsigned i = 0; i < ch->count; i++) {
    if (server.misbehaviour == GOOD)
      send_bytes(ch->subscribers[i], at, len);
    else
      send_wrongly(ch->subscribers[i], at, len);
  }
}

static void publish(struct channel *ch, struct bx_slice text) {
  put_frame(&ch->pending, 1, text.at, text.len);
  if (server.batch) {
    if (bx_list_empty(&ch->due)) bx_list_append(&server.due, &ch->due);
    return;
  }
  fan_out(ch, ch->pending.at, ch->pending.len);
  bx_buffer_clear(&ch->pending);
}

static void end_turn(void) {
  for (struct bx_list *l; (l = bx_list_take(&server.due));) {
    struct channel *ch = bx_container_of(l, struct channel, due);
    fan_out(ch, ch->pending.at, ch->pending.len);
    bx_buffer_clear(&ch->pending);
  }
}

// -- idle clients ----------------------------------------------------------------------------------

// As long as Mora's.
static const char answer[] = "[{\"channel\":\"/meta/connect\",\"successful\":true,\"clientId\":"
                             "\"0123456789abcdefghijklmnopqrstu\",\"id\":\"12345\",\"advice\":"
                             "{\"reconnect\":\"retry\",\"interval\":0,\"timeout\":60000}}]";

static void renew(struct conn *c) {
  if (server.hold == 0) {
    send_frame(c, 1, BX_LIT(answer));
    return;
  }
  c->hold_at = server.now + server.hold;
  bx_list_remove(&c->hold);
  bx_list_append(&server.holds, &c->hold);
}

static void fire(void) {
  while (!bx_list_empty(&server.holds)) {
    struct conn *c = bx_container_of(server.holds.next, struct conn, hold);
    if (c->hold_at > server.now) break;
    bx_list_remove(&c->hold);
    send_frame(c, 1, BX_LIT(answer));
  }
  while (!bx_list_empty(&server.pings)) {
    struct conn *c = bx_container_of(server.pings.next, struct conn, ping);
    if (c->ping_at > server.now) break;
    bx_list_remove(&c->ping);
    bx_list_append(&server.pings, &c->ping);
    c->ping_at = server.now + server.ping;
    send_frame(c, 9, BX_LIT("alive"));
  }
}

static int time_left(void) {
  uint64_t next = UINT64_MAX;
  if (!bx_list_empty(&server.holds)) next = bx_container_of(server.holds.next, struct conn, hold)->hold_at;
  if (!bx_list_empty(&server.pings)) {
    uint64_t ping = bx_container_of(server.pings.next, struct conn, ping)->ping_at;
    if (ping < next) next = ping;
  }
  return next == UINT64_MAX ? -1 : next > server.now ? (int)(next - server.now) : 0;
}

// -- in --------------------------------------------------------------------------------------------

static void close_conn(struct conn *c) {
  struct channel *ch = c->channel;
  if (ch && !c->publishes) {
    ch->subscribers[c->place] = ch->subscribers[--ch->count];
    ch->subscribers[c->place]->place = c->place;
  }
  bx_list_remove(&c->ping);
  bx_list_remove(&c->hold);
  bx_buffer_fini(&c->in);
  bx_buffer_fini(&c->out);
  bx_buffer_fini(&c->kept);
  SSL_free(c->ssl);
  close(c->fd);
  bx_free(c);
}

static void join(struct conn *c) {
  struct channel *ch = c->channel;
  if (ch->count == ch->room) {
    ch->room = ch->room ? 2 * ch->room : 1;
    ch->subscribers = bx_realloc(ch->subscribers, ch->room * sizeof(struct conn *));
  }
  c->place = ch->count;
  ch->subscribers[ch->count++] = c;
  if (server.ping == 0) return;
  c->ping_at = server.now + server.ping;
  bx_list_append(&server.pings, &c->ping);
}

static void put_accept(struct bx_buffer *out, const char *key) {
  unsigned char hash[SHA_DIGEST_LENGTH], accept[32];
  char text[64];
  snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  SHA1((const unsigned char *)text, strlen(text), hash);
  EVP_EncodeBlock(accept, hash, sizeof hash);
  bx_buffer_printf(out,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
}

// Returns the bytes used, 0 when the head is not all there, -1 when it is none of ours.
static ssize_t upgrade(struct conn *c, char *at, size_t len) {
  static const char name[] = "Sec-WebSocket-Key: ";
  char *end = memmem(at, len, "\r\n\r\n", 4), *key = memmem(at, len, name, sizeof name - 1);
  if (!end) return len > 4096 ? -1 : 0;
  if (!key || (memcmp(at, "GET /sub/", 9) != 0 && memcmp(at, "GET /pub/", 9) != 0)) return -1;
  c->publishes = at[5] == 'p';
  c->channel = channel_of((unsigned)strtoul(at + 9, NULL, 10));
  struct bx_buffer out = {0};
  put_accept(&out, key + sizeof name - 1);
  send_bytes(c, out.at, out.len);
  bx_buffer_fini(&out);
  if (!c->publishes) join(c);
  return end + 4 - at;
}

// Frames of clients are masked and here never fragmented. Returns as upgrade() does.
static ssize_t take_frame(struct conn *c, char *at, size_t len) {
  unsigned char *head = (unsigned char *)at;
  if (len < 6) return 0;
  size_t payload = head[1] & 127, start = payload < 126 ? 6 : 8;
  if (payload == 127) return -1;
  if (payload == 126) payload = (size_t)head[2] << 8 | head[3];
  if (len < start + payload) return 0;
  const char *mask = at + start - 4;
  for (size_t i = 0; i < payload; i++) at[start + i] ^= mask[i % 4];
  struct bx_slice text = {at + start, payload};
  unsigned opcode = head[0] & 15;
  if (opcode == 8) return -1;
  if (opcode == 9) send_frame(c, 10, text);
  if (opcode == 1 && c->publishes) publish(c->channel, text);
  if (opcode == 1 && !c->publishes) renew(c);
  return (ssize_t)(start + payload);
}

static bool take(struct conn *c, char *at, size_t len) {
  size_t used = 0;
  while (used < len) {
    ssize_t n = c->channel ? take_frame(c, at + used, len - used) : upgrade(c, at + used, len - used);
    if (n < 0) return false;
    if (n == 0) break;
    used += (size_t)n;
  }
  if (c->in.len) {
    memmove(c->in.at, c->in.at + used, c->in.len - used);
    c->in.len -= used;
    if (c->in.len == 0) bx_buffer_fini(&c->in);
  } else if (used < len) {
    bx_buffer_add(&c->in, at + used, len - used);
  }
  return true;
}

static void readable(struct conn *c) {
  ssize_t n = get(c);
  if (n < 0 && errno == EAGAIN) return;
  bool good = n > 0;
  if (good && c->in.len) {
    bx_buffer_add(&c->in, server.bytes, (size_t)n);
    good = take(c, c->in.at, c->in.len);
  } else if (good) {
    good = take(c, server.bytes, (size_t)n);
  }
  if (!good) close_conn(c);
}

static void accept_some(void) {
  for (int i = 0; i < 64; i++) {
    int on = 1, fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *c = bx_alloc(sizeof *c);
    c->fd = fd;
    bx_list_init(&c->ping);
    bx_list_init(&c->hold);
    if (server.tls) {
      c->ssl = SSL_new(server.tls);
      SSL_set_fd(c->ssl, fd);
      SSL_set_accept_state(c->ssl);
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
  }
}

// -- life ------------------------------------------------------------------------------------------

static void run(void) {
  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(server.epoll, events, EVENTS, time_left());
    server.now = clock_ms();
    for (int i = 0; i < count; i++) {
      struct conn *c = events[i].data.ptr;
      if (!c) {
        accept_some();
        continue;
      }
      if (events[i].events & EPOLLOUT) send_rest(c);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
    }
    end_turn();
    fire();
  }
}

// No tickets, no cache of sessions, no buffers between records.
static void use_tls(const char *files) {
  char certificate[256];
  const char *key = strchr(files, ',');
  server.tls = SSL_CTX_new(TLS_server_method());
  snprintf(certificate, sizeof certificate, "%.*s", key ? (int)(key - files) : 0, files);
  SSL_CTX_set_mode(server.tls,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(server.tls, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(server.tls, 0);
  if (!key || SSL_CTX_use_certificate_chain_file(server.tls, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(server.tls, key + 1, SSL_FILETYPE_PEM) != 1) {
    fprintf(stderr, "bench_epoll: --tls CERTIFICATE,KEY\n");
    exit(2);
  }
}

static enum misbehaviour misbehaviour_of(const char *word) {
  static const char *const names[] = {"", "lose", "double", "swap"};
  for (int i = LOSE; i <= SWAP; i++)
    if (strcmp(word, names[i]) == 0) return (enum misbehaviour)i;
  fprintf(stderr, "bench_epoll: there is no such misbehaviour\n");
  exit(2);
}

static void end(int signo) {
  (void)signo;
  _exit(0);
}

int main(int argc, char **argv) {
  static const struct option words[] = {{"port", 1, NULL, 'p'},
                                        {"batch", 0, NULL, 'b'},
                                        {"ping", 1, NULL, 'i'},
                                        {"hold", 1, NULL, 'h'},
                                        {"misbehave", 1, NULL, 'm'},
                                        {"tls", 1, NULL, 't'},
                                        {0}};
  unsigned port = 0;
  struct rlimit files;
  for (int word; (word = getopt_long(argc, argv, "", words, NULL)) != -1;) {
    if (word == 'p') port = (unsigned)strtoul(optarg, NULL, 10);
    if (word == 'b') server.batch = true;
    if (word == 'i') server.ping = strtoul(optarg, NULL, 10);
    if (word == 'h') server.hold = strtoul(optarg, NULL, 10);
    if (word == 't') use_tls(optarg);
    if (word == 'm') server.misbehaviour = misbehaviour_of(optarg);
    if (word == '?') return 2;
  }
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, end);
  signal(SIGPIPE, SIG_IGN);
  bx_list_init(&server.due);
  bx_list_init(&server.pings);
  bx_list_init(&server.holds);
  server.now = clock_ms();
  server.epoll = epoll_create1(EPOLL_CLOEXEC);
  server.listener = listen_on(port, "bench_epoll");
  epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &(struct epoll_event){.events = EPOLLIN});   // no conn
  run();
}
