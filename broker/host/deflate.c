// SPDX-License-Identifier: Apache-2.0
#include "broker/host/deflate.h"

#include <zlib.h>

#define WINDOW (-15)      // raw deflate, 32 KB
#define LEVEL 3           // of the text of messages it takes nearly what 6 does, in half the time
#define WORTH 128         // bytes of a message from which on it is tried
#define STEP (16 << 10)   // bytes of room that are made at once

static const unsigned char tail[4] = {0, 0, 0xff, 0xff};   // of a sync flush, left out on the wire

struct bk_deflate {
  z_stream out, in;
  struct bx_buffer message, compressed;   // the last one, and with headroom what became of it
  size_t headroom;
  bool smaller;
};

struct bk_deflate *bk_deflate_create(void) {
  struct bk_deflate *d = bx_alloc(sizeof *d);
  BX_BUG_ON(deflateInit2(&d->out, LEVEL, Z_DEFLATED, WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK);
  BX_BUG_ON(inflateInit2(&d->in, WINDOW) != Z_OK);
  return d;
}

void bk_deflate_destroy(struct bk_deflate *d) {
  if (!d) return;
  deflateEnd(&d->out);
  inflateEnd(&d->in);
  bx_buffer_fini(&d->message);
  bx_buffer_fini(&d->compressed);
  bx_free(d);
}

// -- out ---------------------------------------------------------------------------------------

static void compress_message(struct bk_deflate *d) {
  struct bx_buffer *to = &d->compressed;
  bx_buffer_clear(to);
  bx_buffer_reserve(to, d->headroom + d->message.len);
  to->len = d->headroom;
  deflateReset(&d->out);
  d->out.next_in = (unsigned char *)d->message.at;
  d->out.avail_in = (unsigned)d->message.len;
  d->out.next_out = (unsigned char *)to->at + d->headroom;
  d->out.avail_out = (unsigned)d->message.len;
  d->smaller = deflate(&d->out, Z_SYNC_FLUSH) == Z_OK && d->out.avail_in == 0 && d->out.avail_out > 0;
  if (d->smaller) to->len += d->message.len - d->out.avail_out - sizeof tail;
}

struct bx_slice bk_deflate_message(struct bk_deflate *d, struct bx_slice message, size_t headroom) {
  if (message.len < WORTH || message.len > UINT32_MAX) return (struct bx_slice){0};
  if (headroom != d->headroom || !bx_slice_equal(message, bx_buffer_view(&d->message))) {
    d->headroom = headroom;
    bx_buffer_clear(&d->message);
    bx_buffer_slice(&d->message, message);
    compress_message(d);
  }
  if (!d->smaller) return (struct bx_slice){0};
  return (struct bx_slice){d->compressed.at + headroom, d->compressed.len - headroom};
}

// -- in ----------------------------------------------------------------------------------------

static enum bk_inflated inflate_part(z_stream *z, const void *at, size_t len, size_t max, struct bx_buffer *out) {
  z->next_in = (unsigned char *)at;
  z->avail_in = (unsigned)len;
  for (;;) {
    size_t room = max + 1 - out->len < STEP ? max + 1 - out->len : STEP;
    bx_buffer_reserve(out, room + 1);
    z->next_out = (unsigned char *)out->at + out->len;
    z->avail_out = (unsigned)room;
    int result = inflate(z, Z_SYNC_FLUSH);
    out->len += room - z->avail_out;
    if (out->len > max) return BK_INFLATED_TOO_LARGE;
    if (result == Z_STREAM_END)   // a block that calls itself the last; others may follow
      inflateReset(z);
    else if (result != Z_OK && result != Z_BUF_ERROR)
      return BK_INFLATED_BROKEN;
    if (z->avail_in == 0 && z->avail_out > 0) return BK_INFLATED_GOOD;
  }
}

enum bk_inflated bk_inflate_message(struct bk_deflate *d, struct bx_slice message, size_t max, struct bx_buffer *out) {
  bx_buffer_clear(out);
  if (message.len > UINT32_MAX) return BK_INFLATED_TOO_LARGE;
  inflateReset(&d->in);
  enum bk_inflated result = inflate_part(&d->in, message.at, message.len, max, out);
  if (result != BK_INFLATED_GOOD) return result;
  // The tail ends an empty block. Where it becomes data, or something is still open, the message was
  // cut.
  size_t len = out->len;
  result = inflate_part(&d->in, tail, sizeof tail, max, out);
  bool between_blocks = (d->in.data_type & 128) != 0 && (d->in.data_type & 63) == 0;
  return result != BK_INFLATED_GOOD || !between_blocks || out->len != len ? BK_INFLATED_BROKEN : result;
}

// -- agreeing ----------------------------------------------------------------------------------

static struct bx_slice trim(struct bx_slice s) {
  while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t')) s = (struct bx_slice){s.at + 1, s.len - 1};
  while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t')) s.len--;
  return s;
}

// Takes what stands in front of `mark`, or all.
static struct bx_slice take(struct bx_slice *rest, char mark) {
  const char *end = rest->len > 0 ? memchr(rest->at, mark, rest->len) : NULL;
  struct bx_slice head = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
  size_t used = head.len + (end ? 1 : 0);
  *rest = (struct bx_slice){rest->at + used, rest->len - used};
  return trim(head);
}

static bool is_window(struct bx_slice bits) {
  if (bits.len > 2 && bits.at[0] == '"' && bits.at[bits.len - 1] == '"')
    bits = (struct bx_slice){bits.at + 1, bits.len - 2};
  if (bits.len == 1) return bits.at[0] == '8' || bits.at[0] == '9';
  return bits.len == 2 && bits.at[0] == '1' && bits.at[1] >= '0' && bits.at[1] <= '5';
}

// A parameter of an offer, each once: *seen has a bit for each.
static bool is_good(struct bx_slice parameter, unsigned *seen) {
  struct bx_slice value = parameter;
  bool has_value = memchr(parameter.at, '=', parameter.len) != NULL;
  struct bx_slice name = take(&value, '=');
  unsigned bit = bx_slice_equal(name, BX_LIT("server_no_context_takeover"))   ? 1
                 : bx_slice_equal(name, BX_LIT("client_no_context_takeover")) ? 2
                 : bx_slice_equal(name, BX_LIT("client_max_window_bits"))     ? 4
                                                                              : 0;
  if (bit == 0 || (*seen & bit) || (has_value && (bit != 4 || !is_window(trim(value))))) return false;
  *seen |= bit;
  return true;
}

bool bk_deflate_offered(struct bx_slice offers) {
  while (offers.len > 0) {
    struct bx_slice offer = take(&offers, ',');
    unsigned seen = 0;
    bool good = bx_slice_equal(take(&offer, ';'), BX_LIT("permessage-deflate"));
    while (good && offer.len > 0) good = is_good(take(&offer, ';'), &seen);
    if (good) return true;
  }
  return false;
}
