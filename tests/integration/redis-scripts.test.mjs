// SPDX-License-Identifier: Apache-2.0
// The Lua scripts of the Redis engine: one table of cases, put to a real redis-server and to the
// model of the simulator. Each case must hold on both, and all replies must be equal: that is what
// lets the simulator speak for Redis.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {existsSync, readFileSync, readdirSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {isDeepStrictEqual} from 'node:util';
import {test} from './lib/suite.mjs';
import {adopt, root} from './lib/daemon.mjs';
import {RedisClient, RedisError, startRedis} from './lib/redis.mjs';
import {lifeCases} from './support/life_scripts.mjs';
import {presenceCases} from './support/presence_scripts.mjs';

const folder = join(root, 'engine-redis/scripts');
const names = readdirSync(folder).filter(each => each.endsWith('.lua') && each !== 'keys.lua').map(each => each.slice(0, -4));

// -- the two back ends ---------------------------------------------------------------------------

async function realRedis(t) {
  const redis = await startRedis(t);
  const client = await redis.connect();
  const prelude = readFileSync(join(folder, 'keys.lua'), 'utf8');
  const shas = new Map();
  for (const name of names) {
    const sha = await client.call('SCRIPT', 'LOAD', prelude + readFileSync(join(folder, `${name}.lua`), 'utf8'));
    assert.match(String(sha), /^[0-9a-f]{40}$/, `${name}: ${sha}`);
    shas.set(name, sha);
  }
  return {name: 'redis', raw: (...args) => client.call(...args), script: (name, ...args) => client.call('EVALSHA', shas.get(name), 0, ...args)};
}

// Releases are built without tests; then the model of the build with sanitizers is taken.
function modelPath() {
  const places = [process.env.MORA_BIN_DIR, 'build/asan/bin'].filter(Boolean).map(each => resolve(root, each, 'redis_model'));
  const found = places.find(existsSync);
  if (!found) throw new Error(`${places.at(-1)} is missing: build it, or set MORA_BIN_DIR`);
  return found;
}

async function modelRedis(t) {
  const child = adopt(spawn(modelPath(), [], {stdio: ['pipe', 'pipe', 'pipe']}));
  let log = '';
  child.stderr.on('data', data => { log += data; });
  const ended = new Promise(done => child.once('close', done));
  const client = new RedisClient(child.stdout, child.stdin);
  t.onFailure(() => `redis_model:\n${log}`);
  t.after(async () => {
    client.close();
    assert.equal(await ended, 0, log);
  });
  return {name: 'model', raw: (...args) => client.call(...args), script: (name, ...args) => client.call(name, ...args)};
}

// Times, positions that come from the clock, and places in scripts differ from run to run.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof RedisError) return `error ${value.message.replace(/ script: .*| ?@?user_script:\d+: ?.*/s, '')}`;
  const text = String(value);
  const now = Date.now();
  const near = (n, scale) => Math.abs(n / scale - now) < 86400000;
  if (value === null) return null;
  if (/^\d{13}$/.test(text) && near(Number(text), 1)) return '<ms>';
  if (/^\d{10}$/.test(text) && near(Number(text), 0.001)) return '<s>';
  if (/^\d{16}$/.test(text) && near(Number(text), 1000)) return '<position>';
  if (/^\d{13}-\d+$/.test(text)) return '<id>';
  return value;
}

// What a case works with: calls, their replies written down, and short forms of the usual ones.
class Db {
  constructor(backend) {
    this.backend = backend;
    this.transcript = [];
  }
  async keep(what, reply) {
    this.transcript.push([what.map(plain), plain(await reply)]);
    return reply;
  }
  raw(...args) { return this.keep(args, this.backend.raw(...args)); }
  // A set has no order: Redis shuffles it by a seed of its own.
  async set(key) {
    const reply = this.backend.raw('SMEMBERS', key).then(all => all.sort());
    return this.keep(['SMEMBERS', key], reply);
  }
  run(name, ...args) { return this.keep([name, ...args], this.backend.script(name, 'ns', ...args)); }
  // Not written down: what depends on the time that passes.
  quiet(...args) { return this.backend.raw(...args); }
  quietly(name, ...args) { return this.backend.script(name, 'ns', ...args); }

  async is(expected, name, ...args) { assert.deepEqual(await this.run(name, ...args), expected, name); }
  async isRaw(expected, ...args) { assert.deepEqual(await this.raw(...args), expected, args.join(' ')); }
  async fails(pattern, name, ...args) {
    const reply = await this.run(name, ...args);
    assert.ok(reply instanceof RedisError && pattern.test(reply.message), `${name}: ${JSON.stringify(reply)} ${reply?.message ?? ''}`);
  }

  // A head beyond all clocks: positions and epochs are then the same everywhere.
  async begin() {
    await this.raw('HSET', 'ns:head', 'e', E - 1, 'p', P0, 'f', P0, 's', 0, 'run', 'r0');
    for (const node of ['A', 'B']) {
      const reply = await this.run('hello', 'r1', node, 'broker', `${node}:1`, 1, 0, 0);
      assert.deepEqual(reply.slice(0, 5), ['OK', String(E), String(F), String(P0), String(F)]);
    }
  }
  append(...entries) { return this.run('append', E, 'A', 1, NEVER, 7, 0, ...entries); }
  create(id, node = 'A', user = 'bob', token = '') { return this.is(['OK', '1'], 'create', E, node, id, user, 60000, F, token); }
  async load(id) {
    const r = await this.run('load', id);
    return r[0] === 'OK' ? {n: r[1], alive: r[2], g: r[3], k: r[4], sent: r[5], cid: r[6], vary: r[7], life: r[8], user: r[9],
                            created: Number(r[10]), deadline: Number(r[11]), token: r[12], subs: r.slice(13)} : r;
  }
  async events() { return (await this.raw('XRANGE', 'ns:events', '-', '+')).map(each => each[1]); }
  async endings() { return (await this.events()).filter(([, kind]) => kind === 'disconnect'); }
  async inbox(node) { return (await this.raw('XRANGE', `ns:inbox:${node}`, '-', '+')).map(each => each[1]); }
  // All keys with all they hold, to show that a refusal wrote nothing.
  async everything() {
    const all = {};
    const keys = ['head', 'sessions', 'nodes', 'journal', 'events', 'session:s', 'subs:s', 'user:bob', 'once:k', 'inbox:A', 'inbox:B', 'node:A', 'link:A', 'mark:A'];
    const reads = {hash: ['HGETALL'], zset: ['ZRANGE', 0, -1, 'WITHSCORES'], set: ['SMEMBERS'], stream: ['XRANGE', '-', '+'], string: ['GET']};
    for (const key of keys) {
      const [verb, ...rest] = reads[await this.quiet('TYPE', `ns:${key}`)] ?? [];
      if (verb) all[key] = await this.quiet(verb, `ns:${key}`, ...rest);
    }
    return all;
  }
  async unchanged(body) {
    const before = await this.everything();
    await body();
    assert.ok(isDeepStrictEqual(await this.everything(), before), `a refusal wrote: ${JSON.stringify([before, await this.everything()])}`);
  }
}

const E = 5000000000001;
const P0 = 5000000000000000;
const F = P0 + 1000000;
const NEVER = 9999999999999;
const p = n => String(F + n);
const shook = (id, user = 'bob') => ['k', 'handshake', 'id', id, 'user', user];
const subscribed = (id, channel, verb = 'subscribe', user = 'bob') => ['k', verb, 'id', id, 'channel', channel, 'user', user];
const disconnect = (id, reason, user = 'bob') => ['k', 'disconnect', 'id', id, 'reason', reason, 'user', user];

