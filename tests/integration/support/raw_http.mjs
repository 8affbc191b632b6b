// SPDX-License-Identifier: Apache-2.0
// HTTP answers taken off a bare connection one by one, read strictly: what a server may not write is
// a fault of its own.

import net from 'node:net';
import {once} from 'node:events';
import {Feed, within} from '../lib/wait.mjs';

const HEAD_END = Buffer.from('\r\n\r\n');

// A body in chunks: its bytes and what it takes of `bytes`, null while it is not complete.
function chunked(bytes) {
  const parts = [];
  for (let at = 0; ;) {
    const line = bytes.indexOf('\r\n', at);
    if (line < 0) return null;
    const size = parseInt(bytes.subarray(at, line).toString('latin1'), 16);
    if (bytes.length < line + 2 + size + 2) return null;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
    if (size === 0) return {body: Buffer.concat(parts), used: at};
  }
}

export class RawHttp {
  constructor(socket) {
    Object.assign(this, {socket, answers: new Feed(), input: Buffer.alloc(0), over: false, faults: [], bodiless: 0});
    socket.on('data', part => {
      this.input = Buffer.concat([this.input, part]);
      while (this.take()) continue;
    });
    socket.on('error', error => { this.error = error; });
    socket.on('close', () => {
      this.over = true;
      if (this.input.length) this.faults.push(`behind the last answer: ${JSON.stringify(this.input.subarray(0, 80).toString('latin1'))}`);
      this.answers.end(new Error('the connection ended'));
    });
  }

  // A connection to "host:port" that ends with the test, or sooner.
  static async open(t, address) {
    const colon = address.lastIndexOf(':');
    const socket = net.connect({host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)), noDelay: true});
    t.after(() => socket.destroy());
    const raw = new RawHttp(socket);
    await within(once(socket, 'connect'), `a connection to ${address}`);
    return raw;
  }

  take() {
    const end = this.input.indexOf(HEAD_END);
    if (end < 0) return false;
    const [line, ...fields] = this.input.subarray(0, end).toString('latin1').split('\r\n');
    const answer = {status: Number((/^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(line) || [])[1]), headers: {}};
    for (const field of fields) {
      const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\0\r\n]*)$/.exec(field);
      if (!match) this.faults.push(`a field ${JSON.stringify(field)}`);
      else if (match[1].toLowerCase() in answer.headers && /^(content-|transfer-)/i.test(match[1])) this.faults.push(`two of ${match[1]}`);
      else answer.headers[match[1].toLowerCase()] = match[2];
    }
    if (!answer.status) this.faults.push(`a status line ${JSON.stringify(line)}`);
    const {body, used} = this.body(answer, this.input.subarray(end + 4)) || {};
    if (!body) return false;
    this.input = this.input.subarray(end + 4 + used);
    this.answers.push({...answer, body: body.toString('utf8')});
    return true;
  }

  // Without a body: 1xx, 204, 304, and the first `bodiless` answers (to HEAD).
  body({status, headers}, rest) {
    const none = {body: Buffer.alloc(0), used: 0};
    if (!(status >= 200) || status === 204 || status === 304) return none;
    if (this.bodiless > this.answers.items.filter(each => each.status >= 200).length) return none;
    if (headers['transfer-encoding']) return 'content-length' in headers ? (this.faults.push('two framings'), none) : chunked(rest);
    if (!/^\d+$/.test(headers['content-length'] || '')) this.faults.push(`${status} without a length`);
    const length = Number(headers['content-length'] || 0);
    return rest.length < length ? null : {body: rest.subarray(0, length), used: length};
  }

  send(bytes) { return new Promise(resolve => this.socket.write(bytes, resolve)); }   // a broken connection is seen elsewhere
  get statuses() { return this.answers.items.map(each => each.status); }
  async ended() {
    if (!this.over) await within(once(this.socket, 'close'), () => `the server to end the connection after ${this.statuses}`);
  }
}
