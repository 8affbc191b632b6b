// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens: who signed them, whose they are, whether they hold now.
//
// Accepted: a compact JWS whose `alg` is one of auth.jwt.algorithms. That is looked at first, and it alone
// says which kind of key is used: HS256 the secret, RS256 and ES256 a key of that kind from the JWKS file
// (that with the token's `kid`, if it names one). So a public key never serves as a secret, and `none` is
// no algorithm. Then: `sub` (the user), `exp` (demanded), `nbf` and `iat` if there, `aud` if configured;
// BK_JWT_LEEWAY seconds are given to clocks that differ. A token of more than BK_JWT_MAX bytes is not looked at.
//
// The JWKS file is read again when its time or size changes, looked at once a second at most and when
// told to (SIGHUP). A file that cannot be read then, or has vanished, changes nothing: the keys that were
// there stay.
//
// A token admits: it is looked at when a client shakes hands. A session does not end when the token of
// its handshake expires; ending a user's sessions is the operator's (docs/security.md).
#pragma once

#include "bayeux/buffer.h"
#include "config/config.h"

enum { BK_JWT_MAX = 8192, BK_JWT_LEEWAY = 60 };

struct bk_token_options {
  const char *jwks;               // file; NULL: none
  struct cf_strings secrets;      // of HS256
  const char *audience;           // NULL: any
  struct cf_strings algorithms;   // "HS256", "RS256", "ES256"
  uint64_t (*clock)(void);        // milliseconds since 1970
};

struct bk_jwt;

// NULL: *error (terminated, of `size`) says what is wrong with the file.
struct bk_jwt *bk_jwt_create(const struct bk_token_options *, char *error, size_t size);
void bk_jwt_destroy(struct bk_jwt *);
// False: the file can not be used, *error says why; what was read before goes on.
bool bk_jwt_reload(struct bk_jwt *, char *error, size_t size);

// Why the file could not be read again by itself; told once for each time that it changed or vanished.
// NULL: it could.
const char *bk_jwt_trouble(struct bk_jwt *);

// What a good token says.
struct bk_claims {
  struct bx_buffer user, id;   // id: its jti; empty: none, or none that can be a name
  uint64_t until;              // it holds no longer, also by clocks that differ; ms since 1970
  bool genuine;                // a key verifies it, whether it holds or not
};
void bk_claims_fini(struct bk_claims *);

// NULL: it is good; what the claims held before is gone. Else why not: static text, for the log, not for clients.
// Of what is signed as it should be and has expired, for instance, the id is told all the same: it may have opened
// sessions.
const char *bk_jwt_check(struct bk_jwt *, struct bx_slice token, struct bk_claims *);
// What of a token is signed, all of it but the signature; empty: it does not look like a token. The signature can
// be written in several ways, this in one only.
struct bx_slice bk_jwt_signed_part(struct bx_slice token);
