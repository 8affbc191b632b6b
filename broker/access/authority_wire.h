// SPDX-License-Identifier: Apache-2.0
// What is sent to the authority and what it answers: docs/authority.md. Pure.
#pragma once

#include "bayeux/access.h"
#include "bayeux/buffer.h"

// One question as a JSON object, appended; `channel` is empty for a handshake.
void bk_authority_write(struct bx_buffer *out, const struct bx_access_request *, struct bx_slice channel,
                        struct bx_slice address);

// One answer. Slices point into the text that was read, `user` into `decoded`.
struct bk_authority_answer {
  struct bx_access_answer access;   // verdict: allow, deny, or (not understood) unavailable
  enum { BK_CACHE_DEFAULT, BK_CACHE_NEVER, BK_CACHE_YES } cache;
  struct bx_buffer decoded, error;
};
void bk_authority_answer_fini(struct bk_authority_answer *);

// Reads {"answers": [...]}, of which there must be `count`: calls `take` for each, in order. False: it is not that, and
// `take` was not called. A single answer that is not understood is unavailable.
bool bk_authority_read(struct bx_slice text, size_t count,
                       void (*take)(void *context, size_t index, const struct bk_authority_answer *), void *context);
