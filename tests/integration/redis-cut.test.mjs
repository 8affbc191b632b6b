// SPDX-License-Identifier: Apache-2.0
// Websockets by the hundred that break under load and go on at the other node.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {sleep} from './lib/wait.mjs';
import {onMemory, startCluster} from './support/cluster.mjs';
import {Press, settleIn, verdict} from './support/load.mjs';

const CLIENTS = 500;
const GROUPS = 50;

test(`${CLIENTS} websockets are reset under load and go on at the other node: none lost, repeats are of the last 3 s and counted`, {timeout: 180000}, async t => {
  const cluster = await startCluster(t, {set: {'broker.timeout': '20s'}});
  const residents = await settleIn(t, cluster, CLIENTS, i => ({node: cluster.nodes[i % 2], patterns: [`/group/${i % GROUPS}`]}));
  const [moves, resent] = [await cluster.sum('moves'), await cluster.sum('resent')];
  const press = new Press(cluster, {rate: 250, batch: 5, channel: n => `/group/${n % GROUPS}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  for (let round = 0; round < 3; round++) {
    await press.more(500);
    for (let i = 0; i < CLIENTS; i += 5) residents[i].deafen();       // what comes now lies unread
    await press.more(250);
    for (let i = 0; i < CLIENTS; i++) {
      residents[i].cut();
      if (i % 50 === 0) await sleep(10);
    }
  }
  await press.more(250);
  await press.stop();
  assert.equal(press.outcomes.acknowledged, press.entries.length);
  const doubled = await verdict(press, residents);
  t.log(`${press.entries.length} published, ${CLIENTS * press.entries.length / GROUPS} expected, ${doubled} came twice`);
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
  assert.ok(residents.every(({breaks}) => breaks.length === 3), 'each was cut three times, and by nobody else');
  assert.ok(await cluster.sum('resent') - resent >= doubled, `${doubled} came twice, counted ${await cluster.sum('resent') - resent}`);
  if (!onMemory) assert.ok(await cluster.sum('moves') + await cluster.sum('forced_moves') - moves >= 3 * CLIENTS, 'moves are counted');
});

test('polls by the hundred are reset under load and go on at the other node', {timeout: 120000}, async t => {
  const cluster = await startCluster(t, {set: {'broker.timeout': '20s'}});
  const residents = await settleIn(t, cluster, 100, i => ({transport: 'long-polling', node: cluster.nodes[i % 2], patterns: [`/group/${i % 10}`]}));
  const press = new Press(cluster, {rate: 50, batch: 1, channel: n => `/group/${n % 10}`}).start(t);
  for (let round = 0; round < 4; round++) {
    await press.more(75);
    for (const resident of residents) resident.cut();
  }
  await press.more(50);
  await press.stop();
  const doubled = await verdict(press, residents);
  t.log(`${doubled} came twice`);
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
});
