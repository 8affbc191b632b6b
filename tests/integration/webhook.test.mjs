// SPDX-License-Identifier: Apache-2.0
// events.webhook: every life-cycle event is told at least once, whatever the receiver does and whichever
// node dies; its id stays the same, and no other event has it.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {join} from 'node:path';
import {test} from './lib/suite.mjs';
import {adopt, root, run, startBroker} from './lib/daemon.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {connectRaw, getJson, request} from './lib/http.mjs';
import {Feed, sleep, until} from './lib/wait.mjs';
import {WEBHOOK_SECRET, publicName, signatureOf, startReceiver} from './support/receiver.mjs';
import {SECRET, claimsOf, hs256} from './support/tokens.mjs';
import {needsRedis, onMemory, startCluster} from './support/cluster.mjs';

const LONG = Boolean(process.env.MORA_TEST_LONG);
const RULES = {'access.rules': [{channel: '/**', subscribe: 'any', publish: 'any'}], 'auth.jwt.secret': SECRET};
const FREE = {'broker.timeout': '30s', 'limits.handshake_rate': 10000, 'limits.clients_per_address': 100000};

async function start(t, {nodes = 1, set = {}} = {}) {
  const receiver = await startReceiver(t);
  const cluster = await startCluster(t, {nodes, set: {...FREE, ...receiver.options, ...set}});
  return {receiver, cluster};
}
async function visit(node, ...channels) {
  const session = new PollSession(node.bayeux);
  await session.handshake();
  for (const channel of channels) await session.subscribe(channel);
  return session;
}
// Ids of all that the stream has.
const streamed = async cluster => (await cluster.redis.call('XRANGE', cluster.key('events'), '-', '+')).map(([id]) => id);
const allTold = (receiver, ids) => receiver.taken.when(() => {
  const told = new Set(receiver.ids());
  return ids.every(id => told.has(id));
}, `${ids.length} events`);
const telling = async cluster => {
  for (const node of cluster.living) if ((await cluster.stats(node)).webhook.telling === 1) return node;
  return null;
};

test('handshake, subscribe, unsubscribe, disconnect: in order, signed, without a client id', async t => {
  const {receiver, cluster} = await start(t, {set: {...RULES, 'events.webhook.secret': ['one that was there before', WEBHOOK_SECRET]}});
  const session = new PollSession(cluster.nodes[0].bayeux);
  await session.handshake({ext: {token: hs256(claimsOf('änn "1"'))}});
  await session.subscribe(['/a/b', '/c/**']);
  await session.subscribe('/a/b');   // there already: nothing happens
  await session.unsubscribe('/a/b');
  await session.unsubscribe('/nothing');
  await session.disconnect();
  const events = await receiver.taken.count(5);
  const name = publicName(session.clientId), user = 'änn "1"';
  assert.deepEqual(events.map(({id, time, ...rest}) => rest), [
    {event: 'handshake', session: name, user}, {event: 'subscribe', session: name, user, channel: '/a/b'},
    {event: 'subscribe', session: name, user, channel: '/c/**'}, {event: 'unsubscribe', session: name, user, channel: '/a/b'},
    {event: 'disconnect', session: name, user, reason: 'disconnect'}]);
  assert.equal(new Set(receiver.ids()).size, 5);
  for (const {id, time} of events) assert.ok(typeof id === 'string' && id.length <= 64 && Math.abs(Date.now() - time) < 60000, `${id} ${time}`);
  for (const {headers, method, body} of receiver.attempts.items) {
    assert.ok(!body.includes(session.clientId));
    assert.deepEqual([method, headers['content-type']], ['POST', 'application/json']);
    const [, time, first, second] = /^t=(\d+),v1=(\w{64}),v1=(\w{64})$/.exec(headers['mora-signature']);
    assert.deepEqual([first, second], [signatureOf(time, body, 'one that was there before'), signatureOf(time, body)]);
    assert.ok(Math.abs(Date.now() / 1000 - time) < 60);
  }
  const nobody = await visit(cluster.nodes[0]);
  const [, , , , , last] = await receiver.taken.count(6);
  assert.deepEqual(last, {id: last.id, time: last.time, event: 'handshake', session: publicName(nobody.clientId)});
  // The end of a session is the end of its subscriptions: they are not told one by one.
  await nobody.subscribe('/x');
  const {status} = await request(cluster.nodes[0].admin(`/v1/clients/${nobody.clientId}`), {method: 'DELETE'});
  assert.equal(status, 200);
  const rest = (await receiver.taken.count(8)).slice(6);
  assert.deepEqual(rest.map(({event, reason}) => [event, reason]), [['subscribe', undefined], ['disconnect', 'kicked']]);
  const {webhook} = await cluster.stats(cluster.nodes[0]);
  assert.deepEqual([webhook.told, webhook.missed, webhook.failures, webhook.telling], [8, 0, 0, 1]);
});

