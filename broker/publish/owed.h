// SPDX-License-Identifier: Apache-2.0
// Answers that are owed: what a daemon that drains waits for.
//
// An exchange that was answered is over for its handler, but it ends only with the next request of
// its connection. So an answer is owed until it is given; while draining, until it has arrived: the
// connection is then closed behind it, which ends the exchange.
#pragma once

#include "bayeux/base.h"
#include "broker/host/http.h"

// One per daemon.
struct bk_owed {
  size_t count;
  bool draining;
};

// One per request, beside the exchange.
struct bk_debt {
  struct bk_owed *owed;   // NULL: nothing is owed (any more)
};

// `owed` may be NULL: nobody waits.
static inline void bk_debt_begin(struct bk_debt *d, struct bk_owed *owed) {
  d->owed = owed;
  if (owed) owed->count++;
}

// The exchange has ended, or there is nobody to answer.
static inline void bk_debt_end(struct bk_debt *d) {
  if (d->owed) d->owed->count--;
  d->owed = NULL;
}

// Right before the answer is given.
static inline void bk_debt_answer(struct bk_debt *d, struct bk_exchange *x) {
  if (d->owed && d->owed->draining)
    bk_exchange_close_after(x);
  else
    bk_debt_end(d);
}

// A request whose answer depends on somebody else: a publisher, another daemon. Two things end it, in
// either order: what was asked for comes, and the exchange ends; the later one calls `release`. The
// first member of what a handler keeps per request.
struct bk_asked {
  struct bk_exchange *exchange;   // NULL: ended, there is nobody to answer
  struct bk_debt debt;
  bool asking;   // what was asked for is still to come
  void (*release)(struct bk_asked *);
};

// Holds the exchange, of which it becomes the user. `owed` may be NULL.
void bk_asked_begin(struct bk_asked *, struct bk_exchange *, struct bk_owed *, void (*release)(struct bk_asked *));
// It came: the exchange, to be answered at once, or NULL.
struct bk_exchange *bk_asked_answer(struct bk_asked *);
// Behind that: `release` when the exchange has ended.
void bk_asked_done(struct bk_asked *);
