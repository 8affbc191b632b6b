// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/engine.h"

#include "broker/host/log.h"

#include <uuid/uuid.h>

// -- options ---------------------------------------------------------------------------------------

static const char *const types[] = {"memory", "redis", NULL};

enum { MAX_NAMESPACE = 64 };

static const char *check_namespace(struct bx_slice text) {
  static const char expected[] = "1 to 64 letters, digits, dots, dashes, underscores or colons";
  if (text.len == 0 || text.len > MAX_NAMESPACE) return expected;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.at[i];
    bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
    if (!letter && !digit && (c == 0 || !strchr("._-:", c))) return expected;
  }
  return NULL;
}

static const char *check_pod(struct bx_slice text) {
  bool letter = text.len == 1 && text.at[0] >= 'a' && text.at[0] <= 'z';
  return letter ? NULL : "one letter from a to z";
}

static const char *check_pod_url(struct bx_slice text) {
  struct er_url url;
  const char *wrong = er_url_parse(&url, text);
  er_url_fini(&url);
  return wrong;
}

#define FIELD(field) offsetof(struct bk_engine_options, field)

const struct cf_option bk_engine_options[] = {
    {.key = "engine.type",
     .type = CF_ENUM,
     .offset = FIELD(type),
     .standard = "memory",
     .choices = types,
     .doc = "Where messages and sessions are kept. memory: in the one broker, gone with it. redis: in a Redis that "
            "several brokers share; a client may send each of its requests to any of them."},
    {.key = "engine.url",
     .type = CF_STRING,
     .offset = FIELD(url),
     .standard = "redis://127.0.0.1:6379/0",
     .doc = "That Redis: redis://[user:password@]host[:port][/db], redis+unix:///path[?db=0], or "
            "redis+sentinel://host:port,host:port/name[?db=0]. A server of 6.2 or later, with maxmemory-policy "
            "noeviction."},
    {.key = "engine.namespace",
     .type = CF_STRING,
     .offset = FIELD(ns),
     .standard = "mora",
     .check = check_namespace,
     .doc = "What the names of all keys begin with, before a colon. Brokers with the same one belong together."},
    {.key = "engine.pod",
     .type = CF_STRING,
     .offset = FIELD(pod),
     .check = check_pod,
     .doc = "The letter of this pod, when several Redis with their brokers are to be one service. The ids of its "
            "sessions begin with it; each pod has another."},
    {.key = "engine.pods",
     .type = CF_STRINGS,
     .offset = FIELD(pods),
     .standard = "[]",
     .check = check_pod_url,
     .doc = "The Redis of each other pod, as in engine.url. What is published in this pod is carried there."},
    {.key = "engine.command_timeout",
     .type = CF_DURATION,
     .offset = FIELD(command_timeout),
     .standard = "1s",
     .min = 50,
     .max = 60000,
     .doc = "How long Redis may take to answer. Then the connection to it is given up, and a publish that it was "
            "asked for is refused, or unknown half a second later."},
    {.key = "engine.wait",
     .type = CF_NUMBER,
     .offset = FIELD(wait),
     .standard = "0",
     .max = 16,
     .doc = "How many replicas of Redis must have a message before its publish is acknowledged. When they are not "
            "heard of within engine.command_timeout and half a second it is unknown. 0: the one Redis is enough."},
    {.key = "journal.messages",
     .type = CF_NUMBER,
     .offset = FIELD(journal_messages),
     .standard = "1000000",
     .min = 1,
     .max = 1u << 30,
     .doc = "Messages kept for clients that come back, at most. Whichever of messages, bytes and age is reached "
            "first. In Redis about twice as many are kept; give all daemons that share it the same number."},
    {.key = "limits.message",
     .type = CF_SIZE,
     .offset = FIELD(max_message),
     .standard = "64KB",
     .min = 16,
     .doc = "Bytes of one message's data, as sent; and of all the rest of the message together. More is refused "
            "with 413."},
    {.key = "limits.channel_length",
     .type = CF_NUMBER,
     .offset = FIELD(max_channel_length),
     .standard = "1024",
     .min = 8,
     .max = 65535,
     .doc = "Bytes of a channel's name."},
    {.key = "limits.channel_depth",
     .type = CF_NUMBER,
     .offset = FIELD(max_channel_depth),
     .standard = "32",
     .min = 1,
     .max = 64,
     .doc = "Segments of a channel's name; each costs a lookup per message."},
    {0}};

void bk_engine_check(const struct cf_set *config, const struct bk_engine_options *o, struct bx_buffer *faults) {
  struct er_url url;
  const char *wrong = er_url_parse(&url, bx_slice_of(o->url));
  if (wrong) bx_buffer_printf(faults, "%s: engine.url: %s\n", cf_origin(config, "engine.url"), wrong);
  er_url_fini(&url);
  if (o->pods.count > 0 && !o->pod)
    bx_buffer_printf(faults, "%s: engine.pods: engine.pod is needed, too: a letter for this pod\n",
                     cf_origin(config, "engine.pods"));
  if (o->pod && o->type != BK_ENGINE_REDIS)
    bx_buffer_printf(faults, "%s: engine.pod: pods need engine.type redis\n", cf_origin(config, "engine.pod"));
  if (o->wait > 0 && o->type != BK_ENGINE_REDIS)
    bx_buffer_printf(faults, "%s: engine.wait: replicas need engine.type redis\n", cf_origin(config, "engine.wait"));
}

