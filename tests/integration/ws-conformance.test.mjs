// SPDX-License-Identifier: Apache-2.0
// Websocket conformance: the cases of the Autobahn test suite (support/autobahn.mjs) against a server
// that echoes, made of broker/host alone, and against the Bayeux mount of the real broker, where the
// same frames get Bayeux answers. MORA_TEST_LONG=1 adds section 9, sizes and speed.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {Daemon, binary, startBroker, started} from './lib/daemon.mjs';
import {getJson} from './lib/http.mjs';
import {within} from './lib/wait.mjs';
import {RawHttp} from './support/raw_http.mjs';
import {Bare, frame, closeFrame, fragments, TEXT, BINARY, CONT, CLOSE, PING, PONG} from './support/frames.mjs';
import {cases} from './support/autobahn.mjs';
import {Wire, asSocketUrl, publish} from './support/wire.mjs';

const long = process.env.MORA_TEST_LONG === '1';
const AT_ONCE = 8;
const DEADLINE = 100000;

const startEcho = t => started(t, new Daemon('websocket_echo', {command: [binary('websocket_echo')], listeners: {echo: 'echo.listen'}}));

const list = value => (Array.isArray(value) ? value : [value]);
const brief = events => events.map(([type, payload]) => `${type} ${payload.length > 40 ? `${payload.length} bytes` : JSON.stringify(payload.toString('latin1'))}`);
const dataOf = events => events.filter(({type}) => type !== 'close').map(({type, payload}) => [type, payload]);

// Gives what was sent time to be read as a packet of its own: the socket goes without delay, and two
// turns of this process lie between.
const turns = () => new Promise(resolve => setImmediate(() => setImmediate(resolve)));

async function sendAll(bare, {chop, packets = true}, bytes) {
  if (chop === 'frame') {
    for (const each of list(bytes)) {
      await bare.send(each);
      await turns();
    }
    return;
  }
  const whole = Buffer.concat(list(bytes));
  for (let at = 0; at < whole.length; at += chop || whole.length) {
    await bare.send(whole.subarray(at, at + (chop || whole.length)));
    if (chop && packets) await turns();
  }
}

async function send(bare, each) {
  const steps = each.steps || (each.send ? [each.send] : []);
  for (const [n, step] of steps.entries()) {
    await sendAll(bare, each, step);
    if (n < steps.length - 1) await bare.events.count(n + 1, `the answer to step ${n + 1}`, DEADLINE);
  }
}

// One case; `same` turns what an echo would answer into what this server does.
async function conforms(t, address, path, each, same) {
  const bare = await Bare.open(t, address, {path, early: each.early});
  const expect = (each.expect || []).map(([type, payload]) => same(type, Buffer.from(payload)));
  for (let round = 0; round < (each.rounds || 1); round++) {
    await send(bare, each);
    if (!each.any && !each.fails) await bare.events.count(expect.length, `${expect.length} answers`, DEADLINE);
    if (each.rounds && round < each.rounds - 1) {
      assert.deepEqual(dataOf(bare.events.items), expect);
      bare.events.items.length = 0;
    }
  }
  if (!each.fails && !('closes' in each)) await bare.send(closeFrame(1000));
  const close = await bare.closed(DEADLINE);
  if (each.fails) {
    assert.ok(!close || each.fails.includes(close.code), `closed with ${close?.code}`);
    if (close) await bare.send(closeFrame(close.code));
  } else {
    assert.ok(close, 'the connection was dropped');
    assert.ok(list(each.closes ?? ('closes' in each ? undefined : 1000)).includes(close.code), `closed with ${close.code}`);
  }
  await bare.ended();
  if (!each.any) assert.deepEqual(brief(dataOf(bare.events.items)), brief(expect));
  if (!each.any) assert.ok(dataOf(bare.events.items).every(([, payload], i) => payload.equals(expect[i][1])), 'a payload differs');
  assert.equal(bare.events.items.at(-1)?.type, close && 'close', 'nothing follows a close frame');
  assert.deepEqual(bare.faults, []);
}

async function all(t, chosen, run) {
  const failures = [];
  const waiting = [...chosen];
  const worker = async () => {
    for (let each = waiting.shift(); each; each = waiting.shift())
      await within(run(each), 'the case', 2 * DEADLINE).catch(error => failures.push(`${each.id}: ${error.message}`));
  };
  await Promise.all(Array.from({length: AT_ONCE}, worker));
  t.log('%d cases, %d failed', chosen.length, failures.length);
  if (failures.length) throw new Error(failures.join('\n'));
}

