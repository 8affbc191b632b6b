// SPDX-License-Identifier: Apache-2.0
// The protocols that the load generator speaks.
//
//   bayeux        websocket: handshake, subscribe to /bench/CHANNEL, connect; connects again when answered
//   bayeux-five   the same with five subscriptions in one frame, to /bench/CHANNEL/0 and on; nothing is published
//   bayeux-self   the same; a subscriber publishes to its own channel over the same websocket
//   bayeux-poll   as bayeux, by long-polling; publishes over a websocket
//   plain         one text frame is one message; the channel is in the path (`{channel}`), one publishing
//                 websocket for each channel
//   plain-poll    the same, received by GETs that are held until the next message; ETag and Last-Modified
//                 say what was received
//   renew         plain, and a subscriber sends a text whenever one that is no message was answered: what an
//                 idle Bayeux client does, for servers that have no Bayeux
//   echo          plain; ready when three texts were sent back: a handshake's ways, without Bayeux
//   centrifugo    Centrifugo's JSON protocol
#pragma once

#include "tests/bench/load/conn.h"

struct bn_dialect {
  const char *name;
  const struct bn_role *subscriber, *publisher;
  bool publisher_each;   // one publishing connection for each channel
};

const struct bn_dialect *bn_dialect_find(const char *name);

// What roles tell the run.
void bn_load_ready(struct bn_conn *);                  // subscribed; may be published to
void bn_load_acked(struct bn_conn *, unsigned long);   // so many publishes were acknowledged
