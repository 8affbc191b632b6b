// SPDX-License-Identifier: Apache-2.0
// Real proxies in front of a broker, with the sample configurations of docs/examples.
//
//   const proxy = await startNginx(t, broker);      // or startHaproxy; nginx also in front of a list of brokers
//   proxy.port, proxy.url                           // https://127.0.0.1:43211/bayeux
//   proxy.workers(), proxy.reload()                 // of nginx, with {workers: 2}: their pids; what `nginx -s reload` does
//
// null when the program is not installed.

import {spawn, spawnSync} from 'node:child_process';
import {appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import net from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {once} from 'node:events';
import {adopt, root} from '../lib/daemon.mjs';
import {until, within} from '../lib/wait.mjs';
import {thisMachine} from './certificates.mjs';

export const isInstalled = program => spawnSync(program, ['-v'], {stdio: 'ignore'}).error === undefined;

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address();
  server.close();
  return port;
}

// The sample with the places and files of this test: each must be in it once.
function sample(name, changes) {
  let text = readFileSync(join(root, 'docs/examples', name), 'utf8');
  for (const [from, to] of Object.entries(changes)) {
    if (text.split(from).length !== 2) throw new Error(`${name} should have "${from}" once`);
    text = text.replace(from, to);
  }
  return text;
}

const connects = port => new Promise(resolve => {
  const socket = net.connect({host: '127.0.0.1', port});
  socket.once('connect', () => { socket.destroy(); resolve(true); });
  socket.once('error', () => resolve(false));
});

async function start(t, command, args, port) {
  let log = '';
  const child = adopt(spawn(command, args, {stdio: ['ignore', 'pipe', 'pipe']}));
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { log += text; });
  const ended = new Promise(resolve => child.once('close', resolve));
  t.onFailure(() => `${command}:\n${log}`);
  t.after(async () => {
    child.kill('SIGTERM');
    await within(ended, `${command} to end`);
  });
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}\n${log}`);
    return connects(port);
  }, `${command} to listen`);
  return {port, url: `https://127.0.0.1:${port}/bayeux`, pid: child.pid};
}

const folder = t => {
  const path = mkdtempSync(join(tmpdir(), 'mora-proxy-'));
  t.after(() => rmSync(path, {recursive: true}));
  return path;
};

const childrenOf = pid => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

// workers: a master process and so many; 0: one process in all.
export async function startNginx(t, brokers, {workers = 0} = {}) {
  const at = folder(t), port = await freePort(), {certificate, key} = thisMachine();
  const servers = sample('nginx.conf', {
    '  server 127.0.0.1:8000 ': [brokers].flat().map(broker => `  server ${broker.address('broker')} `).join('fail_timeout=1s;\n'),
    'listen 443 ssl;': `listen 127.0.0.1:${port} ssl;`,
    '/etc/ssl/chat.example.org.pem;': `${certificate};`,
    '/etc/ssl/chat.example.org.key;': `${key};`,
  });
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(each => `${each}_temp_path ${at}/${each};`).join('\n');
  const user = workers && process.getuid() === 0 ? 'user root root;' : '';
  writeFileSync(join(at, 'nginx.conf'), `daemon off; ${user} ${workers ? `worker_processes ${workers}` : 'master_process off'}; pid ${at}/pid; error_log stderr warn;
events { worker_connections 4096; }
http { access_log off;\n${places}\n${servers}\n}\n`);
  const proxy = await start(t, 'nginx', ['-p', at, '-c', join(at, 'nginx.conf'), '-e', 'stderr'], port);
  const list = () => childrenOf(proxy.pid);
  // Those of before end when their last connection does.
  const reload = async () => {
    const before = list();
    process.kill(proxy.pid, 'SIGHUP');
    await until(() => list().filter(pid => !before.includes(pid)).length === workers, 'new workers of nginx');
  };
  return {...proxy, workers: list, reload};
}

export async function startHaproxy(t, broker) {
  const at = folder(t), port = await freePort(), {certificate, key} = thisMachine(), both = join(at, 'both.pem');
  writeFileSync(both, readFileSync(certificate));
  appendFileSync(both, readFileSync(key));
  writeFileSync(join(at, 'haproxy.cfg'), sample('haproxy.cfg', {
    'bind :443': `bind 127.0.0.1:${port}`,
    '/etc/ssl/chat.example.org.pem': both,
    'server one 127.0.0.1:8000': `server one ${broker.address('broker')} source 127.0.0.3`,   // 127.0.0.1 is who looks whether the broker is ready
  }));
  return start(t, 'haproxy', ['-db', '-f', join(at, 'haproxy.cfg')], port);
}
