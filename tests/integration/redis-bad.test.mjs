// SPDX-License-Identifier: Apache-2.0
// Keys that hold what they should not: malformed journal entries, records and inbox messages are
// skipped, counted and logged. The nodes live, and everybody else's messages come.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {postJson} from './lib/http.mjs';
import {until} from './lib/wait.mjs';
import {Wire, poller, pollerOf, post, publish} from './support/wire.mjs';
import {Roamer, needsRedis, startCluster} from './support/cluster.mjs';
import {Press, settleIn, verdict} from './support/load.mjs';

const SET = {'broker.timeout': '10s'};
const MALFORMED = /^mora_engine_malformed_total$/;
const numbers = count => Array.from({length: count}, (_, n) => n);
const bytes = (...parts) => Buffer.concat(parts.map(part => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))));

const malformed = (cluster, node) => cluster.metric(node, MALFORMED);
const complaints = node => node.log.items.filter(({event}) => event === 'engine.malformed').length;

// Appends by hand as append.lua does: the entry, and the head behind it. skip: positions left out.
const APPEND = `
  local p = tonumber(redis.call('HGET', KEYS[1], 'p')) + 1 + tonumber(ARGV[1])
  redis.call('XADD', KEYS[2], string.format('%.0f-0', p), unpack(ARGV, 2))
  redis.call('HSET', KEYS[1], 'p', string.format('%.0f', p))
  return string.format('%.0f', p)`;
const append = (cluster, fields, skip = 0) =>
  cluster.redis.call('EVAL', APPEND, 2, cluster.key('head'), cluster.key('journal'), skip, ...Object.entries(fields).flat());

const good = (n, channel = '/bad/good') => ({c: channel, m: `{"channel":"${channel}","data":{"n":${n}}}`, o: 'by hand:1'});

// -- the journal -------------------------------------------------------------------------------

const TEXT = '{"channel":"/bad/good","data":"malformed"}';
const ENTRIES = {
  'no text': {c: '/bad/good', o: 'x:1'},
  'no channel': {m: TEXT, o: 'x:1'},
  'neither': {x: 'y'},
  'a channel without a slash': {c: 'bad', m: TEXT},
  'a pattern': {c: '/bad/*', m: TEXT},
  'an empty segment': {c: '/bad//good', m: TEXT},
  'a channel that is not text': {c: bytes('/bad/', 0xff, 0), m: TEXT},
  'a channel without end': {c: `/bad/${'x'.repeat(200000)}`, m: TEXT},
  'too many segments': {c: '/bad'.repeat(500), m: TEXT},
  'an empty text': {c: '/bad/good', m: ''},
  'a number': {c: '/bad/good', m: '5'},
  'a list': {c: '/bad/good', m: `[${TEXT}]`},
  'no JSON': {c: '/bad/good', m: 'not json'},
  'no JSON in braces': {c: '/bad/good', m: '{not json}'},
  'two objects': {c: '/bad/good', m: `${TEXT},${TEXT}`},
  'JSON that is cut off': {c: '/bad/good', m: TEXT.slice(0, -1)},
  'a text that is not UTF-8': {c: '/bad/good', m: bytes('{"channel":"/bad/good","data":"', 0xff, 0xfe, '"}')},
  'a text with a zero': {c: '/bad/good', m: bytes('{"channel":"/bad/good","data":"', 0, '"}')},
  'a text that is too deep': {c: '/bad/good', m: `{"data":${'['.repeat(5000)}${']'.repeat(5000)}}`},
  'a meta channel': {c: '/meta/connect', m: '{"channel":"/meta/connect","successful":false,"advice":{"reconnect":"none"}}'},
  'an epoch without numbers': {k: 'epoch', s: 'x', e: ''},
};
// Not malformed: a kind that a later version may have, an origin that tells nothing.
const HARMLESS = {
  'an unknown kind': {k: 'later', c: '/bad/good', m: TEXT},
  'a probe of nobody': {k: 'probe'},
};

