// SPDX-License-Identifier: Apache-2.0
// Which row of a route table a path belongs to, and what its ":names" stand for.
#include "broker/host/internal.h"

// "/v1/rooms/:roomId/chatMessages" against "/v1/rooms/r1/chatMessages". A name takes a whole,
// non-empty segment.
static bool match_path(const char *pattern, struct bx_slice path, struct bx_slice *parameters) {
  size_t count = 0;
  const char *at = path.at, *end = path.at + path.len;
  while (*pattern) {
    if (*pattern == ':') {
      const char *begin = at;
      while (at < end && *at != '/') at++;
      if (at == begin) return false;
      BX_BUG_ON(count >= BK_MAX_PARAMETERS);
      parameters[count++] = (struct bx_slice){begin, (size_t)(at - begin)};
      while (*pattern && *pattern != '/') pattern++;
      continue;
    }
    if (at == end || *at != *pattern) return false;
    at++;
    pattern++;
  }
  return at == end;
}

static bool matches(const struct bk_route *r, struct bx_slice path, struct bx_slice *parameters) {
  return r->path ? match_path(r->path, path, parameters) : r->match(r->context, path);
}

static bool is_end(const struct bk_route *r) { return !r->path && !r->match; }

const struct bk_route *bk_router_find(const struct bk_route *routes, enum bk_method method, struct bx_slice path,
                                      struct bx_slice *parameters, int *status) {
  *status = 404;
  for (const struct bk_route *r = routes; !is_end(r); r++) {
    if (!r->handle || !matches(r, path, parameters)) continue;
    if (r->methods & method) return r;
    *status = 405;
  }
  return NULL;
}

unsigned bk_router_methods(const struct bk_route *routes, struct bx_slice path) {
  struct bx_slice parameters[BK_MAX_PARAMETERS];
  unsigned methods = 0;
  for (const struct bk_route *r = routes; !is_end(r); r++)
    if (r->handle && matches(r, path, parameters)) methods |= r->methods;
  return methods;
}

const struct bk_route *bk_router_find_upgrade(const struct bk_route *routes, struct bx_slice path,
                                              struct bx_slice *parameters, int *status) {
  *status = 404;
  for (const struct bk_route *r = routes; !is_end(r); r++) {
    if (!matches(r, path, parameters)) continue;
    if (r->upgrade) return r;
    *status = 400;
  }
  return NULL;
}

struct bx_slice bk_exchange_parameter(const struct bk_exchange *x, const char *name) {
  size_t len = strlen(name), n = 0;
  const char *at = x->route && x->route->path ? x->route->path : "";
  for (; (at = strchr(at, ':')); n++) {
    at++;
    if (strncmp(at, name, len) == 0 && (at[len] == '/' || at[len] == '\0')) return x->parameters[n];
  }
  return (struct bx_slice){0};
}
