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
import {Feed, sleep, until} from './lib/wait.mjs';
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
async function cost(t, reads) {
  const broker = await startBroker(t, {set});
  const readers = [];
  for (let n = 0; n < 10; n++) readers.push(await Wire.client(t, broker.socket, '/probe'));
  for (const reader of readers) reader.inbox = new Feed();
  const clients = await crowd(t, broker, CLIENTS, '/bulk');
  await publishNumbers(t, broker, '/other', 0, 2000);   // what is allocated once
  const idle = await probes(broker, readers, 100);
  const before = memoryOf(broker.pid);
  if (!reads) clients.forEach(client => client.stop());
  const loaded = [];
  await publishNumbers(t, broker, '/bulk', 0, MESSAGES,
                       {between: async () => { if (!reads) loaded.push(...await probes(broker, readers, 2)); }});
  if (reads) for (const client of clients) await client.until(() => client.next === MESSAGES, 'all messages', timeout);
  const grown = memoryOf(broker.pid) - before;
  const stuck = await probes(broker, readers, 100);
  const {journal} = await stats(broker);
  for (const client of clients) client.close();
  return {grown, idle, loaded, stuck, journal};
}

test(`what ${CLIENTS} clients that do not read cost, and what the others notice`, {timeout: 2 * timeout}, async t => {
  if (!long) t.skip('measured in the long suite slow');
  const reading = await cost(t, true);
  const stopped = await cost(t, false);
  const each = (stopped.grown - reading.grown) / CLIENTS;
  const p = (times, q) => percentile(times, q).toFixed(2);
  t.log(`memory grew by ${mb(reading.grown)} with readers, ${mb(stopped.grown)} without (${mb(stopped.journal.bytes)} of text in the journal): `
    + `${(each / 1024).toFixed(1)} KB for each that does not read`);
  for (const [phase, times] of [['nobody stopped', stopped.idle], ['while publishing to them', stopped.loaded], ['all stopped', stopped.stuck]])
    t.log(`latency at 10 other clients, ${phase}: p50 ${p(times, 0.5)} ms, p99 ${p(times, 0.99)} ms`);
  assert.ok(each <= MEMORY, `${each} bytes`);
  const ratio = percentile(stopped.stuck, 0.5) / percentile(stopped.idle, 0.5);
  assert.ok(ratio < 2, `the median latency of the others is ${ratio.toFixed(2)} times what it was`);
});
