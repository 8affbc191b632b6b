// SPDX-License-Identifier: Apache-2.0
// The authority webhook: the examples of docs/authority.md with real clients, and a scripted authority that answers late, wrong, or
// not at all.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {createInterface} from 'node:readline';
import {once} from 'node:events';
import faye from 'faye';
import {test} from './lib/suite.mjs';
import {adopt, root, run, startBroker} from './lib/daemon.mjs';
import {getJson, open} from './lib/http.mjs';
import {deliveries, PollSession} from './lib/bayeux.mjs';
import {Feed, sleep, until, within} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {Wire, asSocketUrl, hold, post, poller} from './support/wire.mjs';

const RULES = [{channel: '/free/**', subscribe: 'any', publish: 'any'}, {channel: '/**', subscribe: 'authority', publish: 'authority'}];
const settings = (url, set = {}) => ({
  'access.rules': RULES, 'access.handshake': 'authority', 'authority.url': url, 'authority.timeout': '1s', 'broker.timeout': '10s', ...set,
});
const counters = async broker => (await getJson(broker.admin('/v1/stats'))).json.authority;

// -- the examples ----------------------------------------------------------------------------------

async function startExample(t, command, file, port = 0) {
  const child = adopt(spawn(command, [`${root}docs/examples/${file}`, String(port)], {stdio: ['ignore', 'pipe', 'inherit']}));
  const exited = once(child, 'exit');
  const stop = () => { child.kill('SIGKILL'); return exited; };
  t.after(stop);
  const [url] = await within(once(createInterface({input: child.stdout}), 'line'), `${file} to listen`);
  return {url, stop};
}

function fayeClient(t, url, token) {
  const client = new faye.Client(url, {retry: 1});
  const replies = new Feed();
  client.addExtension({
    outgoing: (message, next) => next(message.channel === '/meta/handshake' ? {...message, ext: {token}} : message),
    incoming: (message, next) => { replies.push(message); next(message); },
  });
  t.after(() => client.disconnect());
  return {client, replies, reply: (channel, test, what) => replies.find(m => m.channel === channel && test(m), what ?? channel)};
}

for (const [command, file] of [[process.execPath, 'authority.mjs'], ['python3', 'authority.py']]) {
  test(`docs/examples/${file} and Faye: user, allow, deny, snapshot, veto; while it is stopped nothing opens, and all come back`, {timeout: 90000}, async t => {
    let authority = await startExample(t, command, file);
    const port = new URL(authority.url).port;
    const broker = await startBroker(t, {set: settings(authority.url)});
    const got = new Feed();
    const ann = fayeClient(t, broker.bayeux, 'token-of-ann');
    await within(ann.client.subscribe('/rooms/1', data => got.push(data)), 'the subscription');
    const {json: {clients}} = await getJson(broker.admin('/v1/clients'));
    assert.deepEqual(clients.map(({user}) => user), ['ann']);
    const allowed = await ann.reply('/meta/subscribe', m => m.subscription === '/rooms/1');
    assert.deepEqual([allowed.successful, allowed.ext], [true, {snapshot: ['hello']}]);
    await ann.client.publish('/rooms/1', {text: 'one'});
    await got.find(({text}) => text === 'one', 'the message');
    await assert.rejects(Promise.resolve(ann.client.publish('/rooms/1', {text: 'spam'})), {code: 403, message: 'No spam'});

    const bob = fayeClient(t, broker.bayeux, 'token-of-bob');
    await assert.rejects(Promise.resolve(bob.client.subscribe('/rooms/2', () => {})), {code: 403, message: 'Not a member'});
    await assert.rejects(Promise.resolve(bob.client.subscribe('/rooms/*', () => {})), {code: 403});
    await within(bob.client.subscribe('/rooms/1', () => {}), 'the subscription');
    const stranger = fayeClient(t, broker.bayeux, 'stolen');
    stranger.client.connect();
    assert.equal((await stranger.reply('/meta/handshake', m => !m.successful)).error, '401::Invalid access token');

    const before = (await getJson(broker.admin('/v1/stats'))).json;
    await authority.stop();
    await assert.rejects(Promise.resolve(bob.client.subscribe('/rooms/2', () => {})), {code: 503});
    await assert.rejects(Promise.resolve(ann.client.subscribe('/rooms/2', () => {})), {code: 503});
    await assert.rejects(Promise.resolve(ann.client.publish('/rooms/1', {text: 'lost'})), {code: 503});
    await ann.client.subscribe('/free/now', () => {});   // what it is not asked for goes on
    const late = fayeClient(t, broker.bayeux, 'token-of-ann');
    late.client.connect();
    const refused = await late.reply('/meta/handshake', m => !m.successful);
    assert.match(refused.error, /^503:/);
    assert.equal(refused.advice.reconnect, 'handshake', 'nobody is banned');
    assert.ok(refused.advice.interval >= 1000 && refused.advice.interval <= 30000);
    const thief = fayeClient(t, broker.bayeux, 'stolen');
    thief.client.connect();
    assert.match((await thief.reply('/meta/handshake', m => !m.successful)).error, /^503:/);
    const {sessions, subscriptions, head} = (await getJson(broker.admin('/v1/stats'))).json;
    assert.deepEqual([sessions, subscriptions, head], [before.sessions, before.subscriptions + 1, before.head], 'nothing opened but what nobody asks for');
    authority = await startExample(t, command, file, port);
    await until(async () => { await ann.client.publish('/rooms/1', {text: 'again'}); return true; }, 'the authority to be asked again');
    await got.find(({text}) => text === 'again', 'the message behind it');
    assert.deepEqual(got.items.map(({text}) => text), ['one', 'again']);
    await assert.rejects(Promise.resolve(bob.client.subscribe('/rooms/2', () => {})), {code: 403, message: 'Not a member'});
    await within(ann.client.subscribe('/rooms/2', () => {}), 'the subscription that was unavailable');
    await late.reply('/meta/handshake', m => m.successful, 'the client to come back by itself', 40000);
    await thief.reply('/meta/handshake', m => m.error === '401::Invalid access token', 'the thief to be denied', 40000);
  });
}

