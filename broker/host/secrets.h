// SPDX-License-Identifier: Apache-2.0
// Secrets that somebody presents: bearer tokens of listeners, passwords of servers. Compared here and nowhere else.
// And what is made of secrets: digests, signatures.
//
// A set is kept as SHA-256 digests and compared in constant time, all of them always: neither the length
// of a secret nor which one matched shows in time. Nothing matches an empty set.
//
// Lifetime: init copies what it needs; fini.
#pragma once

#include "bayeux/base.h"

enum { BK_DIGEST = 32 };   // bytes

struct bk_secrets {
  unsigned char (*digests)[BK_DIGEST];
  size_t count;
};

// Empty strings are left out: an empty secret can never be presented.
void bk_secrets_init(struct bk_secrets *, const char *const *secrets, size_t count);
void bk_secrets_fini(struct bk_secrets *);
bool bk_secrets_match(const struct bk_secrets *, struct bx_slice given);
// Which of them it is: the place among those that were not left out, the first if there are several; count: none.
size_t bk_secrets_find(const struct bk_secrets *, struct bx_slice given);

// Hexadecimal, terminated.
enum { BK_DIGEST_HEX = 2 * BK_DIGEST + 1 };
void bk_digest(struct bx_slice text, char out[BK_DIGEST_HEX]);   // SHA-256
// Of a secret that people may have thought up: takes milliseconds, so that whoever reads it cannot try many.
void bk_slow_digest(const char *secret, char out[BK_DIGEST_HEX]);
void bk_sign(const char *secret, struct bx_slice text, char out[BK_DIGEST_HEX]);   // HMAC-SHA256
