// SPDX-License-Identifier: Apache-2.0
// Connections that come through a trusted proxy: the PROXY header in front of their first byte is
// read here, before libwebsockets gets the socket; X-Forwarded-* per request.
//
// The header is looked at before it is taken, so that not a byte behind it is touched.
#include <errno.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/internal.h"

#define COMPLAIN_EVERY 1000   // ms

struct bk_greeting {
  uv_poll_t poll;
  struct bk_connection *connection;
  size_t len;
  char bytes[BK_PROXY_HEADER_MAX];
};

static void free_greeting(uv_handle_t *handle) {
  bx_free(bx_container_of((uv_poll_t *)handle, struct bk_greeting, poll));
}

static void end_greeting(struct bk_connection *c) {
  uv_close((uv_handle_t *)&c->greeting->poll, free_greeting);
  c->greeting = NULL;
}

// Takes `count` bytes that were seen. False: they are not there any more, which cannot be.
static bool take(struct bk_greeting *g, size_t count) {
  ssize_t got = recv(g->connection->fd, g->bytes + g->len, count, MSG_DONTWAIT);
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
  bk_connection_close_now(c);
}

static void on_greeting(uv_poll_t *poll, int status, int events) {
  struct bk_greeting *g = bx_container_of(poll, struct bk_greeting, poll);
  struct bk_connection *c = g->connection;
  (void)events;
  ssize_t seen = status < 0 ? 0 : recv(c->fd, g->bytes + g->len, sizeof g->bytes - g->len, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (seen <= 0) {   // gone without a word: a health check that only connects
    bk_connection_close_now(c);
    return;
  }
  long len = bk_proxy_header((struct bx_slice){g->bytes, g->len + (size_t)seen}, &c->hop);
  if (len < 0 || !take(g, len == 0 ? (size_t)seen : (size_t)len - g->len)) {
    refuse(c);
  } else if (len > 0) {
    end_greeting(c);
    c->forwarded = true;
    bk_connection_begin(c);
  }
}

void bk_greeting_await(struct bk_connection *c) {
  struct bk_greeting *g = bx_alloc(sizeof *g);
  g->connection = c;
  c->greeting = g;
  c->state = BK_CONNECTION_GREETING;
  BX_BUG_ON(uv_poll_init(&c->loop->uv, &g->poll, c->fd) != 0);
  uv_poll_start(&g->poll, UV_READABLE, on_greeting);
  bk_connection_timer(c, c->listener->header_time);
}

void bk_greeting_close(struct bk_connection *c) {
  end_greeting(c);
  close(c->fd);
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
  if (bk_head_get(fields, "x-forwarded-for", &header)) bk_peer_forwarded(&c->who, bx_buffer_view(&header), trusted);
  bx_buffer_clear(&header);
  if (bk_head_get(fields, "x-forwarded-proto", &header)) c->secure = says_https(bx_buffer_view(&header));
  bx_buffer_fini(&header);
  c->forwarded = true;
  bk_peer_text(&c->who, c->peer, sizeof c->peer);
}
