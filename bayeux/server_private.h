// SPDX-License-Identifier: Apache-2.0
// What the verbs share: batches, replies and the calls between the server's files.
#pragma once

#include "bayeux/server.h"

// The messages of one text, and their replies. Lives until all of them are done; the connection may
// be gone before (then NULL, and the replies go nowhere).
struct bx_batch {
  struct bx_list link;   // in the connection's list
  struct bx_server *server;
  struct bx_connection *connection;
  struct bx_messages messages;
  struct bx_buffer replies;   // in the order in which they were made
  struct bx_reply *index;     // per message: where its reply stands in `replies`
  uint32_t open;              // messages that are not done
  uint32_t locating;          // engine requests for sessions that are not here
  bx_millis timeout;          // of the connection's mount
  bool events;                // of a connection that asks for its session only
  struct bx_list asking;      // messages that wait for permission
  uint32_t listed;            // lists of who is present that were asked for
  bool subscribed;            // holds back the connection's messages until it is replied
  size_t cost;                // bytes that it takes, about: its part of the connection's `waiting`
  size_t len;
  char text[];
};

struct bx_reply {
  size_t at, len;   // len 0: none (a held connect)
  bool settled;     // its message was executed elsewhere, or refused
  uint8_t moves;    // times that its message followed a session that moved
};

// One message on its way through the verbs.
struct bx_call {
  struct bx_batch *batch;
  uint32_t index;
  const struct bx_message *message;
  struct bx_session *session;   // that it names, if alive
  struct bx_buffer channel;     // decoded
  bool server;                  // it carries a secret of servers
};

// An engine request made for a message, and the permission that it needs before.
struct bx_pending {
  struct bx_access_request access;
  struct bx_list asking_link, batch_link;   // while it waits for permission
  void (*decided)(struct bx_pending *, const struct bx_access_answer *);
  void *tally;   // handshake: of env.admit
  struct bx_request request;
  struct bx_batch *batch;
  uint32_t index;
  struct bx_session *session;   // pinned; may be NULL
  struct bx_buffer error;       // for a reply that is a failure in spite of success
  struct bx_buffer names;       // decoded patterns or the channel
  struct bx_buffer ext;         // for the reply: what came with the permission
};

// What a message is refused for.
enum bx_fault {
  BX_NO_FAULT,
  BX_FAULT_CLIENT,    // the session that it names is not known, or not any more: it is advised to shake hands
  BX_FAULT_CHANNEL,   // the channel or pattern, and who may use it
  BX_FAULT_OTHER,
};

#define BX_UNKNOWN_CLIENT "Unknown client"
#define BX_CONNECTION_TYPES \
  "[\"long-polling\",\"cross-origin-long-polling\",\"callback-polling\",\"websocket\",\"eventsource\",\"in-process\"]"
// True for a string that is one of them.
bool bx_is_connection_type(const struct bx_value *);

// -- replies ------------------------------------------------------------------------------------
// {id?, clientId?, channel?, "successful":...  left open for more members.
struct bx_buffer *bx_reply_open(struct bx_batch *, uint32_t index, bool with_client, bool successful);
void bx_reply_close(struct bx_batch *, uint32_t index);
// A whole failure: `error` is the inside of a JSON string.
void bx_reply_error(struct bx_batch *, uint32_t index, bool with_client, struct bx_slice error);
// ,"error":"..."
void bx_reply_error_member(struct bx_buffer *, struct bx_slice error);
// ,"advice":{"reconnect":"retry",...}
void bx_reply_advice(struct bx_buffer *, uint32_t interval, bx_millis timeout);
// ,"advice":{"reconnect":"handshake","interval":bx_server_retry()}
void bx_reply_handshake_advice(struct bx_server *, struct bx_buffer *);
// The same where Faye has none: if there is a time that was chosen.
void bx_reply_chosen_advice(struct bx_server *, struct bx_buffer *);
// The same with 5000-30000.
void bx_reply_jittered_advice(struct bx_server *, struct bx_buffer *);
// code:argument:text with the argument as JavaScript would show it
void bx_error_text(struct bx_buffer *, const char *code, const struct bx_value *argument, const char *text);

