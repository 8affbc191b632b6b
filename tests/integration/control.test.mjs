// SPDX-License-Identifier: Apache-2.0
// Control through the admin listener: sessions are ended, lose subscriptions, the broker drains. On
// several nodes every request goes to another one than the session's. MORA_TEST_ENGINE=memory: one node.

import assert from 'node:assert/strict';
import {createHmac} from 'node:crypto';
import {createRequire} from 'node:module';
import faye from 'faye';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {PollSession, deliveries, replies} from './lib/bayeux.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {Feed, until, within} from './lib/wait.mjs';
import {Wire, asSocketUrl, drain, hold, poller, pollerOf, publish, settle} from './support/wire.mjs';
import {goneInTime, needsRedis, onMemory, startCluster} from './support/cluster.mjs';
import {Events} from './support/events.mjs';

const Halley = createRequire(import.meta.url)('halley');
const NODES = 3;
const start = (t, set = {}) => startCluster(t, {nodes: NODES, set: {'broker.timeout': '20s', ...set}});

const kick = (node, id, options) => request(node.admin(`/v1/clients/${id}`), {method: 'DELETE', ...options});
const strip = (node, id, body) => postJson(node.admin(`/v1/clients/${id}/unsubscribe`), body);
const existing = async (node, id) => (await getJson(node.admin(`/v1/clients/${id}`))).status;

function isDismissal(reply, id) {
  assert.equal(reply.channel, '/meta/connect');
  assert.equal(reply.successful, false);
  assert.equal(reply.error, `401:${id}:Unknown client`);
  assert.equal(reply.advice.reconnect, 'handshake');
  assert.ok(reply.advice.interval >= 1000 && reply.advice.interval <= 2000, `interval ${reply.advice.interval}`);
}

test('DELETE /v1/clients/<id>: a held poll is answered 401, on whichever node it is held', async t => {
  const cluster = await start(t);
  for (const [i, node] of cluster.nodes.entries()) {
    const session = await poller(node.bayeux, '/a');
    const held = hold(session);
    await held.sent;
    await settle(node.bayeux);
    const {status, json} = await kick(cluster.nodes[(i + 1) % NODES], session.clientId);
    assert.deepEqual([status, json], [200, {client: session.clientId, ended: true}]);
    const answer = await held.answer;
    assert.equal(answer.length, 1);
    isDismissal(answer[0], session.clientId);
    assert.equal((await kick(node, session.clientId)).status, 404);
    assert.equal(await existing(node, session.clientId), 404);
    const [again] = await session.connect();
    isDismissal(again, session.clientId);
  }
  assert.equal(await cluster.sum('kicked'), NODES);
  assert.equal(await cluster.sum('sessions'), 0);
});

test('a websocket gets the same, then its close; what was published before is in front of it', async t => {
  const cluster = await start(t);
  const socket = await Wire.client(t, asSocketUrl(cluster.nodes[0].bayeux), '/news');
  await publish(cluster.nodes[1].bayeux, '/news', 'you will be ended');
  assert.equal((await kick(cluster.nodes[1], socket.clientId)).status, 200);
  const {code} = await socket.ended();
  assert.equal(code, 1000);
  const [message, reply, ...more] = socket.messages;
  assert.deepEqual([message.data, more], ['you will be ended', []]);
  isDismissal(reply, socket.clientId);
  assert.equal(reply.id, socket.heldId);
});

test('the publish and the end at the same time: a held poll is told of its end, behind the message or without it', async t => {
  const cluster = await start(t);
  const session = await poller(cluster.nodes[0].bayeux, '/news');
  const held = hold(session);
  await held.sent;
  await settle(cluster.nodes[0].bayeux);
  const [, ended] = await Promise.all([publish(cluster.nodes[1].bayeux, '/news', 'last'), kick(cluster.nodes[1], session.clientId)]);
  assert.equal(ended.status, 200);
  const answer = await held.answer;
  // The message may have gone first, with an answer of its own.
  const more = replies(answer)[0].successful ? await session.connect() : [];
  isDismissal(replies([...answer, ...more]).at(-1), session.clientId);
  assert.ok(deliveries(answer).length <= 1);
});

