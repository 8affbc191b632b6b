// SPDX-License-Identifier: Apache-2.0
// What the protocol suites need beyond lib/bayeux.mjs: barriers (everything that was sent by now has
// come) instead of pauses, held polls that can be broken, and sessions by one call.

import net from 'node:net';
import {once} from 'node:events';
import {setImmediate as turn} from 'node:timers/promises';
import {Socket, PollSession, nextId, deliveries} from '../lib/bayeux.mjs';
import {openJson, postJson, resetSocket, tlsConnect} from '../lib/http.mjs';
import {within} from '../lib/wait.mjs';

export const asSocketUrl = url => url.replace(/^http/, 'ws');

// Posts messages; the array of the answer.
export async function post(url, messages) {
  const answer = await postJson(url, messages);
  if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${answer.text}`);
  return answer.json;
}

export async function publish(url, channel, data, more = {}) {
  const [reply] = await post(url, [{channel, data, ...more}]);
  if (!reply.successful) throw new Error(`publish refused: ${JSON.stringify(reply)}`);
  return reply;
}

// Two round trips: what was written to other connections before has been read by now.
export async function settle(url) {
  await post(url, []);
  await post(url, []);
}

// True when the promise is still open once everything that is ready has run.
export async function isPending(promise) {
  const open = {};
  const late = turn().then(() => turn()).then(() => open);
  return (await Promise.race([promise.catch(() => {}), late])) === open;
}

// A session that polls.
export async function poller(url, ...patterns) {
  const session = new PollSession(url);
  await session.handshake();
  for (const pattern of patterns) await session.subscribe(pattern);
  return session;
}

// The same for a client id that exists.
export function pollerOf(url, clientId) {
  const session = new PollSession(url);
  session.clientId = clientId;
  return session;
}

// What waits for the session: the messages, without the connect reply.
export async function drain(session, extra) {
  const messages = await session.connect({timeout: 0, ...extra});
  if (!messages.some(m => m.channel === '/meta/connect' && m.successful)) throw new Error(JSON.stringify(messages));
  return deliveries(messages);
}

// A connect that is held: as open() of lib/http.mjs, `answer` is the promised array.
export function hold(session, extra) {
  const held = openJson(session.url, [session.message.connect(extra)]);
  held.answer = within(held.response, 'the held poll').then(response => response.json);
  held.answer.catch(() => {});
  return held;
}

// A websocket on which a reply can be told from silence.
export class Wire extends Socket {
  static async open(t, url, options = {}) {
    const wire = new Wire(url, [], options);
    wire.start = 0;
    t.after(() => wire.ws.terminate());
    await within(wire.opened, `a websocket to ${url}`);
    return wire;
  }

  // A session of its own, subscribed, with a held connect (its id: heldId).
  static async client(t, url, ...patterns) {
    const wire = await Wire.open(t, url);
    await wire.handshake();
    for (const pattern of patterns) await wire.subscribe(pattern);
    wire.heldId = wire.connect();
    await wire.gather();
    return wire;
  }

  // Stops reading: what comes from now on stays in the kernel, unread. (pause() alone still fills
  // the stream's buffer, and ws reads that out when the connection ends.)
  deafen() {
    const {_socket: socket} = this.ws;
    socket.pause();
    socket._handle.readStop();
    socket._handle.reading = false;
  }

  // Everything since the last gather(), flat.
  get messages() { return this.frames.items.slice(this.start).flat().filter(m => m && m.channel !== '/barrier'); }

  // Waits until this many of them are there.
  come(count) { return this.frames.when(() => this.messages.length >= count, `${count} messages`); }

  // A publish whose answer comes behind all that was sent before it; what has come by then.
  async barrier() {
    const id = nextId();
    this.send([{channel: '/barrier', data: 0, id}]);
    await this.reply(id, 'the barrier');
    return this.messages;
  }

  async gather() {
    const messages = await this.barrier();
    this.start = this.frames.length;
    return messages;
  }
}

// A poll whose answer nobody reads: it stays in the kernel. end('close') closes the connection, with
// FIN when nothing had come and RST when something lies unread; end('reset') always with RST.
export async function deafPoll(session, extra) {
  const {hostname, port, pathname, protocol} = new URL(session.url);
  const tls = protocol === 'https:';
  const socket = (tls ? tlsConnect : net.connect)({host: hostname, port: Number(port)});
  socket.on('error', () => {});
  if (!tls) socket.pause();
  // Over TLS two session tickets come first, in one write, and are read.
  await within(once(socket, tls ? 'session' : 'connect'), `a connection to ${session.url}`);
  if (tls) await within(once(socket, 'session'), 'the second ticket');
  if (tls) socket.pause()._handle.readStop();
  const body = JSON.stringify([session.message.connect(extra)]);
  const head = `POST ${pathname} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  await new Promise(resolve => socket.write(head + body, resolve));
  return {socket, end: how => (how === 'reset' ? resetSocket(socket) : socket.destroy())};
}
