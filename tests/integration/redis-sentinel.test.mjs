// SPDX-License-Identifier: Apache-2.0
// Nodes that find their Redis through Sentinels: the primary is killed under load, another takes its
// place, and nothing that was acknowledged is lost without a word.

import assert from 'node:assert/strict';
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import http from 'node:http';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Daemon, binary, started} from './lib/daemon.mjs';
import {scale, test} from './lib/suite.mjs';
import {until} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {NumberedPress, Press, settleIn, verdict} from './support/load.mjs';
import {canSeparate, forward, startNamespace} from './support/namespace.mjs';
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

// What a node appends, as GET /v1/tail tells it: position -> n. Grows until the test ends.
async function watch(t, node) {
  const seen = new Map();
  const request = http.get(node.admin('/v1/tail?channel=/**'), {agent: false});
  request.on('error', () => {});
  t.after(() => request.destroy());
  const [answer] = await once(request, 'response');
  let rest = '';
  answer.setEncoding('utf8').on('data', text => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const {position, data: {n}} = JSON.parse(line);
      if (seen.has(position) && seen.get(position) !== n) seen.conflict = `position ${position}: ${seen.get(position)} and ${n}`;
      seen.set(position, n);
    }
  }).on('error', () => {});
  return seen;
}

// The positions that a node named as lost in its log.
function* named(node) {
  for (const {event, detail} of node.log.items) {
    if (event !== 'engine.not_recovered') continue;
    for (const [, from, to] of detail.replace(/^.* positions/, '').matchAll(/ (\d+)(?:-(\d+))?/g))
      for (let position = Number(from); position <= Number(to ?? from); position++) yield position;
  }
}

// Nothing that was acknowledged is lost without a word: each resident has it, or a node named its position in the log.
// How many were named that somebody lacks.
async function accounted(cluster, presses, residents) {
  const lacking = () => new Set(residents.flatMap(each => presses.flatMap(press =>
    press.entries.filter(({n, outcome, channel}) => outcome === 'acknowledged' && each.patterns.includes(channel) && !each.first.has(n)).map(({position}) => position))));
  const silent = () => {
    const told = new Set(cluster.living.flatMap(node => [...named(node)]));
    return [...lacking()].filter(position => !told.has(position));
  };
  await until(() => silent().length === 0, () => `${silent().length} lost without a word: ${silent().slice(0, 5)}`, 60000);
  return lacking().size;
}

// A broker behind the cable. It listens on unix sockets, to which ports here lead.
async function startFarBroker(t, there, cluster) {
  const folder = mkdtempSync(join(tmpdir(), 'mora-far-'));
  t.after(() => rmSync(folder, {recursive: true, force: true}));
  const places = {broker: join(folder, 'broker.sock'), admin: join(folder, 'admin.sock')};
  const ports = {broker: await forward(t, places.broker), admin: await forward(t, places.admin)};
  const far = new Daemon('mora-broker', {
    command: there.command(binary('mora-broker')), listeners: {broker: 'broker.listen', admin: 'admin.listen'},
    set: {...cluster.engine, ...cluster.set, 'broker.listen': [`unix:${places.broker}`], 'admin.listen': [`unix:${places.admin}`]},
  });
  far.address = listener => ports[listener];
  far.admin = path => far.url('admin', path);
  Object.defineProperty(far, 'bayeux', {get: () => far.url('broker', '/bayeux')});
  Object.defineProperty(far, 'socket', {get: () => far.bayeux.replace('http:', 'ws:')});
  return started(t, far);
}

const ROUNDS = process.env.MORA_TEST_LONG ? 20 : 2;

