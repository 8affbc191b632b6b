// SPDX-License-Identifier: Apache-2.0
// Redis stands still, dies, comes back with its data or without. Publishes get their outcome in time,
// readiness tells the truth, clients stay, and what was acknowledged is not lost while the data is there.

import assert from 'node:assert/strict';
import {scale, test} from './lib/suite.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {postJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {poller, pollerOf, post, publish} from './support/wire.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Press, Pulse, settleIn, verdict} from './support/load.mjs';

const COMMAND_TIMEOUT = 1000;   // the default of engine.command_timeout
const OUTCOME = (COMMAND_TIMEOUT + 1000) * scale;
const RED = 5000 * scale;
const GROUPS = 10;
const TRANSPORTS = ['websocket', 'long-polling'];

async function scene(t, {clients = 40, redis = {persist: 'always'}, rate = 200} = {}) {
  needsRedis(t);
  const cluster = await startCluster(t, {redis, set: {'broker.timeout': '10s'}});
  const residents = await settleIn(t, cluster, clients, i => ({
    node: cluster.nodes[i % 2], transport: TRANSPORTS[(i >> 1) % 2], patterns: [`/outage/${i % GROUPS}`],
  }));
  const press = new Press(cluster, {rate, batch: 5, by: 'both', channel: n => `/outage/${n % GROUPS}`}).start(t);
  t.onFailure(() => `${JSON.stringify(press.outcomes)}, the slowest took ${press.slowest} ms`);
  await press.more(400);
  return {cluster, residents, press, pulse: new Pulse(cluster).start(t)};
}

const allAre = (cluster, ready) => async () =>
  (await Promise.all(cluster.nodes.map(node => cluster.readiness(node)))).every(state => state.ready === ready);

// Both nodes turn red in time, and say why.
async function turnsRed(cluster) {
  const began = Date.now();
  await until(allAre(cluster, false), 'readiness to turn red');
  const took = Date.now() - began;
  assert.ok(took <= RED, `red after ${took} ms`);
  for (const node of cluster.nodes) assert.ok((await cluster.readiness(node)).reasons.length > 0);
}
const turnsGreen = cluster => until(allAre(cluster, true), 'readiness to turn green', 60000 * scale);

// The press ends; what holds after every outage that keeps the data.
async function ends({cluster, residents, press, pulse}) {
  await press.stop();
  assert.ok(press.slowest <= OUTCOME + 2 * pulse.slowest, `a publish waited ${press.slowest} ms for its outcome, the health ${pulse.slowest} ms`);
  assert.equal(press.outcomes.pending, 0);
  assert.equal(await verdict(press, residents), 0, 'nobody was disconnected, so nothing comes twice');
  assert.ok(residents.every(({breaks}) => breaks.length === 0), 'attached clients stay');
  assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');
  assert.ok(cluster.nodes.every(node => node.running));
  const counted = {refused: await cluster.sum('refused_publishes'), unknown: await cluster.sum('unknown_publishes')};
  for (const outcome of ['refused', 'unknown']) {
    if (press.outcomes[outcome] > 0) assert.ok(counted[outcome] > 0, `${press.outcomes[outcome]} ${outcome}, counted ${counted[outcome]}`);
  }
}

// -- Redis stands still ------------------------------------------------------------------------

test('SIGSTOP for 8 s', {timeout: 120000}, async t => {
  const all = await scene(t);
  const {cluster, press} = all;
  cluster.redis.pause();
  const began = Date.now();
  await turnsRed(cluster);
  await until(() => press.outcomes.refused > 100, 'publishes to be refused');
  // A request that needs Redis is answered all the same.
  const answers = Promise.all(cluster.nodes.map(node => post(node.bayeux, [new PollSession(node.bayeux).message.handshake()])));
  for (const [reply] of await answers) assert.equal(reply.successful, false);
  await sleep(Math.max(0, 8000 - (Date.now() - began)));
  const before = press.outcomes.acknowledged;
  cluster.redis.resume();
  await turnsGreen(cluster);
  await press.more(300);
  t.log(JSON.stringify(press.outcomes), `acknowledged before ${before}`, `slowest ${press.slowest} ms`);
  await ends(all);
});

test('SIGSTOP and SIGCONT again and again, about as long as a command may take', {timeout: 120000}, async t => {
  const all = await scene(t);
  const {cluster, press} = all;
  for (const ms of [300, 700, 900, 950, 1000, 1050, 1100, 1300, 1700, 2500, 980, 1020]) {
    cluster.redis.pause();
    await sleep(ms);
    cluster.redis.resume();
    await press.more(20);
    await sleep(ms % 400);
  }
  await turnsGreen(cluster);
  await press.more(300);
  t.log(JSON.stringify(press.outcomes), `slowest ${press.slowest} ms`);
  await ends(all);
});

// -- Redis dies --------------------------------------------------------------------------------

