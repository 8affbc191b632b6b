// SPDX-License-Identifier: Apache-2.0
// One accepted socket: what it waits for, who watches it, how it ends, and what its end says about
// the answer that was written last.
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "broker/host/internal.h"

#define LINGER_TIME 2000                    // ms that a peer has to close after our half close
#define LINGER_DISCARD (16 * 1024 * 1024)   // bytes of what is not wanted, read until then

static void on_timer(struct bx_timer *timer);
static void on_parked(uv_poll_t *handle, int status, int events);

void bk_connection_timer(struct bk_connection *c, bx_millis after) {
  bx_wheel_set(&c->loop->wheel, &c->timer, bk_loop_now(c->loop) + after);
}

void bk_connection_no_timer(struct bk_connection *c) { bx_wheel_cancel(&c->loop->wheel, &c->timer); }

void bk_connection_create(struct bk_listener *l, int fd, const struct bk_peer *peer) {
  struct bk_connection *c = bx_alloc(sizeof *c);
  c->magic = BK_CONNECTION_MAGIC;
  c->loop = l->loop;
  c->listener = l;
  c->fd = fd;
  c->hop = *peer;
  c->tls = l->tls;
  bx_list_append(&l->connections, &c->link);
  bx_list_init(&c->doomed);
  bx_timer_init(&c->timer, on_timer);
  l->count++;
  bk_host_counters.accepted++;
  bk_host_counters.open++;
  if (l->proxy_protocol && bk_proxies_have(l->proxies, peer))
    bk_greeting_await(c);
  else
    bk_connection_begin(c);
}

void bk_connection_begin(struct bk_connection *c) {
  c->who = c->hop;
  c->secure = c->tls;
  c->state = BK_CONNECTION_IDLE;
  bk_peer_text(&c->who, c->peer, sizeof c->peer);
  if (bk_lws_adopt(c->loop, c->fd, c))
    bk_connection_timer(c, c->listener->header_time);
  else
    bk_connection_free(c);
}

void bk_connection_free(struct bk_connection *c) {
  c->fd = -1;   // closed by now, perhaps another connection's
  if (c->state != BK_CONNECTION_CLOSED) bk_connection_on_closed(c);
  if (c->tls && !c->tls_ready) bk_host_counters.tls_failures++;
  bk_connection_no_timer(c);
  bx_list_remove(&c->link);
  bx_list_remove(&c->doomed);
  bx_buffer_fini(&c->in);
  c->listener->count--;
  bk_host_counters.open--;
  c->magic = 0;
  bx_free(c);
}

void bk_connection_doom(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_CLOSED) return;
  bx_list_remove(&c->doomed);
  bx_list_append(&c->loop->doomed, &c->doomed);
}

// Tells libwebsockets that the socket has died: it closes without another word. Its callback for
// the close comes from inside this call.
void bk_connection_close_now(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_GREETING) {
    bk_greeting_close(c);
    bk_connection_free(c);
    return;
  }
  if (c->state == BK_CONNECTION_CLOSED || uv_is_closing((uv_handle_t *)c->poll)) return;
  bk_connection_on_unbind(c);
  c->loop->lws_poll(c->poll, UV_EBADF, 0);
}

// -- what is not complete ----------------------------------------------------------------------

bool bk_connection_gather(struct bk_connection *c, size_t bytes) {
  size_t before = c->gathered;
  if (!c->listener->gathered) return true;
  if (bk_gathered_hold(c->listener->gathered, &c->gathered, bytes)) {
    bk_host_counters.gathered += c->gathered - before;
    return true;
  }
  bk_host_counters.gathered_refused++;
  return false;
}

void bk_connection_gathered(struct bk_connection *c) {
  if (c->gathered == 0) return;
  bk_host_counters.gathered -= c->gathered;
  bk_gathered_release(c->listener->gathered, &c->gathered);
}

// -- who watches the socket --------------------------------------------------------------------

void bk_connection_park(struct bk_connection *c, int events) {
  if (!c->half_closed) events |= UV_DISCONNECT;
  if (c->parked == events && c->poll->poll_cb == on_parked) return;
  c->parked = events;
  uv_poll_start(c->poll, events, on_parked);
}

