// SPDX-License-Identifier: Apache-2.0
// Peers that stop where it costs: the loop has to wait then, not to turn; and those that make TLS speak of
// itself without end.
#include "tests/component/harness.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/internal.h"
#include "broker/host/metrics.h"
#include "broker/host/tls.h"
#include "broker/host/websocket.h"

#define LARGE (8 << 20)   // more than a socket takes
#define LOOKS 200         // ms
#define FEW_TURNS 50      // what other things cost in LOOKS; a loop that does not wait has thousands

// What the server notes: w a websocket closes, x it is closed, e an answer's end, c called.
static struct {
  struct harness *h;
  char *large;
  uint64_t turns;
} server;

static void in_loop_count(struct harness *h) {
  server.turns = bk_host_counters.turns;
  harness_note(h, 'c');
}

static uint64_t turns(struct harness *h) {
  harness_call(h, in_loop_count);
  harness_await(h, 'c');
  return server.turns;
}

static void check_that_it_waits(struct harness *h) {
  uint64_t before = turns(h);
  usleep(LOOKS * 1000);
  check(turns(h) - before < FEW_TURNS);
}

static void run(void (*client)(struct harness *), const struct bk_route *routes, struct bk_listener_options o) {
  struct harness h = {0};
  server.h = &h;
  o.name = "test";
  o.max_body = 1000;
  o.header_time = DEADLINE * 1000;
  if (!o.address) o.address = "127.0.0.1:0";
  harness_options(&h, routes, o);
  harness_run(&h, client);
  harness_close(&h);
  check(bk_host_counters.open == 0);
}

// -- a websocket that was to be written to, and is closed ------------------------------------------

static void on_message(struct bk_websocket *w, struct bx_slice text) {
  (void)text;
  while (bk_websocket_ready(w)) bk_websocket_write(w, server.large + BK_WEBSOCKET_HEADROOM, LARGE);
  bk_websocket_want_writable(w);
  bk_websocket_close(w, 1001, "over");
  harness_note(server.h, 'w');
}

static void on_closed(struct bk_websocket *w, bool echoed) {
  (void)w;
  (void)echoed;
  harness_note(server.h, 'x');
}

static void on_writable(struct bk_websocket *w) {
  (void)w;
  check(false);
}

static const struct bk_websocket_ops *on_upgrade(void *context, struct bk_exchange *x, void **user) {
  static const struct bk_websocket_ops ops = {
      .message = on_message, .closed = on_closed, .writable = on_writable, .max_message = 1000};
  (void)context;
  (void)x;
  *user = NULL;
  return &ops;
}

static void client_reads_up_to_the_close(struct harness *h) {
  static const char over[] = "\x88\x06\x03\xe9over";
  struct answer a;
  size_t have = 0;
  int fd = dial(h);
  send_text(
      fd,
      "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  read_head(fd, &a);
  check(a.status == 101);
  send_bytes(fd, "\x81\x80\0\0\0\0", 6);
  harness_await(h, 'w');
  for (char *at = malloc(65536);;) {
    ssize_t n = recv(fd, at, 65536, 0);
    check(n > 0);
    have += (size_t)n;
    if ((size_t)n < sizeof over - 1 || memcmp(at + n - (sizeof over - 1), over, sizeof over - 1) != 0) continue;
    free(at);
    break;
  }
  check(have > LARGE);
  check_that_it_waits(h);   // for the peer's close frame
  close(fd);
  harness_await(h, 'x');
}

static void a_close_is_waited_for_without_turning(void) {
  static const struct bk_route routes[] = {{.methods = BK_GET, .path = "/socket", .upgrade = on_upgrade}, {0}};
  run(client_reads_up_to_the_close, routes, (struct bk_listener_options){0});
}

// -- an answer to a unix socket that was shut down both ways ---------------------------------------

static void on_ended(struct bk_exchange *x, enum bk_arrival arrival) {
  (void)x;
  check(arrival == BK_ARRIVAL_LOST);
  harness_note(server.h, 'e');
}

static void on_large(void *context, struct bk_exchange *x) {
  static const struct bk_exchange_ops ops = {.ended = on_ended};
  (void)context;
  bk_exchange_hold(x, &ops, NULL);
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = {server.large, LARGE}});
}

