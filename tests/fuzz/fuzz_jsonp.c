// SPDX-License-Identifier: Apache-2.0
// callback-polling on a whole broker: the first line is the name of the callback, the rest the
// message. Both are percent-encoded by the harness: what arrives is what the input holds. A name that
// is not names joined by dots is refused; else the answer calls exactly this name.
#include "tests/fuzz/host_answers.h"
#include "tests/fuzz/host_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_encoded(struct bx_buffer *out, const char *at, const char *end) {
  for (; at < end; at++) bx_buffer_printf(out, "%%%02X", (unsigned char)*at);
}

// As the page about transports has it, in other words than the broker's.
static bool is_name(const char *at, const char *end) {
  bool begins = true;
  for (; at < end; begins = *at == '.', at++) {
    bool letter = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$", *at) && *at;
    bool digit = *at >= '0' && *at <= '9';
    if (begins ? !letter : !letter && !digit && *at != '.') return false;
  }
  return !begins;
}

static void check(struct bx_slice answer, const char *name, size_t len) {
  struct bx_buffer called = {0};
  host_check_answers(answer);
  MUST(bx_slice_starts(answer, BX_LIT("HTTP/1.1 ")));
  if (!bx_slice_starts(answer, BX_LIT("HTTP/1.1 200 "))) {
    bx_buffer_fini(&called);
    return;
  }
  MUST(len == 0 || is_name(name, name + len));
  bx_buffer_lit(&called, "\r\n\r\n/**/");
  bx_buffer_slice(&called, len ? (struct bx_slice){name, len} : BX_LIT("jsonpcallback"));
  bx_buffer_char(&called, '(');
  MUST(memmem(answer.at, answer.len, called.at, called.len));
  bx_buffer_fini(&called);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0 || size > 4000) return 0;
  const char *at = (const char *)data, *end = at + size, *line = memchr(at, '\n', size);
  if (!line) return 0;
  struct bx_buffer text = {0}, message = {0}, answer = {0};
  host_world_open(false);
  bx_buffer_add(&message, line + 1, (size_t)(end - line - 1));
  bx_buffer_char(&message, '\0');
  message.len--;   // never without memory
  const char *id = message.len ? memmem(message.at, message.len, "CLIENTID", 8) : NULL;
  bx_buffer_lit(&text, "GET /bayeux?jsonp=");
  add_encoded(&text, at, line);
  bx_buffer_lit(&text, "&message=");
  add_encoded(&text, message.at, id ? id : message.at + message.len);
  if (id) bx_buffer_slice(&text, host_client_id());
  if (id) add_encoded(&text, id + 8, message.at + message.len);
  bx_buffer_lit(&text, " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  int fd = host_dial(HOST_CLIENTS);
  host_send(fd, bx_buffer_view(&text));
  host_turns(4);
  host_receive(fd, &answer);
  if (answer.len) check(bx_buffer_view(&answer), at, (size_t)(line - at));
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&answer);
  bx_buffer_fini(&message);
  bx_buffer_fini(&text);
  return 0;
}
