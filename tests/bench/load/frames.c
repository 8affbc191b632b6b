// SPDX-License-Identifier: Apache-2.0
// Websocket frames and HTTP answers, as a client sees them.
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "tests/bench/load/conn.h"

void bn_path(char out[256], const char *path, uint32_t channel) {
  const char *place = strstr(path, "{channel}");
  if (place)
    snprintf(out, 256, "%.*s%06u%s", (int)(place - path), path, channel, place + strlen("{channel}"));
  else
    snprintf(out, 256, "%s", path);
}

void bn_upgrade_put(struct bx_buffer *out, const struct bn_conn *c) {
  char path[256];
  bn_path(path, c->target->path, c->channel);
  bx_buffer_printf(out,
                   "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                   path, c->target->authority);
}

// The mask is always the same: it costs a server what any mask costs.
void bn_frame_put(struct bx_buffer *out, unsigned opcode, struct bx_slice payload) {
  static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  unsigned char head[14] = {(unsigned char)(0x80 | opcode)};
  size_t len = 2;
  if (payload.len < 126) {
    head[1] = (unsigned char)(0x80 | payload.len);
  } else {
    BX_BUG_ON(payload.len > 65535);
    head[1] = 0x80 | 126;
    head[2] = (unsigned char)(payload.len >> 8);
    head[3] = (unsigned char)payload.len;
    len = 4;
  }
  memcpy(head + len, mask, 4);
  bx_buffer_add(out, head, len + 4);
  bx_buffer_reserve(out, payload.len);
  for (size_t i = 0; i < payload.len; i++) out->at[out->len + i] = (char)(payload.at[i] ^ mask[i % 4]);
  out->len += payload.len;
}

static void hand_out(struct bn_conn *c, struct bx_slice text) {
  size_t stamps = c->net->taken_stamps = c->net->taken(c, text);
  if (c->state != BN_CLOSED && (c->role->talks || stamps == 0)) c->role->message(c, text);
}

// -- websocket -------------------------------------------------------------------------------------

static void on_data(struct bn_conn *c, bool last, struct bx_slice payload) {
  if (last && c->fragments.len == 0) {
    hand_out(c, payload);
    return;
  }
  bx_buffer_slice(&c->fragments, payload);
  if (!last) return;
  struct bx_buffer whole = c->fragments;
  c->fragments = (struct bx_buffer){0};
  hand_out(c, bx_buffer_view(&whole));
  bx_buffer_fini(&whole);
}

static void on_frame(struct bn_conn *c, unsigned char first, struct bx_slice payload) {
  unsigned opcode = first & 15;
  if (opcode < 8) {
    on_data(c, first & 0x80, payload);
  } else if (opcode == 9) {
    bn_frame_put(&c->out, 10, payload);
    c->net->pings++;
    if (bx_list_empty(&c->unsent)) bx_list_append(&c->net->unsent, &c->unsent);
  } else if (opcode == 8) {
    bn_conn_fail(c, "the server sent a close frame");
  }
}

// Length of the frame's header, 0 when it is not all there.
static size_t frame_header(const unsigned char *at, size_t len, uint64_t *payload) {
  if (len < 2) return 0;
  *payload = at[1] & 127;
  size_t more = *payload == 126 ? 2 : *payload == 127 ? 8 : 0;
  if (len < 2 + more) return 0;
  if (more) *payload = 0;
  for (size_t i = 0; i < more; i++) *payload = *payload << 8 | at[2 + i];
  return 2 + more;
}

static size_t parse_frames(struct bn_conn *c, char *at, size_t len) {
  size_t used = 0;
  while (c->state == BN_OPEN) {
    uint64_t payload;
    size_t header = frame_header((unsigned char *)at + used, len - used, &payload);
    if (header == 0 || len - used - header < payload) break;
    unsigned char first = (unsigned char)at[used];
    used += header + payload;
    on_frame(c, first, (struct bx_slice){at + used - payload, payload});
  }
  return used;
}

// -- HTTP ------------------------------------------------------------------------------------------

struct head {
  char *at;
  size_t len;   // 0: not all there
  unsigned status;
  long body;   // -1: chunked
};

static const char *field(const char *head, const char *name) {
  size_t len = strlen(name);
  for (const char *line = head; (line = strstr(line, "\r\n")) && line[2] != '\r';) {
    line += 2;
    if (strncasecmp(line, name, len) == 0 && line[len] == ':') return line + len + 1;
  }
  return NULL;
}

static struct head read_head(char *at, size_t len) {
  struct head h = {.at = at};
  char *end = memmem(at, len, "\r\n\r\n", 4);
  if (!end) return h;
  char kept = end[3];
  end[3] = '\0';
  const char *length = field(at, "content-length"), *encoding = field(at, "transfer-encoding");
  h.len = (size_t)(end - at) + 4;
  h.status = len > 12 ? (unsigned)strtoul(at + 9, NULL, 10) : 0;
  h.body = encoding && strcasestr(encoding, "chunked") ? -1 : length ? strtol(length, NULL, 10) : 0;
  end[3] = kept;
  return h;
}

// Moves the data of the chunks together. Returns the bytes used, 0 when the last chunk is not there.
static size_t join_chunks(char *at, size_t len, size_t *joined) {
  size_t used = 0;
  *joined = 0;
  for (;;) {
    char *line = memmem(at + used, len - used, "\r\n", 2);
    if (!line) return 0;
    size_t size = strtoul(at + used, NULL, 16), start = (size_t)(line - at) + 2;
    if (len - start < size + 2) return 0;
    used = start + size + 2;
    if (size == 0) return used;
    memmove(at + *joined, at + start, size);
    *joined += size;
  }
}

// Chunks are joined in a copy: a part of them may be seen again with more behind it.
static size_t on_chunked(struct bn_conn *c, const struct head *h, const char *at, size_t len) {
  struct bx_buffer copy = {0};
  size_t joined = 0;
  bx_buffer_add(&copy, at + h->len, len - h->len);
  bx_buffer_char(&copy, '\0');
  size_t used = join_chunks(copy.at, copy.len - 1, &joined);
  if (used) hand_out(c, (struct bx_slice){copy.at, joined});
  bx_buffer_fini(&copy);
  return used ? h->len + used : 0;
}

// What tells a held GET which message was the last one.
static void keep_place(struct bn_conn *c, const struct head *h) {
  static const char *const names[][2] = {{"last-modified", "If-Modified-Since"}, {"etag", "If-None-Match"}};
  size_t len = 0;
  h->at[h->len - 1] = '\0';
  c->id[0] = '\0';
  for (unsigned i = 0; i < 2; i++) {
    const char *value = field(h->at, names[i][0]);
    if (!value) continue;
    value += *value == ' ';
    int more = snprintf(c->id + len, sizeof c->id - len, "%s: %.*s\r\n", names[i][1], (int)strcspn(value, "\r"), value);
    BX_BUG_ON(more < 0 || len + (size_t)more >= sizeof c->id);
    len += (size_t)more;
  }
  h->at[h->len - 1] = '\n';
}

static size_t parse_answers(struct bn_conn *c, char *at, size_t len) {
  size_t used = 0;
  while (c->state == BN_OPEN && used < len) {
    struct head h = read_head(at + used, len - used);
    if (h.len == 0 || (h.body >= 0 && len - used - h.len < (size_t)h.body)) break;
    c->status = h.status;
    if (c->role->places) keep_place(c, &h);
    if (h.body < 0) {
      size_t chunked = on_chunked(c, &h, at + used, len - used);
      if (chunked == 0) break;
      used += chunked;
    } else {
      used += h.len + (size_t)h.body;
      hand_out(c, (struct bx_slice){at + used - h.body, (size_t)h.body});
    }
  }
  return used;
}

size_t bn_conn_parse(struct bn_conn *c, char *at, size_t len) {
  if (c->role->kind == BN_HTTP) return parse_answers(c, at, len);
  if (c->state != BN_UPGRADING) return parse_frames(c, at, len);
  struct head h = read_head(at, len);
  if (h.len == 0) return 0;
  if (h.status != 101) {
    bn_conn_fail(c, "the upgrade was refused");
    return len;
  }
  c->state = BN_OPEN;
  c->role->opened(c);
  return h.len + (c->state == BN_OPEN ? parse_frames(c, at + h.len, len - h.len) : 0);
}
