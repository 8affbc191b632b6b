// SPDX-License-Identifier: Apache-2.0
// From the library's callbacks to a handler: what a request asks for, whether its framing makes
// sense, its body, and the upgrade to websocket.
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "broker/host/internal.h"

#define BODY_CREDIT 65536   // bytes of body that buy another listener.header_time

static void refuse(struct bk_exchange *x, int status, const char *text) {
  if (status == 413)
    bk_host_counters.too_large++;
  else
    bk_host_counters.bad_requests++;
  bk_exchange_refuse(x, status, "%s", text);
}

// -- what the request says ---------------------------------------------------------------------

// The library decodes the parts of a query; encoded again they can be told apart.
static void read_query(struct bk_exchange *x) {
  struct bx_buffer part = {0};
  for (int n = 0; bx_buffer_clear(&part), bk_lws_query_part(x->connection->wsi, n, &part); n++) {
    bx_buffer_char(&x->text, n ? '&' : '?');
    bool value = false;
    for (size_t i = 0; i < part.len; i++) {
      char c = part.at[i];
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/:,", c) ||
          (c == '=' && !value))
        bx_buffer_char(&x->text, c);
      else
        bx_buffer_printf(&x->text, "%%%02X", (unsigned char)c);
      if (c == '=') value = true;
    }
  }
  bx_buffer_fini(&part);
}

static bool read_request_line(struct bk_exchange *x) {
  struct bx_slice path;
  x->method = bk_lws_request_line(x->connection->wsi, &path);
  if (!x->method) return false;
  bx_buffer_slice(&x->text, path);
  x->path_len = path.len;
  read_query(x);
  return true;
}

// Does a comma-separated header hold the word?
static bool header_has(struct bk_connection *c, const char *name, const char *word) {
  char value[256], *rest = value, *item;
  if (!bk_lws_header(c->wsi, name, value, sizeof value)) return false;
  while ((item = strsep(&rest, ","))) {
    while (*item == ' ' || *item == '\t') item++;
    size_t len = strcspn(item, " \t");
    if (len == strlen(word) && strncasecmp(item, word, len) == 0) return true;
  }
  return false;
}

static void read_persistence(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  bool http_1_1 = bk_lws_http_1_1(c->wsi);
  x->keep_alive_1_0 = !http_1_1 && header_has(c, "connection", "keep-alive");
  x->chunked_answer = http_1_1;
  if (http_1_1 ? header_has(c, "connection", "close") : !x->keep_alive_1_0) x->close_after = true;
}

static bool has_body_by_nature(enum bk_method m) { return m == BK_POST || m == BK_PUT || m == BK_PATCH; }

// How the body is delimited. False: not in a way that is safe to go by.
static bool read_framing(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  char text[32];
  bool length = bk_lws_header_length(c->wsi, "content-length") > 0;
  if (bk_lws_header_length(c->wsi, "transfer-encoding") > 0) {
    bk_lws_header(c->wsi, "transfer-encoding", text, sizeof text);
    x->framing = BK_BODY_CHUNKED;
    x->close_after = true;   // the library cannot find the next request behind it
    // Without a length it awaits a body of some methods only, and spins on what the others send.
    return !length && has_body_by_nature(x->method) && strcasecmp(text, "chunked") == 0;
  }
  if (!length) {
    // No length means no body. The library waits for one nevertheless.
    if (has_body_by_nature(x->method)) x->close_after = true;
    return true;
  }
  bk_lws_header(c->wsi, "content-length", text, sizeof text);
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 15 || text[digits] != '\0') return false;
  x->content_length = strtoull(text, NULL, 10);
  x->framing = x->content_length > 0 || x->method == BK_POST ? BK_BODY_LENGTH : BK_BODY_NONE;
  return true;
}

// -- to the handler ----------------------------------------------------------------------------

