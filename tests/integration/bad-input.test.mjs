// SPDX-License-Identifier: Apache-2.0
// What peers send that makes no sense, or is meant to hurt: texts that are no Bayeux messages, on each
// transport that takes them, and attacks with frames and bytes. Each is answered or closed in a way
// that is written down (docs/protocol.md), counted, takes bounded memory, and other clients do not notice.

import assert from 'node:assert/strict';
import {randomBytes} from 'node:crypto';
import {readFileSync} from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import {constants, deflateRawSync} from 'node:zlib';
import {test} from './lib/suite.mjs';
import {startApi, startBroker, startWeb} from './lib/daemon.mjs';
import {connectRaw, getJson, postJson, request} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {Bare, frame, closeFrame, fragments, TEXT, BINARY, CONT, PING, PONG} from './support/frames.mjs';
import {RawHttp} from './support/raw_http.mjs';
import {thisMachine} from './support/certificates.mjs';
import {Wire, asSocketUrl, poller, publish} from './support/wire.mjs';

const statsOf = async broker => (await getJson(broker.admin('/v1/stats'))).json;
const BAD = [{successful: false, error: '400::Bad request'}];

// Freed memory is given back soon, so that what a process holds can be measured.
const lean = {ASAN_OPTIONS: 'detect_leaks=1:exitcode=86:quarantine_size_mb=1:malloc_context_size=2'};
const memoryOf = broker => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'))[1]) * 1024;

// Clients that must not notice: a websocket and a poller, both subscribed.
async function healthy(t, broker) {
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/healthy');
  const session = await poller(broker.bayeux, '/healthy');
  return async () => {
    await publish(broker.bayeux, '/healthy', 'still there');
    await socket.inbox.count(1, 'a message for the healthy websocket');
    await session.poll(inbox => inbox.length === 1, 'a message for the healthy poller');
    assert.equal(socket.closed, null);
  };
}

// -- texts -----------------------------------------------------------------------------------------

