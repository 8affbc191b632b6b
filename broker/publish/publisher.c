// SPDX-License-Identifier: Apache-2.0
// The words that all publishers share.
#include "broker/publish/publisher.h"

const char *bk_publish_outcome_name(enum bk_publish_outcome outcome) {
  static const char *const names[] = {
      [BK_PUBLISH_ACKNOWLEDGED] = "acknowledged",
      [BK_PUBLISH_REFUSED] = "refused",
      [BK_PUBLISH_UNKNOWN] = "unknown",
      [BK_PUBLISH_BAD] = "bad",
  };
  return names[outcome];
}

void bk_publish_error_text(const struct bk_publish_result *r, struct bx_slice channel, struct bx_buffer *out) {
  if (r->outcome == BK_PUBLISH_ACKNOWLEDGED) return;
  if (r->error.len > 0) {
    bx_buffer_slice(out, r->error);
    return;
  }
  bool refused = r->outcome == BK_PUBLISH_REFUSED;
  bx_buffer_slice(out, refused ? BX_LIT("503:") : BX_LIT("504:"));
  bx_buffer_slice(out, channel);
  bx_buffer_slice(out, refused ? BX_LIT(":Not published") : BX_LIT(":Outcome unknown"));
}
