// SPDX-License-Identifier: Apache-2.0
// Texts of clients: the parser of messages against the reader it is made of, and the text that
// subscribers get against the members it is made from.
#include "bayeux/message.h"

#define MUST(condition) BX_BUG_ON(!(condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct bx_message_limits wide = {.depth = 64, .batch = UINT32_MAX, .members = UINT32_MAX};
static const struct bx_message_limits narrow = {.depth = 64, .batch = 4, .members = 6};

static bool within(struct bx_slice part, struct bx_slice whole) {
  return part.at >= whole.at && part.at + part.len <= whole.at + whole.len;
}

// Members that are no subscriber's business.
static bool is_private(struct bx_slice name) {
  static const char *const names[] = {"clientId", "ext", "advice", "successful", "error", "subscription", "version"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (bx_slice_equal(name, bx_slice_of(names[i]))) return true;
  return false;
}

// -- the verdict -------------------------------------------------------------------------------

// What the reader alone says of the text.
static enum bx_parse expected(struct bx_slice text) {
  struct bx_scan s;
  struct bx_value v;
  bx_scan_init(&s, text, wide.depth);
  if (!bx_scan_value(&s, &v) || !bx_scan_end(&s)) return s.too_deep ? BX_PARSE_TOO_DEEP : BX_PARSE_BAD;
  if (v.type == BX_JSON_NULL) return BX_PARSE_NULL;
  return v.type == BX_JSON_ARRAY || v.type == BX_JSON_OBJECT ? BX_PARSE_OK : BX_PARSE_BAD;
}

// Items that are messages: all but null.
static size_t count_items(struct bx_slice text) {
  struct bx_scan s;
  struct bx_value key, v;
  size_t count = 0;
  bx_scan_init(&s, text, wide.depth);
  if (bx_scan_peek(&s) == BX_JSON_OBJECT) return 1;
  MUST(bx_scan_enter(&s));
  while (bx_scan_item(&s, &key)) {
    MUST(bx_scan_value(&s, &v));
    count += v.type != BX_JSON_NULL;
  }
  return count;
}

static bool fits_narrow(const struct bx_messages *set) {
  for (size_t i = 0; i < set->count; i++)
    if (set->at[i].count > narrow.members) return false;
  return set->count <= narrow.batch;
}

// -- messages ----------------------------------------------------------------------------------

// `v` is the value of the last member of that name, or none.
static void check_kept(const struct bx_messages *set, const struct bx_message *m, const char *name,
                       const struct bx_value *v) {
  for (uint32_t i = 0; i < m->count; i++) {
    const struct bx_member *member = &set->members[m->first + i];
    if (!bx_slice_equal(member->name, bx_slice_of(name))) continue;
    MUST(v->type == member->value.type && v->raw.at == member->value.raw.at);
    return;
  }
  MUST(v->type == BX_JSON_NONE);
}

static void check_members(const struct bx_messages *set, const struct bx_message *m, struct bx_slice text) {
  for (uint32_t i = 0; i < m->count; i++) {
    const struct bx_member *member = &set->members[m->first + i];
    MUST(within(member->key.raw, text) && within(member->value.raw, text));
    MUST(bx_value_is(&member->key, member->name));
    MUST(member->hidden == is_private(member->name));
    for (uint32_t k = 0; k < i; k++) MUST(!bx_slice_equal(member->name, set->members[m->first + k].name));
  }
  check_kept(set, m, "channel", &m->channel);
  check_kept(set, m, "clientId", &m->client_id);
  check_kept(set, m, "id", &m->id);
  check_kept(set, m, "data", &m->data);
  check_kept(set, m, "ext", &m->ext);
  check_kept(set, m, "advice", &m->advice);
  check_kept(set, m, "subscription", &m->subscription);
  check_kept(set, m, "version", &m->version);
  check_kept(set, m, "error", &m->error);
  check_kept(set, m, "connectionType", &m->connection_type);
  check_kept(set, m, "supportedConnectionTypes", &m->connection_types);
}

// What goes out is an object of exactly the members that are not private, byte for byte; read again
// it is the same.
static void check_wire(const struct bx_messages *set, const struct bx_message *m) {
  size_t len = bx_message_wire(set, m, NULL);
  char *out = bx_alloc(len);
  MUST(bx_message_wire(set, m, out) == len);
  struct bx_slice wire = {out, len};
  struct bx_messages again = {0};
  MUST(bx_messages_parse(&again, wire, &wide) == BX_PARSE_OK && again.count == 1);
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->count; i++) {
    const struct bx_member *member = &set->members[m->first + i];
    if (is_private(member->name)) continue;
    MUST(n < again.at[0].count);
    const struct bx_member *sent = &again.members[n++];
    MUST(bx_slice_equal(sent->key.raw, member->key.raw) && bx_slice_equal(sent->value.raw, member->value.raw));
  }
  MUST(n == again.at[0].count);
  bx_messages_fini(&again);
  bx_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bx_slice text = {(const char *)data, size};
  struct bx_messages all = {0}, few = {0};
  enum bx_parse parsed = bx_messages_parse(&all, text, &wide);
  enum bx_parse limited = bx_messages_parse(&few, text, &narrow);
  MUST(parsed == expected(text));
  if (parsed == BX_PARSE_OK) {
    MUST(all.count == count_items(text));
    MUST((limited == BX_PARSE_OK) == fits_narrow(&all));
    for (size_t i = 0; i < all.count; i++) {
      check_members(&all, &all.at[i], text);
      check_wire(&all, &all.at[i]);
    }
  }
  MUST(limited == parsed || limited >= BX_PARSE_TOO_MANY);
  MUST(few.count <= narrow.batch);
  bx_messages_fini(&all);
  bx_messages_fini(&few);
  return 0;
}
