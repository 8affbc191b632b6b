// SPDX-License-Identifier: Apache-2.0
// Websockets over real sockets: the upgrade, frames in and out, back-pressure, every way of closing.
#include "tests/component/harness.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/deflate.h"
#include "broker/host/metrics.h"
#include "broker/host/websocket.h"

// What the server notes: o open, m message, p pong, w writable, x closed, c called.
static struct {
  struct harness *h;
  struct bk_websocket *socket;
  struct bx_buffer message, pong;
  unsigned opens, closes;
  bool echoed, answer_instead;
  bool quiet;   // pongs are not noted
  void (*on_message)(struct bk_websocket *);
  int partials;
} server;

static int user_data;

static void on_open(struct bk_websocket *w, void *user) {
  check(user == &user_data && bk_websocket_user(w) == &user_data);
  check(bx_slice_starts(bk_websocket_peer(w), BX_LIT("127.0.0.1:")));
  server.socket = w;
  server.opens++;
  harness_note(server.h, 'o');
}

static void on_message(struct bk_websocket *w, struct bx_slice text) {
  bx_buffer_clear(&server.message);
  bx_buffer_slice(&server.message, text);
  if (server.on_message) server.on_message(w);
  harness_note(server.h, 'm');
}

static void on_pong(struct bk_websocket *w, struct bx_slice payload) {
  if (server.quiet) return;
  check(w == server.socket);
  bx_buffer_clear(&server.pong);
  bx_buffer_slice(&server.pong, payload);
  harness_note(server.h, 'p');
}

static void on_writable(struct bk_websocket *w) {
  check(bk_websocket_ready(w));
  harness_note(server.h, 'w');
}

static void on_closed(struct bk_websocket *w, bool echoed) {
  check(w == server.socket || server.opens > 1);
  check(!bk_websocket_ready(w));
  server.echoed = echoed;
  server.closes++;
  if (w == server.socket) server.socket = NULL;
  harness_note(server.h, 'x');
}

static const struct bk_websocket_ops ops = {.open = on_open,
                                            .message = on_message,
                                            .pong = on_pong,
                                            .writable = on_writable,
                                            .closed = on_closed,
                                            .max_message = 100000};

static const struct bk_websocket_ops *on_upgrade(void *context, struct bk_exchange *x, void **user) {
  char origin[64];
  (void)context;
  if (bk_exchange_header(x, "origin", origin, sizeof origin) && strcmp(origin, "http://evil") == 0) {
    bk_exchange_refuse(x, 403, "origin");
    return NULL;
  }
  *user = &user_data;
  return &ops;
}

static void on_get(void *context, struct bk_exchange *x) {
  (void)context;
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = BX_LIT("plain")});
}

static const struct bk_route routes[] = {
    {.methods = BK_GET, .path = "/socket", .handle = on_get, .upgrade = on_upgrade},
    {.methods = BK_GET, .path = "/plain", .handle = on_get},
    {0},
};

static void run_with(bool deflate, void (*client)(struct harness *)) {
  struct harness h = {0};
  memset(&server, 0, sizeof server);
  server.h = &h;
  harness_options(&h, routes,
                  (struct bk_listener_options){.name = "test",
                                               .address = "127.0.0.1:0",
                                               .max_body = 100000,
                                               .header_time = DEADLINE * 1000,
                                               .deflate = deflate});
  harness_run(&h, client);
  harness_close(&h);
  check(server.closes == server.opens);
  check(bk_host_counters.websockets == 0 && bk_host_counters.open == 0);
  bx_buffer_fini(&server.message);
  bx_buffer_fini(&server.pong);
}

static void run(void (*client)(struct harness *)) { run_with(false, client); }

// -- the client's words ------------------------------------------------------------------------

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" KEY

