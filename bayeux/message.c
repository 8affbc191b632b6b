// SPDX-License-Identifier: Apache-2.0
// Parsing of message texts, and the text that subscribers get: see message.h.
#include "bayeux/message.h"

// The members the protocol knows: where they are kept, and whether subscribers see them.
static const struct {
  struct bx_slice name;
  size_t offset;
  bool kept;   // offset is valid
  bool forwarded;
} known[] = {
#define KEPT(text, field, forwarded) \
  { {text, sizeof text - 1}, offsetof(struct bx_message, field), true, forwarded }
#define DROPPED(text) \
  { {text, sizeof text - 1}, 0, false, false }
    KEPT("channel", channel, true),
    KEPT("data", data, true),
    KEPT("id", id, true),
    KEPT("clientId", client_id, false),
    KEPT("ext", ext, false),
    KEPT("advice", advice, false),
    KEPT("subscription", subscription, false),
    KEPT("version", version, false),
    KEPT("error", error, false),
    KEPT("connectionType", connection_type, true),
    KEPT("supportedConnectionTypes", connection_types, true),
    DROPPED("successful"),
#undef KEPT
#undef DROPPED
};

enum { MESSAGES = 2, MEMBERS = 8 };   // room to begin with: most texts are one publish or connect

#define KNOWN (sizeof known / sizeof known[0])

static size_t lookup(struct bx_slice name) {
  size_t i;

  for (i = 0; i < KNOWN; i++)
    if (bx_slice_equal(name, known[i].name)) break;
  return i;
}

static struct bx_value *kept(struct bx_message *m, size_t i) {
  return (struct bx_value *)(void *)((char *)m + known[i].offset);
}

// Once per key, so that comparing keys costs no decoding. A decoded key is never longer than it was
// sent: with room for the whole text the names stay where they are.
static struct bx_slice decode_name(struct bx_messages *set, const struct bx_scan *s, const struct bx_value *key) {
  size_t from = set->names.len;

  if (!key->escaped) return bx_value_inside(key);
  if (set->names.at == NULL) bx_buffer_reserve(&set->names, (size_t)(s->end - s->begin));
  bx_value_decode(key, &set->names);
  return (struct bx_slice){set->names.at + from, set->names.len - from};
}

static struct bx_member *earlier(struct bx_messages *set, const struct bx_message *m, struct bx_slice name) {
  for (uint32_t i = 0; i < m->count; i++)
    if (bx_slice_equal(set->members[m->first + i].name, name)) return &set->members[m->first + i];
  return NULL;
}

static struct bx_member *member_add(struct bx_messages *set, struct bx_message *m) {
  if (set->member_count == set->member_cap) {
    set->member_cap = set->member_cap ? 2 * set->member_cap : MEMBERS;
    set->members = bx_realloc(set->members, set->member_cap * sizeof *set->members);
  }
  m->count++;
  return &set->members[set->member_count++];
}

static enum bx_parse parse_object(struct bx_messages *set, struct bx_scan *s, struct bx_message *m,
                                  const struct bx_message_limits *limits) {
  struct bx_value key, value;

  m->raw.at = s->at;   // the peek stopped in front of it
  if (!bx_scan_enter(s)) return BX_PARSE_BAD;
  while (bx_scan_item(s, &key)) {
    struct bx_slice name = decode_name(set, s, &key);
    struct bx_member *slot = earlier(set, m, name);
    size_t i = lookup(name);

    if (!bx_scan_value(s, &value)) return BX_PARSE_BAD;
    if (slot == NULL) {
      if (m->count == limits->members) return BX_PARSE_TOO_MANY;
      slot = member_add(set, m);
      slot->key = key;
      slot->name = name;
      slot->hidden = i < KNOWN && !known[i].forwarded;
    }
    slot->value = value;
    if (i < KNOWN && known[i].kept) *kept(m, i) = value;
  }
  m->raw.len = (size_t)(s->at - m->raw.at);
  return bx_scan_failed(s) ? BX_PARSE_BAD : BX_PARSE_OK;
}

static enum bx_parse parse_item(struct bx_messages *set, struct bx_scan *s, const struct bx_message_limits *limits) {
  enum bx_json type = bx_scan_peek(s);
  struct bx_message *m;

  if (type == BX_JSON_NULL || type == BX_JSON_NONE) {
    struct bx_value ignored;
    return bx_scan_value(s, &ignored) ? BX_PARSE_OK : BX_PARSE_BAD;
  }
  if (set->count == limits->batch) return BX_PARSE_TOO_MANY;
  if (set->count == set->cap) {
    set->cap = set->cap ? 2 * set->cap : MESSAGES;
    set->at = bx_realloc(set->at, set->cap * sizeof *set->at);
  }
  m = &set->at[set->count++];
  *m = (struct bx_message){.first = (uint32_t)set->member_count};
  if (type != BX_JSON_OBJECT) {
    struct bx_value ignored;
    return bx_scan_value(s, &ignored) ? BX_PARSE_OK : BX_PARSE_BAD;
  }
  return parse_object(set, s, m, limits);
}

enum bx_parse bx_messages_parse(struct bx_messages *set, struct bx_slice text, const struct bx_message_limits *limits) {
  enum bx_parse result = BX_PARSE_OK;
  struct bx_value key;
  struct bx_scan s;

  bx_scan_init(&s, text, limits->depth);
  switch (bx_scan_peek(&s)) {
  case BX_JSON_OBJECT: result = parse_item(set, &s, limits); break;
  case BX_JSON_ARRAY:
    if (!bx_scan_enter(&s)) return BX_PARSE_BAD;   // at least one bracket is allowed
    while (result == BX_PARSE_OK && bx_scan_item(&s, &key)) result = parse_item(set, &s, limits);
    break;
  case BX_JSON_NULL:
    if (!bx_scan_value(&s, &key)) return BX_PARSE_BAD;
    result = BX_PARSE_NULL;
    break;
  default: return BX_PARSE_BAD;
  }
  if (result == BX_PARSE_TOO_MANY) return result;
  if (s.too_deep) return BX_PARSE_TOO_DEEP;
  if (bx_scan_failed(&s) || !bx_scan_end(&s)) return BX_PARSE_BAD;
  return result;
}

void bx_messages_fini(struct bx_messages *set) {
  bx_free(set->at);
  bx_free(set->members);
  bx_buffer_fini(&set->names);
  *set = (struct bx_messages){0};
}

static size_t put(char *out, size_t at, struct bx_slice s) {
  if (out != NULL) memcpy(out + at, s.at, s.len);
  return at + s.len;
}

size_t bx_message_wire(const struct bx_messages *set, const struct bx_message *m, char *out) {
  size_t len = put(out, 0, BX_LIT("{"));
  bool first = true;

  for (uint32_t i = 0; i < m->count; i++) {
    const struct bx_member *member = &set->members[m->first + i];

    if (member->hidden) continue;
    if (!first) len = put(out, len, BX_LIT(","));
    first = false;
    len = put(out, len, member->key.raw);
    len = put(out, len, BX_LIT(":"));
    len = put(out, len, member->value.raw);
  }
  return put(out, len, BX_LIT("}"));
}
