// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens: what is accepted, and each reason to refuse one. Keys are made anew in each run.
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "broker/access/mint.h"
#include "broker/access/tokens.h"

#define NOW 1700000000ull
#define SECRET "0123456789abcdef0123456789abcdef"

static uint64_t now = NOW * 1000;
static uint64_t clock_now(void) { return now; }

// -- keys ------------------------------------------------------------------------------------------

static struct keys {
  EVP_PKEY *rsa, *ec, *small;
  char file[64];
} keys;

static void add_number(FILE *f, const char *name, EVP_PKEY *key, const char *param) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  unsigned char bytes[512];
  BIGNUM *n = NULL;
  uint32_t bits = 0;
  unsigned count = 0;

  assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
  int len = BN_num_bytes(n) > 3 && BN_num_bytes(n) < 32 ? 32 : BN_num_bytes(n);   // a coordinate is whole
  assert_int_equal(BN_bn2binpad(n, bytes, len), len);
  BN_free(n);
  fprintf(f, ",\"%s\":\"", name);
  for (int i = 0; i < len; i++) {
    bits = bits << 8 | bytes[i];
    for (count += 8; count >= 6; count -= 6) fputc(digits[bits >> (count - 6) & 63], f);
  }
  if (count > 0) fputc(digits[bits << (6 - count) & 63], f);
  fputc('"', f);
}

static void add_rsa(FILE *f, EVP_PKEY *key, const char *more) {
  fprintf(f, "{\"kty\":\"RSA\"%s", more);
  add_number(f, "n", key, OSSL_PKEY_PARAM_RSA_N);
  add_number(f, "e", key, OSSL_PKEY_PARAM_RSA_E);
  fputc('}', f);
}

static void add_ec(FILE *f, EVP_PKEY *key, const char *more) {
  fprintf(f, "{\"kty\":\"EC\",\"crv\":\"P-256\"%s", more);
  add_number(f, "x", key, OSSL_PKEY_PARAM_EC_PUB_X);
  add_number(f, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y);
  fputc('}', f);
}

static void write_file(bool with_ec) {
  FILE *f = fopen(keys.file, "w");
  assert_non_null(f);
  fputs("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"RSA\"},7,", f);
  add_rsa(f, keys.rsa, ",\"kid\":\"r1\",\"use\":\"sig\",\"alg\":\"RS256\"");
  if (with_ec) {
    fputc(',', f);
    add_ec(f, keys.ec, "");
  }
  fputs("]}", f);
  fclose(f);
}

static int make_keys(void **state) {
  (void)state;
  keys.rsa = EVP_RSA_gen(2048);
  keys.small = EVP_RSA_gen(1024);
  keys.ec = EVP_EC_gen("P-256");
  snprintf(keys.file, sizeof keys.file, P_tmpdir "/test_tokens.%ld.jwks", (long)getpid());
  write_file(true);
  return 0;
}

static int drop_keys(void **state) {
  (void)state;
  EVP_PKEY_free(keys.rsa);
  EVP_PKEY_free(keys.ec);
  EVP_PKEY_free(keys.small);
  unlink(keys.file);
  return 0;
}

static struct bx_slice pem_of(EVP_PKEY *key, bool public, struct bx_buffer *to) {
  BIO *bio = BIO_new(BIO_s_mem());
  char *at;
  if (public)
    PEM_write_bio_PUBKEY(bio, key);
  else
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
  long len = BIO_get_mem_data(bio, &at);
  bx_buffer_add(to, at, (size_t)len);
  BIO_free(bio);
  return bx_buffer_view(to);
}

// -- tokens ----------------------------------------------------------------------------------------

static const char *const all[] = {"HS256", "RS256", "ES256"};
static const char *const secrets[] = {"another one", SECRET};

static struct bk_jwt *create(struct bk_token_options o) {
  char error[256] = "";
  o.clock = clock_now;
  if (o.algorithms.count == 0) o.algorithms = (struct cf_strings){all, 3};
  if (o.secrets.count == 0) o.secrets = (struct cf_strings){secrets, 2};
  if (!o.jwks) o.jwks = keys.file;
  struct bk_jwt *t = bk_jwt_create(&o, error, sizeof error);
  if (!t) fail_msg("%s", error);
  return t;
}

