// SPDX-License-Identifier: Apache-2.0
#include "engine-redis/node.h"

#include <stdio.h>

#include "engine-redis/link/link.h"
#include "engine-redis/pods.h"
#include "engine-redis/scripts/scripts.h"

// The tail's reads block for a second: after three of silence the link is dead.
enum { TAIL_SILENCE = 3000, STEP_TIME = 1000 };   // ms

struct node_link {
  struct er_node *node;
  enum er_which which;
  struct er_link *link;
  struct er_outage outage;
};

struct er_node {
  struct er_node_options options;
  struct bx_wheel *wheel;
  struct er_core *core;
  struct node_link links[ER_LINKS];
  struct bx_timer tick, due;
  struct er_pods *pods;   // NULL: there are no others
  struct er_finding findings[ER_FINDINGS];
  size_t finding_count;
};

static const char *const names[ER_LINKS] = {[ER_COMMAND] = "command", [ER_TAIL] = "tail", [ER_CONFIRM] = "confirm"};

static bx_millis now_of(const struct er_node *n) { return n->options.now(n->options.context); }

static void event(struct er_node *n, const char *id, const struct node_link *l, const char *text) {
  char detail[192];
  snprintf(detail, sizeof detail, "%s%s%s", names[l->which], *text ? ": " : "", text);
  n->options.event(n->options.context, id, bx_slice_of(detail));
}

// -- a link to the core ----------------------------------------------------------------------------

static void up(void *context, const char *run_id) {
  struct node_link *l = context;
  er_outage_end(&l->outage);
  event(l->node, "engine.link_up", l, "");
  er_core_up(l->node->core, l->which, bx_slice_of(run_id), now_of(l->node));
}

static void down(void *context, const char *reason) {
  struct node_link *l = context;
  bool was_up = l->outage.up;
  if (er_outage_goes_on(&l->outage, reason)) event(l->node, "engine.link_down", l, l->outage.reason);
  if (l->which == ER_COMMAND) l->node->finding_count = 0;
  if (was_up) er_core_down(l->node->core, l->which, now_of(l->node));
}

static void wake_when_due(struct er_node *n) {
  bx_millis due = er_core_due(n->core);
  if (due != BX_NEVER)
    bx_wheel_set(n->wheel, &n->due, due);
  else
    bx_wheel_cancel(n->wheel, &n->due);
}

static void wake(struct bx_timer *timer) {
  struct er_node *n = bx_container_of(timer, struct er_node, due);
  er_core_wake(n->core, now_of(n));
  wake_when_due(n);
}

static void reply(void *context, const struct er_reply *r) {
  struct node_link *l = context;
  er_core_reply(l->node->core, l->which, r, now_of(l->node));
  wake_when_due(l->node);
}

// All links see the same Redis.
static void notice(void *context, const char *id, const char *text) {
  struct node_link *l = context;
  struct er_node *n = l->node;
  if (l->which != ER_COMMAND) return;
  event(n, id, l, text);
  if (strcmp(id, "redis.primary") == 0 || n->finding_count == ER_FINDINGS) return;
  struct er_finding *f = &n->findings[n->finding_count++];
  snprintf(f->id, sizeof f->id, "%s", id);
  snprintf(f->text, sizeof f->text, "%s", text);
}

static void create_link(struct er_node *n, enum er_which which, struct uv_loop_s *loop) {
  static const struct er_link_events events = {up, down, reply, notice};
  const struct er_core_options *core = &n->options.core;
  // WAIT is answered late on purpose, reads of the tail as well.
  const bx_millis answer_timeout[ER_LINKS] = {
      [ER_COMMAND] = core->command_timeout, [ER_TAIL] = TAIL_SILENCE, [ER_CONFIRM] = core->command_timeout + STEP_TIME};
  char name[96];
  snprintf(name, sizeof name, "mora:%.*s:%s", (int)core->node.len, core->node.at, names[which]);
  n->links[which] = (struct node_link){.node = n, .which = which};
  n->links[which].link =
      er_link_create(loop, n->wheel,
                     &(struct er_link_options){
                         .url = n->options.url,
                         .name = name,
                         .scripts = er_scripts,
                         .script_count = which == ER_TAIL ? 0 : er_script_count,
                         .step_timeout = core->command_timeout > STEP_TIME ? core->command_timeout : STEP_TIME,
                         .answer_timeout = answer_timeout[which],
                         .replicas = core->wait,
                         .events = &events,
                         .context = &n->links[which],
                     });
}

