// SPDX-License-Identifier: Apache-2.0
// What the nodes ask of Redis: one script call per turn of publishes, nothing per delivery or per idle
// client; and what they leave there: as much after thousands of clients as before.
//
//   MORA_TEST_LONG=1    10,000 clients come and go in place of 2,000

import assert from 'node:assert/strict';
import http from 'node:http';
import {test} from './lib/suite.mjs';
import {PollSession, nextId} from './lib/bayeux.mjs';
import {postJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {Wire, hold, poller, publish} from './support/wire.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {settleIn} from './support/load.mjs';

const numbers = count => Array.from({length: count}, (_, n) => n);

// What the nodes sent to Redis while body ran: {seconds, appends, reads, others}. An append is a
// script call with a channel below /cost/ in it. What scripts did themselves is in `stats`.
async function watch(cluster, body) {
  const {redis} = cluster;
  const monitor = await redis.monitor();
  const mark = nextId();
  await redis.call('CONFIG', 'RESETSTAT');
  await redis.call('ECHO', `begin ${mark}`);
  const began = Date.now();
  await body();
  await redis.call('ECHO', `end ${mark}`);
  const seconds = (Date.now() - began) / 1000;
  const stats = await redis.commandStats();
  await monitor.lines.find(line => line.includes(`"end ${mark}"`), 'the end of what was watched');
  monitor.close();
  const lines = monitor.lines.items;
  const at = word => lines.findIndex(line => line.includes(`"${word} ${mark}"`));
  const sent = lines.slice(at('begin') + 1, at('end')).filter(line => !/^\S+ \[\d+ lua\]/.test(line));
  const calls = pattern => sent.filter(line => pattern.test(line)).length;
  const appends = calls(/\] "evalsha" .*"\/cost\//i);
  const reads = calls(/\] "xread" /i);
  return {seconds, stats, sent, appends, reads, others: sent.length - appends - reads};
}

// Ticks (5 a second), reaping and a little more (1 a second each), of every node.
const budget = ({nodes}, seconds) => nodes.length * (seconds * 9 + 10);

// What may be read: something came, or a second went by.
const readings = ({nodes}, {appends, seconds}) => nodes.length * (appends + seconds * 2 + 10);

function affordable(cluster, watched, what) {
  const {seconds, others, reads, sent} = watched;
  const some = () => sent.slice(-20).map(line => line.slice(0, 200)).join('\n');
  assert.ok(others <= budget(cluster, seconds), `${what}: ${others} commands in ${seconds} s\n${some()}`);
  assert.ok(reads <= readings(cluster, watched), `${what}: ${reads} reads in ${seconds} s, ${watched.appends} appends`);
}

const TRANSPORTS = ['websocket', 'long-polling'];

for (const count of [1, 20, 300]) {
  test(`publishing to ${count} subscribers: one script call per turn, none per delivery`, {timeout: 120000}, async t => {
    needsRedis(t);
    const cluster = await startCluster(t, {set: {'broker.timeout': '30s'}});
    const [one, two] = cluster.nodes;
    const residents = await settleIn(t, cluster, count, i => ({node: cluster.nodes[i % 2], transport: TRANSPORTS[(i >> 1) % 2], patterns: ['/cost/**']}));
    const sender = await Wire.client(t, one.socket);
    let n = 0;
    const everybodyHas = () => until(() => residents.every(({first}) => first.size >= n), 'everybody to have everything', 60000);
    const entries = many => numbers(many).map(() => ({channel: '/cost/x', data: {n: n++}}));

    const single = await watch(cluster, async () => {
      for (let i = 0; i < 50; i++) await publish((i % 2 ? one : two).bayeux, '/cost/x', {n: n++});
      await everybodyHas();
    });
    assert.equal(single.appends, 50, 'one after the other: a call each');
    assert.equal(single.stats.xadd, 50, 'an entry each, whoever hears it');
    affordable(cluster, single, 'one after the other');

    const list = await watch(cluster, async () => {
      const {json} = await postJson(two.admin('/v1/publish'), entries(500));
      assert.ok(json.every(({outcome}) => outcome === 'acknowledged'));
      await everybodyHas();
    });
    assert.equal(list.appends, 1, 'a list is one call');
    assert.equal(list.stats.xadd, 500);
    affordable(cluster, list, 'a list');

    const frame = await watch(cluster, async () => {
      const said = entries(200).map(message => ({...message, clientId: sender.clientId, id: nextId()}));
      sender.send(said);
      assert.equal((await sender.reply(said.at(-1).id)).successful, true);
      await everybodyHas();
    });
    assert.equal(frame.appends, 1, 'a frame of a websocket is one call');
    assert.equal(frame.stats.exists, 1, 'which looks for its client once');
    affordable(cluster, frame, 'a frame');

    const burst = await watch(cluster, async () => {
      await Promise.all(numbers(300).map(i => publish((i % 2 ? one : two).bayeux, '/cost/x', {n: n++})));
      await everybodyHas();
    });
    t.log(`${count} subscribers: 300 publishes at once in ${burst.appends} calls`);
    assert.ok(burst.appends <= 300);
    affordable(cluster, burst, 'a burst');
    for (const resident of residents) assert.equal(resident.arrivals.length, n, 'each once');
  });
}

