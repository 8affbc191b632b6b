// SPDX-License-Identifier: Apache-2.0
// Nodes that find their Redis through Sentinels: the primary is killed under load, another takes its
// place, and nothing that was acknowledged is lost without a word.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {until} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Press, settleIn, verdict} from './support/load.mjs';
import {startSentinelSet} from './support/sentinel.mjs';

test('nodes come up through Sentinels, and stay when one of these is gone', {timeout: 120000}, async t => {
  needsRedis(t);
  const set = await startSentinelSet(t);
  await set.sentinels[0].end();
  set.sentinels.push(set.sentinels.shift());   // asked last from here on, named first in the URL no more
  const cluster = await startCluster(t, {nodes: 2, redis: set});
  const residents = await settleIn(t, cluster, 4, i => ({node: cluster.nodes[i % 2], patterns: ['/s']}));
  const press = new Press(cluster, {rate: 200, batch: 2, channel: () => '/s'}).start(t);
  await press.more(200);
  await press.stop();
  assert.equal(await verdict(press, residents), 0);
});

test('the primary is killed under load', {timeout: 240000}, async t => {
  needsRedis(t);
  const set = await startSentinelSet(t);
  const cluster = await startCluster(t, {nodes: 2, redis: set, set: {'broker.timeout': '20s'}});
  const residents = await settleIn(t, cluster, 10, i => ({
    node: cluster.nodes[i % 2], transport: ['websocket', 'long-polling'][i % 3 % 2], patterns: [`/s/${i % 5}`],
  }));
  const press = new Press(cluster, {rate: 500, batch: 5, channel: n => `/s/${n % 5}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  await press.more(1000);
  const old = set.current;
  await old.kill();
  await set.promoted(old);
  const at = Date.now();
  await press.more(50);
  t.log(`acknowledged again ${Date.now() - at} ms behind the promotion`);
  await press.more(1000);
  await press.stop();
  const doubled = await verdict(press, residents);
  t.log(`${press.entries.length} published, ${JSON.stringify(press.outcomes)}, ${doubled} came twice`);
});
