// SPDX-License-Identifier: Apache-2.0
// What every client library must see, told once. A library comes as an adapter:
//
//   create(url, transport)                 a client that uses this transport and no other
//     .subscribe(pattern, callback)        resolves with a handle; rejects with {code}
//     .unsubscribe(handle)
//     .publish(channel, data)              resolves when acknowledged; rejects with {code}
//     .disconnect()
//     .transport()                         the name of the transport in use
//   refused                                what it sends to the server that the server refuses

import assert from 'node:assert/strict';
import {test} from '../lib/suite.mjs';
import {startBroker} from '../lib/daemon.mjs';
import {Ledger} from '../lib/ledger.mjs';
import {sleep, until, within} from '../lib/wait.mjs';
import {publish} from './wire.mjs';

const TRANSPORTS = ['websocket', 'long-polling'];
const CLIENTS = 20;
const MESSAGES = 2000;

// "401:a:Unknown client" as {code, text}.
export function bayeuxError(text) {
  return Object.assign(new Error(text), {code: Number(/^(\d{3}):/.exec(text)?.[1]), text});
}

export function clientSuite(library, {create, refused}) {
  const broker = t => startBroker(t, {set: {'broker.timeout': '10s'}});
  const client = (t, url, transport) => {
    const made = create(url, transport);
    t.after(() => Promise.race([Promise.resolve(made.disconnect()).catch(() => {}), sleep(500)]));
    return made;
  };
  const each = (title, body, options = {}) => {
    for (const transport of TRANSPORTS) test(`${library}, ${transport}: ${title}`, options, t => body(t, transport));
  };

  each('exact, * and ** patterns, each message once', async (t, transport) => {
    const {bayeux} = await broker(t);
    const subscriber = client(t, bayeux, transport);
    const sender = client(t, bayeux, transport);
    const patterns = {'/a/b': ['/a/b'], '/a/*': ['/a/b', '/a/c'], '/a/**': ['/a/b', '/a/c', '/a/b/c']};
    const got = {};
    for (const pattern of Object.keys(patterns)) {
      got[pattern] = new Ledger(pattern);
      await subscriber.subscribe(pattern, got[pattern].add);
    }
    const end = new Ledger('end');
    await subscriber.subscribe('/end', end.add);
    for (const channel of ['/a/b', '/a/c', '/a/b/c', '/a', '/b', '/ab/c']) await sender.publish(channel, channel);
    await sender.publish('/end', 'end');
    await end.complete(['end']);
    for (const [pattern, channels] of Object.entries(patterns)) got[pattern].once(channels);
    assert.equal(subscriber.transport(), transport);
  });

  each(`${MESSAGES} messages in order to ${CLIENTS} clients`, async (t, transport) => {
    const {bayeux} = await broker(t);
    const ledgers = [];
    for (let i = 0; i < CLIENTS; i++) {
      ledgers.push(new Ledger(`client ${i}`));
      await client(t, bayeux, transport).subscribe('/many', ledgers[i].add);
    }
    const sender = client(t, bayeux, 'websocket');
    await sender.publish('/warm/up', 0);   // while it shakes hands a library may send in any order
    await until(() => sender.transport() === 'websocket', 'the websocket');
    for (let n = 0; n < MESSAGES;) {
      const burst = [];
      for (let i = 0; i < 50; i++) burst.push(sender.publish('/many', {n: n++}));
      await Promise.all(burst);
    }
    await Promise.all(ledgers.map(ledger => ledger.complete(MESSAGES, 60000)));
  }, {timeout: 90000});

  each('what is published after unsubscribing does not arrive', async (t, transport) => {
    const {bayeux} = await broker(t);
    const subscriber = client(t, bayeux, transport);
    const [left, stays] = [new Ledger('left'), new Ledger('stays')];
    const handle = await subscriber.subscribe('/left', left.add);
    await subscriber.subscribe('/stays', stays.add);
    await publish(bayeux, '/left', 1);
    await left.complete([1]);
    await subscriber.unsubscribe(handle);
    await publish(bayeux, '/left', 2);
    await publish(bayeux, '/stays', 3);
    await stays.complete([3]);
    left.once([1]);
    await subscriber.subscribe('/left', left.add);
    await publish(bayeux, '/left', 4);
    await left.complete([1, 4]);
  });

  each('refusals reach the caller with their code', async (t, transport) => {
    const {bayeux} = await broker(t);
    const caller = client(t, bayeux, transport);
    await caller.subscribe('/good', () => {});
    for (const [channel, code] of Object.entries(refused.publish)) {
      await assert.rejects(within(caller.publish(channel, 1), `publish to ${channel}`), {code}, channel);
    }
    for (const [pattern, code] of Object.entries(refused.subscribe)) {
      await assert.rejects(within(caller.subscribe(pattern, () => {}), `subscribe to ${pattern}`), {code}, pattern);
    }
    await caller.publish('/good', 1);
  });

  each('a client that disconnects gets no more', async (t, transport) => {
    const {bayeux} = await broker(t);
    const [gone, stays] = [new Ledger('gone'), new Ledger('stays')];
    const leaver = client(t, bayeux, transport);
    const other = client(t, bayeux, transport);
    await leaver.subscribe('/x', gone.add);
    await other.subscribe('/x', stays.add);
    await publish(bayeux, '/x', 1);
    await gone.complete([1]);
    await leaver.disconnect();
    await publish(bayeux, '/x', 2);
    await stays.complete([1, 2]);
    gone.once([1]);
  });

  each('broker killed and restarted: every client by itself receives what is published afterwards', async (t, transport) => {
    const server = await broker(t);
    const ledgers = [];
    for (let i = 0; i < 5; i++) {
      ledgers.push(new Ledger(`client ${i}`));
      await client(t, server.bayeux, transport).subscribe('/again', ledgers[i].add);
    }
    await publish(server.bayeux, '/again', 'before');
    await Promise.all(ledgers.map(ledger => ledger.complete(['before'])));
    await server.kill();
    await sleep(300);
    await server.start();
    await until(async () => {
      await publish(server.bayeux, '/again', 'call');
      await sleep(50);
      return ledgers.every(ledger => ledger.got.items.includes('call'));
    }, () => `all to be back (${ledgers.map(ledger => ledger.got.length)})`, 45000);
    for (let n = 0; n < 100; n++) await publish(server.bayeux, '/again', {n});
    for (const ledger of ledgers) {
      await ledger.has(100);
      assert.deepEqual(ledger.got.items.filter(key => typeof key === 'number'), Array.from({length: 100}, (_, n) => n));
    }
  }, {timeout: 90000});

  test(`${library}: from websocket to long-polling and back`, async t => {
    const {bayeux} = await broker(t);
    const [socket, poll] = TRANSPORTS.map(transport => client(t, bayeux, transport));
    const [bySocket, byPoll] = [new Ledger('websocket'), new Ledger('long-polling')];
    await socket.subscribe('/to/socket', bySocket.add);
    await poll.subscribe('/to/poll', byPoll.add);
    for (let n = 0; n < 100; n++) {
      await socket.publish('/to/poll', {n});
      await poll.publish('/to/socket', {n});
    }
    await bySocket.complete(100);
    await byPoll.complete(100);
    assert.deepEqual([socket.transport(), poll.transport()], TRANSPORTS);
  });
}