test('a session without a connection, one of a node that was killed, and nobody', async t => {
  const cluster = await start(t);
  const [first, second, third] = cluster.nodes;
  const away = await poller(first.bayeux, '/a');
  assert.equal((await kick(second, away.clientId)).status, 200);
  isDismissal((await away.connect())[0], away.clientId);
  for (const id of ['nobody', 'x'.repeat(1000), '%00', 'a%2Fb']) assert.ok([400, 404].includes((await kick(first, id)).status), id);
  if (onMemory) return;
  const orphan = await poller(third.bayeux, '/a');
  await third.kill();
  assert.equal((await kick(second, orphan.clientId)).status, 200);
  const moved = pollerOf(first.bayeux, orphan.clientId);
  isDismissal((await moved.connect())[0], orphan.clientId);
  assert.equal((await cluster.endings()).filter(({id, reason}) => id === orphan.clientId && reason === 'kicked').length, 1);
});

test('a stream of events ends', async t => {
  const cluster = await start(t);
  const session = await poller(cluster.nodes[0].bayeux, '/a');
  const events = await Events.open(t, `${cluster.nodes[0].bayeux}/${session.clientId}`);
  assert.equal((await kick(cluster.nodes[1], session.clientId)).status, 200);
  await events.ended();
});

test('sessions that move all the time: each is ended once, and nobody is left', async t => {
  const cluster = await start(t);
  const sessions = await Promise.all(Array.from({length: 20}, (_, i) => poller(cluster.nodes[i % NODES].bayeux, '/a')));
  let over = 0;
  const runs = sessions.map(async session => {
    for (let i = 0; ; i++) {
      session.url = cluster.nodes[i % NODES].bayeux;
      const [reply] = replies(await session.connect({timeout: 10}));
      if (reply.successful) continue;
      isDismissal(reply, session.clientId);
      over++;
      return;
    }
  });
  const answers = await Promise.all(sessions.map((session, i) => kick(cluster.nodes[(i + 1) % NODES], session.clientId)));
  assert.deepEqual(new Set(answers.map(({status}) => status)), new Set([200]));
  await within(Promise.all(runs), () => `${over} of ${sessions.length} to be told`);
  await until(async () => (await cluster.sum('sessions')) === 0, 'no session to be left');
  if (!onMemory) assert.equal((await cluster.endings()).filter(({reason}) => reason === 'kicked').length, sessions.length);
});

// -- real clients ----------------------------------------------------------------------------------

const makers = {
  'Faye, websocket': (t, url) => {
    const client = new faye.Client(url);
    client.disable('eventsource');
    t.after(() => client.disconnect());
    return {subscribe: (channel, take) => client.subscribe(channel, take), id: () => client._dispatcher.clientId, transport: () => client._dispatcher.connectionType};
  },
  'Faye, long-polling': (t, url) => {
    const client = new faye.Client(url);
    for (const feature of ['websocket', 'eventsource']) client.disable(feature);
    t.after(() => client.disconnect());
    return {subscribe: (channel, take) => client.subscribe(channel, take), id: () => client._dispatcher.clientId, transport: () => client._dispatcher.connectionType};
  },
  'Halley, websocket (T21)': (t, url) => {
    const client = new Halley.Client(url, {connectionTypes: ['websocket']});
    t.after(() => client.disconnect().catch(() => {}));
    return {subscribe: (channel, take) => client.subscribe(channel, take), id: () => client._dispatcher.clientId, transport: () => 'websocket'};
  },
};

for (const [name, make] of Object.entries(makers)) {
  test(`${name}: shakes hands again by itself long before its timeout, with its subscriptions`, async t => {
    const cluster = await start(t, {'broker.timeout': '120s'});
    const got = new Feed();
    const client = make(t, cluster.nodes[0].bayeux);
    await within(client.subscribe('/back', data => got.push(data)), 'the subscription');
    const id = client.id();
    const wanted = name.includes('polling') ? 'long-polling' : 'websocket';
    await until(async () => client.transport() === wanted && (await getJson(cluster.nodes[0].admin(`/v1/clients/${id}`))).json.state === 'live', 'the client to wait');
    assert.equal((await kick(cluster.nodes[1], id)).status, 200);
    await until(() => client.id() && client.id() !== id, 'another client id');
    await until(async () => (await getJson(cluster.nodes[0].admin('/v1/subscribers?channel=/back'))).json.subscribers.length === 1, 'the subscription to be back');
    await publish(cluster.nodes[1].bayeux, '/back', 'hello');
    await got.find(data => data === 'hello', 'what is published then');
  });
}

