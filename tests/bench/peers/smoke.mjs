// SPDX-License-Identifier: Apache-2.0
// Proves that a peer works before it is measured:  node tests/bench/peers/smoke.mjs [NAME ...] [--crowd N]
// One subscriber, by a client library of the peer's kind, receives one message; stop() leaves no process.
// --crowd N: then N websocket subscribers receive 20 messages each, once and in order.
// Prints TAP. A peer that cannot be installed is skipped, with the reason.

import assert from 'node:assert/strict';
import {existsSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Skipped, peers} from './peers.mjs';
import {npmInstall} from './lib/install.mjs';
import {crowd, one} from './lib/clients.mjs';

const words = process.argv.slice(2);
const at = words.indexOf('--crowd');
const size = at < 0 ? 0 : Number(words.splice(at, 2)[1]);
for (const word of words) assert(peers.some(({name}) => name === word), `no such peer: ${word}`);
const chosen = peers.filter(({name}) => words.length === 0 || words.includes(name));

async function smoke(peer) {
  const directory = mkdtempSync(join(tmpdir(), 'mora-bench-'));
  try {
    await npmInstall();
    await peer.install();
    const running = await peer.start({cpu: 0, directory});
    const {pids} = running;
    try {
      console.log(`# ${peer.name}: ${running.version}; ${running.settings}`);
      assert(pids.length > 0);
      await one(peer, running.urls);
      if (size > 0) console.log(`# ${peer.name}: ${await crowd(peer, running.urls, size, pids)}`);
    } finally {
      await running.stop();
    }
    assert.deepEqual(pids.filter(pid => existsSync(`/proc/${pid}`)), [], 'processes are left');
  } finally {
    rmSync(directory, {recursive: true});
  }
}

console.log(`1..${chosen.length}`);
for (const [i, peer] of chosen.entries()) {
  try {
    await smoke(peer);
    console.log(`ok ${i + 1} ${peer.name}`);
  } catch (error) {
    if (error instanceof Skipped) {
      console.log(`ok ${i + 1} ${peer.name} # SKIP ${error.message}`);
    } else {
      process.exitCode = 1;
      console.log(`not ok ${i + 1} ${peer.name}\n${error.stack.replace(/^/gm, '# ')}`);
    }
  }
}
process.exit();
