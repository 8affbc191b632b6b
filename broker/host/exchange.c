// SPDX-License-Identifier: Apache-2.0
// A request and its answer: at once, later, or as a stream.
//
// An answer is written in the connection's own turn (connection.can_write): when its request comes, when
// its socket takes bytes again, or at the end of the loop's turn. One that is given elsewhere waits in `out`.
// Streams are written directly, once per turn.
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "broker/host/internal.h"

#define STREAM_LIMIT (1 << 20)
#define STREAM_TURN 16384   // bytes that a patient writer gives to one turn

struct bk_exchange *bk_exchange_create(struct bk_connection *c) {
  BX_BUG_ON(c->exchange);
  struct bk_exchange *x = bx_alloc(sizeof *x);
  x->connection = c;
  bx_list_init(&x->flush);
  c->exchange = x;
  return x;
}

void bk_exchange_forget_body(struct bk_exchange *x) {
  bx_buffer_fini(&x->body);
  bk_connection_gathered(x->connection);
}

void bk_exchange_finish(struct bk_exchange *x, enum bk_arrival arrival) {
  BX_BUG_ON(x->in_handler);
  x->connection->exchange = NULL;
  bx_list_remove(&x->flush);
  if (x->ops && x->ops->ended) x->ops->ended(x, arrival);
  bx_buffer_fini(&x->head);
  bx_buffer_fini(&x->text);
  bk_exchange_forget_body(x);
  bx_buffer_fini(&x->out);
  bx_free(x);
}

// -- the request -------------------------------------------------------------------------------

enum bk_method bk_exchange_method(const struct bk_exchange *x) { return x->method; }
struct bx_slice bk_exchange_body(const struct bk_exchange *x) {
  return bx_buffer_view(&x->body);
}
struct bx_slice bk_exchange_peer(const struct bk_exchange *x) {
  return bx_slice_of(x->connection->peer);
}
bool bk_exchange_forwarded(const struct bk_exchange *x) { return x->connection->forwarded; }
bool bk_exchange_secure(const struct bk_exchange *x) { return x->connection->secure; }

void bk_exchange_forget_request(struct bk_exchange *x) {
  bx_buffer_fini(&x->text);
  bk_exchange_forget_body(x);
  x->path_len = 0;
  memset(x->parameters, 0, sizeof x->parameters);
}

struct bx_slice bk_exchange_path(const struct bk_exchange *x) {
  return (struct bx_slice){x->text.at, x->path_len};
}

struct bx_slice bk_exchange_query(const struct bk_exchange *x) {
  size_t skip = x->path_len + 1;
  if (x->text.len <= skip) return (struct bx_slice){0};
  return (struct bx_slice){x->text.at + skip, x->text.len - skip};
}

bool bk_exchange_header(const struct bk_exchange *x, const char *name, char *out, size_t size) {
  struct bx_buffer value = {0};
  BX_BUG_ON(!x->in_handler);
  bool found = bk_head_get(x->fields, name, &value);
  if (found) snprintf(out, size, "%.*s", (int)value.len, value.at);
  bx_buffer_fini(&value);
  return found;
}

// -- the answer --------------------------------------------------------------------------------

// All of the answer is with the wire.
static void complete(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  if (!x->in_handler) bk_exchange_forget_body(x);
  if (bk_wire_unsent(&c->wire)) {
    c->state = BK_CONNECTION_DRAINING;
    bk_connection_drain(c);
  } else if (x->close_after) {
    bk_connection_linger(c);
  } else {
    bk_connection_idle(c);
  }
}

static void write_now(struct bk_exchange *x, struct bx_slice bytes) {
  if (bk_wire_write(&x->connection->wire, bytes.at, bytes.len)) {
    complete(x);
  } else {
    x->connection->failed = true;
    x->arrival = BK_ARRIVAL_LOST;
    x->arrival_known = true;
  }
}

// The end of this turn, or when the socket takes bytes again.
static void flush_later(struct bk_exchange *x) {
  bx_list_remove(&x->flush);
  bx_list_append(&x->connection->loop->flushing, &x->flush);
  bk_loop_again(x->connection->loop);
}

void bk_exchange_respond(struct bk_exchange *x, const struct bk_response *r) {
  struct bk_connection *c = x->connection;
  BX_BUG_ON(x->answered);
  x->answered = true;
  if (x->framing != BK_BODY_NONE && !x->body_complete) x->close_after = true;
  struct bx_buffer *out = c->can_write ? &c->loop->scratch : &x->out;
  bx_buffer_clear(out);
  bk_response_write(out, x, r);
  if (c->can_write) {
    write_now(x, bx_buffer_view(out));
  } else {
    bk_connection_drain(c);
    flush_later(x);
  }
}