// The user, or why not.
static const char *check(struct bk_jwt *t, struct bx_slice token) {
  static char text[512];
  struct bk_claims claims = {0};
  const char *why = bk_jwt_check(t, token, &claims);
  if (why) assert_int_equal(claims.user.len, 0);
  snprintf(text, sizeof text, "%s%.*s", why ? why : "", (int)claims.user.len, claims.user.len ? claims.user.at : "");
  bk_claims_fini(&claims);
  return text;
}

static const char *check_minted(struct bk_jwt *t, struct bk_mint m, const char *claims) {
  struct bx_buffer token = {0}, text = {0};
  for (; *claims; claims++) bx_buffer_char(&text, *claims == '\'' ? '"' : *claims);
  m.claims = bx_buffer_view(&text);
  if (m.secret.len == 0 && m.pem.len == 0) m.secret = BX_LIT(SECRET);
  assert_null(bk_mint_token(&m, &token));
  const char *says = check(t, bx_buffer_view(&token));
  bx_buffer_fini(&token);
  bx_buffer_fini(&text);
  return says;
}

static const char *check_claims(const char *audience, const char *claims) {
  struct bk_jwt *t = create((struct bk_token_options){.audience = audience});
  const char *says = check_minted(t, (struct bk_mint){0}, claims);
  bk_jwt_destroy(t);
  return says;
}

#define GOOD "{'sub':'alice','exp':1700000100}"

static void tokens_of_every_kind(void **state) {
  struct bx_buffer rsa = {0}, ec = {0};
  struct bk_jwt *t = create((struct bk_token_options){0});
  (void)state;
  pem_of(keys.rsa, false, &rsa);
  pem_of(keys.ec, false, &ec);
  assert_string_equal(check_minted(t, (struct bk_mint){0}, GOOD), "alice");
  assert_string_equal(check_minted(t, (struct bk_mint){.secret = BX_LIT("another one")}, GOOD), "alice");
  assert_string_equal(check_minted(t, (struct bk_mint){.pem = bx_buffer_view(&rsa)}, GOOD), "alice");
  assert_string_equal(check_minted(t, (struct bk_mint){.pem = bx_buffer_view(&rsa), .kid = "r1"}, GOOD), "alice");
  assert_string_equal(check_minted(t, (struct bk_mint){.pem = bx_buffer_view(&ec)}, GOOD), "alice");
  assert_string_equal(check_minted(t, (struct bk_mint){.secret = BX_LIT("a third one")}, GOOD),
                      "no key verifies its signature");
  assert_string_equal(check_minted(t, (struct bk_mint){.pem = bx_buffer_view(&rsa), .kid = "r2"}, GOOD),
                      "no key verifies its signature");
  bk_jwt_destroy(t);
  bx_buffer_fini(&rsa);
  bx_buffer_fini(&ec);
}

