// SPDX-License-Identifier: Apache-2.0
// Clients of the smoke test: a library for one message, plain websockets for a crowd.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {imported, required} from './install.mjs';

const DEADLINE_MS = 60000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not within ${DEADLINE_MS} ms`)), DEADLINE_MS); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function fayeOne(url, transport) {
  const faye = required('faye');
  const client = new faye.Client(url);
  // Faye wants long polling for the handshake, whatever it takes afterwards.
  if (transport === 'long-polling') for (const each of ['websocket', 'eventsource']) client.disable(each);
  try {
    let got;
    const received = new Promise(resolve => { got = resolve; });
    await client.subscribe('/smoke', got);
    await client.publish('/smoke', {text: 'one'});
    assert.deepEqual(await received, {text: 'one'});
  } finally {
    await client.disconnect();
  }
}

const request = (cometd, verb, ...args) => new Promise((resolve, reject) => {
  cometd[verb](...args, reply => (reply.successful ? resolve(reply) : reject(new Error(`${verb}: ${JSON.stringify(reply)}`))));
});

async function cometdOne(url, transport) {
  const {adapt} = await imported('cometd-nodejs-client');
  adapt();
  const {CometD} = await imported('cometd');
  const cometd = new CometD();
  for (const each of cometd.getTransportTypes()) if (each !== transport) cometd.unregisterTransport(each);
  cometd.configure({url});
  await request(cometd, 'handshake');
  let got;
  const received = new Promise(resolve => { got = resolve; });
  await request(cometd, 'subscribe', '/smoke', got);
  await request(cometd, 'publish', '/smoke', {text: 'one'});
  assert.deepEqual((await received).data, {text: 'one'});
  await request(cometd, 'disconnect');
}

// A websocket and what it received.
function open(url) {
  const {WebSocket} = required('ws');
  const socket = new WebSocket(url, {perMessageDeflate: false});
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('open', () => resolve(socket.setMaxListeners(0)));
  });
}

const reply = (socket, message) => new Promise((resolve, reject) => {
  const hear = data => {
    const found = JSON.parse(data).find(each => each.channel === message.channel);
    if (!found) return;
    socket.off('message', hear);
    if (found.successful) resolve(found); else reject(new Error(JSON.stringify(found)));
  };
  socket.on('message', hear);
  socket.send(JSON.stringify([message]));
});

// Centrifugo's JSON protocol: an object a line, `{}` asks whether we are there.
const lines = data => data.toString().split('\n').filter(Boolean).map(line => JSON.parse(line));

const answered = (socket, message) => new Promise((resolve, reject) => {
  const hear = data => {
    const found = lines(data).find(each => each.id === message.id);
    if (!found) return;
    socket.off('message', hear);
    if (found.error) reject(new Error(JSON.stringify(found))); else resolve(found);
  };
  socket.on('message', hear);
  socket.send(JSON.stringify(message));
});

async function command(urls, message) {
  const socket = await open(urls.websocket);
  socket.on('message', data => { if (lines(data).some(each => Object.keys(each).length === 0)) socket.send('{}'); });
  await answered(socket, message);
  return socket;
}

const at = (url, channel) => url.replace('{channel}', channel);

// Each dialect: a subscriber of one channel that calls each(text), and a publisher(text).
const dialects = {
  bayeux: {
    async subscriber(urls, channel, each) {
      const socket = await open(urls.websocket);
      const {clientId} = await reply(socket, {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket']});
      await reply(socket, {channel: '/meta/subscribe', clientId, subscription: `/${channel}`});
      const connect = () => socket.send(JSON.stringify([{channel: '/meta/connect', clientId, connectionType: 'websocket'}]));
      socket.on('message', data => {
        for (const message of JSON.parse(data)) {
          if (message.channel === `/${channel}`) each(message.data);
          if (message.channel === '/meta/connect' && message.successful) connect();
        }
      });
      connect();
      return socket;
    },
    async publisher(urls, channel) {
      const socket = await open(urls.websocket);
      const {clientId} = await reply(socket, {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket']});
      return {socket, publish: data => reply(socket, {channel: `/${channel}`, data, clientId})};
    },
  },
  centrifugo: {
    async subscriber(urls, channel, each) {
      const socket = await command(urls, {id: 1, connect: {}});
      socket.on('message', data => {
        for (const {push} of lines(data)) if (push?.pub && push.channel === channel) each(push.pub.data);
      });
      await answered(socket, {id: 2, subscribe: {channel}});
      return socket;
    },
    async publisher(urls, channel) {
      const socket = await command(urls, {id: 1, connect: {}});
      let id = 1;
      return {socket, publish: data => answered(socket, {id: ++id, publish: {channel, data}})};
    },
  },
  plain: {
    async subscriber(urls, channel, each) {
      const socket = await open(at(urls.subscribe, channel));
      socket.on('message', data => each(data.toString()));
      return socket;
    },
    async publisher(urls, channel) {
      const socket = await open(at(urls.publish, channel));
      return {socket, publish: data => socket.send(data)};
    },
  },
};

// A held GET is answered; the next ones find all that was published meanwhile, up to the last.
async function plainPoll(url, publisher) {
  const again = setInterval(() => publisher.publish('two'), 50);  // Nobody tells when the first GET is held.
  let answer = await fetch(url);
  clearInterval(again);
  assert.equal(await answer.text(), 'two');
  publisher.publish('three');
  for (let text = 'two'; text !== 'three';) {
    const headers = {'If-Modified-Since': answer.headers.get('last-modified'), 'If-None-Match': answer.headers.get('etag')};
    answer = await fetch(url, {headers});
    text = await answer.text();
    assert(['two', 'three'].includes(text), text);
  }
}

// One message over plain websockets; a peer that can be polled is.
async function socketOne({dialect, urls}) {
  let got;
  const received = new Promise(resolve => { got = resolve; });
  const socket = await dialects[dialect].subscriber(urls, 'smoke', got);
  const publisher = await dialects[dialect].publisher(urls, 'smoke');
  publisher.publish('one');
  assert.equal(await received, 'one');
  if (urls.polling) await plainPoll(at(urls.polling, 'smoke'), publisher);
  for (const each of [socket, publisher.socket]) each.terminate();
}

// One message, by the library that this peer's users have.
export async function one(peer, urls) {
  if (peer.dialect !== 'bayeux') return within(socketOne({dialect: peer.dialect, urls}), 'one message');
  const by = peer.name === 'cometd' ? cometdOne : fayeOne;
  await within(by(urls.polling, 'websocket'), 'one message, websocket');
  return within(by(urls.polling, 'long-polling'), 'one message, long-polling');
}

const ticks = pid => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

// A rough figure, to see that the peer holds a crowd: this client is slower than most of them.
export async function crowd(peer, urls, size, pids) {
  const messages = 20;
  const data = 'x'.repeat(120);
  const received = new Array(size).fill(0);
  let left = size * messages, done;
  const all = new Promise(resolve => { done = resolve; });
  const sockets = [];
  for (let i = 0; i < size; i++) {
    sockets.push(await dialects[peer.dialect].subscriber(urls, 'crowd', text => {
      assert.equal(text, `${received[i]++} ${data}`);
      if (--left === 0) done();
    }));
  }
  const publisher = await dialects[peer.dialect].publisher(urls, 'crowd');
  const before = pids.map(ticks);
  for (let k = 0; k < messages; k++) publisher.publish(`${k} ${data}`);
  try {
    await within(all, `${left} deliveries`);
  } finally {
    for (const socket of [...sockets, publisher.socket]) socket.terminate();
  }
  const spent = pids.reduce((sum, pid, i) => sum + ticks(pid) - before[i], 0);
  return `${size} subscribers, ${size * messages} deliveries, about ${(spent * 10000 / size / messages).toFixed(1)} us of CPU each`;
}
