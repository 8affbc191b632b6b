// SPDX-License-Identifier: Apache-2.0
// What is measured, and what has to hold.
//
// A figure is a load and its entries: {name, server, ...changes of the load, settings, flags}. All entries
// are measured once in each round, in an order that changes (some in the first `rounds` only). There are ROUNDS of them, and
// more where a target compares two that are close: the interval is narrower then. Entries with `turns` take turns on the
// core, of `turn` seconds. `values` picks numbers from a report of bench_load. A target compares the value of one entry with that of another, in pairs of one round
// (`against`), or with a fixed number; it holds when the 95 % interval ends at or below `limit` (with
// `atLeast`: begins at or above). With `numbers` a report has what the server counts itself, too; an entry's
// `check(report)` throws when what has to hold in every round does not. Where a target is missed, the page says what the
// entry `floor` would come to in its place; where it is missed against the floor, what the floor comes to against itself,
// which is the entry `again`.

const groups = report => Object.values(report.groups);
const sum = values => values.reduce((all, each) => all + each, 0);

// us of CPU of all the server's processes for each delivery.
const cpu = report => sum(groups(report).map(each => each.cpu_us_per_delivery));
const node = report => groups(report)[0].cpu_us_per_delivery;
// What it used while others had their turns, which is not in the above: in terms of that. Nothing without turns.
const aside = report => (report.aside_s > 0 ? 100 * sum(groups(report).map(each => each.cpu_s_aside)) / sum(groups(report).map(each => each.cpu_s)) : NaN);
const asideOf = {aside: {of: aside, unit: '% of its CPU besides, in the turns of others'}};
const rate = report => report.per_second;
const batch = report => report.per_read;
const p50 = report => report.latency_ms.p50;
const p99 = report => report.latency_ms.p99;
const p999 = report => report.latency_ms.p999;
const memory = report => sum(groups(report).map(each => each.pss_per_client));
const connects = report => report.connects_per_second;

const us = 'us of CPU per delivery', ms = 'ms';
const entry = (server, more = {}) => ({name: server, server, ...more});
const all = (list, make = entry) => list.map(server => make(server));
const few = (server, more = {}) => entry(server, {rounds: 3, ...more});   // no target speaks of it
const close = (server, more = {}) => entry(server, {rounds: 17, ...more});
const inTurns = (server, more = {}) => entry(server, {rounds: 11, turns: true, seconds: 1.5, ...more});
const websocketPeers = ['uwebsockets', 'centrifugo', 'nchan', 'cometd', 'faye', 'faye-redis'];
const peersBut = (...others) => websocketPeers.filter(name => !others.includes(name));
const below = (value, list, of = 'mora') => list.map(against => ({value, of, against, limit: 1, lowest: true}));

const fanout = (clients, more) => ({scenario: 'fanout', kind: 'websocket', clients, warm: 0.2, seconds: 0.8, settle: 0.15, ...more});
const throughput = {cpu: {of: cpu, unit: us}, rate: {of: rate, unit: 'deliveries a second'}, batch: {of: batch, unit: 'deliveries in one read of a client'}, ...asideOf};
const latency = {p50: {of: p50, unit: ms}, p99: {of: p99, unit: ms}, p999: {of: p999, unit: ms}, cpu: {of: cpu, unit: us}, ...asideOf};

const paced = (deliveries, {turn, again, ...nearly}) => ({
  floor: 'epoll', again, id: `latency-${deliveries}`, title: `Latency at ${deliveries.toLocaleString('en')} deliveries a second, 1,000 subscribers`, chart: 'p99',
  load: fanout(1000, {rate: deliveries, seconds: 2}), values: latency, capacity: deliveries, turn,
  entries: [...all(['mora', 'epoll', 'uwebsockets'], server => entry(server, nearly)), entry('nchan', turn ? nearly : {}),
    ...(again ? [entry('epoll', {name: again, ...nearly})] : []), ...all(peersBut('uwebsockets', 'nchan'))],
  targets: ['p50', 'p99'].flatMap(value => [{value, of: 'mora', against: 'epoll', limit: 1.25}, ...below(value, websocketPeers)]),
});

// A minute of pings and connects pressed into five seconds, in which each client has one of both.
const IDLE = {'broker.timeout': '5s', 'broker.ping': '5s'};

