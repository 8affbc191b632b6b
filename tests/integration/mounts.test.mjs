// SPDX-License-Identifier: Apache-2.0
// Several mounts with settings of their own, and messages with numbers: by bytes, and as Gitter's own realtime
// client (npm, unchanged) looks at them.

import assert from 'node:assert/strict';
import http from 'node:http';
import {createRequire} from 'node:module';
import {WebSocket, WebSocketServer} from 'ws';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {Events} from './support/events.mjs';
import {Wire, asSocketUrl, hold, poller, post, publish} from './support/wire.mjs';

const require = createRequire(import.meta.url);
const both = {'broker.mounts': ['/bayeux', {path: '/faye', timeout: '300s'}, {path: '/chat', sequence: true}]};
const numbers = messages => messages.filter(m => m.channel === '/n').map(m => m.ext?.c);
const publishN = async (url, from, to) => { for (let n = from; n <= to; n++) await publish(url, '/n', n); };

test('each mount advises its own timeout, and a session lives by that of its last connect', async t => {
  const broker = await startBroker(t, {set: {...both, 'broker.timeout': '500ms'}});
  for (const [path, timeout] of [['/bayeux', 500], ['/faye', 300000], ['/chat', 500], ['/faye/connect', 300000]]) {
    const session = await poller(broker.url('broker', path));
    const [reply] = await session.connect({timeout: 0});
    assert.equal(reply.advice.timeout, timeout, path);
    const [events] = await post(session.url, [{...session.message.connect(), connectionType: 'eventsource'}]);
    assert.equal(events.advice.interval, timeout, path);
  }
  const lives = await poller(broker.url('broker', '/faye')), expires = await poller(broker.url('broker', '/bayeux'));
  const there = id => getJson(broker.admin(`/v1/clients/${id}`)).then(answer => answer.status === 200);
  await until(async () => !await there(expires.clientId), 'its expiry');
  assert.ok(await there(lives.clientId));
});

test('mounts share channels and sessions; each has its script', async t => {
  const broker = await startBroker(t, {set: both});
  const session = await poller(broker.url('broker', '/faye'), '/n');
  const held = hold(session);
  await held.sent;
  await publishN(broker.bayeux, 1, 1);
  assert.ok((await held.answer).some(m => m.data === 1));
  for (const path of ['/bayeux.js', '/faye.js', '/chat.js', '/faye/client.js', '/faye/faye.js'])
    assert.match((await request(broker.url('broker', path))).text, /^var Faye=/, path);
  for (const path of ['/faye/bayeux.js', '/faye/.js']) assert.equal((await request(broker.url('broker', path))).status, 404, path);
});

test('numbers begin at 1, go on over transports, and are for this mount only', async t => {
  const broker = await startBroker(t, {set: both});
  const chat = broker.url('broker', '/chat');
  const session = await poller(chat, '/n');
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/n');
  await publishN(chat, 1, 3);
  assert.deepEqual(numbers(await session.connect({timeout: 0})), [1, 2, 3]);
  const moved = await Wire.open(t, asSocketUrl(chat));
  moved.clientId = session.clientId;
  moved.connect();
  await publishN(chat, 4, 5);
  await moved.come(2);
  assert.deepEqual(numbers(moved.messages), [4, 5]);
  const stream = await Events.open(t, `${chat}/${session.clientId}`);
  await moved.ended();
  await publishN(chat, 6, 7);
  await stream.come(2);
  assert.deepEqual(numbers(stream.messages), [6, 7]);
  assert.match(stream.lastId, /^\d+-7$/);
  await socket.come(7);
  assert.deepEqual(numbers(socket.messages), Array(7).fill(undefined));
  // Whole batches, too.
  const batch = await poller(chat, '/n');
  await post(chat, Array.from({length: 100}, (_, n) => ({channel: '/n', data: {n}})));
  assert.deepEqual(numbers(await batch.connect({timeout: 0})), Array.from({length: 100}, (_, n) => n + 1));
});

test('a message that comes again has the number that it had', async t => {
  const broker = await startBroker(t, {set: both});
  const chat = broker.url('broker', '/chat');
  const socket = await Wire.client(t, asSocketUrl(chat), '/n');
  const beforePing = 2;
  await publishN(chat, 1, beforePing);
  await socket.come(beforePing);
  socket.ws.terminate();
  await socket.ended();
  const again = await Wire.open(t, asSocketUrl(chat));
  again.clientId = socket.clientId;
  again.connect();
  await publishN(chat, 3, 3);
  await again.come(3);
  assert.deepEqual(numbers(again.messages), [1, 2, 3]);
  const session = await poller(chat, '/n');
  const stream = await Events.open(t, `${chat}/${session.clientId}`);
  for (const n of [1, 2, 3]) {
    await publishN(chat, n, n);
    await stream.come(n);
  }
  const {id} = stream.events.find(event => numbers(event.data).includes(1));
  stream.close();
  const back = await Events.open(t, `${chat}/${session.clientId}`, {Accept: 'text/event-stream', 'Last-Event-ID': id});
  await publishN(chat, 4, 4);
  await back.come(3);
  assert.deepEqual(numbers(back.messages), [2, 3, 4]);
});