const MISSING = {successful: false, error: '402:data:Missing required parameter'};
const members = n => Array.from({length: n}, (_, i) => `"m${i}":0`).join();
const wrong = {
  'nothing': '', 'a space': ' ', 'a number': '5', 'a string': '"x"', 'true': 'true', 'an open list': '[', 'an open object': '{', 'an open member': '{"a"',
  'a member without a value': '{"a":}', 'a comma too many': '{"a":1,}', 'a comma too many in a list': '[{},]', 'a comma in front': '[,{}]', 'no comma': '[{} {}]',
  'single quotes': "[{'a':1}]", 'a name without quotes': '[{a:1}]', 'no colon': '[{"a" 1}]', 'a bracket too many': '[]]', 'two texts': '[][]', 'something behind it': '[]x',
  'brackets that do not match': '[{]}', 'nul': '[nul]', 'NaN': '[NaN]', 'Infinity': '[-Infinity]', 'undefined': '[undefined]', 'a minus': '[-]', 'a plus': '[+1]', 'a zero in front': '[01]',
  'no digit in front of the point': '[.5]', 'no digit behind the point': '[1.]', 'no digit behind the e': '[1e]', 'hexadecimal': '[0x10]', 'an open string': '["abc', 'a control character in a string': '["\x01"]',
  'a line end in a string': '["\n"]', 'a tab in a string': '["\t"]', 'an escape that is none': '["\\x"]', 'half an escape': '["\\u12"]', 'an escape that is not hexadecimal': '["\\u12g4"]', 'a comment': '/* */[]', 'a line comment': '// x\n[]',
  'a NUL': '\0', 'a NUL behind it': '[]\0', 'a NUL in a string': '["\0"]', 'a byte order mark': '\ufeff[]', 'a vertical tab': '\v[]', 'a no-break space': '\u00a0[]',
  'UTF-16': Buffer.from('[]', 'utf16le').toString('latin1'), 'a thousand open brackets': '['.repeat(1000), 'brackets to the limit of a body': '['.repeat(1000000),
  'objects to the limit of a body': '{"a":'.repeat(200000), 'deep data': `[{"channel":"/a","data":${'['.repeat(100)}${']'.repeat(100)}}]`, '257 members': `{${members(255)},"channel":"/many","data":1}`, '50,000 members': `{${members(50000)}}`,
  'a batch over its limit': JSON.stringify(Array(1001).fill({})),
};
const notUtf8 = {
  'a byte that is never UTF-8': 'ff', 'a continuation alone': '80', 'an overlong slash': 'c0af', 'an overlong NUL': 'c080', 'a surrogate': 'eda080', 'a pair of surrogates': 'eda080edb080',
  'above U+10FFFF': 'f4908080', 'five bytes': 'f888808080', 'a character that ends too soon': 'e282', 'four bytes, three there': 'f09f98',
};
const odd = [
  ['null in a list', '[null]', []],
  ['an empty list', '[]', []],
  ['space around it', ' \t\r\n[ ] \n', []],
  ['an empty object', '{}', [MISSING]],
  ['things that are no messages', '[[],1,"x",true,{}]', Array(5).fill(MISSING)],
  ['members twice: the last one', '{"channel":"/x*","id":"1","channel":"/twice","id":"2","data":1,"data":2}', [{id: '2', channel: '/twice', successful: true}]],
  ['a name with escapes', '{"\\u0063h\\u0061nnel":"\\/esc\\u0061ped","data":1}', [{channel: '/escaped', successful: true}]],
  ['names of what every object has', '{"channel":"/__proto__","__proto__":{"data":1},"constructor":1,"toString":2,"data":{"__proto__":1}}', [{channel: '/__proto__', successful: true}]],
  ['numbers beyond all bounds', '{"channel":"/numbers","data":[12345678901234567890,1e999,-0,0.1e-9999]}', [{channel: '/numbers', successful: true}]],
  ['surrogates alone, as escapes', '{"channel":"/lone","data":"\\ud800 \\udc00"}', [{channel: '/lone', successful: true}]],
  ['256 members', `{${members(254)},"channel":"/many","data":1}`, [{channel: '/many', successful: true}]],
  ['one member 5,000 times', `{${'"data":0,'.repeat(5000)}"channel":"/same"}`, [{channel: '/same', successful: true}]],
  ['data of 5,000 members', `{"channel":"/a","data":{${members(5000)}}}`, [{channel: '/a', successful: true}]],
  ['a meta channel that is longer', '{"channel":"/meta/subscribe/x","subscription":"/a"}', [{channel: '/meta/subscribe/x', successful: false, error: '403:/meta/subscribe/x:Forbidden channel'}]],
  ['a channel that is a number', '{"channel":5,"data":1}', null],
  ['a channel that is an object', '{"channel":{"a":1},"data":1}', null],
  ['a client id that is a list', '{"channel":"/meta/connect","clientId":["a"],"connectionType":"long-polling"}', null],
  ['an id of 70,000 bytes', `{"channel":"/a","data":1,"id":"${'i'.repeat(70000)}"}`, null],
  ['connection types that are numbers', '{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":[1,2]}', null],
  ['a subscription that is an object', '{"channel":"/meta/subscribe","clientId":"x","subscription":{"a":1}}', null],
];
const utf8Text = hex => Buffer.concat([Buffer.from('[{"channel":"/utf8","data":"'), Buffer.from(hex, 'hex'), Buffer.from('"}]')]);

// null: some refusal, as one reply.
function answered(actual, expected, name) {
  if (expected) return assert.deepEqual(actual, expected, name);
  assert.equal(actual.length, 1, name);
  assert.equal(actual[0].successful, false, name);
  assert.match(actual[0].error, /^\d{3}:[^:]*:/, name);
}

test('texts by POST: 400 for what is no message, the others answered one by one', async t => {
  const broker = await startBroker(t);
  const lives = await healthy(t, broker);
  const before = await statsOf(broker);
  const bad = {...wrong, ...Object.fromEntries(Object.entries(notUtf8).map(([name, hex]) => [name, utf8Text(hex)]))};
  for (const [name, text] of Object.entries(bad)) {
    const answer = await postJson(broker.bayeux, text);
    assert.equal(`${answer.status} ${answer.text}`, '400 Bad request', name);
  }
  for (const [name, text, expected] of odd) {
    const answer = await postJson(broker.bayeux, text);
    assert.equal(answer.status, 200, name);
    answered(answer.json, expected, name);
  }
  assert.deepEqual((await postJson(broker.bayeux, 'null')).json, []);
  const after = await statsOf(broker);
  assert.equal(after.transport.bad_requests - before.transport.bad_requests, Object.keys(bad).length);
  await lives();
});

