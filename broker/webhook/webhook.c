// SPDX-License-Identifier: Apache-2.0
#include "broker/webhook/webhook.h"

#include "broker/host/http_client.h"
#include "broker/host/log.h"
#include "broker/webhook/parts.h"

enum {
  BEAT = 200,             // ms: how often is looked for new events
  ELSEWHERE = 1000,       // ms: and how often by a node that does not tell
  FIRST_PAUSE = 500,      // ms
  MAX_ANSWER = 1 << 20,   // bytes; nobody reads them
};

const struct bk_metric bk_webhook_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_webhook_counters, field), 0},
    BK_WEBHOOK_COUNTERS(X)
#undef X
        {0}};

struct bk_webhook {
  struct bk_loop *loop;
  struct bk_webhook_options options;
  struct bk_webhook_source *source;
  bool queued;   // the source is a queue of this process
  struct bk_http_client *client;
  struct bk_webhook_counters counters;
  struct bx_timer beat;
  enum { IDLE, SENDING, PAUSING } state;
  bool asking;            // the source is
  bool renewing;          // it was asked for no events, only to go on
  bx_millis asked_at;     // when it was asked last
  bx_millis good_until;   // the lease, as of its last answer
  bx_millis due;          // IDLE: when to ask, PAUSING: when to send again
  bool told;              // the batch that was given last is; the source is to hear of it
  bool void_batch;        // SENDING: it is not ours to tell any more
  struct bx_buffer body;
  size_t count;      // events in it
  bx_millis pause;   // the last one; 0: the last request was good
  bool leaving, closing;
};

static bx_millis now_of(const struct bk_webhook *w) { return bk_loop_now(w->loop); }

static void ask(struct bk_webhook *w, size_t limit) {
  w->asking = true;
  w->renewing = limit == 0;
  w->asked_at = now_of(w);
  w->source->next(w->source, w->told, limit);
}

static void rest(struct bk_webhook *w, bx_millis time) {
  w->state = IDLE;
  w->count = 0;
  w->due = now_of(w) + time;
}

// -- sending ---------------------------------------------------------------------------------------

static void failed(struct bk_webhook *w, int status, const char *error) {
  w->counters.failures++;
  if (w->pause == 0)
    bk_warn("webhook.down", bk_u("status", status > 0 ? (uint64_t)status : 0),
            bk_s("error", status > 0 ? "no 2xx answer" : error));
  w->pause = w->pause == 0 ? FIRST_PAUSE : 2 * w->pause;
  if (w->pause > w->options.pause) w->pause = w->options.pause;
  w->state = PAUSING;
  w->due = now_of(w) + w->pause;
}

static void sent(void *context, int status, struct bx_slice answer, const char *error) {
  struct bk_webhook *w = context;
  bool good = status >= 200 && status < 300;
  (void)answer;
  if (w->closing) return;
  if (!good) {
    failed(w, status, error);
  } else {
    if (w->pause > 0) bk_info("webhook.back");
    w->pause = 0;
    w->counters.told += w->count;
    w->told = !w->void_batch;
    rest(w, 0);
  }
  if (w->void_batch) rest(w, 0);
  w->void_batch = false;
  if (w->state == IDLE && !w->asking && !w->leaving) ask(w, w->options.batch);
}

static void post(struct bk_webhook *w) {
  struct bx_buffer signature = {0};
  w->state = SENDING;
  w->counters.requests++;
  if (w->options.secrets.count > 0)
    bk_webhook_write_signature(&signature, w->options.secrets, bk_wall_clock() / 1000, bx_buffer_view(&w->body));
  bk_http_client_send(w->client, &(struct bk_http_client_request){.method = "POST",
                                                                  .url = w->options.url,
                                                                  .content_type = "application/json",
                                                                  .signature = signature.at,
                                                                  .body = bx_buffer_view(&w->body),
                                                                  .timeout = w->options.timeout,
                                                                  .max_answer = MAX_ANSWER,
                                                                  .done = sent,
                                                                  .context = w});
  bx_buffer_fini(&signature);
}

// -- what the source says --------------------------------------------------------------------------

