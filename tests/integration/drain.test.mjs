// SPDX-License-Identifier: Apache-2.0
// SIGTERM: not ready, nobody new, held polls answered, sockets closed, exit 0.

import assert from 'node:assert/strict';
import net from 'node:net';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson} from './lib/http.mjs';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {until, within} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {Wire, asSocketUrl, hold, poller, publish, settle} from './support/wire.mjs';

const start = t => startBroker(t, {set: {'broker.timeout': '30s'}});

const refuses = address => new Promise(resolve => {
  const socket = net.connect(Number(address.split(':')[1]), '127.0.0.1');
  socket.on('connect', () => { socket.destroy(); resolve(false); });
  socket.on('error', () => resolve(true));
});

test('held polls are answered with an interval from 1 to 5 s, messages included', async t => {
  const broker = await start(t);
  const sessions = [];
  for (let i = 0; i < 20; i++) sessions.push(await poller(broker.bayeux, '/last/*'));
  const held = sessions.map(session => hold(session));
  for (const poll of held) await poll.sent;
  await settle(broker.bayeux);
  const ended = broker.stop();
  const intervals = [];
  for (const poll of held) {
    const [reply, ...more] = await poll.answer;
    assert.equal(reply.successful, true);
    assert.equal(reply.advice.reconnect, 'retry');
    assert.ok(reply.advice.interval >= 1000 && reply.advice.interval <= 5000, `interval ${reply.advice.interval}`);
    assert.deepEqual(more, []);
    intervals.push(reply.advice.interval);
  }
  assert.ok(new Set(intervals).size > 5, `spread: ${intervals}`);
  await ended;
});

test('websockets get what was published before, then 1001', async t => {
  const broker = await start(t);
  const sockets = [];
  for (let i = 0; i < 5; i++) sockets.push(await Wire.client(t, asSocketUrl(broker.bayeux), '/last/*'));
  const plain = await Wire.open(t, asSocketUrl(broker.bayeux));   // without a session
  await plain.barrier();
  await publish(broker.bayeux, '/last/words', 'bye');
  await broker.stop();
  for (const socket of [...sockets, plain]) assert.equal((await socket.ended()).code, 1001);
  for (const socket of sockets) assert.deepEqual(deliveries(socket.messages), [{channel: '/last/words', data: 'bye'}]);
});

test('it is not ready and accepts nobody while a socket is slow to leave; it ends all the same', async t => {
  const broker = await start(t);
  const ready = broker.admin('/readyz');
  assert.equal((await getJson(ready)).status, 200);
  const deaf = await Wire.client(t, asSocketUrl(broker.bayeux));
  deaf.deafen();   // it never answers the close
  const ended = broker.stop();
  const state = await until(async () => {
    const answer = await getJson(ready);
    return answer.status === 503 && answer.json;
  }, 'the admin listener to say so');
  assert.deepEqual(state, {ready: false, reasons: ['draining']});
  assert.equal(await refuses(broker.address('broker')), true);
  assert.equal((await getJson(broker.admin('/healthz'))).status, 200);
  await ended;
});

test('a request that is under way gets its answer', async t => {
  const broker = await start(t);
  const session = await poller(broker.bayeux, '/x');
  const poll = hold(session);
  await poll.sent;
  await settle(broker.bayeux);
  const said = publish(broker.bayeux, '/x', 1);
  const ended = said.then(() => broker.stop());
  assert.deepEqual(deliveries(await poll.answer), [{channel: '/x', data: 1}]);
  await ended;
});

const asking = (authority, set = {}) => ({set: {
  'broker.timeout': '30s', 'broker.drain': '10m', 'access.handshake': 'authority', 'authority.url': authority.url, 'authority.timeout': '60s',
  'access.rules': [{channel: '/**', subscribe: 'authority', publish: 'authority'}], ...set,
}});

test('an authority that hangs: what waits for it is unavailable, and the drain goes on', async t => {
  const authority = await startScripted(t);
  const broker = await startBroker(t, asking(authority));
  const session = await poller(broker.bayeux);
  const {length} = authority.calls;
  authority.script = {respond: () => {}};
  const waiting = [
    session.post([session.message.subscribe('/x')]), session.post([session.message.publish('/x', 1)]),
    new PollSession(broker.bayeux).post([session.message.handshake()]),
  ];
  await authority.calls.count(length + 3);
  await broker.stop();
  const [[subscribe], [publishing], [handshake]] = await Promise.all(waiting);
  assert.deepEqual([subscribe.error, publishing.error, handshake.error], ['503:/x:Authority unavailable', '503:/x:Authority unavailable', '503::Authority unavailable']);
  assert.equal(handshake.advice.reconnect, 'handshake');
});

test('an authority that answers: who asked before the drain gets what it says', async t => {
  const authority = await startScripted(t);
  const broker = await startBroker(t, asking(authority));
  const session = await poller(broker.bayeux);
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  authority.script = {answer: async () => { await gate; return {allow: true, ext: {snapshot: []}}; }};
  const {length} = authority.calls;
  const waiting = session.post([session.message.subscribe('/x')]);
  await authority.calls.count(length + 1);
  const ended = broker.stop();
  await broker.log.find(({event}) => event === 'drain', 'the drain');
  release();
  assert.deepEqual((await waiting).map(({successful, ext}) => [successful, ext]), [[true, {snapshot: []}]]);
  await ended;
});

test('a second SIGTERM ends it at once', async t => {
  const broker = await start(t);
  const deaf = await Wire.client(t, asSocketUrl(broker.bayeux));
  deaf.deafen();
  const {ended, child} = broker;
  const stopped = broker.stop().catch(() => {});   // its exit status is then its own affair
  await until(() => refuses(broker.address('broker')), 'the listener to close');
  child.kill('SIGTERM');
  await within(ended, 'the process to end');
  assert.equal(child.exitCode, 128 + 15, 'not the end of a drain');
  await stopped;
});

test('without anybody it ends at once, and again after a restart', async t => {
  const broker = await start(t);
  await broker.restart();
  await broker.stop();
});
