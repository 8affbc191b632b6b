// SPDX-License-Identifier: Apache-2.0
// The harness on trial: its parts against Faye's own server, and its verdicts on daemons that
// misbehave. A harness that cannot fail proves nothing.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {Daemon, alive, run} from './lib/daemon.mjs';
import {PollSession, Socket, replies} from './lib/bayeux.mjs';
import {getJsonp, keepAlive, connectRaw, openJson, postJson} from './lib/http.mjs';
import {Ledger} from './lib/ledger.mjs';
import {Feed, until, within} from './lib/wait.mjs';

const script = new URL('lib/faye_server.mjs', import.meta.url).pathname;

async function faye(t) {
  const daemon = new Daemon('faye', {
    command: [process.execPath, script], listeners: {broker: 'broker.listen', admin: 'admin.listen'},
  });
  t.after(() => daemon.running && daemon.stop());
  await daemon.start();
  daemon.bayeux = daemon.url('broker', '/bayeux');
  return daemon;
}

// A daemon made of a line of shell: what it does first, then it logs the listening event of a real
// one and waits.
const shell = (t, first, address) => {
  const event = JSON.stringify({event: 'listening', listener: 'broker', address});
  const daemon = new Daemon('shell', {
    command: ['/bin/sh', '-c', `${first}; echo '${event}' >&2; while :; do sleep 0.05; done`, 'sh'],
    listeners: {broker: 'broker.listen'},
  });
  t.after(() => daemon.running && daemon.child.kill('SIGKILL'));
  return daemon;
};

test('a poll session and a socket hear each other, a publish by the admin listener reaches both', async t => {
  const server = await faye(t);
  const poller = new PollSession(server.bayeux, {agent: keepAlive(t)});
  await poller.handshake();
  await poller.subscribe('/chat/*');
  const socket = await Socket.open(t, server.bayeux.replace('http:', 'ws:'));
  await socket.bind();
  await socket.subscribe('/chat/**');
  await socket.publish('/chat/a', {n: 0});
  await poller.publish('/chat/a', {n: 1});
  await postJson(server.url('admin', '/v1/publish'), [{channel: '/chat/a', data: {n: 2}}, {channel: '/chat/b/c', data: {n: 3}}]);
  for (const [name, feed, count] of [['poller', poller, 3], ['socket', socket, 4]]) {
    const ledger = new Ledger(name);
    if (feed === poller) await poller.poll(items => items.length >= count, 'the messages');
    else await socket.inbox.count(count);
    feed.inbox.items.forEach(message => ledger.add(message.data));
    ledger.once(count);
  }
});

