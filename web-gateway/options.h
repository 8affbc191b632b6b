// SPDX-License-Identifier: Apache-2.0
// What can be configured in mora-web, beyond logging.
#pragma once

#include "config/config.h"

struct gw_options {
  struct cf_strings listen, origins;
  const char *api;
  const char *api_token;
  const char *broker;
  const char *files;
};

extern const struct cf_option gw_options[];
