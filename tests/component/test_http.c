// SPDX-License-Identifier: Apache-2.0
// HTTP over real sockets: requests in all their shapes, answers, what becomes known of them.
#include "tests/component/harness.h"

#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/metrics.h"

// -- handlers ----------------------------------------------------------------------------------

// Answers with what it was asked: "METHOD path?query|body".
static void on_echo(void *context, struct bk_exchange *x) {
  (void)context;
  static const struct {
    enum bk_method method;
    const char *name;
  } names[] = {{BK_GET, "GET"},     {BK_POST, "POST"}, {BK_PUT, "PUT"},        {BK_DELETE, "DELETE"},
               {BK_PATCH, "PATCH"}, {BK_HEAD, "HEAD"}, {BK_OPTIONS, "OPTIONS"}};
  struct bx_buffer out = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].method == bk_exchange_method(x)) bx_buffer_printf(&out, "%s ", names[i].name);
  bx_buffer_slice(&out, bk_exchange_path(x));
  if (bk_exchange_query(x).len) bx_buffer_char(&out, '?');
  bx_buffer_slice(&out, bk_exchange_query(x));
  bx_buffer_char(&out, '|');
  bx_buffer_slice(&out, bk_exchange_body(x));
  bk_exchange_respond(x,
                      &(struct bk_response){.status = 200, .content_type = "text/plain", .body = bx_buffer_view(&out)});
  bx_buffer_fini(&out);
}

static const struct bk_route echo_routes[] = {{.methods = BK_ANY_METHOD, .path = "/echo", .handle = on_echo}, {0}};

static void expect(int fd, int status, const char *body) {
  struct answer a;
  read_answer(fd, &a);
  if (a.status != status || strcmp(a.body, body) != 0) fprintf(stderr, "%s%s\n", a.head, a.body);
  check(a.status == status);
  check(strcmp(a.body, body) == 0);
  answer_free(&a);
}

static void run_echo(void (*client)(struct harness *)) {
  struct harness h = {0};
  harness_open(&h, echo_routes, NULL);
  harness_run(&h, client);
  harness_close(&h);
}

// -- requests ----------------------------------------------------------------------------------

static void client_keep_alive(struct harness *h) {
  int fd = dial(h);
  for (int i = 0; i < 50; i++) {
    send_text(fd, "GET /echo?a=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "GET /echo?a=1|");
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    expect(fd, 200, "POST /echo|hello");
  }
  close(fd);
}
static void many_requests_on_one_connection(void) { run_echo(client_keep_alive); }

int main(void) {
  run_test(many_requests_on_one_connection);
  return 0;
}
