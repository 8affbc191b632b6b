// SPDX-License-Identifier: Apache-2.0
// Rolling restart: every node of a cluster is drained and started again, one after the other, while
// clients receive. Nothing is lost, nothing comes twice, nobody is told to handshake.
//
// With MORA_TEST_LONG 2,000 clients and 10,000 deliveries a second, for which the programs have to be
// built without sanitizers.

import assert from 'node:assert/strict';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {keepAlive} from './lib/http.mjs';
import {test} from './lib/suite.mjs';
import {sleep, until} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Press, settleIn, verdict} from './support/load.mjs';
import {publish} from './support/wire.mjs';

const LONG = Boolean(process.env.MORA_TEST_LONG);
const CLIENTS = LONG ? 2000 : 60;
const CHANNELS = LONG ? 20 : 6;    // each has CLIENTS / CHANNELS subscribers
const RATE = LONG ? 100 : 60;      // publishes a second
const PATIENCE = LONG ? 120000 : undefined;   // all clients are in this process, which a busy machine starves

test(`three nodes are restarted in turn under ${CLIENTS} clients and ${RATE * CLIENTS / CHANNELS} deliveries a second`, {timeout: LONG ? 800000 : 300000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 3, set: {'broker.timeout': '30s'}});
  const residents = await settleIn(t, cluster, CLIENTS, i => ({
    node: cluster.nodes[i % 3], transport: ['websocket', 'long-polling'][i % 4 ? 0 : 1], patterns: [`/r/${i % CHANNELS}`],
  }));
  const press = new Press(cluster, {rate: RATE, batch: 1, channel: n => `/r/${n % CHANNELS}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  const began = Date.now();
  await press.more(RATE, PATIENCE);
  for (const node of cluster.nodes) {
    await node.stop();
    await press.more(RATE, PATIENCE);
    await node.start();
    await until(async () => (await cluster.readiness(node)).ready, 'the node to be back');
    await press.more(RATE, PATIENCE);
  }
  await press.stop();
  const took = (Date.now() - began) / 1000;
  const doubled = await verdict(press, residents);
  const deliveries = residents.reduce((sum, {arrivals}) => sum + arrivals.length, 0);
  t.log(`${press.entries.length} published, ${JSON.stringify(press.outcomes)}, ${deliveries} deliveries, ${Math.round(deliveries / took)} a second, ${doubled} twice`);
  assert.equal(doubled, 0, 'a clean end doubles nothing');
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
  assert.ok(await cluster.sum('moves') > 0);
});

// Its sessions stand in Redis by then, and others may go on with them: an answer now would come again there.
test('a node that has written down where its sessions stand answers nobody any more', {timeout: 60000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2, set: {'broker.timeout': '30s', 'engine.command_timeout': '20s'}});
  const [node, other] = cluster.nodes;
  const agent = keepAlive(t);
  const session = new PollSession(node.bayeux, {agent});
  await session.handshake();
  await session.subscribe('/late');
  await session.connect({timeout: 0});
  await publish(other.bayeux, '/late', 1);
  await cluster.level();
  cluster.redis.pause();   // the last word of the node takes a while
  t.after(() => cluster.redis.resume());
  const ended = node.stop();
  await node.log.when(events => events.some(({event}) => event === 'drain'), 'the drain to begin');
  await sleep(300);
  await assert.rejects(session.connect({timeout: 0}), /HTTP 503/);
  cluster.redis.resume();
  await ended;
  session.url = other.bayeux;
  assert.deepEqual(deliveries(await session.connect({timeout: 0})).map(({data}) => data), [1]);
});
