// SPDX-License-Identifier: Apache-2.0
// The stream of events in Redis as a source: see er_core_tell_events().
#include <stdio.h>

#include "broker/webhook/parts.h"

enum { LEASE = 3000, ENTRY = 48 };   // ms; "<ms>-<n>", terminated

struct stream {
  struct bk_webhook_source source;
  struct er_core *core;
  char prefix[4];      // of the pod; empty: none
  uint64_t term, of;   // of the last answer
  char last[ENTRY];    // of the events that were given
  size_t count;        // entries that were given
  bool telling;        // they are told, and that is on its way
  size_t limit;
};

static struct stream *of(struct bk_webhook_source *s) { return bx_container_of(s, struct stream, source); }

static void write_events(const struct stream *s, const struct er_told *t, struct bx_buffer *out, size_t *written) {
  for (size_t i = 0; i < t->count; i++) {
    const struct er_event *e = &t->events[i];
    struct bk_webhook_event event = {
        .prefix = s->prefix, .id = e->entry, .kind = e->kind, .client = e->id, .user = e->user, .detail = e->detail};
    size_t len = out->len;
    for (size_t k = 0; k < e->entry.len && e->entry.at[k] != '-'; k++)
      event.time = 10 * event.time + (unsigned char)(e->entry.at[k] - '0');
    if (*written > 0) bx_buffer_char(out, ',');
    if (bk_webhook_write_event(out, &event))
      ++*written;
    else
      out->len = len;
  }
}

static void answered(void *context, const struct er_told *t) {
  struct stream *s = context;
  struct bx_buffer text = {0};
  struct bk_webhook_given given = {0};
  if (!t) {
    s->source.done(s->source.context, NULL);
    return;
  }
  given.again = t->term == s->term;
  given.missed = t->missed;
  s->term = t->term;
  // Of a batch that was given in an earlier term nothing is said any more.
  if (s->limit > 0 || !given.again) {
    s->of = t->of;
    s->count = t->count;
    s->last[0] = '\0';
    if (t->count > 0)
      snprintf(s->last, sizeof s->last, "%.*s", (int)t->events[t->count - 1].entry.len,
               t->events[t->count - 1].entry.at);
    write_events(s, t, &text, &given.count);
  }
  given.events = bx_buffer_view(&text);
  s->source.done(s->source.context, &given);
  bx_buffer_fini(&text);
}

static void next(struct bk_webhook_source *source, bool told, size_t limit) {
  struct stream *s = of(source);
  s->limit = limit;
  er_core_tell_events(s->core,
                      &(struct er_telling){.lease = LEASE,
                                           .term = s->term,
                                           .of = told ? s->of + s->count : s->of,
                                           .told = told ? bx_slice_of(s->last) : (struct bx_slice){0},
                                           .limit = limit},
                      answered, s);
}

static void destroy(struct bk_webhook_source *source) { bx_free(of(source)); }

struct bk_webhook_source *bk_webhook_stream_create(struct er_core *core, const char *pod) {
  struct stream *s = bx_alloc(sizeof *s);
  s->source = (struct bk_webhook_source){.next = next, .destroy = destroy, .lease = LEASE};
  s->core = core;
  if (pod) snprintf(s->prefix, sizeof s->prefix, "%.1s:", pod);
  return &s->source;
}
