// SPDX-License-Identifier: Apache-2.0
// Web pages of other sites: who is admitted, and the headers without which a browser keeps the
// answer from them.
#include "broker/access/origin.h"
#include "broker/host/log.h"
#include "broker/transport/link.h"

static void log_refusal(struct bk_transport *t, const struct bk_exchange *x, const char *origin) {
  bx_millis now = bk_loop_now(t->loop);
  t->counters.refused_origins++;
  if (t->counters.refused_origins > 1 && now - t->origin_logged < 1000) return;
  t->origin_logged = now;
  bk_warn("origin.refused", bk_s("origin", origin), bk_sl("peer", bk_exchange_peer(x)),
          bk_s("hint", "add it to access.origins"));
}

// A script, an image or a link of a page has no Origin; callback-polling comes so. Browsers say then that another
// site asks, and which unless the page hides it: an origin "null".
static bool read_referer(const struct bk_exchange *x, char page[BK_ORIGIN_MAX]) {
  char site[16];
  if (!bk_exchange_header(x, "sec-fetch-site", site, sizeof site)) return false;
  if (strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0) return false;
  bool told = bk_exchange_header(x, "referer", page, BK_ORIGIN_MAX);
  char *host = told ? strstr(page, "://") : NULL;
  if (!host) strcpy(page, "null");
  if (host) host[3 + strcspn(host + 3, "/?#")] = '\0';
  return true;
}

bool bk_cors_admit(struct bk_endpoint *e, const struct bk_exchange *x, char origin[BK_ORIGIN_MAX]) {
  char page[BK_ORIGIN_MAX];
  const char *asks = origin;
  bool here = e->loopback && !bk_exchange_forwarded(x);
  if (!bk_exchange_header(x, "origin", origin, BK_ORIGIN_MAX)) origin[0] = 0;
  if (!origin[0] && read_referer(x, page)) asks = page;
  if (bk_origin_allowed(e->transport->options.origins, bx_slice_of(asks), here)) return true;
  log_refusal(e->transport, x, asks);
  return false;
}

size_t bk_cors_headers(const char *origin, struct bk_header *headers) {
  if (!origin[0]) return 0;
  headers[0] = (struct bk_header){"access-control-allow-credentials", BX_LIT("true")};
  headers[1] = (struct bk_header){"access-control-allow-origin", bx_slice_of(origin)};
  headers[2] = (struct bk_header){"vary", BX_LIT("Origin")};
  return BK_CORS_HEADERS;
}

void bk_cors_preflight(struct bk_exchange *x, const char *origin) {
  struct bk_header headers[BK_CORS_HEADERS + 3] = {
      {"access-control-allow-headers", BX_LIT("Accept, Authorization, Content-Type, Pragma, X-Requested-With")},
      {"access-control-allow-methods", BX_LIT("POST, GET")},
      {"access-control-max-age", BX_LIT("86400")},
  };
  size_t count = 3 + bk_cors_headers(origin, headers + 3);
  bk_exchange_respond(x, &(struct bk_response){.status = 200, .headers = headers, .header_count = count});
}
