// SPDX-License-Identifier: Apache-2.0
// Where Redis is: the option engine.url.
//
//   redis://[user:password@]host[:port][/db]      "[::1]" for an IPv6 address; port 6379; db 0
//   redis+unix://[user:password@]/path[?db=0]
//   redis+sentinel://[user:password@]host[:port],host[:port].../name[?db=0]      port 26379
//
// User, password and path may hold %XX. The user may be empty (":password@"): the default user. Those of
// redis+sentinel:// are for the Redis, and for a Sentinel that asks for some.
// Refused with words of its own: rediss://.
//
// A struct er_url owns its texts: er_url_fini(). {0} is allowed there.
#pragma once

#include "bayeux/buffer.h"

struct er_place {
  char *host;   // without brackets
  uint16_t port;
};

enum { ER_SENTINELS_MAX = 16 };

// Where it is: `place`, or `path`, or what one of `sentinels` says of `primary`.
struct er_url {
  char *user;              // NULL: the default user
  char *password;          // NULL: no AUTH
  struct er_place place;   // host NULL: not TCP, or not known from here
  char *path;              // NULL: not a unix socket
  char *primary;           // the name that the Sentinels know; NULL: without them
  struct er_place sentinels[ER_SENTINELS_MAX];
  size_t sentinel_count;
  unsigned db;
};

// NULL when the text is good, else what is wrong with it; *out is {0} then. Judges the form only.
const char *er_url_parse(struct er_url *out, struct bx_slice text) BX_MUST_CHECK;
void er_url_copy(struct er_url *out, const struct er_url *);
void er_url_fini(struct er_url *);

// For logs: without user and password.
void er_url_show(const struct er_url *, struct bx_buffer *out);
