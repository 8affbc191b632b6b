// SPDX-License-Identifier: Apache-2.0
// Replays the recorded exchanges with Faye. Each vector gets the sessions and the set-up it needs;
// the recording was one run in which they shared sessions. With TARGET=faye the recorded answer is
// expected for every vector; against Mora a vector marked `different` holds what Mora does.

import assert from 'node:assert/strict';
import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {cases} from '../conformance/cases.mjs';
import {test} from './lib/suite.mjs';
import {target} from './lib/daemon.mjs';
import {connectRaw, request} from './lib/http.mjs';
import {Events} from './support/events.mjs';
import {Wire, asSocketUrl, drain, hold, isPending, poller, pollerOf, post, publish, settle} from './support/wire.mjs';
import {sharedBroker} from './support/shared.mjs';

const read = path => readFileSync(new URL(path, import.meta.url), 'utf8');
const vectors = read('../conformance/faye-vectors.jsonl').trim().split('\n').map(line => JSON.parse(line));
const vector = Object.fromEntries(vectors.map(v => [v.name, v]));

const broker = sharedBroker({set: {'broker.timeout': '10s'}});
let at;   // the URL of the mount
let t;    // the test that runs

// -- comparing ---------------------------------------------------------------------------------

// Client ids become "<CID>": those the case knows, those of new sessions, those in error texts.
function normalise(value, ids) {
  if (Array.isArray(value)) return value.map(item => normalise(item, ids));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => {
      if (key === 'clientId' && /^(<CID\d*>|[0-9a-z]{31})$/.test(item)) return [key, '<CID>'];
      return [key, normalise(item, ids)];
    }));
  }
  if (typeof value !== 'string') return value;
  let text = value.replace(/<CID\d+>/g, '<CID>');
  for (const id of ids) text = text.split(id).join('<CID>');
  return text;
}

function same(actual, expected, ids = []) {
  assert.deepEqual(normalise(actual, ids), normalise(expected, ids));
}

// Equal but for the interval that Mora adds to `reconnect: handshake`.
function sameButInterval(actual, expected, ids = []) {
  const seen = [];
  const without = actual.map(message => {
    if (message.advice?.reconnect !== 'handshake') return message;
    const {interval, ...advice} = message.advice;
    seen.push(interval);
    return {...message, advice};
  });
  same(without, expected, ids);
  assert.ok(seen.length > 0, 'an advice to handshake');
  for (const interval of seen) assert.ok(Number.isInteger(interval) && interval >= 1000 && interval <= 2000, `interval ${interval}`);
}

// What a websocket vector recorded: frames on lines, perhaps "(open)" behind the last one.
const recorded = v => v.reply_normalised.split('\n').filter(line => line.startsWith('['))
  .flatMap(line => JSON.parse(line.replace(/\(open\)$/, '')));

// -- replaying ---------------------------------------------------------------------------------

// What must have happened to the sessions of a vector before it. Called with its client ids.
const prepare = {
  'batch.pub-and-connect': ([id]) => pollerOf(at, id).subscribe('/batch'),
  'batch.connect-and-pub': ([id]) => pollerOf(at, id).subscribe('/batch'),
  'publish.own-message-in-batch': ([id]) => pollerOf(at, id).subscribe('/own'),
  'unsubscribe.ok': ([id]) => pollerOf(at, id).subscribe('/foo'),
  'unsubscribe.array': ([id]) => pollerOf(at, id).subscribe(['/foo', '/bar/*']),
  'subscribe.twice': ([id]) => pollerOf(at, id).subscribe('/x'),
  'lp.connect-after-disconnect': ([id]) => pollerOf(at, id).disconnect(),
  'match.dedupe': async ([id]) => {
    await pollerOf(at, id).subscribe(['/d/x', '/d/*', '/d/**', '/**']);
    await publish(at, '/d/x', 'once', {id: 'k'});
  },
  'jsonp.escape-2028': async ([id]) => {
    await pollerOf(at, id).subscribe('/u');
    await publish(at, '/u', 'a\u2028b\u2029c</script>\u00e9');
  },
  'publish.data-nested-types.delivered': async ([id]) => {
    await pollerOf(at, id).subscribe('/x');
    await post(at, vector['publish.data-nested-types'].request.body);
  },
  'ws.connect-flushes-queue': async ([id]) => {
    await pollerOf(at, id).subscribe('/w');
    await publish(at, '/w', 'before-connect');
  },
  'ws.dropped-socket-keeps-queue': async ([id]) => {
    const socket = await Wire.open(t, asSocketUrl(at));
    socket.clientId = id;
    await socket.subscribe('/ab2');
    socket.connect();
    await socket.barrier();
    socket.ws.terminate();
    await socket.ended();
    await settle(at);
    await publish(at, '/ab2', 'after-drop');
  },
};

