// SPDX-License-Identifier: Apache-2.0
// The peers, in the order of the tables. Each module has
//   name, dialect                 dialect: "bayeux", "plain" or "centrifugo" (below)
//   install()                     puts everything below build/bench; throws Skipped with the reason
//   start({cpu, directory})       -> {pids, version, settings, urls, stop(), parts}
// pids: all its processes; parts: the same by role, where there is more than one role.
//
// urls.websocket and urls.polling: where clients of Bayeux and of Centrifugo connect.
// Dialect "plain": one text frame is one message, without an envelope; urls have {channel} in the path, of [A-Za-z0-9_-].
// urls.subscribe is a websocket that receives what is published to the channel from then on; urls.publish one whose
// frames are published as they are (it may be answered: that is no message). urls.polling, where there is one, holds
// a GET until the next message; the Last-Modified and Etag of an answer are the If-Modified-Since and If-None-Match of the next GET.

import * as centrifugo from './centrifugo.mjs';
import * as cometd from './cometd.mjs';
import * as faye from './faye.mjs';
import * as fayeRedis from './faye-redis.mjs';
import * as nchan from './nchan.mjs';
import * as uwebsockets from './uwebsockets.mjs';

export const peers = [faye, fayeRedis, nchan, uwebsockets, centrifugo, cometd];
export {Skipped} from './lib/install.mjs';
