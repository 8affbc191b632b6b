// SPDX-License-Identifier: Apache-2.0
// What is measured: Mora in its forms, the floors in C, and the peers, all started alike:
//
//   const server = await start('mora', {cpu, directory, settings});
//   server.pids      {group: [pid, ...]}: the groups whose CPU is told apart; the first is the server's own
//   server.clock     a file: its clock can be stopped (load/clock.h); Mora and the floors, when they take turns
//   server.ways      by kind of client: {dialect, urls: [...], publish}
//   await server.numbers?.()   what it counts itself: /v1/stats
//   await server.stop();
//
// Kinds: `websocket`; `self`, who publishes to its own channel over the same socket; `polling`; `idle`, who
// renews what keeps it alive; `connect`, who shakes hands;
// `five`, who subscribes to five channels.

import {existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {execFileSync, spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {freePort, launch} from '../peers/lib/server.mjs';
import {root, which} from '../peers/lib/install.mjs';
import {peers, Skipped} from '../peers/peers.mjs';

export {Skipped};

export const binaries = () => process.env.BENCH_BIN_DIR || join(root, 'build/bench/bin');
const binary = name => join(binaries(), name);

// A peer's clients, by its dialect.
function waysOf({dialect, urls}) {
  if (dialect === 'plain') {
    const websocket = {dialect: 'plain', urls: [urls.subscribe], publish: urls.publish};
    const polling = urls.polling && {dialect: 'plain-poll', urls: [urls.polling], publish: urls.publish};
    return {websocket, self: websocket, idle: websocket, connect: websocket, ...(polling && {polling})};
  }
  const websocket = {dialect, urls: [urls.websocket], publish: urls.websocket};
  if (dialect !== 'bayeux') return {websocket, self: websocket, idle: websocket, connect: websocket};
  return {websocket, idle: websocket, connect: websocket, self: {...websocket, dialect: 'bayeux-self'}, five: {...websocket, dialect: 'bayeux-five'},
    polling: {dialect: 'bayeux-poll', urls: [urls.polling], publish: urls.websocket}};
}

// -- Mora ------------------------------------------------------------------------------------------

// Everything as it is by default, but for what would refuse so many clients of one machine at once, and
// the log of every start.
const MORA = {
  'logging.level': 'warn', 'limits.handshake_rate': 1000000, 'limits.accept_rate': 1000000, 'limits.clients': 20000,
  'limits.clients_per_address': 20000,
};

const listening = (port, list = readFileSync('/proc/net/tcp', 'latin1')) =>
  list.split('\n').filter(line => line.includes(`:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`)).length;

// Workers share a port: the first to listen there would get all clients that come before the others do. And the kernel's list
// of a process's children may lack one for a moment.
async function allAreThere(server, port, workers) {
  const family = workers > 1 ? workers + 1 : 1;
  for (let i = 0; i < 500; i++) {
    const pids = server.pids();
    if (listening(port) >= workers && pids.length >= family) return pids;
    await sleep(20);
  }
  throw new Error(`${listening(port)} of ${workers} workers listen`);
}

async function broker(name, {cpu, directory, settings}) {
  const port = await freePort(), admin = await freePort();
  const set = {...MORA, 'broker.listen': `127.0.0.1:${port}`, 'admin.listen': `127.0.0.1:${admin}`, ...settings};
  const flags = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${JSON.stringify(value)}`]);
  const server = await launch({name, cpu, directory, port, command: [binary('mora-broker'), ...flags]});
  const pids = await allAreThere(server, port, set['broker.workers'] ?? 1);
  const numbers = async () => (await fetch(`http://127.0.0.1:${admin}/v1/stats`)).json();
  return {server, port, numbers, pids};
}

async function redis({cpu, directory}) {
  const port = await freePort();
  const data = mkdtempSync(join(directory, 'redis-'));
  const server = await launch({name: 'redis', cpu, directory, port,
    command: [which('redis-server', 'Debian package redis-server'), '--bind', '127.0.0.1', '--port', String(port), '--dir', data, '--save', '', '--appendonly', 'no']});
  return {server, url: `redis://127.0.0.1:${port}/0`};
}

const moraWays = (ports, scheme = 'ws') => {
  const url = port => `${scheme}://127.0.0.1:${port}/bayeux`;
  const urls = ports.map(url);
  const ways = waysOf({dialect: 'bayeux', urls: {websocket: urls[0], polling: urls[0].replace(/^ws/, 'http')}});
  for (const way of Object.values(ways)) if (way.urls[0].startsWith('ws')) way.urls = urls;
  return ways;
};

async function mora({cpu, directory, settings = {}}) {
  const {server, port, numbers} = await broker('mora', {cpu, directory, settings});
  return {pids: {server: server.pids()}, ways: moraWays([port]), numbers, stop: server.stop};
}

// Who may do what is asked of an authority, which shares the core of the load.
async function moraAuthority({cpu, loadCpu, directory, settings = {}}) {
  const port = await freePort();
  const authority = await launch({name: 'authority', cpu: loadCpu, directory, port, command: [binary('bench_authority'), '--port', String(port)]});
  const asking = {'access.handshake': 'authority', 'access.rules': [{channel: '/bench/**', subscribe: 'authority'}], 'authority.url': `http://127.0.0.1:${port}/`};
  try {
    const {server, port: own, numbers} = await broker('mora-authority', {cpu, directory, settings: {...asking, ...settings}});
    const stop = async () => { await server.stop(); await authority.stop(); };
    return {pids: {server: server.pids()}, ways: moraWays([own]), numbers, stop};
  } catch (error) {
    await authority.stop();
    throw error;
  }
}

function certificate(directory) {
  const files = {'tls.certificate': join(directory, 'certificate.pem'), 'tls.key': join(directory, 'key.pem')};
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                           '-keyout', files['tls.key'], '-out', files['tls.certificate'], '-subj', '/CN=localhost'], {stdio: 'pipe'});
  return files;
}

