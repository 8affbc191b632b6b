// SPDX-License-Identifier: Apache-2.0
// Where Faye loses, doubles, leaks or hangs, Mora must not: connections that break at every moment,
// clients that never change their message ids, pollers that fight, members that lie.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {Ledger} from './lib/ledger.mjs';
import {deliveries} from './lib/bayeux.mjs';
import {getJson, keepAlive, postJson, resetSocket} from './lib/http.mjs';
import {sleep, until} from './lib/wait.mjs';
import {Wire, deafPoll, drain, hold, isPending, poller, pollerOf, post, publish, settle} from './support/wire.mjs';
import {sharedBroker} from './support/shared.mjs';

const broker = sharedBroker({set: {'broker.timeout': '10s'}});
let serial = 0;
const freshChannel = () => `/faults/${++serial}`;

// -- polls -------------------------------------------------------------------------------------

test('a superseded poll is answered at once', async () => {
  const {bayeux} = await broker();
  const channel = freshChannel();
  const session = await poller(bayeux, channel);
  const first = hold(session);
  await first.sent;
  await settle(bayeux);
  const second = hold(session);
  await second.sent;
  assert.deepEqual((await first.answer).map(m => m.successful), [true]);
  assert.ok(await isPending(second.answer));
  await publish(bayeux, channel, 1);
  assert.deepEqual(deliveries(await second.answer), [{channel, data: 1}]);
});

// The moments at which a poll's connection breaks, seen from its answer.
const MOMENTS = {
  async 'before the answer'(url, channel, n, poll, how) {
    poll.end(how);
    await publish(url, channel, n);
  },
  async 'while the answer is written'(url, channel, n, poll, how) {
    const published = publish(url, channel, n);
    for (let i = n % 7; i > 0; i--) await sleep(0);
    poll.end(how);
    await published;
  },
  async 'when the answer lies unread'(url, channel, n, poll, how) {
    await publish(url, channel, n);
    await settle(url);
    poll.end(how);
  },
};

for (const how of ['close', 'reset']) {
  for (const [moment, breakIt] of Object.entries(MOMENTS)) {
    for (const id of ['changing', 'constant']) {
      test(`a poll that ends by ${how} ${moment}, ${id} message ids: the next poll brings the messages`, async t => {
        const {bayeux} = await broker();
        const channel = freshChannel();
        const session = await poller(bayeux, channel);
        const extra = id === 'constant' ? {id: 'c'} : {};
        session.agent = keepAlive(t);
        for (let n = 0; n < 50; n++) {
          const poll = await deafPoll(session, extra);
          await settle(bayeux);
          await breakIt(bayeux, channel, n, poll, how);
          if (n % 2) session.agent = n % 4 === 1 ? undefined : keepAlive(t);   // a new connection, or one that is open
          assert.deepEqual(await drain(session, extra), [{channel, data: n}], `round ${n}`);
        }
        assert.deepEqual(await drain(session, extra), []);
      });
    }
  }
}

test('a client whose connects all have the same id gets everything once and in order', async t => {
  const {bayeux} = await broker();
  for (const agent of [keepAlive(t), undefined]) {
    const channel = freshChannel();
    const session = await poller(bayeux, channel);
    session.agent = agent;
    const ledger = new Ledger('constant ids');
    const publishing = (async () => {
      for (let n = 0; n < 300; n++) await publish(bayeux, channel, {n});
    })();
    while (ledger.got.length < 300) {
      for (const {data} of deliveries(await session.connect({id: 'c', timeout: 500}))) ledger.add(data);
    }
    await publishing;
    assert.deepEqual(await drain(session, {id: 'c'}), []);
    ledger.once(300);
  }
});

// -- websockets --------------------------------------------------------------------------------

