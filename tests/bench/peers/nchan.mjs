// SPDX-License-Identifier: Apache-2.0
// Nchan: nginx with Debian's module, one worker, memory store.

import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {userInfo} from 'node:os';
import {join} from 'node:path';
import {Skipped, run, which} from './lib/install.mjs';
import {freePort, launch} from './lib/server.mjs';

export const name = 'nchan';
export const dialect = 'plain';

const MODULES = '/usr/lib/nginx/modules';
const nginx = () => which('nginx', 'Debian package nginx-light');

export async function install() {
  nginx();
  if (!existsSync(join(MODULES, 'ngx_nchan_module.so'))) throw new Skipped('the nginx module is not installed (Debian package libnginx-mod-nchan)');
}

// As many as this process may open; nginx sets aside some 400 bytes for each.
const limit = readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+\S+\s+(\d+)/m)?.[1];
const files = Math.min(Number(limit ?? 65536), 65536);

// What Nchan's documentation and nginx's tuning guides ask for: one worker for each core (here: one),
// descriptors for every subscriber, shared memory that 20,000 subscribers do not fill
// (default: 128 MB), no access log. Messages are neither compressed nor authorised.
// keepalive_requests: a long poller stays on its connection longer than 1,000 answers.
// nchan_subscriber_first_message: subscribers get what is new, as those of all other peers do.
// nchan_message_buffer_length: a poller that is between two polls finds 100 messages, not 10.
const config = ({port, directory}) => `
load_module ${MODULES}/ngx_nchan_module.so;
${process.getuid() === 0 ? `user ${userInfo().username};` : ''}
daemon off;
pid ${directory}/nginx.pid;
error_log ${directory}/nginx-error.log warn;
worker_processes 1;
worker_rlimit_nofile ${files};
events { worker_connections ${files}; use epoll; multi_accept on; }
http {
  access_log off;
  keepalive_timeout 3600;
  keepalive_requests 100000000;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(each => `${each}_temp_path ${directory}/${each};`).join(' ')}
  nchan_shared_memory_size 512M;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/sub/([A-Za-z0-9_-]+)$ {
      nchan_subscriber websocket longpoll;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }
    location ~ ^/pub/([A-Za-z0-9_-]+)$ {
      nchan_publisher websocket http;
      nchan_channel_id $1;
      nchan_message_buffer_length 100;
    }
  }
}
`;

export async function start({cpu, directory}) {
  const port = await freePort();
  const path = join(directory, 'nginx.conf');
  writeFileSync(path, config({port, directory}));
  const server = await launch({name, cpu, directory, port, command: [nginx(), '-p', directory, '-e', join(directory, 'nginx-error.log'), '-c', path]});
  const about = await run('nginx-version', 'dpkg-query', ['-W', '-f', '${Package} ${Version}, ', 'libnginx-mod-nchan', 'nginx']);
  return {
    pids: server.pids(), version: about.replace(/, $/, ''),
    settings: 'worker_processes 1, memory store, nchan_shared_memory_size 512M, nchan_message_buffer_length 100, access_log off',
    urls: {subscribe: `ws://127.0.0.1:${port}/sub/{channel}`, publish: `ws://127.0.0.1:${port}/pub/{channel}`, polling: `http://127.0.0.1:${port}/sub/{channel}`},
    stop: server.stop,
  };
}
