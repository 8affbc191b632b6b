// SPDX-License-Identifier: Apache-2.0
// A connection as the protocol sees it: a websocket (a stream of texts both ways), one request of a
// polling transport (one text in, one answer out), or a stream of events (out only, for one session).
// The transport embeds this structure, and owns it: init when it opens, bx_connection_lost() when it
// is over, fini after that.
//
// In:  bx_connection_receive() takes a whole text. Its messages are a *batch*; their replies go out
//      together when all of them are done, a held connect excepted. While too much of what a stream
//      sent is not done, it is full: the transport reads nothing more from it. Whatever ends that wakes it.
// Out: the protocol calls ops->wake when something is ready; the transport drains at the end of the
//      turn, once, into as few writes as it can: bx_connection_gather() for a stream,
//      bx_connection_answer() for a poll.
//
// Order on a stream: replies that confirm a subscription, then messages, then the other replies. So
// a subscriber hears of its subscription before its first message, and a publisher gets its own
// message before the acknowledgement.
#pragma once

#include "bayeux/buffer.h"
#include "bayeux/session.h"

struct bx_connection;
struct bx_batch;

// Where clients connect: what its path's settings are. Lives as long as the server.
struct bx_mount {
  struct bx_slice path;
  bx_millis timeout;    // how long a connect is held at most
  bx_millis interval;   // advised between connects
  bool sequence;        // messages are numbered, for each session from 1 on: ext.c
};

struct bx_connection_ops {
  // Something is ready. Called once until the transport drained; must only take a note of it.
  void (*wake)(struct bx_connection *);
  // Stream: at the end of this turn, write what is ready, then close with the code. Only takes a
  // note, as wake does.
  void (*close)(struct bx_connection *, unsigned code, const char *reason);
  // Poll, events: what is known of what was written.
  enum bx_arrival (*arrival)(struct bx_connection *);
};

enum bx_connection_kind { BX_CONNECTION_STREAM, BX_CONNECTION_POLL, BX_CONNECTION_EVENTS };

// A connect message that waits for its answer.
struct bx_held_connect {
  bool held, due;
  struct bx_buffer id;   // as sent; empty: none
  bx_millis since;
  struct bx_timer timer;
  struct bx_list due_link;
};

struct bx_connection {
  // What each delivery touches stands together; first what it touches to wake it.
  const struct bx_connection_ops *ops;
  struct bx_session *session;   // attached; NULL otherwise
  uint32_t unsaid;              // batches with a new subscription that is not replied yet
  bool woken, closing, answered;
  bool sought;   // events: the session is attached now, or there is none, or nobody can say (closing)
  struct bx_server *server;
  const struct bx_mount *mount;
  struct bx_buffer before, after;   // replies, separated by commas: in front of and behind the messages
  uint32_t empty_replies;           // texts without messages: each is answered []
  enum bx_connection_kind kind;
  bool failed;   // poll: what it asked can not be answered; the transport fails the request (503), see answer

  struct bx_list link;          // all connections
  struct bx_session *receipt;   // poll, answered: whose answer it carried
  struct bx_list batches;
  size_t waiting;   // bytes that they take
  struct bx_held_connect connect;
  bx_millis known;              // when it last shook hands, named a session that lives, or published; 0: never
  const char *transport;        // "websocket", "long-polling", ...: static text
  struct bx_slice last_event;   // events, until the session was looked for; the transport's
  struct bx_slice address;      // of the peer; the transport's
  bool secure;                  // the peer's side is TLS; the transport sets it
  bool inside;    // no client's: carries messages that another node took, or that were made here (control.h)
  bool relayed;   // the former: sent on only after a session that moves meanwhile
};

// What it takes to wake it.
static inline void bx_connection_fetch_woken(const struct bx_connection *c) {
  bx_fetch_ahead(c, offsetof(struct bx_connection, server));
}

void bx_connection_init(struct bx_connection *, struct bx_server *, const struct bx_connection_ops *,
                        enum bx_connection_kind, const char *transport, const struct bx_mount *,
                        struct bx_slice address);
void bx_connection_fini(struct bx_connection *);

// False: not Bayeux. A stream has its error reply queued already; a poll is to be answered with 400
// by the transport, and nothing of the text was done. A poll of a client fails (see answer) instead of
// taking part in more than options.max_all_waiting.
bool bx_connection_receive(struct bx_connection *, struct bx_slice text) BX_MUST_CHECK;

// What one connection may have waiting whatever the others have, in bytes.
#define BX_WAITING_FREE 8192
// More than options.max_waiting_bytes wait for the engine, or for permission; or more than BX_WAITING_FREE,
// and of all connections together more than options.max_all_waiting.
bool bx_connection_is_full(const struct bx_connection *);

// A stream of events for the session with this id. `last_event`: the id of the last event that the
// client has, of this session; empty: it tells of none. Both stay until `sought`, which comes with a
// wake, perhaps before this returns.
void bx_connection_open_events(struct bx_connection *, struct bx_slice id, struct bx_slice last_event);
// The id of the event that was gathered last: all that was handed over so far.
void bx_connection_event_id(const struct bx_connection *, struct bx_buffer *out);

// What one write of a stream carries: either `frame` (of messages, to be written from
// bx_frame_array(), the reference is the caller's), or what was appended to `out`. False: nothing
// waits. More may wait than one write takes: call until false.
struct bx_gathered {
  struct bx_frame *frame;
};
#define BX_GATHER_BYTES 16384
bool bx_connection_gather(struct bx_connection *, struct bx_buffer *out, struct bx_gathered *);

// A poll's answer, appended to `out`; false: it is not due yet. Afterwards the connection is
// detached, and the transport says what came of it with bx_connection_settle(). If it is `failed` then,
// there is no answer: the client has to repeat its request as it was.
bool bx_connection_answer(struct bx_connection *, struct bx_buffer *out);
void bx_connection_settle(struct bx_connection *, enum bx_arrival);

// The connection is over. Nothing is known of what was handed to it and not confirmed.
// all_arrived: evidence that all of it arrived (the echo of a close that we began).
void bx_connection_lost(struct bx_connection *, bool all_arrived);

// Evidence from a stream. A ping: false = nothing is unconfirmed; else *position is what the ping
// has to carry, and a pong with it is to be reported.
bool bx_connection_ping_position(struct bx_connection *, bx_position *position);
void bx_connection_pong(struct bx_connection *, bx_position position);
