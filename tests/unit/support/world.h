// SPDX-License-Identifier: Apache-2.0
// A Bayeux server on the memory engine with a virtual clock and connections that are only buffers:
// what a test of bayeux/ drives. Texts are written with ' for ".
#pragma once

#include "bayeux/memory_engine.h"
#include "bayeux/server.h"

// The last `conf` seen of a session: it never falls.
struct world_conf {
  char id[32];
  bx_position conf;
};
#define WORLD_CONFS 64

struct world {
  struct bx_server *server;
  bx_millis now;
  uint64_t seed;
  struct bx_mount mount;
  unsigned handshakes, subscribes, unsubscribes, disconnects;   // events
  char last_detail[256];
  unsigned lost;   // events, and why the last one
  char lost_why[64];
  bx_position base;
  bx_position ahead;         // where a session from elsewhere may stand above the head; 0: none may
  unsigned hold;             // 1 << kind: such engine requests wait until it is taken back
  enum bx_outcome verdict;   // other than BX_ACKNOWLEDGED: what requests get instead of being done
  struct world_conf confs[WORLD_CONFS];
};

// Where texts of a client arrive. Every operation asserts conf <= sent <= head of all sessions, and
// that no conf fell.
struct wire {
  struct bx_connection c;
  struct world *w;
  struct bx_buffer got;      // texts, one a line
  enum bx_arrival arrival;   // what ops->arrival answers
  bool stuck;                // a stream that takes no bytes
  bool open, answered, close_asked;
  bool woken;   // since it was drained: only those are, as a transport does it
  unsigned close_code;
};

struct bx_server_options world_options(void);
void world_init(struct world *, const struct bx_server_options *);
void world_fini(struct world *);              // asserts that nothing is left
void world_turn(struct world *);              // turns until nothing more follows; streams are drained in between
void world_pass(struct world *, bx_millis);   // time passes, deadline by deadline

// A stream. wire_close: lost without evidence; wire_echo: the peer echoed our close.
void wire_open(struct wire *, struct world *);
void wire_close(struct wire *);
void wire_echo(struct wire *);
// A stream of events; a turn has passed, so that `last_event` may be gone afterwards.
void events_open(struct wire *, struct world *, const char *id, const char *last_event);
// A poll: opened and sent in one. False: refused as not Bayeux.
bool poll_send(struct wire *, struct world *, const char *text, ...) BX_PRINTF(3, 4);
// The poll's exchange ends.
void poll_end(struct wire *, enum bx_arrival);
void poll_abort(struct wire *);
bool wire_send(struct wire *, const char *text, ...) BX_PRINTF(2, 3);
// The bytes as they are, on a stream or a poll that is open.
void poll_open(struct wire *, struct world *);
bool wire_bytes(struct wire *, struct bx_slice);

// What has arrived since the last look, with ' for "; valid until the next look.
const char *wire_take(struct wire *);
// What a ping would carry now; 0: nothing is unconfirmed.
bx_position wire_ping(struct wire *);
void wire_pong(struct wire *, bx_position);

// How often `piece` (with ') stands in what arrived and was not taken.
unsigned wire_count(struct wire *, const char *piece);

// One exchange over a poll that ends well: the answer with ' for "; valid until the next look.
const char *world_ask(struct world *, const char *text, ...) BX_PRINTF(2, 3);
// A connect that the answer waits for; the poll stays open.
void poll_connect(struct wire *, struct world *, const char *id, const char *message_id);
// A stream that is connected.
void stream_connect(struct wire *, struct world *, const char *id, const char *message_id);

// A session made over a poll that ended well. The id is copied to `id`.
void world_handshake(struct world *, char id[32]);
void world_subscribe(struct world *, const char *id, const char *pattern);
void world_unsubscribe(struct world *, const char *id, const char *pattern);
// From elsewhere; data is a number.
bx_position world_publish(struct world *, const char *channel, unsigned data);
struct bx_session *world_session(struct world *, const char *id);