test('idle clients cost nothing beyond the tick', {timeout: 90000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: {'broker.timeout': '2s'}});
  const nobody = await watch(cluster, () => sleep(3000));
  affordable(cluster, nobody, 'nobody');
  assert.ok(nobody.others >= cluster.nodes.length, 'nodes tick, and it is seen');
  const residents = await settleIn(t, cluster, 400, i => ({node: cluster.nodes[i % 2], transport: TRANSPORTS[(i >> 1) % 2], patterns: [`/cost/${i}`]}));
  await sleep(1000);
  const before = residents.map(({connects}) => connects);
  const idle = await watch(cluster, () => sleep(6000));
  assert.ok(residents.every(({connects}, i) => connects > before[i]), 'their connects came again');
  affordable(cluster, idle, '400 idle clients');
  assert.equal(idle.appends, 0);
  t.log(`nobody: ${(nobody.sent.length / nobody.seconds).toFixed(1)} commands a second, 400 idle clients: ${(idle.sent.length / idle.seconds).toFixed(1)}`);
});

// -- what is left ------------------------------------------------------------------------------

const MESSAGES = 2000;
const CLIENTS = process.env.MORA_TEST_LONG ? 10000 : 2000;

// A life: it subscribes, hears something, moves to the other node; then it takes its leave or not.
async function comeAndGo(cluster, i, agent) {
  const [here, there] = i % 2 ? cluster.nodes : [...cluster.nodes].reverse();
  const session = new PollSession(here.bayeux, {agent});
  await session.handshake();
  await session.subscribe(`/cost/${i % 100}`);
  await session.subscribe('/cost/**');
  if (i % 3 === 0) session.url = there.bayeux;
  await session.connect({timeout: 0});
  if (i % 5 === 0) await hold(session, {advice: {timeout: 100}}).answer;
  if (i % 2) await session.disconnect();
}

async function round(cluster, clients) {
  const agents = numbers(20).map(() => new http.Agent({keepAlive: true, maxSockets: 2}));
  let next = 0;
  await Promise.all(agents.map(async agent => {
    while (next < clients) await comeAndGo(cluster, next++, agent);
    agent.destroy();
  }));
  for (let sent = 0; sent < 3 * MESSAGES; sent += 500) {
    const items = numbers(500).map(n => ({channel: `/cost/${n % 100}`, data: {n: 1000000 + n, text: 'x'.repeat(50)}}));
    const {json} = await postJson(cluster.nodes[sent / 500 % 2].admin('/v1/publish'), items);
    assert.ok(json.every(({outcome}) => outcome === 'acknowledged'));
  }
  await until(async () => (await cluster.redis.call('ZCARD', cluster.key('sessions'))) === 0, 'all sessions to end', 60000);
}

// What grows with the clients on purpose, up to a bound, or comes and goes by itself.
const temporary = key => /:(inbox:[^:]*|ended:[^:]*|events)$/.test(key);

test(`after ${CLIENTS} clients and ${3 * MESSAGES} messages the keys and their sizes are as before`, {timeout: 400000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: {'broker.timeout': '1s', 'journal.messages': MESSAGES}});
  const {redis} = cluster;
  const look = async () => Object.fromEntries(Object.entries(await redis.memory(`${cluster.namespace}:*`)).filter(([key]) => !temporary(key)));
  await round(cluster, 200);
  const before = await look();
  await round(cluster, CLIENTS);
  const after = await look();
  const sum = sizes => Object.values(sizes).reduce((all, size) => all + size, 0);
  t.log(`${Object.keys(before).length} keys and ${sum(before)} bytes before, ${Object.keys(after).length} and ${sum(after)} after`);
  assert.deepEqual(Object.keys(after), Object.keys(before));
  assert.ok(sum(after) <= sum(before) * 1.15 + 65536, `${sum(before)} bytes became ${sum(after)}`);
  const length = await redis.call('XLEN', cluster.key('journal'));
  assert.ok(length <= 2 * MESSAGES + 200, `the journal has ${length} entries`);
  for (const key of await redis.keys(cluster.key('inbox:*'))) {
    assert.ok(await redis.call('XLEN', key) <= 10100, `${key} is bounded`);
    const left = await redis.call('TTL', key);
    assert.ok(left !== -1 && left <= 60, `${key} goes by itself (${left})`);
  }
  assert.ok(await redis.call('XLEN', cluster.key('events')) <= 100100, 'so are the events');
  assert.equal((await cluster.endings()).length, 200 + CLIENTS, 'an end for each');
  for (const name of ['sessions', 'subscriptions']) assert.equal(await cluster.sum(name), 0, `no ${name} in the nodes`);
  // Whoever comes then is served.
  const session = await poller(cluster.nodes[0].bayeux, '/cost/last');
  await publish(cluster.nodes[1].bayeux, '/cost/last', 1);
  await session.poll(inbox => inbox.length === 1, 'the message');
});
