// SPDX-License-Identifier: Apache-2.0
// HTTP over real sockets: requests in all their shapes, and answers at once.
#include "tests/component/harness.h"

#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/health.h"
#include "broker/host/metrics.h"

// -- handlers ----------------------------------------------------------------------------------

static const char *method_name(enum bk_method method) {
  switch (method) {
  case BK_GET: return "GET";
  case BK_POST: return "POST";
  case BK_PUT: return "PUT";
  case BK_DELETE: return "DELETE";
  case BK_PATCH: return "PATCH";
  case BK_HEAD: return "HEAD";
  case BK_OPTIONS: return "OPTIONS";
  default: return "?";
  }
}

// Answers with what it was asked: "METHOD path?query|body".
static void on_echo(void *context, struct bk_exchange *x) {
  (void)context;
  struct bx_buffer out = {0};
  bx_buffer_printf(&out, "%s ", method_name(bk_exchange_method(x)));
  bx_buffer_slice(&out, bk_exchange_path(x));
  if (bk_exchange_query(x).len) bx_buffer_char(&out, '?');
  bx_buffer_slice(&out, bk_exchange_query(x));
  bx_buffer_char(&out, '|');
  bx_buffer_slice(&out, bk_exchange_body(x));
  struct bk_header header = {"x-test", BX_LIT("yes\r\nno")};
  bk_exchange_respond(x, &(struct bk_response){.status = 200,
                                               .content_type = "text/plain",
                                               .headers = &header,
                                               .header_count = 1,
                                               .body = bx_buffer_view(&out)});
  bx_buffer_fini(&out);
}

static void on_room(void *context, struct bk_exchange *x) {
  (void)context;
  struct bx_buffer out = {0};
  bx_buffer_slice(&out, bk_exchange_parameter(x, "room"));
  bx_buffer_char(&out, '+');
  bx_buffer_slice(&out, bk_exchange_parameter(x, "message"));
  bx_buffer_char(&out, '+');
  bx_buffer_slice(&out, bk_exchange_parameter(x, "other"));
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = bx_buffer_view(&out)});
  bx_buffer_fini(&out);
}

static void on_headers(void *context, struct bk_exchange *x) {
  (void)context;
  char known[64] = "none", unknown[64] = "none", absent[64] = "none", cut[4];
  bk_exchange_header(x, "authorization", known, sizeof known);
  bk_exchange_header(x, "x-custom-thing", unknown, sizeof unknown);
  check(!bk_exchange_header(x, "x-absent", absent, sizeof absent));
  check(bk_exchange_header(x, "authorization", cut, sizeof cut) && strcmp(cut, "Bea") == 0);
  char text[256];
  snprintf(text, sizeof text, "%s,%s,%s,%.*s", known, unknown, absent, (int)bk_exchange_peer(x).len,
           bk_exchange_peer(x).at);
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = bx_slice_of(text)});
}

static void on_query(void *context, struct bk_exchange *x) {
  (void)context;
  struct bx_buffer out = {0};
  check(!bk_query_get(bk_exchange_query(x), "absent", &out));
  if (!bk_query_get(bk_exchange_query(x), "message", &out)) bx_buffer_lit(&out, "(none)");
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = bx_buffer_view(&out)});
  bx_buffer_fini(&out);
}

static void on_large(void *context, struct bk_exchange *x) {
  (void)context;
  size_t len = 3000000;
  char *body = malloc(len);
  for (size_t i = 0; i < len; i++) body[i] = (char)('a' + i % 26);
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = {body, len}});
  free(body);
}

static void on_refuse(void *context, struct bk_exchange *x) {
  (void)context;
  bk_exchange_refuse(x, 403, "no \"%s\"", "way");
}

static void on_close(void *context, struct bk_exchange *x) {
  bk_exchange_close_after(x);
  on_echo(context, x);
}

// Stays in the handler until the client lets it go on.
static int entered[2], leave[2];
static void on_block(void *context, struct bk_exchange *x) {
  char letter = 'e';
  check(write(entered[1], &letter, 1) == 1 && read(leave[0], &letter, 1) == 1);
  on_echo(context, x);
}