static void client_shuts_down(struct harness *h) {
  char byte;
  int fd = dial(h);
  send_text(fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  read_exactly(fd, &byte, 1);
  shutdown(fd, SHUT_RDWR);   // and what has come stays unread
  harness_await(h, 'e');
  check_that_it_waits(h);
  close(fd);
}

static void an_answer_to_a_peer_that_shut_down_is_over(void) {
  static const struct bk_route routes[] = {{.methods = BK_GET, .path = "/large", .handle = on_large}, {0}};
  char address[100];
  unix_address(address, sizeof address);
  run(client_shuts_down, routes, (struct bk_listener_options){.address = address});
  unix_address_done(address);
}

// -- requests behind one that is held --------------------------------------------------------------

static struct bk_exchange *held;

static void on_end_of_held(struct bk_exchange *x, enum bk_arrival arrival) {
  (void)x;
  (void)arrival;
  harness_note(server.h, 'e');
}

static void on_hold(void *context, struct bk_exchange *x) {
  static const struct bk_exchange_ops ops = {.ended = on_end_of_held};
  (void)context;
  usleep(LOOKS * 1000);   // the rest comes meanwhile
  bk_exchange_hold(x, &ops, NULL);
  held = x;
}

static void in_loop_look(struct harness *h) {
  check(held->connection->in.len <= 16384);
  harness_note(h, 'c');
}

static void client_sends_ahead(struct harness *h) {
  char *ahead = malloc(60000);
  int fd = dial(h), other = dial(h);
  memset(ahead, 'x', 60000);
  send_text(other, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");   // the loop is in its handler meanwhile
  send_text(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  send_bytes(fd, ahead, 60000);
  turns(h);
  harness_call(h, in_loop_look);
  harness_await(h, 'c');
  check_that_it_waits(h);
  close(fd);
  harness_await(h, 'e');
  close(other);
  harness_await(h, 'e');
  free(ahead);
}

static void what_is_sent_ahead_waits_in_the_kernel(void) {
  static const struct bk_route routes[] = {{.methods = BK_GET, .path = "/hold", .handle = on_hold}, {0}};
  run(client_sends_ahead, routes, (struct bk_listener_options){0});
}

// -- TLS -------------------------------------------------------------------------------------------

static void on_plain(void *context, struct bk_exchange *x) {
  (void)context;
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .body = BX_LIT("plain")});
}

static const struct bk_route tls_routes[] = {{.methods = BK_GET, .path = "/plain", .handle = on_plain}, {0}};

// A certificate with a comment of that many bytes.
static struct bk_tls *make_tls(size_t comment) {
  char address[100], file[2][128], error[256];
  unix_address(address, sizeof address);   // for its folder
  snprintf(file[0], sizeof file[0], "%s.pem", address + 5);
  snprintf(file[1], sizeof file[1], "%s.key", address + 5);
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  X509_set_version(x, 2);
  X509_gmtime_adj(X509_getm_notBefore(x), 0);
  X509_gmtime_adj(X509_getm_notAfter(x), 86400);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509_set_pubkey(x, key);
  memset(server.large, 'x', comment);
  ASN1_IA5STRING *text = ASN1_IA5STRING_new();
  ASN1_STRING_set(text, server.large, (int)comment);
  check(X509_add1_ext_i2d(x, NID_netscape_comment, text, 0, 0) == 1 && X509_sign(x, key, EVP_sha256()) > 0);
  FILE *pem = fopen(file[0], "w"), *secret = fopen(file[1], "w");
  check(PEM_write_X509(pem, x) && PEM_write_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL));
  fclose(pem);
  fclose(secret);
  ASN1_IA5STRING_free(text);
  X509_free(x);
  EVP_PKEY_free(key);
  const char *which;
  struct bk_tls *tls = bk_tls_create(&(struct bk_tls_files){file[0], file[1]}, 1, &which, error, sizeof error);
  check(tls);
  unlink(file[0]);
  unlink(file[1]);
  unix_address_done(address);
  return tls;
}

static SSL *tls_on(int fd, long version) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, version);
  SSL_CTX_set_max_cert_list(context, 4 << 20);
  SSL *ssl = SSL_new(context);
  SSL_CTX_free(context);
  SSL_set_fd(ssl, fd);
  SSL_set_connect_state(ssl);
  return ssl;
}