for (const how of ['close', 'reset', 'silence']) {
  test(`an old socket that ends by ${how} spares the new one`, async t => {
    const {bayeux, socket: url} = await broker();
    const channel = freshChannel();
    const old = await Wire.client(t, url, channel);
    if (how !== 'close') old.deafen();   // it does not even see that it is replaced
    const fresh = await Wire.open(t, url);
    fresh.clientId = old.clientId;
    fresh.connect();
    await fresh.gather();
    if (how === 'close') await old.close();
    if (how === 'reset') resetSocket(old.ws._socket);
    for (let n = 0; n < 5; n++) {
      await settle(bayeux);
      await publish(bayeux, channel, n);
    }
    assert.deepEqual((await fresh.barrier()).map(m => m.data), [0, 1, 2, 3, 4]);
    assert.equal(fresh.closed, null);
  });
}

// Publishes n = 0, 1, ... one after the other until stop(); sentAt[n] is when.
function publisher(url, channel, pause) {
  const self = {sentAt: [], running: true};
  const done = (async () => {
    for (let n = 0; self.running; n++) {
      self.sentAt.push(Date.now());
      await publish(url, channel, {n});
      await sleep(pause);
    }
  })();
  self.stop = () => { self.running = false; return done; };
  return self;
}

test('a websocket that is reset and resumed gets everything, in order; repeats are from the last 2 s', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const {clientId} = await poller(bayeux, channel);
  const feed = publisher(bayeux, channel, 5);
  let next = 0;   // the first message that has not arrived
  for (let round = 0; round < 12; round++) {
    const socket = await Wire.open(t, url);
    socket.clientId = clientId;
    socket.connect();
    await socket.inbox.count(20 + round * 10, 'messages after resuming');
    if (round === 6) await sleep(4000);       // long enough for the first ones to be confirmed
    if (round % 2) socket.deafen();           // what comes now stays unread
    await sleep(round % 2 ? 30 : 0);
    const brokenAt = Date.now();
    await socket.reset();
    const got = socket.inbox.items.map(m => m.data.n);
    got.forEach((n, i) => assert.equal(n, got[0] + i, 'in order and without a hole'));
    assert.ok(got[0] <= next, `round ${round}: starts at ${got[0]}, but ${next} is missing`);
    if (got[0] < next) assert.ok(feed.sentAt[got[0]] > feed.brokenAt - 3000, `repeats what was sent ${feed.brokenAt - feed.sentAt[got[0]]} ms before`);
    next = Math.max(next, got.at(-1) + 1);
    feed.brokenAt = brokenAt;
  }
  await feed.stop();
  const rest = await drain(pollerOf(bayeux, clientId));
  assert.ok(rest.length === 0 || rest[0].data.n <= next);
  assert.equal(rest.length > 0 ? rest.at(-1).data.n : next - 1, feed.sentAt.length - 1);
});

test('what a websocket has not confirmed comes again on a poll', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const socket = await Wire.client(t, url, channel);
  socket.deafen();
  for (let n = 0; n < 20; n++) await publish(bayeux, channel, n);
  await socket.reset();
  await publish(bayeux, channel, 20);
  assert.deepEqual((await drain(pollerOf(bayeux, socket.clientId))).map(m => m.data), Array.from({length: 21}, (_, n) => n));
});

test('a websocket that misses two pings is given up, its session is not', async t => {
  const {bayeux, socket: url, admin} = await startBroker(t, {set: {'broker.ping': '150ms'}});
  const channel = freshChannel();
  const silent = await Wire.client(t, url, channel);
  const answering = await Wire.client(t, url, channel);
  silent.deafen();
  const transport = async () => (await getJson(admin('/v1/stats'))).json.transport;
  await until(async () => (await transport()).unresponsive === 1, 'the silent websocket to be given up');
  await publish(bayeux, channel, 'kept');
  assert.deepEqual(await answering.barrier(), [{channel, data: 'kept'}]);
  assert.deepEqual(await drain(pollerOf(bayeux, silent.clientId)), [{channel, data: 'kept'}]);
  assert.equal((await transport()).unresponsive, 1);
});

test('a held connect delays no neighbour of its frame', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const socket = await Wire.open(t, url);
  await socket.handshake();
  await socket.gather();
  const {connect, subscribe, publish: say} = socket.message;
  const [held, ...others] = [connect(), subscribe(channel), say(channel, 'x')];
  socket.send([held, ...others]);
  for (const {id} of others) assert.equal((await socket.reply(id)).successful, true);
  assert.ok(!(await socket.gather()).some(m => m.id === held.id));
  await publish(bayeux, channel, 'y');
  assert.deepEqual(await socket.barrier(), [{channel, data: 'y'}]);
});

