// SPDX-License-Identifier: Apache-2.0
// Streams of events: what comes again after a break and what does not, who takes over from whom, and
// how a stream ends.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, request} from './lib/http.mjs';
import {until} from './lib/wait.mjs';
import {Events} from './support/events.mjs';
import {Wire, asSocketUrl, drain, poller, post, publish, settle} from './support/wire.mjs';

const stats = async broker => (await getJson(broker.admin('/v1/stats'))).json;
const clientOf = async (broker, id) => (await getJson(broker.admin(`/v1/clients/${id}`))).json;
const connect = (session, more) => post(session.url, [{...session.message.connect(more), connectionType: 'eventsource'}]);
const dataOf = messages => messages.filter(m => m.channel === '/e').map(m => m.data);

// A session with its stream open.
async function streaming(t, broker) {
  const session = await poller(broker.bayeux, '/e');
  await connect(session);
  session.path = `${broker.bayeux}/${session.clientId}`;
  const stream = await Events.open(t, session.path);
  await stream.until(/retry/);
  return {session, stream};
}

async function publishAll(broker, ...data) {
  for (const each of data) await publish(broker.bayeux, '/e', each);
}

test('a client that comes back with the id of its last event gets what is behind it', async t => {
  const broker = await startBroker(t);
  const {session, stream} = await streaming(t, broker);
  await publishAll(broker, 1, 2, 3);
  await stream.come(3);
  stream.reset();
  await publishAll(broker, 4);
  const again = await Events.again(t, session.path, stream);
  await publishAll(broker, 5);
  assert.deepEqual(dataOf(await again.come(2)), [4, 5]);
});

test('what the client did not have of a broken stream comes again', async t => {
  const broker = await startBroker(t);
  const {session, stream} = await streaming(t, broker);
  for (const n of [1, 2, 3, 4]) {
    await publishAll(broker, n);
    await stream.come(n);
  }
  const {id} = stream.events.find(event => event.data.some(m => m.data === 2));
  stream.close();
  const again = await Events.open(t, session.path, {Accept: 'text/event-stream', 'Last-Event-ID': id});
  assert.deepEqual(dataOf(await again.come(2)), [3, 4]);
  // Without an id nothing is known to have arrived.
  again.close();
  await until(async () => (await clientOf(broker, session.clientId)).state === 'away', 'the end of the stream');
  const third = await Events.open(t, session.path);
  assert.deepEqual(dataOf(await third.come(2)), [3, 4]);
});

test('a stream that takes over from an open one is told by the id alone', async t => {
  const broker = await startBroker(t);
  const {session, stream} = await streaming(t, broker);
  await publishAll(broker, 1, 2);
  await stream.come(2);
  const second = await Events.again(t, session.path, stream);
  await stream.ended();
  await publishAll(broker, 3);
  assert.deepEqual(dataOf(await second.come(1)), [3]);
  const third = await Events.open(t, session.path);
  assert.deepEqual(dataOf(await third.come(1)), [3]);
  await second.ended();
  await until(async () => (await stats(broker)).transport.streams === 1, 'one stream to be left');
});

test('an id that cannot be is counted, and nothing is lost by it', async t => {
  const broker = await startBroker(t);
  const {session, stream} = await streaming(t, broker);
  await publishAll(broker, 1);
  await stream.come(1);
  stream.close();
  let n = 0;
  for (const id of ['x', '-1', '9007199254740991', '99999999999999999999', '1', '1-', '%00']) {
    const again = await Events.open(t, session.path, {Accept: 'text/event-stream', 'Last-Event-ID': id});
    assert.deepEqual(dataOf(await again.come(1)), [1], id);
    again.close();
    assert.equal((await stats(broker)).bad_event_ids, ++n, id);
  }
});

