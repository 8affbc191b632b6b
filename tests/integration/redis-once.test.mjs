// SPDX-License-Identifier: Apache-2.0
// A publish that is repeated with its id: the first position, one delivery, whichever node it reaches.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {postJson} from './lib/http.mjs';
import {until} from './lib/wait.mjs';
import {Wire, drain, poller, pollerOf, post, publish} from './support/wire.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';

const SET = {'broker.timeout': '10s'};
const say = async (url, value) => {
  const {status, json} = await postJson(url, value);
  assert.equal(status, 200, JSON.stringify(json));
  return json;
};
const at = node => node.admin('/v1/publish');
const numbers = count => Array.from({length: count}, (_, n) => n);

// All that a wildcard subscriber got up to a last message, which is not in the list.
async function heard(session, node) {
  await publish(node.bayeux, '/once/end', 'end');
  await session.poll(inbox => inbox.some(({data}) => data === 'end'), 'the end');
  return session.inbox.items.map(({data}) => data).filter(data => data !== 'end');
}

test('the same id on either node: the first position and epoch, delivered once', async t => {
  const {nodes: [one, two]} = await startCluster(t, {set: SET});
  const session = await poller(two.bayeux, '/once/**');
  const first = await say(at(one), {channel: '/once/a', data: 'first', id: 'k1'});
  assert.equal(first.outcome, 'acknowledged');
  for (const node of [two, one, two]) assert.deepEqual(await say(at(node), {channel: '/once/a', data: 'again', id: 'k1'}), first);
  assert.deepEqual(await say(at(two), {channel: '/once/b', data: 'elsewhere', id: 'k1'}), first);
  const [repeat, fresh, twin] = await say(at(two), [{channel: '/once/a', data: 'x', id: 'k1'}, {channel: '/once/a', data: 'new', id: 'k2'},
    {channel: '/once/a', data: 'twin', id: 'k2'}]);
  assert.deepEqual(repeat, first);
  assert.equal(fresh.position, first.position + 1);
  assert.deepEqual(twin, fresh);
  const without = await say(at(one), [{channel: '/once/a', data: 'plain'}, {channel: '/once/a', data: 'plain'}]);
  assert.equal(without[1].position, without[0].position + 1, 'without an id each is one of its own');
  assert.deepEqual(await heard(session, one), ['first', 'new', 'plain', 'plain']);
});

test('200 ids, each posted to all nodes at the same time and then again: one position and one delivery each', async t => {
  const {nodes} = await startCluster(t, {nodes: 3, set: SET});
  const session = await poller(nodes[0].bayeux, '/once/**');
  const positions = new Set();
  for (let n = 0; n < 200; n += 20) {
    await Promise.all(numbers(20).map(async i => {
      const message = {channel: '/once/race', data: {n: n + i}, id: `race-${n + i}`};
      const answers = await Promise.all([...nodes, ...nodes].map(node => say(at(node), message)));
      const {position, epoch} = answers[0];
      for (const answer of answers) assert.deepEqual(answer, {position, epoch, outcome: 'acknowledged'});
      positions.add(position);
    }));
  }
  assert.equal(positions.size, 200);
  const got = (await heard(session, nodes[1])).map(({n}) => n);
  assert.deepEqual([...got].sort((a, b) => a - b), numbers(200));
});

test("a session's publish that is repeated with the same id, on either node and transport: delivered once", async t => {
  const {nodes: [one, two]} = await startCluster(t, {set: SET});
  const listener = await poller(one.bayeux, '/once/**');
  const sender = await Wire.client(t, one.socket);
  const other = await poller(two.bayeux);
  const message = {channel: '/once/said', data: 'mine', clientId: sender.clientId, id: 'm1'};
  sender.send([message]);
  assert.equal((await sender.reply('m1')).successful, true);
  for (const {bayeux} of [two, one]) assert.equal((await post(bayeux, [message]))[0].successful, true);
  assert.equal((await post(two.bayeux, [{...message, data: "another's", clientId: other.clientId}]))[0].successful, true);
  assert.equal((await post(two.bayeux, [{...message, data: 'another id', id: 'm2'}]))[0].successful, true);
  for (let i = 0; i < 2; i++) assert.equal((await post(one.bayeux, [{channel: '/once/said', data: 'nobody', id: 'm1'}]))[0].successful, true);
  // Some clients use one id for all they publish: another text is another message.
  assert.equal((await post(two.bayeux, [{...message, data: 'same id'}]))[0].successful, true);
  assert.deepEqual(await heard(listener, two), ['mine', "another's", 'another id', 'nobody', 'nobody', 'same id']);
});

