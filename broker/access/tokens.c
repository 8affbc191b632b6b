// SPDX-License-Identifier: Apache-2.0
#include "broker/access/tokens.h"

#include "bayeux/access.h"

#include <cjose/cjose.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_FILE = 1 << 20, MAX_KEYS = 100, MIN_RSA = 2048, LOOK_EVERY = 1000 };

struct key {
  cjose_jwk_t *jwk;
  json_t *json;   // its `kid` and `alg`
};

struct keys {
  struct key at[MAX_KEYS];
  size_t count;
};

struct bk_jwt {
  struct bk_token_options options;
  struct keys secrets;   // of HS256
  struct keys *file;
  struct timespec file_time;
  off_t file_size;
  bool missing;   // it cannot be looked at
  uint64_t looked;
  char trouble[256];
  bool troubled;
};

static const struct algorithm {
  const char *name;
  cjose_jwk_kty_t kind;
} algorithms[] = {{"HS256", CJOSE_JWK_KTY_OCT}, {"RS256", CJOSE_JWK_KTY_RSA}, {"ES256", CJOSE_JWK_KTY_EC}};

// -- keys ------------------------------------------------------------------------------------------

static void keys_clear(struct keys *keys) {
  for (size_t i = 0; i < keys->count; i++) {
    cjose_jwk_release(keys->at[i].jwk);
    json_decref(keys->at[i].json);
  }
  keys->count = 0;
}

static const char *text_of(const json_t *object, const char *name) {
  return json_string_value(json_object_get(object, name));
}

// Of a kind that signs tokens, and strong enough. A symmetric key in a file of public ones is a mistake.
static bool is_of_use(const cjose_jwk_t *jwk) {
  cjose_err error;
  cjose_jwk_ec_curve curve = CJOSE_JWK_EC_INVALID;
  switch (cjose_jwk_get_kty(jwk, &error)) {
  case CJOSE_JWK_KTY_RSA: return cjose_jwk_get_keysize(jwk, &error) >= MIN_RSA;
  case CJOSE_JWK_KTY_EC: curve = cjose_jwk_EC_get_curve(jwk, &error); return curve == CJOSE_JWK_EC_P_256;
  default: return false;
  }
}

static void add_key(struct keys *keys, json_t *json) {
  const char *use = text_of(json, "use");
  if ((use && strcmp(use, "sig") != 0) || keys->count == MAX_KEYS) return;
  char *text = json_dumps(json, JSON_COMPACT);
  cjose_err error;
  cjose_jwk_t *jwk = text ? cjose_jwk_import(text, strlen(text), &error) : NULL;
  free(text);
  if (jwk && is_of_use(jwk))
    keys->at[keys->count++] = (struct key){jwk, json_incref(json)};
  else if (jwk)
    cjose_jwk_release(jwk);
}

// Keys of other kinds are for others; a file without one that is of use here is no key file.
static bool read_keys(const char *file, struct keys *keys, char *error, size_t size) {
  json_error_t fault;
  json_t *json = json_load_file(file, 0, &fault), *list = json_object_get(json, "keys"), *key;
  size_t i;
  keys->count = 0;
  if (!json)
    snprintf(error, size, "%s: %s", file, fault.text);
  else if (!json_is_array(list))
    snprintf(error, size, "%s: not a JWKS: {\"keys\": [...]}", file);
  json_array_foreach(list, i, key) add_key(keys, key);
  if (json && json_is_array(list) && keys->count == 0)
    snprintf(error, size, "%s: no RSA key of 2048 bits or more and no EC key of P-256 to verify with", file);
  json_decref(json);
  return keys->count > 0;
}

static bool look_at_file(const struct bk_jwt *t, struct stat *st, char *error, size_t size) {
  const char *file = t->options.jwks;
  if (stat(file, st) != 0)
    snprintf(error, size, "%s: %s", file, strerror(errno));
  else if (!S_ISREG(st->st_mode) || st->st_size > MAX_FILE)
    snprintf(error, size, "%s: not a file of 1 MB at most", file);
  else
    return true;
  return false;
}

