// SPDX-License-Identifier: Apache-2.0
// The load generator of tests/bench: it counts right, and it sees what goes wrong. Tiny loads; how fast
// anything is, is not asked here.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from './lib/suite.mjs';
import {adopt, binary, run, startBroker, target} from './lib/daemon.mjs';
import {Socket} from './lib/bayeux.mjs';
import {getJson, request} from './lib/http.mjs';
import {within} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {estimate, median, pairedRatio} from '../bench/lib/statistics.mjs';
import {Meeting, Rounds, joined, judge, summarised} from '../bench/lib/rounds.mjs';
import {figures, quickFigures} from '../bench/lib/figures.mjs';
import {pageText} from '../bench/lib/page.mjs';
import {barChart} from '../bench/lib/plot.mjs';

// One of the floors: {port, pid}; gone with the test.
async function floor(t, name, flags = []) {
  const child = adopt(spawn(binary(name), flags, {stdio: ['ignore', 'pipe', 'inherit']}));
  t.after(() => child.kill('SIGTERM'));
  const port = await within(new Promise((resolve, reject) => {
    child.stdout.on('data', text => resolve(Number(/listening (\d+)/.exec(text)[1])));
    child.on('close', () => reject(new Error(`${name} ended`)));
  }), `${name} to listen`);
  return {port, pid: child.pid};
}

const plain = ({port, pid}, dialect = 'plain') => ['--dialect', dialect, '--pids', String(pid),
  '--url', dialect === 'plain-poll' ? `http://127.0.0.1:${port}/poll/{channel}` : `ws://127.0.0.1:${port}/sub/{channel}`,
  '--publish-url', `ws://127.0.0.1:${port}/pub/{channel}`];

const bayeux = (broker, dialect = 'bayeux') => {
  const url = `ws://${broker.address('broker')}/bayeux`;
  return ['--dialect', dialect, '--pids', String(broker.pid), '--url', dialect === 'bayeux-poll' ? url.replace('ws', 'http') : url, '--publish-url', url];
};

// Left out of the build where libwebsockets is not installed.
function lwsIsThere() {
  try { return existsSync(binary('bench_lws')); } catch { return false; }
}

const QUICK = ['--seconds', '0.3', '--warm', '0.1', '--settle', '0.1'];
async function load(words, expected = 0) {
  const {code, stdout, stderr} = await run('bench_load', [...QUICK, ...words]);
  assert.equal(code, expected, stderr || stdout);
  return stdout ? JSON.parse(stdout) : stderr;
}

function clean(report, least = 1) {
  const {lost, doubled, disordered, stray} = report;
  assert.deepEqual({lost, doubled, disordered, stray}, {lost: 0, doubled: 0, disordered: 0, stray: 0});
  assert(report.deliveries >= least, `${report.deliveries} deliveries`);
  assert(report.total >= report.deliveries);
}

test('fan-out: Mora, raw epoll one by one and in batches, bare libwebsockets', async t => {
  const broker = await startBroker(t);
  const servers = [bayeux(broker), plain(await floor(t, 'bench_epoll')), plain(await floor(t, 'bench_epoll', ['--batch']))];
  if (lwsIsThere()) servers.push(plain(await floor(t, 'bench_lws')));
  else t.log('without bench_lws: libwebsockets is not installed');
  for (const server of servers) {
    const report = await load(['fanout', '--clients', '20', '--in-flight', '8', ...server]);
    clean(report, 160);
    assert(report.groups.server.cpu_s > 0);
    assert(report.groups.server.pss_after > 0);
    assert(report.latency_ms.p50 > 0 && report.latency_ms.p50 <= report.latency_ms.p99 && report.latency_ms.p99 <= report.latency_ms.max);
    clean(await load(['fanout', '--clients', '20', '--channels', '10', '--in-flight', '20', ...server]), 20);
    clean(await load(['fanout', '--clients', '10', '--rate', '2000', '--processes', '2', ...server]), 10);
    clean(await load(['fanout', '--clients', '10', '--rate', '2000', '--spin', ...server]), 10);
  }
});

test('what is delivered together is counted one by one', async t => {
  const batches = await load(['fanout', '--clients', '10', '--in-flight', '8', ...plain(await floor(t, 'bench_epoll', ['--batch']))]);
  assert(batches.per_read > 4, `${batches.per_read} in a read`);
  const broker = await startBroker(t);
  const frames = await load(['fanout', '--clients', '10', '--in-flight', '8', ...bayeux(broker)]);
  if (target === 'mora') assert(frames.per_frame > 4, `${frames.per_frame} in a frame`);
});

