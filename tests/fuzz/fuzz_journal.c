// SPDX-License-Identifier: Apache-2.0
// What the tail reads of the journal: entries and pages. See core_world.h.
#include "tests/fuzz/core_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  core_world_run(data, size, CORE_JOURNAL);
  return 0;
}
