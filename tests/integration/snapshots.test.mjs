// SPDX-License-Identifier: Apache-2.0
// Snapshot and stream: messages are written to a store and published while clients subscribe, and the authority answers each with
// what the store holds. What a client has of both together is everything, and the stream brings nothing twice.
// On one broker with the memory engine, and on two with Redis (MORA_TEST_ENGINE says which alone).

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker, testEngine} from './lib/daemon.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {postJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {Wire} from './support/wire.mjs';
import {Roamer, startCluster} from './support/cluster.mjs';

const MESSAGES = 1000, CLIENTS = 20, WRITERS = 4;
const PATTERNS = ['/rooms/1', '/rooms/*', '/rooms/**', ['/rooms/1', '/other']];

// Reads its store at once or late, and answers at once or late.
async function startStore(t) {
  const store = [];
  const wait = () => Math.random() < 0.5 && sleep(Math.random() * 60);
  const authority = await startScripted(t, {answer: async ({verb}) => {
    if (verb !== 'subscribe') return {allow: true};
    await wait();
    const snapshot = store.slice();
    await wait();
    return {allow: true, ext: {snapshot}};
  }});
  return {store, set: {
    'access.handshake': 'authority', 'authority.url': authority.url, 'authority.timeout': '20s', 'broker.timeout': '10s',
    'access.rules': [{channel: '/**', subscribe: 'authority', publish: 'any'}], 'limits.message': '1MB',
  }};
}

// Websockets and polls, on all nodes in turn; every other poll goes to another node with each request.
async function join(t, cluster, number) {
  const node = cluster.nodes[number % cluster.nodes.length];
  const kind = number % 4;
  const session = kind < 2 ? await Wire.open(t, node.socket) : kind === 2 ? new Roamer(cluster) : new PollSession(node.bayeux);
  await session.handshake();
  if (kind < 2) session.connect();
  return {session, polls: kind >= 2};
}

// Subscribes once the store holds `begin` messages, and listens until all of them are known.
async function listen(t, cluster, store, number, begin) {
  const {session, polls} = await join(t, cluster, number);
  await until(() => store.length >= begin, `${begin} messages`);
  const known = new Set();
  const listening = polls && poll(session, () => known.size >= MESSAGES);
  const reply = await session.subscribe(PATTERNS[number % PATTERNS.length], {ext: {snapshot: true}});
  const {snapshot} = reply.ext;
  for (const id of snapshot) known.add(id);
  assert.equal(known.size, snapshot.length);
  const all = () => {
    for (const {data} of session.inbox.items) known.add(data);
    return known.size >= MESSAGES;
  };
  await (polls ? until(all, 'all messages') : session.inbox.when(all, () => `all messages (${known.size})`));
  await listening;
  const stream = session.inbox.items.map(({data}) => data);
  assert.equal(new Set(stream).size, stream.length, `client ${number} was given something twice`);
  assert.equal(known.size, MESSAGES);
  return {both: snapshot.length + stream.length - MESSAGES, snapshot: snapshot.length};
}

// A poll is always under way, as with a real client: also while the subscription is.
async function poll(session, over) {
  while (!over()) {
    const [reply] = (await session.connect({timeout: 300})).filter(({channel}) => channel === '/meta/connect');
    assert.equal(reply.successful, true, JSON.stringify(reply));
  }
}

async function write(cluster, store, next, pause) {
  for (let id; (id = next()) < MESSAGES;) {
    store.push(id);
    const {json} = await postJson(cluster.nodes[id % cluster.nodes.length].admin('/v1/publish'), {channel: '/rooms/1', data: id});
    assert.equal(json.outcome, 'acknowledged');
    if (pause) await sleep(pause);
  }
}

async function race(t, cluster, store) {
  let count = 0;
  const next = () => count++;
  const clients = Array.from({length: CLIENTS}, (_, i) => listen(t, cluster, store, i, 20 + Math.floor(i * (MESSAGES - 100) / CLIENTS)));
  const writers = Array.from({length: WRITERS}, () => write(cluster, store, next, 4));
  const seen = await Promise.all([Promise.all(clients), ...writers]).then(([all]) => all);
  t.log(`in snapshot and stream: ${seen.map(({both}) => both).join(' ')}`);
  assert.ok(seen.some(({snapshot}) => snapshot > 0 && snapshot < MESSAGES), 'they subscribed meanwhile');
}

test('one broker: 1,000 messages while 20 clients subscribe', {timeout: 120000}, async t => {
  if (testEngine === 'redis') t.skip('on memory only');
  const {store, set} = await startStore(t);
  await race(t, {nodes: [await startBroker(t, {set: {...set, 'engine.type': 'memory'}})], after() { return this.nodes[0]; }}, store);
});

test('two brokers on Redis: 1,000 messages while 20 clients subscribe', {timeout: 120000}, async t => {
  if (testEngine === 'memory') t.skip('on Redis only');
  const {store, set} = await startStore(t);
  const cluster = await startCluster(t, {nodes: 2, set});
  await race(t, cluster, store);
  t.log(`subscriptions that went after their session: ${await cluster.sum('followed')}`);
});