test('the end of a session that nobody heard from again', async t => {
  const {receiver, cluster} = await start(t, {set: {'broker.timeout': '1s'}});
  const session = await visit(cluster.nodes[0]);
  const events = await receiver.taken.count(2);
  assert.deepEqual(events.map(({event, session: name, reason}) => [event, name, reason]),
                   [['handshake', publicName(session.clientId), undefined], ['disconnect', publicName(session.clientId), 'expired']]);
});

test('a receiver that refuses, hangs, hangs up, sends elsewhere, and is away: everything is told, repeats have the same id', async t => {
  const {receiver, cluster} = await start(t, {set: {'events.webhook.batch': 7}});
  const [node] = cluster.nodes;
  const bad = [
    response => response.writeHead(500).end('no'),
    response => response.writeHead(404).end(),
    () => {},   // hangs
    response => response.socket.destroy(),
    response => response.writeHead(200, {'content-length': 100}).write('cut', () => response.socket.destroy()),
    response => response.writeHead(302, {location: receiver.url}).end(),
  ];
  let next = 0;
  receiver.respond = response => {
    if (next >= bad.length) return false;
    bad[next++](response);
    return true;
  };
  const sessions = [];
  for (let i = 0; i < 10; i++) sessions.push(await visit(node, `/r/${i}`, '/r/all'));
  const events = await receiver.taken.count(30);
  assert.equal(events.length, 30);
  assert.equal(new Set(receiver.ids()).size, 30);
  const attempts = receiver.attempts.items;
  assert.ok(attempts.every(({events: each}) => each.length <= 7));
  for (let i = 1; i <= bad.length; i++) assert.equal(attempts[i].body, attempts[0].body, 'the same events again');
  for (const {clientId} of sessions) {
    const mine = events.filter(({session}) => session === publicName(clientId)).map(({event}) => event);
    assert.deepEqual(mine, ['handshake', 'subscribe', 'subscribe']);
  }
  const {webhook} = await cluster.stats(node);
  assert.deepEqual([webhook.failures, webhook.told, webhook.missed], [bad.length, 30, 0]);
  assert.deepEqual(node.log.items.map(({event}) => event).filter(event => /^webhook\.(down|back)$/.test(event)), ['webhook.down', 'webhook.back']);
});

test('what does not fit is dropped, oldest first, counted and logged', async t => {
  const {receiver, cluster} = await start(t, {set: {'events.webhook.queue': 20, 'events.webhook.batch': 5}});
  const [node] = cluster.nodes;
  receiver.respond = response => { response.writeHead(503).end(); return true; };
  await visit(node, '/first');
  await receiver.attempts.count(2);
  for (let i = 0; i < 30; i++) await visit(node);
  if (!onMemory) await cluster.redis.call('XTRIM', cluster.key('events'), 'MAXLEN', '18');
  receiver.respond = null;
  await until(async () => (await cluster.stats(node)).webhook.missed > 0, 'what was dropped to be counted');
  const last = await visit(node);
  await receiver.taken.find(({session}) => session === publicName(last.clientId), 'the last one');
  const {webhook} = await cluster.stats(node);
  assert.equal(new Set(receiver.ids()).size + webhook.missed, 33, 'told or counted');
  assert.equal(receiver.taken.length, webhook.told);
  assert.ok(webhook.missed >= 10 && webhook.told >= 19, JSON.stringify(webhook));
  const missed = node.log.items.filter(({event}) => event === 'webhook.missed').reduce((sum, {events}) => sum + events, 0);
  assert.equal(missed, webhook.missed);
});

test('any 2xx takes them', async t => {
  const {receiver, cluster} = await start(t);
  const codes = [201, 204, 299];
  receiver.respond = (response, events) => {
    receiver.taken.push(...events);
    response.writeHead(codes[0]).end(codes.shift() === 204 ? undefined : 'what a body says does not matter');
    return true;
  };
  for (let n = 1; n <= 3; n++) {
    await visit(cluster.nodes[0]);
    await receiver.taken.count(n);
    await until(async () => (await cluster.stats(cluster.nodes[0])).webhook.told === n, 'it to be taken');
  }
  assert.deepEqual([receiver.attempts.length, (await cluster.stats(cluster.nodes[0])).webhook.failures], [3, 0]);
});

