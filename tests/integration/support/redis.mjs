// SPDX-License-Identifier: Apache-2.0
// Real redis-servers as child processes, in temporary directories, and a connection to them.
//
//   const redis = await startRedis(t, {persist: 'always'});
//   redis.url()                        redis://127.0.0.1:24611/0
//   await redis.call('DBSIZE')         over a connection of its own
//   redis.pause(); redis.resume();     SIGSTOP, SIGCONT
//   await redis.kill();                kill -9
//   await redis.start();               again, same address; with its data when it persists

import {spawn} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import net from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {adopt} from '../lib/daemon.mjs';
import {Feed, until, within} from '../lib/wait.mjs';

// -- RESP --------------------------------------------------------------------------------------

const NONE = Symbol('incomplete');

// The value at `at` of the buffer and where the next begins: [value, next], or NONE.
function parse(buffer, at) {
  const end = buffer.indexOf('\r\n', at);
  if (end < 0) return NONE;
  const head = buffer.toString('utf8', at + 1, end);
  const next = end + 2;
  switch (String.fromCharCode(buffer[at])) {
    case '+': return [head, next];
    case '-': return [new Error(head), next];
    case ':': return [Number(head), next];
    case '$': {
      const length = Number(head);
      if (length < 0) return [null, next];
      return buffer.length < next + length + 2 ? NONE : [buffer.toString('utf8', next, next + length), next + length + 2];
    }
    case '*': {
      const items = [];
      let from = next;
      for (let i = 0; i < Number(head); i++) {
        const item = parse(buffer, from);
        if (item === NONE) return NONE;
        items.push(item[0]);
        from = item[1];
      }
      return [Number(head) < 0 ? null : items, from];
    }
    default: throw new Error(`not RESP: ${buffer.toString('latin1', at, at + 40)}`);
  }
}

