// SPDX-License-Identifier: Apache-2.0
// Messages for sessions that are not here: before a batch is executed, the engine is asked for each
// of them. A session is then in the table, or its messages were executed where it lives, or it is
// unknown, or nobody can say now. The same for a message whose session moved while it was under way.
#include "bayeux/server_private.h"

#define MAX_ID 64     // longer ones are nobody's
#define MAX_MOVES 4   // of a session while one message is under way

struct locate {
  struct bx_request request;
  struct bx_batch *batch;
  struct bx_buffer id, text;
  bool follows;     // one message, whose session moved
  uint32_t index;   // that one
};

// What of the pipeline needs the session here. A publish does not, where everybody may publish: its
// clientId is checked where the message is appended. Else its user is known where its session lives.
enum need { NEEDS_NOTHING, NEEDS_IT_SOMEWHERE, NEEDS_IT_HERE };

static bool is_publish(const struct bx_message *m) {
  return m->data.type != BX_JSON_NONE && !bx_value_is(&m->channel, BX_LIT("/meta/handshake"));
}

// On its way to another node a server's secret is replaced by this member, which nobody else can send.
#define SERVER_MARK "mora:server"

bool bx_message_is_server(const struct bx_batch *b, const struct bx_message *m) {
  struct bx_access *access = b->server->access;

  if (access == NULL) return false;
  if (b->connection == NULL || !b->connection->relayed) return access->ops->is_server(access, m);
  for (uint32_t i = 0; i < m->count; i++)
    if (bx_slice_equal(b->messages.members[m->first + i].name, BX_LIT(SERVER_MARK))) return true;
  return false;
}

static enum need need_of(const struct bx_batch *b, const struct bx_message *m) {
  static const struct bx_slice verbs[] = {{"/meta/subscribe", 15}, {"/meta/unsubscribe", 17}, {"/meta/disconnect", 16}};

  if (m->channel.type != BX_JSON_STRING || m->client_id.type != BX_JSON_STRING) return NEEDS_NOTHING;
  if (bx_value_is(&m->channel, BX_LIT("/meta/connect"))) {
    bool elsewhere = !b->events && bx_value_is(&m->connection_type, BX_LIT("eventsource"));
    return elsewhere ? NEEDS_IT_SOMEWHERE : NEEDS_IT_HERE;   // its messages go where its stream of events is
  }
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (bx_value_is(&m->channel, verbs[i])) return NEEDS_IT_SOMEWHERE;
  return b->server->access != NULL && is_publish(m) && !bx_message_is_server(b, m) ? NEEDS_IT_SOMEWHERE : NEEDS_NOTHING;
}

static bool is_for(const struct bx_batch *b, const struct bx_message *m, struct bx_slice id) {
  return need_of(b, m) != NEEDS_NOTHING && bx_value_is(&m->client_id, id);
}

static bool concerns(const struct locate *l, uint32_t index) {
  return l->follows ? index == l->index : is_for(l->batch, &l->batch->messages.at[index], bx_buffer_view(&l->id));
}

// The message as it was sent, but for white space between its members, and for secrets.
static void add_text(const struct bx_batch *b, const struct bx_message *m, struct bx_buffer *out) {
  const char *before = "{";

  bx_buffer_char(out, out->len == 0 ? '[' : ',');
  for (uint32_t i = 0; i < m->count; i++) {
    const struct bx_member *member = &b->messages.members[m->first + i];

    if (bx_slice_equal(member->name, BX_LIT(SERVER_MARK))) continue;
    bx_buffer_slice(out, bx_slice_of(before));
    before = ",";
    bx_buffer_slice(out, member->key.raw);
    bx_buffer_char(out, ':');
    if (bx_slice_equal(member->name, BX_LIT("ext")) && member->value.type == BX_JSON_OBJECT)
      bx_ext_strip(&member->value, out);
    else
      bx_buffer_slice(out, member->value.raw);
  }
  if (bx_message_is_server(b, m))
    bx_buffer_lit(out, ",\"" SERVER_MARK "\":true");   // it names a client: never the first
  bx_buffer_char(out, '}');
}

// Nobody can say what became of it. A connect gets no answer: it may repeat one whose answer was lost, and a client that
// is answered goes on to another id, which would tell the owner that all has arrived.
static void refuse_one(struct locate *l, uint32_t index, bool unknown) {
  struct bx_batch *b = l->batch;
  const struct bx_message *m = &b->messages.at[index];
  struct bx_buffer error = {0};

  if (need_of(b, m) == NEEDS_IT_HERE) {
    if (b->connection != NULL) bx_connection_fail(b->connection);
    return;
  }
  if (unknown && is_publish(m))   // it may have been done
    bx_error_text(&error, "504", &m->channel, "Outcome unknown");
  else
    bx_error_text(&error, "503", &m->client_id, "Not available");
  bx_reply_error(b, index, true, bx_buffer_view(&error));
  bx_buffer_fini(&error);
}

