// SPDX-License-Identifier: Apache-2.0
// Where the broker listens and who is at the other end: addresses of every kind, TLS, proxies, and
// what a start says that cannot be.

import assert from 'node:assert/strict';
import {copyFileSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import tls from 'node:tls';
import {once} from 'node:events';
import {test} from './lib/suite.mjs';
import {binary, run, startBroker} from './lib/daemon.mjs';
import {getJson, connectRaw, request} from './lib/http.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {until, within} from './lib/wait.mjs';
import {Wire, publish} from './support/wire.mjs';
import {makeCertificate, thisMachine} from './support/certificates.mjs';
import {from, proxyV1, proxyV2, socketFrom} from './support/peers.mjs';

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'mora-listen-'));
  t.after(() => rmSync(path, {recursive: true}));
  return path;
}

const stats = async (broker, name) => (await getJson(broker.admin('/v1/stats'))).json[name];
const counter = async (broker, name) => {
  const {text} = await request(broker.admin('/metrics'));
  return Number(new RegExp(`^${name} (\\S+)`, 'm').exec(text)[1]);
};

// -- addresses ---------------------------------------------------------------------------------

const getUnix = path => new Promise((resolve, reject) => {
  http.get({socketPath: path, path: '/healthz', agent: false}, answer => { answer.resume(); resolve(answer.statusCode); }).on('error', reject);
});

test('IPv4, IPv6 and unix listeners at once, each in the log and in the stats', async t => {
  const path = join(folder(t), 'socket');
  const broker = await startBroker(t, {set: {
    'broker.listen': ['127.0.0.1:0', '[::1]:0', `unix:${path}`], 'broker.socket_mode': '0620', 'admin.listen': ['[::1]:0']}});
  const [v4, v6, unix] = broker.addresses.broker;
  assert.match(v4, /^127\.0\.0\.1:[1-9]\d*$/);
  assert.match(v6, /^\[::1\]:[1-9]\d*$/);
  assert.equal(unix, `unix:${path}`);
  for (const address of [v4, v6]) assert.equal((await getJson(`http://${address}/healthz`)).status, 200);
  assert.equal(await getUnix(path), 200);
  assert.equal(statSync(path).mode & 0o777, 0o620);
  const listed = (await stats(broker, 'listeners')).map(each => each.address);
  for (const address of [v4, v6, unix]) assert.ok(listed.includes(address), `${address} in ${listed}`);
  const session = new PollSession(`http://${v6}/bayeux`);
  await session.handshake();
  await session.connect({timeout: 0});
  assert.match((await getJson(broker.admin(`/v1/clients/${session.clientId}`))).json.address, /^\[::1\]:\d+$/);
  await broker.stop();
  assert.equal(existsSync(path), false);
});

test('a socket file that nobody listens on is replaced, one that is in use is not', async t => {
  const path = join(folder(t), 'socket');
  const listen = {'broker.listen': ['127.0.0.1:0', `unix:${path}`]};
  const first = await startBroker(t, {set: listen});
  await first.kill();
  assert.ok(existsSync(path));
  const second = await startBroker(t, {set: listen});
  assert.equal(await getUnix(path), 200);
  const third = await run('mora-broker', ['--set', `broker.listen=unix:${path}`, '--set', 'admin.listen=127.0.0.1:0']);
  assert.equal(third.code, 1, third.stderr);
  assert.match(third.stderr, /another process listens there/);
  assert.equal(await getUnix(path), 200);
  // One that somebody else has put in its place stays.
  rmSync(path);
  const other = net.createServer().listen(path);
  await once(other, 'listening');
  await second.stop();
  assert.ok(existsSync(path));
  other.close();
});

// -- starts that cannot be ------------------------------------------------------------------------

const attempt = (...settings) => run('mora-broker', ['admin.listen=127.0.0.1:0', ...settings].flatMap(each => ['--set', each]));

