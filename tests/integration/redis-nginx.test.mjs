// SPDX-License-Identifier: Apache-2.0
// A cluster behind real nginx, round robin without sticky sessions: nodes are killed, drained and started
// again, nginx is reloaded and loses a worker, with MORA_TEST_LONG Redis fails over, too. What each kind of
// client may lose or get twice is the table in docs/redis.md, "Behind a proxy".

import assert from 'node:assert/strict';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {test} from './lib/suite.mjs';
import {sleep, until} from './lib/wait.mjs';
import {Acknowledger, Renewer, Repeater, Streamer} from './support/behind.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Press, Resident, settleIn, verdict} from './support/load.mjs';
import {isInstalled, startNginx} from './support/proxies.mjs';
import {startSentinelSet} from './support/sentinel.mjs';
import {publish} from './support/wire.mjs';

const LONG = Boolean(process.env.MORA_TEST_LONG);
const CLIENTS = LONG ? 120 : 24;
const CHANNELS = 6;
const RATE = LONG ? 200 : 100;

// TLS ends at nginx.
const SET = {'broker.timeout': '20s', 'broker.trusted_proxies': ['127.0.0.1'], 'tls.certificate': null, 'tls.key': null};

// kinds of clients; exact: nothing comes twice, whatever happens.
const KINDS = [
  {name: 'websocket', kind: Resident, transport: 'websocket'},
  {name: 'polls, same id again', kind: Repeater, transport: 'long-polling'},
  {name: 'polls, new ids', kind: Renewer, transport: 'long-polling'},
  {name: 'eventsource', kind: Streamer, transport: 'eventsource', exact: true},
  {name: 'websocket with ack', kind: Acknowledger, transport: 'websocket', exact: true},
  {name: 'polls with ack', kind: Acknowledger, transport: 'long-polling', exact: true},
];

async function start(t, {nodes, redis}) {
  needsRedis(t);
  if (!isInstalled('nginx')) t.skip('nginx is not installed');
  const cluster = await startCluster(t, {nodes, redis, set: SET});
  const nginx = await startNginx(t, cluster.nodes, {workers: 2});
  // One place for all clients, whatever they come back from.
  const front = {bayeux: nginx.url, socket: nginx.url.replace('https', 'wss'), running: true};
  return {cluster, nginx, front, through: {nodes: [front], after: () => front}};
}

async function settle(t, through) {
  const residents = await settleIn(t, through, CLIENTS, i => ({...KINDS[i % KINDS.length], patterns: [`/n/${i % CHANNELS}`, `/all/**`]}));
  residents.forEach((each, i) => {
    const {name: sort, exact} = KINDS[i % KINDS.length];
    Object.assign(each, {sort, exact});
    assert.notEqual(each.acks, false, 'the broker offers ack');
  });
  return residents;
}

// Counts by kind, for the log: what came twice, what was not got, breaks.
function summary(press, residents) {
  return KINDS.map(({name}) => {
    const those = residents.filter(({sort}) => sort === name);
    const sum = count => those.reduce((all, each) => all + count(each), 0);
    return `${name}: ${sum(({first}) => first.size)} got, ${sum(({arrivals, first}) => arrivals.length - first.size)} twice, ` +
      `${sum(each => press.entries.filter(entry => each.mayLack(entry) && entry.outcome === 'acknowledged' && !each.first.has(entry.n) && each.patterns.includes(entry.channel)).length)} lacking, ` +
      `${sum(({breaks}) => breaks.length)} breaks`;
  }).join('; ');
}

const quiet = residents => assert.ok(residents.every(({handshakes, told}) => handshakes === 1 && told.length === 0), 'nobody was told to handshake');