async function moraTls({cpu, directory, settings = {}}) {
  const files = certificate(directory);
  const {server, port} = await broker('mora', {cpu, directory, settings: {...files, ...settings}});
  return {pids: {server: server.pids()}, ways: moraWays([port], 'wss'), stop: server.stop};
}

// `nodes` brokers on one Redis.
const moraRedis = (nodes, more = {}) => async ({cpu, directory, settings = {}}) => {
  const store = await redis({cpu, directory});
  const started = [];
  const stop = async () => {
    for (const {server} of started) await server.stop();
    await store.server.stop();
  };
  try {
    for (let i = 0; i < nodes; i++)
      started.push(await broker(`mora-${i}`, {cpu, directory, settings: {'engine.type': 'redis', 'engine.url': store.url, ...more, ...settings}}));
  } catch (error) {
    await stop();
    throw error;
  }
  return {pids: {node: started.flatMap(({pids}) => pids), redis: store.server.pids()}, ways: moraWays(started.map(({port}) => port)), stop};
};

// -- the floors ------------------------------------------------------------------------------------

async function reference(name, program, {cpu, directory, flags = []}, scheme = 'ws') {
  const port = await freePort();
  const server = await launch({name, cpu, directory, port, command: [binary(program), '--port', String(port), ...flags]});
  const websocket = {dialect: 'plain', urls: [`${scheme}://127.0.0.1:${port}/sub/{channel}`], publish: `${scheme}://127.0.0.1:${port}/pub/{channel}`};
  const polling = {...websocket, dialect: 'plain-poll', urls: [`http://127.0.0.1:${port}/poll/{channel}`]};
  return {pids: {server: server.pids()}, stop: server.stop,
    ways: {websocket, self: websocket, polling, idle: {...websocket, dialect: 'renew'}, connect: {...websocket, dialect: 'echo'}}};
}

const own = {
  mora, 'mora-authority': moraAuthority, 'mora-tls': moraTls, 'mora-redis': moraRedis(1), 'mora-redis-2': moraRedis(2),
  'mora-workers-1': moraRedis(1, {'broker.workers': 1}), 'mora-workers-2': moraRedis(1, {'broker.workers': 2}),
  epoll: options => reference('epoll', 'bench_epoll', options),
  'epoll-batch': options => reference('epoll-batch', 'bench_epoll', {...options, flags: ['--batch', ...(options.flags ?? [])]}),
  'epoll-tls': options => reference('epoll-tls', 'bench_epoll', {...options, flags: ['--tls', Object.values(certificate(options.directory)).join()]}, 'wss'),
  lws: options => reference('lws', 'bench_lws', options),
};

