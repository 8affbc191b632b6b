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

#define LINGER_TIME 2000           // ms that a peer has to close after our half close
#define LINGER_DISCARD (1 << 20)   // bytes of a request that is not wanted, read until then
#define DRAIN_TIME 30000           // ms without one byte acknowledged, until a slow reader is closed

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
  bx_list_init(&c->held);
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
  bk_peer_text(&c->who, c->peer, sizeof c->peer);
  if (bk_lws_adopt(c->loop, c->fd, c))
    bk_connection_idle(c);
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
  bx_list_remove(&c->held);
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

// -- who watches the socket --------------------------------------------------------------------

void bk_connection_park(struct bk_connection *c, int events) {
  if (!c->half_closed) events |= UV_DISCONNECT;
  if (c->parked == events && c->poll->poll_cb == on_parked) return;
  c->parked = events;
  uv_poll_start(c->poll, events, on_parked);
}

void bk_connection_idle(struct bk_connection *c) {
  c->state = BK_CONNECTION_IDLE;
  c->answered_turn = c->loop->turn;
  bk_connection_timer(c, c->listener->header_time);
}

static bool parks(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_BUSY || c->state == BK_CONNECTION_DRAINING;
}

static bool wants_writable(const struct bk_connection *c) {
  const struct bk_exchange *x = c->exchange;
  return c->state == BK_CONNECTION_DRAINING || (x && (x->want || x->out.len > 0)) || bk_lws_unsent(c->wsi);
}

static void park_again(struct bk_connection *c) {
  c->parked = 0;
  bk_connection_park(c, wants_writable(c) ? UV_WRITABLE : 0);
}

void bk_connection_hold_back(struct bk_connection *c) {
  if (!parks(c)) return;
  bk_lws_read_on(c->wsi, false);
  c->held_back = true;
  park_again(c);
}

static void let_write(struct bk_connection *c) {
  bool held_back = c->held_back;
  if (held_back) bk_lws_read_on(c->wsi, true);   // it would not write either
  c->held_back = false;
  c->loop->lws_poll(c->poll, 0, UV_WRITABLE);
  // Behind an answer the library waits for the socket once more before it waits for a request. It
  // may have that at once.
  if (c->state == BK_CONNECTION_IDLE) c->loop->lws_poll(c->poll, 0, UV_WRITABLE);
  if (!parks(c)) return;
  if (held_back)
    bk_connection_hold_back(c);
  else
    park_again(c);
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

static void on_timer(struct bx_timer *timer) {
  struct bk_connection *c = bx_container_of(timer, struct bk_connection, timer);
  if (c->state == BK_CONNECTION_IDLE || c->state == BK_CONNECTION_BODY || c->state == BK_CONNECTION_GREETING)
    bk_host_counters.header_timeouts++;
  if (c->state == BK_CONNECTION_DRAINING) {
    int unsent = bk_socket_unsent(c->fd);
    if (unsent >= 0 && unsent != c->unsent) {
      c->unsent = unsent;
      bk_connection_timer(c, DRAIN_TIME);
      return;
    }
  }
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

int bk_connection_on_writable(struct bk_connection *c) {
  if (!c->exchange || !parks(c)) return 0;
  int result =
      c->state == BK_CONNECTION_DRAINING ? bk_exchange_drained(c->exchange) : bk_exchange_on_writable(c->exchange);
  if (result == 0 && parks(c)) park_again(c);
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

// Bytes that are not HTTP, or a method that libwebsockets does not know.
int bk_connection_on_garbage(struct bk_connection *c, const char *at, size_t len) {
  if (c->state != BK_CONNECTION_IDLE) return 0;
  size_t word = 0;
  while (word < len && at[word] >= 'A' && at[word] <= 'Z') word++;
  bool method = word > 0 && word < len && at[word] == ' ';
  bk_host_counters.bad_requests++;
  const char *body = method ? "{\"error\":\"Method not supported\"}" : "{\"error\":\"Bad request\"}";
  struct bx_buffer *out = &c->loop->scratch;
  bx_buffer_clear(out);
  bx_buffer_printf(out, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n",
                   method ? "501 Not Implemented" : "400 Bad Request", strlen(body));
  bx_buffer_printf(out, "connection: close\r\n\r\n%s", body);
  if (!bk_lws_write(c->wsi, out->at, out->len)) return -1;
  bk_connection_linger(c);
  return 0;
}
