// SPDX-License-Identifier: Apache-2.0
#include "broker/publish/probe.h"

#include "broker/host/log.h"

#include <stdio.h>

enum { EVERY = 1000, TIMEOUT = 2000, MAX_ANSWER = 64 << 10 };   // ms, ms, bytes

struct bk_probe_request {
  struct bk_probe *probe;   // NULL: it was stopped, only memory is left to free
};

static void set_ready(struct bk_probe *p) {
  if (p->why[0]) bk_info("upstream.ready", bk_s("upstream", p->what), bk_s("url", p->url));
  p->why[0] = 0;
}

void bk_probe_failed(struct bk_probe *p, const char *why) {
  bool was_ready = p->why[0] == 0;
  snprintf(p->why, sizeof p->why, "%s: %s", p->what, why ? why : "no answer");
  if (was_ready) bk_warn("upstream.not_ready", bk_s("upstream", p->what), bk_s("url", p->url), bk_s("reason", p->why));
}

const char *bk_probe_not_ready(const struct bk_probe *p) { return p->why[0] ? p->why : NULL; }

static void answered(void *context, int status, struct bx_slice body, const char *error) {
  (void)body;
  struct bk_probe_request *request = context;
  struct bk_probe *p = request->probe;
  bx_free(request);
  if (!p) return;
  p->request = NULL;
  if (status <= 0)
    bk_probe_failed(p, error);
  else if (status != 200)
    bk_probe_failed(p, "is not ready");
  else
    set_ready(p);
  bx_wheel_set(bk_loop_wheel(p->loop), &p->timer, bk_loop_now(p->loop) + EVERY);
}

static void ask(struct bx_timer *t) {
  struct bk_probe *p = bx_container_of(t, struct bk_probe, timer);
  p->request = bx_alloc(sizeof *p->request);
  p->request->probe = p;
  bk_http_client_send(p->client, &(struct bk_http_client_request){
                                     .method = "GET",
                                     .url = p->url,
                                     .unix_path = p->unix_path,
                                     .bearer = p->token,
                                     .timeout = TIMEOUT,
                                     .max_answer = MAX_ANSWER,
                                     .done = answered,
                                     .context = p->request,
                                 });
}

void bk_probe_start(struct bk_probe *p) {
  p->request = NULL;
  snprintf(p->why, sizeof p->why, "%s: not asked yet", p->what);
  bx_timer_init(&p->timer, ask);
  bx_wheel_set(bk_loop_wheel(p->loop), &p->timer, bk_loop_now(p->loop));
}

void bk_probe_stop(struct bk_probe *p) {
  bx_wheel_cancel(bk_loop_wheel(p->loop), &p->timer);
  if (p->request) p->request->probe = NULL;
  p->request = NULL;
}
