// SPDX-License-Identifier: Apache-2.0
// CometD: the Java server, in an embedded Jetty; one JVM.

import {copyFileSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {base, folder, run, which} from './lib/install.mjs';
import {freePort, launch} from './lib/server.mjs';

export const name = 'cometd';
export const dialect = 'bayeux';

const place = join(base, 'cometd');
const source = file => fileURLToPath(new URL(`cometd/${file}`, import.meta.url));

// -Xms2g -Xmx2g: as CometD's benchmark server. The collector is the JVM's own choice: on one core the serial one,
// which has no threads that compete with the server.
const FLAGS = ['-server', '-Xms2g', '-Xmx2g', '-XX:+ExitOnOutOfMemoryError'];

export async function install() {
  const java = which('javac', 'Debian package default-jdk-headless');
  const maven = which('mvn', 'Debian package maven');
  const wanted = readFileSync(source('pom.xml'), 'utf8') + readFileSync(source('CometDServer.java'), 'utf8');
  const stamp = join(folder('cometd'), 'installed');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(join(place, 'lib'), {recursive: true, force: true});
  copyFileSync(source('pom.xml'), join(place, 'pom.xml'));
  await run('cometd', maven, ['-B', '-ntp', '-e', `-Dmaven.repo.local=${folder('maven')}`,
    'dependency:copy-dependencies', `-DoutputDirectory=${join(place, 'lib')}`], {cwd: place});
  await run('cometd', java, ['-cp', join(place, 'lib/*'), '-d', join(place, 'classes'), source('CometDServer.java')]);
  writeFileSync(stamp, wanted);
}

const library = prefix => readdirSync(join(place, 'lib')).find(file => file.startsWith(prefix)).slice(prefix.length).replace(/\.jar$/, '');

export async function start({cpu, directory}) {
  const port = await freePort();
  const java = which('java', 'Debian package default-jdk-headless');
  const server = await launch({name, cpu, directory, port,
    command: [java, ...FLAGS, '-cp', `${join(place, 'classes')}:${join(place, 'lib/*')}`, 'CometDServer', String(port)]});
  const about = (await run('java-version', java, ['--version'])).split('\n')[0];
  return {
    pids: server.pids(), version: `CometD ${library('cometd-java-server-common-')}, Jetty ${library('jetty-server-')}, ${about}`,
    settings: `${FLAGS.join(' ')}; Jackson, JettyWebSocketTransport, ws.messagesPerFrame 10, maxThreads 256, acceptQueueSize 2048`,
    urls: {websocket: `ws://127.0.0.1:${port}/cometd`, polling: `http://127.0.0.1:${port}/cometd`},
    stop: server.stop,
  };
}
