// SPDX-License-Identifier: Apache-2.0
// Clients that stop reading: what they miss stays in the journal and comes when they read again, in order;
// or they are told. What they cost meanwhile, and what the others notice of it.
//
// With MORA_TEST_LONG (the long suite `slow`) as many as docs/testing.md says, and memory and latencies are
// measured; otherwise a smaller crowd, and only what arrives is judged.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {Wire} from './support/wire.mjs';
import {crowd, long, memoryOf, percentile, publishNumbers} from './support/crowd.mjs';

const CLIENTS = long ? 200 : 20;
const MESSAGES = long ? 50000 : 10000;
const MEMORY = 32 * 1024;   // bytes for each that does not read
const set = {'broker.timeout': '600s', 'broker.ping': '600s'};
const timeout = long ? 300000 : 60000;
const stats = async broker => (await getJson(broker.admin('/v1/stats'))).json;
const mb = bytes => `${(bytes / 1048576).toFixed(1)} MB`;

// Probes on a channel of their own: how long each took to arrive at the last of the `readers`.
async function probes(broker, readers, count) {
  const times = [];
  for (let n = 0; n < count; n++) {
    const from = performance.now();
    const arrived = Promise.all(readers.map(reader => reader.inbox.count(reader.inbox.length + 1)));
    await postJson(broker.admin('/v1/publish'), {channel: '/probe', data: n});
    await arrived;
    times.push(performance.now() - from);
    await sleep(5);
  }
  return times;
}

test(`${CLIENTS} clients stop reading, ${MESSAGES} messages of 128 bytes pass, they read again: all arrive, in order`, {timeout}, async t => {
  const broker = await startBroker(t, {set});
  const clients = await crowd(t, broker, CLIENTS, '/bulk');
  clients.forEach(client => client.stop());
  await publishNumbers(t, broker, '/bulk', 0, MESSAGES);
  const stuck = await stats(broker);
  assert.equal(stuck.reading, CLIENTS, 'all of them have more to read than their connections took');
  assert.ok(stuck.overflows >= CLIENTS);
  clients.forEach(client => client.go());
  for (const client of clients) await client.until(() => client.next === MESSAGES, 'all messages', timeout);
  const after = await until(async () => (await stats(broker)).live === CLIENTS && stats(broker), 'all of them to be live');
  assert.equal(after.lost_sessions + after.lagging_sessions, 0);
  assert.equal(after.resent, 0);
  assert.deepEqual(clients.map(client => client.closed).filter(code => code !== null), []);
});

for (const [name, more, counter, reason] of [
  ['journal.messages = 1000', {'journal.messages': 1000}, 'lost_sessions', 'what it missed has left the journal'],
  ['limits.lag = 1000', {'limits.lag': 1000}, 'lagging_sessions', 'it missed more than limits.lag'],
]) {
  test(`the same with ${name}: they get what was under way, and are told`, {timeout}, async t => {
    const broker = await startBroker(t, {set: {...set, ...more}});
    const clients = await crowd(t, broker, CLIENTS, '/bulk');
    clients.forEach(client => client.stop());
    await publishNumbers(t, broker, '/bulk', 0, MESSAGES);
    clients.forEach(client => client.go());
    for (const client of clients) {
      await client.until(() => client.told, 'to be told');   // a message out of order, or behind it, is a fault
      assert.equal(client.told.successful, false);
      assert.equal(client.told.error, `401:${client.clientId}:Unknown client`);
      assert.equal(client.told.advice.reconnect, 'handshake');
      assert.ok(client.next < MESSAGES);
      await client.until(() => client.closed === 1000, 'to be closed');
    }
    const after = await stats(broker);
    assert.equal(after[counter], CLIENTS);
    assert.equal(after.sessions, 0);
    const lines = broker.log.items.filter(line => line.event === 'session.lost');
    assert.ok(lines.length > 0 && lines.every(line => line.reason === reason), JSON.stringify(lines));
    // Who shakes hands again begins at the head.
    const fresh = await Wire.client(t, broker.socket, '/bulk');
    await publishNumbers(t, broker, '/bulk', 7, 8);
    assert.deepEqual((await fresh.barrier()).map(message => Number(message.data)), [7]);
  });
}

// The same load with a crowd that reads and with one that does not: the difference is what not reading costs.
async function load(t, reads) {
  const broker = await startBroker(t, {set});
  const readers = [];
  for (let n = 0; n < 10; n++) readers.push(await Wire.client(t, broker.socket, '/probe'));
  const clients = await crowd(t, broker, CLIENTS, '/bulk');
  await publishNumbers(t, broker, '/other', 0, 2000);   // what is allocated once
  await probes(broker, readers, 100);
  const before = memoryOf(broker.pid);
  if (!reads) clients.forEach(client => client.stop());
  await publishNumbers(t, broker, '/bulk', 0, MESSAGES);
  if (reads) for (const client of clients) await client.until(() => client.next === MESSAGES, 'all messages', timeout);
  const grown = memoryOf(broker.pid) - before;
  return {broker, readers, grown, journal: (await stats(broker)).journal, times: []};
}

test(`what ${CLIENTS} clients that do not read cost, and what the others notice`, {timeout: 2 * timeout}, async t => {
  if (!long) t.skip('measured in the long suite slow');
  const reading = await load(t, true);
  const stopped = await load(t, false);
  const each = (stopped.grown - reading.grown) / CLIENTS;
  t.log(`memory grew by ${mb(reading.grown)} with readers, ${mb(stopped.grown)} without (${mb(stopped.journal.bytes)} of text in the journal): `
    + `${(each / 1024).toFixed(1)} KB for each that does not read`);
  // In turns, so that whatever else the machine does meets both.
  for (let round = 0; round < 300; round++)
    for (const side of [reading, stopped]) side.times.push(...await probes(side.broker, side.readers, 1));
  const p = (times, q) => percentile(times, q).toFixed(2);
  for (const [name, {times}] of [['beside a crowd that reads', reading], ['beside one that stopped', stopped]])
    t.log(`latency at 10 other clients, ${name}: p50 ${p(times, 0.5)} ms, p90 ${p(times, 0.9)} ms, p99 ${p(times, 0.99)} ms`);
  assert.ok(each <= MEMORY, `${each} bytes`);
  const ratio = percentile(stopped.times, 0.5) / percentile(reading.times, 0.5);
  t.log(`ratio of the medians ${ratio.toFixed(2)}`);
  assert.ok(ratio < 1.5, `the median latency of the others is ${ratio.toFixed(2)} times what it was`);
});
