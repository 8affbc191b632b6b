// SPDX-License-Identifier: Apache-2.0
// What a peer can do to HTTP and to websocket frames, on bare sockets, while others are being served.

import assert from 'node:assert/strict';
import net from 'node:net';
import {test} from './lib/suite.mjs';
import {run, startApi, startBroker, startWeb} from './lib/daemon.mjs';
import {connectRaw, getJson, postJson, request} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {Wire, asSocketUrl, publish} from './support/wire.mjs';

const statsOf = async broker => (await getJson(broker.admin('/v1/stats'))).json;

// What `action` adds to the host's numbers.
async function during(broker, action) {
  const before = (await statsOf(broker)).host;
  await action();
  const after = (await statsOf(broker)).host;
  return name => after[name] - before[name];
}

// A subscriber, and a check that it is served: from now on, and in order.
async function healthy(t, broker) {
  const socket = await Wire.open(t, asSocketUrl(broker.bayeux));
  await socket.handshake();
  await socket.subscribe('/healthy');
  socket.connect();
  await socket.barrier();
  let count = 0;
  return async () => {
    await publish(broker.bayeux, '/healthy', ++count);
    await socket.frames.when(() => socket.messages.some(message => message.channel === '/healthy' && message.data === count), `message ${count}`);
    assert.equal(socket.closed, null);
  };
}

const HOST = 'Host: localhost\r\n';
const JSON_BODY = 'Content-Type: application/json\r\n';
const SMUGGLED = `POST /bayeux HTTP/1.1\r\n${HOST}${JSON_BODY}Content-Length: 48\r\n\r\n[{"channel":"/smuggled","data":1,"id":"abcdefg"}]`.replace('48', '49');

