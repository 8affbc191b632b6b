// SPDX-License-Identifier: Apache-2.0
// The keyspace of the model Redis: strings, hashes, sets, sorted sets, streams, each with an expiry.
//
// Searches inside a value are linear: a simulation has hundreds of sessions, not thousands. All
// bytes are copied in, and owned by the value. A key without members does not exist, as in Redis,
// except a stream, which remembers its last id.
#pragma once

#include "bayeux/table.h"

enum sim_type { SIM_STRING, SIM_HASH, SIM_SET, SIM_ZSET, SIM_STREAM };

// A field of a hash, a member of a set or (with its score) of a sorted set.
struct sim_item {
  struct bx_slice name, value;
  double score;
};

struct sim_id {
  uint64_t ms, seq;
};

struct sim_entry {
  struct sim_id id;
  struct bx_slice *fields;   // names and values in turn
  size_t count;
};

struct sim_value {
  struct bx_table_node node;
  struct bx_slice key;
  enum sim_type type;
  uint64_t expire;          // ms of the virtual clock, 0 = never
  struct bx_slice text;     // string
  struct sim_item *items;   // hash, set: in order of arrival; sorted set: by score, then name
  size_t count, cap;
  struct sim_entry *entries;   // stream: entries[first..end)
  size_t first, end, room;
  struct sim_id last;
  uint64_t added;   // entries, ever
};

struct sim_keys {
  struct bx_table table;
};

void sim_keys_init(struct sim_keys *);
void sim_keys_fini(struct sim_keys *);
void sim_keys_copy(struct sim_keys *to, const struct sim_keys *from);   // `to` is empty; all bytes are copied

// NULL when there is none, or it expired (then it is gone).
struct sim_value *sim_keys_find(struct sim_keys *, struct bx_slice key, uint64_t now);
struct sim_value *sim_keys_add(struct sim_keys *, struct bx_slice key, enum sim_type);   // the key must be new
void sim_keys_remove(struct sim_keys *, struct sim_value *);
void sim_keys_expire(struct sim_keys *, uint64_t now);   // removes all that expired
void sim_keys_clear(struct sim_keys *);

struct sim_item *sim_value_find(const struct sim_value *, struct bx_slice name);
bool sim_value_set(struct sim_value *, struct bx_slice name, struct bx_slice value);   // true: it is new
bool sim_value_score(struct sim_value *, struct bx_slice name, double score);
void sim_value_drop(struct sim_value *, struct sim_item *);
void sim_value_text(struct sim_value *, struct bx_slice text);

int sim_id_compare(struct sim_id, struct sim_id);
void sim_stream_add(struct sim_value *, struct sim_id, const struct bx_slice *fields, size_t count);
void sim_stream_trim(struct sim_value *, size_t count);   // forgets the oldest