static bool below_mount(void *context, struct bx_slice path) {
  (void)context;
  return bx_slice_starts(path, BX_LIT("/mount"));
}

static void reasons(void *context, struct bk_health *h) {
  if (*(bool *)context) return;
  bk_health_reason(h, "no engine");
  bk_health_reason(h, "draining");
}
static bool is_ready;
static struct bk_health health = {.reasons = reasons, .context = &is_ready};

static const struct bk_route routes[] = {
    {.methods = BK_ANY_METHOD, .path = "/echo", .handle = on_echo},
    {.methods = BK_GET, .path = "/rooms/:room/messages/:message", .handle = on_room},
    {.methods = BK_GET, .path = "/headers", .handle = on_headers},
    {.methods = BK_GET, .path = "/query", .handle = on_query},
    {.methods = BK_GET, .path = "/large", .handle = on_large},
    {.methods = BK_POST, .path = "/large", .handle = on_echo},
    {.methods = BK_GET, .path = "/block", .handle = on_block},
    {.methods = BK_GET, .path = "/refuse", .handle = on_refuse},
    {.methods = BK_GET | BK_POST, .path = "/close", .handle = on_close},
    {.methods = BK_GET, .match = below_mount, .handle = on_echo},
    BK_HEALTH_ROUTES(&health),
    {0},
};

// -- the client's words ------------------------------------------------------------------------

static void expect(int fd, int status, const char *body) {
  struct answer a;
  read_answer(fd, &a);
  if (a.status != status || strcmp(a.body, body) != 0) fprintf(stderr, "%s%s\n", a.head, a.body);
  check(a.status == status);
  check(strcmp(a.body, body) == 0);
  answer_free(&a);
}

static void expect_end(int fd) {
  char byte;
  check(read_some(fd, &byte, 1) == 0);
  close(fd);
}

// Sends a request on a connection of its own.
static void ask(struct harness *h, const char *request, int status, const char *body) {
  int fd = dial(h);
  send_text(fd, request);
  expect(fd, status, body);
  close(fd);
}

static void run_at(const char *address, void (*client)(struct harness *)) {
  struct harness h = {0};
  harness_open(&h, routes, address);
  harness_run(&h, client);
  harness_close(&h);
  check(bk_host_counters.open == 0);
}

static void run(void (*client)(struct harness *)) { run_at(NULL, client); }

// -- requests ----------------------------------------------------------------------------------

static void client_keep_alive(struct harness *h) {
  int fd = dial(h);
  uint64_t before = bk_host_counters.requests;
  for (int i = 0; i < 50; i++) {
    send_text(fd, "GET /echo?a=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "GET /echo?a=1|");
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    expect(fd, 200, "POST /echo|hello");
  }
  check(bk_host_counters.requests == before + 100);
  close(fd);
}
static void many_requests_on_one_connection(void) { run(client_keep_alive); }

static void client_methods(struct harness *h) {
  static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char request[128], body[64];
    int fd = dial(h);
    snprintf(request, sizeof request, "%s /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", names[i]);
    snprintf(body, sizeof body, "%s /echo|ab", names[i]);
    for (int twice = 0; twice < 2; twice++) {
      send_text(fd, request);
      expect(fd, 200, body);
    }
    close(fd);
  }
}
static void every_method_may_have_a_body(void) { run(client_methods); }

static void client_empty(struct harness *h) {
  int fd = dial(h);
  for (int i = 0; i < 3; i++) {
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    expect(fd, 200, "POST /echo|");
    send_text(fd, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    expect(fd, 200, "PUT /echo|");
  }
  for (int i = 0; i < 2; i++) {   // no length means no body
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "POST /echo|");
  }
  close(fd);
}
static void empty_bodies_reach_the_handler(void) { run(client_empty); }