// Nobody can say whether the session exists.
static void refuse(struct locate *l, bool unknown) {
  for (uint32_t i = 0; i < l->batch->messages.count; i++) {
    if (!concerns(l, i)) continue;
    l->batch->index[i].settled = true;
    refuse_one(l, i, unknown);
  }
}

// Each reply goes to the message it answers: one per message, in order. A node that ends has none.
static void take_replies(struct locate *l, struct bx_slice replies) {
  struct bx_batch *b = l->batch;
  struct bx_value ignored, reply;
  struct bx_scan s;
  bool more;

  bx_scan_init(&s, replies, 64);
  more = bx_scan_enter(&s);
  for (uint32_t i = 0; i < b->messages.count; i++) {
    if (!concerns(l, i)) continue;
    b->index[i].settled = true;
    more = more && bx_scan_item(&s, &ignored) && bx_scan_value(&s, &reply);
    if (!more) {
      refuse_one(l, i, true);
      continue;
    }
    b->index[i].at = b->replies.len;
    b->index[i].len = reply.raw.len;
    bx_buffer_slice(&b->replies, reply.raw);
  }
}

static void located(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct locate *l = bx_container_of(request, struct locate, request);
  struct bx_batch *b = l->batch;

  (void)position;
  if (outcome == BX_RELAYED) {
    take_replies(l, request->replies);
    bx_connection_know(b->connection);
  }
  if (outcome == BX_REFUSED || outcome == BX_UNKNOWN) refuse(l, outcome == BX_UNKNOWN);
  if (l->follows)
    bx_batch_execute_one(b, l->index);
  else if (--b->locating == 0)
    bx_batch_execute(b);
  bx_buffer_fini(&l->id);
  bx_buffer_fini(&l->text);
  bx_free(l);
}

static bool is_wanted(const struct bx_request *request) {
  return bx_container_of(request, const struct locate, request)->batch->connection != NULL;
}

static void submit(struct locate *l, bool mover) {
  struct bx_engine *engine = l->batch->server->engine;

  bx_buffer_char(&l->text, ']');
  l->request = (struct bx_request){.kind = BX_REQUEST_LOCATE, .done = located, .mover = mover, .wanted = is_wanted};
  l->request.id = bx_buffer_view(&l->id);
  l->request.text = bx_buffer_view(&l->text);
  bx_list_init(&l->request.link);
  engine->ops->submit(engine, &l->request);
}

static void ask(struct bx_batch *b, uint32_t first) {
  struct locate *l = bx_alloc(sizeof *l);
  bool mover = false;

  bx_value_decode(&b->messages.at[first].client_id, &l->id);
  for (uint32_t i = first; i < b->messages.count; i++) {
    if (!is_for(b, &b->messages.at[i], bx_buffer_view(&l->id))) continue;
    mover |= need_of(b, &b->messages.at[i]) == NEEDS_IT_HERE;
    add_text(b, &b->messages.at[i], &l->text);
  }
  l->batch = b;
  b->locating++;
  submit(l, mover);
}

bool bx_pending_follow(struct bx_pending *p) {
  const struct bx_session *s = p->session;
  struct bx_batch *b = p->batch;
  struct locate *l;

  if (s->state != BX_SESSION_CLOSING || s->why != BX_END_MOVED) return false;
  if (b->index[p->index].moves++ >= MAX_MOVES) return false;
  b->server->counters.followed++;
  l = bx_alloc(sizeof *l);
  l->follows = true;
  l->index = p->index;
  l->batch = b;
  bx_buffer_slice(&l->id, bx_session_id(s));
  add_text(b, &b->messages.at[p->index], &l->text);
  b->open++;   // until it is executed
  bx_pending_destroy(p);
  submit(l, false);
  return true;
}

// The first message of each client id that is not in the table.
static bool is_first(const struct bx_batch *b, uint32_t index) {
  const struct bx_value *id = &b->messages.at[index].client_id;

  for (uint32_t i = 0; i < index; i++) {
    const struct bx_message *m = &b->messages.at[i];

    if (need_of(b, m) != NEEDS_NOTHING && bx_slice_equal(m->client_id.raw, id->raw)) return false;
  }
  return true;
}

void bx_batch_locate(struct bx_batch *b) {
  b->locating = 1;
  for (uint32_t i = 0; i < b->messages.count; i++) {
    const struct bx_message *m = &b->messages.at[i];

    if (need_of(b, m) == NEEDS_NOTHING || m->client_id.escaped || m->client_id.raw.len - 2 > MAX_ID) continue;
    if (bx_server_find_session(b->server, bx_value_inside(&m->client_id)) == NULL && is_first(b, i)) ask(b, i);
  }
  if (--b->locating == 0) bx_batch_execute(b);
}
