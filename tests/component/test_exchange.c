// SPDX-License-Identifier: Apache-2.0
// Held requests and streams: answers given later, peers that leave, and what is known of an answer
// when its exchange ends.
#include "tests/component/harness.h"

#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/log.h"
#include "broker/host/metrics.h"

// What the server notes: h held, w writable, e ended, c called.
static struct {
  struct harness *h;
  struct bk_exchange *held;
  enum bk_arrival ended, asked;
  unsigned ends;
  void (*writable)(struct bk_exchange *);
  bool gone;
  int client_fd;
} server;

static void say(struct bk_exchange *x, const char *text) {
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .content_type = "text/plain", .body = bx_slice_of(text)});
}

static void on_writable(struct bk_exchange *x) { server.writable(x); }

static void on_ended(struct bk_exchange *x, enum bk_arrival arrival) {
  check(x == server.held);
  check(bk_exchange_user(x) == &server);
  server.ended = arrival;
  server.ends++;
  server.held = NULL;
  harness_note(server.h, 'e');
}

static const struct bk_exchange_ops ops = {.writable = on_writable, .ended = on_ended};

static void on_hold(void *context, struct bk_exchange *x) {
  (void)context;
  server.held = x;
  bk_exchange_hold(x, &ops, &server);
  harness_note(server.h, 'h');
}

static void on_now(void *context, struct bk_exchange *x) {
  on_hold(context, x);
  say(x, "now");
}

static void on_forget(void *context, struct bk_exchange *x) {
  on_hold(context, x);
  check(bk_exchange_body(x).len == 2 && bk_exchange_query(x).len == 3);
  check(bx_slice_equal(bk_exchange_parameter(x, "what"), BX_LIT("all")));
  bk_exchange_forget_request(x);
  check(bk_exchange_body(x).len == 0 && bk_exchange_query(x).len == 0 && bk_exchange_path(x).len == 0);
  check(bk_exchange_parameter(x, "what").len == 0);
}

static void on_plain(void *context, struct bk_exchange *x) {
  (void)context;
  say(x, "plain");
}

static void on_stream(void *context, struct bk_exchange *x) {
  on_hold(context, x);
  bk_exchange_stream(x, &(struct bk_response){.status = 200, .content_type = "text/plain"});
}

static const struct bk_route routes[] = {
    {.methods = BK_ANY_METHOD, .path = "/hold", .handle = on_hold},
    {.methods = BK_ANY_METHOD, .path = "/now", .handle = on_now},
    {.methods = BK_ANY_METHOD, .path = "/forget/:what", .handle = on_forget},
    {.methods = BK_ANY_METHOD, .path = "/plain", .handle = on_plain},
    {.methods = BK_ANY_METHOD, .path = "/stream", .handle = on_stream},
    {0},
};

static void run_options(void (*client)(struct harness *), struct bk_listener_options o) {
  struct harness h = {0};
  memset(&server, 0, sizeof server);
  server.h = &h;
  harness_options(&h, routes, o);
  harness_run(&h, client);
  harness_close(&h);
  check(!server.held);
  check(bk_host_counters.open == 0);
}

static void run(void (*client)(struct harness *)) {
  run_options(client,
              (struct bk_listener_options){
                  .name = "test", .address = "127.0.0.1:0", .max_body = 100000, .header_time = DEADLINE * 1000});
}

// -- in the loop -------------------------------------------------------------------------------

static void in_loop_respond(struct harness *h) {
  say(server.held, "later");
  harness_note(h, 'c');
}

static void in_loop_arrival(struct harness *h) {
  server.asked = bk_exchange_arrival(server.held);
  harness_note(h, 'c');
}

static void in_loop_gone(struct harness *h) {
  server.gone = bk_exchange_peer_gone(server.held);
  harness_note(h, 'c');
}

static void call(struct harness *h, void (*f)(struct harness *)) {
  harness_call(h, f);
  harness_await(h, 'c');
}

// -- the client's words ------------------------------------------------------------------------

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"

