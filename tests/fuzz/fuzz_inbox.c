// SPDX-License-Identifier: Apache-2.0
// What other nodes put into the inbox. See core_world.h.
#include "tests/fuzz/core_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  core_world_run(data, size, CORE_INBOX);
  return 0;
}
