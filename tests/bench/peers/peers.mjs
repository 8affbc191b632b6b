// SPDX-License-Identifier: Apache-2.0
// The peers, in the order of the tables. Each module has
//   name, dialect                 dialect: "bayeux", or "plain" (below)
//   install()                     puts everything below build/bench; throws Skipped with the reason
//   start({cpu, directory})       -> {pids, version, settings, urls, stop(), parts}
// pids: all its processes; parts: the same by role, where there is more than one role.
//
// urls.websocket and urls.polling: where Bayeux clients connect.
// Dialect "plain": one text frame is one message, without an envelope. urls.subscribe + CHANNEL is a websocket
// that receives what is published to CHANNEL from then on; urls.publish + CHANNEL one whose frames are
// published as they are. urls.polling + CHANNEL, where there is one, holds a GET until the next message.
// A publisher may be answered: what it receives is no message. A poller sends the Last-Modified and Etag of its last
// answer as If-Modified-Since and If-None-Match of its next GET.
// CHANNEL is of [A-Za-z0-9_-].

import * as cometd from './cometd.mjs';
import * as faye from './faye.mjs';
import * as fayeRedis from './faye-redis.mjs';
import * as nchan from './nchan.mjs';
import * as uwebsockets from './uwebsockets.mjs';

export const peers = [faye, fayeRedis, nchan, uwebsockets, cometd];
export {Skipped} from './lib/install.mjs';