function encode(words) {
  const parts = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = Buffer.isBuffer(word) ? word : Buffer.from(String(word));
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

// One connection. Replies are text, numbers, null and lists; an error rejects.
export class Resp {
  constructor(where) {
    this.socket = net.connect(where);
    this.rest = Buffer.alloc(0);
    this.waiting = [];
    this.lines = null;   // a Feed, once this connection monitors
    this.socket.on('data', part => this.take(part));
    this.socket.on('error', error => { this.error = error; });
    this.socket.on('close', () => this.end(this.error ?? new Error('the connection to Redis closed')));
  }
  take(part) {
    this.rest = this.rest.length ? Buffer.concat([this.rest, part]) : part;
    let at = 0;
    for (let found; at < this.rest.length && (found = parse(this.rest, at)) !== NONE; at = found[1]) this.give(found[0]);
    this.rest = this.rest.subarray(at);
  }
  give(value) {
    const waiter = this.waiting.shift();
    if (!waiter) this.lines?.push(value);
    else if (value instanceof Error) waiter.reject(value);
    else waiter.resolve(value);
  }
  end(error) {
    this.ended = error;
    for (const waiter of this.waiting.splice(0)) waiter.reject(error);
    this.lines?.end(error);
  }
  call(...words) {
    if (this.ended) return Promise.reject(this.ended);
    const reply = new Promise((resolve, reject) => this.waiting.push({resolve, reject}));
    this.socket.write(encode(words));
    return within(reply, () => `${words.slice(0, 3).join(' ')} on Redis`);
  }
  close() { this.socket.destroy(); }
}

// -- the server --------------------------------------------------------------------------------

// Below the ports that the kernel gives to outgoing connections: while the server is away nobody
// else gets its port, nor does a client that tries to reach it connect to itself.
export async function freePort() {
  const [low] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
  for (;;) {
    const port = 10240 + Math.floor(Math.random() * (low - 10240));
    const free = await new Promise(resolve => {
      const probe = net.createServer().once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

const command = ([first, ...rest]) => [first, rest];

// What it keeps: nothing, or every write before it is answered.
const PERSISTENCE = {
  none: ['--save', '', '--appendonly', 'no'],
  always: ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
};

// Folders of servers that have not ended; gone with this process, however early that ends.
const folders = new Set();
const removeFolder = folder => {
  rmSync(folder, {recursive: true, force: true, maxRetries: 5});
  folders.delete(folder);
};
process.on('exit', () => folders.forEach(removeFolder));

export class Redis {
  // replicaOf: another Redis. args: more of its options. host: where it listens. prefix: words in front of
  // the command.
  constructor({persist = 'none', unix = false, replicaOf = null, args = [], host = '127.0.0.1', prefix = []} = {}) {
    Object.assign(this, {persist, unix, replicaOf, args, host, prefix});
    this.folder = mkdtempSync(join(tmpdir(), 'mora-redis-'));
    folders.add(this.folder);
    this.path = join(this.folder, 'redis.sock');
    this.port = 0;
    this.child = null;
    this.log = '';
  }

  get pid() { return this.child?.pid; }
  get where() { return this.unix ? {path: this.path} : {host: this.host, port: this.port}; }
  url(db = 0) { return this.unix ? `redis+unix://${this.path}?db=${db}` : `redis://${this.host}:${this.port}/${db}`; }

  async start() {
    if (this.child) throw new Error('redis-server already runs');
    if (!this.unix && !this.port) this.port = await freePort();
    const flags = ['--bind', this.host, '--protected-mode', 'no', '--port', String(this.port), '--dir', this.folder, '--daemonize', 'no',
      ...(this.unix ? ['--unixsocket', this.path] : []), ...PERSISTENCE[this.persist],
      ...(this.replicaOf ? ['--replicaof', this.replicaOf.host, String(this.replicaOf.port)] : []), ...this.args];
    const child = adopt(spawn(...command([...this.prefix, 'redis-server', ...flags]), {stdio: ['ignore', 'pipe', 'pipe']}));
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => { this.log += text; });
    this.ended = new Promise(resolve => child.on('close', resolve).on('error', error => { this.log += error.message; resolve(); }));
    this.ended.then(() => { this.child = null; });
    await until(() => this.child === null || this.answers(), () => `redis-server to answer\n${this.tail()}`);
    if (this.child === null) throw new Error(`redis-server ended while starting\n${this.tail()}`);
    return this;
  }
  // Throws while it is not there, or still loads.
  async answers() {
    this.control?.close();
    this.control = this.connect();
    return (await this.control.call('PING')) === 'PONG';
  }

  connect() { return new Resp(this.where); }
  // A server whose role changes ends its connections.
  call(...words) {
    if (this.control.ended) this.control = this.connect();
    return this.control.call(...words);
  }

  pause() { this.child.kill('SIGSTOP'); }
  resume() { this.child.kill('SIGCONT'); }
  async kill() {
    const {ended} = this;
    this.control?.close();
    this.child?.kill('SIGKILL');
    await within(ended, 'redis-server to die');
  }
  async end() {
    if (this.child) await this.kill();
    removeFolder(this.folder);
  }
  tail(lines = 30) { return this.log.split('\n').slice(-lines - 1).join('\n'); }

  // Every command that Redis executes from now on, as lines; close() ends it.
  async monitor() {
    const connection = this.connect();
    connection.lines = new Feed();
    await connection.call('MONITOR');
    return connection;
  }
  // How often each command ran since CONFIG RESETSTAT, those of scripts included: {name: calls}.
  async commandStats() {
    const text = await this.call('INFO', 'commandstats');
    return Object.fromEntries([...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]) => [name, Number(calls)]));
  }
  async keys(pattern) {
    const found = [];
    let cursor = '0';
    do {
      const [next, some] = await this.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000);
      found.push(...some);
      cursor = next;
    } while (cursor !== '0');
    return [...new Set(found)].sort();
  }
  // {key: bytes} of all keys, every element counted. A key may go while we look.
  async memory(pattern = '*') {
    const keys = await this.keys(pattern);
    const sizes = await Promise.all(keys.map(key => this.call('MEMORY', 'USAGE', key, 'SAMPLES', 0)));
    return Object.fromEntries(keys.map((key, i) => [key, sizes[i] ?? 0]));
  }
  // The entries of a stream: [{id, field: value, ...}].
  async stream(key, from = '-', to = '+') {
    const rows = await this.call('XRANGE', key, from, to);
    return rows.map(([id, fields]) => {
      const entry = {id};
      for (let i = 0; i < fields.length; i += 2) entry[fields[i]] = fields[i + 1];
      return entry;
    });
  }
}

export async function startRedis(t, options) {
  const redis = new Redis(options);
  t.after(() => redis.end());
  t.onFailure(() => `redis-server, end of its log:\n${redis.tail()}`);
  return redis.start();
}

// One for all brokers of this process, gone with it.
let shared = null;
export function sharedRedis() {
  return (shared ??= new Redis().start());
}
