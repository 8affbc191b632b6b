// SPDX-License-Identifier: Apache-2.0
// Where the peers of the bench live, and how they get there: everything fetched goes below
// build/bench, what the tools print goes to build/bench/log. A tool that is missing, or a registry
// that does not have a thing, skips the peer: `Skipped` carries the reason to the report.

import {execFile} from 'node:child_process';
import {copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {delimiter, join} from 'node:path';

export const root = fileURLToPath(new URL('../../../..', import.meta.url));
export const base = join(root, 'build/bench');

export class Skipped extends Error {}

// Where an installed program is; undefined: nowhere.
export const installed = program => [...process.env.PATH.split(delimiter), '/usr/sbin', '/usr/local/go/bin']
  .map(folder => join(folder, program)).find(path => existsSync(path));

export function which(program, hint) {
  const found = installed(program);
  if (!found) throw new Skipped(`${program} is not installed (${hint})`);
  return found;
}

export function folder(...names) {
  const path = join(base, ...names);
  mkdirSync(path, {recursive: true});
  return path;
}

// Runs an installing command. What it printed is in build/bench/log/NAME.log; its last line that names no host is the reason when it fails.
export function run(name, command, args, options = {}) {
  const log = join(folder('log'), `${name}.log`);
  return new Promise((resolve, reject) => {
    execFile(command, args, {timeout: 600000, maxBuffer: 1 << 26, ...options}, (error, stdout, stderr) => {
      const said = `$ ${command} ${args.join(' ')}\n${stdout}${stderr}`;
      writeFileSync(log, said, {flag: 'a'});
      if (!error) return resolve(stdout);
      // A line without the place that was asked: the reason is read elsewhere, too.
      const last = `${stdout}\n${stderr}`.trim().split('\n').filter(line => line && !line.includes('://')).pop() ?? error.message.split('\n')[0];
      return reject(new Skipped(`${name} could not be installed: ${last.trim()} (build/bench/log/${name}.log)`));
    });
  });
}

// The Node packages of the bench, by its lock file: once, and again when the lock file changes.
let npm = null;
export function npmInstall() {
  return npm ??= (async () => {
    const place = folder('npm');
    const lock = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
    const stamp = join(place, 'installed');
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === readFileSync(lock, 'utf8')) return;
    for (const file of ['package.json', 'package-lock.json', '.npmrc'])
      copyFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), join(place, file));
    await run('npm', which('npm', 'Debian package npm'), ['ci', '--ignore-scripts'], {cwd: place});
    copyFileSync(lock, stamp);
  })();
}

// A package of the bench: required("faye") is what it exports, imported("cometd") too where it is an ES module,
// version("faye") its version.
const load = () => createRequire(join(base, 'npm/package.json'));
export const required = name => load()(name);
export const imported = name => import(pathToFileURL(load().resolve(name)));
export const version = name => JSON.parse(readFileSync(join(base, 'npm/node_modules', name, 'package.json'), 'utf8')).version;
