// SPDX-License-Identifier: Apache-2.0
// clang-tidy over every C source, by .clang-tidy; a warning is a failure.
//
//   node tests/tools/tidy.mjs             as tests/run --long tidy does
//   node tests/tools/tidy.mjs bayeux/     only sources whose path contains the word
//
// How they are compiled comes from build/fuzz (cmake --preset fuzz, built once for what is generated).

import {execFile} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {cpus} from 'node:os';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const build = join(root, 'build/fuzz');
const TIDY = process.env.CLANG_TIDY || 'clang-tidy-14';
const words = process.argv.slice(2);

const commands = JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8'));
const sources = [...new Set(commands.map(({file}) => relative(root, file)))]
  .filter(path => !path.startsWith('..') && !path.startsWith('build/'))
  .filter(path => words.length === 0 || words.some(word => path.includes(word))).sort();

const check = path => new Promise(resolve => {
  execFile(TIDY, ['-quiet', '-p', build, path], {cwd: root, encoding: 'utf8', maxBuffer: 1 << 26},
           (error, stdout, stderr) => resolve(error ? (stdout.trim() || stderr.trim() || error.message) : null));
});

const summary = {suite: 'tidy', passed: 0, failed: 0, skipped: 0};
const queue = [...sources];
await Promise.all(Array.from({length: Number(process.env.JOBS) || cpus().length}, async () => {
  for (let path; (path = queue.shift());) {
    const complaint = await check(path);
    summary[complaint ? 'failed' : 'passed']++;
    if (complaint) console.log(`not ok ${path}\n${complaint.replaceAll(`${root}/`, '').replace(/^/gm, '  ')}`);
  }
}));
console.log(`# summary ${JSON.stringify(summary)}`);
process.exitCode = summary.failed > 0 || sources.length === 0 ? 1 : 0;
