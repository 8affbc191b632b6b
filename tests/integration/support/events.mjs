// SPDX-License-Identifier: Apache-2.0
// A stream of events as bytes and as events: {id, data}, `data` parsed.

import {agentFor, protocolOf, resetSocket} from '../lib/http.mjs';
import {Feed, within} from '../lib/wait.mjs';

export class Events {
  // Resolves when the head of the answer is there, whatever its status.
  static async open(t, url, headers = {Accept: 'text/event-stream'}) {
    const request = protocolOf(url).get(url, {headers, agent: agentFor(url)});
    t.after(() => request.destroy());
    const response = await within(new Promise((resolve, reject) => request.once('response', resolve).once('error', reject)),
                                  `a stream of events from ${url}`);
    return new Events(request, response);
  }

  // With the id of the last event that `before` had, as a browser comes back.
  static again(t, url, before) {
    return Events.open(t, url, {Accept: 'text/event-stream', ...(before.lastId !== undefined && {'Last-Event-ID': before.lastId})});
  }

  constructor(request, response) {
    Object.assign(this, {request, response, text: '', read: 0, known: [], feed: new Feed(), over: false});
    this.status = response.statusCode;
    this.headers = response.headers;
    request.on('error', () => {});
    response.setEncoding('utf8').on('data', part => { this.text += part; this.feed.push(part); });
    response.on('error', () => {});
    response.on('close', () => { this.over = true; this.feed.end(new Error('the stream ended')); });
  }

  // What was read once is not read again: a stream may be long.
  get events() {
    for (let end; (end = this.text.indexOf('\r\n\r\n', this.read)) >= 0; this.read = end + 4) {
      const {id, data} = Object.fromEntries(this.text.slice(this.read, end).split('\r\n')
        .map(line => /^([a-z]*): ?(.*)$/.exec(line)?.slice(1)).filter(Boolean));
      if (data !== undefined) this.known.push({id, data: JSON.parse(data)});
    }
    return this.known;
  }
  get messages() { return this.events.flatMap(event => event.data); }
  get lastId() { return this.events.at(-1)?.id; }

  until(pattern) { return this.feed.when(() => pattern.exec(this.text), String(pattern)); }
  come(count) { return this.feed.when(() => this.messages.length >= count && this.messages, `${count} messages`); }
  ended() { return within(this.over ? Promise.resolve() : new Promise(resolve => this.response.once('close', resolve)), 'the stream to end'); }
  // As a browser that leaves, or as a network that breaks.
  close() { this.request.destroy(); }
  reset() { resetSocket(this.request.socket); }
}
