// SPDX-License-Identifier: Apache-2.0
// Websockets beyond the protocol: pings for life, pings for evidence, one frame a turn, limits.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {Feed, sleep, until} from './lib/wait.mjs';
import {Wire, asSocketUrl, publish} from './support/wire.mjs';

const statsOf = async broker => (await getJson(broker.admin('/v1/stats'))).json;
const clientOf = async (broker, id) => (await getJson(broker.admin(`/v1/clients/${id}`))).json;

// A client with the pings it gets as texts. It answers them only when told to.
async function client(t, broker, {answers, pattern}) {
  const socket = await Wire.open(t, asSocketUrl(broker.bayeux), {autoPong: answers});
  socket.pings = new Feed();
  socket.ws.on('ping', payload => socket.pings.push(payload.toString()));
  await socket.handshake();
  if (pattern) await socket.subscribe(pattern);
  socket.connect();
  await socket.barrier();
  return socket;
}

test('a socket that answers pings stays, one that misses two is closed 1001 and counted', async t => {
  const broker = await startBroker(t, {set: {'broker.ping': '300ms'}});
  const good = await client(t, broker, {answers: true});
  const silent = await client(t, broker, {answers: false});
  assert.equal((await silent.ended()).code, 1001);
  assert.equal(silent.pings.length, 2);
  await good.pings.count(6, 'six pings');
  assert.equal(good.closed, null);
  assert.equal((await statsOf(broker)).transport.unresponsive, 1);
  assert.equal((await statsOf(broker)).transport.sockets, 1);
});

test('what was written is confirmed by the pong of a ping that carries its position; the silent are not asked', async t => {
  const broker = await startBroker(t);
  const reader = await client(t, broker, {answers: false, pattern: '/evidence'});
  const idle = await client(t, broker, {answers: true, pattern: '/nothing'});
  const {position} = (await postJson(broker.admin('/v1/publish'), {channel: '/evidence', data: 1})).json;
  await reader.pings.count(1, 'a ping');
  assert.deepEqual(reader.pings.items, [String(position)]);
  assert.ok((await clientOf(broker, reader.clientId)).conf < position, 'nothing is confirmed without a pong');
  reader.ws.pong(String(position - 1));
  reader.ws.pong('no position');
  await reader.barrier();
  assert.ok((await clientOf(broker, reader.clientId)).conf < position, 'only the position itself counts');
  reader.ws.pong(String(position));
  await reader.barrier();
  assert.ok((await clientOf(broker, reader.clientId)).conf >= position);
  assert.equal(idle.pings.length, 0);
});

test('a pong that is slower than the pings confirms all the same: there is one ping at a time', async t => {
  const broker = await startBroker(t);
  const reader = await client(t, broker, {answers: false, pattern: '/slow'});
  const say = async count => {
    for (let i = 0; i < count; i++, await sleep(100)) await publish(broker.bayeux, '/slow', i);
  };
  await say(1);
  const [first] = await reader.pings.count(1, 'a ping');
  await say(25);   // time for more
  assert.equal(reader.pings.length, 1);
  reader.ws.pong(first);
  const {1: second} = await reader.pings.count(2, 'the next, at once');
  assert.ok((await clientOf(broker, reader.clientId)).conf >= Number(first));
  assert.ok(Number(second) >= Number(first) + 25);
  reader.ws.pong(second);
  await reader.barrier();
  assert.ok((await clientOf(broker, reader.clientId)).conf >= Number(second));
});

test('where messages flow, the ping with the position comes behind one, in the same write', async t => {
  const broker = await startBroker(t);
  const reader = await client(t, broker, {answers: true, pattern: '/flow'});
  let chunk, behind = 0, over = false;
  reader.ws._socket.prependListener('data', bytes => chunk = bytes);
  reader.ws.on('ping', position => {
    // A text of 7-bit or 16-bit length, and the ping's two bytes and digits at the end.
    if (chunk[0] === 0x81 && chunk.at(-position.length - 2) === 0x89 && chunk.length > position.length + 2) behind++;
  });
  const flow = (async () => {
    for (let i = 0; !over; i++, await sleep(20)) await publish(broker.bayeux, '/flow', i);
  })();
  await until(() => behind >= 2, 'pings behind messages');
  over = true;
  await flow;
  const {position} = (await postJson(broker.admin('/v1/publish'), {channel: '/flow', data: 'last'})).json;
  await until(async () => (await clientOf(broker, reader.clientId)).conf >= position, 'the last is confirmed');
});

test('what one turn has for a socket goes out in one frame', async t => {
  const broker = await startBroker(t);
  const reader = await client(t, broker, {answers: true, pattern: '/many'});
  const before = reader.frames.length;
  const list = Array.from({length: 20}, (_, data) => ({channel: '/many', data}));
  await postJson(broker.admin('/v1/publish'), list);
  await reader.inbox.count(20, 'the messages');
  assert.equal(reader.frames.length, before + 1);
  assert.deepEqual(reader.inbox.items, list);
});

test('limits: a message over limits.message is refused, a frame over limits.body closes with 1009', async t => {
  const broker = await startBroker(t, {set: {'limits.message': '1KB', 'limits.body': '8KB'}});
  const socket = await client(t, broker, {answers: true, pattern: '/big'});
  const messages = [600, 1100].map((n, id) => ({channel: '/big', data: 'x'.repeat(n), id: `n${id}`}));
  socket.send(messages);
  assert.equal((await socket.reply('n0')).successful, true);
  assert.equal((await socket.reply('n1')).error, '413::Message too large');
  assert.deepEqual(socket.inbox.items, [messages[0]]);
  socket.send([{channel: '/big', data: 'x'.repeat(9000)}]);
  assert.equal((await socket.ended()).code, 1009);
  await publish(broker.bayeux, '/big', 'still there');
  const stats = await until(async () => (await statsOf(broker)).transport.sockets === 0 && statsOf(broker), 'the socket to be gone');
  assert.equal(stats.over_limits, 1);
  assert.equal(stats.host.websocket_too_large, 1);
});
