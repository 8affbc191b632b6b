// SPDX-License-Identifier: Apache-2.0
#include "broker/host/health.h"

#include "bayeux/buffer.h"

static void answer(struct bk_exchange *x, const struct bx_buffer *reasons) {
  struct bx_buffer body = {0};
  bool ready = reasons->len == 0;
  bx_buffer_printf(&body, "{\"ready\":%s,\"reasons\":[", ready ? "true" : "false");
  bx_buffer_slice(&body, bx_buffer_view(reasons));
  bx_buffer_lit(&body, "]}");
  bk_exchange_respond(x, &(struct bk_response){.status = ready ? 200 : 503,
                                               .content_type = "application/json",
                                               .body = bx_buffer_view(&body)});
  bx_buffer_fini(&body);
}

void bk_health_reason(struct bk_health *h, const char *reason) {
  if (h->answer->len) bx_buffer_char(h->answer, ',');
  bx_buffer_json_string(h->answer, bx_slice_of(reason));
}

void bk_health_alive(void *health, struct bk_exchange *x) {
  (void)health;
  answer(x, &(struct bx_buffer){0});
}

void bk_health_ready(void *health, struct bk_exchange *x) {
  struct bk_health *h = health;
  struct bx_buffer reasons = {0};
  h->answer = &reasons;
  if (h->reasons) h->reasons(h->context, h);
  h->answer = NULL;
  answer(x, &reasons);
  bx_buffer_fini(&reasons);
}
