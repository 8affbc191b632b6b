// SPDX-License-Identifier: Apache-2.0
// What the files of the core share.
#pragma once

#include "engine-redis/core/core.h"

#define ER_APPENDS 4            // calls in flight
#define ER_APPEND_ENTRIES 512   // entries of one call
#define ER_WAITING_COUNT 1000   // publishes that wait, at most
#define ER_WAITING_BYTES (4 << 20)
#define ER_HELD_COUNT 10000   // publishes that wait for replicas, at most
#define ER_HELD_BYTES (16 << 20)
#define ER_ACK_DELAY 50     // ms that an acknowledgement waits for the own tail
#define ER_ASK_TIME 300     // ms
#define ER_CALL_TIME 2000   // without a word from who was called
#define ER_BUSY_TIME 1000   // so often it says that it is not done yet
#define ER_SURVEY_TIME 1000
#define ER_ROUNDS 4
#define ER_HEARTBEAT 3000   // ms: as HEARTBEAT of keys.lua
#define ER_SETTLE 3000      // ms of a new epoch in which owners save their sessions again and nobody claims
#define ER_HOLD_TICKS 10    // 2 s: so long may an unconfirmed session hold the mark back
#define ER_MARK_LISTS 64    // ticks that are told apart

// A command whose answer is to come. The embedding structure is freed by `done`, which is called
// exactly once; reply NULL: the link ended first.
struct er_call {
  struct bx_list link;
  void (*done)(struct er_core *, struct er_call *, const struct er_reply *);
};

// The sessions whose oldest unconfirmed delivery (or whose end of being live) fell into one tick.
struct er_mark_list {
  struct bx_list sessions;
  bx_position head;   // of this node, when the tick began
  uint64_t tick;
};

enum er_tail_state { ER_TAIL_DOWN, ER_TAIL_WARMING, ER_TAIL_READING };

struct er_core {
  struct bx_engine engine;
  struct er_core_env env;
  struct er_core_options options;
  struct er_counters counters;
  bx_millis now;
  char *strings;   // what options' slices point into

  struct bx_list calls[ER_LINKS];   // er_call, in the order in which they were sent
  bool up[ER_LINKS];
  struct bx_buffer run;
  uint64_t incarnation;
  bool greeting;          // hello is on its way
  bool greeted;           // hello has answered on this command link
  uint64_t epoch;         // 0: none known yet
  bx_position survived;   // the last position of the epoch before it; 0: nothing of it is left
  bx_position hello_p;    // the journal's head as the last hello saw it
  int64_t clock;          // Redis' clock minus ours, ms
  bx_millis last_tick;    // answered
  bx_millis alive_at;     // when the newest heartbeat that was answered was sent; 0: none
  uint64_t recheck;       // stale: the message to itself that it waits for; 0: none was sent

  // publishing
  struct bx_list waiting, sent, unsure, held, told;   // struct er_publish
  size_t waiting_count, waiting_bytes;
  unsigned appends;    // calls in flight
  bx_millis ack_due;   // an acknowledgement waits no longer than that for the tail
  uint64_t sequence;
  uint64_t records_sent, records_answered;   // requests of records, which share the link with publishes

  // what replicas have (confirm.c)
  bx_position epoch_first;      // the first position of this epoch
  bx_position confirmed;        // so far the replicas are
  bx_position confirm_wanted;   // so far they are to be
  bool confirming;              // a pair is on its way
  size_t held_count, held_bytes;

  // what a rollback may take (recover.c)
  struct bx_list own, orphans;         // acknowledged entries of this node; those that are to be appended again
  size_t own_bytes;                    // of both
  struct er_origin *origins, *taken;   // of the newest entries, a ring; of those that were lost, by hash
  uint64_t origin_count;
  size_t taken_count, taken_left;
  bx_millis taken_until;

  struct bx_list requests;   // of records and locates, until the turn

  // tail
  enum er_tail_state tail;
  bx_position head;   // applied; 0: nothing yet
  bool warm, begun;
  char journal_at[48], inbox_at[48];   // ids of what was read last