static void expect(int fd, const char *body) {
  struct answer a;
  read_answer(fd, &a);
  check(a.status == 200 && strcmp(a.body, body) == 0);
  answer_free(&a);
}

static int hold(struct harness *h, const char *request) {
  int fd = dial(h);
  send_text(fd, request);
  harness_await(h, 'h');
  return fd;
}

static void await_end(struct harness *h, enum bk_arrival arrival) {
  harness_await(h, 'e');
  if (server.ended != arrival) fprintf(stderr, "ended with %d, expected %d\n", server.ended, arrival);
  check(server.ended == arrival);
}

static const char *const requests[] = {GET("/hold"), POST("/hold"),
                                       "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                                       "POST /hold HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"};
#define REQUESTS (sizeof requests / sizeof *requests)

// -- answers -----------------------------------------------------------------------------------

static void client_later(struct harness *h) {
  for (size_t i = 0; i < REQUESTS; i++) {
    int fd = hold(h, requests[i]);
    call(h, in_loop_arrival);
    check(server.asked == BK_ARRIVAL_NONE);
    call(h, in_loop_gone);
    check(!server.gone);
    call(h, in_loop_respond);
    expect(fd, "later");
    close(fd);
    await_end(h, BK_ARRIVAL_YES);
  }
}
static void a_held_request_is_answered_later(void) { run(client_later); }

static void client_forgotten(struct harness *h) {
  int fd = hold(h, POST("/forget/all?a=b") POST("/hold"));
  call(h, in_loop_respond);
  expect(fd, "later");
  harness_await(h, 'e');
  harness_await(h, 'h');
  call(h, in_loop_respond);
  expect(fd, "later");
  close(fd);
  await_end(h, BK_ARRIVAL_YES);
}
static void a_request_that_was_forgotten_is_answered(void) { run(client_forgotten); }

static void write_answer(struct bk_exchange *x) {
  harness_note(server.h, 'w');
  say(x, "writable");
}
static void in_loop_want(struct harness *h) {
  server.writable = write_answer;
  bk_exchange_want_writable(server.held);
  harness_note(h, 'c');
}

static void client_writable(struct harness *h) {
  for (size_t i = 0; i < REQUESTS; i++) {
    int fd = hold(h, requests[i]);
    call(h, in_loop_want);
    harness_await(h, 'w');
    expect(fd, "writable");
    close(fd);
    await_end(h, BK_ARRIVAL_YES);
  }
}
static void answered_from_writable(void) { run(client_writable); }

static void client_next(struct harness *h) {
  int fd = hold(h, POST("/hold"));
  for (int i = 0; i < 100; i++) {
    call(h, in_loop_respond);
    expect(fd, "later");
    check(server.ends == (unsigned)i);   // the connection is idle: more may become known
    send_text(fd, i % 2 ? POST("/hold") : GET("/hold"));
    await_end(h, BK_ARRIVAL_YES);   // by the next request
    harness_await(h, 'h');
  }
  close(fd);
  await_end(h, BK_ARRIVAL_NONE);
}
static void the_next_request_ends_the_last_exchange(void) { run(client_next); }

static void client_at_once(struct harness *h) {
  int fd = hold(h, GET("/now"));
  expect(fd, "now");
  send_text(fd, GET("/plain"));
  await_end(h, BK_ARRIVAL_YES);
  expect(fd, "plain");
  send_text(fd, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  harness_await(h, 'h');
  expect(fd, "now");
  char byte;
  check(read_some(fd, &byte, 1) == 0);
  close(fd);
  await_end(h, BK_ARRIVAL_YES);
}
static void answers_at_once_have_an_end_too(void) { run(client_at_once); }

// -- evidence ----------------------------------------------------------------------------------

static void client_pending(struct harness *h) {
  int fd = hold(h, POST("/hold"));
  call(h, in_loop_respond);
  expect(fd, "later");
  // The kernel may delay an acknowledgement; it comes by itself.
  do {
    call(h, in_loop_arrival);
    check(server.asked == BK_ARRIVAL_YES || server.asked == BK_ARRIVAL_PENDING);
    usleep(1000);
  } while (server.asked != BK_ARRIVAL_YES);
  close_with_reset(fd);
  await_end(h, BK_ARRIVAL_RESET);   // had it all, then reset
}
static void read_then_reset_is_reset(void) { run(client_pending); }

static void client_reset_behind_end(struct harness *h) {
  char byte;
  int fd = hold(h, "POST /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]");
  call(h, in_loop_respond);
  expect(fd, "later");
  check(read_some(fd, &byte, 1) == 0);
  close_with_reset(fd);
  await_end(h, BK_ARRIVAL_RESET);
}
static void a_reset_behind_our_end_is_reset(void) { run(client_reset_behind_end); }

static void answer_after_reset(struct bk_exchange *x) {
  close_with_reset(server.client_fd);
  say(x, "lost");
}
static void in_loop_want_lost(struct harness *h) {
  server.writable = answer_after_reset;
  bk_exchange_want_writable(server.held);
  harness_note(h, 'c');
}

static void client_lost(struct harness *h) {
  for (size_t i = 0; i < REQUESTS; i++) {
    server.client_fd = hold(h, requests[i]);
    call(h, in_loop_want_lost);
    await_end(h, BK_ARRIVAL_LOST);
  }
}
static void an_answer_after_a_reset_is_lost(void) { run(client_lost); }

static void answer_more_than_fits(struct bk_exchange *x) {
  size_t len = 8000000;
  char *body = calloc(1, len);
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = {body, len}});
  free(body);
}
static void in_loop_large(struct harness *h) {
  answer_more_than_fits(server.held);
  harness_note(h, 'c');
}