// 5,000 handshakes and 25,000 subscriptions, five in a frame: a request for each frame at most, and nobody is refused.
function checkAuthority({numbers: {authority}, clients}) {
  const found = {requests: authority.requests <= 2 * clients, asked: authority.asked, allowed: authority.allowed, failures: authority.failures};
  const wanted = {requests: true, asked: 6 * clients, allowed: 6 * clients, failures: 0};
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`the authority: ${JSON.stringify(authority)}`);
}
const RULES = [{channel: '/bench/**', subscribe: 'any'}];

export const ROUNDS = 9;

export const figures = [
  {
    floor: 'epoll-batch', id: 'fanout-1000-8', title: 'Fan-out to 1,000 subscribers, 8 messages in flight', chart: 'cpu',
    load: fanout(1000, {'in-flight': 8}), values: throughput, turn: 0.06,
    entries: [...all(['mora', 'epoll-batch', 'uwebsockets'], server => inTurns(server, {rounds: 17})), ...all(['mora-redis', 'epoll', ...peersBut('uwebsockets')])],
    targets: [{value: 'cpu', of: 'mora', against: 'epoll-batch', limit: 1.25}, {value: 'cpu', of: 'mora', against: 'faye', limit: 1 / 12},
      {value: 'cpu', of: 'mora-redis', against: 'faye-redis', limit: 1 / 30}, ...below('cpu', ['centrifugo', 'cometd', 'nchan', 'uwebsockets'])],
  },
  {
    floor: 'epoll', id: 'fanout-1000-1', title: 'Fan-out to 1,000 subscribers, 1 message in flight', chart: 'cpu',
    load: fanout(1000, {'in-flight': 1}), values: throughput, turn: 0.06,
    entries: [...all(['mora', 'epoll', 'uwebsockets', 'nchan'], server => inTurns(server, {rounds: 17})), ...all(['lws', ...peersBut('uwebsockets', 'nchan')])],
    targets: [{value: 'cpu', of: 'mora', against: 'epoll', limit: 1.25}, ...below('cpu', websocketPeers)],
  },
  {
    id: 'fanout-sizes', title: 'Fan-out to 100 and to 10,000 subscribers, 8 messages in flight', load: fanout(1000, {'in-flight': 8}), values: throughput,
    turn: 0.8,   // 80,000 deliveries are in flight
    entries: [100, 1000, 10000].flatMap(clients => [
      clients > 100 ? inTurns('mora', {name: `mora ${clients}`, clients, seconds: 3.2}) : few('mora', {name: `mora ${clients}`, clients}),
      few('epoll-batch', {name: `epoll-batch ${clients}`, clients})]),
    targets: [{value: 'cpu', of: 'mora 10000', against: 'mora 1000', limit: 1.3}],
  },
  paced(20000, {turn: 0.1, turns: true, rounds: 11, seconds: 4}),
  paced(100000, {rounds: 19, again: 'epoll again'}),   // all the time: it has to keep up
  {
    floor: 'epoll', id: 'ping-pong', title: 'Ping-pong: one message at a time, one client to itself', chart: 'cpu',
    load: fanout(1, {kind: 'self', 'in-flight': 1}), values: {...throughput, p50: {of: p50, unit: ms}}, turn: 0.06,
    entries: [...all(['mora', 'epoll', 'faye'], inTurns), ...all(peersBut('faye'), few)],
    targets: [{value: 'cpu', of: 'mora', against: 'epoll', limit: 1.5}, {value: 'cpu', of: 'mora', against: 'faye', limit: 1 / 3}],
  },
  {
    floor: 'epoll', id: 'publish-heavy', title: 'One publisher, one subscriber, 64 messages in flight', chart: 'cpu',
    load: fanout(1, {'in-flight': 64}), values: throughput, turn: 0.06,
    entries: [...all(['mora', 'epoll', 'epoll-batch', 'faye']), ...all(['mora-redis', 'faye-redis'], inTurns), ...all(peersBut('faye', 'faye-redis'), few)],
    targets: [{value: 'cpu', of: 'mora', against: 'epoll', limit: 1.5}, {value: 'cpu', of: 'mora', against: 'faye', limit: 1 / 3},
      {value: 'rate', of: 'mora-redis', against: 'faye-redis', limit: 5, atLeast: true}],
  },
  {
    id: 'channels', title: '1,000 channels with 5 subscribers each, 64 messages in flight', chart: 'cpu',
    load: fanout(5000, {channels: 1000, 'in-flight': 64}), values: throughput,
    entries: all(['mora', 'epoll-batch', ...websocketPeers]), targets: [], rounds: 3,
  },
  {
    floor: 'lws 1000', id: 'polling', title: 'Long polling, 1 message in flight', load: fanout(1000, {kind: 'polling', 'in-flight': 1}), values: throughput,
    entries: [100, 1000, 4000].flatMap(clients => ['mora', 'lws', ...(clients === 4000 ? [] : ['faye', 'cometd', 'nchan'])]
      .map(server => (clients === 100 || ['cometd', 'nchan'].includes(server) ? few : clients === 1000 ? close : entry)(server, {name: `${server} ${clients}`, clients}))),
    targets: [{value: 'cpu', of: 'mora 1000', against: 'lws 1000', limit: 1.4}, {value: 'cpu', of: 'mora 4000', against: 'lws 4000', limit: 1.4},
      {value: 'cpu', of: 'mora 4000', against: 'mora 1000', limit: 1.3}, {value: 'cpu', of: 'mora 1000', against: 'faye 1000', limit: 1 / 5}],
  },
  {
    id: 'idle', title: '15,000 idle clients, each on its own channel', fresh: true,
    load: {scenario: 'idle', kind: 'idle', clients: 15000, channels: 15000, warm: 1, seconds: 5, settle: 0.5, concurrency: 256, block: 100000},
    values: {cpu: {of: report => groups(report)[0].cpu_s * 1000 / report.seconds, unit: 'ms of CPU a second'}, memory: {of: memory, unit: 'bytes of PSS per client'}},
    entries: [entry('mora', {settings: IDLE}), entry('epoll', {flags: ['--ping', '5000', '--hold', '5000']})],
    targets: [{value: 'cpu', of: 'mora', against: 'epoll', limit: 1.5}, {value: 'memory', of: 'mora', limit: 2560}],
  },
  {
    id: 'memory', title: '2,000 idle clients, each on its own channel', fresh: true, chart: 'memory', rounds: 3,
    load: {scenario: 'idle', kind: 'idle', clients: 2000, channels: 2000, warm: 0, seconds: 0.1, settle: 0.5},
    values: {memory: {of: memory, unit: 'bytes of PSS per client'}},
    entries: all(['mora', 'epoll', 'lws', ...websocketPeers]), targets: [],
  },
  {
    floor: 'epoll-tls', id: 'tls', title: '5,000 idle clients over TLS', fresh: true, rounds: 3,
    load: {scenario: 'idle', kind: 'websocket', clients: 5000, channels: 5000, warm: 0, seconds: 0.1, settle: 0.5, concurrency: 32},
    values: {memory: {of: memory, unit: 'bytes of PSS per client'}, connect: {of: report => report.connect_cpu_us, unit: 'us of CPU per client'}},
    entries: all(['mora-tls', 'epoll-tls']), targets: [{value: 'memory', of: 'mora-tls', limit: 12288}],
  },
  {
    id: 'connect', title: 'Connect, upgrade, handshake and subscribe: 1,000 to 15,000 clients', fresh: true,
    load: {scenario: 'connect', kind: 'connect', clients: 15000, channels: 15000, settle: 0.3},
    values: {cpu: {of: report => report.connect_cpu_us, unit: 'us of CPU per client'}, rate: {of: connects, unit: 'clients a second'},
      flat: {of: report => report.blocks.at(-1).cpu_us / report.blocks[0].cpu_us, unit: 'the last 1,000 clients in terms of the first'}},
    entries: [entry('mora', {rounds: 15}), entry('lws')],
    targets: [{value: 'cpu', of: 'mora', against: 'lws', limit: 1.25}, {value: 'flat', of: 'mora', limit: 1.2}],
  },
  {
    id: 'storm', title: 'Reconnect storm: 10,000 clients come back to 20 missed messages each', fresh: true, rounds: 3, quick: false,
    load: {scenario: 'storm', kind: 'websocket', clients: 10000, channels: 10000, missed: 20, others: 200000, settle: 0.3, concurrency: 256},
    values: {cpu: {of: report => groups(report)[0].cpu_s * 1000 / report.clients, unit: 'ms of CPU per client'}, time: {of: report => report.seconds, unit: 's until all had all'}},
    entries: [entry('mora')], targets: [{value: 'cpu', of: 'mora', limit: 1}],
  },
  {
    id: 'authority-storm', title: 'Storm: 5,000 handshakes and 25,000 subscriptions, with an authority and without', fresh: true, numbers: true,
    load: {scenario: 'connect', kind: 'five', clients: 5000, channels: 5000, settle: 0.1, concurrency: 512},
    values: {lag: {of: report => report.numbers.loop.p999_us / 1000, unit: 'ms, 99.9 % of the turns of its loop'}, cpu: {of: report => report.connect_cpu_us, unit: 'us of CPU per client'},
      requests: {of: report => report.numbers.authority.requests, unit: 'requests to the authority'}, rate: {of: connects, unit: 'clients a second'}},
    entries: [entry('mora-authority', {name: 'authority', rounds: 15, check: checkAuthority}), entry('mora', {name: 'rules', rounds: 15, settings: {'access.rules': RULES}})],
    targets: [{value: 'requests', of: 'authority', limit: 10000}, {value: 'lag', of: 'authority', against: 'rules', limit: 2}],
  },
  {
    id: 'slow', title: '1,000 subscribers at 20,000 deliveries a second, 10 % of them do not read', rounds: 3,
    load: {scenario: 'slow', kind: 'websocket', clients: 1000, rate: 20000, slow: 10, seconds: 3, settle: 0.2, warm: 0.3},
    values: latency, entries: [entry('mora', {name: 'mora, 10 % slow'}), entry('mora', {name: 'mora, none slow', slow: 0})], targets: [],
  },
  {
    id: 'redis', title: 'On Redis: one node', load: fanout(1000, {'in-flight': 8}), turn: 0.06,
    values: {node: {of: node, unit: `${us}, of the node`}, ...throughput},
    entries: [inTurns('mora'), inTurns('mora-redis'), few('mora-redis-2', {name: 'two nodes'})],
    targets: [{value: 'node', of: 'mora-redis', against: 'mora', limit: 1.15}],
  },
  {
    id: 'redis-publish', title: 'On Redis: 50 publishes a second to 100 and to 1,000 subscribers', load: fanout(1000, {rate: 62500}), turn: 0.2,   // in three quarters of a turn
    values: {redis: {of: report => report.groups.redis.cpu_s * 1e6 / report.publishes, unit: 'us of CPU of Redis per publish'}, ...asideOf},
    entries: [inTurns('mora-redis', {name: '1,000 subscribers', seconds: 4}), inTurns('mora-redis', {name: '100 subscribers', clients: 100, rate: 6250, seconds: 4})],
    targets: [{value: 'redis', of: '1,000 subscribers', against: '100 subscribers', limit: 1.15}],
  },
  {
    id: 'workers', title: 'Two workers on one core, against one', load: fanout(1000, {'in-flight': 8}), turn: 0.06,
    values: {cpu: {of: node, unit: `${us}, without Redis`}, rate: throughput.rate, ...asideOf},
    entries: [inTurns('mora-workers-1'), inTurns('mora-workers-2')], targets: [{value: 'cpu', of: 'mora-workers-2', against: 'mora-workers-1', limit: 1.1}],
  },
];

// The short form, which later work is held against: Mora and the floors, smaller where size does not matter.
const QUICK = {
  'fanout-1000-8': {}, 'fanout-1000-1': {}, 'ping-pong': {}, 'publish-heavy': {}, 'polling': {}, 'connect': {clients: 3000, channels: 3000},
  'idle': {clients: 3000, channels: 3000, settle: 0.3},
};
const FLOORS = new Set(['mora', 'epoll', 'epoll-batch', 'lws', 'mora 1000', 'lws 1000']);

export const quickFigures = figures.filter(({id}) => QUICK[id]).map(figure => {
  const targets = figure.targets.filter(({of, against}) => FLOORS.has(of) && (!against || FLOORS.has(against)) && of !== against);
  const used = new Set(targets.flatMap(({of, against}) => [of, against]));
  return {...figure, targets, entries: figure.entries.filter(({name}) => used.has(name)), load: {...figure.load, ...(figure.load.scenario === 'fanout' && {seconds: 0.7}), ...QUICK[figure.id]}};
});
