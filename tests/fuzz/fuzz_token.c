// SPDX-License-Identifier: Apache-2.0
// Tokens. After a '.': the token as it is, which is not accepted unless its signature is good. After anything
// else: claims, which are signed here; what is accepted then has a user's name.
#include <stdlib.h>

#include "bayeux/access.h"
#include "broker/access/mint.h"
#include "broker/access/tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t noon(void) { return 1700000000000ull; }

static struct bk_jwt *make(void) {
  static const char *const secrets[] = {"0123456789abcdef0123456789abcdef"};
  static const char *const algorithms[] = {"HS256", "RS256", "ES256"};
  const struct bk_token_options o = {.secrets = {secrets, 1}, .algorithms = {algorithms, 3}, .clock = noon};
  char error[256];
  return bk_jwt_create(&o, error, sizeof error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct bk_jwt *tokens;
  struct bx_buffer token = {0};
  struct bk_claims claims = {0};
  if (!tokens) tokens = make();
  if (size == 0 || size > BK_JWT_MAX) return 0;
  struct bx_slice rest = {(const char *)data + 1, size - 1};
  bool whole = data[0] == '.';
  if (whole) {
    bx_buffer_slice(&token, rest);
  } else {
    const struct bk_mint m = {.secret = BX_LIT("0123456789abcdef0123456789abcdef"), .claims = rest};
    if (bk_mint_token(&m, &token) != NULL) abort();
  }
  bool good = bk_jwt_check(tokens, bx_buffer_view(&token), &claims) == NULL;
  struct bx_slice user = bx_buffer_view(&claims.user), id = bx_buffer_view(&claims.id);
  if (good != (user.len > 0)) abort();
  if (good && !bx_user_is_valid(user)) abort();
  if (id.len > 0 && !bx_user_is_valid(id)) abort();   // also of what has expired
  if (good && bk_jwt_signed_part(bx_buffer_view(&token)).len == 0) abort();
  // Only the seed is signed: alice's.
  if (good && whole && !bx_slice_equal(user, BX_LIT("alice"))) abort();
  bk_claims_fini(&claims);
  bx_buffer_fini(&token);
  return 0;
}