const cases = [];
const scenario = (title, body) => cases.push({title, body});

// -- hello ---------------------------------------------------------------------------------------

scenario('hello: an absent head begins an epoch above the clock, and the entry is in the journal', async db => {
  const [ok, e, f, s, last, time, fresh] = await db.run('hello', 'run', 'A', 'broker', 'here', 1, 0, 0);
  assert.deepEqual([ok, s, last, fresh], ['OK', '0', f, '1']);
  assert.ok(Math.abs(Number(time) - Date.now()) < 60000 && Math.abs(Number(e) - Date.now()) < 60000 && Number(f) === Number(e) * 1000);
  const [[id, fields]] = await db.quiet('XRANGE', 'ns:journal', '-', '+');
  assert.deepEqual([id, fields], [`${f}-0`, ['k', 'epoch', 's', '0', 'e', e]]);
  assert.deepEqual(await db.quiet('HMGET', 'ns:link:A', 'i', 'role', 'address'), ['1', 'broker', 'here']);
});

scenario('hello: the same run and nothing lost is no new epoch; another run, or more seen than there is, is one', async db => {
  await db.begin();
  const hello = async (run, incarnation, seen, known = 0) => (await db.run('hello', run, 'A', 'broker', 'x', incarnation, seen, known)).filter((_, i) => i !== 5);
  assert.deepEqual(await hello('r1', 2, F), ['OK', String(E), p(0), String(P0), p(0), '0']);
  await db.isRaw(1, 'XLEN', 'ns:journal');
  assert.deepEqual(await hello('r2', 3, F), ['OK', String(E + 1), p(1000000), p(0), p(1000000), '1'], 'another run');
  assert.deepEqual(await hello('r2', 4, F + 5000000, E + 1), ['OK', String(E + 2), p(6000000), p(1000000), p(6000000), '1'], 'seen > p');
  assert.deepEqual(await hello('r2', 5, F + 6000000, E + 2), ['OK', String(E + 2), p(6000000), p(1000000), p(6000000), '0']);
  await db.isRaw([[`${p(6000000)}-0`, ['k', 'epoch', 's', p(1000000), 'e', String(E + 2)]]], 'XRANGE', 'ns:journal', p(6000000), '+');
  assert.deepEqual(await hello('r2', 6, F, E + 9), ['OK', String(E + 10), p(7000000), p(6000000), p(7000000), '1'], 'an epoch that is not known here');
});

scenario('hello: a head that is gone, or behind the journal, never goes below the last id, not even of an empty journal', async db => {
  await db.begin();
  await db.raw('XTRIM', 'ns:journal', 'MAXLEN', 0);
  await db.raw('DEL', 'ns:head');
  const [, , f, s, , , fresh] = await db.run('hello', 'r1', 'A', 'broker', 'x', 2, 0, 0);
  assert.deepEqual([f, s, fresh], [p(1), '0', '1']);
  await db.raw('HSET', 'ns:head', 'p', F - 10);
  const again = await db.run('hello', 'r1', 'A', 'broker', 'x', 3, 0, 0);
  assert.deepEqual([again[2], again[3], again[6]], [String(F - 10 + 1000000), String(F - 10), '1'], 'the head went back');
});

scenario('hello: after FLUSHALL the epoch number and the positions are new, whoever asks', async db => {
  await db.begin();
  await db.append('', '', '/a', '1');
  await db.raw('FLUSHALL');
  await db.is(['EPOCH', '0'], 'append', E, 'A', 1, NEVER, 0, 0, '', '', '/a', '1');
  const tick = await db.run('tick', E, 'A', 1, 0, 0, '', 0, 0, 0);
  assert.deepEqual([tick[0], tick[1], tick[3]], ['EPOCH', '0', '0']);
  await db.isRaw(0, 'DBSIZE');
  // The clock is behind the epoch, and another node may have seen more than this one.
  const reply = await db.run('hello', 'r1', 'A', 'broker', 'x', 2, F, E);
  assert.deepEqual(reply.slice(0, 5), ['OK', String(E + 1), p(1000000), '0', p(1000000)]);
  assert.deepEqual((await db.append('', '', '/a', '1')), ['EPOCH', String(E + 1)]);
});

scenario('hello: one that comes late does not retire the link after it; nodes of a minute ago are forgotten', async db => {
  await db.begin();
  await db.run('hello', 'r1', 'A', 'broker', 'x', 5, 0, 0);
  await db.unchanged(() => db.is(['FENCED'], 'hello', 'r1', 'A', 'broker', 'x', 4, F + 99, 0));
  assert.deepEqual((await db.run('hello', 'r1', 'A', 'broker', 'x', 5, 0, 0))[0], 'OK', 'again on the same link');
  await db.raw('ZADD', 'ns:nodes', 1000, 'old');
  await db.run('hello', 'r1', 'C', 'publisher', '', 1, 0, 0);
  await db.isRaw(null, 'ZSCORE', 'ns:nodes', 'old');
});

// -- append --------------------------------------------------------------------------------------

scenario('append: positions are contiguous, over calls, over entries that were not taken, after a probe', async db => {
  await db.begin();
  await db.create('s');
  assert.deepEqual(await db.append('', '', '/a', 'one', 'nobody', '', '/a', 'two', 's', '', '/b', 'three'), ['OK', p(1), '-401', p(2)]);
  await db.is(['OK', p(3)], 'probe', E, 'A', 1);
  assert.deepEqual(await db.append('', '', '/ü/"', 'null'), ['OK', p(4)]);
  await db.isRaw([
    [`${p(0)}-0`, ['k', 'epoch', 's', String(P0), 'e', String(E)]],
    [`${p(1)}-0`, ['c', '/a', 'm', 'one', 'o', 'A:7']],
    [`${p(2)}-0`, ['c', '/b', 'm', 'three', 'o', 'A:9']],
    [`${p(3)}-0`, ['k', 'probe', 'c', '/meta/mora/A']],
    [`${p(4)}-0`, ['c', '/ü/"', 'm', 'null', 'o', 'A:7']]], 'XRANGE', 'ns:journal', '-', '+');
  await db.isRaw(p(4), 'HGET', 'ns:head', 'p');
  assert.deepEqual(await db.append(), ['OK'], 'nothing to do');
  assert.deepEqual(await db.append('nobody', '', '/a', 'x', 'nobody', '', '/a', 'y'), ['OK', '-401', '-401']);
  await db.isRaw(p(4), 'HGET', 'ns:head', 'p');
});

scenario('append: another epoch, a retired link, a passed deadline, a full memory: nothing is written', async db => {
  await db.begin();
  const append = (e, node, incarnation, deadline) => ['append', e, node, incarnation, deadline, 0, 0, '', 'k', '/a', '1', '', '', '/a', '2'];
  await db.unchanged(async () => {
    await db.is(['EPOCH', String(E)], ...append(E - 1, 'A', 1, NEVER));
    await db.is(['FENCED'], ...append(E, 'A', 2, NEVER));
    await db.is(['FENCED'], ...append(E, 'nobody', 1, NEVER));
    await db.is(['LATE'], ...append(E, 'A', 1, Date.now() - 1000));
    await db.raw('CONFIG', 'SET', 'maxmemory', 1);
    await db.is(['FULL'], ...append(E, 'A', 1, NEVER));
    await db.is(['FULL'], 'probe', E, 'A', 1);
    await db.raw('CONFIG', 'SET', 'maxmemory', 0);
    await db.raw('CONFIG', 'SET', 'min-replicas-to-write', 1);
    await db.fails(/^NOREPLICAS/, ...append(E, 'A', 1, NEVER));
    await db.fails(/^NOREPLICAS/, 'probe', E, 'A', 1);
    await db.fails(/^NOREPLICAS/, 'tick', E, 'A', 1, F, 0, '', 0, 0, 0);
    await db.raw('CONFIG', 'SET', 'min-replicas-to-write', 0);
    await db.is(['EPOCH', String(E)], 'probe', E - 1, 'A', 1);
    await db.is(['FENCED'], 'probe', E, 'A', 0);
    for (const bad of [['append'], [...append(E, 'A', 1, NEVER), 'x'], append(E, 'A', 1, 'soon'), ['append', E, 'A', 1, NEVER, -1, 0], ['probe', E]])
      await db.fails(/^ERR wrong arguments/, ...bad);
  });
  await db.run('hello', 'r1', 'A', 'broker', 'x', 2, 0, 0);
  await db.is(['FENCED'], ...append(E, 'A', 1, NEVER));
  await db.is(['OK', p(1), p(2)], ...append(E, 'A', 2, NEVER));
});

