// SPDX-License-Identifier: Apache-2.0
// Reading forward: how a session that is behind catches up, along the chains of its subscriptions.
//
// A *pass* covers (cursor, target]: every chain is walked back once, from its newest entry to the
// cursor (or to the start of the subscription), then all of them forward, merged by position. The
// cost is the entries that match, twice, never the length of the ring. Entries that arrive meanwhile
// are the next pass. A session whose pass ends at the head turns LIVE in the same turn.
//
// A slice is at most BX_READ_BYTES of a session and ends when its outbox is full; it goes on when the
// outbox is empty again. A turn's readers together make at most BX_READ_STEPS steps, round robin.
#pragma once

#include "bayeux/session.h"

#define BX_READ_BYTES 65536
#define BX_READ_STEPS 16384   // about 2 ms

// The place of a pass in one subscription's chain.
struct bx_cursor {
  uint64_t sequence;
  struct bx_subscription *subscription;
};

struct bx_reader {
  struct bx_list *walking;   // link of the subscription whose chain is walked back; NULL: all were
  uint64_t walk, oldest;     // where that walk stands, and the oldest sequence it found
  struct bx_cursor *heap;    // smallest sequence on top
  uint32_t count, cap;
  uint64_t missed;      // entries that the walks of this pass found
  uint64_t end;         // sequences below it belong to this pass
  bx_position target;   // the position at which this pass ends
};

void bx_reader_start(struct bx_server *, struct bx_session *);   // a READING session waits for its slice
void bx_reader_stop(struct bx_session *);                        // what its pass did not reach is kept for the next
// A reader whose outbox was emptied into the answer of a poll gets more into it at once.
void bx_reader_refill(struct bx_server *, struct bx_session *);
// The head is not where it can be read to: below where the session stands, or at what a rollback took.
bool bx_reader_waits(const struct bx_session *);
// One turn of all that wait. True: some still wait.
bool bx_readers_run(struct bx_server *);
