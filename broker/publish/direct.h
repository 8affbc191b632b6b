// SPDX-License-Identifier: Apache-2.0
// A publisher into an engine of this process: what the admin listener of a broker and mora-api's own
// end of the journal have in common.
#pragma once

#include "bayeux/server.h"
#include "broker/host/loop.h"
#include "broker/publish/publisher.h"

// Hands a publish, of which `done` is set, to the engine. NULL: it did; done comes later. Else it did not,
// and the text says what is wrong with the channel. As bx_server_publish().
typedef const char *bk_direct_submit(void *context, struct bx_outside_publish *, struct bx_slice channel,
                                     struct bx_slice data, struct bx_slice once);

// To be destroyed after the engine, which completes what is under way.
struct bk_publisher *bk_direct_create(struct bk_loop *, struct bx_engine *, bk_direct_submit *, void *context);
