// SPDX-License-Identifier: Apache-2.0
// The engine seam: where the journal and the session records live.
//
// All calls return at once. What they lead to - completions and appended entries - is told from
// inside turn() only, never from inside another call, and both engines keep to one order:
// a publish is appended, then delivered, then completed.
//
// Requests belong to the caller, who keeps them and what they point to until `done`, which comes
// exactly once, also when the engine is destroyed (refused, or unknown when it was on its way).
#pragma once

#include "bayeux/frame.h"

struct bx_engine;
struct bx_session;

enum bx_outcome {
  BX_ACKNOWLEDGED,   // done: a publish is in the journal at the position
  BX_REFUSED,        // not done, and it never will be
  BX_UNKNOWN,        // time ran out before it was known
  BX_NO_SESSION,     // the record that the request names does not exist
  BX_DENIED,         // create: what it was opened with is revoked. revoke: too many are
  BX_RELAYED,        // locate: the node that owns the session executed the messages; see `replies`
};

enum bx_request_kind {
  BX_REQUEST_PUBLISH,
  BX_REQUEST_CREATE,   // a session record; the handshake's reply waits for it
  BX_REQUEST_SUBSCRIBE,
  BX_REQUEST_UNSUBSCRIBE,
  BX_REQUEST_END,        // exactly one end of a session is acknowledged
  BX_REQUEST_KICK,       // the end of the session with this `id`, whoever owns it
  BX_REQUEST_MEMBERS,    // the sessions of a user, wherever they live (engines of several nodes)
  BX_REQUEST_REVOKE,     // an entry of the journal that tells every node, see `revoked`, `revoked_token`
  BX_REQUEST_PRESENCE,   // who is present on a channel (engines of several nodes)
  BX_REQUEST_LOCATE,     // a session that is not in this server's table (engines of several nodes)
};

// See bayeux/presence.h. All of it is borrowed.
struct bx_presence_list {
  uint64_t users, sessions;   // in all
  struct bx_presence_member {
    struct bx_slice user;   // empty: nobody's sessions
    uint64_t sessions;      // 0: in its grace time
  } * members;
  size_t member_count;
  struct bx_presence_client {
    struct bx_slice id, user;
  } * clients;
  size_t client_count;
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

  // kick: `id` only. revoke, members: `id` is a user, or (of_token) the name of a token, which opens no session
  // for `lasting` ms after it is revoked.
  bool of_token;
  bx_millis lasting;

  // members, acknowledged: out, for the time of `done`, their ids. Not those that end, or are made, at that
  // moment; of very many some.
  struct bx_slice *members;
  size_t member_count;

  // presence: `id` is the channel. Acknowledged: out, for the time of `done`, the list, with at most `limit` members
  // and, if they are wanted, as many clients.
  size_t limit;
  bool with_clients;
  const struct bx_presence_list *present;

  // locate. A mover is a message that brings the session here (a connect); others are executed where
  // it lives. Acknowledged: it is in the table now, on its way through `adopt`.
  struct bx_slice id;
  bool mover;
  // Whoever asked is still there: a session is not taken from another node for a connection that has
  // gone. NULL: always.
  bool (*wanted)(const struct bx_request *);
  struct bx_slice text;      // its messages, as a JSON array
  struct bx_slice replies;   // out, for the time of `done`: a JSON array, one per message, in order
};

// A session as its record tells it: what moves between nodes.
struct bx_record {
  struct bx_slice id, user, token;
  uint32_t generation;
  bx_position conf, sent;
  uint64_t connect_id;   // of the last connect; has_connect_id false: there was none
  bool has_connect_id, ids_vary;
  bx_millis life, remaining;   // remaining: until it expires
  uint64_t created;            // milliseconds since 1970
  struct bx_record_subscription {
    struct bx_slice pattern;
    bx_position start, upto;
  } * subscriptions;
  size_t subscription_count;
};

// Messages that another node took for a session that lives here. The engine's, until done.
struct bx_remote_call {
  struct bx_slice text;                                             // a JSON array
  void (*done)(struct bx_remote_call *, struct bx_slice replies);   // exactly once
};

// What an engine keeps in each session: where it stands on the engine's lists.
struct bx_engine_mark {
  struct bx_list link, dirty_link, touched_link;
  uint64_t since;
  bool covered, dirty;
  bx_millis deadline_told;
  uint64_t pinged;          // engine's tick when the newest ping with a position was sent
  uint32_t asking;          // subscriptions whose record is on its way
  bx_position asked_from;   // the lowest start of them
};

