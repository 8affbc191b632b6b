// SPDX-License-Identifier: Apache-2.0
// Asking for permission, and what of `ext` stays here: see access.h.
#include "bayeux/access.h"

#include "bayeux/server_private.h"

// Of U+0080 to U+009F, too: terminals obey some of them.
static bool is_control(const char *at, const char *end) {
  unsigned char c = (unsigned char)at[0], next = at + 1 < end ? (unsigned char)at[1] : 0;

  return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

static bool is_name(struct bx_slice text, size_t longest) {
  if (text.len == 0 || text.len > longest) return false;
  for (const char *at = text.at, *end = text.at + text.len; at < end; at++)
    if (is_control(at, end)) return false;
  return true;
}

bool bx_user_is_valid(struct bx_slice user) { return is_name(user, BX_MAX_USER); }
bool bx_token_is_valid(struct bx_slice token) { return is_name(token, BX_MAX_TOKEN); }

void bx_server_guard(struct bx_server *server, struct bx_access *access) {
  server->access = access;
  if (access == NULL) return;
  access->server = server;
  if (access->ops->counts != NULL && !server->engine->ops->locates && server->presence == NULL)
    server->presence = bx_presence_create(server);
}

// -- asking ----------------------------------------------------------------------------------------

static void answer(struct bx_pending *p, struct bx_access_answer *a) {
  struct bx_counters *counters = &p->batch->server->counters;

  if (a->verdict == BX_DENY) {
    counters->denied++;
    if (a->error.len == 0) a->error = BX_LIT("403::Forbidden");
  } else if (a->verdict != BX_ALLOW) {
    counters->unavailable++;
  }
  p->decided(p, a);
}

// Nobody waits for the answer any more, or nobody will give one.
static void cancel(struct bx_server *server, struct bx_pending *p) {
  const struct bx_access_answer none = {.verdict = BX_UNAVAILABLE};

  server->access->ops->cancel(server->access, &p->access);
  bx_access_decide(server, &p->access, &none);
}

// A short text may have many messages.
static size_t held_by(const struct bx_batch *b) {
  const struct bx_messages *m = &b->messages;

  return sizeof *b + b->len + m->cap * sizeof *m->at + m->member_cap * sizeof *m->members;
}

void bx_pending_ask(struct bx_call *call, struct bx_pending *p, enum bx_access_verb verb,
                    const struct bx_slice *channels, size_t count) {
  struct bx_server *server = call->batch->server;
  struct bx_access_answer a = {.verdict = BX_ALLOW};

  if (server->access == NULL || (count == 0 && verb != BX_ACCESS_HANDSHAKE)) {
    p->decided(p, &a);
    return;
  }
  p->access = (struct bx_access_request){.verb = verb,
                                         .message = call->message,
                                         .batch = call->batch,
                                         .held = held_by(call->batch),
                                         .channels = channels,
                                         .channel_count = count,
                                         .session = p->session,
                                         .server = call->server,
                                         .connection = call->batch->connection};
  if (p->session != NULL) p->access.user = bx_session_user(p->session);
  bx_list_init(&p->access.link);
  // It may be decided from now on, but not from inside.
  bx_list_append(&server->asking, &p->asking_link);
  bx_list_append(&call->batch->asking, &p->batch_link);
  server->counters.asking++;
  a.verdict = server->access->ops->ask(server->access, &p->access, &a);
  p->access.connection = NULL;
  if (a.verdict != BX_LATER)
    bx_access_decide(server, &p->access, &a);
  else if (server->undecided)
    cancel(server, p);
}

void bx_access_decide(struct bx_server *server, struct bx_access_request *request,
                      const struct bx_access_answer *given) {
  struct bx_pending *p = bx_container_of(request, struct bx_pending, access);
  struct bx_access_answer a = *given;

  BX_BUG_ON(a.verdict == BX_LATER || bx_list_empty(&p->asking_link));
  bx_list_remove(&p->asking_link);
  bx_list_remove(&p->batch_link);
  server->counters.asking--;
  bx_server_clock(server);
  answer(p, &a);
}

// What a session asked for goes on without the connection; a handshake is of no use to anybody.
void bx_batch_cancel_asking(struct bx_batch *b) {
  b->open++;   // the last one would free it
  bx_list_each (link, &b->asking) {
    struct bx_pending *p = bx_container_of(link, struct bx_pending, batch_link);

    if (p->access.verb == BX_ACCESS_HANDSHAKE) cancel(b->server, p);
  }
  bx_batch_done(b);
}

void bx_server_cancel_asking(struct bx_server *server) {
  while (!bx_list_empty(&server->asking))
    cancel(server, bx_container_of(server->asking.next, struct bx_pending, asking_link));
}

// -- replies ---------------------------------------------------------------------------------------

void bx_reply_ext(struct bx_buffer *out, struct bx_slice ext) {
  if (ext.len == 0) return;
  bx_buffer_lit(out, ",\"ext\":");
  bx_buffer_slice(out, ext);
}

void bx_reply_denial_advice(struct bx_buffer *out, const struct bx_access_answer *a) {
  if (a->verdict != BX_DENY || a->reconnect == NULL) return;
  bx_buffer_printf(out, ",\"advice\":{\"reconnect\":\"%s\",\"interval\":%llu}", a->reconnect,
                   (unsigned long long)a->interval);
}

void bx_access_error(const struct bx_access_answer *a, const struct bx_value *argument, struct bx_buffer *out) {
  if (a->verdict == BX_DENY)
    bx_buffer_slice(out, a->error);
  else
    bx_error_text(out, "503", argument, "Authority unavailable");
}

// -- ext -------------------------------------------------------------------------------------------

static bool enter(const struct bx_value *ext, struct bx_scan *s) {
  if (ext->type != BX_JSON_OBJECT) return false;
  bx_scan_init(s, ext->raw, 64);
  return bx_scan_enter(s);
}

void bx_ext_strip(const struct bx_value *ext, struct bx_buffer *out) {
  struct bx_value key, value;
  bool first = true;
  struct bx_scan s;

  if (!enter(ext, &s)) return;
  bx_buffer_char(out, '{');
  while (bx_scan_item(&s, &key) && bx_scan_value(&s, &value)) {
    if (bx_value_is(&key, BX_LIT("password")) || bx_value_is(&key, BX_LIT("token"))) continue;
    if (!first) bx_buffer_char(out, ',');
    first = false;
    bx_buffer_slice(out, key.raw);
    bx_buffer_char(out, ':');
    bx_buffer_slice(out, value.raw);
  }
  bx_buffer_char(out, '}');
}

struct bx_value bx_ext_member(const struct bx_value *ext, struct bx_slice name) {
  struct bx_value key, value, found = {0};
  struct bx_scan s;

  if (!enter(ext, &s)) return found;
  while (bx_scan_item(&s, &key) && bx_scan_value(&s, &value))
    if (bx_value_is(&key, name)) found = value;   // the last one counts, as in JavaScript
  return found;
}
