// SPDX-License-Identifier: Apache-2.0
// Channel names and patterns.
//
//   names      /a   /a/b   /a-b_c!d~e(f)g$h@i   /META/x
//   patterns   /*   /**   /a/*   /a/b/**           (a wildcard is a whole segment, and the last)
//   neither    a   /   /a/   //a   /a.b   /a/*/b   /a/***   /a*   /café   ""
//
// A segment is one or more of A-Z a-z 0-9 - _ ! ~ ( ) $ @. `/a/*` matches exactly one more
// segment, `/a/**` one or more, never `/a` itself.
//
// Matching is by equality of strings: the name /a/b is delivered to the subscribers of every key
// of its expansion, /** /a/** /a/* /a/b.
#pragma once

#include "bayeux/base.h"

enum bx_channel_kind {
  BX_CHANNEL_INVALID,
  BX_CHANNEL_NAME,
  BX_CHANNEL_PATTERN,
};

enum bx_channel_kind bx_channel_classify(struct bx_slice);

// Segments of a valid name or pattern: 2 for /a/b and for /a/*.
unsigned bx_channel_depth(struct bx_slice);

// The first segment is `meta` / `service` (also of the bare /meta, and of patterns below).
// Exact case. The slice must be a valid name or pattern.
bool bx_channel_is_meta(struct bx_slice);
bool bx_channel_is_service(struct bx_slice);

// True when `pattern` (a name or a pattern) covers `name`: all that `name` stands for, when it is a
// pattern itself (/a/** covers /a/* and /a/b/**; /a/* does not cover /a/**). Both valid. This is
// about spelling: /** covers /service/x, though bx_channel_expand() never gives it that key.
bool bx_channel_matches(struct bx_slice pattern, struct bx_slice name);

// The keys of a name: /**, then each /prefix/**, then /parent/*, then the name itself; depth + 2 of
// them. A /service name has one key only, itself: it never reaches wildcards. Patterns are spelled
// into `scratch`, which must hold bx_channel_scratch(name) bytes; keys borrow from it and from
// `name`. `keys` must hold depth + 2. Returns how many.
size_t bx_channel_expand(struct bx_slice name, struct bx_slice *keys, char *scratch);
size_t bx_channel_scratch(struct bx_slice name);
