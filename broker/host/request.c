// SPDX-License-Identifier: Apache-2.0
// From bytes to a handler: the head, what it asks for, the body.
#include <stdio.h>

#include "broker/host/internal.h"
#include "broker/host/local.h"

#define BODY_CREDIT 65536   // bytes of body that buy another listener.header_time

void bk_request_refuse(struct bk_exchange *x, int status, const char *text, const char *why) {
  if (status == 413 || status == 414 || status == 431)
    bk_host_counters.too_large++;
  else if (status != 408)   // which is counted by its reason
    bk_host_counters.bad_requests++;
  bk_debug("request_refused", bk_s("peer", x->connection->peer), bk_u("status", (uint64_t)status), bk_s("reason", why));
  bk_exchange_refuse(x, status, "%s", text);
}

// An exchange for what is no request.
static void refuse_bytes(struct bk_connection *c, int status, const char *text, const char *why) {
  if (c->exchange) bk_exchange_finish(c->exchange, BK_ARRIVAL_PENDING);
  struct bk_exchange *x = bk_exchange_create(c);
  bk_connection_no_timer(c);
  c->state = BK_CONNECTION_BUSY;
  x->close_after = true;
  bk_request_refuse(x, status, text, why);
}

// -- to the handler ----------------------------------------------------------------------------

static void dispatch(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  bk_host_counters.requests++;
  bk_connection_no_timer(c);
  c->state = BK_CONNECTION_BUSY;
  x->body_complete = true;
  x->in_handler = true;
  x->route->handle(x->route->context, x);
  x->in_handler = false;
  BX_BUG_ON(!x->answered && !x->held);   // nobody would ever answer
  bx_buffer_fini(&x->head);
  if (x->answered) bk_exchange_forget_body(x);
}

static void await_body(struct bk_exchange *x) {
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  struct bk_connection *c = x->connection;
  c->state = BK_CONNECTION_BODY;
  c->body_credit = BODY_CREDIT;
  bk_connection_timer(c, c->listener->header_time);
  if (x->chunked_answer && bk_head_has(x->fields, "expect", "100-continue"))
    if (!bk_wire_write(&c->wire, go_on, sizeof go_on - 1)) c->failed = true;
}

// 405 says which methods there are.
static void refuse_method(struct bk_exchange *x) {
  static const struct {
    enum bk_method method;
    const char *name;
  } all[] = {{BK_GET, "GET"},     {BK_HEAD, "HEAD"},     {BK_POST, "POST"},      {BK_PUT, "PUT"},
             {BK_PATCH, "PATCH"}, {BK_DELETE, "DELETE"}, {BK_OPTIONS, "OPTIONS"}};
  unsigned methods = bk_router_methods(x->connection->listener->routes, bk_exchange_path(x));
  struct bx_buffer list = {0};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (methods & all[i].method) bx_buffer_printf(&list, "%s%s", list.len ? ", " : "", all[i].name);
  bk_host_counters.bad_requests++;
  bk_exchange_respond(x, &(struct bk_response){.status = 405,
                                               .content_type = "application/json",
                                               .headers = &(struct bk_header){"allow", bx_buffer_view(&list)},
                                               .header_count = 1,
                                               .body = BX_LIT("{\"error\":\"Method not allowed\"}")});
  bx_buffer_fini(&list);
}

static void route(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  int status;
  x->route = bk_router_find(c->listener->routes, x->method, bk_exchange_path(x), x->parameters, &status);
  if (!x->route && status == 405)
    refuse_method(x);
  else if (!x->route)
    bk_request_refuse(x, status, "Not found", "route");
  else if (x->content_length > c->listener->max_body)
    bk_request_refuse(x, 413, "Too large", "body");
  else if (x->framing == BK_BODY_NONE)
    dispatch(x);
  else
    await_body(x);
}

// -- the head ----------------------------------------------------------------------------------

// The last exchange is over: its peer sends another request.
static void end_last_exchange(struct bk_connection *c) {
  struct bk_exchange *x = c->exchange;
  if (!x) return;
  bool all = x->answered && !bk_wire_unsent(&c->wire) && bk_socket_unsent(c->wire.watch.fd) == 0;
  bk_exchange_finish(x, !x->answered ? BK_ARRIVAL_NONE : all ? BK_ARRIVAL_YES : BK_ARRIVAL_PENDING);
}

