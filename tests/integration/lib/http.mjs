// SPDX-License-Identifier: Apache-2.0
// HTTP as a test needs it: whole answers with their raw text, requests that can be aborted or reset
// while they hang, agents that keep a connection, and bytes on a bare socket.

import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import {within, Feed, DEADLINE} from './wait.mjs';

// A TLS connection over a socket that can be reset: `raw`.
export function tlsConnect(options) {
  const raw = net.connect({host: options.host, port: options.port});
  return Object.assign(tls.connect({rejectUnauthorized: false, ...options, socket: raw}), {raw});
}

// RST, as a broken network looks. Node 18's TLS does not hear of what happens to the socket below it.
export function resetSocket(socket) {
  const below = socket.raw ?? socket;
  below.resetAndDestroy();
  if (below !== socket) below.once('close', () => setImmediate(() => socket.closed || socket.emit('close', true)));
}

class TlsAgent extends https.Agent {
  createConnection(options) { return tlsConnect(options); }
}

// MORA_TEST_TLS=1: every broker speaks TLS.
export const overTls = process.env.MORA_TEST_TLS === '1';
if (overTls) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';   // for client libraries

const isTls = url => /^(https|wss):/.test(url);
export const protocolOf = url => (isTls(url) ? https : http);
export const agentFor = (url, options) => (isTls(url) ? new TlsAgent(options) : new http.Agent(options));

// One request, on its way. `response` resolves with {status, headers, text, json}; json throws when
// the text is none.
//   abort()   closes the connection: FIN, as a browser does that leaves the page
//   reset()   RST
//   socket    resolves with the socket, to look at it or to pause it
export function open(url, {method = 'GET', headers = {}, body = null, agent = agentFor(url)} = {}) {
  const request = protocolOf(url).request(url, {method, headers, agent});
  const socket = new Promise(resolve => request.once('socket', resolve));
  const response = new Promise((resolve, reject) => {
    request.once('error', reject);
    request.once('response', message => {
      const parts = [];
      message.on('data', part => parts.push(part));
      message.once('error', reject);
      message.once('end', () => {
        const bytes = Buffer.concat(parts);
        resolve({
          status: message.statusCode, headers: message.headers, rawHeaders: message.rawHeaders, bytes,
          text: bytes.toString('utf8'),
          get json() { return JSON.parse(this.text); },
        });
      });
    });
  });
  response.catch(() => {});
  request.end(body ?? undefined);
  // Resolves when the request's bytes were handed to the kernel.
  const sent = new Promise(resolve => request.once('finish', resolve));
  const close = kill => socket.then(s => {
    if (s.connecting) return new Promise(done => s.once('connect', () => { kill(s); done(); }));
    kill(s);
  });
  return {request, response, socket, sent, abort: () => close(s => s.destroy()), reset: () => close(resetSocket)};
}

export const request = (url, options = {}) =>
  within(open(url, options).response, `${options.method || 'GET'} ${url}`, options.deadline || DEADLINE);

const asJson = (value, {headers = {}, ...options} = {}) => ({
  method: 'POST', headers: {'Content-Type': 'application/json', ...headers},
  body: typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value), ...options,
});

// A string or a Buffer goes out as it is, anything else as JSON.
export const openJson = (url, value, options) => open(url, asJson(value, options));
export const postJson = (url, value, options) => request(url, asJson(value, options));
export const getJson = (url, options) => request(url, options);

// One connection that is kept: requests on it queue behind each other.
export function keepAlive(t) {
  const agent = agentFor(overTls ? 'https:' : 'http:', {keepAlive: true, maxSockets: 1});
  t.after(() => agent.destroy());
  return agent;
}

// Callback-polling as browsers do it: {status, headers, text, callback, json}.
export async function getJsonp(url, messages, {callback = 'jsonpcallback', ...options} = {}) {
  const query = new URLSearchParams({message: JSON.stringify(messages), jsonp: callback});
  const answer = await request(`${url}?${query}`, options);
  const match = /^\/\*\*\/([^(]*)\(([^]*)\);$/.exec(answer.text);
  return Object.defineProperties(answer, {
    callback: {value: match?.[1]},
    json: {get: () => JSON.parse(match[2])},
  });
}

// A bare TCP connection to "host:port"; secure: with TLS on it.
export function connectRaw(t, address, {secure = false} = {}) {
  const colon = address.lastIndexOf(':');
  const where = {host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1))};
  const socket = secure ? tlsConnect(where) : net.connect(where);
  const raw = {socket, text: '', feed: new Feed(), closed: false};
  socket.setEncoding('latin1');
  socket.on('data', part => { raw.text += part; raw.feed.push(part); });
  socket.on('error', error => { raw.error = error; });
  socket.on('close', () => { raw.closed = true; raw.feed.end(new Error('the connection closed')); });
  raw.opened = within(new Promise((resolve, reject) => socket.once(secure ? 'secureConnect' : 'connect', resolve).once('error', reject)), `a connection to ${address}`);
  raw.opened.catch(() => {});
  raw.send = bytes => new Promise((resolve, reject) => socket.write(bytes, error => error ? reject(error) : resolve()));
  raw.until = (pattern, what = String(pattern)) => raw.feed.when(() => pattern.exec(raw.text), what);
  raw.ended = () => within(raw.closed ? Promise.resolve() : new Promise(resolve => socket.once('close', resolve)), 'the peer to close');
  raw.reset = () => resetSocket(socket);
  t.after(() => socket.destroy());
  return raw;
}
