// SPDX-License-Identifier: Apache-2.0
// Who may do what on several nodes: a session's user goes where it goes, rules are asked where it
// lives, and no secret is written to Redis.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {getJson} from './lib/http.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {until} from './lib/wait.mjs';
import {Wire, drain, post} from './support/wire.mjs';
import {needsRedis, onMemory, startCluster} from './support/cluster.mjs';
import {SECRET, claimsOf, hs256} from './support/tokens.mjs';

const PASSWORD = 'the password of servers';
const SET = {
  'broker.timeout': '10s', 'auth.jwt.secret': SECRET, 'auth.superclient': PASSWORD,
  'access.rules': [{channel: '/users/{user}/**', subscribe: 'owner', publish: 'owner', deny: '403::Not yours', ext: true}, {channel: '/ping', publish: 'ack'}],
};
const said = ([reply]) => reply.error ?? (reply.successful ? 'ok' : 'neither');

// A session of alice on the first node, with a websocket there: it does not move for what others carry.
async function aliceOn(t, node) {
  const wire = await Wire.open(t, node.socket);
  await wire.handshake({ext: {token: hs256(claimsOf('alice'))}});
  wire.connect();
  return wire;
}

test('a session that lives elsewhere: rules know its user, whichever node is asked', async t => {
  const {nodes: [one, two]} = await startCluster(t, {set: SET});
  const alice = await aliceOn(t, one);
  const ask = async message => said(await post(two.bayeux, [message]));
  assert.equal(await ask(alice.message.subscribe('/users/alice/a')), 'ok');
  assert.equal(await ask(alice.message.subscribe('/users/bob/a')), '403::Not yours');
  assert.equal(await ask(alice.message.publish('/users/alice/a', 1)), 'ok');
  assert.equal(await ask(alice.message.publish('/users/bob/a', 1)), '403::Not yours');
  assert.equal(await ask(alice.message.publish('/ping', 1)), 'ok');
  await alice.inbox.when(items => items.length > 0, 'the message');
  assert.equal(await ask({channel: '/users/alice/a', data: 1, clientId: 'nosuch'}), '401:nosuch:Unknown client');
  assert.equal(await ask({channel: '/ping', data: 1, clientId: 'nosuch'}), '401:nosuch:Unknown client');
  assert.equal(await ask({channel: '/users/alice/a', data: 1}), '403::Not yours');
  assert.equal(alice.inbox.items.length, 1);
});

test('what the node of its session does not read is answered', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1, set: SET});
  const strict = await cluster.add(t, {'limits.json_depth': 5});
  const alice = await aliceOn(t, strict);
  await alice.gather();
  const deep = {ext: {a: [[[[[[1]]]]]]}};
  const replies = await post(cluster.nodes[0].bayeux, [alice.message.subscribe('/users/alice/a', deep), alice.message.publish('/users/alice/a', 1, deep)]);
  assert.deepEqual(replies.map(({successful, error}) => [successful, error]), [[false, `503:${alice.clientId}:Not available`], [false, '504:/users/alice/a:Outcome unknown']]);
});

test('a session that moves keeps its user and needs no token again, also when its node dies', async t => {
  if (onMemory) t.skip('there is one node');
  const cluster = await startCluster(t, {nodes: 3, set: SET});
  const session = new PollSession(cluster.nodes[0].bayeux);
  await session.handshake({ext: {token: hs256(claimsOf('alice'))}});
  session.url = cluster.nodes[1].bayeux;
  await session.connect({timeout: 0});
  await session.subscribe('/users/alice/a');
  assert.equal((await getJson(cluster.nodes[1].admin(`/v1/clients/${session.clientId}`))).json.user, 'alice');
  assert.equal((await getJson(cluster.nodes[2].admin(`/v1/clients/${session.clientId}`))).json.user, 'alice');
  await cluster.nodes[1].kill();
  session.url = cluster.nodes[2].bayeux;
  await session.connect({timeout: 0});
  await session.subscribe('/users/alice/b');
  await assert.rejects(session.subscribe('/users/bob/b'), /403::Not yours/);
  await session.publish('/users/alice/b', 1);
  assert.equal((await drain(session)).length, 1);
});

test('the index of a user\'s sessions', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const members = () => cluster.redis.call('SMEMBERS', cluster.key('user:alice'));
  const sessions = await Promise.all(cluster.nodes.map(node => aliceOn(t, node)));
  assert.deepEqual((await members()).sort(), sessions.map(({clientId}) => clientId).sort());
  await sessions[0].disconnect();
  await until(async () => (await members()).length === 1, 'the session to leave the index');
});

// Everything that is kept, as one text.
async function contents(cluster) {
  const read = {hash: ['HGETALL'], stream: ['XRANGE', '-', '+'], set: ['SMEMBERS'], zset: ['ZRANGE', '0', '-1'], string: ['GET']};
  const all = [];
  for (const key of await cluster.redis.call('KEYS', '*')) {
    const [command, ...rest] = read[await cluster.redis.call('TYPE', key)];
    all.push([key, await cluster.redis.call(command, key, ...rest)]);
  }
  return JSON.stringify(all);
}

test('neither secrets nor tokens are written to Redis, and what stands for a secret cannot be sent', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const {nodes: [one, two]} = cluster;
  const alice = await aliceOn(t, one);
  const token = hs256(claimsOf('alice'));
  const secrets = {password: PASSWORD, token};
  const ask = async message => said(await post(two.bayeux, [message]));
  // Carried to the first node as a server's.
  assert.equal(await ask(alice.message.subscribe('/users/bob/a', {ext: secrets})), 'ok');
  assert.equal(await ask(alice.message.publish('/users/alice/marker', 1, {ext: {...secrets, kept: 'this is kept'}})), 'ok');
  assert.equal(await ask(alice.message.publish('/users/bob/a', 1, {ext: secrets})), 'ok');
  assert.equal(await ask(alice.message.subscribe('/users/bob/b', {ext: {password: 'a wrong password', token}})), '403::Not yours');
  for (const fake of [{'mora:server': true}, {'mora\\u003aserver': true}, {ext: {'mora:server': true}}])
    assert.equal(await ask(alice.message.subscribe('/users/bob/c', fake)), '403::Not yours');
  const raw = `[{"channel":"/meta/subscribe","clientId":"${alice.clientId}","subscription":"/users/bob/d","mor\\u0061:server":true}]`;
  assert.equal(said(await post(two.bayeux, raw)), '403::Not yours');
  const text = await contents(cluster);
  assert.match(text, /\/users\/alice\/marker/);
  assert.match(text, /this is kept/);
  for (const secret of [PASSWORD, 'a wrong password', token, token.split('.')[2]]) assert.ok(!text.includes(secret), secret.slice(0, 20));
});
