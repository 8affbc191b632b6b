// SPDX-License-Identifier: Apache-2.0
// A session: one Bayeux client. It is a cursor into the journal and outlives its connections.
//
//            attach                      read to the head
//   AWAY ------------> READING <--------------------------> LIVE
//    ^                    |       outbox full, backfill       |
//    +--------------------+-----------------------------------+   detach (connection gone, poll answered)
//    any -------> CLOSING: unsubscribed, not found any more, freed by the turn's reap
//
// Positions. `cursor`: everything that matches up to here was put into the outbox or handed over;
// implicit (the journal's head) while LIVE. `conf`: known to have arrived. While nothing handed over
// is unconfirmed (`pending` false) conf is implicit too: all that was handed over has arrived.
// Invariants: conf <= cursor <= head; conf never falls, and the cursor falls only to conf.
//
// Evidence moves conf: bx_session_confirm_all() and the like. A connection that ends without it: bx_session_fall_back().
// Of a client that acknowledges (`acks`, CometD's ack extension) the number in its next connect is the only evidence,
// and a connection that ends leaves what it carried pending until that connect comes: bx_session_acknowledge().
#pragma once

#include "bayeux/counters.h"
#include "bayeux/engine.h"
#include "bayeux/journal.h"
#include "bayeux/outbox.h"
#include "bayeux/wheel.h"

struct bx_connection;
struct bx_server;
struct bx_reader;

enum bx_session_state { BX_SESSION_LIVE, BX_SESSION_READING, BX_SESSION_AWAY, BX_SESSION_CLOSING };
#define BX_SESSION_STATES 4

// Why a session ended.
// MOVED: it goes on elsewhere; nobody is told. KICKED: see control.h.
enum bx_end {
  BX_END_DISCONNECT,
  BX_END_EXPIRED,
  BX_END_LOST,
  BX_END_REFUSED,
  BX_END_SHUTDOWN,
  BX_END_MOVED,
  BX_END_KICKED,
};

// What is known of the last answer to a poll.
enum bx_arrival {
  BX_ARRIVAL_YES,       // the peer's TCP has it all
  BX_ARRIVAL_PENDING,   // the connection is open, some of it is not acknowledged yet
  BX_ARRIVAL_RESET,     // the peer's TCP had it all when the connection was reset
  BX_ARRIVAL_LOST,      // the connection ended with some of it not acknowledged
};

#define BX_RUN 16   // entries that are delivered together at most

// Entries of one channel, appended one after the other, which are delivered together, so that a session is visited once.
// In between a live session does not have what its position says, so nobody asks for it: see bx_engine_events.deliver.
struct bx_run {
  struct bx_frame *frames[BX_RUN];   // references: entries may be trimmed meanwhile
  uint32_t count;
  size_t bytes;
  const struct bx_entry
      *last;   // the newest of the journal, so it is held, and its topics are. With a `was` it is alone.
};

_Static_assert(BX_RUN <= BX_OUTBOX_FRAMES, "a run fits into an empty outbox");

struct bx_session {
  // The first cache line: what a message touches that is put into the outbox.
  struct bx_connection *connection;   // LIVE and READING: set; else NULL
  struct bx_outbox outbox;
  bx_position written;
  bx_position last_pushed;   // several patterns that match are one delivery
  enum bx_session_state state;
  bool pending;   // something handed over is not confirmed
  bool acks;      // the last connect carried a number: messages go in answers to connects only

  // The second one: what is touched besides when it is handed over.
  struct bx_server *server;
  bx_position cursor, conf;
  bx_position again;    // of what was handed over up to here a stream's client may have had a part
  bx_position passed;   // at the last rollback it had been served up to here: twins of that are skipped
  bx_position told;     // the number in the answer that came with, or behind, all that was handed over
  uint32_t handed;      // messages handed over
  uint32_t sequence;    // the number that the last of them had, on mounts that number them
  bool recorded;        // the engine holds its record

