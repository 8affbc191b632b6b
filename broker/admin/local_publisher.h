// SPDX-License-Identifier: Apache-2.0
// The publisher of this process: straight into the server's engine.
#pragma once

#include "bayeux/server.h"
#include "broker/host/loop.h"
#include "broker/publish/publisher.h"

// To be destroyed after the server, which completes what is under way.
struct bk_publisher *bk_local_publisher_create(struct bk_loop *, struct bx_server *);