static int leave_callback(struct bk_connection *c) {
  struct bk_exchange *x = c->exchange;
  c->can_write = false;
  if (c->failed) return -1;
  if (c->state == BK_CONNECTION_BUSY || c->state == BK_CONNECTION_DRAINING) {
    bk_lws_hold(c->wsi);
    if (c->loop->polling && bx_list_empty(&c->held)) bx_list_append(&c->loop->held, &c->held);
    c->parked = 0;
    bk_connection_park(c, (c->state == BK_CONNECTION_DRAINING || x->want || x->out.len) ? UV_WRITABLE : 0);
  } else if (x && x->answered && !x->ops && !x->in_handler) {
    bk_exchange_finish(x, BK_ARRIVAL_NONE);
  }
  return 0;
}

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
  if (x->answered) bx_buffer_fini(&x->body);
}

static void await_body(struct bk_exchange *x) {
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  struct bk_connection *c = x->connection;
  c->state = BK_CONNECTION_BODY;
  c->body_credit = BODY_CREDIT;
  bk_connection_timer(c, c->listener->header_time);
  if (x->framing == BK_BODY_LENGTH) bx_buffer_reserve(&x->body, (size_t)x->content_length + 1);
  if (header_has(c, "expect", "100-continue") && bk_lws_http_1_1(c->wsi))
    if (!bk_lws_write(c->wsi, go_on, sizeof go_on - 1)) c->failed = true;
}

static void begin(struct bk_exchange *x) {
  struct bk_connection *c = x->connection;
  int status;
  c->state = BK_CONNECTION_BUSY;
  bool good = read_request_line(x);
  read_persistence(x);
  if (!good || (x->chunked_answer && bk_lws_header_length(c->wsi, "host") == 0) || !read_framing(x)) {
    x->close_after = true;
    refuse(x, 400, "Bad request");
    return;
  }
  x->route = bk_router_find(c->listener->routes, x->method, bk_exchange_path(x), x->parameters, &status);
  if (!x->route) {
    refuse(x, status, status == 404 ? "Not found" : "Method not allowed");
  } else if (x->content_length > c->listener->max_body) {
    refuse(x, 413, "Too large");
  } else if (x->framing == BK_BODY_NONE) {
    dispatch(x);
  } else {
    await_body(x);
  }
}

// A request that was sent before the last answer was read waits in the library's buffer. When it
// has a body, 4.1.6 takes its headers for the body. So such a request is refused.
static bool is_unsafe(const struct bk_connection *c) {
  struct bx_slice path;
  bool buffered = !c->loop->polling || (c->answered_turn == c->loop->turn && bk_lws_has_unread(c->loop));
  return buffered &&
         (bk_lws_header_length(c->wsi, "content-length") > 0 || bk_lws_header_length(c->wsi, "transfer-encoding") > 0 ||
          has_body_by_nature(bk_lws_request_line(c->wsi, &path)));
}

int bk_request_on_headers(struct bk_connection *c) {
  if (c->state != BK_CONNECTION_IDLE) return -1;
  bk_lws_no_timeout(c->wsi);
  bk_connection_no_timer(c);
  struct bk_exchange *x = bk_exchange_create(c);
  c->can_write = true;
  if (is_unsafe(c)) {
    x->close_at_once = true;
    refuse(x, 400, "A request with a body must not be sent before the last answer has arrived");
  } else {
    begin(x);
  }
  return leave_callback(c);
}

// -- bodies ------------------------------------------------------------------------------------

static void extend_time(struct bk_connection *c, size_t len) {
  if (len < c->body_credit) {
    c->body_credit -= len;
    return;
  }
  c->body_credit = BODY_CREDIT;
  bk_connection_timer(c, c->listener->header_time);
}

static void on_chunks(struct bk_exchange *x, const char *at, size_t len) {
  if (bk_chunks_feed(&x->chunks, at, len, &x->body) < 0)
    refuse(x, 400, "Bad request");
  else if (x->body.len > x->connection->listener->max_body)
    refuse(x, 413, "Too large");
  else if (x->chunks.state == BK_CHUNKS_OVER)
    dispatch(x);
}

