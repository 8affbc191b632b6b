// SPDX-License-Identifier: Apache-2.0
// Limits of single messages, as the first extension of the server: what is over them is refused
// before any verb sees it.
#pragma once

#include "bayeux/server.h"

struct bk_limits {
  struct bx_extension extension;
  uint64_t message;   // bytes of `data` and `ext` together, as sent
};

// Outlives the server.
void bk_limits_init(struct bk_limits *, uint64_t message);
