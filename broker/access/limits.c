// SPDX-License-Identifier: Apache-2.0
#include "broker/access/limits.h"

static const char *incoming(struct bx_extension *extension, const struct bx_incoming *in) {
  const struct bk_limits *limits = bx_container_of(extension, struct bk_limits, extension);
  if (in->message->data.raw.len + in->message->ext.raw.len <= limits->message) return NULL;
  in->server->counters.over_limits++;
  return "413::Message too large";
}

void bk_limits_init(struct bk_limits *limits, uint64_t message) {
  *limits = (struct bk_limits){.extension.incoming = incoming, .message = message};
}
