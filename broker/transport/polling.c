// SPDX-License-Identifier: Apache-2.0
// Polling transports: a request brings a text, its answer carries the replies. JSON posts
// (long-polling), forms with a field `message` (cross-origin-long-polling: browsers send them to another
// site without asking first), and GETs that are answered as JavaScript (callback-polling).
//
// A request is kept as a struct poll until its exchange has ended, because only then it is known
// whether the answer arrived.
#include "bayeux/buffer.h"
#include "broker/transport/link.h"

struct poll {
  struct bk_link link;
  struct bk_exchange *exchange;
  bool refused;                // answered 400: the protocol never saw it
  bool answered;               // the protocol's answer was given to the exchange
  bool lost;                   // the server knows that the connection is gone
  bool counted;                // among those that wait; while draining until it has ended
  struct bx_buffer callback;   // of callback-polling; empty otherwise
  char origin[];               // of an admitted page; empty: none
};

static struct poll *poll_of(struct bk_link *l) { return bx_container_of(l, struct poll, link); }

// -- answers ---------------------------------------------------------------------------------------

// U+2028 and U+2029 end a line in older JavaScript, though not in JSON: they are escaped.
static void add_as_script(struct bx_buffer *out, struct bx_slice json) {
  const char *from = json.at, *end = json.at + json.len;
  for (const char *at; (at = memmem(from, (size_t)(end - from), "\xe2\x80", 2)) != NULL && end - at > 2;) {
    bool separator = at[2] == '\xa8' || at[2] == '\xa9';
    bx_buffer_add(out, from, (size_t)(at - from) + (separator ? 0 : 3));
    if (separator) bx_buffer_printf(out, "\\u202%c", at[2] == '\xa8' ? '8' : '9');
    from = at + 3;
  }
  bx_buffer_add(out, from, (size_t)(end - from));
}

static void respond(struct poll *p, struct bx_slice json) {
  static const struct bk_header common[] = {
      {"cache-control", {"no-cache, no-store", 18}},
      {"x-content-type-options", {"nosniff", 7}},
  };
  struct bk_header headers[3 + BK_CORS_HEADERS] = {common[0], common[1]};
  struct bk_response r = {.status = 200, .headers = headers, .header_count = 2, .body = json};
  struct bx_buffer script = {0};
  r.content_type = "application/json; charset=utf-8";
  if (p->callback.len > 0) {
    r.content_type = "text/javascript; charset=utf-8";
    headers[r.header_count++] = (struct bk_header){"content-disposition", BX_LIT("attachment; filename=f.txt")};
    bx_buffer_lit(&script, "/**/");
    bx_buffer_slice(&script, bx_buffer_view(&p->callback));
    bx_buffer_char(&script, '(');
    add_as_script(&script, json);
    bx_buffer_lit(&script, ");");
    r.body = bx_buffer_view(&script);
  }
  r.header_count += bk_cors_headers(p->origin, headers + r.header_count);
  if (p->link.transport->draining) bk_exchange_close_after(p->exchange);
  bk_exchange_respond(p->exchange, &r);
  bx_buffer_fini(&script);
}

// -- the life of a poll ----------------------------------------------------------------------------

// An answered poll may stay for long, until the next request of its connection.
static void count_out(struct poll *p) {
  if (p->counted) p->link.transport->counters.polls--;
  p->counted = false;
}

static void drain(struct bk_link *l) {
  struct poll *p = poll_of(l);
  if (!p->answered && !p->lost) bk_exchange_want_writable(p->exchange);
}

static void lose(struct poll *p) {
  if (!p->lost) bx_connection_lost(&p->link.connection, false);
  p->lost = true;
}

static void writable(struct bk_exchange *x) {
  struct poll *p = bk_exchange_user(x);
  struct bk_transport *t = p->link.transport;
  if (p->refused || p->answered || p->lost) return;
  if (bk_exchange_peer_gone(x)) {
    t->counters.polls_gone++;
    lose(p);
    return;
  }
  bx_buffer_clear(&t->out);
  if (!bx_connection_answer(&p->link.connection, &t->out)) return;
  p->answered = true;
  if (!t->draining) count_out(p);
  if (p->link.connection.failed)
    bk_answer_text(x, 503, BX_LIT("Not available"));
  else
    respond(p, bx_buffer_view(&t->out));
}

static enum bx_arrival arrival_of(enum bk_arrival arrival) {
  switch (arrival) {
  case BK_ARRIVAL_YES: return BX_ARRIVAL_YES;
  case BK_ARRIVAL_PENDING: return BX_ARRIVAL_PENDING;
  case BK_ARRIVAL_RESET: return BX_ARRIVAL_RESET;
  case BK_ARRIVAL_NONE:
  case BK_ARRIVAL_LOST: break;
  }
  return BX_ARRIVAL_LOST;
}