  struct bx_table_node node;   // key: id
  bool moved;                  // came from another node, which may have answered later than its record tells
  bool backfilled;             // some subscription has `upto` or `behind`
  bool ending;                 // its end is asked for
  bool lost;                   // what it has not read can not be had any more
  bool released;               // out of the table: its record is on its way to another node
  enum bx_end why;             // when CLOSING
  uint32_t pins;               // engine calls under way that name it
  uint32_t arrived;            // of what was handed over, messages known to have arrived
  uint32_t ping_handed;        // `handed` when the newest ping with a position went out
  bx_position ping_position;   // of that ping

  struct bx_list state_link;   // on the server's list of its state
  struct bx_list read_link;    // among the readers that wait for their slice
  struct bx_reader *reader;    // while READING
  struct bx_list subscriptions;
  uint32_t subscription_count;
  uint32_t asked;   // subscriptions that the engine is recording

  struct bx_connection *answered;   // the poll that carried the last answer, until it is settled
  enum bx_arrival settled;          // what came of it
  struct bx_timer weigh;            // armed while a new connect waits for what comes of it
  bool from_stream;                 // `answered` is a stream that was taken over, and is being closed
  bool reset;                       // the last answer that was judged was reset
  unsigned weighed;                 // looks taken

  uint64_t connect_id;   // hash of the id of the last answered connect
  bool has_connect_id, ids_vary;
  uint32_t superseded;   // connects superseded since `superseded_since`
  bx_millis superseded_since;

  struct bx_timer expiry;
  bx_millis life;   // 2 x the timeout of the mount of the last connect
  bx_millis created, last_connect;
  char *user;                   // whose it is, terminated; NULL: nobody's
  char *token;                  // the name of what opened it, terminated; NULL: nothing did
  void *tally;                  // of env.admit; NULL: none
  const char *transport;        // of the last connect, static text
  char address[64];             // of the peer at the handshake or last connect
  bool secure;                  // it came over TLS then
  uint64_t born;                // milliseconds since 1970, when its record tells; else 0
  uint32_t generation;          // raised by each change of owner
  struct bx_engine_mark mark;   // the engine's
  char id[];                    // terminated
};

_Static_assert(offsetof(struct bx_session, server) == BX_LINE && offsetof(struct bx_session, node) <= 2 * BX_LINE,
               "a delivery touches two lines of a session");

// What a delivery touches of it. NULL: nothing.
static inline void bx_session_fetch_ahead(const struct bx_session *s) {
  if (s != NULL) bx_fetch_ahead(s, offsetof(struct bx_session, node));
}

// Where the first eight of several frames stand. `s` itself is there already.
static inline void bx_session_fetch_outbox(const struct bx_session *s) {
  if (s != NULL && s->outbox.slots != NULL)
    bx_fetch_ahead(s->outbox.slots, BX_OUTBOX_FRAMES / 8 * sizeof *s->outbox.slots);
}

struct bx_session *bx_session_create(struct bx_server *, struct bx_slice id);
// Asks the engine for its end; it is closed when that is granted, or asked for again in a second.
void bx_session_ask_end(struct bx_server *, struct bx_session *, enum bx_end);
// Ends it here: leaves the index, answers and closes what is attached, is freed by the reap.
void bx_session_close(struct bx_server *, struct bx_session *, enum bx_end);
// Frees what is CLOSING and not pinned.
void bx_sessions_reap(struct bx_server *);

static inline struct bx_slice bx_session_id(const struct bx_session *s) { return s->node.key; }
void bx_session_set_user(struct bx_session *, struct bx_slice user);   // once; empty: nobody's
static inline struct bx_slice bx_session_user(const struct bx_session *s) {
  return s->user == NULL ? (struct bx_slice){0} : bx_slice_of(s->user);
}
void bx_session_set_token(struct bx_session *, struct bx_slice token);   // likewise
static inline struct bx_slice bx_session_token(const struct bx_session *s) {
  return s->token == NULL ? (struct bx_slice){0} : bx_slice_of(s->token);
}
const char *bx_session_state_name(enum bx_session_state);

