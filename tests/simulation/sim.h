// SPDX-License-Identifier: Apache-2.0
// A whole cluster in one program: nodes (bx_server and er_core each), one model Redis, links and
// connections that fail, and clients that keep books. No threads, no clock but the virtual one, one
// seed: the same seed is the same run, to the last byte.
//
// A *step* is one event of the queue: something arrives, a timer fires, a client acts, a fault strikes.
// After each the invariants that it can have touched are checked (check.c). The first one that does not
// hold ends the run: sim_fail().
//
// Memory: what a run makes with sim_new() lives until the run ends, so nothing here is freed early and
// events may name what is over.
#pragma once

#include <stdio.h>

#include "bayeux/server.h"
#include "engine-redis/core/core.h"
#include "tests/simulation/model.h"

typedef uint64_t sim_time;   // microseconds of the run
#define SIM_MS(n) ((sim_time)(n)*1000)
#define SIM_EPOCH 1700000000000000ull   // what Redis' clock says when the run begins

#define SIM_NODES 3
#define SIM_MADE 24   // nodes in a run, those that died included
#define SIM_CLIENTS 8
#define SIM_SESSIONS 512
#define SIM_PUBLISHES 4096
#define SIM_SUBS 16
#define SIM_INCIDENTS 64
#define SIM_APPENDED 8

#define SIM_TIMEOUT 5000             // ms a connect is held
#define SIM_LIFE (2 * SIM_TIMEOUT)   // of a session
#define SIM_COMMAND_TIMEOUT 2000
#define SIM_NS "m"

enum sim_break {
  SIM_WHOLE,
  SIM_BREAK_GENERATION,
  SIM_BREAK_MARK_FIRST,
  SIM_BREAK_LATE_START,
  SIM_BREAK_STAYS,
  SIM_BREAKS
};

// What may go wrong in a run.
enum {
  SIM_CUTS = 1 << 0,        // connections of clients
  SIM_DROPS = 1 << 1,       // links to Redis: down, slow, late execution
  SIM_STALLS = 1 << 2,      // nodes get no time
  SIM_CRASHES = 1 << 3,     // nodes are killed
  SIM_PAUSES = 1 << 4,      // Redis gets no time
  SIM_RESTARTS = 1 << 5,    // Redis restarts with its data
  SIM_ROLLBACKS = 1 << 6,   // a replica that was behind takes over
  SIM_FLUSHES = 1 << 7,     // FLUSHALL
  SIM_CLOCKS = 1 << 8,      // clocks jump
  SIM_DOUBLES = 1 << 9,     // clients poll two nodes at once
  SIM_LEAVES = 1 << 10,     // nodes are stopped as one stops them
  SIM_FULL = 1 << 11,       // Redis has no memory left
  SIM_TRIMS = 1 << 12,      // the journal is short: who lags finds a part of it gone
};

struct sim;
struct sim_node;
struct sim_client;
struct sim_session;
struct sim_wire;

typedef void sim_fire(struct sim *, void *what);

struct sim_event {
  sim_time at;
  uint64_t order;
  sim_fire *fire;
  void *what;
};

// -- Redis and its links (redis.c) ------------------------------------------------------------------

// A command on its way to Redis, then its reply on its way back.
struct sim_exchange {
  struct bx_list link;
  const char *name;
  struct bx_slice *args;
  size_t count;
  struct er_reply *reply;   // owned
  sim_time sent, at;
};

// One connection of a link: what was sent over it may be executed long after the node gave it up.
struct sim_connection {
  struct bx_list link;   // all that there were
  struct sim_node *node;
  enum er_which which;
  struct bx_list commands, replies;   // sim_exchange, in order
  sim_time last_there, last_here;
  sim_time frozen;          // nothing passes before
  sim_time blocked_until;   // a blocking read waits; 0: none
  bool ours;                // the node uses it
  bool dead;                // Redis does not know it any more
};

struct sim_link {
  struct sim_connection *connection;   // NULL: down
  unsigned attempts;
};

// The Redis server process and its data.
struct sim_server {
  struct sim_redis *model;
  bool down, paused;
  unsigned runs;
  int64_t clock_offset;   // microseconds
  struct sim_keys *replica;
  struct bx_list connections;
};

