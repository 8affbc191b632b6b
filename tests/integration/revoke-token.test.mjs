// SPDX-License-Identifier: Apache-2.0
// The sessions that a token opened: ended on all nodes, and with revocation none are opened again until it
// expires. MORA_TEST_ENGINE=memory: on one node.

import assert from 'node:assert/strict';
import {createHash, pbkdf2Sync} from 'node:crypto';
import {test} from './lib/suite.mjs';
import {run} from './lib/daemon.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {SECRET, claimsOf, hs256, now} from './support/tokens.mjs';
import {Wire, asSocketUrl, hold, post, settle} from './support/wire.mjs';
import {goneInTime, needsRedis, onMemory, startCluster} from './support/cluster.mjs';

const NODES = 3;
const SET = {
  'access.rules': [{channel: '/**', subscribe: 'any', publish: 'any'}], 'auth.jwt.secret': SECRET, 'auth.superclient': 'the secret of a server',
  'broker.timeout': '20s', 'limits.handshake_rate': 10000, 'limits.clients_per_address': 10000,
};
const start = (t, set = {}) => startCluster(t, {nodes: NODES, set: {...SET, ...set}});
const digest = text => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const signedPart = token => token.slice(0, token.lastIndexOf('.'));
const revoke = (node, token, more = {}) => postJson(node.admin('/v1/revoke-token'), {token, ...more});
const disconnect = (node, token) => postJson(node.admin('/v1/disconnect-token'), {token});
async function opened(node, ext) {
  const session = new PollSession(node.bayeux);
  await session.handshake({ext});
  return session;
}
async function tried(node, ext) {
  const session = new PollSession(node.bayeux);
  const [reply] = await post(node.bayeux, [session.message.handshake({ext})]);
  return reply;
}
async function isEnded(session) {
  const [reply] = await session.connect({timeout: 0});
  assert.equal(reply.error, `401:${session.clientId}:Unknown client`);
}
const lives = async session => assert.equal((await session.connect({timeout: 0}))[0].successful, true);
const clients = async node => (await getJson(node.admin('/v1/clients'))).json.clients.length;

test('what a token opened on three nodes is ended within a moment, other tokens of the user are not; it opens nothing more', {timeout: 120000}, async t => {
  const cluster = await start(t);
  const [first, second, third] = cluster.nodes;
  const stolen = hs256(claimsOf('bob', {jti: 'stolen 1'})), other = hs256(claimsOf('bob', {jti: 'other'}));
  const held = [], others = [];
  for (let i = 0; i < 60; i++) {
    const session = await opened(cluster.nodes[i % NODES], {token: stolen});
    await session.subscribe('/news');
    held.push({session, poll: hold(session)});
    await held[i].poll.sent;
  }
  for (const node of cluster.nodes) others.push(await opened(node, {token: other}), await opened(node));
  const roamer = await opened(first, {token: stolen});   // one that has moved
  roamer.url = second.bayeux;
  await roamer.connect({timeout: 0});
  const socket = await Wire.open(t, asSocketUrl(third.bayeux));
  await socket.handshake({ext: {token: stolen}});
  socket.connect();
  await socket.gather();
  for (const node of cluster.nodes) await settle(node.bayeux);
  const row = (await getJson(third.admin(`/v1/clients/${roamer.clientId}`))).json;
  assert.deepEqual([row.user, row.token], ['bob', 'jti:stolen 1']);

  const began = Date.now();
  const {status, json} = await revoke(first, 'jti:stolen 1');
  assert.deepEqual([status, json], [200, {token: 'jti:stolen 1', revoked: true}]);
  const answers = await within(Promise.all(held.map(({poll}) => poll.answer)), 'the polls to be answered');
  for (const [reply] of answers) assert.deepEqual([reply.successful, reply.advice.reconnect], [false, 'handshake']);
  await socket.ended();
  await until(async () => (await clients(first)) === others.length, 'the others to be left');
  goneInTime(t, Date.now() - began);
  await isEnded(roamer);
  for (const session of others) await lives(session);
  for (const node of cluster.nodes) {
    const reply = await tried(node, {token: stolen});
    assert.deepEqual([reply.successful, reply.error, reply.advice.reconnect], [false, '401::Invalid access token', 'handshake']);
    await lives(await opened(node, {token: other}));
  }
  assert.equal(await cluster.sum('revoked_handshakes'), NODES);
  assert.equal((await revoke(second, stolen)).status, 200, 'said again');
  if (!onMemory) assert.equal((await cluster.endings()).filter(({reason}) => reason === 'kicked').length, 62);
});

