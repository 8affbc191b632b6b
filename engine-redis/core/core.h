// SPDX-License-Identifier: Apache-2.0
// The engine on Redis, without Redis: replies, messages of other nodes and time come in, commands and
// what the server is to know go out. Pure, as bayeux/ is, so that a simulator can drive it.
//
// A node has two links. *Command*: scripts, answered in order. *Tail*: reads the journal and the
// node's inbox, and nothing else may wait behind it. With `wait` a third, *confirm*: asks whether replicas
// have what was appended. Whoever drives a core tells it when a link is
// up (er_core_up), what was answered (er_core_reply), and when a link ended (er_core_down); and calls
// er_core_tick() every ER_TICK ms. Everything the core tells the server (bayeux/engine.h) it tells
// from inside these calls and from the engine's turn.
//
// Rules: engine-protocol in docs/redis.md. Lifetime: the core is a struct bx_engine; the server that it
// is given to destroys it. A core of role `publisher` has no sessions: it appends and tails.
#pragma once

#include "bayeux/engine.h"
#include "bayeux/server.h"
#include "engine-redis/core/reply.h"

#define ER_TICK 200   // ms

enum er_which { ER_COMMAND, ER_TAIL, ER_CONFIRM };
#define ER_LINKS 3

struct er_core;

struct er_core_env {
  void *context;
  // A script by its name ("append"), or a plain command (upper case: "XREAD"). Borrowed for the call.
  // For scripts the namespace is args[0].
  void (*send)(void *context, enum er_which, const char *command, const struct bx_slice *args, size_t count);
  // The link is of no use any more: end it (er_core_down follows) and bring up another.
  void (*reset)(void *context, enum er_which, const char *why);
  // Something for the log: a stable id and a detail.
  void (*event)(void *context, const char *id, struct bx_slice detail);
};

struct er_core_options {
  struct bx_slice ns;        // namespace
  struct bx_slice node;      // new at each start of a process
  struct bx_slice role;      // "broker" or "publisher"
  struct bx_slice address;   // for the directory of nodes
  bx_millis command_timeout;
  bx_millis life;              // the longest of a session: so long nothing is reaped after a new epoch
  uint64_t journal_messages;   // the stream is kept at about twice as many
  unsigned wait;               // replicas that must have an entry before it is acknowledged; 0: no third link
};

// What the engine counts, beyond the server's counters.
#define ER_COUNTERS(X)                                                                                               \
  X(appends, COUNTER, "mora_engine_appends_total", "Script calls that carried publishes.")                           \
  X(ticks, COUNTER, "mora_engine_ticks_total", "Heartbeats that Redis answered.")                                    \
  X(hellos, COUNTER, "mora_engine_hellos_total", "Links that were set up.")                                          \
  X(epochs, COUNTER, "mora_engine_epochs_total", "Epochs begun while this node ran.")                                \
  X(fenced, COUNTER, "mora_engine_fenced_total", "Calls refused because a newer link of this node exists.")          \
  X(malformed, COUNTER, "mora_engine_malformed_total", "Entries, records and inbox messages that were skipped.")     \
  X(exports, COUNTER, "mora_engine_exports_total", "Exact positions written to records.")                            \
  X(asks, COUNTER, "mora_engine_asks_total", "Sessions asked for from other nodes.")                                 \
  X(calls, COUNTER, "mora_engine_calls_total", "Messages executed on other nodes.")                                  \
  X(claims, COUNTER, "mora_engine_claims_total", "Sessions claimed from nodes that did not answer.")                 \
  X(released, COUNTER, "mora_engine_released_total", "Sessions given to other nodes.")                               \
  X(reaped, COUNTER, "mora_engine_reaped_total", "Sessions whose deadline was past and that nobody ended.")          \
  X(unconfirmed, COUNTER, "mora_engine_unconfirmed_total", "Publishes answered unknown for want of replicas.")       \
  X(recovered, COUNTER, "mora_engine_recovered_total", "Entries of this node lost with a Redis and appended again.") \
  X(not_recovered, COUNTER, "mora_engine_not_recovered_total", "Entries lost with a Redis and not appended again.")