void sim_redis_start(struct sim *);
void sim_redis_stop(struct sim *);   // the end of the run
void sim_redis_pause(struct sim *, bool paused);
void sim_redis_crash(struct sim *, sim_time downtime, struct sim_keys *data);   // data NULL: all of it survives
void sim_redis_flush(struct sim *);
void sim_link_open(struct sim *, struct sim_node *, enum er_which);
void sim_link_send(struct sim *, struct sim_node *, enum er_which, const char *, const struct bx_slice *, size_t);
void sim_link_drop(struct sim *, struct sim_node *, enum er_which, const char *why);
void sim_link_forsake(struct sim *, struct sim_node *);
void sim_link_watch(struct sim *, struct sim_node *);
void sim_link_freeze(struct sim *, struct sim_node *, enum er_which, sim_time until);
struct sim_value *sim_key(struct sim *, const char *format, ...) BX_PRINTF(2, 3);
const char *sim_field(struct sim_value *, const char *name, char *out, size_t size);   // NULL: none
uint64_t sim_field_u64(struct sim_value *, const char *name);
uint64_t sim_text_u64(struct bx_slice);

// -- nodes (node.c) ---------------------------------------------------------------------------------

// Where a session stood in the memory of a node that is gone, or let go of it.
struct sim_ghost {
  bx_position conf;
  uint32_t generation;
};

struct sim_node {
  struct sim *sim;
  char name[16];
  unsigned slot;
  bool alive;
  struct bx_server *server;
  struct er_core *core;
  struct bx_engine_ops ops;   // the core's, or broken ones
  struct bx_extension probe;
  struct bx_mount mount;
  int64_t clock_offset;   // ms
  bx_millis last_now;
  sim_time stalled;           // no time before
  sim_time turn_at;           // the next turn that is on the queue; 0: none
  bool draining, departing;   // it leaves: its connections end; it takes leave of the others
  sim_time leave_by;
  struct sim_link links[ER_LINKS];
  unsigned number;                  // among all that were made
  struct bx_engine_events events;   // the server's, behind those that are listened to
  const struct bx_engine_ops *whole;
  struct bx_access guard;   // with --presence
};

void sim_node_start(struct sim *, unsigned slot);
void sim_node_crash(struct sim *, unsigned slot);
void sim_node_leave(struct sim *, unsigned slot);
void sim_node_stall(struct sim *, struct sim_node *, sim_time until);
void sim_node_destroy(struct sim_node *);
bx_millis sim_node_now(struct sim_node *);
void sim_node_woken(struct sim_node *);                       // something came: a turn is due
bool sim_node_defer(struct sim_node *, sim_fire *, void *);   // true: it has no time now, fires again later

// -- connections of clients (wire.c) ------------------------------------------------------------------

enum sim_parcel_kind { SIM_TEXT, SIM_PING, SIM_PONG, SIM_CLOSE, SIM_ECHO, SIM_END, SIM_ACK, SIM_RESET };

struct sim_parcel {
  struct bx_list link;
  enum sim_parcel_kind kind;
  struct bx_slice text;
  bx_position position;
  sim_time sent, at;
};

struct sim_wire {
  struct bx_connection c;
  struct sim_node *node;
  struct sim_client *client;
  struct bx_list to_node, to_client;   // parcels
  sim_time last_there, last_here;
  bool stream;
  bool there;       // the connection exists at the node
  bool over;        // it did, and does not any more
  bool answered;    // poll
  bool lost;        // no byte passes any more, and nobody is told
  bool abandoned;   // the client does not look at it any more
  bool had_it;      // the answer reached the client's TCP, and then it reset
  bool parting;     // the node leaves: the connection was not taken, or is closed with an echo to come
  bool woken, close_asked, close_sent;
  enum bx_arrival arrival;
  sim_time opened, last_ping;
};

struct sim_wire *sim_wire_open(struct sim_client *, struct sim_node *, bool stream);
void sim_wire_send(struct sim_wire *, const char *text, ...) BX_PRINTF(2, 3);   // with ' for "
enum sim_cut { SIM_CUT_RESET, SIM_CUT_SILENT };
void sim_wire_cut(struct sim_wire *, enum sim_cut);   // by the client, or the network between
void sim_wire_drain(struct sim_node *);
void sim_wire_ping(struct sim_node *);
void sim_wires_crash(struct sim_node *);

// -- the books (ledger.c) -----------------------------------------------------------------------------

