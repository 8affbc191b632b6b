// SPDX-License-Identifier: Apache-2.0
// Every limit: what a client over it sees, the counter, the line in the log. And floods: clients that never
// speak, that speak in crumbs, too much, too deep or nonsense; the others do not notice.
//
// With MORA_TEST_LONG (the long suite `slow`) 10,000 connections that never speak, and their memory.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import {scale, test} from './lib/suite.mjs';
import {binary, startBroker} from './lib/daemon.mjs';
import {connectRaw, getJson, getJsonp, postJson} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {Wire, poller} from './support/wire.mjs';
import {long, memoryOf} from './support/crowd.mjs';

const stats = async broker => (await getJson(broker.admin('/v1/stats'))).json;
const HELLO = {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling']};

// A loopback address of this machine, to come from.
const from = (t, localAddress) => {
  const agent = new http.Agent({keepAlive: true, maxSockets: 1, localAddress});
  t.after(() => agent.destroy());
  return agent;
};

async function told(broker, key, times) {
  const seen = () => broker.log.items.filter(line => line.event === 'limit.reached' && line.limit === key);
  await until(async () => { await stats(broker); return seen().reduce((sum, line) => sum + line.times, 0) === times; }, `the log to name ${key} ${times} times`);
}

// -- one by one ------------------------------------------------------------------------------------

// name, settings, what to do: answers the errors it saw; then the counters (all of them with over_limits)
// and the key in the log.
const nested = n => '['.repeat(n) + ']'.repeat(n);
const publishing = async (broker, ...messages) => (await postJson(broker.bayeux, messages)).json.map(reply => reply.error);
const LIMITS = [
  ['limits.message: data', {'limits.message': '1KB'}, 'over_message', 'limits.message', 1, async broker => {
    const data = n => ({channel: '/a', data: 'x'.repeat(n - 2)});
    assert.deepEqual(await publishing(broker, data(1024), data(1025)), [undefined, '413::Message too large']);
  }],
  ['limits.message: what is not data', {'limits.message': '1KB'}, 'over_message', 'limits.message', 6, async broker => {
    const more = 'x'.repeat(1100);
    const over = '413::Message too large';
    assert.deepEqual(await publishing(broker, {channel: '/a', data: 1, ext: {more}}, {channel: '/a', data: 1, id: more}, {channel: '/a', data: 1, more},
      {channel: '/a', data: 1, [more]: 1}), [over, over, over, over]);
    assert.deepEqual((await postJson(broker.bayeux, `[{"channel":"/a","data":1${' '.repeat(1100)}}]`)).json[0].error, over);
    assert.deepEqual((await postJson(broker.bayeux, [{...HELLO, advice: more}])).json[0].error, over);
  }],
  ['limits.batch', {'limits.batch': 3}, 'over_batch', 'limits.batch', 2, async broker => {
    assert.equal((await postJson(broker.bayeux, [{}, {}, {}])).status, 200);
    assert.equal((await postJson(broker.bayeux, [{}, {}, {}, {}])).status, 400);
    assert.equal((await postJson(broker.bayeux, [Object.fromEntries(Array.from({length: 257}, (_, i) => [`k${i}`, i]))])).status, 400);
  }],
  ['limits.json_depth', {'limits.json_depth': 10}, 'over_depth', 'limits.json_depth', 3, async (broker, t) => {
    assert.equal((await postJson(broker.bayeux, `[{"channel":"/a","data":${nested(8)}}]`)).status, 200);
    assert.equal((await postJson(broker.bayeux, `[{"channel":"/a","data":${nested(9)}}]`)).status, 400);
    assert.equal((await postJson(broker.bayeux, '['.repeat(500000))).status, 400);
    const socket = await Wire.open(t, broker.socket);
    socket.send('[{"a":'.repeat(100000));
    assert.deepEqual((await socket.frames.count(1))[0], [{successful: false, error: '400::Bad request'}]);
  }],
  ['limits.channels', {'limits.channels': 2}, 'over_channels', 'limits.channels', 1, async broker => {
    const session = await poller(broker.bayeux, '/a', '/b');
    const [reply] = await session.post([session.message.subscribe('/c')]);
    assert.equal(reply.error, '403:/c:Too many subscriptions');
  }],
  ['limits.channel_length and limits.channel_depth', {'limits.channel_length': 20, 'limits.channel_depth': 3}, 'over_channel_name',
    'limits.channel_length, limits.channel_depth', 3, async broker => {
      const long = `/${'x'.repeat(20)}`;
      assert.deepEqual(await publishing(broker, {channel: long, data: 1}, {channel: '/a/b/c/d', data: 1}),
        [`405:${long}:Channel too long`, '405:/a/b/c/d:Channel too long']);
      const session = await poller(broker.bayeux);
      const [reply] = await session.post([session.message.subscribe('/a/b/c/*')]);
      assert.equal(reply.error, '405:/a/b/c/*:Channel too long');
    }],
  ['limits.clients', {'limits.clients': 2}, 'over_clients', 'limits.clients', 1, async broker => {
    const replies = (await postJson(broker.bayeux, [HELLO, HELLO, HELLO])).json;
    assert.deepEqual(replies.map(reply => reply.error), [undefined, undefined, '503::Too many clients']);
    assert.ok(replies[2].advice.reconnect === 'handshake' && replies[2].advice.interval >= 1000 && replies[2].advice.interval <= 2000);
  }],
];

for (const [name, set, counter, key, times, action] of LIMITS) {
  test(name, async t => {
    const broker = await startBroker(t, {set});
    await action(broker, t);
    const after = await stats(broker);
    assert.equal(after[counter], times);
    assert.equal(after.over_limits, times);
    await told(broker, key, times);
  });
}

test('limits.body: 413, or a close with 1009, and no more is gathered', async t => {
  const broker = await startBroker(t, {set: {'limits.body': '64KB'}});
  const healthy = await Wire.client(t, broker.socket, '/a');
  const big = Buffer.alloc(10 << 20, ' ');
  // Announced: answered before it comes. In chunks: when it is too much. Who goes on sending is cut off.
  for (const framing of [`Content-Length: ${big.length}`, 'Transfer-Encoding: chunked']) {
    const raw = connectRaw(t, broker.address('broker'));
    await raw.opened;
    raw.send(`POST ${broker.mount} HTTP/1.1\r\nHost: ${broker.address('broker')}\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`);
    if (framing.includes('chunked')) raw.send(`${big.length.toString(16)}\r\n`);
    raw.send(big.subarray(0, 200000));
    await raw.until(/^HTTP\/1.1 413 /);
    raw.send(big).catch(() => {});
    await raw.ended();
  }
  const socket = await Wire.open(t, broker.socket);
  socket.send(big);
  assert.equal((await socket.ended()).code, 1009);
  assert.deepEqual(await healthy.barrier(), []);
  const {host} = await stats(broker);
  assert.equal(host.too_large, 2);
  assert.equal(host.websocket_too_large, 1);
});

// A request that stops in the middle of its body.
async function halfPosted(t, broker, length, sent, chunked = false) {
  const raw = connectRaw(t, broker.address('broker'));
  await raw.opened;
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`;
  await raw.send(`POST ${broker.mount} HTTP/1.1\r\nHost: ${broker.address('broker')}\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`);
  await raw.send(`${chunked ? `${length.toString(16)}\r\n` : ''}[${' '.repeat(sent - 1)}`).catch(() => {});
  return raw;
}

// A websocket that stops in the middle of a message.
async function halfSent(t, broker, sent) {
  const raw = await rawSocket(t, broker);
  const length = sent < 65536 ? [0xfe, sent >> 8, sent & 255] : [0xff, 0, 0, 0, 0, 0, sent >> 16, sent >> 8 & 255, sent & 255];
  const head = Buffer.from([0x01, ...length, 0, 0, 0, 0]);   // no end of the message, and the mask is 0
  await raw.send(Buffer.concat([head, Buffer.from(`[${' '.repeat(sent - 1)}`)])).catch(() => {});
  return raw;
}

const gathered = (broker, bytes, what) => until(async () => (await stats(broker)).host.gathered === bytes, what);

test('limits.gathered: what many hold that is not complete; what is small gets through, and it is given back', async t => {
  const broker = await startBroker(t, {set: {'limits.body': '64KB', 'limits.gathered': '256KB'}});
  const healthy = await Wire.client(t, broker.socket, '/a');
  const counts = 60000 - 8192;   // of each that has sent 60000 bytes; 262144 has room for five
  const holders = await Promise.all([0, 1, 2].map(() => halfPosted(t, broker, 64000, 60000)));
  holders.push(await halfPosted(t, broker, 64000, 60000, true), await halfSent(t, broker, 60000));
  await gathered(broker, 5 * counts, 'five to be held');

  for (const chunked of [false, true]) {
    const late = await halfPosted(t, broker, 64000, 60000, chunked);
    await late.until(/\r\n\r\n\{"error":"Too many requests at once"\}/);
    assert.match(late.text, /^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*connection: close\r\n/);
    await late.ended();
  }
  await (await halfSent(t, broker, 60000)).closedWith(1013);
  assert.equal((await stats(broker)).host.gathered, 5 * counts);

  // Small, and in two pieces.
  const text = JSON.stringify([{channel: '/a', data: 'x'.repeat(6000)}]);
  const small = connectRaw(t, broker.address('broker'));
  await small.opened;
  await small.send(`POST ${broker.mount} HTTP/1.1\r\nHost: ${broker.address('broker')}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n`);
  await small.send(text.slice(0, 5000));
  await healthy.barrier();
  await small.send(text.slice(5000));
  await small.until(/"successful":true/);
  const crumbs = await rawSocket(t, broker);
  for (let at = 0; at < text.length; at += 100) await crumbs.send(frame(at ? 0 : 1, text.slice(at, at + 100), at + 100 >= text.length));
  assert.deepEqual((await healthy.inbox.count(2)).map(message => message.data.length), [6000, 6000]);

  // Who was let in may go on; what the others held is given back.
  await holders[0].send(`${' '.repeat(3999)}]`);
  await holders[0].until(/^HTTP\/1\.1 200 /);
  await holders[4].send(frame(0, ']'));   // an empty list: no answer
  await gathered(broker, 3 * counts, 'those that ended to be given back');
  for (const raw of holders) raw.reset();
  await gathered(broker, 0, 'the rest to be given back');
  assert.equal((await postJson(broker.bayeux, `[${' '.repeat(60000)}]`)).status, 200);
  const {host} = await stats(broker);
  assert.deepEqual([host.gathered_refused, host.too_large, host.bad_requests, host.websocket_bad_frames], [3, 0, 0, 0]);
  await told(broker, 'limits.gathered', 3);
  assert.equal(healthy.closed, null);
});

test('limits.gathered: 100 bodies and 100 messages of 0.9 MB that stop cost the budget and no more', {timeout: 120000}, async t => {
  const lean = {ASAN_OPTIONS: 'detect_leaks=1:exitcode=86:quarantine_size_mb=1:malloc_context_size=2'};
  const broker = await startBroker(t, {env: lean, set: {'limits.gathered': '8MB'}});
  const healthy = await Wire.client(t, broker.socket, '/a');
  for (let n = 0; n < 200; n++) await healthy.barrier();   // what is allocated once
  const before = memoryOf(broker.pid);
  const stopped = await Promise.all(Array.from({length: 100}, (_, n) => [halfPosted(t, broker, 1 << 20, 900000, n % 2 > 0), halfSent(t, broker, 900000)]).flat());
  const after = await until(async () => {
    const {host} = await stats(broker);
    return host.gathered > (8 << 20) - 900000 && host.gathered_refused >= 180 && host;
  }, 'all to be held or refused');
  const grown = memoryOf(broker.pid) - before;
  t.log(`${(grown / 1048576).toFixed(1)} MB for ${after.gathered} bytes`);
  assert.ok(after.gathered <= 8 << 20);
  assert.ok(grown < 64 << 20, `${grown} bytes, of 180 MB`);
  assert.deepEqual(await healthy.barrier(), []);
  for (const raw of stopped) raw.reset();
  await gathered(broker, 0, 'all to be given back');
});

test('limits.header: 431, or 414 for the address', async t => {
  const broker = await startBroker(t, {set: {'limits.header': '2KB'}});
  const more = 'x'.repeat(3000);
  assert.equal((await getJson(broker.url('broker', '/healthz'), {headers: {'X-More': more}})).status, 431);
  assert.equal((await getJson(broker.url('broker', `/healthz?${more}`))).status, 414);
  assert.equal((await getJson(broker.url('broker', `/healthz?${more.slice(2000)}`))).status, 200);
  assert.equal((await stats(broker)).host.too_large, 2);
  await told(broker, 'limits.body, limits.header', 2);
});

// -- addresses and rates ---------------------------------------------------------------------------

const handshakes = async (broker, options, count = 1) =>
  (await postJson(broker.bayeux, Array.from({length: count}, () => HELLO), options)).json;
const refusals = replies => replies.filter(reply => !reply.successful);

test('limits.clients_per_address: one address does not take what is for others; who leaves makes room', async t => {
  const broker = await startBroker(t, {set: {'limits.clients_per_address': 3}});
  const [one, other] = [from(t, '127.0.0.1'), from(t, '127.0.0.2')];
  const replies = await handshakes(broker, {agent: one}, 5);
  assert.deepEqual(replies.map(reply => reply.error), [undefined, undefined, undefined, ...Array(2).fill('429::Too many clients from this address')]);
  assert.ok(replies[4].advice.reconnect === 'handshake' && replies[4].advice.interval >= 1000);
  assert.equal(refusals(await handshakes(broker, {agent: other}, 3)).length, 0);
  await postJson(broker.bayeux, [{channel: '/meta/disconnect', clientId: replies[0].clientId}]);
  assert.equal(refusals(await handshakes(broker, {agent: one}, 2)).length, 1);
  // On a websocket, and by callback-polling, it is the same.
  const socket = await Wire.open(t, broker.socket);
  socket.send([{...HELLO, id: 'h'}]);
  assert.equal((await socket.reply('h')).error, '429::Too many clients from this address');
  assert.equal((await getJsonp(broker.bayeux, [HELLO])).json[0].error, '429::Too many clients from this address');
  assert.equal((await stats(broker)).over_clients_per_address, 5);
  await told(broker, 'limits.clients_per_address', 5);
});

test('behind a trusted proxy each forwarded address counts by itself; of others X-Forwarded-For is not believed', async t => {
  const broker = await startBroker(t, {set: {'limits.clients_per_address': 1, 'broker.trusted_proxies': ['127.0.0.1']}});
  const proxy = from(t, '127.0.0.1');
  const forwarded = address => ({agent: proxy, headers: {'X-Forwarded-For': address}});
  for (let n = 0; n < 50; n++) assert.equal(refusals(await handshakes(broker, forwarded(`192.0.2.${n}`), 2)).length, 1);
  // 64 bits of an IPv6 address are one customer.
  assert.equal(refusals(await handshakes(broker, forwarded('2001:db8:1:2::1'))).length, 0);
  assert.equal(refusals(await handshakes(broker, forwarded('2001:db8:1:2:ffff::2'))).length, 1);
  assert.equal(refusals(await handshakes(broker, forwarded('2001:db8:1:3::1'))).length, 0);
  const liar = from(t, '127.0.0.2');
  const lies = [];
  for (let n = 0; n < 5; n++) lies.push(...await handshakes(broker, {agent: liar, headers: {'X-Forwarded-For': `198.51.100.${n}`}}));
  assert.equal(refusals(lies).length, 4);
});

test('limits.handshake_rate: half of it for one address, all of it for all; who tries again gets in', async t => {
  const broker = await startBroker(t, {set: {'limits.handshake_rate': 10}});
  const flood = await handshakes(broker, {agent: from(t, '127.0.0.2')}, 100);
  // Four seconds of 5 a second, and what the time of the request added.
  assert.ok(refusals(flood).length >= 70 && refusals(flood).length <= 80, String(refusals(flood).length));
  for (const {error, advice} of refusals(flood)) {
    assert.equal(error, '429::Too many handshakes');
    assert.ok(advice.reconnect === 'handshake' && advice.interval >= 1000 && advice.interval <= 2000);
  }
  assert.equal(refusals(await handshakes(broker, {agent: from(t, '127.0.0.3')}, 15)).length, 0);
  const last = from(t, '127.0.0.4');
  const rest = await handshakes(broker, {agent: last}, 20);
  assert.ok(refusals(rest).length > 0, 'what is for all is used up');
  await until(async () => refusals(await handshakes(broker, {agent: last})).length === 0, 'a handshake to be taken again');
  const after = await stats(broker);
  assert.ok(after.over_handshake_rate >= refusals(flood).length + refusals(rest).length);
  assert.equal(after.over_limits, after.over_handshake_rate);
  assert.ok(broker.log.items.some(line => line.event === 'limit.reached' && line.limit === 'limits.handshake_rate'));
});

// A connection that says nothing: 'open', 'refused' (reset before a byte), or 'waiting'.
function knock(t, broker, localAddress) {
  const [host, port] = broker.address('broker').split(':');
  const socket = net.connect({host, port: Number(port), localAddress});
  t.after(() => socket.destroy());
  const visit = {socket, closed: false};
  socket.on('error', () => {});
  socket.on('close', () => { visit.closed = true; });
  socket.resume();
  visit.connected = new Promise(resolve => socket.once('connect', resolve).once('close', resolve));
  return visit;
}

test('limits.accept_rate: one address is reset beyond its half; for all together accepting pauses and goes on', async t => {
  const broker = await startBroker(t, {set: {'limits.accept_rate': 10}});
  const flood = Array.from({length: 60}, () => knock(t, broker, '127.0.0.2'));
  await Promise.all(flood.map(visit => visit.connected));
  const after = await until(async () => {
    const now = await stats(broker);
    return now.host.accept_refused >= 30 && now;
  }, 'the rest to be reset');
  assert.ok(after.host.accept_refused <= 40, 'four seconds of 5 are taken');
  await until(() => flood.filter(visit => visit.closed).length === after.host.accept_refused, 'them to see it');
  // The others share what is left, and wait for the rest.
  const others = Array.from({length: 30}, (_, n) => getJson(broker.url('broker', '/healthz'), {agent: from(t, `127.0.1.${n + 1}`)}));
  for (const answer of await Promise.all(others)) assert.equal(answer.status, 200);
  assert.ok((await stats(broker)).host.accept_pauses > 0);
  assert.ok(broker.log.items.some(line => line.event === 'limit.reached' && line.limit === 'limits.accept_rate'));
});

// -- connections of nobody -------------------------------------------------------------------------

test('limits.handshake_time: a websocket without a session is closed with 1008, one that publishes is not', async t => {
  const broker = await startBroker(t, {set: {'limits.handshake_time': '300ms'}});
  const client = await Wire.client(t, broker.socket, '/a');
  const publisher = await Wire.open(t, broker.socket);
  await publisher.barrier();
  for (let round = 0; round < 3; round++) {
    const silent = await Wire.open(t, broker.socket);
    const refused = await Wire.open(t, broker.socket);
    refused.send([{channel: '/a/*', data: 1}, {channel: '/meta/connect', clientId: 'nobody', connectionType: 'websocket'}, {channel: '/meta/handshake'}]);
    refused.ws.ping();
    for (const socket of [silent, refused]) assert.deepEqual(await socket.ended(), {code: 1008, reason: 'no handshake'});
  }
  assert.equal((await stats(broker)).transport.silent, 6);
  publisher.send([{channel: '/a', data: 'still'}]);
  assert.deepEqual((await client.inbox.count(1)).map(message => message.data), ['still']);
});

test('a websocket whose session has ended is closed in the end', async t => {
  const broker = await startBroker(t, {set: {'limits.handshake_time': '200ms', 'broker.timeout': '300ms'}});
  const socket = await Wire.open(t, broker.socket);
  await socket.handshake();
  assert.equal((await socket.ended()).code, 1008);
  const after = await stats(broker);
  assert.equal(after.expired, 1);
  assert.equal(after.transport.silent, 1);
});

const SILENT = long ? 10000 : 1000;

test(`${SILENT} connections that never speak are closed, the others do not notice`, {timeout: 180000}, async t => {
  const time = long || scale > 1 ? 20000 : 8000;   // to open them in
  const broker = await startBroker(t, {set: {'limits.handshake_time': `${time}ms`}});
  const healthy = await Wire.client(t, broker.socket, '/a');
  for (let n = 0; n < 200; n++) await healthy.barrier();   // what is allocated once
  const before = memoryOf(broker.pid);
  const visits = [];
  for (let n = 0; n < SILENT; n += 100) {
    const some = Array.from({length: 100}, (_, i) => knock(t, broker, `127.0.${(n / 100) % 4}.${i + 2}`));
    await Promise.all(some.map(visit => visit.connected));
    visits.push(...some);
  }
  const open = await stats(broker);
  assert.equal(open.host.accept_refused + open.host.accept_failures, 0);
  assert.ok(open.host.open >= SILENT, `${open.host.open} of ${SILENT}: too slow for this test`);
  const each = (memoryOf(broker.pid) - before) / SILENT;
  t.log(`${(each / 1024).toFixed(1)} KB for each`);
  if (long) assert.ok(each < 4096, `${each} bytes each`);
  while (visits.some(visit => !visit.closed)) {
    await healthy.barrier();
    await sleep(20);
  }
  const after = await stats(broker);
  assert.equal(after.host.silent_timeouts, SILENT);
  assert.equal(after.sessions, 1);
  assert.deepEqual(await healthy.barrier(), []);
});

// -- descriptors -----------------------------------------------------------------------------------

test('too few descriptors: said at the start; when they run out those who are in stay, and the next gets in when one leaves', async t => {
  const broker = await startBroker(t, {command: ['/bin/sh', '-c', 'ulimit -n 150 && exec "$0" "$@"', binary('mora-broker')]});
  const low = await broker.log.find(line => line.event === 'descriptors.low', 'the warning');
  assert.deepEqual([low.limit, low.level], [150, 'warn']);
  assert.match(low.hint, /ulimit.*limits\.clients/);
  const client = await Wire.client(t, broker.socket, '/a');
  const admin = new http.Agent({keepAlive: true, maxSockets: 1});
  t.after(() => admin.destroy());
  const host = async () => (await getJson(broker.admin('/v1/stats'), {agent: admin})).json.host;
  await host();
  const visits = Array.from({length: 200}, () => knock(t, broker, '127.0.0.1'));
  await until(async () => (await host()).accept_failures > 0, 'descriptors to run out');
  client.send([{channel: '/a', data: 'in'}]);
  assert.deepEqual((await client.inbox.count(1)).map(message => message.data), ['in']);
  visits.forEach(visit => visit.socket.destroy());
  const late = await Wire.open(t, broker.socket);
  await late.handshake();
});

// -- nonsense and floods ---------------------------------------------------------------------------

const frame = (opcode, payload, fin = true) => {
  const bytes = Buffer.from(payload);
  assert.ok(bytes.length < 126);
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, 0x80 | bytes.length, 0, 0, 0, 0]), bytes]);   // the mask is 0
};

async function rawSocket(t, broker) {
  const raw = connectRaw(t, broker.address('broker'));
  await raw.opened;
  await raw.send(`GET ${broker.mount} HTTP/1.1\r\nHost: ${broker.address('broker')}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OUFCQ0RFRg==\r\n\r\n');
  await raw.until(/\r\n\r\n/);
  raw.text = '';
  raw.closedWith = async code => {
    await raw.until(/\x88[\x02-\x7d][^]{2}/, `a close with ${code}`);
    const at = raw.text.search(/\x88[\x02-\x7d][^]{2}/);
    assert.equal(raw.text.charCodeAt(at + 2) * 256 + raw.text.charCodeAt(at + 3), code);
  };
  return raw;
}

test('a message in fragments of one byte is a message; 65,536 of them are closed with 1008, empty ones too', async t => {
  const broker = await startBroker(t);
  const healthy = await Wire.client(t, broker.socket, '/a');
  const text = JSON.stringify([{channel: '/a', data: 'crumbs'}]);
  const crumbs = text => [...text].map((letter, i) => frame(i ? 0 : 1, letter, i === text.length - 1));
  const polite = await rawSocket(t, broker);
  for (let n = 0; n < 40; n++) await polite.send(Buffer.concat(crumbs(text)));
  assert.equal((await healthy.inbox.count(40)).every(message => message.data === 'crumbs'), true);
  for (const letter of ['x', '']) {
    const raw = await rawSocket(t, broker);
    await raw.send(Buffer.concat([frame(1, '[', false), ...Array.from({length: 65535}, () => frame(0, letter, false))])).catch(() => {});
    await raw.closedWith(1008);
    assert.deepEqual((await healthy.gather()).filter(message => message.data !== 'crumbs'), []);
  }
  const {host} = await stats(broker);
  assert.equal(host.websocket_floods, 2);
  assert.equal(host.websocket_too_large, 0);
});

test('floods of control frames are closed with 1008 and cost no memory, the others do not notice', async t => {
  const broker = await startBroker(t);
  const healthy = await Wire.client(t, broker.socket, '/a');
  const payload = 'x'.repeat(125);
  for (const [opcode, reads] of [[9, true], [9, false], [10, true]]) {
    const raw = await rawSocket(t, broker);
    if (!reads) raw.socket.pause();   // pongs are not read
    const flood = Buffer.concat(Array.from({length: 5000}, () => frame(opcode, payload)));
    const before = memoryOf(broker.pid);
    for (let n = 0; n < 20 && !raw.closed; n++) {
      await Promise.race([raw.send(flood).catch(() => {}), sleep(100)]);
      await healthy.barrier();
    }
    if (reads) await raw.ended();
    const grown = memoryOf(broker.pid) - before;
    assert.ok(grown < 8 << 20, `${grown} bytes for 100,000 frames`);
    raw.reset();
  }
  const after = await until(async () => (await stats(broker)).transport.sockets === 1 && stats(broker), 'them to be closed');
  assert.equal(after.host.websocket_floods, 3);
  // Some are no flood.
  const polite = await rawSocket(t, broker);
  await polite.send(Buffer.concat(Array.from({length: 900}, (_, n) => frame(9, `${n}`))));
  await polite.until(/\x8a\x03899/);
});

test('texts that are no messages: answered, counted, and the connection goes on', async t => {
  const broker = await startBroker(t);
  const healthy = await Wire.client(t, broker.socket, '/a');
  const twice = `{"channel":"/x","channel":"/a","data":1,"data":2,"id":1,"id":"b"${',"more":0'.repeat(1000)}}`;
  const BAD = ['{', '[', '"', '[{]', '{"a":}', '\ufeff[]', '[1,]', 'nul', '7', '"text"', '['.repeat(33), '{"a":'.repeat(1000)];
  for (const text of BAD) assert.equal((await postJson(broker.bayeux, text)).status, 400, text.slice(0, 10));
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
    const body = Buffer.concat([Buffer.from('[{"channel":"/a","data":"'), Buffer.from(bytes), Buffer.from('"}]')]);
    assert.equal((await postJson(broker.bayeux, body)).status, 400, String(bytes));
    const raw = await rawSocket(t, broker);
    await raw.send(frame(1, Buffer.concat([Buffer.from('["'), Buffer.from(bytes), Buffer.from('"]')])));
    await raw.closedWith(1007);
  }
  const socket = await Wire.open(t, broker.socket);
  for (const text of BAD) socket.send(text);
  const answers = await socket.frames.when(frames => frames.flat().length >= BAD.length && frames.flat(), 'an answer to each');
  assert.ok(answers.every(answer => answer.error === '400::Bad request'));
  // Of a member that comes more than once the last counts, in the place of the first.
  assert.equal((await postJson(broker.bayeux, twice)).json[0].successful, true);
  assert.deepEqual(await healthy.barrier(), [{channel: '/a', data: 2, id: 'b', more: 0}]);
  const after = await stats(broker);
  assert.equal(after.bad_texts, 2 * BAD.length + 5);
  assert.equal(after.over_depth, 4);
});

test('half-open: a body or a head that stops coming does not stay for ever', async t => {
  const broker = await startBroker(t, {set: {'limits.handshake_time': '300ms'}});
  const raw = connectRaw(t, broker.address('broker'));
  await raw.opened;
  await raw.send(`POST ${broker.mount} HTTP/1.1\r\nHost: ${broker.address('broker')}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[`);
  await raw.ended();
  const other = connectRaw(t, broker.address('broker'));
  await other.opened;
  await other.send('GET / HT');
  await other.ended();
  const {host} = await stats(broker);
  assert.deepEqual([host.body_timeouts, host.header_timeouts], [1, 1]);
});
