// SPDX-License-Identifier: Apache-2.0
// The authority webhook under attack: one that answers in strange ways or not as HTTP, sessions that end while it is asked, questions
// that are too large, and permissions that are not to be shared.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, request} from './lib/http.mjs';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {Feed, sleep, until} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {Wire, asSocketUrl, poller} from './support/wire.mjs';

const RULES = [{channel: '/free/**', subscribe: 'any', publish: 'any'}, {channel: '/**', subscribe: 'authority', publish: 'authority'}];
const settings = (url, set = {}) => ({
  'access.rules': RULES, 'access.handshake': 'authority', 'authority.url': url, 'authority.timeout': '1s', 'broker.timeout': '10s', ...set,
});
const counters = async broker => (await getJson(broker.admin('/v1/stats'))).json.authority;

async function scripted(t, script, set) {
  const authority = await startScripted(t, script);
  return {authority, broker: await startBroker(t, {set: settings(authority.url, set)})};
}

const subscribing = (session, ...channels) => channels.map(channel => session.message.subscribe(channel));

// -- one that is hostile to the client of it -------------------------------------------------------

// Answers by hand, on the bare socket: `answer(socket, count)` for each request that came whole.
async function startBare(t, answer) {
  const asked = new Feed();
  const server = net.createServer(socket => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', part => {
      text += part;
      for (let found; (found = /^[^]*?\r\n\r\n/.exec(text));) {
        const length = Number(/content-length: (\d+)/i.exec(found[0])?.[1] ?? 0);
        if (text.length < found[0].length + length) return;
        const {requests} = JSON.parse(text.slice(found[0].length, found[0].length + length));
        text = text.slice(found[0].length + length);
        asked.push({requests, socket});
        answer(socket, requests, asked.length);
      }
    });
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { for (const {socket} of asked.items) socket.destroy(); server.close(); });
  return {asked, url: `http://127.0.0.1:${server.address().port}/`};
}
const allowAll = requests => JSON.stringify({answers: requests.map(() => ({allow: true, user: 'ann'}))});
const whole = body => `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

test('answers byte by byte, in chunks, behind 100 Continue, without a length; a kept connection that is closed: all are allowed', async t => {
  let way = 'plain';
  const ways = {
    'plain': (socket, body) => socket.write(whole(body)),
    'byte by byte': async (socket, body) => { for (const byte of whole(body)) { socket.write(byte); await sleep(1); } },
    'chunks': (socket, body) => socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${[...body].map(c => `1\r\n${c}\r\n`).join('')}0\r\n\r\n`),
    'continue': (socket, body) => socket.write(`HTTP/1.1 100 Continue\r\n\r\n${whole(body)}`),
    'no length': (socket, body) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`),
    'close behind it': (socket, body) => socket.end(whole(body)),
    'HTTP/1.0': (socket, body) => socket.end(whole(body).replace('1.1', '1.0')),
  };
  const authority = await startBare(t, (socket, requests) => ways[way](socket, allowAll(requests)));
  const broker = await startBroker(t, {set: settings(authority.url, {'authority.timeout': '5s'})});
  const session = await poller(broker.bayeux);
  for (way of Object.keys(ways)) {
    for (let i = 0; i < 5; i++) await session.subscribe(`/way/${i}`);
  }
  assert.equal((await counters(broker)).failures, 0);
});

test('a kept connection that takes the request and dies: asked again, or unavailable, never a denial', async t => {
  const authority = await startBare(t, (socket, requests, count) => (count % 2 ? socket.write(whole(allowAll(requests))) : socket.destroy()));
  const broker = await startBroker(t, {set: settings(authority.url)});
  const session = await poller(broker.bayeux);
  for (let i = 0; i < 10; i++) {
    const [reply] = await session.post(subscribing(session, '/x'));
    if (!reply.successful) assert.equal(reply.error, '503:/x:Authority unavailable');
  }
  assert.equal((await counters(broker)).denied, 0);
});

test('garbage instead of HTTP, heads without end, half answers: unavailable', async t => {
  const bad = {
    'no HTTP': socket => socket.end('yes\n'), 'a greeting': socket => socket.end('SSH-2.0-x\r\n'), 'nothing': socket => socket.end(),
    'too short a length': (socket, body) => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${body}`),
    'too long a length': (socket, body) => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n${body}`),
    'half a chunk': (socket, body) => socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${(2 * body.length).toString(16)}\r\n${body}`),
    'a negative length': (socket, body) => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n${body}`),
    'invalid UTF-8': socket => socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n{"answers":[{"allow":true,"ext":{"a":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}}]}')])),
    'a NUL': socket => socket.end('HTTP/1.1 200 OK\r\n\r\n{"answers":[{"allow":true,"ext":{"a":"\0"}}]}'),
    'a head without end': socket => { let left = 200; const more = () => { if (left-- > 0 && !socket.destroyed) socket.write(`x-h: ${'x'.repeat(8000)}\r\n`, more); }; socket.write('HTTP/1.1 200 OK\r\n', more); },
  };
  let way = '';
  const authority = await startBare(t, (socket, requests) => (way ? bad[way](socket, allowAll(requests)) : socket.write(whole(allowAll(requests)))));
  const broker = await startBroker(t, {set: settings(authority.url)});
  const session = await poller(broker.bayeux);
  for (const name of Object.keys(bad)) {
    way = name;
    const [reply] = await session.post(subscribing(session, '/x'));
    assert.deepEqual([reply.successful, reply.error], [false, '503:/x:Authority unavailable'], name);
    way = '';
    await session.subscribe('/good');
  }
});

// Denials, and behind them permissions that nobody asked for: a proxy that has lost count, or somebody behind it who splits answers.
const denyAll = requests => JSON.stringify({answers: requests.map(({verb}) => ({allow: verb === 'handshake'}))});
const allowance = whole(JSON.stringify({answers: [{allow: true, ext: {smuggled: true}}]}));

test('an answer that nobody asked for never answers the next question', async t => {
  const unasked = {
    'together with the answer': (socket, body) => socket.write(whole(body) + allowance),
    'half of it together': async (socket, body) => { socket.write(whole(body) + allowance.slice(0, 30)); await sleep(50); socket.write(allowance.slice(30)); },
    'behind an answer in chunks': (socket, body) => socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n${allowance}`),
    'a moment later': async (socket, body) => { socket.write(whole(body)); await sleep(30); socket.write(allowance); },
    'a moment later, the last byte much later': async (socket, body) => { socket.write(whole(body)); await sleep(30); socket.write(allowance.slice(0, -1)); await sleep(100); socket.write(allowance.slice(-1)); },
    'one byte': async (socket, body) => { socket.write(whole(body)); await sleep(30); socket.write('H'); },
    'many': async (socket, body) => { socket.write(whole(body)); for (let i = 0; i < 20; i++) { await sleep(5); socket.write(allowance); } },
    'and a close': async (socket, body) => { socket.write(whole(body)); await sleep(30); socket.end(allowance); },
  };
  let way = 'together with the answer';
  const authority = await startBare(t, (socket, requests) => unasked[way](socket, denyAll(requests)));
  const broker = await startBroker(t, {set: settings(authority.url)});
  const session = await poller(broker.bayeux);
  for (way of Object.keys(unasked)) {
    for (let i = 0; i < 3; i++) {
      const {length} = authority.asked;
      const [reply] = await session.post(subscribing(session, '/secret'));
      assert.deepEqual([reply.successful, reply.error, reply.ext], [false, '403:/secret:Not allowed', undefined], way);
      assert.equal(authority.asked.length, length + 1, `${way}: asked, not answered by what was there`);
      await sleep(60);   // let it come; that it did is what the counter says
    }
  }
  const {host} = (await getJson(broker.admin('/v1/stats'))).json;
  assert.ok(host.client_unasked >= 5 * 3, `${host.client_unasked} were seen on kept connections`);
  // libcurl throws away what is read together with the end of the chunks, and keeps the connection: 3 times.
  const {size} = new Set(authority.asked.items.map(({socket}) => socket));
  assert.ok(size >= authority.asked.length - 3, `${authority.asked.length} requests on ${size} connections: none of the others may be used again`);
});

