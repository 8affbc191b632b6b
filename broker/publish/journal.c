// SPDX-License-Identifier: Apache-2.0
#include "broker/publish/journal.h"

#include "bayeux/channel.h"
#include "broker/publish/direct.h"

// This node has no sessions. Longer than any broker lets one live without a connection: so long after a
// new epoch it ends no session of others.
enum { LONGEST_LIFE = 2 * 24 * 3600 * 1000 };   // ms

struct journal {
  struct bk_publisher base;
  struct bk_loop *loop;
  const struct bk_engine_options *options;
  struct bk_engine *engine;
  struct bx_engine *core;   // the engine's
  struct bk_publisher *direct;
  struct bk_turn_hook hook;
  uint64_t frames;
  bool leaving;
};

static struct journal *journal_of(const struct bk_publisher *p) {
  return bx_container_of((struct bk_publisher *)(uintptr_t)p, struct journal, base);
}

// -- what the engine tells -------------------------------------------------------------------------
// Of the journal only the positions are of interest here, and the core keeps those.

static void on_entry(void *context, bx_position position, struct bx_slice channel, struct bx_frame *frame) {
  (void)context, (void)position, (void)channel, (void)frame;
}

static void on_position(void *context, bx_position position) { (void)context, (void)position; }

static void on_gap(void *context, bx_position from, bx_position to) { (void)context, (void)from, (void)to; }

static uint64_t on_epoch(void *context, uint64_t epoch, bx_position first, bx_position survived) {
  (void)context, (void)epoch, (void)first, (void)survived;
  return 0;
}

static struct bx_session *find(void *context, struct bx_slice id) {
  (void)context, (void)id;
  return NULL;
}

static struct bx_session *adopt(void *context, const struct bx_record *record) {
  (void)context, (void)record;
  return NULL;
}

static void release(void *context, struct bx_session *s, struct bx_record *record) {
  (void)context, (void)s, (void)record;
}

static void on_session(void *context, struct bx_session *s) { (void)context, (void)s; }

static void on_end(void *context, struct bx_session *s, struct bx_slice reason) {
  (void)context, (void)s, (void)reason;
}

static void on_user(void *context, struct bx_slice user) { (void)context, (void)user; }

static void on_call(void *context, struct bx_remote_call *call) {
  (void)context;
  call->done(call, BX_LIT("[]"));
}

static const struct bx_engine_events events = {
    .appended = on_entry,
    .begin = on_position,
    .jump = on_position,
    .find = find,
    .gap = on_gap,
    .revoked = on_user,
    .epoch = on_epoch,
    .adopt = adopt,
    .release = release,
    .forget = on_session,
    .ended = on_end,
    .call = on_call,
};

// -- publishing ------------------------------------------------------------------------------------

static void completed(struct bx_request *request, enum bx_outcome outcome, bx_position position) {
  struct bx_outside_publish *p = bx_container_of(request, struct bx_outside_publish, request);
  bx_frame_unref(request->frame);
  request->frame = NULL;
  p->done(p, outcome, position);
}

// Good channels need no escapes.
static struct bx_frame *make_frame(struct journal *j, struct bx_slice channel, struct bx_slice data) {
  struct bx_buffer text = {0};
  bx_buffer_lit(&text, "{\"channel\":\"");
  bx_buffer_slice(&text, channel);
  bx_buffer_lit(&text, "\",\"data\":");
  bx_buffer_slice(&text, data);
  bx_buffer_char(&text, '}');
  struct bx_frame *frame = bx_frame_create(text.len, &j->frames);
  memcpy(bx_frame_text(frame), text.at, text.len);
  bx_buffer_fini(&text);
  return frame;
}

static const char *submit(void *context, struct bx_outside_publish *p, struct bx_slice channel, struct bx_slice data,
                          struct bx_slice once) {
  struct journal *j = context;
  if (channel.len > j->options->max_channel_length || bx_channel_depth(channel) > j->options->max_channel_depth)
    return "Channel too long";
  p->request = (struct bx_request){.kind = BX_REQUEST_PUBLISH,
                                   .done = completed,
                                   .channel = channel,
                                   .frame = make_frame(j, channel, data),
                                   .once = once};
  bx_list_init(&p->request.link);
  j->core->ops->submit(j->core, &p->request);
  return NULL;
}

static void publish(struct bk_publisher *p, const struct bk_publish_item *items, size_t count,
                    struct bk_publish_done done) {
  bk_publisher_publish(journal_of(p)->direct, items, count, done);
}

static const char *not_ready(struct bk_publisher *p) { return bk_publisher_not_ready(journal_of(p)->direct); }

static void turn(struct bk_turn_hook *hook) {
  struct journal *j = bx_container_of(hook, struct journal, hook);
  j->core->ops->turn(j->core, bk_loop_now(j->loop));
  bk_engine_watch(j->engine);
  if (j->core->ops->busy(j->core)) bk_loop_again(j->loop);
}

static bool leave(struct bk_publisher *p) {
  struct journal *j = journal_of(p);
  struct er_node *node = bk_engine_node(j->engine);
  if (!j->leaving) er_node_leave(node);
  j->leaving = true;
  return er_node_has_left(node);
}

// -- life ------------------------------------------------------------------------------------------

static void destroy(struct bk_publisher *p) {
  struct journal *j = journal_of(p);
  bk_loop_remove_hook(j->loop, &j->hook);
  j->core->ops->destroy(j->core);
  bk_publisher_destroy(j->direct);
  bk_engine_destroy(j->engine);
  BX_BUG_ON(j->frames > 0);
  bx_free(j);
}

struct bk_publisher *bk_journal_create(struct bk_loop *loop, const struct bk_engine_options *options,
                                       const char *address) {
  static const struct bk_publisher_ops ops = {publish, not_ready, leave, destroy};
  struct journal *j = bx_alloc(sizeof *j);
  char node[BK_NODE_ID];
  bk_engine_new_id(node);
  *j = (struct journal){.base.ops = &ops, .loop = loop, .options = options, .hook.turn = turn};
  j->engine = bk_engine_create(loop, options, node, "publisher", address, LONGEST_LIFE);
  j->core = er_node_engine(bk_engine_node(j->engine));
  j->core->events = events;
  j->core->frames = &j->frames;
  bk_loop_add_hook(loop, &j->hook);   // in front of the direct publisher's: what is complete is told in the same turn
  j->direct = bk_direct_create(loop, j->core, submit, j);
  return &j->base;
}

const struct er_counters *bk_journal_counters(const struct bk_publisher *p) {
  return er_core_counters(er_node_core(bk_engine_node(journal_of(p)->engine)));
}
