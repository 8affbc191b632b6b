// SPDX-License-Identifier: Apache-2.0
// Reading forward: see reader.h.
#include "bayeux/reader.h"

#include "bayeux/server_private.h"

// -- the heap of chain places ----------------------------------------------------------------------

static void heap_swap(struct bx_reader *r, uint32_t a, uint32_t b) {
  struct bx_cursor c = r->heap[a];

  r->heap[a] = r->heap[b];
  r->heap[b] = c;
}

static void heap_push(struct bx_reader *r, uint64_t sequence, struct bx_subscription *sub) {
  uint32_t i = r->count++;

  if (r->count > r->cap) {
    r->cap = r->cap ? 2 * r->cap : 4;
    r->heap = bx_realloc(r->heap, r->cap * sizeof *r->heap);
  }
  r->heap[i] = (struct bx_cursor){sequence, sub};
  for (; i > 0 && r->heap[(i - 1) / 2].sequence > r->heap[i].sequence; i = (i - 1) / 2) heap_swap(r, i, (i - 1) / 2);
}

static void heap_sink(struct bx_reader *r) {
  for (uint32_t i = 0;;) {
    uint32_t least = i, child = 2 * i + 1;

    for (uint32_t k = child; k < child + 2 && k < r->count; k++)
      if (r->heap[k].sequence < r->heap[least].sequence) least = k;
    if (least == i) return;
    heap_swap(r, i, least);
    i = least;
  }
}

// The top moves to the next entry of its chain, or leaves when the pass has no more of it.
static void heap_advance(const struct bx_journal *j, struct bx_reader *r) {
  const struct bx_entry *e = bx_journal_at(j, r->heap[0].sequence);
  uint64_t behind = bx_entry_link(e, r->heap[0].subscription->topic)->behind;

  if (behind == 0 || behind >= r->end)
    r->heap[0] = r->heap[--r->count];
  else
    r->heap[0].sequence = behind;
  heap_sink(r);
}

// -- a pass ----------------------------------------------------------------------------------------

static bx_position floor_of(const struct bx_session *s, const struct bx_subscription *sub) {
  if (sub->behind) return sub->from;
  return sub->start > s->cursor ? sub->start : s->cursor;
}

static void walk_next(struct bx_session *s, struct bx_list *link) {
  s->reader->walking = link == &s->subscriptions ? NULL : link;
  s->reader->walk = link == &s->subscriptions ? 0 : bx_subscription_of(link)->topic->newest;
  s->reader->oldest = 0;
}

static void pass_begin(struct bx_server *server, struct bx_session *s) {
  struct bx_reader *r = s->reader;

  if (r == NULL) r = s->reader = bx_alloc(sizeof *r);
  r->count = 0;
  r->missed = 0;
  r->end = server->journal.next;
  r->target = bx_journal_head(&server->journal);
  walk_next(s, s->subscriptions.next);
}

enum progress { WANTS_MORE, WAITS_FOR_ROOM, AT_HEAD, LOST, LAGGING };

// Walks the chain of one subscription back as far as the budget goes.
static enum progress walk_back(struct bx_server *server, struct bx_session *s, uint32_t *budget) {
  struct bx_subscription *sub = bx_subscription_of(s->reader->walking);
  bx_position floor = floor_of(s, sub);
  struct bx_reader *r = s->reader;
  const struct bx_entry *e;

  if (floor < server->journal.base || sub->topic->trimmed > floor) return LOST;
  while ((e = bx_journal_at(&server->journal, r->walk)) != NULL && e->position > floor) {
    if (*budget == 0) return WANTS_MORE;
    if (++r->missed > server->options.max_lag && server->options.max_lag > 0) return LAGGING;
    --*budget;
    server->counters.read_steps++;
    if (r->walk < r->end) r->oldest = r->walk;
    r->walk = bx_entry_link(e, sub->topic)->before;
  }
  if (r->oldest != 0) heap_push(r, r->oldest, sub);
  if (sub->behind) {
    sub->behind = false;
    sub->upto = r->target;
  }
  walk_next(s, r->walking->next);
  return WANTS_MORE;
}

// An entry behind the cursor is read for subscriptions that came late. When one that matches it is not
// among those, it was in time and brought the entry.
static bool was_brought(const struct bx_session *s, const struct bx_entry *e, uint64_t sequence) {
  const struct bx_reader *r = s->reader;
  uint32_t in_time = 0;

  if (e->position > s->cursor) return false;
  for (uint32_t i = 0; i < e->count; i++) {
    const struct bx_subscription *sub = bx_session_find_subscription(s, e->links[i].topic);
    in_time += sub != NULL && sub->start < e->position;
  }
  for (uint32_t i = 0; i < r->count; i++) in_time -= r->heap[i].sequence == sequence;
  return in_time > 0;
}