test('a name that nobody has: unavailable, and what looking it up opens and closes is no client\'s', async t => {
  const broker = await startBroker(t, {set: settings('http://authority.invalid:1/', {'access.handshake': 'any'})});
  const wires = [];
  for (let i = 0; i < 12; i++) {
    wires.push(await Wire.client(t, asSocketUrl(broker.bayeux), '/free/a'));
    wires[i].send([{...wires[i].message.publish('/asked', i), id: `asked ${i}`}]);
    assert.equal((await wires[i].reply(`asked ${i}`)).error, '503:/asked:Authority unavailable');
  }
  for (const wire of wires) await wire.barrier().catch(error => assert.fail(error.message));
  assert.deepEqual(wires.map(({closed}) => closed), wires.map(() => null));
});

test('the session ends while it is asked: kicked, disconnected, drained; nothing is subscribed or published by it', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.timeout': '20s'});
  const watcher = await poller(broker.bayeux, '/free/w', '/asked');
  const ask = async (messages, end) => {
    const session = await poller(broker.bayeux);
    let release;
    const gate = new Promise(resolve => { release = resolve; });
    const {length} = authority.calls;
    authority.script = {answer: async () => { await gate; return {allow: true, ext: {late: true}}; }};
    const replies = session.post(messages(session));
    await authority.calls.count(length + 1);
    authority.script = {};
    await end(session);
    release();
    return {session, replies: await replies};
  };
  const messages = session => [session.message.subscribe('/late'), session.message.publish('/asked', 'late')];
  for (const end of [
    session => request(broker.admin(`/v1/clients/${session.clientId}`), {method: 'DELETE'}),
    session => session.post([session.message.disconnect()]),
  ]) {
    const {session, replies} = await ask(messages, end);
    for (const reply of replies) assert.deepEqual([reply.successful, reply.error, reply.ext], [false, `401:${session.clientId}:Unknown client`, undefined]);
  }
  assert.deepEqual(deliveries(await watcher.connect({timeout: 0})), []);
  const {json: {channels}} = await getJson(broker.admin('/v1/channels?prefix=/late'));
  assert.deepEqual(channels, []);
  // A drain waits for what is asked, no longer than for anything else.
  const last = ask(session => [session.message.subscribe('/drained')], async () => {
    process.kill(broker.pid, 'SIGTERM');
    await broker.log.find(({event}) => event === 'drain', 'the drain');
  });
  const ended = broker.endsByItself();
  const {replies: [reply]} = await last;
  assert.equal(reply.successful, true);
  assert.deepEqual(await ended, {code: 0, signal: null});
  broker.check();
});

