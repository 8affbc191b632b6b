// SPDX-License-Identifier: Apache-2.0
// After a rollback: what this node published, and what the Redis that is there now does not have, is
// appended again.
//
//   own --a new epoch in which its position is void--> due --sent--> under way --answered--> own
//                                                       ^               | link down
//                                                       |               v
//                                                       +------------ doubt --seen on the tail--> own
//                            hello answered, the tail has passed the head that it saw
//
// An entry keeps its origin, so every node can tell the twin from news: the origins of the newest entries
// are known, and for a while those that a rollback took. Those of which no twin comes are counted.
#include <stdio.h>
#include <stdlib.h>

#include "engine-redis/core/private.h"

#define OWN_BYTES (8 << 20)   // of what is kept, the newest
#define ORIGINS 16384         // entries whose origin is known, the newest; a power of two
#define TWINS_COME 30000      // ms after a new epoch

struct own {
  struct bx_list link;
  uint64_t sequence;
  bx_position position;
  enum { DUE, UNDER_WAY, DOUBT } state;   // of an orphan
  struct bx_frame *frame;                 // the journal's own, where it came back as it went
  struct bx_slice channel, once;          // into `bytes`
  char bytes[];
};

struct er_origin {
  uint64_t hash;
  bx_position position;
};

struct recover_call {
  struct er_call call;
  uint64_t first;   // sequence
  size_t count;
};

static struct own *of(struct bx_list *link) { return bx_container_of(link, struct own, link); }

static size_t weight(const struct own *o) { return sizeof *o + o->channel.len + o->once.len + o->frame->len; }

static void drop(struct er_core *c, struct own *o) {
  c->own_bytes -= weight(o);
  bx_list_remove(&o->link);
  bx_frame_unref(o->frame);
  bx_free(o);
}

static void drop_all(struct er_core *c, struct bx_list *list) {
  while (!bx_list_empty(list)) drop(c, of(list->next));
}

static struct bx_slice copy(char **at, struct bx_slice from) {
  struct bx_slice to = {*at, from.len};

  if (from.len > 0) memcpy(*at, from.at, from.len);
  *at += from.len;
  return to;
}

void er_own_keep(struct er_core *c, const struct bx_request *r, uint64_t sequence, bx_position position) {
  struct own *o = bx_alloc(sizeof *o + r->channel.len + r->once.len);
  char *at = o->bytes;

  o->sequence = sequence;
  o->position = position;
  o->channel = copy(&at, r->channel);
  o->once = copy(&at, r->once);
  o->frame = bx_frame_ref(r->frame);
  bx_list_init(&o->link);
  bx_list_append(&c->own, &o->link);
  c->own_bytes += weight(o);
  while (c->own_bytes > OWN_BYTES && !bx_list_empty(&c->own)) drop(c, of(c->own.next));
}

void er_recover_fini(struct er_core *c) {
  drop_all(c, &c->own);
  drop_all(c, &c->orphans);
  bx_free(c->origins);
  bx_free(c->taken);
}

// -- origins ---------------------------------------------------------------------------------------

static int by_hash(const void *a, const void *b) {
  uint64_t x = ((const struct er_origin *)a)->hash, y = ((const struct er_origin *)b)->hash;
  return x < y ? -1 : x > y;
}

// The place of a taken entry that is not back yet.
static struct er_origin *taken(struct er_core *c, uint64_t hash) {
  struct er_origin key = {.hash = hash};
  struct er_origin *found = c->taken_count == 0 ? NULL : bsearch(&key, c->taken, c->taken_count, sizeof key, by_hash);
  return found != NULL && found->position != 0 ? found : NULL;
}

void er_origin_read(struct er_core *c, struct bx_slice origin, bx_position position) {
  uint64_t hash = bx_hash(origin);
  struct er_origin *was;

  if (origin.len == 0 || c->engine.events.again == NULL) return;
  if (c->origins == NULL) c->origins = bx_alloc(ORIGINS * sizeof *c->origins);
  c->origins[c->origin_count++ % ORIGINS] = (struct er_origin){hash, position};
  was = taken(c, hash);
  if (was == NULL) return;
  c->engine.events.again(c->engine.events.context, was->position);
  was->position = 0;
  c->taken_left--;
}

static int by_position(const void *a, const void *b) {
  bx_position x = ((const struct er_origin *)a)->position, y = ((const struct er_origin *)b)->position;
  return x < y ? -1 : x > y;
}

// The positions of those that did not come back, which their publishers were told, in as many lines as it takes.
static void tell_lost(struct er_core *c) {
  char text[200];
  size_t len = 0, count = 0, n;

  qsort(c->taken, c->taken_count, sizeof *c->taken, by_position);
  for (size_t i = 0; i < c->taken_count; i += n) {
    bx_position first = c->taken[i].position;

    n = 1;
    if (first == 0) continue;
    while (i + n < c->taken_count && c->taken[i + n].position == first + n) n++;
    len += (size_t)snprintf(text + len, sizeof text - len, " %llu", (unsigned long long)first);
    if (n > 1) len += (size_t)snprintf(text + len, sizeof text - len, "-%llu", (unsigned long long)(first + n - 1));
    count += n;
    if (i + n < c->taken_count && len < sizeof text - 48) continue;   // one more has room
    er_event(c, "engine.not_recovered", "%zu entries, positions%s", count, text);
    len = count = 0;
  }
}

