// SPDX-License-Identifier: Apache-2.0
// The HTTP client against our own listener, and against nothing.
#include "tests/component/harness.h"

#include <unistd.h>

#include "broker/host/http_client.h"

// What is noted: d done, q a request is held, e it ended.
static struct {
  struct harness *h;
  struct bk_http_client *client;
  struct bk_http_client_request request;
  int status;
  char body[256], error[256];
  unsigned dones, sends;
  bool sending;
  char peers[4][64];
  unsigned peer_count;
} test;

static const struct bk_exchange_ops held_ops;

static void on_echo(void *context, struct bk_exchange *x) {
  char type[64] = "none", token[64] = "none", out[256];
  (void)context;
  bk_exchange_header(x, "content-type", type, sizeof type);
  bk_exchange_header(x, "authorization", token, sizeof token);
  struct bx_slice body = bk_exchange_body(x);
  snprintf(out, sizeof out, "%d,%s,%s,%.*s", bk_exchange_method(x), type, token, (int)body.len, body.at ? body.at : "");
  if (test.peer_count < 4) {
    struct bx_slice peer = bk_exchange_peer(x);
    snprintf(test.peers[test.peer_count++], 64, "%.*s", (int)peer.len, peer.at);
  }
  bk_exchange_respond(x, &(struct bk_response){.status = 201, .content_type = "text/plain", .body = bx_slice_of(out)});
}

static void on_large(void *context, struct bk_exchange *x) {
  static char body[100000];
  (void)context;
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = {body, sizeof body}});
}

static void on_ended(struct bk_exchange *x, enum bk_arrival arrival) {
  (void)x;
  check(arrival == BK_ARRIVAL_NONE);
  harness_note(test.h, 'e');
}
static const struct bk_exchange_ops held_ops = {.ended = on_ended};

static void on_hold(void *context, struct bk_exchange *x) {
  (void)context;
  bk_exchange_hold(x, &held_ops, NULL);
  harness_note(test.h, 'q');
}

static const struct bk_route routes[] = {
    {.methods = BK_ANY_METHOD, .path = "/echo", .handle = on_echo},
    {.methods = BK_ANY_METHOD, .path = "/large", .handle = on_large},
    {.methods = BK_ANY_METHOD, .path = "/hold", .handle = on_hold},
    {0},
};

static void on_done(void *context, int status, struct bx_slice body, const char *error) {
  check(context == &test);
  check(!test.sending);   // never from inside bk_http_client_send()
  check((status <= 0) == (error != NULL));
  test.status = status;
  test.dones++;
  snprintf(test.body, sizeof test.body, "%.*s", (int)body.len, body.at ? body.at : "");
  snprintf(test.error, sizeof test.error, "%s", error ? error : "");
  harness_note(test.h, 'd');
}

static void in_loop_send(struct harness *h) {
  (void)h;
  test.sending = true;
  bk_http_client_send(test.client, &test.request);
  test.sending = false;
  test.sends++;
}

static void in_loop_destroy(struct harness *h) {
  bk_http_client_destroy(test.client);
  test.client = NULL;
  harness_note(h, 'c');
}

static void prepare(struct harness *h, const char *method, const char *path) {
  static char url[128];
  snprintf(url, sizeof url, "http://127.0.0.1:%d%s", h->port, path);
  test.request = (struct bk_http_client_request){
      .method = method, .url = url, .timeout = DEADLINE * 1000, .max_answer = 1000, .done = on_done, .context = &test};
}

static void send_and_wait(struct harness *h) {
  harness_call(h, in_loop_send);
  harness_await(h, 'd');
}

static void run_at(const char *address, void (*client)(struct harness *)) {
  struct harness h = {0};
  memset(&test, 0, sizeof test);
  test.h = &h;
  harness_open(&h, routes, address);
  test.client = bk_http_client_create(h.loop);
  harness_run(&h, client);
  bk_http_client_destroy(test.client);
  harness_close(&h);
  check(test.dones == test.sends);
}
static void run(void (*client)(struct harness *)) { run_at(NULL, client); }