test('a long message of many channels is not multiplied: what would be too much to ask is unavailable at once', async t => {
  const {authority, broker} = await scripted(t, {}, {'limits.message': '1MB', 'limits.body': '2MB'});
  const session = await poller(broker.bayeux);
  const {length} = authority.calls;
  const peak = () => Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'))[1]) / 1024;
  const before = peak();
  const channels = Array.from({length: 900}, (_, i) => `/many/${i}`);
  const replies = await session.post([session.message.subscribe(channels, {ext: {x: 'x'.repeat(500000)}})]);
  assert.match(replies[0].error, /^503:/);
  assert.ok(peak() - before < 200, `${peak() - before} MB more; all of it would be 450`);
  assert.equal(authority.calls.length, length);
  assert.equal((await counters(broker)).waiting, 0);
  await session.subscribe('/as/before');
});

test('a question that the service stumbles over does no harm to those that were gathered with it', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.concurrency': 1, 'authority.timeout': '20s'});
  const [bad, ...good] = await Promise.all(Array.from({length: 12}, () => poller(broker.bayeux)));
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  const stumble = async (request, response, questions) => {
    await gate;
    if (questions.some(q => q.ext?.poison)) response.writeHead(500).end('a trace of the stack');
    else response.end(allowAll(questions));
  };
  authority.script = {respond: stumble};
  const {length} = authority.calls;
  const first = good[0].post(subscribing(good[0], '/first'));
  await authority.calls.count(length + 1);   // the rest is gathered behind it
  const poison = bad.post([bad.message.subscribe('/a', {ext: {poison: true}}), bad.message.subscribe('/b')]);
  const others = good.map((session, i) => session.post(subscribing(session, `/others/${i}`, `/others/${i}/more`)));
  const gone = await Wire.open(t, asSocketUrl(broker.bayeux));
  gone.send([gone.message.handshake()]);
  await until(async () => (await counters(broker)).waiting === 1 + 2 + 2 * 11 + 1, 'all to wait');
  release();
  for (const reply of (await Promise.all([first, ...others])).flat()) assert.equal(reply.successful, true);
  assert.deepEqual((await poison).map(({successful, error}) => error ?? successful), ['503:/a:Authority unavailable', true]);
  await gone.frames.count(1);
  const {failures, openings, waiting} = await counters(broker);
  assert.deepEqual({failures, openings, waiting}, {failures: 2, openings: 0, waiting: 0});
  // One that stands nothing is not asked for each.
  authority.script = {respond: (request, response) => response.writeHead(500).end()};
  const before = authority.calls.length;
  const replies = await good[1].post(Array.from({length: 50}, (_, i) => good[1].message.subscribe(`/none/${i}`)));
  for (const reply of replies) assert.match(reply.error, /^503:/);
  assert.ok(authority.calls.length - before <= 6, `${authority.calls.length - before} requests`);
});

