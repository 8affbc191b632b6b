// SPDX-License-Identifier: Apache-2.0
// CometD's ack extension, with the CometD JavaScript client 9.0.0 and its AckExtension, unchanged: every message once
// and in order, end to end, though a TCP proxy between cuts connections under load, leads them to another node, and
// nodes are killed. Of a client without the extension that would be within a bound; here it is exact.

import assert from 'node:assert/strict';
import {once} from 'node:events';
import net from 'node:net';
import {adapt} from 'cometd-nodejs-client';
import {test} from './lib/suite.mjs';
import {Ledger} from './lib/ledger.mjs';
import {getJson} from './lib/http.mjs';
import {sleep, until, within} from './lib/wait.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {post, publish} from './support/wire.mjs';

adapt();
const {AckExtension, CometD} = await import('cometd');

const TRANSPORTS = ['websocket', 'long-polling'];
const each = (title, body, options = {}) => {
  for (const transport of TRANSPORTS) test(`${transport}: ${title}`, {timeout: 90000, ...options}, t => body(t, transport));
};

// A TCP proxy that leads new connections to `target`, a node, and cuts the ones it has at any byte.
class Wires {
  constructor(target) {
    Object.assign(this, {target, pairs: new Set(), cuts: 0, left: Infinity});
    this.server = net.createServer(client => this.join(client));
  }
  static async start(t, target) {
    const wires = new Wires(target);
    wires.server.listen(0, '127.0.0.1');
    await once(wires.server, 'listening');
    t.after(() => { wires.cut(); wires.server.close(); });
    return wires;
  }
  get url() { return `${new URL(this.target.bayeux).protocol}//127.0.0.1:${this.server.address().port}/bayeux`; }
  join(client) {
    const {hostname, port} = new URL(this.target.bayeux);
    const node = net.connect(Number(port), hostname);
    const pair = [client, node];
    this.pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => {});
      socket.on('close', () => { this.pairs.delete(pair); for (const other of pair) other.destroy(); });
    }
    client.on('data', bytes => node.write(bytes));
    node.on('data', bytes => {
      if (bytes.length <= this.left) {
        this.left -= bytes.length;
        client.write(bytes);
        return;
      }
      client.write(bytes.subarray(0, this.left));   // in the middle of an answer, as likely as not
      this.left = Infinity;
      this.cuts++;
      for (const socket of pair) socket.destroy();
    });
  }
  cut(how = 'resetAndDestroy') {
    for (const pair of this.pairs) for (const socket of pair) socket[how]();
  }
  // The connection that carries the n-th byte from now on towards its client ends there.
  cutBehind(n) { this.left = n; }
}

// A client with the extension; its messages are {n: 0, 1, ...}.
async function join(t, url, transport, channel) {
  const cometd = new CometD();
  for (const type of cometd.getTransportTypes()) if (type !== transport) cometd.unregisterTransport(type);
  cometd.configure({url, logLevel: 'error', backoffIncrement: 50, maxBackoff: 200, maxNetworkDelay: 5000});
  const client = {cometd, ledger: new Ledger(`${transport} ${channel}`), handshakes: 0, sent: [], told: []};
  const note = {
    outgoing(message) { if (message.channel === '/meta/connect') client.sent.push(message.ext?.ack); return message; },
    incoming(message) { if (message.channel === '/meta/connect' && message.successful) client.told.push(message.ext?.ack); return message; },
  };
  cometd.registerExtension('note', note);   // the first one registered is the last that sees what goes out
  cometd.registerExtension('ack', new AckExtension());
  t.after(() => Promise.race([new Promise(resolve => cometd.disconnect(resolve)), sleep(500)]));
  cometd.addListener('/meta/handshake', ({successful}) => { client.handshakes += successful; });
  await within(new Promise(resolve => cometd.handshake(reply => reply.successful && resolve())), 'a handshake');
  await within(new Promise((resolve, reject) => {
    cometd.subscribe(channel, ({data}) => client.ledger.add(data), reply => (reply.successful ? resolve() : reject(new Error(reply.error))));
  }), 'a subscription');
  client.id = cometd.getClientId();
  return client;
}

// Numbered messages, some at once, until it is stopped; through a node that stays.
function press(node, channel) {
  const p = {count: 0, going: true};
  p.done = (async () => {
    for (; p.going; await sleep(3)) {
      const burst = 1 + p.count % 7;
      for (let i = 0; i < burst; i++) await publish(node().bayeux, channel, {n: p.count++});
    }
  })();
  p.done.catch(() => {});
  return {
    get count() { return p.count; },
    async more(n) { const end = p.count + n; await until(() => p.count >= end, `${n} more publishes`); },
    async stop() { p.going = false; await p.done; return p.count; },
  };
}