  // sessions
  struct er_mark_list marks[ER_MARK_LISTS];
  uint64_t oldest_mark;   // tick
  struct bx_list dirty;   // sessions whose record is to be written at the next tick
  struct bx_list touched;
  bool ticking;
  bool settling;         // presence.c
  bool resave_due;       // a new epoch was learnt, and not all records are known to be written again
  uint64_t good_ticks;   // uninterrupted
  bx_millis epoch_since, last_reap;
  bx_position trimmed_at;
  struct bx_list locates;   // struct er_locate
  struct bx_list remotes;   // messages of other nodes that are executed here
  struct bx_list surveys;   // struct er_survey
  void (*answer_survey)(void *context, struct bx_slice question, struct bx_buffer *out);
  void *answer_context;
  uint64_t questions;
  bool leaving, departing, left;
  bx_millis leave_until;   // so long it tries to say where its sessions stand
};

static inline struct er_core *er_core_of(struct bx_engine *e) { return bx_container_of(e, struct er_core, engine); }
static inline struct bx_session *er_session_of_mark(struct bx_list *link) {
  return bx_container_of(link, struct bx_session, mark.link);
}

// -- commands (command.c) -------------------------------------------------------------------------
// Arguments of a command: added one by one, sent, freed.
struct er_arguments {
  struct bx_buffer bytes;
  size_t *ends;
  size_t count, cap;
};
void er_arguments_text(struct er_arguments *, struct bx_slice);
void er_arguments_u64(struct er_arguments *, uint64_t);
void er_arguments_connect_id(struct er_arguments *, bool known, uint64_t id);
// For a script the namespace goes in front. Frees the arguments.
void er_arguments_send(struct er_arguments *, const struct er_core_env *, enum er_which, const char *command,
                       struct bx_slice ns);
// The same, and takes the call.
void er_send(struct er_core *, enum er_which, const char *command, struct er_arguments *, struct er_call *);
// A call whose answer nobody needs.
void er_send_blind(struct er_core *, const char *command, struct er_arguments *);
static inline bool er_usable(const struct er_core *c) { return c->up[ER_COMMAND] && c->greeted; }
void er_event(struct er_core *, const char *id, const char *format, ...) BX_PRINTF(3, 4);
void er_malformed(struct er_core *, const char *what, struct bx_slice where);

// -- epochs (hello.c) -----------------------------------------------------------------------------
void er_hello(struct er_core *);
void er_fenced(struct er_core *, const char *why);   // a call was refused for its link
void er_learn_epoch(struct er_core *, uint64_t epoch, bx_position first, bx_position survived);

// -- publishing (append.c) ------------------------------------------------------------------------
void er_publish(struct er_core *, struct bx_request *);
void er_append_turn(struct er_core *);
void er_append_link_down(struct er_core *);
void er_append_saw(struct er_core *, uint64_t sequence, bx_position);   // an entry of ours on the tail
// The frame that was published as this entry of ours, if it came back as it went; NULL: it did not, or is not known.
struct bx_frame *er_append_frame(struct er_core *, uint64_t sequence, struct bx_slice channel, struct bx_slice text);
void er_append_tailed(struct er_core *);    // the tail moved
void er_append_greeted(struct er_core *);   // hello has answered on a new link
void er_append_tick(struct er_core *);
void er_append_refuse_all(struct er_core *);
bool er_append_busy(const struct er_core *);
// The arguments of an append in front of its entries, of which the first has this sequence.
void er_append_begin(struct er_core *, struct er_arguments *, uint64_t first);

void er_append_confirmed(struct er_core *);   // replicas have more, or a rollback took what they were waited for

// -- replicas (confirm.c) -------------------------------------------------------------------------
void er_confirm(struct er_core *);
void er_confirm_want(struct er_core *, bx_position);
void er_confirm_epoch(struct er_core *, bx_position first, bx_position survived);
bool er_confirmed(const struct er_core *, bx_position);
bool er_confirm_void(const struct er_core *, bx_position);

// -- after a rollback (recover.c) -----------------------------------------------------------------
void er_own_keep(struct er_core *, const struct bx_request *, uint64_t sequence, bx_position);
void er_origin_read(struct er_core *, struct bx_slice origin, bx_position);   // in front of an entry that is applied
void er_recover_epoch(struct er_core *, bx_position first, bx_position survived, uint64_t void_entries);
void er_recover_saw(struct er_core *, uint64_t sequence, bx_position);
void er_recover_turn(struct er_core *);
bool er_recover_due(const struct er_core *);
void er_recover_tailed(struct er_core *);
void er_recover_tick(struct er_core *);
void er_recover_fini(struct er_core *);

