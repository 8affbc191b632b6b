// SPDX-License-Identifier: Apache-2.0
// A real Sentinel set: a primary, its replicas, and Sentinels that watch them.
//
//   const set = await startSentinelSet(t);     // 1 primary, 2 replicas, 3 Sentinels, quorum 2
//                                              // host: of all; first: other options of the primary
//   set.url()                                  // redis+sentinel://...
//   await set.primary()                        // the Redis that the Sentinels name now
//   await set.promoted(old)                    // another one than `old` is named, and takes writes
//   await set.whole()                          // every other Redis follows it, and the Sentinels know

import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {adopt} from '../lib/daemon.mjs';
import {until, within} from '../lib/wait.mjs';
import {Resp, freePort, startRedis} from './redis.mjs';

// A primary without a replica that answers takes no writes 2 s later: what was cut off can promise nothing.
export const FENCE = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', '2', '--repl-ping-replica-period', '1', '--repl-timeout', '5',
  '--repl-diskless-sync-delay', '0'];

class Sentinel {
  constructor(primary, {quorum, downAfter, host}) {
    this.host = host;
    this.folder = mkdtempSync(join(tmpdir(), 'mora-sentinel-'));
    this.primary = primary;
    this.quorum = quorum;
    this.downAfter = downAfter;
    this.log = '';
  }
  async start() {
    this.port = await freePort();
    const file = join(this.folder, 'sentinel.conf');
    writeFileSync(file, [`port ${this.port}`, `bind ${this.host}`, 'protected-mode no', `dir ${this.folder}`, `sentinel monitor mora ${this.primary.host} ${this.primary.port} ${this.quorum}`,
      `sentinel down-after-milliseconds mora ${this.downAfter}`, 'sentinel failover-timeout mora 3000', 'sentinel parallel-syncs mora 2', ''].join('\n'));
    this.child = adopt(spawn('redis-server', [file, '--sentinel'], {stdio: ['ignore', 'pipe', 'pipe']}));
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', text => { this.log += text; });
    this.ended = new Promise(resolve => this.child.on('close', resolve));
    await until(async () => {
      this.control?.close();
      this.control = new Resp({host: this.host, port: this.port});
      return (await this.control.call('PING')) === 'PONG';
    }, 'a Sentinel to answer');
    return this;
  }
  call(...words) { return this.control.call(...words); }
  async end() {
    this.control?.close();
    this.child?.kill('SIGKILL');
    await within(this.ended, 'a Sentinel to die');
    rmSync(this.folder, {recursive: true, force: true, maxRetries: 5});
  }
}

// What the Sentinels know of a Redis, as an object; rejected while they know none.
const fields = row => Object.fromEntries(row.flatMap((word, i) => (i % 2 ? [] : [[word, row[i + 1]]])));

export class SentinelSet {
  constructor(servers, sentinels) { Object.assign(this, {servers, sentinels}); }
  url(db = 0) { return `redis+sentinel://${this.sentinels.map(({host, port}) => `${host}:${port}`).join(',')}/mora?db=${db}`; }
  // As the first Sentinel that answers has it.
  async primary() {
    const [, port] = await this.sentinels[0].call('SENTINEL', 'get-master-addr-by-name', 'mora');
    return this.servers.find(server => server.port === Number(port));
  }
  call(...words) { return this.current.call(...words); }   // of the primary, as last seen by promoted() or whole()
  async keys(pattern) { return this.current.keys(pattern); }

  async promoted(old, deadline = 60000) {
    await until(async () => {
      const now = await this.primary();
      if (!now?.child || now === old || !/role:master/.test(await now.call('INFO', 'replication'))) return false;
      this.current = now;
      return true;
    }, 'another primary', deadline);
    return this.current;
  }
  // Also: enough replicas that the primary takes writes.
  async whole(deadline = 60000) {
    await until(async () => {
      this.current = await this.primary();
      const text = await this.current.call('INFO', 'replication');
      const living = this.servers.filter(({child}) => child).length;
      if (!/role:master/.test(text) || [...text.matchAll(/^slave\d+:.*state=online/gm)].length < living - 1) return false;
      for (const sentinel of this.sentinels) {
        const state = fields(await sentinel.call('SENTINEL', 'MASTER', 'mora'));
        if (Number(state.port) !== this.current.port || state.flags !== 'master') return false;
        if (Number(state['num-other-sentinels']) < this.sentinels.length - 1) return false;
        const replicas = (await sentinel.call('SENTINEL', 'REPLICAS', 'mora')).map(fields);
        if (replicas.filter(({flags}) => flags === 'slave').length < living - 1) return false;
      }
      return true;
    }, 'the set to be whole', deadline);
    return this.current;
  }
}

export async function startSentinelSet(t, {replicas = 2, sentinels = 3, downAfter = 1000, args = FENCE, host = '127.0.0.1', first: place = {}} = {}) {
  const options = {persist: 'none', args, host};
  const first = await startRedis(t, {...options, ...place});
  const servers = [first];
  for (let i = 0; i < replicas; i++) servers.push(await startRedis(t, {...options, replicaOf: first}));
  const watchers = [];
  for (let i = 0; i < sentinels; i++) {
    const sentinel = new Sentinel(first, {quorum: Math.floor(sentinels / 2) + 1, downAfter, host});
    t.after(() => sentinel.end());
    watchers.push(await sentinel.start());
  }
  const set = new SentinelSet(servers, watchers);
  t.onFailure(() => watchers.map(({log}, i) => `Sentinel ${i}:\n${log.split('\n').slice(-15).join('\n')}`).join('\n'));
  await set.whole();
  return set;
}
