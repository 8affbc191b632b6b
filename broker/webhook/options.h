// SPDX-License-Identifier: Apache-2.0
// What can be configured of the webhook.
#pragma once

#include "config/config.h"

struct bk_webhook_options {
  const char *url;             // NULL: nobody is told
  struct cf_strings secrets;   // each signs
  bx_millis timeout;           // of one request
  bx_millis pause;             // the longest between two tries
  uint64_t batch;              // events of one request
  uint64_t queue;              // events that wait, of the memory engine
};

extern const struct cf_option bk_webhook_options[];

// What the rows can not judge: appends a line per fault.
void bk_webhook_check(const struct cf_set *, const struct bk_webhook_options *, struct bx_buffer *faults);