scenario('append: a key is answered with the position of its first, from either node, in one call too', async db => {
  await db.begin();
  assert.deepEqual(await db.append('', 'k', '/a', '1', '', 'k', '/a', '1', '', 'l', '/a', '2'), ['OK', p(1), '=' + p(1), p(2)]);
  await db.is(['OK', '=' + p(1), p(3)], 'append', E, 'B', 1, NEVER, 0, 0, '', 'k', '/a', '1', '', '', '/a', '3');
  const life = await db.quiet('PTTL', 'ns:once:k');
  assert.ok(life > 290000 && life <= 300000, `${life}`);
  assert.deepEqual(await db.append('nobody', 'k', '/a', '1'), ['OK', '-401'], 'the session is asked for first');
  await db.isRaw(4, 'XLEN', 'ns:journal');
  await db.raw('CONFIG', 'SET', 'maxmemory', 1);
  assert.deepEqual(await db.append('', 'k', '/a', '1'), ['OK', '=' + p(1)], 'what was taken is not refused when memory is full');
  assert.deepEqual(await db.append('', 'new', '/a', '1'), ['FULL']);
  await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  await db.isRaw(0, 'EXISTS', 'ns:once:new');
});

scenario('append: keys of the wrong kind are told before the first write; a once-key of one spoils its own entry only', async db => {
  await db.begin();
  await db.raw('SADD', 'ns:once:bad', 'x');
  assert.deepEqual(await db.append('', '', '/a', '1', '', 'bad', '/a', '2', '', '', '/a', '3'), ['OK', p(1), '-503', p(2)]);
  await db.raw('DEL', 'ns:journal');
  await db.raw('SET', 'ns:journal', 'x');
  await db.unchanged(async () => {
    assert.deepEqual(await db.append('', 'k', '/a', '1'), ['BAD', 'ns:journal']);
    await db.is(['BAD', 'ns:journal'], 'probe', E, 'A', 1);
    await db.is(['BAD', 'ns:journal'], 'hello', 'r1', 'A', 'broker', 'x', 2, 0, 0);
  });
  await db.raw('DEL', 'ns:journal');
  await db.raw('HSET', 'ns:head', 'p', 'seven');
  await db.unchanged(async () => {
    assert.deepEqual(await db.append('', '', '/a', '1'), ['BAD', 'ns:head']);
    await db.is(['BAD', 'ns:head'], 'hello', 'r1', 'A', 'broker', 'x', 2, 0, 0);
    await db.is(['BAD', 'ns:head'], 'tick', E, 'A', 1, 0, 0, '', 0, 0, 0);
    await db.is(['BAD', 'ns:head'], 'create', E, 'A', 's', 'bob', 1, 1, '');
  });
  await db.raw('DEL', 'ns:head');
  await db.raw('SET', 'ns:head', 'x');
  assert.deepEqual(await db.append('', '', '/a', '1'), ['BAD', 'ns:head']);
});

scenario('append: a head behind the journal is an epoch that is over; hello begins the next above it', async db => {
  await db.begin();
  await db.append('', '', '/a', '1', '', '', '/a', '2');
  await db.raw('HSET', 'ns:head', 'p', p(1));
  await db.unchanged(async () => {
    assert.deepEqual(await db.append('', 'k', '/a', '3'), ['EPOCH', '0']);
    await db.is(['EPOCH', '0'], 'probe', E, 'A', 1);
    await db.is(['EPOCH', '0'], 'revoke', E, 'A', 1, 'bob');
  });
  const reply = await db.run('hello', 'r1', 'A', 'broker', 'x', 2, 0, 0);
  assert.deepEqual([reply[2], reply[3], reply[6]], [p(1000001), p(1), '1']);
});

scenario('append: MAXLEN bounds the journal', async db => {
  await db.begin();
  const entries = Array.from({length: 500}, (_, i) => ['', '', '/a', String(i)]).flat();
  for (let i = 0; i < 4; i++) await db.quietly('append', E, 'A', 1, NEVER, 0, 200, ...entries);
  const length = await db.quiet('XLEN', 'ns:journal');
  assert.ok(length >= 200 && length <= 300, `${length} entries`);
  await db.isRaw(p(2000), 'HGET', 'ns:head', 'p');
});

// -- sessions ------------------------------------------------------------------------------------

scenario('create: a record with its deadline, its user and a backstop; never over another', async db => {
  await db.begin();
  await db.create('s');
  const r = await db.load('s');
  assert.ok(Math.abs(r.created - Date.now()) < 60000 && r.deadline === r.created + 60000);
  assert.deepEqual({...r, created: 0, deadline: 0}, {n: 'A', alive: '1', g: '1', k: p(0), sent: p(0), cid: '', vary: '0', life: '60000', user: 'bob', created: 0, deadline: 0, token: '', subs: []});
  await db.isRaw(['s'], 'SMEMBERS', 'ns:user:bob');
  for (const key of ['ns:session:s', 'ns:user:bob']) assert.equal(await db.quiet('PEXPIRETIME', key), r.deadline + 3600000, key);
  await db.unchanged(async () => {
    await db.is(['EXISTS'], 'create', E, 'B', 's', 'eve', 60000, F, '');
    await db.is(['EPOCH', String(E)], 'create', E + 1, 'B', 't', '', 60000, F, '');
    await db.raw('CONFIG', 'SET', 'maxmemory', 1);
    await db.is(['FULL'], 'create', E, 'B', 't', 'bob', 60000, F, '');
    await db.raw('CONFIG', 'SET', 'maxmemory', 0);
    await db.fails(/^ERR wrong arguments/, 'create', E, 'B', 't', '', 'long', F, '');
  });
  await db.is(['OK', '1'], 'create', E, 'B', 'short', 'bob', 10, F, '');
  assert.equal(await db.quiet('PEXPIRETIME', 'ns:user:bob'), r.deadline + 3600000, 'a short session does not shorten the set');
  await db.is(['OK', '1'], 'create', E, 'B', 'anonymous', '', 60000, F, '');
  await db.isRaw(0, 'EXISTS', 'ns:user:');
  await db.raw('DEL', 'ns:session:short');
  await db.is(['EXISTS'], 'create', E, 'B', 'short', 'bob', 10, F, '');
});