static void read_persistence(struct bk_exchange *x) {
  x->keep_alive_1_0 = !x->chunked_answer && bk_head_has(x->fields, "connection", "keep-alive");
  if (x->chunked_answer ? bk_head_has(x->fields, "connection", "close") : !x->keep_alive_1_0) x->close_after = true;
}

// 0, or the status to refuse with.
static int read_head(struct bk_exchange *x, struct bx_slice *host, const char **why) {
  struct bk_head head;
  int status = bk_head_parse(&head, bx_buffer_view(&x->head), why);
  x->method = head.method;
  x->chunked_answer = head.http_1_1;
  if (status) return status;
  *why = "path";
  if (!bk_head_path(&head, &x->text)) return 400;
  x->path_len = x->text.len;
  bx_buffer_add(&x->text, head.target.at + head.path_len, head.target.len - head.path_len);
  x->fields = head.fields;
  *host = head.host;
  x->framing = head.content_length == 0 && head.framing == BK_BODY_LENGTH ? BK_BODY_NONE : head.framing;
  x->content_length = head.content_length;
  return 0;
}

// See local.h. A trusted proxy has looked already.
static bool may_be_called(struct bk_connection *c, struct bx_slice host) {
  const struct cf_strings *names = c->listener->names;
  return !names || c->forwarded || bk_host_is_local(host) || bk_host_is_of(*names, host);
}

static void refuse_name(struct bk_exchange *x, struct bx_slice host) {
  struct bk_listener *l = x->connection->listener;
  bx_millis now = bk_loop_now(l->loop);
  char hint[128];
  if (bk_host_counters.bad_hosts++ == 0 || now - l->name_logged >= 1000) {
    l->name_logged = now;
    snprintf(hint, sizeof hint, "add its origin to %s", l->names_key);
    bk_warn("host.refused", bk_s("listener", l->name), bk_sl("host", host), bk_s("peer", x->connection->peer),
            bk_s("hint", hint));
  }
  x->close_after = true;
  bk_exchange_refuse(x, 403, "This name is not known here");
}

static void begin(struct bk_connection *c, const char *at, size_t len) {
  end_last_exchange(c);
  struct bk_exchange *x = bk_exchange_create(c);
  const char *why = NULL;
  bk_connection_no_timer(c);
  c->state = BK_CONNECTION_BUSY;
  c->between = false;
  bx_buffer_add(&x->head, at, len);
  struct bx_slice host = {0};
  int status = read_head(x, &host, &why);
  if (status) {
    x->close_after = true;
    bk_request_refuse(x, status,
                      status == 501   ? "Method not supported"
                      : status == 505 ? "HTTP version not supported"
                                      : "Bad request",
                      why);
    return;
  }
  bk_connection_identify(c);
  read_persistence(x);
  if (!may_be_called(c, host))
    refuse_name(x, host);
  else if (bk_head_count(x->fields, "upgrade"))
    bk_websocket_upgrade(x);
  else
    route(x);
}

static void refuse_large_head(struct bk_connection *c, const char *at, size_t len) {
  if (memchr(at, '\n', len))
    refuse_bytes(c, 431, "Headers too large", "headers");
  else
    refuse_bytes(c, 414, "Request line too long", "request line");
}

// Returns how many bytes were used; 0: more have to come.
static size_t take_head(struct bk_connection *c, const char *at, size_t len) {
  if (len >= 2 && at[0] == '\r' && at[1] == '\n') {   // some send one behind a body
    c->scanned = 0;
    if (++c->blank_lines <= 8) return 2;
    refuse_bytes(c, 400, "Bad request", "blank lines");
    return len;
  }
  long n = bk_head_end(at, len, &c->scanned);
  size_t max = c->listener->max_head;
  if (n < 0) {
    refuse_bytes(c, 400, "Bad request", "control character");
    return len;
  }
  if ((n ? (size_t)n : len) > max) {
    refuse_large_head(c, at, max);
    return len;
  }
  if (n > 0) {
    c->scanned = c->blank_lines = 0;
    begin(c, at, (size_t)n);
  } else if (c->between) {
    c->between = false;
    bk_connection_timer(c, c->listener->header_time);
  }
  return (size_t)n;
}