static void ended(struct bk_exchange *x, enum bk_arrival arrival) {
  struct poll *p = bk_exchange_user(x);
  if (p->answered)
    bx_connection_settle(&p->link.connection, arrival_of(arrival));
  else
    lose(p);
  count_out(p);
  bk_link_fini(&p->link);
  bx_buffer_fini(&p->callback);
  bx_free(p);
}

static enum bx_arrival arrival(struct bx_connection *c) {
  struct poll *p = poll_of(bk_link_of(c));
  return p->answered ? arrival_of(bk_exchange_arrival(p->exchange)) : BX_ARRIVAL_LOST;
}

static const struct bk_exchange_ops exchange_ops = {.writable = writable, .ended = ended};
static const struct bx_connection_ops connection_ops = {.wake = bk_link_wake, .arrival = arrival};

// callback: what the answer is wrapped in, moved; NULL: it is JSON.
static void begin(struct bk_endpoint *e, struct bk_exchange *x, const char *origin, const char *transport,
                  struct bx_slice text, struct bx_buffer *callback) {
  struct poll *p = bx_alloc(sizeof *p + strlen(origin) + 1);
  p->exchange = x;
  memcpy(p->origin, origin, strlen(origin) + 1);
  if (callback) {
    p->callback = *callback;
    *callback = (struct bx_buffer){0};
  }
  bk_exchange_hold(x, &exchange_ops, p);
  bk_link_init(&p->link, e, &connection_ops, BX_CONNECTION_POLL, transport, bk_exchange_peer(x), drain);
  p->link.connection.secure = bk_exchange_secure(x);
  p->counted = true;
  e->transport->counters.polls++;
  e->transport->counters.polled++;
  bool good = bx_connection_receive(&p->link.connection, text);
  bk_exchange_forget_request(x);
  if (good) return;
  p->refused = true;
  count_out(p);
  bk_mount_refuse(e, x);
}

// -- requests --------------------------------------------------------------------------------------

static bool is_word(char c, bool first) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || (!first && c >= '0' && c <= '9');
}

// Names joined by dots: what may be called without becoming a script of its own.
static bool is_callback(struct bx_slice text) {
  bool first = true;
  for (size_t i = 0; i < text.len; i++) {
    if (text.at[i] == '.' && !first)
      first = true;
    else if (is_word(text.at[i], first))
      first = false;
    else
      return false;
  }
  return !first;
}

// The callback that is asked for, or the standard one. False: it may not be called.
static bool read_callback(struct bx_slice parameters, struct bx_buffer *callback) {
  bk_query_get(parameters, "jsonp", callback);
  if (callback->len == 0) bx_buffer_lit(callback, "jsonpcallback");
  return is_callback(bx_buffer_view(callback));
}

void bk_poll_callback(struct bk_endpoint *e, struct bk_exchange *x, const char *origin) {
  struct bx_slice query = bk_exchange_query(x);
  struct bx_buffer message = {0}, callback = {0};
  bool good = e->transport->options.jsonp && read_callback(query, &callback) &&
              bk_query_get(query, "message", &message) && message.len > 0;
  if (good) {
    e->transport->counters.callback_requests++;
    begin(e, x, origin, "callback-polling", bx_buffer_view(&message), &callback);
  } else {
    bk_mount_refuse(e, x);
  }
  bx_buffer_fini(&message);
  bx_buffer_fini(&callback);
}

// To the letter as Faye has it: case, blanks, and nothing but a semicolon behind.
static bool is_json(const struct bk_exchange *x) {
  static const char json[] = "application/json";
  char type[128];
  size_t len = sizeof json - 1;
  if (!bk_exchange_header(x, "content-type", type, sizeof type)) return false;
  return strncmp(type, json, len) == 0 && (type[len] == 0 || type[len] == ';');
}

// A callback is not used here, but it has to be a good one.
static void post_form(struct bk_endpoint *e, struct bk_exchange *x, const char *origin) {
  struct bx_slice form = bk_exchange_body(x);
  struct bx_buffer message = {0}, callback = {0};
  if (read_callback(form, &callback) && bk_query_get(form, "message", &message) && message.len > 0) {
    e->transport->counters.form_requests++;
    begin(e, x, origin, "cross-origin-long-polling", bx_buffer_view(&message), NULL);
  } else {
    bk_mount_refuse(e, x);
  }
  bx_buffer_fini(&message);
  bx_buffer_fini(&callback);
}

void bk_poll_post(struct bk_endpoint *e, struct bk_exchange *x, const char *origin) {
  if (!is_json(x)) {
    post_form(e, x, origin);
    return;
  }
  e->transport->counters.json_requests++;
  begin(e, x, origin, "long-polling", bk_exchange_body(x), NULL);
}