scenario('load: none, an owner that is dead, a malformed record', async db => {
  await db.begin();
  await db.is(['NONE'], 'load', 's');
  await db.create('s');
  await db.raw('DEL', 'ns:node:A');
  assert.equal((await db.load('s')).alive, '0');
  for (const [field, value] of [['g', 'one'], ['k', 'dead'], ['sent', '-1'], ['life', '1e5']]) {
    const was = await db.raw('HGET', 'ns:session:s', field);
    await db.raw('HSET', 'ns:session:s', field, value);
    await db.is(['BAD', 'ns:session:s'], 'load', 's');
    await db.is(['BAD', 'ns:session:s'], 'sub', 's', 'A', 1, 1, '/a', 1);
    await db.raw('HSET', 'ns:session:s', field, was);
  }
  await db.raw('SET', 'ns:subs:s', 'x');
  await db.is(['BAD', 'ns:subs:s'], 'load', 's');
  await db.is(['BAD', 'ns:subs:s'], 'sub', 's', 'A', 1, 1, '/a', 1);
  await db.is(['BAD', 'ns:subs:s'], 'unsub', 's', 'A', 1, 1, '/a');
  await db.is(['BAD', 'ns:subs:s'], 'claim', 's', 1, 'B');
  await db.is(['BAD', 'ns:subs:s'], 'release', 's', 'A', 1, 1, 'B', 1, 1, '', 0);
  await db.raw('SET', 'ns:session:s', 'x');
  await db.is(['BAD', 'ns:session:s'], 'load', 's');
});

scenario('sub, unsub: only at (n, g); one that is there keeps its start; unsubscribing forgets it', async db => {
  await db.begin();
  await db.is(['NONE'], 'sub', 's', 'A', 1, 1, '/a', 5);
  await db.create('s');
  await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 5, '/b/**', '6:9');
  await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 8, '/c', p(0));
  assert.deepEqual((await db.load('s')).subs, ['/a', `5:${p(0)}`, '/b/**', '6:9', '/c', p(0)], 'what was appended since the start is noted');
  assert.equal(await db.quiet('PEXPIRETIME', 'ns:subs:s'), await db.quiet('PEXPIRETIME', 'ns:session:s'));
  await db.unchanged(async () => {
    await db.is(['MOVED', 'A', '1'], 'sub', 's', 'B', 1, 1, '/d', 5);
    await db.is(['MOVED', 'A', '1'], 'sub', 's', 'A', 2, 1, '/d', 5);
    await db.is(['MOVED', 'A', '1'], 'unsub', 's', 'A', 2, 1, '/a');
    await db.fails(/^ERR wrong arguments/, 'sub', 's', 'A', 1, 1, '/d', 5, '/e', 'x');
    await db.raw('CONFIG', 'SET', 'maxmemory', 1);
    await db.is(['FULL'], 'sub', 's', 'A', 1, 1, '/d', 5);
    await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  });
  await db.is(['OK'], 'unsub', 's', 'A', 1, 1, '/a', '/nothing');
  await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 8);
  assert.deepEqual((await db.load('s')).subs, ['/b/**', '6:9', '/c', p(0), '/a', `8:${p(0)}`]);
  await db.is(['NONE'], 'unsub', 't', 'A', 1, 1, '/a');
  await db.is(['OK'], 'unsub', 's', 'A', 1, 1, '/a', '/b/**', '/c');
  assert.deepEqual(await db.events(), [shook('s'), subscribed('s', '/a'), subscribed('s', '/b/**'), subscribed('s', '/c'), subscribed('s', '/a', 'unsubscribe'),
                                       subscribed('s', '/a'), ...['/a', '/b/**', '/c'].map(channel => subscribed('s', channel, 'unsubscribe'))], 'each is told once');
  await db.isRaw(0, 'EXISTS', 'ns:subs:s');
});

scenario('release: to the new owner, one generation up, with exact positions; the old one writes no more', async db => {
  await db.begin();
  await db.is(['NONE'], 'release', 's', 'A', 1, 1, 'B', 1, 2, 'c', 1);
  await db.create('s');
  await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 5);
  await db.is(['OK', '2'], 'release', 's', 'A', 1, 1, 'B', 11, 12, 'c7', 1, '/a', '5:9', '/gone', '1:2');
  const r = await db.load('s');
  assert.deepEqual([r.n, r.g, r.k, r.sent, r.cid, r.vary, r.subs], ['B', '2', '11', '12', 'c7', '1', ['/a', '5:9']]);
  await db.unchanged(async () => {
    await db.is(['MOVED', 'B', '2'], 'release', 's', 'A', 1, 1, 'C', 1, 1, '', 0);
    await db.is(['MOVED', 'B', '2'], 'release', 's', 'A', 2, 1, 'C', 1, 1, '', 0);
    await db.is(['MOVED', 'B', '2'], 'sub', 's', 'A', 1, 1, '/b', 1);
    await db.is(['MOVED', 'B', '2'], 'end', 's', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.fails(/^ERR wrong arguments/, 'release', 's', 'B', 2, 1, 'C', 'live', 1, '', 0);
    await db.fails(/^ERR wrong arguments/, 'release', 's', 'B', 2, 1, 'C', 1, 1, '', 0, '/a', 'x');
  });
  await db.raw('CONFIG', 'SET', 'maxmemory', 1);
  await db.is(['OK', '3'], 'release', 's', 'B', 2, 1, '', 11, 12, 'c7', 1);
  await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  assert.deepEqual([(await db.load('s')).n, (await db.load('s')).alive], ['', '0'], 'to whoever claims it');
  assert.equal((await db.run('claim', 's', 3, 'A'))[0], 'OK');
  assert.deepEqual([(await db.load('s')).n, (await db.load('s')).g], ['A', '4']);
});

scenario('sub, unsub, release, end: what was sent on a link that another has retired is not done any more', async db => {
  await db.begin();
  await db.create('s');
  await db.run('hello', 'r1', 'A', 'broker', 'x', 2, 0, 0);
  await db.is(['OK'], 'sub', 's', 'A', 1, 2, '/a', 5);
  await db.unchanged(async () => {
    await db.is(['FENCED'], 'sub', 's', 'A', 1, 1, '/b', 5);
    await db.is(['FENCED'], 'unsub', 's', 'A', 1, 1, '/a');
    await db.is(['FENCED'], 'release', 's', 'A', 1, 1, 'B', 1, 1, '', 0);
    for (const force of [0, 1]) await db.is(['FENCED'], 'end', 's', 'A', 1, 1, 'disconnect', force, 'A');
  });
  await db.is(['OK'], 'unsub', 's', 'A', 1, 2, '/a');
});

scenario('claim: by generation, once; an exact position stays, what was sent beyond it has not arrived; the old owner is told', async db => {
  await db.begin();
  await db.is(['NONE'], 'claim', 's', 1, 'B');
  await db.create('s');
  await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 5);
  await db.run('tick', E, 'A', 1, F, 1, F, 1, 's', 1, 21, 25, 'c', 1, 0, 0);
  await db.unchanged(() => db.is(['MOVED', 'A', '1'], 'claim', 's', 2, 'B'));
  const reply = await db.run('claim', 's', 1, 'B');
  assert.deepEqual(reply.slice(0, 10), ['OK', 'B', '1', '2', '21', '21', 'c', '1', '60000', 'bob']);
  assert.deepEqual(reply.slice(13), ['/a', `5:${p(0)}`]);
  await db.is(['MOVED', 'B', '2'], 'claim', 's', 1, 'C');
  assert.deepEqual(await db.inbox('A'), [['t', 'lost', 'id', 's', 'g', '2']]);
  const life = await db.quiet('PTTL', 'ns:inbox:A');
  assert.ok(life > 50000 && life <= 60000, `${life}`);
});