struct sim_publish {
  uint32_t n;
  char channel[24];
  char once[24];
  unsigned open, acked, refused, unknown;   // attempts
  bx_position position;                     // where it is in the journal now; 0: nowhere
  unsigned appended;                        // times: again after a rollback
  bx_position positions[SIM_APPENDED];
  bool rolled_back;   // it was in the journal, and a rollback took it
  bool delivered;
  sim_time at;
};

struct sim_sub {
  char pattern[24];
  bool executed;   // by some node
  sim_time executed_at;
  bx_position least, most;   // heads at the times of the first and last execution before the acknowledgement
  bool acked;                // the client knows
  bool unsubscribing;
  bool murky;   // an unsubscribe of unknown outcome
};

struct sim_session {
  char id[40];
  struct sim_client *client;
  sim_time created;
  sim_time last_connect;    // sent, and answered
  sim_time since_connect;   // sent, the first without an answer; 0: none
  bool over;                // the client was told so, or asked for it
  bool told;                // 401
  bool disconnected, disconnect_asked;
  bool doubled;      // two connections at once
  bool fragile;      // its record is that of before a rollback, and its owner has not saved it again
  bool excused;      // what it misses is nobody's fault
  unsigned events;   // disconnects in ns:events
  sim_time ended;
  struct sim_sub subs[SIM_SUBS];
  unsigned sub_count;
  uint8_t received[SIM_PUBLISHES];
  sim_time received_at[SIM_PUBLISHES];
  bx_position last_in[8];   // channel -> position of the newest first delivery
  sim_time incidents[SIM_INCIDENTS];
  unsigned incident_count;
  // what the checks remember
  uint64_t deadline;                  // in the record
  bx_position loaded_sent;            // the highest of its adoptions
  uint64_t generation, highest;       // in the record; ever
  struct sim_ghost ghost[SIM_MADE];   // per node number
  bx_position stood;                  // from where it has to be read for, as any node had it last
  bx_position conf[SIM_MADE];         // per node number: as it was seen last in the copy there
};

struct sim_session *sim_session_find(struct sim *, struct bx_slice id);
struct sim_session *sim_session_new(struct sim_client *, struct bx_slice id);
struct sim_sub *sim_sub_of(struct sim_session *, struct bx_slice pattern);   // made if missing
struct sim_publish *sim_publish_new(struct sim *, const char *channel);
void sim_publish_told(struct sim *, struct sim_publish *, enum bx_outcome);
void sim_ledger_appended(struct sim *, bx_position, struct bx_slice text);
void sim_ledger_applied(struct sim_node *, const struct bx_entry *);
void sim_ledger_rolled_back(struct sim *, bx_position survived);
void sim_ledger_received(struct sim *, struct sim_session *, uint32_t n);
void sim_ledger_complete(struct sim *);   // at the end: everybody has everything
void sim_incident(struct sim *, struct sim_session *);
void sim_incident_all(struct sim *);
bool sim_matches(const char *pattern, const char *channel);

// -- clients (client.c) -------------------------------------------------------------------------------

enum sim_kind { SIM_POLLER, SIM_CONSTANT, SIM_SOCKET, SIM_KINDS };
enum sim_errand { SIM_IDLE, SIM_HANDSHAKE, SIM_SUBSCRIBE, SIM_UNSUBSCRIBE, SIM_PUBLISH, SIM_DISCONNECT };

struct sim_client {
  struct sim *sim;
  unsigned number;
  enum sim_kind kind;
  bool acks;          // it acknowledges: CometD's ack extension
  bx_position told;   // the number of the last answer that it has had
  struct sim_session *session;
  unsigned home;
  bool leaving, gone;
  // the connect loop
  struct sim_wire *wire, *second;
  uint32_t connect_id, second_id;
  bool connecting;       // a connect is without an answer
  bool repeat;           // it got none: the same id again
  sim_time connect_at;   // when the last was sent
  sim_time patience, errand_patience;
  unsigned roams;        // percent of connects that may go to another node
  sim_time not_before;   // advised
  // one other request at a time
  enum sim_errand errand;
  struct sim_wire *errand_wire;
  uint32_t errand_id;
  sim_time errand_at;
  char pattern[24];
  struct sim_publish *publish;
};

void sim_client_start(struct sim *, unsigned number);
void sim_client_text(struct sim_client *, struct sim_wire *, struct bx_slice text);
void sim_client_closed(struct sim_client *, struct sim_wire *);   // by the other side
void sim_client_cut(struct sim_client *, struct sim_wire *, enum sim_cut);
void sim_client_double(struct sim_client *);   // polls a second node at once
void sim_client_leave(struct sim_client *, bool politely);
void sim_publisher_act(struct sim *, void *);

