// SPDX-License-Identifier: Apache-2.0
#include "broker/host/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "broker/host/internal.h"

struct certificate {
  X509 *leaf;
  STACK_OF(X509) * chain;
  EVP_PKEY *key;
};

struct bk_tls {
  SSL_CTX *context;   // NULL: no listener has it yet
  struct bk_tls_files *files;
  struct certificate *certificates;   // one for each of `files`
  size_t count;
};

// -- files -------------------------------------------------------------------------------------

static BIO *open_file(const char *name, char *error, size_t size) {
  errno = 0;
  BIO *file = BIO_new_file(name, "r");
  if (!file) snprintf(error, size, "%s", errno ? strerror(errno) : "cannot be opened");
  return file;
}

static bool read_certificates(struct certificate *c, const char *name, char *error, size_t size) {
  BIO *file = open_file(name, error, size);
  if (!file) return false;
  c->leaf = PEM_read_bio_X509_AUX(file, NULL, NULL, NULL);
  c->chain = sk_X509_new_null();
  for (X509 *each; c->leaf && (each = PEM_read_bio_X509(file, NULL, NULL, NULL));) sk_X509_push(c->chain, each);
  // Behind the last one the reader says that nothing more begins; anything else is a broken one.
  unsigned long why = ERR_peek_last_error();
  bool end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
  BIO_free(file);
  if (!c->leaf && end)
    snprintf(error, size, "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  else if (!end)
    snprintf(error, size, "a certificate in it cannot be read: is the file complete, and PEM?");
  return c->leaf && end;
}

// Nobody can be asked for a passphrase.
static int no_passphrase(char *out, int size, int writing, void *asked) {
  (void)out;
  (void)size;
  (void)writing;
  *(bool *)asked = true;
  return -1;
}

static bool read_key(struct certificate *c, const char *name, char *error, size_t size) {
  bool encrypted = false;
  BIO *file = open_file(name, error, size);
  if (!file) return false;
  c->key = PEM_read_bio_PrivateKey(file, NULL, no_passphrase, &encrypted);
  BIO_free(file);
  if (c->key) return true;
  if (encrypted)
    snprintf(error, size, "the key has a passphrase: store it without one (openssl pkey -in FILE -out NEW)");
  else
    snprintf(error, size, "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
  return false;
}

static void drop(struct certificate *c) {
  X509_free(c->leaf);
  sk_X509_pop_free(c->chain, X509_free);
  EVP_PKEY_free(c->key);
  *c = (struct certificate){0};
}

static void drop_all(struct certificate *at, size_t count) {
  for (size_t i = 0; i < count; i++) drop(&at[i]);
  bx_free(at);
}

static void report(const struct certificate *c, const char *file) {
  char until[64] = "";
  BIO *text = BIO_new(BIO_s_mem());
  ASN1_TIME_print_ex(text, X509_get0_notAfter(c->leaf), ASN1_DTFLGS_ISO8601);
  BIO_read(text, until, sizeof until - 1);
  BIO_free(text);
  if (X509_cmp_current_time(X509_get0_notAfter(c->leaf)) < 0)
    bk_warn("tls.expired", bk_s("file", file), bk_s("until", until));
  else
    bk_info("tls.certificate", bk_s("file", file), bk_s("until", until));
}

static void report_all(const struct bk_tls *t) {
  for (size_t i = 0; i < t->count; i++) report(&t->certificates[i], t->files[i].certificate);
}

static bool read_pair(struct certificate *c, const struct bk_tls_files *f, const char **file, char *error,
                      size_t size) {
  ERR_clear_error();
  *file = f->certificate;
  if (!read_certificates(c, f->certificate, error, size)) return false;
  ERR_clear_error();
  *file = f->key;
  if (!read_key(c, f->key, error, size)) return false;
  if (X509_check_private_key(c->leaf, c->key) == 1) return true;
  snprintf(error, size, "is not the key of the certificate %s: give the two that were made together", f->certificate);
  return false;
}

static struct certificate *read_all(const struct bk_tls_files *files, size_t count, const char **file, char *error,
                                    size_t size) {
  struct certificate *all = bx_alloc(count * sizeof *all);
  for (size_t i = 0; i < count; i++) {
    bool good = read_pair(&all[i], &files[i], file, error, size);
    ERR_clear_error();
    if (good) continue;
    drop_all(all, count);
    return NULL;
  }
  return all;
}

// -- life --------------------------------------------------------------------------------------

struct bk_tls *bk_tls_create(const struct bk_tls_files *files, size_t count, const char **file, char *error,
                             size_t size) {
  BX_BUG_ON(count == 0);
  struct certificate *all = read_all(files, count, file, error, size);
  if (!all) return NULL;
  struct bk_tls *t = bx_alloc(sizeof *t);
  *t = (struct bk_tls){.files = bx_alloc(count * sizeof *t->files), .certificates = all, .count = count};
  for (size_t i = 0; i < count; i++)
    t->files[i] = (struct bk_tls_files){bk_copy_text(files[i].certificate), bk_copy_text(files[i].key)};
  return t;
}

bool bk_tls_reload(struct bk_tls *t, const char **file, char *error, size_t size) {
  struct certificate *all = read_all(t->files, t->count, file, error, size);
  if (!all) return false;
  drop_all(t->certificates, t->count);   // connections have references of their own
  t->certificates = all;
  report_all(t);
  return true;
}

void bk_tls_destroy(struct bk_tls *t) {
  if (!t) return;
  SSL_CTX_free(t->context);
  drop_all(t->certificates, t->count);
  for (size_t i = 0; i < t->count; i++) {
    bx_free((char *)t->files[i].certificate);
    bx_free((char *)t->files[i].key);
  }
  bx_free(t->files);
  bx_free(t);
}

// -- handshakes --------------------------------------------------------------------------------

// Names of the certificate, with wildcards; its subject when it has none.
static const struct certificate *certificate_for(const struct bk_tls *t, const char *name) {
  for (size_t i = 0; name && i < t->count; i++)
    if (X509_check_host(t->certificates[i].leaf, name, 0, 0, NULL) == 1) return &t->certificates[i];
  return &t->certificates[0];
}

static int on_certificate(SSL *ssl, void *context) {
  const struct certificate *c = certificate_for(context, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
  return SSL_use_cert_and_key(ssl, c->leaf, c->key, c->chain, 1);
}

static int on_name(SSL *ssl, int *alert, void *context) {
  (void)ssl;
  (void)alert;
  (void)context;
  return SSL_TLSEXT_ERR_OK;   // acknowledged; on_certificate() looks at it
}

static void on_progress(const SSL *ssl, int where, int result) {
  (void)result;
  struct bk_connection *c = SSL_get_app_data(ssl);
  if (c && c->tls_ready && where == SSL_CB_ACCEPT_LOOP && c->wire.asides < UCHAR_MAX) c->wire.asides++;
  if (!(where & SSL_CB_HANDSHAKE_DONE) || !c || c->tls_ready) return;
  c->tls_ready = true;
  bk_host_counters.tls_handshakes++;
}

// HTTP/1.1 is what we speak; who offers only other protocols may try.
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
                        unsigned offered_len, void *context) {
  static const unsigned char ours[] = "\x08http/1.1";
  (void)ssl;
  (void)context;
  if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof ours - 1, offered, offered_len) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  return SSL_TLSEXT_ERR_OK;
}

bool bk_tls_open(struct bk_tls *t) {
  if (t->context) return true;
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  if (!ctx) return false;
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // An idle connection holds no record; what the socket did not take may move and grow meanwhile.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // A read ends with a record, data or not: who sends new keys without end takes turns with the others.
  SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);   // tickets resume, and cost no memory
  SSL_CTX_set_cert_cb(ctx, on_certificate, t);
  SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
  SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
  SSL_CTX_set_info_callback(ctx, on_progress);
  t->context = ctx;
  report_all(t);
  return true;
}

void bk_tls_attach(struct bk_tls *t, struct bk_connection *c) {
  SSL *ssl = SSL_new(t->context);
  BX_BUG_ON(!ssl || SSL_set_fd(ssl, c->wire.watch.fd) != 1);
  SSL_set_accept_state(ssl);
  SSL_set_app_data(ssl, c);
  c->wire.ssl = ssl;
}