test('a wish for a longer hold is capped at the time of the mount', async t => {
  const {bayeux, socket: url} = await startBroker(t, {set: {'broker.timeout': '300ms'}});
  const session = await poller(bayeux);
  for (const timeout of [3600000, 1e300]) assert.equal((await session.connect({timeout}))[0].successful, true);
  const socket = await Wire.open(t, url);
  await socket.handshake();
  assert.equal((await socket.reply(socket.connect({timeout: 3600000}))).successful, true);
});

// -- bytes -------------------------------------------------------------------------------------

const LINE = '\u2028';
const VALUES = ['1.10', '12345678901234567890', '-0', '1e999', `0.${'1'.repeat(400)}`, '{"b":1,"a":2,"b":3}', '"\\u0041\\/\\n"', '"\\ud800"',
  '"\\u0000"', '"\ud83d\ude00 \u00e9"', `"${LINE}"`, '[ 1 ,\t2 ]', '{ "a" : { } }', 'null', 'false', '""', '[]', '"</script>"'];

for (const by of ['poll', 'websocket', 'admin']) {
  test(`data passes byte for byte, published by ${by}`, async t => {
    const {bayeux, socket: url, admin} = await broker();
    const channel = freshChannel();
    const session = await poller(bayeux, channel);
    const listener = await Wire.client(t, url, channel);
    const publisherSocket = await Wire.open(t, url);
    for (const value of VALUES) {
      const message = `{"channel":"${channel}","data":${value},"id":"x"}`;
      listener.texts.length = 0;
      if (by === 'poll') assert.equal((await post(bayeux, message))[0].successful, true);
      if (by === 'websocket') publisherSocket.send(`[${message}]`);
      if (by === 'websocket') await publisherSocket.barrier();
      if (by === 'admin') assert.equal((await postJson(admin('/v1/publish'), `{"channel":"${channel}","data":${value}}`)).status, 200);
      await listener.barrier();
      assert.ok(listener.texts.some(text => text.includes(`"data":${value}`)), `websocket: ${value} in ${listener.texts}`);
      const {text} = await postJson(bayeux, [session.message.connect({advice: {timeout: 0}})]);
      assert.ok(text.includes(`"data":${value}`), `poll: ${value} in ${text}`);
    }
  });
}

// -- members -----------------------------------------------------------------------------------

test('members that could fake a reply, and ext, are not forwarded; unknown ones are', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const listener = await Wire.client(t, url, channel);
  const session = await poller(bayeux, channel);
  const sent = {channel, data: {n: 1}, id: 'p', clientId: session.clientId, ext: {password: 'secret'}, advice: {reconnect: 'none'},
    successful: true, subscription: '/x', version: '1.0', custom: {a: [1]}, timestamp: 'now'};
  await post(bayeux, [sent]);
  const expected = [{channel, data: {n: 1}, id: 'p', custom: {a: [1]}, timestamp: 'now'}];
  assert.deepEqual(await listener.barrier(), expected);
  assert.deepEqual(await drain(session), expected);
});

test('a message with an error member is refused and reaches nobody', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const listener = await Wire.client(t, url, channel);
  for (const error of ['custom', '', null, 0, {}]) {
    const [reply] = await post(bayeux, [{channel, data: 1, error}]);
    assert.deepEqual([reply.successful, reply.error], [false, '400::Bad request'], JSON.stringify(error));
  }
  assert.deepEqual(await listener.barrier(), []);
});

test('a dead clientId may not publish, on both transports; nobody gets the message', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const listener = await Wire.client(t, url, channel);
  const session = await poller(bayeux);
  await session.disconnect();
  const message = {...session.message.publish(channel, 1), id: 'dead'};
  const other = await Wire.open(t, url);
  other.send([message]);
  for (const reply of [(await post(bayeux, [message]))[0], await other.reply('dead')]) {
    assert.equal(reply.successful, false);
    assert.equal(reply.error, `401:${session.clientId}:Unknown client`);
    assert.equal(reply.advice.reconnect, 'handshake');
    assert.ok(reply.advice.interval >= 1000 && reply.advice.interval <= 2000);
  }
  assert.deepEqual(await listener.barrier(), []);
});

