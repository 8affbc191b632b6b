// SPDX-License-Identifier: Apache-2.0
// Two pods, each a Redis with two nodes: what is published at any node reaches the subscribers of both
// pods once, in the order of the pod that took it; a pod whose Redis is away is served afterwards.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {getJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {NumberedPress, settleIn} from './support/load.mjs';
import {publicName, startReceiver} from './support/receiver.mjs';
import {startRedis} from './support/redis.mjs';
import {poller, post} from './support/wire.mjs';

const LETTERS = ['a', 'b'];

async function startPods(t, {nodes = 2, redis = {}, set = {}} = {}) {
  const servers = await Promise.all(LETTERS.map(() => startRedis(t, redis)));
  return Promise.all(LETTERS.map((letter, i) => startCluster(t, {
    nodes, redis: servers[i],
    set: {'broker.timeout': '20s', 'engine.pod': letter, 'engine.pods': [servers[1 - i].url()], ...set},
  })));
}

const relays = async cluster => (await Promise.all(cluster.living.map(async node => (await cluster.stats(node)).engine.pods[0].state)));
// Of each pod's nodes one carries to the other pod. From then on nothing is missed.
const relaying = pods => until(async () => (await Promise.all(pods.map(relays))).every(states => states.filter(state => state === 'relaying').length === 1), 'each pod to relay');
const relayed = cluster => cluster.metric(cluster.nodes[0], /^mora_engine_relayed_total$/);

// Everything that either press had acknowledged reached each resident, once, in the order of that press.
async function everything(presses, residents) {
  const expected = presses.flatMap(press => press.entries.filter(({outcome}) => outcome === 'acknowledged'));
  await until(() => residents.every(({first}) => expected.every(({n}) => first.has(n))), () => {
    const late = residents.find(({first}) => expected.some(({n}) => !first.has(n)));
    return `everybody to have everything: ${late.name} lacks ${expected.filter(({n}) => !late.first.has(n)).length} of ${expected.length}`;
  }, 60000);
  for (const resident of residents) {
    assert.equal(resident.arrivals.length, resident.first.size, `${resident.name} got something twice`);
    for (const press of presses) {
      const order = resident.arrivals.filter(({n}) => press.owns(n)).map(({n}) => press.byNumber(n).position);
      for (let i = 1; i < order.length; i++) assert.ok(order[i] > order[i - 1], `${resident.name}: out of order at ${i}`);
    }
  }
  return expected.length;
}

const pressOn = (t, pods, options) => pods.map((cluster, i) => new NumberedPress(cluster, i * 1000000, {rate: 200, batch: 4, channel: () => '/p', ...options}).start(t));
const settleAll = async (t, pods, count = 4) => (await Promise.all(pods.map((cluster, i) => settleIn(t, cluster, count, k => ({
  name: `${LETTERS[i]}${k}`, node: cluster.nodes[k % cluster.nodes.length], transport: ['websocket', 'long-polling'][k % 2], patterns: ['/p'],
}))))).flat();

test('a publish at any node reaches each subscriber of both pods once', {timeout: 120000}, async t => {
  needsRedis(t);
  const pods = await startPods(t);
  await relaying(pods);
  const residents = await settleAll(t, pods);
  const presses = pressOn(t, pods);
  for (const press of presses) await press.more(600);
  for (const press of presses) await press.stop();
  const all = await everything(presses, residents);
  const carried = await Promise.all(pods.map(cluster => cluster.sum('head')));
  assert.ok(all >= 1200 && carried.every(head => head > 0));
});