test('a webhook that is configured later is told what the stream still has', async t => {
  needsRedis(t);
  const receiver = await startReceiver(t);
  const cluster = await startCluster(t, {nodes: 1, set: FREE});
  await (await visit(cluster.nodes[0], '/a')).disconnect();
  await cluster.add(t, receiver.options);
  const ids = await streamed(cluster);
  assert.equal(ids.length, 3);
  await allTold(receiver, ids);
  assert.deepEqual(receiver.ids(), ids);
});

test('an event of a kind that is not told holds up nothing', async t => {
  needsRedis(t);
  const {receiver, cluster} = await start(t, {set: {'events.webhook.batch': 1}});
  for (let i = 0; i < 3; i++) await cluster.redis.call('XADD', cluster.key('events'), '*', 'k', 'of a later version', 'id', 'x');
  const session = await visit(cluster.nodes[0]);
  await receiver.taken.find(each => each.session === publicName(session.clientId), 'the one behind them');
  assert.equal(receiver.taken.length, 1);
});

test('three nodes, one tells; it is killed while events come and the receiver falters: each is told at least once', {timeout: 120000}, async t => {
  needsRedis(t);
  const {receiver, cluster} = await start(t, {nodes: 3, set: {'events.webhook.batch': 50}});
  await until(() => telling(cluster), 'one that tells');
  assert.equal(await cluster.sum('webhook.telling'), 1);
  let running = true, turn = 0;
  const falter = response => {
    if (turn++ % 5 !== 4) return false;
    response.writeHead(500).end();
    return true;
  };
  receiver.respond = falter;
  const load = (async () => {
    for (let i = 0; running; i++) {
      const node = cluster.living[i % cluster.living.length];
      try { await (await visit(node, `/k/${i % 7}`)).disconnect(); } catch { /* its node was killed */ }
      await sleep(10);
    }
  })();
  for (let deaths = 0; deaths < (LONG ? 2 : 1); deaths++) {
    await receiver.taken.count(receiver.taken.length + 60);
    const node = await until(() => telling(cluster), 'one that tells');
    // The first time between what it was told and its answer: the next one cannot know.
    const killed = deaths > 0 ? node.kill() : new Promise((resolve, reject) => {
      receiver.respond = (response, events) => {
        receiver.taken.push(...events);
        receiver.respond = falter;
        node.kill().then(resolve, reject);
        return true;
      };
    });
    await killed;
    await receiver.taken.count(receiver.taken.length + 60);
  }
  running = false;
  await load;
  const ids = await streamed(cluster);
  await allTold(receiver, ids);
  assert.deepEqual(new Set(receiver.ids()), new Set(ids), 'nothing that the stream does not have');
  const first = [...new Set(receiver.ids())];
  assert.deepEqual(first, [...ids].sort((a, b) => first.indexOf(a) - first.indexOf(b)));
  assert.deepEqual(first, ids, 'each for the first time in the order of the stream');
  const kinds = new Map();
  for (const {id, ...event} of receiver.taken.items) {
    const text = JSON.stringify(event);
    assert.equal(kinds.get(id) ?? text, text, 'an id is one event');
    kinds.set(id, text);
  }
  assert.ok(receiver.taken.length > ids.length, 'what was told and not answered is told again');
  // Whatever died: nothing happened twice to a session, nor out of turn.
  const lives = new Map(), known = new Set();
  for (const {id, session, event} of receiver.taken.items) {
    if (!known.has(id)) lives.set(session, `${lives.get(session) ?? ''} ${event}`);
    known.add(id);
  }
  for (const life of lives.values()) assert.match(life, /^ handshake( subscribe)?( disconnect)?$/);
  t.log(`${ids.length} events, ${receiver.taken.length - ids.length} of them twice`);
});

test('a rolling restart tells everything, and hands over at once', {timeout: 120000}, async t => {
  needsRedis(t);
  const {receiver, cluster} = await start(t, {nodes: 2});
  for (let round = 0; round < 2; round++) {
    const node = await until(() => telling(cluster), 'one that tells');
    await visit(node, '/before');
    await node.stop();
    await cluster.add(t);
    await visit(cluster.living[0], '/after');
  }
  await allTold(receiver, await streamed(cluster));
});