static enum progress read_slice(struct bx_server *server, struct bx_session *s, uint32_t *budget) {
  const struct bx_journal *j = &server->journal;
  struct bx_reader *r = s->reader;

  for (; *budget > 0; --*budget) {
    const struct bx_entry *e;
    uint64_t sequence;

    if (r->walking != NULL) {
      enum progress progress = walk_back(server, s, budget);

      if (progress != WANTS_MORE) return progress;
      if (*budget == 0) break;
      continue;
    }
    if (r->count == 0) {
      s->cursor = r->target > s->cursor ? r->target : s->cursor;
      if (r->end == j->next) return AT_HEAD;
      pass_begin(server, s);
      continue;
    }
    sequence = r->heap[0].sequence;
    e = bx_journal_at(j, sequence);
    if (e == NULL) return LOST;
    if (!was_brought(s, e, sequence) && !bx_session_feed(server, s, e)) return WAITS_FOR_ROOM;
    server->counters.read_steps++;
    while (r->count > 0 && r->heap[0].sequence == sequence) heap_advance(j, r);
  }
  return WANTS_MORE;
}

void bx_reader_start(struct bx_server *server, struct bx_session *s) {
  bx_list_remove(&s->read_link);
  if (s->weigh.armed) return;   // where to read from is not known yet
  bx_list_append(&server->readers, &s->read_link);
}

void bx_reader_stop(struct bx_session *s) {
  struct bx_reader *r = s->reader;

  bx_list_remove(&s->read_link);
  if (r == NULL) return;
  // A backfill that was under way goes on from where it stood.
  for (uint32_t i = 0; i < r->count; i++) {
    struct bx_subscription *sub = r->heap[i].subscription;
    const struct bx_entry *e = bx_journal_at(&s->server->journal, r->heap[i].sequence);

    if (e != NULL && e->position > sub->upto) continue;
    sub->behind = true;
    sub->from = e == NULL ? sub->known : e->position - 1;
  }
  bx_free(r->heap);
  bx_free(r);
  s->reader = NULL;
}

// It is told to shake hands. Its record ends first: while that is there, another node may take the session in,
// and the mark of this one speaks for it.
static void give_up(struct bx_server *server, struct bx_session *s, uint64_t *counter, const char *why) {
  if (!s->lost) {
    ++*counter;
    if (server->env.event != NULL) server->env.event(server->env.context, BX_EVENT_LOST, s, bx_slice_of(why));
  }
  s->lost = true;
  if (server->engine->ops->locates)
    bx_session_ask_end(server, s, BX_END_LOST);
  else
    bx_session_close(server, s, BX_END_LOST);
}

void bx_session_lose(struct bx_server *server, struct bx_session *s) {
  give_up(server, s, &server->counters.lost_sessions, "what it missed has left the journal");
}

static void lag(struct bx_server *server, struct bx_session *s) {
  give_up(server, s, &server->counters.lagging_sessions, "it missed more than limits.lag");
}

bool bx_reader_waits(const struct bx_session *s) {
  const struct bx_server *server = s->server;
  bx_position head = bx_journal_head(&server->journal);

  return s->cursor > head || (s->cursor < head && head > server->lost_from && head < server->lost_to);
}

// One slice of one session. One that came from a node which was further on waits for this one's head: a pass
// that ends below the cursor would take for read what a late subscription has between the two. And one that ends
// among positions that a rollback took would count what was there as passed, and its twins as had.
static void run(struct bx_server *server, struct bx_session *s, uint32_t *budget) {
  if (s->outbox.count > 0 && s->reader != NULL && s->reader->walking == NULL) return;   // goes on when it is drained
  if (s->reader == NULL && bx_reader_waits(s)) {
    bx_list_append(&server->ahead, &s->read_link);
    return;
  }
  if (s->reader == NULL) pass_begin(server, s);
  switch (read_slice(server, s, budget)) {
  case AT_HEAD: bx_session_set_state(server, s, BX_SESSION_LIVE); break;
  case LOST: bx_session_lose(server, s); break;
  case LAGGING: lag(server, s); break;
  case WANTS_MORE: bx_reader_start(server, s); break;
  case WAITS_FOR_ROOM: break;
  }
}

void bx_reader_refill(struct bx_server *server, struct bx_session *s) {
  uint32_t budget = BX_READ_STEPS;

  if (s->state != BX_SESSION_READING || s->outbox.count > 0 || s->reader == NULL) return;
  if (read_slice(server, s, &budget) == AT_HEAD) bx_session_set_state(server, s, BX_SESSION_LIVE);
}

bool bx_readers_run(struct bx_server *server) {
  uint32_t budget = BX_READ_STEPS;
  struct bx_list *link;

  while (budget > 0 && (link = bx_list_take(&server->readers)) != NULL)
    run(server, bx_container_of(link, struct bx_session, read_link), &budget);
  return !bx_list_empty(&server->readers);
}