test('lost, doubled and disordered messages are seen', async t => {
  for (const [how, count] of [['lose', 'lost'], ['double', 'doubled'], ['swap', 'disordered']]) {
    const server = await floor(t, 'bench_epoll', ['--misbehave', how]);
    const report = await load(['fanout', '--clients', '20', '--rate', '20000', '--patience', '1', ...plain(server)], 3);
    assert(report[count] > 0, `${how}: ${JSON.stringify(report)}`);
    // A message that is held back to the end is lost as well.
    const never = {lose: ['doubled', 'disordered'], double: ['lost', 'disordered'], swap: ['doubled']}[how];
    for (const other of never) assert.equal(report[other], 0, `${how}: ${other}`);
  }
});

test('ping-pong, polls, idle clients, connects, a storm, slow clients', async t => {
  const broker = await startBroker(t, {set: {'broker.timeout': '2s'}});
  const lws = lwsIsThere() && await floor(t, 'bench_lws');
  const epoll = await floor(t, 'bench_epoll', ['--ping', '100', '--hold', '100']);
  clean(await load(['fanout', '--clients', '1', ...bayeux(broker, 'bayeux-self')]));
  clean(await load(['fanout', '--clients', '20', ...bayeux(broker, 'bayeux-poll')]), 20);
  if (lws) clean(await load(['fanout', '--clients', '20', ...plain(lws, 'plain-poll')]), 20);
  clean(await load(['idle', '--clients', '20', '--channels', '20', '--seconds', '2.5', ...bayeux(broker)]), 0);   // each renews once
  clean(await load(['idle', '--clients', '20', '--channels', '20', ...plain(epoll, 'renew')]), 0);
  for (const server of [bayeux(broker), plain(lws || epoll, 'echo')]) {
    const report = await load(['connect', '--clients', '40', '--block', '10', '--concurrency', '5', ...server]);
    assert.equal(report.blocks.at(-1).clients, 40);
    assert(report.blocks.length >= 3 && report.connect_cpu_us > 0);
  }
  const storm = await load(['storm', '--clients', '30', '--channels', '30', '--missed', '5', '--others', '100', ...bayeux(broker)]);
  clean(storm, 150);
  assert.equal(storm.total, 150);
  clean(await load(['slow', '--clients', '20', '--slow', '10', '--rate', '2000', ...bayeux(broker)]), 20);
});

test('an authority in a storm: a request for each frame at most, and nobody is refused', async t => {
  const limits = {'limits.handshake_rate': 10000, 'limits.accept_rate': 10000};
  const rules = {...limits, 'access.handshake': 'authority', 'access.rules': [{channel: '/bench/**', subscribe: 'authority'}], 'authority.timeout': '20s'};
  const storm = ['connect', '--clients', '300', '--channels', '300', '--concurrency', '100'];
  const scripted = await startScripted(t, {answer: ({verb}) => ({allow: true, ...(verb === 'handshake' && {user: 'ann'})})});
  for (const url of [scripted.url, `http://127.0.0.1:${(await floor(t, 'bench_authority')).port}/`]) {
    const broker = await startBroker(t, {set: {...rules, 'authority.url': url}});
    await load([...storm, ...bayeux(broker, 'bayeux-five')]);
    const {authority, loop} = (await getJson(broker.admin('/v1/stats'))).json;
    const {asked, allowed, denied, unavailable, failures} = authority;
    assert.deepEqual({asked, allowed, denied, unavailable, failures}, {asked: 1800, allowed: 1800, denied: 0, unavailable: 0, failures: 0});
    assert(authority.requests <= 600, `${authority.requests} requests`);
    if (url === scripted.url) assert.deepEqual([scripted.calls.length, scripted.asked.length], [authority.requests, 1800]);
    assert(loop.turns > 0 && loop.p50_us <= loop.p99_us && loop.p99_us <= loop.p999_us && loop.p999_us > 0);
    assert.match((await request(broker.admin('/metrics'))).text, /^mora_loop_turn_seconds_bucket\{le="\+Inf"\} \d+$/m);
  }
});