void bk_exchange_refuse(struct bk_exchange *x, int status, const char *format, ...) {
  struct bx_buffer body = {0};
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  bx_buffer_lit(&body, "{\"error\":");
  bx_buffer_json_string(&body, bx_slice_of(text));
  bx_buffer_char(&body, '}');
  bk_exchange_respond(
      x, &(struct bk_response){.status = status, .content_type = "application/json", .body = bx_buffer_view(&body)});
  bx_buffer_fini(&body);
}

void bk_exchange_hold(struct bk_exchange *x, const struct bk_exchange_ops *ops, void *user) {
  x->held = true;
  x->ops = ops;
  x->user = user;
}

void *bk_exchange_user(const struct bk_exchange *x) { return x->user; }

void bk_exchange_want_writable(struct bk_exchange *x) {
  if (x->answered && !x->streaming) return;
  x->want = true;
  flush_later(x);
}

void bk_exchange_abort(struct bk_exchange *x) { bk_connection_doom(x->connection); }

void bk_exchange_close_after(struct bk_exchange *x) { x->close_after = true; }

// -- streams -----------------------------------------------------------------------------------

void bk_exchange_stream(struct bk_exchange *x, const struct bk_response *r) {
  BX_BUG_ON(x->answered || !x->held);
  x->answered = x->streaming = true;
  if (!x->chunked_answer || !x->body_complete) x->close_after = true;
  bk_response_write(&x->out, x, r);
  flush_later(x);
}

static void add_chunk(struct bk_exchange *x, struct bx_slice bytes) {
  if (x->method == BK_HEAD || bytes.len == 0) return;
  if (x->chunked_answer) bx_buffer_printf(&x->out, "%zx\r\n", bytes.len);
  bx_buffer_slice(&x->out, bytes);
  if (x->chunked_answer) bx_buffer_lit(&x->out, "\r\n");
}

bool bk_exchange_stream_write(struct bk_exchange *x, struct bx_slice bytes) {
  BX_BUG_ON(!x->streaming || x->stream_over);
  if (x->out.len + bytes.len > STREAM_LIMIT) {
    bk_host_counters.stream_overflows++;
    return false;
  }
  add_chunk(x, bytes);
  flush_later(x);
  return true;
}

void bk_exchange_stream_end(struct bk_exchange *x) {
  BX_BUG_ON(!x->streaming || x->stream_over);
  x->stream_over = true;
  if (x->chunked_answer && x->method != BK_HEAD) bx_buffer_lit(&x->out, "0\r\n\r\n");
  flush_later(x);
}

bool bk_exchange_stream_ready(const struct bk_exchange *x) {
  return x->out.len < STREAM_TURN && !bk_wire_unsent(&x->connection->wire);
}

uint64_t bk_exchange_stream_taken(const struct bk_exchange *x) {
  int unsent = bk_socket_unsent(x->connection->wire.watch.fd);
  return x->written - (unsent > 0 ? (uint64_t)unsent : 0);
}

static bool flush(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  if (x->out.len == 0 || bk_wire_unsent(&c->wire)) return true;
  if (!bk_wire_write(&c->wire, x->out.at, x->out.len)) {
    x->arrival = BK_ARRIVAL_LOST;
    x->arrival_known = true;
    return false;
  }
  x->written += x->out.len;
  bx_buffer_fini(&x->out);   // an idle stream holds no buffer
  return true;
}

// -- the socket takes bytes ---------------------------------------------------------------------

void bk_exchange_on_writable(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  c->can_write = true;
  if (x->streaming && !flush(x)) {
    c->failed = true;
  } else if (x->streaming && x->stream_over && x->out.len == 0) {
    complete(x);
  } else if (x->answered && !x->streaming && x->out.len > 0) {
    struct bx_buffer out = x->out;
    x->out = (struct bx_buffer){0};
    write_now(x, bx_buffer_view(&out));
    bx_buffer_fini(&out);
  } else if (x->want && !bk_wire_unsent(&c->wire)) {
    x->want = false;
    x->ops->writable(x);
  }
  c->can_write = false;
  bool over = c->state != BK_CONNECTION_BUSY && c->state != BK_CONNECTION_DRAINING;
  if (over && !x->ops) bk_exchange_finish(x, BK_ARRIVAL_NONE);
}

void bk_exchange_drained(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  complete(x);
  if (!x->ops && c->state != BK_CONNECTION_DRAINING) bk_exchange_finish(x, BK_ARRIVAL_NONE);
}

// -- what is known of the peer -----------------------------------------------------------------

bool bk_exchange_peer_gone(const struct bk_exchange *x) {
  char byte;
  ssize_t n = recv(x->connection->wire.watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

enum bk_arrival bk_exchange_arrival(const struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  if (!x->answered) return BK_ARRIVAL_NONE;
  if (x->arrival_known) return x->arrival;
  if (x->out.len > 0) return BK_ARRIVAL_PENDING;
  enum bk_arrival arrival = bk_connection_evidence(c);
  return arrival == BK_ARRIVAL_LOST && !c->reset ? BK_ARRIVAL_PENDING : arrival;
}
