// SPDX-License-Identifier: Apache-2.0
// The journal ring and its chains: see journal.h.
#include "bayeux/journal.h"

#define FIRST_SLOTS 64
#define MAX_KEYS (64 + 2)   // a channel of more segments is refused long before
#define STACK_SCRATCH 4096

void bx_journal_init(struct bx_journal *j, struct bx_topics *topics, const struct bx_journal_limits *limits,
                     bx_position base) {
  *j = (struct bx_journal){.topics = topics, .limits = *limits, .first = 1, .next = 1, .base = base, .trimmed = base};
  j->mask = FIRST_SLOTS - 1;
  j->ring = bx_alloc(FIRST_SLOTS * sizeof *j->ring);
}

static void drop_first(struct bx_journal *j) {
  struct bx_entry *e = j->ring[j->first & j->mask];

  for (uint32_t i = 0; i < e->count; i++) {
    struct bx_topic *t = e->links[i].topic;

    if (t->newest == j->first) t->newest = 0;
    t->entries--;
    t->trimmed = e->position;
    bx_topics_drop_if_unused(j->topics, t);
  }
  j->bytes -= e->frame->len;
  j->trimmed = e->position;
  j->first++;
  bx_frame_unref(e->frame);
  bx_free(e);
}

void bx_journal_fini(struct bx_journal *j) {
  while (j->first < j->next) drop_first(j);
  bx_free(j->ring);
  j->ring = NULL;
}

static void grow(struct bx_journal *j) {
  size_t slots = 2 * (j->mask + 1);
  struct bx_entry **ring = bx_alloc(slots * sizeof *ring);

  for (uint64_t s = j->first; s < j->next; s++) ring[s & (slots - 1)] = j->ring[s & j->mask];
  bx_free(j->ring);
  j->ring = ring;
  j->mask = slots - 1;
}

// The newest entry is kept whatever its size: it is about to be delivered.
static bool over_limits(const struct bx_journal *j, bx_millis now) {
  uint64_t count = j->next - j->first;

  if (count == 0) return false;
  if (count > 1 && (count > j->limits.messages || j->bytes > j->limits.bytes)) return true;
  return now - j->ring[j->first & j->mask]->at > j->limits.age;
}

void bx_journal_trim(struct bx_journal *j, bx_millis now) {
  while (over_limits(j, now)) drop_first(j);
}

struct bx_topic *bx_journal_topic(struct bx_journal *j, struct bx_slice key) {
  struct bx_topic *t = bx_topics_get(j->topics, key);

  if (t->entries == 0 && t->count == 0) t->trimmed = j->trimmed;
  return t;
}

// Puts the entry at the end of one key's chain.
static void chain(struct bx_journal *j, struct bx_chain_link *link, struct bx_topic *t, uint64_t sequence) {
  const struct bx_entry *before = bx_journal_at(j, t->newest);

  *link = (struct bx_chain_link){.topic = t, .before = before == NULL ? 0 : t->newest};
  if (before != NULL) ((struct bx_chain_link *)bx_entry_link(before, t))->behind = sequence;
  t->newest = sequence;
  t->entries++;
}

const struct bx_entry *bx_journal_append(struct bx_journal *j, bx_position position, struct bx_slice channel,
                                         struct bx_frame *frame, bx_millis now) {
  char stack[STACK_SCRATCH];
  struct bx_slice keys[MAX_KEYS];
  size_t room = bx_channel_scratch(channel);
  char *scratch = room <= sizeof stack ? stack : bx_alloc(room);
  struct bx_entry *e;
  size_t count;

  BX_BUG_ON(position <= bx_journal_head(j) || bx_channel_depth(channel) + 2 > MAX_KEYS);
  count = bx_channel_expand(channel, keys, scratch);
  e = bx_alloc(sizeof *e + count * sizeof e->links[0]);
  e->position = position;
  e->was = j->again;
  j->again = 0;
  e->frame = bx_frame_ref(frame);
  e->at = now;
  e->count = (uint32_t)count;
  frame->position = position;
  if (j->next - j->first > j->mask) grow(j);
  for (size_t i = 0; i < count; i++) chain(j, &e->links[i], bx_journal_topic(j, keys[i]), j->next);
  if (scratch != stack) bx_free(scratch);
  j->ring[j->next & j->mask] = e;
  j->next++;
  j->bytes += frame->len;
  bx_journal_trim(j, now);
  return e;
}

static bx_position newest(const struct bx_journal *j) {
  return j->first == j->next ? j->trimmed : j->ring[(j->next - 1) & j->mask]->position;
}

bx_position bx_journal_head(const struct bx_journal *j) { return newest(j) > j->jumped ? newest(j) : j->jumped; }

static void drop_last(struct bx_journal *j) {
  struct bx_entry *e = j->ring[(j->next - 1) & j->mask];

  j->next--;
  for (uint32_t i = 0; i < e->count; i++) {
    struct bx_topic *t = e->links[i].topic;
    const struct bx_entry *before = bx_journal_at(j, e->links[i].before);

    t->newest = before == NULL ? 0 : e->links[i].before;
    if (before != NULL) ((struct bx_chain_link *)bx_entry_link(before, t))->behind = 0;
    t->entries--;
    bx_topics_drop_if_unused(j->topics, t);
  }
  j->bytes -= e->frame->len;
  bx_frame_unref(e->frame);
  bx_free(e);
}

uint64_t bx_journal_cut(struct bx_journal *j, bx_position position) {
  uint64_t next = j->next;

  while (j->first < j->next && newest(j) > position) drop_last(j);
  return next - j->next;
}

void bx_journal_gap(struct bx_journal *j, bx_position to) {
  while (j->first < j->next) drop_first(j);
  j->base = j->trimmed = to;
}

void bx_journal_begin(struct bx_journal *j, bx_position base) {
  BX_BUG_ON(j->first != j->next);
  j->base = j->trimmed = base;
}

void bx_journal_jump(struct bx_journal *j, bx_position to) {
  if (to > bx_journal_head(j)) j->jumped = to;
}

bx_position bx_journal_first(const struct bx_journal *j) {
  return j->first == j->next ? j->trimmed + 1 : j->ring[j->first & j->mask]->position;
}

const struct bx_chain_link *bx_entry_link(const struct bx_entry *e, const struct bx_topic *t) {
  for (uint32_t i = 0; i < e->count; i++)
    if (e->links[i].topic == t) return &e->links[i];
  return NULL;
}
