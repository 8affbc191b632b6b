// SPDX-License-Identifier: Apache-2.0
// Behind real nginx and haproxy, TLS in front, configured by the samples of docs/examples: every
// transport works, and each client is known by its own address.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import faye from 'faye';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson} from './lib/http.mjs';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {Ledger} from './lib/ledger.mjs';
import {sleep, within} from './lib/wait.mjs';
import {Events} from './support/events.mjs';
import {Wire, poller, publish} from './support/wire.mjs';
import {thisMachine} from './support/certificates.mjs';
import {from, socketFrom} from './support/peers.mjs';
import {isInstalled, startHaproxy, startNginx} from './support/proxies.mjs';

// Faye's client shakes hands by long-polling, then takes the first transport that is left.
const OTHERS = {websocket: ['eventsource'], 'long-polling': ['websocket', 'eventsource']};
const PROXIES = {nginx: {start: startNginx}, haproxy: {start: startHaproxy, set: {'broker.proxy_protocol': true, 'broker.trusted_proxies': ['127.0.0.3']}}};
const plain = {'tls.certificate': null, 'tls.key': null};   // TLS ends at the proxy

async function behind(t, name, set = {}) {
  if (!isInstalled(name)) t.skip(`${name} is not installed`);
  const {start, set: own} = PROXIES[name];
  const broker = await startBroker(t, {set: {...plain, 'broker.trusted_proxies': ['127.0.0.1'], ...own, ...set}});
  return {broker, proxy: await start(t, broker)};
}

const addressOf = async (broker, {clientId}) => (await getJson(broker.admin(`/v1/clients/${clientId}`))).json.address;

for (const name of Object.keys(PROXIES)) {
  for (const transport of ['websocket', 'long-polling']) {
    test(`${name}: Faye's client over ${transport}, both ways, in order`, async t => {
      const {proxy} = await behind(t, name);
      const client = new faye.Client(proxy.url, {retry: 1, tls: {ca: readFileSync(thisMachine().certificate)}});
      t.after(() => Promise.race([client.disconnect(), sleep(500)]));
      for (const other of OTHERS[transport]) client.disable(other);
      const ledger = new Ledger('all');
      await within(client.subscribe('/chat', ledger.add), 'the subscription');
      for (let n = 0; n < 200; n++) await within(client.publish('/chat', {n}), 'the acknowledgement');
      await ledger.complete(200);
      assert.equal(client._dispatcher.connectionType, transport);
    });
  }

  test(`${name}: eventsource, each message as it comes`, async t => {
    const {broker, proxy} = await behind(t, name);
    const session = await poller(proxy.url, '/news');
    const events = await Events.open(t, `${proxy.url}/${session.clientId}`);
    assert.equal(events.status, 200);
    for (let n = 0; n < 20; n++) {
      await publish(broker.bayeux, '/news', n);
      await events.come(n + 1);   // before the next one is there to push it out
    }
    assert.deepEqual(events.messages.map(m => m.data), Array.from({length: 20}, (_, n) => n));
  });

  test(`${name}: a poll is held, and answered by what is published`, async t => {
    const {broker, proxy} = await behind(t, name);
    const session = await poller(proxy.url, '/held');
    const held = session.connect();
    await sleep(300);
    await publish(broker.bayeux, '/held', 1);
    assert.deepEqual(deliveries(await held).map(m => m.data), [1]);
  });

  // The connection between the proxy and the broker ends with each answer: haproxy resets it.
  test(`${name}: polls without keep-alive, each message once, also of a client that uses one id for all`, async t => {
    const {broker, proxy} = await behind(t, name);
    const url = proxy.url.replace('https', 'http');   // the agent does TLS
    for (const same of [{}, {id: 'c'}]) {
      const session = new PollSession(url, {agent: from(t, '127.5.0.9', {secure: true, keepAlive: false})});
      await session.handshake();
      await session.subscribe('/once');
      await session.connect({timeout: 0, ...same});
      for (let n = 0; n < 20; n++) {
        await publish(broker.bayeux, '/once', n);
        assert.deepEqual(deliveries(await session.connect(same)).map(m => m.data), [n]);
      }
    }
  });

  test(`${name}: a client has its own address, whatever it says of itself`, async t => {
    const {broker, proxy} = await behind(t, name);
    const url = proxy.url.replace('https', 'http');   // the agent does TLS
    for (const headers of [{}, {'X-Forwarded-For': '192.0.2.66'}, {'X-Forwarded-For': '192.0.2.66, 127.0.0.1'}]) {
      const session = new PollSession(url, {agent: from(t, '127.5.0.9', {secure: true}), headers});
      await session.handshake();
      await session.connect({timeout: 0});
      assert.match(await addressOf(broker, session), /^127\.5\.0\.9(:\d+)?$/);
    }
    const wire = await Wire.open(t, url.replace('http', 'ws'), {headers: {'X-Forwarded-For': '192.0.2.66'}, ...socketFrom('127.5.0.9', {secure: true})});
    await wire.handshake();
    wire.connect();
    await wire.barrier();
    assert.match(await addressOf(broker, wire), /^127\.5\.0\.9(:\d+)?$/);
  });
}

test('nginx: 500 clients of 500 addresses are limited one by one', {timeout: 120000}, async t => {
  const {proxy} = await behind(t, 'nginx', {'limits.clients_per_address': 2});
  const url = proxy.url.replace('https', 'http');
  const outcomes = async n => {
    const session = new PollSession(url, {agent: from(t, `127.6.${n >> 8}.${n & 255}`, {secure: true}), headers: {'X-Forwarded-For': `192.0.2.${n % 250}`}});
    const got = [];
    for (let i = 0; i < 3; i++) {
      const [reply] = await session.post([session.message.handshake()]);
      got.push(reply.successful || reply.error.slice(0, 3));
    }
    return got;
  };
  for (let from = 1; from <= 500; from += 50) {
    const some = await Promise.all(Array.from({length: 50}, (_, i) => outcomes(from + i)));
    for (const each of some) assert.deepEqual(each, [true, true, '429']);
  }
});
