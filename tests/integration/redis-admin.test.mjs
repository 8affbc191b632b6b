// SPDX-License-Identifier: Apache-2.0
// What an operator sees of several nodes and of the Redis between them: options that are refused, the
// list of nodes, the owner of a session, numbers, and ends that do not wait for a Redis that is away.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {Wire, poller, publish} from './support/wire.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {Redis, startRedis} from './support/redis.mjs';

const nodesOf = async node => (await getJson(node.admin('/v1/nodes'))).json;
const clientOf = (node, id) => getJson(node.admin(`/v1/clients/${id}`));
const check = (program, ...sets) => run(program, ['--check-config', ...sets.flatMap(set => ['--set', set])]);

test('--check-config: what no engine can be is refused, with the reason', async () => {
  const refused = [
    ['engine.url=rediss://example.org', /engine\.url: rediss:\/\/ is not supported: .*TLS/],
    ['engine.url=redis+sentinel://a:1,b:2/', /engine\.url: the name of the primary is expected/],
    ['engine.url=http://example.org', /engine\.url: redis:\/\/host:port, redis\+unix:\/\/\/path or redis\+sentinel:/],
    ['engine.url=redis://:secret@h:0/', /engine\.url: a port/],
    ['engine.namespace=a b', /engine\.namespace: expected 1 to 64 letters/],
    ['engine.namespace=', /engine\.namespace: expected 1 to 64 letters/],
    ['engine.type=disk', /engine\.type: .*memory/],
    ['engine.command_timeout=1', /engine\.command_timeout: /],
    ['limits.handshake_rate=0', /limits\.handshake_rate: /],
  ];
  for (const [set, expected] of refused) {
    const {code, stderr} = await check('mora-broker', set);
    assert.equal(code, 2, set);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /secret/);
  }
  for (const url of ['redis://127.0.0.1:6379/0', 'redis://u:p@[::1]:1/3', 'redis+unix:///x/y?db=1', 'redis+sentinel://a:1,b:2/main']) {
    for (const program of ['mora-broker', 'mora-api']) assert.equal((await check(program, 'engine.type=redis', `engine.url=${url}`)).code, 0, url);
  }
  const {code, stderr} = await check('mora-api', 'api.publish=redis');
  assert.equal(code, 2);
  assert.match(stderr, /api\.publish: redis needs engine\.type redis/);
});

test('--print-config shows engine.url without its password', async () => {
  const {stdout} = await run('mora-broker', ['--print-config', '--set', 'engine.url=redis://u:hidden@h']);
  assert.doesNotMatch(stdout, /hidden/);
});

test('/v1/nodes: all nodes, as every one of them sees them; alone and partial while Redis is away', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2});
  const api = await cluster.addPublisher(t);
  await publish(cluster.nodes[0].bayeux, '/a', 1);
  await cluster.level();
  const session = await poller(cluster.nodes[1].bayeux, '/a');
  assert.ok(session.clientId);
  const expected = [...cluster.nodes.map((node, i) => ['broker', node.address('broker'), i]), ['publisher', api.address('api'), 0]];
  const {head} = await cluster.stats(cluster.nodes[0]);
  for (const node of cluster.nodes) {
    const {nodes, partial} = await until(async () => {
      const answer = await nodesOf(node);
      return answer.nodes.length === 3 && answer.nodes.every(each => each.head === head && each.mark === head) &&
        answer.nodes.reduce((sum, {sessions}) => sum + sessions, 0) === 1 && answer;
    }, 'all nodes to have told where they stand');
    assert.equal(partial, undefined);
    assert.deepEqual(nodes.map(({role, address, sessions}) => [role, address, sessions]).sort(), expected.sort());
    assert.ok(nodes.every(({node: id, age}) => /^[0-9a-f-]{36}$/.test(id) && age < 3000));
  }
  await cluster.redis.kill();
  const answer = await nodesOf(cluster.nodes[1]);
  assert.equal(answer.partial, true);
  assert.deepEqual(answer.nodes.map(({address, sessions}) => [address, sessions]), [[cluster.nodes[1].address('broker'), 1]]);
  const {code, stdout, stderr} = await run('mora', ['--admin', cluster.nodes[1].url('admin'), 'nodes']);
  assert.deepEqual([code, stderr], [0, 'Redis does not answer: only the node that was asked is listed.\n']);
  assert.match(stdout, new RegExp(cluster.nodes[1].address('broker')));
});

