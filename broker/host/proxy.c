// SPDX-License-Identifier: Apache-2.0
// Connections that come through a trusted proxy: the PROXY header in front of their first byte is
// read here; X-Forwarded-* per request.
//
// The header is looked at before it is taken, so that not a byte behind it is touched.
#include <errno.h>
#include <strings.h>
#include <sys/socket.h>

#include "broker/host/internal.h"

#define COMPLAIN_EVERY 1000   // ms

struct bk_greeting {
  size_t len;
  char bytes[BK_PROXY_HEADER_MAX];
};

void bk_greeting_end(struct bk_connection *c) {
  bx_free(c->greeting);
  c->greeting = NULL;
}

// Takes `count` bytes that were seen. False: they are not there any more, which cannot be.
static bool take(struct bk_connection *c, size_t count) {
  struct bk_greeting *g = c->greeting;
  ssize_t got = recv(c->wire.watch.fd, g->bytes + g->len, count, MSG_DONTWAIT);
  if (got != (ssize_t)count) return false;
  g->len += count;
  return true;
}

static void refuse(struct bk_connection *c) {
  struct bk_listener *l = c->listener;
  bx_millis now = bk_loop_now(c->loop);
  char text[BK_PEER_TEXT];
  bk_host_counters.bad_proxy_headers++;
  if (now >= l->complain_from) {   // a proxy that is set up wrong does it with every connection
    bk_peer_text(&c->hop, text, sizeof text);
    bk_warn("proxy.bad_header", bk_s("listener", l->name), bk_s("peer", text));
    l->complain_from = now + COMPLAIN_EVERY;
  }
  c->failed = true;
}

void bk_greeting_ready(struct bk_connection *c) {
  struct bk_greeting *g = c->greeting;
  ssize_t seen = recv(c->wire.watch.fd, g->bytes + g->len, sizeof g->bytes - g->len, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (seen <= 0) {   // gone without a word: a health check that only connects
    c->failed = true;
    return;
  }
  long len = bk_proxy_header((struct bx_slice){g->bytes, g->len + (size_t)seen}, &c->hop);
  if (len < 0 || !take(c, len == 0 ? (size_t)seen : (size_t)len - g->len)) {
    refuse(c);
  } else if (len > 0) {
    bk_greeting_end(c);
    c->forwarded = c->named = true;
    bk_connection_begin(c);
  }
}

void bk_greeting_await(struct bk_connection *c) {
  c->greeting = bx_alloc(sizeof *c->greeting);
  c->state = BK_CONNECTION_GREETING;
  bk_connection_timer(c, c->listener->header_time);
}

// -- requests ----------------------------------------------------------------------------------

// The last word of X-Forwarded-Proto: what the nearest proxy saw.
static bool says_https(struct bx_slice header) {
  while (header.len > 0 && (header.at[header.len - 1] == ' ' || header.at[header.len - 1] == '\t')) header.len--;
  struct bx_slice word = BX_LIT("https");
  if (header.len < word.len || strncasecmp(header.at + header.len - word.len, word.at, word.len) != 0) return false;
  return header.len == word.len || strchr(", \t", header.at[header.len - word.len - 1]);
}

void bk_connection_identify(struct bk_connection *c) {
  const struct bk_proxies *trusted = c->listener->proxies;
  struct bx_slice fields = c->exchange->fields;
  struct bx_buffer header = {0};
  if (!trusted || !bk_proxies_have(trusted, &c->hop)) return;
  c->who = c->hop;
  c->secure = c->tls;
  c->named |= bk_head_get(fields, "x-forwarded-for", &header);
  if (header.len > 0) bk_peer_forwarded(&c->who, bx_buffer_view(&header), trusted);
  bx_buffer_clear(&header);
  if (bk_head_get(fields, "x-forwarded-proto", &header)) c->secure = says_https(bx_buffer_view(&header));
  bx_buffer_fini(&header);
  c->forwarded = true;
  bk_peer_text(&c->who, c->peer, sizeof c->peer);
}