// No clientId, or one that is not known: writes the error.
enum bx_fault bx_client_fault(const struct bx_call *, struct bx_buffer *error);

// ,"ext":...
void bx_reply_ext(struct bx_buffer *, struct bx_slice ext);
// The advice that comes with a denial, if any.
void bx_reply_denial_advice(struct bx_buffer *, const struct bx_access_answer *);
// Why something is not done: denied, or nobody can say.
void bx_access_error(const struct bx_access_answer *, const struct bx_value *argument, struct bx_buffer *out);

// Something came from outside: `now` is its time, which may be long after the last turn.
void bx_server_clock(struct bx_server *);

// -- batches ------------------------------------------------------------------------------------
void bx_batch_run(struct bx_connection *, struct bx_batch *);
// Asks the engine for the sessions that are named and not here, then executes.
void bx_batch_locate(struct bx_batch *);
void bx_batch_execute(struct bx_batch *);
void bx_batch_execute_one(struct bx_batch *, uint32_t index);
// The session of a message that was under way lives elsewhere now: the message begins anew where that is, permission
// included. Takes the pending one. False: its session did not move, or has done so too often; nothing was done.
bool bx_pending_follow(struct bx_pending *);
void bx_batch_done(struct bx_batch *);   // one more message is done; frees the batch when it was the last
void bx_connection_wake(struct bx_connection *);
// A message of it did something; NULL: it is gone.
static inline void bx_connection_know(struct bx_connection *c) {
  if (c != NULL) c->known = c->server->now;
}
void bx_connection_fail(struct bx_connection *);   // fails a poll, closes a stream
void bx_connection_reply(struct bx_connection *, struct bx_slice replies, bool before);
// What waits for its session is put among its replies: the session is about to end.
void bx_connection_take_messages(struct bx_connection *);

typedef void bx_request_done(struct bx_request *, enum bx_outcome, bx_position);
struct bx_pending *bx_pending_create(struct bx_call *, enum bx_request_kind, bx_request_done *done);
// Calls p->decided, perhaps at once.
void bx_pending_ask(struct bx_call *, struct bx_pending *, enum bx_access_verb, const struct bx_slice *channels,
                    size_t count);
void bx_batch_cancel_asking(struct bx_batch *);   // its connection has gone
void bx_server_cancel_asking(struct bx_server *);
// The message proves that a server of the operator sent it.
bool bx_message_is_server(const struct bx_batch *, const struct bx_message *);
void bx_pending_submit(struct bx_pending *);
void bx_pending_destroy(struct bx_pending *);   // and counts its message as done

static inline struct bx_pending *bx_pending_of(struct bx_request *r) {
  return bx_container_of(r, struct bx_pending, request);
}

// -- several nodes ----------------------------------------------------------------------------------
struct bx_session *bx_session_adopt(struct bx_server *, const struct bx_record *);
void bx_session_release(struct bx_server *, struct bx_session *, struct bx_record *);
void bx_session_settle(struct bx_server *, struct bx_session *);
void bx_session_unrelease(struct bx_server *, struct bx_session *);
// The session leaves its connection: a poll is answered, a stream flushed and closed.
void bx_session_supersede(struct bx_server *, struct bx_session *);
// `told` of a session that was handed something and given no number since.
#define BX_TOLD_NOTHING UINT64_MAX
// A subscription as a record tells it: no event, no counter of new ones.
void bx_session_restore(struct bx_server *, struct bx_session *, struct bx_slice pattern, bx_position start,
                        bx_position upto);
