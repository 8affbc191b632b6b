// SPDX-License-Identifier: Apache-2.0
// Daemons as child processes: started on port 0, known by the `listening` events of their JSON
// logs, stopped by SIGTERM and checked: exit status 0 and no word from a sanitizer.
//
//   const broker = await startBroker(t, {set: {'broker.timeout': '10s'}});
//   broker.url('broker')              http://127.0.0.1:40123
//   broker.bayeux                     http://127.0.0.1:40123/bayeux
//   await broker.log.find(e => e.event === 'session.expired', 'the expiry')
//   await broker.kill(); await broker.start();      // same addresses again
//   await broker.stop();                            // also done when the test ends
//
// MORA_BIN_DIR says where the binaries are (default build/asan/bin). TARGET=faye makes
// startBroker() start the Faye server of faye_server.mjs in place of mora-broker: a suite that
// passes there too expects what Faye does.
//
// MORA_TEST_VALGRIND=1 runs every program of ours under valgrind (binaries without sanitizers, and a
// MORA_TEST_SCALE of 5 or so); what memcheck says fails the test as a sanitizer does.
//
// MORA_TEST_ENGINE=redis gives every broker that says nothing else the Redis engine: one redis-server
// for the process, a namespace for each broker, which stays its own when it is started again.
// MORA_TEST_TLS=1 puts TLS on every broker's listeners.

import {spawn} from 'node:child_process';
import {existsSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {resolve} from 'node:path';
import {createInterface} from 'node:readline';
import {Feed, within, until, DEADLINE} from './wait.mjs';
import {getJson, overTls} from './http.mjs';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const target = process.env.TARGET || 'mora';
export const testEngine = process.env.MORA_TEST_ENGINE || '';
const binaries = resolve(root, process.env.MORA_BIN_DIR || 'build/asan/bin');

// Memcheck is told to be quiet: it speaks when something is wrong.
const REPORT = /ERROR: AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehaviorSanitizer|^==\d+== /m;
const memcheck = process.env.MORA_TEST_VALGRIND
  ? ['valgrind', '--quiet', '--error-exitcode=86', '--leak-check=full', '--errors-for-leak-kinds=definite,possible',
     '--show-leak-kinds=definite,possible', '--num-callers=30', `--suppressions=${resolve(root, 'tests/valgrind.supp')}`]
  : [];

// Whatever happens to this process, its children end with it.
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

// A child that ends with this process at the latest.
export function adopt(child) {
  children.add(child);
  const forget = () => children.delete(child);
  return child.on('close', forget).on('error', forget);
}

export function binary(name) {
  const path = resolve(binaries, name);
  if (!existsSync(path)) throw new Error(`${path} is missing: build it, or set MORA_BIN_DIR`);
  return path;
}

// Whether a process still runs. A zombie does not: in a container nobody may be there to reap it.
export function alive(pid) {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

export function environment(extra = {}) {
  const env = {
    ...process.env,
    ASAN_OPTIONS: 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:exitcode=86',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  };
  // A developer's MORA_BROKER__LISTEN must not reach the daemon under test.
  for (const key of Object.keys(env)) if (key.startsWith('MORA_')) delete env[key];
  return {...env, ...extra};
}

// Runs a program to its end: {code, signal, stdout, stderr}. For mora, --check-config and the like.
export function run(command, args = [], {env = {}, input = '', deadline = DEADLINE} = {}) {
  const path = command.includes('/') ? command : binary(command);
  const [first, ...rest] = path.startsWith(binaries) ? [...memcheck, path] : [path];
  const child = adopt(spawn(first, [...rest, ...args], {env: environment(env), stdio: ['pipe', 'pipe', 'pipe']}));
  const out = {code: null, signal: null, stdout: '', stderr: ''};
  child.stdout.setEncoding('utf8').on('data', text => { out.stdout += text; });
  child.stderr.setEncoding('utf8').on('data', text => { out.stderr += text; });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const done = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(Object.assign(out, {code, signal})));
  });
  return within(done, `${command} to end`, deadline).catch(error => {
    child.kill('SIGKILL');
    throw error;
  });
}

export class Daemon {
  // listeners: the names to wait for, each with its configuration key.
  constructor(name, {command, listeners, set = {}, args = [], env = {}}) {
    Object.assign(this, {name, command, keys: listeners, set, args, env});
    this.addresses = {};  // by listener name, lists; kept over restarts
    this.stderr = '';
    this.log = new Feed();
    this.child = null;
  }

  get pid() { return this.child?.pid; }
  get running() { return this.child !== null; }
  address(listener) {
    const list = this.addresses[listener];
    if (!list) throw new Error(`${this.name} has no listener ${listener}`);
    return list[0];
  }
  url(listener, path = '') {
    const tls = listener === 'broker' && this.set['tls.certificate'];
    return `${tls ? 'https' : 'http'}://${this.address(listener)}${path}`;
  }

