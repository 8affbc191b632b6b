// SPDX-License-Identifier: Apache-2.0
// What needs the tools of the compiler: every header compiles alone, and clang-format agrees.

import {execFile} from 'node:child_process';
import {root, isC} from './tree.mjs';

const CC = process.env.CC || 'cc';
const FORMAT = process.env.CLANG_FORMAT || 'clang-format-14';

const execute = (command, args, cwd, input = '') => new Promise(resolve => {
  const child = execFile(command, args, {cwd, encoding: 'utf8', maxBuffer: 1 << 26},
                         (error, stdout, stderr) => resolve({error, stdout, stderr}));
  child.stdin.on('error', () => {}).end(input);
});

async function inParallel(items, each) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await each(items[i]);
    }
  };
  await Promise.all([worker(), worker()]);
  return results.flat();
}

// The first complaint about the file itself.
const first = (text, path) => {
  const match = new RegExp(`^(?:\\./)?${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}:(\\d+):\\d+: (?:error|fatal error|warning): (.*)$`, 'm').exec(text);
  return match ? {line: Number(match[1]), text: match[2]} : {line: 1, text: text.split('\n').find(Boolean) || 'failed'};
};

export function headers(files, folder = root) {
  const paths = files.map(({path}) => path).filter(path => path.endsWith('.h'));
  const flags = ['-std=gnu17', '-D_GNU_SOURCE', '-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-I.', '-x', 'c', '-'];
  return inParallel(paths, async path => {
    const {error, stderr} = await execute(CC, flags, folder, `#include "${path}"\n`);
    if (!error) return [];
    const {line, text} = first(stderr, path);
    return [{path, line, text: `does not compile alone: ${text}`}];
  });
}

// Many files a process: to start one takes longer than to judge a file.
export async function format(files, folder = root) {
  if ((await execute(FORMAT, ['--version'], folder)).error) return [{path: FORMAT, line: 0, text: 'is missing: make deps'}];
  const paths = files.map(({path}) => path).filter(isC);
  const lots = Array.from({length: Math.ceil(paths.length / 40)}, (_, i) => paths.slice(40 * i, 40 * i + 40));
  return inParallel(lots, async lot => {
    const {error, stderr} = await execute(FORMAT, ['--dry-run', '-Werror', ...lot], folder);
    const places = path => stderr.split('\n').filter(line => line.startsWith(`${path}:`) && /error: code should be clang-formatted/.test(line)).length;
    const found = lot.filter(places).map(path => ({path, line: first(stderr, path).line, text: `${places(path)} places differ from .clang-format`}));
    return error && found.length === 0 ? [{path: FORMAT, line: 0, text: stderr.split('\n')[0] || error.message}] : found;
  });
}