test('/service/** reaches no wildcard subscriber, and may not be subscribed', async t => {
  const {bayeux, socket: url} = await broker();
  const listener = await Wire.client(t, url, '/**', '/*');
  for (const pattern of ['/service/**', '/service/*', '/service/x', '/service']) {
    const [reply] = await post(bayeux, [listener.message.subscribe(pattern)]);
    assert.equal(reply.error, `403:${pattern}:Forbidden channel`);
  }
  await post(bayeux, [{channel: '/service/x', data: 1}, {channel: '/service/x/y', data: 2}, {channel: '/services', data: 3}]);
  assert.deepEqual((await listener.barrier()).map(m => m.data), [3]);
});

test('after unsubscribing nothing more comes, after subscribing again nothing of the time between', async t => {
  const {bayeux, socket: url} = await broker();
  const channel = freshChannel();
  const listener = await Wire.client(t, url, `${channel}/*`, `${channel}/a`);
  const session = await poller(bayeux, `${channel}/*`, `${channel}/a`);
  const arrives = async (data, expected) => {
    await publish(bayeux, `${channel}/a`, data);
    const messages = expected ? [{channel: `${channel}/a`, data}] : [];
    assert.deepEqual(deliveries(await listener.gather()), messages);
    assert.deepEqual(await drain(session), messages);
  };
  const both = (verb, pattern) => Promise.all([listener, session].map(each => each[verb](pattern)));
  await arrives(1, true);
  await both('unsubscribe', `${channel}/a`);
  await arrives(2, true);    // by the pattern
  await both('unsubscribe', `${channel}/*`);
  await arrives(3, false);
  await publish(bayeux, `${channel}/a`, 'in between');
  await both('subscribe', `${channel}/a`);
  await arrives(4, true);
});

// -- advice ------------------------------------------------------------------------------------

test('refused handshakes and connects advise an interval that is spread from 1000 to 2000', async () => {
  const {bayeux} = await broker();
  for (const message of [{channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['smoke']},
    {channel: '/meta/connect', clientId: 'nobody', connectionType: 'long-polling'}]) {
    const replies = await post(bayeux, Array.from({length: 60}, () => message));
    const intervals = replies.map(m => m.advice.interval);
    assert.equal(intervals.length, 60);
    assert.ok(replies.every(m => m.successful === false && m.advice.reconnect === 'handshake'));
    assert.ok(intervals.every(ms => Number.isInteger(ms) && ms >= 1000 && ms <= 2000), String(intervals));
    assert.ok(intervals.some(ms => ms < 1500) && intervals.some(ms => ms > 1500), 'spread');
  }
});

// Eight connects that supersede each other; the intervals advised to the losers.
const FIGHTS = {
  async poll(t, {bayeux}) {
    const session = await poller(bayeux);
    const polls = [];
    for (let i = 0; i < 9; i++) {
      polls.push(hold(session));
      await polls.at(-1).sent;
      await settle(bayeux);
    }
    t.after(() => polls.at(-1).abort());
    return Promise.all(polls.slice(0, 8).map(async poll => (await poll.answer)[0]));
  },
  async websocket(t, {socket: url}) {
    const socket = await Wire.open(t, url);
    await socket.handshake();
    const ids = Array.from({length: 9}, () => socket.connect());
    return Promise.all(ids.slice(0, 8).map(id => socket.reply(id)));
  },
};
for (const [name, fight] of Object.entries(FIGHTS)) {
  test(`connects that supersede each other are slowed down: ${name}`, async t => {
    const replies = await fight(t, await broker());
    assert.ok(replies.every(m => m.successful));
    const wanted = [0, 0, 0, 1000, 2000, 4000, 5000, 5000];
    replies.forEach(({advice: {interval}}, i) => {
      assert.ok(interval >= 0.8 * wanted[i] && interval <= 1.2 * wanted[i], `${i + 1}: ${interval} instead of about ${wanted[i]}`);
    });
  });
}

broker.endsWell();