// Who listens to the same channel reads of each message when it was due.
test('loads that take turns on a core publish in their own turns, and not in the last quarter', async t => {
  const broker = await startBroker(t), url = `ws://${broker.address('broker')}/bayeux`;
  const listener = await Socket.open(t, url), turn = 100_000_000n, count = 3n;
  await listener.handshake();
  listener.send([listener.message.connect()]);
  for (const base of [0, 1]) await listener.one(listener.message.subscribe(`/bench/00000${base}`), 'subscribe');
  const begin = process.hrtime.bigint() + 500_000_000n, turns = 9;
  const reports = await Promise.all([0, 2].map((place, base) => run('bench_load', [...QUICK, '--seconds', '0.8', 'fanout', '--clients', '10', '--rate', '2000', '--spin', '--turn', '0.1',
    '--base', String(base), ...bayeux(broker)], {input: `${begin} ${place} ${count}\n`})));
  for (const {code, stdout, stderr} of reports) {
    assert.equal(code, 0, stderr);
    assert(stdout.startsWith('ready\n'));
    const report = JSON.parse(stdout.slice('ready\n'.length));
    clean(report, 10);
    assert(report.seconds >= 0.58, `${report.seconds} s of its own turns`);   // eight times 0.075 s
  }
  const [first, second] = reports.map(({stdout}) => JSON.parse(stdout.slice('ready\n'.length)).total / 10);
  await listener.inbox.when(messages => messages.length >= first + second, 'all that was published');
  const owners = new Map();   // by the turn's number
  for (const {data} of listener.inbox.items) {
    const [, due, base] = /^@@\d{10}@(\d{19})@(\d{6})/.exec(data);
    const number = (BigInt(due) - begin) / turn, into = (BigInt(due) - begin) % turn;
    assert(BigInt(due) >= begin && into < turn * 3n / 4n, `${into} ns into a turn of ${base}`);
    if (!owners.has(number)) owners.set(number, base);
    assert.equal(owners.get(number), base, `turn ${number}`);
  }
  assert.equal(owners.size, 2 * turns);
  const places = base => [...owners].filter(([, owner]) => Number(owner) === base).map(([number]) => number).sort((a, b) => Number(a - b));
  for (const base of [0, 1])
    assert.deepEqual(places(base).map(number => number / count), Array.from({length: turns}, (_, cycle) => BigInt(cycle)), `a turn of ${base} in each cycle`);
  const orders = new Set(places(0).map((number, cycle) => `${number % count} ${places(1)[cycle] % count}`));
  assert(orders.size > 1, 'the order is always the same');   // by chance: once in a million runs
});

// Processes that work by the clock, one of them by a clock that is stopped in the others' turns, and one that works for its
// clients only.
test('in turns a server is charged with its work by the clock as if it were up alone, not once for each that takes turns', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'mora-clock-')), file = join(folder, 'clock');
  t.after(() => rmSync(folder, {recursive: true}));
  writeFileSync(file, Buffer.alloc(8));
  const works = "const bytes = Buffer.alloc(3e6); setInterval(() => require('crypto').createHash('sha256').update(bytes).digest(), 20)";
  const [free, stopped] = [{}, {LD_PRELOAD: binary('bench_clock.so'), BENCH_CLOCK: file}].map(env => {
    const child = adopt(spawn(process.execPath, ['-e', works], {stdio: 'ignore', env: {...process.env, ...env}}));
    t.after(() => child.kill('SIGKILL'));
    return child.pid;
  });
  const server = await floor(t, 'bench_epoll');
  const words = [...QUICK, '--seconds', '0.8', 'fanout', '--clients', '10', '--rate', '2000', '--turn', '0.1', '--clock', file,
    '--pids', `free=${free}`, '--pids', `stopped=${stopped}`, ...plain(server)];
  const {code, stdout, stderr} = await run('bench_load', words, {input: `${process.hrtime.bigint() + 500_000_000n} 1 4\n`});
  assert.equal(code, 0, stderr);
  const {own_s: own, aside_s: aside, groups} = JSON.parse(stdout.slice('ready\n'.length));
  assert(own >= 0.7 && aside > 2 * own, `${own} s of its own, ${aside} s of others`);
  const ratio = ({cpu_s: mine, cpu_s_aside: rest}) => mine / own / (rest / aside);
  const between = (low, value, high, what) => assert(value > low && value <= high, `${what}: ${value}, ${JSON.stringify(groups)}`);
  between(0.5, ratio(groups.free), 2, 'by the clock');
  between(3, ratio(groups.stopped), Infinity, 'by a clock that is stopped');
  between(0.5, groups.stopped.cpu_s / groups.free.cpu_s, 2, 'in its own turns');
  between(5, ratio(groups.server), Infinity, 'for its clients');
  assert.equal(readFileSync(file).readBigUInt64LE() >> 63n, 0n, 'the clock goes on');
  const alone = await load(['fanout', '--clients', '10', '--rate', '2000', ...plain(server)]);
  assert.deepEqual([alone.aside_s, alone.groups.server.cpu_s_aside], [0, 0]);
});

