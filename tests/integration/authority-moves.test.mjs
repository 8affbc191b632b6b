// SPDX-License-Identifier: Apache-2.0
// Sessions that move to another node while the authority is asked for one of their messages.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {getJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {Wire, drain, hold, post, publish} from './support/wire.mjs';
import {needsRedis, onMemory, startCluster} from './support/cluster.mjs';

// A session on the first node, and a gate at which the next question of its subscribe waits. The questions behind it are
// answered at once. carried: a connect holds the session there, and the subscribe comes through the second node.
async function start(t, {carried = false} = {}) {
  const authority = await startScripted(t);
  const cluster = await startCluster(t, {nodes: 3, set: {
    'broker.timeout': '10s', 'access.handshake': 'authority', 'authority.url': authority.url, 'authority.timeout': '20s',
    'access.rules': [{channel: '/free/**', subscribe: 'any', publish: 'any'}, {channel: '/**', subscribe: 'authority', publish: 'authority'}],
  }});
  const session = new PollSession(cluster.nodes[0].bayeux);
  await session.handshake();
  await session.subscribe('/free/x');
  const at = node => Object.assign(new PollSession(node.bayeux), {clientId: session.clientId});
  let open, answers = 0;
  const gate = new Promise(resolve => { open = resolve; });
  const {length} = authority.calls;
  const held = carried && hold(session);
  await held?.sent;
  authority.script = {answer: async () => {
    const number = ++answers;
    if (number === 1) await gate;
    return {allow: true, ext: {number}};
  }};
  return {authority, cluster, session, at, open, asked: () => authority.calls.count(length + 1), held, subscribing: at(cluster.nodes[carried ? 1 : 0]).post([session.message.subscribe(['/a', '/b'])])};
}
const patterns = async (node, id) => (await getJson(node.admin(`/v1/clients/${id}`))).json.subscriptions.map(({pattern}) => pattern).sort();

test('a subscribe goes after a session that waits for a connect elsewhere', async t => {
  const {cluster, session, at, open, asked, subscribing} = await start(t);
  await asked();
  assert.equal((await at(cluster.nodes[1]).connect({timeout: 0}))[0].successful, true);
  open();
  const [reply] = await subscribing;
  assert.deepEqual([reply.successful, reply.error, reply.ext.number >= 1], [true, undefined, true]);
  assert.deepEqual(await patterns(cluster.nodes[2], session.clientId), ['/a', '/b', '/free/x']);
  await publish(cluster.nodes[2].bayeux, '/free/x', 1);
  await post(cluster.nodes[2].bayeux, [{channel: '/b', data: 2}]);
  assert.deepEqual((await drain(at(cluster.nodes[2]))).map(({channel, data}) => [channel, data]), [['/free/x', 1], ['/b', 2]]);
  if (!onMemory) assert.ok((await cluster.sum('followed')) >= 1);
});

test('one that is held by another node is asked for there, and its connect goes on', async t => {
  const {cluster, session, at, open, asked, subscribing} = await start(t);
  await asked();
  const poll = hold(at(cluster.nodes[1]));
  await poll.sent;
  await until(async () => (await cluster.stats(cluster.nodes[1])).sessions === 1, 'it to get there');
  open();
  const [reply] = await subscribing;
  assert.deepEqual([reply.id !== undefined, reply.successful, reply.subscription], [true, true, ['/a', '/b']]);
  assert.equal(reply.ext.number, onMemory ? 1 : 3, 'the answer to who has it');
  await post(cluster.nodes[2].bayeux, [{channel: '/b', data: 2}]);
  assert.deepEqual((await poll.answer).slice(1).map(({channel, data}) => [channel, data]), [['/b', 2]]);
});