test('texts by websocket: the same answers in frames, the socket stays; bytes that are not UTF-8 close with 1007', async t => {
  const broker = await startBroker(t);
  const lives = await healthy(t, broker);
  const socket = await Wire.open(t, asSocketUrl(broker.bayeux));
  let frames = 0;
  const ask = async text => {
    socket.send(text);
    return (await socket.frames.count(++frames, 'an answer'))[frames - 1];
  };
  const before = await statsOf(broker);
  for (const [name, text] of Object.entries(wrong)) assert.deepEqual(await ask(text), BAD, name);
  assert.deepEqual(await ask('null'), BAD);
  for (const [name, text, expected] of odd) answered(await ask(text), expected, name);
  const after = await statsOf(broker);
  assert.equal(after.bad_texts - before.bad_texts, Object.keys(wrong).length + 1);
  for (const [name, hex] of Object.entries(notUtf8)) {
    const bare = await Bare.open(t, broker.address('broker'), {path: '/bayeux'});
    await bare.send(frame(TEXT, utf8Text(hex)));
    assert.equal((await bare.closed())?.code, 1007, name);
  }
  assert.equal(socket.closed, null);
  await lives();
});

test('texts by callback-polling: 400 without a script, nothing is done', async t => {
  const broker = await startBroker(t);
  const get = query => request(`${broker.bayeux}?${query}`);
  const message = encodeURIComponent('[{"channel":"/a","data":1}]');
  const before = await statsOf(broker);
  const queries = ['', 'message=', 'message', 'jsonp=f', `messages=${message}`, ...Object.values(wrong).filter(text => text.length < 2000).map(text => `message=${encodeURIComponent(text)}`),
    ...['alert(1)', 'a b', 'a-b', '1a', 'a..b', '.a', 'a.', 'a;b', 'a%00b', '%3Cscript%3E', 'a%5B0%5D', '%E2%80%A8', 'a%0A', 'f%28', 'x'.repeat(200) + '!'].map(callback => `message=${message}&jsonp=${callback}`),
    'message=%FF', 'message=%5B%22%C0%AF%22%5D'];
  for (const query of queries) {
    const answer = await get(query);
    assert.equal(answer.status, 400, query);
    assert.ok(!answer.text.includes('('), query);
  }
  assert.equal((await statsOf(broker)).published, before.published);
  assert.equal((await get(`message=${message}&jsonp=a.b$_1`)).text.slice(0, 10), '/**/a.b$_1');
});

test('texts by form: 400 for what is no message, nothing is done', async t => {
  const broker = await startBroker(t);
  const form = body => request(broker.bayeux, {method: 'POST', body, headers: {'Content-Type': 'application/x-www-form-urlencoded'}});
  const good = encodeURIComponent('[{"channel":"/a","data":1}]');
  const before = await statsOf(broker);
  for (const body of ['', '=', '&&&', 'message', 'message=', `Message=${good}`, `%6Dessag=${good}`, `message=${good}&jsonp=a(b`, 'message=%', 'message=%5B%7B%', 'message=%FF', 'message=[\0]', 'x'.repeat(100000), `${'a=b&'.repeat(100000)}c`,
    ...Object.values(wrong).filter(text => text.length < 5000).map(text => `message=${encodeURIComponent(text)}`), ...Object.values(notUtf8).map(hex => `message=${hex.replace(/../g, '%$&')}`)])
    assert.equal(`${(await form(body)).status}`, '400', body.slice(0, 80));
  assert.equal((await statsOf(broker)).published, before.published);
  assert.equal((await form(`a=b&message=${good}&message=x`)).json[0].successful, true);
});

