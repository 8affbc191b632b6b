// SPDX-License-Identifier: Apache-2.0
// The bytes of one socket, in plain text or TLS: reads what is there, writes what the socket takes,
// keeps the rest.
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "broker/host/internal.h"

#define ASIDES 160   // steps of TLS without a byte of ours between them; a new key for each side has five

// The socket's own word for a call that failed: nothing now, or never again.
static long verdict(void) { return errno == EAGAIN || errno == EINTR ? BK_WIRE_LATER : BK_WIRE_BROKEN; }

static int clip(size_t len) { return len < INT_MAX ? (int)len : INT_MAX; }

// What a call to OpenSSL came to. A handshake that cannot write is `blocked`.
static long tls_verdict(struct bk_wire *w, int result) {
  int why = SSL_get_error(w->ssl, result);
  w->blocked = why == SSL_ERROR_WANT_WRITE;
  if (w->asides > ASIDES) {
    bk_host_counters.tls_floods++;
    return BK_WIRE_BROKEN;
  }
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return BK_WIRE_LATER;
  if (why == SSL_ERROR_ZERO_RETURN) return 0;
  if (why == SSL_ERROR_SSL) {
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    bk_debug("tls_failed", bk_s("reason", reason ? reason : "?"));
  }
  ERR_clear_error();
  return BK_WIRE_BROKEN;
}

long bk_wire_read(struct bk_wire *w, char *at, size_t size) {
  if (w->ssl) {
    ERR_clear_error();
    int n = SSL_read(w->ssl, at, clip(size));
    if (n <= 0) return tls_verdict(w, n);
    w->blocked = false;
    w->asides = 0;
    return n;
  }
  ssize_t n = recv(w->watch.fd, at, size, 0);
  return n >= 0 ? n : verdict();
}

static long put(struct bk_wire *w, const char *at, size_t len) {
  if (w->ssl) {
    ERR_clear_error();
    int n = SSL_write(w->ssl, at, clip(len));
    if (n > 0) return n;
    long result = tls_verdict(w, n);
    w->blocked = false;   // what is not written waits in `unsent`
    return result == 0 ? BK_WIRE_BROKEN : result;
  }
  ssize_t n = send(w->watch.fd, at, len, MSG_NOSIGNAL);
  return n >= 0 ? n : verdict();
}

// How much the socket took; negative: it is broken. TLS takes a record at a time.
static long put_all(struct bk_wire *w, const char *at, size_t len) {
  size_t done = 0;
  while (done < len) {
    long n = put(w, at + done, len - done);
    if (n == BK_WIRE_BROKEN) return n;
    if (n == BK_WIRE_LATER) break;
    done += (size_t)n;
    if (!w->ssl && done < len) break;   // the socket is full
  }
  return (long)done;
}

bool bk_wire_write(struct bk_wire *w, const char *at, size_t len) {
  long done = bk_wire_unsent(w) ? 0 : put_all(w, at, len);
  if (done < 0) return false;
  if ((size_t)done == len) return true;
  if (!w->unsent) w->unsent = bx_alloc(sizeof *w->unsent);
  bx_buffer_add(&w->unsent->bytes, at + done, len - (size_t)done);
  return true;
}

static void drop_unsent(struct bk_wire *w) {
  if (!w->unsent) return;
  bx_buffer_fini(&w->unsent->bytes);
  bx_free(w->unsent);
  w->unsent = NULL;
}

bool bk_wire_flush(struct bk_wire *w) {
  struct bk_unsent *u = w->unsent;
  if (!u) return true;
  long done = put_all(w, u->bytes.at + u->from, u->bytes.len - u->from);
  if (done < 0) return false;
  u->from += (size_t)done;
  if (u->from == u->bytes.len) drop_unsent(w);
  return true;
}

void bk_wire_reset(struct bk_wire *w) {
  struct linger at_once = {.l_onoff = 1};
  setsockopt(w->watch.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void bk_wire_close(struct bk_loop *loop, struct bk_wire *w) {
  bk_watch_close(loop, &w->watch);
  SSL_free(w->ssl);
  w->ssl = NULL;
  drop_unsent(w);
}