test('an address that cannot be listened on: why, and what to do', async t => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const dir = folder(t);
  writeFileSync(join(dir, 'file'), '');
  for (const [address, expected] of Object.entries({
    [`127.0.0.1:${taken.address().port}`]: /another process listens there; stop it .*or take another port/,
    'unix:/nowhere/at/all': /the folder does not exist/,
    [`unix:${join(dir, 'file')}`]: /a file is there that is no socket/,
    '192.0.2.1:0': /no interface of this machine has the address/,
  })) {
    const {code, stderr} = await attempt('access.insecure=true', `broker.listen=${address}`);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /listen\.failed/);
    assert.match(stderr, expected);
  }
});

test('settings that cannot be: exit 2, the key, and what to do', async t => {
  const dir = folder(t);
  const good = makeCertificate('good', ['good.test']), other = makeCertificate('other', ['other.test']);
  const file = (name, text) => { writeFileSync(join(dir, name), text); return join(dir, name); };
  const text = file('text.pem', 'no certificate\n');
  const broken = file('broken.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  const locked = join(dir, 'locked.key');
  const made = await run('/usr/bin/env', ['openssl', 'pkey', '-in', good.key, '-aes256', '-passout', 'pass:secret', '-out', locked]);
  assert.equal(made.code, 0, made.stderr);
  for (const [settings, expected] of [
    [[`broker.listen=unix:/${'x'.repeat(120)}`], /broker\.listen: .*at most 107 bytes/],
    [['broker.socket_mode=999'], /broker\.socket_mode/],
    [['broker.trusted_proxies=10.0.0.1/8'], /broker\.trusted_proxies: .*10\.0\.0\.0\/8/],
    [['broker.proxy_protocol=true'], /broker\.proxy_protocol: .*set broker\.trusted_proxies/],
    [[`tls.certificate=${good.certificate}`], /tls\.certificate: set tls\.key, too/],
    [[`tls.key=${good.key}`], /tls\.key: set tls\.certificate, too/],
    [[`tls.certificate=${dir}/none.pem`, `tls.key=${good.key}`], /tls\.certificate: .*none\.pem: No such file/],
    [[`tls.certificate=${good.certificate}`, `tls.key=${dir}/none.key`], /tls\.key: .*none\.key: No such file/],
    [[`tls.certificate=${text}`, `tls.key=${good.key}`], /tls\.certificate: .*holds no certificate in PEM form/],
    [[`tls.certificate=${broken}`, `tls.key=${good.key}`], /tls\.certificate: .*cannot be read/],
    [[`tls.certificate=${good.certificate}`, `tls.key=${text}`], /tls\.key: .*holds no private key in PEM form/],
    [[`tls.certificate=${good.certificate}`, `tls.key=${locked}`], /tls\.key: .*passphrase: store it without one/],
    [[`tls.certificate=${good.certificate}`, `tls.key=${other.key}`], /tls\.key: .*is not the key of the certificate .*good\.pem/],
    [[`tls.certificates=[{"certificate": "${good.certificate}", "key": "${other.key}"}]`], /tls\.certificates: .*is not the key/],
    [[`tls.certificates=[{"certificate": "${good.certificate}"}]`], /tls\.certificates: .*"key"/],
  ]) {
    const {code, stderr} = await attempt(...settings);
    assert.match(stderr, expected, settings.join(' '));
    assert.equal(code, 2, stderr);
  }
});

test('too few descriptors: it does not start, and says what to raise', async () => {
  const limited = await run('/bin/sh', ['-c', 'ulimit -n 30; exec "$0" --set broker.listen=127.0.0.1:0 --set admin.listen=127.0.0.1:0', binary('mora-broker')]);
  assert.equal(limited.code, 1, limited.stderr);
  assert.match(limited.stderr, /descriptors.*ulimit -n, LimitNOFILE/);
});

// -- TLS -----------------------------------------------------------------------------------------

const own = () => ({'tls.certificate': thisMachine().certificate, 'tls.key': thisMachine().key});

// A handshake, and what came of it.
async function shake(broker, options = {}) {
  const [host, port] = broker.address('broker').split(':');
  const socket = tls.connect({host, port, rejectUnauthorized: false, ...options});
  try {
    await within(once(socket, 'secureConnect'), 'the handshake');
    return {name: socket.getPeerCertificate().subject?.CN, version: socket.getProtocol(), alpn: socket.alpnProtocol};
  } finally {
    socket.destroy();
  }
}

test('TLS 1.2 and 1.3, HTTP/1.1 only, the certificate by name', async t => {
  const more = makeCertificate('more', ['more.test', '*.more.test']);
  const broker = await startBroker(t, {set: {...own(), 'tls.certificates': [more]}});
  assert.equal((await shake(broker)).version, 'TLSv1.3');
  assert.equal((await shake(broker, {maxVersion: 'TLSv1.2'})).version, 'TLSv1.2');
  await assert.rejects(shake(broker, {minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0'}), /protocol version|alert/i);
  assert.equal((await shake(broker, {ALPNProtocols: ['h2', 'http/1.1']})).alpn, 'http/1.1');
  assert.notEqual((await shake(broker, {ALPNProtocols: ['h2']}).catch(() => ({}))).alpn, 'h2');
  for (const [servername, name] of Object.entries({'more.test': 'more.test', 'a.more.test': 'more.test', 'localhost': 'localhost', 'nobody.test': 'localhost'}))
    assert.equal((await shake(broker, {servername})).name, name, servername);
  await until(async () => await counter(broker, 'mora_tls_handshakes_total') > 0, 'handshakes to be counted');
});

test('what is no TLS is closed and counted, and disturbs nobody', async t => {
  const broker = await startBroker(t, {set: own()});
  const healthy = await Wire.client(t, broker.socket, '/x');
  const before = await counter(broker, 'mora_tls_failures_total');
  const garbage = ['GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', Buffer.alloc(5000, 0), Buffer.alloc(5000, 0xff), '\x16\x03\x01\x00\x05hello',
    Buffer.from([0x16, 3, 1, 0xff, 0xff, 1, 2, 3]), Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0]), Buffer.alloc(16384, 1)])];
  for (const bytes of garbage) {
    const raw = connectRaw(t, broker.address('broker'));
    await raw.opened;
    await raw.send(bytes).catch(() => {});
    raw.socket.end();
    await raw.ended();
    assert.doesNotMatch(raw.text, /HTTP/);
  }
  const silent = connectRaw(t, broker.address('broker'));
  await silent.opened;
  silent.socket.destroy();
  await until(async () => await counter(broker, 'mora_tls_failures_total') === before + garbage.length + 1, 'all to be counted');
  // In the middle of a handshake that was good so far.
  const [host, port] = broker.address('broker').split(':');
  const hello = tls.connect({host, port, rejectUnauthorized: false}).on('error', () => {});
  await once(hello, 'connect');
  hello.destroy();
  await publish(broker.bayeux, '/x', 1);
  await healthy.come(1);
});

