// SPDX-License-Identifier: Apache-2.0
// Gitter's own clients, unchanged, with config/samples/gitter.sample.json: a live collection (snapshot and stream) over what
// happens to its session, and what a client without a good token does.

import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, request} from './lib/http.mjs';
import {Feed, until, within} from './lib/wait.mjs';
import {ANN, OPEN, PASSWORD, SAMPLE, startGitter} from './support/gitter.mjs';
import {post} from './support/wire.mjs';

const require = createRequire(import.meta.url);
const CHANNEL = `/api/v1/rooms/${OPEN}/chatMessages`;

async function start(t) {
  const authority = await startGitter(t);
  return {authority, broker: await startBroker(t, {args: ['--config', SAMPLE], set: {'authority.url': authority.url}})};
}
const say = async (broker, operation, model) => {
  const [reply] = await post(broker.bayeux, [{channel: CHANNEL, data: {operation, model}, ext: {password: PASSWORD}}]);
  assert.equal(reply.successful, true);
};

for (const [transport, options] of [['websocket', {}], ['long-polling', {websocketsDisabled: true}]]) {
  test(`a live collection over ${transport}: snapshot, then what happens; both again when its session was ended`, {timeout: 60000}, async t => {
    const {RealtimeClient, LiveCollection} = require('gitter-realtime-client');
    const {authority, broker} = await start(t);
    const client = new RealtimeClient({fayeUrl: broker.bayeux, token: 'token-of-ann', ...options});
    t.after(() => client.disconnect());
    const collection = new LiveCollection([], {client, url: `/v1/rooms/${OPEN}/chatMessages`});
    const snapshots = new Feed(), gaps = new Feed();
    collection.on('snapshot', () => snapshots.push(1));
    client.on('sequence.error', () => gaps.push(1));
    collection.listen();
    const ids = () => collection.pluck('id').join();
    const becomes = expected => until(() => ids() === expected, () => `${expected}, it is ${ids()}`);
    await snapshots.count(1);
    assert.equal(ids(), 'c1,c2,c3');
    assert.equal(client.getUserId(), ANN);
    await say(broker, 'create', {id: 'c4', text: 'four', v: 1});
    await becomes('c1,c2,c3,c4');
    await say(broker, 'update', {id: 'c4', text: 'new', v: 2});
    await until(() => collection.get('c4').get('text') === 'new', 'the update');
    await say(broker, 'remove', {id: 'c1'});
    await becomes('c2,c3,c4');
    assert.equal(await within(client.testConnection('test'), 'its ping'), true);

    const {clientId} = client;
    authority.chats = [{id: 'c8'}, {id: 'c9'}];
    assert.equal((await request(broker.admin(`/v1/clients/${clientId}`), {method: 'DELETE'})).status, 200);
    await snapshots.count(2);
    assert.notEqual(client.clientId, clientId);
    await say(broker, 'create', {id: 'c10'});
    await until(() => ['c8', 'c9', 'c10'].every(id => collection.get(id)), () => `what came since, it is ${ids()}`);
    assert.deepEqual(gaps.items, []);
    const {clients} = (await getJson(broker.admin('/v1/clients'))).json;
    assert.deepEqual(clients.map(({client: id, user}) => [id, user]), [[client.clientId, ANN]]);
  });
}

test('Halley with a bad token is disabled by the first reply, and Faye does not come back', async t => {
  const {authority, broker} = await start(t);
  const Halley = require('halley'), faye = require('faye');
  const stolen = {outgoing: (message, next) => next(message.channel === '/meta/handshake' ? {...message, ext: {token: 'stolen'}} : message)};
  const halley = new Halley.Client(broker.bayeux, {retry: 100, interval: 0});
  halley.addExtension(stolen);
  const disabled = new Promise(resolve => halley.on('disabled', resolve));
  halley.connect().catch(() => {});
  await within(disabled, 'it to be disabled');
  const told = new Feed();
  const client = new faye.Client(broker.bayeux, {retry: 0.1});
  client.addExtension({...stolen, incoming: (message, next) => { told.push(message); next(message); }});
  client.connect();
  await told.count(1);
  assert.deepEqual(told.items.map(({error, advice}) => [error, advice]), [['401::Invalid access token', {reconnect: 'none', interval: 864000000}]]);
  // What they would do soon they would have done by now: others shake hands ten times, one after the other.
  for (let i = 0; i < 10; i++) {
    const [reply] = await post(broker.bayeux, [{channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling'], ext: {token: 'token-of-ann'}}]);
    await post(broker.bayeux, [{channel: '/meta/connect', clientId: reply.clientId, connectionType: 'long-polling', advice: {timeout: 200}}]);
  }
  assert.equal(authority.asked.filter(({ext}) => ext?.token === 'stolen').length, 2);
});