// What it has not read can not be had any more: it ends. Until the engine has granted that it gets nothing.
void bx_session_lose(struct bx_server *, struct bx_session *);
// Messages without a client's connection: of another node, or (`relayed` false) of this one.
void bx_relay_open(struct bx_server *, struct bx_remote_call *, bool relayed);
void bx_relays_run(struct bx_server *);
void bx_relays_close(struct bx_server *);   // each is told that there are no replies
// Empty: of whom it is not known; what was allowed is asked for again, and sessions stay.
void bx_server_revoked(struct bx_server *, struct bx_slice user);
void bx_server_revoked_token(struct bx_server *, struct bx_slice token);
void bx_server_gap(struct bx_server *, bx_position from, bx_position to);
uint64_t bx_server_epoch(struct bx_server *, uint64_t epoch, bx_position first, bx_position survived);

// What the engine keeps of a session may have to follow.
static inline void bx_session_changed(struct bx_server *server, struct bx_session *s, bool partly) {
  if (server->engine->ops->changed != NULL && s->recorded && s->state != BX_SESSION_CLOSING)
    server->engine->ops->changed(server->engine, s, partly);
}

// -- verbs: each ends with a reply, or takes a pending request --------------------------------------
void bx_verb_handshake(struct bx_call *);
void bx_verb_connect(struct bx_call *);
void bx_verb_subscribe(struct bx_call *, bool subscribe);
void bx_verb_disconnect(struct bx_call *);
void bx_verb_publish(struct bx_call *);

// -- held connects --------------------------------------------------------------------------------
void bx_connect_hold(struct bx_connection *, struct bx_slice id, bx_millis hold);
// The reply to what is held, which it is no more. `error`: the inside of a JSON string; NULL: none.
void bx_connect_write(struct bx_connection *, struct bx_buffer *out, const char *error, uint32_t interval);
// Answers what is held, whatever waits: its reply is queued.
void bx_connect_answer(struct bx_connection *, uint32_t interval);
void bx_connect_forget(struct bx_connection *);
// The held connects that are due, at the end of a turn. True: some wait for the next one.
bool bx_connects_due(struct bx_server *);
// The interval advised now.
uint32_t bx_connect_interval(struct bx_connection *);

static inline bool bx_connection_is_poll(const struct bx_connection *c) { return c->kind == BX_CONNECTION_POLL; }

// -- acknowledging clients (CometD's ack extension) ---------------------------------------------------
// A handshake that asks for it.
bool bx_ack_is_wanted(const struct bx_message *);
// The number of a connect. False: it has none, and is that of a client that does not acknowledge.
bool bx_ack_read(const struct bx_message *, bx_position *number);
// Its messages wait while a subscription is being recorded: the number has to stay below the start of that one, so it
// could not tell of them.
static inline bool bx_ack_waits(const struct bx_session *s) { return s->acks && s->mark.asking > 0; }
// ,"ext":{"ack":N} for the answer to a connect of a client that acknowledges.
void bx_ack_write(struct bx_server *, struct bx_session *, struct bx_buffer *out);
// Adds "ack":{"enabled":true,"batch":N} to `ext`, an object or empty.
void bx_ack_offer(struct bx_server *, struct bx_session *, struct bx_buffer *ext);

// The next entry of the journal: it is one more of the run, or begins another. And the run goes to its sessions.
void bx_run_append(struct bx_server *, bx_position, struct bx_slice channel, struct bx_frame *);
void bx_run_deliver(struct bx_server *);

// One subscription ends. Who ends it sends the event, if there is to be one.
void bx_session_drop_subscription(struct bx_server *, struct bx_session *, struct bx_subscription *);
// What is known of the last answer.
enum bx_arrival bx_session_arrival(const struct bx_session *);
// Looks again at what came of the last answer, for the connect that waits for it.
void bx_session_weigh(struct bx_timer *);
// A handshake or a connect came: the session lives on from now.
void bx_session_refresh(struct bx_connection *, struct bx_session *);
