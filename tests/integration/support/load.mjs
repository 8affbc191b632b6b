// SPDX-License-Identifier: Apache-2.0
// Load that keeps books: a Press that publishes at a rate and knows the outcome of each message, and
// Residents, clients that go on whatever breaks. verdict() compares the two.
//
// The rule: what was acknowledged arrives, first arrivals in the order of positions; what was refused
// never arrives; a repeat was first received in the last 3 s before a break of that client's
// connection, or, on a websocket, since its last ping but one: a broker asks again only when it has
// been answered, so that all before that ping is confirmed, however slow this machine is.

import WebSocket from 'ws';
import {PollSession, deliveries} from '../lib/bayeux.mjs';
import {agentFor, getJson, postJson, tlsConnect} from '../lib/http.mjs';
import {scale} from '../lib/suite.mjs';
import {sleep, until, within, DEADLINE} from '../lib/wait.mjs';

export const BOUND = 3000 * scale;

// -- publishing --------------------------------------------------------------------------------

export class Press {
  // rate: messages a second, `batch` to a request, in turn to each of `nodes` that lives. channel(n)
  // of the message n. by: `admin`, `bayeux`, or `both` in turn. front: who takes what goes by Bayeux, if
  // it is not the node.
  constructor(cluster, {rate = 200, batch = 10, channel = () => '/press', by = 'admin', nodes = cluster.nodes, front = null} = {}) {
    Object.assign(this, {cluster, rate, batch, channel, by, nodes, front});
    this.entries = [];      // by n: {n, channel, sentAt, answeredAt, outcome, position}
    this.requests = 0;
    this.underWay = new Set();
    this.running = false;
    this.agent = agentFor('http:', {keepAlive: true});
    this.bayeuxAgent = agentFor((front ?? nodes[0]).bayeux, {keepAlive: true});
  }
  // Ends with the test at the latest.
  start(t) {
    t.after(() => { this.running = false; return this.done; });
    this.running = true;
    this.done = this.run();
    return this;
  }
  async run() {
    const began = Date.now();
    const first = this.entries.length;
    while (this.running) {
      // After a pause of this process the lost time is not made up at once.
      const due = Math.min(first + (Date.now() - began) * this.rate / 1000, this.entries.length + 5 * this.batch);
      while (this.running && this.entries.length < due) this.send();
      await sleep(5);
    }
  }
  send(size = this.batch) {
    let node = this.nodes[this.requests++ % this.nodes.length];
    if (!node.running) node = this.cluster.after(node);
    const batch = [];
    for (let i = 0; i < size; i++) {
      const n = this.entries.length;
      const entry = {n, channel: this.channel(n), sentAt: Date.now(), answeredAt: 0, outcome: 'pending', position: null, node};
      this.entries.push(entry);
      batch.push(entry);
    }
    const asAdmin = this.by === 'both' ? this.requests % 2 === 0 : this.by === 'admin';
    const request = (asAdmin ? this.throughAdmin(node, batch) : this.throughBayeux(node, batch))
      .catch(error => settle(batch, () => ({outcome: 'unknown', error: error.message})))
      .finally(() => this.underWay.delete(request));
    this.underWay.add(request);
    return request;
  }
  async throughAdmin(node, batch) {
    const items = batch.map(({n, channel}) => ({channel, data: {n}}));
    const {status, json} = await postJson(node.admin('/v1/publish'), items, {agent: this.agent});
    settle(batch, i => (status === 200 ? json[i] : {outcome: 'unknown', error: `HTTP ${status}`}));
  }
  async throughBayeux(node, batch) {
    const items = batch.map(({n, channel}) => ({channel, data: {n}, id: `press-${n}`}));
    const answer = await postJson((this.front ?? node).bayeux, items, {agent: this.bayeuxAgent});
    const replies = new Map(answer.status === 200 ? answer.json.map(reply => [reply.id, reply]) : []);
    settle(batch, i => {
      const {successful, error} = replies.get(`press-${batch[i].n}`) ?? {error: `HTTP ${answer.status}`};
      return {outcome: successful ? 'acknowledged' : /^503:/.test(error) ? 'refused' : 'unknown', error};
    });
  }
  // Sends no more and waits for the answers.
  async stop() {
    this.running = false;
    await this.done;
    await within(Promise.all(this.underWay), 'the answers to publishes', 2 * DEADLINE);
    this.agent.destroy();
    this.bayeuxAgent.destroy();
  }
  // {acknowledged, refused, unknown, pending}
  get outcomes() {
    const counts = {acknowledged: 0, refused: 0, unknown: 0, pending: 0};
    for (const {outcome} of this.entries) counts[outcome]++;
    return counts;
  }
  // The longest that a message waited for its outcome.
  get slowest() { return Math.max(0, ...this.entries.map(({sentAt, answeredAt}) => (answeredAt || Date.now()) - sentAt)); }
  // Resolves once that many more messages than now are acknowledged.
  more(count, deadline) {
    const goal = this.outcomes.acknowledged + count;
    return until(() => this.outcomes.acknowledged >= goal, () => `${count} more acknowledged (${JSON.stringify(this.outcomes)})`, deadline);
  }
}

