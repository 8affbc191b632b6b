// SPDX-License-Identifier: Apache-2.0
// What an operator is told by numbers: each drop, refusal and overflow is counted, once.

import assert from 'node:assert/strict';
import http from 'node:http';
import {once} from 'node:events';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';
import {Wire, asSocketUrl, poller, pollerOf, publish} from './support/wire.mjs';

// What `action` adds to the numbers: `counted(name, by)` asserts it, names as in /v1/stats.
async function during(broker, action) {
  const read = async () => (await getJson(broker.admin('/v1/stats'))).json;
  const at = (all, name) => name.split('.').reduce((object, part) => object[part], all);
  const before = await read();
  await action();
  const after = await read();
  return (name, by) => assert.equal(at(after, name) - at(before, name), by, `${name}: ${at(before, name)} to ${at(after, name)}`);
}

const lines = (text, name) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);

test('publishes: by whom, how often the same, in the journal', async t => {
  const broker = await startBroker(t);
  const once = {channel: '/a', data: 1, id: 'once'};
  const counted = await during(broker, async () => {
    await publish(broker.bayeux, '/a', 1);
    await postJson(broker.admin('/v1/publish'), once);
    await postJson(broker.admin('/v1/publish'), [once, {channel: '/a/*', data: 1}, {channel: '/a', data: 2}]);
    await postJson(broker.admin('/v1/publish'), '{');
  });
  counted('published', 4);
  counted('repeated_publishes', 1);
  counted('appended', 3);
  counted('publish.requests', 3);
  counted('publish.acknowledged', 3);
  counted('publish.bad', 2);
  const {text} = await request(broker.admin('/metrics'));
  assert.equal(lines(text, 'mora_repeated_publishes_total'), 1);
  assert.equal(lines(text, 'mora_journal_appended_total'), 3);
});

test('what clients send in vain', async t => {
  const broker = await startBroker(t, {set: {'limits.batch': 3}});
  const {bayeux} = broker;
  const socket = await Wire.open(t, asSocketUrl(bayeux));
  const counted = await during(broker, async () => {
    assert.equal((await postJson(bayeux, [], {headers: {Origin: 'http://evil.example'}})).status, 403);
    assert.equal((await request(bayeux, {method: 'POST', body: 'message=[', headers: {'Content-Type': 'application/x-www-form-urlencoded'}})).status, 400);
    assert.equal((await postJson(bayeux, '{')).status, 400);
    assert.equal((await postJson(bayeux, [{}, {}, {}, {}])).status, 400);
    assert.equal((await request(broker.url('broker', '/nowhere'))).status, 404);
    socket.send('{');
    await socket.frames.count(1);
    const [reply] = (await postJson(bayeux, [{channel: '/a', data: 1, clientId: 'nobody'}])).json;
    assert.equal(reply.successful, false);
  });
  counted('transport.refused_origins', 1);
  counted('transport.bad_requests', 3);
  counted('transport.polled', 4);
  counted('transport.form_requests', 1);
  counted('transport.json_requests', 3);
  counted('bad_texts', 4);
  counted('over_limits', 1);
  counted('refused_messages', 1);
});

test('a socket that breaks before it confirmed: once as a fallback, its messages as sent again', async t => {
  const broker = await startBroker(t);
  const {bayeux} = broker;
  const socket = await Wire.client(t, asSocketUrl(bayeux), '/a');
  const counted = await during(broker, async () => {
    for (const n of [1, 2, 3]) await publish(bayeux, '/a', n);
    await socket.inbox.count(3);
    await socket.reset();
    const session = pollerOf(bayeux, socket.clientId);
    await session.poll(inbox => inbox.length >= 3, 'the messages again');
  });
  counted('fallbacks', 1);
  counted('resent', 3);
  counted('delivered', 6);
});

test('a socket that does not read: its outbox overflows, and it is read forward when it reads', async t => {
  const broker = await startBroker(t, {set: {'limits.outbox': '4KB'}});
  const {bayeux} = broker;
  const socket = await Wire.client(t, asSocketUrl(bayeux), '/a');
  const data = 'x'.repeat(50000);
  const stats = async () => (await getJson(broker.admin('/v1/stats'))).json;
  socket.ws._socket.pause();
  let sent = 0;
  await until(async () => {
    for (let n = 0; n < 20; n++, sent++) await publish(bayeux, '/a', data);
    return (await stats()).overflows > 0;
  }, 'an overflow', 30000);
  assert.equal((await stats()).reading, 1);
  socket.ws._socket.resume();
  await socket.inbox.count(sent);
  const after = await stats();
  assert.ok(after.read_steps > 0);
  assert.ok(after.host.websocket_partials > 0);
  assert.equal(after.live, 1);
});

test("connects that take each other's place", async t => {
  const broker = await startBroker(t);
  const session = await poller(broker.bayeux);
  const counted = await during(broker, async () => {
    const first = session.connect();
    await until(async () => (await getJson(broker.admin('/v1/stats'))).json.transport.polls === 1, 'the first to be held');
    const second = session.connect({timeout: 0});
    await Promise.all([first, second]);
  });
  counted('superseded', 1);
  counted('connects', 2);
});

test('a reader of /v1/tail that does not read: what it missed', async t => {
  const broker = await startBroker(t);
  const asked = http.get(broker.admin('/v1/tail?channel=/a'));
  t.after(() => asked.destroy());
  asked.on('error', () => {});
  const [response] = await within(once(asked, 'response'), 'the head of the stream');
  response.pause();
  const data = 'x'.repeat(60000);
  await until(async () => {
    const batch = Array.from({length: 50}, () => ({channel: '/a', data}));
    await postJson(broker.admin('/v1/publish'), batch);
    return (await getJson(broker.admin('/v1/stats'))).json.admin.tail_dropped > 0;
  }, 'something to be dropped', 30000);
});

test('requests without the token', async t => {
  const broker = await startBroker(t, {set: {'admin.token': 'sesame'}});
  const headers = {Authorization: 'Bearer sesame'};
  const read = async () => (await getJson(broker.admin('/v1/stats'), {headers})).json;
  const before = await read();
  for (let n = 0; n < 2; n++) assert.equal((await postJson(broker.admin('/v1/publish'), {channel: '/a', data: 1})).status, 401);
  for (const path of ['/v1/stats', '/metrics', '/v1/tail?channel=/a']) assert.equal((await request(broker.admin(path))).status, 401);
  const after = await read();
  assert.equal(after.publish.unauthorized - before.publish.unauthorized, 2);
  assert.equal(after.admin.unauthorized - before.admin.unauthorized, 3);
  assert.equal(after.publish.requests - before.publish.requests, 2);
  assert.equal(after.published, before.published);
});