// -- subscriptions ---------------------------------------------------------------------------------

test('POST /v1/clients/<id>/unsubscribe: one subscription, or all that a pattern covers; the others stay', async t => {
  const cluster = await start(t);
  const [first, second] = cluster.nodes;
  const patterns = ['/room/1', '/room/1/events', '/room/1/*', '/room/1/**', '/room/2', '/room/*', '/room/**'];
  const socket = await Wire.client(t, asSocketUrl(first.bayeux), ...patterns);
  const away = await poller(first.bayeux, ...patterns);
  for (const session of [socket, away]) {
    const id = session.clientId, left = () => getJson(first.admin(`/v1/clients/${id}`)).then(({json}) => json.subscriptions.map(({pattern}) => pattern).sort());
    let {status, json} = await strip(second, id, {channel: '/room/1'});
    assert.deepEqual([status, json], [200, {client: id, unsubscribed: ['/room/1']}]);
    assert.deepEqual((await strip(second, id, {channel: '/room/1'})).json.unsubscribed, []);
    ({json} = await strip(second, id, {channel: '/room/*'}));
    assert.deepEqual(json.unsubscribed, ['/room/*'], 'the pattern itself only');
    ({json} = await strip(second, id, {pattern: '/room/1/**'}));
    assert.deepEqual(json.unsubscribed.sort(), ['/room/1/*', '/room/1/**', '/room/1/events']);
    assert.deepEqual(await left(), ['/room/**', '/room/2']);
    assert.deepEqual((await strip(first, id, {pattern: '/**'})).json.unsubscribed.sort(), ['/room/**', '/room/2']);
    assert.deepEqual(await left(), []);
  }
  await publish(first.bayeux, '/room/2', 1);
  assert.deepEqual(deliveries(await socket.barrier()), []);
  await socket.subscribe('/room/2');
  await publish(second.bayeux, '/room/2', 2);
  await socket.inbox.find(({data}) => data === 2, 'a message after subscribing again');
});

test('unsubscribe: many at once, of a node that was killed, and what is refused', async t => {
  const cluster = await start(t);
  const [first, second, third] = cluster.nodes;
  const many = await poller(first.bayeux);
  const names = Array.from({length: 500}, (_, i) => `/many/${'x'.repeat(60)}${i}`);
  await many.subscribe(names);
  assert.deepEqual((await strip(second, many.clientId, {pattern: '/many/**'})).json.unsubscribed.length, names.length);
  assert.equal((await strip(first, 'nobody', {channel: '/a'})).status, 404);
  for (const body of [{}, {channel: 'a'}, {channel: 1}, {channel: '/a', pattern: '/a'}, [], '', '{"channel":"/a","channel":"/b"}', {pattern: '/a/*/b'}, {channel: '/a', more: 1}]) {
    assert.equal((await strip(first, many.clientId, body)).status, 400, JSON.stringify(body));
  }
  if (onMemory) return;
  const orphan = await poller(third.bayeux, '/a', '/b');
  await third.kill();
  await until(async () => (await strip(second, orphan.clientId, {channel: '/a'})).json.unsubscribed?.length === 1, 'it to be taken from the dead node');
  await publish(first.bayeux, '/a', 'a');
  await publish(first.bayeux, '/b', 'b');
  assert.deepEqual((await drain(pollerOf(first.bayeux, orphan.clientId))).map(({data}) => data), ['b']);
});

// -- users -----------------------------------------------------------------------------------------

const SECRET = 'a secret of thirty-two bytes, at least';
const USERS = {'access.rules': [{channel: '/**', subscribe: 'any', publish: 'any'}], 'auth.jwt.secret': [SECRET]};

