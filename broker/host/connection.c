// SPDX-License-Identifier: Apache-2.0
// One accepted socket: what it waits for, how it ends, and what its end says about the answer that was
// written last.
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/internal.h"

#define HEAD_INPUT 16384                    // bytes read at once where a request begins
#define LINGER_TIME 2000                    // ms that a peer has to close after our half close
#define LINGER_DISCARD (16 * 1024 * 1024)   // bytes of what is not wanted, read until then

static void on_timer(struct bx_timer *timer);
static void on_ready(struct bk_watch *watch, uint32_t events);

void bk_connection_timer(struct bk_connection *c, bx_millis after) {
  bx_wheel_set(&c->loop->wheel, &c->timer, bk_loop_now(c->loop) + after);
}

void bk_connection_no_timer(struct bk_connection *c) { bx_wheel_cancel(&c->loop->wheel, &c->timer); }

static struct bk_connection *create(struct bk_listener *l, int fd, const struct bk_peer *peer) {
  struct bk_connection *c = bx_alloc(sizeof *c);
  if (!bk_watch_open(l->loop, &c->wire.watch, fd, EPOLLIN, on_ready)) {
    bk_host_counters.accept_failures++;
    close(fd);
    bx_free(c);
    return NULL;
  }
  c->loop = l->loop;
  c->listener = l;
  c->hop = *peer;
  bx_list_append(&l->connections, &c->link);
  bx_list_init(&c->doomed);
  bx_timer_init(&c->timer, on_timer);
  l->count++;
  bk_host_counters.accepted++;
  bk_host_counters.open++;
  return c;
}

void bk_connection_create(struct bk_listener *l, int fd, const struct bk_peer *peer) {
  struct bk_connection *c = create(l, fd, peer);
  if (!c) return;
  if (l->proxy_protocol && bk_proxies_have(l->proxies, peer))
    bk_greeting_await(c);
  else
    bk_connection_begin(c);
}

void bk_connection_begin(struct bk_connection *c) {
  c->who = c->hop;
  c->tls = c->listener->tls != NULL;
  c->secure = c->tls;
  c->state = BK_CONNECTION_IDLE;
  bk_peer_text(&c->who, c->peer, sizeof c->peer);
  if (c->tls) bk_tls_attach(c->listener->tls, c);
  bk_connection_timer(c, c->listener->header_time);
}

void bk_connection_free(struct bk_connection *c) {
  BX_BUG_ON(c->state != BK_CONNECTION_CLOSED || c->exchange);
  bx_list_remove(&c->link);
  bx_list_remove(&c->doomed);
  bx_buffer_fini(&c->in);
  c->listener->count--;
  bk_host_counters.open--;
  bx_free(c);
}

void bk_connection_doom(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_CLOSED) return;
  bx_list_remove(&c->doomed);
  bx_list_append(&c->loop->doomed, &c->doomed);
}

// Before the socket is closed: what it says about the last answer.
static void learn_arrival(struct bk_connection *c) {
  struct bk_exchange *x = c->exchange;
  if (!x || !x->answered || x->arrival_known) return;
  x->arrival = x->out.len > 0 ? BK_ARRIVAL_LOST : bk_connection_evidence(c);
  x->arrival_known = true;
}

void bk_connection_close_now(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_CLOSED) return;
  learn_arrival(c);
  bk_greeting_end(c);
  if (c->tls && !c->tls_ready) bk_host_counters.tls_failures++;
  c->state = BK_CONNECTION_CLOSED;
  bk_connection_no_timer(c);
  bx_list_remove(&c->doomed);
  bx_list_append(&c->loop->gone, &c->doomed);
  if (c->exchange) bk_exchange_finish(c->exchange, c->exchange->answered ? c->exchange->arrival : BK_ARRIVAL_NONE);
  if (c->ws.ops) bk_websocket_over(c);
  bk_wire_close(c->loop, &c->wire);
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

// -- what it waits for -------------------------------------------------------------------------

