// SPDX-License-Identifier: Apache-2.0
// What is asked for below a mount, in the order in which Faye looks: a script, a preflight, a stream of
// events, callback-polling, a post. Everything else is a 400.
#include "broker/transport/link.h"

void bk_answer_text(struct bk_exchange *x, int status, struct bx_slice text) {
  bk_exchange_respond(x, &(struct bk_response){
                             .status = status,
                             .content_type = "text/plain; charset=utf-8",
                             .body = text,
                         });
}

void bk_mount_refuse(struct bk_endpoint *e, struct bk_exchange *x) {
  e->transport->counters.bad_requests++;
  bk_answer_text(x, 400, BX_LIT("Bad request"));
}

static bool is_preflight(const struct bk_exchange *x) {
  char method[8];
  if (bk_exchange_method(x) == BK_OPTIONS) return true;
  return bk_exchange_header(x, "access-control-request-method", method, sizeof method) && strcmp(method, "POST") == 0;
}

void bk_mount_handle(void *endpoint, struct bk_exchange *x) {
  struct bk_endpoint *e = endpoint;
  char origin[BK_ORIGIN_MAX];
  if (bk_script_is(bk_exchange_path(x))) {   // every site may load it
    bk_script_serve(e, x);
    return;
  }
  if (!bk_cors_admit(e, x, origin)) {
    bk_answer_text(x, 403, BX_LIT("This origin is not in access.origins"));
    return;
  }
  if (e->transport->left) {
    e->transport->counters.late++;
    bk_exchange_close_after(x);
    bk_answer_text(x, 503, BX_LIT("Not available"));
    return;
  }
  enum bk_method method = bk_exchange_method(x);
  if (is_preflight(x))
    bk_cors_preflight(x, origin);
  else if (method == BK_GET && bk_events_wanted(x))
    bk_events_open(e, x, origin);
  else if (method == BK_GET)
    bk_poll_callback(e, x, origin);
  else if (method == BK_POST)
    bk_poll_post(e, x, origin);
  else
    bk_mount_refuse(e, x);
}
