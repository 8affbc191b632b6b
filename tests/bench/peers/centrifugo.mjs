// SPDX-License-Identifier: Apache-2.0
// Centrifugo, memory engine: one Go process, the one that is installed, else built from its module.

import {existsSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {folder, installed, run, which} from './lib/install.mjs';
import {freePort, launch} from './lib/server.mjs';

export const name = 'centrifugo';
export const dialect = 'centrifugo';

const VERSION = 'v6.9.2';
const program = () => installed('centrifugo') ?? join(folder('bin'), 'centrifugo');

export async function install() {
  if (existsSync(program())) return;
  const go = folder('go');
  await run('centrifugo', which('go', 'Go 1.21 or newer, which fetches the version that is asked for'),
    ['install', `github.com/centrifugal/centrifugo/v6@${VERSION}`],
    {env: {...process.env, GOPATH: go, GOMODCACHE: join(go, 'mod'), GOCACHE: join(go, 'cache'), GOFLAGS: '-modcacherw', GOBIN: folder('bin')}});
}

// Its defaults are those for production: no presence, no history, no compression, a queue of 1 MiB for each client,
// which is the least that any peer here keeps. Clients need no token, as those of all other peers.
// GOMAXPROCS: the runtime takes it from the cores it may use.
const config = port => ({
  http_server: {address: '127.0.0.1', port},
  log: {level: 'warn'},
  client: {allow_anonymous_connect_without_token: true},
  channel: {without_namespace: {allow_subscribe_for_client: true, allow_subscribe_for_anonymous: true,
                                allow_publish_for_client: true, allow_publish_for_anonymous: true}},
});

export async function start({cpu, directory}) {
  const port = await freePort();
  const path = join(directory, 'centrifugo.json');
  writeFileSync(path, JSON.stringify(config(port)));
  const server = await launch({name, cpu, directory, port, command: [program(), '-c', path]});
  return {
    pids: server.pids(), version: (await run('centrifugo-version', program(), ['version'])).trim(),
    settings: 'memory engine, JSON protocol, log.level warn, no tokens, else defaults',
    urls: {websocket: `ws://127.0.0.1:${port}/connection/websocket`},
    stop: server.stop,
  };
}
