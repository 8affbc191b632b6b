// SPDX-License-Identifier: Apache-2.0
// The Bayeux server: sessions, topics, the ring, and the verbs that act on them. Pure: bytes, times
// and random numbers come in, bytes and verdicts go out.
//
// A turn of the host: connections deliver texts (bx_connection_receive), then bx_server_turn() lets
// the engine tell what happened, delivers, reads forward, answers what is due, and frees what ended;
// then the transports drain what was woken. Between turns: bx_server_deadline() says when the next
// one is needed at the latest.
//
// Lifetime: the engine, the mounts, the extensions outlive the server; the server destroys the
// engine. At bx_server_destroy() no connection may be left.
#pragma once

#include "bayeux/access.h"
#include "bayeux/connection.h"
#include "bayeux/engine.h"
#include "bayeux/message.h"
#include "bayeux/presence.h"

// Things worth a line in a log or an entry in a stream of events.
enum bx_event {
  BX_EVENT_HANDSHAKE,
  BX_EVENT_SUBSCRIBE,     // detail: the pattern
  BX_EVENT_UNSUBSCRIBE,   // detail: the pattern
  BX_EVENT_DROP,          // the same, by the end of its session, which is told next
  BX_EVENT_DISCONNECT,    // detail: disconnect, expired, lost, shutdown
  BX_EVENT_LOST,          // what it missed is not given to it; detail: why. BX_EVENT_DISCONNECT follows
};

struct bx_env {
  void *context;
  void (*random)(void *context, void *bytes, size_t count);
  // The time between turns, not before the last turn's. NULL: it stands still there.
  bx_millis (*now)(void *context);
  // A handshake came from this address. NULL: the session may be made; what is put into *tally is given back
  // with leave() when that ends. Else the error that the handshake is refused with; static text. Both or none.
  const char *(*admit)(void *context, struct bx_slice address, void **tally);
  void (*leave)(void *context, void *tally);
  // NULL: nobody listens.
  void (*event)(void *context, enum bx_event, const struct bx_session *, struct bx_slice detail);
  // An entry was appended, and is not delivered yet: not the time to ask sessions where they stand. For those who watch
  // channels (tail). NULL: nobody does.
  void (*appended)(void *context, const struct bx_entry *);
};

struct bx_server_options {
  struct bx_message_limits message;
  struct bx_journal_limits journal;
  uint32_t max_sessions;
  uint32_t max_subscriptions;    // of one session
  uint32_t max_channel_length;   // bytes
  uint32_t max_channel_depth;    // segments, at most 64
  uint32_t max_outbox_bytes;     // of one session
  uint64_t max_lag;              // messages that a session may have missed when it begins to catch up; 0: any
  uint32_t handshake_rate;       // a second; how fast clients are told to come back when all are lost
  uint32_t max_replies_bytes;    // waiting for one stream that does not read
  uint32_t max_waiting_bytes;    // of one connection's texts that are not done; it is full beyond that
  uint64_t max_all_waiting;      // of all connections together; beyond it those with more than BX_WAITING_FREE are full
  uint32_t retry;                // ms after which clients whose session is gone shake hands; 0: 1 to 2 seconds
  bx_millis presence_grace;      // so long a user without a session stays present
  uint32_t presence_members;     // that the list in a reply names at most
  char pod;                      // the letter that session ids begin with; 0: none
};

// The pipeline that every message passes before its verb.
struct bx_incoming {
  struct bx_server *server;
  struct bx_connection *connection;
  const struct bx_message *message;
  struct bx_slice channel;      // decoded; empty when it is not a string
  struct bx_session *session;   // the one it names, if it is alive
};

struct bx_extension {
  struct bx_extension *next;
  // NULL: go on. Else the message is refused with this error ("403::Forbidden"); static text.
  const char *(*incoming)(struct bx_extension *, const struct bx_incoming *);
};

struct bx_server {
  struct bx_env env;
  struct bx_server_options options;
  struct bx_engine *engine;
  struct bx_extension *extensions;
  struct bx_access *access;       // NULL: everybody may do everything
  struct bx_presence *presence;   // NULL: nobody is counted, or the engine does it
  bx_millis now;
  struct bx_wheel wheel;
  struct bx_counters counters;
  struct bx_topics topics;
  struct bx_journal journal;
  struct bx_table sessions;
  struct bx_list states[BX_SESSION_STATES];
  bx_position lost_from, lost_to;   // between them lies what the last rollback took
  struct bx_list readers;           // sessions that wait for a slice
  struct bx_list due;               // held connects to be answered at the end of the turn
  struct bx_list ahead;             // readers whose cursor is above the head: they wait for it
  struct bx_list relays;            // connections of other nodes' messages, with replies ready
  struct bx_list connections;
  struct bx_list asking;   // what waits for `access`
  struct bx_outboxes outboxes;
  struct bx_run run;
  bool draining;
  bool undecided;   // nobody waits for a decision any more
  struct bx_timer last_decisions;
  bool losing_all;   // the journal is gone: clients are told to come back one by one
  struct bx_table_key secret;
};

struct bx_server *bx_server_create(const struct bx_env *, const struct bx_server_options *, struct bx_engine *,
                                   bx_millis now);
// `left` (may be NULL): the counters at the very end; sessions, frames, batches are 0 there.
void bx_server_destroy(struct bx_server *, struct bx_counters *left);
void bx_server_extend(struct bx_server *, struct bx_extension *);

// One turn. True: another one should follow at once.
bool bx_server_turn(struct bx_server *, bx_millis now);
// When a turn is needed at the latest; BX_NEVER: only when something arrives.
bx_millis bx_server_deadline(const struct bx_server *);

struct bx_session *bx_server_find_session(const struct bx_server *, struct bx_slice id);

// Draining: held connects are answered with an interval of 1-5 s, so are those that still come, and
// streams are closed with 1001. Who asked for a permission gets it, if it is decided within a second;
// what is not, and what is asked for afterwards, is unavailable. Sessions stay.
void bx_server_drain(struct bx_server *);

// In how many ms a client whose session is gone is advised to shake hands.
uint32_t bx_server_retry(struct bx_server *);
// A random number in [low, high].
uint32_t bx_server_uniform(struct bx_server *, uint32_t low, uint32_t high);

// -- publishing from elsewhere (the admin listener, a gateway) -------------------------------------
// The caller's, until done.
struct bx_outside_publish {
  struct bx_request request;   // `repeated` and the outcome are of interest afterwards
  struct bx_server *server;
  void (*done)(struct bx_outside_publish *, enum bx_outcome, bx_position);   // set before
};

// `data` is JSON text (copied); `once` an idempotency key, or empty. `channel` and `once` stay until
// done, which comes from a later turn. NULL: it was submitted. Else it was not, and the text says
// what is wrong with the channel ("Invalid channel").
const char *bx_server_publish(struct bx_server *, struct bx_outside_publish *, struct bx_slice channel,
                              struct bx_slice data, struct bx_slice once);