bool bk_jwt_reload(struct bk_jwt *t, char *error, size_t size) {
  struct stat st;
  if (!t->options.jwks) return true;
  if (!look_at_file(t, &st, error, size)) return false;
  struct keys *keys = bx_alloc(sizeof *keys);
  t->file_time = st.st_mtim;   // a bad one is not read again before it changes
  t->file_size = st.st_size;
  if (!read_keys(t->options.jwks, keys, error, size)) {
    bx_free(keys);
    return false;
  }
  if (t->file) keys_clear(t->file);
  bx_free(t->file);
  t->file = keys;
  return true;
}

static void look_again(struct bk_jwt *t) {
  uint64_t now = t->options.clock();
  struct stat st;
  if (!t->options.jwks || (now >= t->looked && now < t->looked + LOOK_EVERY)) return;
  t->looked = now;
  bool was = t->missing;
  t->missing = !look_at_file(t, &st, t->trouble, sizeof t->trouble);
  if (t->missing) {
    t->troubled |= !was;   // told once, however long it is away
    return;
  }
  if (st.st_size != t->file_size || st.st_mtim.tv_sec != t->file_time.tv_sec ||
      st.st_mtim.tv_nsec != t->file_time.tv_nsec)
    t->troubled = !bk_jwt_reload(t, t->trouble, sizeof t->trouble);
}

const char *bk_jwt_trouble(struct bk_jwt *t) {
  bool was = t->troubled;
  t->troubled = false;
  return was ? t->trouble : NULL;
}

// -- life ------------------------------------------------------------------------------------------

struct bk_jwt *bk_jwt_create(const struct bk_token_options *options, char *error, size_t size) {
  struct bk_jwt *t = bx_alloc(sizeof *t);
  cjose_err fault;
  t->options = *options;
  t->looked = options->clock();
  for (size_t i = 0; i < options->secrets.count && i < MAX_KEYS; i++) {
    const char *secret = options->secrets.at[i];
    cjose_jwk_t *jwk = cjose_jwk_create_oct_spec((const uint8_t *)secret, strlen(secret), &fault);
    BX_BUG_ON(!jwk);
    t->secrets.at[t->secrets.count++] = (struct key){jwk, NULL};
  }
  if (bk_jwt_reload(t, error, size)) return t;
  bk_jwt_destroy(t);
  return NULL;
}

void bk_jwt_destroy(struct bk_jwt *t) {
  if (!t) return;
  keys_clear(&t->secrets);
  if (t->file) keys_clear(t->file);
  bx_free(t->file);
  bx_free(t);
}

// -- signatures ------------------------------------------------------------------------------------

// Three parts of base64url. The library is asked about nothing else.
static bool looks_like_a_token(struct bx_slice token) {
  size_t dots = 0;
  for (size_t i = 0; i < token.len; i++) {
    char c = token.at[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '-' && c != '_' && c != '.') return false;
    dots += c == '.';
  }
  return dots == 2;
}

static const struct algorithm *algorithm_of(const struct bk_jwt *t, cjose_header_t *header) {
  cjose_err error;
  const char *name = cjose_header_get(header, "alg", &error);
  for (size_t i = 0; name && i < t->options.algorithms.count; i++) {
    if (strcmp(name, t->options.algorithms.at[i]) != 0) continue;
    for (size_t k = 0; k < sizeof algorithms / sizeof *algorithms; k++)
      if (strcmp(name, algorithms[k].name) == 0) return &algorithms[k];
  }
  return NULL;
}

// A key for something else, by what it says of itself.
static bool is_for(const struct key *key, const struct algorithm *a, const char *kid) {
  cjose_err error;
  const char *its_kid = text_of(key->json, "kid"), *its_algorithm = text_of(key->json, "alg");
  if (cjose_jwk_get_kty(key->jwk, &error) != a->kind) return false;
  if (its_algorithm && strcmp(its_algorithm, a->name) != 0) return false;
  return !key->json || !kid || (its_kid && strcmp(its_kid, kid) == 0);
}

static bool is_signed(const struct bk_jwt *t, cjose_jws_t *jws, const struct algorithm *a, const char *kid) {
  const struct keys *keys = a->kind == CJOSE_JWK_KTY_OCT ? &t->secrets : t->file;
  cjose_err error;
  for (size_t i = 0; keys && i < keys->count; i++)
    if (is_for(&keys->at[i], a, kid) && cjose_jws_verify(jws, keys->at[i].jwk, &error)) return true;
  return false;
}

