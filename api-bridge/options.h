// SPDX-License-Identifier: Apache-2.0
// What can be configured in mora-api, beyond logging (daemon.h).
#pragma once

#include "broker/engine/engine.h"
#include "config/config.h"

struct ab_options {
  struct cf_strings listen;
  struct cf_strings tokens;
  const char *publish;   // NULL: as engine.type says
  const char *publish_token;
  bx_millis timeout;

  struct bk_engine_options engine;   // of a table of its own
};

extern const struct cf_option ab_options[];