test('/v1/nodes: who ends in order is not listed any more, at once', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2});
  const api = await cluster.addPublisher(t);
  const [one, two] = cluster.nodes;
  await until(async () => (await nodesOf(one)).nodes.length === 3, 'three nodes');
  await api.stop();
  assert.deepEqual((await nodesOf(one)).nodes.map(({role}) => role), ['broker', 'broker']);
  await two.stop();
  assert.deepEqual((await nodesOf(one)).nodes.map(({address}) => address), [one.address('broker')]);
});

test('/v1/nodes asked while Redis stands still is answered', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1});
  cluster.redis.pause();
  const {partial, nodes} = await nodesOf(cluster.nodes[0]);
  cluster.redis.resume();
  assert.deepEqual([partial, nodes.length], [true, 1]);
});

test('/v1/clients/<id> and mora client: owner, generation, sent, conf, lag, and when it was made, on the node it moved to', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2});
  const [one, two] = cluster.nodes;
  const session = await poller(one.bayeux, '/moves');
  const first = (await clientOf(one, session.clientId)).json;
  assert.equal(first.node, (await cluster.stats(one)).node);
  assert.equal(first.generation, 1);
  await publish(one.bayeux, '/moves', 1);
  await cluster.level();
  await sleep(1200);   // so that the time of its move is another than that of its handshake
  session.url = two.bayeux;
  await session.poll(inbox => inbox.length === 1, 'the message');
  await session.connect({timeout: 0});
  const {head, node, moves, forced_moves} = await cluster.stats(two);
  const second = (await clientOf(two, session.clientId)).json;
  assert.deepEqual([second.node, second.generation, second.lag, second.sent, second.conf], [node, 2, 0, head, head]);
  assert.deepEqual([moves, forced_moves], [1, 0]);
  assert.ok(Math.abs(second.created - first.created) < 600, `${first.created} and ${second.created}`);
  const {stdout} = await run('mora', ['--admin', two.url('admin'), 'client', session.clientId]);
  for (const [name, value] of [['node', node], ['generation', 2], ['sent', head], ['conf', head], ['lag', 0]])
    assert.match(stdout, new RegExp(`^${name} +${value}$`, 'm'));
  // Any other node tells the same, for it asks the owner.
  const third = await until(async () => {
    const {json} = await clientOf(one, session.clientId);
    return json.conf === head && json;
  }, 'the record to be written');
  for (const member of ['client', 'node', 'generation', 'created', 'sent', 'conf', 'lag', 'subscriptions']) assert.deepEqual(third[member], second[member], member);
  assert.deepEqual([third.state, third.alive, third.address, third.transport], [second.state, true, second.address, second.transport]);
  assert.ok(Math.abs(third.last_connect - second.last_connect) < 1000);
  assert.ok(Math.abs(third.deadline - Date.now() - 90000) < 90000);
  const asked = await run('mora', ['--admin', one.url('admin'), 'client', session.clientId]);
  for (const [name, value] of [['node', node], ['generation', 2], ['sent', head], ['conf', head], ['lag', 0]])
    assert.match(asked.stdout, new RegExp(`^${name} +${value}$`, 'm'));
});

test('/v1/clients/<id> on any node: one that is live, one that has ended, one of a node that died, none without Redis', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 3});
  const [one, two, three] = cluster.nodes;
  const socket = await Wire.client(t, two.socket, '/seen');
  await publish(one.bayeux, '/seen', 1);
  const {node} = await cluster.stats(two);
  const seen = await until(async () => {
    const [{json}, {head}] = [await clientOf(one, socket.clientId), await cluster.stats(one)];
    return json.state === 'live' && json.conf === head && json;
  }, 'the owner to vouch for it');
  assert.deepEqual([seen.node, seen.alive, seen.sent, seen.lag, seen.subscriptions.map(({pattern}) => pattern)], [node, true, seen.conf, 0, ['/seen']]);
  const gone = await poller(two.bayeux);
  await gone.disconnect();
  for (const id of [gone.clientId, 'nobody', 'x'.repeat(100)]) assert.equal((await clientOf(one, id)).status, 404, id);
  await three.kill();
  await two.kill();
  await until(async () => (await clientOf(one, socket.clientId)).json.alive === false, 'its owner to be dead');
  assert.equal((await clientOf(one, socket.clientId)).json.node, node);
  await cluster.redis.kill();
  await until(async () => (await clientOf(one, socket.clientId)).status === 503, 'nobody to know');
});

