// SPDX-License-Identifier: Apache-2.0
// Replies as hiredis reads them, built as trees of struct er_reply in memory of the reader's own.
//
// A tree is complete when hiredis hands it out; er_reader_clear() then takes all of it back. Bytes
// and items of one reply are limited, depth is by hiredis (7). A reply that nobody asked for is
// refused here: hiredis would end the process over it.
#pragma once

#include "engine-redis/core/reply.h"

struct redisAsyncContext;
struct er_chunk;

struct er_reader {
  struct redisAsyncContext *redis;
  struct er_chunk *chunks;   // newest first
  size_t taken, limit;
  const char *wrong;   // why it refused, NULL: it did not
};

// Makes `redis` read by it, which must not outlive it.
void er_reader_init(struct er_reader *, struct redisAsyncContext *redis, size_t limit);
void er_reader_clear(struct er_reader *);
void er_reader_fini(struct er_reader *);