scenario('claim: what a node wrote down before it departed stays as it is', async db => {
  await db.begin();
  await db.create('s');
  await db.run('tick', E, 'A', 1, F, 1, F, 1, 's', 1, 21, 25, 'c', 1, 0, 0);
  await db.is(['OK'], 'depart', 'A', 1);
  assert.deepEqual((await db.run('claim', 's', 1, 'B')).slice(0, 6), ['OK', 'B', '1', '2', '21', '25']);
});

scenario('claim: a live record takes the mark of the old owner; without a mark it is lost, and ended once', async db => {
  await db.begin();
  await db.create('s');
  await db.create('t');
  await db.run('tick', E, 'A', 1, F + 9, 2, F + 3, 0, 2, 's', 1, 't', 1, 0);
  assert.equal((await db.load('s')).k, 'live');
  const reply = await db.run('claim', 's', 1, 'B');
  assert.deepEqual(reply.slice(1, 6), ['B', '1', '2', p(3), p(3)]);
  await db.raw('DEL', 'ns:mark:A');
  await db.unchanged(() => db.is(['MOVED', 'A', '1'], 'claim', 't', 3, 'B'));
  await db.is(['LOST'], 'claim', 't', 1, 'B');
  await db.is(['NONE'], 'claim', 't', 1, 'B');
  await db.is(['NONE'], 'load', 't');
  assert.deepEqual(await db.endings(), [disconnect('t', 'lost')]);
  assert.deepEqual(await db.inbox('A'), [['t', 'lost', 'id', 's', 'g', '2'], ['t', 'ended', 'id', 't', 'reason', 'lost']]);
  await db.raw('SET', 'ns:mark:B', 'x');
  await db.run('tick', E, 'B', 1, F + 9, 1, '', 0, 1, 's', 2, 0);
  await db.is(['LOST'], 'claim', 's', 2, 'A');
});

scenario('end: exactly one call ends a session, and tells; afterwards every verb finds nothing', async db => {
  await db.begin();
  await db.create('s');
  await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 5);
  await db.unchanged(async () => {
    await db.is(['MOVED', 'A', '1'], 'end', 's', 'B', 1, 1, 'disconnect', 0, 'B');
    await db.is(['MOVED', 'A', '1'], 'end', 's', 'A', 2, 1, 'disconnect', 0, 'A');
    await db.is(['NONE'], 'end', 'nobody', 'A', 1, 1, 'disconnect', 0, 'A');
  });
  await db.raw('CONFIG', 'SET', 'maxmemory', 1);
  await db.is(['OK'], 'end', 's', 'A', 1, 1, 'disconnect', 0, 'A');
  await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  for (let i = 0; i < 2; i++) await db.is(['NONE'], 'end', 's', 'A', 1, 1, 'disconnect', i, 'A');
  assert.deepEqual(await db.endings(), [disconnect('s', 'disconnect')]);
  assert.deepEqual(await db.inbox('A'), [], 'the owner need not be told by itself');
  for (const key of ['ns:session:s', 'ns:subs:s', 'ns:user:bob', 'ns:sessions']) await db.isRaw(0, 'EXISTS', key);
  await db.is(['NONE'], 'load', 's');
  await db.is(['NONE'], 'sub', 's', 'A', 1, 1, '/a', 1);
  await db.is(['NONE'], 'claim', 's', 1, 'B');
  assert.deepEqual(await db.append('s', '', '/a', '1'), ['OK', '-401']);
  const refused = await db.run('tick', E, 'A', 1, F, 0, F, 1, 's', 1, 1, 1, '', 0, 1, 's', 1, 1, 's', 60000);
  assert.deepEqual(refused.slice(4), ['s:disconnect'], 'told once, and why');
  await db.isRaw(0, 'EXISTS', 'ns:session:s', 'ns:sessions');
});

scenario('end: by force, and once the deadline is past, whoever owns it; the owner is told', async db => {
  await db.begin();
  await db.create('s');
  await db.create('t', 'A', '');
  await db.create('u');
  await db.is(['OK'], 'end', 's', '', 0, 1, 'kick', 1, 'B');
  await db.raw('ZADD', 'ns:sessions', 1000, 't');
  await db.is(['OK'], 'end', 't', '', 0, 1, 'expired', 0, 'B');
  await db.isRaw(['u'], 'SMEMBERS', 'ns:user:bob');
  assert.deepEqual(await db.endings(), [disconnect('s', 'kick'), disconnect('t', 'expired', '')]);
  assert.deepEqual(await db.inbox('A'), [['t', 'ended', 'id', 's', 'reason', 'kick'], ['t', 'ended', 'id', 't', 'reason', 'expired']]);
  await db.raw('SET', 'ns:user:bob', 'x');
  await db.unchanged(() => db.is(['BAD', 'ns:user:bob'], 'end', 'u', 'A', 1, 1, 'disconnect', 0, 'A'));
  await db.raw('DEL', 'ns:user:bob');
  await db.raw('HSET', 'ns:session:u', 'g', 'x');
  await db.unchanged(() => db.is(['BAD', 'ns:session:u'], 'end', 'u', 'A', 1, 1, 'disconnect', 0, 'A'));
  await db.is(['OK'], 'end', 'u', 'A', 1, 1, 'kick', 1, 'A');
  await db.isRaw(0, 'EXISTS', 'ns:session:u', 'ns:sessions');
});

scenario('revoke: an entry at the next position; another epoch, a retired link, no user: nothing is written', async db => {
  await db.begin();
  await db.is(['OK', String(F + 1)], 'revoke', E, 'A', 1, 'bob');
  await db.is(['OK', String(F + 2)], 'revoke', E, 'B', 1, 'ann');
  assert.deepEqual((await db.raw('XRANGE', 'ns:journal', `${F + 1}-0`, '+')).map(each => each[1]), [['k', 'revoke', 'c', 'bob', 'm', ''], ['k', 'revoke', 'c', 'ann', 'm', '']]);
  await db.unchanged(async () => {
    await db.is(['EPOCH', String(E)], 'revoke', E - 1, 'A', 1, 'bob');
    await db.is(['FENCED'], 'revoke', E, 'A', 0, 'bob');
    await db.fails(/^ERR wrong arguments/, 'revoke', E, 'A', 1, '');
  });
});

scenario('members: the sessions of a user, to the limit; what the records do not bear out leaves the set', async db => {
  await db.begin();
  for (const id of ['a', 'b', 'c']) await db.create(id, id === 'b' ? 'B' : 'A');
  await db.create('d', 'A', 'ann');
  await db.is(['OK'], 'members', 'nobody', '', 10);
  await db.is(['OK', 'd'], 'members', 'ann', '', 10);
  await db.raw('SADD', 'ns:user:bob', 'd', 'gone');
  await db.raw('DEL', 'ns:session:b');
  assert.deepEqual((await db.run('members', 'bob', '', 10)).sort(), ['OK', 'a', 'c']);
  assert.deepEqual(await db.set('ns:user:bob'), ['a', 'c']);
  assert.equal((await db.run('members', 'bob', '', 1)).length, 2);
  await db.fails(/^ERR wrong arguments/, 'members', 'bob', 10);
  await db.raw('SET', 'ns:user:x', 'x');
  await db.unchanged(() => db.is(['BAD', 'ns:user:x'], 'members', 'x', '', 10));
});