void bk_connection_idle(struct bk_connection *c) {
  c->state = BK_CONNECTION_IDLE;
  c->between = true;
  bk_connection_timer(c, c->listener->idle_time);
}

static bool parks(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_BUSY || c->state == BK_CONNECTION_DRAINING;
}

static bool wants_writable(const struct bk_connection *c) {
  const struct bk_exchange *x = c->exchange;
  return c->state == BK_CONNECTION_DRAINING || (x && (x->want || x->out.len > 0)) || bk_lws_unsent(c->wsi);
}

void bk_connection_settle(struct bk_connection *c) {
  if (parks(c))
    bk_connection_park(c, wants_writable(c) ? UV_WRITABLE : 0);
  else if ((bk_connection_takes_bytes(c) || c->state == BK_CONNECTION_WEBSOCKET) && bk_lws_unsent(c->wsi))
    bk_connection_park(c, UV_WRITABLE);
}

// Behind the last bytes it had kept libwebsockets waits for one more event before it calls. It may
// have that at once.
static void let_write(struct bk_connection *c) {
  bool unsent = bk_lws_unsent(c->wsi);
  c->parked = 0;
  c->loop->lws_poll(c->poll, 0, UV_WRITABLE);
  if (unsent && c->state != BK_CONNECTION_CLOSED && !bk_lws_unsent(c->wsi)) c->loop->lws_poll(c->poll, 0, UV_WRITABLE);
  if (c->state != BK_CONNECTION_CLOSED) bk_connection_settle(c);
}

// The peer has half closed or reset while a request is held. One that already has its answer gets
// it first: it may have half closed on purpose.
static bool answer_waits(const struct bk_connection *c) {
  const struct bk_exchange *x = c->exchange;
  return c->state == BK_CONNECTION_DRAINING || (x && x->answered && !x->streaming);
}

static void discard(struct bk_connection *c) {
  char bytes[16384];
  ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0 && (c->discarded += (size_t)n) < LINGER_DISCARD) return;
  if (n < 0) c->reset = true;
  bk_connection_close_now(c);
}

static void on_parked(uv_poll_t *handle, int status, int events) {
  struct bk_connection *c = bk_lws_connection(handle);
  if (status < 0) {
    c->reset = true;
    bk_connection_close_now(c);
  } else if (c->state == BK_CONNECTION_LINGERING) {
    discard(c);
  } else if ((events & UV_DISCONNECT) && !answer_waits(c)) {
    bk_connection_close_now(c);
  } else if (events & UV_WRITABLE) {
    let_write(c);
  } else if (events & UV_DISCONNECT) {
    c->half_closed = true;   // noted; it would be reported for ever
    bk_connection_park(c, UV_WRITABLE);
  }
}

// -- time --------------------------------------------------------------------------------------

void bk_connection_drain(struct bk_connection *c) {
  c->unsent = bk_socket_unsent(c->fd);
  bk_connection_timer(c, c->listener->answer_time);
}

// Who takes bytes, however slowly, gets its answer.
static void on_drain_time(struct bk_connection *c) {
  int unsent = bk_socket_unsent(c->fd);
  if (unsent >= 0 && unsent != c->unsent) {
    bk_connection_drain(c);
  } else {
    bk_host_counters.answer_timeouts++;
    bk_connection_doom(c);
  }
}

static void on_request_time(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_BODY) {
    bk_host_counters.body_timeouts++;
    bk_request_too_slow(c);
  } else if (c->in.len > 0) {
    bk_host_counters.header_timeouts++;
    bk_request_too_slow(c);
  } else {
    *(c->between ? &bk_host_counters.idle_timeouts : &bk_host_counters.silent_timeouts) += 1;
    bk_connection_doom(c);
  }
}

static void on_timer(struct bx_timer *timer) {
  struct bk_connection *c = bx_container_of(timer, struct bk_connection, timer);
  if (bk_connection_takes_bytes(c) || c->state == BK_CONNECTION_GREETING)
    on_request_time(c);
  else if (parks(c))
    on_drain_time(c);
  else
    bk_connection_doom(c);
}