test('malformed entries of the journal are skipped, counted and logged; what is around them arrives', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const {nodes} = cluster;
  const sockets = await Promise.all(nodes.map(node => Wire.client(t, node.socket, '/**')));
  const sleeper = await poller(nodes[0].bayeux, '/**');   // behind the barriers
  let n = 0;
  const before = await Promise.all(nodes.map(node => malformed(cluster, node)));
  for (const [name, fields] of [...Object.entries(ENTRIES), ...Object.entries(HARMLESS)]) {
    await append(cluster, fields);
    await publish(nodes[n % 2].bayeux, '/bad/good', {n: n++});
    for (const socket of sockets) await socket.inbox.find(({data}) => data?.n === n - 1, `the message after ${name}`);
  }
  for (const [i, node] of nodes.entries()) {
    const counted = await malformed(cluster, node) - before[i];
    assert.equal(counted, Object.keys(ENTRIES).length, 'each is counted, and nothing else');
    assert.ok(complaints(node) > 0, 'and logged');
    assert.ok((await cluster.readiness(node)).ready);
  }
  for (const origin of ['', 'x', ':', ':5', 'x:', 'x:y', 'x:99999999999999999999', `${(await cluster.stats(nodes[0])).node}:`, bytes(0xff)]) {
    await append(cluster, {...good(n++), o: origin});
  }
  const {o, ...without} = good(n++);
  assert.ok(o);
  await append(cluster, without);
  for (const socket of sockets) {
    // Barriers of the sockets themselves apart, which /** covers, nothing but the good ones.
    const heard = items => items.filter(({channel}) => channel !== '/barrier');
    await socket.inbox.when(items => heard(items).length >= n, 'those with strange origins');
    assert.deepEqual(heard(socket.inbox.items).map(({data}) => data?.n), numbers(n));
  }
  await sleeper.poll(inbox => inbox.length >= n, 'what it missed');
  assert.deepEqual(sleeper.inbox.items.map(({data}) => data.n), numbers(n));
  // A node that reads all of it when it starts.
  await nodes[1].restart();
  await publish(nodes[1].bayeux, '/bad/good', {n});
  await sockets[0].inbox.find(({data}) => data.n === n, 'the last');
});

test('an entry whose id is no position is skipped and counted once', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const {nodes: [node]} = cluster;
  const socket = await Wire.client(t, node.socket, '/bad/**');
  await publish(node.bayeux, '/bad/good', {n: 0});
  const before = await malformed(cluster, node);
  const {c, m} = good(-1);
  await cluster.redis.call('XADD', cluster.key('journal'), `${(await cluster.stats(node)).head}-7`, 'c', c, 'm', m);
  await until(async () => await malformed(cluster, node) > before, 'it to be counted');
  const turns = async () => (await cluster.stats(node)).host.loop_turns ?? 0;
  const start = await turns();
  for (let n = 1; n < 5; n++) await publish(node.bayeux, '/bad/good', {n});
  await socket.inbox.count(5);
  assert.deepEqual(socket.inbox.items.map(({data}) => data.n), numbers(5));
  assert.equal(await malformed(cluster, node) - before, 1, `counted once (${await turns() - start} turns)`);
});

test('a hole in the journal: everybody who may have missed something is told to handshake', {timeout: 90000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const residents = await settleIn(t, cluster, 8, i => ({node: cluster.nodes[i % 2], transport: i % 4 < 2 ? 'websocket' : 'long-polling', patterns: ['/bad/hole']}));
  const [gaps, lost] = [await cluster.sum('gaps'), await cluster.sum('lost_sessions')];
  await append(cluster, good(0, '/bad/elsewhere'), 5);
  await until(() => residents.every(({handshakes, attached, lost: open}) => handshakes === 2 && attached && !open), 'everybody to be back');
  assert.equal(await cluster.sum('gaps') - gaps, 2, 'each node counts it once');
  assert.ok(await cluster.sum('lost_sessions') - lost >= residents.length);
  const press = new Press(cluster, {rate: 100, batch: 5, channel: () => '/bad/hole'}).start(t);
  await press.more(100);
  await press.stop();
  assert.equal(await verdict(press, residents), 0);
  assert.ok(residents.every(({handshakes}) => handshakes === 2), 'once');
});

// -- records -----------------------------------------------------------------------------------