// -- Gitter's client -----------------------------------------------------------------------------

// What the client asks of Gitter's API: who it is.
async function stubApi(t) {
  const api = http.createServer((question, answer) => {
    assert.equal(question.url, '/v1/private/token');
    answer.setHeader('Content-Type', 'application/json').end(JSON.stringify({token: 'secret'}));
  });
  await new Promise(resolve => api.listen(0, '127.0.0.1', resolve));
  t.after(() => api.close());
  return `http://127.0.0.1:${api.address().port}/v1/private/token`;
}

// Passes posts and websocket messages on; messages to the client that contain the text `lost` are not.
async function lossyProxy(t, url) {
  const front = http.createServer((question, answer) => {
    const on = http.request(url, {method: question.method, headers: question.headers}, reply => {
      answer.writeHead(reply.statusCode, reply.headers);
      reply.pipe(answer);
    });
    on.on('error', () => answer.destroy());
    question.pipe(on);
  });
  await new Promise(resolve => front.listen(0, '127.0.0.1', resolve));
  const sockets = new WebSocketServer({server: front});
  sockets.on('connection', client => {
    const upstream = new WebSocket(url.replace('http', 'ws'));
    const waiting = [];
    client.on('message', text => (upstream.readyState === WebSocket.OPEN ? upstream.send(String(text)) : waiting.push(String(text))));
    upstream.on('open', () => { for (const text of waiting) upstream.send(text); });
    upstream.on('message', text => { if (!String(text).includes('"lost"')) client.send(String(text)); });
    upstream.on('close', () => client.close());
    client.on('close', () => upstream.close());
    for (const each of [client, upstream]) each.on('error', () => {});
  });
  t.after(() => {
    for (const client of sockets.clients) client.terminate();
    front.closeAllConnections();
    front.close();
  });
  return `http://127.0.0.1:${front.address().port}/chat`;
}

async function gitterClient(t, url) {
  const {RealtimeClient} = require('gitter-realtime-client');
  const token = await stubApi(t);
  const client = new RealtimeClient({
    fayeUrl: url, authProvider: callback => getJson(token).then(answer => callback(answer.json)), fayeOptions: {timeout: 30, retry: 1, interval: 0},
    extensions: [{incoming(message, callback) { if (message.data !== undefined) client.seen.push(message); callback(message); }}],
  });
  Object.assign(client, {seen: [], established: 0, gaps: 0, got: []});
  client.on('newConnectionEstablished', () => client.established++);
  client.on('sequence.error', () => client.gaps++);
  t.after(() => client.disconnect());
  await within(client.subscribe('/v1/rooms/1/chatMessages', message => client.got.push(message.n)), 'its subscription');
  return client;
}

const say = (broker, n, text = 'hello') => postJson(broker.admin('/v1/publish'), {channel: '/api/v1/rooms/1/chatMessages', data: {n, text}});
const gets = (client, n) => until(() => client.got.includes(n), () => `message ${n}, got ${client.got}`);

test("Gitter's realtime client connects, is numbered for, and tests its connection", async t => {
  const broker = await startBroker(t, {set: both});
  const client = await gitterClient(t, broker.url('broker', '/chat'));
  for (let n = 1; n <= 5; n++) await say(broker, n);
  await gets(client, 5);
  assert.deepEqual(client.got, [1, 2, 3, 4, 5]);
  assert.deepEqual(client.seen.map(m => m.ext.c), [1, 2, 3, 4, 5]);
  assert.equal(await within(client.testConnection('test'), 'its ping'), true);
  assert.deepEqual([client.gaps, client.established], [0, 1]);
});

test("Gitter's realtime client sees a gap in the numbers and begins anew", async t => {
  const broker = await startBroker(t, {set: both});
  const client = await gitterClient(t, await lossyProxy(t, broker.url('broker', '/chat')));
  await say(broker, 1);
  await gets(client, 1);
  const first = client.getClientId();
  await say(broker, 2, 'lost');
  await say(broker, 3);
  await until(() => client.gaps === 1, 'the gap');
  await until(() => client.established === 2, 'a new session');
  assert.notEqual(client.getClientId(), first);
  await until(async () => (await say(broker, 4), client.got.includes(4)), 'messages of the new session');
  assert.equal(client.seen.filter(m => m.data.n === 4)[0].ext.c, 1);
  assert.equal(client.gaps, 1);
});