function tokenOf(user) {
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({alg: 'HS256', typ: 'JWT'})}.${part({sub: user, exp: Math.floor(Date.now() / 1000) + 600})}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

async function sessionOf(node, user, ...channels) {
  const session = new PollSession(node.bayeux);
  await session.handshake({ext: {token: tokenOf(user)}});
  for (const channel of channels) await session.subscribe(channel);
  return session;
}

const query = user => `?user=${encodeURIComponent(user)}`;
const kickUser = (node, user) => request(node.admin(`/v1/clients${query(user)}`), {method: 'DELETE'});
const stripUser = (node, user, body) => postJson(node.admin(`/v1/unsubscribe${query(user)}`), body);

test('DELETE /v1/clients?user=: all of a user on all nodes, held or not, and of nobody else', async t => {
  const cluster = await start(t, USERS);
  const name = 'Ann é/%&';
  const held = [], sessions = [];
  for (let i = 0; i < 30; i++) {
    const session = await sessionOf(cluster.nodes[i % NODES], i < 24 ? name : 'Ann é', '/a');
    sessions.push(session);
    held.push(hold(session));
    await held[i].sent;
  }
  for (const node of cluster.nodes) await settle(node.bayeux);
  const began = Date.now();
  const {status, json} = await kickUser(cluster.nodes[0], name);
  assert.deepEqual([status, json], [200, {user: name, ended: 24}]);
  for (let i = 0; i < 24; i++) isDismissal((await held[i].answer)[0], sessions[i].clientId);
  goneInTime(t, Date.now() - began);
  await publish(cluster.nodes[1].bayeux, '/a', 'still here');
  for (let i = 24; i < 30; i++) assert.deepEqual(deliveries(await held[i].answer).map(({data}) => data), ['still here']);
  assert.deepEqual((await kickUser(cluster.nodes[2], name)).json, {user: name, ended: 0});
  const again = await sessionOf(cluster.nodes[1], name);   // the end is no ban
  assert.equal((await kickUser(cluster.nodes[0], name)).json.ended, 1);
  assert.equal((await again.connect())[0].successful, false);
  for (const bad of ['', '?', '?user=', '?user=%00', `?user=${'x'.repeat(129)}`, '?user=%01', '?client=a']) {
    assert.equal((await request(cluster.nodes[0].admin(`/v1/clients${bad}`), {method: 'DELETE'})).status, 400, bad);
  }
});

test('POST /v1/unsubscribe?user=; sessions of a node that died; a set of sessions that says too much is put right', async t => {
  const cluster = await start(t, USERS);
  const [first, second, third] = cluster.nodes;
  const mine = [];
  for (const node of [first, second, third]) mine.push(await sessionOf(node, 'ann', '/room/1', '/room/1/events', '/other'));
  const other = await sessionOf(second, 'bob', '/room/1');
  assert.deepEqual((await stripUser(first, 'ann', {channel: '/room/1'})).json, {user: 'ann', clients: 3, unsubscribed: 3});
  assert.deepEqual((await stripUser(second, 'ann', {pattern: '/room/**'})).json, {user: 'ann', clients: 3, unsubscribed: 3});
  assert.deepEqual((await stripUser(second, 'ann', {pattern: '/room/**'})).json, {user: 'ann', clients: 0, unsubscribed: 0});
  assert.equal((await stripUser(second, 'ann', {})).status, 400);
  for (const session of mine) assert.deepEqual((await getJson(first.admin(`/v1/clients/${session.clientId}`))).json.subscriptions.map(({pattern}) => pattern), ['/other']);
  assert.equal((await getJson(first.admin(`/v1/clients/${other.clientId}`))).json.subscriptions.length, 1);
  if (onMemory) return;
  await cluster.redis.call('SADD', cluster.key('user:ann'), 'never-was', other.clientId);
  await third.kill();
  assert.deepEqual((await kickUser(second, 'ann')).json, {user: 'ann', ended: 3});
  assert.equal(await cluster.redis.call('EXISTS', cluster.key('user:ann')), 0);
  assert.equal((await other.connect({timeout: 0}))[0].successful, true);
});