static void claims(void **state) {
  static const struct {
    const char *claims, *says;
  } rows[] = {
      {"{'sub':'alice','exp':1700000000}", "alice"},   // the leeway
      {"{'sub':'alice','exp':1699999941}", "alice"},
      {"{'sub':'alice','exp':1699999940}", "it has expired"},
      {"{'sub':'alice','exp':1}", "it has expired"},
      {"{'sub':'alice','exp':-1e300}", "it has expired"},
      {"{'sub':'alice'}", "it has no exp"},
      {"{'sub':'alice','exp':'1800000000'}", "it has no exp"},
      {"{'sub':'alice','exp':null}", "it has no exp"},
      {"{'sub':'alice','exp':1800000000,'nbf':1700000060}", "alice"},
      {"{'sub':'alice','exp':1800000000,'nbf':1700000061}", "it is not valid yet"},
      {"{'sub':'alice','exp':1800000000,'iat':1700000061}", "it is not valid yet"},
      {"{'sub':'alice','exp':1800000000,'nbf':'x'}", "its nbf or iat is no time"},
      {"{'exp':1800000000}", "its sub is no user's name"},
      {"{'sub':'','exp':1800000000}", "its sub is no user's name"},
      {"{'sub':7,'exp':1800000000}", "its sub is no user's name"},
      {"{'sub':'a\\u000ab','exp':1800000000}", "its sub is no user's name"},
      {"{'sub':'alice','sub':'bob','exp':1800000000}", "its claims are no object"},
      {"[1]", "its claims are no object"},
      {"7", "its claims are no object"},
      {"x", "its claims are no object"},
      {"", "its claims are no object"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    assert_string_equal(check_claims(NULL, rows[i].claims), rows[i].says);
  assert_string_equal(check_claims("me", "{'sub':'alice','exp':1800000000,'aud':'me'}"), "alice");
  assert_string_equal(check_claims("me", "{'sub':'alice','exp':1800000000,'aud':['you','me']}"), "alice");
  assert_string_equal(check_claims("me", "{'sub':'alice','exp':1800000000,'aud':['you']}"),
                      "it is for another audience");
  assert_string_equal(check_claims("me", "{'sub':'alice','exp':1800000000,'aud':{'me':1}}"),
                      "it is for another audience");
  assert_string_equal(check_claims("me", "{'sub':'alice','exp':1800000000}"), "it is for another audience");
}

// What has expired may have opened sessions, which its id finds; what nobody of ours signed tells nothing.
static void the_id_of_what_has_expired(void **state) {
  static const struct { const char *secret, *id; } rows[] = {{SECRET, "old"}, {"a third one", ""}};
  struct bk_jwt *t = create((struct bk_token_options){0});
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct bx_buffer token = {0};
    struct bk_claims claims = {0};
    assert_null(bk_mint_token(&(struct bk_mint){.secret = bx_slice_of(rows[i].secret),
                                                .claims = BX_LIT("{\"sub\":\"alice\",\"exp\":1,\"jti\":\"old\"}")},
                              &token));
    assert_non_null(bk_jwt_check(t, bx_buffer_view(&token), &claims));
    assert_true(bx_slice_equal(bx_buffer_view(&claims.id), bx_slice_of(rows[i].id)));
    bk_claims_fini(&claims);
    bx_buffer_fini(&token);
  }
  bk_jwt_destroy(t);
}

// -- attacks ---------------------------------------------------------------------------------------

static void no_algorithm_is_none(void **state) {
  // {"alg":"none"}, {"alg":"None"}, {"alg":"nOnE"}, no alg; claims {"sub":"alice","exp":1800000000}
  static const char *const bad[] = {
      "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDAwMH0.",
      "eyJhbGciOiJOb25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDAwMH0.",
      "eyJhbGciOiJuT25FIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDAwMH0.AAAA",
      "e30.eyJzdWIiOiJhbGljZSIsImV4cCI6MTgwMDAwMDAwMH0.AAAA",
      "",
      ".",
      "..",
      "a.b.c",
      "....",
      "eyJhbGciOiJIUzI1NiJ9..",
      "eyJhbGciOiJIUzI1NiJ9.e30.\n",
      "eyJhbGciOiJIUzI1NiJ9.e30=.AAAA",
  };
  struct bk_jwt *t = create((struct bk_token_options){0});
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct bk_claims claims = {0};
    if (!bk_jwt_check(t, bx_slice_of(bad[i]), &claims)) fail_msg("%s was taken", bad[i]);
    assert_int_equal(claims.user.len, 0);
  }
  bk_jwt_destroy(t);
}

static void a_public_key_is_no_secret(void **state) {
  struct bx_buffer pem = {0};
  struct bk_jwt *t = create((struct bk_token_options){0});
  (void)state;
  pem_of(keys.rsa, true, &pem);   // HS256 with the text of the public key, as everybody has it
  assert_string_equal(check_minted(t, (struct bk_mint){.secret = bx_buffer_view(&pem)}, GOOD),
                      "no key verifies its signature");
  bk_jwt_destroy(t);
  bx_buffer_fini(&pem);
}

static void only_the_configured_algorithms(void **state) {
  static const char *const only[] = {"RS256"};
  struct bx_buffer ec = {0}, small = {0};
  struct bk_jwt *t = create((struct bk_token_options){.algorithms = {only, 1}});
  (void)state;
  pem_of(keys.ec, false, &ec);
  pem_of(keys.small, false, &small);
  assert_string_equal(check_minted(t, (struct bk_mint){0}, GOOD), "its algorithm is not one of auth.jwt.algorithms");
  assert_string_equal(check_minted(t, (struct bk_mint){.pem = bx_buffer_view(&ec)}, GOOD),
                      "its algorithm is not one of auth.jwt.algorithms");
  assert_string_equal(check_minted(t, (struct bk_mint){.pem = bx_buffer_view(&small)}, GOOD),
                      "no key verifies its signature");
  bk_jwt_destroy(t);
  bx_buffer_fini(&ec);
  bx_buffer_fini(&small);
}

