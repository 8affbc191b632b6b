// SPDX-License-Identifier: Apache-2.0
// Revocation of a user on three nodes (MORA_TEST_ENGINE=memory: on one): sessions, caches, and answers that are on their way.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {run} from './lib/daemon.mjs';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {Wire, asSocketUrl, hold, post, publish, settle} from './support/wire.mjs';
import {goneInTime, onMemory, startCluster} from './support/cluster.mjs';

const NODES = 3;
const RULES = [{channel: '/free/**', subscribe: 'any', publish: 'any'}, {channel: '/**', subscribe: 'authority', publish: 'authority'}];
const allow = q => (q.verb === 'handshake' ? {allow: true, user: q.ext.user} : {allow: true});

async function start(t, set = {}) {
  const authority = await startScripted(t, {answer: allow});
  const cluster = await startCluster(t, {nodes: NODES, set: {
    'access.rules': RULES, 'access.handshake': 'authority', 'authority.url': authority.url, 'authority.timeout': '20s', 'broker.timeout': '20s',
    'limits.handshake_rate': 10000, 'limits.clients_per_address': 10000, ...set,
  }});
  return {authority, cluster};
}
const revoke = (node, user) => postJson(node.admin(`/v1/revoke?user=${encodeURIComponent(user)}`), {});
const handshake = async (node, user) => {
  const session = new PollSession(node.bayeux);
  await session.handshake({ext: {user}});
  return session;
};
const sessionsOf = async (node, name) => (await getJson(node.admin('/v1/clients'))).json.clients.filter(({user}) => user === name).length;

test('200 sessions of a user on three nodes are gone, those of others untouched, also while an older permission is on its way', {timeout: 120000}, async t => {
  const {authority, cluster} = await start(t);
  const [first, second, third] = cluster.nodes;
  const held = [], others = [];
  for (let i = 0; i < 200; i++) {
    const node = cluster.nodes[i % NODES];
    const session = await handshake(node, 'bob');
    await session.subscribe('/free/news');
    held.push({session, poll: i % 2 === 0 && hold(session)});
    if (held[i].poll) await held[i].poll.sent;
  }
  // Of others, one of whom has nearly his name: they hold polls, too.
  for (const [i, node] of cluster.nodes.entries()) {
    for (const user of ['ann', i % 2 ? 'bob ' : 'bobby']) {
      const session = await handshake(node, user);
      await session.subscribe('/free/news');
      others.push({session, poll: hold(session)});
      await others.at(-1).poll.sent;
    }
  }
  const socket = await Wire.open(t, asSocketUrl(third.bayeux));
  await socket.handshake({ext: {user: 'bob'}});
  await socket.subscribe('/free/news');
  socket.heldId = socket.connect();
  await socket.gather();
  for (const node of cluster.nodes) await settle(node.bayeux);

  // Asked for before, and answered afterwards.
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  authority.script = {answer: async q => { await gate; return allow(q); }};
  const {length} = authority.calls;
  const late = new PollSession(second.bayeux);
  const early = post(second.bayeux, [late.message.handshake({ext: {user: 'bob'}})]);
  const elsewhere = [first, third].map(node => post(node.bayeux, [new PollSession(node.bayeux).message.handshake({ext: {user: 'bob'}})]));
  const publishing = held[3].session.post([held[3].session.message.publish('/asked', 1)]);
  const fine = post(second.bayeux, [late.message.handshake({ext: {user: 'ann'}})]);
  const subscribing = held[1].session.post([held[1].session.message.subscribe('/asked')]);
  await authority.calls.count(length + 6);

  const news = await publish(first.bayeux, '/free/news', 'you are out');
  assert.ok(news.successful);
  for (const each of others) {
    assert.deepEqual(deliveries(await each.poll.answer).map(({data}) => data), ['you are out']);
    each.poll = hold(each.session);
    await each.poll.sent;
  }
  for (const node of cluster.nodes) await settle(node.bayeux);
  const began = Date.now();
  const {status, json} = await revoke(first, 'bob');
  assert.deepEqual([status, json], [200, {user: 'bob', revoked: true}]);
  await within(Promise.all(held.filter(({poll}) => poll).map(({poll}) => poll.answer)), 'the polls to be answered');
  await socket.ended();
  await until(async () => (await sessionsOf(first, 'bob')) === 0, 'no session of his to be left');
  goneInTime(t, Date.now() - began);
  assert.deepEqual(deliveries(socket.messages).map(({data}) => data), ['you are out'], 'told first');
  const last = socket.messages.at(-1);
  assert.deepEqual([last.id, last.error, last.advice.reconnect], [socket.heldId, `401:${socket.clientId}:Unknown client`, 'handshake']);

  release();
  for (const [refused] of await Promise.all([early, ...elsewhere])) {
    assert.deepEqual([refused.successful, refused.advice.reconnect], [false, 'handshake']);
    assert.match(refused.error, /^503:/);
  }
  assert.equal((await publishing)[0].successful, false);
  assert.equal((await fine)[0].successful, true);
  assert.equal((await subscribing)[0].successful, false);
  assert.equal(await sessionsOf(first, 'bob'), 0);
  await publish(second.bayeux, '/free/news', 'for the others');
  for (const {session, poll} of others) {
    assert.deepEqual(deliveries(await poll.answer).map(({data}) => data), ['for the others'], 'the poll was held all the time');
    assert.equal((await session.connect({timeout: 0}))[0].successful, true);
  }
  for (const {session} of held) assert.equal((await session.connect({timeout: 0}))[0].error, `401:${session.clientId}:Unknown client`);
  const back = await handshake(second, 'bob');   // the authority says yes again
  assert.equal((await back.connect({timeout: 0}))[0].successful, true);
  assert.ok((await cluster.sum('authority.discarded')) >= 1);
  if (!onMemory) assert.equal((await cluster.endings()).filter(({user, reason}) => user === 'bob' && reason === 'kicked').length, 201);
});

test('authority.cache forgets the user on every node, and nobody else', async t => {
  const {authority, cluster} = await start(t, {'authority.cache': '10m'});
  const times = async (node, user) => {
    const session = await handshake(node, user);
    const {length} = authority.asked;
    await session.subscribe('/asked');
    return authority.asked.length - length;
  };
  for (const node of new Set(cluster.nodes)) for (const user of ['ann', 'bob']) assert.equal(await times(node, user), 1);
  assert.equal((await revoke(cluster.nodes[0], 'bob')).status, 200);
  await until(async () => (await cluster.sum('revocations')) === (onMemory ? 1 : NODES), 'every node to get there');
  for (const node of new Set(cluster.nodes)) {
    assert.equal(await times(node, 'bob'), 1);
    assert.equal(await times(node, 'ann'), 0);
  }
});

test('sessions that no living node has; a user who has none; what is refused; mora revoke', async t => {
  const {cluster} = await start(t);
  const [first, second, third] = cluster.nodes;
  assert.equal((await revoke(first, 'nobody')).status, 200);
  assert.equal((await postJson(first.admin('/v1/revoke'), {})).status, 400);
  const session = await handshake(third, 'bob');
  if (!onMemory) await third.kill();
  const {code, stdout} = await run('mora', ['--admin', second.url('admin'), 'revoke', 'bob']);
  assert.deepEqual([code, stdout], [0, 'revoked\n']);
  session.url = first.bayeux;
  assert.equal((await session.connect({timeout: 0}))[0].error, `401:${session.clientId}:Unknown client`);
  if (onMemory) return;
  await cluster.redis.kill();
  assert.equal((await revoke(first, 'bob')).status, 503);
});
