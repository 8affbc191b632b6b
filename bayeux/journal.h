// SPDX-License-Identifier: Apache-2.0
// The recent part of the journal: a bounded ring of entries, indexed by key.
//
// An entry is a position, a frame and, for each key of its channel's expansion, its place in the
// chain of that key: links to the entry before and the entry behind. Reading forward from a position
// therefore walks what matches and nothing else.
//
// Invariants: positions strictly increase; a *sequence* counts entries from 1 without gaps (positions
// may jump between epochs, sequences do not). Links name sequences; one that was trimmed away is
// recognised by being below `first`. Entries leave at the old end only.
// Bounds: messages, bytes of wire text, age; whichever is first.
#pragma once

#include "bayeux/frame.h"
#include "bayeux/topics.h"

struct bx_chain_link {
  struct bx_topic *topic;
  uint64_t before, behind;   // sequences; 0 = none
};

struct bx_entry {
  bx_position position;
  bx_position was;   // where it stood before a rollback took it; 0: nowhere
  struct bx_frame *frame;
  bx_millis at;
  uint32_t count;
  struct bx_chain_link links[];   // the last one is the channel itself
};

struct bx_journal_limits {
  uint64_t messages;
  uint64_t bytes;
  bx_millis age;
};

struct bx_journal {
  struct bx_topics *topics;
  struct bx_journal_limits limits;
  struct bx_entry **ring;
  size_t mask;            // slots - 1, a power of two
  uint64_t first, next;   // sequences: [first, next) are held
  uint64_t bytes;
  bx_position base;      // nobody can read on from below it: it never was here, or what follows is missing
  bx_position trimmed;   // the last position that was trimmed away, or `base`
  bx_position jumped;    // the head, when it is above the newest entry; 0 otherwise
  bx_position again;     // `was` of the next entry
};

void bx_journal_init(struct bx_journal *, struct bx_topics *, const struct bx_journal_limits *, bx_position base);
void bx_journal_fini(struct bx_journal *);

// Takes a reference to the frame and sets its position, which must be above the head. The channel
// must be a valid name. Returns the entry: valid until it is trimmed.
const struct bx_entry *bx_journal_append(struct bx_journal *, bx_position, struct bx_slice channel, struct bx_frame *,
                                         bx_millis now);

// The topic of a key, made if missing: then it counts as one whose entries were trimmed with the last.
struct bx_topic *bx_journal_topic(struct bx_journal *, struct bx_slice key);

// Lets go of what is over the limits. Append does it too; this is for age on a quiet journal.
void bx_journal_trim(struct bx_journal *, bx_millis now);

// Forgets entries above `position`: they are void. Returns how many.
uint64_t bx_journal_cut(struct bx_journal *, bx_position position);
// The head goes on to `to` without an entry.
void bx_journal_jump(struct bx_journal *, bx_position to);
// What lies between the newest entry and `to` can not be had: the journal begins anew behind it.
void bx_journal_gap(struct bx_journal *, bx_position to);
// An empty journal begins behind `base`.
void bx_journal_begin(struct bx_journal *, bx_position base);

// The newest position, or the base when nothing was appended yet.
bx_position bx_journal_head(const struct bx_journal *);
// The oldest position that is held; head + 1 when there is none.
bx_position bx_journal_first(const struct bx_journal *);

// NULL when that sequence is not held.
static inline const struct bx_entry *bx_journal_at(const struct bx_journal *j, uint64_t sequence) {
  return sequence < j->first || sequence >= j->next ? NULL : j->ring[sequence & j->mask];
}

const struct bx_chain_link *bx_entry_link(const struct bx_entry *, const struct bx_topic *);

static inline struct bx_slice bx_entry_channel(const struct bx_entry *e) {
  return bx_topic_pattern(e->links[e->count - 1].topic);
}
