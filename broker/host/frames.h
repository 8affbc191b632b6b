// SPDX-License-Identifier: Apache-2.0
// Websocket frames from a client (RFC 6455, 5.2), read strictly: masked, known opcodes, no reserved
// bits, control frames whole and small, lengths in their shortest form, fragments in order.
//
// Pure: bytes in, pieces of payload out, unmasked in place. Memory does not depend on what is sent.
#pragma once

#include "bayeux/base.h"

enum {
  BK_FRAME_CONTINUES = 0,
  BK_FRAME_TEXT = 1,
  BK_FRAME_BINARY = 2,
  BK_FRAME_CLOSE = 8,
  BK_FRAME_PING = 9,
  BK_FRAME_PONG = 10
};

struct bk_frames {
  bool may_compress;   // the reserved bit of permessage-deflate was agreed on
  bool in_payload, final, compressed;
  uint8_t head_len, opcode;
  uint8_t message;   // kind of the message whose fragments are coming in; 0: none
  uint8_t phase;     // of the mask
  unsigned char head[14], mask[4];
  uint64_t left;   // of the frame's payload
};

struct bk_frame_piece {
  uint8_t opcode;   // TEXT or BINARY for every fragment of such a message
  bool compressed;
  bool first;          // first piece of its message or control frame
  bool frame_over;     // the frame ends with this piece
  bool message_over;   // and the message with it
  char *at;
  size_t len;
  uint64_t left;   // bytes of the frame that have to come
};

// Takes bytes off the front of *at. 1: a piece; 0: all bytes are used up, more have to come; 1002: no
// frame a client may send.
int bk_frames_next(struct bk_frames *, char **at, size_t *len, struct bk_frame_piece *);

// Is a run of bytes UTF-8, piece by piece? {0} begins.
struct bk_utf8 {
  uint8_t need, low, high;
};
bool bk_utf8_feed(struct bk_utf8 *, const char *at, size_t len);
static inline bool bk_utf8_over(const struct bk_utf8 *u) { return u->need == 0; }

// What a close frame holds: nothing, or a code that a peer may send and a reason in UTF-8. The code
// (1005: none), or 0 with *fault the code to close with.
unsigned bk_close_code(struct bx_slice payload, unsigned *fault);