test('a repeat after the node that took the first was killed', async t => {
  needsRedis(t);
  const {nodes: [one, two]} = await startCluster(t, {set: SET});
  const session = await poller(two.bayeux, '/once/**');
  const first = await say(at(one), {channel: '/once/a', data: 'first', id: 'before'});
  await one.kill();
  assert.deepEqual(await say(at(two), {channel: '/once/a', data: 'again', id: 'before'}), first);
  await one.start();
  assert.deepEqual(await say(at(one), {channel: '/once/a', data: 'again', id: 'before'}), first);
  assert.deepEqual(await heard(session, one), ['first']);
});

test('a repeat whose first was written and not answered', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const [one, two] = cluster.nodes;
  const session = await poller(two.bayeux, '/once/**');
  // Posted while Redis stands still: what becomes of it is settled by its repeats.
  for (let n = 0; n < 5; n++) {
    cluster.redis.pause();
    const lost = postJson(at(one), {channel: '/once/a', data: n, id: `stall-${n}`});
    await lost;
    cluster.redis.resume();
    // Each node refuses until its own link is back.
    const repeat = node => until(async () => {
      const {status, json} = await postJson(at(node), {channel: '/once/a', data: n, id: `stall-${n}`});
      return status === 200 && json;
    }, 'the repeat to be acknowledged');
    const answer = await repeat(n % 2 ? one : two);
    assert.deepEqual(await repeat(n % 2 ? two : one), answer);
  }
  assert.deepEqual(await heard(session, two), numbers(5));
});

test('keys of repeats expire', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  await say(at(cluster.nodes[0]), numbers(50).map(n => ({channel: '/once/a', data: n, id: `key-${n}`})));
  const keys = await cluster.redis.keys(cluster.key('once:*'));
  assert.equal(keys.length, 50);
  for (const key of keys) {
    const left = await cluster.redis.call('PTTL', key);
    assert.ok(left > 0 && left <= 300000, `${key}: ${left}`);
  }
});

test('mora-api appends by itself: same ids, same positions, a node without sessions', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const [one, two] = cluster.nodes;
  const api = await cluster.addPublisher(t);
  const session = await poller(two.bayeux, '/once/**');
  const first = await say(api.url('api', '/v1/publish'), {channel: '/once/a', data: 'by api', id: 'api-1'});
  assert.equal(first.outcome, 'acknowledged');
  for (const node of [one, two]) assert.deepEqual(await say(at(node), {channel: '/once/a', data: 'again', id: 'api-1'}), first);
  const second = await say(at(one), {channel: '/once/a', data: 'by node', id: 'api-2'});
  assert.deepEqual(await say(api.url('api', '/v1/publish'), {channel: '/once/a', data: 'again', id: 'api-2'}), second);
  const nodes = await until(async () => {
    const all = await cluster.seen(one);
    return all.length === 3 && all;
  }, 'three nodes');
  assert.deepEqual(nodes.map(({role}) => role).sort(), ['broker', 'broker', 'publisher']);
  await cluster.nodes[0].kill();   // it needs no broker
  const third = await say(api.url('api', '/v1/publish'), {channel: '/once/a', data: 'alone'});
  assert.equal(third.outcome, 'acknowledged');
  assert.deepEqual(await heard(session, two), ['by api', 'by node', 'alone']);
  assert.deepEqual(await drain(pollerOf(two.bayeux, session.clientId)), []);
});