test('garbage inside TLS is answered as it is without', async t => {
  const broker = await startBroker(t, {set: own()});
  const [host, port] = broker.address('broker').split(':');
  const socket = tls.connect({host, port, rejectUnauthorized: false});
  let text = '';
  socket.on('data', part => { text += part; });
  socket.end('\0\0\0 nonsense\r\n\r\n');
  await within(once(socket, 'close'), 'the close');
  assert.match(text, /^HTTP\/1\.1 400 /);
});

test('SIGHUP reads certificates again; a bad file changes nothing; connections stay', async t => {
  const dir = folder(t);
  const files = {certificate: join(dir, 'c.pem'), key: join(dir, 'c.key')};
  const use = ({certificate, key}) => { copyFileSync(certificate, files.certificate); copyFileSync(key, files.key); };
  const [first, second] = ['first', 'second'].map(name => makeCertificate(name, [`${name}.test`]));
  use(first);
  const broker = await startBroker(t, {set: {'tls.certificate': files.certificate, 'tls.key': files.key}});
  assert.equal((await shake(broker)).name, 'first.test');
  const socket = await Wire.client(t, broker.socket, '/x');
  use(second);
  process.kill(broker.pid, 'SIGHUP');
  await until(async () => (await shake(broker)).name === 'second.test', 'the new certificate');
  copyFileSync(first.key, files.key);
  process.kill(broker.pid, 'SIGHUP');
  const said = await broker.log.find(e => e.event === 'tls.reload_failed', 'the refusal');
  assert.match(said.error, /is not the key of/);
  assert.equal((await shake(broker)).name, 'second.test');
  await publish(broker.bayeux, '/x', 1);
  await socket.come(1);
});

