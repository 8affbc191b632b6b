// SPDX-License-Identifier: Apache-2.0
// Faye with faye-redis, on a Redis of its own: one Node process and Redis, on the same core.

import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {base, npmInstall, run, version, which} from './lib/install.mjs';
import {freePort, launch} from './lib/server.mjs';

export const name = 'faye-redis';
export const dialect = 'bayeux';

const redisServer = () => which('redis-server', 'Debian package redis-server');

export async function install() {
  redisServer();
  await npmInstall();
}

export async function start({cpu, directory}) {
  const redisPort = await freePort();
  const data = join(directory, 'redis');
  mkdirSync(data, {recursive: true});
  // Nothing on disk: what faye-redis keeps is worth nothing after a restart, and a snapshot would fork in the middle of a round.
  const redis = await launch({name: 'redis', cpu, directory, port: redisPort,
    command: [redisServer(), '--bind', '127.0.0.1', '--port', String(redisPort), '--dir', data, '--save', '', '--appendonly', 'no', '--maxclients', '1000']});
  const port = await freePort();
  let server;
  try {
    const program = fileURLToPath(new URL('servers/faye.mjs', import.meta.url));
    server = await launch({name, cpu, directory, port, env: {NODE_ENV: 'production'},
      command: [process.execPath, program, join(base, 'npm/package.json'), String(port), String(redisPort)]});
  } catch (error) {
    await redis.stop();
    throw error;
  }
  const about = await run('redis-version', redisServer(), ['--version']);
  return {
    pids: [...server.pids(), ...redis.pids()], parts: {node: server.pids(), redis: redis.pids()},
    version: `faye ${version('faye')}, faye-redis ${version('faye-redis')}, redis (npm) ${version('redis')}, ` +
      `node ${process.versions.node}, Redis ${about.match(/v=(\S+)/)[1]}`,
    settings: 'timeout 45, NODE_ENV=production; Redis on 127.0.0.1, save "", appendonly no',
    urls: {websocket: `ws://127.0.0.1:${port}/faye`, polling: `http://127.0.0.1:${port}/faye`},
    async stop() {
      try { await server.stop(); } finally { await redis.stop(); }
    },
  };
}