void bk_connection_idle(struct bk_connection *c) {
  c->state = BK_CONNECTION_IDLE;
  c->between = true;
  bk_connection_timer(c, c->listener->idle_time);
}

static bool is_answering(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_BUSY || c->state == BK_CONNECTION_DRAINING;
}

static bool is_paused(const struct bk_connection *c) {
  return c->state == BK_CONNECTION_WEBSOCKET && bk_websocket_waits(&c->ws);
}

// Who is not read is watched for its end, until that was seen: it would be told for ever.
static uint32_t wanted(const struct bk_connection *c) {
  uint32_t end = c->half_closed ? 0 : EPOLLRDHUP;
  bool unsent = bk_wire_unsent(&c->wire);
  if (c->state == BK_CONNECTION_LINGERING) return EPOLLIN;
  if (is_answering(c) || unsent) return end | (unsent ? EPOLLOUT : 0);
  if (is_paused(c)) return 0;   // it may say more than that it ends
  if (c->wire.blocked) return end | EPOLLOUT;
  // A rest is taken when the socket is looked at next.
  return EPOLLIN | end | (c->ws.rest || (c->ws.want && !c->ws.closing) ? EPOLLOUT : 0);
}

// Most peers are silent while they wait for an answer: that they are not to be read is told to the kernel
// only when they are not.
void bk_connection_settle(struct bk_connection *c) {
  if (c->state == BK_CONNECTION_CLOSED) return;
  uint32_t events = wanted(c), now = c->wire.watch.events;
  if (events != EPOLLRDHUP || now != (EPOLLIN | EPOLLRDHUP)) bk_watch_set(c->loop, &c->wire.watch, events);
}

// -- what happened to its socket ---------------------------------------------------------------

// The peer has half closed or reset while a request is held. One that already has its answer gets
// it first: it may have half closed on purpose.
static bool answer_waits(const struct bk_connection *c) {
  const struct bk_exchange *x = c->exchange;
  return c->state == BK_CONNECTION_DRAINING || (x && x->answered && !x->streaming);
}

static void discard(struct bk_connection *c) {
  ssize_t n = recv(c->wire.watch.fd, c->loop->input, BK_INPUT, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0 && (c->discarded += (size_t)n) < LINGER_DISCARD) return;
  if (n < 0) c->reset = true;
  c->failed = true;
}

// Whatever waited for the last answer, and for the upgrade in front of it.
static void take(struct bk_connection *c, char *at, size_t len) {
  if (bk_connection_takes_bytes(c)) {
    bk_request_take(c, at, len);
    if (c->state != BK_CONNECTION_WEBSOCKET || c->failed) return;
    struct bx_buffer rest = c->in;   // frames that were sent behind the upgrade
    c->in = (struct bx_buffer){0};
    bk_websocket_take(c, rest.at, rest.len);
    bx_buffer_fini(&rest);
  } else if (c->state == BK_CONNECTION_WEBSOCKET) {
    bk_websocket_take(c, at, len);
  }
}

// Behind a request that is held all that was read waits with us: of what is not a body no more is read
// than TLS would have given.
static void read_some(struct bk_connection *c) {
  bool whole = c->wire.ssl || c->state != BK_CONNECTION_IDLE;
  long n = bk_wire_read(&c->wire, c->loop->input, whole ? BK_INPUT : HEAD_INPUT);
  if (n > 0)
    take(c, c->loop->input, (size_t)n);
  else if (n != BK_WIRE_LATER)
    c->failed = true;
  if (n == BK_WIRE_BROKEN && !c->tls) c->reset = true;
}

static void write_some(struct bk_connection *c) {
  if (!bk_wire_flush(&c->wire)) {
    c->failed = true;
    return;
  }
  if (bk_wire_unsent(&c->wire)) return;
  if (c->state == BK_CONNECTION_WEBSOCKET)
    bk_websocket_on_writable(c);
  else if (c->state == BK_CONNECTION_DRAINING)
    bk_exchange_drained(c->exchange);
  else if (c->state == BK_CONNECTION_BUSY)
    bk_exchange_on_writable(c->exchange);
  bool takes = bk_connection_takes_bytes(c) || (c->state == BK_CONNECTION_WEBSOCKET && !is_paused(c));
  if (!c->failed && c->in.len > 0 && takes) take(c, NULL, 0);
}