test('who lets large texts wait for a slow authority holds no more than its share, and others are heard', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.timeout': '20s'});
  const wires = await Promise.all(Array.from({length: 20}, () => Wire.client(t, asSocketUrl(broker.bayeux))));
  const agent = new http.Agent({localAddress: '127.0.0.2'});
  const other = new PollSession(broker.bayeux, {agent});
  await other.handshake();
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  authority.script = {answer: async () => { await gate; return {allow: true}; }};
  // One question, and much that is refused at once but stands in the same text.
  const fill = Array.from({length: 14}, () => ({channel: '/no%name', fill: 'x'.repeat(60000)}));
  const asks = wires.flatMap(wire => Array.from({length: 5}, (_, i) => ({wire, message: wire.message.publish('/asked', i)})));
  for (const {wire, message} of asks) wire.send([message, ...fill]);
  const {waiting} = await until(async () => {
    const numbers = await counters(broker);
    return numbers.waiting + numbers.unavailable === 100 && numbers;
  }, 'all of them to be taken or refused');
  assert.ok(waiting >= 30 && waiting <= 40, `${waiting} of 0.8 MB wait: half of what may`);
  const heard = other.post([other.message.publish('/asked', 'other')]);
  await until(async () => (await counters(broker)).waiting === waiting + 1, 'somebody else to wait, too');
  release();
  assert.equal((await heard)[0].successful, true);
  const replies = await Promise.all(asks.map(({wire, message}) => wire.reply(message.id)));
  assert.equal(replies.filter(({successful}) => successful).length, waiting);
  for (const {error, successful} of replies) if (!successful) assert.equal(error, '503:/asked:Authority unavailable');
  assert.equal((await counters(broker)).waiting, 0);
});

test('one websocket is not even read that far: what it sends is asked for when the authority answers, and nothing is refused', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.timeout': '20s'});
  const wire = await Wire.client(t, asSocketUrl(broker.bayeux));
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  authority.script = {answer: async () => { await gate; return {allow: true}; }};
  const fill = Array.from({length: 14}, () => ({channel: '/no%name', fill: 'x'.repeat(60000)}));
  const asks = Array.from({length: 40}, (_, i) => wire.message.publish('/asked', i));
  for (const ask of asks) wire.send([ask, ...fill]);
  const stats = async () => (await getJson(broker.admin('/v1/stats'))).json;
  await until(async () => (await stats()).host.websocket_pauses > 0, 'it to be left unread');
  const {waiting} = await counters(broker);
  assert.ok(waiting >= 4 && waiting <= 6, `${waiting} of 0.8 MB wait`);
  release();
  for (const ask of asks) assert.equal((await wire.reply(ask.id)).successful, true);
  assert.equal((await counters(broker)).unavailable, 0);
});