test('what cannot be measured ends the run', async t => {
  const {code, stderr} = await run('bench_load', ['fanout', '--dialect', 'bayeux', '--url', 'ws://127.0.0.1:1/']);
  assert.equal(code, 1);
  assert.match(stderr, /Connection refused/);
  const broker = await startBroker(t);
  assert.match(await load(['fanout', '--dialect', 'plain', '--url', `ws://${broker.address('broker')}/nowhere`], 1), /the upgrade was refused/);
  assert.equal((await run('bench_load', ['fanout'])).code, 2);
  assert.equal((await run('bench_load', ['fanout', '--dialect', 'bayeux', '--url', 'ws://127.0.0.1:1/', '--rate', '1', '--spin', '--processes', '2'])).code, 2);
  assert.match((await run('bench_load', [...QUICK, 'fanout', '--turn', '0.1', ...bayeux(broker)])).stderr, /nobody says when turns begin/);
  assert.match((await run('bench_load', [...QUICK, 'fanout', '--turn', '0.1', '--clock', '/nowhere', ...bayeux(broker)])).stderr, /no such clock/);
});

test('ratios, intervals and verdicts', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.deepEqual(estimate([5, 5, 5]), {middle: 5, low: 5, high: 5});
  assert.deepEqual(estimate([4, 1, 2]), {middle: 2.25, low: 1, high: 4});
  assert.deepEqual(estimate([1, 2, 3, 4, 5, 6]), {middle: 3.5, low: 1, high: 6});
  // By the tables for signed ranks: the 6th of the means from each end for 9 values, the 59th for 21.
  assert.deepEqual(estimate([1, 2, 3, 4, 5, 6, 7, 8, 9]), {middle: 5, low: 2.5, high: 7.5});
  const halves = Array.from({length: 21}, (_, i) => 2 ** i), means = halves.flatMap((a, i) => halves.slice(i).map(b => (a + b) / 2)).sort((a, b) => a - b);
  assert.deepEqual(estimate(halves), {middle: median(means), low: means[58], high: means[means.length - 59]});
  assert.deepEqual(pairedRatio([1, 2, 4], [2, 4, 8]), {ratio: 0.5, low: 0.5, high: 0.5, rounds: 3});
  const rounds = {a: [1.2, 1.2, 1.2], b: [1, 1, 1]}, result = {out: {c: 'gone'}, rounds: Object.fromEntries(Object.entries(rounds).map(([name, list]) => [name, list.map(cpu => ({cpu}))]))};
  const verdict = target => judge({value: 'cpu', of: 'a', against: 'b', ...target}, result).verdict;
  assert.equal(verdict({limit: 1.25}), 'holds');
  assert.equal(verdict({limit: 1.19}), 'misses');
  assert.equal(verdict({limit: 1, lowest: true}), 'misses');
  assert.equal(verdict({limit: 1.1, atLeast: true}), 'holds');
  assert.equal(verdict({against: undefined, limit: 1.2}), 'holds');
  assert.equal(verdict({against: 'c', limit: 1}), 'not measured');
  assert.equal(judge({value: 'cpu', of: 'a', against: 'c', limit: 1, lowest: true}, {...result, slow: ['c']}).verdict, 'holds', 'who does not reach the rate is not the lowest');
  assert.equal(judge({value: 'cpu', of: 'c', against: 'a', limit: 1, lowest: true}, {...result, slow: ['c']}).verdict, 'not measured');
  // What is missed names the floor, unless that is what was compared with; what holds needs none.
  const withFloor = (target, floor) => judge({value: 'cpu', of: 'a', against: 'b', ...target}, {out: {}, rounds: {...result.rounds, f: [{cpu: 1.1}, {cpu: 1.1}, {cpu: 1.1}]}}, {floor}).floor;
  assert.deepEqual(withFloor({limit: 1}, 'f'), {name: 'f', ratio: 1.1, low: 1.1, high: 1.1, rounds: 3, verdict: 'misses'});
  assert.equal(withFloor({limit: 1.15}, 'f').verdict, 'holds');
  for (const none of [withFloor({limit: 1.25}, 'f'), withFloor({limit: 1}, 'b'), withFloor({limit: 1}, 'nobody'), withFloor({limit: 1})]) assert.equal(none, undefined);
  // What is missed against the floor names the floor against itself, and whether two that are the same would have held.
  const again = (one, limit) => judge({value: 'cpu', of: 'a', against: 'b', limit}, {out: {}, rounds: {...result.rounds, 'b again': [1, 1, one].map(cpu => ({cpu}))}}, {floor: 'b', again: 'b again'});
  assert.deepEqual(again(1, 1.15).itself, {name: 'b', ratio: 1, low: 1, high: 1, rounds: 3, tells: true});
  assert.equal(again(1, 1.25).itself, undefined, 'what holds needs none');
  for (const [one, tells] of [[1.1, true], [1.2, false], [0.9, true], [0.8, false]]) assert.equal(again(one, 1.15).itself.tells, tells, `${one}`);
  assert.equal(again(1.1, 1.15).floor, undefined);
  const {entries: [{check}]} = figures.find(({id}) => id === 'authority-storm');
  const storm = authority => () => check({clients: 5, numbers: {authority: {requests: 10, asked: 30, allowed: 30, failures: 0, ...authority}}});
  storm({})();
  for (const wrong of [{requests: 11}, {asked: 29}, {allowed: 29}, {failures: 1}]) assert.throws(storm(wrong), /the authority/);
});

