// SPDX-License-Identifier: Apache-2.0
// HTTP conformance: the requests of support/http_cases.mjs against every kind of listener of the real
// daemons. For each: what is answered, that the connection ends or goes on as it must, that no request
// is found inside another, the number that moved; beside it clients that must not notice.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker, startApi, startWeb} from './lib/daemon.mjs';
import {keepAlive, postJson, getJson} from './lib/http.mjs';
import {within} from './lib/wait.mjs';
import {RawHttp} from './support/raw_http.mjs';
import {cases, counters} from './support/http_cases.mjs';
import {Wire, asSocketUrl, publish} from './support/wire.mjs';

const KB = 1024, MB = 1024 * 1024;
const CASE_DEADLINE = 20000;

// A listener as the cases see it; `ok` is what a good POST gets there.
async function target(t, daemon, listener, {path, body, max, metrics}) {
  const address = daemon.address(listener);
  const fill = text => {
    const size = Buffer.byteLength(body);
    const words = {H: address, G: '/healthz', P: path, B: body, L: size, X: size.toString(16), C: `${size.toString(16)}\r\n${body}\r\n0\r\n\r\n`};
    return Buffer.from(text.replace(/%([HGPBLXC])(?![0-9a-f])/g, (_, key) => words[key]), 'latin1');
  };
  const read = metrics && (async name => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec((await getJson(metrics)).text)[1]));
  const good = await postJson(daemon.url(listener, path), body);
  assert.ok(good.status < 500, `POST ${path}: ${good.status}`);
  return {t, address, fill, read, max, ok: good.status};
}

// "200 ok | 400 end" as [{statuses, end}].
const alternatives = (text, ok) => text.split(' | ').map(each => {
  const words = each.trim().split(/\s+/);
  return {statuses: words.filter(word => word !== 'end').map(word => (word === 'ok' ? ok : Number(word))), end: words.at(-1) === 'end'};
});
const equal = (a, b) => a.length === b.length && a.every((each, i) => each === b[i]);

// What a status obliges to.
function complete({status, headers}) {
  const need = {401: ['www-authenticate'], 405: ['allow'], 426: ['upgrade']}[status] || [];
  for (const name of status >= 200 ? [...need, 'date'] : need) assert.ok(headers[name], `${status} without ${name}`);
}

async function check(where, each) {
  const raw = await RawHttp.open(where.t, where.address);
  raw.bodiless = each.head || 0;
  const allowed = alternatives(each.answers, where.ok);
  const isOpen = () => allowed.some(({statuses, end}) => !end && equal(statuses, raw.statuses) && raw.answers.items.at(-1)?.headers.connection !== 'close');
  const before = each.counts && where.read && (await where.read(counters[each.counts]));
  raw.send(where.fill(typeof each.bytes === 'function' ? each.bytes(where.max) : each.bytes));
  if (each.finish) raw.socket.end();
  await raw.answers.when(() => raw.over || isOpen(), () => `the answers (got ${raw.statuses})`, CASE_DEADLINE).catch(error => {
    if (!raw.over) throw error;
  });
  let asked = false;
  if (!raw.over && isOpen()) {
    asked = true;
    raw.send(`GET /readyz HTTP/1.1\r\nHost: ${where.address}\r\nConnection: close\r\n\r\n`);
  }
  await raw.ended();
  const seen = asked && raw.statuses.at(-1) === 200 ? raw.statuses.slice(0, -1) : raw.statuses;
  const good = allowed.some(({statuses, end}) => equal(statuses, seen) && (asked ? !end : end || raw.answers.items.at(-1)?.headers.connection === 'close'));
  assert.ok(good, `expected ${each.answers}, got ${seen.join(' ')}${asked ? '' : ' end'}`);
  assert.deepEqual(raw.faults, []);
  raw.answers.items.forEach(complete);
  if (before !== undefined && before !== null) assert.ok((await where.read(counters[each.counts])) > before, `${counters[each.counts]} did not move`);
}

async function run(where, chosen = cases) {
  const failures = [];
  for (const each of chosen)
    await within(check(where, each), 'the case', 2 * CASE_DEADLINE).catch(error => failures.push(`${each.name}: ${error.message}`));
  where.t.log('%d cases, %d failed', chosen.length, failures.length);
  if (failures.length) throw new Error(failures.join('\n'));
}

// Clients beside the bad ones: a websocket with a held connect, and a connection that is kept.
async function healthy(t, broker) {
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/healthy');
  const agent = keepAlive(t);
  return async () => {
    assert.equal((await postJson(broker.bayeux, [], {agent})).status, 200);
    await publish(broker.bayeux, '/healthy', 'still there');
    await socket.inbox.count(1, 'a message for the healthy client');
    assert.equal(socket.closed, null);
  };
}

test('broker listener', {timeout: 300000}, async t => {
  const broker = await startBroker(t);
  const lives = await healthy(t, broker);
  await run(await target(t, broker, 'broker', {path: '/bayeux', body: '[]', max: MB, metrics: broker.admin('/metrics')}));
  await lives();
});

test('admin listener', {timeout: 300000}, async t => {
  const broker = await startBroker(t);
  const lives = await healthy(t, broker);
  await run(await target(t, broker, 'admin', {path: '/v1/publish', body: '[]', max: 16 * MB, metrics: broker.admin('/metrics')}));
  await lives();
});

test('api listener', {timeout: 300000}, async t => {
  const broker = await startBroker(t);
  const api = await startApi(t, broker);
  await run(await target(t, api, 'api', {path: '/v1/publish', body: '[]', max: 4 * MB, metrics: api.url('api', '/metrics')}));
});

test('web listener', {timeout: 300000}, async t => {
  const broker = await startBroker(t);
  const api = await startApi(t, broker);
  const web = await startWeb(t, api);
  await run(await target(t, web, 'web', {path: '/rooms/a/messages', body: '{"text":"a"}', max: 64 * KB}));
});