  // Starts the process and waits until every listener is there and it calls itself ready. A second
  // start takes the addresses of the first.
  async start() {
    if (this.child) throw new Error(`${this.name} already runs`);
    const set = {'logging.format': 'json', ...this.set};
    for (const [listener, key] of Object.entries(this.keys)) {
      if (this.addresses[listener]) set[key] = this.addresses[listener];
      else if (!(key in set)) set[key] = ['127.0.0.1:0'];
    }
    const flags = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${JSON.stringify(value)}`]);
    const [path, ...first] = this.command;
    this.log = new Feed();  // of this run; stderr is of all runs
    const child = adopt(spawn(path, [...first, ...this.args, ...flags],
                              {env: environment(this.env), stdio: ['ignore', 'inherit', 'pipe']}));
    this.child = child;
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve({code, signal}));
    }).finally(() => {
      this.child = null;
      this.log.end(new Error(`${this.name} ended`));
    });
    this.ended.catch(() => {});
    createInterface({input: child.stderr, crlfDelay: Infinity}).on('line', line => this.take(line));
    await this.ready();
    return this;
  }

  take(line) {
    this.stderr += line + '\n';
    if (process.env.MORA_TEST_LOG) process.stderr.write(`${this.name}: ${line}\n`);
    try {
      const event = JSON.parse(line);
      if (event && typeof event === 'object') this.log.push(event);
    } catch {
      // Not an event: a sanitizer, an assertion. It is in this.stderr.
    }
  }

  async ready() {
    const names = Object.keys(this.keys);
    const seen = await this.log.when(events => {
      const found = events.filter(e => e.event === 'listening');
      return names.every(name => found.some(e => e.listener === name)) && found;
    }, () => `${this.name} to listen\n${this.tail()}`);
    for (const name of names) this.addresses[name] = seen.filter(e => e.listener === name).map(e => e.address);
    const probe = this.url(names[0], '/readyz');
    await until(async () => this.child === null || (await getJson(probe)).status === 200, `${this.name} to be ready`);
    if (this.child === null) throw new Error(`${this.name} ended while starting\n${this.tail()}`);
  }

  // SIGTERM, and everything that must be true of an orderly end.
  async stop() {
    if (!this.child) return this.check();
    const ended = this.ended;
    this.child.kill('SIGTERM');
    const {code, signal} = await within(ended, `${this.name} to end after SIGTERM`, 2 * DEADLINE);
    this.check();
    if (code !== 0) throw new Error(`${this.name} ended with ${signal || `status ${code}`} after SIGTERM\n${this.tail()}`);
  }

  // For one that was told to end in another way than by a signal from here.
  endsByItself() { return within(this.ended, `${this.name} to end`, 2 * DEADLINE); }

  // SIGKILL: as a crash looks to its clients.
  async kill() {
    const ended = this.ended;
    this.child?.kill('SIGKILL');
    await within(ended, `${this.name} to die`);
    this.check();
  }

  async restart() {
    await this.stop();
    await this.start();
  }

  // Throws when a sanitizer has spoken, at any time since the first start.
  check() {
    if (REPORT.test(this.stderr)) throw new Error(`${this.name}: a sanitizer reported\n${this.tail(80)}`);
  }

  // The end of the log.
  tail(lines = 40) { return this.stderr.split('\n').slice(-lines - 1).join('\n'); }
}

// Ends with the test: an orderly stop while it runs; one that died by itself fails the test.
export async function started(t, daemon) {
  let expected = false;
  const kill = daemon.kill.bind(daemon);
  const stop = daemon.stop.bind(daemon);
  daemon.kill = () => (expected = true, kill());
  daemon.stop = () => (expected = true, stop());
  const ends = daemon.endsByItself.bind(daemon);
  daemon.endsByItself = () => (expected = true, ends());
  const start = daemon.start.bind(daemon);
  daemon.start = () => (expected = false, start());
  t.onFailure(() => `${daemon.name}, end of its log:\n${daemon.tail()}`);
  t.after(async () => {
    if (!daemon.running && !expected) throw new Error(`${daemon.name} ended by itself\n${daemon.tail()}`);
    if (t.failed && daemon.running) return daemon.kill();
    await daemon.stop();
  });
  await daemon.start();
  return daemon;
}

let namespaces = 0;
async function engineSettings({set = {}}) {
  if (testEngine !== 'redis' || target === 'faye' || 'engine.type' in set) return {};
  const {sharedRedis} = await import('../support/redis.mjs');
  const redis = await sharedRedis();
  return {'engine.type': 'redis', 'engine.url': redis.url(), 'engine.namespace': `test${++namespaces}`};
}

async function tlsSettings({set = {}}) {
  if (!overTls || target === 'faye' || 'tls.certificate' in set) return {};
  const {thisMachine} = await import('../support/certificates.mjs');
  return {'tls.certificate': thisMachine().certificate, 'tls.key': thisMachine().key};
}

// A Bayeux server: mora-broker, or Faye with TARGET=faye. `bayeux` is the URL of its first mount.
export async function startBroker(t, {mount = '/bayeux', ...options} = {}) {
  const faye = target === 'faye';
  options.set = {...await engineSettings(options), ...await tlsSettings(options), ...options.set};
  const command = faye ? [process.execPath, fileURLToPath(new URL('faye_server.mjs', import.meta.url))]
                       : [...memcheck, binary('mora-broker')];
  const daemon = new Daemon(faye ? 'faye' : 'mora-broker',
                            {command, listeners: {broker: 'broker.listen', admin: 'admin.listen'}, ...options});
  await started(t, daemon);
  daemon.mount = mount;
  Object.defineProperty(daemon, 'bayeux', {get: () => daemon.url('broker', mount)});
  Object.defineProperty(daemon, 'socket', {get: () => daemon.bayeux.replace('http', 'ws')});
  daemon.admin = path => daemon.url('admin', path);
  return daemon;
}

// mora-api; `broker` is the Daemon it publishes to.
export function startApi(t, broker, {set = {}, ...options} = {}) {
  return started(t, new Daemon('mora-api', {
    command: [...memcheck, binary('mora-api')], listeners: {api: 'api.listen'},
    set: {'api.publish': broker.url('admin'), ...set}, ...options,
  }));
}

// mora-web; `api` is the Daemon it posts to.
export function startWeb(t, api, {set = {}, ...options} = {}) {
  return started(t, new Daemon('mora-web', {
    command: [...memcheck, binary('mora-web')], listeners: {web: 'web.listen'},
    set: {'web.api': api.url('api'), ...set}, ...options,
  }));
}
