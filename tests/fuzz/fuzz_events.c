// SPDX-License-Identifier: Apache-2.0
// EventSource on a whole broker: a session that four messages wait for opens a stream; the first line
// of the input stands behind the mount in the path (CLIENTID for the session), the second is the
// Last-Event-ID, the rest further headers and perhaps requests. Only whole events come back.
#include "tests/fuzz/host_answers.h"
#include "tests/fuzz/host_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void publish(void) {
  static const char body[] = "[{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":\"\\n\"},"
                             "{\"channel\":\"/b\",\"data\":[3]},{\"channel\":\"/b/c\",\"data\":{}}]";
  struct bx_buffer text = {0}, answer = {0};
  int fd = host_dial(HOST_ADMIN);
  bx_buffer_lit(&text, "POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n");
  bx_buffer_printf(&text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
  MUST(host_send(fd, bx_buffer_view(&text)));
  host_turns(4);
  MUST(host_receive(fd, &answer) && bx_slice_starts(bx_buffer_view(&answer), BX_LIT("HTTP/1.1 200 ")));
  host_hang_up(fd);
  bx_buffer_fini(&answer);
  bx_buffer_fini(&text);
}

static const char *add_line(struct bx_buffer *out, const char *at, const char *end) {
  const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
  if (!stop) stop = end;
  if (stop > at) bx_buffer_add(out, at, (size_t)(stop - at));
  return stop < end ? stop + 1 : end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 4000) return 0;
  const char *at = (const char *)data, *end = at + size;
  struct bx_buffer text = {0}, answers = {0};
  host_world_open(false);
  publish();
  bx_buffer_lit(&text, "GET /bayeux/");
  at = add_line(&text, at, end);
  bx_buffer_lit(&text, " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nLast-Event-ID: ");
  at = add_line(&text, at, end);
  bx_buffer_lit(&text, "\r\n");
  if (at < end) bx_buffer_add(&text, at, (size_t)(end - at));
  bx_buffer_lit(&text, "\r\n");
  int fd = host_dial(HOST_CLIENTS);
  host_send_text(fd, bx_buffer_view(&text), 0);
  host_turns(4);
  publish();
  host_turns(4);
  host_receive(fd, &answers);
  host_check_answers(bx_buffer_view(&answers));
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&answers);
  bx_buffer_fini(&text);
  return 0;
}
