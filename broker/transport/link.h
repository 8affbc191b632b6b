// SPDX-License-Identifier: Apache-2.0
// Inside of broker/transport: what a websocket and a poll have in common, and the calls between the
// files.
#pragma once

#include "broker/transport/transport.h"

// On the transport's list `woken` from wake until it is drained. What it takes to wake it is one cache line, where the
// link begins one.
struct bk_link {
  struct bk_transport *transport;
  struct bx_list woken;
  void (*drain)(struct bk_link *);
  struct bk_websocket *websocket;   // NULL: not one, or its upgrade is not complete
  struct bx_connection connection;
};

_Static_assert(offsetof(struct bk_link, connection.server) == BX_LINE, "waking touches one line of a link");

// Bytes in front of a link which its drain touches as well.
#define BK_LINK_FRONT BX_LINE

static inline struct bk_link *bk_link_of(struct bx_connection *c) {
  return bx_container_of(c, struct bk_link, connection);
}

void bk_link_init(struct bk_link *, const struct bk_endpoint *, const struct bx_connection_ops *,
                  enum bx_connection_kind, const char *transport, struct bx_slice address,
                  void (*drain)(struct bk_link *));
// The connection is over; everything was said to the server.
void bk_link_fini(struct bk_link *);
// For bx_connection_ops.wake; also to be drained for another reason.
void bk_link_wake(struct bx_connection *);

// -- cors.c: web pages of other sites ------------------------------------------------------------
enum { BK_ORIGIN_MAX = 512, BK_CORS_HEADERS = 3 };

// Reads the Origin into `origin` (empty: none). False: it is not allowed, or there is none and the browser
// says that a page asks which is not allowed; that was counted and logged, and is for the caller to answer.
bool bk_cors_admit(struct bk_endpoint *, const struct bk_exchange *, char origin[BK_ORIGIN_MAX]);
// The headers for a page that was admitted: how many were written; none without an origin.
size_t bk_cors_headers(const char *origin, struct bk_header *headers);
void bk_cors_preflight(struct bk_exchange *, const char *origin);

// -- mount.c: what is asked for below a mount -----------------------------------------------------
void bk_mount_handle(void *endpoint, struct bk_exchange *);
void bk_mount_refuse(struct bk_endpoint *, struct bk_exchange *);   // 400, counted
// What stands behind the last '/'.
static inline struct bx_slice bk_last_segment(struct bx_slice path) {
  const char *slash = memrchr(path.at, '/', path.len);
  return slash ? (struct bx_slice){slash + 1, path.len - (size_t)(slash + 1 - path.at)} : path;
}
// An answer in words.
void bk_answer_text(struct bk_exchange *, int status, struct bx_slice);

// -- script.c: Faye's browser client ----------------------------------------------------------------
// A path that ends in .js or .map. Answers it.
bool bk_script_is(struct bx_slice path);
void bk_script_serve(struct bk_endpoint *, struct bk_exchange *);

// -- polling.c, events.c, websocket.c ------------------------------------------------------------------
// By the content type of the body; by the query. `origin` of an admitted page, or empty.
void bk_poll_post(struct bk_endpoint *, struct bk_exchange *, const char *origin);
void bk_poll_callback(struct bk_endpoint *, struct bk_exchange *, const char *origin);
bool bk_events_wanted(const struct bk_exchange *);
void bk_events_open(struct bk_endpoint *, struct bk_exchange *, const char *origin);
const struct bk_websocket_ops *bk_socket_upgrade(void *endpoint, struct bk_exchange *, void **user);
struct bk_websocket_ops bk_socket_ops(size_t max_message);
