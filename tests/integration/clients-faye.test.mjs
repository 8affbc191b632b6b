// SPDX-License-Identifier: Apache-2.0
// The npm client of Faye 1.4.3, unchanged.

import faye from 'faye';
import {clientSuite} from './support/clients.mjs';

// It shakes hands by long-polling whatever it is told, then takes the first transport that is left.
const OTHERS = {websocket: ['eventsource'], 'long-polling': ['websocket', 'eventsource']};

function create(url, transport) {
  const client = new faye.Client(url, {retry: 1});
  for (const feature of OTHERS[transport]) client.disable(feature);
  return {
    subscribe: (pattern, callback) => new Promise((resolve, reject) => {
      const subscription = client.subscribe(pattern, callback);
      subscription.then(() => resolve({subscription}), reject);   // it is a thenable itself
    }),
    unsubscribe: ({subscription}) => subscription.cancel(),
    publish: (channel, data) => new Promise((resolve, reject) => client.publish(channel, data).then(resolve, reject)),
    disconnect: () => new Promise(resolve => { const done = client.disconnect(); done ? done.then(resolve, resolve) : resolve(); }),
    transport: () => client._dispatcher.connectionType,
  };
}

clientSuite('Faye', {
  create,
  refused: {
    publish: {'/good/*': 405, '/good/**': 405, 'bad': 405, '/b.d': 405, '/meta/x': 403},
    subscribe: {'/meta/x': 403, '/service/x': 403, '/service/**': 403, '/b.d': 405},
  },
});
