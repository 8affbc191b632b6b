// SPDX-License-Identifier: Apache-2.0
// The small readers of the host, the broker and the Redis engine, without a socket: addresses, chunked
// bodies, queries, routes, origins, mounts, URLs. The first byte says which. Each is held against
// what must be true of it: read in pieces as in one, written and read again as read once.
#include "broker/access/origin.h"
#include "broker/host/internal.h"
#include "broker/options.h"
#include "engine-redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) BX_BUG_ON(!(condition))

// -- addresses ---------------------------------------------------------------------------------

static void address(const char *text) {
  struct bk_address a, again;
  char out[64], once_more[64];
  if (!bk_address_parse(&a, text)) return;
  if (a.unix_path) {
    MUST(strcmp(a.unix_path, text + 5) == 0 && a.len <= sizeof a.socket);
    return;
  }
  bk_address_text(&a.socket.generic, out, sizeof out);
  MUST(bk_address_parse(&again, out));
  bk_address_text(&again.socket.generic, once_more, sizeof once_more);
  MUST(strcmp(out, once_more) == 0);
}

// -- chunked bodies ----------------------------------------------------------------------------

// The bytes used when it is over, -1 when refused, -2 when it wants more.
static long feed(struct bx_slice text, size_t step, struct bx_buffer *out) {
  struct bk_chunks c = {0};
  for (size_t at = 0; at < text.len;) {
    size_t n = text.len - at < step ? text.len - at : step;
    long used = bk_chunks_feed(&c, text.at + at, n, out);
    if (used < 0) return -1;
    at += (size_t)used;
    if (c.state == BK_CHUNKS_OVER) return (long)at;
    MUST((size_t)used == n);
  }
  return -2;
}

static void chunks(struct bx_slice text) {
  struct bx_buffer whole = {0}, pieces = {0};
  if (text.len == 0) return;
  long result = feed(text, text.len, &whole);
  MUST(whole.len <= text.len);
  for (size_t step = 1; step <= 3; step++) {
    bx_buffer_clear(&pieces);
    MUST(feed(text, step, &pieces) == result);
    if (result != -1) MUST(bx_slice_equal(bx_buffer_view(&whole), bx_buffer_view(&pieces)));
  }
  bx_buffer_fini(&whole);
  bx_buffer_fini(&pieces);
}

// -- queries -----------------------------------------------------------------------------------

// A value that was found is found again when it is the only one, encoded.
static void query(struct bx_slice text) {
  struct bx_buffer value = {0}, encoded = {0}, again = {0};
  if (bk_query_get(text, "message", &value)) {
    bx_buffer_lit(&encoded, "message=");
    for (size_t i = 0; i < value.len; i++) bx_buffer_printf(&encoded, "%%%02X", (unsigned char)value.at[i]);
    MUST(bk_query_get(bx_buffer_view(&encoded), "message", &again));
    MUST(bx_slice_equal(bx_buffer_view(&value), bx_buffer_view(&again)));
  } else {
    MUST(value.len == 0);
  }
  bx_buffer_fini(&value);
  bx_buffer_fini(&encoded);
  bx_buffer_fini(&again);
}

// -- routes ------------------------------------------------------------------------------------

static void handle(void *context, struct bk_exchange *x) { (void)context, (void)x; }

static bool below_mount(void *context, struct bx_slice path) {
  (void)context;
  return bx_slice_starts(path, BX_LIT("/bayeux"));
}

static void router(struct bx_slice path) {
  static const struct bk_route routes[] = {
      {.methods = BK_GET, .path = "/v1/clients/:id", .handle = handle},
      {.methods = BK_POST, .path = "/v1/clients/:id/unsubscribe", .handle = handle},
      {.methods = BK_GET, .path = "/:a/:b/:c", .handle = handle},
      {.methods = BK_GET | BK_POST, .handle = handle, .match = below_mount},
      {0},
  };
  struct bx_slice parameters[BK_MAX_PARAMETERS] = {{0}};
  int status = 0;
  const struct bk_route *r = bk_router_find(routes, BK_GET, path, parameters, &status);
  MUST(r ? r != &routes[1] : status == 404 || status == 405);
  for (int i = 0; r && i < BK_MAX_PARAMETERS; i++)
    MUST(!parameters[i].len ||
         (parameters[i].at >= path.at && parameters[i].at + parameters[i].len <= path.at + path.len));
}

// -- configuration -----------------------------------------------------------------------------

static void origin(struct bx_slice text, const char *terminated) {
  struct cf_strings list = {&terminated, 1};
  if (bk_origin_check(text) == NULL) MUST(bk_origin_allowed(list, text, false));
  bk_origin_allowed((struct cf_strings){0}, text, true);
}

static void mounts(struct bx_slice text) {
  const struct bx_mount standard = {.timeout = 60000};
  struct bx_mount *list;
  size_t count;
  if (bk_mounts_read(text, &standard, &list, &count) != NULL) return;
  MUST(count > 0);
  for (size_t i = 0; i < count; i++) MUST(list[i].path.len > 0 && list[i].path.at[0] == '/' && list[i].timeout > 0);
  bx_free(list);
}

static void redis(struct bx_slice text) {
  struct er_url url;
  if (er_url_parse(&url, text) == NULL) er_url_fini(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  struct bx_buffer copy = {0};
  bx_buffer_add(&copy, data + 1, size - 1);
  bx_buffer_char(&copy, '\0');
  struct bx_slice text = {copy.at, size - 1};
  switch (data[0]) {
  case 'a': address(copy.at); break;
  case 'c': chunks(text); break;
  case 'q': query(text); break;
  case 'r': router(text); break;
  case 'o':
    if (!memchr(text.at, '\0', text.len)) origin(text, copy.at);
    break;
  case 'm': mounts(text); break;
  case 'u': redis(text); break;
  default: break;
  }
  bx_buffer_fini(&copy);
  return 0;
}