test('SIGHUP without TLS does nothing', async t => {
  const broker = await startBroker(t, {set: {'tls.certificate': null, 'tls.key': null}});
  process.kill(broker.pid, 'SIGHUP');
  await broker.log.find(e => e.event === 'reload.nothing', 'the word about it');
  assert.equal((await getJson(broker.admin('/healthz'))).status, 200);
});

test('SIGHUP while it begins and while it ends does no harm', async t => {
  const broker = await startBroker(t, {set: own()});
  const pester = () => setInterval(() => broker.child?.kill('SIGHUP'), 3);
  for (let round = 0; round < 3; round++) {
    const atTheEnd = pester();
    await broker.stop().finally(() => clearInterval(atTheEnd));
    const start = broker.start();
    await broker.log.find(e => e.event === 'start', 'its first word');
    const atTheStart = pester();
    await broker.log.find(e => e.event === 'ready', 'it to begin').finally(() => clearInterval(atTheStart));
    await start;
  }
});

test('a websocket over TLS that stops reading for a while gets everything, in order', async t => {
  const broker = await startBroker(t, {set: {...own(), 'limits.message': '256KB'}});
  const slow = await Wire.client(t, broker.socket, '/big');
  const socket = slow.ws._socket.raw;
  slow.ws._socket.pause();
  socket.pause();
  socket._handle.readStop();
  const data = 'x'.repeat(100_000);
  for (let n = 0; n < 100; n++) await publish(broker.bayeux, '/big', {n, data});
  assert.ok(await counter(broker, 'mora_websocket_partial_writes_total') > 0);
  socket._handle.readStart();
  slow.ws._socket.resume();
  const messages = await slow.frames.when(() => slow.messages.length >= 100 && slow.messages, 'all of them');
  assert.deepEqual(messages.map(m => m.data.n), Array.from({length: 100}, (_, n) => n));
});

// -- proxies -------------------------------------------------------------------------------------

// 127.0.0.2 is the proxy; whoever comes from 127.0.0.1 is not.
const PROXY = '127.0.0.2';
const behind = (t, set = {}) => startBroker(t, {set: {'broker.trusted_proxies': [PROXY, '10.0.0.0/8'], ...set}});
const addressOf = async (broker, {clientId}) => (await getJson(broker.admin(`/v1/clients/${clientId}`))).json.address;

async function seen(broker, options) {
  const session = new PollSession(broker.bayeux, options);
  await session.handshake();
  await session.connect({timeout: 0});
  return addressOf(broker, session);
}

test('X-Forwarded-For of a trusted proxy is the client, of anybody else it is ignored', async t => {
  const broker = await behind(t);
  const proxy = from(t, PROXY), stranger = from(t, '127.0.0.1');
  const forwarded = value => ({'X-Forwarded-For': value});
  assert.equal(await seen(broker, {agent: proxy, headers: forwarded('192.0.2.7')}), '192.0.2.7');
  assert.equal(await seen(broker, {agent: proxy, headers: forwarded('2001:db8::7')}), '2001:db8::7');
  // The same connection carries another client, and one that says more than its proxy saw.
  assert.equal(await seen(broker, {agent: proxy, headers: forwarded('1.1.1.1, 192.0.2.8')}), '192.0.2.8');
  assert.equal(await seen(broker, {agent: proxy, headers: forwarded('1.1.1.1, 192.0.2.9, 10.1.2.3')}), '192.0.2.9');
  assert.equal(await seen(broker, {agent: proxy, headers: {'X-Forwarded-For': ['1.1.1.1', '192.0.2.10']}}), '192.0.2.10');
  assert.match(await seen(broker, {agent: proxy, headers: forwarded('unknown')}), /^127\.0\.0\.2:\d+$/);
  assert.match(await seen(broker, {agent: proxy}), /^127\.0\.0\.2:\d+$/);
  assert.match(await seen(broker, {agent: stranger, headers: forwarded('192.0.2.7')}), /^127\.0\.0\.1:\d+$/);
  assert.match(await seen(broker, {agent: stranger, headers: forwarded('192.0.2.7, 127.0.0.2')}), /^127\.0\.0\.1:\d+$/);
});