static void ask(SSL *ssl) {
  static const char request[] = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";
  char answer[1000];
  check(SSL_write(ssl, request, sizeof request - 1) == sizeof request - 1);
  int n = SSL_read(ssl, answer, sizeof answer - 1);
  check(n > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0);
}

static void client_sends_keys(struct harness *h) {
  char bytes[4096];
  uint64_t floods = bk_host_counters.tls_floods;
  int fd = dial(h);
  SSL *ssl = tls_on(fd, TLS1_3_VERSION);
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 16; i++) {
      check(round == 0 || SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
      check(SSL_do_handshake(ssl) == 1);
    }
    ask(ssl);   // who has something to say may change keys, too
  }
  check(bk_host_counters.tls_floods == floods);
  // All of them at once: one read of the server's must not take them all.
  BIO *out = BIO_new(BIO_s_mem());
  BIO_up_ref(out);
  SSL_set0_wbio(ssl, out);
  for (int i = 0; i < 2000; i++) check(SSL_key_update(ssl, i & 1) == 1 && SSL_do_handshake(ssl) == 1);
  char *at;
  long len = BIO_get_mem_data(out, &at);
  (void)!send(fd, at, (size_t)len, MSG_NOSIGNAL);
  size_t have = 0;
  for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, 0)) > 0;) have += (size_t)n;
  check(have < sizeof bytes);   // a new key of its own has 27
  turns(h);
  check(bk_host_counters.tls_floods == floods + 1);
  BIO_free(out);
  SSL_free(ssl);
  close(fd);
}

static void new_keys_without_end_are_refused(void) {
  struct bk_tls *tls = make_tls(10);
  run(client_sends_keys, tls_routes, (struct bk_listener_options){.tls = tls});
  bk_tls_destroy(tls);
}

static void client_renegotiates(struct harness *h) {
  int fd = dial(h);
  SSL *ssl = tls_on(fd, TLS1_2_VERSION);
  check(SSL_do_handshake(ssl) == 1);
  ask(ssl);
  check(SSL_renegotiate(ssl) == 1 && SSL_do_handshake(ssl) != 1);   // the answer is a warning
  check(bk_host_counters.tls_handshakes == 1);
  SSL_free(ssl);
  close(fd);
}

static void a_second_handshake_is_refused(void) {
  struct bk_tls *tls = make_tls(10);
  bk_host_counters.tls_handshakes = 0;
  run(client_renegotiates, tls_routes, (struct bk_listener_options){.tls = tls});
  bk_tls_destroy(tls);
}

// The server's part of the handshake is more than its socket takes, and the peer says more instead of reading.
static void client_reads_late(struct harness *h) {
  int fd = dial(h);
  SSL *ssl = tls_on(fd, TLS1_3_VERSION);
  BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
  BIO_up_ref(out);
  SSL_set_bio(ssl, in, out);
  check(SSL_do_handshake(ssl) == -1);
  char *at;
  long len = BIO_get_mem_data(out, &at);
  send_bytes(fd, at, (size_t)len);
  BIO_reset(out);
  usleep(LOOKS * 1000);
  send_bytes(fd, "\x14\x03\x03\0\1\1", 6);   // which says nothing
  check_that_it_waits(h);
  SSL_set_fd(ssl, fd);
  check(SSL_do_handshake(ssl) == 1);
  ask(ssl);
  BIO_free(out);
  SSL_free(ssl);
  close(fd);
}

static void a_handshake_waits_for_its_peer(void) {
  struct bk_tls *tls = make_tls(1 << 20);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), small = 1;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  check(bind(fd, (struct sockaddr *)&here, sizeof here) == 0 && listen(fd, 10) == 0);
  run(client_reads_late, tls_routes, (struct bk_listener_options){.tls = tls, .fd = fd});
  bk_tls_destroy(tls);
}

int main(int argc, char **argv) {
  server.large = malloc(BK_WEBSOCKET_HEADROOM + LARGE);
  memset(server.large, 'x', BK_WEBSOCKET_HEADROOM + LARGE);
  run_test(a_close_is_waited_for_without_turning);
  run_test(an_answer_to_a_peer_that_shut_down_is_over);
  run_test(what_is_sent_ahead_waits_in_the_kernel);
  run_test(new_keys_without_end_are_refused);
  run_test(a_second_handshake_is_refused);
  run_test(a_handshake_waits_for_its_peer);
  free(server.large);
  return 0;
}
