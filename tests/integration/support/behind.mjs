// SPDX-License-Identifier: Apache-2.0
// Residents (load.mjs) as they are found behind a proxy. What each may lose or get twice there is the
// table of docs/redis.md, "Behind a proxy".

import {Events} from './events.mjs';
import {BOUND, Resident} from './load.mjs';
import {within} from '../lib/wait.mjs';

const CONNECT_EVERY = 5000;   // ms: connects that keep the session of a stream alive

// Polls, and repeats the id of a connect that was not answered, as Faye's client does.
export class Repeater extends Resident {
  connect() {
    const {breaks} = this;
    if (breaks.length > (this.brokenBefore ?? 0) && this.connects > 0) this.connects--;
    this.brokenBefore = breaks.length;
    return super.connect();
  }
}

// Polls with a new id each time, as CometD's client does. An answer that the proxy took and did not pass on
// has arrived as far as the broker can see.
export class Renewer extends Resident {
  mayLack({sentAt}) { return this.breaks.some(when => sentAt >= when - BOUND && sentAt <= when); }
}

// Speaks CometD's ack extension, over either transport.
export class Acknowledger extends Resident {
  get greeting() { return {ext: {ack: true}}; }
  greeted({ext}) {
    this.acks = Boolean(ext?.ack);
    this.batch = ext?.ack?.batch ?? 0;
  }
  connect() { return {...super.connect(), ext: {ack: this.batch}}; }
  took(messages) {
    const reply = super.took(messages);
    if (reply?.successful && Number.isSafeInteger(reply.ext?.ack)) this.batch = reply.ext.ack;
    return reply;
  }
}

// A stream of events, resumed with the id of the last one; its connects go wherever they go.
export class Streamer extends Resident {
  async hold() {
    const url = `${this.node.bayeux}/${this.clientId}`;
    this.openedAt = Date.now();
    const headers = {Accept: 'text/event-stream', ...(this.lastId !== undefined && {'Last-Event-ID': this.lastId})};
    const events = this.events = await Events.open({after() {}}, url, headers);
    if (events.status !== 200) {
      events.close();
      throw new Error(`HTTP ${events.status}`);
    }
    let read = 0;
    const take = () => {
      for (; read < events.events.length; read++) {
        const {id, data} = events.events[read];
        this.lastId = id ?? this.lastId;
        this.took(data);
      }
    };
    events.response.on('data', take);
    take();
    this.attached = true;
    const timer = setInterval(() => this.refresh(), CONNECT_EVERY);
    this.refresh();
    try {
      await new Promise(resolve => (events.over ? resolve() : events.response.once('close', resolve)));
    } finally {
      clearInterval(timer);
    }
    throw new Error('the stream ended');
  }
  async join() {
    await super.join();
    this.lastId = undefined;
  }
  // What it says is told like any other reply; one that fails is for the next to make good.
  async refresh() {
    try {
      const replies = await this.session.post([{...this.connect(), connectionType: 'eventsource'}]);
      const reply = replies.find(({channel}) => channel === '/meta/connect');
      if (reply?.advice?.reconnect === 'handshake') this.told.push({at: Date.now(), interval: 0});
    } catch { /* see above */ }
  }
  cut() { this.events?.reset(); }
  async stop() {
    this.running = false;
    this.events?.close();
    this.agent.destroy();
    await within(this.life, `${this.name} to end`).catch(() => {});
  }
}