test('rounds of two runs count together, and stay pairs', () => {
  const rounds = values => values.map(cpu => ({cpu, aside: null})), run = (all, more) => ({id: 'x', out: {}, slow: [], rounds: Object.fromEntries(Object.entries(all).map(([name, values]) => [name, rounds(values)])), ...more});
  const before = run({a: [2, 4, 6], b: [1, 2], c: [1, 1], d: [5]}, {slow: ['e'], out: {e: 'slow'}}), after = run({a: [8, 10], b: [4, 5], d: []}, {slow: ['e'], out: {c: 'failed', e: 'slow'}});
  const all = joined(JSON.parse(JSON.stringify(before)), after);
  assert.deepEqual(all.rounds, {a: rounds([2, 4, 6, 8, 10]), b: [...rounds([1, 2]), null, ...rounds([4, 5])], d: [...rounds([5]), null, null, null, null]});
  assert.deepEqual([all.out, all.slow], [{c: 'failed', e: 'slow'}, ['e']]);
  const figure = {values: {cpu: {}, aside: {}}, targets: [{value: 'cpu', of: 'a', against: 'b', limit: 2}, {value: 'cpu', of: 'b', limit: 5}, {value: 'cpu', of: 'a', against: 'd', limit: 1}, {value: 'cpu', of: 'a', against: 'c', limit: 1}]};
  const {entries, targets} = summarised(figure, all);
  assert.deepEqual(entries.map(({name, values}) => [name, values.cpu, values.aside]), ['a', 'b', 'd'].map((name, i) => [name, estimate([[2, 4, 6, 8, 10], [1, 2, 4, 5], [5]][i]), null]));
  assert.deepEqual(targets.map(({ratio, low, high, rounds: count, verdict}) => [ratio, low, high, count, verdict].map(each => (typeof each === 'number' ? Number(each.toFixed(9)) : each))),
    [[2, 2, 2, 4, 'holds'], [3, 1, 5, 4, 'holds'], [0.4, 0.4, 0.4, 1, 'holds'], [undefined, undefined, undefined, undefined, 'not measured']]);
});

test('who failed in the run before is not taken for slow when rounds are added; who was slow is', async t => {
  const rounds = new Rounds({cpus: {server: 0, load: 0}, skipped: {}, say: () => {}});
  t.after(() => rounds.end());
  const names = ['failed', 'slow'], figure = {id: 'x', load: {}, values: {cpu: {}}, entries: names.map(name => ({name, server: name})),
    targets: names.map(against => ({value: 'cpu', of: 'a', against, limit: 1, lowest: true}))};
  const before = {out: {failed: 'failed: lost 64', slow: 'its most was 1'}, slow: ['slow'], rounds: {a: [{cpu: 1}]}};
  const {slow, out, targets} = await rounds.run(figure, 1, before);
  assert.deepEqual([slow, out, targets.map(({verdict}) => verdict)], [['slow'], before.out, ['not measured', 'holds']]);
});

