// SPDX-License-Identifier: Apache-2.0
// Where Redis is: the option engine.url.
//
//   redis://[user:password@]host[:port][/db]      "[::1]" for an IPv6 address; port 6379; db 0
//   redis+unix://[user:password@]/path[?db=0]
//
// User, password and path may hold %XX. The user may be empty (":password@"): the default user.
// Refused with words of their own: redis+sentinel:// and rediss://.
//
// A struct er_url owns its texts: er_url_fini(). {0} is allowed there.
#pragma once

#include "bayeux/buffer.h"

struct er_url {
  char *user;       // NULL: the default user
  char *password;   // NULL: no AUTH
  char *host;       // NULL: a unix socket; without brackets
  char *path;       // NULL: TCP
  uint16_t port;
  unsigned db;
};

// NULL when the text is good, else what is wrong with it; *out is {0} then. Judges the form only.
const char *er_url_parse(struct er_url *out, struct bx_slice text) BX_MUST_CHECK;
void er_url_copy(struct er_url *out, const struct er_url *);
void er_url_fini(struct er_url *);

// For logs: without user and password.
void er_url_show(const struct er_url *, struct bx_buffer *out);
