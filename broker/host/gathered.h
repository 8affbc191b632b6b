// SPDX-License-Identifier: Apache-2.0
// How much all connections of a process may hold together of what is not complete: bodies of requests
// whose rest has to come, and websocket messages in fragments. limits.body bounds each of them; without
// this thousands that stop in the middle would cost that much each.
//
// The first BK_GATHERED_FREE bytes of each connection do not count: what is small gets through whoever
// holds the rest. So at most `limit` and BK_GATHERED_FREE for each connection are held.
// Pure: numbers only. A budget outlives the listeners that it is given to.
#pragma once

#include "bayeux/base.h"

enum { BK_GATHERED_FREE = 8192 };   // bytes; a chat message is smaller

struct bk_gathered {
  uint64_t limit;     // bytes
  uint64_t used;      // of it
  uint64_t refused;   // times that it was not enough
};

// A connection whose part of `used` is *share wants to hold `held` bytes in all. False, and counted: they are
// too many, *share is as it was. What is less than before is given back.
bool bk_gathered_hold(struct bk_gathered *, size_t *share, size_t held) BX_MUST_CHECK;
void bk_gathered_release(struct bk_gathered *, size_t *share);
