// SPDX-License-Identifier: Apache-2.0
// Message ids: 24 lower-case hex characters, made like a MongoDB ObjectId, as Gitter's clients
// expect them: seconds since 1970 (8), this process (10, random), a counter (6, random start).
//
// Ids of one process grow; of several, they grow by the second. Unique as long as one process makes
// fewer than 2^24 a second.
#pragma once

#include "bayeux/base.h"

enum { AB_OBJECT_ID_LEN = 24 };

struct ab_object_ids {
  unsigned char process[5];
  uint32_t counter;
  uint32_t second;   // of the newest id: a clock set back does not make ids shrink
};

// Random bytes come in, so that the ids of a test are known.
void ab_object_ids_init(struct ab_object_ids *, const unsigned char random[8]);

// The next id, terminated. `now` in milliseconds since 1970.
void ab_object_id_next(struct ab_object_ids *, uint64_t now, char out[AB_OBJECT_ID_LEN + 1]);