test('10,000 messages of one address wait for the authority, 20,000 in all; more are unavailable at once', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.timeout': '60s'});
  let release;
  const gate = new Promise(resolve => { release = resolve; });
  const sessions = await Promise.all(['127.0.0.1', '127.0.0.2', '127.0.0.3'].map(async localAddress => {
    const session = new PollSession(broker.bayeux, {agent: new http.Agent({localAddress})});
    await session.handshake();
    return session;
  }));
  authority.script = {answer: async () => { await gate; return {allow: true}; }};
  const publish = (session, count) => session.post(Array.from({length: count}, (_, i) => session.message.publish('/asked', i)), 60000);
  const answers = [];
  for (const [i, session] of sessions.slice(0, 2).entries()) {
    for (let n = 0; n < 10; n++) answers.push(publish(session, 1000));
    await until(async () => (await counters(broker)).waiting === 10000 * (i + 1), 'them to wait');
    const [refused] = await publish(session, 1);
    assert.equal(refused.error, '503:/asked:Authority unavailable', 'of this address');
  }
  assert.equal((await publish(sessions[2], 1))[0].error, '503:/asked:Authority unavailable', 'in all');
  const {waiting, unavailable} = await counters(broker);
  assert.deepEqual([waiting, unavailable], [20000, 3]);
  release();
  for (const answer of await Promise.all(answers)) assert.ok(answer.every(({successful}) => successful));
  assert.equal((await publish(sessions[2], 1))[0].successful, true);
});

test('one whose questions the service stumbles over: others keep the breaker closed; alone it opens it, which ends no session and lasts no longer than it goes on', async t => {
  const {authority, broker} = await scripted(t, {}, {'authority.cache': '10m'});
  const [attacker, other] = [await poller(broker.bayeux), await poller(broker.bayeux)];
  await other.subscribe('/free/a');
  authority.script = {respond: (request, response, questions) =>
    (questions.some(({channel}) => channel === '/bad') ? response.writeHead(500).end() : response.end(JSON.stringify({answers: questions.map(() => ({allow: true}))})))};
  const attack = async () => (await attacker.post(subscribing(attacker, '/bad')))[0].error;
  for (let i = 0; i < 10; i++) {
    assert.equal(await attack(), '503:/bad:Authority unavailable');
    await other.subscribe(`/good/${i}`);
  }
  assert.equal((await counters(broker)).openings, 0);
  for (let i = 0; i < 5; i++) await attack();
  assert.equal((await counters(broker)).open, 1);
  assert.equal((await other.post(subscribing(other, '/good/more')))[0].error, '503:/good/more:Authority unavailable');
  await other.publish('/free/a', 1);
  await other.poll(all => all.length === 1, 'a message, as before');
  await until(async () => (await other.post(subscribing(other, '/good/more')))[0].successful, 'the first good question to close it');
  assert.equal((await counters(broker)).open, 0);
});

test('of a session without a user nothing is kept: what one may is not what all may', async t => {
  let mine;
  const {authority, broker} = await scripted(t, {}, {'authority.cache': '10m'});
  authority.script = {answer: q => (q.verb === 'handshake' ? {allow: true} : q.channel === '/all' ? {allow: true, cache: true} : {allow: q.client === mine})};
  const [first, second] = [await poller(broker.bayeux), await poller(broker.bayeux)];
  mine = first.clientId;
  await first.subscribe('/own');
  assert.match((await second.post(subscribing(second, '/own')))[0].error, /^403:/);
  await first.subscribe('/all');
  const {length} = authority.asked;
  await second.subscribe('/all');
  assert.equal(authority.asked.length, length, 'it said so');
});
