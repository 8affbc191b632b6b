// SPDX-License-Identifier: Apache-2.0
// Halley 0.7.0, the Bayeux client of Gitter, unchanged.

import {createRequire} from 'node:module';
import {clientSuite} from './support/clients.mjs';

const Halley = createRequire(import.meta.url)('halley');

function create(url, transport) {
  const client = new Halley.Client(url, {connectionTypes: [transport], disabled: transport === 'websocket' ? [] : ['websocket']});
  return {
    subscribe: (pattern, callback) => new Promise((resolve, reject) => client.subscribe(pattern, callback).then(resolve, reject)),
    unsubscribe: subscription => subscription.unsubscribe(),
    publish: (channel, data) => new Promise((resolve, reject) => client.publish(channel, data).then(resolve, reject)),
    disconnect: () => client.disconnect(),
    transport: () => client._dispatcher._pool.current()?.connectionType,
  };
}

clientSuite('Halley', {
  create,
  refused: {
    publish: {'/good/*': 405, '/good/**': 405, 'bad': 405, '/b.d': 405, '/meta/x': 403},
    subscribe: {'/meta/x': 403, '/service/x': 403, '/service/**': 403},
  },
});
