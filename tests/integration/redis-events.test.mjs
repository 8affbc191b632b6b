// SPDX-License-Identifier: Apache-2.0
// Streams of events on several nodes: they are opened on any of them, connects may reach another, and the
// id of the last event says on every node where to go on.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {Events} from './support/events.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {poller, post, publish} from './support/wire.mjs';

const dataOf = messages => messages.filter(m => m.channel === '/e').map(m => m.data);

test('a stream on one node, connects on another', async t => {
  needsRedis(t);
  const {nodes: [a, b]} = await startCluster(t, {set: {'broker.timeout': '1s'}});
  const session = await poller(a.bayeux, '/e');
  const stream = await Events.open(t, `${b.bayeux}/${session.clientId}`);
  // Three lives of the session, by connects that reach the other node.
  const end = Date.now() + 6000;
  for (let n = 1; Date.now() < end; n++) {
    const [reply] = await post(a.bayeux, [{...session.message.connect(), connectionType: 'eventsource'}]);
    assert.equal(reply.successful, true, JSON.stringify(reply));
    assert.equal(reply.advice.interval, 1000);
    await publish(a.bayeux, '/e', n);
    await stream.come(n);
    await new Promise(resolve => setTimeout(resolve, 300));
  }
  assert.equal(stream.over, false);
});

test('a broken stream goes on at another node behind its last event, also when its node was killed', async t => {
  needsRedis(t);
  const {nodes: [a, b]} = await startCluster(t, {set: {'broker.timeout': '10s'}});
  const session = await poller(a.bayeux, '/e');
  const first = await Events.open(t, `${a.bayeux}/${session.clientId}`);
  for (const n of [1, 2, 3]) {
    await publish(b.bayeux, '/e', n);
    await first.come(n);
  }
  const {id} = first.events.find(event => dataOf(event.data).includes(2));
  first.reset();
  const second = await Events.open(t, `${b.bayeux}/${session.clientId}`, {Accept: 'text/event-stream', 'Last-Event-ID': id});
  assert.deepEqual(dataOf(await second.come(1)), [3]);
  await publish(a.bayeux, '/e', 4);
  await second.come(2);
  await b.kill();
  await publish(a.bayeux, '/e', 5);
  const third = await Events.again(t, `${a.bayeux}/${session.clientId}`, second);
  assert.deepEqual(dataOf(await third.come(1)), [5]);
  await publish(a.bayeux, '/e', 6);
  assert.deepEqual(dataOf(await third.come(2)), [5, 6]);
});
