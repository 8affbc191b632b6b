// SPDX-License-Identifier: Apache-2.0
// The same random requests to Faye's own server and to Mora, one after the other, and their answers
// compared. What may differ is in `expected` and `forwarded`, and is all in the table of docs/protocol.md.
//
//   MORA_TEST_SEED=4711    that run again; each run prints its seed
//   MORA_TEST_LONG=1       more and longer runs

import assert from 'node:assert/strict';
import {fileURLToPath} from 'node:url';
import {test} from './lib/suite.mjs';
import {Daemon, startBroker, target} from './lib/daemon.mjs';
import {request} from './lib/http.mjs';
import {Wire, asSocketUrl, drain, poller, post, publish, settle} from './support/wire.mjs';

const RUNS = process.env.MORA_TEST_LONG ? 30 : 3;
const STEPS = process.env.MORA_TEST_LONG ? 400 : 120;
const firstSeed = Number(process.env.MORA_TEST_SEED) || 1 + Math.floor(Math.random() * 1e9);

// -- random requests -----------------------------------------------------------------------------

// mulberry32
function randomSource(seed) {
  let a = seed >>> 0;
  const next = () => {
    a = (a + 0x6D2B79F5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = n => Math.floor(next() * n);
  const pick = list => list[below(list.length)];
  return {below, pick, chance: share => next() < share};
}

const GOOD = ['/a', '/a/b', '/a/b/c', '/c', '/A', '/x-_!~()$@1'];
const PATTERNS = ['/a', '/a/*', '/a/**', '/**', '/*', '/a/b', '/c', '/A'];
const BAD = ['', '/', 'a', '/a/', '//a', '/a//b', '/\u00e9', '/a b', '/a.b', '/a/*/b', '/***', '/a/***', '/meta', '/meta/foo', '/meta/*', '/meta/**', '/META/x',
  '/meta/subscribe/x', '/meta/subscribe/', '/service/x', '/service', '/service/**', 5, 0, null, true, false];
const IDS = ['1', 'abc', '\u00e9\u2028"\\', 7, 0, '', -1.5, true, null, {a: 1}, [1, 'x']];
const CLIENTS = ['nobody', '', 5, null, true, '__proto__', 'constructor', {}, [], ['x']];
const SUBSCRIPTIONS = [[], null, 5, true, ['/a', '/a/b'], ['/a', 'bad'], ['/c', '/meta/x', '/A'], ['/a', 5], {}, ''];
const TYPES = ['long-polling', 'callback-polling', 'websocket', 'in-process', 'flash', '', null, 5, ['long-polling']];
const OFFERS = [['long-polling'], ['websocket', 'x'], [], ['iframe', 'flash'], 'long-polling', null, 5];
const TEXTS = ['', ' ', 'null', '5', '"x"', 'true', '{', '[', '[{}', '[]', '{}', '[null]', '[5]', '["x"]', '[[]]', '[{},{}]', '\ufeff[]', ' [ ] ', '[{"channel":"/a","data":1},]',
  '[{"channel":"/a","channel":"/c","data":1}]', '{"channel":"/a","data":"lone"}', "['x']", '[1e999]', '[-]', '[01]', '"\\ud800"', 'nul', '[]x', '[{"a":tru}]'];
const CALLBACKS = ['cb', 'a.b.c', '$_', '', 'a..b', '1a', 'a[0]', 'a(', 'a.', '.a', 'alert(1)//'];
const DATA = [1, null, false, 'x', '', [], {}, {a: [1, {b: null}]}, '\u2028</script>\u00e9'];

class Author {
  constructor(random) {
    Object.assign(this, random);
    this.count = 0;
  }
  // A member that is as it should be, or something else, or missing.
  member(name, good, others) {
    if (this.chance(0.72)) return {[name]: good};
    return this.chance(0.3) ? {} : {[name]: this.pick(others)};
  }
  id() { return this.chance(0.6) ? {id: `m${++this.count}`} : this.chance(0.4) ? {} : {id: this.pick(IDS)}; }
  clientId() { return this.member('clientId', `<${this.below(4)}>`, CLIENTS); }
  // An empty error is one to Mora only; a subscription that one side alone has would be all that is compared.
  more(verb) {
    if (this.chance(0.8)) return {};
    return this.pick([{ext: {token: 'x'}}, {advice: {timeout: 5}}, {version: '2'}, {subscription: '/x'}, {zzz: [1]}, {error: 'mine'}, {error: verb === 'publish' ? '' : 'x'}]);
  }
  handshake() {
    return {channel: '/meta/handshake', ...this.member('version', '1.0', ['', null, 0, 2, 'x']),
      ...this.member('supportedConnectionTypes', ['long-polling', 'websocket'], OFFERS)};
  }
  // Polling clients only: on the others it would be held, or change where messages go.
  connect() {
    return {channel: '/meta/connect', ...this.member('clientId', `<${this.below(2)}>`, CLIENTS), ...this.member('connectionType', 'long-polling', TYPES),
      advice: {timeout: this.pick([0, 0, 0, '0', -5])}, id: `c${++this.count}`};   // the same again would ask for a repeat
  }
  // "What waits when a client unsubscribes": so that is for websockets only. "Publishes in front of a subscribe or
  // unsubscribe": those come first in a batch.
  subscribe(verb) {
    const clientId = verb === 'subscribe' ? this.clientId() : this.member('clientId', `<${2 + this.below(2)}>`, CLIENTS);
    return {channel: `/meta/${verb}`, ...clientId, ...this.member('subscription', this.pick(PATTERNS), [...SUBSCRIPTIONS, ...BAD])};
  }
  disconnect() { return {channel: '/meta/disconnect', ...this.member('clientId', 'nobody', CLIENTS)}; }
  publish() {
    const data = this.chance(0.1) ? {} : {data: this.chance(0.5) ? `d${++this.count}` : this.pick(DATA)};
    return {...this.member('channel', this.pick(GOOD), [...BAD, ...PATTERNS]), ...data, ...(this.chance(0.6) ? {} : this.clientId())};
  }
  message(withConnect) {
    const verb = this.pick(['handshake', 'subscribe', 'subscribe', 'unsubscribe', 'publish', 'publish', 'publish', 'publish', 'disconnect',
      withConnect ? 'connect' : 'publish']);
    const made = verb.endsWith('subscribe') ? this.subscribe(verb) : this[verb]();
    if (verb === 'connect') return made;
    const message = {...made, ...this.id(), ...this.more(verb)};
    // What Mora may refuse has to be known again where Faye delivers it.
    if ('data' in message && ('clientId' in message || 'error' in message)) message.data = `d${++this.count}`;
    return message;
  }
  batch(withConnect) {
    const list = [];
    for (let n = 1 + this.below(this.chance(0.5) ? 1 : 4); n > 0; n--) list.push(this.message(withConnect && !list.some(m => m.channel === '/meta/connect')));
    const order = m => ['/meta/unsubscribe', '/meta/subscribe'].indexOf(m.channel) + 1 || 3;
    return list.sort((a, b) => order(a) - order(b));
  }
  step() {
    if (this.chance(0.12)) return {how: this.pick(['json', 'form', 'jsonp', 'socket']), text: this.pick(TEXTS)};
    const how = this.pick(['json', 'json', 'json', 'form', 'jsonp', 'socket', 'socket']);
    const batch = this.batch(how !== 'socket');
    return {how, batch, lone: batch.length === 1 && this.chance(0.2), ...(how === 'jsonp' && {callback: this.chance(0.8) ? 'cb' : this.pick(CALLBACKS)})};
  }
}

// -- one server ----------------------------------------------------------------------------------

// Sessions 0 and 1 poll, 2 and 3 have a websocket with a held connect. 4 has one without a session.
class Side {
  static async open(t, name, url) {
    const side = new Side();
    Object.assign(side, {name, url, ids: [], sockets: []});
    for (let n = 0; n < 5; n++) {
      if (n < 2) {
        const answer = await side.post('json', [{channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling']}]);
        side.ids.push(JSON.parse(answer.text)[0].clientId);
        continue;
      }
      const socket = n < 4 ? await Wire.client(t, asSocketUrl(url)) : await Wire.open(t, asSocketUrl(url));
      await socket.gather();
      if (n < 4) side.ids.push(socket.clientId);
      side.sockets.push(socket);
    }
    return side;
  }

  fill(text) { return text.replace(/<(\d)>/g, (_, n) => this.ids[n]); }

  // Client ids as names: those of the sessions, and those of handshakes that came since.
  anonymous(text) {
    this.ids.forEach((id, n) => { text = text.split(id).join(`<${n}>`); });
    return text.replace(/"clientId":"[0-9a-z]{31}"/g, '"clientId":"<new>"');
  }

  async post(how, value, callback) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (how === 'json') return request(this.url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: text});
    const parameters = new URLSearchParams({message: text, ...(callback !== undefined && {jsonp: callback})});
    if (how === 'jsonp') return request(`${this.url}?${parameters}`);
    return request(this.url, {method: 'POST', headers: {'Content-Type': 'application/x-www-form-urlencoded'}, body: String(parameters)});
  }

  // What a step was answered, and what it delivered to each socket.
  async run({how, batch, lone, text, callback}) {
    const said = this.fill(text ?? JSON.stringify(lone ? batch[0] : batch));
    const got = {};
    if (how === 'socket') {
      this.sockets[2].send(said);
      got.answer = await this.sockets[2].gather();
    } else {
      const answer = await this.post(how, said, callback);
      const body = /^\/\*\*\/([^(]*)\(([^]*)\);$/.exec(answer.text);
      const json = body ? body[2] : answer.text;
      const type = answer.headers['content-type'];
      Object.assign(got, {status: answer.status, type, callback: body?.[1], answer: answer.status === 200 ? JSON.parse(json) : json});
    }
    await settle(this.url);
    if (how === 'socket') got.answer.push(...await this.sockets[2].gather());   // Faye's frames may overtake each other
    got.pushed = [];
    for (const socket of this.sockets.slice(0, 2)) got.pushed.push(await socket.gather());
    if (Array.isArray(got.answer)) got.answer = got.answer.filter(m => m?.channel !== '/barrier' || 'successful' in m);   // ours
    return JSON.parse(this.anonymous(JSON.stringify(got)));
  }
}

// -- what may differ -----------------------------------------------------------------------------

const isReply = m => m && typeof m === 'object' && 'successful' in m;
const truthy = value => Boolean(value);
const hasError = message => message !== undefined && 'error' in message;

// The reply that Mora gives where Faye gives `reply` to `message`.
function expected(reply, message) {
  // "`error` in a client's message"
  if (hasError(message)) return {id: reply.id, channel: reply.channel, successful: false, error: '400::Bad request'};
  // "`clientId` of a publish"
  const meta = typeof message?.channel === 'string' && /^\/meta\/(handshake|connect|subscribe|unsubscribe|disconnect)$/.test(message.channel);
  if (!meta && reply.successful && truthy(message?.clientId) && !/^<\d>$/.test(message.clientId))
    return {...reply, successful: false, error: `401:${message.clientId}:Unknown client`, advice: {reconnect: 'handshake'}};
  return reply;
}

// "Refused handshakes and connects": an interval, in its bounds.
function withoutInterval(reply) {
  if (reply.advice?.reconnect !== 'handshake') return reply;
  const {interval, ...advice} = reply.advice;
  assert.ok(Number.isInteger(interval) && interval >= 1000 && interval <= 2000, `interval ${interval}`);
  return {...reply, advice};
}

// "Members of delivered messages", "/service/**"; what Mora refused is not delivered.
function forwarded(message, refused) {
  if (/^\/service(\/|$)/.test(message.channel) || refused.has(JSON.stringify([message.channel, message.data, message.id ?? null]))) return [];
  const {ext, advice, successful, error, subscription, version, ...rest} = message;
  return [rest];
}

function compare(step, faye, mora, refused) {
  const batch = step.batch || [];
  const answered = faye.answer;
  if (step.how === 'socket' && step.text !== undefined && answered.length === 0 && mora.answer.length > 0) {
    // "Bad websocket frames"
    assert.deepEqual(mora.answer, [{successful: false, error: '400::Bad request'}]);
    mora.answer = [];
  }
  if (Array.isArray(answered) && Array.isArray(mora.answer)) {
    // A reply belongs to the message with its id; those without one to each other, in order.
    const rest = [...batch];
    const take = reply => {
      const at = rest.findIndex(m => JSON.stringify(m.id || undefined) === JSON.stringify(reply.id) && (m.channel || undefined) === reply.channel);
      return at < 0 ? undefined : rest.splice(at, 1)[0];
    };
    const replies = answered.filter(isReply).map(reply => [reply, take(reply)]);
    const sides = [replies.map(([reply, message]) => expected(reply, message)), mora.answer.filter(isReply).map(withoutInterval)];
    replies.forEach(([reply, message], n) => {
      if (hasError(message) && sides[1][n]) {   // only that it is refused
        const {id, channel, successful, error} = sides[1][n];
        sides[1][n] = {id, channel, successful, error};
      }
      if (reply.successful && sides[0][n].successful === false && message)
        refused.add(JSON.stringify([message.channel, message.data, message.id ?? null]));
    });
    assert.deepEqual(JSON.parse(JSON.stringify(sides[1])), JSON.parse(JSON.stringify(sides[0])));
    const messages = answered.filter(m => !isReply(m)).flatMap(m => forwarded(m, refused));
    assert.deepEqual(mora.answer.filter(m => !isReply(m)), messages);
    mora.answer = faye.answer = null;
  }
  faye.pushed = faye.pushed.map(list => list.flatMap(m => forwarded(m, refused)));
  assert.deepEqual(mora, faye);
}

// -- runs ----------------------------------------------------------------------------------------

async function startFaye(t) {
  const server = fileURLToPath(new URL('lib/faye_server.mjs', import.meta.url));
  const faye = new Daemon('faye', {command: [process.execPath, server], listeners: {broker: 'broker.listen', admin: 'admin.listen'},
                                   set: {'broker.timeout': '300s'}});
  await faye.start();
  t.after(() => faye.stop());
  return faye.url('broker', '/bayeux');
}

for (let run = 0; run < RUNS; run++) {
  const seed = firstSeed + run;
  test(`${STEPS} random requests, seed ${seed}`, {timeout: 600000}, async t => {
    if (target === 'faye') t.skip('Faye with itself');
    const mora = await startBroker(t, {set: {'broker.timeout': '300s'}});
    const sides = [await Side.open(t, 'faye', await startFaye(t)), await Side.open(t, 'mora', mora.bayeux)];
    const author = new Author(randomSource(seed));
    const refused = new Set();
    for (let n = 0; n < STEPS; n++) {
      const step = author.step();
      const [theirs, ours] = await Promise.all(sides.map(side => side.run(step)));
      const shown = `seed ${seed}, step ${n}: ${JSON.stringify(step)}\nfaye: ${JSON.stringify(theirs)}\nmora: ${JSON.stringify(ours)}`;
      try {
        compare(step, theirs, ours, refused);
      } catch (error) {
        throw new Error(`${shown}\n${error.message}`);
      }
    }
  });
}

// Rows of the table that the random requests keep away from.

test('what waits when a client unsubscribes is not delivered', async t => {
  const broker = await startBroker(t);
  const session = await poller(broker.bayeux, '/a', '/c');
  await publish(broker.bayeux, '/a', 1);
  await publish(broker.bayeux, '/c', 2);
  await session.unsubscribe('/a');
  assert.deepEqual((await drain(session)).map(m => m.data), target === 'faye' ? [1, 2] : [2]);
});

test('a subscription counts from the beginning of its batch', async t => {
  const broker = await startBroker(t);
  const session = await poller(broker.bayeux);
  await post(broker.bayeux, [session.message.publish('/a', 1), session.message.subscribe('/a'), session.message.publish('/a', 2)]);
  assert.deepEqual((await drain(session)).map(m => m.data), target === 'faye' ? [2] : [1, 2]);
});

test('a connect as eventsource brings no messages itself', async t => {
  const broker = await startBroker(t);
  const session = await poller(broker.bayeux, '/a');
  await publish(broker.bayeux, '/a', 1);
  const answer = await post(broker.bayeux, [{...session.message.connect(), connectionType: 'eventsource'}]);
  assert.deepEqual(answer.slice(1).map(m => m.data), target === 'faye' ? [1] : []);
  assert.deepEqual((await drain(session)).map(m => m.data), target === 'faye' ? [] : [1]);
});
