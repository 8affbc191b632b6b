// SPDX-License-Identifier: Apache-2.0
// What a broker does to its websockets and event streams by itself, over real sockets: pings, closes,
// keep-alives, the end of those that stay away, taking leave. Broker and clients share one thread.
#include "broker/transport/transport.h"
#include "tests/fuzz/host_world.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE 20   // seconds; generous, never reached by a test that passes

static void send_text(int fd, const char *text) { host_send_text(fd, bx_slice_of(text), 0); }

// Turns of the loop until `text` has come; what stood before it and itself are taken off. False: the
// connection ended without it.
static bool await(int fd, struct bx_buffer *in, struct bx_slice text) {
  for (time_t until = time(NULL) + DEADLINE; time(NULL) < until; usleep(500)) {
    host_turns(1);
    bool more = host_receive(fd, in);
    char *at = in->len ? memmem(in->at, in->len, text.at, text.len) : NULL;
    if (at) {
      size_t used = (size_t)(at - in->at) + text.len;
      memmove(in->at, in->at + used, in->len - used);
      in->len -= used;
      return true;
    }
    if (!more) return false;
  }
  fail_msg("%.*s did not come", (int)text.len, text.at);
  return false;
}

#define expect(fd, in, text) assert_true(await(fd, in, BX_LIT(text)))

// -- websockets --------------------------------------------------------------------------------

#define UPGRADE                                                                              \
  "GET /bayeux HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static int open_websocket(struct bx_buffer *in) {
  int fd = host_dial(HOST_CLIENTS);
  send_text(fd, UPGRADE);
  expect(fd, in, "HTTP/1.1 101 ");
  expect(fd, in, "\r\n\r\n");
  return fd;
}

// The mask is zeros.
static void send_frame(int fd, unsigned opcode, const char *payload) {
  struct bx_buffer frame = {0};
  size_t len = strlen(payload);
  bx_buffer_char(&frame, (char)(0x80 | opcode));
  bx_buffer_char(&frame, (char)(0x80 | (len < 126 ? len : 126)));
  if (len >= 126) {
    bx_buffer_char(&frame, (char)(len >> 8));
    bx_buffer_char(&frame, (char)len);
  }
  bx_buffer_add(&frame, "\0\0\0\0", 4);
  bx_buffer_add(&frame, payload, len);
  assert_true(host_send(fd, bx_buffer_view(&frame)));
  bx_buffer_fini(&frame);
}

// A session of its own that subscribes to /**.
static void begin_session(int fd, struct bx_buffer *in) {
  char id[32] = "", text[300];
  send_frame(fd, 1,
             "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"websocket\"]}]");
  expect(fd, in, "\"clientId\":\"");
  assert_true(in->len > 31);
  memcpy(id, in->at, 31);
  snprintf(text, sizeof text,
           "[{\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"websocket\"},"
           "{\"channel\":\"/meta/subscribe\",\"clientId\":\"%s\",\"subscription\":\"/**\"}]",
           id, id);
  send_frame(fd, 1, text);
  expect(fd, in, "\"subscription\":\"/**\"");
}

static void publish(void) {
  static const char body[] = "[{\"channel\":\"/news\",\"data\":\"extra, extra\"}]";
  struct bx_buffer in = {0};
  char text[300];
  int fd = host_dial(HOST_ADMIN);
  snprintf(text, sizeof text,
           "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
           "Content-Length: %zu\r\n\r\n%s",
           strlen(body), body);
  send_text(fd, text);
  expect(fd, &in, "HTTP/1.1 200 ");
  host_hang_up(fd);
  bx_buffer_fini(&in);
}

// What is unconfirmed is asked for by a ping with a position; the pong confirms it.
static void websocket_is_asked_what_has_arrived(void **state) {
  (void)state;
  struct bx_buffer in = {0};
  char position[24] = "";
  host_world_open(false);
  int fd = open_websocket(&in);
  begin_session(fd, &in);
  expect(fd, &in,
         "\x89\x05"
         "alive");
  send_frame(fd, 10, "alive");
  publish();
  expect(fd, &in, "extra, extra");
  for (;;) {
    expect(fd, &in, "\x89");
    assert_true(in.len > 0 && in.len > (size_t)in.at[0]);
    snprintf(position, sizeof position, "%.*s", in.at[0], in.at + 1);
    send_frame(fd, 10, position);
    if (strcmp(position, "alive") != 0) break;
  }
  assert_int_equal(strspn(position, "0123456789"), strlen(position));
  expect(fd, &in,
         "\x89\x05"
         "alive");   // confirmed: nothing to ask for
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&in);
}

static void websocket_that_misses_two_pings_is_closed(void **state) {
  (void)state;
  struct bx_buffer in = {0};
  host_world_open(false);
  int fd = open_websocket(&in);
  begin_session(fd, &in);
  uint64_t before = host_transport()->counters.unresponsive;
  expect(fd, &in,
         "\x89\x05"
         "alive");
  expect(fd, &in,
         "\x89\x05"
         "alive");
  expect(fd, &in, "\x03\xe9no answer to pings");
  assert_int_equal(host_transport()->counters.unresponsive, before + 1);
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&in);
}