test('the mark stays behind a websocket that has not confirmed, and follows', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1, set: {'broker.ping': '1h'}});
  const [node] = cluster.nodes;
  await Wire.client(t, node.socket, '/mark');
  await until(async () => (await cluster.stats(node)).mark === (await cluster.stats(node)).head, 'the mark to stand at the head');
  const {mark} = await cluster.stats(node);
  await publish(node.bayeux, '/mark', 1);
  const at = await cluster.stats(node);
  assert.ok(at.mark >= mark && at.mark <= at.head);
  await until(async () => (await cluster.stats(node)).mark === at.head, 'the mark to follow');
});

test('numbers of the engine: in /v1/stats and /metrics, not on the memory engine', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1});
  const [node] = cluster.nodes;
  await publish(node.bayeux, '/a', 1);
  const {engine} = await cluster.stats(node);
  assert.ok(engine.ticks > 0 && engine.hellos === 1 && engine.appends === 1);
  const {text} = await request(node.admin('/metrics'));
  for (const name of ['appends', 'ticks', 'hellos', 'claims', 'not_recovered']) assert.match(text, new RegExp(`^mora_engine_${name}_total \\d+$`, 'm'));
  const memory = await startBroker(t, {set: {'engine.type': 'memory'}});
  assert.equal((await getJson(memory.admin('/v1/stats'))).json.engine, undefined);
  assert.doesNotMatch((await request(memory.admin('/metrics'))).text, /mora_engine/);
});

test('mora-api that appends: too large, too deep, its numbers, asked for sessions, not ready, an end while Redis is away', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 1});
  const [node] = cluster.nodes;
  const api = await cluster.addPublisher(t, {'limits.message': '1KB', 'limits.channel_depth': 3});
  const say = value => postJson(api.url('api', '/v1/publish'), value);
  assert.equal((await say({channel: '/a', data: 'x'.repeat(2000)})).status, 413);
  assert.equal((await say({channel: '/a/b/c/d', data: 1})).status, 400);
  assert.equal((await say({channel: '/a/b/c', data: 1})).status, 200);
  assert.match((await request(api.url('api', '/metrics'))).text, /^mora_engine_appends_total 1$/m);
  // Questions for sessions, which it never has, are answered and do no harm.
  const {nodes: all} = await nodesOf(node);
  const self = all.find(({role}) => role === 'publisher').node;
  const [seconds] = await cluster.redis.call('TIME');
  const ask = (t, ...more) => cluster.redis.call('XADD', cluster.key(`inbox:${self}`), '*', 't', t, 'id', 'someone', 'g', '1', 'from', 'nobody', 'q', '7', 'deadline', String((Number(seconds) + 60) * 1000), ...more);
  for (const t of ['ask', 'call', 'yours', 'done', 'lost', 'ended', 'moved', 'unknown', 'nonsense']) await ask(t, 'verb', 'connect', 'raw', '[]', 'replies', '[]');
  await until(async () => (await cluster.redis.stream(cluster.key('inbox:nobody'))).length === 2, 'two answers');
  assert.equal((await say({channel: '/a', data: 2})).status, 200);
  await cluster.redis.kill();
  await until(async () => (await getJson(api.url('api', '/readyz'))).status === 503, 'mora-api to be not ready');
  const answer = await say({channel: '/a', data: 1});
  assert.deepEqual([answer.status, answer.json.outcome], [503, 'refused']);
  await api.stop();
});

