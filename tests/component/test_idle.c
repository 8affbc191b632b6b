// SPDX-License-Identifier: Apache-2.0
// What an idle client costs: memory is counted where it is asked for, so that a buffer that stays, or a
// structure that grows, is seen at once. The bench measures what the process really has.
#include "bayeux/server.h"
#include "broker/transport/transport.h"
#include "tests/fuzz/host_world.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
  DEADLINE = 20,      // seconds; generous, never reached by a test that passes
  FIRST = 8,          // clients that make what is made once
  CLIENTS = 64,       // those that are counted
  MAX_BYTES = 2048,   // of each; 2,007 when this was written
  MAX_PIECES = 8,     // blocks of memory of each; 7 when this was written
  SLACK = 256,        // malloc gives 16 bytes more than were asked for where the rest is too small for a block
};

// -- counting: the linker puts these in front of bx_alloc() and the others ---------------------------

static size_t bytes, pieces;

// The linker wants these names.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
void *__real_bx_alloc(size_t size);
void *__real_bx_alloc_lines(size_t size);
void *__real_bx_realloc(void *old, size_t size);
void __real_bx_free(void *memory);
void *__wrap_bx_alloc(size_t size);
void *__wrap_bx_alloc_lines(size_t size);
void *__wrap_bx_realloc(void *old, size_t size);
void __wrap_bx_free(void *memory);
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

static void *came(void *memory) {
  bytes += malloc_usable_size(memory);
  pieces++;
  return memory;
}

static void goes(void *memory) {
  if (!memory) return;
  bytes -= malloc_usable_size(memory);
  pieces--;
}

void *__wrap_bx_alloc(size_t size) { return came(__real_bx_alloc(size)); }

void *__wrap_bx_alloc_lines(size_t size) { return came(__real_bx_alloc_lines(size)); }

void *__wrap_bx_realloc(void *old, size_t size) {
  goes(old);
  return came(__real_bx_realloc(old, size));
}

void __wrap_bx_free(void *memory) {
  goes(memory);
  __real_bx_free(memory);
}

// -- clients -----------------------------------------------------------------------------------------

struct client {
  int fd;
  char id[64];
};

// Turns of the loop until `text` has come.
static void await(struct client *c, struct bx_buffer *in, const char *text) {
  bx_buffer_clear(in);
  for (time_t until = time(NULL) + DEADLINE; time(NULL) < until; usleep(200)) {
    host_turns(1);
    assert_true(host_receive(c->fd, in));
    if (in->len && memmem(in->at, in->len, text, strlen(text))) return;
  }
  fail_msg("%s did not come", text);
}

static void say(struct client *c, const char *text) {
  struct bx_buffer frame = {0};
  size_t len = strlen(text);
  bx_buffer_lit(&frame, "\x81");
  bx_buffer_char(&frame, (char)0xfe);
  bx_buffer_char(&frame, (char)(len >> 8));
  bx_buffer_char(&frame, (char)len);
  bx_buffer_add(&frame, "\0\0\0\0", 4);
  bx_buffer_add(&frame, text, len);
  assert_true(len >= 126 && host_send(c->fd, bx_buffer_view(&frame)));
  bx_buffer_fini(&frame);
}

#define FILL "                                                                                               "