// A press whose numbers do not meet those of another: its entries count from `base`.
export class NumberedPress extends Press {
  constructor(cluster, base, options) {
    super(cluster, options);
    this.base = base;
  }
  async throughAdmin(node, batch) {
    for (const entry of batch) if (entry.n < this.base) entry.n += this.base;
    return super.throughAdmin(node, batch);
  }
  owns(n) { return n >= this.base && n < this.base + this.entries.length; }
  byNumber(n) { return this.entries[n - this.base]; }
}

function settle(batch, answer) {
  const answeredAt = Date.now();
  batch.forEach((entry, i) => Object.assign(entry, {answeredAt}, answer(i)));
}

// How slow everything is that needs no Redis: asks each living node for its health, again and again, and
// keeps the longest that an answer took. On a machine that is not overloaded a few milliseconds.
export class Pulse {
  constructor(cluster) { Object.assign(this, {cluster, slowest: 0, running: false}); }
  start(t) {
    this.running = true;
    this.done = this.run();
    t.after(() => { this.running = false; return this.done; });
    return this;
  }
  async run() {
    while (this.running) {
      await Promise.all(this.cluster.living.map(async node => {
        const began = Date.now();
        await getJson(node.url('broker', '/healthz')).catch(() => {});
        this.slowest = Math.max(this.slowest, Date.now() - began);
      }));
      await sleep(20);
    }
  }
}

// -- receiving ---------------------------------------------------------------------------------

const matches = (pattern, channel) => (pattern.endsWith('/**') ? channel.startsWith(pattern.slice(0, -2)) : pattern === channel);

export class Resident {
  constructor(cluster, {name = 'resident', transport = 'websocket', node = cluster.nodes[0], patterns}) {
    Object.assign(this, {cluster, name, transport, node, patterns});
    this.arrivals = [];      // [{n, at}]
    this.first = new Map();  // n -> when
    this.breaks = [];        // when a connection ended that we had not ended
    this.since = [];         // and from when on what came on it may not have been confirmed
    this.pings = [];         // those of this connection that ask for a confirmation: {payload, at}
    this.hidden = [];        // [{from, to}]: a node died then that it may have been at, unseen: behind a proxy
    this.told = [];          // [{at, interval}]: advised to handshake
    this.handshakes = 0;
    this.interval = 0;
    this.running = true;
    this.attached = false;
    this.agent = agentFor(node.bayeux, {keepAlive: true, maxSockets: 1});
  }

