// SPDX-License-Identifier: Apache-2.0
// Which Redis is the primary: a Sentinel is asked at each attempt, and nothing of its answer is kept
// for the next, since the primary changes exactly when links break. The next attempt asks the next
// Sentinel, unless the last one led to a link that came up: one that was cut off with an old primary
// would go on naming it.
//
// What a Sentinel says is checked like any Redis: an old primary that has become a replica is refused
// by the set-up, one that is cut off by its own min-replicas-to-write.
#include <stdio.h>
#include <stdlib.h>

#include "engine-redis/link/internal.h"

// AUTH goes ahead of the question if there is a password. A Sentinel may ask for none, and then says so
// with an error, which is not looked at: what counts is the answer to the question.
unsigned er_sentinel_ask(struct er_link *link) {
  struct bx_slice auth[3] = {BX_LIT("AUTH")};
  size_t n = 1;
  if (link->url.user) auth[n++] = bx_slice_of(link->url.user);
  if (link->url.password) {
    auth[n++] = bx_slice_of(link->url.password);
    er_socket_send(link->socket, auth, n, NULL, 0);
  }
  struct bx_slice ask[] = {BX_LIT("SENTINEL"), BX_LIT("get-master-addr-by-name"), bx_slice_of(link->url.primary)};
  er_socket_send(link->socket, ask, 3, NULL, 0);
  return link->url.password ? 2 : 1;
}

static bool same_place(const struct er_place *p, struct bx_slice host, unsigned long port) {
  return p->host && bx_slice_equal(bx_slice_of(p->host), host) && p->port == port;
}

void er_sentinel_answer(struct er_link *link, const struct er_reply *reply) {
  struct bx_slice host = er_reply_text(reply, 0);
  uint64_t port;
  if (link->awaited == 2) return;   // to AUTH
  if (er_reply_is_error(reply)) {
    er_link_fault(link, "sentinel: %.*s", (int)(reply->text.len < 200 ? reply->text.len : 200), reply->text.at);
  } else if (reply->type == ER_REPLY_NIL) {
    er_link_fault(link, "sentinel: %s:%u knows no \"%.100s\"", link->place->host, link->place->port, link->url.primary);
  } else if (host.len == 0 || host.len > 255 || !er_reply_u64(reply, 1, &port) || port == 0 || port > UINT16_MAX) {
    er_link_fault(link, "sentinel: %s:%u gave no address", link->place->host, link->place->port);
  } else if (!same_place(&link->primary, host, port)) {
    char text[400];
    bx_free(link->primary.host);
    link->primary.host = memcpy(bx_alloc(host.len + 1), host.at, host.len);
    link->primary.port = (uint16_t)port;
    snprintf(text, sizeof text, "%.100s is at %s:%u", link->url.primary, link->primary.host, link->primary.port);
    link->options.events->notice(link->options.context, "redis.primary", text);
  }
}

void er_sentinel_leave(struct er_link *link) {
  struct er_socket *socket = link->socket;
  link->socket = NULL;
  er_socket_close(socket);
  er_resolve_forget(link);
  link->place = &link->primary;
}