// -- a scripted one --------------------------------------------------------------------------------

async function scripted(t, script, set) {
  const authority = await startScripted(t, script);
  return {authority, broker: await startBroker(t, {set: settings(authority.url, set)})};
}

const subscribing = (session, ...channels) => channels.map(channel => session.message.subscribe(channel));

test('what is asked: JSON in the body, each question with what it needs; one request for a text; connections are kept', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.token': 'secret'});
  const session = new PollSession(broker.bayeux);
  await session.handshake({ext: {token: 'x', n: 1.50}});
  const replies = await session.post(subscribing(session, '/a', '/b/*', '/free/x', '/c'));
  assert.ok(replies.every(({successful}) => successful));
  await session.subscribe(['/d', '/free/y', '/e']);
  await session.publish('/a', {x: 1}, {ext: {y: 2}});
  const {clientId: client} = session;
  const [address] = authority.asked.map(q => q.address);
  assert.match(address, /^127\.0\.0\.1:\d+$/);
  assert.deepEqual(authority.calls.items.map(({requests}) => requests), [
    [{verb: 'handshake', address, ext: {token: 'x', n: 1.5}}],
    ['/a', '/b/*', '/c'].map(channel => ({verb: 'subscribe', channel, client, user: 'ann'})),
    ['/d', '/e'].map(channel => ({verb: 'subscribe', channel, client, user: 'ann'})),
    [{verb: 'publish', channel: '/a', client, user: 'ann', data: {x: 1}, ext: {y: 2}}],
  ]);
  for (const {headers, method, url} of authority.calls.items) {
    assert.deepEqual([method, url, headers.authorization, headers['content-type']], ['POST', '/decide', 'Bearer secret', 'application/json']);
  }
  assert.equal(new Set(authority.calls.items.map(({port}) => port)).size, 1);
});

