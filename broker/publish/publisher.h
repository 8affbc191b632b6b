// SPDX-License-Identifier: Apache-2.0
// The publisher: how a message gets into the journal from outside a Bayeux connection. One
// interface, three homes: the broker's own server (in process), a broker's admin URL (remote.h),
// and a journal (Redis). `POST /v1/publish` and the chat API know this header only.
//
// What a publisher makes of an item is the message {"channel":<channel>,"data":<data>}, with the
// bytes of `data` as they came. `ext` goes into it only where a rule of the consumer allows that;
// `id` never does.
//
// A publish has three outcomes, never two. Whoever cannot say "acknowledged" or "refused" with
// certainty says "unknown".
#pragma once

#include "bayeux/base.h"
#include "bayeux/buffer.h"

struct bk_publisher;

enum { BK_PUBLISH_MAX_ITEMS = 1000, BK_PUBLISH_MAX_ID = 64 };

// One message to be published. All slices are borrowed for the time of the call to publish().
struct bk_publish_item {
  struct bx_slice channel;   // a valid name, not of /meta
  struct bx_slice data;      // one checked JSON value, as sent
  struct bx_slice ext;       // one checked JSON object, as sent; empty: none
  struct bx_slice id;        // idempotency key, decoded, 1..BK_PUBLISH_MAX_ID bytes; empty: none
};

enum bk_publish_outcome {
  BK_PUBLISH_ACKNOWLEDGED,   // it is in the journal
  BK_PUBLISH_REFUSED,        // it is not in the journal and never will be
  BK_PUBLISH_UNKNOWN,        // it may or may not be
  BK_PUBLISH_BAD,            // the item was at fault: not in the journal, and trying again is no use
};

struct bk_publish_result {
  enum bk_publish_outcome outcome;
  bx_position position;    // acknowledged; a repeated `id` gets its first position
  uint64_t epoch;          // acknowledged
  struct bx_slice error;   // refused, unknown: empty means the standard text (see below);
                           // bad: what was wrong, never empty
};

// Comes exactly once per call of publish(), never from inside it. `results` has one row per item,
// in their order, and is borrowed for the time of the call. publish() may be called from here; the
// publisher must not be destroyed from here.
struct bk_publish_done {
  void (*call)(void *context, const struct bk_publish_result *results, size_t count);
  void *context;   // must stay valid until call() was called
};

struct bk_publisher_ops {
  // Publishes 1..BK_PUBLISH_MAX_ITEMS items in their order. Never blocks; copies what it keeps.
  // Two calls keep their order too. Not while `destroy` runs.
  void (*publish)(struct bk_publisher *, const struct bk_publish_item *items, size_t count,
                  struct bk_publish_done done);

  // Why a publish would be refused now, as a short text for /readyz, or NULL when it would not.
  // At once, from what is known; the text is borrowed until the next turn of the loop.
  const char *(*not_ready)(struct bk_publisher *);

  // Nothing is published any more: takes leave of whom it has to. Called in each turn of the loop until it
  // returns true: it has left. NULL: there is nobody.
  bool (*leave)(struct bk_publisher *);

  // Calls every `done` that is still open (refused what was not begun, unknown what was), frees.
  void (*destroy)(struct bk_publisher *);
};

// The first member of every implementation.
struct bk_publisher {
  const struct bk_publisher_ops *ops;
};

static inline void bk_publisher_publish(struct bk_publisher *p, const struct bk_publish_item *items, size_t count,
                                        struct bk_publish_done done) {
  p->ops->publish(p, items, count, done);
}

static inline const char *bk_publisher_not_ready(struct bk_publisher *p) { return p->ops->not_ready(p); }

static inline bool bk_publisher_leave(struct bk_publisher *p) { return !p->ops->leave || p->ops->leave(p); }

static inline void bk_publisher_destroy(struct bk_publisher *p) {
  if (p) p->ops->destroy(p);
}

// "acknowledged", "refused", "unknown", "bad".
const char *bk_publish_outcome_name(enum bk_publish_outcome);

// Appends the error of a result as plain text: its own, or "503:<channel>:Not published" /
// "504:<channel>:Outcome unknown". Appends nothing for an acknowledged one.
void bk_publish_error_text(const struct bk_publish_result *, struct bx_slice channel, struct bx_buffer *out);
