// SPDX-License-Identifier: Apache-2.0
// What is appended on its way to the sessions that are live: see struct bx_run.
#include "bayeux/server_private.h"

void bx_run_append(struct bx_server *server, bx_position position, struct bx_slice channel, struct bx_frame *frame) {
  struct bx_run *run = &server->run;

  if (run->count == BX_RUN || server->journal.again != 0 ||
      (run->count > 0 && (run->last->was != 0 || !bx_slice_equal(bx_entry_channel(run->last), channel))))
    bx_run_deliver(server);
  run->last = bx_journal_append(&server->journal, position, channel, frame, server->now);
  run->frames[run->count++] = bx_frame_ref(frame);
  run->bytes += frame->len;
  server->counters.appended++;
  bx_list_splice(&server->readers, &server->ahead);
  if (server->env.appended != NULL) server->env.appended(server->env.context, run->last);
}

// A session and its connection, each some steps before it is needed.
static void fetch_ahead(const struct bx_topic *t, uint32_t k) {
  if (k >= 32) bx_fetch_ahead(t->places[k - 32].session, BX_LINE);
  if (k >= 16) bx_connection_fetch_woken(t->places[k - 16].session->connection);
}

// Downwards, as everywhere below: a session whose outbox is full leaves the live part of the array, and the one that
// takes its place was visited already.
static void deliver_to(struct bx_server *server, const struct bx_topic *t, struct bx_frame *frame, bx_position was) {
  for (uint32_t k = t->live; k-- > 0;) {
    fetch_ahead(t, k);
    // One that was made on a node further on may begin above this one's head.
    if (t->places[k].start < frame->position) bx_session_push(server, t->places[k].session, frame, was);
  }
}

static void deliver_one_by_one(struct bx_server *server, const struct bx_run *run) {
  for (uint32_t i = 0; i < run->count; i++)
    for (uint32_t k = 0; k < run->last->count; k++)
      deliver_to(server, run->last->links[k].topic, run->frames[i], run->last->was);
}

static void deliver_together(struct bx_server *server, const struct bx_topic *t, const struct bx_run *run) {
  for (uint32_t k = t->live; k-- > 0;) {
    struct bx_place place = t->places[k];

    fetch_ahead(t, k);
    if (place.start < run->frames[0]->position && bx_session_push_all(server, place.session, run)) continue;
    for (uint32_t i = 0; i < run->count && place.session->state == BX_SESSION_LIVE; i++)
      if (place.start < run->frames[i]->position) bx_session_push(server, place.session, run->frames[i], 0);
  }
}

// NULL: live sessions stand at several topics, or at none.
static const struct bx_topic *only_topic(const struct bx_entry *e) {
  const struct bx_topic *only = NULL;

  for (uint32_t i = 0; i < e->count; i++) {
    if (e->links[i].topic->live == 0) continue;
    if (only != NULL) return NULL;
    only = e->links[i].topic;
  }
  return only;
}

// A session that stands at several topics would get what the second one brings behind all of the first one's: those are
// delivered entry by entry.
void bx_run_deliver(struct bx_server *server) {
  struct bx_run *run = &server->run;
  const struct bx_topic *only = run->count > 1 ? only_topic(run->last) : NULL;

  if (only != NULL)
    deliver_together(server, only, run);
  else
    deliver_one_by_one(server, run);
  for (uint32_t i = 0; i < run->count; i++) bx_frame_unref(run->frames[i]);
  run->count = 0;
  run->bytes = 0;
}