scenario('reap: all whose deadline is before the time, oldest first, to the limit; none whose deadline lies ahead', async db => {
  await db.begin();
  for (const id of ['a', 'b', 'c', 'd', 'e']) await db.create(id, id === 'b' ? 'B' : 'A');
  for (const [id, at] of [['a', 3000], ['b', 1000], ['c', 2000], ['d', 5000]]) await db.raw('ZADD', 'ns:sessions', at, id);
  await db.raw('SET', 'ns:session:c', 'of the wrong kind');
  await db.is(['OK', 'b', 'c'], 'reap', 'A', 5000, 2);
  await db.is(['OK', 'a'], 'reap', 'A', 5000, 200);
  await db.is(['OK', 'd'], 'reap', 'A', NEVER, 200);
  await db.is(['OK'], 'reap', 'A', NEVER, 200);
  assert.deepEqual(await db.endings(), [disconnect('b', 'expired'), disconnect('c', 'expired', ''), disconnect('a', 'expired'), disconnect('d', 'expired')]);
  assert.deepEqual(await db.inbox('B'), [['t', 'ended', 'id', 'b', 'reason', 'expired']]);
  assert.deepEqual((await db.load('e')).n, 'A');
  await db.raw('ZADD', 'ns:sessions', Date.now() - 20000, 'e');
  await db.is(['OK'], 'reap', 'A', Date.now() - 60000, 200);
  await db.is(['OK', 'e'], 'reap', 'A', Date.now() - 10000, 200);
  await db.create('e');
  await db.raw('DEL', 'ns:session:e');
  await db.raw('ZADD', 'ns:sessions', 1000, 'e');
  await db.is(['OK', 'e'], 'reap', 'A', 5000, 200);
  await db.raw('DEL', 'ns:events');
  await db.raw('SET', 'ns:events', 'x');
  await db.is(['BAD', 'ns:events'], 'reap', 'A', 5000, 200);
});

// -- tick ----------------------------------------------------------------------------------------

scenario('tick: exact positions, then live, then deadlines, then the mark, then the heartbeat', async db => {
  await db.begin();
  for (const id of ['s', 't', 'u']) await db.create(id);
  await db.raw('DEL', 'ns:node:A');
  const before = await db.load('u');
  const reply = await db.run('tick', E, 'A', 1, F + 5, 3, F + 2, 2, 's', 1, 11, 12, 'c', 1, 't', 1, 13, 14, '', 0,
                             2, 's', 1, 'x', 9, 2, 'u', 90000, 'y', 1);
  assert.deepEqual([reply[0], reply[1], ...reply.slice(3)], ['OK', String(E), p(0), 'x', 'y']);
  const [s, t, u] = [await db.load('s'), await db.load('t'), await db.load('u')];
  assert.deepEqual([s.k, s.sent, s.cid, s.vary, s.alive], ['live', p(2), 'c', '1', '1'], 'live comes after the position, and notes the mark');
  assert.deepEqual([t.k, t.sent], ['13', '14']);
  assert.ok(u.deadline >= before.deadline + 29000 && u.k === p(0));
  for (const key of ['ns:session:u', 'ns:user:bob']) assert.equal(await db.quiet('PEXPIRETIME', key), u.deadline + 3600000, key);
  await db.isRaw(`${p(2)}:${E}`, 'GET', 'ns:mark:A');
  await db.isRaw(['head', p(5), 'mark', p(2), 'sessions', '3'], 'HGETALL', 'ns:node:A');
  const within = async (key, low, high) => { const life = await db.quiet('PTTL', key); assert.ok(life > low && life <= high, `${key}: ${life}`); };
  await within('ns:mark:A', 7190000, 7200000);
  await within('ns:node:A', 1000, 3000);
  await within('ns:link:A', 3590000, 3600000);
});

scenario('tick: what names another owner or generation is refused and told, the rest is done', async db => {
  await db.begin();
  for (const id of ['s', 't', 'u', 'v']) await db.create(id);
  await db.run('claim', 't', 1, 'B');
  await db.raw('SET', 'ns:session:v', 'x');
  const reply = await db.run('tick', E, 'A', 1, F, 1, F, 3, 't', 1, 1, 1, '', 0, 's', 2, 2, 2, '', 0, 'u', 1, 3, 3, '', 0,
                             2, 't', 1, 'v', 1, 3, 't', 90000, 's', 90000, 'v', 90000);
  assert.deepEqual(reply.slice(4), ['t', 's', 'v']);
  assert.deepEqual([(await db.load('t')).k, (await db.load('s')).k, (await db.load('u')).k], [p(0), p(0), '3']);
});

scenario('tick: another epoch, a retired link, malformed lists write nothing, no heartbeat either; a full memory does not stop it', async db => {
  await db.begin();
  await db.create('s');
  await db.raw('DEL', 'ns:node:A');
  await db.unchanged(async () => {
    const reply = await db.run('tick', E - 1, 'A', 1, F, 1, F, 1, 's', 1, 1, 1, '', 0, 0, 0);
    assert.deepEqual([reply[0], reply[1], reply[3]], ['EPOCH', String(E), p(0)]);
    await db.is(['FENCED'], 'tick', E, 'A', 2, F, 1, F, 1, 's', 1, 1, 1, '', 0, 0, 0);
    await db.is(['FENCED'], 'tick', E, 'C', 1, F, 1, F, 0, 0, 0);
    for (const bad of [[0, 0], [1, 's', 1, 1, 1, '', 0, 0], [0, 0, 0, 'x'], [2, 's', 1, 1, 1, '', 0, 0, 0], ['x', 0, 0], [1, 's', 1, 'live', 1, '', 0, 0, 0],
                       [0, 0, 1, 's', 'x'], [0, 1, 's', 0]])
      await db.fails(/^ERR wrong arguments/, 'tick', E, 'A', 1, F, 1, F, ...bad);
    await db.fails(/^ERR wrong arguments/, 'tick', E, 'A', 1, F, 1, 'x', 0, 0, 0);
    await db.raw('SET', 'ns:node:A', 'x');
    await db.is(['BAD', 'ns:node:A'], 'tick', E, 'A', 1, F, 1, F, 0, 0, 0);
    await db.raw('DEL', 'ns:node:A');
  });
  await db.raw('CONFIG', 'SET', 'maxmemory', 1);
  assert.equal((await db.run('tick', E, 'A', 1, F, 1, F, 0, 0, 0))[0], 'OK');
  assert.equal((await db.run('hello', 'r1', 'A', 'broker', 'x', 2, 0, 0))[0], 'OK');
  await db.is(['OK'], 'post', 'B', 't', 'ask');
  await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  await db.raw('DEL', 'ns:mark:A');
  await db.run('tick', E, 'A', 2, F, 0, '', 0, 0, 0);
  await db.isRaw(0, 'EXISTS', 'ns:mark:A');
});

// -- resave, listings, post ----------------------------------------------------------------------

scenario('resave: taken where the record is missing, malformed, older, or this one; refused where it is newer or another\'s', async db => {
  await db.begin();
  const of = (id, g, k = 'live') => [id, g, k, 50, 'c', 1, 60000, 'bob', 123, 'jti:1', 2, '/a', 5, '/b', '6:7'];
  await db.is(['EPOCH', String(E)], 'resave', E - 1, 'A', ...of('s', 3));
  await db.is(['OK', 's'], 'resave', E, 'A', ...of('s', 3));
  const r = await db.load('s');
  assert.deepEqual([r.n, r.g, r.k, r.sent, r.cid, r.vary, r.life, r.user, r.created, r.subs], ['A', '3', 'live', '50', 'c', '1', '60000', 'bob', 123, ['/a', '5', '/b', '6:7']]);
  assert.ok(Math.abs(r.deadline - 60000 - Date.now()) < 60000);
  await db.isRaw(['s'], 'SMEMBERS', 'ns:user:bob');
  await db.is(['OK', 's'], 'resave', E, 'A', ...of('s', 3, 40));
  assert.equal((await db.load('s')).k, '40');
  await db.unchanged(async () => {
    await db.is(['OK'], 'resave', E, 'B', ...of('s', 3));
    await db.is(['OK'], 'resave', E, 'A', ...of('s', 2));
    await db.is(['OK'], 'resave', E, 'A');
    for (const bad of [of('s', 9).slice(0, -1), of('s', 9, 'dead'), of('s', 'x'), [...of('s', 9), 't'], [...of('s', 9).slice(0, -1), 'x']])
      await db.fails(/^ERR wrong arguments/, 'resave', E, 'A', ...bad);
  });
  await db.raw('SET', 'ns:session:t', 'x');
  await db.is(['OK', 's', 'u', 't'], 'resave', E, 'B', ...of('s', 4), ...of('u', 1).slice(0, 10), 0, ...of('s', 3), ...of('t', 1));
  assert.deepEqual([(await db.load('s')).n, (await db.load('t')).n, (await db.load('u')).subs], ['B', 'B', []]);
});