const LONG = 'x'.repeat(100000);
// What is done to a record, and whether it is then beyond doubt malformed.
const field = (name, value) => ({redis, session}) => redis.call('HSET', session, name, value);
const without = name => ({redis, session}) => redis.call('HDEL', session, name);
const replaced = (which, ...words) => async all => {
  await all.redis.call('DEL', all[which]);
  await all.redis.call(words[0], all[which], ...words.slice(1));
};
const RECORDS = {
  certain: {
    'generation: a word': field('g', 'x'), 'generation: negative': field('g', '-1'), 'generation: empty': field('g', ''),
    'k: a word': field('k', 'nonsense'), 'k: negative': field('k', '-5'), 'sent: too large': field('sent', '99999999999999999999'),
    'sent: no integer': field('sent', '1e99'), 'life: a word': field('life', 'x'), 'without g': without('g'), 'without n': without('n'),
    'without k': without('k'), 'without sent': without('sent'), 'without life': without('life'), 'the record: a text': replaced('session', 'SET', 'x'),
    'the record: a list': replaced('session', 'RPUSH', 'x', 'y'), 'subscriptions: a text': replaced('subs', 'SET', 'x'),
  },
  doubtful: {
    'owner: empty': field('n', ''), 'owner: nobody': field('n', 'nobody'), 'owner: bytes': field('n', bytes(0xff, 0, 0xfe)), 'k: of the far future': field('k', '9007199254740991'),
    'sent: of the far future': field('sent', '9007199254740991'), 'sent: 0': field('sent', '0'), 'life: 0': field('life', '0'), 'life: endless': field('life', '9007199254740991'),
    'generation: the largest': field('g', '9007199254740991'), 'vary: a word': field('vary', 'x'), 'cid: long': field('cid', LONG), 'user: bytes': field('user', bytes(0xff, 0)),
    'created: a word': field('created', 'x'), 'another field': field('x', LONG), 'without cid': without('cid'), 'no subscriptions': ({redis, subs}) => redis.call('DEL', subs),
    'a start that is none': ({redis, subs}) => redis.call('HSET', subs, '/bad/sub', 'x:y'), 'an empty start': ({redis, subs}) => redis.call('HSET', subs, '/bad/sub', ''),
    'half a range': ({redis, subs}) => redis.call('HSET', subs, '/bad/sub', '5:'), 'a pattern that is none': ({redis, subs}) => redis.call('HSET', subs, 'bad', '1', '/a/*/b', '1', '', '1'),
    'a long pattern': ({redis, subs}) => redis.call('HSET', subs, `/${LONG}`, '1'), 'a meta pattern': ({redis, subs}) => redis.call('HSET', subs, '/meta/**', '1'),
  },
};

// A session whose owner died right after the epoch began is out of reach for some seconds: 503 until then.
const answer = (url, messages) => until(async () => {
  const {status, json} = await postJson(url, messages);
  return status === 200 && json;
}, 'an answer');

test('malformed records: each request is answered, the node lives, other sessions are not harmed', {timeout: 120000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const [one, two] = cluster.nodes;
  const cases = Object.entries(RECORDS).flatMap(([kind, list]) => Object.entries(list).map(([name, harm]) => ({name, kind, harm})));
  for (const each of cases) each.session = await poller(one.bayeux, '/bad/record');
  const healthy = await poller(one.bayeux, '/bad/record');
  const mixed = await poller(one.bayeux, '/bad/record');
  const live = await Wire.client(t, one.socket, '/bad/record');
  const {node: dead} = await cluster.stats(one);
  await until(async () => (await cluster.redis.call('HGET', cluster.key(`session:${live.clientId}`), 'k')) === 'live', 'the record of the websocket to be live');
  await one.kill();
  for (const {session: {clientId}, harm} of cases) {
    await harm({redis: cluster.redis, session: cluster.key(`session:${clientId}`), subs: cluster.key(`subs:${clientId}`)});
  }
  await cluster.redis.call('HSET', cluster.key(`subs:${mixed.clientId}`), '/bad/more', 'x', 'nonsense', 'y', '/bad/other', '1:y');
  await cluster.redis.call('SET', cluster.key(`mark:${dead}`), 'nonsense');
  const before = await malformed(cluster, two);
  for (const {name, kind, session: {clientId}} of cases) {
    const other = pollerOf(two.bayeux, clientId);
    for (const message of [other.message.subscribe('/bad/later'), other.message.connect({advice: {timeout: 0}}), other.message.disconnect()]) {
      const reply = (await answer(two.bayeux, [message])).find(({id, successful}) => id === message.id && successful !== undefined);
      assert.ok(reply, `${name}: an answer to ${message.channel}`);
      if (kind === 'certain' && message.channel === '/meta/connect') {
        assert.ok(!reply.successful && reply.advice.reconnect === 'handshake', `${name}: ${JSON.stringify(reply)}`);
      }
    }
  }
  const counted = await malformed(cluster, two) - before;
  assert.ok(counted >= Object.keys(RECORDS.certain).length, `${counted} were counted`);
  assert.ok(complaints(two) > 0, 'and logged');
  // Without its owner's mark nobody knows what a live session had got.
  const [reply] = await answer(two.bayeux, [live.message.connect({advice: {timeout: 0}})]);
  assert.equal(reply.successful, false);
  assert.equal(reply.advice.reconnect, 'handshake');
  await publish(two.bayeux, '/bad/record', 'good');
  for (const {clientId} of [healthy, mixed]) {
    const session = pollerOf(two.bayeux, clientId);
    await session.poll(inbox => inbox.length > 0, 'the message');
    assert.deepEqual(session.inbox.items, [{channel: '/bad/record', data: 'good'}]);
  }
});

