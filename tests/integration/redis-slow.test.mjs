// SPDX-License-Identifier: Apache-2.0
// Websockets of clients that go on sending while Redis does not answer: what waits for it is bounded, the
// rest is left in the sockets, and all of it is done once Redis answers.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {getJson, openJson, postJson} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {thisMachine} from './support/certificates.mjs';
import {Wire} from './support/wire.mjs';

const WAITING = 4 << 20;   // docs/operations.md, Limits
const ROOM = 3;            // texts: one above the limit, and one of each other client here

async function start(t, set = {}) {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1, set: {'engine.command_timeout': '1m', ...set}});
  t.after(() => cluster.redis.child?.kill('SIGCONT'));
  return cluster;
}

// The node's numbers when they are so.
const numbers = (cluster, node, are, what) => until(async () => { const stats = await cluster.stats(node); return are(stats) && stats; }, what);

// Subscribes to /s/0, /s/1, ..., each in a text of its own.
function flood(wire, count, pad) {
  const ids = [];
  for (let i = 0; i < count; i++) {
    const message = wire.message.subscribe(`/s/${i}`, {ext: {pad: 'x'.repeat(pad)}});
    ids.push(message.id);
    wire.send([message]);
  }
  return ids;
}

async function allDone(wire, ids) {
  const last = await wire.reply(ids.at(-1), 'the last reply', 120000);
  assert.equal(last.successful, true);
  const replies = wire.frames.items.flat().filter(({id, channel}) => channel === '/meta/subscribe' && ids.includes(id));
  assert.deepEqual(replies.map(({id, successful}) => [id, successful]), ids.map(id => [id, true]), 'each once, in order');
}

const tls = () => ({'tls.certificate': thisMachine().certificate, 'tls.key': thisMachine().key});

// A text that was compressed is a thousand times as long as what is read: so many come with one read.
for (const [name, count, pad, set, options] of [
  ['long texts', 600, 50000, {}, {}],
  ['short texts', 20000, 100, {'limits.channels': 100000}, {}],
  ['TLS', 600, 50000, tls, {}],
  ['compressed texts', 3000, 50000, {'broker.deflate': true, 'limits.channels': 100000}, {perMessageDeflate: {threshold: 0}}],
])
  test(`while Redis stands still a websocket is not read beyond what may wait: ${name}`, {timeout: 240000}, async t => {
    const cluster = await start(t, typeof set === 'function' ? set() : set);
    const [node] = cluster.nodes;
    const wire = await Wire.open(t, node.socket, options);
    await wire.handshake();
    const other = await Wire.client(t, node.socket);
    const when = (are, what) => numbers(cluster, node, are, what);
    cluster.redis.pause();
    const ids = flood(wire, count, pad);
    const {batches} = await when(stats => stats.host.websocket_pauses > 0, 'it to be left unread');
    const message = other.message.subscribe('/other');
    other.send([message]);
    const held = await when(stats => stats.batches > batches, 'another client to be read');
    t.log(`${held.batches} texts wait`);
    assert.equal(held.host.websocket_pauses, 1);
    assert.ok(held.batches <= WAITING / pad + ROOM && held.batches < count, `${held.batches} texts wait`);
    cluster.redis.resume();
    await allDone(wire, ids);
    await other.reply(message.id);
    const after = await when(stats => stats.batches === 0, 'nothing to wait');
    assert.equal(after.subscriptions, count + 1);
  });

test('of all clients together no more than limits.waiting wait: then those are not read that have much waiting, and long requests are refused', {timeout: 120000}, async t => {
  const cluster = await start(t, {'limits.waiting': '1MB'});
  const [node] = cluster.nodes;
  const when = (are, what) => numbers(cluster, node, are, what);
  const wires = await Promise.all([0, 1].map(() => Wire.client(t, node.socket)));
  const light = await Wire.client(t, node.socket);
  cluster.redis.pause();
  const ids = flood(wires[0], 100, 50000);
  const first = await when(stats => stats.host.websocket_pauses === 1, 'the first to be left unread');
  assert.ok(first.waiting_bytes > 1 << 20 && first.waiting_bytes < (1 << 20) + 60000, `${first.waiting_bytes} bytes wait`);
  ids.push(...flood(wires[1], 100, 50000));
  const both = await when(stats => stats.host.websocket_pauses === 2, 'the second to be left unread');
  assert.equal(both.batches, first.batches + 1, 'the text by which it came to have much waiting');
  const message = light.message.subscribe('/light');
  light.send([message]);
  await when(stats => stats.batches === both.batches + 1, 'who has little waiting to be read');
  const text = [{channel: '/long', data: 'x'.repeat(50000)}];
  const refused = await postJson(node.bayeux, text);
  assert.equal(refused.status, 503);
  const short = openJson(node.bayeux, [{channel: '/short', data: 1}]);
  const full = await when(stats => stats.batches === both.batches + 2, 'a short request to be taken');
  assert.deepEqual([full.over_waiting, full.host.websocket_pauses], [1, 2]);
  cluster.redis.resume();
  assert.equal((await short.response).json[0].successful, true);
  await light.reply(message.id);
  await allDone(wires[0], ids.slice(0, 100));
  await allDone(wires[1], ids.slice(100));
  assert.equal((await postJson(node.bayeux, text)).json[0].successful, true);
  await when(stats => stats.batches === 0 && stats.waiting_bytes === 0, 'nothing to wait');
});

test('who closes behind what it sent is closed once that was read, and it is done; who breaks off is gone at once', {timeout: 120000}, async t => {
  const cluster = await start(t);
  const [node] = cluster.nodes;
  const open = async () => {
    const wire = await Wire.open(t, node.socket);
    await wire.handshake();
    return wire;
  };
  const [leaver, breaker] = [await open(), await open()];
  cluster.redis.pause();
  flood(leaver, 200, 50000);
  leaver.ws.close(1000);
  flood(breaker, 200, 50000);
  await until(async () => (await cluster.stats(node)).host.websocket_pauses === 2, 'both to be left unread');
  breaker.ws._socket.resetAndDestroy();
  await until(async () => (await cluster.stats(node)).host.websockets === 1, 'the one to be gone');
  cluster.redis.resume();
  assert.equal((await within(leaver.ending, 'the other to be closed')).code, 1000);
  const row = async () => (await getJson(node.admin(`/v1/clients/${leaver.clientId}`))).json;
  await until(async () => (await row()).subscriptions.length === 200, 'what it sent to be done');
});

test('a broker that ends closes one that it does not read, and hears its answer', async t => {
  const cluster = await start(t);
  const [node] = cluster.nodes;
  const wire = await Wire.open(t, node.socket);
  await wire.handshake();
  cluster.redis.pause();
  const faults = [];
  wire.ws._socket.on('error', ({code}) => faults.push(code));
  flood(wire, 86, 50000);
  flood(wire, 500, 10);   // more of them than are taken stand in what was read last
  await until(async () => (await cluster.stats(node)).host.websocket_pauses === 1, 'it to be left unread');
  const stopped = node.stop();
  assert.equal((await within(wire.ending, 'the close')).code, 1001);
  assert.deepEqual(faults, [], 'not by a reset: all that it had sent was read');
  cluster.redis.resume();
  await stopped;
});
