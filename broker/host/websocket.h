// SPDX-License-Identifier: Apache-2.0
// A websocket of the server side. Whole messages come in (fragments gathered, size limited, invalid
// UTF-8 closed with 1007); writes go straight to the socket.
//
// Lifetime: between `open` and `closed`. `closed` comes exactly once, also when the process stops,
// and even without an `open` before it when the connection breaks while the upgrade is answered.
// It never comes from inside a function of this header.
// After bk_websocket_close() no more messages come in; `closed` follows when the close handshake is
// over, or after 2 s, or when the connection breaks.
#pragma once

#include "bayeux/base.h"

struct bk_websocket;

// Bytes that must be free in front of what is given to bk_websocket_write().
#define BK_WEBSOCKET_HEADROOM 32

struct bk_websocket_ops {
  void (*open)(struct bk_websocket *, void *user);
  void (*message)(struct bk_websocket *, struct bx_slice);   // text or binary; borrowed
  void (*pong)(struct bk_websocket *, struct bx_slice payload);
  // The socket takes bytes again, after bk_websocket_want_writable().
  void (*writable)(struct bk_websocket *);
  // `echoed`: we began the close and the peer's echo arrived, so it has all that was written.
  void (*closed)(struct bk_websocket *, bool echoed);
  size_t max_message;   // bytes; more closes with 1009
};

void *bk_websocket_user(const struct bk_websocket *);
// Who asked for the upgrade; as bk_exchange_peer().
struct bx_slice bk_websocket_peer(const struct bk_websocket *);

// It will be written to soon: what that touches is fetched into the cache. NULL: nothing.
void bk_websocket_fetch_ahead(const struct bk_websocket *);

// True when a write would go to the kernel at once: nothing of an earlier write is left over.
bool bk_websocket_ready(const struct bk_websocket *);

// One text message in one write. `at` has BK_WEBSOCKET_HEADROOM bytes in front of it that this
// call overwrites with the frame's header; the same bytes may be written to many sockets. Only
// when ready. What the kernel does not take is copied and sent later; the socket is then not
// ready. False: the socket is broken; `closed` follows.
bool bk_websocket_write(struct bk_websocket *, char *at, size_t len);
// The same, with a ping of 1 to 125 bytes behind it: one write, unless the message is a long one.
bool bk_websocket_write_and_ping(struct bk_websocket *, char *at, size_t len, struct bx_slice payload);

// Nothing more is read from the peer, which then has to wait, until it is taken back; what was read meanwhile is
// kept. Pings and pongs of the peer wait, too, and that it has closed its side is seen later.
void bk_websocket_pause(struct bk_websocket *, bool paused);
bool bk_websocket_is_paused(const struct bk_websocket *);

void bk_websocket_want_writable(struct bk_websocket *);

// payload <= 125 bytes. Waits for its turn when the socket is not ready (the newest ping replaces
// one that still waits).
void bk_websocket_ping(struct bk_websocket *, struct bx_slice payload);

// Begins the close handshake, behind what was written. Idempotent.
void bk_websocket_close(struct bk_websocket *, unsigned code, const char *reason);

// Ends the TCP connection now, with a reset.
void bk_websocket_abort(struct bk_websocket *);
