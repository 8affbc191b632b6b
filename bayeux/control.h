// SPDX-License-Identifier: Apache-2.0
// What is done to sessions from outside: they are ended, or lose subscriptions, wherever they live.
//
// A session that is ended so is *kicked*: messages that were in front of the end are written, its held
// connect is answered 401 with the advice to shake hands, then its connection is closed. So the client
// is back at once, if it may.
#pragma once

#include "bayeux/server.h"

// The caller's, until done, which comes from a later turn.
struct bx_kick {
  struct bx_request request;
  struct bx_server *server;
  void (*done)(struct bx_kick *, enum bx_outcome);   // set before
};

// Ends the session with this id, which stays until done. Acknowledged: it was ended by this call. BX_NO_SESSION:
// there is none. BX_REFUSED: the engine does not answer; it may be ended or not.
void bx_server_kick(struct bx_server *, struct bx_kick *, struct bx_slice id);

// The sessions of a user, or (of_token) those that a token of this name opened. The caller's, until done, which
// comes from a later turn: acknowledged, with ids for the time of the call, or refused: the engine does not answer.
struct bx_members {
  struct bx_request request;
  struct bx_server *server;
  void (*done)(struct bx_members *, enum bx_outcome, const struct bx_slice *ids, size_t count);   // set before
};
// `name` stays until done.
void bx_server_members(struct bx_server *, struct bx_members *, struct bx_slice name, bool of_token);

// From a place in the journal on nothing counts that was allowed to this user before: every node discards older
// answers when it gets there, and ends the sessions of the user that it has. The caller's, until done, which comes from
// a later turn. `user` stays until done.
struct bx_revocation {
  struct bx_request request;
  void (*done)(struct bx_revocation *, enum bx_outcome, bx_position);   // set before
};
void bx_server_revoke(struct bx_server *, struct bx_revocation *, struct bx_slice user);
// The same of a token, by its name: every node ends the sessions that it opened, and for so long no node opens
// another with it. BX_DENIED: so many tokens are revoked that one more has no room.
void bx_server_revoke_token(struct bx_server *, struct bx_revocation *, struct bx_slice token, bx_millis lasting);

// Messages as a client would send them, but without one: sessions that they name and that live elsewhere are found.
// `text` (a JSON array) stays until done, which comes from a later turn.
void bx_server_execute(struct bx_server *, struct bx_remote_call *);