test('a token without a jti has the digest of what is signed: another spelling of its signature is the same token', async t => {
  const cluster = await start(t, {'access.denied_reconnect': 'none'});
  const [first, second] = cluster.nodes;
  const token = hs256(claimsOf('ann'));
  const name = digest(signedPart(token));
  // The last letter of 32 bytes in base64url has two bits to spare.
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const spelt = token.slice(0, -1) + letters[letters.indexOf(token.at(-1)) ^ 1];
  assert.equal((await tried(first, {token: spelt})).successful, true, 'a good one, for the library that reads it');
  const session = await opened(first, {token});
  const {status, json} = await revoke(second, token);
  assert.deepEqual([status, json], [200, {token: name, revoked: true}]);
  await isEnded(session);
  const reply = await tried(first, {token});
  assert.deepEqual([reply.error, reply.advice.reconnect], ['401::Invalid access token', 'none'], 'as configured of denials');
  assert.equal((await tried(first, {token: spelt})).successful, false);
  await lives(await opened(first, {token: hs256(claimsOf('ann', {more: 1}))}));
});

test('until it expires, and no longer; later is later, earlier is not sooner', async t => {
  const cluster = await start(t, {'access.revoked_for': '1h'});
  const [first, second] = cluster.nodes;
  const token = jti => hs256(claimsOf('ann', {jti}));
  assert.equal((await revoke(first, 'jti:short', {expires: now() + 2})).status, 200);
  assert.equal((await revoke(first, 'jti:long')).status, 200);
  assert.equal((await revoke(second, 'jti:long', {expires: now() + 1})).status, 200);
  assert.equal((await revoke(first, 'jti:past', {expires: 5})).status, 200);
  assert.equal((await tried(second, {token: token('short')})).successful, false);
  await until(async () => (await tried(second, {token: token('short')})).successful, 'it to be over');
  await until(async () => (await tried(second, {token: token('past')})).successful, 'the one of the past');
  assert.equal((await tried(second, {token: token('long')})).successful, false);
  // However late: a token whose exp is in milliseconds, by mistake, and the largest number there is.
  for (const [late, more] of [[hs256(claimsOf('ann', {jti: 'late', exp: Date.now()})), {}], ['jti:latest', {expires: 9e18}]]) {
    assert.equal((await revoke(first, late, more)).status, 200);
  }
  assert.equal((await tried(second, {token: token('late')})).successful, false);
  assert.equal((await tried(second, {token: token('latest')})).successful, false);
  if (onMemory) return;
  // A node that starts afterwards knows, too; and Redis keeps none that is over.
  const fresh = await cluster.add(t);
  assert.equal((await tried(fresh, {token: token('long')})).successful, false);
  assert.equal((await revoke(first, hs256(claimsOf('ann', {jti: 'known'})))).status, 200);
  const rows = await cluster.redis.call('ZRANGE', cluster.key('revoked'), '0', '-1', 'WITHSCORES');
  assert.deepEqual(rows.filter((_, i) => i % 2 === 0).sort(), ['jti:known', 'jti:late', 'jti:latest', 'jti:long']);
  assert.ok(Math.abs(Number(rows[1]) - Date.now() - 660000) < 30000, 'the expiry of a token that is shown is its own');
});

test('a token that has expired since is known by its jti, too', async t => {
  const cluster = await start(t);
  const [first, second] = cluster.nodes;
  const token = hs256(claimsOf('ann', {jti: 'old', exp: now() - 57}));   // a minute is given to clocks
  const session = await opened(first, {token});
  await until(async () => !(await tried(first, {token})).successful, 'it to expire');
  await lives(session);
  // What no key verifies is not believed, and not taken for another token either.
  const forged = hs256(claimsOf('ann', {jti: 'old'}), 'another secret of more than thirty-two bytes');
  for (const ask of [disconnect, revoke]) {
    const {status, json} = await ask(second, forged);
    assert.equal(status, 400);
    assert.match(json.error, /^no key verifies this token/);
  }
  await lives(session);
  assert.equal((await disconnect(second, token)).json.token, 'jti:old');
  await isEnded(session);
});

test('with an authority: the digest of the token; one that was being asked for is denied', async t => {
  const authority = await startScripted(t, {answer: () => ({allow: true, user: 'ann'})});
  const cluster = await start(t, {'access.handshake': 'authority', 'authority.url': authority.url, 'authority.timeout': '20s'});
  const [first, second] = cluster.nodes;
  const session = await opened(first, {token: 'opaque'});
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  authority.script = {answer: async () => { await gate; return {allow: true, user: 'ann'}; }};
  const {length} = authority.calls;
  const late = tried(second, {token: 'opaque'});
  const fine = tried(second, {token: 'opaque too'});
  await authority.calls.count(length + 2);
  assert.deepEqual((await revoke(first, 'opaque')).json, {token: digest('opaque'), revoked: true});
  await isEnded(session);
  release();
  assert.equal((await late).error, '401::Invalid access token');
  assert.equal((await fine).successful, true);
});