int bk_request_on_body(struct bk_connection *c, const char *at, size_t len) {
  if (c->state != BK_CONNECTION_BODY || len == 0) return 0;
  struct bk_exchange *x = c->exchange;
  extend_time(c, len);
  if (x->framing == BK_BODY_LENGTH) {
    bx_buffer_add(&x->body, at, len);
    return 0;
  }
  c->can_write = true;
  on_chunks(x, at, len);
  return c->state == BK_CONNECTION_BODY && !c->failed ? (c->can_write = false, 0) : leave_callback(c);
}

int bk_request_on_body_end(struct bk_connection *c) {
  if (c->state != BK_CONNECTION_BODY) return 0;   // of a request that was answered or dispatched early
  c->can_write = true;
  dispatch(c->exchange);
  return leave_callback(c);
}

// -- upgrades ----------------------------------------------------------------------------------

void bk_exchange_next(struct bk_connection *c) {
  struct bk_exchange *x = c->exchange;
  if (!x) return;
  bool all = x->answered && !bk_lws_unsent(c->wsi) && bk_socket_unsent(c->fd) == 0;
  bk_exchange_finish(x, !x->answered ? BK_ARRIVAL_NONE : all ? BK_ARRIVAL_YES : BK_ARRIVAL_PENDING);
}

static void refuse_version(struct bk_exchange *x) {
  struct bk_header version = {"sec-websocket-version", BX_LIT("13")};
  bk_host_counters.bad_requests++;
  bk_exchange_respond(x, &(struct bk_response){.status = 426,
                                               .content_type = "application/json",
                                               .headers = &version,
                                               .header_count = 1,
                                               .body = BX_LIT("{\"error\":\"Websocket version 13 is supported\"}")});
}

static void upgrade(struct bk_exchange *x, const char *protocol) {
  struct bk_connection *c = x->connection;
  char version[16] = "";
  int status;
  if (!read_request_line(x)) {
    refuse(x, 400, "Bad request");
    return;
  }
  x->route = bk_router_find_upgrade(c->listener->routes, bk_exchange_path(x), x->parameters, &status);
  bk_lws_header(c->wsi, "sec-websocket-version", version, sizeof version);
  size_t key = bk_lws_header_length(c->wsi, "sec-websocket-key");
  if (!x->route) {
    refuse(x, status, status == 404 ? "Not found" : "No websockets here");
  } else if (strcasecmp(protocol, "websocket") != 0 || x->method != BK_GET) {
    refuse(x, 400, "Only websockets are upgraded to");
  } else if (strcmp(version, "13") != 0) {
    refuse_version(x);
  } else if (!header_has(c, "connection", "upgrade") || key == 0 || key > 120 ||
             bk_lws_header_length(c->wsi, "host") == 0 ||
             bk_lws_header_length(c->wsi, "sec-websocket-protocol") > 120) {
    refuse(x, 400, "Bad websocket request");
  } else {
    x->in_handler = true;
    c->ws.ops = x->route->upgrade(x->route->context, x, &c->ws.user);
    x->in_handler = false;
    BX_BUG_ON(!c->ws.ops != x->answered);   // either a websocket or an answer
  }
}

int bk_request_on_upgrade(struct bk_connection *c, const char *protocol) {
  bk_exchange_next(c);
  if (c->state != BK_CONNECTION_IDLE) return -1;
  bk_lws_no_timeout(c->wsi);
  struct bk_exchange *x = bk_exchange_create(c);
  x->close_at_once = true;
  c->can_write = true;
  upgrade(x, protocol);
  c->can_write = false;
  if (!c->ws.ops) return -1;
  c->state = BK_CONNECTION_WEBSOCKET;
  bk_connection_no_timer(c);
  bk_exchange_finish(x, BK_ARRIVAL_NONE);
  return 0;
}
