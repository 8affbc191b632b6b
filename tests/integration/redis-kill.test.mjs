// SPDX-License-Identifier: Apache-2.0
// kill -9 of nodes under load: their clients go on elsewhere with the clientIds they have. Nothing is
// lost, repeats are bounded, the dead are forgotten, and each session ends once.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {until} from './lib/wait.mjs';
import {poller, post} from './support/wire.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Press, settleIn, verdict} from './support/load.mjs';

const TRANSPORTS = ['websocket', 'long-polling'];

// Sessions that end by disconnect, and some whose clients just go away.
async function leave(cluster, residents) {
  const ids = [];
  await Promise.all(residents.map(async (resident, i) => {
    await resident.stop();
    ids.push(resident.clientId);
    if (i % 2) return;
    const [reply] = await post(resident.node.bayeux, [resident.session.message.disconnect()]);
    assert.equal(reply.successful, true, JSON.stringify(reply));
  }));
  return ids;
}

test('a node is killed under 1,000 publishes a second', {timeout: 240000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 3, set: {'broker.timeout': '3s'}});
  const [one, two, three] = cluster.nodes;
  const names = await Promise.all(cluster.nodes.map(async node => (await cluster.stats(node)).node));
  const residents = await settleIn(t, cluster, 60, i => ({
    node: cluster.nodes[i % 3], transport: TRANSPORTS[i % 2],
    patterns: i < 4 ? ['/kill/**'] : [`/kill/${i % 20}`, `/also/${i % 20}`],
  }));
  // Sessions of the dead that nobody takes up again.
  const orphans = [];
  for (let i = 0; i < 10; i++) orphans.push((await poller(two.bayeux, '/kill/**')).clientId);
  const press = new Press(cluster, {rate: 1000, batch: 10, channel: n => `/${n % 2 ? 'kill' : 'also'}/${n % 20}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  await press.more(3000);
  await two.kill();
  await press.more(4000);
  await press.stop();
  const doubled = await verdict(press, residents);
  t.log(`${press.entries.length} published, ${JSON.stringify(press.outcomes)}, ${doubled} came twice`);
  assert.equal(press.outcomes.refused, 0);
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
  assert.ok(residents.some(({breaks}) => breaks.length > 0), 'some were at the dead node');
  assert.ok(residents.every(({breaks}) => breaks.length <= 2), 'and the others were left alone');
  assert.ok(residents.every(({node}) => node !== two), 'they are elsewhere');
  assert.ok(await cluster.sum('forced_moves') > 0);
  const gone = [...orphans, ...await leave(cluster, residents)].sort();
  await until(async () => {
    const seen = await cluster.seen(one);
    return !seen.some(({node}) => node === names[1]) && seen.length === 2;
  }, 'the dead node to be forgotten', 120000);
  assert.deepEqual((await cluster.seen(three)).map(({node}) => node).sort(), [names[0], names[2]].sort());
  await until(async () => (await cluster.redis.call('ZCARD', cluster.key('sessions'))) === 0, 'all sessions to end', 60000);
  assert.deepEqual((await cluster.endings()).map(({id}) => id).sort(), gone, 'each once');
  assert.deepEqual(await cluster.redis.keys(cluster.key('session:*')), []);
  assert.deepEqual(await cluster.redis.keys(cluster.key('subs:*')), []);
});

test('nodes are killed and started again, one after the other, under load', {timeout: 240000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2, set: {'broker.timeout': '20s'}});
  const residents = await settleIn(t, cluster, 30, i => ({
    node: cluster.nodes[i % 2], transport: TRANSPORTS[i % 3 % 2], patterns: [`/again/${i % 10}`],
  }));
  const press = new Press(cluster, {rate: 300, batch: 3, channel: n => `/again/${n % 10}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  for (let round = 0; round < 4; round++) {
    await press.more(600);
    const node = cluster.nodes[round % 2];
    await node.kill();
    await press.more(round < 2 ? 1500 : 10);   // long dead, or back before anybody has missed it
    await node.start();
  }
  await press.more(600);
  await press.stop();
  const doubled = await verdict(press, residents);
  t.log(`${press.entries.length} published, ${doubled} came twice`);
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
});

test('a node drains under load: its clients go on elsewhere, nothing is lost or doubled', {timeout: 120000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2, set: {'broker.timeout': '20s'}});
  const residents = await settleIn(t, cluster, 30, i => ({
    node: cluster.nodes[i % 2], transport: TRANSPORTS[i % 3 % 2], patterns: [`/drain/${i % 10}`],
  }));
  // Through the node that stays: a draining one may refuse connections.
  const press = new Press(cluster, {nodes: [cluster.nodes[1]], rate: 300, batch: 3, channel: n => `/drain/${n % 10}`}).start(t);
  await press.more(600);
  await cluster.nodes[0].stop();
  await press.more(900);
  await press.stop();
  assert.equal(await verdict(press, residents), 0, 'a clean end doubles nothing');
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
});

test('a node that stops for longer than its heartbeat and comes back: its clients are taken over, it delivers nothing twice', {timeout: 120000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2, set: {'broker.timeout': '20s'}});
  const [one, two] = cluster.nodes;
  const residents = await settleIn(t, cluster, 20, i => ({node: cluster.nodes[i % 2], transport: TRANSPORTS[i % 3 % 2], patterns: ['/stall']}));
  const press = new Press(cluster, {nodes: [two], rate: 100, batch: 1, channel: () => '/stall'}).start(t);
  await press.more(300);
  one.child.kill('SIGSTOP');
  t.after(() => one.child?.kill('SIGCONT'));
  const stuck = residents.filter(({node}) => node === one);
  await press.more(100);
  // Half of its clients lose patience; the others wait.
  for (const resident of stuck.slice(0, 5)) resident.cut();
  for (const resident of stuck.slice(0, 5)) await until(() => resident.node === two && resident.attached, 'a client to be elsewhere');
  await press.more(400);
  one.child.kill('SIGCONT');
  await press.more(300);
  await press.stop();
  await verdict(press, residents);
  await until(async () => (await cluster.readiness(one)).ready, 'the node to be ready again');
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
});