// -- the body ----------------------------------------------------------------------------------

static void extend_time(struct bk_connection *c, size_t len) {
  if (len < c->body_credit) {
    c->body_credit -= len;
    return;
  }
  c->body_credit = BODY_CREDIT;
  bk_connection_timer(c, c->listener->header_time);
}

// Nothing is wrong with the request.
static void refuse_for_others(struct bk_exchange *x) {
  static const struct bk_header later = {"retry-after", {"1", 1}};
  bk_debug("request_refused", bk_s("peer", x->connection->peer), bk_u("status", 503), bk_s("reason", "gathered"));
  bk_exchange_respond(x, &(struct bk_response){.status = 503,
                                               .content_type = "application/json",
                                               .headers = &later,
                                               .header_count = 1,
                                               .body = BX_LIT("{\"error\":\"Too many requests at once\"}")});
}

static size_t take_chunks(struct bk_exchange *x, const char *at, size_t len) {
  long used = bk_chunks_feed(&x->chunks, at, len, &x->body);
  if (used < 0) {
    bk_request_refuse(x, 400, "Bad request", "chunks");
    return len;
  }
  if (x->body.len + x->chunks.left > x->connection->listener->max_body)
    bk_request_refuse(x, 413, "Too large", "body");
  else if (x->chunks.state == BK_CHUNKS_OVER)
    dispatch(x);
  else if (!bk_connection_gather(x->connection, x->body.len))
    refuse_for_others(x);
  return (size_t)used;
}

static size_t take_body(struct bk_connection *c, const char *at, size_t len) {
  struct bk_exchange *x = c->exchange;
  BX_BUG_ON(!x);
  extend_time(c, len);
  if (x->framing == BK_BODY_CHUNKED) return take_chunks(x, at, len);
  size_t left = (size_t)x->content_length - x->body.len;
  size_t n = len < left ? len : left;
  if (n < left && !bk_connection_gather(c, x->body.len + n)) {
    refuse_for_others(x);
    return len;
  }
  bx_buffer_add(&x->body, at, n);
  if (n == left) dispatch(x);
  return n;
}

// -- what has come in --------------------------------------------------------------------------

// What is not used up waits; a connection without such bytes holds no buffer.
static void keep(struct bk_connection *c, const char *rest, size_t len) {
  bool wanted = !c->failed && c->state != BK_CONNECTION_LINGERING && c->state != BK_CONNECTION_CLOSED;
  if (len == 0 || !wanted) {
    bx_buffer_fini(&c->in);
  } else if (c->in.len == 0) {
    bx_buffer_add(&c->in, rest, len);
  } else {
    memmove(c->in.at, rest, len);
    c->in.len = len;
  }
}

void bk_request_take(struct bk_connection *c, char *at, size_t len) {
  if (c->in.len > 0) {
    bx_buffer_add(&c->in, at, len);
    at = c->in.at;
    len = c->in.len;
  }
  size_t used = 0;
  c->can_write = true;
  while (!c->failed && used < len && bk_connection_takes_bytes(c)) {
    size_t n =
        c->state == BK_CONNECTION_IDLE ? take_head(c, at + used, len - used) : take_body(c, at + used, len - used);
    struct bk_exchange *x = c->exchange;
    if (x && x->answered && !x->ops && (bk_connection_takes_bytes(c) || c->state == BK_CONNECTION_LINGERING))
      bk_exchange_finish(x, BK_ARRIVAL_NONE);
    if (n == 0) break;
    used += n;
  }
  c->can_write = false;
  keep(c, at + used, len - used);
}

void bk_request_too_slow(struct bk_connection *c) {
  bx_buffer_fini(&c->in);
  if (c->state == BK_CONNECTION_BODY) {
    c->state = BK_CONNECTION_BUSY;
    bk_request_refuse(c->exchange, 408, "Too slow", "body");
  } else {
    refuse_bytes(c, 408, "Too slow", "headers");
  }
}