// -- events ----------------------------------------------------------------------------------------

const struct bk_metric bk_engine_metrics[] = {
#define X(field, kind, name, help) {name, help, BK_##kind, offsetof(struct er_counters, field), 0},
    ER_COUNTERS(X)
#undef X
        {0}};

const struct bk_metric bk_relay_metrics[] = {
#define X(field, kind, name, help) {name, help, BK_##kind, offsetof(struct er_relay_counters, field), 0},
    ER_RELAY_COUNTERS(X)
#undef X
        {0}};

enum { KINDS = 16, QUIET = 1000 };   // kinds of events that are told apart; ms between two of one kind

struct bk_engine {
  struct bk_loop *loop;
  struct er_node *node;
  struct bx_engine *engine;
  bool ready;   // as last said
  struct kind {
    const char *id;
    bx_millis at;
    uint64_t left_out;
  } kinds[KINDS];
};

static bx_millis now_of(void *context) { return bk_loop_now(((struct bk_engine *)context)->loop); }

static bool is_good_news(const char *id) {
  static const char *const good[] = {"engine.link_up", "engine.epoch", "engine.warm", "redis.primary", "pod.link_up"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    if (strcmp(good[i], id) == 0) return true;
  return false;
}

static struct kind *kind_of(struct bk_engine *e, const char *id) {
  size_t i = 0;
  while (i < KINDS - 1 && e->kinds[i].id && strcmp(e->kinds[i].id, id) != 0) i++;
  e->kinds[i].id = id;
  return &e->kinds[i];
}

// What is wrong with a Redis may be wrong a thousand times a second: of each kind of bad news a line a
// second, with the number of those that were left out before it. What is lost is named to the last entry.
static void event(void *context, const char *id, struct bx_slice detail) {
  struct bk_engine *e = context;
  struct kind *kind = kind_of(e, id);
  bx_millis now = now_of(e);
  if (is_good_news(id) || strcmp(id, "engine.link_down") == 0 || strcmp(id, "engine.not_recovered") == 0) {
    bk_log_at(is_good_news(id) ? BK_INFO : BK_WARN, id, bk_sl("detail", detail));
  } else if (kind->at != 0 && now < kind->at + QUIET) {
    kind->left_out++;
  } else {
    bk_warn(id, bk_sl("detail", detail), bk_u("left_out", kind->left_out));
    kind->at = now;
    kind->left_out = 0;
  }
}

// Why it is not ready at the start is told by the links.
void bk_engine_watch(struct bk_engine *e) {
  const char *why = e->engine->ops->not_ready(e->engine);
  if (!why && !e->ready) bk_info("engine.ready", bk_u("epoch", e->engine->epoch));
  if (why && e->ready) bk_warn("engine.not_ready", bk_s("reason", why));
  e->ready = !why;
}

void bk_engine_new_id(char out[BK_NODE_ID]) {
  uuid_t id;
  uuid_generate(id);
  uuid_unparse_lower(id, out);
}

// -- life ------------------------------------------------------------------------------------------

// A publisher has no relays: the brokers of its pod carry what it appends.
static struct er_url *parse_pods(const struct bk_engine_options *o, const char *role, size_t *count) {
  *count = strcmp(role, "broker") == 0 ? o->pods.count : 0;
  struct er_url *urls = bx_alloc((*count + 1) * sizeof *urls);
  for (size_t i = 0; i < *count; i++)
    BX_BUG_ON(er_url_parse(&urls[i], bx_slice_of(o->pods.at[i])) != NULL);   // checked
  return urls;
}

struct bk_engine *bk_engine_create(struct bk_loop *loop, const struct bk_engine_options *o, const char *node,
                                   const char *role, const char *address, bx_millis life) {
  struct bk_engine *e = bx_alloc(sizeof *e);
  struct er_url url;
  size_t pod_count;
  struct er_url *pods = parse_pods(o, role, &pod_count);
  BX_BUG_ON(er_url_parse(&url, bx_slice_of(o->url)) != NULL);   // checked
  *e = (struct bk_engine){.loop = loop};
  e->node = er_node_create(bk_loop_uv(loop), bk_loop_wheel(loop),
                           &(struct er_node_options){
                               .url = &url,
                               .pod = o->pod ? bx_slice_of(o->pod) : (struct bx_slice){0},
                               .pods = pods,
                               .pod_count = pod_count,
                               .core = {.ns = bx_slice_of(o->ns),
                                        .node = bx_slice_of(node),
                                        .role = bx_slice_of(role),
                                        .address = bx_slice_of(address),
                                        .command_timeout = o->command_timeout,
                                        .life = life,
                                        .journal_messages = o->journal_messages,
                                        .wait = (unsigned)o->wait},
                               .now = now_of,
                               .event = event,
                               .context = e,
                           });
  e->engine = er_node_engine(e->node);
  er_url_fini(&url);
  for (size_t i = 0; i < pod_count; i++) er_url_fini(&pods[i]);
  bx_free(pods);
  return e;
}

void bk_engine_destroy(struct bk_engine *e) {
  if (!e) return;
  er_node_destroy(e->node);
  bx_free(e);
}

struct er_node *bk_engine_node(struct bk_engine *e) {
  return e->node;
}