const TITLES = {1: 'framing', 2: 'pings and pongs', 3: 'reserved bits', 4: 'opcodes', 5: 'fragments', 6: 'UTF-8', 7: 'closing', 9: 'sizes and speed', 10: 'fragments by a client'};
for (const section of Object.keys(TITLES)) {
  const chosen = cases.filter(each => each.section === section && (long || !each.large));
  if (chosen.length === 0) continue;
  test(`Autobahn ${section}, ${TITLES[section]}: ${chosen.length} cases`, {timeout: 600000}, async t => {
    const echo = await startEcho(t);
    await all(t, chosen, each => conforms(t, echo.address('echo'), '/', each, (type, payload) => [type, payload]));
  });
}

// -- the mount of a broker --------------------------------------------------------------------------

const BAD_REQUEST = Buffer.from('[{"successful":false,"error":"400::Bad request"}]');
const asBayeux = (type, payload) => (type === 'pong' ? [type, payload] : ['text', BAD_REQUEST]);

for (const section of ['2', '3', '4', '5', '6', '7', '10']) {
  // What fails in the turn of a message takes its answer along: there, either is right.
  const chosen = cases.filter(each => each.section === section && !each.large && !each.rounds && !(each.fails && each.expect));
  test(`the same frames at a mount, section ${section}: ${chosen.length} cases`, {timeout: 600000}, async t => {
    const broker = await startBroker(t);
    await all(t, chosen, each => conforms(t, broker.address('broker'), '/bayeux', each, asBayeux));
  });
}

// -- what Autobahn does not ask ---------------------------------------------------------------------

const hello = 'Hello, world!';
const ours = [
  {id: 'a text frame without a mask', send: frame(TEXT, hello, {mask: null}), fails: [1002]},
  {id: 'an empty text frame without a mask', send: frame(TEXT, '', {mask: null}), fails: [1002]},
  {id: 'a ping without a mask', send: frame(PING, '', {mask: null}), fails: [1002]},
  {id: 'a close frame without a mask', send: closeFrame(1000, '', {mask: null}), fails: [1002]},
  {id: 'a fragment without a mask behind one with', send: [frame(TEXT, 'a', {fin: false}), frame(CONT, 'b', {mask: null})], fails: [1002]},
  {id: 'a mask of zeros', send: frame(TEXT, hello, {mask: Buffer.alloc(4)}), expect: [['text', hello]]},
  {id: 'a short length in 16 bits', send: frame(TEXT, hello, {form: 16}), fails: [1002]},
  {id: 'a short length in 64 bits', send: frame(TEXT, hello, {form: 64}), fails: [1002]},
  {id: 'a medium length in 64 bits', send: frame(TEXT, 'x'.repeat(1000), {form: 64}), fails: [1002]},
  {id: 'a ping whose length is in 16 bits', send: frame(PING, hello, {form: 16}), fails: [1002]},
  {id: 'a length with its highest bit set', send: frame(TEXT, hello, {length: 2n ** 63n, form: 64}), fails: [1002, 1009]},
  {id: 'a length of 2^62', send: frame(TEXT, hello, {length: 2n ** 62n, form: 64}), fails: [1009]},
  {id: 'a close frame in fragments', send: frame(CLOSE, Buffer.from([3, 232]), {fin: false}), fails: [1002]},
  {id: 'a ping of 64 KB', send: frame(PING, 'x'.repeat(65536)), fails: [1002]},
  {id: 'a close code that is reserved for TLS', send: closeFrame(1015), fails: [1002]},
  {id: 'frames in the packet of the upgrade', early: frame(TEXT, hello), expect: [['text', hello]]},
  {id: 'a thousand fragments of one byte', send: fragments(TEXT, 'x'.repeat(1000), 1), expect: [['text', 'x'.repeat(1000)]]},
  {id: 'a thousand empty fragments', send: [frame(TEXT, 'a', {fin: false}), ...Array(998).fill(frame(CONT, '', {fin: false})), frame(CONT, 'b')], expect: [['text', 'ab']]},
  {id: '65,536 fragments of one byte', send: fragments(TEXT, 'x'.repeat(65536), 1), fails: [1008]},
  {id: '65,536 empty fragments', send: [frame(TEXT, 'a', {fin: false}), ...Array(65534).fill(frame(CONT, '', {fin: false})), frame(CONT, 'b')], fails: [1008]},
  {id: 'a ping behind every byte', send: fragments(TEXT, 'x'.repeat(500), 1).flatMap(each => [each, frame(PONG, 'p')]), expect: [['text', 'x'.repeat(500)]]},
  {id: 'every byte a packet', send: [frame(TEXT, hello), frame(PING, 'p'), frame(BINARY, hello)], chop: 1, expect: [['text', hello], ['pong', 'p'], ['binary', hello]]},
];