static void websocket_without_a_handshake_is_closed(void **state) {
  (void)state;
  struct bx_buffer in = {0}, other = {0};
  host_world_configure("limits.handshake_time=1s");
  host_world_open(false);
  int known = open_websocket(&other);
  begin_session(known, &other);
  int fd = open_websocket(&in);
  expect(fd, &in, "\x03\xf0no handshake");
  assert_int_equal(host_transport()->counters.silent, 1);
  publish();
  expect(known, &other, "extra, extra");   // who shook hands stays
  host_hang_up(fd);
  host_hang_up(known);
  host_world_close();
  host_world_configure("broker.ping=100ms");
  bx_buffer_fini(&in);
  bx_buffer_fini(&other);
}

// -- event streams -----------------------------------------------------------------------------

static int open_stream(struct bx_buffer *in) {
  int fd = host_dial(HOST_CLIENTS);
  send_text(fd, "GET /bayeux/CLIENTID HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
  expect(fd, in, "text/event-stream");
  expect(fd, in, "retry: ");
  return fd;
}

static void stream_is_kept_alive(void **state) {
  (void)state;
  struct bx_buffer in = {0};
  host_world_open(false);
  int fd = open_stream(&in);
  expect(fd, &in, "\r\n:\r\n\r\n");
  expect(fd, &in, "\r\n:\r\n\r\n");
  publish();
  expect(fd, &in, "id: ");
  expect(fd, &in, "extra, extra");
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&in);
}

// It takes nothing, and the window is full: no byte is acknowledged from one ping to the next.
static void stream_that_does_not_read_is_ended(void **state) {
  (void)state;
  const int small = 4096;
  struct bx_buffer in = {0}, text = {0};
  host_world_open(false);
  int fd = open_stream(&in), admin = host_dial(HOST_ADMIN);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  bx_buffer_lit(&text, "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                       "Content-Length: 30037\r\n\r\n[{\"channel\":\"/news\",\"data\":\"");
  for (int i = 0; i < 30000; i++) bx_buffer_char(&text, 'x');
  bx_buffer_lit(&text, "\"}]      ");
  for (int i = 0; i < 40; i++) {
    assert_true(host_send(admin, bx_buffer_view(&text)));
    expect(admin, &in, "HTTP/1.1 200 ");
  }
  for (time_t until = time(NULL) + DEADLINE; host_transport()->counters.streams > 0 && time(NULL) < until; usleep(500))
    host_turns(1);
  assert_int_equal(host_transport()->counters.streams_unresponsive, 1);
  assert_int_equal(host_transport()->counters.streams, 0);
  host_hang_up(fd);
  host_hang_up(admin);
  host_world_close();
  bx_buffer_fini(&in);
  bx_buffer_fini(&text);
}

// -- leave -------------------------------------------------------------------------------------

static void leave_is_taken_of_all(void **state) {
  (void)state;
  struct bx_buffer socket_in = {0}, stream_in = {0};
  host_world_open(false);
  int socket = open_websocket(&socket_in), stream = open_stream(&stream_in);
  begin_session(socket, &socket_in);
  publish();
  bk_transport_drain(host_transport());
  expect(socket, &socket_in, "extra, extra");   // first what waits
  expect(socket, &socket_in, "\x03\xe9going away");
  expect(stream, &stream_in, "extra, extra");
  expect(stream, &stream_in, "\r\n0\r\n\r\n");
  int late = host_dial(HOST_CLIENTS);
  send_text(late, UPGRADE);
  expect(late, &socket_in, "\x03\xe9shutting down");
  host_hang_up(socket);
  host_hang_up(stream);
  host_hang_up(late);
  host_world_close();
  bx_buffer_fini(&socket_in);
  bx_buffer_fini(&stream_in);
}

// -- pages of other sites ----------------------------------------------------------------------

static void other_sites_are_refused(void **state) {
  (void)state;
  struct bx_buffer in = {0};
  host_world_open(false);
  int fd = host_dial(HOST_CLIENTS);
  send_text(fd,
            "POST /bayeux HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n[]");
  expect(fd, &in, "HTTP/1.1 403 ");
  expect(fd, &in, "not in access.origins");
  host_hang_up(fd);
  bx_buffer_clear(&in);
  fd = host_dial(HOST_CLIENTS);
  send_text(fd, "GET /bayeux HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Origin: http://evil.example\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  expect(fd, &in, "HTTP/1.1 403 ");
  assert_int_equal(host_transport()->counters.refused_origins, 2);
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&in);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(websocket_is_asked_what_has_arrived),
      cmocka_unit_test(websocket_that_misses_two_pings_is_closed),
      cmocka_unit_test(websocket_without_a_handshake_is_closed),
      cmocka_unit_test(stream_is_kept_alive),
      cmocka_unit_test(stream_that_does_not_read_is_ended),
      cmocka_unit_test(leave_is_taken_of_all),
      cmocka_unit_test(other_sites_are_refused),
  };
  host_world_configure("broker.ping=100ms");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
