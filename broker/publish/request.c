// SPDX-License-Identifier: Apache-2.0
// The schema of `POST /v1/publish`: one pass over the body. Members are collected as slices first
// and judged when their entry is complete, so that a bad entry of a list spoils its slot only.
#include "broker/publish/handler.h"

#include "bayeux/channel.h"
#include "bayeux/scan.h"

// Brackets open at once inside an entry, its own included. A list has one more, here and on its
// way through a second broker, so the limit counts from the entry.
enum { ENTRY_DEPTH = 60 };

struct members {
  struct bx_value channel, data, ext, id;
  struct bx_value unknown;   // the key of the first one
};

static struct bx_value *member_named(struct members *m, const struct bx_value *key) {
  if (bx_value_is(key, BX_LIT("channel"))) return &m->channel;
  if (bx_value_is(key, BX_LIT("data"))) return &m->data;
  if (bx_value_is(key, BX_LIT("ext"))) return &m->ext;
  if (bx_value_is(key, BX_LIT("id"))) return &m->id;
  return NULL;
}

static bool read_members(struct bx_scan *s, struct members *m) {
  if (!bx_scan_enter(s)) return false;
  struct bx_value key;
  while (bx_scan_item(s, &key)) {
    struct bx_value ignored, *member = member_named(m, &key);
    if (!member) {
      if (m->unknown.type == BX_JSON_NONE) m->unknown = key;
      member = &ignored;
    }
    if (!bx_scan_value(s, member)) return false;
  }
  return !bx_scan_failed(s);
}

// The decoded string. `strings` has room for all strings of the body, so that slices of it stay.
static struct bx_slice decoded(struct bk_publish_request *r, const struct bx_value *v) {
  if (!v->escaped) return bx_value_inside(v);
  size_t begin = r->strings.len;
  bx_value_decode(v, &r->strings);
  return (struct bx_slice){r->strings.at + begin, r->strings.len - begin};
}

static void fault(struct bk_publish_entry *e, const char *what, struct bx_slice about) {
  e->fault = what;
  e->fault_name = about;
}

static bool judge_channel(struct bk_publish_request *r, struct bk_publish_entry *e, const struct bx_value *v) {
  if (v->type != BX_JSON_STRING) {
    fault(e, "channel: a string is required", (struct bx_slice){0});
    return false;
  }
  struct bx_slice name = decoded(r, v);
  enum bx_channel_kind kind = bx_channel_classify(name);
  if (kind == BX_CHANNEL_INVALID)
    fault(e, "channel: not a channel name", name);
  else if (kind == BX_CHANNEL_PATTERN)
    fault(e, "channel: a name is required, this is a pattern", name);
  else if (bx_channel_is_meta(name))
    fault(e, "channel: nobody publishes on /meta", name);
  e->item.channel = name;
  return !e->fault;
}

static void judge(struct bk_publish_request *r, struct bk_publish_entry *e, const struct members *m) {
  if (m->unknown.type != BX_JSON_NONE) {
    fault(e, "unknown member", bx_value_inside(&m->unknown));
    return;
  }
  if (!judge_channel(r, e, &m->channel)) return;
  if (m->data.type == BX_JSON_NONE) {
    fault(e, "data: is required", (struct bx_slice){0});
    return;
  }
  e->item.data = m->data.raw;
  if (m->ext.type != BX_JSON_NONE) {
    if (m->ext.type != BX_JSON_OBJECT) {
      fault(e, "ext: an object was expected", (struct bx_slice){0});
      return;
    }
    e->item.ext = m->ext.raw;
  }
  if (m->id.type != BX_JSON_NONE) {
    if (m->id.type == BX_JSON_STRING) e->item.id = decoded(r, &m->id);
    if (e->item.id.len < 1 || e->item.id.len > BK_PUBLISH_MAX_ID)
      fault(e, "id: a string of 1 to 64 bytes was expected", (struct bx_slice){0});
  }
}

static bool read_entry(struct bk_publish_request *r, struct bx_scan *s, struct bk_publish_entry *e) {
  if (bx_scan_peek(s) != BX_JSON_OBJECT) {
    struct bx_value ignored;
    fault(e, "an object with channel and data was expected", (struct bx_slice){0});
    return bx_scan_value(s, &ignored);
  }
  struct members m = {0};
  if (!read_members(s, &m)) return false;
  judge(r, e, &m);
  return true;
}

static struct bk_publish_entry *add_entry(struct bk_publish_request *r) {
  if ((r->count & (r->count - 1)) == 0) {   // 0, 1, 2, 4, 8 ...
    size_t cap = r->count > 0 ? 2 * r->count : 1;
    r->entries = bx_realloc(r->entries, cap * sizeof *r->entries);
  }
  struct bk_publish_entry *e = &r->entries[r->count++];
  *e = (struct bk_publish_entry){0};
  return e;
}

static enum bk_publish_parse not_json(const struct bx_scan *s, const char *what, struct bx_buffer *error) {
  unsigned line, column;
  bx_scan_where(s, &line, &column);
  bx_buffer_printf(error, "body, line %u, column %u: %s", line, column, s->fault ? s->fault : what);
  return BK_PUBLISH_NOT_JSON;
}

enum bk_publish_parse bk_publish_request_parse(struct bk_publish_request *r, struct bx_slice body,
                                               struct bx_buffer *error) {
  *r = (struct bk_publish_request){0};
  bx_buffer_reserve(&r->strings, body.len);
  struct bx_scan s;
  bx_scan_init(&s, body, ENTRY_DEPTH + 1);
  enum bx_json type = bx_scan_peek(&s);
  if (type == BX_JSON_OBJECT) {
    s.max_depth = ENTRY_DEPTH;
    if (!read_entry(r, &s, add_entry(r))) return not_json(&s, "", error);
  } else if (type == BX_JSON_ARRAY) {
    r->list = true;
    if (!bx_scan_enter(&s)) return not_json(&s, "", error);
    struct bx_value none;
    while (bx_scan_item(&s, &none)) {
      if (r->count == BK_PUBLISH_MAX_ITEMS) {
        bx_buffer_printf(error, "a list of at most %d entries is taken", BK_PUBLISH_MAX_ITEMS);
        return BK_PUBLISH_TOO_MANY;
      }
      if (!read_entry(r, &s, add_entry(r))) return not_json(&s, "", error);
    }
    if (bx_scan_failed(&s)) return not_json(&s, "", error);
  } else {
    return not_json(&s, "an object or a list was expected", error);
  }
  if (!bx_scan_end(&s)) return not_json(&s, "nothing more was expected", error);
  return BK_PUBLISH_PARSED;
}

void bk_publish_request_fini(struct bk_publish_request *r) {
  bx_free(r->entries);
  bx_buffer_fini(&r->strings);
  *r = (struct bk_publish_request){0};
}

void bk_publish_entry_error(const struct bk_publish_entry *e, struct bx_buffer *out) {
  bx_buffer_slice(out, bx_slice_of(e->fault));
  if (e->fault_name.len == 0) return;
  size_t shown = e->fault_name.len < 128 ? e->fault_name.len : 128;
  bx_buffer_lit(out, ": ");
  bx_buffer_add(out, e->fault_name.at, shown);
  if (shown < e->fault_name.len) bx_buffer_lit(out, "...");
}