static int open_with(struct harness *h, const char *more, struct answer *a) {
  int fd = dial(h);
  send_text(fd, "GET /socket HTTP/1.1\r\n" UPGRADE);
  send_text(fd, more);
  send_text(fd, "\r\n");
  read_head(fd, a);
  check(a->status == 101);
  check(head_has(a, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
  harness_await(h, 'o');
  return fd;
}

static int open_socket(struct harness *h) {
  struct answer a;
  return open_with(h, "", &a);
}

// A client's frame: masked. flags: opcode, 0x80 when it is the last fragment.
static void send_frame(int fd, unsigned flags, const void *payload, size_t len) {
  unsigned char *frame = malloc(len + 14), mask[4] = {0x12, 0x34, 0x56, 0x78};
  size_t n = 2;
  frame[0] = (unsigned char)flags;
  if (len < 126) {
    frame[1] = (unsigned char)(0x80 | len);
  } else if (len < 65536) {
    frame[1] = 0x80 | 126;
    frame[2] = (unsigned char)(len >> 8);
    frame[3] = (unsigned char)len;
    n = 4;
  } else {
    frame[1] = 0x80 | 127;
    for (int i = 0; i < 8; i++) frame[2 + i] = (unsigned char)((uint64_t)len >> (8 * (7 - i)));
    n = 10;
  }
  memcpy(frame + n, mask, 4);
  n += 4;
  for (size_t i = 0; i < len; i++) frame[n + i] = ((const unsigned char *)payload)[i] ^ mask[i % 4];
  send_bytes(fd, frame, n + len);
  free(frame);
}

static void send_message(int fd, const char *text) { send_frame(fd, 0x81, text, strlen(text)); }

static void send_close(int fd, unsigned code) {
  unsigned char payload[2] = {(unsigned char)(code >> 8), (unsigned char)code};
  send_frame(fd, 0x88, payload, 2);
}

struct frame {
  unsigned opcode;
  bool final;
  char *at;
  size_t len;
};

static void read_frame(int fd, struct frame *f) {
  unsigned char head[2], more[8];
  read_exactly(fd, head, 2);
  f->opcode = head[0] & 15;
  f->final = head[0] & 0x80;
  check(!(head[1] & 0x80) && !(head[0] & 0x70));
  f->len = head[1];
  int extra = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
  if (extra) {
    read_exactly(fd, more, (size_t)extra);
    f->len = 0;
    for (int i = 0; i < extra; i++) f->len = f->len << 8 | more[i];
  }
  f->at = calloc(1, f->len + 1);
  read_exactly(fd, f->at, f->len);
}

static void expect_frame(int fd, unsigned opcode, const char *text) {
  struct frame f;
  read_frame(fd, &f);
  check(f.opcode == opcode && f.final);
  if (strcmp(f.at, text) != 0) fprintf(stderr, "expected %s, got %s\n", text, f.at);
  check(strcmp(f.at, text) == 0);
  free(f.at);
}

static void expect_close(int fd, unsigned code) {
  struct frame f;
  read_frame(fd, &f);
  check(f.opcode == 8 && f.len >= 2);
  unsigned got = (unsigned)(unsigned char)f.at[0] << 8 | (unsigned char)f.at[1];
  if (got != code) fprintf(stderr, "expected close %u, got %u\n", code, got);
  check(got == code);
  free(f.at);
}

static void expect_end(int fd) {
  char byte;
  check(read_some(fd, &byte, 1) == 0);
  close(fd);
}

static void call(struct harness *h, void (*f)(struct harness *)) {
  harness_call(h, f);
  harness_await(h, 'c');
}

static bool write_text(struct bk_websocket *w, const char *text) {
  char frame[BK_WEBSOCKET_HEADROOM + 1000];
  size_t len = strlen(text);
  memcpy(frame + BK_WEBSOCKET_HEADROOM, text, len);
  return bk_websocket_write(w, frame + BK_WEBSOCKET_HEADROOM, len);
}

// -- upgrades ----------------------------------------------------------------------------------

static void client_upgrade(struct harness *h) {
  struct answer a;
  int fd = open_with(h, "", &a);
  check(!strcasestr(a.head, "sec-websocket-protocol") && !strcasestr(a.head, "extensions"));
  close(fd);
  harness_await(h, 'x');
  fd = open_with(h, "Sec-WebSocket-Protocol: foo, bar\r\nSec-WebSocket-Extensions: permessage-deflate\r\n", &a);
  check(!strcasestr(a.head, "sec-websocket-protocol") && !strcasestr(a.head, "extensions"));
  close(fd);
  harness_await(h, 'x');
  fd = open_with(h, "Sec-WebSocket-Protocol: v10.stomp\r\n", &a);
  check(!strcasestr(a.head, "sec-websocket-protocol"));
  close(fd);
  harness_await(h, 'x');
  fd = dial(h);   // behind other requests of the same connection
  send_text(fd, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n");
  read_answer(fd, &a);
  answer_free(&a);
  send_text(fd, "GET /socket HTTP/1.1\r\n" UPGRADE "\r\n");
  read_head(fd, &a);
  check(a.status == 101);
  harness_await(h, 'o');
  close(fd);
  harness_await(h, 'x');
}
static void upgrades(void) { run(client_upgrade); }

static void refused(struct harness *h, const char *request, int status, const char *header) {
  struct answer a;
  int fd = dial(h);
  send_text(fd, request);
  read_answer(fd, &a);
  if (a.status != status) fprintf(stderr, "%s\n%s%s\n", request, a.head, a.body);
  check(a.status == status);
  check(!header || head_has(&a, header));
  check(head_has(&a, "connection: close"));
  answer_free(&a);
  expect_end(fd);
}

static void client_refused(struct harness *h) {
  refused(h, "GET /nowhere HTTP/1.1\r\n" UPGRADE "\r\n", 404, NULL);
  refused(h, "GET /plain HTTP/1.1\r\n" UPGRADE "\r\n", 400, NULL);
  refused(h, "GET /socket HTTP/1.1\r\nOrigin: http://evil\r\n" UPGRADE "\r\n", 403, NULL);
  refused(
      h,
      "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n" KEY
      "\r\n",
      426, "sec-websocket-version: 13");
  refused(h, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" KEY "\r\n", 426, NULL);
  refused(h,
          "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
          "13\r\n\r\n",
          400, NULL);
  refused(h,
          "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
          "13\r\n" KEY "\r\n",
          400, NULL);
  refused(h, "POST /socket HTTP/1.1\r\n" UPGRADE "\r\n", 400, NULL);
  refused(h,
          "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
          "AAMAAABk\r\n\r\n",
          400, NULL);
  refused(h, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n", 400, NULL);
  refused(h, "GET /socket HTTP/1.0\r\n" UPGRADE "\r\n", 400, NULL);
  refused(h, "GET /socket HTTP/1.1\r\nContent-Length: 2\r\n" UPGRADE "\r\nab", 400, NULL);
  refused(h, "GET /socket HTTP/1.1\r\n" UPGRADE KEY "\r\n", 400, NULL);
  refused(h,
          "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
          "13\r\nSec-WebSocket-Key: short\r\n\r\n",
          400, NULL);
  int fd = open_socket(h);
  close(fd);
  harness_await(h, 'x');
  check(server.opens == 1);
}
static void upgrades_that_are_refused(void) { run(client_refused); }

// -- frames ------------------------------------------------------------------------------------

static void echo(struct bk_websocket *w) {
  size_t len = server.message.len;
  char *frame = malloc(BK_WEBSOCKET_HEADROOM + len);
  if (len) memcpy(frame + BK_WEBSOCKET_HEADROOM, server.message.at, len);
  check(bk_websocket_write(w, frame + BK_WEBSOCKET_HEADROOM, len));
  free(frame);
}

static void client_echo(struct harness *h) {
  static const size_t sizes[] = {0, 1, 125, 126, 127, 511, 512, 513, 1024, 4096, 65535, 65536, 100000};
  int fd = open_socket(h);
  server.on_message = echo;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char *text = malloc(sizes[i] + 1);
    for (size_t n = 0; n < sizes[i]; n++) text[n] = (char)('a' + n % 26);
    text[sizes[i]] = '\0';
    send_message(fd, text);
    expect_frame(fd, 1, text);
    harness_await(h, 'm');
    free(text);
  }
  close(fd);
  harness_await(h, 'x');
  check(!server.echoed);
}
static void messages_of_all_sizes(void) { run(client_echo); }

static void client_fragments(struct harness *h) {
  int fd = open_socket(h);
  send_frame(fd, 0x01, "one ", 4);
  send_frame(fd, 0x89, "ping", 4);   // between fragments
  send_frame(fd, 0x00, "two ", 4);
  send_frame(fd, 0x00, "", 0);
  send_frame(fd, 0x80, "three", 5);
  harness_await(h, 'm');
  check(bx_slice_equal(bx_buffer_view(&server.message), BX_LIT("one two three")));
  expect_frame(fd, 10, "ping");
  send_frame(fd, 0x82, "binary", 6);
  harness_await(h, 'm');
  check(bx_slice_equal(bx_buffer_view(&server.message), BX_LIT("binary")));
  send_message(fd, "a");   // several in one packet and one in several
  send_message(fd, "b");
  harness_await(h, 'm');
  harness_await(h, 'm');
  check(bx_slice_equal(bx_buffer_view(&server.message), BX_LIT("b")));
  send_message(fd, "\xe2\x82\xac and \xf0\x9f\x98\x80");
  harness_await(h, 'm');
  send_close(fd, 1000);
  expect_close(fd, 1000);
  expect_end(fd);
  harness_await(h, 'x');
  check(!server.echoed);
}
static void fragments_are_gathered(void) { run(client_fragments); }

static void in_loop_write(struct harness *h) {
  check(bk_websocket_ready(server.socket));
  check(write_text(server.socket, "from the loop"));
  check(write_text(server.socket, "and again"));
  harness_note(h, 'c');
}

static void in_loop_ping(struct harness *h) {
  bk_websocket_ping(server.socket, BX_LIT("12345"));
  harness_note(h, 'c');
}

static void ping_along(size_t len) {
  char *frame = malloc(BK_WEBSOCKET_HEADROOM + len);
  memset(frame, 'x', BK_WEBSOCKET_HEADROOM + len);
  check(bk_websocket_write_and_ping(server.socket, frame + BK_WEBSOCKET_HEADROOM, len, BX_LIT("6")));
  free(frame);
}

static void in_loop_ping_along(struct harness *h) {
  ping_along(200);
  harness_note(h, 'c');
}

static void in_loop_ping_along_long(struct harness *h) {
  ping_along(20000);
  harness_note(h, 'c');
}

static void client_ping_along(struct harness *h) {
  char bytes[300];
  int fd = open_socket(h);
  call(h, in_loop_ping_along);
  // One write arrives as one: it is shorter than a segment.
  ssize_t n = recv(fd, bytes, sizeof bytes, 0);
  check(n == 4 + 200 + 3 && memcmp(bytes, "\x81\x7e\x00\xc8xxx", 7) == 0 &&
        memcmp(bytes + 203,
               "x\x89\x01"
               "6",
               4) == 0);
  call(h, in_loop_ping_along_long);
  struct frame f;
  read_frame(fd, &f);
  check(f.opcode == 1 && f.len == 20000);
  free(f.at);
  expect_frame(fd, 9, "6");
  close(fd);
  harness_await(h, 'x');
}
static void a_ping_goes_along(void) { run(client_ping_along); }

static void client_ping(struct harness *h) {
  int fd = open_socket(h);
  call(h, in_loop_write);
  expect_frame(fd, 1, "from the loop");
  expect_frame(fd, 1, "and again");
  call(h, in_loop_ping);
  expect_frame(fd, 9, "12345");
  send_frame(fd, 0x8a, "12345", 5);
  harness_await(h, 'p');
  check(bx_slice_equal(bx_buffer_view(&server.pong), BX_LIT("12345")));
  close(fd);
  harness_await(h, 'x');
}
static void writes_and_pings_from_the_loop(void) { run(client_ping); }

// -- back-pressure -----------------------------------------------------------------------------

static size_t flooded;
static void in_loop_flood(struct harness *h) {
  enum { LEN = 60000 };
  static char frame[BK_WEBSOCKET_HEADROOM + LEN];
  memset(frame, 'x', sizeof frame);
  uint64_t before = bk_host_counters.websocket_partials;
  for (flooded = 0; bk_websocket_ready(server.socket); flooded++)
    check(bk_websocket_write(server.socket, frame + BK_WEBSOCKET_HEADROOM, LEN));
  check(bk_host_counters.websocket_partials == before + 1);
  bk_websocket_ping(server.socket, BX_LIT("old"));
  bk_websocket_ping(server.socket, BX_LIT("new"));   // replaces the one that waits
  bk_websocket_want_writable(server.socket);
  harness_note(h, 'c');
}

static void client_flood(struct harness *h) {
  int fd = open_socket(h);
  call(h, in_loop_flood);
  check(flooded > 1);
  for (size_t i = 0; i < flooded; i++) {
    struct frame f;
    read_frame(fd, &f);
    check(f.opcode == 1 && f.len == 60000);
    free(f.at);
  }
  expect_frame(fd, 9, "new");
  harness_await(h, 'w');
  call(h, in_loop_write);
  expect_frame(fd, 1, "from the loop");
  close(fd);
  harness_await(h, 'x');
}
static void what_does_not_fit_is_sent_later(void) { run(client_flood); }

// A peer that does not read is not listened to, and costs nothing meanwhile.
static uint64_t turns_before;
static void in_loop_turns(struct harness *h) {
  turns_before = bk_host_counters.turns - turns_before;
  harness_note(h, 'c');
}
static void client_deaf(struct harness *h) {
  int fd = open_socket(h);
  call(h, in_loop_flood);
  send_message(fd, "unheard");
  turns_before = 0;
  call(h, in_loop_turns);
  usleep(200000);
  call(h, in_loop_turns);
  check(turns_before < 100);   // and not one per microsecond
  check(server.message.len == 0);
  for (size_t i = 0; i < flooded; i++) {
    struct frame f;
    read_frame(fd, &f);
    check(f.len == 60000);
    free(f.at);
  }
  expect_frame(fd, 9, "new");
  char letters[2] = {0};
  for (int i = 0; i < 2; i++) check(read(h->notes[0], letters + i, 1) == 1);   // writable and the message, either first
  check((letters[0] == 'w' && letters[1] == 'm') || (letters[0] == 'm' && letters[1] == 'w'));
  check(bx_slice_equal(bx_buffer_view(&server.message), BX_LIT("unheard")));
  close(fd);
  harness_await(h, 'x');
}
static void who_does_not_read_is_not_read(void) { run(client_deaf); }

static void in_loop_close_flooded(struct harness *h) {
  bk_websocket_close(server.socket, 1001, "behind what was written");
  check(!bk_websocket_ready(server.socket));
  harness_note(h, 'c');
}

static void client_close_flooded(struct harness *h) {
  int fd = open_socket(h);
  call(h, in_loop_flood);
  call(h, in_loop_close_flooded);
  for (size_t i = 0; i < flooded; i++) {
    struct frame f;
    read_frame(fd, &f);
    check(f.len == 60000);
    free(f.at);
  }
  expect_close(fd, 1001);
  send_close(fd, 1001);
  expect_end(fd);
  harness_await(h, 'x');
  check(server.echoed);
}
static void a_close_waits_behind_what_was_written(void) { run(client_close_flooded); }

// -- closing -----------------------------------------------------------------------------------

static void in_loop_close(struct harness *h) {
  bk_websocket_close(server.socket, 1000, "bye");
  bk_websocket_close(server.socket, 1001, "twice is harmless");
  check(!write_text(server.socket, "too late"));
  harness_note(h, 'c');
}

static void client_echoes(struct harness *h) {
  struct frame f;
  int fd = open_socket(h);
  call(h, in_loop_close);
  read_frame(fd, &f);
  check(f.opcode == 8 && f.len == 5 &&
        memcmp(f.at,
               "\x03\xe8"
               "bye",
               5) == 0);
  free(f.at);
  send_message(fd, "not heard");
  send_close(fd, 1000);
  expect_end(fd);   // and no second close frame
  harness_await(h, 'x');
  check(server.echoed);
}
static void the_echo_of_our_close_is_reported(void) { run(client_echoes); }

static void client_crosses(struct harness *h) {
  int fd = open_socket(h);
  call(h, in_loop_close);
  send_close(fd, 1001);   // as sent before ours arrived
  expect_close(fd, 1000);
  expect_end(fd);
  harness_await(h, 'x');
  check(!server.echoed);
}
static void a_close_that_crosses_ours_is_no_echo(void) { run(client_crosses); }

static void client_silent(struct harness *h) {
  int fd = open_socket(h);
  call(h, in_loop_close);
  expect_close(fd, 1000);
  harness_await(h, 'x');   // 2 s later, by itself
  check(!server.echoed);
  expect_end(fd);
  fd = open_socket(h);
  call(h, in_loop_close);
  close_with_reset(fd);
  harness_await(h, 'x');
  check(!server.echoed);
}
static void who_does_not_echo_is_closed(void) { run(client_silent); }

static void client_begins(struct harness *h) {
  int fd = open_socket(h);
  send_close(fd, 4321);
  expect_close(fd, 4321);
  expect_end(fd);
  harness_await(h, 'x');
  fd = open_socket(h);
  send_frame(fd, 0x88, "", 0);
  struct frame f;
  read_frame(fd, &f);
  check(f.opcode == 8);
  free(f.at);
  expect_end(fd);
  harness_await(h, 'x');
  fd = open_socket(h);
  close_with_reset(fd);
  harness_await(h, 'x');
  check(!server.echoed);
}
static void a_close_of_the_peer_is_answered(void) { run(client_begins); }

static void client_ends_badly(struct harness *h) {
  static const char *const bad[] = {"\x81\xfe", "\x03\xed", "\x03\xe7", "\x07\xd0", "\x03"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int fd = open_socket(h);
    send_frame(fd, 0x88, bad[i], strlen(bad[i]));
    expect_close(fd, 1002);
    expect_end(fd);
    harness_await(h, 'x');
  }
}
static void a_close_frame_that_makes_no_sense_is_not_echoed(void) { run(client_ends_badly); }

static void in_loop_abort(struct harness *h) {
  bk_websocket_abort(server.socket);
  harness_note(h, 'c');
}

static void client_aborted(struct harness *h) {
  char byte;
  int fd = open_socket(h);
  harness_call(h, in_loop_abort);
  harness_await(h, 'c');
  harness_await(h, 'x');
  check(read_some(fd, &byte, 1) < 0);   // a reset, not an end
  close(fd);
  check(!server.echoed);
}
static void abort_resets(void) { run(client_aborted); }

static void close_inside(struct bk_websocket *w) { bk_websocket_close(w, 1008, NULL); }
static void abort_inside(struct bk_websocket *w) { bk_websocket_abort(w); }

static void client_inside(struct harness *h) {
  int fd = open_socket(h);
  server.on_message = close_inside;
  send_message(fd, "one");
  send_message(fd, "two");   // not heard any more
  harness_await(h, 'm');
  expect_close(fd, 1008);
  send_close(fd, 1008);
  expect_end(fd);
  harness_await(h, 'x');
  check(server.echoed);
  fd = open_socket(h);
  server.on_message = abort_inside;
  send_message(fd, "one");
  harness_await(h, 'm');
  harness_await(h, 'x');
  close(fd);
}
static void closing_from_inside_a_message(void) { run(client_inside); }

// -- what is not allowed -----------------------------------------------------------------------

static void client_large(struct harness *h) {
  char *text = calloc(1, 100001);
  uint64_t before = bk_host_counters.websocket_too_large;
  memset(text, 'x', 100001);
  int fd = open_socket(h);
  send_frame(fd, 0x81, text, 100001);
  expect_close(fd, 1009);
  send_close(fd, 1009);
  expect_end(fd);
  harness_await(h, 'x');
  fd = open_socket(h);
  for (int i = 0; i < 2; i++) send_frame(fd, i ? 0x00 : 0x01, text, 60000);   // together too large
  expect_close(fd, 1009);
  close(fd);
  harness_await(h, 'x');
  check(bk_host_counters.websocket_too_large == before + 2);
  free(text);
}
static void too_large_a_message_is_1009(void) { run(client_large); }

static void bad_frame(struct harness *h, unsigned flags, const char *payload, size_t len, unsigned code) {
  int fd = open_socket(h);
  send_frame(fd, flags, payload, len);
  expect_close(fd, code);
  send_close(fd, code);
  expect_end(fd);
  harness_await(h, 'x');
  check(!server.echoed);
}

static void client_bad(struct harness *h) {
  uint64_t before = bk_host_counters.websocket_bad_frames;
  bad_frame(h, 0x81, "\xff\xfe", 2, 1007);
  bad_frame(h, 0x81, "\xe2\x82", 2, 1007);       // ends inside a character
  bad_frame(h, 0x81, "\xed\xa0\x80", 3, 1007);   // a surrogate
  bad_frame(h, 0x83, "x", 1, 1002);              // no such opcode
  bad_frame(h, 0xc1, "x", 1, 1002);              // compressed, but that was not agreed on
  bad_frame(h, 0x80, "x", 1, 1002);              // continues nothing
  bad_frame(h, 0x09, "x", 1, 1002);              // a fragmented ping
  int fd = open_socket(h);
  send_bytes(fd, "\x81\x01x", 3);   // not masked
  expect_close(fd, 1002);
  expect_end(fd);
  harness_await(h, 'x');
  check(bk_host_counters.websocket_bad_frames == before + 8);
}
static void bad_frames_are_closed(void) { run(client_bad); }

// -- floods ------------------------------------------------------------------------------------

// A first frame, then `count` others; the server says 1008.
static void flood_of(struct harness *h, unsigned first, unsigned others, unsigned count) {
  uint64_t before = bk_host_counters.websocket_floods;
  struct bx_buffer frames = {0};
  int fd = open_socket(h);
  for (unsigned i = 0; i <= count; i++) {
    bx_buffer_char(&frames, (char)(i == 0 ? first : others));
    bx_buffer_add(&frames, "\x80\0\0\0\0", 5);   // a mask, and nothing behind it
  }
  send_bytes(fd, frames.at, frames.len);
  expect_close(fd, 1008);
  close(fd);
  harness_await(h, 'x');
  check(bk_host_counters.websocket_floods == before + 1);
  bx_buffer_fini(&frames);
}

static void client_floods(struct harness *h) { flood_of(h, 0x01, 0x00, 2000); }
static void messages_in_crumbs_are_closed(void) { run(client_floods); }

static void client_controls(struct harness *h) {
  server.quiet = true;
  flood_of(h, 0x8a, 0x8a, 3000);
}
static void floods_of_control_frames_are_closed(void) { run(client_controls); }

static void in_loop_nothing(struct harness *h) { harness_note(h, 'c'); }

// In two writes, with a turn of the loop between them.
static void client_ping_in_pieces(struct harness *h) {
  int fd = open_socket(h);
  send_bytes(fd, "\x89\x84\0\0\0\0he", 8);
  call(h, in_loop_nothing);
  send_bytes(fd, "re", 2);
  expect_frame(fd, 10, "here");
  close_with_reset(fd);
  harness_await(h, 'x');
}
static void a_ping_in_pieces(void) { run(client_ping_in_pieces); }

// -- compressed messages -----------------------------------------------------------------------

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

static int open_compressed(struct harness *h) {
  struct answer a;
  int fd = open_with(h, OFFER, &a);
  check(head_has(
      &a, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"));
  return fd;
}

// "Hello" (RFC 7692, 7.2.3), whole and in fragments, among plain messages.
static void client_compressed(struct harness *h) {
  uint64_t before = bk_host_counters.websocket_inflated;
  int fd = open_compressed(h);
  server.on_message = echo;
  for (int i = 0; i < 2; i++) {
    send_frame(fd, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    expect_frame(fd, 1, "Hello");
    harness_await(h, 'm');
    send_frame(fd, 0x41, "\xf2\x48\xcd", 3);
    send_frame(fd, 0x80, "\xc9\xc9\x07\x00", 4);
    expect_frame(fd, 1, "Hello");
    harness_await(h, 'm');
    send_message(fd, "plain");
    expect_frame(fd, 1, "plain");
    harness_await(h, 'm');
  }
  check(bk_host_counters.websocket_inflated == before + 4);
  close_with_reset(fd);
  harness_await(h, 'x');
}
static void compressed_messages_come_in(void) { run_with(true, client_compressed); }

// What repeats itself is compressed. The same bytes, sent back, are the message again.
static void client_compresses(struct harness *h) {
  uint64_t before = bk_host_counters.websocket_deflated;
  char text[2001] = "";
  unsigned char head[4];
  char small[126];
  int fd = open_compressed(h);
  server.on_message = echo;
  memset(text, 'x', 2000);
  send_message(fd, text);
  read_exactly(fd, head, 2);
  check(head[0] == 0xc1 && head[1] < 126);
  read_exactly(fd, small, head[1]);
  harness_await(h, 'm');
  check(bk_host_counters.websocket_deflated == before + 1);
  server.on_message = NULL;
  send_frame(fd, 0xc1, small, head[1]);
  harness_await(h, 'm');
  check(bx_slice_equal(bx_buffer_view(&server.message), bx_slice_of(text)));
  close_with_reset(fd);
  harness_await(h, 'x');
}
static void repetitive_messages_go_out_compressed(void) { run_with(true, client_compresses); }

static void bad_compressed(struct harness *h, const char *payload, size_t len, unsigned code) {
  int fd = open_compressed(h);
  send_frame(fd, 0xc1, payload, len);
  expect_close(fd, code);
  send_close(fd, code);
  expect_end(fd);
  harness_await(h, 'x');
}

static void client_bad_compressed(struct harness *h) {
  uint64_t before = bk_host_counters.websocket_bombs;
  bad_compressed(h, "\xff\xff\xff", 3, 1007);
  bad_compressed(h, "\xf2\x48\xcd", 3, 1007);                       // cut
  bad_compressed(h, "\x00\x02\x00\xfd\xff\xff\xfe\x00", 8, 1007);   // stored bytes that are not UTF-8
  struct bx_buffer bomb = {0};
  static const char zeros[200000];
  struct bk_deflate *d = bk_deflate_create();
  bx_buffer_slice(&bomb, bk_deflate_message(d, (struct bx_slice){zeros, sizeof zeros}, 0));
  check(bomb.len > 0 && bomb.len < 2000);
  bad_compressed(h, bomb.at, bomb.len, 1009);   // 200,000 bytes where 100,000 may be
  check(bk_host_counters.websocket_bombs == before + 1);
  bk_deflate_destroy(d);
  bx_buffer_fini(&bomb);
}
static void bad_compressed_messages_are_closed(void) { run_with(true, client_bad_compressed); }

// -- the end -----------------------------------------------------------------------------------

static int left_open[3];
static void client_stays(struct harness *h) {
  for (int i = 0; i < 3; i++) left_open[i] = open_socket(h);
}
static void the_end_of_the_loop_closes_all(void) {
  run(client_stays);
  check(server.closes == 3);
  for (int i = 0; i < 3; i++) close(left_open[i]);
}

static void write_until_broken(struct bk_websocket *w) {
  close_with_reset(left_open[0]);
  while (write_text(w, "x")) continue;   // false, and `closed` follows
}
static void client_broken(struct harness *h) {
  left_open[0] = open_socket(h);
  server.on_message = write_until_broken;
  send_message(left_open[0], "now");
  harness_await(h, 'm');
  harness_await(h, 'x');
}
static void writing_to_a_broken_socket(void) { run(client_broken); }

int main(int argc, char **argv) {
  run_test(upgrades);
  run_test(upgrades_that_are_refused);
  run_test(messages_of_all_sizes);
  run_test(fragments_are_gathered);
  run_test(writes_and_pings_from_the_loop);
  run_test(a_ping_goes_along);
  run_test(what_does_not_fit_is_sent_later);
  run_test(who_does_not_read_is_not_read);
  run_test(a_close_waits_behind_what_was_written);
  run_test(the_echo_of_our_close_is_reported);
  run_test(a_close_that_crosses_ours_is_no_echo);
  run_test(who_does_not_echo_is_closed);
  run_test(a_close_of_the_peer_is_answered);
  run_test(a_close_frame_that_makes_no_sense_is_not_echoed);
  run_test(abort_resets);
  run_test(closing_from_inside_a_message);
  run_test(too_large_a_message_is_1009);
  run_test(bad_frames_are_closed);
  run_test(messages_in_crumbs_are_closed);
  run_test(floods_of_control_frames_are_closed);
  run_test(a_ping_in_pieces);
  run_test(compressed_messages_come_in);
  run_test(repetitive_messages_go_out_compressed);
  run_test(bad_compressed_messages_are_closed);
  run_test(the_end_of_the_loop_closes_all);
  run_test(writing_to_a_broken_socket);
  return 0;
}
