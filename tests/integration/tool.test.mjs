// SPDX-License-Identifier: Apache-2.0
// The operator's tool `mora` against a running broker.

import assert from 'node:assert/strict';
import http from 'node:http';
import {spawn} from 'node:child_process';
import {createInterface} from 'node:readline';
import {once} from 'node:events';
import {test} from './lib/suite.mjs';
import {binary, environment, run, startBroker} from './lib/daemon.mjs';
import {getJson} from './lib/http.mjs';
import {Feed, until, within} from './lib/wait.mjs';
import {Wire, asSocketUrl, drain, poller, publish} from './support/wire.mjs';
import {sharedBroker} from './support/shared.mjs';

const broker = sharedBroker();
const mora = async (...args) => run('mora', ['--admin', (await broker()).url('admin'), ...args]);

async function good(...args) {
  const {code, stdout, stderr} = await mora(...args);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
  return stdout;
}
const json = async (...args) => JSON.parse(await good('--json', ...args));
const rows = text => text.trimEnd().split('\n').map(line => line.trim().split(/\s{2,}/));

test('stats: the numbers of /v1/stats, as JSON and as a table', async () => {
  const server = await broker();
  const answer = await json('stats');
  assert.deepEqual(Object.keys(answer).sort(), Object.keys((await getJson(server.admin('/v1/stats'))).json).sort());
  const table = rows(await good('stats'));
  for (const name of ['epoch', 'head', 'sessions', 'live', 'away']) assert.ok(table.some(([key, value]) => key === name && /^\d+$/.test(value)), name);
  assert.ok(table.some(([listener, where]) => listener === 'broker' && where === server.address('broker')));
});

test('channels, subscribers, clients, client: tables for people, JSON for programs', async t => {
  const {bayeux} = await broker();
  const socket = await Wire.client(t, asSocketUrl(bayeux), '/tool/*');
  const session = await poller(bayeux, '/tool/a', '/tool/*');
  assert.deepEqual((await json('channels')).channels, [{channel: '/tool/*', subscribers: 2}, {channel: '/tool/a', subscribers: 1}]);
  assert.deepEqual(rows(await good('channels')), [['SUBSCRIBERS', 'CHANNEL'], ['2', '/tool/*'], ['1', '/tool/a']]);
  const subscribers = rows(await good('subscribers', '/tool/a'));
  assert.deepEqual(subscribers.slice(1).map(([client, pattern]) => `${client} ${pattern}`).sort(),
                   [`${session.clientId} /tool/*`, `${session.clientId} /tool/a`, `${socket.clientId} /tool/*`].sort());
  const clients = rows(await good('clients'));
  assert.deepEqual(clients.find(([id]) => id === socket.clientId).slice(1, 4), ['live', 'websocket', '1']);
  assert.equal((await json('clients')).clients.length, 2);
  const one = await json('client', session.clientId);
  assert.deepEqual(one.subscriptions.map(({pattern}) => pattern).sort(), ['/tool/*', '/tool/a']);
  assert.ok((await good('client', session.clientId)).includes(session.clientId));
  assert.equal((await json('nodes')).nodes.length, 1);
});

test('more rows than a page holds', async () => {
  const {bayeux} = await broker();
  const session = await poller(bayeux);
  const patterns = Array.from({length: 1000}, (_, n) => `/rows/r${n}`);
  await session.subscribe(patterns.slice(0, 500));
  await session.subscribe(patterns.slice(500));
  await poller(bayeux, '/rows/more');
  const {channels, next} = await json('channels');
  assert.equal(next, undefined);
  assert.equal(channels.filter(({channel}) => channel.startsWith('/rows/')).length, 1001);
  await session.disconnect();
});

test('publish: acknowledged with its position, the bytes arrive as they were typed', async t => {
  const {bayeux} = await broker();
  const socket = await Wire.client(t, asSocketUrl(bayeux), '/said');
  const {head} = await json('stats');
  const text = '{"b": 1.10, "a": 12345678901234567890}';
  assert.match(await good('publish', '/said', text), new RegExp(`\\b${head + 1}\\b`));
  assert.deepEqual(await json('publish', '/said', '-1'), {position: head + 2, epoch: (await json('stats')).epoch, outcome: 'acknowledged'});
  await socket.barrier();
  assert.ok(socket.texts.some(frame => frame.includes(text)));
  assert.deepEqual(socket.messages.map(m => m.data), [JSON.parse(text), -1]);
});

