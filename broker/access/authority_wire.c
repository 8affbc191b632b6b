// SPDX-License-Identifier: Apache-2.0
#include "broker/access/authority_wire.h"

#include <string.h>

#include "bayeux/scan.h"
#include "bayeux/session.h"

enum { DEPTH = 64 };

// -- questions -------------------------------------------------------------------------------------

static void member(struct bx_buffer *out, const char *name, struct bx_slice text) {
  if (text.len == 0) return;
  bx_buffer_printf(out, ",\"%s\":", name);
  bx_buffer_json_string(out, text);
}

static void raw_member(struct bx_buffer *out, const char *name, const struct bx_value *value) {
  if (value->type == BX_JSON_NONE) return;
  bx_buffer_printf(out, ",\"%s\":", name);
  bx_buffer_slice(out, value->raw);
}

void bk_authority_write(struct bx_buffer *out, const struct bx_access_request *r, struct bx_slice channel,
                        struct bx_slice address) {
  static const char *const verbs[] = {
      [BX_ACCESS_HANDSHAKE] = "handshake", [BX_ACCESS_SUBSCRIBE] = "subscribe", [BX_ACCESS_PUBLISH] = "publish"};
  bx_buffer_printf(out, "{\"verb\":\"%s\"", verbs[r->verb]);
  member(out, "channel", channel);
  if (r->session) member(out, "client", bx_session_id(r->session));
  member(out, "user", r->user);
  member(out, "address", address);
  if (r->verb == BX_ACCESS_PUBLISH) raw_member(out, "data", &r->message->data);
  raw_member(out, "ext", &r->message->ext);
  bx_buffer_char(out, '}');
}

// -- answers ---------------------------------------------------------------------------------------

static bool read_advice(struct bx_slice text, struct bx_access_answer *a) {
  static const char *const reconnects[] = {"none", "handshake", "retry"};
  struct bx_value key, value, reconnect = {0};
  double interval = 0;
  struct bx_scan s;
  bx_scan_init(&s, text, DEPTH);
  if (!bx_scan_enter(&s)) return false;
  while (bx_scan_item(&s, &key) && bx_scan_value(&s, &value)) {
    if (bx_value_is(&key, BX_LIT("reconnect"))) reconnect = value;
    if (bx_value_is(&key, BX_LIT("interval")) && !bx_value_number(&value, &interval)) return false;
  }
  for (size_t i = 0; i < sizeof reconnects / sizeof *reconnects; i++)
    if (reconnect.type == BX_JSON_STRING && bx_value_is(&reconnect, bx_slice_of(reconnects[i])))
      a->reconnect = reconnects[i];
  if (!a->reconnect || !(interval >= 0) || interval > 1e12) return false;
  a->interval = (uint64_t)interval;
  return true;
}

// "403:argument:text"; what has no code gets that one.
static void set_error(struct bk_authority_answer *a, struct bx_slice inside) {
  bool coded = inside.len > 4 && inside.at[3] == ':';
  for (int i = 0; coded && i < 3; i++) coded = inside.at[i] >= '0' && inside.at[i] <= '9';
  bx_buffer_clear(&a->error);
  if (!coded) bx_buffer_lit(&a->error, "403::");
  bx_buffer_slice(&a->error, inside);
  a->access.error = bx_buffer_view(&a->error);
}

static bool read_member(struct bk_authority_answer *a, const struct bx_value *key, const struct bx_value *value) {
  enum bx_json type = value->type;
  bool flag = type == BX_JSON_TRUE || type == BX_JSON_FALSE;
  if (bx_value_is(key, BX_LIT("allow"))) {
    if (flag) a->access.verdict = type == BX_JSON_TRUE ? BX_ALLOW : BX_DENY;
    return flag;
  }
  if (bx_value_is(key, BX_LIT("cache"))) {
    a->cache = type == BX_JSON_TRUE ? BK_CACHE_YES : BK_CACHE_NEVER;
    return flag;
  }
  if (bx_value_is(key, BX_LIT("deliver"))) {
    a->access.unjournalled = type == BX_JSON_FALSE;
    return flag;
  }
  if (type == BX_JSON_NULL) return true;   // as if it were not there
  if (bx_value_is(key, BX_LIT("user"))) {
    bx_buffer_clear(&a->decoded);
    bx_value_decode(value, &a->decoded);
    a->access.user = bx_buffer_view(&a->decoded);
    return type == BX_JSON_STRING && bx_user_is_valid(a->access.user);
  }
  if (bx_value_is(key, BX_LIT("ext"))) {
    a->access.ext = value->raw;
    return type == BX_JSON_OBJECT;
  }
  if (bx_value_is(key, BX_LIT("error"))) {
    if (type == BX_JSON_STRING) set_error(a, bx_value_inside(value));
    return type == BX_JSON_STRING;
  }
  if (bx_value_is(key, BX_LIT("advice"))) return type == BX_JSON_OBJECT && read_advice(value->raw, &a->access);
  return true;   // of a later version
}

static void read_answer(struct bk_authority_answer *a, struct bx_slice text) {
  struct bx_value key, value;
  struct bx_scan s;
  bool good;
  *a = (struct bk_authority_answer){.access.verdict = BX_UNAVAILABLE};
  bx_scan_init(&s, text, DEPTH);
  good = bx_scan_peek(&s) == BX_JSON_OBJECT && bx_scan_enter(&s);
  while (good && bx_scan_item(&s, &key) && bx_scan_value(&s, &value)) good = read_member(a, &key, &value);
  if (!good) a->access = (struct bx_access_answer){.verdict = BX_UNAVAILABLE};
}

void bk_authority_answer_fini(struct bk_authority_answer *a) {
  bx_buffer_fini(&a->decoded);
  bx_buffer_fini(&a->error);
}

// The items of the list, at most `room`; their number.
static size_t list_answers(struct bx_slice list, struct bx_slice *items, size_t room) {
  struct bx_value ignored, item;
  struct bx_scan s;
  size_t count = 0;
  bx_scan_init(&s, list, DEPTH);
  if (!bx_scan_enter(&s)) return 0;
  while (bx_scan_item(&s, &ignored) && bx_scan_value(&s, &item)) {
    if (count < room) items[count] = item.raw;
    count++;
  }
  return count;
}

bool bk_authority_read(struct bx_slice text, size_t count,
                       void (*take)(void *, size_t, const struct bk_authority_answer *), void *context) {
  struct bx_value key, value, list = {0};
  struct bx_scan s;
  bx_scan_init(&s, text, DEPTH);
  if (bx_scan_peek(&s) != BX_JSON_OBJECT || !bx_scan_enter(&s)) return false;
  while (bx_scan_item(&s, &key) && bx_scan_value(&s, &value))
    if (bx_value_is(&key, BX_LIT("answers"))) list = value;
  if (!bx_scan_end(&s) || list.type != BX_JSON_ARRAY) return false;
  struct bx_slice *items = bx_alloc((count + 1) * sizeof *items);
  bool good = list_answers(list.raw, items, count) == count;
  for (size_t i = 0; good && i < count; i++) {
    struct bk_authority_answer a;
    read_answer(&a, items[i]);
    take(context, i, &a);
    bk_authority_answer_fini(&a);
  }
  bx_free(items);
  return good;
}
