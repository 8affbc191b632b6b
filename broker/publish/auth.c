// SPDX-License-Identifier: Apache-2.0
// Bearer tokens, and what an open listener refuses to browsers.
#include "broker/publish/auth.h"

#include <strings.h>

bool bk_origin_is_host(struct bx_slice origin, struct bx_slice host) {
  const char *mark = memmem(origin.at, origin.len, "://", 3);
  if (!mark || host.len == 0) return false;
  const char *begin = mark + 3;
  size_t len = origin.len - (size_t)(begin - origin.at);
  return len == host.len && strncasecmp(begin, host.at, len) == 0;
}

static void refuse_token(struct bk_exchange *x) {
  static const struct bk_header challenge[] = {{"www-authenticate", {"Bearer", 6}}};
  bk_exchange_respond(x, &(struct bk_response){
                             .status = 401,
                             .content_type = "application/json",
                             .headers = challenge,
                             .header_count = 1,
                             .body = BX_LIT("{\"error\":\"a token is required: Authorization: Bearer ...\"}"),
                         });
}

static bool admit_open(struct bk_exchange *x) {
  char host[256] = "", origin[512] = "";
  bk_exchange_header(x, "host", host, sizeof host);
  if (!bk_host_is_local(bx_slice_of(host))) {
    bk_exchange_refuse(x, 403, "without a token only this machine is answered, by the name localhost");
    return false;
  }
  if (bk_exchange_header(x, "origin", origin, sizeof origin) &&
      !bk_origin_is_host(bx_slice_of(origin), bx_slice_of(host))) {
    bk_exchange_refuse(x, 403, "without a token pages of other sites are not answered");
    return false;
  }
  return true;
}

bool bk_tokens_admit(const struct bk_secrets *t, struct bk_exchange *x) {
  if (!t || t->count == 0) return admit_open(x);
  static const char scheme[] = "bearer ";
  char header[sizeof scheme + BK_TOKEN_MAX + 1] = "";
  bk_exchange_header(x, "authorization", header, sizeof header);
  // A header that filled the buffer was cut: what is left of it must not match.
  bool whole = strlen(header) < sizeof header - 1;
  if (whole && strncasecmp(header, scheme, sizeof scheme - 1) == 0 &&
      bk_secrets_match(t, bx_slice_of(header + sizeof scheme - 1)))
    return true;
  refuse_token(x);
  return false;
}