test('disconnect-token ends sessions and forbids nothing; secrets of servers have a digest; mora; what is refused', async t => {
  const cluster = await start(t);
  const [first, second, third] = cluster.nodes;
  const token = hs256(claimsOf('ann', {jti: 'é'}));
  const sessions = [await opened(first, {token}), await opened(second, {token}), await opened(third, {token})];
  assert.deepEqual((await disconnect(second, 'jti:é')).json, {token: 'jti:é', ended: 3});
  for (const session of sessions) await isEnded(session);
  await lives(await opened(first, {token}));
  if (!onMemory) {
    const orphan = await opened(third, {token});
    await third.kill();
    assert.deepEqual((await disconnect(first, token)).json, {token: 'jti:é', ended: 2});
    orphan.url = first.bayeux;
    await isEnded(orphan);
  }
  const server = await opened(first, {password: 'the secret of a server'});
  const mora = (...words) => run('mora', ['--admin', second.url('admin'), ...words]);
  const name = `secret:${pbkdf2Sync(SET['auth.superclient'], 'mora: the name of a secret', 20000, 32, 'sha256').toString('hex')}`;
  assert.equal((await getJson(second.admin(`/v1/clients/${server.clientId}`))).json.token, name);
  assert.deepEqual((({code, stdout}) => [code, stdout])(await mora('disconnect-token', 'the secret of a server')), [0, '1 ended\n']);
  await isEnded(server);
  assert.deepEqual((await revoke(first, name)).json, {token: name, revoked: true});
  assert.equal((await tried(second, {password: 'the secret of a server'})).successful, false);
  assert.deepEqual((({code, stdout}) => [code, stdout])(await mora('revoke-token', token)), [0, 'revoked\n']);
  assert.equal((await tried(first, {token})).successful, false);
  const {code} = await run('mora', ['--admin', second.url('admin'), 'revoke-token', '-'], {input: `${hs256(claimsOf('bob', {jti: 'piped'}))}\n`});
  assert.equal(code, 0);
  assert.equal((await tried(first, {token: hs256(claimsOf('bob', {jti: 'piped'}))})).successful, false);
  for (const input of ['', `jti:${'x'.repeat(20000)}\n`]) {
    const refused = await run('mora', ['--admin', second.url('admin'), 'revoke-token', '-'], {input});
    assert.deepEqual([refused.code, refused.stdout, refused.stderr], [1, '', 'mora: no token, or one that is too long\n']);
  }
  for (const body of [{}, {token: ''}, {token: 5}, {token: 'jti:a\u0001'}, {token: `jti:${'x'.repeat(200)}`}, {token: 'a', expires: 'soon'}, {token: 'a', more: 1}, [], 'x'])
    assert.equal((await postJson(first.admin('/v1/revoke-token'), body)).status, 400, JSON.stringify(body));
  if (onMemory) return;
  await cluster.redis.kill();
  assert.equal((await revoke(first, 'jti:x')).status, 503);
});

// In memory: tests/unit/test_revocation.c.
test('of 100,000 revoked tokens and one more that one is refused, and nothing else; until one of them is over', async t => {
  needsRedis(t);
  const cluster = await start(t, {});
  const [first, second] = cluster.nodes;
  const more = hs256(claimsOf('ann', {jti: 'more'}));
  const session = await opened(second, {token: more});
  const far = Date.now() + 3600000;
  for (let from = 0; from < 100000; from += 10000) {
    const words = Array.from({length: 10000}, (_, i) => [far, `jti:${from + i}`]).flat();
    assert.equal(await cluster.redis.call('ZADD', cluster.key('revoked'), ...words), 10000);
  }
  const entries = () => cluster.redis.call('XLEN', cluster.key('journal'));
  const before = await entries();
  for (const node of [first, second]) {
    const {status, json} = await revoke(node, 'jti:more');
    assert.deepEqual([status, json.error], [503, 'so many tokens are revoked that one more has no room']);
    assert.equal((await cluster.stats(node)).admin.tokens_refused, 1);
  }
  assert.equal(await entries(), before, 'no node is told');
  await lives(session);
  await lives(await opened(first, {token: more}));
  assert.equal((await tried(first, {token: hs256(claimsOf('ann', {jti: '7'}))})).successful, false, 'none is forgotten');
  assert.equal((await revoke(first, 'jti:8')).status, 200, 'one of them, once more');
  assert.equal((await disconnect(first, more)).json.ended, 2);
  assert.equal((await postJson(first.admin('/v1/revoke?user=ann'), {})).status, 200, 'users have no such limit');
  await cluster.redis.call('ZADD', cluster.key('revoked'), 1, 'jti:7');   // it is over
  assert.equal((await revoke(second, 'jti:more')).status, 200);
  assert.equal((await tried(first, {token: more})).successful, false);
  assert.equal((await tried(first, {token: hs256(claimsOf('ann', {jti: '7'}))})).successful, true);
  assert.equal(await cluster.redis.call('ZCARD', cluster.key('revoked')), 100000);
  assert.equal(await cluster.sum('admin.tokens_refused'), 2);
});