static void client_half_read(struct harness *h) {
  for (int with_reset = 0; with_reset < 2; with_reset++) {
    char bytes[1000];
    int fd = hold(h, GET("/hold"));
    call(h, in_loop_large);
    read_exactly(fd, bytes, sizeof bytes);
    call(h, in_loop_arrival);
    check(server.asked == BK_ARRIVAL_PENDING);
    if (with_reset)
      close_with_reset(fd);
    else
      close(fd);
    await_end(h, BK_ARRIVAL_LOST);
  }
}
static void an_answer_read_in_part_is_lost(void) { run(client_half_read); }

static void client_unread(struct harness *h) {
  // The answer is in the client's kernel when it closes without reading: TCP acknowledged it, and a
  // reset follows. That is what RESET says.
  int fd = hold(h, POST("/hold"));
  call(h, in_loop_respond);
  do {
    call(h, in_loop_arrival);
    usleep(1000);
  } while (server.asked != BK_ARRIVAL_YES);
  close(fd);
  await_end(h, BK_ARRIVAL_RESET);
}
static void acknowledged_but_unread_is_reset(void) { run(client_unread); }

// -- peers that leave --------------------------------------------------------------------------

static void client_leaves(struct harness *h) {
  for (size_t i = 0; i < REQUESTS; i++) {
    int fd = hold(h, requests[i]);
    close(fd);
    await_end(h, BK_ARRIVAL_NONE);
    fd = hold(h, requests[i]);
    close_with_reset(fd);
    await_end(h, BK_ARRIVAL_NONE);
    fd = hold(h, requests[i]);
    shutdown(fd, SHUT_WR);   // taken for gone
    await_end(h, BK_ARRIVAL_NONE);
    close(fd);
  }
}
static void a_peer_that_leaves_is_noticed(void) { run(client_leaves); }

static void client_leaves_with_bytes(struct harness *h) {
  for (size_t i = 0; i < REQUESTS; i++) {
    int fd = hold(h, requests[i]);
    send_text(fd, GET("/plain"));   // unread while the first is held
    call(h, in_loop_gone);
    check(!server.gone);
    close(fd);
    await_end(h, BK_ARRIVAL_NONE);
  }
}
static void bytes_in_front_do_not_hide_the_end(void) { run(client_leaves_with_bytes); }