scenario('nodes: who ticked within a minute, dead or alive; the others are forgotten, and fenced', async db => {
  await db.begin();
  await db.run('tick', E, 'A', 1, F + 1, 4, F, 0, 0, 0);
  await db.raw('DEL', 'ns:node:B');
  await db.raw('ZADD', 'ns:nodes', 1000, 'old');
  await db.raw('HSET', 'ns:link:old', 'i', 1);
  const reply = await db.quietly('nodes');
  const rows = Array.from({length: 2}, (_, i) => reply.slice(1 + 8 * i, 9 + 8 * i)).sort();
  assert.deepEqual([reply.length, rows[0].slice(0, 3), rows[0].slice(4, 7)], [17, ['A', 'broker', 'A:1'], [p(1), p(0), '4']]);
  assert.deepEqual([rows[1].slice(0, 3), rows[1].slice(4, 7)], [['B', 'broker', 'B:1'], ['', '', '']]);
  for (const row of rows) assert.ok(Number(row[7]) < 60000 && Math.abs(Number(row[3]) - Date.now()) < 60000);
  await db.isRaw(1, 'EXISTS', 'ns:link:old');
  await db.isRaw(null, 'ZSCORE', 'ns:nodes', 'old');
});

scenario('about: the record, and of a live one what its node vouches for', async db => {
  await db.begin();
  await db.create('s');
  await db.run('sub', 's', 'A', 1, 1, '/a', F);
  const record = await db.run('load', 's');
  assert.deepEqual(await db.run('about', 's'), ['OK', '0', ...record.slice(1)]);
  await db.run('tick', E, 'A', 1, F + 7, 1, F + 5, 0, 1, 's', 1, 0);
  const about = await db.quietly('about', 's');
  assert.deepEqual(about.slice(0, 7), ['OK', '1', 'A', '1', '1', p(5), p(7)]);
  await db.raw('DEL', 'ns:node:A');
  assert.deepEqual((await db.quietly('about', 's')).slice(0, 7), ['OK', '1', 'A', '0', '1', p(5), p(5)]);
  await db.unchanged(async () => assert.deepEqual(await db.run('about', 'none'), ['NONE']));
});

scenario('depart: a node is gone, for all but its mark; a link that was retired can not say so', async db => {
  await db.begin();
  await db.run('tick', E, 'A', 1, F, 1, F, 0, 0, 0);
  await db.unchanged(async () => assert.deepEqual(await db.run('depart', 'A', 2), ['FENCED']));
  assert.deepEqual(await db.run('depart', 'A', 1), ['OK']);
  await db.isRaw(0, 'EXISTS', 'ns:node:A', 'ns:link:A');
  await db.isRaw(null, 'ZSCORE', 'ns:nodes', 'A');
  await db.isRaw(1, 'EXISTS', 'ns:mark:A');
  assert.deepEqual(await db.run('depart', 'A', 1), ['FENCED']);
});

scenario('sessions: pages that hold everything; an id without a record is left out', async db => {
  await db.begin();
  await db.create('s');
  await db.create('t', 'B');
  await db.run('tick', E, 'A', 1, F, 1, F, 0, 1, 's', 1, 0);
  await db.raw('ZADD', 'ns:sessions', 1000, 'gone');
  const reply = await db.quietly('sessions', 0, 100);
  const rows = [reply.slice(2, 6), reply.slice(6, 10)].sort();
  assert.deepEqual([reply.slice(0, 2), reply.length, rows[0].slice(0, 3), rows[1].slice(0, 3)], [['OK', '0'], 10, ['s', 'A', 'live'], ['t', 'B', p(0)]]);
  assert.equal(Number(rows[0][3]), (await db.load('s')).deadline);
  for (let i = 0; i < 300; i++) await db.quietly('create', E, 'A', `many-${i}`, '', 60000, F, '');
  const seen = new Set();
  let after = '0';
  do {
    const page = await db.quietly('sessions', after, 20);
    for (let i = 2; i < page.length; i += 4) seen.add(page[i]);
    after = page[1];
  } while (after !== '0');
  assert.equal(seen.size, 302);
  await db.fails(/^ERR wrong arguments/, 'sessions', 'x', 10);
});

scenario('post: one message with its fields, in an inbox that is bounded and does not outlive its node long', async db => {
  await db.begin();
  await db.is(['OK'], 'post', 'B', 't', 'call', 'id', 's', 'raw', '{"a":"\n"}', 'q', 3);
  assert.deepEqual(await db.inbox('B'), [['t', 'call', 'id', 's', 'raw', '{"a":"\n"}', 'q', '3']]);
  await db.fails(/^ERR wrong arguments/, 'post', 'B', 't');
  const life = await db.quiet('PTTL', 'ns:inbox:B');
  assert.ok(life > 50000 && life <= 60000, `${life}`);
  for (let i = 0; i < 10300; i++) await db.quietly('post', 'B', 't', 'x');
  const length = await db.quiet('XLEN', 'ns:inbox:B');
  assert.ok(length >= 10000 && length <= 10200, `${length} messages`);
  await db.raw('SET', 'ns:inbox:A', 'x');
  await db.is(['BAD', 'ns:inbox:A'], 'post', 'A', 't', 'ask');
});

scenario('the tail: XREAD over journal and inbox, XRANGE pages, XTRIM by position, and what is left of keys', async db => {
  await db.begin();
  for (let i = 0; i < 5; i++) await db.append('', '', '/a', String(i));
  await db.raw('XREAD', 'COUNT', 2, 'STREAMS', 'ns:journal', 'ns:inbox:A', p(1), 0);
  await db.isRaw(null, 'XREAD', 'COUNT', 2, 'STREAMS', 'ns:journal', 'ns:inbox:A', p(5), 0);
  await db.run('post', 'A', 't', 'ask');
  await db.raw('XREAD', 'COUNT', 2, 'STREAMS', 'ns:journal', 'ns:inbox:A', p(4), 0);
  await db.raw('XRANGE', 'ns:journal', `(${p(1)}`, '+', 'COUNT', 2);
  await db.isRaw(3, 'XTRIM', 'ns:journal', 'MINID', p(3));
  await db.isRaw(3, 'XLEN', 'ns:journal');
  await db.raw('XREAD', 'COUNT', 1, 'STREAMS', 'ns:journal', 1);
  await db.raw('XADD', 'ns:journal', p(2), 'a', 'b');
});

