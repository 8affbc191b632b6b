// SPDX-License-Identifier: Apache-2.0
// What comes behind an upgrade on a whole broker. The first byte: raw bytes (low bit) or frames that
// the harness puts together; whether they come in one write with the upgrade; in which pieces.
// A frame is a line: a control byte, then the payload up to the line's end.
//   bits 0-3  opcode
//   0x10      not masked, which is a fault
//   0x20      the length in a longer form than it needs
//   0x40      a reserved bit is set
//   0x80      not final
#include "tests/fuzz/host_answers.h"
#include "tests/fuzz/host_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char upgrade[] = "GET /bayeux HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static void add_length(struct bx_buffer *out, size_t len, bool longer, unsigned mask) {
  unsigned bytes = len > 0xffff || (longer && len > 125) ? 8 : len > 125 || longer ? 2 : 0;
  bx_buffer_char(out, (char)(mask | (bytes == 8 ? 127 : bytes == 2 ? 126 : len)));
  for (unsigned i = bytes; i-- > 0;) bx_buffer_char(out, (char)((uint64_t)len >> (8 * i)));
}

static void add_frame(struct bx_buffer *out, unsigned control, struct bx_slice payload) {
  static const char key[4] = {0x37, (char)0xfa, 0x21, 0x3d};
  bool masked = !(control & 0x10);
  bx_buffer_char(out, (char)((control & 0x80 ? 0 : 0x80) | (control & 0x40) | (control & 15)));
  add_length(out, payload.len, control & 0x20, masked ? 0x80 : 0);
  if (masked) bx_buffer_add(out, key, sizeof key);
  for (size_t i = 0; i < payload.len; i++) bx_buffer_char(out, payload.at[i] ^ (masked ? key[i & 3] : 0));
}

// The id of the session has to be there before the payload is masked.
static void add_payload(struct bx_buffer *out, struct bx_slice line) {
  const char *at = memmem(line.at, line.len, "CLIENTID", 8);
  size_t before = at ? (size_t)(at - line.at) : line.len;
  bx_buffer_add(out, line.at, before);
  if (!at) return;
  bx_buffer_slice(out, host_client_id());
  bx_buffer_add(out, at + 8, line.len - before - 8);
}

static void add_frames(struct bx_buffer *out, const char *at, const char *end) {
  struct bx_buffer payload = {0};
  while (at < end) {
    unsigned control = (unsigned char)*at++;
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) stop = end;
    bx_buffer_clear(&payload);
    if (stop > at) add_payload(&payload, (struct bx_slice){at, (size_t)(stop - at)});
    add_frame(out, control, bx_buffer_view(&payload));
    at = stop < end ? stop + 1 : end;
  }
  bx_buffer_fini(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const size_t pieces[] = {0, 0, 1, 7};
  if (size == 0 || size > 70000) return 0;
  const char *at = (const char *)data, *end = at + size;
  struct bx_buffer out = {0}, answers = {0};
  unsigned how = data[0];
  size_t piece = pieces[(how >> 2) & 3];
  if (piece == 1 && size > 2000) piece = 7;
  host_world_open(false);
  int fd = host_dial(HOST_CLIENTS);
  bx_buffer_lit(&out, upgrade);
  if (!(how & 2)) {
    MUST(host_send(fd, bx_buffer_view(&out)));
    bx_buffer_clear(&out);
  }
  if (how & 1)
    bx_buffer_add(&out, at + 1, size - 1);
  else
    add_frames(&out, at + 1, end);
  host_send_text(fd, bx_buffer_view(&out), piece);
  host_turns(3);
  host_receive(fd, &answers);
  host_check_answers(bx_buffer_view(&answers));
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&answers);
  bx_buffer_fini(&out);
  return 0;
}