test('ids of events that no stream had: the stream opens and skips nothing', async t => {
  const broker = await startBroker(t);
  for (const id of ['', 'x', '5x', '-1', '0', '1.5', '1e9', '0x10', '%00', '\xff', '9007199254740993', '18446744073709551616', '9'.repeat(60), '9'.repeat(5000), '1, 2']) {
    const session = await poller(broker.bayeux, '/stream');
    for (const data of [1, 2, 3]) await publish(broker.bayeux, '/stream', data);
    const raw = connectRaw(t, broker.address('broker'));
    await raw.send(Buffer.from(`GET /bayeux/${session.clientId} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: ${id}\r\n\r\n`, 'latin1'));
    await raw.until(/"data":1[^]*"data":2[^]*"data":3/, `the messages after the id ${JSON.stringify(id.slice(0, 30))}`);
    raw.socket.destroy();
    await session.disconnect();
  }
  for (const path of ['/bayeux/', '/bayeux/x', `/bayeux/${'x'.repeat(31)}`, '/bayeux/__proto__', `/bayeux/${'x'.repeat(5000)}`, '/bayeux/%00', '/bayeux/..'])
    assert.match(String((await request(broker.url('broker', path), {headers: {Accept: 'text/event-stream'}})).status), /^40[04]$/, path);
});

test('the client script: tags and dates without sense, names that are not there', async t => {
  const broker = await startBroker(t);
  const get = (path, headers) => request(broker.url('broker', path), {headers});
  const full = await get('/bayeux.js');
  for (const headers of [{'If-None-Match': '"'}, {'If-None-Match': 'x'.repeat(4000)}, {'If-None-Match': '\xff'}, {'If-Modified-Since': 'x'}, {'If-Modified-Since': 'Mon, 99 Foo 99999 99:99:99 GMT'}, {'If-Modified-Since': '-1'}, {Range: 'bytes=0-1'}, {Range: 'bytes=5-1'}]) {
    const answer = await get('/bayeux.js', headers);
    assert.deepEqual([answer.status, answer.bytes.length], [full.status, full.bytes.length], JSON.stringify(headers));
  }
  for (const path of ['/bayeux/../bayeux.c.js', '/bayeux/%2e%2e%2f%2e%2e%2fetc%2fpasswd.js', '/bayeux/.js', '/bayeux/client.js%00', '/bayeux/x.js', '/bayeux/%FF.js', `/bayeux/${'x'.repeat(5000)}.js`])
    assert.match(String((await get(path)).status), /^40[04]$/, path);
});

test('texts at the publishing and the chat interfaces: a status and a word, nothing is published', async t => {
  const broker = await startBroker(t);
  const lives = await healthy(t, broker);
  const api = await startApi(t, broker);
  const web = await startWeb(t, api);
  const publishers = {admin: broker.admin('/v1/publish'), api: api.url('api', '/v1/publish')};
  const chats = {api: api.url('api', '/v1/rooms/a/chatMessages'), web: web.url('web', '/rooms/a/messages')};
  const bad = {...wrong, 'null': 'null', ...Object.fromEntries(Object.entries(notUtf8).map(([name, hex]) => [name, utf8Text(hex)]))};
  const before = (await statsOf(broker)).appended;
  const refused = async (url, text, what) => {
    const answer = await postJson(url, text);
    assert.ok([400, 413].includes(answer.status), `${what}: ${answer.status} ${answer.text.slice(0, 200)}`);
    assert.equal(typeof answer.json.error, 'string', what);
  };
  for (const [name, text] of Object.entries(bad)) {
    // Lists of what is no entry are answered in their slots.
    if (!/257|members|batch/.test(name)) for (const [where, url] of Object.entries(publishers)) await refused(url, text, `${name} at ${where}`);
    for (const [where, url] of Object.entries(chats)) await refused(url, text, `${name} at the chat of ${where}`);
  }
  for (const query of ['limit=0', 'limit=-1', 'limit=x', 'limit=99999999999999999999', 'limit=1e3', 'prefix=%00', 'after=%00', 'prefix=%FF', 'after=%FF', 'after=%C3%A9', 'prefix=' + 'x'.repeat(5000), 'after=' + '%2F'.repeat(2000), '&&==&%', '=', 'limit=1&limit=2'])
    for (const path of ['/v1/channels', '/v1/clients', '/v1/nodes', '/v1/subscribers', '/v1/tail']) {
      if (path === '/v1/tail') continue;
      const answer = await getJson(broker.admin(`${path}?${query}`));
      assert.ok([200, 400].includes(answer.status), `${path}?${query}: ${answer.status}`);
      JSON.parse(answer.text);
    }
  for (const id of ['x', '%00', '..', '%2e%2e', 'x'.repeat(5000), '%FF%FE', '%22', '<script>', '*', '-1'])
    for (const [method, path] of [['GET', `/v1/clients/${id}`], ['DELETE', `/v1/clients/${id}`], ['POST', `/v1/clients/${id}/unsubscribe`]]) {
      const answer = await request(broker.admin(path), {method, ...(method === 'POST' && {body: '{"channel":"/a"}', headers: {'Content-Type': 'application/json'}})});
      assert.ok([400, 404, 405].includes(answer.status), `${method} ${path}: ${answer.status}`);
    }
  assert.equal((await statsOf(broker)).appended, before);
  await lives();
});