static void give_up(struct er_core *c) {
  if (c->taken_left > 0) {
    c->counters.not_recovered += c->taken_left;
    tell_lost(c);
  }
  bx_free(c->taken);
  c->taken = NULL;
  c->taken_count = c->taken_left = 0;
}

// `void_entries`: how many the ring had, of which the newest have a known origin.
static void take(struct er_core *c, bx_position first, bx_position survived, uint64_t void_entries) {
  uint64_t known = c->origin_count < ORIGINS ? c->origin_count : ORIGINS;

  give_up(c);
  if (void_entries == 0) return;
  c->taken = bx_alloc((known + 1) * sizeof *c->taken);
  for (uint64_t i = c->origin_count - known; i < c->origin_count; i++) {
    const struct er_origin *o = &c->origins[i % ORIGINS];
    if (o->position > survived && o->position < first) c->taken[c->taken_count++] = *o;
  }
  qsort(c->taken, c->taken_count, sizeof *c->taken, by_hash);
  c->taken_left = c->taken_count;
  c->taken_until = c->now + TWINS_COME;
  if (void_entries > c->taken_count) {
    c->counters.not_recovered += void_entries - c->taken_count;
    er_event(c, "engine.not_recovered", "%llu entries, the first behind position %llu",
             (unsigned long long)(void_entries - c->taken_count), (unsigned long long)survived);
  }
}

// -- the new epoch ---------------------------------------------------------------------------------

void er_recover_epoch(struct er_core *c, bx_position first, bx_position survived, uint64_t void_entries) {
  if (survived == 0) {   // a new journal: what was said in the old one is nobody's any more
    drop_all(c, &c->own);
    drop_all(c, &c->orphans);
    give_up(c);
    return;
  }
  take(c, first, survived, void_entries);
  bx_list_each (link, &c->own) {
    if (of(link)->position <= survived || of(link)->position >= first) continue;
    of(link)->state = DUE;
    bx_list_remove(link);
    bx_list_append(&c->orphans, link);
  }
}

static struct own *orphan(struct er_core *c, uint64_t sequence) {
  bx_list_each (link, &c->orphans)
    if (of(link)->sequence == sequence) return of(link);
  return NULL;
}

static void settle(struct er_core *c, struct own *o, bx_position position) {
  o->position = position;
  bx_list_remove(&o->link);
  bx_list_append(&c->own, &o->link);
  c->counters.recovered++;
}

void er_recover_saw(struct er_core *c, uint64_t sequence, bx_position position) {
  struct own *o = orphan(c, sequence);
  if (o != NULL) settle(c, o, position);
}

static void appended(struct er_core *c, struct er_call *call, const struct er_reply *reply) {
  struct recover_call *r = bx_container_of(call, struct recover_call, call);
  bool good = er_reply_is(reply, "OK");
  bool later = er_reply_is(reply, "EPOCH") || er_reply_is(reply, "FENCED") || er_reply_is(reply, "LATE");

  c->appends--;
  for (size_t i = 0; i < r->count; i++) {
    struct own *o = orphan(c, r->first + i);
    struct bx_slice text = er_reply_text(reply, i + 1);
    uint64_t position;

    if (o == NULL) continue;   // seen
    if (text.len > 1 && text.at[0] == '=') text = (struct bx_slice){text.at + 1, text.len - 1};
    if (good && er_text_u64(text, &position))
      settle(c, o, position);
    else if (reply == NULL)
      o->state = DOUBT;
    else if (later)
      o->state = DUE;
    else
      drop(c, o);   // counted as one that did not come back
  }
  if (er_reply_is(reply, "EPOCH")) er_hello(c);
  if (er_reply_is(reply, "FENCED")) er_fenced(c, "fenced");
  bx_free(r);
}

// Origins are counted on from the first of a call: as many as follow each other.
static void send_run(struct er_core *c, struct bx_list *link) {
  struct recover_call *r = bx_alloc(sizeof *r);
  struct er_arguments args = {0};

  r->call.done = appended;
  r->first = of(link)->sequence;
  er_append_begin(c, &args, r->first);
  for (; link != &c->orphans && r->count < ER_APPEND_ENTRIES; link = link->next, r->count++) {
    struct own *o = of(link);

    if (o->state != DUE || o->sequence != r->first + r->count) break;
    o->state = UNDER_WAY;
    er_arguments_text(&args, BX_LIT(""));   // its session may have ended since
    er_arguments_text(&args, o->once);
    er_arguments_text(&args, o->channel);
    er_arguments_text(&args, bx_frame_slice(o->frame));
  }
  c->appends++;
  c->counters.appends++;
  er_send(c, ER_COMMAND, "append", &args, &r->call);
}

static struct bx_list *first_due(const struct er_core *c) {
  for (struct bx_list *link = c->orphans.next; link != &c->orphans; link = link->next)
    if (of(link)->state == DUE) return link;
  return NULL;
}

bool er_recover_due(const struct er_core *c) { return first_due(c) != NULL; }

void er_recover_turn(struct er_core *c) {
  struct bx_list *link;

  while (er_usable(c) && c->appends < ER_APPENDS && (link = first_due(c)) != NULL) send_run(c, link);
}

// The tail has passed the head that the last hello saw: what was in doubt is not in the journal.
void er_recover_tailed(struct er_core *c) {
  bx_list_each (link, &c->orphans)
    if (of(link)->state == DOUBT) of(link)->state = DUE;
}

void er_recover_tick(struct er_core *c) {
  if (c->taken != NULL && c->now >= c->taken_until) give_up(c);
}