  // Subscribed, and from then on connected. Ends with the test.
  async start(t) {
    t.after(() => this.stop());
    await this.join();
    this.life = this.live();
    return this;
  }
  get session() {
    const session = new PollSession(this.node.bayeux, {agent: this.agent});
    session.clientId = this.clientId;
    return session;
  }
  async join() {
    const {session} = this;
    this.greeted(await session.handshake(this.greeting));
    this.handshakes++;
    this.clientId = session.clientId;
    await this.subscribe(session);
    this.lost = false;
  }
  // What others say in their handshakes, and are told there.
  get greeting() { return {}; }
  greeted() {}
  // As an application does: what is not available now is asked for again, with the same session.
  async subscribe(session) {
    let left = this.patterns;
    for (const end = Date.now() + DEADLINE; left.length > 0; await sleep(20)) {
      const replies = await session.post(left.map(pattern => session.message.subscribe(pattern)));
      const refused = replies.filter(({successful}) => successful === false);
      if (refused.some(({error}) => !/^503:/.test(error)) || Date.now() > end) throw new Error(JSON.stringify(refused));
      left = refused.map(({subscription}) => subscription);
      if (left.length === 0) return;
    }
  }
  async live() {
    while (this.running) {
      try {
        if (this.lost) await this.rejoin();
        await this.hold();
      } catch (error) {
        if (!this.running) return;
        this.error = error;
        this.breaks.push(Date.now());
        this.since.push(this.pings.at(-2)?.at ?? this.openedAt);
        this.pings = [];
        this.node = this.cluster.after(this.node);
        await sleep(20);
      }
      this.attached = false;
    }
  }
  // One connection, until it ends.
  hold() { return this.transport === 'websocket' ? this.ride() : this.poll(); }
  async rejoin() {
    await sleep(this.told.at(-1)?.interval ?? 0);
    await this.join();
  }

  took(messages) {
    const at = Date.now();
    for (const {data: {n}} of deliveries(messages)) {
      this.arrivals.push({n, at});
      if (!this.first.has(n)) this.first.set(n, at);
    }
    const reply = messages.find(message => message.channel === '/meta/connect' && 'successful' in message);
    if (!reply) return null;
    this.interval = Math.max(reply.advice?.interval ?? this.interval, reply.successful ? 0 : 50);
    if (reply.advice?.reconnect === 'handshake') {
      this.told.push({at, interval: reply.advice.interval});
      this.interval = 0;
      this.lost = true;
    }
    return reply;
  }
  connect() {
    return {channel: '/meta/connect', clientId: this.clientId, connectionType: this.transport, id: `c${++this.connects}`};
  }
  connects = 0;

  async poll() {
    const {node} = this;
    this.openedAt = Date.now();
    this.request = postJson(node.bayeux, [this.connect()], {agent: this.agent, deadline: 4 * DEADLINE});
    this.attached = true;
    const answer = await this.request;
    if (answer.status !== 200) throw new Error(`HTTP ${answer.status}`);
    if (!this.took(answer.json)) throw new Error('no reply to the connect');
    if (this.interval > 0 && !this.lost) await sleep(this.interval);
  }

  ride() {
    this.openedAt = Date.now();
    const ws = this.ws = new WebSocket(this.node.socket, [], {perMessageDeflate: false, ...(this.node.socket.startsWith('wss:') && {createConnection: tlsConnect})});
    const connect = () => ws.readyState === WebSocket.OPEN && ws.send(JSON.stringify([this.connect()]));
    return new Promise((resolve, reject) => {
      ws.on('open', () => { this.attached = true; connect(); });
      ws.on('error', () => {});
      ws.on('ping', bytes => {
        const payload = bytes.toString();
        if (/^\d+$/.test(payload) && this.pings.at(-1)?.payload !== payload) this.pings.push({payload, at: Date.now()});
      });
      ws.on('message', bytes => {
        if (!this.took(JSON.parse(bytes.toString('utf8')))) return;
        if (this.lost) ws.close();
        else if (this.interval > 0) setTimeout(connect, this.interval);
        else connect();
      });
      ws.on('close', code => (this.lost || !this.running ? resolve() : reject(new Error(`closed ${code}`))));
    });
  }
  // RST, as a network that breaks; it goes on at the next node.
  cut() {
    if (this.transport === 'websocket') return this.ws._socket?.resetAndDestroy();
    for (const socket of Object.values(this.agent.sockets).flat()) socket.resetAndDestroy();
  }
  // Does not read any more: what comes lies in the kernel when it is cut.
  deafen() { this.ws._socket?.pause(); }