static void a_changed_token_is_refused(void **state) {
  struct bx_buffer token = {0};
  struct bk_jwt *t = create((struct bk_token_options){0});
  struct bk_mint m = {.secret = BX_LIT(SECRET), .claims = BX_LIT("{\"sub\":\"alice\",\"exp\":1800000000}")};
  (void)state;
  assert_null(bk_mint_token(&m, &token));
  assert_string_equal(check(t, bx_buffer_view(&token)), "alice");
  for (size_t i = 0; i + 1 < token.len; i++) {   // of the last character two bits are padding
    char was = token.at[i];
    if (was == '.') continue;
    token.at[i] = was == 'A' ? 'B' : 'A';
    if (strcmp(check(t, bx_buffer_view(&token)), "alice") == 0) fail_msg("character %zu does not matter", i);
    token.at[i] = was;
  }
  bk_jwt_destroy(t);
  bx_buffer_fini(&token);
}

static void long_tokens_are_not_looked_at(void **state) {
  struct bx_buffer claims = {0}, token = {0};
  struct bk_jwt *t = create((struct bk_token_options){0});
  (void)state;
  bx_buffer_lit(&claims, "{\"sub\":\"alice\",\"exp\":1800000000,\"x\":\"");
  while (claims.len < BK_JWT_MAX) bx_buffer_char(&claims, 'x');
  bx_buffer_lit(&claims, "\"}");
  struct bk_mint m = {.secret = BX_LIT(SECRET), .claims = bx_buffer_view(&claims)};
  assert_null(bk_mint_token(&m, &token));
  assert_string_equal(check(t, bx_buffer_view(&token)), "it is too long");
  bk_jwt_destroy(t);
  bx_buffer_fini(&claims);
  bx_buffer_fini(&token);
}

// -- the file --------------------------------------------------------------------------------------

static void a_changed_file_is_read_again(void **state) {
  struct bx_buffer ec = {0};
  char error[256];
  (void)state;
  write_file(false);
  struct bk_jwt *t = create((struct bk_token_options){0});
  struct bk_mint m = {.pem = pem_of(keys.ec, false, &ec)};
  assert_string_equal(check_minted(t, m, GOOD), "no key verifies its signature");
  write_file(true);
  assert_string_equal(check_minted(t, m, GOOD), "no key verifies its signature");   // not twice in a second
  now += 1000;
  assert_string_equal(check_minted(t, m, GOOD), "alice");
  assert_int_equal(truncate(keys.file, 3), 0);
  assert_false(bk_jwt_reload(t, error, sizeof error));
  assert_string_equal(check_minted(t, m, GOOD), "alice");   // the old ones stay
  unlink(keys.file);
  now += 1000;
  assert_string_equal(check_minted(t, m, GOOD), "alice");
  assert_false(bk_jwt_reload(t, error, sizeof error));
  write_file(true);
  assert_true(bk_jwt_reload(t, error, sizeof error));
  bk_jwt_destroy(t);
  bx_buffer_fini(&ec);
  now = NOW * 1000;
}

static void files_without_keys_are_refused(void **state) {
  static const char *const texts[] = {"", "{}", "[]", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"};
  struct bk_token_options o = {.jwks = keys.file, .algorithms = {all, 3}, .clock = clock_now};
  char error[256];
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    FILE *f = fopen(keys.file, "w");
    fputs(texts[i], f);
    fclose(f);
    assert_null(bk_jwt_create(&o, error, sizeof error));
    assert_non_null(strstr(error, keys.file));
  }
  FILE *f = fopen(keys.file, "w");
  fputs("{\"keys\":[", f);
  add_rsa(f, keys.small, "");
  fputs("]}", f);
  fclose(f);
  assert_null(bk_jwt_create(&o, error, sizeof error));
  o.jwks = "/nowhere/at all";
  assert_null(bk_jwt_create(&o, error, sizeof error));
  write_file(true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tokens_of_every_kind),         cmocka_unit_test(claims),
      cmocka_unit_test(the_id_of_what_has_expired),   cmocka_unit_test(no_algorithm_is_none),
      cmocka_unit_test(a_public_key_is_no_secret),    cmocka_unit_test(only_the_configured_algorithms),
      cmocka_unit_test(a_changed_token_is_refused),   cmocka_unit_test(long_tokens_are_not_looked_at),
      cmocka_unit_test(a_changed_file_is_read_again), cmocka_unit_test(files_without_keys_are_refused),
  };
  return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
