// SPDX-License-Identifier: Apache-2.0
#include "web-gateway/messages.h"

#include "api-bridge/chat.h"
#include "broker/host/log.h"

#include <strings.h>

enum { TIMEOUT = 15000, MAX_ANSWER = 256 << 10 };   // ms (longer than mora-api's own), bytes

// A post that mora-api was asked about.
struct post {
  struct bk_asked asked;
  struct gw_messages *messages;
};

static void post_free(struct bk_asked *a) { bx_free(bx_container_of(a, struct post, asked)); }

static void pass_on(struct bk_exchange *x, int status, struct bx_slice body) {
  switch (status) {
  case 200:
  case 400:
  case 413:
  case 503:
  case 504:
    bk_exchange_respond(x, &(struct bk_response){.status = status, .content_type = "application/json", .body = body});
    break;
  case BK_HTTP_UNSENT:
    bk_exchange_refuse(x, 503, "the message was not published: the chat service does not answer");
    break;
  case 0: bk_exchange_refuse(x, 504, "it is not known whether the message was published"); break;
  default: bk_exchange_refuse(x, 502, "the chat service refused this gateway");
  }
}

static void answered(void *context, int status, struct bx_slice body, const char *error) {
  struct post *p = context;
  if (status != 200 && status != 400)
    bk_warn("post.failed", bk_s("api", p->messages->api), bk_u("status", status > 0 ? (uint64_t)status : 0),
            bk_s("reason", error));
  struct bk_exchange *x = bk_asked_answer(&p->asked);
  if (x) pass_on(x, status, body);
  bk_asked_done(&p->asked);
}

bool gw_same_site(struct bx_slice fetch_site, struct bx_slice origin, struct bx_slice host) {
  if (fetch_site.len > 0) return bx_slice_equal(fetch_site, BX_LIT("same-origin"));
  return origin.len == 0 || bk_origin_is_host(origin, host);
}

static bool admit(struct bk_exchange *x) {
  char site[32] = "", origin[512] = "", host[256] = "", type[64] = "";
  bk_exchange_header(x, "sec-fetch-site", site, sizeof site);
  bk_exchange_header(x, "origin", origin, sizeof origin);
  bk_exchange_header(x, "host", host, sizeof host);
  bk_exchange_header(x, "content-type", type, sizeof type);
  if (!gw_same_site(bx_slice_of(site), bx_slice_of(origin), bx_slice_of(host))) {
    bk_exchange_refuse(x, 403, "only pages of this site may post here");
    return false;
  }
  if (strncasecmp(type, "application/json", 16) != 0) {
    bk_exchange_refuse(x, 415, "content-type: application/json was expected");
    return false;
  }
  return true;
}

void gw_messages_post(void *context, struct bk_exchange *x) {
  struct gw_messages *m = context;
  struct bx_slice room = bk_exchange_parameter(x, "roomId");
  if (!admit(x)) return;
  if (!ab_room_is_good(room)) {
    bk_exchange_refuse(x, 400, "room: a name of letters, digits and -_!~()$@ was expected");
    return;
  }
  size_t base = strlen(m->api);
  while (base > 0 && m->api[base - 1] == '/') base--;
  struct bx_buffer url = {0};   // a good room needs no escapes in a URL
  bx_buffer_printf(&url, "%.*s/v1/rooms/%.*s/chatMessages", (int)base, m->api, (int)room.len, room.at);
  bx_buffer_char(&url, 0);
  struct post *p = bx_alloc(sizeof *p);
  *p = (struct post){.messages = m};
  bk_asked_begin(&p->asked, x, m->owed, post_free);
  bk_http_client_send(m->client, &(struct bk_http_client_request){
                                     .method = "POST",
                                     .url = url.at,
                                     .content_type = "application/json",
                                     .bearer = m->token,
                                     .body = bk_exchange_body(x),
                                     .timeout = TIMEOUT,
                                     .max_answer = MAX_ANSWER,
                                     .done = answered,
                                     .context = p,
                                 });
  bx_buffer_fini(&url);
}