// -- sizes -----------------------------------------------------------------------------------------

test('10 MB by each way: 413 or 1009, counted, nothing of it is kept', async t => {
  const broker = await startBroker(t, {env: lean});
  const lives = await healthy(t, broker);
  const before = await statsOf(broker);
  const memory = memoryOf(broker);
  const body = Buffer.alloc(10 * 1024 * 1024, 'x');
  for (const head of [`Content-Length: ${body.length}\r\n\r\n`, `Content-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`, `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`]) {
    const raw = await RawHttp.open(t, broker.address('broker'));
    raw.send(Buffer.concat([Buffer.from(`POST /bayeux HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${head}`), body]));
    await raw.ended();
    assert.deepEqual(raw.statuses, [413], head);
  }
  for (const bytes of [frame(TEXT, body), Buffer.concat(fragments(TEXT, body, 60000)), frame(BINARY, body)]) {
    const bare = await Bare.open(t, broker.address('broker'), {path: '/bayeux'});
    bare.send(bytes);
    assert.equal((await bare.closed())?.code, 1009);
    await bare.ended();
  }
  const after = await statsOf(broker);
  assert.equal(after.host.too_large - before.host.too_large, 3);
  assert.equal(after.host.websocket_too_large - before.host.websocket_too_large, 3);
  assert.ok(memoryOf(broker) - memory < 24 * 1024 * 1024, `${memory} to ${memoryOf(broker)}`);
  await lives();
});

// -- floods ----------------------------------------------------------------------------------------

// Writes as long as the server takes it; what is not taken after a while is given up.
async function pour(bare, bytes, times) {
  for (let n = 0; n < times && !bare.over; n++) {
    const taken = bare.send(bytes);
    if (await Promise.race([taken.then(() => false), new Promise(resolve => setTimeout(() => resolve(true), 500))])) return n;
  }
  return times;
}

test('control frames without end, from a client that reads and from one that does not', {timeout: 120000}, async t => {
  const broker = await startBroker(t, {env: lean});
  const lives = await healthy(t, broker);
  const reads = await Bare.open(t, broker.address('broker'), {path: '/bayeux'});
  await reads.send(Buffer.concat([...Array(900).fill(frame(PING, 'x'.repeat(125))), frame(PING, 'the last')]));
  await reads.events.find(event => event.type === 'pong' && event.payload.toString() === 'the last', 'the last pong');
  const floods = (await statsOf(broker)).host.websocket_floods;
  const many = Buffer.concat(Array(20000).fill(frame(PING, 'x'.repeat(125))));
  reads.send(many.subarray(0, 131 * 3000));
  assert.equal((await reads.closed())?.code, 1008);
  const memory = memoryOf(broker);
  const deaf = await Promise.all(Array.from({length: 10}, () => Bare.open(t, broker.address('broker'), {path: '/bayeux'})));
  for (const bare of deaf) bare.socket.pause();
  await Promise.all(deaf.map(bare => pour(bare, many, 5)));
  assert.ok(memoryOf(broker) - memory < 16 * 1024 * 1024, `${memory} to ${memoryOf(broker)}`);
  await lives();
  const pongs = await Bare.open(t, broker.address('broker'), {path: '/bayeux'});
  pongs.send(Buffer.concat(Array(3000).fill(frame(PONG, 'nobody asked'))));
  assert.equal((await pongs.closed())?.code, 1008);
  for (const bare of deaf) bare.socket.destroy();
  assert.equal((await statsOf(broker)).host.websocket_floods - floods, 12);
  await lives();
});