static void open_client(struct client *c, int number, struct bx_buffer *in) {
  char text[512];
  c->fd = host_dial(HOST_CLIENTS);
  assert_true(host_send(c->fd, BX_LIT("GET /bayeux HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
                                      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")));
  await(c, in, "\r\n\r\n");
  say(c, "{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"websocket\"]" FILL "}");
  await(c, in, "\"advice\"");
  char *id = memmem(in->at, in->len, "\"clientId\":\"", 12);
  assert_non_null(id);
  assert_int_equal(sscanf(id + 12, "%63[a-z0-9]", c->id), 1);
  snprintf(text, sizeof text,
           "{\"channel\":\"/meta/subscribe\",\"clientId\":\"%s\",\"subscription\":\"/rooms/%d\"" FILL "}", c->id,
           number);
  say(c, text);
  await(c, in, "\"successful\":true");
  snprintf(text, sizeof text,
           "{\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"websocket\",\"id\":\"7\"" FILL "}",
           c->id);
  say(c, text);
}

// Each gets a message of its own, which it publishes.
static void exchange(struct client *c, int number, struct bx_buffer *in) {
  char text[512];
  snprintf(text, sizeof text, "{\"channel\":\"/rooms/%d\",\"clientId\":\"%s\",\"data\":\"hello\"" FILL "}", number,
           c->id);
  say(c, text);
  await(c, in, "\"hello\"");
  host_turns(3);
  (void)host_receive(c->fd, in);
}

static void an_idle_client_is_small(void **state) {
  (void)state;
  struct client clients[FIRST + CLIENTS];
  struct bx_buffer in = {0};
  bx_buffer_reserve(&in, 65536);
  host_world_open(false);
  for (int i = 0; i < FIRST; i++) open_client(&clients[i], i, &in);
  host_turns(20);
  size_t bytes_before = bytes, pieces_before = pieces;
  for (int i = FIRST; i < FIRST + CLIENTS; i++) open_client(&clients[i], i, &in);
  host_turns(20);
  size_t each = (bytes - bytes_before) / CLIENTS, blocks = (pieces - pieces_before) / CLIENTS;
  print_message("%zu bytes in %zu blocks\n", each, blocks);
  if (each > MAX_BYTES || blocks > MAX_PIECES) fail_msg("%zu bytes in %zu blocks: more than there were", each, blocks);
  for (int i = 0; i < FIRST + CLIENTS; i++) host_hang_up(clients[i].fd);
  host_world_close();
  bx_buffer_fini(&in);
}

// The journal keeps what was published, so the first messages of all are not counted.
static void talk_leaves_nothing_behind(void **state) {
  (void)state;
  struct client clients[FIRST];
  struct bx_buffer in = {0};
  bx_buffer_reserve(&in, 65536);
  host_world_open(false);
  for (int i = 0; i < FIRST; i++) open_client(&clients[i], i, &in);
  for (int round = 0; round < 64 / FIRST + 2; round++)   // the journal of this world has 64 entries: it is full then
    for (int i = 0; i < FIRST; i++) exchange(&clients[i], i, &in);
  size_t bytes_before = bytes, pieces_before = pieces;
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < FIRST; i++) exchange(&clients[i], i, &in);
  assert_int_equal(pieces, pieces_before);
  assert_in_range(bytes, 0, bytes_before + SLACK);
  for (int i = 0; i < FIRST; i++) host_hang_up(clients[i].fd);
  host_world_close();
  bx_buffer_fini(&in);
}

// The accepted end of a connection, which is a socket of this process, too.
static int other_end(int fd) {
  struct sockaddr_in ours = {0}, peer = {0};
  socklen_t len = sizeof ours;
  assert_int_equal(getsockname(fd, (struct sockaddr *)&ours, &len), 0);
  for (int each = 3; each < 256; each++) {
    len = sizeof peer;
    if (getpeername(each, (struct sockaddr *)&peer, &len) == 0 && peer.sin_port == ours.sin_port && each != fd)
      return each;
  }
  fail_msg("the accepted socket was not found");
  return -1;
}

static void small_messages_leave_at_once(void **state) {
  (void)state;
  int on = 0;
  socklen_t len = sizeof on;
  host_world_open(false);
  int fd = host_dial(HOST_CLIENTS);
  assert_int_equal(getsockopt(other_end(fd), IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
  assert_true(on);
  host_hang_up(fd);
  host_world_close();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_idle_client_is_small),
      cmocka_unit_test(talk_leaves_nothing_behind),
      cmocka_unit_test(small_messages_leave_at_once),
  };
  host_world_configure("limits.clients_per_address=1000");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
