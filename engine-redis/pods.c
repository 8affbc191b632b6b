// SPDX-License-Identifier: Apache-2.0
#include "engine-redis/pods.h"

#include <stdio.h>

#include "engine-redis/link/link.h"
#include "engine-redis/scripts/scripts.h"

enum { SILENCE = 3000, STEP_TIME = 2000 };   // ms; a read blocks for one second

struct pod {
  struct er_pods *pods;
  struct er_relay *relay;
  struct side {
    struct pod *pod;
    enum er_which which;
    struct er_link *link;
    struct er_outage outage;
  } sides[ER_LINKS];
  char place[160];   // for the log
};

struct er_pods {
  bx_millis (*now)(void *context);
  void (*event)(void *context, const char *id, struct bx_slice detail);
  void *context;
  struct er_relay_counters counters;
  size_t count;
  struct pod at[];
};

static bx_millis now_of(const struct pod *p) { return p->pods->now(p->pods->context); }

static void event(const struct pod *p, const char *id, const char *text, struct bx_slice more) {
  char detail[400];
  snprintf(detail, sizeof detail, "%s: %s%.*s", p->place, text, (int)more.len, more.len ? more.at : "");
  p->pods->event(p->pods->context, id, bx_slice_of(detail));
}

// -- links to the relay ----------------------------------------------------------------------------

static void up(void *context, const char *run_id) {
  struct side *s = context;
  er_outage_end(&s->outage);
  if (s->which == ER_COMMAND) event(s->pod, "pod.link_up", "", (struct bx_slice){0});
  er_relay_up(s->pod->relay, s->which, bx_slice_of(run_id), now_of(s->pod));
}

static void down(void *context, const char *reason) {
  struct side *s = context;
  bool was_up = s->outage.up;
  bool news = er_outage_goes_on(&s->outage, reason);
  // Of the own Redis the node's other links tell.
  if (s->which == ER_COMMAND && news) event(s->pod, "pod.link_down", "", bx_slice_of(s->outage.reason));
  if (was_up) er_relay_down(s->pod->relay, s->which, now_of(s->pod));
}

static void reply(void *context, const struct er_reply *r) {
  struct side *s = context;
  er_relay_reply(s->pod->relay, s->which, r, now_of(s->pod));
}

static void notice(void *context, const char *id, const char *text) {
  struct side *s = context;
  event(s->pod, id, "", bx_slice_of(text));
}

// -- the relay to links ----------------------------------------------------------------------------

static void send(void *context, enum er_which which, const char *command, const struct bx_slice *args, size_t count) {
  struct pod *p = context;
  // False: the link is about to say that it is down, which the relay hears.
  (void)er_link_send(p->sides[which].link, command, args, count);
}

static void reset(void *context, enum er_which which, const char *why) {
  struct pod *p = context;
  er_link_close(p->sides[which].link, why);
}

static void told(void *context, const char *id, struct bx_slice detail) { event(context, id, "", detail); }

// -- life ------------------------------------------------------------------------------------------

static void create_side(struct pod *p, enum er_which which, struct uv_loop_s *loop, struct bx_wheel *wheel,
                        const struct er_url *url, const struct er_core_options *core) {
  static const struct er_link_events events = {up, down, reply, notice};
  char name[96];
  snprintf(name, sizeof name, "mora:%.*s:%s", (int)core->node.len, core->node.at,
           which == ER_COMMAND ? "relay" : "relay-tail");
  p->sides[which] = (struct side){.pod = p, .which = which};
  p->sides[which].link = er_link_create(loop, wheel,
                                        &(struct er_link_options){
                                            .url = url,
                                            .name = name,
                                            .scripts = er_scripts,
                                            .script_count = which == ER_COMMAND ? er_script_count : 0,
                                            .step_timeout = STEP_TIME,
                                            .answer_timeout = SILENCE,
                                            .events = &events,
                                            .context = &p->sides[which],
                                        });
}

struct er_pods *er_pods_create(struct uv_loop_s *loop, struct bx_wheel *wheel, const struct er_node_options *o) {
  struct er_pods *pods = bx_alloc(sizeof *pods + o->pod_count * sizeof pods->at[0]);
  pods->now = o->now;
  pods->event = o->event;
  pods->context = o->context;
  pods->count = o->pod_count;
  for (size_t i = 0; i < pods->count; i++) {
    struct pod *p = &pods->at[i];
    struct er_core_env env = {.context = p, .send = send, .reset = reset, .event = told};
    struct er_relay_options options = {
        .ns = o->core.ns, .pod = o->pod, .node = o->core.node, .journal_messages = o->core.journal_messages};
    struct bx_buffer place = {0};
    er_url_show(&o->pods[i], &place);
    snprintf(p->place, sizeof p->place, "%.*s", (int)place.len, place.at);
    bx_buffer_fini(&place);
    p->pods = pods;
    p->relay = er_relay_create(&env, &options, &pods->counters);
    create_side(p, ER_COMMAND, loop, wheel, &o->pods[i], &o->core);
    create_side(p, ER_TAIL, loop, wheel, o->url, &o->core);
  }
  return pods;
}

void er_pods_destroy(struct er_pods *pods) {
  if (!pods) return;
  for (size_t i = 0; i < pods->count; i++) {
    for (size_t which = 0; which < ER_LINKS; which++) er_link_destroy(pods->at[i].sides[which].link);
    er_relay_destroy(pods->at[i].relay);
  }
  bx_free(pods);
}

void er_pods_tick(struct er_pods *pods, bx_millis now) {
  for (size_t i = 0; i < pods->count; i++) er_relay_tick(pods->at[i].relay, now);
}

const struct er_relay_counters *er_pods_counters(const struct er_pods *pods) { return &pods->counters; }

size_t er_pods_count(const struct er_pods *pods) { return pods->count; }

struct er_pod_info er_pods_info(const struct er_pods *pods, size_t i) {
  return (struct er_pod_info){er_relay_state(pods->at[i].relay), er_relay_cursor(pods->at[i].relay)};
}