each('the handshake offers it, messages come with answers to connects only, numbers are positions', async (t, transport) => {
  const cluster = await startCluster(t, {nodes: 1});
  const [node] = cluster.nodes;
  const client = await join(t, node.bayeux, transport, '/a');
  const load = press(() => node, '/a');
  await load.more(100);
  await client.ledger.complete(await load.stop());
  await until(() => client.sent.length === client.told.length + 1, 'the next connect');
  assert.ok(client.told.every(Number.isSafeInteger));
  assert.deepEqual([...client.told].sort((a, b) => a - b), client.told, 'they grow');
  assert.deepEqual(client.sent.slice(1), client.told, 'each connect says the last one');
  await until(async () => (await getJson(node.admin(`/v1/clients/${client.id}`))).json.conf >= client.told.at(-1), 'conf');
  assert.equal((await getJson(node.admin(`/v1/clients/${client.id}`))).json.ack, true);
  assert.equal((await cluster.stats(node)).resent, 0);
});

each('its connections are cut, at any byte, under load', async (t, transport) => {
  const cluster = await startCluster(t, {nodes: 1, set: {'broker.timeout': '10s'}});
  const wires = await Wires.start(t, cluster.nodes[0]);
  const client = await join(t, wires.url, transport, '/a');
  const load = press(() => cluster.nodes[0], '/a');
  for (let round = 0; round < 12; round++) {
    if (round % 3 === 0) wires.cut(round % 2 ? 'destroy' : 'resetAndDestroy');
    else wires.cutBehind(1 + round * 331 % 2500);
    await load.more(40);
  }
  await client.ledger.complete(await load.stop());
  assert.equal(client.handshakes, 1);
  assert.ok(wires.cuts >= 4, `${wires.cuts} were cut in the middle`);
});

each('its connections are cut and go on at another node', async (t, transport) => {
  const cluster = await startCluster(t, {nodes: 2, set: {'broker.timeout': '10s'}});
  const [one, two] = cluster.nodes;
  const wires = await Wires.start(t, one);
  const client = await join(t, wires.url, transport, '/a');
  const load = press(() => one, '/a');
  for (let round = 0; round < 8; round++) {
    wires.target = round % 2 ? one : two;
    if (round % 3 === 0) wires.cut();
    else wires.cutBehind(1 + round * 331 % 2500);
    await load.more(40);
  }
  await client.ledger.complete(await load.stop());
  assert.equal(client.handshakes, 1);
  if (one !== two) assert.ok(await cluster.sum('moves') >= 3, 'it moved');
});

each('its node is killed under load', async (t, transport) => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 3, set: {'broker.timeout': '10s'}});
  const wires = await Wires.start(t, cluster.nodes[1]);
  const client = await join(t, wires.url, transport, '/a');
  const load = press(() => cluster.nodes[0], '/a');
  for (const next of [2, 0]) {
    await load.more(150);
    const node = wires.target;
    wires.target = cluster.nodes[next];
    await node.kill();
    const had = client.ledger.got.length;
    await until(() => client.ledger.got.length > had + 50, 'it to go on');
  }
  await client.ledger.complete(await load.stop());
  assert.equal(client.handshakes, 1);
  assert.ok(await cluster.sum('forced_moves') >= 1, 'the last node has taken it');
});

each('its node leaves in order under load', async (t, transport) => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2, set: {'broker.timeout': '10s'}});
  const [one, two] = cluster.nodes;
  const wires = await Wires.start(t, one);
  const client = await join(t, wires.url, transport, '/a');
  const load = press(() => two, '/a');
  await load.more(100);
  wires.target = two;
  await one.stop();
  await load.more(100);
  await client.ledger.complete(await load.stop());
  assert.equal(client.handshakes, 1);
});

test('a client that asks and sends no numbers gets its messages once, too', async t => {
  const {nodes: [node]} = await startCluster(t, {nodes: 1});
  const say = (...messages) => post(node.bayeux, messages);
  const [{clientId, ext}] = await say({channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling'], ext: {ack: true}});
  assert.deepEqual(Object.keys(ext.ack), ['enabled', 'batch']);
  await say({channel: '/meta/subscribe', clientId, subscription: '/a'});
  await publish(node.bayeux, '/a', 1);
  const connect = id => say({channel: '/meta/connect', clientId, connectionType: 'long-polling', id, advice: {timeout: 0}});
  assert.deepEqual((await connect('1')).map(({data}) => data), [undefined, 1]);
  const [reply, ...more] = await connect('2');
  assert.equal(reply.ext, undefined);
  assert.deepEqual(more, []);
});