test('kill -9, and started again with its data', {timeout: 120000}, async t => {
  const all = await scene(t);
  const {cluster, press} = all;
  const epoch = (await cluster.stats(cluster.nodes[0])).epoch;
  for (let round = 0; round < 2; round++) {
    await cluster.redis.kill();
    await turnsRed(cluster);
    await until(() => press.outcomes.refused > 100 * (round + 1), 'publishes to be refused');
    await cluster.redis.start();
    await turnsGreen(cluster);
    await press.more(300);
  }
  t.log(JSON.stringify(press.outcomes), `slowest ${press.slowest} ms`);
  assert.ok((await cluster.stats(cluster.nodes[0])).epoch > epoch, 'another epoch');
  assert.equal((await cluster.stats(cluster.nodes[0])).epoch, (await cluster.stats(cluster.nodes[1])).epoch);
  await ends(all);
});

test('kill -9 and started again at once', {timeout: 120000}, async t => {
  const all = await scene(t);
  const {cluster, press} = all;
  for (let round = 0; round < 4; round++) {
    await cluster.redis.kill();
    await cluster.redis.start();
    await press.more(200);
  }
  await turnsGreen(cluster);
  t.log(JSON.stringify(press.outcomes), `slowest ${press.slowest} ms`);
  await ends(all);
});

test('a client that comes back after an outage gets what it missed', {timeout: 120000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {redis: {persist: 'always'}, set: {'broker.timeout': '20s'}});
  const [one, two] = cluster.nodes;
  const session = await poller(one.bayeux, '/back');
  await publish(two.bayeux, '/back', 0);
  await cluster.redis.kill();
  await turnsRed(cluster);
  await cluster.redis.start();
  await turnsGreen(cluster);
  await publish(one.bayeux, '/back', 1);
  const other = pollerOf(two.bayeux, session.clientId);
  await other.poll(inbox => inbox.length >= 2, 'both messages');
  assert.deepEqual(other.inbox.items.map(({data}) => data), [0, 1]);
});

test('a node that starts while Redis is away waits for it', {timeout: 60000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1});
  const [node] = cluster.nodes;
  await node.stop();
  await cluster.redis.kill();
  const started = node.start();
  started.catch(() => {});
  await until(async () => node.log.items.some(({event}) => event === 'listening') && !(await cluster.readiness(node)).ready, 'it to listen, not ready');
  await cluster.redis.start();
  await started;
  await publish(node.bayeux, '/late', 1);
});

// -- Redis goes back ----------------------------------------------------------------------------

test('killed and started again from an older dump: what was acknowledged since is published again, and comes once', {timeout: 120000}, async t => {
  const {cluster, residents, press} = await scene(t, {redis: {}});
  const [one, two] = cluster.nodes;
  const before = await poller(one.bayeux, '/outage/0');    // nobody polls for them meanwhile
  await cluster.redis.call('SAVE');
  const since = await poller(two.bayeux, '/outage/1');
  await press.more(600);
  await press.stop();
  await verdict(press, residents);
  const {epoch} = await cluster.stats(one);
  await cluster.redis.kill();
  await turnsRed(cluster);
  await cluster.redis.start();
  await turnsGreen(cluster);
  for (const node of cluster.nodes) assert.ok((await cluster.stats(node)).epoch > epoch);
  const again = new Press(cluster, {rate: 200, batch: 5, channel: n => `/outage/${n % GROUPS}`});
  const first = press.entries.length;
  again.entries = press.entries;   // the same numbers go on, and the same books
  again.start(t);
  await again.more(300);
  await again.stop();
  assert.equal(await verdict(again, residents), 0);
  assert.ok(residents.every(({handshakes, told, breaks}) => handshakes === 1 && told.length === 0 && breaks.length === 0));
  // Those who had not read have nothing but what was published again.
  for (const session of [before, since]) {
    const group = session === before ? 0 : 1;
    const mine = again.entries.filter(({n, outcome}) => n % GROUPS === group && outcome === 'acknowledged').map(({n}) => n);
    const last = mine.at(-1);
    await session.poll(inbox => inbox.some(({data}) => data.n === last), 'the last message');
    const got = session.inbox.items.map(({data}) => data.n);
    assert.equal(new Set(got).size, got.length, 'once');
    const from = got[0];
    assert.ok(from < first - 500, `all since the dump: from ${from} of ${first}`);
    assert.deepEqual([...got].sort((a, b) => a - b), mine.filter(n => n >= from));
  }
  const engines = await Promise.all(cluster.nodes.map(async node => (await cluster.stats(node)).engine));
  assert.ok(engines.every(({recovered}) => recovered > 100), JSON.stringify(engines));
});