test(`masks, lengths, floods of fragments: ${ours.length} cases`, {timeout: 600000}, async t => {
  const echo = await startEcho(t);
  await all(t, ours, each => conforms(t, echo.address('echo'), '/', each, (type, payload) => [type, payload]));
});

test('the same at a mount: each fault is counted, others do not notice', {timeout: 600000}, async t => {
  const broker = await startBroker(t);
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/healthy');
  const before = (await getJson(broker.admin('/v1/stats'))).json.host;
  await all(t, ours.slice(0, -1), each => conforms(t, broker.address('broker'), '/bayeux', each, asBayeux));
  const after = (await getJson(broker.admin('/v1/stats'))).json.host;
  assert.equal(after.websocket_too_large - before.websocket_too_large, 1);
  assert.equal(after.websocket_bad_frames - before.websocket_bad_frames, ours.filter(each => each.fails?.some(code => code < 1008)).length);
  assert.equal(after.websocket_floods - before.websocket_floods, 2);
  await publish(broker.bayeux, '/healthy', 'still there');
  await socket.inbox.count(1, 'a message for the healthy client');
});

// -- upgrades ---------------------------------------------------------------------------------------

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const fields = {Host: '%H', Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': KEY};
const upgrades = [
  ['as in the RFC', {}, 101],
  ['names and words in any case', {Connection: 'keep-alive, uPGRADE', Upgrade: 'WebSocket'}, 101],
  ['an unknown subprotocol', {'Sec-WebSocket-Protocol': 'v10.stomp'}, 101],
  ['several unknown subprotocols', {'Sec-WebSocket-Protocol': 'a, b, c'}, 101],
  ['an unknown extension', {'Sec-WebSocket-Extensions': 'x-unknown; a=b'}, 101],
  ['version 8', {'Sec-WebSocket-Version': '8'}, 426],
  ['version 99', {'Sec-WebSocket-Version': '99'}, 426],
  ['version 13, 8', {'Sec-WebSocket-Version': '13, 8'}, 426],
  ['version 013', {'Sec-WebSocket-Version': '013'}, 426],
  ['no version', {'Sec-WebSocket-Version': null}, 426],
  ['no key', {'Sec-WebSocket-Key': null}, 400],
  ['an empty key', {'Sec-WebSocket-Key': ''}, 400],
  ['a key that is too short', {'Sec-WebSocket-Key': 'c2hvcnQ='}, 400],
  ['a key that is too long', {'Sec-WebSocket-Key': 'x'.repeat(2000)}, 400],
  ['a key that is no base64', {'Sec-WebSocket-Key': '!'.repeat(22) + '=='}, 400],
  ['no Host', {Host: null}, 400],
  ['Connection without upgrade', {Connection: 'keep-alive'}, [400, 426]],
  ['h2c', {Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABk'}, [400, 426]],
  ['HTTP/1.0', {}, 400, 'GET /bayeux HTTP/1.0'],
  ['POST', {}, 400, 'POST /bayeux HTTP/1.1'],
  ['a body', {'Content-Length': '5'}, 400],
  ['a path of nobody', {}, 404, 'GET /nowhere HTTP/1.1'],
  ['a page of somebody else', {Origin: 'http://evil.example'}, 403],
];

test('upgrades: what is answered, and with what', async t => {
  const broker = await startBroker(t);
  const failures = [];
  for (const [name, changes, status, line = 'GET /bayeux HTTP/1.1'] of upgrades) {
    const raw = await RawHttp.open(t, broker.address('broker'));
    const all = Object.entries({...fields, ...changes}).filter(([, value]) => value !== null);
    await raw.send(`${line}\r\n${all.map(([key, value]) => `${key}: ${value.replace('%H', broker.address('broker'))}\r\n`).join('')}\r\n${'Content-Length' in changes ? 'hello' : ''}`);
    const {status: got, headers} = (await raw.answers.count(1, name))[0];
    if (!list(status).includes(got)) failures.push(`${name}: ${got}`);
    if (got === 101 && (headers['sec-websocket-accept'] !== 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' || headers['sec-websocket-protocol'] || headers['sec-websocket-extensions']))
      failures.push(`${name}: ${JSON.stringify(headers)}`);
    if (got === 426 && (headers['sec-websocket-version'] !== '13' || !/websocket/i.test(headers.upgrade || ''))) failures.push(`${name}: ${JSON.stringify(headers)}`);
    if (got !== 101) await raw.ended();
    raw.socket.destroy();
  }
  if (failures.length) throw new Error(failures.join('\n'));
});