test('answers: ext, error, advice, user; several channels of one message are allowed together or not', async t => {
  const answers = {
    '/ext': {allow: true, ext: {snapshot: [1.50, '\u2028']}}, '/plain': {allow: false}, '/text': {allow: false, error: 'Nicht so'},
    '/advice': {allow: false, error: '401::Gone', advice: {reconnect: 'none', interval: 5}}, '/yes': {allow: true},
  };
  const {broker} = await scripted(t, {answer: q => answers[q.channel] ?? {allow: true, user: 'é☃', ext: {hello: true}}});
  const session = new PollSession(broker.bayeux);
  assert.deepEqual((await session.handshake()).ext, {hello: true});
  assert.equal((await getJson(broker.admin(`/v1/clients/${session.clientId}`))).json.user, 'é☃');
  const [ext, plain, text, advice, both, good] = await session.post([...subscribing(session, '/ext', '/plain', '/text', '/advice'),
    session.message.subscribe(['/yes', '/plain']), session.message.subscribe(['/yes', '/ext'])]);
  assert.deepEqual([ext.successful, ext.ext], [true, {snapshot: [1.5, '\u2028']}]);
  assert.deepEqual([plain.error, text.error, advice.error], ['403:/plain:Not allowed', '403::Nicht so', '401::Gone']);
  assert.deepEqual(advice.advice, {reconnect: 'none', interval: 5});
  assert.deepEqual([both.successful, good.successful, good.ext], [false, true, {snapshot: [1.5, '\u2028']}]);
  const {json: {subscriptions}} = await getJson(broker.admin(`/v1/clients/${session.clientId}`));
  assert.deepEqual(subscriptions.map(({pattern}) => pattern).sort(), ['/ext', '/yes']);
});

test('what is no good answer is unavailable: nothing opens, nobody is banned, and a redirect is not followed', async t => {
  const trap = await startScripted(t);
  const {authority, broker} = await scripted(t);
  const session = await poller(broker.bayeux);
  const send = (status, body, headers = {}) => ({respond: (request, response) => response.writeHead(status, headers).end(body)});
  const good = JSON.stringify({answers: [{allow: true, user: 'ann'}]});
  const bad = {
    'a redirect': send(302, good, {Location: trap.url}), 'one that keeps the method': send(307, good, {Location: trap.url}), 'another origin': send(308, '', {Location: 'http://169.254.169.254/'}),
    'status 500': send(500, good), 'status 404': send(404, good), 'status 401': send(401, good), 'status 204': send(204), 'status 201': send(201, good),
    'no JSON': send(200, 'yes'), 'empty': send(200, ''), 'no list': send(200, '{"answers":{"allow":true}}'), 'too few': send(200, '{"answers":[]}'),
    'too many': send(200, '{"answers":[{"allow":true},{"allow":true}]}'), 'a list only': send(200, '[{"allow":true}]'), 'allow is no boolean': send(200, '{"answers":[{"allow":"true"}]}'),
    'allow: 1': send(200, '{"answers":[{"allow":1}]}'), 'an answer of nothing': send(200, '{"answers":[{}]}'), 'an answer that is no object': send(200, '{"answers":[true]}'),
    'ext is no object': send(200, '{"answers":[{"allow":true,"ext":[1]}]}'), 'a user that is none': send(200, '{"answers":[{"allow":true,"user":"a\\u0000b"}]}'), 'an empty user': send(200, '{"answers":[{"allow":true,"user":""}]}'),
    'bad advice': send(200, '{"answers":[{"allow":false,"advice":{"reconnect":"never"}}]}'), 'something behind it': send(200, `${good}x`),
    'too large': send(200, good + ' '.repeat(5 << 20)), 'cut': {respond: (request, response) => { response.writeHead(200, {'Content-Length': 1000}); response.write(good); response.socket.end(); }},
    'reset': {respond: request => request.socket.resetAndDestroy()}, 'deep': send(200, `{"answers":[{"allow":true,"ext":{"a":${'['.repeat(100)}${']'.repeat(100)}}}]}`),
  };
  let failures = 0;
  for (const [name, script] of Object.entries(bad)) {
    authority.script = script;
    const {length} = authority.calls;
    const [reply] = await session.post(subscribing(session, '/x'));
    assert.deepEqual([reply.successful, reply.error], [false, '503:/x:Authority unavailable'], name);
    assert.equal(reply.advice?.reconnect, undefined, name);
    assert.equal(authority.calls.length, length + 1, name);
    authority.script = {};   // a good one in between: the breaker stays closed
    await session.subscribe(`/between/${failures++}`);
  }
  authority.script = send(500, '');
  const [handshake] = await post(broker.bayeux, [session.message.handshake()]);
  assert.match(handshake.error, /^503:/);
  assert.equal(handshake.advice.reconnect, 'handshake');
  const [publish] = await session.post([session.message.publish('/x', 1)]);
  assert.equal(publish.error, '503:/x:Authority unavailable');
  assert.equal(trap.calls.length, 0);
  assert.equal((await counters(broker)).allowed, failures + 1);
});