test('the primary is killed under load, again and again', {timeout: 120000 + ROUNDS * 30000}, async t => {
  needsRedis(t);
  const set = await startSentinelSet(t);
  const cluster = await startCluster(t, {nodes: 2, redis: set, set: {'broker.timeout': '20s'}});
  const watchers = await Promise.all(cluster.nodes.map(node => watch(t, node)));
  const residents = await settleIn(t, cluster, 10, i => ({
    node: cluster.nodes[i % 2], transport: ['websocket', 'long-polling'][i % 3 % 2], patterns: [`/s/${i % 5}`],
  }));
  const press = new Press(cluster, {rate: 500, batch: 5, channel: n => `/s/${n % 5}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  let slowest = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await press.more(500);
    const old = set.current;
    await old.kill();
    await set.promoted(old);
    const at = Date.now();
    await press.more(50);
    slowest = Math.max(slowest, Date.now() - at);
    old.replicaOf = set.current;
    await old.start();
    await set.whole();
  }
  await press.more(500);
  await press.stop();
  const gone = await accounted(cluster, [press], residents);
  const recovered = await cluster.sum('engine.recovered');
  for (const resident of residents) {
    const refused = resident.arrivals.filter(({n}) => press.entries[n].outcome === 'refused');
    assert.equal(refused.length, 0, `${resident.name} got what was refused`);
    assert.equal(resident.arrivals.length, resident.first.size, `${resident.name} got something twice`);
    assert.equal(resident.handshakes, 1, 'nobody was told to handshake');
  }
  // Positions mean one thing, on every node.
  for (const seen of watchers) assert.equal(seen.conflict, undefined);
  for (const [position, n] of watchers[0]) if (watchers[1].has(position)) assert.equal(watchers[1].get(position), n, `position ${position}`);
  assert.ok(watchers.every(({size}) => size >= press.outcomes.acknowledged - gone));
  t.log(`${ROUNDS} failovers, ${press.entries.length} published, ${JSON.stringify(press.outcomes)}; ${recovered} appended again, ${gone} not recovered; acknowledged again at most ${slowest} ms behind a promotion`);
  if (process.env.MORA_TEST_LONG) assert.ok(slowest < 5000 * scale, `${slowest} ms`);
});

const FENCED = 6000 * scale;   // min-replicas-max-lag 2, of which Redis knows after 3 s at most

// The primary and a node of ours are cut off from everybody else. Where they are nothing may be promised;
// elsewhere another primary takes over.
test('split brain: a node that is cut off with the old primary refuses, and all is accounted for when the cable is mended', {timeout: 180000}, async t => {
  needsRedis(t);
  if (!canSeparate()) t.skip('no network namespaces: this needs root');
  const there = await startNamespace(t);
  const set = await startSentinelSet(t, {host: there.here, first: {host: there.there, prefix: there.command()}});
  const cluster = await startCluster(t, {nodes: 1, redis: set, set: {'broker.timeout': '20s'}});
  const far = await startFarBroker(t, there, cluster);
  cluster.nodes.push(far);
  const [near] = cluster.nodes;
  const watchers = await Promise.all(cluster.nodes.map(node => watch(t, node)));
  const residents = await settleIn(t, cluster, 6, i => ({node: cluster.nodes[i % 2], transport: ['websocket', 'long-polling'][i % 3 % 2], patterns: ['/s/0']}));
  const presses = [];
  for (const [i, node] of cluster.nodes.entries()) presses.push(new NumberedPress(cluster, i * 1000000, {nodes: [node], rate: 100, batch: 2, channel: () => '/s/0'}).start(t));
  const [nearPress, farPress] = presses;
  t.onFailure(() => JSON.stringify(presses.map(({outcomes}) => outcomes)));
  await nearPress.more(100);
  await farPress.more(100);
  const old = set.current;
  there.cut();
  const cutAt = Date.now();
  await set.promoted(old);
  await nearPress.more(100);
  const newest = () => farPress.entries.filter(({outcome}) => outcome !== 'pending').slice(-20);
  await until(() => newest().length === 20 && newest().every(({outcome}) => outcome === 'refused'), 'the node that was cut off to refuse');
  const lastTaken = Math.max(...farPress.entries.filter(({outcome}) => outcome === 'acknowledged').map(({sentAt}) => sentAt));
  t.log(`the last publish that was acknowledged over there was sent ${lastTaken - cutAt} ms behind the cut`);
  assert.ok(lastTaken - cutAt < FENCED, `${lastTaken - cutAt} ms`);
  assert.equal((await cluster.readiness(far)).ready, false);
  there.mend();
  await set.whole();
  await until(async () => (await cluster.readiness(far)).ready, 'the node to be back');
  for (const press of presses) await press.more(100);
  for (const press of presses) await press.stop();
  const gone = await accounted(cluster, presses, residents);
  const expected = presses.reduce((sum, {outcomes}) => sum + outcomes.acknowledged, 0);
  t.log(`${expected} acknowledged, ${await cluster.sum('engine.recovered')} appended again, ${gone} not recovered`);
  for (const seen of watchers) assert.equal(seen.conflict, undefined);
  for (const [position, n] of watchers[0]) if (watchers[1].has(position)) assert.equal(watchers[1].get(position), n, `position ${position}`);
  for (const resident of residents) {
    assert.equal(resident.handshakes, 1, 'nobody was told to handshake');
    assert.equal(resident.arrivals.length, resident.first.size, `${resident.name} got something twice`);
    for (const press of presses) {
      const refused = resident.arrivals.filter(({n}) => press.owns(n) && press.byNumber(n).outcome === 'refused');
      assert.equal(refused.length, 0, `${resident.name} got what was refused`);
    }
  }
});