struct er_counters {
#define X(field, kind, name, help) uint64_t field;
  ER_COUNTERS(X)
#undef X
};

struct er_core *er_core_create(const struct er_core_env *, const struct er_core_options *, bx_millis now);
struct bx_engine *er_core_engine(struct er_core *);
const struct er_counters *er_core_counters(const struct er_core *);

void er_core_up(struct er_core *, enum er_which, struct bx_slice run_id, bx_millis now);
void er_core_reply(struct er_core *, enum er_which, const struct er_reply *, bx_millis now);
void er_core_down(struct er_core *, enum er_which, bx_millis now);
void er_core_tick(struct er_core *, bx_millis now);
// Between ticks it may have something that does not wait so long: er_core_wake() at the time that
// er_core_due() tells after each reply and each wake; BX_NEVER: nothing.
bx_millis er_core_due(const struct er_core *);
void er_core_wake(struct er_core *, bx_millis now);

// Writes where every session stands, and takes leave of the other nodes. Call after the last
// connection is gone; er_core_has_left() tells when it is done, or has been tried for as long as others
// wait for its heartbeat.
void er_core_leave(struct er_core *, bx_millis now);
bool er_core_has_left(const struct er_core *);

// Where a session that its record calls live would go on if this node died now.
bx_position er_core_mark(struct er_core *);

// The directory of nodes as of the last er_core_ask_nodes(): what `nodes` answered, or NULL.
struct er_node_info {
  struct bx_slice node, role, address;
  uint64_t head, mark, sessions, age;
};
void er_core_ask_nodes(struct er_core *, void (*done)(void *context, const struct er_node_info *, size_t count),
                       void *context);

// A session as its record tells it, wherever it lives: acknowledged with what it says, no session, or
// refused: Redis cannot be asked. `done` comes once, perhaps from inside the call; the info is borrowed.
struct er_session_info {
  struct bx_slice node;    // its owner
  struct bx_slice user;    // whose it is; empty: nobody's
  struct bx_slice token;   // the name of what opened it; empty: nothing did
  bool alive;              // the owner has a heartbeat
  bool live;               // then sent and conf are those that the last heartbeat vouches for
  uint64_t generation, sent, conf, created, deadline;   // times: ms since 1970
  struct er_session_subscription {
    struct bx_slice pattern;
    bx_position start;
  } * subscriptions;
  size_t subscription_count;
};
void er_core_ask_session(struct er_core *, struct bx_slice id,
                         void (*done)(void *context, enum bx_outcome, const struct er_session_info *), void *context);

// Life-cycle events for a webhook: what is next to be told, if this node is the one that tells. `term` is
// of the last answer (0: none); with it go the last entry that was told (empty: none since) and `of`, as
// answered plus the entries told. The lease holds for `lease` ms from the call on, and each call renews it.
struct er_event {
  struct bx_slice entry;   // id of the stream: "<ms>-<n>"
  struct bx_slice kind, id, user;
  struct bx_slice detail;   // of a disconnect the reason, else the channel
};
struct er_telling {
  bx_millis lease;
  uint64_t term, of;
  struct bx_slice told;
  uint64_t limit;   // events; 0: the lease is renewed
};
struct er_told {
  uint64_t term, of;
  uint64_t missed;   // events that the stream has dropped untold; `of` has them in it
  const struct er_event *events;
  size_t count;
};
// `done` comes once, perhaps from inside the call; NULL: another tells, or Redis does not answer. What it
// is given lives as long as that call.
void er_core_tell_events(struct er_core *, const struct er_telling *,
                         void (*done)(void *context, const struct er_told *), void *context);

// A question to all other brokers, and what each answers: the text that its function of
// er_core_on_survey() appended, or `missing` after a second. NULL: Redis does not answer, nobody was
// asked. Reports live as long as the call of `done`,
// which comes once, from inside when Redis is away.
struct er_report {
  struct bx_slice node, text;
  bool missing;
};
void er_core_survey(struct er_core *, struct bx_slice question,
                    void (*done)(void *context, const struct er_report *, size_t count), void *context);
// Nothing appended: no answer.
void er_core_on_survey(struct er_core *, void (*answer)(void *context, struct bx_slice question, struct bx_buffer *out),
                       void *context);
