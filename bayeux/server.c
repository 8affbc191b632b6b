// SPDX-License-Identifier: Apache-2.0
// The server: its life, its turn, and the way of a message to its verb: see server.h.
#include "bayeux/reader.h"
#include "bayeux/server_private.h"

#define LAST_DECISIONS 1000   // ms that a drain waits for permissions

// -- what engines tell -----------------------------------------------------------------------------

static void appended(void *context, bx_position position, struct bx_slice channel, struct bx_frame *frame) {
  bx_run_append(context, position, channel, frame);
}
static void deliver(void *context) { bx_run_deliver(context); }

// Of what moves journal or sessions: engines have to have told `deliver`.
static struct bx_server *delivered(void *context) {
  struct bx_server *server = context;

  BX_BUG_ON(server->run.count > 0);
  return server;
}

static void gap(void *context, bx_position from, bx_position to) { bx_server_gap(delivered(context), from, to); }

static void revoked(void *context, struct bx_slice user) { bx_server_revoked(delivered(context), user); }
static void revoked_token(void *context, struct bx_slice token) { bx_server_revoked_token(delivered(context), token); }

static uint64_t epoch(void *context, uint64_t number, bx_position first, bx_position survived) {
  return bx_server_epoch(delivered(context), number, first, survived);
}

static void again(void *context, bx_position was) { ((struct bx_server *)context)->journal.again = was; }

static void begin(void *context, bx_position base) { bx_journal_begin(&delivered(context)->journal, base); }

static void jump(void *context, bx_position to) {
  struct bx_server *server = delivered(context);

  bx_journal_jump(&server->journal, to);
  bx_list_splice(&server->readers, &server->ahead);
}

static struct bx_session *find(void *context, struct bx_slice id) { return bx_server_find_session(context, id); }

static struct bx_session *adopt(void *context, const struct bx_record *r) {
  return bx_session_adopt(delivered(context), r);
}

static void release(void *context, struct bx_session *s, struct bx_record *out) {
  bx_session_release(delivered(context), s, out);
}

static void settle(void *context, struct bx_session *s) { bx_session_settle(delivered(context), s); }

static void resume(void *context) {
  struct bx_server *server = delivered(context);

  for (int state = 0; state < BX_SESSION_AWAY; state++)
    bx_list_each (link, &server->states[state]) {
      struct bx_session *s = bx_container_of(link, struct bx_session, state_link);

      if (s->outbox.count > 0) bx_connection_wake(s->connection);
    }
}

static void restore(void *context, struct bx_session *s) { bx_session_unrelease(delivered(context), s); }
static void forget(void *context, struct bx_session *s) { bx_session_close(delivered(context), s, BX_END_MOVED); }
static void ended(void *context, struct bx_session *s, struct bx_slice reason) {
  bx_session_close(delivered(context), s, bx_slice_equal(reason, BX_LIT("kicked")) ? BX_END_KICKED : BX_END_EXPIRED);
}
static bool counts(void *context, struct bx_slice channel) { return bx_server_counts(context, channel); }
static void told(void *context, uint64_t count) { ((struct bx_server *)context)->counters.presence_told += count; }
static void call(void *context, struct bx_remote_call *c) { bx_relay_open(context, c, true); }

// -- life ------------------------------------------------------------------------------------------

static void last_decisions(struct bx_timer *timer) {
  struct bx_server *server = bx_container_of(timer, struct bx_server, last_decisions);

  server->undecided = true;
  bx_server_cancel_asking(server);
}

struct bx_server *bx_server_create(const struct bx_env *env, const struct bx_server_options *options,
                                   struct bx_engine *engine, bx_millis now) {
  struct bx_server *server = bx_alloc(sizeof *server);

  server->env = *env;
  server->options = *options;
  server->engine = engine;
  server->now = now;
  env->random(env->context, &server->secret, sizeof server->secret);
  bx_wheel_init(&server->wheel, now);
  bx_topics_init(&server->topics, server->secret);
  bx_journal_init(&server->journal, &server->topics, &options->journal, engine->base);
  bx_table_init(&server->sessions, server->secret);
  for (size_t i = 0; i < BX_SESSION_STATES; i++) bx_list_init(&server->states[i]);
  bx_list_init(&server->readers);
  bx_list_init(&server->due);
  bx_list_init(&server->ahead);
  bx_list_init(&server->relays);
  bx_list_init(&server->connections);
  bx_list_init(&server->asking);
  bx_timer_init(&server->last_decisions, last_decisions);
  bx_outboxes_init(&server->outboxes, options->max_outbox_bytes);
  engine->frames = &server->counters.frames;
  engine->events = (struct bx_engine_events){.context = server,
                                             .appended = appended,
                                             .deliver = deliver,
                                             .again = again,
                                             .begin = begin,
                                             .jump = jump,
                                             .find = find,
                                             .gap = gap,
                                             .revoked = revoked,
                                             .revoked_token = revoked_token,
                                             .epoch = epoch,
                                             .adopt = adopt,
                                             .release = release,
                                             .settle = settle,
                                             .resume = resume,
                                             .restore = restore,
                                             .forget = forget,
                                             .ended = ended,
                                             .call = call,
                                             .counts = counts,
                                             .told = told};
  return server;
}

