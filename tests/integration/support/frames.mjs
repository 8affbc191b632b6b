// SPDX-License-Identifier: Apache-2.0
// Websockets byte by byte: frames as a test wants them, right or wrong, and all that comes back.

import net from 'node:net';
import {createHash, randomBytes} from 'node:crypto';
import {once} from 'node:events';
import {Feed, within, DEADLINE} from '../lib/wait.mjs';

export const CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
const NAMES = {[TEXT]: 'text', [BINARY]: 'binary', [CLOSE]: 'close', [PING]: 'ping', [PONG]: 'pong'};

function lengthBytes(n, form) {
  if (form === 7 || (!form && n < 126)) return [n];
  const long = Buffer.alloc(8);
  long.writeBigUInt64BE(BigInt(n));
  return form === 16 || (!form && n < 65536) ? [126, ...long.subarray(6)] : [127, ...long];
}

// A frame of the client. `length` lies about the payload's, `form` (7, 16, 64) how it is written.
export function frame(opcode, payload = '', {fin = true, rsv = 0, mask = randomBytes(4), length, form} = {}) {
  const bytes = Buffer.from(payload);
  const head = [(fin ? 0x80 : 0) | rsv << 4 | opcode, ...lengthBytes(length ?? bytes.length, form)];
  if (!mask) return Buffer.concat([Buffer.from(head), bytes]);
  head[1] |= 0x80;
  for (let i = 0; i < bytes.length; i++) bytes[i] ^= mask[i & 3];
  return Buffer.concat([Buffer.from(head), mask, bytes]);
}

export const closeFrame = (code, reason = '', options) =>
  frame(CLOSE, code === undefined ? Buffer.from(reason) : Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]), options);

// The message as many frames, each with `size` bytes of it.
export function fragments(opcode, payload, size) {
  const bytes = Buffer.from(payload);
  const out = [];
  for (let at = 0; at < bytes.length; at += size)
    out.push(frame(at ? CONT : opcode, bytes.subarray(at, at + size), {fin: at + size >= bytes.length}));
  return out;
}

// A connection that speaks websocket without a library's opinion. `events` is what came, in order:
// {type: 'text' | 'binary' | 'close' | 'ping' | 'pong', payload, code}; `faults` what a server must
// not send.
export class Bare {
  constructor(socket) {
    Object.assign(this, {socket, events: new Feed(), faults: [], input: [], have: 0, parts: null, over: false, upgraded: false});
    socket.on('data', part => this.take(part));
    socket.on('error', error => { this.error = error; });
    socket.on('close', () => { this.over = true; this.events.end(new Error('the connection ended')); });
  }

  static async open(t, address, {path = '/', headers = {}, early = ''} = {}) {
    const colon = address.lastIndexOf(':');
    const socket = net.connect({host: address.slice(0, colon), port: Number(address.slice(colon + 1)), noDelay: true});
    t.after(() => socket.destroy());
    const bare = new Bare(socket);
    await within(once(socket, 'connect'), `a connection to ${address}`);
    const key = randomBytes(16).toString('base64');
    const all = {Host: address, Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key, ...headers};
    const lines = Object.entries(all).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(Buffer.concat([Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`), Buffer.from(early)]));
    await bare.events.when(() => bare.upgraded, 'the upgrade');
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (!/^HTTP\/1\.1 101 /.test(bare.head) || !bare.head.includes(accept)) throw new Error(`no upgrade: ${bare.head}`);
    return bare;
  }

  take(part) {
    this.input.push(part);
    this.have += part.length;
    if (!this.upgraded) this.takeHead();
    if (this.upgraded) while (this.takeFrame()) continue;
    this.events.push();   // whoever waits looks once
  }

  joined() {
    if (this.input.length > 1) this.input = [Buffer.concat(this.input)];
    return this.input[0] ?? Buffer.alloc(0);
  }

  takeHead() {
    const at = this.joined().indexOf('\r\n\r\n');
    if (at < 0) return;
    this.head = this.joined().subarray(0, at).toString('latin1');
    this.drop(at + 4);
    this.upgraded = true;
  }

  drop(n) {
    this.input = [this.joined().subarray(n)];
    this.have -= n;
  }

  takeFrame() {
    if (this.have < 2 || this.have < this.need) return false;
    const bytes = this.joined();
    const small = bytes[1] & 127;
    const header = small < 126 ? 2 : small === 126 ? 4 : 10;
    if (bytes.length < header) return false;
    const length = small < 126 ? small : small === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    this.need = header + length;   // what is large is joined once
    if (bytes.length < this.need) return false;
    this.need = 0;
    this.check(bytes, small, length);
    this.frame(bytes[0] & 15, (bytes[0] & 0x80) !== 0, (bytes[0] & 0x40) !== 0, Buffer.from(bytes.subarray(header, header + length)));
    this.drop(header + length);
    return true;
  }

  check(bytes, small, length) {
    const opcode = bytes[0] & 15;
    if (bytes[1] & 0x80) this.faults.push('a masked frame');
    if (bytes[0] & (this.inflate ? 0x30 : 0x70)) this.faults.push('a reserved bit');
    if ((small === 126 && length < 126) || (small === 127 && length < 65536)) this.faults.push('a length that is longer than it need be');
    if (opcode >= 8 && (length > 125 || !(bytes[0] & 0x80))) this.faults.push('a long or fragmented control frame');
    if (opcode ? opcode < 8 && this.parts : !this.parts) this.faults.push('fragments out of order');
    if (opcode && !NAMES[opcode]) this.faults.push(`opcode ${opcode}`);
  }

  frame(opcode, fin, compressed, payload) {
    if (opcode < 8) {
      this.parts = this.parts || {opcode, compressed, list: []};
      this.parts.list.push(payload);
      if (!fin) return;
      const whole = this.parts.list.length === 1 ? payload : Buffer.concat(this.parts.list);
      const event = {type: NAMES[this.parts.opcode], payload: this.parts.compressed ? this.inflate(whole) : whole};
      this.parts = null;
      this.events.items.push(event);
    } else {
      const code = opcode === CLOSE && payload.length >= 2 ? payload.readUInt16BE(0) : undefined;
      this.events.items.push({type: NAMES[opcode], payload, ...(opcode === CLOSE && {code})});
    }
  }

  send(bytes) { return new Promise(resolve => this.socket.write(bytes, resolve)); }   // an error is not of interest here

  get closeEvent() { return this.events.items.find(event => event.type === 'close'); }
  // The server's close frame, or undefined when the connection ended without one.
  closed(deadline = DEADLINE) {
    return this.events.when(() => this.closeEvent || this.over, 'a close frame', deadline).then(() => this.closeEvent, error => {
      if (this.over) return undefined;
      throw error;
    });
  }
  async ended() {
    if (!this.over) await within(once(this.socket, 'close'), 'the server to end the connection');
  }
}
