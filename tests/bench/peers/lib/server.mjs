// SPDX-License-Identifier: Apache-2.0
// Starts the processes of a peer on one core and ends them again.
//
//   const server = await launch({name, cpu, directory, command: [program, ...args], ready: port});
//   server.pids(); await server.stop();
//
// A process is told to end when this one does, however that ends (PR_SET_PDEATHSIG), so that a
// bench that was killed leaves nothing behind. Its output is in DIRECTORY/NAME.log. Where DIRECTORY has a
// clock that can be stopped (`clock`, and the module `clock.so`: tests/bench/load/clock.h) it goes by that.

import net from 'node:net';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, existsSync, openSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

const STARTS_MS = 60000;  // A JVM on a busy core takes seconds.
const ENDS_MS = 15000;

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function accepts(port) {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

// A process and all below it.
function family(pid) {
  if (!existsSync(`/proc/${pid}/task`)) return [];
  const found = [pid];
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`))
      for (const child of readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean)) found.push(...family(Number(child)));
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;  // It ended while it was looked at.
  }
  return found;
}

const alive = pid => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch { return false; }
};

function clockOf(directory) {
  const path = join(directory, 'clock');
  return existsSync(path) ? {LD_PRELOAD: `${path}.so`, BENCH_CLOCK: path} : {};
}

// `port`: the server is ready when it accepts there.
export async function launch({name, cpu, directory, command, port, env = {}}) {
  const path = join(directory, `${name}.log`);
  const log = openSync(path, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', 'taskset', '-c', String(cpu), ...command],
                      {stdio: ['ignore', log, log], env: {...process.env, ...clockOf(directory), ...env}, cwd: directory});
  closeSync(log);
  let ended = null;
  const end = new Promise(resolve => {
    child.on('error', error => { ended = error.message; resolve(); });
    child.on('exit', (code, signal) => { ended = `ended with ${signal ?? code}`; resolve(); });
  });

  const stop = async () => {
    const all = family(child.pid);
    if (ended === null) child.kill('SIGTERM');
    await Promise.race([end, sleep(ENDS_MS, null, {ref: false})]);
    for (let i = 0; i < 100 && all.some(alive); i++) await sleep(10);
    const left = all.filter(alive);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    if (left.length > 0) throw new Error(`${name} did not end when it was told to: killed`);
  };

  for (const until = Date.now() + STARTS_MS; !await accepts(port);) {
    if (ended !== null || Date.now() > until) {
      await stop();
      throw new Error(`${name} did not start (${ended ?? 'in time'}): ${readFileSync(path, 'utf8').trim().split('\n').pop()}`);
    }
    await sleep(20);
  }
  return {pids: () => family(child.pid), stop};
}
