// SPDX-License-Identifier: Apache-2.0
// Several mora-broker nodes on one Redis, and clients that use all of them.
//
//   const cluster = await startCluster(t, {nodes: 3, set: {'broker.timeout': '10s'}});
//   cluster.nodes[0].bayeux, .socket, .admin(path)    as of startBroker()
//   cluster.after(url or node)                        the next living node
//   await cluster.sum('moves')                        a number of /v1/stats, over all living nodes
//
// MORA_TEST_ENGINE=memory puts one broker with the memory engine in the place of all nodes: what is
// expected of a cluster in good health is expected of one node too. Tests about Redis itself begin
// with `if (!cluster.redis) t.skip(...)`.

import assert from 'node:assert/strict';
import {startApi, startBroker, testEngine} from '../lib/daemon.mjs';
import {PollSession} from '../lib/bayeux.mjs';
import {getJson} from '../lib/http.mjs';
import {scale} from '../lib/suite.mjs';
import {until} from '../lib/wait.mjs';
import {startRedis} from './redis.mjs';

export const onMemory = testEngine === 'memory';
export const needsRedis = t => onMemory && t.skip('there is no Redis');

// What control ends is gone on every node within a second. Said always, held where the machine has time (MORA_TEST_LONG).
export function goneInTime(t, ms) {
  t.log(`gone after ${ms} ms`);
  if (process.env.MORA_TEST_LONG) assert.ok(ms <= 1000 * scale, `gone after ${ms} ms`);
}

class Cluster {
  constructor(redis, namespace, set) {
    Object.assign(this, {redis, namespace, set, nodes: [], session: 0});
  }
  get engine() {
    if (!this.redis) return {};
    return {'engine.type': 'redis', 'engine.url': this.redis.url(), 'engine.namespace': this.namespace};
  }
  key(rest) { return `${this.namespace}:${rest}`; }

  get living() { return this.nodes.filter(node => node.running); }
  // The living node behind this one, which may be given by its URL.
  after(at) {
    const index = this.nodes.findIndex(node => node === at || node.bayeux === at || node.socket === at);
    for (let i = 1; i <= this.nodes.length; i++) {
      const node = this.nodes[(index + i) % this.nodes.length];
      if (node.running) return node;
    }
    throw new Error('no node is alive');
  }

  // One more node.
  async add(t, set = {}) {
    const node = await startBroker(t, {set: {...this.engine, ...this.set, ...set}});
    this.nodes.push(node);
    return node;
  }
  // mora-api as a node without sessions.
  addPublisher(t, set = {}) {
    return startApi(t, this.nodes[0], {set: {...this.engine, 'api.publish': 'redis', ...set}});
  }

  async stats(node) { return (await getJson(node.admin('/v1/stats'))).json; }
  async sum(name) {
    const all = await Promise.all([...new Set(this.living)].map(node => this.stats(node)));
    return all.reduce((sum, stats) => sum + name.split('.').reduce((value, part) => value[part], stats), 0);
  }
  // The metrics of a node whose names match, added.
  async metric(node, pattern) {
    const {text} = await getJson(node.admin('/metrics'));
    return [...text.matchAll(/^(mora_\w+)(?:\{[^}]*\})? (\S+)$/gm)].filter(([, name]) => pattern.test(name)).reduce((sum, [, , value]) => sum + Number(value), 0);
  }
  // The rows of /v1/nodes as a node sees them.
  async seen(node) { return (await getJson(node.admin('/v1/nodes'))).json.nodes; }
  async readiness(node) {
    const {status, json} = await getJson(node.url('broker', '/readyz'));
    return {ready: status === 200, ...json};
  }
  // Every node has read the journal up to what was last written.
  async level() {
    const heads = await Promise.all(this.living.map(async node => (await this.stats(node)).head));
    const top = Math.max(...heads);
    await until(async () => (await Promise.all(this.living.map(node => this.stats(node)))).every(({head}) => head >= top), 'the nodes to be level');
  }
  // The life-cycle events of sessions that ended: [{id, reason, ...}], without the entry's own id.
  async endings() {
    const rows = await this.redis.call('XRANGE', this.key('events'), '-', '+');
    const entries = rows.map(([, fields]) => Object.fromEntries(fields.flatMap((word, i) => (i % 2 ? [] : [[word, fields[i + 1]]]))));
    return entries.filter(({k}) => k === 'disconnect');
  }
}

// nodes: how many. redis: options of startRedis(), or a Redis. set: options of every node.
export async function startCluster(t, {nodes = 2, redis = {}, set = {}, namespace = 'mora'} = {}) {
  const server = onMemory ? null : typeof redis.call === 'function' ? redis : await startRedis(t, redis);
  const cluster = new Cluster(server, namespace, set);
  if (onMemory) {
    const only = await cluster.add(t);
    for (let i = 1; i < nodes; i++) cluster.nodes.push(only);
  } else {
    await Promise.all(Array.from({length: nodes}, () => cluster.add(t)));
  }
  return cluster;
}

// A polling session of which each request goes to another node than the last.
export class Roamer extends PollSession {
  constructor(cluster, options) {
    super(cluster.nodes[0].bayeux, options);
    this.cluster = cluster;
  }
  static async join(cluster, ...patterns) {
    const session = new Roamer(cluster);
    await session.handshake();
    for (const pattern of patterns) await session.subscribe(pattern);
    return session;
  }
  move() { this.url = this.cluster.after(this.url).bayeux; }
  post(messages, deadline) { this.move(); return super.post(messages, deadline); }
  open(messages) { this.move(); return super.open(messages); }
}
