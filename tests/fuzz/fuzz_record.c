// SPDX-License-Identifier: Apache-2.0
// What scripts answer: records, positions, refusals. See core_world.h.
#include "tests/fuzz/core_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  core_world_run(data, size, CORE_RECORD);
  return 0;
}
