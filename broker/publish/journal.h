// SPDX-License-Identifier: Apache-2.0
// A publisher that appends to the journal in Redis itself: a node without sessions. It needs no broker.
//
// Same outcomes, same idempotency keys, same order as those of a broker: it is the same engine. Limits
// of messages and channels are checked here, for nobody checks them behind it.
//
// `address`: what the directory of nodes tells of it. The options are borrowed for as long as it lives.
#pragma once

#include "broker/engine/engine.h"
#include "broker/publish/publisher.h"

struct bk_publisher *bk_journal_create(struct bk_loop *, const struct bk_engine_options *, const char *address);

// Only for a publisher made by bk_journal_create().
const struct er_counters *bk_journal_counters(const struct bk_publisher *);
