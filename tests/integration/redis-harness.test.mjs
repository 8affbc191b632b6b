// SPDX-License-Identifier: Apache-2.0
// The tools of the Redis suites on trial: the redis-servers they start, and the books they keep.

import assert from 'node:assert/strict';
import {existsSync} from 'node:fs';
import {test} from './lib/suite.mjs';
import {alive, run} from './lib/daemon.mjs';
import {until} from './lib/wait.mjs';
import {Resident, judge} from './support/load.mjs';
import {Redis, startRedis} from './support/redis.mjs';

for (const unix of [false, true]) {
  test(`a redis-server over ${unix ? 'a Unix socket' : 'TCP'}: killed and started again it has its data`, async t => {
    const redis = await startRedis(t, {persist: 'always', unix});
    assert.match(redis.url(), unix ? /^redis\+unix:\/\/\/.*\.sock\?db=0$/ : /^redis:\/\/127\.0\.0\.1:\d+\/0$/);
    await redis.call('XADD', 's', '5-0', 'a', 'b', 'c', Buffer.from([1, 2]));
    await assert.rejects(redis.call('XADD', 's', '5-0', 'a', 'b'), /equal or smaller/);
    const url = redis.url();
    await redis.kill();
    await assert.rejects(redis.call('PING'));
    await redis.start();
    assert.equal(redis.url(), url);
    assert.deepEqual(await redis.stream('s'), [{id: '5-0', a: 'b', c: '\u0001\u0002'}]);
    assert.deepEqual(Object.keys(await redis.memory()), ['s']);
    assert.equal(await redis.call('GET', 'nothing'), null);
  });
}

test('without persistence it forgets; stopped it does not answer; a replica follows; nothing is left behind', async () => {
  const one = await new Redis().start();
  const two = await new Redis({replicaOf: one}).start();
  await one.call('SET', 'k', 'v');
  await until(async () => (await two.call('GET', 'k')) === 'v', 'the replica');
  one.pause();
  let answered = false;
  const late = one.call('PING').then(reply => { answered = true; return reply; });
  assert.equal(await two.call('PING'), 'PONG');
  assert.equal(answered, false);
  one.resume();
  assert.equal(await late, 'PONG');
  await one.kill();
  await one.start();
  assert.equal(await one.call('GET', 'k'), null);
  const pids = [one.pid, two.pid];
  for (const redis of [one, two]) await redis.end();
  assert.ok(!pids.some(alive));
  for (const {folder} of [one, two]) assert.ok(!existsSync(folder));
});

test('a suite that ends early takes its redis-server and the folder along', async () => {
  const text = `
    import {Redis, sharedRedis} from ${JSON.stringify(new URL('support/redis.mjs', import.meta.url).href)};
    for (const redis of [await new Redis({persist: 'always'}).start(), await sharedRedis()]) {
      await redis.call('SET', 'a', 'b');
      console.log('left ' + redis.pid + ' ' + redis.folder);
    }
    process.kill(process.pid, 'SIGTERM');`;
  const {stdout} = await run(process.execPath, ['--input-type=module', '-'], {input: text});
  const left = [...stdout.matchAll(/^left (\d+) (.*)$/gm)];
  assert.equal(left.length, 2);
  for (const [, pid, folder] of left) {
    await until(() => !alive(Number(pid)), 'the redis-server to be gone');
    assert.ok(!existsSync(folder), folder);
  }
});

test('what Redis executes is seen, and what scripts do is told apart', async t => {
  const redis = await startRedis(t);
  const monitor = await redis.monitor();
  await redis.call('CONFIG', 'RESETSTAT');
  await redis.call('EVAL', "redis.call('SET', 'a', 1) return redis.call('GET', 'a')", 0);
  await monitor.lines.count(3);
  assert.deepEqual(monitor.lines.items.map(line => /^\S+ \[0 lua\]/.test(line)), [false, true, true]);
  monitor.close();
  const {set, get, eval: evals} = await redis.commandStats();
  assert.deepEqual([set, get, evals], [1, 1, 1]);
});

// -- the books ---------------------------------------------------------------------------------

const entry = (n, outcome = 'acknowledged', channel = '/a') => ({n, channel, outcome, position: outcome === 'acknowledged' ? 100 + n : null});

// The faults of a client of /a to which messages came as given: [n, at]...
function faults(entries, arrivals, breaks = [], since = []) {
  const resident = new Resident({nodes: [{}]}, {patterns: ['/a', '/b/**']});
  for (const [n, at] of arrivals) {
    resident.arrivals.push({n, at});
    if (!resident.first.has(n)) resident.first.set(n, at);
  }
  Object.assign(resident, {breaks, since});
  return judge(resident, {entries}).faults.join('; ');
}

test('the books notice what is lost, refused and seen, misplaced, or repeated without a reason', () => {
  const three = [entry(0), entry(1), entry(2)];
  assert.equal(faults(three, [[0, 1], [1, 2], [2, 3]]), '');
  assert.match(faults(three, [[0, 1], [2, 3]]), /lost 1 of 3 \(1\)/);
  assert.match(faults(three, [[0, 1], [2, 2], [1, 3]]), /1 came behind a later one/);
  assert.match(faults([entry(0), entry(1, 'refused')], [[0, 1], [1, 2]]), /got 1 that were refused/);
  assert.equal(faults([entry(0), entry(1, 'unknown')], [[0, 1], [1, 2]]), '');
  assert.equal(faults([entry(0), entry(1, 'unknown')], [[0, 1]]), '');
  assert.equal(faults([entry(0, 'acknowledged', '/c'), entry(1, 'acknowledged', '/b/c')], [[1, 2]]), '');
  assert.match(faults([entry(0, 'acknowledged', '/b/c')], []), /lost 1/);
  const twice = [[0, 1000], [1, 2000], [1, 2500]];
  assert.match(faults(three.slice(0, 2), twice), /1 came again/);
  assert.equal(faults(three.slice(0, 2), twice, [2100]), '');
  assert.match(faults(three.slice(0, 2), [...twice, [1, 2600]], [1500]), /1 came again/);
  assert.match(faults(three.slice(0, 2), [[0, 1000], [1, 2000], [1, 5200]], [5001]), /1 came again/, 'more than 3 s before the break');
  const late = [[0, 1000], [1, 2000], [1, 5200]];
  assert.equal(faults(three.slice(0, 2), late, [5001], [2000]), '', 'nothing since had been confirmed');
  assert.match(faults(three.slice(0, 2), late, [5001], [2001]), /1 came again/);
  assert.match(faults(three.slice(0, 2), [[0, 1000], [1, 2000], [0, 900000]], [890000]), /0 came again, 899000 ms after/);
});