test('X-Forwarded-Proto of a trusted proxy says whether a client came over TLS; without one our own side does', async t => {
  const broker = await behind(t), overTls = await startBroker(t, {set: own()});
  const secure = async (at, clientId) => (await getJson(at.admin(`/v1/clients/${clientId}`))).json.secure;
  const polls = async (at, options) => {
    const session = new PollSession(at.bayeux, options);
    await session.handshake();
    await session.connect({timeout: 0});
    return secure(at, session.clientId);
  };
  const proto = value => ({'X-Forwarded-Proto': value});
  const proxy = from(t, PROXY), stranger = from(t, '127.0.0.1');
  const plain = broker.bayeux.startsWith('http:');
  assert.equal(await polls(overTls), true);
  assert.equal(await polls(broker), !plain);
  if (!plain) return;
  assert.equal(await polls(broker, {agent: proxy, headers: proto('https')}), true);
  assert.equal(await polls(broker, {agent: proxy, headers: proto('http, HTTPS ')}), true);
  assert.equal(await polls(broker, {agent: proxy, headers: proto('https, http')}), false, 'the nearest proxy is believed');
  assert.equal(await polls(broker, {agent: proxy, headers: proto('nothttps')}), false);
  assert.equal(await polls(broker, {agent: proxy}), false);
  assert.equal(await polls(broker, {agent: stranger, headers: proto('https')}), false, 'a stranger is not');
  const wire = await Wire.open(t, broker.socket, {headers: proto('https'), ...socketFrom(PROXY)});
  await wire.handshake();
  wire.connect();
  await wire.barrier();
  assert.equal(await secure(broker, wire.clientId), true);
});

// What is on loopback is the proxy, not the client and its pages.
test('through a trusted proxy no page is one of this machine, and the broker may have any name', async t => {
  const trusting = await behind(t), broker = await behind(t, {'broker.proxy_protocol': true});
  const ask = async (at, agent, headers) => (await request(at.bayeux, {method: 'OPTIONS', agent, headers})).status;
  const page = {Origin: 'http://localhost:3000'}, name = {Host: 'chat.example.org'};
  const proxied = () => from(t, PROXY, {proxy: proxyV1('192.0.2.40', 4711)});
  assert.deepEqual([await ask(broker, proxied(), page), await ask(broker, proxied(), name)], [403, 200]);
  assert.deepEqual([await ask(trusting, from(t, PROXY), page), await ask(trusting, from(t, PROXY), name)], [403, 200]);
  assert.deepEqual([await ask(broker, from(t, '127.0.0.1'), page), await ask(broker, from(t, '127.0.0.1'), name)], [200, 403]);
});

test('a websocket has the address of its upgrade', async t => {
  const broker = await behind(t);
  const headers = {'X-Forwarded-For': '192.0.2.20'};
  const wire = await Wire.open(t, broker.socket, {headers, ...socketFrom(PROXY)});
  await wire.handshake();
  wire.connect();
  await wire.barrier();
  assert.equal(await addressOf(broker, wire), '192.0.2.20');
  const forger = await Wire.open(t, broker.socket, {headers, ...socketFrom('127.0.0.1')});
  await forger.handshake();
  forger.connect();
  await forger.barrier();
  assert.match(await addressOf(broker, forger), /^127\.0\.0\.1:\d+$/);
});

test('peers of a unix socket are trusted where the list says unix', async t => {
  const path = join(folder(t), 'socket');
  for (const [trusted, expected] of [[['unix'], '192.0.2.30'], [['0.0.0.0/0', '::/0'], 'unix']]) {
    const broker = await startBroker(t, {set: {'broker.listen': ['127.0.0.1:0', `unix:${path}`], 'broker.trusted_proxies': trusted}});
    const options = {agent: from(t, undefined, {path}), headers: {'X-Forwarded-For': '192.0.2.30'}};
    assert.equal(await seen(broker, options), expected);
    await broker.stop();
  }
});