// -- tail (tail.c) --------------------------------------------------------------------------------
// A field of an entry, whose fields are a flat list of names and values; empty when it is not there.
struct bx_slice er_entry_field(const struct er_reply *fields, const char *name);
// "<position>-0"; false for what Mora never wrote.
bool er_entry_position(struct bx_slice id, bx_position *position);
void er_tail_up(struct er_core *);
void er_tail_down(struct er_core *);

// What a record says of `sent`. What a stream carries is confirmed by that stream or not at all: for
// anybody else it has not arrived. (A poll's answer is judged by the connect that follows it.)
static inline bx_position er_sent(const struct bx_server *server, const struct bx_session *s) {
  bool stream = s->connection != NULL && s->connection->kind == BX_CONNECTION_STREAM;
  return stream ? bx_session_conf(server, s) : bx_session_sent(server, s);
}

// -- records (records.c) --------------------------------------------------------------------------
void er_record_request(struct er_core *, struct bx_request *);
void er_kick(struct er_core *, struct bx_request *);
void er_revoke(struct er_core *, struct bx_request *);
void er_members(struct er_core *, struct bx_request *);
struct bx_session *er_adopt(struct er_core *, struct bx_slice id, const struct er_reply *loaded);
void er_release(struct er_core *, struct bx_session *, struct bx_slice to, uint64_t question);
void er_resave(struct er_core *);

// -- who is present (presence.c) --------------------------------------------------------------------
void er_presence(struct er_core *, struct bx_request *);
void er_presence_tick(struct er_core *);   // leaves whose grace time is over
// An answer says how many messages of presence were appended: OK n ...
void er_presence_told(struct er_core *, const struct er_reply *);

// -- who answers (locate.c) -----------------------------------------------------------------------
void er_locate(struct er_core *, struct bx_request *);
void er_locate_tick(struct er_core *);
void er_locate_end_all(struct er_core *, enum bx_outcome);
bool er_locate_is_under_way(struct er_core *, struct bx_slice id);
void er_locate_over(struct er_core *, struct bx_slice id);   // somebody ended it
// Answers of owners; nothing when the question is none any more. False: it was for another session.
// known: it is this node's by now, or another's: its record tells. Else it is claimed.
bool er_locate_answered(struct er_core *, uint64_t question, struct bx_slice id, bool known);
bool er_locate_busy(struct er_core *, uint64_t question, struct bx_slice id);
void er_locate_relayed(struct er_core *, uint64_t question, struct bx_slice replies);

// -- between nodes (inbox.c) ----------------------------------------------------------------------
void er_inbox(struct er_core *, const struct er_reply *fields);
void er_inbox_tick(struct er_core *);   // tells who waits for what is executed here
void er_post(struct er_core *, struct bx_slice node, const char *type, struct bx_slice id, uint64_t question,
             const char *more_field, struct bx_slice more);

// -- surveys (survey.c) ---------------------------------------------------------------------------
void er_survey_report(struct er_core *, uint64_t question, struct bx_slice node, struct bx_slice text);
void er_survey_answer(struct er_core *, uint64_t question, struct bx_slice from, struct bx_slice text);
void er_survey_tick(struct er_core *);
void er_survey_end_all(struct er_core *);

// -- marks (marks.c) ------------------------------------------------------------------------------
void er_marks_init(struct er_core *);
bx_position er_conf(const struct bx_server *, const struct bx_session *);   // what its record may say
// id g k sent cid vary: where a session stands, as scripts take it.
void er_arguments_stand(struct er_core *, struct er_arguments *, const struct bx_session *);
void er_changed(struct bx_engine *, struct bx_session *, bool partly);
void er_gone(struct bx_engine *, struct bx_session *);
void er_touch(struct bx_engine *, struct bx_session *);
void er_marks_tick(struct er_core *);
void er_watch_heartbeat(struct er_core *);   // without one for too long: stale