// -- the core to a link ----------------------------------------------------------------------------

static void send(void *context, enum er_which which, const char *command, const struct bx_slice *args, size_t count) {
  struct er_node *n = context;
  // False: the link is about to say that it is down, which the core hears.
  (void)er_link_send(n->links[which].link, command, args, count);
}

static void reset(void *context, enum er_which which, const char *why) {
  struct er_node *n = context;
  er_link_close(n->links[which].link, why);
}

static void told(void *context, const char *id, struct bx_slice detail) {
  struct er_node *n = context;
  n->options.event(n->options.context, id, detail);
}

static void tick(struct bx_timer *timer) {
  struct er_node *n = bx_container_of(timer, struct er_node, tick);
  bx_millis now = now_of(n);
  bx_wheel_set(n->wheel, timer, now + ER_TICK);
  er_core_tick(n->core, now);
  if (n->pods) er_pods_tick(n->pods, now);
}

// -- life ------------------------------------------------------------------------------------------

struct er_node *er_node_create(struct uv_loop_s *loop, struct bx_wheel *wheel, const struct er_node_options *options) {
  struct er_node *n = bx_alloc(sizeof *n);
  struct er_core_env env = {.context = n, .send = send, .reset = reset, .event = told};
  n->options = *options;
  n->wheel = wheel;
  n->core = er_core_create(&env, &options->core, now_of(n));
  create_link(n, ER_COMMAND, loop);
  create_link(n, ER_TAIL, loop);
  if (options->core.wait > 0) create_link(n, ER_CONFIRM, loop);
  if (options->pod_count > 0) n->pods = er_pods_create(loop, wheel, options);
  // Theirs was for this call; the links and the core have copies.
  n->options.url = n->options.pods = NULL;
  n->options.pod = (struct bx_slice){0};
  n->options.core = (struct er_core_options){0};
  bx_timer_init(&n->tick, tick);
  bx_timer_init(&n->due, wake);
  bx_wheel_set(wheel, &n->tick, now_of(n) + ER_TICK);
  return n;
}

void er_node_destroy(struct er_node *n) {
  if (!n) return;
  bx_wheel_cancel(n->wheel, &n->tick);
  bx_wheel_cancel(n->wheel, &n->due);
  for (size_t i = 0; i < ER_LINKS; i++) er_link_destroy(n->links[i].link);
  er_pods_destroy(n->pods);
  bx_free(n);
}

size_t er_node_findings(const struct er_node *n, const struct er_finding **out) {
  *out = n->findings;
  return n->finding_count;
}

const struct er_relay_counters *er_node_relay_counters(const struct er_node *n) {
  static const struct er_relay_counters none;
  return n->pods ? er_pods_counters(n->pods) : &none;
}

size_t er_node_pod_count(const struct er_node *n) { return n->pods ? er_pods_count(n->pods) : 0; }

struct er_pod_info er_node_pod(const struct er_node *n, size_t i) {
  return er_pods_info(n->pods, i);
}

struct bx_engine *er_node_engine(struct er_node *n) {
  return er_core_engine(n->core);
}

struct er_core *er_node_core(struct er_node *n) {
  return n->core;
}

void er_node_leave(struct er_node *n) { er_core_leave(n->core, now_of(n)); }

bool er_node_has_left(const struct er_node *n) { return er_core_has_left(n->core); }