static void client_requests(struct harness *h) {
  char expected[64];
  prepare(h, "GET", "/echo");
  send_and_wait(h);
  snprintf(expected, sizeof expected, "%d,none,none,", BK_GET);
  check(test.status == 201 && strcmp(test.body, expected) == 0);
  prepare(h, "POST", "/echo");
  test.request.body = BX_LIT("{\"a\":1}");
  test.request.content_type = "application/json";
  test.request.bearer = "secret";
  send_and_wait(h);
  snprintf(expected, sizeof expected, "%d,application/json,Bearer secret,{\"a\":1}", BK_POST);
  check(test.status == 201 && strcmp(test.body, expected) == 0);
  prepare(h, "DELETE", "/echo");
  send_and_wait(h);
  snprintf(expected, sizeof expected, "%d,none,none,", BK_DELETE);
  check(test.status == 201 && strcmp(test.body, expected) == 0);
  prepare(h, "GET", "/nowhere");
  send_and_wait(h);
  check(test.status == 404);
  check(strcmp(test.peers[0], test.peers[1]) == 0 && strcmp(test.peers[0], test.peers[2]) == 0);   // one connection
}
static void requests_and_answers(void) { run(client_requests); }

static void client_failures(struct harness *h) {
  prepare(h, "GET", "/large");
  send_and_wait(h);
  check(test.status == 0 && strstr(test.error, "larger than 1000"));
  prepare(h, "GET", "/echo");
  test.request.url = "http://127.0.0.1:1/";
  send_and_wait(h);
  check(test.status == -1 && strlen(test.error) > 0);   // nothing was sent
  test.request.url = "ftp://127.0.0.1/";
  send_and_wait(h);
  check(test.status == -1 && strlen(test.error) > 0);
  test.request.url = "not a url";
  send_and_wait(h);
  check(test.status == -1);
  prepare(h, "GET", "/hold");
  test.request.timeout = 100;
  harness_call(h, in_loop_send);
  harness_await(h, 'q');
  for (int i = 0; i < 2; i++) {   // the time-out, and the server's view of it, in either order
    char letter;
    check(read(h->notes[0], &letter, 1) == 1 && (letter == 'd' || letter == 'e'));
  }
  check(test.status == 0);
}
static void failures_are_told_in_words(void) { run(client_failures); }

static void client_cancelled(struct harness *h) {
  prepare(h, "GET", "/hold");
  harness_call(h, in_loop_send);
  harness_await(h, 'q');
  harness_call(h, in_loop_destroy);
  harness_await(h, 'd');
  check(test.status == 0 && strcmp(test.error, "cancelled") == 0);
  harness_await(h, 'c');
  harness_await(h, 'e');
}
static void destroying_cancels(void) { run(client_cancelled); }

static void client_left(struct harness *h) {
  prepare(h, "GET", "/hold");
  harness_call(h, in_loop_send);
  harness_await(h, 'q');
}
static void the_end_of_the_loop_cancels(void) { run(client_left); }

static void client_unix(struct harness *h) {
  prepare(h, "GET", "/echo");
  test.request.url = "http://mora/echo";
  test.request.unix_path = h->unix_path;
  send_and_wait(h);
  check(test.status == 201 && strcmp(test.peers[0], "unix") == 0);
}
static void over_a_unix_socket(void) {
  char address[100];
  unix_address(address, sizeof address);
  run_at(address, client_unix);
  unix_address_done(address);
}

int main(int argc, char **argv) {
  run_test(requests_and_answers);
  run_test(failures_are_told_in_words);
  run_test(destroying_cancels);
  run_test(the_end_of_the_loop_cancels);
  run_test(over_a_unix_socket);
  return 0;
}
