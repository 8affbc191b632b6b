// SPDX-License-Identifier: Apache-2.0
// An admin listener of a broker that does what a test tells it: for the outcomes that a broker in
// good health never shows.
//
//   const admin = await fakeAdmin(t);
//   admin.answer = items => ({status: 500});        // what follows is answered so
//   admin.requests                                  // a Feed of {items, body, headers}
//   const release = admin.hold();                   // the next requests wait for release()

import http from 'node:http';
import {Feed} from '../lib/wait.mjs';

export const EPOCH = 1700000000000000;

let position = EPOCH;
export const acknowledged = items => ({
  body: items.map(() => ({position: ++position, epoch: EPOCH, outcome: 'acknowledged'})),
});

// As Daemon, so far as startApi() looks at it.
class Admin {
  constructor() {
    this.requests = new Feed();
    this.answer = acknowledged;
    this.gate = Promise.resolve();
    this.port = 0;
  }
  url() { return `http://127.0.0.1:${this.port}`; }
  hold() {
    let open;
    this.gate = new Promise(resolve => { open = resolve; });
    return open;
  }
  async take(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    if (request.url === '/readyz') return response.writeHead(200).end('{}');
    const body = Buffer.concat(parts).toString('utf8');
    const items = JSON.parse(body);
    this.requests.push({items, body, headers: request.headers});
    await this.gate;
    const {status = 200, body: answer, text, destroy} = this.answer(items);
    if (destroy) return request.socket.destroy();
    response.writeHead(status, {'content-type': 'application/json'}).end(text ?? JSON.stringify(answer ?? {error: 'as told'}));
  }
  // Listens, at its first port again.
  start() {
    this.server = http.createServer((request, response) => { this.take(request, response).catch(() => request.socket.destroy()); });
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(this.port, '127.0.0.1', () => { this.port = this.server.address().port; resolve(this); });
    });
  }
  stop() {
    this.server.closeAllConnections();
    return new Promise(resolve => this.server.close(resolve));
  }
}

export async function fakeAdmin(t) {
  const admin = await new Admin().start();
  t.after(() => admin.stop());
  return admin;
}