test('texts without end from clients that do not read their answers', {timeout: 120000}, async t => {
  const broker = await startBroker(t, {env: lean});
  const lives = await healthy(t, broker);
  const memory = memoryOf(broker);
  const deaf = await Promise.all(Array.from({length: 10}, () => Bare.open(t, broker.address('broker'), {path: '/bayeux'})));
  for (const bare of deaf) bare.socket.pause();
  const many = Buffer.concat(Array(1000).fill(frame(TEXT, '[{},{},{},{},{},{},{},{},{},{}]')));
  await Promise.all(deaf.map(bare => pour(bare, many, 100)));
  assert.ok(memoryOf(broker) - memory < 24 * 1024 * 1024, `${memory} to ${memoryOf(broker)}`);
  await lives();
});

test('requests without end from clients that do not read their answers', {timeout: 120000}, async t => {
  const broker = await startBroker(t, {env: lean});
  const lives = await healthy(t, broker);
  const memory = memoryOf(broker);
  const deaf = await Promise.all(Array.from({length: 10}, () => RawHttp.open(t, broker.address('broker'))));
  for (const raw of deaf) raw.socket.pause();
  const many = Buffer.from('POST /bayeux HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n[{},{},{},{}]'.repeat(1000));
  await Promise.all(deaf.map(raw => pour(raw, many, 100)));
  assert.ok(memoryOf(broker) - memory < 24 * 1024 * 1024, `${memory} to ${memoryOf(broker)}`);
  await lives();
});

test('messages that never end: 40 sockets with a thousand fragments each', {timeout: 120000}, async t => {
  const broker = await startBroker(t, {env: lean, set: {'limits.body': '64KB'}});
  const lives = await healthy(t, broker);
  const memory = memoryOf(broker);
  const empty = Buffer.concat([frame(TEXT, '', {fin: false}), ...Array(999).fill(frame(CONT, '', {fin: false}))]);
  const tiny = Buffer.concat(fragments(TEXT, 'x'.repeat(65537), 64)).subarray(0, -7);   // all but the last
  const all = await Promise.all(Array.from({length: 40}, () => Bare.open(t, broker.address('broker'), {path: '/bayeux'})));
  await Promise.all(all.map((bare, i) => bare.send(i % 2 ? empty : tiny)));
  for (const bare of all) await bare.send(frame(PING, 'read so far'));
  for (const bare of all) await bare.events.find(event => event.type === 'pong', 'a pong');
  assert.ok(memoryOf(broker) - memory < 16 * 1024 * 1024, `${memory} to ${memoryOf(broker)}`);
  await lives();
  for (const bare of all) await bare.send(frame(CONT, 'yz'));
  const answers = await Promise.all(all.map(async bare => (await bare.events.find(event => event.type === 'text' || event.type === 'close', 'an end'))));
  for (const [i, {type, code}] of answers.entries()) assert.equal(i % 2 ? type : code, i % 2 ? 'text' : 1009);
  await lives();
});