static void keep_until_gone(struct bk_exchange *x) {
  close(server.client_fd);
  while (!bk_exchange_peer_gone(x)) usleep(100);
  harness_note(server.h, 'w');
}
static void in_loop_want_gone(struct harness *h) {
  server.writable = keep_until_gone;
  bk_exchange_want_writable(server.held);
  harness_note(h, 'c');
}
static void client_gone(struct harness *h) {
  server.client_fd = hold(h, GET("/hold"));
  call(h, in_loop_want_gone);
  harness_await(h, 'w');
  await_end(h, BK_ARRIVAL_NONE);
}
static void peer_gone_sees_the_end_at_once(void) { run(client_gone); }

// A held request whose client has more to say must cost nothing while it is held.
static uint64_t turns_before;
static void in_loop_turns(struct harness *h) {
  turns_before = bk_host_counters.turns - turns_before;
  harness_note(h, 'c');
}
static void client_calm(struct harness *h) {
  for (size_t i = 0; i < REQUESTS; i++) {
    int fd = hold(h, requests[i]);
    send_text(fd, GET("/plain") GET("/plain"));
    turns_before = 0;
    call(h, in_loop_turns);
    usleep(200000);
    call(h, in_loop_turns);
    check(turns_before < 100);   // and not one per microsecond
    call(h, in_loop_respond);
    expect(fd, "later");
    if (i < 3) {   // behind chunks the connection ends
      expect(fd, "plain");
      expect(fd, "plain");
      await_end(h, BK_ARRIVAL_YES);
      close(fd);
    } else {
      close(fd);
      harness_await(h, 'e');
    }
  }
}
static void bytes_behind_a_held_request_do_not_spin(void) { run(client_calm); }

static void client_pipelined_held(struct harness *h) {
  int fd = dial(h);
  send_text(fd, POST("/hold") GET("/hold") GET("/plain"));
  harness_await(h, 'h');
  call(h, in_loop_respond);
  expect(fd, "later");
  harness_await(h, 'e');
  harness_await(h, 'h');
  call(h, in_loop_respond);
  expect(fd, "later");
  harness_await(h, 'e');
  expect(fd, "plain");
  close(fd);
}
static void pipelined_requests_are_held_one_after_the_other(void) { run(client_pipelined_held); }

static void client_stays(struct harness *h) {
  hold(h, GET("/hold"));   // the descriptor is left to the process's end: the server leaves first
}
static void the_end_of_the_loop_ends_what_is_held(void) {
  run(client_stays);
  check(server.ends == 1 && server.ended == BK_ARRIVAL_NONE);
}

static void client_idle_later(struct harness *h) {
  char byte;
  int fd = hold(h, GET("/hold"));
  usleep(300000);   // longer than header_time: held requests have their own time
  call(h, in_loop_respond);
  expect(fd, "later");
  check(read_some(fd, &byte, 1) == 0);   // idle now
  close(fd);
  await_end(h, BK_ARRIVAL_YES);
}
static void idle_time_does_not_run_while_held(void) {
  run_options(client_idle_later,
              (struct bk_listener_options){.name = "test", .address = "127.0.0.1:0", .header_time = 100});
}

static void client_many(struct harness *h) {
  enum { MANY = 40 };
  for (int i = 0; i < MANY; i++) {
    int fd = hold(h, i % 2 ? GET("/hold") : POST("/hold"));
    if (i % 3 == 0) {
      close(fd);
    } else {
      call(h, in_loop_respond);
      expect(fd, "later");
      close(fd);
    }
    harness_await(h, 'e');
  }
}
static void unix_sockets_have_evidence_too(void) {
  char address[100];
  unix_address(address, sizeof address);
  struct bk_listener_options o = {.name = "test", .address = address, .max_body = 1000, .header_time = DEADLINE * 1000};
  run_options(client_many, o);
  run_options(client_later, o);
  unix_address_done(address);
}

// -- streams -----------------------------------------------------------------------------------

