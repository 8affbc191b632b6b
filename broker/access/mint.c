// SPDX-License-Identifier: Apache-2.0
#include "broker/access/mint.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

enum { ES256_HALF = 32 };   // bytes of r and of s

static void add_base64url(struct bx_buffer *to, struct bx_slice bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  uint32_t bits = 0;
  unsigned count = 0;
  for (size_t i = 0; i < bytes.len; i++) {
    bits = bits << 8 | (unsigned char)bytes.at[i];
    for (count += 8; count >= 6; count -= 6) bx_buffer_char(to, digits[bits >> (count - 6) & 63]);
  }
  if (count > 0) bx_buffer_char(to, digits[bits << (6 - count) & 63]);
}

static EVP_PKEY *read_pem(struct bx_slice pem) {
  BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
  char none[] = "";
  EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, none) : NULL;
  BIO_free(bio);
  return key;
}

static const char *algorithm_of(const EVP_PKEY *key) {
  switch (EVP_PKEY_base_id(key)) {
  case EVP_PKEY_RSA: return "RS256";
  case EVP_PKEY_EC: return EVP_PKEY_bits(key) == 8 * ES256_HALF ? "ES256" : NULL;
  default: return NULL;
  }
}

// A JWS holds the two numbers of an ECDSA signature as they are, not as DER.
static bool add_ecdsa(struct bx_buffer *to, const unsigned char *der, size_t len) {
  unsigned char pair[2 * ES256_HALF];
  ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &der, (long)len);
  bool good = s && BN_bn2binpad(ECDSA_SIG_get0_r(s), pair, ES256_HALF) == ES256_HALF &&
              BN_bn2binpad(ECDSA_SIG_get0_s(s), pair + ES256_HALF, ES256_HALF) == ES256_HALF;
  ECDSA_SIG_free(s);
  if (good) add_base64url(to, (struct bx_slice){(char *)pair, sizeof pair});
  return good;
}

static bool sign_with(EVP_PKEY *key, struct bx_slice text, struct bx_buffer *to) {
  unsigned char signature[1024];
  size_t len = sizeof signature;
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool good = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(context, signature, &len, (const unsigned char *)text.at, text.len) == 1;
  EVP_MD_CTX_free(context);
  if (!good) return false;
  if (EVP_PKEY_base_id(key) == EVP_PKEY_EC) return add_ecdsa(to, signature, len);
  add_base64url(to, (struct bx_slice){(char *)signature, len});
  return true;
}

static bool sign_with_secret(struct bx_slice secret, struct bx_slice text, struct bx_buffer *to) {
  unsigned char signature[EVP_MAX_MD_SIZE];
  unsigned len = 0;
  if (!HMAC(EVP_sha256(), secret.at, (int)secret.len, (const unsigned char *)text.at, text.len, signature, &len))
    return false;
  add_base64url(to, (struct bx_slice){(char *)signature, len});
  return true;
}

static const char *choose(const struct bk_mint *m, const EVP_PKEY *key, const char **algorithm) {
  const char *fits = key ? algorithm_of(key) : m->pem.len > 0 ? NULL : "HS256";
  if (m->pem.len > 0 && !key) return "not a private key in PEM without a passphrase";
  if (!fits) return "a key of another kind: RSA or P-256 are used";
  if (!key && m->secret.len == 0) return "no secret and no key to sign with";
  *algorithm = fits;
  return m->algorithm && strcmp(m->algorithm, fits) != 0 ? "the key is not for that algorithm" : NULL;
}

static void write_head(const struct bk_mint *m, const char *algorithm, struct bx_buffer *token) {
  struct bx_buffer head = {0};
  bx_buffer_printf(&head, "{\"alg\":\"%s\",\"typ\":\"JWT\"", algorithm);
  if (m->kid) {
    bx_buffer_lit(&head, ",\"kid\":");
    bx_buffer_json_string(&head, bx_slice_of(m->kid));
  }
  bx_buffer_char(&head, '}');
  add_base64url(token, bx_buffer_view(&head));
  bx_buffer_fini(&head);
}

const char *bk_mint_token(const struct bk_mint *m, struct bx_buffer *token) {
  EVP_PKEY *key = m->pem.len > 0 ? read_pem(m->pem) : NULL;
  const char *algorithm, *why = choose(m, key, &algorithm);
  struct bx_buffer text = {0}, signature = {0};
  if (!why) {
    write_head(m, algorithm, &text);
    bx_buffer_char(&text, '.');
    add_base64url(&text, m->claims);
    bool good = key ? sign_with(key, bx_buffer_view(&text), &signature)
                    : sign_with_secret(m->secret, bx_buffer_view(&text), &signature);
    if (!good) why = "it could not be signed";
  }
  if (!why) {
    bx_buffer_slice(token, bx_buffer_view(&text));
    bx_buffer_char(token, '.');
    bx_buffer_slice(token, bx_buffer_view(&signature));
  }
  EVP_PKEY_free(key);
  bx_buffer_fini(&text);
  bx_buffer_fini(&signature);
  return why;
}