// Sends the bytes and reads until the server ends the connection; its answers' statuses.
async function statuses(t, broker, bytes, {end = true} = {}) {
  const raw = connectRaw(t, broker.address('broker'));
  await raw.opened;
  await raw.send(bytes).catch(() => {});
  if (end) await raw.ended();
  return {raw, list: [...raw.text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(match => Number(match[1]))};
}

test('a body is never run as a request, whatever the header in front of its length is called', async t => {
  const broker = await startBroker(t);
  const serves = await healthy(t, broker);
  const spy = await Wire.open(t, asSocketUrl(broker.bayeux));
  await spy.handshake();
  await spy.subscribe('/smuggled');
  spy.connect();
  const carrier = `[{"channel":"/a","data":${JSON.stringify(SMUGGLED)}}]`;
  for (const name of ['If', 'C', 'Content', 'Content-Lengt', 'Hos', 'X', 'Transfer', 'Upgrade-', 'Sec-WebSocket']) {
    const {raw} = await statuses(t, broker, `POST /bayeux HTTP/1.1\r\n${HOST}${name}: a\r\nContent-Length: ${carrier.length}\r\n${JSON_BODY}\r\n${carrier}` +
      `GET /healthz HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    assert.deepEqual([...raw.text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(match => match[1]), ['200', '200'], name);
  }
  // Framing that two readers could read differently: one refusal, then the end.
  for (const fields of ['Content-Length: 4\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: chunked\r\nContent-Length: 4', 'Content-Length: 4\r\nContent-Length: 5',
    'Content-Length: 4\r\nContent-Length: 4', 'Content-Length: +4', 'Content-Length: 4,4', 'Transfer-Encoding: xchunked', 'Transfer-Encoding: chunked, gzip', 'Content-Length : 4',
    'Transfer-Encoding\r\n : chunked', 'X: a\r\n Content-Length: 4', 'X: a\nContent-Length: 4', 'X: a\rContent-Length: 4', 'Transfer-Encoding:\x0bchunked', 'X: \0']) {
    const {list} = await statuses(t, broker, `POST /bayeux HTTP/1.1\r\n${HOST}${fields}\r\n\r\n0\r\n\r\n${SMUGGLED}`);
    assert.deepEqual(list, [400], JSON.stringify(fields));
  }
  for (const chunks of ['1\n', '1\r\nx\n', '1;a\nb\r\n', '0x1\r\n', ' 1\r\n', '1 \r\n', '11111111111111111\r\n', '1\r\nxx', '0\r\nA\r\n\r\n']) {
    const {list} = await statuses(t, broker, `POST /bayeux HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunks}${SMUGGLED}`);
    assert.deepEqual(list, [400], JSON.stringify(chunks));
  }
  await spy.barrier();
  const got = () => spy.messages.filter(message => message.channel === '/smuggled' && 'data' in message).length;
  assert.equal(got(), 0, 'nothing was smuggled');
  const direct = await statuses(t, broker, SMUGGLED + `GET /healthz HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  assert.deepEqual(direct.list, [200, 200], 'sent openly it is a request');
  await spy.barrier();
  assert.equal(got(), 1);
  await serves();
});

test('what is too large or makes no sense has an answer, a number, and an end', async t => {
  const broker = await startBroker(t, {set: {'limits.header': '2KB'}});
  const serves = await healthy(t, broker);
  const cases = [
    [`GET /${'a'.repeat(3000)} HTTP/1.1\r\n${HOST}\r\n`, 414], [`GET /${'a'.repeat(3000)}`, 414],
    [`GET / HTTP/1.1\r\n${HOST}Cookie: ${'a'.repeat(3000)}\r\n\r\n`, 431], [`GET / HTTP/1.1\r\n${HOST}Cookie: ${'a'.repeat(3000)}`, 431],
    [`GET / HTTP/1.1\r\n${HOST}${'A: b\r\n'.repeat(200)}\r\n`, 431],
    [`GET /%00 HTTP/1.1\r\n${HOST}\r\n`, 400], [`GET /%zz HTTP/1.1\r\n${HOST}\r\n`, 400], [`GET /a/../b HTTP/1.1\r\n${HOST}\r\n`, 400],
    [`GET * HTTP/1.1\r\n${HOST}\r\n`, 400], [`OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, 400], [`GET http://elsewhere/ HTTP/1.1\r\n${HOST}\r\n`, 400],
    [`GET / HTTP/1.1\r\n\r\n`, 400], [`GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, 400], [`GET / HTTP/3.0\r\n${HOST}\r\n`, 505], ['\x16\x03\x01\x02\x00\x01', 400],
    [`CONNECT a:1 HTTP/1.1\r\n${HOST}\r\n`, 501], ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 501],
    [`POST /bayeux HTTP/1.1\r\n${HOST}Content-Length: 99999999\r\n\r\n`, 413], [`POST /bayeux HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nfffffff\r\n`, 413],
  ];
  const added = await during(broker, async () => {
    for (const [bytes, status] of cases) assert.deepEqual((await statuses(t, broker, bytes)).list, [status], bytes.slice(0, 60));
  });
  const large = cases.filter(([, status]) => [413, 414, 431].includes(status)).length;
  assert.equal(added('too_large'), large);
  assert.equal(added('bad_requests'), cases.length - large);
  const parts = Array.from({length: 100}, (_, i) => `a${i}=b`).join('&');
  assert.equal((await request(broker.url('broker', `/healthz?${parts}`))).status, 200);
  const absolute = await statuses(t, broker, `GET http://localhost/healthz HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  assert.deepEqual(absolute.list, [200]);
  await serves();
});

// -- names -----------------------------------------------------------------------------------------

test('on loopback only its own names and those of access.origins are answered; the log names the key', async t => {
  const broker = await startBroker(t, {set: {'access.origins': ['https://chat.example.org']}});
  const serves = await healthy(t, broker);
  const ask = async host => (await statuses(t, broker, `GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)).list;
  const socket = host => statuses(t, broker, `GET /bayeux HTTP/1.1\r\nHost: ${host}\r\n${UPGRADE}\r\n`).then(({list}) => list);
  const added = await during(broker, async () => {
    for (const host of ['localhost', 'LOCALHOST:80', '127.0.0.1', '127.0.0.1:1234', '[::1]:9', 'chat.example.org', 'chat.example.org:8443'])
      assert.deepEqual(await ask(host), [200], host);
    for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example:8000', 'example.org', '10.0.0.1'])
      assert.deepEqual(await ask(host), [403], host);
    assert.deepEqual(await socket('evil.example'), [403]);
  });
  assert.equal(added('bad_hosts'), 6);
  assert.equal(added('bad_requests'), 0);
  const told = await broker.log.when(events => events.find(event => event.event === 'host.refused'), 'the log');
  assert.equal(told.host, 'evil.example');
  assert.match(told.hint, /access\.origins/);
  await serves();
});

test('mora-web, too', async t => {
  const broker = await startBroker(t), api = await startApi(t, broker), web = await startWeb(t, api, {set: {'web.origins': ['https://chat.example.org']}});
  const status = async host => {
    const raw = connectRaw(t, web.address('web'));
    await raw.send(`GET /rooms/lobby HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    await raw.ended();
    return Number(/^HTTP\/1\.1 (\d+)/.exec(raw.text)?.[1]);
  };
  assert.equal(await status('localhost'), 200);
  assert.equal(await status('chat.example.org'), 200);
  assert.equal(await status('evil.example'), 403);
});

// -- websockets ------------------------------------------------------------------------------------

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

test('upgrades: what is refused, and how; subprotocols of any length are passed over', async t => {
  const broker = await startBroker(t);
  const serves = await healthy(t, broker);
  const up = (fields, line = 'GET /bayeux HTTP/1.1', host = HOST) => statuses(t, broker, `${line}\r\n${host}${fields}\r\n`);
  const without = name => UPGRADE.split('\r\n').filter(field => field && !field.startsWith(name)).map(field => field + '\r\n').join('');
  for (const version of ['8', '99', '013', '13, 8', '']) {
    const {raw, list} = await up(`${without('Sec-WebSocket-Version')}Sec-WebSocket-Version: ${version}\r\n`);
    assert.deepEqual(list, [426], version);
    assert.match(raw.text, /^sec-websocket-version: 13\r$/mi);
  }
  const bad = {
    'no key': without('Sec-WebSocket-Key'), 'two keys': UPGRADE + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n', 'short key': without('Sec-WebSocket-Key') + 'Sec-WebSocket-Key: YQ==\r\n',
    'no connection': without('Connection'), 'another connection': without('Connection') + 'Connection: keep-alive\r\n', h2c: 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n',
    tea: 'Connection: Upgrade\r\nUpgrade: tea\r\n', body: UPGRADE + 'Content-Length: 3\r\n',
  };
  for (const [what, fields] of Object.entries(bad)) assert.deepEqual((await up(fields)).list, [400], what);
  assert.deepEqual((await up(UPGRADE, 'GET /bayeux HTTP/1.0')).list, [400]);
  assert.deepEqual((await up(UPGRADE, 'POST /bayeux HTTP/1.1')).list, [400]);
  assert.deepEqual((await up(UPGRADE, 'GET /nowhere HTTP/1.1')).list, [404]);
  for (const offer of ['foo', 'a, b, c', 'x'.repeat(64), 'x'.repeat(2000)]) {
    const {raw} = await statuses(t, broker, `GET /bayeux HTTP/1.1\r\n${HOST}${UPGRADE}Sec-WebSocket-Protocol: ${offer}\r\n\r\n`, {end: false});
    await raw.until(/\r\n\r\n/);
    assert.match(raw.text, /^HTTP\/1\.1 101 /, offer.slice(0, 20));
    assert.doesNotMatch(raw.text, /sec-websocket-protocol/i);
    raw.socket.destroy();
  }
  await serves();
});

// A frame. mask null: without one.
function frame(first, payload, {mask = [1, 2, 3, 4], length = payload.length, form} = {}) {
  const bytes = Buffer.from(payload), size = form ?? (length < 126 ? 1 : length < 65536 ? 2 : 8);
  const head = Buffer.alloc(size === 1 ? 2 : 2 + size);
  head[0] = first;
  head[1] = (mask ? 0x80 : 0) | (size === 1 ? length : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(length, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(length), 2);
  if (mask) for (let i = 0; i < bytes.length; i++) bytes[i] ^= mask[i % 4];
  return Buffer.concat([head, Buffer.from(mask ?? []), bytes]);
}

async function opened(t, broker) {
  const raw = connectRaw(t, broker.address('broker'));
  await raw.send(`GET /bayeux HTTP/1.1\r\n${HOST}${UPGRADE}\r\n`);
  await raw.until(/\r\n\r\n/);
  assert.match(raw.text, /^HTTP\/1\.1 101 /);
  return raw;
}

const closeCode = raw => {
  const bytes = Buffer.from(raw.text.slice(raw.text.indexOf('\r\n\r\n') + 4), 'latin1');
  const at = bytes.indexOf(0x88);
  return at < 0 ? 0 : bytes.readUInt16BE(at + 2);
};

test('frames that no client may send are closed with the code that says why, and counted', async t => {
  const broker = await startBroker(t, {set: {'limits.body': '64KB'}});
  const serves = await healthy(t, broker);
  const cases = {
    'not masked': [1002, frame(0x81, '[]', {mask: null})], 'a ping that is not masked': [1002, frame(0x89, '', {mask: null})],
    'reserved bit 1': [1002, frame(0xc1, '[]')], 'reserved bit 2': [1002, frame(0xa1, '[]')], 'reserved bit 3': [1002, frame(0x91, '[]')],
    'opcode 3': [1002, frame(0x83, '[]')], 'opcode 11': [1002, frame(0x8b, '')], 'a large ping': [1002, frame(0x89, 'x'.repeat(126))], 'a ping in pieces': [1002, frame(0x09, 'x')],
    'continues nothing': [1002, frame(0x80, 'x')], 'a message in a message': [1002, frame(0x01, '['), frame(0x81, '[]')], 'a long form': [1002, frame(0x81, '[]', {form: 2})],
    'a length beyond all': [1002, frame(0x81, '', {form: 8, length: 0}).fill(0xff, 2, 10)],
    'bad UTF-8': [1007, frame(0x81, Buffer.from([0xff, 0xfe]))], 'half a character': [1007, frame(0x81, Buffer.from([0xe2, 0x82]))],
    'bad UTF-8 in a second fragment': [1007, frame(0x01, Buffer.from([0xe2])), frame(0x80, Buffer.from([0x28]))],
    'a close frame of one byte': [1002, frame(0x88, 'x')], 'a close code that is none': [1002, frame(0x88, Buffer.from([0x03, 0xed]))],
    'a close reason that is not UTF-8': [1007, frame(0x88, Buffer.from([0x03, 0xe8, 0xff]))],
    'too large': [1009, frame(0x81, '', {length: 70000})], 'too large in pieces': [1009, frame(0x01, 'x'.repeat(40000)), frame(0x80, 'x'.repeat(40000))],
    'said to be a petabyte': [1009, frame(0x82, '', {form: 8, length: 1e15})],
  };
  const added = await during(broker, async () => {
    for (const [what, [code, ...frames]] of Object.entries(cases)) {
      const raw = await opened(t, broker);
      await raw.send(Buffer.concat(frames)).catch(() => {});
      raw.socket.end();
      await raw.ended();
      assert.equal(closeCode(raw), code, what);
    }
  });
  const large = Object.values(cases).filter(([code]) => code === 1009).length;
  assert.equal(added('websocket_upgrades'), Object.keys(cases).length);
  assert.equal(added('websocket_too_large'), large);
  assert.equal(added('websocket_bad_frames'), Object.keys(cases).length - large);
  await until(async () => (await statsOf(broker)).host.websockets === 1, 'only the healthy one to be left');
  await serves();
});

test('fragments of one byte are put together; 65,536 empty ones are a flood, and so are pings without end', async t => {
  const broker = await startBroker(t);
  const serves = await healthy(t, broker);
  const text = '[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["websocket"]}]';
  const raw = await opened(t, broker);
  await raw.send(Buffer.concat([...text].map((letter, i) => frame((i ? 0x00 : 0x01) | (i === text.length - 1 ? 0x80 : 0), letter))));
  await raw.until(/"successful":true/);
  // Below the bound that docs/operations.md gives, and above it.
  const some = await opened(t, broker);
  await some.send(Buffer.concat([frame(0x01, ''), ...Array(1000).fill(frame(0x00, '')), frame(0x80, text)]));
  await some.until(/"successful":true/);
  const empty = Buffer.concat(Array(65536).fill(frame(0x00, '')));
  const added = await during(broker, async () => {
    const tiny = await opened(t, broker);
    await tiny.send(Buffer.concat([frame(0x01, ''), empty, frame(0x80, text)])).catch(() => {});
    tiny.socket.end();
    await tiny.ended();
    assert.equal(closeCode(tiny), 1008);
    assert.doesNotMatch(tiny.text, /successful/);
  });
  assert.equal(added('websocket_floods'), 1);
  // Who pings without end and reads nothing is closed, too, and what it goes on to send is not kept.
  const more = await during(broker, async () => {
    const flood = net.connect(Number(broker.address('broker').split(':').pop()), '127.0.0.1');
    t.after(() => flood.destroy());
    flood.on('error', () => {});
    flood.pause();
    flood.write(`GET /bayeux HTTP/1.1\r\n${HOST}${UPGRADE}\r\n`);
    const pings = Buffer.concat(Array(5000).fill(frame(0x89, 'x'.repeat(125))));
    const over = within(new Promise(resolve => flood.once('close', resolve)), 'the flood to be cut');
    const write = () => flood.destroyed || flood.write(pings, error => error || write());
    write();
    await over;
  });
  assert.equal(more('websocket_floods'), 1);
  assert.equal(more('websocket_upgrades'), 1);
  await serves();
});

// -- time ------------------------------------------------------------------------------------------

test('who never speaks, speaks slowly or stops in the middle ends, each with a number', async t => {
  const broker = await startBroker(t, {set: {'limits.header_time': '500ms', 'limits.idle_time': '400ms'}});
  const serves = await healthy(t, broker);
  const added = await during(broker, async () => {
    const silent = Array.from({length: 20}, () => connectRaw(t, broker.address('broker')));
    const ends = [];
    const slow = (bytes, status, drip) => ends.push((async () => {
      const raw = connectRaw(t, broker.address('broker'));
      await raw.send(bytes);
      const timer = drip && setInterval(() => raw.socket.write(drip), 50);
      await raw.ended();
      clearInterval(timer);
      assert.deepEqual([...raw.text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(match => Number(match[1])), status, bytes);
    })());
    slow('GET /healthz HTTP/1.1\r\nX: ', [408], 'a');
    slow('GET /healthz HTTP/1.1\r\n', [408], 'A: b\r\n');
    slow(`POST /bayeux HTTP/1.1\r\n${HOST}Content-Length: 1000\r\n\r\n`, [408], 'a');
    slow(`POST /bayeux HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`, [408], '1\r\na\r\n');
    slow(`GET /healthz HTTP/1.1\r\n${HOST}\r\n`, [200]);
    slow(`GET /healthz HTTP/1.1\r\n${HOST}\r\nGET /`, [200, 408]);
    await Promise.all([...ends, ...silent.map(raw => raw.ended())]);
  });
  assert.equal(added('silent_timeouts'), 20);
  assert.equal(added('header_timeouts'), 3);
  assert.equal(added('body_timeouts'), 2);
  assert.ok(added('idle_timeouts') >= 1);
  await serves();
});

test('who asks and does not read its answers ends, with a number; who reads has them all', async t => {
  const broker = await startBroker(t, {set: {'limits.answer_time': '1s'}});
  const serves = await healthy(t, broker);
  const ask = `GET /bayeux/client.js HTTP/1.1\r\n${HOST}\r\n`, last = `GET /healthz HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
  const added = await during(broker, async () => {
    const deaf = connectRaw(t, broker.address('broker'));
    await deaf.opened;
    deaf.socket.pause();
    deaf.socket.write(ask.repeat(1000));
    await until(async () => (await statsOf(broker)).host.answer_timeouts === 1, 'it to be given up');
    deaf.socket.destroy();
    const reader = connectRaw(t, broker.address('broker'));
    await reader.send(ask.repeat(20) + last);
    await reader.ended();
    assert.equal(reader.text.match(/HTTP\/1\.1 200 /g).length, 21);
  });
  assert.equal(added('answer_timeouts'), 1);
  await serves();
});

test('out of descriptors: connections wait or are refused, are counted, and are served again', async t => {
  const broker = await startBroker(t);
  const serves = await healthy(t, broker);
  await run('/usr/bin/prlimit', ['--pid', String(broker.pid), '--nofile=48']);
  const many = Array.from({length: 100}, () => connectRaw(t, broker.address('broker')));
  await Promise.all(many.map(raw => raw.opened.catch(() => {})));
  await broker.log.when(events => events.find(event => event.event === 'accept_failed'), 'the log');
  many.forEach(raw => raw.socket.destroy());
  assert.ok((await statsOf(broker)).host.accept_failures > 0);
  await serves();
  assert.equal((await postJson(broker.bayeux, [])).status, 200);
});
