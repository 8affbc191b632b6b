// SPDX-License-Identifier: Apache-2.0
#include "broker/host/secrets.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

static void digest(struct bx_slice secret, unsigned char out[BK_DIGEST]) {
  SHA256((const unsigned char *)secret.at, secret.len, out);
}

void bk_secrets_init(struct bk_secrets *s, const char *const *secrets, size_t count) {
  s->count = 0;
  s->digests = count > 0 ? bx_alloc(count * sizeof *s->digests) : NULL;
  for (size_t i = 0; i < count; i++)
    if (secrets[i] && *secrets[i]) digest(bx_slice_of(secrets[i]), s->digests[s->count++]);
}

void bk_secrets_fini(struct bk_secrets *s) {
  bx_free(s->digests);
  *s = (struct bk_secrets){0};
}

size_t bk_secrets_find(const struct bk_secrets *s, struct bx_slice given) {
  unsigned char presented[BK_DIGEST];
  digest(given, presented);
  size_t found = s->count;
  for (size_t i = s->count; i-- > 0;) {
    size_t same = -(size_t)(CRYPTO_memcmp(presented, s->digests[i], sizeof presented) == 0);   // all bits, or none
    found = (i & same) | (found & ~same);
  }
  return found;
}

bool bk_secrets_match(const struct bk_secrets *s, struct bx_slice given) {
  return bk_secrets_find(s, given) < s->count;
}

static void write_hex(const unsigned char *bytes, char out[BK_DIGEST_HEX]) {
  for (int i = 0; i < BK_DIGEST; i++) {
    *out++ = "0123456789abcdef"[bytes[i] >> 4];
    *out++ = "0123456789abcdef"[bytes[i] & 15];
  }
  *out = '\0';
}

void bk_digest(struct bx_slice text, char out[BK_DIGEST_HEX]) {
  unsigned char bytes[BK_DIGEST];
  digest(text, bytes);
  write_hex(bytes, out);
}

void bk_sign(const char *secret, struct bx_slice text, char out[BK_DIGEST_HEX]) {
  unsigned char bytes[BK_DIGEST];
  unsigned len = sizeof bytes;
  BX_BUG_ON(!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text.at, text.len, bytes, &len));
  write_hex(bytes, out);
}

// The salt only tells these digests from others: they have to be the same on all nodes.
void bk_slow_digest(const char *secret, char out[BK_DIGEST_HEX]) {
  static const unsigned char salt[] = "mora: the name of a secret";
  enum { ROUNDS = 20000 };
  unsigned char bytes[BK_DIGEST];
  BX_BUG_ON(!PKCS5_PBKDF2_HMAC(secret, (int)strlen(secret), salt, sizeof salt - 1, ROUNDS, EVP_sha256(), sizeof bytes,
                               bytes));
  write_hex(bytes, out);
}