test('connects confirm what the stream was given, one connect later', async t => {
  const broker = await startBroker(t);
  const {session, stream} = await streaming(t, broker);
  const {head} = await stats(broker);
  await publishAll(broker, 1);
  await stream.come(1);
  const [first] = await connect(session);
  assert.equal(first.advice.timeout, 0);
  assert.equal(first.advice.interval, 60000);
  assert.equal((await clientOf(broker, session.clientId)).conf, head);
  await connect(session);
  assert.equal((await clientOf(broker, session.clientId)).conf, head + 1);
  stream.close();
  await publishAll(broker, 2);
  const again = await Events.open(t, session.path);
  assert.deepEqual(dataOf(await again.come(1)), [2]);
});

test('a websocket and a poll take over from a stream, and it from them: nothing lost, nothing twice', async t => {
  const broker = await startBroker(t);
  const {session, stream} = await streaming(t, broker);
  await publishAll(broker, 1);
  await stream.come(1);
  const socket = await Wire.open(t, asSocketUrl(broker.bayeux));
  socket.clientId = session.clientId;
  socket.connect();
  await stream.ended();
  await publishAll(broker, 2);
  await socket.come(1);
  assert.deepEqual(dataOf(socket.messages), [2]);
  const back = await Events.open(t, session.path);
  await socket.ended();
  await publishAll(broker, 3);
  assert.deepEqual(dataOf(await back.come(1)), [3]);
  assert.deepEqual(dataOf(await drain(session)), []);
  await back.ended();
  await publishAll(broker, 4);
  assert.deepEqual(dataOf(await drain(session)), [4]);
});

test('a client that reads slowly gets everything, in order', async t => {
  const broker = await startBroker(t);
  const {stream} = await streaming(t, broker);
  stream.response.pause();
  const count = 300, text = 'x'.repeat(20000);
  for (let n = 0; n < count; n += 10)
    await post(broker.bayeux, Array.from({length: 10}, (_, i) => ({channel: '/e', data: {n: n + i, text}})));
  await until(async () => (await stats(broker)).overflows > 0, 'its outbox to overflow');
  stream.response.resume();
  const got = (await stream.come(count)).map(m => m.data.n);
  assert.deepEqual(got, Array.from({length: count}, (_, n) => n));
  assert.equal((await stats(broker)).host.stream_overflows, 0);
});

test('line ends inside a message do not end its event', async t => {
  const broker = await startBroker(t);
  const {stream} = await streaming(t, broker);
  await request(broker.bayeux, {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: '[{"channel":"/e",\r\n"data":{"a":\n1,\r"b":"\\n"}}]'});
  assert.deepEqual(dataOf(await stream.come(1)), [{a: 1, b: '\n'}]);
});

test('a disconnect, an expiry and a drain end the stream', async t => {
  const broker = await startBroker(t, {set: {'broker.timeout': '500ms'}});
  const gone = await streaming(t, broker), expires = await streaming(t, broker);
  await gone.session.disconnect();
  await gone.stream.ended();
  await expires.stream.ended();
  assert.equal((await stats(broker)).expired, 1);
  const drained = await streaming(t, broker);
  await broker.stop();
  await drained.stream.ended();
});

test('an unknown client gets no stream', async t => {
  const broker = await startBroker(t);
  for (const id of ['', 'nobody', 'x'.repeat(200), '%22%5c']) {
    const answer = await request(`${broker.bayeux}/${id}`, {headers: {Accept: 'text/event-stream'}});
    assert.equal(answer.status, 404, id);
  }
  assert.equal((await stats(broker)).transport.streams_refused, 4);
  assert.equal((await stats(broker)).transport.streams, 0);
});

test('a client that takes nothing for two pings is closed, one that is only idle is not', async t => {
  const broker = await startBroker(t, {set: {'broker.ping': '200ms'}});
  const {stream: idle} = await streaming(t, broker);
  const {stream, session} = await streaming(t, broker);
  stream.request.socket.pause();
  const text = 'x'.repeat(60000);
  await until(async () => {
    await post(broker.bayeux, Array.from({length: 10}, () => ({channel: '/e', data: text})));
    return (await stats(broker)).transport.streams_unresponsive === 1;
  }, 'the stream to be closed');
  assert.equal((await clientOf(broker, session.clientId)).state, 'away');
  await idle.until(/(^:\r\n\r\n[^]*){4}/m);
  await settle(broker.bayeux);
  assert.equal(idle.over, false);
});