test('compressed: bombs, broken data, and the reserved bits where nobody agreed on them', {timeout: 120000}, async t => {
  const broker = await startBroker(t, {env: lean, set: {'broker.deflate': true}});
  const lives = await healthy(t, broker);
  const offer = {'Sec-WebSocket-Extensions': 'permessage-deflate'};
  const deflate = bytes => deflateRawSync(bytes, {level: 9, finishFlush: constants.Z_SYNC_FLUSH}).subarray(0, -4);
  const bomb = deflate(Buffer.alloc(64 << 20, '['));   // 64 MB in 64 KB
  const text = deflate('[]');
  const memory = memoryOf(broker), before = (await statsOf(broker)).host;
  const CASES = [
    ['a bomb', offer, 1009, frame(TEXT, bomb, {rsv: 4})],
    ['a bomb in fragments', offer, 1009, frame(TEXT, bomb.subarray(0, 1000), {rsv: 4, fin: false}), frame(CONT, bomb.subarray(1000))],
    ['no deflate', offer, 1007, frame(TEXT, Buffer.alloc(50000, 0xff), {rsv: 4})],
    ['deflate without an end', offer, 1007, frame(TEXT, bomb.subarray(0, 100), {rsv: 4})],
    ['the bit on a fragment', offer, 1002, frame(TEXT, text, {rsv: 4, fin: false}), frame(CONT, '', {rsv: 4})],
    ['the bit on a ping', offer, 1002, frame(PING, 'x', {rsv: 4})],
    ['another bit', offer, 1002, frame(TEXT, text, {rsv: 6})],
    ['the bit without an offer', {}, 1002, frame(TEXT, text, {rsv: 4})],
    ['other bits without an offer', {}, 1002, frame(TEXT, '[]', {rsv: 1})],
  ];
  for (let round = 0; round < 5; round++) {
    for (const [name, headers, code, ...frames] of CASES) {
      const bare = await Bare.open(t, broker.address('broker'), {path: '/bayeux', headers});
      await bare.send(Buffer.concat(frames)).catch(() => {});
      assert.equal((await bare.closed())?.code, code, name);
      bare.socket.destroy();
    }
    await lives();
  }
  const after = (await statsOf(broker)).host;
  assert.equal(after.websocket_bombs - before.websocket_bombs, 10);
  assert.equal(after.websocket_bad_frames - before.websocket_bad_frames, 35);
  // Under valgrind most of it is valgrind's.
  if (!process.env.MORA_TEST_VALGRIND) assert.ok(memoryOf(broker) - memory < 24 << 20, `${memory} to ${memoryOf(broker)}`);
});

// -- slowness --------------------------------------------------------------------------------------