test('a broker whose Redis is gone: it listens, refuses with advice, and ends with status 0', async t => {
  needsRedis(t);
  const redis = new Redis();
  t.after(() => redis.end());
  await redis.start();
  const broker = await startBroker(t, {set: {'engine.type': 'redis', 'engine.url': redis.url(), 'broker.drain': '60s'}});
  await poller(broker.bayeux);
  await redis.kill();
  await until(async () => (await getJson(broker.url('broker', '/readyz'))).status === 503, 'it to be not ready');
  const [reply] = (await postJson(broker.bayeux, [{channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling']}])).json;
  assert.equal(reply.successful, false);
  assert.match(reply.error, /^503:/);
  assert.equal(reply.advice.reconnect, 'handshake');
  assert.ok(reply.advice.interval >= 1000);
  await broker.log.find(({event, level}) => event === 'engine.not_ready' && level === 'warn', 'the event');
  await broker.log.find(({event}) => event === 'engine.link_down', 'the link to be told');
  await broker.stop();
});

test('any node lists the clients, channels and subscribers of all; one that does not answer is named', {timeout: 60000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 3});
  const [one, two, three] = cluster.nodes;
  const sessions = [];
  for (const node of cluster.nodes) for (let i = 0; i < 3; i++) sessions.push(await poller(node.bayeux, ['/all', `/own/${sessions.length}`, '/all/**']));
  const ids = sessions.map(({clientId}) => clientId).sort();
  const get = async (node, path) => (await getJson(node.admin(path))).json;
  for (const node of cluster.nodes) {
    const {clients, ...rest} = await get(node, '/v1/clients');
    assert.deepEqual(clients.map(({client}) => client), ids);
    assert.equal(new Set(clients.map(({node}) => node)).size, 3);
    assert.deepEqual(rest, {});
    const {channels} = await get(node, '/v1/channels');
    assert.deepEqual(channels.filter(({channel}) => !channel.startsWith('/own')), [{channel: '/all', subscribers: 9}, {channel: '/all/**', subscribers: 9}]);
    assert.equal(channels.length, 11);
    const {subscribers} = await get(node, '/v1/subscribers?channel=/all');
    assert.deepEqual(subscribers.map(({client}) => client), ids);
  }
  // Pages of the whole, whatever the nodes have.
  const paged = [];
  for (let after = '', n = 0; n < 10; n++) {
    const page = await get(two, `/v1/clients?limit=2${after && `&after=${after}`}`);
    paged.push(...page.clients.map(({client}) => client));
    if (!page.next) break;
    after = page.next;
  }
  assert.deepEqual(paged, ids);
  const owns = [];
  for (let after = '', n = 0; n < 20; n++) {
    const page = await get(one, `/v1/channels?prefix=/own/&limit=4${after && `&after=${after}`}`);
    owns.push(...page.channels.map(({channel}) => channel));
    if (!page.next) break;
    after = page.next;
  }
  assert.deepEqual(owns, Array.from({length: 9}, (_, i) => `/own/${i}`));
  const stopped = (await cluster.stats(three)).node;
  three.child.kill('SIGSTOP');
  t.after(() => three.child?.kill('SIGCONT'));
  const partial = await get(one, '/v1/clients');
  const told = await run('mora', ['--admin', one.url('admin'), 'clients']);
  assert.match(told.stderr, new RegExp(`Node ${stopped} does not answer`));
  assert.deepEqual([partial.partial, partial.missing, partial.clients.length], [true, [stopped], 6]);
  three.child.kill('SIGCONT');
  await until(async () => !(await get(one, '/v1/clients')).partial, 'all to answer again');
  cluster.redis.pause();
  const alone = await get(one, '/v1/clients');
  assert.equal(alone.partial, true);
  assert.ok(alone.clients.length >= 3);
  cluster.redis.resume();
});

test('mora doctor: what Redis promises less than it could', {timeout: 60000}, async t => {
  needsRedis(t);
  const doctor = async cluster => run('mora', ['--admin', cluster.nodes[0].url('admin'), 'doctor']);
  const weak = await doctor(await startCluster(t, {nodes: 1}));
  assert.equal(weak.code, 1);
  assert.match(weak.stdout, /redis\.not_durable +appendonly is no/);
  const strong = await doctor(await startCluster(t, {nodes: 1, redis: {persist: 'always'}}));
  assert.deepEqual([strong.code, strong.stdout], [0, 'Nothing to mend.\n']);
  // With a replica there may be a fail-over, and a primary that does not know of it.
  const primary = await startRedis(t, {persist: 'always'});
  const replica = await startRedis(t, {replicaOf: primary});
  await until(async () => /master_link_status:up/.test(await replica.call('INFO', 'replication')), 'the replica to follow');
  const open = await startCluster(t, {nodes: 1, redis: primary, namespace: 'open'});
  const unfenced = await doctor(open);
  assert.equal(unfenced.code, 1);
  assert.match(unfenced.stdout, /redis\.not_fenced +min-replicas-to-write is 0/);
  assert.ok(open.nodes[0].log.items.some(({event, level}) => event === 'redis.not_fenced' && level === 'warn'), 'said at the start, too');
  await primary.call('CONFIG', 'SET', 'min-replicas-to-write', '1');
  const fenced = await doctor(await startCluster(t, {nodes: 1, redis: primary, namespace: 'fenced'}));
  assert.deepEqual([fenced.code, fenced.stdout], [0, 'Nothing to mend.\n']);
});