// The request of a vector with sessions of its own in the place of the recorded ones.
async function substitute(v) {
  const text = JSON.stringify(v.request);
  const ids = {};
  for (const [name] of text.matchAll(/<CID\d+>/g)) ids[name] ??= (await poller(at)).clientId;
  if (prepare[v.name]) await prepare[v.name](Object.values(ids));
  return {asked: JSON.parse(text.replace(/<CID\d+>/g, name => ids[name])), ids: Object.values(ids)};
}

function compareHeaders(answer, v) {
  const ignored = ['connection', 'content-length', 'transfer-encoding'];
  for (const [name, value] of Object.entries(v.headers || {})) {
    if (!ignored.includes(name)) assert.equal(answer.headers[name], value, name);
  }
}

// Sends an HTTP vector.
async function ask(v) {
  const {asked: {method = 'POST', path = '/bayeux', headers = {}, body}, ids} = await substitute(v);
  const type = method === 'POST' ? {'Content-Type': 'application/json'} : {};
  const answer = await request(new URL(path, at), {
    method, headers: {...type, ...headers}, body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body)});
  return {answer, ids};
}

async function replayHttp(v, compare) {
  const {answer, ids} = await ask(v);
  assert.equal(answer.status, v.status, answer.text);
  compareHeaders(answer, v);
  if (!/^[[/]/.test(v.reply_normalised)) return assert.equal(answer.text, v.reply_normalised);
  if (!v.reply_normalised.startsWith('/**/')) return compare(answer.json, JSON.parse(v.reply_normalised), ids);
  const parts = text => /^\/\*\*\/([^(]+)\(([^]*)\);$/.exec(text);
  const [, name, json] = parts(answer.text);
  const [, expectedName, expected] = parts(v.reply_normalised);
  assert.equal(name, expectedName);
  assert.doesNotMatch(json, /[\u2028\u2029]/, 'line separators are escaped');
  compare(JSON.parse(json), JSON.parse(expected), ids);
}

// Sends the frames of a websocket vector; what came: no less than expected, and nothing more up to a
// barrier behind them. (A reply may come behind the barrier's: a message for a client that is not here
// waits until the engine has looked for it.)
async function askSocket(v, expected = recorded(v).length) {
  const {asked, ids} = await substitute(v);
  const socket = await Wire.open(t, asSocketUrl(new URL(asked.path || '', at).href), {headers: asked.headers});
  for (const frame of asked.frames || []) socket.send(frame);
  if (asked.binary) socket.send(Buffer.from(asked.binary));
  asked.fragments?.forEach((part, i, all) => socket.ws.send(part, {fin: i === all.length - 1}));
  await socket.come(expected);
  return {messages: await socket.barrier(), ids, socket};
}

async function replaySocket(v, compare) {
  const {messages, ids} = await askSocket(v);
  compare(messages, recorded(v), ids);
}

const replay = (v, compare = same) => (v.transport === 'websocket' ? replaySocket : replayHttp)(v, compare);

// -- exchanges that are told in prose ----------------------------------------------------------

const theirs = {};   // as recorded: for Faye, and for Mora where the case is `equal`
const ours = {};     // what Mora does where the case is `different`

const replyTo = id => m => m.id === id && m.channel === '/meta/connect';
const client = (...patterns) => Wire.client(t, asSocketUrl(at), ...patterns);

for (const v of vectors.filter(item => item.name.startsWith('match./'))) {
  const [, pattern, channel] = /^match\.(\S+) vs (\S+)$/.exec(v.name);
  const delivered = async () => {
    const session = await poller(at);
    await session.post([session.message.subscribe(pattern)]);   // may be refused
    await publish(at, channel, 1);
    return (await drain(session)).length > 0;
  };
  theirs[v.name] = async () => assert.equal(await delivered(), v.reply_normalised === 'delivered');
  ours[v.name] = async () => assert.equal(await delivered(), v.reply_normalised !== 'delivered');
}

async function queuedThenConnect() {
  const v = vector['batch.queued-then-connect'];
  const session = await poller(at, '/**');
  const of = name => JSON.parse(JSON.stringify(vector[name].request.body).replace(/<CID\d+>/g, session.clientId));
  for (const name of ['publish.ok', 'publish.no-clientId', 'publish.unknown-clientId', 'publish.no-id', 'publish.data-null', 'publish.data-false',
    'publish.to-service', 'publish.allowed-punct', 'publish.extra-fields', 'meta.case', 'batch.two-subs-one-pub']) await post(at, of(name));
  return {reply: await post(at, of(v.name)), expected: JSON.parse(v.reply_normalised)};
}
theirs['batch.queued-then-connect'] = async () => {
  const {reply, expected} = await queuedThenConnect();
  same(reply, expected);
};
ours['batch.queued-then-connect'] = async () => {
  const {reply, expected} = await queuedThenConnect();
  const without = expected.filter(m => m.channel !== '/service/foo').map(({ext, ...m}) => m);
  without.splice(without.findIndex(m => m.data === 1), 1);   // the publish with the dead clientId
  same(reply, without);
};

async function holdAndPublish(name, messages) {
  const session = await poller(at, '/lp');
  const held = hold(session, {id: 'L1'});
  await held.sent;
  await settle(at);
  await post(at, messages);
  same(await held.answer, JSON.parse(vector[name].reply_normalised));
}
theirs['lp.delivery'] = () => holdAndPublish('lp.delivery', [{channel: '/lp', data: 'a', id: 'x'}]);
theirs['lp.batch-publish-one-flush'] = () => holdAndPublish('lp.batch-publish-one-flush', [1, 2, 3].map(data => ({channel: '/lp', data})));

async function twoConnects() {
  const session = await poller(at, '/lp');
  const held = [];
  for (const id of ['A', 'B']) {
    held.push(hold(session, {id}));
    await held.at(-1).sent;
    await settle(at);
  }
  return held;
}
async function secondPollDelivers(held) {
  await publish(at, '/lp', 'dup');
  same(await held.answer, JSON.parse(/B=(.*)$/.exec(vector['lp.two-connects'].reply_normalised)[1]));
}
theirs['lp.two-connects'] = async () => {
  const [a, b] = await twoConnects();
  await secondPollDelivers(b);
  await settle(at);
  assert.ok(await isPending(a.answer));
  await a.abort();
};
ours['lp.two-connects'] = async () => {
  const [a, b] = await twoConnects();
  assert.deepEqual((await a.answer).map(m => [m.id, m.successful]), [['A', true]]);
  assert.ok(await isPending(b.answer));
  await secondPollDelivers(b);
};

theirs['lp.held-connect-after-disconnect'] = async () => {
  const session = await poller(at);
  const held = hold(session, {id: 'D1'});
  await held.sent;
  await settle(at);
  await session.disconnect();
  same(await held.answer, JSON.parse(vector['lp.held-connect-after-disconnect'].reply_normalised));
};

async function abortedPoll() {
  const session = await poller(at, '/ab');
  const held = hold(session);
  await held.sent;
  await settle(at);
  await held.abort();
  await settle(at);
  await publish(at, '/ab', 'kept');
  return drain(session, {id: 'z'});
}
theirs['lp.aborted-poll-loses-message'] = async () => assert.deepEqual(await abortedPoll(), []);
ours['lp.aborted-poll-loses-message'] = async () => assert.deepEqual(await abortedPoll(), [{channel: '/ab', data: 'kept'}]);

async function pushFrame() {
  const socket = await client('/w');
  await post(at, [{...vector['ws.push-frame'].request.body[0], clientId: socket.clientId}]);
  return socket.barrier();
}
theirs['ws.push-frame'] = async () => same(await pushFrame(), recorded(vector['ws.push-frame']));
ours['ws.push-frame'] = async () => {
  const [{ext, ...expected}] = recorded(vector['ws.push-frame']);
  same(await pushFrame(), [expected]);
};

for (const name of ['ws.self-publish-order', 'ws.batch-replies']) {
  theirs[name] = async () => {
    const socket = await client('/w');
    socket.send(JSON.stringify(vector[name].request.frames[0]).replace(/<CID\d+>/g, socket.clientId));
    same(await socket.barrier(), recorded(vector[name]));
  };
}

async function secondConnect(extra) {
  const socket = await client('/w');
  socket.connect(extra);
  return {socket, messages: await socket.barrier()};
}
theirs['ws.second-connect-while-held'] = async () => assert.deepEqual((await secondConnect({id: '4'})).messages, []);
theirs['ws.connect-timeout0'] = async () => assert.deepEqual((await secondConnect({id: '5', timeout: 0})).messages, []);
ours['ws.second-connect-while-held'] = async () => {
  const {socket} = await secondConnect({id: '4'});
  assert.equal((await socket.reply(socket.heldId)).successful, true);
  assert.ok(!(await socket.barrier()).some(replyTo('4')));
};
ours['ws.connect-timeout0'] = async () => {
  const {socket} = await secondConnect({id: '5', timeout: 0});
  for (const id of [socket.heldId, '5']) assert.equal((await socket.reply(id, `the reply to ${id}`, 8000)).successful, true);
};

async function moved() {
  const first = await client('/w');
  const second = await Wire.open(t, asSocketUrl(at));
  second.clientId = first.clientId;
  second.connect({id: '6'});
  assert.deepEqual(await second.barrier(), []);
  return {first, second};
}
theirs['ws.move-to-second-socket'] = async () => {
  const {first} = await moved();
  assert.deepEqual(await first.barrier(), []);
};
ours['ws.move-to-second-socket'] = async () => {
  const {first} = await moved();
  assert.equal((await first.ended()).code, 1000);
  assert.deepEqual(first.messages.map(m => [m.id, m.successful]), [[first.heldId, true]]);
};
theirs['ws.move.first-socket-sees'] = async () => {
  const {first} = await moved();
  await settle(at);
  assert.equal(first.closed, null);
};
ours['ws.move.first-socket-sees'] = async () => assert.equal((await (await moved()).first.ended()).code, 1000);
theirs['ws.move.delivery'] = async () => {
  const {first, second} = await moved();
  await publish(at, '/w', 'after-move');
  assert.deepEqual(await second.barrier(), [{channel: '/w', data: 'after-move'}]);
  assert.ok(!first.messages.some(m => m.channel === '/w'));
};
theirs['ws.move.close-old'] = async () => {
  const {first, second} = await moved();
  await first.close();
  assert.equal((await second.ended()).code, 1000);
};
ours['ws.move.close-old'] = async () => {
  const {first, second} = await moved();
  await first.close();
  await settle(at);
  await publish(at, '/w', 'still here');
  assert.deepEqual(await second.barrier(), [{channel: '/w', data: 'still here'}]);
};

// Two sessions a and b, both subscribed to /two, whose connects 1 and 2 come on one socket.
async function twoClients() {
  const socket = await Wire.open(t, asSocketUrl(at));
  const [a, b] = [await poller(at, '/two'), await poller(at, '/two')];
  socket.send([{...a.message.connect({id: '1'}), connectionType: 'websocket'}]);
  const held = await socket.gather();
  socket.send([{...b.message.connect({id: '2'}), connectionType: 'websocket'}]);
  await socket.reply('1');
  return {socket, a, b, held};
}
theirs['ws.two-clients.a'] = async () => assert.deepEqual((await twoClients()).held, []);
theirs['ws.two-clients.b'] = async () => {
  const {socket} = await twoClients();
  same(await socket.barrier(), recorded(vector['ws.two-clients.b']));
  assert.equal(socket.closed, null);
};
theirs['ws.two-clients.delivery'] = async () => {
  const {socket, a} = await twoClients();
  await socket.gather();
  await publish(at, '/two', 'x');
  assert.deepEqual(await socket.barrier(), recorded(vector['ws.two-clients.delivery']));
  assert.deepEqual(await drain(a), [{channel: '/two', data: 'x'}]);
};
async function oneFrame() {
  const {socket, a, b} = await twoClients();
  await publish(at, '/two', 'x');     // pushed to b, waits for a
  await socket.gather();
  socket.send([{...a.message.connect({id: '3'}), connectionType: 'websocket'}, {...b.message.connect({id: '4'}), connectionType: 'websocket'}]);
  return {socket, a};
}
theirs['ws.two-clients.one-frame'] = async () => {
  const {socket} = await oneFrame();
  await socket.reply('2');
  same(await socket.barrier(), recorded(vector['ws.two-clients.one-frame']));
};
ours['ws.two-clients.one-frame'] = async () => {
  const {socket, a} = await oneFrame();
  for (const id of ['2', '3']) assert.equal((await socket.reply(id)).successful, true);
  assert.ok(!(await socket.gather()).some(replyTo('4')));
  await publish(at, '/two', 'y');
  assert.deepEqual(await socket.barrier(), [{channel: '/two', data: 'y'}]);   // b's, which is bound
  assert.equal((await drain(a)).filter(m => m.data === 'y').length, 1);
};

theirs['ws.disconnect'] = async () => {
  const socket = await client();
  socket.send([socket.message.disconnect({id: '2'})]);
  assert.equal((await socket.ended()).code, 1000);
  same(socket.messages, recorded(vector['ws.disconnect']));
};
theirs['ws.client-ping'] = async () => {
  const socket = await Wire.open(t, asSocketUrl(at));
  const pong = new Promise(resolve => socket.ws.on('pong', bytes => resolve(bytes.toString())));
  socket.ws.ping('hi');
  await socket.barrier();
  assert.equal(await pong, 'hi');
};
theirs['ws.client-close-code'] = async () => assert.equal((await (await Wire.open(t, asSocketUrl(at))).close(4001)).code, 4001);
// The empty answer may come behind that of a frame which was sent after it.
const emptyFrame = ({frames}) => frames.find(frame => frame.length === 0, '[]');
theirs['ws.empty-array-keepalive'] = async () => emptyFrame((await askSocket(vector['ws.empty-array-keepalive'])).socket);

// -- the browser client ------------------------------------------------------------------------

// What the recording has of a text: its beginning.
const begins = text => /^\(script, ([^]*)\)$/.exec(text)?.[1];

async function askStatic(v) {
  const first = await request(new URL('/bayeux.js', at));
  const fill = text => text.replace('<ETAG>', first.headers.etag).replace('<LAST-MODIFIED>', first.headers['last-modified']);
  const headers = Object.fromEntries(Object.entries(v.request.headers || {}).map(([name, value]) => [name, fill(value)]));
  const answer = await request(new URL(v.request.path, at), {method: v.request.method, headers});
  if (v.headers.etag) {
    assert.match(answer.headers.etag, /^[0-9a-f]{40}$/);
    assert.ok(!Number.isNaN(Date.parse(answer.headers['last-modified'])));
  }
  if (answer.status === 200) assert.equal(answer.headers.etag, createHash('sha1').update(answer.bytes).digest('hex'));
  return answer;
}
for (const v of vectors.filter(item => item.name.startsWith('static.'))) {
  theirs[v.name] = async () => {
    const answer = await askStatic(v);
    assert.equal(answer.status, v.status);
    if (v.status === 200) assert.equal(answer.headers['content-type'], v.headers['content-type']);
    const start = begins(v.reply_normalised);
    if (start) assert.ok(answer.text.startsWith(start), answer.text.slice(0, 40));
    else assert.equal(answer.text !== '', v.reply_normalised === '(script)');
  };
}
ours['static.if-modified-since'] = async v => assert.equal((await askStatic(v)).status, 304);
// As recorded there when the file's time has a fraction of a second.
theirs['static.if-modified-since'] = async v => assert.ok([200, 304].includes((await askStatic(v)).status));

// -- streams of events ---------------------------------------------------------------------------

// How a stream must begin; what the recording holds of its headers.
async function openStream(name, clientId, headers = {}) {
  const stream = await Events.open(t, `${at}/${clientId}`, {Accept: 'text/event-stream', ...headers});
  assert.equal(stream.status, vector[name].status);
  compareHeaders(stream, vector[name]);
  await stream.until(/^retry: 5000\r\n\r\n/);
  return stream;
}
const withoutIds = text => text.replace(/^id: \d+\r\n/gm, '');
const idsOf = text => [...text.matchAll(/^id: (\d+)\r\n/gm)].map(([, id]) => Number(id));

async function pushed() {
  const session = await poller(at, '/es');
  const stream = await openStream('es.stream', session.clientId);
  await publish(at, '/es', 'one\ntwo', {id: 'q'});
  await stream.until(/one/);
  await publish(at, '/es', 2);
  await stream.until(/"data":2}\]\r\n\r\n/);
  return stream.text;
}
theirs['es.stream'] = async v => assert.equal(await pushed(), v.reply_normalised);
ours['es.stream'] = async v => {
  const text = await pushed();
  assert.equal(withoutIds(text), v.reply_normalised);
  const [first, second] = idsOf(text);
  assert.ok(first < second, text);
};

