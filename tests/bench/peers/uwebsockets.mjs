// SPDX-License-Identifier: Apache-2.0
// uWebSockets: a server in C++ under a few lines of JavaScript, one Node process.

import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {Skipped, base, npmInstall, required, version} from './lib/install.mjs';
import {freePort, launch} from './lib/server.mjs';

export const name = 'uwebsockets';
export const dialect = 'plain';

export async function install() {
  await npmInstall();
  try {
    required('uwebsockets');  // Ships a binary for each version of Node's ABI.
  } catch (error) {
    throw new Skipped(`uwebsockets has no binary for node ${process.versions.node} on ${process.arch}: ${error.message.split('\n').pop()}`);
  }
}

export async function start({cpu, directory}) {
  const port = await freePort();
  const program = fileURLToPath(new URL('servers/uwebsockets.mjs', import.meta.url));
  const server = await launch({name, cpu, directory, port, env: {NODE_ENV: 'production'},
    command: [process.execPath, program, join(base, 'npm/package.json'), String(port)]});
  return {
    pids: server.pids(), version: `uwebsockets (npm) ${version('uwebsockets')}, node ${process.versions.node}`,
    settings: 'compression off, idleTimeout 120, maxBackpressure 16 MiB, app.publish, NODE_ENV=production',
    urls: {subscribe: `ws://127.0.0.1:${port}/sub/{channel}`, publish: `ws://127.0.0.1:${port}/pub/{channel}`},
    stop: server.stop,
  };
}