test('nothing of a client reaches a URL or a header of the request', async t => {
  const {authority, broker} = await scripted(t);
  const session = new PollSession(broker.bayeux);
  await session.handshake({ext: {token: 'a\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1'}});
  await session.post([session.message.subscribe('/a', {ext: {'b\r\nc': '\u0000'}}), session.message.publish('/a', 'x\r\nHost: evil', {id: '\r\n'})]);
  assert.equal(authority.asked[0].ext.token, 'a\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1');
  for (const {headers, url} of authority.calls.items) {
    assert.deepEqual(Object.keys(headers).sort(), ['accept', 'content-length', 'content-type', 'host']);
    assert.equal(url, '/decide');
  }
});

test('the breaker: after some failures it is not asked for a while, then by one request', async t => {
  const {authority, broker} = await scripted(t, {});
  const session = await poller(broker.bayeux);
  authority.script = {respond: (request, response) => response.writeHead(500).end()};
  const {length} = authority.calls;
  for (let i = 0; i < 20; i++) await session.post(subscribing(session, '/x'));
  const {openings, open: isOpen, failures, unavailable} = await counters(broker);
  assert.deepEqual([openings, isOpen, unavailable], [1, 1, 20]);
  assert.ok(failures < 20 && authority.calls.length - length === failures, `${failures} requests`);
  await broker.log.find(({event}) => event === 'authority.unavailable', 'a line in the log');
  // It hangs now: however many ask, one request shows it.
  let released;
  const gate = new Promise(resolve => { released = resolve; });
  authority.script = {answer: async () => { await gate; return {allow: true}; }};
  const before = authority.calls.length;
  const tries = [];
  await until(async () => {
    tries.push(session.post(subscribing(session, '/y')));
    return authority.calls.length > before;
  }, 'a try');
  for (let i = 0; i < 10; i++) assert.equal((await session.post(subscribing(session, '/z')))[0].error, '503:/z:Authority unavailable');
  assert.equal(authority.calls.length, before + 1);
  released();
  await Promise.all(tries);
  await session.subscribe('/z');
  assert.equal((await counters(broker)).open, 0);
  await broker.log.find(({event}) => event === 'authority.back', 'a line in the log');
});

test('one that does not answer: 503 in time, also for what waits behind it; requests at once are bounded', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.timeout': '500ms', 'authority.concurrency': 4});
  const sessions = await Promise.all(Array.from({length: 20}, () => poller(broker.bayeux)));
  authority.most = 0;
  authority.script = {respond: () => {}};
  const replies = await Promise.all(sessions.map(session => session.post(subscribing(session, '/x'))));
  assert.ok(replies.every(([{error}]) => error === '503:/x:Authority unavailable'));
  assert.ok(authority.most <= 4, `${authority.most} at once`);
  assert.equal((await counters(broker)).waiting, 0);
});

test('what waits is gathered: many clients, few requests, and everybody gets his own answer', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.concurrency': 2});
  authority.script = {answer: async q => {
    await sleep(20);
    return q.verb === 'handshake' ? {allow: true, user: `u${q.ext.n}`} : {allow: q.channel === `/own/${q.user}`, error: '403::Not yours'};
  }};
  const sessions = Array.from({length: 100}, () => new PollSession(broker.bayeux));
  await Promise.all(sessions.map((session, n) => session.handshake({ext: {n}})));
  const replies = await Promise.all(sessions.map((session, n) => session.post(subscribing(session, `/own/u${n}`, `/own/u${n + 1}`))));
  replies.forEach(([mine, other]) => assert.deepEqual([mine.successful, other.error], [true, '403::Not yours']));
  assert.equal(authority.asked.length, 300);
  assert.ok(authority.calls.length < 100, `${authority.calls.length} requests`);
  assert.ok(authority.calls.items.every(({requests}) => requests.length <= 100));
});