// Sends byte after byte until the connection is over.
async function dribble(socket, text) {
  for (const byte of Buffer.from(text)) {
    if (socket.destroyed) return;
    socket.write(Buffer.from([byte]));
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

const slow = {
  'silence': [],
  'half a request line': ['GET /heal'],
  'a request line, slowly': ['', `GET /${'x'.repeat(5000)}`],
  'fields, slowly': ['GET /healthz HTTP/1.1\r\nHost: localhost\r\n', 'X-Field: value\r\n'.repeat(500)],
  'half a body': ['POST /bayeux HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{"'],
  'a body, slowly': ['POST /bayeux HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n', '['.repeat(5000)],
  'chunks, slowly': ['POST /bayeux HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\n[\r\n'.repeat(1000)],
  'a chunk extension, slowly': ['POST /bayeux HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n', `1;${'x'.repeat(5000)}`],
  'trailers, slowly': ['POST /bayeux HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', 'X-Trailer: value\r\n'.repeat(500)],
  'an upgrade, slowly': ['GET /bayeux HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n', 'X-Field: value\r\n'.repeat(500)],
  'silence behind an answer': ['GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'],
};

test('the slow: heads and bodies byte by byte, silence; each ends in its time and is counted', {timeout: 120000}, async t => {
  const broker = await startBroker(t, {set: {'limits.handshake_time': '700ms', 'limits.header_time': '700ms', 'limits.idle_time': '700ms'}});
  const lives = await healthy(t, broker);
  const before = (await statsOf(broker)).host;
  await Promise.all(Object.entries(slow).map(async ([name, [at_once = '', slowly = '']]) => {
    const raw = await RawHttp.open(t, broker.address('broker'));
    if (at_once) await raw.send(at_once);
    dribble(raw.socket, slowly);
    await raw.ended();
    assert.ok(!raw.statuses.length || raw.statuses.join() === (name === 'silence behind an answer' ? '200' : '408'), `${name}: ${raw.statuses}`);
  }));
  const after = (await statsOf(broker)).host;
  const counted = Object.fromEntries(['silent', 'header', 'body', 'idle'].map(kind => [kind, after[`${kind}_timeouts`] - before[`${kind}_timeouts`]]));
  assert.deepEqual(counted, {silent: 1, header: 4, body: 5, idle: 1});
  const websockets = {
    'nothing': '', 'half a frame': frame(TEXT, 'x'.repeat(100)).subarray(0, 20), 'texts that are no handshake': frame(TEXT, '[]'), 'pings': frame(PING, 'x'),
  };
  await Promise.all(Object.entries(websockets).map(async ([name, bytes]) => {
    const bare = await Bare.open(t, broker.address('broker'), {path: '/bayeux'});
    await bare.send(bytes);
    assert.equal((await bare.closed())?.code, 1008, name);
    bare.socket.end();
  }));
  const fragment = await Bare.open(t, broker.address('broker'), {path: '/bayeux'});
  dribble(fragment.socket, Buffer.concat(fragments(TEXT, 'x'.repeat(1000), 1)));
  assert.equal((await fragment.closed())?.code, 1008);
  assert.equal((await statsOf(broker)).transport.silent, 5);
  await lives();
});

// -- TLS -------------------------------------------------------------------------------------------

const overTls = (broker, options = {}) => new Promise((resolve, reject) => {
  const [host, port] = broker.address('broker').split(':');
  const asked = https.request({host, port, path: '/healthz', rejectUnauthorized: false, agent: false, ...options}, answer => {
    answer.resume();
    answer.on('end', () => resolve(answer.statusCode));
  });
  asked.on('error', reject);
  asked.end();
});

// What a client of TLS 1.2 says first, as Node says it.
async function clientHello() {
  const server = net.createServer();
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const arrived = new Promise(resolve => server.once('connection', socket => socket.once('data', bytes => { socket.destroy(); resolve(bytes); })));
  const client = tls.connect({host: '127.0.0.1', port: server.address().port, rejectUnauthorized: false});
  client.on('error', () => {});
  const bytes = await within(arrived, 'a ClientHello');
  client.destroy();
  server.close();
  return bytes;
}

test('bytes that are no TLS, or not all of it, on a TLS listener', {timeout: 120000}, async t => {
  const {key, certificate} = thisMachine();
  const broker = await startBroker(t, {set: {'tls.certificate': certificate, 'tls.key': key}});
  const hello = await clientHello();
  const changed = (at, byte) => { const copy = Buffer.from(hello); copy[at] = byte; return copy; };
  const inputs = {
    'HTTP': 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n', 'zeros': Buffer.alloc(4096), 'noise': randomBytes(4096), 'SSLv2': Buffer.from('802e0100020015', 'hex'), 'an alert': Buffer.from('15030300020228', 'hex'),
    'a record of 64 KB': Buffer.from('160301ffff01', 'hex'), 'a record of nothing': Buffer.from('1603010000', 'hex'), 'a thousand records of nothing': Buffer.concat(Array(1000).fill(Buffer.from('1603010000', 'hex'))),
    'application data first': Buffer.from('1703030005aaaaaaaaaa', 'hex'), 'a heartbeat': Buffer.from('18030300030100ff', 'hex'), 'another type': changed(0, 99), 'another version': changed(1, 9), 'a length that lies': changed(7, 255),
    'another message': changed(5, 2), 'noise behind the ClientHello': Buffer.concat([hello, randomBytes(2000)]), 'the ClientHello twice': Buffer.concat([hello, hello]),
    ...Object.fromEntries(Array.from({length: 40}, (_, i) => [`a byte flipped at ${i * 11}`, changed((i * 11) % hello.length, hello[(i * 11) % hello.length] ^ (1 << i % 8))])),
    ...Object.fromEntries([1, 5, 6, 44, 100, hello.length - 1].map(n => [`${n} bytes of a ClientHello`, hello.subarray(0, n)])),
  };
  for (const [name, bytes] of Object.entries(inputs)) {
    const [host, port] = broker.address('broker').split(':');
    const socket = net.connect({host, port: Number(port)});
    t.after(() => socket.destroy());
    let got = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', part => { got = Buffer.concat([got, part]); });
    socket.end(bytes);
    await within(new Promise(resolve => socket.once('close', resolve)), `the end of the connection with ${name}`);
    assert.ok(!got.includes('HTTP/1.1 2'), name);
  }
  for (const version of ['TLSv1', 'TLSv1.1'])
    await assert.rejects(overTls(broker, {minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0'}), undefined, version);
  for (const version of ['TLSv1.2', 'TLSv1.3']) assert.equal(await overTls(broker, {minVersion: version, maxVersion: version}), 200);
  const stats = await statsOf(broker);
  assert.ok(stats.host.tls_failures >= Object.keys(inputs).length - 5, `${stats.host.tls_failures} failures were counted`);
  await until(async () => (await statsOf(broker)).host.open <= 2, 'the connections to be gone');
});