// Extensions that one must understand: none is understood here.
static bool is_critical(cjose_header_t *header) {
  cjose_err error;
  char *crit = cjose_header_get_raw(header, "crit", &error);
  bool is = crit != NULL;
  free(crit);
  return is;
}

// NULL, and the claims; else why not.
static const char *verify(struct bk_jwt *t, cjose_jws_t *jws, json_t **claims) {
  cjose_err error;
  cjose_header_t *header = cjose_jws_get_protected(jws);
  const struct algorithm *a = header ? algorithm_of(t, header) : NULL;
  uint8_t *text;
  size_t len;
  if (!a) return "its algorithm is not one of auth.jwt.algorithms";
  if (is_critical(header)) return "it has critical extensions";
  if (!is_signed(t, jws, a, cjose_header_get(header, "kid", &error))) return "no key verifies its signature";
  if (!cjose_jws_get_plaintext(jws, &text, &len, &error)) return "it has no claims";
  *claims = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
  if (!json_is_object(*claims)) return "its claims are no object";
  return NULL;
}

// -- claims ----------------------------------------------------------------------------------------

static bool has_audience(const json_t *aud, const char *wanted) {
  const json_t *item;
  size_t i;
  if (json_is_string(aud)) return strcmp(json_string_value(aud), wanted) == 0;
  json_array_foreach(aud, i,
                     item) if (json_is_string(item) && strcmp(json_string_value(item), wanted) == 0) return true;
  return false;
}

// Seconds since 1970; absent: `otherwise`. False: it is there and no number.
static bool time_of(const json_t *claims, const char *name, double otherwise, double *at) {
  const json_t *value = json_object_get(claims, name);
  *at = value ? json_number_value(value) : otherwise;
  return !value || json_is_number(value);
}

// Into a cleared buffer, if it can be a name.
static void take_name(const json_t *value, struct bx_buffer *out) {
  struct bx_slice name = {json_string_value(value), json_string_length(value)};
  bx_buffer_clear(out);
  if (json_is_string(value) && bx_user_is_valid(name)) bx_buffer_slice(out, name);
}

static const char *check_claims(const struct bk_jwt *t, const json_t *claims, struct bk_claims *out) {
  double now = (double)t->options.clock() / 1000, exp, nbf, iat;
  take_name(json_object_get(claims, "jti"), &out->id);
  if (!json_is_number(json_object_get(claims, "exp")) || !time_of(claims, "exp", 0, &exp)) return "it has no exp";
  if (!time_of(claims, "nbf", now, &nbf) || !time_of(claims, "iat", now, &iat)) return "its nbf or iat is no time";
  if (!(now < exp + BK_JWT_LEEWAY)) return "it has expired";
  if (!(nbf <= now + BK_JWT_LEEWAY) || !(iat <= now + BK_JWT_LEEWAY)) return "it is not valid yet";
  if (t->options.audience && !has_audience(json_object_get(claims, "aud"), t->options.audience))
    return "it is for another audience";
  take_name(json_object_get(claims, "sub"), &out->user);
  if (out->user.len == 0) return "its sub is no user's name";
  // A time that no clock reaches is as good as any other of that kind.
  out->until = exp < 1e12 ? (uint64_t)((exp > 0 ? exp : 0) + BK_JWT_LEEWAY) * 1000 : UINT64_MAX / 2;
  return NULL;
}

const char *bk_jwt_check(struct bk_jwt *t, struct bx_slice token, struct bk_claims *out) {
  out->genuine = false;
  if (token.len > BK_JWT_MAX) return "it is too long";
  if (!looks_like_a_token(token)) return "it is not a signed token";
  look_again(t);
  cjose_err error;
  cjose_jws_t *jws = cjose_jws_import(token.at, token.len, &error);
  if (!jws) return "it is not a signed token";
  json_t *claims = NULL;
  const char *why = verify(t, jws, &claims);
  out->genuine = !why;
  if (!why) why = check_claims(t, claims, out);
  json_decref(claims);
  cjose_jws_release(jws);
  return why;
}

void bk_claims_fini(struct bk_claims *c) {
  bx_buffer_fini(&c->user);
  bx_buffer_fini(&c->id);
}

struct bx_slice bk_jwt_signed_part(struct bx_slice token) {
  if (!looks_like_a_token(token)) return (struct bx_slice){0};
  while (token.at[token.len - 1] != '.') token.len--;
  return (struct bx_slice){token.at, token.len - 1};
}
