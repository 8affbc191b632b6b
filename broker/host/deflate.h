// SPDX-License-Identifier: Apache-2.0
// permessage-deflate (RFC 7692) without context takeover in either direction: every message stands
// alone. So one compressor and one decompressor serve all connections, an idle connection has
// neither, and a message that goes to many is compressed once.
//
// None of this knows of sockets: bytes in, bytes out.
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"

struct bk_deflate;

struct bk_deflate *bk_deflate_create(void);
void bk_deflate_destroy(struct bk_deflate *);

// The message compressed, with `headroom` free bytes in front of it that may be written to. len 0: it
// is too short for that to be worth it, or does not get smaller. Good until the next call, and made
// once when the same message is given again.
struct bx_slice bk_deflate_message(struct bk_deflate *, struct bx_slice, size_t headroom);

enum bk_inflated {
  BK_INFLATED_GOOD,
  BK_INFLATED_BROKEN,      // no deflate data, or it ends early
  BK_INFLATED_TOO_LARGE,   // more than `max` bytes: no more than those were made
};

// `out` is overwritten; one more byte behind its end may be written to.
enum bk_inflated bk_inflate_message(struct bk_deflate *, struct bx_slice, size_t max, struct bx_buffer *out);

// Does a client offer what is done here (Sec-WebSocket-Extensions)? An offer that asks for a smaller
// window, or for anything unknown, is passed over.
bool bk_deflate_offered(struct bx_slice offers);
// Our answer to it.
#define BK_DEFLATE_AGREED "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
