// SPDX-License-Identifier: Apache-2.0
// engine.wait: a publish is acknowledged when a real replica has it, and unknown while none says so.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {run} from './lib/daemon.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Press, settleIn} from './support/load.mjs';
import {startRedis} from './support/redis.mjs';
import {poller} from './support/wire.mjs';

const QUICK = ['--repl-ping-replica-period', '1', '--repl-diskless-sync-delay', '0'];

async function start(t, set = {}) {
  needsRedis(t);
  const primary = await startRedis(t, {args: QUICK});
  const replica = await startRedis(t, {args: QUICK, replicaOf: primary});
  await until(async () => /master_link_status:up/.test(await replica.call('INFO', 'replication')), 'the replica to follow');
  t.after(() => replica.child?.kill('SIGCONT'));
  const cluster = await startCluster(t, {nodes: 2, redis: primary, set: {'engine.wait': 1, ...set}});
  return {primary, replica, cluster};
}

const tell = async (node, n) => (await postJson(node.admin('/v1/publish'), {channel: '/w', data: {n}})).json;

test('with the replica publishes are acknowledged, without it they are unknown, and nothing else waits', {timeout: 120000}, async t => {
  const {replica, cluster} = await start(t);
  const [node, other] = cluster.nodes;
  const [resident] = await settleIn(t, cluster, 1, () => ({node: other, patterns: ['/w']}));
  assert.equal((await tell(node, 1)).outcome, 'acknowledged');
  replica.pause();
  const {outcome, error} = await tell(node, 2);
  assert.equal(outcome, 'unknown');
  assert.equal(error, '504:/w:Outcome unknown');
  // While more of them wait: sessions are made, heartbeats answered.
  const waiting = [3, 4, 5].map(n => tell(node, n));
  await poller(node.bayeux, '/w');
  for (const each of cluster.nodes) assert.equal((await cluster.readiness(each)).ready, true);
  for (const each of await Promise.all(waiting)) assert.equal(each.outcome, 'unknown');
  assert.equal(await cluster.metric(node, /^mora_engine_unconfirmed_total$/), 4);
  await until(() => resident.first.size === 5, 'subscribers to have them all the same');
  replica.resume();
  await until(async () => (await tell(node, 6)).outcome === 'acknowledged', 'the replica to be heard of again');
  const session = await poller(node.bayeux, '/w');
  assert.equal((await session.publish('/w', {n: 7})).successful, true, 'publishes of clients, too');
});

test('the primary dies with all that it had: what was acknowledged is at the replica', {timeout: 120000}, async t => {
  const {primary, replica, cluster} = await start(t);
  const press = new Press(cluster, {rate: 500, batch: 5, channel: () => '/w'}).start(t);
  await press.more(500);
  await replica.call('REPLICAOF', 'NO', 'ONE');   // as one that is promoted while the old primary lives a little longer
  await sleep(500);
  await primary.kill();
  await Promise.all(cluster.nodes.map(node => node.kill()));   // nobody is left who could append it again
  press.running = false;
  await press.stop();
  const there = new Set((await replica.stream(cluster.key('journal'))).filter(({m}) => m).map(({m}) => JSON.parse(m).data.n));
  const acknowledged = press.entries.filter(({outcome}) => outcome === 'acknowledged').map(({n}) => n);
  assert.ok(acknowledged.length >= 500);
  assert.deepEqual(acknowledged.filter(n => !there.has(n)), []);
  assert.ok(press.entries.length > acknowledged.length + 20, 'there were others');
});

test('fewer replicas than are waited for are told; the memory engine has none', {timeout: 60000}, async t => {
  needsRedis(t);
  const [node] = (await startCluster(t, {nodes: 1, set: {'engine.wait': 2}})).nodes;
  const {json} = await getJson(node.admin('/v1/doctor'));
  assert.match(JSON.stringify(json), /redis\.few_replicas.*connected_slaves is 0, engine\.wait 2/);
  const memory = await run('mora-broker', ['--set', 'engine.wait=1', '--check-config']);
  assert.equal(memory.code, 2);
  assert.match(memory.stderr, /engine\.wait: replicas need engine\.type redis/);
});