theirs['es.unknown-client'] = () => openStream('es.unknown-client', 'unknownclient');
ours['es.unknown-client'] = async () => {
  const answer = await request(`${at}/unknownclient`, {headers: {Accept: 'text/event-stream'}});
  assert.equal(answer.status, 404);
  assert.equal(answer.text, 'Unknown client');
};

async function queued(nudge) {
  const session = await poller(at, '/es2');
  await publish(at, '/es2', 'queued');
  const stream = await openStream('es.queued-flushed-on-connect', session.clientId);
  if (nudge) await post(at, [{...session.message.connect(), connectionType: 'eventsource'}]);
  await stream.until(/queued"}\]\r\n\r\n/);
  return stream.text;
}
theirs['es.queued-flushed-on-connect'] = async v => assert.equal(await queued(true), v.reply_normalised);
ours['es.queued-flushed-on-connect'] = async v => assert.equal(withoutIds(await queued(false)), v.reply_normalised);

theirs['es.closed-by-disconnect'] = async v => {
  const session = await poller(at);
  const stream = await openStream(v.name, session.clientId);
  await session.disconnect();
  await stream.ended();
  assert.equal(stream.text, v.reply_normalised);
};
theirs['es.accept-list'] = async v => openStream(v.name, (await poller(at)).clientId, v.request.headers);
theirs['es.origin'] = theirs['es.accept-list'];
ours['es.origin'] = async v => {
  const {clientId} = await poller(at);
  const refused = await request(`${at}/${clientId}`, {headers: v.request.headers});
  assert.equal(refused.status, 403);
  const stream = await openStream(v.name, clientId, {Origin: 'http://localhost:3000'});
  assert.equal(stream.headers['access-control-allow-origin'], 'http://localhost:3000');
};

// -- upgrades that are refused -------------------------------------------------------------------

async function upgrade(v) {
  const raw = connectRaw(t, new URL(at).host, {secure: /^(https|wss):/.test(at)});
  await raw.opened;
  const headers = {Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', ...v.request.headers};
  if (v.name === 'ws.upgrade-hixie') delete headers['Sec-WebSocket-Version'];
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  await raw.send(`GET ${v.request.path || '/bayeux'} HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`);
  return raw;
}
theirs['ws.upgrade-headers'] = async v => {
  const raw = await upgrade(v);
  const [head] = await raw.until(/^[^]*\r\n\r\n/);
  assert.match(head, /^HTTP\/1.1 101 /);
  assert.match(head, new RegExp(`^sec-websocket-accept: ${v.headers['sec-websocket-accept'].replace('+', '\\+')}\r$`, 'im'));
  assert.doesNotMatch(head, /sec-websocket-(protocol|extensions)/i);
};
for (const name of ['ws.upgrade-no-key', 'ws.upgrade-version-99', 'ws.upgrade-version-8', 'ws.upgrade-hixie']) {
  theirs[name] = async v => {
    const raw = await upgrade(v);
    await raw.ended();
    assert.match(raw.text, /^HTTP\/1.1 400 /);
    assert.ok(raw.text.includes(v.reply_normalised), raw.text);
  };
  ours[name] = async v => {
    const raw = await upgrade(v);
    await raw.ended();
    assert.match(raw.text, name === 'ws.upgrade-no-key' ? /^HTTP\/1.1 400 / : /^HTTP\/1.1 426 [^]*^sec-websocket-version: 13\r$/im);
    assert.match(raw.text, /\r\n\r\n\{"error":"[^"]+"\}$/);
  };
}
ours['ws.upgrade-other-path'] = async v => {
  const raw = await upgrade(v);
  await raw.ended();
  assert.match(raw.text, /^HTTP\/1.1 404 /);
};
// There the application gets it; nobody answers.
theirs['ws.upgrade-other-path'] = async v => {
  const raw = await upgrade(v);
  await settle(at);
  assert.equal(raw.text, '');
};

// -- other answers to the very same request ----------------------------------------------------

for (const v of vectors) {
  if (/"reconnect":"handshake"/.test(v.reply_normalised)) ours[v.name] = () => replay(v, sameButInterval);
}

for (const name of ['handshake.error-field-in-request', 'subscribe.error-field', 'publish.error-field']) {
  ours[name] = async () => {
    const {answer} = await ask(vector[name]);
    const [sent] = vector[name].request.body;
    const {id, channel} = sent;
    assert.deepEqual(answer.json.map(m => ({id: m.id, channel: m.channel, successful: m.successful, error: m.error})),
                     [{id, channel, successful: false, error: '400::Bad request'}]);
    assert.ok(!answer.text.includes(JSON.stringify(sent.error)));
  };
}

ours['publish.unknown-clientId'] = async () => {
  const [reply] = (await ask(vector['publish.unknown-clientId'])).answer.json;
  assert.equal(reply.successful, false);
  assert.equal(reply.error, '401:fake:Unknown client');
  assert.equal(reply.advice.reconnect, 'handshake');
  assert.ok(reply.advice.interval >= 1000 && reply.advice.interval <= 2000);
};

ours['publish.channel-array'] = async () => {
  const replies = await post(at, [...vector['publish.channel-array'].request.body, {channel: '/a', data: 2, id: '6'}]);
  assert.deepEqual(replies.map(({id, successful, error}) => ({id, successful, error})), [
    {id: '5', successful: false, error: '405:/a:Invalid channel'}, {id: '6', successful: true, error: undefined}]);
};

for (const name of ['ws.empty-text', 'ws.bad-json', 'ws.number', 'ws.null']) {
  ours[name] = async () => assert.deepEqual((await askSocket(vector[name], 1)).messages, [{successful: false, error: '400::Bad request'}]);
}
ours['ws.array-null'] = async () => {
  const {messages, socket} = await askSocket(vector['ws.array-null']);
  assert.deepEqual(messages, []);
  await emptyFrame(socket);
};

// Asks as a page of another machine, which is refused, and as a page of this one; the second answer.
async function askAsPage(v) {
  const {method = 'POST', path = '/bayeux', body, headers: {Origin: foreign}} = v.request;
  const type = method === 'POST' ? {'Content-Type': 'application/json'} : {};
  const ask = Origin => request(new URL(path, at), {method, body, headers: {...type, Origin}});
  const refused = await ask(foreign);
  assert.equal(refused.status, 403);
  assert.equal(refused.headers['access-control-allow-origin'], undefined);
  const origin = 'http://localhost:3000';
  const answer = await ask(origin);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['access-control-allow-origin'], origin);
  assert.equal(answer.headers['access-control-allow-credentials'], 'true');
  assert.match(answer.headers.vary || '', /\borigin\b/i);
  return answer;
}
const hello = vector['http.headers-json'].request.body;
theirs['http.origin-null'] = () => replay({...vector['http.origin-null'], request: {...vector['http.origin-null'].request, body: hello}});
for (const name of ['jsonp.origin', 'http.headers-json-origin', 'http.options-origin']) {
  ours[name] = async () => assert.equal((await askAsPage(vector[name])).text, vector[name].reply_normalised);
}
ours['http.origin-null'] = () => askAsPage({request: {...vector['http.origin-null'].request, body: hello}});

for (const name of ['http.options-no-origin', 'http.options-referer', 'http.post-with-acrm']) {
  ours[name] = () => {
    const {'access-control-allow-origin': origin, 'access-control-allow-credentials': credentials, ...headers} = vector[name].headers;
    return ask({...vector[name], headers}).then(({answer}) => {
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
      compareHeaders(answer, {headers});
    });
  };
}

ours['ws.origin-any'] = async () => {
  for (const Origin of ['http://localhost:3000', 'http://127.0.0.1:8080']) {
    await (await Wire.open(t, asSocketUrl(at), {headers: {Origin}})).handshake();
  }
  await assert.rejects(Wire.open(t, asSocketUrl(at), {headers: vector['ws.origin-any'].request.headers}), /403/);
};

// The recording's host application answered 299 to what is not below the mount.
for (const v of vectors.filter(item => item.status === 299)) {
  theirs[v.name] = ours[v.name] = async () => assert.equal((await ask(v)).answer.status, 404);
}

// -- the table ---------------------------------------------------------------------------------

test('every recorded name has a case, and every case a name', () => {
  assert.equal(vectors.length, 245);
  assert.deepEqual(Object.keys(cases).sort(), vectors.map(v => v.name).sort());
  for (const [name, {how, reason}] of Object.entries(cases)) {
    assert.ok(['equal', 'different'].includes(how), name);
    if (how !== 'equal') assert.ok(reason, `${name}: a reason`);
    if (how === 'different') assert.ok(ours[name], `${name}: what Mora does`);
  }
});

test('the differences are those of docs/protocol.md', () => {
  const named = new Set([...read('../../docs/protocol.md').matchAll(/`([^`\n]+)`/g)].map(([, name]) => name).filter(name => name in cases));
  for (const [name, {how}] of Object.entries(cases)) assert.equal(named.has(name), how === 'different', `${name} in docs/protocol.md`);
});

for (const v of vectors) {
  const {how} = cases[v.name] || {};
  test(v.name, async context => {
    at = (await broker()).bayeux;
    t = context;
    await (how === 'different' && target !== 'faye' ? ours[v.name] : theirs[v.name] || replay)(v);
  });
}

broker.endsWell();
