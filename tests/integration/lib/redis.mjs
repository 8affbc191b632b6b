// SPDX-License-Identifier: Apache-2.0
// A Redis of a test's own, and a client of a few lines: what Mora says to Redis, and what Redis says
// to Mora, without a library in between.
//
//   const redis = await startRedis(t);              // temporary directory, Unix socket and TCP port
//   const client = await redis.connect();
//   await client.call('XADD', key, '*', 'f', 'v');  // -> value; an error reply is a RedisError, returned

import net from 'node:net';
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {once} from 'node:events';
import {adopt} from './daemon.mjs';

export class RedisError extends Error {}

// Values of RESP 2 out of the beginning of `buffer`: [value, end], or null when it is not whole.
function parse(buffer, at) {
  const eol = buffer.indexOf('\r\n', at);
  if (eol < 0) return null;
  const line = buffer.toString('utf8', at + 1, eol);
  let end = eol + 2;
  switch (String.fromCharCode(buffer[at])) {
    case '+': return [line, end];
    case '-': return [new RedisError(line), end];
    case ':': return [Number(line), end];
    case '$': {
      const length = Number(line);
      if (length < 0) return [null, end];
      if (buffer.length < end + length + 2) return null;
      return [buffer.toString('utf8', end, end + length), end + length + 2];
    }
    case '*': {
      if (Number(line) < 0) return [null, end];
      const values = [];
      for (let i = 0; i < Number(line); i++) {
        const value = parse(buffer, end);
        if (!value) return null;
        values.push(value[0]);
        end = value[1];
      }
      return [values, end];
    }
    default: throw new Error(`not RESP: ${line}`);
  }
}

// Speaks RESP over a pair of streams. Replies come in the order of the calls.
export class RedisClient {
  constructor(input, output) {
    this.output = output;
    this.waiting = [];
    let rest = Buffer.alloc(0);
    input.on('data', data => {
      rest = Buffer.concat([rest, data]);
      let at = 0;
      for (let value; at < rest.length && (value = parse(rest, at)); at = value[1]) this.waiting.shift().resolve(value[0]);
      rest = rest.subarray(at);
    });
    const gone = () => { for (const {reject} of this.waiting.splice(0)) reject(new Error('the link is closed')); };
    for (const stream of [input, output]) stream.on('error', gone).on('close', gone);
  }

  call(...args) {
    return new Promise((resolve, reject) => {
      this.waiting.push({resolve, reject});
      const parts = args.map(arg => { const text = String(arg); return `$${Buffer.byteLength(text)}\r\n${text}\r\n`; });
      this.output.write(`*${args.length}\r\n${parts.join('')}`);
    });
  }

  close() { this.output.end(); }
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// Starts a redis-server that ends with the test. `args` are more options; `folder` keeps the data of
// one that ran before (and is then the caller's).
export async function startRedis(t, {args = [], folder = null, port = null} = {}) {
  const own = folder === null;
  const at = folder ?? mkdtempSync(join(tmpdir(), 'mora-redis-'));
  const socket = join(at, 'redis.sock');
  const listen = port ?? await freePort();
  const child = adopt(spawn('redis-server', ['--port', String(listen), '--bind', '127.0.0.1', '--unixsocket', socket, '--dir', at, '--save', '',
                                       '--daemonize', 'no', ...args], {stdio: ['ignore', 'pipe', 'pipe']}));
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', data => { log += data; });
  const exited = new Promise(resolve => child.once('exit', resolve).once('error', error => { log += error.message; resolve(); }));
  const clients = [];
  const redis = {
    child, socket, port: listen, folder: at, url: `redis://127.0.0.1:${listen}/0`, log: () => log,
    async connect() {
      const stream = net.connect(socket);
      await once(stream, 'connect');
      const client = new RedisClient(stream, stream);
      clients.push(client);
      return client;
    },
    async stop(signal = 'SIGTERM') {
      for (const client of clients.splice(0)) client.close();
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
    },
  };
  t.after(async () => {
    await redis.stop('SIGKILL');
    if (own) rmSync(at, {recursive: true, force: true});
  });
  t.onFailure(() => `redis-server:\n${log.split('\n').slice(-20).join('\n')}`);

  for (const deadline = Date.now() + 20000; ;) {
    try {
      const client = await redis.connect();
      while ((await client.call('PING')) !== 'PONG') await new Promise(resolve => setTimeout(resolve, 20));   // loading
      return redis;
    } catch (error) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`redis-server did not start: ${error.message}\n${log}`);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }
}