test('PROXY headers of version 1 and 2 name the client', async t => {
  const broker = await behind(t, {'broker.proxy_protocol': true});
  const via = proxy => ({agent: from(t, PROXY, {proxy})});
  assert.equal(await seen(broker, via(proxyV1('192.0.2.40', 4711))), '192.0.2.40:4711');
  assert.equal(await seen(broker, via(proxyV1('2001:db8::40', 4711))), '[2001:db8::40]:4711');
  assert.equal(await seen(broker, via(proxyV2('192.0.2.41', 4711))), '192.0.2.41:4711');
  assert.equal(await seen(broker, via(proxyV2('192.0.2.42', 4711, 1000))), '192.0.2.42:4711');
  assert.match(await seen(broker, via('PROXY UNKNOWN\r\n')), /^127\.0\.0\.2:\d+$/);
  // A trusted proxy behind a trusted proxy: its X-Forwarded-For counts, a client's does not.
  const headers = {'X-Forwarded-For': '192.0.2.50'};
  assert.equal(await seen(broker, {...via(proxyV1('10.0.0.9', 1)), headers}), '192.0.2.50');
  assert.equal(await seen(broker, {...via(proxyV1('192.0.2.43', 1)), headers}), '192.0.2.43:1');
  const wire = await Wire.open(t, broker.socket, socketFrom(PROXY, {proxy: proxyV2('192.0.2.44', 5)}));
  await wire.handshake();
  wire.connect();
  await wire.barrier();
  assert.equal(await addressOf(broker, wire), '192.0.2.44:5');
});

test('a PROXY header comes in pieces, and nothing behind it is lost', async t => {
  const broker = await behind(t, {'broker.proxy_protocol': true});
  const [host, port] = broker.address('broker').split(':');
  for (const header of [Buffer.from(proxyV1('192.0.2.60', 1)), proxyV2('192.0.2.60', 1, 50)]) {
    const socket = net.connect({host, port, localAddress: PROXY, noDelay: true});
    const closed = once(socket, 'close');   // it may come before the loop is over
    const whole = Buffer.concat([header, Buffer.from('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')]);
    let text = '';
    socket.on('data', part => { text += part; });
    for (let at = 0; at < whole.length; at += 7) {
      await new Promise(resolve => socket.write(whole.subarray(at, at + 7), resolve));
      await getJson(broker.admin('/healthz'));   // the broker has had a turn
    }
    await within(closed, 'the close');
    assert.match(text, /^HTTP\/1\.1 200 /);
  }
});

test('who has to send a PROXY header and does not is closed; others must not', async t => {
  const broker = await behind(t, {'broker.proxy_protocol': true});
  const [host, port] = broker.address('broker').split(':');
  const bad = ['GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 'PROXY TCP4 1.2.3.4\r\n', `PROXY UNKNOWN${' '.repeat(200)}`, Buffer.alloc(100)];
  for (const bytes of bad) {
    const socket = net.connect({host, port, localAddress: PROXY});
    let got = 0;
    socket.on('data', part => { got += part.length; }).on('error', () => {});
    socket.write(bytes);
    await within(new Promise(resolve => socket.once('close', resolve)), 'the close');   // perhaps by a reset
    assert.equal(got, 0);
  }
  assert.equal(await counter(broker, 'mora_proxy_bad_headers_total'), bad.length);
  assert.match(await seen(broker, {agent: from(t, '127.0.0.1')}), /^127\.0\.0\.1:/);
  const forger = connectRaw(t, broker.address('broker'));
  await forger.opened;
  await forger.send(Buffer.concat([proxyV2('192.0.2.7', 1), Buffer.from('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')]));
  await forger.ended();
  assert.doesNotMatch(forger.text, / 200 /);
  // One that connects and says nothing is gone when the broker ends, too.
  const silent = net.connect({host, port, localAddress: PROXY});
  silent.on('error', () => {});
  await once(silent, 'connect');
  await broker.stop();
  silent.destroy();
});

test('a PROXY header comes in front of TLS', async t => {
  const broker = await behind(t, {...own(), 'broker.proxy_protocol': true});
  const agent = from(t, PROXY, {proxy: proxyV1('192.0.2.70', 7), secure: true});
  const session = new PollSession(broker.bayeux.replace('https', 'http'), {agent});
  await session.handshake();
  await session.connect({timeout: 0});
  assert.equal(await addressOf(broker, session), '192.0.2.70:7');
});