static void client_head(struct harness *h) {
  int fd = dial(h);
  struct answer a;
  send_text(fd, "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  read_head(fd, &a);
  check(head_has(&a, "content-length: 11"));
  expect(fd, 200, "GET /echo|");   // directly behind the head: there was no body
  close(fd);
}
static void head_has_no_body(void) { run(client_head); }

static void client_answer_head(struct harness *h) {
  int fd = dial(h);
  struct answer a;
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  read_answer(fd, &a);
  char *date = strstr(a.head, "date: "), *behind = date ? strchr(date, '\n') : NULL;
  check(behind && behind - date == 36 && strncmp(behind - 4, "GMT\r\n", 5) == 0);
  memmove(date, behind + 1, strlen(behind));
  check(strcmp(a.head, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n"
                       "x-test: yes  no\r\n\r\n") == 0);
  answer_free(&a);
  close(fd);
}
static void answers_have_the_headers_asked_for_and_no_others(void) { run(client_answer_head); }

static void client_split(struct harness *h) {
  static const char request[] = "POST /echo?q=%41 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nhello, world";
  int fd = dial(h);
  for (size_t i = 0; i < sizeof request - 1; i++) {
    send_bytes(fd, request + i, 1);
    if (i % 8 == 0) usleep(1000);   // so that most bytes travel alone
  }
  expect(fd, 200, "POST /echo?q=%41|hello, world");
  close(fd);
}
static void a_request_may_come_byte_by_byte(void) { run(client_split); }

static void client_large(struct harness *h) {
  size_t len = 90000;
  char *body = malloc(len + 1), *whole = malloc(len + 64);
  for (size_t i = 0; i < len; i++) body[i] = (char)('0' + i % 10);
  body[len] = '\0';
  int fd = dial(h);
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n");
  send_bytes(fd, body, len);
  snprintf(whole, len + 64, "POST /echo|%s", body);
  expect(fd, 200, whole);
  struct answer a;
  send_text(fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  read_answer(fd, &a);
  check(a.len == 3000000);
  for (size_t i = 0; i < a.len; i++) check(a.body[i] == (char)('a' + i % 26));
  answer_free(&a);
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, 200, "GET /echo|");
  close(fd);
  free(body);
  free(whole);
}
static void large_bodies_both_ways(void) { run(client_large); }

static void client_chunked(struct harness *h) {
  int fd = dial(h);
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
  usleep(20000);
  send_text(fd, "lo\r\n8;name=value\r\n, world!\r\n0\r\nTrailer: x\r\n\r\n");
  expect(fd, 200, "POST /echo|hello, world!");
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
                "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, 200, "GET /echo|a");
  expect(fd, 200, "GET /echo|");
  close(fd);
  ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400,
      "{\"error\":\"Bad request\"}");
}
static void chunked_bodies(void) { run(client_chunked); }

