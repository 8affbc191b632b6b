// SPDX-License-Identifier: Apache-2.0
// Which lines of what peers reach are run by tests without a daemon: the fuzz targets over their seeds
// and over what fuzzing has found on this machine (build/fuzz/corpus), unit and component tests.
//
//   node tests/tools/coverage.mjs              as tests/run --long coverage does
//   node tests/tools/coverage.mjs --table      all files
//
// Needs the preset `coverage`, built. Fails where a group of files is below MINIMUM.

import {execFileSync, spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, readdirSync, rmSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const build = join(root, 'build/coverage');
const bin = join(build, 'bin');
const profiles = join(build, 'profiles');
const MINIMUM = 90;

// What must be covered: the protocol, and in the host what reads what a peer sends.
const PARSERS = /^broker\/(host\/(address|chunks|query|request|response|router|websocket|peer|proxy|deflate|head|frames|local)|transport\/(mount|polling|websocket|events|cors)|access\/origin)\w*\.c$/;
const GROUPS = [
  {name: 'bayeux', wanted: path => /^bayeux\/.*\.c$/.test(path)},
  {name: 'host parsers and transports', wanted: path => PARSERS.test(path)},
];

const programs = prefix => readdirSync(bin).filter(name => name.startsWith(prefix)).sort();

const summary = {suite: 'coverage', passed: 0, failed: 0, skipped: 0};

function run(kind, name, args = []) {
  const env = {...process.env, LLVM_PROFILE_FILE: join(profiles, `${kind}-${name}.profraw`)};
  const {status, signal, stderr} = spawnSync(join(bin, name), args, {cwd: root, env, encoding: 'utf8', timeout: 600000, maxBuffer: 1 << 26});
  if (status === 0) return;
  summary.failed++;
  console.log(`not ok ${name} ended with ${signal || status}\n${stderr.slice(-2000).replace(/^/gm, '  ')}`);
}

function collect() {
  rmSync(profiles, {recursive: true, force: true});
  mkdirSync(profiles, {recursive: true});
  for (const name of programs('fuzz_')) {
    const what = name.slice('fuzz_'.length);
    const corpora = [join(root, 'tests/fuzz/corpus', what), join(root, 'build/fuzz/corpus', name)].filter(existsSync);
    run('fuzz', name, ['-runs=0', ...corpora]);
  }
  for (const name of programs('test_')) run('test', name);
  for (const name of programs('component_').filter(each => !each.includes('redis'))) run('test', name);
}

// {path: [lines covered, lines]} of the profiles of these kinds.
function lines(kinds) {
  const merged = join(profiles, `${kinds.join('-')}.profdata`);
  const raw = readdirSync(profiles).filter(name => kinds.some(kind => name.startsWith(`${kind}-`)) && name.endsWith('.profraw'));
  execFileSync('llvm-profdata-14', ['merge', '-sparse', '-o', merged, ...raw.map(name => join(profiles, name))]);
  const objects = raw.map(name => join(bin, name.replace(/^[a-z]+-|\.profraw$/g, '')));
  const text = execFileSync('llvm-cov-14', ['export', '--summary-only', `--instr-profile=${merged}`, objects[0],
    ...objects.slice(1).flatMap(each => ['--object', each])], {encoding: 'utf8', maxBuffer: 1 << 28});
  return Object.fromEntries(JSON.parse(text).data[0].files
    .map(({filename, summary}) => [relative(root, filename), [summary.lines.covered, summary.lines.count]]));
}

const percent = ([covered, count]) => (count ? (100 * covered / count).toFixed(1) : '-');

function main() {
  collect();
  const views = [['fuzz'], ['test'], ['fuzz', 'test']].map(lines);
  const total = wanted => views.map(view => Object.entries(view).filter(([path]) => wanted(path))
    .reduce(([a, b], [, [covered, count]]) => [a + covered, b + count], [0, 0]));
  const row = (name, cells) => console.log(`| ${name} | ${cells.join(' | ')} |`);
  row('lines run, %', ['fuzz targets', 'unit and component tests', 'both']);
  row('---', ['---:', '---:', '---:']);
  for (const {name, wanted} of GROUPS) {
    const sums = total(wanted);
    const good = sums[2][1] > 0 && sums[2][0] * 100 >= sums[2][1] * MINIMUM;
    summary[good ? 'passed' : 'failed']++;
    row(`**${name}**`, sums.map(percent));
    for (const path of Object.keys(views[2]).filter(wanted).sort()) row(path, views.map(view => percent(view[path] || [0, 0])));
    if (!good) console.log(`not ok ${name}: less than ${MINIMUM} % of the lines`);
  }
  if (process.argv.includes('--table'))
    for (const path of Object.keys(views[2]).filter(each => !/^tests\//.test(each)).sort()) row(path, views.map(view => percent(view[path] || [0, 0])));
  console.log(`# summary ${JSON.stringify(summary)}`);
  process.exitCode = summary.failed > 0 ? 1 : 0;
}

main();
