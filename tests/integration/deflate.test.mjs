// SPDX-License-Identifier: Apache-2.0
// permessage-deflate: agreed on only where it is turned on, right in both directions, and no way to
// make the broker's memory grow.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import zlib from 'node:zlib';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {connectRaw, request} from './lib/http.mjs';
import {Wire, publish} from './support/wire.mjs';

const words = n => ({n, text: 'the same words again and '.repeat(40)});
const start = (t, set = {}) => startBroker(t, {set: {'broker.deflate': true, 'tls.certificate': null, 'tls.key': null, ...set}});
const open = (t, broker) => Wire.open(t, broker.socket, {perMessageDeflate: {threshold: 0}});
const counters = async broker => {
  const {text} = await request(broker.admin('/metrics'));
  return name => Number(new RegExp(`^mora_websocket_${name}_total (\\S+)`, 'm').exec(text)[1]);
};

test('off by default: not agreed on', async t => {
  const broker = await startBroker(t);
  const wire = await open(t, broker);
  assert.equal(wire.ws.extensions, '');
});

test('agreed on without context takeover; messages arrive whole, compressed once for all', async t => {
  const broker = await start(t);
  const wires = [];
  for (let i = 0; i < 10; i++) {
    const wire = await open(t, broker);
    assert.equal(wire.ws.extensions, 'permessage-deflate');
    await wire.handshake();
    await wire.subscribe('/words');
    wire.connect();
    await wire.gather();
    wires.push(wire);
  }
  const plain = await Wire.client(t, broker.socket, '/words');
  assert.equal(plain.ws.extensions, '');
  const before = wires.map(({ws}) => ws._socket.bytesRead);
  for (let n = 0; n < 50; n++) await publish(broker.bayeux, '/words', words(n));
  for (const wire of [...wires, plain]) {
    await wire.come(50);
    assert.deepEqual(wire.messages.map(m => m.data), Array.from({length: 50}, (_, n) => words(n)));
  }
  wires.forEach(({ws}, i) => assert.ok(ws._socket.bytesRead - before[i] < 50 * 300, `${ws._socket.bytesRead - before[i]} bytes for 50 KB`));
  const count = await counters(broker);
  assert.ok(count('deflated') >= 10, `${count('deflated')} sent compressed`);
  assert.ok(count('inflated') >= 40, `${count('inflated')} came compressed`);
});

test('what clients send compressed, small and large, is understood', async t => {
  const broker = await start(t, {'limits.message': '512KB'});
  const [sender, receiver] = [await open(t, broker), await Wire.client(t, broker.socket, '/sent')];
  await sender.handshake();
  for (const length of [0, 1, 100, 10_000, 300_000]) {
    await sender.one(sender.message.publish('/sent', 'x'.repeat(length)), 'the publish');
  }
  await receiver.come(5);
  assert.deepEqual(receiver.messages.map(m => m.data.length), [0, 1, 100, 10_000, 300_000]);
});

// A client that compresses as it likes: frames by hand.
async function raw(t, broker) {
  const wire = connectRaw(t, broker.address('broker'));
  await wire.opened;
  await wire.send('GET /bayeux HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
    + 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n');
  await wire.until(/\r\n\r\n/);
  assert.match(wire.text, /Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n/);
  wire.start = wire.text.length;
  return wire;
}

// Masked with zeros. first: FIN, the compression bit, opcode.
function frame(first, payload) {
  const length = payload.length < 126 ? [0x80 | payload.length]
    : payload.length < 65536 ? [0xfe, payload.length >> 8, payload.length & 255]
      : [0xff, 0, 0, 0, 0, payload.length >>> 24, payload.length >> 16 & 255, payload.length >> 8 & 255, payload.length & 255];
  return Buffer.concat([Buffer.from([first, ...length, 0, 0, 0, 0]), payload]);
}
const deflate = bytes => zlib.deflateRawSync(bytes, {level: 9, finishFlush: zlib.constants.Z_SYNC_FLUSH}).subarray(0, -4);

const closeCode = async wire => {
  await wire.ended();
  const bytes = Buffer.from(wire.text.slice(wire.start), 'latin1');
  return bytes[0] === 0x88 ? bytes.readUInt16BE(2) : `no close frame: ${bytes.toString('latin1').slice(0, 100)}`;
};

test('a bomb is cut at the limit: 1009, a counter, no memory', {timeout: 120000}, async t => {
  const broker = await start(t);
  const resident = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'))[1]);   // KB, its highest
  const bomb = deflate(Buffer.alloc(64 * 1024 * 1024, 'x'));   // 64 MB in 64 KB
  assert.ok(bomb.length < 100_000);
  const before = resident();
  for (let i = 0; i < 20; i++) {
    const wire = await raw(t, broker);
    await wire.send(frame(0xc1, bomb));
    assert.equal(await closeCode(wire), 1009);
  }
  const count = await counters(broker);
  assert.equal(count('bombs'), 20);
  // The address sanitizer keeps what was freed for a while, at most 256 MB of it.
  assert.ok(resident() - before < 150_000, `${resident() - before} KB more, for 20 times 64 MB`);
  const healthy = await open(t, broker);
  await healthy.handshake();
});

test('broken data, the bit where it must not be, and bad UTF-8 inside', async t => {
  const broker = await start(t);
  const text = Buffer.from('[{"channel":"/meta/handshake"}]');
  for (const [bytes, code] of [
    [frame(0xc1, Buffer.from([0xff, 0xff, 0xff])), 1007],
    [frame(0xc1, deflate(text).subarray(0, 10)), 1007],
    [frame(0xc1, deflate(Buffer.from([0x22, 0xff, 0xfe, 0x22]))), 1007],
    [frame(0xc1, deflate(Buffer.from([0x22, 0xc3]))), 1007],
    [frame(0xc9, Buffer.alloc(3)), 1002],   // a ping
    [Buffer.concat([frame(0x01, text.subarray(0, 5)), frame(0xc0, text.subarray(5))]), 1002],   // a later fragment
    [frame(0xa1, text), 1002],   // another bit
  ]) {
    const wire = await raw(t, broker);
    await wire.send(bytes);
    assert.equal(await closeCode(wire), code, bytes.toString('hex').slice(0, 40));
  }
});

test('a compressed message in fragments of one byte, a ping between them', async t => {
  const broker = await start(t);
  const wire = await raw(t, broker);
  const bytes = deflate(Buffer.from('[]'));
  const frames = [...bytes].map((byte, i) => frame((i === 0 ? 0x41 : 0x00) | (i === bytes.length - 1 ? 0x80 : 0), Buffer.from([byte])));
  await wire.send(Buffer.concat([frames[0], frame(0x89, Buffer.from('hi')), ...frames.slice(1)]));
  await wire.feed.when(() => wire.text.length >= wire.start + 8, 'pong and answer');
  assert.equal(Buffer.from(wire.text.slice(wire.start), 'latin1').toString('hex'), '8a026869' + '81025b5d');
});

test('clients that offer nothing are served as ever', async t => {
  const broker = await start(t);
  const wire = await Wire.client(t, broker.socket, '/x');
  await publish(broker.bayeux, '/x', words(1));
  await wire.come(1);
});