static char piece[10000];
static void in_loop_write(struct harness *h) {
  check(bk_exchange_stream_write(server.held, BX_LIT("one\n")));
  check(bk_exchange_stream_write(server.held, BX_LIT("two\n")));
  harness_note(h, 'c');
}
static void in_loop_end(struct harness *h) {
  bk_exchange_stream_end(server.held);
  harness_note(h, 'c');
}
static void in_loop_flood(struct harness *h) {
  uint64_t before = bk_host_counters.stream_overflows;
  int n = 0;
  memset(piece, 'x', sizeof piece);
  while (bk_exchange_stream_write(server.held, (struct bx_slice){piece, sizeof piece})) n++;
  check(n <= 105 && (n >= 100 || before > 0));   // 1 MB, less what already waits
  check(bk_host_counters.stream_overflows == before + 1);
  harness_note(h, 'c');
}

static void client_stream(struct harness *h) {
  struct answer a;
  struct bx_buffer got = {0};
  int fd = hold(h, GET("/stream"));
  read_head(fd, &a);   // before anything is written
  check(a.status == 200 && head_has(&a, "transfer-encoding: chunked"));
  call(h, in_loop_write);
  check(read_chunk(fd, &got) && read_chunk(fd, &got));
  check(bx_slice_equal(bx_buffer_view(&got), BX_LIT("one\ntwo\n")));
  call(h, in_loop_flood);
  for (bx_buffer_clear(&got); got.len < 100 * sizeof piece;) check(read_chunk(fd, &got));
  while (got.len % 1000 == 0 && recv(fd, piece, 1, MSG_PEEK | MSG_DONTWAIT) > 0) check(read_chunk(fd, &got));
  call(h, in_loop_end);
  while (read_chunk(fd, &got)) continue;
  send_text(fd, GET("/plain"));
  await_end(h, BK_ARRIVAL_YES);
  expect(fd, "plain");
  close(fd);
  bx_buffer_fini(&got);
}
static void a_stream_is_chunked_bounded_and_ends(void) { run(client_stream); }

static void client_stream_leaves(struct harness *h) {
  struct answer a;
  int fd = hold(h, GET("/stream"));
  read_head(fd, &a);
  close(fd);
  await_end(h, BK_ARRIVAL_YES);
  fd = hold(h, GET("/stream"));
  read_head(fd, &a);
  do call(h, in_loop_flood);   // until the kernel's buffers and ours are full
  while (bk_host_counters.stream_overflows % 20 != 0);
  close(fd);
  await_end(h, BK_ARRIVAL_LOST);
  fd = hold(h, "GET /stream HTTP/1.0\r\n\r\n");
  read_head(fd, &a);
  check(!head_has(&a, "transfer-encoding: chunked") && head_has(&a, "connection: close"));
  call(h, in_loop_write);
  call(h, in_loop_end);
  char got[9] = "";
  read_exactly(fd, got, 8);
  check(strcmp(got, "one\ntwo\n") == 0);
  check(read_some(fd, got, 1) == 0);
  close(fd);
  await_end(h, BK_ARRIVAL_YES);
}
static void who_leaves_a_stream_is_noticed(void) { run(client_stream_leaves); }

int main(int argc, char **argv) {
  run_test(a_held_request_is_answered_later);
  run_test(a_request_that_was_forgotten_is_answered);
  run_test(answered_from_writable);
  run_test(the_next_request_ends_the_last_exchange);
  run_test(answers_at_once_have_an_end_too);
  run_test(read_then_reset_is_reset);
  run_test(a_reset_behind_our_end_is_reset);
  run_test(an_answer_after_a_reset_is_lost);
  run_test(an_answer_read_in_part_is_lost);
  run_test(acknowledged_but_unread_is_reset);
  run_test(a_peer_that_leaves_is_noticed);
  run_test(bytes_in_front_do_not_hide_the_end);
  run_test(peer_gone_sees_the_end_at_once);
  run_test(bytes_behind_a_held_request_do_not_spin);
  run_test(pipelined_requests_are_held_one_after_the_other);
  run_test(the_end_of_the_loop_ends_what_is_held);
  run_test(idle_time_does_not_run_while_held);
  run_test(unix_sockets_have_evidence_too);
  run_test(a_stream_is_chunked_bounded_and_ends);
  run_test(who_leaves_a_stream_is_noticed);
  return 0;
}