test('tail: a line for each message, until it is interrupted', async t => {
  const server = await broker();
  const {bayeux, admin} = server;
  for (const [flags, expected] of [[[], '/watched/a {"n":1.10}'], [['--json'], null]]) {
    const child = spawn(binary('mora'), ['--admin', server.url('admin'), ...flags, 'tail', '/watched/**'],
                        {env: environment(), stdio: ['ignore', 'pipe', 'inherit']});
    t.after(() => child.kill('SIGKILL'));
    const ended = once(child, 'exit');
    const lines = new Feed();
    createInterface({input: child.stdout}).on('line', line => lines.push(line));
    await until(async () => (await getJson(admin('/v1/stats'))).json.admin.tails === 1, 'the stream to begin');
    await publish(bayeux, '/elsewhere', 0);
    await run('mora', ['--admin', server.url('admin'), 'publish', '/watched/a', '{"n":1.10}']);
    const [line] = await lines.count(1);
    if (expected) assert.equal(line, expected);
    else assert.deepEqual(Object.keys(JSON.parse(line)), ['position', 'channel', 'data']);
    child.kill('SIGINT');
    assert.deepEqual(await within(ended, 'mora to end'), [0, null]);
    await until(async () => (await getJson(admin('/v1/stats'))).json.admin.tails === 0, 'the stream to end');
  }
});

test('what goes wrong is said in words, with a status', async () => {
  const session = await poller((await broker()).bayeux, '/**');
  const bad = {
    2: [[], ['dance'], ['publish', '/a'], ['publish', '/a', 'no json'], ['--nonsense', 'stats'], ['stats', 'more']],
    1: [['publish', '/a/*', '1'], ['publish', '/meta/x', '1'], ['client', 'nobody'], ['subscribers', 'bad'], ['tail', 'bad']],
  };
  for (const [status, all] of Object.entries(bad)) {
    for (const args of all) {
      const {code, stdout, stderr} = await mora(...args);
      assert.equal(code, Number(status), `${args}: ${stderr}`);
      assert.match(stderr, /^mora: \S/);
      assert.equal(stdout, '');
    }
  }
  const {code, stderr} = await run('mora', ['--admin', 'http://127.0.0.1:1', 'stats']);
  assert.equal(code, 1);
  assert.match(stderr, /127\.0\.0\.1:1/);
  assert.deepEqual(await drain(session), []);
});

test('a publish that was refused, or of which nothing is known, is a failure', async t => {
  let answer;
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(answer.status, {'Content-Type': 'application/json'}).end(JSON.stringify(answer.body)));
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  for (const [status, outcome, error] of [[503, 'refused', '503:/a:Not published'], [504, 'unknown', '504:/a:Outcome unknown']]) {
    answer = {status, body: {outcome, error}};
    const url = `http://127.0.0.1:${server.address().port}`;
    const {code, stderr} = await run('mora', ['--admin', url, 'publish', '/a', '1']);
    assert.equal(code, 1);
    assert.ok(stderr.includes(error), stderr);
    const forPrograms = await run('mora', ['--admin', url, '--json', 'publish', '/a', '1']);
    assert.equal(forPrograms.code, 1);
    assert.deepEqual(JSON.parse(forPrograms.stdout), {outcome, error});
  }
});

test('a token: by flag, by variable, and what its absence says', async t => {
  const other = await startBroker(t, {set: {'admin.token': 'open sesame'}});
  const ask = (args, env) => run('mora', ['--admin', other.url('admin'), ...args, 'channels'], {env});
  assert.equal((await ask(['--token', 'open sesame'])).code, 0);
  assert.equal((await ask([], {MORA_TOKEN: 'open sesame'})).code, 0);
  assert.equal((await run('mora', ['channels'], {env: {MORA_ADMIN: other.url('admin'), MORA_TOKEN: 'open sesame'}})).code, 0);
  for (const args of [[], ['--token', 'wrong']]) {
    const {code, stderr} = await ask(args);
    assert.equal(code, 1);
    assert.match(stderr, /token/);
  }
});

test('--help and --version', async () => {
  const help = await run('mora', ['--help']);
  assert.equal(help.code, 0);
  for (const word of ['stats', 'channels', 'clients', 'tail', 'publish', '--json']) assert.ok(help.stdout.includes(word), word);
  const version = await run('mora', ['--version']);
  assert.deepEqual([version.code, /^mora \d+\.\d+/.test(version.stdout)], [0, true]);
});

broker.endsWell();
