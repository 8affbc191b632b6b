// SPDX-License-Identifier: Apache-2.0
// The admin listener: health, numbers, listings, publishing, watching, tokens.

import assert from 'node:assert/strict';
import http from 'node:http';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {Feed, until} from './lib/wait.mjs';
import {Wire, asSocketUrl, drain, hold, poller, publish, settle} from './support/wire.mjs';
import {sharedBroker} from './support/shared.mjs';

const broker = sharedBroker({set: {'limits.body': '64KB'}});
const get = async path => getJson((await broker()).admin(path));
const say = async value => postJson((await broker()).admin('/v1/publish'), value);
const stats = async () => (await get('/v1/stats')).json;

let serial = 0;
const place = () => `/admin/${++serial}`;

// A stream of lines: its head has come, what follows gathers in `lines`.
function tail(t, url, headers = {}) {
  return new Promise((resolve, reject) => {
    const asked = http.get(url, {headers, agent: new http.Agent()}, response => {
      const lines = new Feed();
      let rest = '';
      response.setEncoding('utf8').on('data', text => {
        const parts = (rest + text).split('\n');
        rest = parts.pop();
        lines.push(...parts);
      });
      response.on('error', () => {});
      resolve({response, lines, close: () => asked.destroy()});
    });
    asked.on('error', reject);
    t.after(() => asked.destroy());
  });
}

// -- health and numbers ------------------------------------------------------------------------

test('/healthz and /readyz on every listener', async () => {
  const server = await broker();
  for (const listener of ['broker', 'admin']) {
    for (const path of ['/healthz', '/readyz']) {
      const answer = await getJson(server.url(listener, path));
      assert.equal(answer.status, 200, `${listener} ${path}`);
      assert.deepEqual(answer.json, {ready: true, reasons: []});
    }
  }
});

test('unknown paths are 404, known ones with another method 405, each with an error', async () => {
  const {admin} = await broker();
  for (const [method, path, status] of [['GET', '/', 404], ['GET', '/v1/nothing', 404], ['POST', '/v1/stats', 405], ['GET', '/v1/publish', 405]]) {
    const answer = await request(admin(path), {method});
    assert.equal(answer.status, status, `${method} ${path}`);
    assert.equal(typeof answer.json.error, 'string');
  }
});

test('/v1/stats has every number, also when it is 0, and they move', async () => {
  const before = await stats();
  for (const name of ['epoch', 'first', 'head', 'mark', 'sessions', 'live', 'reading', 'away', 'moves', 'forced_moves', 'resent', 'lost_sessions',
    'gaps', 'refused_publishes', 'unknown_publishes']) assert.ok(Number.isSafeInteger(before[name]), `${name}: ${before[name]}`);
  assert.ok(Array.isArray(before.listeners));
  const {bayeux} = await broker();
  await poller(bayeux);
  await publish(bayeux, place(), 1);
  const after = await stats();
  assert.equal(after.head, before.head + 1);
  assert.equal(after.sessions, before.sessions + 1);
  assert.equal(after.away, before.away + 1);
  assert.ok(after.head > 1e15, 'positions start at the time of the epoch');
});

function metrics(text) {
  const samples = new Map(), types = new Map(), helps = new Set();
  for (const line of text.trim().split('\n')) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    const help = /^# HELP (\S+) \S/.exec(line);
    const sample = /^([a-z_]+)(\{[^}]*\})? ([-+]?[0-9.e+-]+|\+Inf)$/.exec(line);
    if (type) types.set(type[1], type[2]);
    else if (help) helps.add(help[1]);
    else if (sample) samples.set(sample[1] + (sample[2] || ''), Number(sample[3]));
    else assert.fail(`not a line of metrics: ${line}`);
  }
  return {samples, types, helps};
}