test('clients behind nginx: nodes are killed and drained, nginx is reloaded and loses a worker', {timeout: LONG ? 600000 : 180000}, async t => {
  const set = LONG && await startSentinelSet(t);
  const {cluster, nginx, front, through} = await start(t, {nodes: LONG ? 3 : 2, redis: set || {}});
  const residents = await settle(t, through);
  const press = new Press(cluster, {rate: RATE, batch: 2, by: 'both', front, channel: n => `/n/${n % CHANNELS}`}).start(t);
  t.onFailure(() => `${JSON.stringify(press.outcomes)}\n${summary(press, residents)}`);
  const steps = {
    async 'a node is killed and started again'(round) {
      const node = cluster.nodes[round % cluster.nodes.length];
      const from = Date.now();
      await node.kill();
      for (const each of residents) each.hidden.push({from, to: Date.now()});   // nginx asks another one, and nobody notices
      await press.more(RATE);
      await node.start();
    },
    async 'an nginx worker is killed'() {
      const [victim] = nginx.workers();
      process.kill(victim, 'SIGKILL');
      await until(() => nginx.workers().length >= 2 && !nginx.workers().includes(victim), 'nginx to have another worker');
    },
    'nginx is reloaded': () => nginx.reload(),
    ...(LONG && {async 'Redis fails over'() {
      const old = set.current;
      await old.kill();
      await set.promoted(old);
      await press.more(RATE);
      old.replicaOf = set.current;
      await old.start();
      await set.whole();
    }}),
  };
  for (let round = 0; round < (LONG ? 3 : 1); round++) {
    for (const [what, step] of Object.entries(steps)) {
      t.log(what);
      await press.more(RATE);
      await step(round);
    }
  }
  await press.more(RATE);
  await press.stop();
  await verdict(press, residents);
  t.log(`${press.entries.length} published, ${JSON.stringify(press.outcomes)}. ${summary(press, residents)}`);
  for (const {exact, arrivals, first, sort} of residents) if (exact) assert.equal(arrivals.length, first.size, `${sort}: something came twice`);
  quiet(residents);
  for (const {name} of KINDS) assert.ok(residents.some(({sort, breaks}) => sort === name && breaks.length > 0), `${name}: somebody was cut off`);
  assert.ok(await cluster.sum('moves') > 0);
});

test('clients behind nginx: each node is drained and started again, nobody loses anything or gets it twice', {timeout: 180000}, async t => {
  const {cluster, front, through} = await start(t, {nodes: LONG ? 3 : 2});
  const residents = await settle(t, through);
  const press = new Press(cluster, {rate: RATE, batch: 2, by: 'both', front, channel: n => `/n/${n % CHANNELS}`}).start(t);
  t.onFailure(() => `${JSON.stringify(press.outcomes)}\n${summary(press, residents)}`);
  await press.more(RATE);
  for (const node of cluster.nodes) {
    await node.stop();
    await press.more(RATE);
    await node.start();
    await press.more(3 * RATE);   // longer than nginx leaves it aside (fail_timeout)
  }
  await press.stop();
  const doubled = await verdict(press, residents);
  t.log(`${press.entries.length} published, ${JSON.stringify(press.outcomes)}. ${summary(press, residents)}`);
  assert.equal(doubled, 0, 'a clean end doubles nothing');
  for (const each of residents) assert.equal(press.entries.filter(({n, channel, outcome}) => outcome === 'acknowledged' && each.patterns.includes(channel) && !each.first.has(n)).length, 0, each.sort);
  quiet(residents);
});

// The bound itself: an answer that nginx has taken and that the client does not get.
test('an answer that dies between nginx and the client: who repeats the id gets it again, who does not has lost that one', async t => {
  const {cluster, front} = await start(t, {nodes: 2});
  const [node] = cluster.nodes;
  const fate = async (url, ids) => {
    const session = new PollSession(url);
    await session.handshake();
    await session.subscribe('/bound');
    for (const id of ['first', 'second']) await session.connect({id, timeout: 0});
    const poll = session.open([session.message.connect({id: ids[0]})]);
    await until(async () => (await cluster.sum('transport.polls')) === 1, 'the poll to be held');
    (await poll.socket).pause()._handle.readStop();   // what comes stays in the kernel
    await publish(node.bayeux, '/bound', 1);
    await until(async () => (await cluster.sum('transport.polls')) === 0, 'the poll to be answered');
    await sleep(200);   // its way through nginx, of which nobody tells
    await poll.reset();
    await publish(node.bayeux, '/bound', 2);
    return deliveries(await session.connect({id: ids[1], timeout: 0})).map(({data}) => data);
  };
  assert.deepEqual(await fate(front.bayeux, ['third', 'third']), [1, 2], 'as Faye does');
  assert.deepEqual(await fate(front.bayeux, ['third', 'fourth']), [2], "nginx had taken it, and nginx is who the broker sees");
  assert.deepEqual(await fate(node.bayeux, ['third', 'fourth']), [1, 2], 'without a proxy the reset is seen');
});