test('the ids of a pod begin with its letter; a client that lands on the other pod is told to handshake, and works there', {timeout: 60000}, async t => {
  needsRedis(t);
  const pods = await startPods(t, {nodes: 1});
  const session = await poller(pods[0].nodes[0].bayeux, '/x');
  assert.match(session.clientId, /^a[0-9a-z]{31}$/);
  const [reply] = await post(pods[1].nodes[0].bayeux, [session.message.connect()]);
  assert.equal(reply.successful, false);
  assert.equal(reply.error, `401:${session.clientId}:Unknown client`);
  assert.equal(reply.advice.reconnect, 'handshake');
  const other = await poller(pods[1].nodes[0].bayeux, '/x');
  assert.match(other.clientId, /^b[0-9a-z]{31}$/);
});

test("a pod's Redis stands still for a while: the other pod is unaffected, and it catches up in order", {timeout: 120000}, async t => {
  needsRedis(t);
  const pods = await startPods(t, {nodes: 2});
  await relaying(pods);
  const residents = await settleAll(t, pods);
  const presses = pressOn(t, pods);
  for (const press of presses) await press.more(200);
  pods[1].redis.pause();
  const refusedBefore = presses[0].outcomes.refused + presses[0].outcomes.unknown;
  await presses[0].more(800);
  await sleep(process.env.MORA_TEST_LONG ? 10000 : 2000);
  assert.equal(presses[0].outcomes.refused + presses[0].outcomes.unknown, refusedBefore, 'the other pod refuses nothing');
  pods[1].redis.resume();
  for (const press of presses) await press.more(200);
  for (const press of presses) await press.stop();
  await everything(presses, residents);
});

test('the node that relays is killed: another takes over where it was', {timeout: 120000}, async t => {
  needsRedis(t);
  const pods = await startPods(t);
  await relaying(pods);
  // Clients at the pod that is spoken to only: nobody of them is at a node that dies.
  const residents = await settleAll(t, pods.slice(1));
  const states = await relays(pods[0]);
  const busy = pods[0].nodes[states.indexOf('relaying')];
  const press = new NumberedPress(pods[0], 0, {rate: 400, batch: 4, channel: () => '/p', nodes: pods[0].nodes.filter(node => node !== busy)}).start(t);
  await press.more(400);
  await busy.kill();
  await press.more(400);
  await press.stop();
  await everything([press], residents);
  assert.ok(await relayed({nodes: pods[0].living, metric: pods[0].metric}) > 0);
  const {json} = await getJson(pods[0].living[0].admin('/v1/stats'));
  assert.equal(json.engine.relay_gaps, 0);
});

test('who is present, and what happens to sessions, is told in their own pod', {timeout: 60000}, async t => {
  needsRedis(t);
  const receiver = await startReceiver(t);
  const pods = await startPods(t, {nodes: 1, set: {
    'access.rules': [{channel: '/rooms/*', subscribe: 'any', publish: 'any', presence: true}, {channel: '/**', subscribe: 'any', publish: 'any'}], ...receiver.options,
  }});
  await relaying(pods);
  const [a, b] = pods.map(({nodes}) => nodes[0]);
  const watchers = [await poller(a.bayeux, '/presence/rooms/1', '/end'), await poller(b.bayeux, '/presence/rooms/1', '/end')];
  const guest = await poller(a.bayeux, '/rooms/1');
  const users = async node => (await getJson(node.admin('/v1/presence?channel=/rooms/1'))).json.users;
  assert.deepEqual([await users(a), await users(b)], [1, 0]);
  await post(a.bayeux, [guest.message.publish('/end', 'end')]);
  const heard = await Promise.all(watchers.map(watcher => watcher.poll(all => all.some(({data}) => data === 'end'), 'what is published behind it')));
  assert.deepEqual(heard.map(all => all.map(({data}) => data.event ?? data)), [['occupied', 'join', 'end'], ['end']]);
  const events = await receiver.taken.count(3 + 3 + 2);
  for (const {clientId} of [...watchers, guest]) {
    const own = events.filter(({session}) => session === publicName(clientId));
    assert.ok(own.length >= 2 && own.every(({id}) => id.startsWith(`${clientId[0]}:`)), JSON.stringify(own));
  }
  assert.equal(new Set(events.map(({id}) => id)).size, events.length);
});