static void close_all(struct bx_server *server) {
  for (int state = 0; state < BX_SESSION_CLOSING; state++)
    while (!bx_list_empty(&server->states[state]))
      bx_session_close(server, bx_container_of(server->states[state].next, struct bx_session, state_link),
                       BX_END_SHUTDOWN);
}

void bx_server_destroy(struct bx_server *server, struct bx_counters *left) {
  if (server == NULL) return;
  bx_relays_close(server);
  BX_BUG_ON(!bx_list_empty(&server->connections));
  close_all(server);
  bx_wheel_cancel(&server->wheel, &server->last_decisions);
  bx_server_cancel_asking(server);
  server->engine->ops->destroy(server->engine);   // what is under way ends, and lets go of its session
  bx_sessions_reap(server);
  bx_outboxes_fini(&server->outboxes);
  bx_presence_destroy(server->presence);
  bx_journal_fini(&server->journal);
  bx_topics_fini(&server->topics);
  bx_table_fini(&server->sessions);
  if (left != NULL) *left = server->counters;
  bx_free(server);
}

void bx_server_extend(struct bx_server *server, struct bx_extension *extension) {
  struct bx_extension **end = &server->extensions;

  while (*end != NULL) end = &(*end)->next;
  extension->next = NULL;
  *end = extension;
}

void bx_server_clock(struct bx_server *server) {
  if (server->env.now != NULL) server->now = server->env.now(server->env.context);
}

// -- turns -----------------------------------------------------------------------------------------

bool bx_server_turn(struct bx_server *server, bx_millis now) {
  bool more;

  server->now = now;
  bx_outboxes_forget(&server->outboxes);
  bx_wheel_advance(&server->wheel, now);
  server->engine->ops->turn(server->engine, now);
  BX_BUG_ON(server->run.count > 0);
  more = bx_readers_run(server);
  more |= bx_connects_due(server);
  bx_relays_run(server);
  bx_journal_trim(&server->journal, now);
  bx_sessions_reap(server);
  return more || server->engine->ops->busy(server->engine);
}

bx_millis bx_server_deadline(const struct bx_server *server) {
  bool now =
      !bx_list_empty(&server->readers) || !bx_list_empty(&server->due) || server->engine->ops->busy(server->engine);

  return now ? server->now : bx_wheel_next(&server->wheel);
}

void bx_server_drain(struct bx_server *server) {
  if (server->draining) return;
  server->draining = true;
  bx_wheel_set(&server->wheel, &server->last_decisions, server->now + LAST_DECISIONS);
  bx_list_each (link, &server->connections) {
    struct bx_connection *c = bx_container_of(link, struct bx_connection, link);

    if (c->connect.held && !c->connect.due) {
      c->connect.due = true;
      bx_wheel_cancel(&server->wheel, &c->connect.timer);
      bx_list_append(&server->due, &c->connect.due_link);
    }
    if (!bx_connection_is_poll(c) && !c->closing) {
      c->closing = true;
      c->ops->close(c, 1001, "going away");
    }
  }
}

// -- small services --------------------------------------------------------------------------------

struct bx_session *bx_server_find_session(const struct bx_server *server, struct bx_slice id) {
  struct bx_table_node *node = bx_table_find(&server->sessions, id);
  return node == NULL ? NULL : bx_container_of(node, struct bx_session, node);
}

uint32_t bx_server_uniform(struct bx_server *server, uint32_t low, uint32_t high) {
  uint32_t r;

  server->env.random(server->env.context, &r, sizeof r);
  return low + (uint32_t)((uint64_t)r * (high - low + 1) >> 32);
}

// -- messages to verbs -----------------------------------------------------------------------------

static struct bx_session *named_session(struct bx_server *server, const struct bx_value *id) {
  struct bx_buffer text = {0};
  struct bx_session *s;