test('callback-polling, and bytes on a bare connection', async t => {
  const server = await faye(t);
  const answer = await getJsonp(server.bayeux, {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['callback-polling']},
                                {callback: 'app.hear'});
  assert.equal(answer.callback, 'app.hear');
  assert.equal(answer.json[0].successful, true);
  const raw = connectRaw(t, server.address('broker'));
  await raw.opened;
  await raw.send('DELETE /bayeux HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  assert.equal((await raw.until(/^HTTP\/1\.1 (\d+)/))[1], '400');
  await raw.ended();
});

test('a held poll is aborted and reset; a socket is closed and reset', async t => {
  const server = await faye(t);
  for (const how of ['abort', 'reset']) {
    const session = new PollSession(server.bayeux);
    await session.handshake();
    const held = openJson(server.bayeux, [session.message.connect()]);
    await held.sent;
    await held[how]();
    await assert.rejects(within(held.response, 'the answer'), /socket hang up|ECONNRESET|aborted/);
  }
  const socket = await Socket.open(t, server.bayeux.replace('http:', 'ws:'));
  assert.deepEqual(await socket.close(1000), {code: 1000, reason: ''});
  const other = await Socket.open(t, server.bayeux.replace('http:', 'ws:'));
  assert.equal((await other.reset()).code, 1006);
});

test('killed and started again it has the same addresses and has forgotten its sessions', async t => {
  const server = await faye(t);
  const session = new PollSession(server.bayeux);
  await session.handshake();
  const before = server.address('broker');
  const pid = server.pid;
  await server.kill();
  assert.equal(alive(pid), false);
  await server.start();
  assert.equal(server.address('broker'), before);
  const [reply] = replies(await session.connect());
  assert.equal(reply.advice.reconnect, 'handshake');
  await server.restart();
  assert.equal(server.address('broker'), before);
});

test('a daemon that ends with an error, dies at start, or upsets a sanitizer is noticed', async t => {
  const server = await faye(t);  // its /readyz is lent to the shells
  const address = server.address('broker');
  const bad = shell(t, 'trap "exit 3" TERM', address);
  await bad.start();
  await assert.rejects(bad.stop(), /ended with status 3 after SIGTERM/);
  await assert.rejects(shell(t, 'exit 0', address).start(), /ended/);
  for (const words of ['==1==ERROR: AddressSanitizer: heap-use-after-free', 'x.c:1:2: runtime error: signed overflow',
                       'ERROR: LeakSanitizer: detected memory leaks']) {
    const noisy = shell(t, `trap "exit 0" TERM; echo '${words}' >&2`, address);
    await noisy.start();
    await assert.rejects(noisy.stop(), /a sanitizer reported/);
  }
});

test('a ledger notices a missing, a doubled, an unexpected and a misplaced message', () => {
  const check = (...keys) => {
    const ledger = new Ledger();
    keys.forEach(n => ledger.add({n}));
    ledger.once(3);
  };
  check(0, 1, 2);
  assert.throws(() => check(0, 2), /missing 1 \(1\)/);
  assert.throws(() => check(0, 1, 1, 2), /doubled 1 \(1\)/);
  assert.throws(() => check(0, 1, 2, 7), /unexpected 1 \(7\)/);
  assert.throws(() => check(0, 2, 1), /first difference at 1: expected 1, got 2/);
});

test('waiting ends at its deadline, and says for what', async () => {
  const feed = new Feed();
  await assert.rejects(feed.count(1, 'an item', 30), /waited 30 ms for an item \(got 0\)/);
  await assert.rejects(until(() => { throw new Error('not yet'); }, 'luck', 30), /for luck: not yet/);
  feed.end(new Error('over'));
  await assert.rejects(feed.count(1, 'an item'), /waiting for an item: over/);
});

// Runs a suite given as text, in a process of its own.
async function suite(text) {
  const source = `import {test} from ${JSON.stringify(new URL('lib/suite.mjs', import.meta.url).href)};\n${text}`;
  const result = await run(process.execPath, ['--input-type=module', '-'], {input: source});
  const summary = /^# summary (.*)$/m.exec(result.stdout);
  return {...result, summary: summary && JSON.parse(summary[1])};
}

test('a suite fails for a throw, a rejection nobody awaited, a cleanup, a deadline, and for having no test', async () => {
  const good = await suite(`test('a', () => {}); test('b', t => t.skip('not here'));`);
  assert.equal(good.code, 0);
  assert.deepEqual([good.summary.passed, good.summary.failed, good.summary.skipped], [1, 0, 1]);
  for (const body of [`() => { throw new Error('x'); }`, `async () => { Promise.reject(new Error('x')); await new Promise(() => {}); }`,
                      `t => t.after(() => { throw new Error('x'); })`]) {
    const bad = await suite(`test('a', ${body}); test('b', () => {});`);
    assert.equal(bad.code, 1, body);
    assert.deepEqual([bad.summary.passed, bad.summary.failed], [1, 1], body);
  }
  const late = await suite(`test('a', {timeout: 50}, () => new Promise(() => {}));`);
  assert.equal(late.code, 1);
  assert.match(late.stdout, /not done after 50 ms/);
});

test('children of a suite that crashes end with it', async () => {
  const text = `
    import {Daemon} from ${JSON.stringify(new URL('lib/daemon.mjs', import.meta.url).href)};
    test('a', async () => {
      const d = new Daemon('faye', {command: [process.execPath, ${JSON.stringify(script)}], listeners: {broker: 'broker.listen'}});
      await d.start();
      console.log('child ' + d.pid);
      process.exit(1);
    });`;
  const {stdout} = await suite(text);
  const pid = Number(/child (\d+)/.exec(stdout)[1]);
  assert.ok(pid > 1);
  await until(() => !alive(pid), 'the child to be gone');
});
