// SPDX-License-Identifier: Apache-2.0
// Bayeux by hand: sessions over long-polling and over websockets where each request is visible, for
// tests about the protocol rather than about a client library.

import WebSocket from 'ws';
import {Feed, within, DEADLINE} from './wait.mjs';
import {openJson, postJson, resetSocket, tlsConnect} from './http.mjs';

export const CONNECTION_TYPES =
  ['long-polling', 'cross-origin-long-polling', 'callback-polling', 'websocket', 'eventsource', 'in-process'];

let counter = 0;
export const nextId = () => (++counter).toString(36);

const isReply = message => 'successful' in message;
export const replies = messages => messages.filter(isReply);
export const deliveries = messages => messages.filter(message => !isReply(message));

function succeeded(reply, what) {
  if (!reply) throw new Error(`${what}: no reply`);
  if (reply.successful !== true) throw new Error(`${what}: ${JSON.stringify(reply)}`);
  return reply;
}

// The messages of the verbs, filled with a session's id.
const verbs = session => ({
  handshake: extra => ({channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: CONNECTION_TYPES, id: nextId(), ...extra}),
  connect: extra => ({channel: '/meta/connect', clientId: session.clientId, connectionType: session.type, id: nextId(), ...extra}),
  subscribe: (subscription, extra) => ({channel: '/meta/subscribe', clientId: session.clientId, subscription, id: nextId(), ...extra}),
  unsubscribe: (subscription, extra) => ({channel: '/meta/unsubscribe', clientId: session.clientId, subscription, id: nextId(), ...extra}),
  publish: (channel, data, extra) => ({channel, data, clientId: session.clientId, id: nextId(), ...extra}),
  disconnect: extra => ({channel: '/meta/disconnect', clientId: session.clientId, id: nextId(), ...extra}),
});

// A session whose every request is one POST. Deliveries, whichever answer they ride on, gather in
// `inbox`, in order. post() returns the array of the answer; the named verbs return their reply and
// throw when it is not successful.
export class PollSession {
  constructor(url, {agent, headers} = {}) {
    Object.assign(this, {url, agent, headers, type: 'long-polling', clientId: undefined, inbox: new Feed()});
    this.message = verbs(this);
  }
  options(deadline) { return {...(this.agent && {agent: this.agent}), headers: this.headers, deadline}; }
  async post(messages, deadline) {
    const answer = await postJson(this.url, messages, this.options(deadline));
    if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${answer.text}`);
    return this.took(answer.json);
  }
  took(messages) {
    this.inbox.push(...deliveries(messages));
    return messages;
  }
  // A request that may hang; as open() of http.mjs. Its deliveries do not reach the inbox.
  open(messages) { return openJson(this.url, messages, this.options()); }
  async one(message, what) {
    return succeeded((await this.post([message])).find(m => isReply(m) && m.id === message.id), what);
  }
  async handshake(extra) {
    const reply = await this.one(this.message.handshake(extra), 'handshake');
    this.clientId = reply.clientId;
    return reply;
  }
  subscribe(pattern, extra) { return this.one(this.message.subscribe(pattern, extra), `subscribe ${pattern}`); }
  unsubscribe(pattern, extra) { return this.one(this.message.unsubscribe(pattern, extra), `unsubscribe ${pattern}`); }
  publish(channel, data, extra) { return this.one(this.message.publish(channel, data, extra), `publish ${channel}`); }
  disconnect(extra) { return this.one(this.message.disconnect(extra), 'disconnect'); }
  // One poll; the whole answer. {timeout: 0} asks for what is there.
  connect({timeout, ...extra} = {}) {
    return this.post([this.message.connect({...(timeout !== undefined && {advice: {timeout}}), ...extra})], 3 * DEADLINE);
  }
  // Polls until the inbox satisfies the predicate.
  async poll(predicate, what, deadline = DEADLINE) {
    const end = Date.now() + deadline;
    while (!predicate(this.inbox.items)) {
      if (Date.now() > end) throw new Error(`polled ${deadline} ms for ${what} (got ${this.inbox.length})`);
      succeeded(replies(await this.connect({timeout: 500}))[0], 'connect');
    }
    return this.inbox.items;
  }
}

// A websocket with its frames kept: `frames` holds what each text frame said, parsed; `texts` the
// raw text; `inbox` the deliveries.
export class Socket {
  static async open(t, url, {protocols, ...options} = {}) {
    const socket = new Socket(url, protocols, options);
    t.after(() => socket.ws.terminate());
    await within(socket.opened, `a websocket to ${url}`);
    return socket;
  }
  constructor(url, protocols, options) {
    this.frames = new Feed();
    this.inbox = new Feed();
    this.texts = [];
    this.type = 'websocket';
    this.clientId = undefined;
    this.message = verbs(this);
    this.closed = null;  // {code, reason} when it is
    this.ws = new WebSocket(url, protocols, {perMessageDeflate: false, ...(url.startsWith('wss:') && {createConnection: tlsConnect}), ...options});
    this.opened = new Promise((resolve, reject) => this.ws.once('open', resolve).once('error', reject));
    this.ending = new Promise(resolve => this.ws.once('close', (code, reason) => {
      this.closed = {code, reason: reason.toString()};
      this.frames.end(new Error(`the socket closed ${code}`));
      this.inbox.end(new Error(`the socket closed ${code}`));
      resolve(this.closed);
    }));
    this.ws.on('error', error => { this.error = error; });
    this.ws.on('message', data => this.take(data.toString('utf8')));
  }
  take(text) {
    const messages = JSON.parse(text);
    this.texts.push(text);
    this.frames.push(messages);
    this.inbox.push(...deliveries(messages.filter(Boolean)));
  }
  // A string or Buffer goes out as it is, anything else as JSON.
  send(value) { this.ws.send(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value)); }
  async one(message, what) {
    this.send([message]);
    return succeeded(await this.reply(message.id, what), what);
  }
  // The reply with this id, whichever frame it is in.
  reply(id, what = `the reply to ${id}`, deadline) {
    return this.frames.when(frames => frames.flat().find(m => m && isReply(m) && m.id === id), what, deadline);
  }
  async handshake(extra) {
    const reply = await this.one(this.message.handshake(extra), 'handshake');
    this.clientId = reply.clientId;
    return reply;
  }
  subscribe(pattern, extra) { return this.one(this.message.subscribe(pattern, extra), `subscribe ${pattern}`); }
  unsubscribe(pattern, extra) { return this.one(this.message.unsubscribe(pattern, extra), `unsubscribe ${pattern}`); }
  publish(channel, data, extra) { return this.one(this.message.publish(channel, data, extra), `publish ${channel}`); }
  disconnect(extra) { return this.one(this.message.disconnect(extra), 'disconnect'); }
  // Sends a connect that the broker will hold; returns its id, for reply().
  connect({timeout, ...extra} = {}) {
    const message = this.message.connect({...(timeout !== undefined && {advice: {timeout}}), ...extra});
    this.send([message]);
    return message.id;
  }
  // Handshake, and a connect that returned at once: the socket is bound to the session.
  async bind() {
    await this.handshake();
    succeeded(await this.reply(this.connect({timeout: 0})), 'first connect');
    return this;
  }
  // Resolves with {code, reason} once closed, by whomever.
  ended(deadline) { return within(this.ending, 'the socket to close', deadline); }
  close(code = 1000) { this.ws.close(code); return this.ended(); }
  reset() { resetSocket(this.ws._socket); return this.ended(); }
}
