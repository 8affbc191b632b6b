// SPDX-License-Identifier: Apache-2.0
#include "broker/host/frames.h"

// The bytes that the header has in all, as far as its first two tell.
static unsigned head_size(const unsigned char *head) {
  unsigned n = head[1] & 0x7f;
  return 2 + (n == 126 ? 2 : n == 127 ? 8 : 0) + 4;
}

static bool good_start(const struct bk_frames *f) {
  unsigned opcode = f->head[0] & 15;
  bool final = f->head[0] & 0x80, control = opcode & 8;
  if (!(f->head[1] & 0x80)) return false;   // not masked
  if (f->head[0] & 0x30) return false;
  if ((f->head[0] & 0x40) && (!f->may_compress || control || opcode == BK_FRAME_CONTINUES)) return false;
  if (control) return opcode <= BK_FRAME_PONG && final && (f->head[1] & 0x7f) <= 125;
  if (opcode == BK_FRAME_CONTINUES) return f->message != 0;
  return opcode <= BK_FRAME_BINARY && f->message == 0;
}

static bool read_length(struct bk_frames *f) {
  unsigned n = f->head[1] & 0x7f, bytes = n == 126 ? 2 : n == 127 ? 8 : 0;
  f->left = bytes ? 0 : n;
  for (unsigned i = 0; i < bytes; i++) f->left = f->left << 8 | f->head[2 + i];
  memcpy(f->mask, f->head + 2 + bytes, 4);
  if (bytes == 2) return f->left >= 126;
  return bytes == 0 || (f->left >= 65536 && f->left >> 63 == 0);
}

// 1: the header is complete.
static int take_head(struct bk_frames *f, char **at, size_t *len) {
  while (*len > 0) {
    f->head[f->head_len++] = (unsigned char)*(*at)++;
    --*len;
    if (f->head_len == 2 && !good_start(f)) return 1002;
    if (f->head_len >= 2 && f->head_len == head_size(f->head)) return read_length(f) ? 1 : 1002;
  }
  return 0;
}

static void unmask(struct bk_frames *f, char *at, size_t len) {
  unsigned char mask[8];
  uint64_t word, mask_word;
  for (unsigned i = 0; i < 8; i++) mask[i] = f->mask[(f->phase + i) & 3];
  memcpy(&mask_word, mask, 8);
  size_t i = 0;
  for (; i + 8 <= len; i += 8) {
    memcpy(&word, at + i, 8);
    word ^= mask_word;
    memcpy(at + i, &word, 8);
  }
  for (; i < len; i++) at[i] ^= (char)mask[i & 7];
  f->phase = (uint8_t)((f->phase + len) & 3);
}

static void begin_payload(struct bk_frames *f, struct bk_frame_piece *p) {
  f->opcode = f->head[0] & 15;
  f->final = f->head[0] & 0x80;
  f->in_payload = true;
  f->head_len = 0;
  f->phase = 0;
  p->first = f->opcode != BK_FRAME_CONTINUES;
  if (f->opcode == BK_FRAME_TEXT || f->opcode == BK_FRAME_BINARY) {
    f->message = f->opcode;
    f->compressed = f->head[0] & 0x40;
  }
}

int bk_frames_next(struct bk_frames *f, char **at, size_t *len, struct bk_frame_piece *p) {
  *p = (struct bk_frame_piece){0};
  if (!f->in_payload) {
    int result = take_head(f, at, len);
    if (result != 1) return result;
    begin_payload(f, p);
  } else if (*len == 0) {
    return 0;
  }
  size_t n = *len < f->left ? *len : (size_t)f->left;
  bool control = f->opcode & 8;
  unmask(f, *at, n);
  f->left -= n;
  p->opcode = control ? f->opcode : f->message;
  p->compressed = !control && f->compressed;
  p->at = *at;
  p->len = n;
  p->left = f->left;
  p->frame_over = f->left == 0;
  p->message_over = p->frame_over && f->final;
  *at += n;
  *len -= n;
  if (p->frame_over) f->in_payload = false;
  if (p->message_over && !control) f->message = 0;
  return 1;
}

// -- payloads ----------------------------------------------------------------------------------

static bool begin_character(struct bk_utf8 *u, unsigned char c) {
  u->low = 0x80;
  u->high = 0xbf;
  if (c >= 0xc2 && c <= 0xdf) {
    u->need = 1;
  } else if (c >= 0xe0 && c <= 0xef) {
    u->need = 2;
    if (c == 0xe0) u->low = 0xa0;    // overlong
    if (c == 0xed) u->high = 0x9f;   // a surrogate
  } else if (c >= 0xf0 && c <= 0xf4) {
    u->need = 3;
    if (c == 0xf0) u->low = 0x90;
    if (c == 0xf4) u->high = 0x8f;   // above U+10FFFF
  } else {
    return false;
  }
  return true;
}

bool bk_utf8_feed(struct bk_utf8 *u, const char *at, size_t len) {
  const char *end = at + len;
  while (at < end) {
    uint64_t word;
    if (u->need == 0 && end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    unsigned char c = (unsigned char)*at++;
    if (u->need > 0) {
      if (c < u->low || c > u->high) return false;
      u->low = 0x80;
      u->high = 0xbf;
      u->need--;
    } else if (c >= 0x80 && !begin_character(u, c)) {
      return false;
    }
  }
  return true;
}

static bool may_be_sent(unsigned code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

unsigned bk_close_code(struct bx_slice payload, unsigned *fault) {
  struct bk_utf8 utf8 = {0};
  *fault = 0;
  if (payload.len == 0) return 1005;
  unsigned code = (unsigned char)payload.at[0] << 8;
  if (payload.len > 1) code |= (unsigned char)payload.at[1];
  if (payload.len < 2 || !may_be_sent(code))
    *fault = 1002;
  else if (!bk_utf8_feed(&utf8, payload.at + 2, payload.len - 2) || !bk_utf8_over(&utf8))
    *fault = 1007;
  return *fault ? 0 : code;
}