// Over TLS without its word for it: a peer that closes with that word unread resets the connection,
// and the answer has a length.
void bk_connection_linger(struct bk_connection *c) {
  c->state = BK_CONNECTION_LINGERING;
  c->fin_sent = true;
  shutdown(c->fd, SHUT_WR);
  bk_connection_timer(c, LINGER_TIME);
  bk_connection_park(c, UV_READABLE);
}

// -- evidence ----------------------------------------------------------------------------------

int bk_socket_unsent(int fd) {
  int n;
  return ioctl(fd, SIOCOUTQ, &n) == 0 ? n : -1;
}

// Has the peer reset the connection, or has the kernel given it up? The state tells, until we have
// closed our side as well; then, and where there is no TCP, the socket's error.
static bool was_reset(const struct bk_connection *c) {
  struct tcp_info info;
  socklen_t len = sizeof info;
  if (c->reset) return true;
  if (!c->fin_sent && getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) return info.tcpi_state == TCP_CLOSE;
  int error = 0;
  len = sizeof error;
  return getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0;
}

// A reset leaves the count of unacknowledged bytes as it was. Our own end of stream counts as one.
enum bk_arrival bk_connection_evidence(struct bk_connection *c) {
  c->reset = was_reset(c);
  int unsent = bk_socket_unsent(c->fd);
  if (unsent < 0 || unsent > (c->fin_sent ? 1 : 0) || bk_lws_unsent(c->wsi)) return BK_ARRIVAL_LOST;
  return c->reset ? BK_ARRIVAL_RESET : BK_ARRIVAL_YES;
}

// -- what libwebsockets reports ----------------------------------------------------------------

// Whatever waited for the last answer, and for the upgrade in front of it.
static int take(struct bk_connection *c, char *at, size_t len) {
  if (bk_connection_takes_bytes(c)) {
    bk_request_take(c, at, len);
    if (c->state != BK_CONNECTION_WEBSOCKET) return c->failed ? -1 : 0;
    struct bx_buffer rest = c->in;   // frames that were sent behind the upgrade
    c->in = (struct bx_buffer){0};
    int result = c->failed ? -1 : bk_websocket_take(c, rest.at, rest.len);
    bx_buffer_fini(&rest);
    return result;
  }
  if (c->state == BK_CONNECTION_WEBSOCKET) return bk_websocket_take(c, at, len);
  if (parks(c)) bx_buffer_add(&c->in, at, len);   // of a TLS record that was open already
  return 0;
}

int bk_connection_on_bytes(struct bk_connection *c, char *at, size_t len) {
  int result = take(c, at, len);
  if (result == 0) bk_connection_settle(c);
  return result;
}

int bk_connection_on_writable(struct bk_connection *c) {
  int result = 0;
  c->parked = 0;
  if (c->state == BK_CONNECTION_WEBSOCKET)
    result = bk_websocket_on_writable(c);
  else if (c->exchange && parks(c))
    result =
        c->state == BK_CONNECTION_DRAINING ? bk_exchange_drained(c->exchange) : bk_exchange_on_writable(c->exchange);
  if (result == 0 && c->in.len > 0 && bk_connection_takes_bytes(c)) result = take(c, NULL, 0);
  if (result == 0) bk_connection_settle(c);
  return result;
}

// The last callback in which the socket is as the peer left it: soon libwebsockets shuts it down.
void bk_connection_on_unbind(struct bk_connection *c) {
  struct bk_exchange *x = c->exchange;
  if (!x || !x->answered || x->arrival_known) return;
  x->arrival = x->out.len > 0 ? BK_ARRIVAL_LOST : bk_connection_evidence(c);
  x->arrival_known = true;
}

void bk_connection_on_closed(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_CLOSED) return;
  bk_connection_on_unbind(c);
  bool websocket = c->ws.ops != NULL;
  c->state = BK_CONNECTION_CLOSED;
  bk_connection_no_timer(c);
  bx_list_remove(&c->doomed);
  if (c->exchange) bk_exchange_finish(c->exchange, c->exchange->answered ? c->exchange->arrival : BK_ARRIVAL_NONE);
  if (websocket) bk_websocket_over(c);
}
