// SPDX-License-Identifier: Apache-2.0
// Makes JSON Web Tokens, for operators and tests. Independent of what checks them (tokens.h).
#pragma once

#include "bayeux/buffer.h"

struct bk_mint {
  const char *algorithm;    // "HS256", "RS256", "ES256"; NULL: HS256 with a secret, else by the kind of key
  struct bx_slice secret;   // of HS256
  struct bx_slice pem;      // a private key, without a passphrase
  const char *kid;          // NULL: none
  struct bx_slice claims;   // a JSON object
};

// NULL: the token was appended. Else why not: static text.
const char *bk_mint_token(const struct bk_mint *, struct bx_buffer *token);