static void nothing(struct bk_webhook *w) {
  if (w->counters.telling) bk_info("webhook.elsewhere");
  w->counters.telling = 0;
  if (w->state == SENDING)
    w->void_batch = true;
  else
    rest(w, ELSEWHERE);
}

static void take(struct bk_webhook *w, const struct bk_webhook_given *g) {
  w->told = g->count == 0;   // entries of kinds that are not told are passed over
  w->counters.missed += g->missed;
  if (g->missed > 0) bk_warn("webhook.missed", bk_u("events", g->missed));
  w->count = g->count;
  bx_buffer_clear(&w->body);
  bx_buffer_lit(&w->body, "{\"events\":[");
  bx_buffer_slice(&w->body, g->events);
  bx_buffer_lit(&w->body, "]}");
  if (g->count > 0)
    post(w);
  else
    rest(w, BEAT);
}

static void given(void *context, const struct bk_webhook_given *g) {
  struct bk_webhook *w = context;
  w->asking = false;
  if (w->closing || w->leaving) return;
  if (!g) {
    nothing(w);
    return;
  }
  w->good_until = w->asked_at + w->source->lease;
  if (!w->counters.telling) {
    w->counters.telling = 1;
    w->counters.takeovers++;
    bk_info("webhook.telling");
  }
  if (w->state == IDLE && w->renewing)   // the request was answered meanwhile
    ask(w, w->options.batch);
  else if (w->state == IDLE)
    take(w, g);
  else if (!g->again && w->state == SENDING)
    w->void_batch = true;
  else if (!g->again)
    rest(w, 0);
}

// -- time ------------------------------------------------------------------------------------------

static void on_beat(struct bx_timer *timer) {
  struct bk_webhook *w = bx_container_of(timer, struct bk_webhook, beat);
  bx_millis now = now_of(w), lease = w->source->lease;
  bx_wheel_set(bk_loop_wheel(w->loop), timer, now + BEAT);
  if (w->asking || w->leaving) return;
  if (w->state == IDLE) {
    if (now >= w->due) ask(w, w->options.batch);
    return;
  }
  if (lease > 0 && now >= w->asked_at + lease / 5)
    ask(w, 0);
  else if (w->state == PAUSING && now >= w->due && (lease == 0 || now < w->good_until))
    post(w);
}

// -- life ------------------------------------------------------------------------------------------

struct bk_webhook *bk_webhook_create(struct bk_loop *loop, const struct bk_webhook_options *options,
                                     struct er_core *core, const char *node, const char *pod) {
  struct bk_webhook *w = bx_alloc(sizeof *w);
  w->loop = loop;
  w->options = *options;
  w->queued = !core;
  w->source = core ? bk_webhook_stream_create(core, pod) : bk_webhook_queue_create(node, options->queue);
  w->source->done = given;
  w->source->context = w;
  w->client = bk_http_client_create(loop);
  bx_timer_init(&w->beat, on_beat);
  bx_wheel_set(bk_loop_wheel(loop), &w->beat, bk_loop_now(loop) + BEAT);
  return w;
}

void bk_webhook_destroy(struct bk_webhook *w) {
  if (!w) return;
  w->closing = true;
  bx_wheel_cancel(bk_loop_wheel(w->loop), &w->beat);
  bk_http_client_destroy(w->client);
  w->source->destroy(w->source);
  bx_buffer_fini(&w->body);
  bx_free(w);
}

void bk_webhook_leave(struct bk_webhook *w) {
  if (w && !w->queued) w->leaving = true;
}

void bk_webhook_happened(struct bk_webhook *w, const char *kind, struct bx_slice client, struct bx_slice user,
                         struct bx_slice detail) {
  bk_webhook_queue_add(
      w->source,
      &(struct bk_webhook_event){
          .time = bk_wall_clock(), .kind = bx_slice_of(kind), .client = client, .user = user, .detail = detail});
}

struct bk_webhook_counters bk_webhook_numbers(const struct bk_webhook *w) {
  struct bk_webhook_counters c = w->counters;
  c.waiting = w->queued ? bk_webhook_queue_length(w->source) : w->count;
  return c;
}