// Nothing is to be read, but its end is told. A peer that closed both ways takes no answer: of a unix
// socket that would be told for ever.
static void notice_end(struct bk_connection *c, uint32_t events) {
  if (events & EPOLLERR) c->reset = true;
  if ((events & (EPOLLERR | EPOLLHUP)) || c->reset || !answer_waits(c))
    c->failed = true;
  else
    c->half_closed = true;
}

static void on_ready(struct bk_watch *watch, uint32_t events) {
  struct bk_connection *c = bx_container_of(watch, struct bk_connection, wire.watch);
  const uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  bool reads = wanted(c) & EPOLLIN;
  if (!bx_list_empty(&c->doomed)) return;   // whoever doomed it is done with it
  if (c->state == BK_CONNECTION_GREETING) {
    bk_greeting_ready(c);
  } else if (c->state == BK_CONNECTION_LINGERING) {
    discard(c);
  } else {
    if (!reads && (events & ends)) notice_end(c, events);
    if (!c->failed && (events & EPOLLOUT)) write_some(c);
    bool goes_on = c->wire.blocked && (events & EPOLLOUT) && !is_answering(c);
    bool may_read = goes_on || (reads && (events & (EPOLLIN | ends)));
    if (!c->failed && may_read && !bk_wire_unsent(&c->wire) && !is_paused(c)) read_some(c);
  }
  if (c->failed)
    bk_connection_close_now(c);
  else if (!reads && (events & EPOLLIN))
    bk_watch_set(c->loop, watch, wanted(c));
  else
    bk_connection_settle(c);
}

void bk_connection_flush(struct bk_connection *c) {
  if (c->state != BK_CONNECTION_BUSY || bk_wire_unsent(&c->wire) || !bx_list_empty(&c->doomed)) return;
  write_some(c);
  if (c->failed)
    bk_connection_doom(c);
  else
    bk_connection_settle(c);
}

// -- time --------------------------------------------------------------------------------------

void bk_connection_drain(struct bk_connection *c) {
  c->unsent = bk_socket_unsent(c->wire.watch.fd);
  bk_connection_timer(c, c->listener->answer_time);
}

// Who takes bytes, however slowly, gets its answer.
static void on_drain_time(struct bk_connection *c) {
  int unsent = bk_socket_unsent(c->wire.watch.fd);
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
  else if (is_answering(c))
    on_drain_time(c);
  else
    bk_connection_doom(c);
}

// Over TLS without its word for it: a peer that closes with that word unread resets the connection,
// and the answer has a length.
void bk_connection_linger(struct bk_connection *c) {
  c->state = BK_CONNECTION_LINGERING;
  c->fin_sent = true;
  shutdown(c->wire.watch.fd, SHUT_WR);
  bk_connection_timer(c, LINGER_TIME);
  bk_connection_settle(c);
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
  if (!c->fin_sent && getsockopt(c->wire.watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
    return info.tcpi_state == TCP_CLOSE;
  int error = 0;
  len = sizeof error;
  return getsockopt(c->wire.watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0;
}

// A reset leaves the count of unacknowledged bytes as it was. Our own end of stream counts as one. A proxy that has it all
// has read it; it may reset what it needs no more, as haproxy does: that says nothing of the client behind it.
enum bk_arrival bk_connection_evidence(struct bk_connection *c) {
  c->reset = was_reset(c);
  int unsent = bk_socket_unsent(c->wire.watch.fd);
  if (unsent < 0 || unsent > (c->fin_sent ? 1 : 0) || bk_wire_unsent(&c->wire)) return BK_ARRIVAL_LOST;
  return c->reset && !c->named ? BK_ARRIVAL_RESET : BK_ARRIVAL_YES;
}
