// SPDX-License-Identifier: Apache-2.0
// The access seam: who may shake hands, subscribe and publish. The server asks, a decider (struct bx_access,
// set with bx_server_guard() before the first message) answers: allow, deny, or unavailable, at once
// or later. Without a decider everybody may do everything.
//
// What was checked before it is asked: the message is well formed, its channels are valid and none of
// /meta or /service (subscribe), its session is alive, limits hold. A subscription's start is taken
// before it is asked, so that nothing published meanwhile is missed.
// Unsubscribe, connect and disconnect are not asked for: whoever knows a client id may use it.
//
// Deciding later. ops->ask() returns BX_LATER and keeps the request; it answers with
// bx_access_decide(), exactly once, never from inside an op, from wherever the host calls the server.
// Until then the message, the channels and the session stay (the session may have ended: the server
// looks when it has the answer, and then says so). The connection may be gone. ops->cancel() takes a
// request back: a handshake whose connection went, and all of them when the server is destroyed.
// How many wait is the decider's to bound: beyond that it says unavailable.
//
// Several nodes: a message is asked for where its session lives; a session that moved is not asked
// again, its record carries the user.
#pragma once

#include "bayeux/message.h"

struct bx_access;
struct bx_access_request;
struct bx_connection;
struct bx_server;
struct bx_session;

// A user's name is 1 to BX_MAX_USER bytes of UTF-8 without control characters.
#define BX_MAX_USER 128
bool bx_user_is_valid(struct bx_slice);
// What a session was opened with has a name, such as "jti:4711" or "sha256:...": by it its sessions can be ended, and
// new ones denied. Of the same form, up to so many bytes.
#define BX_MAX_TOKEN 136
bool bx_token_is_valid(struct bx_slice);

enum bx_access_verb { BX_ACCESS_HANDSHAKE, BX_ACCESS_SUBSCRIBE, BX_ACCESS_PUBLISH };

enum bx_verdict {
  BX_ALLOW,
  BX_DENY,
  BX_UNAVAILABLE,   // nobody can say now: "503:<channel>:Authority unavailable", never a ban
  BX_LATER,
};

// All slices are borrowed: what ask() gives until the next call of an op, else for the call.
struct bx_access_answer {
  enum bx_verdict verdict;
  // Allow:
  struct bx_slice user;    // handshake: whose session it is; empty: nobody's. One that is not valid is a denial
  struct bx_slice token;   // handshake: the name of what opens the session; empty: nothing does, or it has none
  struct bx_slice ext;     // a JSON object for the reply; empty: none
  bool unjournalled;       // publish: its session is looked at, it is acknowledged, and nobody gets it
  bool forward_ext;        // publish: subscribers get its `ext`, without its secrets: bx_ext_strip()
  // Deny:
  struct bx_slice error;   // "403::Forbidden", the inside of a JSON string; empty: that one
  // The advice of a denial. reconnect NULL: a handshake has the one of all failures, others have none.
  const char *reconnect;   // "none", "handshake", "retry"
  uint64_t interval;       // milliseconds
};

struct bx_access_request {
  struct bx_list link;   // the decider's, from BX_LATER on
  enum bx_access_verb verb;
  const struct bx_message *message;
  const void *batch;                 // the same for all messages of one text
  size_t held;                       // bytes of that text: they stay until all of it is decided
  const struct bx_slice *channels;   // handshake: none; subscribe: patterns; publish: one
  size_t channel_count;
  const struct bx_session *session;   // NULL: handshake, and publishes without a client id
  struct bx_slice user;               // of the session; empty: none
  bool server;                        // the message carries a secret of servers: see ops->is_server
  // For the time of ask() only; NULL: gone, or on another node.
  const struct bx_connection *connection;
};

struct bx_access_ops {
  // The message proves that a server of the operator sent it.
  bool (*is_server)(struct bx_access *, const struct bx_message *);
  // Fills the answer (which is {0}: allow) and returns its verdict, or returns BX_LATER.
  enum bx_verdict (*ask)(struct bx_access *, struct bx_access_request *, struct bx_access_answer *);
  // All messages of one text were asked for; what is to be decided together may be sent. NULL: of no interest.
  void (*asked)(struct bx_access *);
  // The request is void, and freed afterwards. NULL: nothing is ever decided later.
  void (*cancel)(struct bx_access *, struct bx_access_request *);
  // What was allowed to this user before, and what is being decided, does not count any more: an answer that was
  // asked for before is unavailable. Empty: to anybody. Sessions end by themselves. NULL: nothing is kept, nor decided later.
  void (*revoked)(struct bx_access *, struct bx_slice user);
  // A publish needs a session and has none: appends what is said instead of "401:<id>:Unknown client", or
  // nothing. NULL: nothing.
  void (*unknown)(struct bx_access *, struct bx_slice channel, struct bx_buffer *error);
  // Who is present on this channel (a name) is counted: bayeux/presence.h. Always the same for a channel. NULL: on
  // none.
  bool (*counts)(struct bx_access *, struct bx_slice channel);
  // A handshake that was allowed is denied, for its token is revoked: fills in the answer. NULL: 401, and the
  // advice of all failures.
  void (*denied)(struct bx_access *, const struct bx_access_request *, struct bx_access_answer *);
};

struct bx_access {
  const struct bx_access_ops *ops;
  struct bx_server *server;   // set by bx_server_guard()
};

void bx_server_guard(struct bx_server *, struct bx_access *);
void bx_access_decide(struct bx_server *, struct bx_access_request *, const struct bx_access_answer *);

// The value of `ext` without its secrets, appended; nothing when it is no object. Secrets are the members
// "password" and "token": they are for this broker's eyes, never journalled, not sent to another node.
void bx_ext_strip(const struct bx_value *ext, struct bx_buffer *out);
// A member of `ext`; type BX_JSON_NONE: it is not there.
struct bx_value bx_ext_member(const struct bx_value *ext, struct bx_slice name);
