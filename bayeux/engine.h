// SPDX-License-Identifier: Apache-2.0
// The engine seam: where the journal and the session records live.
//
// All calls return at once. What they lead to - completions and appended entries - is told from
// inside turn() only, never from inside another call, so that both engines have the same order:
// a publish is appended (and delivered) before its own completion.
//
// Requests belong to the caller, who keeps them and what they point to until `done`, which comes
// exactly once, also when the engine is destroyed (as refused).
#pragma once

#include "bayeux/frame.h"

struct bx_engine;
struct bx_session;

enum bx_outcome {
  BX_ACKNOWLEDGED,   // done: a publish is in the journal at the position
  BX_REFUSED,        // not done, and it never will be
  BX_UNKNOWN,        // time ran out before it was known
  BX_NO_SESSION,     // the record that the request names does not exist
};

enum bx_request_kind {
  BX_REQUEST_PUBLISH,
  BX_REQUEST_CREATE,   // a session record; the handshake's reply waits for it
  BX_REQUEST_SUBSCRIBE,
  BX_REQUEST_UNSUBSCRIBE,
  BX_REQUEST_END,   // exactly one end of a session is acknowledged
};

struct bx_request {
  struct bx_list link;
  enum bx_request_kind kind;
  void (*done)(struct bx_request *, enum bx_outcome, bx_position);

  // publish
  struct bx_slice channel;
  struct bx_frame *frame;      // the engine takes its own reference if it needs one
  struct bx_slice publisher;   // session id, or empty; it must have a record
  struct bx_slice once;        // idempotency key, or empty
  bool repeated;               // out: answered from the key

  // records
  struct bx_session *session;
  struct bx_slice *patterns;   // subscribe, unsubscribe
  size_t pattern_count;
  bx_position start;   // subscribe

  enum { BX_REASON_DISCONNECT, BX_REASON_EXPIRED, BX_REASON_LOST } reason;   // end
};

// What an engine tells the server.
struct bx_engine_events {
  void *context;
  // The next entry of the journal, in order. Borrowed for the call.
  void (*appended)(void *context, bx_position, struct bx_slice channel, struct bx_frame *);
};

struct bx_engine_ops {
  const char *name;
  // Hands over a request. May be called from `done`.
  void (*submit)(struct bx_engine *, struct bx_request *);
  // The session's deadline moved (a connect came): to be recorded in the engine's own time.
  void (*touch)(struct bx_engine *, struct bx_session *);
  // Tells what happened. Called once a turn.
  void (*turn)(struct bx_engine *, bx_millis now);
  // True while a turn has something to tell without waiting for the outside.
  bool (*busy)(const struct bx_engine *);
  // NULL, or why publishes would be refused now.
  const char *(*not_ready)(const struct bx_engine *);
  void (*destroy)(struct bx_engine *);
};

struct bx_engine {
  const struct bx_engine_ops *ops;
  struct bx_engine_events events;   // set by the server before the first turn
  uint64_t epoch;                   // one unbroken journal; answers of publishes carry it
  bx_position base;                 // the position below the first of this epoch
};
