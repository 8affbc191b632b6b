// SPDX-License-Identifier: Apache-2.0
// Publish and subscribe over uWebSockets in the dialect "plain":  uwebsockets.mjs PACKAGES PORT

import {createRequire} from 'node:module';

const [packages, port] = process.argv.slice(2);
const uws = createRequire(packages)('uwebsockets');

const options = {
  compression: uws.DISABLED,          // Nobody compresses 128 bytes, and no other peer does.
  idleTimeout: 120, sendPingsAutomatically: true,  // Its defaults: dead clients are found.
  maxPayloadLength: 1024 * 1024,
  maxBackpressure: 16 * 1024 * 1024,  // Its default of 64 KB drops messages of a subscriber that is behind; the bench counts every loss.
};
const channel = (response, request, context) => response.upgrade({channel: request.getParameter(0)},
  request.getHeader('sec-websocket-key'), request.getHeader('sec-websocket-protocol'), request.getHeader('sec-websocket-extensions'), context);

const app = uws.App();
app.ws('/sub/:channel', {...options, upgrade: channel, open: ws => ws.subscribe(ws.getUserData().channel)});
// app.publish gathers what one turn of the loop publishes: a subscriber gets it in one write.
app.ws('/pub/:channel', {...options, upgrade: channel, message: (ws, message) => app.publish(ws.getUserData().channel, message, false)});
app.listen('127.0.0.1', Number(port), socket => { if (!socket) throw new Error('cannot listen'); });
process.on('SIGTERM', () => process.exit(0));
