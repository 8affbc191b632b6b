// SPDX-License-Identifier: Apache-2.0
// Answers as they go over the wire: reasons, lengths, what a header may hold, dates.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/host/internal.h"

// What is written, without the line of the date, which has to be there.
static void expect(struct bk_exchange x, struct bk_response r, const char *wanted) {
  struct bx_buffer out = {0}, text = {0};
  bk_response_write(&out, &x, &r);
  const char *date = memmem(out.at, out.len, "date: ", 6);
  const char *line_end = date ? memmem(date, out.len - (size_t)(date - out.at), " GMT\r\n", 6) : NULL;
  assert_non_null(line_end);
  bx_buffer_add(&text, out.at, (size_t)(date - out.at));
  bx_buffer_add(&text, line_end + 6, out.len - (size_t)(line_end + 6 - out.at));
  if (!bx_slice_equal(bx_buffer_view(&text), bx_slice_of(wanted)))
    fail_msg("expected\n%s\ngot\n%.*s", wanted, (int)text.len, text.at);
  bx_buffer_fini(&out);
  bx_buffer_fini(&text);
}

static void reasons(void **state) {
  (void)state;
  static const int known[] = {200, 201, 202, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408,
                              409, 410, 411, 413, 414, 415, 416, 422, 426, 429, 431, 500, 501, 502, 503, 504, 505};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    assert_string_not_equal(bk_status_text(known[i]), "Status");
    for (size_t k = 0; k < i; k++) assert_string_not_equal(bk_status_text(known[i]), bk_status_text(known[k]));
  }
  assert_string_equal(bk_status_text(204), "No Content");
  assert_string_equal(bk_status_text(429), "Too Many Requests");
  assert_string_equal(bk_status_text(599), "Status");
}

static void lengths(void **state) {
  (void)state;
  const struct bk_response plain = {.status = 200, .content_type = "text/plain", .body = BX_LIT("abc")};
  expect((struct bk_exchange){.method = BK_GET}, plain,
         "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nabc");
  expect((struct bk_exchange){.method = BK_HEAD}, plain,
         "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\n");
  expect((struct bk_exchange){.method = BK_GET}, (struct bk_response){.status = 404},
         "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
  expect((struct bk_exchange){.method = BK_GET}, (struct bk_response){.status = 204},
         "HTTP/1.1 204 No Content\r\n\r\n");
  expect((struct bk_exchange){.method = BK_GET}, (struct bk_response){.status = 304},
         "HTTP/1.1 304 Not Modified\r\n\r\n");
  expect((struct bk_exchange){.method = BK_GET, .streaming = true, .chunked_answer = true},
         (struct bk_response){.status = 200}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  expect((struct bk_exchange){.method = BK_GET, .streaming = true, .close_after = true},
         (struct bk_response){.status = 200}, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
}

// No line end, whatever a value holds.
static void headers(void **state) {
  (void)state;
  const struct bk_header list[] = {{"x-one", BX_LIT("1")}, {"x-two", BX_LIT("a\r\nset-cookie: b\n")}};
  expect((struct bk_exchange){.method = BK_GET, .keep_alive_1_0 = true},
         (struct bk_response){.status = 200, .headers = list, .header_count = 2},
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-one: 1\r\nx-two: a  set-cookie: b \r\n"
         "connection: keep-alive\r\n\r\n");
}

static void dates(void **state) {
  (void)state;
  assert_string_equal(bk_http_date(784111777000), "Sun, 06 Nov 1994 08:49:37 GMT");
  assert_string_equal(bk_http_date(784111777999), "Sun, 06 Nov 1994 08:49:37 GMT");
  assert_string_equal(bk_http_date(951782400000), "Tue, 29 Feb 2000 00:00:00 GMT");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(reasons), cmocka_unit_test(lengths), cmocka_unit_test(headers),
                                     cmocka_unit_test(dates)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
