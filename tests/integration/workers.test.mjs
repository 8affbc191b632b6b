// SPDX-License-Identifier: Apache-2.0
// broker.workers: one broker of several processes. They are nodes of one cluster; whichever dies, no
// connection is refused, nothing is lost, and the numbers of all are sums that never run backwards.

import assert from 'node:assert/strict';
import net from 'node:net';
import {once} from 'node:events';
import {copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import tls from 'node:tls';
import {test} from './lib/suite.mjs';
import {run} from './lib/daemon.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {sleep, until, within} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {makeCertificate} from './support/certificates.mjs';
import {from, proxyV1, proxyV2} from './support/peers.mjs';
import {Press, settleIn, verdict} from './support/load.mjs';
import {Wire, asSocketUrl, poller, publish, drain} from './support/wire.mjs';

const LONG = Boolean(process.env.MORA_TEST_LONG);
const workersOf = node => node.log.items.filter(({event}) => event === 'worker.started').reduce((all, {worker, pid}) => all.set(worker, pid), new Map());
const alive = pid => { try { process.kill(pid, 0); return true; } catch { return false; } };
// When all are there: the first that answers says nothing of the others.
async function start(t, workers, set = {}) {
  const cluster = await startCluster(t, {nodes: 1, set: {'broker.workers': workers, 'broker.timeout': '20s', ...set}});
  await until(async () => (await cluster.seen(cluster.nodes[0])).length === workers, `${workers} nodes`);
  return cluster;
}

test('the workers are nodes of one cluster, and a client may use any of them', {timeout: 60000}, async t => {
  needsRedis(t);
  const cluster = await start(t, 3);
  const [node] = cluster.nodes;
  // Each request is a connection of its own, so they spread.
  const session = await poller(node.bayeux, '/w');
  for (let i = 0; i < 20; i++) await publish(node.bayeux, '/w', i);
  const got = [];
  while (got.length < 20) got.push(...(await drain(session)).map(({data}) => data));
  assert.deepEqual(got, Array.from({length: 20}, (_, i) => i));
  const stats = (await getJson(node.admin('/v1/stats'))).json;
  assert.equal(stats.sessions, 1, 'whichever worker has it');
  assert.ok(stats.host.requests >= 22);
  const cmdline = [...workersOf(node).values()].map(pid => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  assert.equal(new Set(cmdline).size, 1);
});

test('a worker is killed again and again under connects, polls and publishes: none is refused, nothing is lost', {timeout: 240000}, async t => {
  needsRedis(t);
  const cluster = await start(t, 4);
  const [node] = cluster.nodes;
  const residents = await settleIn(t, cluster, 20, i => ({node, transport: ['websocket', 'long-polling'][i % 2], patterns: [`/w/${i % 5}`]}));
  const press = new Press(cluster, {rate: 300, batch: 3, by: 'admin', channel: n => `/w/${n % 5}`}).start(t);
  t.onFailure(() => JSON.stringify(press.outcomes));
  // 200 connects a second that are accepted, or wait for the next worker; a reset is what a death does.
  const connects = {made: 0, refused: 0};
  let running = true;
  t.after(() => { running = false; });
  const [host, port] = node.address('broker').split(':');
  const began = Date.now();
  const knocking = (async () => {
    for (let tried = 0; running; await sleep(5)) {
      // What a pause of this process left out is made up for, by the dozen.
      for (const due = Math.min((Date.now() - began) / 5, tried + 12); tried < due; tried++) {
        const socket = net.connect(Number(port), host);
        socket.on('error', error => { if (error.code === 'ECONNREFUSED') connects.refused++; });
        socket.on('connect', () => { connects.made++; socket.end(); });
      }
    }
  })();
  // Counters of every kind, as they are read from outside.
  const seen = new Map();
  const backwards = [];
  const reading = (async () => {
    for (; running; await sleep(50)) {
      let text;
      try { ({text} = await getJson(node.admin('/metrics'))); } catch { continue; }   // it was with the one that died
      const counters = new Set([...text.matchAll(/^# TYPE (\S+) counter$/gm)].map(([, name]) => name));
      for (const [, name, value] of text.matchAll(/^(mora_\w+) (\S+)$/gm)) {
        if (!counters.has(name)) continue;
        if (Number(value) < (seen.get(name) ?? 0)) backwards.push(`${name} ${seen.get(name)} -> ${value}`);
        seen.set(name, Number(value));
      }
    }
  })();
  for (let round = 0; round < (LONG ? 30 : 4); round++) {
    await press.more(300);
    const victims = workersOf(node);
    const pid = victims.get(round % 4);
    process.kill(pid, 'SIGKILL');
    await until(() => workersOf(node).get(round % 4) !== pid, 'the worker to be started again');
    await press.more(300);
  }
  running = false;
  const seconds = (Date.now() - began) / 1000;
  await knocking;
  await within(reading, 'the last look at the numbers');
  await press.stop();
  await verdict(press, residents);
  assert.equal(connects.refused, 0, `of ${connects.made}`);
  t.log(`${connects.made} connects in ${seconds.toFixed(0)} s, ${press.entries.length} published, ${JSON.stringify(press.outcomes)}`);
  assert.ok(connects.made > 100 * seconds, `${connects.made} in ${seconds} s`);   // 200, less what waited for a worker at the end
  assert.deepEqual(backwards, []);
  assert.ok(seen.get('mora_connections_accepted_total') >= connects.made / 2, 'what the dead had counted is there');
  assert.ok(residents.every(({handshakes}) => handshakes === 1), 'nobody was told to handshake');
});

test('every worker has the certificates, the unix socket and the proxies; SIGHUP reaches all', {timeout: 60000}, async t => {
  needsRedis(t);
  const dir = mkdtempSync(join(tmpdir(), 'mora-workers-'));
  t.after(() => rmSync(dir, {recursive: true}));
  const path = join(dir, 'socket'), files = {certificate: join(dir, 'c.pem'), key: join(dir, 'c.key')};
  const use = ({certificate, key}) => { copyFileSync(certificate, files.certificate); copyFileSync(key, files.key); };
  const [first, second] = ['one', 'two'].map(name => makeCertificate(name, [`${name}.test`]));
  use(first);
  const cluster = await start(t, 3, {'broker.listen': ['127.0.0.1:0', `unix:${path}`], 'broker.socket_mode': '0600', 'tls.certificate': files.certificate,
    'tls.key': files.key, 'broker.trusted_proxies': ['127.0.0.2', 'unix'], 'broker.proxy_protocol': true});
  const [node] = cluster.nodes;
  const [host, port] = node.address('broker').split(':');
  // Enough connections that every worker has had some.
  const many = async ask => [...new Set(await Promise.all(Array.from({length: 24}, ask)))];
  const name = async () => {
    const socket = tls.connect({host, port, rejectUnauthorized: false});
    try {
      await within(once(socket, 'secureConnect'), 'the handshake');
      return socket.getPeerCertificate().subject.CN;
    } finally {
      socket.destroy();
    }
  };
  const seen = async (options, url = node.bayeux.replace('https', 'http')) => {
    const session = new PollSession(url, options);
    await session.handshake();
    await session.connect({timeout: 0});
    const row = await until(async () => (await getJson(node.admin('/v1/clients'))).json.clients.find(({client}) => client === session.clientId), 'the client to be listed');
    return `${row.address} ${row.secure}`;
  };
  const proxied = proxy => seen({agent: from(t, '127.0.0.2', {proxy, secure: true})});
  const byUnix = () => seen({agent: from(t, undefined, {path, proxy: proxyV2('192.0.2.9', 9)})});
  assert.deepEqual(await many(name), ['one.test']);
  assert.deepEqual(await many(() => proxied(proxyV1('192.0.2.8', 8))), ['192.0.2.8:8 true']);
  assert.deepEqual(await many(byUnix), ['192.0.2.9:9 false']);
  assert.match(await seen({}, node.bayeux), /^127\.0\.0\.1:\d+ true$/, 'who is no proxy has no header');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  // A worker that is started again has all of it, too, and the socket's file stays.
  const pid = workersOf(node).get(0);
  process.kill(pid, 'SIGKILL');
  await until(() => workersOf(node).get(0) !== pid, 'the worker to be started again');
  assert.deepEqual(await many(byUnix), ['192.0.2.9:9 false']);
  assert.deepEqual(await many(() => proxied(proxyV1('192.0.2.8', 8))), ['192.0.2.8:8 true']);
  use(second);
  process.kill(node.pid, 'SIGHUP');
  await until(async () => (await many(name)).join() === 'two.test', 'the new certificate at each worker');
  await node.stop();
  assert.equal(existsSync(path), false);
});

test('SIGHUP while workers begin ends none of them', {timeout: 60000}, async t => {
  needsRedis(t);
  const [node] = (await start(t, 3)).nodes;
  const hups = setInterval(() => node.child?.kill('SIGHUP'), 2);
  try {
    for (let round = 0; round < 3; round++) {
      const pid = workersOf(node).get(round);
      process.kill(pid, 'SIGKILL');
      await until(() => workersOf(node).get(round) !== pid, 'a worker to be started');
      await until(async () => (await getJson(node.url('broker', '/readyz'), {agent: false})).status === 200, 'it to be ready');
      await sleep(300);   // to die in
    }
  } finally {
    clearInterval(hups);
  }
  const ends = node.log.items.filter(({event}) => event === 'worker.ended').map(({worker, signal}) => [worker, signal]);
  assert.deepEqual(ends, [[0, 9], [1, 9], [2, 9]]);
});

test('a unix socket that somebody else has made in its place stays when the broker ends', {timeout: 60000}, async t => {
  needsRedis(t);
  const dir = mkdtempSync(join(tmpdir(), 'mora-workers-'));
  t.after(() => rmSync(dir, {recursive: true}));
  const path = join(dir, 'socket');
  const [node] = (await start(t, 2, {'broker.listen': ['127.0.0.1:0', `unix:${path}`]})).nodes;
  rmSync(path);
  const successor = net.createServer().listen(path);
  await once(successor, 'listening');
  t.after(() => successor.close());
  await node.stop();
  assert.equal(existsSync(path), true);
});

test('SIGTERM ends all of them; a supervisor that dies takes its workers along', {timeout: 60000}, async t => {
  needsRedis(t);
  const cluster = await start(t, 2);
  const [node] = cluster.nodes;
  const residents = await settleIn(t, cluster, 4, () => ({node, patterns: ['/w']}));
  let pids = [...workersOf(node).values()];
  for (const resident of residents) await resident.stop();
  await node.stop();
  assert.ok(pids.every(pid => !alive(pid)), 'no worker is left');
  assert.deepEqual(node.log.items.filter(({event}) => event === 'worker.ended').map(({status, signal}) => [status, signal]), [[0, 0], [0, 0]]);
  await node.start();
  pids = [...workersOf(node).values()];
  await node.kill();
  await until(() => pids.every(pid => !alive(pid)), 'the orphans to end');
});

test('workers that are asked to drain at the same time drain, all of them, and SIGTERM behind it does not hurry them', {timeout: 60000}, async t => {
  needsRedis(t);
  const cluster = await start(t, 3);
  const [node] = cluster.nodes;
  const socket = await Wire.client(t, asSocketUrl(node.bayeux), '/w');
  socket.deafen();   // it holds one of them up
  const ended = node.endsByItself();
  const answers = await Promise.allSettled(Array.from({length: 12}, () => postJson(node.admin('/v1/drain'), {})));
  assert.ok(answers.some(({value}) => value?.status === 200));
  await node.log.find(({event, workers}) => event === 'drain' && workers === 3, 'the drain of all');
  process.kill(node.pid, 'SIGTERM');
  await node.log.when(events => events.filter(({event}) => event === 'worker.ended').length === 2, 'the others to end');
  socket.ws.terminate();
  assert.deepEqual(await ended, {code: 0, signal: null});
  assert.deepEqual(node.log.items.filter(({event}) => event === 'worker.ended').map(({status, signal}) => [status, signal]), Array(3).fill([0, 0]));
});

test('a worker that cannot begin ends the broker; a port that is taken is named; workers need Redis', {timeout: 60000}, async t => {
  needsRedis(t);
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const set = {...(await startCluster(t, {nodes: 1})).engine, 'broker.workers': 2, 'admin.listen': ['127.0.0.1:0'], 'broker.listen': [`127.0.0.1:${taken.address().port}`]};
  const flags = set => Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${JSON.stringify(value)}`]);
  const inUse = await run('mora-broker', flags(set));
  assert.equal(inUse.code, 1);
  assert.match(inUse.stderr, /Address already in use: another process listens there/);
  const memory = await run('mora-broker', ['--set', 'broker.workers=2', '--check-config']);
  assert.equal(memory.code, 2);
  assert.match(memory.stderr, /broker\.workers: workers meet in Redis: set engine\.type to redis/);
});

test('a worker that dies, and then cannot begin because its files were changed, does not end the others', {timeout: 60000}, async t => {
  needsRedis(t);
  const {certificate, key} = makeCertificate('worker', ['localhost', '127.0.0.1']);
  const [node] = (await start(t, 2, {'tls.certificate': certificate, 'tls.key': key})).nodes;
  const good = readFileSync(key);
  const [victim, other] = [...workersOf(node).values()];
  await sleep(5500);   // one that lived shorter is given another chance in any case
  writeFileSync(key, 'no key');
  process.kill(victim, 'SIGKILL');
  await until(() => node.log.items.filter(({event, status}) => event === 'worker.ended' && status === 2).length > 1, 'two starts that fail');
  assert.ok(alive(other));
  writeFileSync(key, good);
  await until(() => node.log.items.filter(({event}) => event === 'ready').length === 3, 'it to be back');
  assert.ok(alive(other));
});