export const isPeer = name => !own[name];
export const peerNames = peers.map(({name}) => name);

// The build leaves it out where its library is not installed.
export const missing = () => (existsSync(binary('bench_lws')) ? {} : {lws: 'libwebsockets is not installed (Debian packages libwebsockets-dev, libwebsockets-evlib-uv)'});

// Reasons by name, for peers that this machine cannot have.
export async function installPeers(names, say) {
  const skipped = missing();
  for (const peer of peers.filter(({name}) => names.includes(name))) {
    try {
      say(`installing ${peer.name}`);
      await peer.install();
    } catch (error) {
      if (!(error instanceof Skipped)) throw error;
      skipped[peer.name] = error.message;
    }
  }
  return skipped;
}

// A port that was free may be a client's when the server comes to it.
async function unlessTaken(begin, tries = 3) {
  try {
    return await begin();
  } catch (error) {
    if (tries === 1 || !/address already in use|EADDRINUSE/i.test(error.message)) throw error;
    return unlessTaken(begin, tries - 1);
  }
}

// Not of the peers: Node with a timer of a millisecond wakes up all the time while its clock stands still.
function clockIn(directory) {
  const clock = join(directory, 'clock');
  const module = binary('bench_clock.so');
  if (!existsSync(module)) throw new Error(`there is no ${module}`);   // the loader goes on without
  writeFileSync(clock, Buffer.alloc(8));
  symlinkSync(module, `${clock}.so`);
  return clock;
}

export async function start(name, {turns, ...options}) {
  const directory = join(options.directory, name);
  mkdirSync(directory, {recursive: true});
  if (own[name]) {
    const clock = turns ? clockIn(directory) : undefined;
    return {...await unlessTaken(() => own[name]({...options, directory})), clock};
  }
  const peer = peers.find(each => each.name === name);
  const running = await unlessTaken(() => peer.start({cpu: options.cpu, directory}));
  const {parts, pids, version, settings} = running;
  return {pids: parts ?? {server: pids}, ways: waysOf({dialect: peer.dialect, urls: running.urls}), version, settings, stop: running.stop};
}

export class Unfit extends Error {}

// Puts a load on a server: what bench_load reports. With `meet`, which says when its turns are, it takes turns.
const READY = 'ready\n';
let runs = 0;
export async function load(server, {scenario, kind, ...options}, cpu, meet) {
  const way = server.ways[kind];
  if (!way) throw new Unfit(`does not offer ${kind}`);
  const words = Object.entries({base: (++runs * 20000) % 900000, ...options}).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const groups = Object.entries(server.pids).flatMap(([group, pids]) => ['--pids', `${group}=${pids}`]);
  const clock = meet && server.clock ? ['--clock', server.clock] : [];
  const child = spawn('taskset', ['-c', String(cpu), binary('bench_load'), scenario, '--dialect', way.dialect,
    '--spin', ...way.urls.flatMap(url => ['--url', url]), '--publish-url', way.publish, ...groups, ...clock, ...words], {stdio: ['pipe', 'pipe', 'pipe']});
  let out = '', complaint = '';
  child.stdin.on('error', () => {});   // it has ended
  child.stdout.on('data', text => {
    out += text;
    if (!meet || !out.startsWith(READY)) return;
    out = out.slice(READY.length);
    meet().then(turns => child.stdin.end(turns));
  });
  child.stderr.on('data', text => { complaint += text; });
  const [code, signal] = await once(child, 'close');
  if (code === 3) {
    const {lost, doubled, disordered, stray} = JSON.parse(out);
    throw new Error(`lost ${lost}, doubled ${doubled}, disordered ${disordered}, stray ${stray}`);
  }
  if (code !== 0) throw new Error(`bench_load ended with ${signal ?? code}: ${complaint.trim().split('\n')[0]}`);
  return JSON.parse(out);
}

export const machine = () => {
  const cpu = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const memory = Number(/^MemTotal:\s*(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))[1]);
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))[1];
  return {cpu, memory: `${Math.round(memory / 1048576)} GB`, kernel, descriptors: Number(limit)};
};