test('ids without a record, and records of another type, are reaped', {timeout: 120000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: {'broker.timeout': '1s'}});
  const {redis} = cluster;
  const sessions = cluster.key('sessions');
  for (let i = 0; i < 20; i++) {
    await redis.call('ZADD', sessions, 1000 + i, `ghost${i}`);
    if (i % 4 === 1) await redis.call('SET', cluster.key(`session:ghost${i}`), 'x');
    if (i % 4 === 2) await redis.call('HSET', cluster.key(`session:ghost${i}`), 'g', 'x');
    if (i % 4 === 3) await redis.call('RPUSH', cluster.key(`subs:ghost${i}`), 'x');
  }
  const session = await poller(cluster.nodes[0].bayeux, '/bad/**');
  await until(async () => (await redis.call('ZCOUNT', sessions, 0, 100000)) === 0, 'the ghosts to be gone', 60000);
  // That a session ended is known for a minute.
  assert.deepEqual((await redis.keys('*ghost*')).filter(key => !key.includes(':ended:')), []);
  const ghosts = (await cluster.endings()).filter(({id}) => id.startsWith('ghost')).map(({id}) => id);
  assert.equal(new Set(ghosts).size, ghosts.length, 'each ended once');
  const [reply] = await post(cluster.nodes[1].bayeux, [session.message.connect({advice: {timeout: 0}})]);
  assert.equal(typeof reply.successful, 'boolean');
});

// -- the inbox ---------------------------------------------------------------------------------

const future = () => String(Date.now() + 5000);
const MESSAGES = {
  certain: {
    'no type': () => ({x: 'y'}), 'an empty type': () => ({t: ''}), 'a type of bytes': () => ({t: bytes(0xff, 0)}),
    'ask for nothing': () => ({t: 'ask'}), 'ask with words for numbers': id => ({t: 'ask', id, g: 'x', verb: 'connect', from: 'nobody', deadline: 'y', q: 'z'}),
    'call without a message': id => ({t: 'call', id, from: 'nobody', deadline: future(), q: '1'}),
    'call of no JSON': id => ({t: 'call', id, raw: '{not json', from: 'nobody', deadline: future(), q: '1'}),
    'done without a number': () => ({t: 'done', replies: '[]'}), 'lost without a generation': id => ({t: 'lost', id}),
    'lost with a word': id => ({t: 'lost', id, g: 'x'}), 'ended without an id': () => ({t: 'ended'}),
  },
  doubtful: {
    'an unknown type': () => ({t: 'later'}), 'a field without end': () => ({t: 'x'.repeat(300000)}), 'ask from nobody for nobody': () => ({t: 'ask', id: 'nobody', g: '1', verb: 'connect', from: 'nobody', deadline: future(), q: '1'}),
    'ask that is too late': id => ({t: 'ask', id, g: '1', verb: 'connect', from: 'nobody', deadline: '1', q: '1'}),
    'ask with another generation': id => ({t: 'ask', id, g: '77', verb: 'connect', from: 'nobody', deadline: future(), q: '1'}),
    'call for nobody': () => ({t: 'call', id: 'nobody', raw: '{"channel":"/meta/subscribe","clientId":"nobody","subscription":"/x","id":"1"}', from: 'nobody', deadline: future(), q: '1'}),
    'call of a list': id => ({t: 'call', id, raw: '[]', from: 'nobody', deadline: future(), q: '1'}),
    'call that is too late': id => ({t: 'call', id, raw: `{"channel":"/meta/disconnect","clientId":"${id}","id":"1"}`, from: 'nobody', deadline: '1', q: '1'}),
    'done for nobody': () => ({t: 'done', q: '999999', replies: '[]'}), 'yours for nobody': () => ({t: 'yours', id: 'nobody', g: '1', q: '999999'}),
    'yours that is here': id => ({t: 'yours', id, g: '1', q: '999999'}), 'moved for nobody': () => ({t: 'moved', id: 'nobody', n: 'x', g: '1', q: '9'}),
    'unknown for nobody': () => ({t: 'unknown', id: 'nobody', q: '9'}), 'lost: nobody': () => ({t: 'lost', id: 'nobody', g: '1'}), 'lost: an old generation': id => ({t: 'lost', id, g: '0'}),
    'ended: nobody': () => ({t: 'ended', id: 'nobody'}),
  },
};