test('workers: exactly one of them tells, and each event once while all is well', async t => {
  needsRedis(t);
  const {receiver, cluster} = await start(t, {nodes: 1, set: {'broker.workers': 3}});
  await until(async () => (await cluster.sum('webhook.telling')) === 1, 'one that tells');
  for (let i = 0; i < 20; i++) await visit(cluster.nodes[0], '/w');
  const ids = await streamed(cluster);
  assert.equal(ids.length, 40);
  await allTold(receiver, ids);
  assert.deepEqual(receiver.ids(), ids);
  assert.equal(await cluster.sum('webhook.telling'), 1);
});

test('one that stalls while it tells moves nothing when it comes back', {timeout: 120000}, async t => {
  needsRedis(t);
  if (!LONG) t.skip('a lease has to end: MORA_TEST_LONG=1');
  const {receiver, cluster} = await start(t, {nodes: 2, set: {'events.webhook.timeout': '20s'}});
  const slow = await until(() => telling(cluster), 'one that tells');
  const held = new Feed();
  receiver.respond = (response, events) => {
    if (held.length > 0) return false;
    held.push({response, events});
    return true;
  };
  await visit(slow, '/s');
  await held.count(1);
  process.kill(slow.pid, 'SIGSTOP');
  const other = cluster.nodes.find(node => node !== slow);
  await until(async () => (await cluster.stats(other)).webhook.telling === 1, 'the other to take over');
  await visit(other, '/t');
  const ids = await streamed(cluster);
  await allTold(receiver, ids);
  const at = await cluster.redis.call('HGET', cluster.key('told'), 'at');
  held.items[0].response.end();
  process.kill(slow.pid, 'SIGCONT');
  await visit(other, '/u');
  await allTold(receiver, await streamed(cluster));
  await sleep(1000);
  assert.ok(Number.parseInt(await cluster.redis.call('HGET', cluster.key('told'), 'at')) >= Number.parseInt(at));
  assert.equal(await cluster.sum('webhook.telling'), 1);
});

test('the example in docs/examples takes them, and nothing that is not signed', async t => {
  const child = adopt(spawn(process.execPath, [join(root, 'docs/examples/webhook.mjs'), '0'], {env: {...process.env, SECRET: WEBHOOK_SECRET}}));
  const lines = new Feed();
  t.after(() => child.kill());
  let text = '';
  child.stdout.on('data', part => {
    text += part;
    lines.push(...text.split('\n').slice(0, -1));
    text = text.slice(text.lastIndexOf('\n') + 1);
  });
  const [url] = await lines.count(1);
  const broker = await startBroker(t, {set: {'events.webhook.url': url, 'events.webhook.secret': WEBHOOK_SECRET}});
  const session = await visit(broker, '/e');
  await session.disconnect();
  const name = publicName(session.clientId);
  const [, ...said] = await lines.count(4);
  assert.deepEqual(said, [`handshake ${name} - `, `subscribe ${name} - /e`, `disconnect ${name} - disconnect`]);
  const body = JSON.stringify({events: [{id: 'x', event: 'handshake', session: 'y'}]});
  const old = Math.floor(Date.now() / 1000) - 1000;
  for (const signature of ['', 't=1,v1=00', `t=${old},v1=${signatureOf(old, body)}`]) {
    const {status} = await request(url, {method: 'POST', body, headers: {'mora-signature': signature}});
    assert.equal(status, 401);
  }
  const cut = connectRaw(t, new URL(url).host);
  await cut.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf');
  for (let i = 0; i < 3; i++) {
    assert.equal((await request(url, {method: 'POST', body})).status, 401, 'it goes on');
    cut.socket.destroyed || cut.reset();   // what was sent has been read by now
  }
  assert.equal(lines.length, 4);
});

test('what does not fit together is refused at the start', async () => {
  for (const [set, words] of [
    [{'events.webhook.secret': 'sixteen bytes or more'}, /nothing is signed without events.webhook.url/],
    [{'events.webhook.url': 'http://a/', 'events.webhook.secret': 'short'}, /16 bytes or more/],
    [{'events.webhook.url': 'http://a/', 'events.webhook.secret': JSON.stringify(Array(5).fill('sixteen bytes or more'))}, /at most 4/],
    [{'events.webhook.url': 'ftp://a/'}, /an http:\/\/ or https:\/\/ URL/],
  ]) {
    const {code, stderr} = await run('mora-broker', ['--check-config', ...Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`])]);
    assert.equal(code, 2);
    assert.match(stderr, words);
  }
});