// The loop has heard of bytes, but not of the reset behind them: reading goes well, the refusal cannot
// be written, and there is more to read.
static void client_resets_in_body(struct harness *h) {
  char letter, *rest = calloc(1, 40001);
  check(socketpair(AF_UNIX, SOCK_STREAM, 0, entered) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, leave) == 0);
  int first = dial(h), second = dial(h), body = dial(h);
  send_text(body, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  send_text(second, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(second, 200, "GET /echo|");
  send_text(first, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
  read_exactly(entered[0], &letter, 1);
  send_text(second, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
  memset(rest, 'z', 40000);
  send_text(body, rest);
  check(write(leave[1], "l", 1) == 1);
  read_exactly(entered[0], &letter, 1);
  close_with_reset(body);
  check(write(leave[1], "l", 1) == 1);
  expect(first, 200, "GET /block|");
  expect(second, 200, "GET /block|");
  ask(h, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /echo|");
  close(first);
  close(second);
  free(rest);
  for (int i = 0; i < 2; i++) {
    close(entered[i]);
    close(leave[i]);
  }
}
static void a_reset_in_a_bad_body(void) {
  for (int i = 0; i < 5; i++) run(client_resets_in_body);   // the kernel may report the two the other way round
}

static void client_expect(struct harness *h) {
  int fd = dial(h);
  struct answer a;
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  read_head(fd, &a);
  check(a.status == 100);
  send_text(fd, "hello");
  expect(fd, 200, "POST /echo|hello");
  close(fd);
}
static void who_expects_100_continue_gets_it(void) { run(client_expect); }

static void client_too_large(struct harness *h) {
  uint64_t before = bk_host_counters.too_large;
  char *body = calloc(1, 300000);
  struct answer a;
  int fd = dial(h);
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
  send_bytes(fd, body, 300000);   // all of it is read, so that the answer is not lost in a reset
  read_answer(fd, &a);
  check(a.status == 413 && head_has(&a, "connection: close"));
  answer_free(&a);
  expect_end(fd);
  fd = dial(h);
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n");
  send_bytes(fd, body, 0x40000);
  read_answer(fd, &a);
  check(a.status == 413);
  answer_free(&a);
  expect_end(fd);
  check(bk_host_counters.too_large == before + 2);
  free(body);
}
static void too_large_a_body_is_413(void) { run(client_too_large); }

static void client_bad(struct harness *h) {
  static const char bad[] = "{\"error\":\"Bad request\"}";
  ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\na", 400, bad);
  ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\na", 400, bad);
  ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400, bad);
  ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
      bad);
  ask(h, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, bad);
  ask(h, "GET /echo?a=%0AIf: HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /echo?a=%0AIf:|");
  ask(h, "GET /echo%0D%0AHost:x HTTP/1.1\r\nHost: y\r\n\r\n", 400, bad);
  ask(h, "GET /echo\r\nHost: x\r\n\r\n", 400, bad);
  ask(h, "GET /echo HTTP/2.0\r\nHost: x\r\n\r\n", 505, "{\"error\":\"HTTP version not supported\"}");
  ask(h, "GET /echo HTTP/1.1\r\nAccept: text/plain\r\n\r\n", 400, bad);
  ask(h, "BREW /echo HTTP/1.1\r\nHost: x\r\n\r\n", 501, "{\"error\":\"Method not supported\"}");
  ask(h, "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "{\"error\":\"Method not supported\"}");
  ask(h, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501, "{\"error\":\"Method not supported\"}");
  ask(h, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 like a TLS greeting\r\n\r\n", 400, bad);
  ask(h, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, "{\"error\":\"Not found\"}");
  struct answer a;
  int fd = dial(h);
  send_text(fd, "DELETE /large HTTP/1.1\r\nHost: x\r\n\r\n");
  read_answer(fd, &a);
  check(a.status == 405 && head_has(&a, "allow: GET, POST") &&
        strcmp(a.body, "{\"error\":\"Method not allowed\"}") == 0);
  answer_free(&a);
  close(fd);
  ask(h, "GET /refuse HTTP/1.1\r\nHost: x\r\n\r\n", 403, "{\"error\":\"no \\\"way\\\"\"}");
  ask(h, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\nabc", 404, "{\"error\":\"Not found\"}");
}
static void what_makes_no_sense_is_refused(void) { run(client_bad); }

// Whatever comes, the process lives and answers the next one.
static void client_garbage(struct harness *h) {
  static const char *const lines[] = {
      "GET\r\n\r\n",
      "GET /echo%zz HTTP/1.1\r\n\r\n",
      "GET /%00 HTTP/1.1\r\n\r\n",
      "GET echo HTTP/1.1\r\n\r\n",
      "\r\n\r\n\r\n",
      "Host: x\r\n\r\n",
      "GET * HTTP/1.1\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET GET GET\n",
      "GET /echo HTTP/9.9\r\n\r\n",
      "GET /echo\r\n\r\n",
      ":\r\n\r\n",
      "GET /a HTTP/1.1\r\nGET: /b\r\n\r\n",
      "GET /echo HTTP/1.1\r\nContent-Length:\r\n\r\n",
      "GET /../../../etc HTTP/1.1\r\n\r\n",
      "GET /echo HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    char byte[4096];
    int fd = dial(h);
    send_text(fd, lines[i]);
    shutdown(fd, SHUT_WR);
    while (read_some(fd, byte, sizeof byte) > 0) continue;
    close(fd);
  }
  char *long_header = malloc(40000);
  memset(long_header, 'a', 40000);
  for (int i = 0; i < 3; i++) {
    char byte[4096];
    int fd = dial(h);
    send_text(fd, i == 0 ? "GET /" : i == 1 ? "GET /echo HTTP/1.1\r\nX-Long: " : "GET /echo HTTP/1.1\r\nCookie: ");
    send(fd, long_header, 40000, MSG_NOSIGNAL);
    while (read_some(fd, byte, sizeof byte) > 0) continue;
    close(fd);
  }
  free(long_header);
  ask(h, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /echo|");
}
static void garbage_harms_nobody_else(void) { run(client_garbage); }

static void client_pipelined(struct harness *h) {
  int fd = dial(h);
  send_text(fd, "GET /echo?1 HTTP/1.1\r\nHost: x\r\n\r\nGET /echo?2 HTTP/1.1\r\nHost: x\r\n\r\n"
                "GET /echo?3 HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, 200, "GET /echo?1|");
  expect(fd, 200, "GET /echo?2|");
  expect(fd, 200, "GET /echo?3|");
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
                "GET /echo?2 HTTP/1.1\r\nHost: x\r\n\r\nGET /ec");
  expect(fd, 200, "POST /echo|one");
  expect(fd, 200, "GET /echo?2|");
  send_text(fd, "ho?3 HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, 200, "GET /echo?3|");
  close(fd);
}
static void pipelined_requests_are_answered_in_order(void) { run(client_pipelined); }

static void client_pipelined_body(struct harness *h) {
  int fd = dial(h);
  send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
                "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
                "\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nth");
  expect(fd, 200, "POST /echo|one");
  expect(fd, 200, "POST /echo|two");
  send_text(fd, "reePOST /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, 200, "POST /echo|three");
  expect(fd, 200, "POST /echo|");
  close(fd);
}
static void pipelined_bodies_belong_to_their_requests(void) { run(client_pipelined_body); }

static void client_persistence(struct harness *h) {
  struct answer a;
  int fd = dial(h);
  send_text(fd, "GET /echo HTTP/1.0\r\n\r\n");
  read_answer(fd, &a);
  check(head_has(&a, "connection: close"));
  answer_free(&a);
  expect_end(fd);
  fd = dial(h);
  for (int i = 0; i < 2; i++) {
    send_text(fd, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    read_answer(fd, &a);
    check(head_has(&a, "connection: keep-alive"));
    answer_free(&a);
  }
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n");
  expect(fd, 200, "GET /echo|");
  expect_end(fd);
  fd = dial(h);
  send_text(fd, "POST /close HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
  expect(fd, 200, "POST /close|a");
  expect_end(fd);
  fd = dial(h);   // a client that half closes still gets its answer
  send_text(fd, "GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  shutdown(fd, SHUT_WR);
  read_answer(fd, &a);
  check(a.len == 3000000);
  answer_free(&a);
  expect_end(fd);
}
static void persistence_follows_version_and_header(void) { run(client_persistence); }

static size_t connections;
static void in_loop_count(struct harness *h) {
  connections = bk_listener_connections(h->listener);
  harness_note(h, 'c');
}

static void client_lingers(struct harness *h) {
  char byte;
  int fd = dial(h);
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  expect(fd, 200, "GET /echo|");
  check(read_some(fd, &byte, 1) == 0);
  harness_call(h, in_loop_count);
  harness_await(h, 'c');
  check(connections == 1);   // half closed: the server waits for the peer's end
  close(fd);
  do {
    harness_call(h, in_loop_count);
    harness_await(h, 'c');
  } while (connections > 0);
}
static void a_closing_server_half_closes_first(void) { run(client_lingers); }

static void client_routes(struct harness *h) {
  ask(h, "GET /rooms/r1/messages/m2 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "r1+m2+");
  ask(h, "GET /rooms/a%20b/messages/m%41 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "a b+mA+");
  ask(h, "GET /rooms//messages/m2 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "{\"error\":\"Not found\"}");
  ask(h, "GET /rooms/r1/messages HTTP/1.1\r\nHost: x\r\n\r\n", 404, "{\"error\":\"Not found\"}");
  ask(h, "GET /rooms/r1/messages/m/x HTTP/1.1\r\nHost: x\r\n\r\n", 404, "{\"error\":\"Not found\"}");
  ask(h, "GET /mount/any/thing HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /mount/any/thing|");
  ask(h, "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", 200, "POST /large|a");
}
static void routes_and_their_parameters(void) { run(client_routes); }

static void client_query(struct harness *h) {
  ask(h, "GET /query?message=a%26b%3Dc%2Bd+e&jsonp=x HTTP/1.1\r\nHost: x\r\n\r\n", 200, "a&b=c+d e");
  ask(h,
      "GET /query?x=1&message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%2C%22v%22%3A%2225%25%22%7D%5D "
      "HTTP/1.1\r\n"
      "Host: x\r\n\r\n",
      200, "[{\"channel\":\"/meta/handshake\",\"v\":\"25%\"}]");
  ask(h, "GET /query?message=1&message=2 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "1");
  ask(h, "GET /query?message HTTP/1.1\r\nHost: x\r\n\r\n", 200, "");
  ask(h, "GET /query?&message=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "1");
  ask(h, "GET /query?a&&&b=&message=2&& HTTP/1.1\r\nHost: x\r\n\r\n", 200, "2");
  ask(h, "GET /query?&& HTTP/1.1\r\nHost: x\r\n\r\n", 200, "(none)");
  ask(h, "GET /query? HTTP/1.1\r\nHost: x\r\n\r\n", 200, "(none)");
  ask(h, "GET /query?message=a=b=c HTTP/1.1\r\nHost: x\r\n\r\n", 200, "a=b=c");
  ask(h, "GET /query?message=%C3%A9 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "\xc3\xa9");
  ask(h, "GET /query HTTP/1.1\r\nHost: x\r\n\r\n", 200, "(none)");
}
static void queries(void) { run(client_query); }

static void client_headers(struct harness *h) {
  int fd = dial(h);
  struct answer a;
  send_text(fd, "GET /headers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0\r\nX-Custom-Thing:  a value\r\n\r\n");
  read_answer(fd, &a);
  check(strncmp(a.body, "Bearer t0,a value,none,127.0.0.1:", 33) == 0);
  answer_free(&a);
  close(fd);
}
static void headers_by_name(void) { run(client_headers); }

static void client_health(struct harness *h) {
  ask(h, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"ready\":true,\"reasons\":[]}");
  is_ready = false;
  ask(h, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 503, "{\"ready\":false,\"reasons\":[\"no engine\",\"draining\"]}");
  is_ready = true;
  ask(h, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"ready\":true,\"reasons\":[]}");
}
static void health_routes(void) { run(client_health); }

// -- listeners ---------------------------------------------------------------------------------

static void client_once(struct harness *h) { ask(h, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /echo|"); }

static void ipv6(void) { run_at("[::1]:0", client_once); }

static void client_unix(struct harness *h) {
  int fd = dial(h);
  struct answer a;
  send_text(fd, "GET /headers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n\r\n");
  read_answer(fd, &a);
  check(strcmp(a.body, "Bearer,none,none,unix") == 0);
  answer_free(&a);
  close(fd);
}

static void unix_sockets(void) {
  char address[100], kept[110], error[256];
  unix_address(address, sizeof address);
  run_at(address, client_unix);

  struct harness h = {0};
  harness_open(&h, routes, address);
  struct bk_listener_options second = {.name = "second", .address = address, .routes = routes};
  check(!bk_listener_open(h.loop, &second, error, sizeof error));   // somebody listens there
  check(strstr(error, "in use"));
  snprintf(kept, sizeof kept, "%s.kept", address + 5);
  check(link(address + 5, kept) == 0);
  harness_close(&h);
  check(rename(kept, address + 5) == 0);   // as left by a process that was killed
  run_at(address, client_unix);
  unix_address_done(address);
}

static void bad_addresses(void) {
  static const char *const addresses[] = {"",      "8000",    "127.0.0.1", "127.0.0.1:",   "127.0.0.1:99999",
                                          "[::1]", "::1:80x", "unix:",     "300.0.0.1:80", "127.0.0.1:-1"};
  struct bk_loop *loop = bk_loop_create();
  for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
    char error[256] = "";
    struct bk_listener_options o = {.name = "test", .address = addresses[i], .routes = routes};
    check(!bk_listener_open(loop, &o, error, sizeof error));
    check(strlen(error) > 0);
  }
  bk_loop_destroy(loop);
}

static void in_loop_stop_listening(struct harness *h) {
  bk_listener_stop(h->listener);
  check(bk_listener_connections(h->listener) == 1);
  harness_note(h, 's');
}

static void client_stopped(struct harness *h) {
  int fd = dial(h);
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, 200, "GET /echo|");
  harness_call(h, in_loop_stop_listening);
  harness_await(h, 's');
  send_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");   // who is there already goes on
  expect(fd, 200, "GET /echo|");
  close(fd);
}
static void a_stopped_listener_keeps_its_connections(void) { run(client_stopped); }

// -- time --------------------------------------------------------------------------------------

static void expect_slow(int fd) {
  struct answer a;
  read_answer(fd, &a);
  check(a.status == 408 && head_has(&a, "connection: close"));
  answer_free(&a);
  expect_end(fd);
}

static void client_silent(struct harness *h) {
  struct bk_host_counters before = bk_host_counters;
  int silent = dial(h), half = dial(h), idle = dial(h), half_idle = dial(h), body = dial(h), chunks = dial(h);
  send_text(half, "GET /echo HT");
  send_text(body, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  send_text(chunks, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab");
  send_text(idle, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(idle, 200, "GET /echo|");
  send_text(half_idle, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\nGET");
  expect(half_idle, 200, "GET /echo|");
  expect_end(silent);
  expect_slow(half);
  expect_end(idle);
  expect_slow(half_idle);
  expect_slow(body);
  expect_slow(chunks);
  check(bk_host_counters.silent_timeouts == before.silent_timeouts + 1);
  check(bk_host_counters.header_timeouts == before.header_timeouts + 2);
  check(bk_host_counters.idle_timeouts == before.idle_timeouts + 1);
  check(bk_host_counters.body_timeouts == before.body_timeouts + 2);
  check(bk_host_counters.bad_requests == before.bad_requests);
}

static void who_says_nothing_is_closed(void) {
  struct harness h = {0};
  harness_options(
      &h, routes,
      (struct bk_listener_options){.name = "test", .address = "127.0.0.1:0", .max_body = 1000, .header_time = 150});
  harness_run(&h, client_silent);
  harness_close(&h);
}

int main(int argc, char **argv) {
  run_test(many_requests_on_one_connection);
  run_test(every_method_may_have_a_body);
  run_test(empty_bodies_reach_the_handler);
  run_test(head_has_no_body);
  run_test(answers_have_the_headers_asked_for_and_no_others);
  run_test(a_request_may_come_byte_by_byte);
  run_test(large_bodies_both_ways);
  run_test(chunked_bodies);
  run_test(a_reset_in_a_bad_body);
  run_test(who_expects_100_continue_gets_it);
  run_test(too_large_a_body_is_413);
  run_test(what_makes_no_sense_is_refused);
  run_test(garbage_harms_nobody_else);
  run_test(pipelined_requests_are_answered_in_order);
  run_test(pipelined_bodies_belong_to_their_requests);
  run_test(persistence_follows_version_and_header);
  run_test(a_closing_server_half_closes_first);
  run_test(routes_and_their_parameters);
  run_test(queries);
  run_test(headers_by_name);
  run_test(health_routes);
  run_test(ipv6);
  run_test(unix_sockets);
  run_test(bad_addresses);
  run_test(a_stopped_listener_keeps_its_connections);
  run_test(who_says_nothing_is_closed);
  return 0;
}