// -- faults (fault.c) ---------------------------------------------------------------------------------

void sim_fault_start(struct sim *);
void sim_fault_heal(struct sim *);

// -- invariants (check.c) -----------------------------------------------------------------------------

// How a record stood before a command that names it.
struct sim_before {
  struct bx_slice id;   // empty: the command names none
  bool exists, owned;   // owned: at the (n, g) that the command names
  uint64_t deadline;
};

void sim_check_node(struct sim_node *);
void sim_check_records(struct sim *);
void sim_check_command(struct sim *, const struct sim_exchange *, const struct sim_before *);
void sim_check_before(struct sim *, const struct sim_exchange *, struct sim_before *);
void sim_check_poll(struct sim_node *, const struct bx_session *);
void sim_check_end(struct sim *);
void sim_check_gone(struct sim *);
void sim_watch_redis(struct sim *);
void sim_watch_restored(struct sim *);

// -- presence (presence.c): only with --presence, so that the other runs stay what they are -----------

#define SIM_PRESENCE_CHANNELS 4
#define SIM_PRESENCE_USERS 4

void sim_presence_guard(struct sim_node *);
bool sim_presence_appended(struct sim *, struct bx_slice channel, struct bx_slice text);   // false: another entry
bool sim_presence_applied(struct bx_slice text);
void sim_presence_restored(struct sim *);
void sim_presence_check(struct sim *);
void sim_presence_gone(struct sim *);

// -- breaks (break.c) ---------------------------------------------------------------------------------

void sim_break_scripts(struct sim *);
void sim_break_node(struct sim *, struct sim_node *);
// The tick's arguments as they are sent.
void sim_break_tick(struct sim_node *, struct bx_slice *args, char mark[24]);

// -- the run (sim.c) ----------------------------------------------------------------------------------

struct sim_totals {
  uint64_t steps, publishes, deliveries, repeats, sessions, moves, forced, released, epochs, lost, crashes, stalls,
      drops, restarts, rollbacks, flushes, pauses, late, refused, unknown, relayed, not_recovered, leaves, fulls, gaps,
      told;
};

struct sim {
  uint64_t seed, random;
  bool trace, presence;
  bool present[SIM_PRESENCE_CHANNELS][SIM_PRESENCE_USERS];   // as told in the journal
  enum sim_break broken;
  uint64_t max_steps;
  unsigned faults;
  uint64_t ring;   // journal.messages
  sim_time now;
  struct sim_event *heap;
  size_t heap_count, heap_cap;
  uint64_t order, step;
  struct bx_list arena;
  bool failed, stopped, calm, leaving;
  char invariant[16], message[512];
  struct sim_server redis;
  struct sim_node *nodes[SIM_NODES];
  unsigned node_count, nodes_made;
  struct sim_node *all_nodes[SIM_MADE];
  struct sim_client clients[SIM_CLIENTS];
  unsigned client_count;
  struct sim_session *sessions[SIM_SESSIONS];
  unsigned session_count;
  struct sim_publish publishes[SIM_PUBLISHES];
  uint32_t publish_count;
  // the journal as Redis had it
  bx_position journal_seen, journal_max;
  struct sim_id events_seen;
  unsigned rollbacks;   // of data: failovers and FLUSHALL
  sim_time last_rollback, last_trouble;
  struct sim_totals *totals;
};

bool sim_run(struct sim *);   // true: all held
void sim_at(struct sim *, sim_time, sim_fire *, void *);
static inline void sim_in(struct sim *s, sim_time delay, sim_fire *fire, void *what) {
  sim_at(s, s->now + delay, fire, what);
}
void *sim_new(struct sim *, size_t);
struct bx_slice sim_keep(struct sim *, struct bx_slice);
uint64_t sim_random(struct sim *);
uint64_t sim_uniform(struct sim *, uint64_t low, uint64_t high);   // both included
bool sim_chance(struct sim *, unsigned percent);
void sim_fail(struct sim *, const char *invariant, const char *format, ...) BX_PRINTF(3, 4);
void sim_trace(struct sim *, const char *format, ...) BX_PRINTF(2, 3);
#define SIM_TRACE(s, ...)                        \
  do {                                           \
    if ((s)->trace) sim_trace((s), __VA_ARGS__); \
  } while (0)
