// SPDX-License-Identifier: Apache-2.0
// Faye with its memory engine: one Node process.

import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {base, npmInstall, version} from './lib/install.mjs';
import {freePort, launch} from './lib/server.mjs';

export const name = 'faye';
export const dialect = 'bayeux';
export const install = npmInstall;

export async function start({cpu, directory}) {
  const port = await freePort();
  const program = fileURLToPath(new URL('servers/faye.mjs', import.meta.url));
  // NODE_ENV: what every guide to Node in production asks for.
  const server = await launch({name, cpu, directory, port, env: {NODE_ENV: 'production'},
    command: [process.execPath, program, join(base, 'npm/package.json'), String(port)]});
  return {
    pids: server.pids(), version: `faye ${version('faye')}, node ${process.versions.node}`,
    settings: 'timeout 45, NODE_ENV=production',
    urls: {websocket: `ws://127.0.0.1:${port}/faye`, polling: `http://127.0.0.1:${port}/faye`},
    stop: server.stop,
  };
}