  if (id->type != BX_JSON_STRING) return NULL;
  if (!id->escaped) return bx_server_find_session(server, bx_value_inside(id));
  bx_value_decode(id, &text);
  s = bx_server_find_session(server, bx_buffer_view(&text));
  bx_buffer_fini(&text);
  return s;
}

static const char *pipeline(struct bx_call *call) {
  struct bx_batch *batch = call->batch;
  struct bx_incoming incoming = {batch->server, batch->connection, call->message, bx_buffer_view(&call->channel),
                                 call->session};

  for (struct bx_extension *x = batch->server->extensions; x != NULL; x = x->next) {
    const char *error = x->incoming(x, &incoming);
    if (error != NULL) return error;
  }
  return NULL;
}

// The connection may have ended while the session was looked for.
static void needs_connection(struct bx_call *call, void (*verb)(struct bx_call *)) {
  if (call->batch->connection != NULL) verb(call);
}

static void run_message(struct bx_call *call) {
  struct bx_slice channel = bx_buffer_view(&call->channel);
  const char *error = pipeline(call);

  if (error != NULL)
    bx_reply_error(call->batch, call->index, true, bx_slice_of(error));
  else if (bx_slice_equal(channel, BX_LIT("/meta/connect")))
    needs_connection(call, bx_verb_connect);
  else if (bx_slice_equal(channel, BX_LIT("/meta/handshake")))
    needs_connection(call, bx_verb_handshake);
  else if (bx_slice_equal(channel, BX_LIT("/meta/subscribe")))
    bx_verb_subscribe(call, true);
  else if (bx_slice_equal(channel, BX_LIT("/meta/unsubscribe")))
    bx_verb_subscribe(call, false);
  else if (bx_slice_equal(channel, BX_LIT("/meta/disconnect")))
    bx_verb_disconnect(call);
  else
    bx_verb_publish(call);
}

// A batch is done when all its messages are, and not before all were handed to their verbs.
void bx_batch_run(struct bx_connection *c, struct bx_batch *b) {
  b->index = bx_alloc((b->messages.count + 1) * sizeof *b->index);
  b->open = 1;
  b->timeout = c->mount->timeout;
  if (b->server->engine->ops->locates && !c->relayed)
    bx_batch_locate(b);
  else
    bx_batch_execute(b);
}

static void execute(struct bx_batch *b, uint32_t index) {
  const struct bx_message *m = &b->messages.at[index];
  struct bx_call call = {.batch = b, .index = index, .message = m, .session = named_session(b->server, &m->client_id)};

  if (b->index[index].settled) return;
  if (call.session != NULL) bx_connection_know(b->connection);
  if (m->channel.type == BX_JSON_STRING) bx_value_decode(&m->channel, &call.channel);
  call.server = bx_message_is_server(b, m);
  run_message(&call);
  bx_buffer_fini(&call.channel);
}

// What was handed to its verb is all that comes of this text for now.
static void executed(struct bx_batch *b) {
  if (b->server->access != NULL && b->server->access->ops->asked != NULL)
    b->server->access->ops->asked(b->server->access);
  bx_batch_done(b);
}

void bx_batch_execute(struct bx_batch *b) {
  for (uint32_t i = 0; i < b->messages.count; i++) execute(b, i);
  executed(b);
}

void bx_batch_execute_one(struct bx_batch *b, uint32_t index) {
  execute(b, index);
  executed(b);
}

// -- engine requests -------------------------------------------------------------------------------

struct bx_pending *bx_pending_create(struct bx_call *call, enum bx_request_kind kind, bx_request_done *done) {
  struct bx_pending *p = bx_alloc(sizeof *p);

  p->request.kind = kind;
  p->request.done = done;
  p->request.session = p->session = call->session;
  bx_list_init(&p->request.link);
  bx_list_init(&p->asking_link);
  bx_list_init(&p->batch_link);
  p->batch = call->batch;
  p->index = call->index;
  p->batch->open++;
  if (p->session != NULL) p->session->pins++;
  return p;
}

void bx_pending_submit(struct bx_pending *p) {
  struct bx_engine *engine = p->batch->server->engine;
  engine->ops->submit(engine, &p->request);
}

void bx_pending_destroy(struct bx_pending *p) {
  struct bx_batch *batch = p->batch;

  if (p->session != NULL) p->session->pins--;
  bx_frame_unref(p->request.frame);
  bx_buffer_fini(&p->error);
  bx_buffer_fini(&p->names);
  bx_buffer_fini(&p->ext);
  bx_free(p->request.patterns);
  bx_free(p);
  bx_batch_done(batch);
}
