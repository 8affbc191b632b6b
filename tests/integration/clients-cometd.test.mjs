// SPDX-License-Identifier: Apache-2.0
// The CometD JavaScript client 9.0.0 on Node, unchanged. Its applications subscribe again in their
// handshake listener: so does this one.

import {adapt} from 'cometd-nodejs-client';
import {bayeuxError, clientSuite} from './support/clients.mjs';

adapt();
const {CometD} = await import('cometd');

const settle = (resolve, reject) => reply => (reply.successful ? resolve(reply) : reject(bayeuxError(reply.error || JSON.stringify(reply.failure))));

function create(url, transport) {
  const cometd = new CometD();
  for (const type of cometd.getTransportTypes()) if (type !== transport) cometd.unregisterTransport(type);
  cometd.configure({url, logLevel: 'error', backoffIncrement: 200, maxBackoff: 1000});
  const subscriptions = new Set();
  cometd.addListener('/meta/handshake', reply => {
    if (!reply.successful) return;
    cometd.batch(() => {
      for (const each of subscriptions) each.handle = cometd.subscribe(each.pattern, each.callback);
    });
  });
  const connected = new Promise(resolve => cometd.handshake(reply => reply.successful && resolve()));
  return {
    async subscribe(pattern, callback) {
      await connected;
      const subscription = {pattern, callback: message => callback(message.data)};
      await new Promise((resolve, reject) => {
        subscription.handle = cometd.subscribe(pattern, subscription.callback, settle(resolve, reject));
      });
      subscriptions.add(subscription);
      return subscription;
    },
    unsubscribe(subscription) {
      subscriptions.delete(subscription);
      return new Promise((resolve, reject) => cometd.unsubscribe(subscription.handle, settle(resolve, reject)));
    },
    async publish(channel, data) {
      await connected;
      return new Promise((resolve, reject) => cometd.publish(channel, data, settle(resolve, reject)));
    },
    disconnect: () => new Promise(resolve => (cometd.isDisconnected() ? resolve() : cometd.disconnect(resolve))),
    transport: () => cometd.getTransport().type,
  };
}

clientSuite('CometD', {
  create,
  refused: {
    publish: {'/good/*': 405, '/good/**': 405},
    subscribe: {'/meta/x': 403, '/service/x': 403, '/service/**': 403},
  },
});