test('authority.cache: a permission holds for the user; not one with ext, nor a publish, unless it says so, nor a denial', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.cache': '10m'});
  const answers = {'/ext': {allow: true, ext: {a: 1}}, '/never': {allow: true, cache: false}, '/no': {allow: false}, '/may': {allow: true, cache: true}};
  authority.script = {answer: q => q.verb === 'handshake' ? {allow: true, user: q.ext?.user ?? 'ann'} : answers[q.channel] ?? {allow: true}};
  const [first, second, bob] = [0, 1, 2].map(() => new PollSession(broker.bayeux));
  await first.handshake();
  await second.handshake();
  await bob.handshake({ext: {user: 'bob'}});
  const times = async (session, make) => {
    const {length} = authority.asked;
    for (let i = 0; i < 3; i++) await session.post([make(session)]);
    return authority.asked.length - length;
  };
  const subscribe = (channel, extra) => session => session.message.subscribe(channel, extra);
  const publish = channel => session => session.message.publish(channel, 1);
  assert.equal(await times(first, subscribe('/a')), 1);
  assert.equal(await times(second, subscribe('/a')), 0, 'the same user');
  assert.equal(await times(bob, subscribe('/a')), 1, 'another one');
  assert.equal(await times(first, publish('/a')), 3, 'another verb; data may matter');
  assert.equal(await times(first, publish('/may')), 1);
  for (const channel of ['/ext', '/never', '/no']) assert.equal(await times(first, subscribe(channel)), 3, channel);
  assert.equal(await times(first, subscribe('/a', {ext: {snapshot: true}})), 3, 'ext may matter');
  const [reply] = await first.post([first.message.subscribe(['/a', '/b'])]);
  assert.equal(reply.successful, true);
  assert.equal(authority.asked.at(-1).channel, '/b', 'only what is not known');
  const {cached, cache_hits: hits} = {cached: (await counters(broker)).grants, ...(await counters(broker))};
  assert.ok(cached >= 4 && hits >= 7, `${cached} ${hits}`);
});

test('a client that leaves while it is asked; a broker that ends while it is asked', async t => {
  const {authority, broker} = await scripted(t);
  const socket = await Wire.client(t, asSocketUrl(broker.bayeux), '/free/a');
  const {length} = authority.calls;
  authority.script = {respond: () => {}};
  socket.send([socket.message.subscribe('/x'), socket.message.handshake()]);
  await authority.calls.count(length + 1);
  socket.ws.terminate();
  const left = open(broker.bayeux, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify([socket.message.handshake()])});
  left.response.catch(() => {});
  await authority.calls.count(length + 2);
  await left.abort();
  await until(async () => (await getJson(broker.admin('/v1/stats'))).json.sessions === 1, 'no more than the session that was there');
  const last = await Wire.open(t, asSocketUrl(broker.bayeux));
  last.send([last.message.handshake()]);
  await authority.calls.count(length + 3);
  await broker.stop();
});

test('what is published while it is asked arrives: a subscription begins in front of the question', async t => {
  const {authority, broker} = await scripted(t, {answer: q => (q.user === undefined ? {allow: true, user: 'ann'} : {allow: true})});
  const session = new PollSession(broker.bayeux);
  await session.handshake();
  authority.script = {answer: async q => {
    if (q.verb === 'subscribe') for (let i = 0; i < 3; i++) await post(broker.bayeux, [{channel: '/free/race', data: i}]);
    return {allow: true};
  }};
  const wire = await Wire.open(t, asSocketUrl(broker.bayeux));
  await wire.handshake();
  wire.connect();
  await wire.subscribe(['/free/race', '/asked']);
  await wire.inbox.count(3);
  assert.deepEqual(wire.inbox.items.map(({data}) => data), [0, 1, 2]);
});

test('--check-config: an authority that is named has a URL, and one that has a URL is asked', async () => {
  const check = (...sets) => run('mora-broker', ['--check-config', ...sets.flatMap(set => ['--set', set])]);
  const rules = `access.rules=${JSON.stringify(RULES)}`;
  for (const [sets, expected] of [
    [[rules], /authority\.url: access\.rules or access\.handshake name the authority/],
    [['access.mode=rules', 'access.handshake=authority'], /authority\.url: /],
    [['authority.url=http://127.0.0.1:1/'], /authority\.url: nobody asks it while access\.mode is open/],
    [[rules, 'authority.url=ftp://a/'], /authority\.url: .*http/], [[rules, 'authority.url=http:///x'], /authority\.url: /],
    [[rules, 'authority.url=http://a/\r\nb'], /authority\.url: /], [[rules, 'authority.url=http://a/', 'authority.timeout=0s'], /authority\.timeout: /],
    [[rules, 'authority.url=http://a/', 'authority.token=a\r\nX-Evil: 1'], /authority\.token: expected a token of visible ASCII characters; found a text\n$/],
  ]) {
    const {code, stderr} = await check(...sets);
    assert.equal(code, 2, String(sets));
    assert.match(stderr, expected);
  }
  assert.equal((await check(rules, 'authority.url=https://auth.example.org/mora', 'access.handshake=authority')).code, 0);
});
