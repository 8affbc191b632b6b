// SPDX-License-Identifier: Apache-2.0
// The subscription index. A topic is a channel or a pattern, spelled as it was subscribed; a name
// is matched by looking up the keys of its expansion (bayeux/channel.h), depth + 2 of them.
//
// A topic also heads the chain of journal entries of its key (bayeux/journal.h), so one lookup per
// key serves both. It lives as long as anybody subscribes to it or the journal holds an entry of it.
//
// Invariants: the subscriptions of sessions that are live stand first in `places`, so that
// matching touches no others: a session without a connection costs nothing per message.
#pragma once

#include "bayeux/channel.h"
#include "bayeux/table.h"

struct bx_session;

// What matching needs of a subscription, so that it is not touched itself: both stay as they are while it is here.
struct bx_place {
  struct bx_session *session;
  bx_position start;
  struct bx_subscription *subscription;
};

struct bx_topic {
  struct bx_table_node node;   // key: the pattern, in `pattern`
  struct bx_place *places;
  uint32_t count, cap;
  uint32_t live;         // places[0 .. live) are of live sessions
  uint32_t entries;      // journal entries with this key
  uint64_t newest;       // sequence of the newest of them; 0 = none
  bx_position trimmed;   // none at or below it is in the journal, and some may have been
  char pattern[];
};

// What a session asked for. Owned by the session; `index` is its place in the topic.
struct bx_subscription {
  struct bx_list link;   // in the session's list
  struct bx_topic *topic;
  struct bx_session *session;
  uint32_t index;
  bx_position start;   // entries at or before it are not delivered for this one
  // Backfill: entries behind the session's cursor that this subscription brought in.
  bx_position upto;    // (start, upto] was read back and is not confirmed; 0 = nothing
  bx_position from;    // while `behind`: entries above it are still to be read
  bx_position known;   // (start, known] of it is confirmed
  bool behind;
  bool noted;     // its record has an `upto`
  bool adopted;   // it came with the session from another node
  bool present;   // it is counted here: bayeux/presence.h
};

// By its place among the session's.
static inline struct bx_subscription *bx_subscription_of(struct bx_list *link) {
  return bx_container_of(link, struct bx_subscription, link);
}

struct bx_topics {
  struct bx_table table;
};

void bx_topics_init(struct bx_topics *, struct bx_table_key secret);
void bx_topics_fini(struct bx_topics *);   // no topic may be left

struct bx_topic *bx_topics_find(const struct bx_topics *, struct bx_slice pattern);
struct bx_topic *bx_topics_get(struct bx_topics *, struct bx_slice pattern);   // made if missing
void bx_topics_drop_if_unused(struct bx_topics *, struct bx_topic *);

static inline struct bx_slice bx_topic_pattern(const struct bx_topic *t) { return t->node.key; }

void bx_topic_add(struct bx_topic *, struct bx_subscription *);   // as not live
void bx_topic_remove(struct bx_topic *, struct bx_subscription *);
void bx_topic_set_live(struct bx_topic *, struct bx_subscription *, bool live);