test('malformed inbox messages are skipped, counted and logged; sessions are not harmed and move as before', {timeout: 90000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const {redis, nodes} = cluster;
  const [one, two] = nodes;
  const socket = await Wire.client(t, one.socket, '/bad/inbox');
  const roamer = await Roamer.join(cluster, '/bad/inbox');
  const before = await Promise.all(nodes.map(node => malformed(cluster, node)));
  let n = 0;
  for (const [kind, list] of Object.entries(MESSAGES)) {
    for (const [name, make] of Object.entries(list)) {
      for (const node of nodes) {
        const inbox = cluster.key(`inbox:${(await cluster.stats(node)).node}`);
        await redis.call('XADD', inbox, '*', ...Object.entries(make(socket.clientId)).flat());
      }
      await publish(two.bayeux, '/bad/inbox', {n: n++});
      await socket.inbox.find(({data}) => data.n === n - 1, `the message after ${kind}: ${name}`);
      assert.equal(socket.closed, null, name);
      await roamer.connect({timeout: 0});
      await pollerOf(two.bayeux, socket.clientId).subscribe(`/bad/inbox/${n}`);
    }
  }
  for (const [i, node] of nodes.entries()) {
    const counted = await malformed(cluster, node) - before[i];
    assert.ok(counted >= Object.keys(MESSAGES.certain).length, `${counted} were counted`);
    assert.ok(complaints(node) > 0, 'and logged');
  }
  // A flood, and ids from the far future.
  const inbox = cluster.key(`inbox:${(await cluster.stats(one)).node}`);
  await Promise.all(numbers(5000).map(i => redis.call('XADD', inbox, '*', 't', 'flood', 'x', i)));
  await redis.call('XADD', inbox, '9999999999999-0', 't', 'flood');
  await pollerOf(two.bayeux, socket.clientId).subscribe('/bad/flood');
  await publish(two.bayeux, '/bad/flood', 'after');
  await socket.inbox.find(({data}) => data === 'after', 'the message after the flood');
  await roamer.poll(items => items.length >= n, 'all messages');
  assert.deepEqual(roamer.inbox.items.map(({data}) => data.n), numbers(n));
  assert.deepEqual(socket.inbox.items.filter(({channel}) => channel === '/bad/inbox').map(({data}) => data.n), numbers(n));
  for (const node of nodes) assert.ok((await cluster.readiness(node)).ready);
});

// -- the directory -----------------------------------------------------------------------------

test('strangers in the directory of nodes', async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {set: SET});
  const {redis, nodes} = cluster;
  const now = Date.now();
  await redis.call('ZADD', cluster.key('nodes'), now, 'ghost', now, bytes(0xff, 0), now, 'text', now, 'x'.repeat(100000), 'inf', 'endless');
  await redis.call('HSET', cluster.key('node:ghost'), 'head', 'x', 'sessions', '-1');
  await redis.call('SET', cluster.key('node:text'), 'x');
  await redis.call('RPUSH', cluster.key('link:text'), 'x');
  for (const node of nodes) {
    const seen = await cluster.seen(node);
    assert.equal(seen.filter(({role, address}) => role === 'broker' && address).length, 2, JSON.stringify(seen).slice(0, 1000));
  }
  const session = new PollSession(nodes[0].bayeux);
  await session.handshake();
  await session.subscribe('/bad/directory');
});
