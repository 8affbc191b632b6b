// SPDX-License-Identifier: Apache-2.0
// The engine of one process: positions are counted here, records are the sessions themselves, and
// the journal is the server's ring. Nothing survives the process; positions start at
// `seconds` x 1,000,000 so that those of an earlier run are old, never wrong.
#pragma once

#include "bayeux/engine.h"
#include "bayeux/table.h"

#define BX_ONCE_LIFE 300000     // milliseconds an idempotency key is kept
#define BX_MAX_REVOKED 100000   // tokens at a time

// seconds: since 1970. once_max: idempotency keys kept at most; the oldest go first.
struct bx_engine *bx_memory_engine_create(uint64_t seconds, size_t once_max, struct bx_table_key secret);