// Of a node that died with what Redis forgot nobody appends anything again. Its entries lie between those of the other.
test('what nobody appends again is counted, named in the log by its positions, and nothing else is lost', {timeout: 180000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {redis: {}, set: {'broker.timeout': '60s'}});
  const [one, two] = cluster.nodes;
  const absent = await poller(one.bayeux, '/lost');   // does not poll meanwhile
  const press = new Press(cluster, {rate: 200, batch: 3, channel: () => '/lost'}).start(t);
  await press.more(100);
  await cluster.redis.call('SAVE');
  await press.more(300);
  await press.stop();
  await cluster.level();
  const acknowledged = press.entries.filter(({outcome}) => outcome === 'acknowledged');
  await two.kill();
  await cluster.redis.kill();
  await cluster.redis.start();
  await until(async () => (await cluster.readiness(one)).ready, 'the other node to be ready', 60000 * scale);
  await until(async () => (await cluster.stats(one)).engine.not_recovered > 0, 'what is lost to be counted', 60000 * scale);   // 30 s later
  const lost = new Set();
  for (const {event, detail} of one.log.items) {
    if (event !== 'engine.not_recovered') continue;
    for (const [, from, to] of detail.replace(/^.* positions/, '').matchAll(/ (\d+)(?:-(\d+))?/g))
      for (let position = Number(from); position <= Number(to ?? from); position++) lost.add(position);
  }
  assert.equal(lost.size, (await cluster.stats(one)).engine.not_recovered);
  assert.ok(lost.size >= 100, `${lost.size}`);
  const ofTwo = new Set(acknowledged.filter(({node}) => node === two).map(({position}) => position));
  assert.deepEqual([...lost].filter(position => !ofTwo.has(position)), [], 'what the other node had published is there');
  const kept = acknowledged.filter(({position}) => !lost.has(position)).map(({n}) => n).sort((a, b) => a - b);
  await absent.poll(inbox => inbox.length >= kept.length, 'all that was not named as lost');
  assert.deepEqual(absent.inbox.items.map(({data}) => data.n).sort((a, b) => a - b), kept);
});

// -- Redis forgets -----------------------------------------------------------------------------

test('FLUSHALL: clients are told to handshake within a second, spread, and do so once', {timeout: 120000}, async t => {
  const {cluster, residents, press} = await scene(t, {clients: 60, redis: {}});
  await press.stop();
  await verdict(press, residents);
  await cluster.redis.call('FLUSHALL');
  const flushed = Date.now();
  await until(() => residents.every(({told}) => told.length > 0), 'everybody to be told');
  const slowest = Math.max(...residents.map(({told}) => told[0].at - flushed));
  assert.ok(slowest <= 1000 * scale, `told after ${slowest} ms`);
  const intervals = residents.map(({told}) => told[0].interval);
  assert.ok(intervals.every(ms => Number.isSafeInteger(ms) && ms >= 0), String(intervals));
  assert.ok(new Set(intervals).size >= 10, `spread: ${intervals}`);
  await until(() => residents.every(({handshakes, attached, lost}) => handshakes === 2 && attached && !lost), 'everybody to be back');
  await turnsGreen(cluster);
  const after = new Press(cluster, {rate: 200, batch: 5, channel: n => `/outage/${n % GROUPS}`});
  for (const resident of residents) {
    resident.arrivals.length = 0;
    resident.first.clear();
  }
  after.start(t);
  await after.more(400);
  await after.stop();
  assert.equal(await verdict(after, residents), 0);
  assert.ok(residents.every(({handshakes, told}) => handshakes === 2 && told.length === 1), 'once');
  assert.ok(await cluster.sum('lost_sessions') >= residents.length, 'they are counted');
});

test('FLUSHALL under load: publishing goes on, everybody is back', {timeout: 120000}, async t => {
  const {cluster, residents, press} = await scene(t, {redis: {}});
  await cluster.redis.call('FLUSHALL');
  await until(() => residents.every(({handshakes, attached, lost}) => handshakes === 2 && attached && !lost), 'everybody to be back');
  await press.stop();
  assert.ok(press.slowest <= OUTCOME, `a publish waited ${press.slowest} ms for its outcome`);
  const refused = press.entries.filter(({outcome}) => outcome === 'refused').map(({n}) => n);
  for (const {first, name} of residents) assert.deepEqual(refused.filter(n => first.has(n)), [], `${name} got what was refused`);
  const end = (await postJson(cluster.nodes[0].admin('/v1/publish'), Array.from({length: GROUPS}, (_, i) => ({channel: `/outage/${i}`, data: {n: -1}})))).json;
  assert.ok(end.every(({outcome}) => outcome === 'acknowledged'));
  await until(() => residents.every(({first}) => first.has(-1)), 'everybody to hear the end');
  assert.ok(residents.every(({handshakes}) => handshakes === 2), 'once');
});

// -- Redis is full -----------------------------------------------------------------------------

test('without memory for more: publishes are refused and never seen; clients stay; then it goes on', {timeout: 120000}, async t => {
  const all = await scene(t);
  const {cluster, press} = all;
  await cluster.redis.call('CONFIG', 'SET', 'maxmemory', '1mb');
  await until(() => press.outcomes.refused > 50, 'publishes to be refused');
  await cluster.redis.call('CONFIG', 'SET', 'maxmemory', '0');
  await turnsGreen(cluster);
  await press.more(300);
  t.log(JSON.stringify(press.outcomes));
  await ends(all);
});