// What an engine tells the server.
struct bx_engine_events {
  void *context;
  // The next entry of the journal, in order. Borrowed for the call.
  void (*appended)(void *context, bx_position, struct bx_slice channel, struct bx_frame *);
  // What was appended goes to its sessions: told behind entries, one or several, before any other event but `again` and
  // before any completion. Behind none it does nothing. NULL: of no interest.
  void (*deliver)(void *context);

  // Only from engines of several nodes:
  // The journal begins: nothing at or below `base` can be read here.
  void (*begin)(void *context, bx_position base);
  // The next entry that is appended stood at `was` before a rollback took it: sessions that had passed it
  // there do not get it again. NULL: of no interest.
  void (*again)(void *context, bx_position was);
  // The head goes on to this position without an entry.
  void (*jump)(void *context, bx_position);
  struct bx_session *(*find)(void *context, struct bx_slice id);   // in the table; NULL: not here
  // An entry says that what was allowed to this user before it does not count any more.
  void (*revoked)(void *context, struct bx_slice user);
  // An entry says that this token does not count any more.
  void (*revoked_token)(void *context, struct bx_slice token);
  // Positions [from, to] can not be had any more: sessions that had not read them are lost.
  void (*gap)(void *context, bx_position from, bx_position to);
  // A new epoch begins at `first`. Entries above `survived` are void; survived 0: so are all sessions.
  // Returns how many entries that were here are void.
  uint64_t (*epoch)(void *context, uint64_t epoch, bx_position first, bx_position survived);
  // A session that lives here now.
  struct bx_session *(*adopt)(void *context, const struct bx_record *);
  // A session is to live elsewhere: it lets go of its connection, weighs the evidence, leaves the
  // table and tells where it stands. It is freed by `forget`.
  void (*release)(void *context, struct bx_session *, struct bx_record *);
  // This node leaves, and its record is all that will be known of a session: what came of its last answer
  // counts now.
  void (*settle)(void *context, struct bx_session *);
  // It is not stale any more: polls may be answered.
  void (*resume)(void *context);
  // One that was released lives here again: nobody knows what became of its record.
  void (*restore)(void *context, struct bx_session *);
  // A session does not live here any more: gone without an event.
  void (*forget)(void *context, struct bx_session *);
  // Somebody else ended it: reason as in the stream of events ("expired", "kicked", ...).
  void (*ended)(void *context, struct bx_session *, struct bx_slice reason);
  void (*call)(void *context, struct bx_remote_call *);
  // Who subscribes to this channel is counted. NULL: nobody is.
  bool (*counts)(void *context, struct bx_slice channel);
  // So many messages of presence were appended for what this node did.
  void (*told)(void *context, uint64_t count);
};

struct bx_engine_ops {
  const char *name;
  // Hands over a request. May be called from `done`.
  void (*submit)(struct bx_engine *, struct bx_request *);
  // It knows of sessions that are not in this server's table.
  bool locates;
  // The session's deadline moved (a connect came): to be recorded in the engine's own time. NULL:
  // nothing is recorded.
  void (*touch)(struct bx_engine *, struct bx_session *);
  // What it stands for moved: it became live or stopped being it, something handed over is waiting for
  // evidence, or has got it (partly: up to the newest ping). NULL: of no interest.
  void (*changed)(struct bx_engine *, struct bx_session *, bool partly);
  // It is no more, here. NULL: of no interest.
  void (*gone)(struct bx_engine *, struct bx_session *);
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
  // Other nodes may have taken its sessions for lost: until it is sure of them, no poll is handed a
  // message. A stream is closed by those who know better, and its messages are confirmed by it alone.
  bool stale;
  bx_millis stale_from;   // from then on: others may have taken them
  uint64_t *frames;       // counts frames; the server's
  uint64_t tick;          // counted by engines that tick
  uint64_t epoch;         // one unbroken journal; answers of publishes carry it
  bx_position base;       // the position below the first of this epoch
};

// For engines: tells `deliver`.
static inline void bx_engine_deliver(const struct bx_engine *e) {
  if (e->events.deliver != NULL) e->events.deliver(e->events.context);
}
