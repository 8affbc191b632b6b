// SPDX-License-Identifier: Apache-2.0
#include "api-bridge/object_id.h"

#include <stdio.h>

void ab_object_ids_init(struct ab_object_ids *ids, const unsigned char random[8]) {
  memcpy(ids->process, random, sizeof ids->process);
  // The top bit stays clear: the counter of a young process does not wrap in its first second.
  ids->counter = (uint32_t)(random[5] & 0x7f) << 16 | (uint32_t)random[6] << 8 | random[7];
  ids->second = 0;
}

void ab_object_id_next(struct ab_object_ids *ids, uint64_t now, char out[AB_OBJECT_ID_LEN + 1]) {
  uint32_t second = (uint32_t)(now / 1000);
  if (second > ids->second) ids->second = second;
  // Counted past its six digits it would repeat or shrink inside a second: borrow from the next one.
  if (ids->counter > 0xffffff) {
    ids->counter = 0;
    ids->second++;
  }
  const unsigned char *p = ids->process;
  snprintf(out, AB_OBJECT_ID_LEN + 1, "%08x%02x%02x%02x%02x%02x%06x", ids->second, p[0], p[1], p[2], p[3], p[4],
           ids->counter++);
}
