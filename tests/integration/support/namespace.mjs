// SPDX-License-Identifier: Apache-2.0
// A machine of its own, as far as the network goes: a namespace with one cable to here. Needs root and
// iproute2; canSeparate() says whether there is such a thing.
//
//   const there = await startNamespace(t);
//   there.here, there.there            the two ends' addresses
//   there.command('redis-server')      what runs a program over there: ['ip', 'netns', 'exec', ...]
//   there.cut(); there.mend();         the cable
//
// Its daemons are reached all the same: by unix sockets, which know no network. forward() gives such a
// socket a port here.

import {execFileSync} from 'node:child_process';
import {once} from 'node:events';
import net from 'node:net';

const ip = (...words) => execFileSync('ip', words, {stdio: ['ignore', 'ignore', 'pipe']});

export function canSeparate() {
  const name = `mora-try-${process.pid}`;
  try {
    ip('netns', 'add', name);
    ip('netns', 'del', name);
    return true;
  } catch {
    return false;
  }
}

let made = 0;

export async function startNamespace(t) {
  // Of a range that is for tests of networks (RFC 2544); the pid keeps runs apart.
  const subnet = `198.18.${(process.pid + made) % 250}`;
  const tag = `${process.pid % 100000}x${made++}`;
  const name = `mora-${tag}`, inner = `mi${tag}`, outer = `mo${tag}`;
  ip('netns', 'add', name);
  t.after(() => { try { ip('netns', 'del', name); } catch { /* gone */ } });   // and the cable with it
  ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', name);
  ip('addr', 'add', `${subnet}.1/24`, 'dev', outer);
  ip('-n', name, 'addr', 'add', `${subnet}.2/24`, 'dev', inner);
  ip('-n', name, 'link', 'set', 'lo', 'up');
  ip('-n', name, 'link', 'set', inner, 'up');
  ip('link', 'set', outer, 'up');
  return {
    here: `${subnet}.1`, there: `${subnet}.2`,
    command: (...words) => ['ip', 'netns', 'exec', name, ...words],
    cut: () => ip('link', 'set', outer, 'down'),
    mend: () => ip('link', 'set', outer, 'up'),
  };
}

// A port here that leads to a unix socket: "127.0.0.1:4711".
export async function forward(t, path) {
  const server = net.createServer(client => {
    const behind = net.connect(path);
    client.pipe(behind).pipe(client);
    for (const [one, other] of [[client, behind], [behind, client]]) one.on('error', () => other.destroy()).on('close', () => other.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `127.0.0.1:${server.address().port}`;
}