test('who takes turns is told its place when all have come who do not stay away', async () => {
  const meeting = new Meeting(4), [a, b, c, d] = [0, 1, 2, 3].map(i => meeting.ticket(i));
  const told = [d.come(), a.come()];
  b.leave();
  b.leave();
  a.leave();   // it has come
  told.push(c.come());
  const [last, first, between] = (await Promise.all(told)).map(line => line.trim().split(' ').map(Number));
  assert.deepEqual([first, between, last].map(([, place, count]) => [place, count]), [[0, 3], [1, 3], [2, 3]]);
  assert(first[0] === between[0] && between[0] === last[0]);
});

test('every target names entries and values of its figure; the page holds them all', () => {
  for (const figure of [...figures, ...quickFigures]) {
    const names = figure.entries.map(({name}) => name);
    assert.equal(new Set(names).size, names.length, figure.id);
    assert(!figure.chart || figure.values[figure.chart], figure.id);
    if (figures.includes(figure)) assert.equal(figure.entries.some(({turns}) => turns), figure.turn !== undefined, figure.id);
    if (figures.includes(figure)) assert(!figure.floor || names.includes(figure.floor), `${figure.id}: ${figure.floor}`);
    if (figures.includes(figure) && figure.again) assert.deepEqual({...figure.entries.find(({name}) => name === figure.again), name: figure.floor}, figure.entries.find(({name}) => name === figure.floor), 'the same again');
    for (const {of, against, value} of figure.targets) {
      assert(names.includes(of) && (!against || names.includes(against)), `${figure.id}: ${of}, ${against}`);
      assert(figure.values[value], `${figure.id}: ${value}`);
    }
  }
  const figure = {id: 'x', title: 'Title', chart: 'cpu', units: {cpu: 'us'}, out: {c: 'gone'}, entries: [{name: 'a', values: {cpu: {middle: 1.5, low: 1, high: 2}}}],
    targets: [{value: 'cpu', of: 'a', against: 'b', limit: 1.25, ratio: 1.5, low: 1, high: 2, rounds: 7, verdict: 'misses'},
      {value: 'cpu', of: 'a', against: 'd', limit: 1, lowest: true, ratio: 1.5, low: 1, high: 2, rounds: 7, verdict: 'misses', floor: {name: 'f', ratio: 1.1, low: 0.9, high: 1.2, rounds: 7, verdict: 'misses'}},
      ...[true, false].map(tells => ({value: 'cpu', of: 'a', against: 'f', limit: 1.25, ratio: 1.5, low: 1, high: 2, rounds: 7, verdict: 'misses', itself: {name: 'f', ratio: 1.1, low: 0.9, high: 1.2, rounds: 7, tells}}))]};
  const page = pageText({machine: {cpu: 'C', memory: '1 GB', kernel: '6', descriptors: 20000}, versions: {mora: 'v'}, date: 'today', minutes: 1, figures: [figure]});
  assert.match(page, /Title: cpu of a over b \| <= 1\.25 \| 1\.5 \| 1 to 2 \| 7 \| \*\*misses\*\* \|/);
  assert.match(page, /Title: cpu of a over d \| < 1 \| 1\.5 \| 1 to 2 \| 7 \| \*\*misses\*\*; so does f in its place: 1\.1, 0\.9 to 1\.2 \|/);
  const row = String.raw`Title: cpu of a over f \| <= 1\.25 \| 1\.5 \| 1 to 2 \| 7 \| \*\*misses\*\*; f over itself: 1\.1, 0\.9 to 1\.2`;
  assert.match(page, new RegExp(`${row} \\|`));
  assert.match(page, new RegExp(`${row}: these rounds cannot tell 1 from 1\\.25 \\|`));
  assert.match(page, /\| a \| 1\.5 <sub>1 to 2<\/sub> \|/);
  assert.match(page, /c: gone\./);
  assert.match(barChart({title: 'a < b', unit: 'us', bars: [{name: 'a', value: 1, low: 1, high: 2}]}), /a &lt; b/);
});