// -- without Redis, tokens, the tool, drain --------------------------------------------------------

test('Redis is away: 503, it may be done or not; when asked again it is', async t => {
  needsRedis(t);
  const cluster = await start(t);
  const session = await poller(cluster.nodes[0].bayeux, '/a');
  await cluster.redis.pause();
  t.after(() => cluster.redis.resume());
  for (const node of cluster.nodes.slice(0, 2)) {
    assert.equal((await kick(node, session.clientId)).status, 503);
  }
  assert.equal((await strip(cluster.nodes[1], session.clientId, {channel: '/a'})).status, 503);
  await cluster.redis.resume();
  await until(async () => (await Promise.all(cluster.nodes.map(node => cluster.readiness(node)))).every(({ready}) => ready), 'the nodes to be ready');
  await until(async () => [200, 404].includes((await kick(cluster.nodes[1], session.clientId)).status), 'Redis to be back');
  // Its node may learn it in either of two ways: by the one a poll is failed, and to be asked again.
  isDismissal(await until(async () => (await session.connect())[0], 'an answer'), session.clientId);
});

test('a token is asked for, and nothing happens without it', async t => {
  const broker = await startBroker(t, {set: {'admin.token': 'secret'}});
  const session = await poller(broker.bayeux, '/a');
  const authorization = {headers: {Authorization: 'Bearer secret'}};
  assert.equal((await kick(broker, session.clientId)).status, 401);
  assert.equal((await strip(broker, session.clientId, {channel: '/a'})).status, 401);
  assert.equal((await postJson(broker.admin('/v1/drain'), {})).status, 401);
  await session.connect({timeout: 0});
  assert.equal((await kick(broker, session.clientId, authorization)).status, 200);
});

test('mora disconnect, unsubscribe, drain; POST /v1/drain ends the broker as SIGTERM does, once', async t => {
  const broker = await startBroker(t);
  const mora = (...args) => run('mora', ['--admin', broker.url('admin'), ...args]);
  const session = await poller(broker.bayeux, '/a', '/b');
  assert.deepEqual(await mora('unsubscribe', session.clientId, '/a'), {code: 0, signal: null, stdout: '/a\n', stderr: ''});
  assert.match((await mora('unsubscribe', session.clientId, '/a')).stdout, /^nothing: /);
  assert.equal((await mora('--json', 'disconnect', session.clientId)).stdout, `{"client":"${session.clientId}","ended":true}\n`);
  const {code, stderr} = await mora('disconnect', session.clientId);
  assert.deepEqual([code, stderr], [1, 'mora: no such client (status 404)\n']);
  assert.equal((await mora('disconnect-user', 'a/b c')).stdout, '0 ended\n');
  assert.equal((await mora('unsubscribe-user', 'a/b c', '/a')).stdout, '0 subscriptions taken away\n');
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/a');
  socket.deafen();   // it holds the drain up
  assert.match((await mora('drain')).stdout, /^draining; /);
  await broker.log.find(({event}) => event === 'drain', 'the drain');
  const answer = await postJson(broker.admin('/v1/drain'), {});
  assert.deepEqual([answer.status, answer.json.draining], [200, true], 'asking again does not hurry it');
  const ended = broker.endsByItself();
  socket.ws.terminate();
  assert.deepEqual(await ended, {code: 0, signal: null});
});

test('a drain that is asked for counts for no signal: SIGTERM behind it does not hurry it, a second one does', async t => {
  const broker = await startBroker(t);
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/a');
  socket.deafen();
  await Promise.all([1, 2, 3].map(() => postJson(broker.admin('/v1/drain'), {})));
  await broker.log.find(({event}) => event === 'drain', 'the drain');
  for (let i = 0; i < 3; i++) process.kill(broker.pid, 'SIGUSR1');
  process.kill(broker.pid, 'SIGTERM');
  assert.equal((await postJson(broker.admin('/v1/drain'), {})).status, 200, 'it still runs');
  const ended = broker.endsByItself();
  process.kill(broker.pid, 'SIGTERM');
  assert.deepEqual(await ended, {code: 128 + 15, signal: null});
});