test('the second answer counts: what is denied there is not subscribed to', async t => {
  needsRedis(t);
  const {authority, cluster, session, at, open, asked, subscribing} = await start(t);
  await asked();
  const {answer} = authority.script;
  let late = false;
  authority.script = {answer: async q => (late ? {allow: false, error: '403::Not any more'} : answer(q))};
  assert.equal((await at(cluster.nodes[1]).connect({timeout: 0}))[0].successful, true);
  late = true;
  open();
  const [reply] = await subscribing;
  assert.deepEqual([reply.successful, reply.error, reply.ext], [false, '403::Not any more', undefined]);
  assert.deepEqual(await patterns(cluster.nodes[2], session.clientId), ['/free/x']);
});

test('one that another node carried to the session goes after it, too', async t => {
  const {cluster, session, at, held, open, asked, subscribing} = await start(t, {carried: true});
  await asked();
  const poll = hold(at(cluster.nodes[2]));
  assert.equal((await held.answer)[0].successful, true, 'the session has left the first node');
  open();
  const [reply] = await subscribing;
  assert.deepEqual([reply.successful, reply.error], [true, undefined]);
  assert.deepEqual(await patterns(cluster.nodes[0], session.clientId), ['/a', '/b', '/free/x']);
  await post(cluster.nodes[1].bayeux, [{channel: '/a', data: 1}]);
  assert.deepEqual((await poll.answer).slice(1).map(({channel, data}) => [channel, data]), [['/a', 1]]);
  if (!onMemory) assert.ok((await cluster.sum('followed')) >= 1);
});

test('one that moves again and again gets an answer', async t => {
  const {cluster, at, open, asked, subscribing} = await start(t);
  await asked();
  for (let i = 1; i <= 6; i++) assert.equal((await at(cluster.nodes[i % 3]).connect({timeout: 0}))[0].successful, true);
  open();
  const [reply] = await subscribing;
  assert.equal(reply.successful, true);
});

test('what another node carries to the session may take its time, unless that node dies', async t => {
  needsRedis(t);
  const {authority, cluster, session, at, asked, open, subscribing} = await start(t);
  await asked();
  open();
  await subscribing;
  const poll = hold(session);   // it stays there
  await poll.sent;
  const carry = channel => at(cluster.nodes[1]).post([session.message.subscribe(channel)]);
  authority.script = {answer: async () => { await sleep(4000); return {allow: true}; }};
  assert.deepEqual((await carry('/c')).map(({successful, error}) => [successful, error]), [[true, undefined]]);
  authority.script = {respond: () => {}};
  const {length} = authority.calls;
  const last = carry('/d');
  await authority.calls.count(length + 1);
  await cluster.nodes[0].kill();
  assert.deepEqual((await last).map(({successful, error}) => [successful, error]), [[false, `503:${session.clientId}:Not available`]]);
});

test('what another node carried to one that leaves is answered', async t => {
  needsRedis(t);
  const {authority, cluster, session, at, asked, open, subscribing} = await start(t);
  await asked();
  open();
  await subscribing;
  const socket = await Wire.open(t, cluster.nodes[0].socket);
  socket.clientId = session.clientId;
  socket.connect();
  await socket.barrier();
  authority.script = {respond: () => {}};
  const {length} = authority.calls;
  const last = at(cluster.nodes[1]).post([session.message.subscribe('/c'), session.message.publish('/c', 1)]);
  await authority.calls.count(length + 1);
  await cluster.nodes[0].stop();
  const [subscribe, publishing] = await last;
  assert.equal(subscribe.successful, false);
  assert.match(subscribe.error, /^503:/);
  assert.equal(publishing.successful, false);
  assert.match(publishing.error, /^50[34]:/);
});

test('one that ends meanwhile is unknown', async t => {
  const {cluster, session, at, open, asked, subscribing} = await start(t);
  await asked();
  const elsewhere = at(cluster.nodes[1]);
  await elsewhere.connect({timeout: 0});
  await elsewhere.disconnect();
  open();
  assert.equal((await subscribing)[0].error, `401:${session.clientId}:Unknown client`);
});
