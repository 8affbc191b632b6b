// SPDX-License-Identifier: Apache-2.0
// Who is present on a channel: the users with a session that subscribes to exactly this channel. Patterns
// make nobody present. Which channels are counted the decider says (bx_access_ops.counts, bayeux/access.h).
//
// A user *joins* with its first session and *leaves* when none has been there for the grace time; so one
// that comes back within it is not told of. What is told is published on the companion of the channel,
// "/presence" in front of its name:
//
//   {"event": "occupied", "users": 1}                     in front of the first join
//   {"event": "join" | "leave", "user": NAME or null, "users": N}
//   {"event": "vacated", "users": 0}                      behind the last leave
//
// users: how many are present behind it. Sessions without a user are one user, null; the id of a session
// is a secret and stands in none of these. For each user join and leave take turns.
//
// Here presence is kept for engines whose sessions are all in this server; others keep it with their
// records (bx_engine_ops.locates), so that it is right on several nodes.
//
// Lifetime: made by the server when a decider that counts is set, ends with it. A channel is known while
// somebody is present or in its grace time.
#pragma once

#include "bayeux/buffer.h"
#include "bayeux/engine.h"

#define BX_COMPANION "/presence"

struct bx_presence;
struct bx_server;

// The name of a companion, or a pattern for some: without the prefix it is what it tells of.
// False: it is another channel.
bool bx_companion_of(struct bx_slice channel, struct bx_slice *of);

struct bx_presence *bx_presence_create(struct bx_server *);
void bx_presence_destroy(struct bx_presence *);   // tells nobody

// A session with this user (empty: nobody's) begins to subscribe to the channel, or ends it.
void bx_presence_enter(struct bx_presence *, struct bx_slice channel, struct bx_slice user);
void bx_presence_leave(struct bx_presence *, struct bx_slice channel, struct bx_slice user);

// True: who is on this channel is counted.
bool bx_server_counts(const struct bx_server *, struct bx_slice channel);

// The list of a channel, wherever its sessions live. The caller's, until done, which comes from a later turn.
// Refused: the engine does not answer. `channel` stays until done.
struct bx_presence_query {
  struct bx_request request;
  struct bx_server *server;
  // NULL when it is refused. Borrowed for the call.
  void (*done)(struct bx_presence_query *, const struct bx_presence_list *);   // set before
};
// limit: of members, and of clients. clients: list these, too.
void bx_server_presence(struct bx_server *, struct bx_presence_query *, struct bx_slice channel, size_t limit,
                        bool clients);

// "users":N,"sessions":N,"members":[{"user":NAME or null,"sessions":N},...] and ,"more":true when some of
// the users are not among them.
void bx_presence_write(const struct bx_presence_list *, struct bx_buffer *out);
// NAME or null, as JSON.
void bx_presence_write_user(struct bx_slice user, struct bx_buffer *out);