  async stop() {
    this.running = false;
    this.ws?.terminate();
    this.agent.destroy();
    await within(this.life, `${this.name} to end`).catch(() => {});
  }

  // What it must have by now and has not: the first such message.
  missing(press) {
    return press.entries.find(({n, channel, outcome}) =>
      outcome === 'acknowledged' && !this.first.has(n) && this.patterns.some(pattern => matches(pattern, channel)) && !this.mayLack(press.entries[n]));
  }
  // Exceptions from the rule that nothing is lost.
  mayLack() { return false; }
}

// Residents by the dozen: make(i) gives the options of each, and its class as `kind`.
export async function settleIn(t, cluster, count, make) {
  const residents = Array.from({length: count}, (_, i) => {
    const {kind = Resident, ...options} = make(i);
    return new kind(cluster, {name: `resident ${i}`, ...options});
  });
  for (let i = 0; i < count; i += 25) await Promise.all(residents.slice(i, i + 25).map(each => each.start(t)));
  await until(() => residents.every(each => each.attached), 'all residents to be attached');
  return residents;
}

// -- the verdict -------------------------------------------------------------------------------

// What is wrong with what this client got; `doubled` is how many repeats were within the bound, `lacking` how
// much it has not got that it may lack.
export function judge(resident, press) {
  const faults = [];
  const wanted = press.entries.filter(({outcome, channel}) =>
    outcome === 'acknowledged' && resident.patterns.some(pattern => matches(pattern, channel)));
  const absent = wanted.filter(({n}) => !resident.first.has(n));
  const lost = absent.filter(entry => !resident.mayLack(entry));
  if (lost.length > 0) faults.push(`lost ${lost.length} of ${wanted.length} (${lost.slice(0, 5).map(({n}) => n)})`);
  const refused = [...resident.first.keys()].filter(n => press.entries[n].outcome === 'refused');
  if (refused.length > 0) faults.push(`got ${refused.length} that were refused (${refused.slice(0, 5)})`);
  let newest = 0, doubled = 0;
  const seen = new Set();
  for (const {n, at} of resident.arrivals) {
    const {position} = press.entries[n];
    if (!seen.has(n)) {
      seen.add(n);
      if (position !== null && position < newest) faults.push(`${n} came behind a later one`);
      newest = Math.max(newest, position ?? 0);
      continue;
    }
    const before = resident.first.get(n);
    const broken = resident.breaks.some((when, i) => before >= Math.min(when - BOUND, resident.since[i] ?? when) && before <= when && at >= when);
    if (broken || resident.hidden.some(({from, to}) => before >= from - BOUND && before <= to && at >= from)) doubled++;
    else faults.push(`${n} came again, ${at - before} ms after the first, breaks ${resident.breaks.map(when => when - before)}`);
  }
  return {faults, doubled, lacking: absent.length - lost.length, wanted: wanted.length};
}

// Waits until each resident has all that was acknowledged, then judges. Returns how many came twice.
export async function verdict(press, residents, deadline = 2 * DEADLINE) {
  const waiting = () => residents.filter(each => each.missing(press));
  await until(() => waiting().length === 0, () => {
    const late = waiting();
    return `everybody to have everything: ${late.length} have not, ${late.slice(0, 3).map(each => `${each.name} lacks ${each.missing(press).n}, ${each.first.size} got, told ${each.told.length}, ${each.error?.message}`).join('; ')}`;
  }, deadline);
  let doubled = 0;
  for (const resident of residents) {
    const result = judge(resident, press);
    if (result.faults.length > 0) throw new Error(`${resident.name} (${resident.transport}): ${result.faults.length} faults: ${result.faults.slice(0, 5).join('; ')}`);
    doubled += result.doubled;
  }
  return doubled;
}
