// SPDX-License-Identifier: Apache-2.0
// Frames of a websocket: read in pieces as in one, and what was read, written again, is read as the
// same. UTF-8 by another decoder. The first byte says what was agreed on, and how the rest is cut.
#include "bayeux/buffer.h"
#include "broker/host/frames.h"

#define MUST(condition) BX_BUG_ON(!(condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// -- frames ------------------------------------------------------------------------------------

// What was read, as one text that does not depend on how the bytes were cut; and the whole frames as a
// client would send them, with a mask of its own.
struct notes {
  struct bx_buffer text, frames, payload;
  bool fragment;   // of a message: another went before it
};

static void fini(struct notes *n) {
  bx_buffer_fini(&n->text);
  bx_buffer_fini(&n->frames);
  bx_buffer_fini(&n->payload);
}

static void write_frame(struct notes *n, const struct bk_frame_piece *p) {
  bool control = p->opcode & 8;
  size_t len = n->payload.len;
  bool begins = control || !n->fragment;
  bx_buffer_char(&n->frames, (char)((p->message_over ? 0x80 : 0) | (begins && p->compressed ? 0x40 : 0) |
                                    (begins ? p->opcode : BK_FRAME_CONTINUES)));
  unsigned bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;
  bx_buffer_char(&n->frames, (char)(0x80 | (bytes == 0 ? len : bytes == 2 ? 126 : 127)));
  for (unsigned i = bytes; i > 0; i--) bx_buffer_char(&n->frames, (char)((uint64_t)len >> (8 * (i - 1))));
  bx_buffer_add(&n->frames, "\1\2\3\4", 4);
  for (size_t i = 0; i < len; i++) bx_buffer_char(&n->frames, (char)(n->payload.at[i] ^ (i % 4 + 1)));
  bx_buffer_clear(&n->payload);
  if (!control) n->fragment = !p->message_over;
}

static void note(struct notes *n, const struct bk_frame_piece *p) {
  if (p->first) bx_buffer_printf(&n->text, "<%u%s>", p->opcode, p->compressed ? "c" : "");
  if (p->len > 0) {
    bx_buffer_add(&n->text, p->at, p->len);
    bx_buffer_add(&n->payload, p->at, p->len);
  }
  MUST(p->frame_over == (p->left == 0) && (!p->message_over || p->frame_over));
  if (p->frame_over) {
    bx_buffer_lit(&n->text, "|");
    write_frame(n, p);
  }
  if (p->message_over) bx_buffer_lit(&n->text, ";");
}

static void read_all(struct bx_slice bytes, bool compress, size_t step, struct notes *n) {
  struct bk_frames f = {.may_compress = compress};
  struct bx_buffer copy = {0};
  int result = 0;
  bx_buffer_slice(&copy, bytes);
  for (size_t done = 0; done < copy.len && result == 0;) {
    size_t len = copy.len - done < step ? copy.len - done : step;
    char *at = copy.at + done;
    struct bk_frame_piece p;
    done += len;
    while ((result = bk_frames_next(&f, &at, &len, &p)) == 1) {
      MUST(p.len == 0 || (p.at >= copy.at && p.at + p.len + len == copy.at + done));
      MUST(!p.compressed || compress);
      note(n, &p);
    }
    MUST(result == 1002 || (result == 0 && len == 0));
  }
  if (result != 0) bx_buffer_lit(&n->text, "!");
  bx_buffer_fini(&copy);
}

static bool equal(const struct bx_buffer *a, const struct bx_buffer *b) {
  return bx_slice_equal(bx_buffer_view(a), bx_buffer_view(b));
}

static void frames(struct bx_slice bytes, bool compress, size_t step) {
  struct notes whole = {0}, pieces = {0}, again = {0};
  read_all(bytes, compress, bytes.len, &whole);
  read_all(bytes, compress, step, &pieces);
  MUST(equal(&whole.text, &pieces.text) && equal(&whole.frames, &pieces.frames));
  if (whole.frames.len > 0) {
    read_all(bx_buffer_view(&whole.frames), compress, step, &again);
    MUST(equal(&whole.frames, &again.frames));
    MUST(again.text.len <= whole.text.len && memcmp(whole.text.at, again.text.at, again.text.len) == 0);
  }
  fini(&whole);
  fini(&pieces);
  fini(&again);
}

// -- payloads ----------------------------------------------------------------------------------

// By the numbers, not by the bytes: the shortest form of a code point that is no surrogate.
static bool is_utf8(struct bx_slice s) {
  for (size_t i = 0; i < s.len;) {
    unsigned char c = (unsigned char)s.at[i++];
    unsigned more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : 4;
    uint32_t point = more == 0 ? c : c & (0x3fu >> more);
    if (more == 4 || s.len - i < more) return false;
    for (unsigned k = 0; k < more; k++) {
      c = (unsigned char)s.at[i++];
      if (c >> 6 != 2) return false;
      point = point << 6 | (c & 0x3f);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
  }
  return true;
}

static void utf8(struct bx_slice s, size_t step) {
  struct bk_utf8 whole = {0}, pieces = {0};
  bool good = bk_utf8_feed(&whole, s.at, s.len), good_pieces = true;
  for (size_t at = 0; at < s.len && good_pieces; at += step)
    good_pieces = bk_utf8_feed(&pieces, s.at + at, s.len - at < step ? s.len - at : step);
  MUST(good == good_pieces);
  if (good) MUST(bk_utf8_over(&whole) == bk_utf8_over(&pieces));
  MUST((good && bk_utf8_over(&whole)) == is_utf8(s));
}

static void close_code(struct bx_slice payload) {
  unsigned fault = 0, code = bk_close_code(payload, &fault);
  MUST((code == 0) == (fault != 0));
  MUST(fault == 0 || fault == 1002 || fault == 1007);
  MUST(code == 0 || (code == 1005) == (payload.len == 0));
  if (payload.len >= 2 && code) MUST(is_utf8((struct bx_slice){payload.at + 2, payload.len - 2}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  struct bx_slice rest = {(const char *)data + 1, size - 1};
  size_t step = 1 + (data[0] >> 3) % 17;
  switch (data[0] & 7) {
  case 0: utf8(rest, step); break;
  case 1: close_code(rest); break;
  default: frames(rest, data[0] & 4, step); break;
  }
  return 0;
}
