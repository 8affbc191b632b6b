// SPDX-License-Identifier: Apache-2.0
// Bytes of a client on a listener of a whole broker. The first byte: which listener (low bit), whether
// the client half closes at the end, in which pieces the bytes come, whether a PROXY header is expected.
// The rest is sent as it is, so that a seed is a request that can be read. What comes back are answers that make sense.
#include "tests/fuzz/host_answers.h"
#include "tests/fuzz/host_world.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const size_t pieces[] = {0, 0, 0, 0, 1, 7, 100, 1000};
  if (size == 0 || size > 70000) return 0;
  struct bx_buffer answers = {0};
  unsigned how = data[0];
  size_t piece = pieces[(how >> 2) & 7];
  if (piece == 1 && size > 2000) piece = 7;
  host_world_open(how & 32);
  int fd = host_dial(how & 1 ? HOST_ADMIN : HOST_CLIENTS);
  host_send_text(fd, (struct bx_slice){(const char *)data + 1, size - 1}, piece);
  if (how & 2) shutdown(fd, SHUT_WR);
  host_turns(3);
  host_receive(fd, &answers);
  host_check_answers(bx_buffer_view(&answers));
  host_hang_up(fd);
  host_world_close();
  bx_buffer_fini(&answers);
  return 0;
}