scenario('the ground the scripts stand on: no rollback, refusals at the first write only, numbers, nothing global', async db => {
  const eval_ = (text, ...args) => db.raw('EVAL', text, 0, ...args);
  await db.raw('SET', 'ns:text', 'x');
  await eval_("redis.call('SET', 'ns:a', '1') redis.call('HGET', 'ns:text', 'f') redis.call('SET', 'ns:b', '1')");
  await db.isRaw(1, 'EXISTS', 'ns:a', 'ns:b');
  await eval_("return redis.pcall('HGET', 'ns:text', 'f').err");
  await eval_("return {1, 3.9, 'x', true, false, {2, {ok = 'fine'}}, nil, 5}");
  await eval_("return redis.call('SET', 'ns:n', 1763700000000001)");
  await db.isRaw('1763700000000001', 'GET', 'ns:n');
  await eval_("return {redis.call('TYPE', 'ns:n').ok, redis.call('TYPE', 'ns:none').ok, redis.call('GET', 'ns:none') == false, #ARGV, ARGV[1]}", 'ü', 'b');
  await eval_("return redis.call('XADD', 'ns:j', '5-1', 'a', 'b')");
  for (const id of ['5-1', '4-9', '0-0', 'x']) await eval_(`return redis.pcall('XADD', 'ns:j', '${id}', 'a', 'b').err`);
  await eval_("return redis.pcall('XINFO', 'STREAM', 'ns:none').err");
  await eval_("return redis.error_reply('ERR mine')");
  await eval_("return redis.status_reply('mine')");
  for (const text of ['some = 1', 'return some', "redis.call('XADD')", "error('x')", "return os.time()"]) {
    const reply = await db.quiet('EVAL', text, 0);
    assert.ok(reply instanceof RedisError, text);
  }
  await db.raw('CONFIG', 'SET', 'maxmemory', 1);
  await eval_("return redis.pcall('SET', 'ns:c', '1').err");
  await eval_("redis.call('DEL', 'ns:none') return redis.call('SET', 'ns:c', '1')");
  await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  await db.raw('CONFIG', 'SET', 'min-replicas-to-write', 1);
  await eval_("return redis.pcall('DEL', 'ns:none').err");
  await db.raw('CONFIG', 'SET', 'min-replicas-to-write', 0);
});

// -- relay ---------------------------------------------------------------------------------------

scenario('relay: asked, begun, carried once and in order, and only from where the pod is', async db => {
  await db.begin();
  const relay = (node, cursor, to, ...entries) => db.run('relay', 'a', node, 'r1', cursor, to, 0, ...entries);
  assert.deepEqual(await relay('X', '', ''), ['AT', '']);
  assert.deepEqual(await relay('X', 7, 8, '', '/a', '1', 'n:1'), ['AT', ''], 'nobody has begun');
  assert.deepEqual(await relay('X', '', 10), ['OK', '0']);
  assert.deepEqual(await relay('X', '', 20), ['AT', '10'], 'begun once');
  assert.deepEqual(await relay('X', 10, 13, '', '/a', '1', 'n:1', 'revoke', '/r', '2', 'n:2'), ['OK', '2']);
  await db.isRaw([[`${p(1)}-0`, ['c', '/a', 'm', '1', 'o', 'n:1', 'p', 'a']], [`${p(2)}-0`, ['c', '/r', 'm', '2', 'o', 'n:2', 'p', 'a', 'k', 'revoke']]],
    'XRANGE', 'ns:journal', p(1), '+');
  await db.unchanged(() => relay('X', 10, 13, '', '/a', '1', 'n:1').then(reply => assert.deepEqual(reply, ['AT', '13'], 'a repetition')));
  assert.deepEqual(await relay('X', 13, 20), ['OK', '0'], 'nothing to carry');
  assert.deepEqual(await relay('X', 20, 25, '', '/a', '2', 'n:2', '', '/a', '3', 'n:3', '', '/a', '3', 'm:1'), ['OK', '2'], 'what its pod appended again is left out');
  assert.deepEqual(await relay('X', 25, 26, '', '/a', 'x', 'no number', '', '/a', 'x', ''), ['OK', '2'], 'without an origin there is nothing to know it by');
  assert.deepEqual(await db.append('', '', '/b', '1'), ['OK', p(7)], 'positions are of this pod');
  await db.isRaw('26', 'HGET', 'ns:pods', 'a');
});

scenario('relay: one at a time; another takes over when the lease is over; pods do not meet', async db => {
  await db.begin();
  const relay = (pod, node, ...rest) => db.run('relay', pod, node, 'r1', ...rest);
  await relay('a', 'X', '', 10, 0);
  await db.unchanged(() => relay('a', 'Y', 10, 11, 0, '', '/a', '1', 'n:1').then(reply => assert.deepEqual(reply, ['HELD'])));
  assert.deepEqual(await relay('c', 'Y', '', 3, 0), ['OK', '0']);
  const left = await db.quiet('PTTL', 'ns:relay:a');
  assert.ok(left > 0 && left <= 3000);
  await db.raw('DEL', 'ns:relay:a');
  assert.deepEqual(await relay('a', 'Y', 10, 11, 0, '', '/a', '1', 'n:1'), ['OK', '1']);
  assert.deepEqual(await relay('a', 'X', 11, 12, 0), ['HELD']);
  await db.isRaw(['a', '11', 'c', '3'], 'HGETALL', 'ns:pods');
});

scenario('relay: nothing is written where the pod has not greeted its Redis, keys are of others, memory is full', async db => {
  const relay = (run, ...rest) => db.run('relay', 'a', 'X', run, ...rest);
  assert.deepEqual(await relay('r1', '', '', 0), ['EPOCH']);
  await db.begin();
  await db.unchanged(() => relay('r0', '', 5, 0).then(reply => assert.deepEqual(reply, ['EPOCH'], 'another run')));
  await relay('r1', '', 5, 0);
  for (const bad of [['x', 6, 0], [5, 'x', 0], [5, '', 0], [5, 6, 'x'], [5, 6, 0, 'one'], [5, 6]]) await db.fails(/wrong arguments/, 'relay', 'a', 'X', 'r1', ...bad);
  await db.raw('CONFIG', 'SET', 'maxmemory', 1);
  await db.unchanged(() => relay('r1', 5, 6, 0, '', '/a', '1', 'n:1').then(reply => assert.deepEqual(reply, ['FULL'])));
  assert.deepEqual(await relay('r1', 5, 6, 0), ['OK', '0'], 'the lease and the cursor need none');
  await db.raw('CONFIG', 'SET', 'maxmemory', 0);
  await db.raw('SET', 'ns:from:n', 'x');
  assert.deepEqual(await relay('r1', 6, 7, 0, '', '/a', '1', 'n:1'), ['OK', '1']);
  await db.isRaw('1', 'GET', 'ns:from:n');
  await db.raw('DEL', 'ns:relay:a');
  await db.raw('HSET', 'ns:relay:a', 'a', 'b');
  await db.unchanged(() => relay('r1', 7, 8, 0).then(reply => assert.deepEqual(reply, ['BAD', 'ns:relay:a'])));
  await db.raw('HSET', 'ns:head', 'p', 'x');
  assert.deepEqual(await relay('r1', 7, 8, 0), ['BAD', 'ns:head']);
});

presenceCases(scenario, {E, F, assert});
lifeCases(scenario, {E, F, assert});

// -- both ----------------------------------------------------------------------------------------

const backends = t => Promise.all([realRedis(t), modelRedis(t)]);

for (const {title, body} of cases) {
  test(title, async t => {
    const transcripts = [];
    for (const backend of await backends(t)) {
      const db = new Db(backend);
      try {
        await body(db);
      } catch (error) {
        error.message = `${backend.name}: ${error.message}`;
        throw error;
      }
      transcripts.push(db.transcript);
    }
    assert.deepEqual(transcripts[1], transcripts[0], 'the model answers as Redis does');
  });
}