test('/metrics is what Prometheus reads, and agrees with /v1/stats', async () => {
  const {bayeux, admin} = await broker();
  const read = async () => metrics((await request(admin('/metrics'))).text);
  const answer = await request(admin('/metrics'));
  assert.match(answer.headers['content-type'], /^text\/plain; version=0\.0\.4/);
  const {samples, types, helps} = metrics(answer.text);
  assert.ok(samples.size > 20);
  for (const [name, type] of types) {
    assert.match(name, /^mora_[a-z0-9_]+$/);
    assert.ok(helps.has(name), `${name} has help`);
    assert.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`);
  }
  for (const name of samples.keys()) assert.ok(types.has(name.replace(/\{.*/, '').replace(/_(bucket|sum|count)$/, '')) || types.has(name), `${name} has a type`);
  for (const name of types.keys()) assert.doesNotMatch(name, /_(ms|millis|milliseconds|kb|mb)(_total)?$/);
  await publish(bayeux, place(), 1);
  const later = (await read()).samples;
  const moved = [...later].filter(([name, value]) => name.endsWith('_total') && value > (samples.get(name) ?? 0)).map(([name]) => name);
  assert.ok(moved.some(name => /publish/.test(name)), `a publish is counted: ${moved}`);
  for (const [name, value] of samples) if (name.endsWith('_total')) assert.ok(later.get(name) >= value, `${name} never falls`);
});

// -- listings ----------------------------------------------------------------------------------

// Every page of a listing, `limit` rows each.
async function pages(path, list, limit) {
  const rows = [];
  for (let next = null, n = 0; n < 100; n++) {
    const {status, json} = await get(`${path}${path.includes('?') ? '&' : '?'}limit=${limit}${next === null ? '' : `&after=${encodeURIComponent(next)}`}`);
    assert.equal(status, 200);
    assert.ok(json[list].length <= limit);
    rows.push(...json[list]);
    if (!('next' in json)) return rows;
    assert.equal(json[list].length, limit, 'only the last page is short');
    next = json.next;
  }
  throw new Error('a listing without end');
}

test('/v1/channels: patterns too, counted, by prefix, in pages', async () => {
  const {bayeux} = await broker();
  const top = place();
  const patterns = [`${top}/**`, `${top}/*`, ...Array.from({length: 9}, (_, n) => `${top}/c${n}`)];
  const session = await poller(bayeux, ...patterns);
  await poller(bayeux, `${top}/c3`);
  const expected = patterns.sort().map(channel => ({channel, subscribers: channel.endsWith('/c3') ? 2 : 1}));
  for (const limit of [1, 4, 11, 1000]) {
    const rows = await pages(`/v1/channels?prefix=${top}/`, 'channels', limit);
    assert.deepEqual(rows.sort((a, b) => (a.channel < b.channel ? -1 : 1)), expected, `limit ${limit}`);
  }
  await session.unsubscribe(`${top}/c1`);
  await session.disconnect();
  assert.deepEqual((await get(`/v1/channels?prefix=${top}/`)).json.channels, [{channel: `${top}/c3`, subscribers: 1}]);
  for (const limit of ['0', 'x', '-1', '1001']) assert.equal((await get(`/v1/channels?limit=${limit}`)).status, 400);
});

test('/v1/subscribers: those whom a message reaches, wildcards included', async () => {
  const {bayeux} = await broker();
  const top = place();
  const sessions = {};
  for (const pattern of [`${top}/a`, `${top}/*`, `${top}/**`, `${top}/b`]) sessions[pattern] = (await poller(bayeux, pattern)).clientId;
  const {json} = await get(`/v1/subscribers?channel=${top}/a`);
  const expected = [`${top}/a`, `${top}/*`, `${top}/**`].map(pattern => ({client: sessions[pattern], pattern}));
  const order = rows => rows.sort((a, b) => (a.client < b.client ? -1 : 1));
  assert.deepEqual(order(json.subscribers), order(expected));
  assert.deepEqual(order(await pages(`/v1/subscribers?channel=${top}/a`, 'subscribers', 1)), order(expected));
  assert.equal((await get('/v1/subscribers')).status, 400);
  assert.equal((await get('/v1/subscribers?channel=bad')).status, 400);
});

test('/v1/clients and /v1/clients/<id>: what a session is and where it stands', async t => {
  const {bayeux} = await broker();
  const channel = place();
  const socket = await Wire.client(t, asSocketUrl(bayeux), channel);
  const away = await poller(bayeux, channel);
  const polling = await poller(bayeux, channel);
  const held = hold(polling);
  await held.sent;
  await settle(bayeux);
  const rows = new Map((await pages('/v1/clients', 'clients', 2)).map(row => [row.client, row]));
  const find = ({clientId}) => rows.get(clientId);
  for (const session of [socket, away, polling]) {
    const row = find(session);
    assert.equal(typeof row.node, 'string');
    assert.match(row.address, /^127\.0\.0\.1/);
    assert.equal(row.subscriptions, 1);
    assert.equal(row.lag, 0);
  }
  assert.deepEqual([find(socket).state, find(socket).transport], ['live', 'websocket']);
  assert.deepEqual([find(polling).state, find(polling).transport], ['live', 'long-polling']);
  assert.equal(find(away).state, 'away');
  for (const data of [1, 2, 3]) await publish(bayeux, channel, data);
  await held.answer;
  const {json} = await get(`/v1/clients/${away.clientId}`);
  for (const name of ['generation', 'sent', 'conf', 'created', 'last_connect']) assert.ok(Number.isSafeInteger(json[name]), name);
  assert.equal(json.lag, 3);
  const [{pattern, start}] = json.subscriptions;
  assert.equal(pattern, channel);
  assert.ok(start <= json.sent && json.conf <= json.sent);
  await drain(away);
  assert.equal((await get(`/v1/clients/${away.clientId}`)).json.lag, 0);
  await away.disconnect();
  const gone = await get(`/v1/clients/${away.clientId}`);
  assert.equal(gone.status, 404);
  assert.equal(typeof gone.json.error, 'string');
});

// -- publishing --------------------------------------------------------------------------------

test('POST /v1/publish: object for object, list for list; positions grow by one', async () => {
  const {bayeux} = await broker();
  const channel = place();
  const session = await poller(bayeux, channel);
  const one = await say({channel, data: {n: 1}});
  assert.equal(one.status, 200);
  const {position, epoch} = one.json;
  assert.deepEqual(one.json, {position, epoch, outcome: 'acknowledged'});
  assert.ok(Number.isSafeInteger(position) && Number.isSafeInteger(epoch));
  const many = await say([{channel, data: 2}, {channel, data: null, ext: {secret: 1}}]);
  assert.deepEqual(many.json, [1, 2].map(n => ({position: position + n, epoch, outcome: 'acknowledged'})));
  assert.deepEqual((await say([])).json, []);
  assert.deepEqual(await drain(session), [{channel, data: {n: 1}}, {channel, data: 2}, {channel, data: null}]);
  const {head, epoch: now} = await stats();
  assert.deepEqual([head, now], [position + 2, epoch]);
});

const BAD = ['{"channel": "/a/*", "data": 1}', '{"channel": "/**", "data": 1}', '{"channel": "/meta/x", "data": 1}', '{"channel": "bad", "data": 1}',
  '{"channel": "/a"}', '{"data": 1}', '{"channel": 5, "data": 1}', '{"channel": "/a", "data": 1, "id": 5}', '{"channel": "/a", "data": 1, "id": ""}',
  `{"channel": "/a", "data": 1, "id": "${'x'.repeat(65)}"}`, '{}'];

test('POST /v1/publish: a bad entry is 400 alone, in a list it fails in its slot', async () => {
  const {bayeux} = await broker();
  const channel = place();
  const session = await poller(bayeux, '/**');
  for (const entry of BAD) {
    const {status, json} = await say(entry);
    assert.equal(status, 400, entry);
    assert.deepEqual(Object.keys(json), ['error'], entry);
  }
  const {status, json} = await say(`[${BAD.join(',')}, {"channel": "${channel}", "data": "good"}]`);
  assert.equal(status, 200);
  assert.equal(json.length, BAD.length + 1);
  json.slice(0, -1).forEach((slot, i) => assert.equal(typeof slot.error, 'string', BAD[i]));
  assert.equal(json.at(-1).outcome, 'acknowledged');
  assert.deepEqual(await drain(session), [{channel, data: 'good'}]);
});

test('POST /v1/publish: what is no JSON is 400, too many entries are refused, too large a body is 413', async () => {
  for (const body of ['', '{', '5', '"x"', 'null', '[1', '{"channel": "/a", "data": 1} x', '{"channel": "/a", "data": 01}']) {
    const {status, json} = await say(body);
    assert.equal(status, 400, body);
    assert.equal(typeof json.error, 'string');
  }
  const entries = n => Array.from({length: n}, () => ({channel: '/n', data: 1}));
  assert.equal((await say(entries(1000))).json.length, 1000);
  assert.equal((await say(entries(1001))).status, 413);
  assert.equal((await say({channel: '/n', data: 'x'.repeat(70000)})).status, 413);
});

test('POST /v1/publish: an id that comes again answers the first position, and is no member of the message', async () => {
  const {bayeux} = await broker();
  const channel = place();
  const session = await poller(bayeux, channel);
  const first = (await say({channel, data: 1, id: `${channel}-once`})).json;
  assert.deepEqual((await say({channel, data: 2, id: `${channel}-once`})).json, first);
  const [again, other, same] = (await say([{channel, data: 3, id: `${channel}-once`}, {channel, data: 4, id: `${channel}-two`}, {channel, data: 5, id: `${channel}-two`}])).json;
  assert.equal(again.position, first.position);
  assert.equal(other.position, first.position + 1);
  assert.equal(same.position, other.position);
  assert.deepEqual(await drain(session), [{channel, data: 1}, {channel, data: 4}]);
});

// -- watching ----------------------------------------------------------------------------------

test('/v1/tail: headers at once, then a line for each message that matches, from now on', async t => {
  const {bayeux, admin} = await broker();
  const top = place();
  await publish(bayeux, `${top}/a`, 'before');
  const all = await tail(t, admin(`/v1/tail?channel=${top}/**`));
  const exact = await tail(t, admin(`/v1/tail?channel=${top}/a`));
  assert.equal(all.response.statusCode, 200);
  assert.equal(all.response.headers['transfer-encoding'], 'chunked');
  const position = (await stats()).head;
  await publish(bayeux, `${top}/a`, {n: 1}, {id: 'x', ext: {secret: 1}});
  await publish(bayeux, `${top}/b/c`, 2);
  await publish(bayeux, '/elsewhere', 3);
  await say(`{"channel": "${top}/a", "data": [1.10,\n12345678901234567890]}`);
  await all.lines.count(3);
  assert.deepEqual(all.lines.items.slice(0, 2).map(line => JSON.parse(line)), [
    {position: position + 1, channel: `${top}/a`, data: {n: 1}, id: 'x'}, {position: position + 2, channel: `${top}/b/c`, data: 2}]);
  assert.ok(all.lines.items[2].includes('[1.10, 12345678901234567890]') || all.lines.items[2].includes('[1.10,12345678901234567890]'), all.lines.items[2]);
  await exact.lines.count(2);
  assert.equal(exact.lines.length, 2);
  for (const query of ['', '?channel=bad']) assert.equal((await get(`/v1/tail${query}`)).status, 400);
  all.close();
  exact.close();
  await until(async () => (await stats()).admin?.tails === 0, 'the streams to be forgotten');
});

// -- tokens ------------------------------------------------------------------------------------

test('with a token: 401 without it, with another, and to /metrics; health stays open', async t => {
  const {admin} = await startBroker(t, {set: {'admin.token': 'open sesame'}});
  const ways = [['GET', '/v1/stats'], ['GET', '/v1/channels'], ['GET', '/v1/clients'], ['GET', '/v1/subscribers?channel=/a'], ['GET', '/metrics'],
    ['POST', '/v1/publish']];
  const ask = ([method, path], authorization) => request(admin(path), {
    method, headers: authorization ? {Authorization: authorization} : {}, body: method === 'POST' ? '{"channel":"/a","data":1}' : null});
  for (const way of ways) {
    for (const wrong of [null, 'Bearer', 'Bearer open', 'Bearer open sesame!', 'Basic b3BlbiBzZXNhbWU=', 'open sesame']) {
      const {status, json} = await ask(way, wrong);
      assert.equal(status, 401, `${way} ${wrong}`);
      assert.equal(typeof json.error, 'string');
    }
    assert.equal((await ask(way, 'Bearer open sesame')).status, 200, way[1]);
  }
  assert.equal((await request(admin('/v1/tail?channel=/a'))).status, 401);
  const watching = await tail(t, admin('/v1/tail?channel=/a'), {Authorization: 'Bearer open sesame'});
  assert.equal(watching.response.statusCode, 200);
  watching.close();
  for (const path of ['/healthz', '/readyz']) assert.equal((await request(admin(path))).status, 200, path);
});

test('without a token: only this machine by its own name, and no pages of other sites', async () => {
  const {admin} = await broker();
  const ask = headers => request(admin('/v1/stats'), {headers});
  for (const Host of ['evil.example', 'localhost.evil.example']) assert.equal((await ask({Host})).status, 403, Host);
  for (const Host of ['localhost', 'localhost:8001', '127.0.0.1', '[::1]:8001']) assert.equal((await ask({Host})).status, 200, Host);
  assert.equal((await ask({Origin: 'http://evil.example'})).status, 403);
});

broker.endsWell();
