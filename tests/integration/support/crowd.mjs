// SPDX-License-Identifier: Apache-2.0
// Many clients that cost little: what they get is checked and not kept. And what the broker's process
// costs, as the kernel counts it.

import {readFileSync} from 'node:fs';
import http from 'node:http';
import WebSocket from 'ws';
import {request} from '../lib/http.mjs';
import {nextId} from '../lib/bayeux.mjs';
import {within} from '../lib/wait.mjs';

// MORA_TEST_LONG: whole sizes, and memory is measured. The binaries should be those that are installed:
// sanitizers cost memory of their own.
export const long = Boolean(process.env.MORA_TEST_LONG);

// A websocket client that expects the numbers 0, 1, 2, ... on its channel, each as a string of 126 digits.
export class Counter {
  constructor(url, channel) {
    Object.assign(this, {url, channel, next: 0, fault: null, told: null, closed: null, waiters: []});
  }

  async open() {
    this.ws = new WebSocket(this.url, {perMessageDeflate: false});
    this.ws.on('message', text => this.take(text));
    this.ws.on('error', error => { this.fault ??= `${error.message}`; });
    this.ws.on('close', code => { this.closed = code; this.look(); });
    await within(new Promise(resolve => this.ws.once('open', resolve)), 'a websocket');
    const [reply] = await this.ask({channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket']});
    this.clientId = reply.clientId;
    await this.ask({channel: '/meta/subscribe', subscription: this.channel});
    this.ws.send(JSON.stringify([{channel: '/meta/connect', clientId: this.clientId, connectionType: 'websocket', id: nextId()}]));
    await this.ask({channel: '/barrier', data: 0});
    return this;
  }

  async ask(message) {
    const id = nextId();
    this.ws.send(JSON.stringify([{...message, ...(this.clientId && {clientId: this.clientId}), id}]));
    await this.until(() => this.reply?.id === id, message.channel);
    if (!this.reply.successful) throw new Error(JSON.stringify(this.reply));
    return [this.reply];
  }

  take(text) {
    for (const message of JSON.parse(text)) {
      if (message.channel === this.channel) {
        if (Number(message.data) !== this.next) this.fault ??= `${message.data} where ${this.next} was due`;
        if (this.told) this.fault ??= `${message.data} came behind ${JSON.stringify(this.told)}`;
        this.next++;
      } else if (message.channel === '/meta/connect') {
        this.told = message;
      } else {
        this.reply = message;
      }
    }
    this.look();
  }

  look() { for (const waiter of [...this.waiters]) waiter(); }

  until(predicate, what, deadline) {
    let waiter;
    const found = new Promise((resolve, reject) => {
      waiter = () => {
        if (this.fault) reject(new Error(this.fault));
        else if (predicate()) resolve();
      };
      this.waiters.push(waiter);
      waiter();
    });
    return within(found, () => `${what} (${this.next} came, closed ${this.closed})`, deadline)
      .finally(() => this.waiters.splice(this.waiters.indexOf(waiter), 1));
  }

  // Reads nothing any more: what comes stays in the kernel.
  stop() {
    const {_socket: socket} = this.ws;
    socket.pause();
    socket._handle.readStop();
    socket._handle.reading = false;
  }

  go() {
    const {_socket: socket} = this.ws;
    socket._handle.reading = true;
    socket._handle.readStart();
    socket.resume();
  }

  close() { this.ws.terminate(); }
}

export async function crowd(t, broker, count, channel) {
  const clients = [];
  t.after(() => clients.forEach(client => client.close()));
  for (let i = 0; i < count; i += 20) {
    const some = Array.from({length: Math.min(20, count - i)}, () => new Counter(broker.socket, channel));
    clients.push(...await Promise.all(some.map(client => client.open())));
  }
  return clients;
}

// Publishes the numbers [from, to) in requests of `size`, one after the other.
export async function publishNumbers(t, broker, channel, from, to, {size = 1000, between = () => {}} = {}) {
  const agent = new http.Agent({keepAlive: true, maxSockets: 1});
  t.after(() => agent.destroy());
  for (let n = from; n < to; n += size) {
    const list = Array.from({length: Math.min(size, to - n)}, (_, i) => ({channel, data: String(n + i).padStart(126, '0')}));
    const answer = await request(broker.admin('/v1/publish'),
      {method: 'POST', body: JSON.stringify(list), agent, headers: {'Content-Type': 'application/json'}, deadline: 60000});
    if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${answer.text}`);
    await between();
  }
}

// Bytes of a process that are its own: resident, anonymous.
export const memoryOf = pid => Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

export const percentile = (values, p) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * p))];