// -- connections --------------------------------------------------------------------------------
// The pair that alone sets session->connection and connection->session.
void bx_session_attach(struct bx_server *, struct bx_session *, struct bx_connection *);
void bx_session_detach(struct bx_server *, struct bx_session *);   // the cursor becomes a number

// -- delivery -----------------------------------------------------------------------------------
// A live session gets an entry that matches, and that stood at `was` before a rollback (0: nowhere).
void bx_session_push(struct bx_server *, struct bx_session *, struct bx_frame *, bx_position was);
// It gets all of a run, of two frames or more, which all match, and that no other topic brings to it. False: there is
// something in its outbox, or it is too much for one; it has to be pushed one by one.
bool bx_session_push_all(struct bx_server *, struct bx_session *, const struct bx_run *);
// A reader gets an entry; false: its outbox is full.
bool bx_session_feed(struct bx_server *, struct bx_session *, const struct bx_entry *);
// Takes the oldest frame out of the outbox as handed over to the connection (the reference goes to
// the caller); NULL when it is empty.
struct bx_frame *bx_session_hand_over(struct bx_server *, struct bx_session *);
// The same for all of them at once, in one frame: bx_outbox_join(). NULL: they go one by one.
struct bx_frame *bx_session_hand_over_joined(struct bx_server *, struct bx_session *, size_t max);
// Bytes of the oldest frame; 0 when there is none.
size_t bx_session_next_bytes(const struct bx_session *);
void bx_session_set_state(struct bx_server *, struct bx_session *, enum bx_session_state);
// Reads on from where it stands by a new pass, with the subscriptions and the journal there are now.
void bx_session_read_again(struct bx_server *, struct bx_session *);

// -- positions ----------------------------------------------------------------------------------
bx_position bx_session_sent(const struct bx_server *, const struct bx_session *);
bx_position bx_session_conf(const struct bx_server *, const struct bx_session *);
// All that was handed over has arrived.
void bx_session_confirm_all(struct bx_server *, struct bx_session *);
// A ping that carried this position was answered.
void bx_session_confirm_ping(struct bx_server *, struct bx_session *, bx_position);
// The client, which has no connection, has everything up to this position, and nothing behind it. False: that cannot be.
bool bx_session_confirm_until(struct bx_server *, struct bx_session *, bx_position);
// What is not confirmed is to be sent again.
void bx_session_fall_back(struct bx_server *, struct bx_session *);
// The same for a stream. Its client may have any part of it, and tells when it comes back: what comes again
// is counted then, here.
void bx_session_lose_stream(struct bx_server *, struct bx_session *);
// Its stream has ended: the same, unless its client is going to say what it has.
void bx_session_part(struct bx_server *, struct bx_session *);
// The client has everything up to this position and nothing behind it, as the connect says that it sends now. A number
// below conf is an old one: conf stays. One above `sent` is believed of a client that comes from another node, which may
// have died before it wrote down what it had sent; the number then is where the session goes on.
void bx_session_acknowledge(struct bx_server *, struct bx_session *, bx_position);
// The number for an answer that goes out now: up to there nothing is missing for any subscription, nor for one that is
// being made. To be called when the last message of the answer was handed over.
bx_position bx_session_tell(struct bx_server *, struct bx_session *);

// It may still find something for its connection: an empty answer would be too early. Not so one that waits
// for the journal to get to where it stands, or for its end.
bool bx_session_is_catching_up(const struct bx_session *);

// -- subscriptions ------------------------------------------------------------------------------
struct bx_subscription *bx_session_find_subscription(const struct bx_session *, const struct bx_topic *);
// False: it was there already, with its own start, which it keeps. Entries of (start, head] follow.
bool bx_session_subscribe(struct bx_server *, struct bx_session *, struct bx_slice pattern, bx_position start);
// False: it was not there. Entries that nobody has been handed yet are dropped with it.
bool bx_session_unsubscribe(struct bx_server *, struct bx_session *, struct bx_slice pattern);
