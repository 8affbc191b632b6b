// SPDX-License-Identifier: Apache-2.0
// The bench: tests/bench/run starts it.

import {execFileSync} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {cpus} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {figures, quickFigures} from './lib/figures.mjs';
import {Rounds} from './lib/rounds.mjs';
import {binaries, installPeers, isPeer, machine, missing, peerNames} from './lib/servers.mjs';
import {writePage} from './lib/page.mjs';
import {short} from './lib/plot.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const RECORDED = fileURLToPath(new URL('recorded.json', import.meta.url));
const RESULTS = join(root, 'build/bench/results.json');
const WORSE = 1.1;   // than recorded: a defect

const USAGE = `usage: tests/bench/run [--quick [--record]] [--more] [--only FIGURE]... [--without SERVER]... [--rounds N] [--page] [--list]
  without words       everything; writes docs/benchmarks.md
  --quick             Mora and the floors, held against tests/bench/recorded.json; --record writes that
  --only, --without   some figures, without some servers; prints, and writes nothing
  --more              of some figures more rounds, which count together with those of the last results; writes the page
  --page              docs/benchmarks.md once more, from the last results`;

const say = text => console.log(text);

function parse(words) {
  const options = {only: [], without: [], rounds: 0};
  while (words.length > 0) {
    const word = words.shift();
    if (['--quick', '--record', '--more', '--page', '--list'].includes(word)) options[word.slice(2)] = true;
    else if (['--only', '--without'].includes(word) && words.length) options[word.slice(2)].push(words.shift());
    else if (word === '--rounds' && words.length) options.rounds = Number(words.shift());
    else { console.error(USAGE); process.exit(2); }
  }
  return options;
}

function choose({quick, only, without}) {
  const list = (quick ? quickFigures : figures).filter(({id}) => only.length === 0 || only.includes(id));
  return list.map(figure => ({...figure, entries: figure.entries.filter(({server}) => !without.includes(server))}));
}

// The last core for the load, the one before it for the servers.
function cores() {
  const count = cpus().length;
  if (count < 2) throw new Error('two cores are needed: one for the server, one for the load');
  return {server: count - 2, load: count - 1};
}

const label = ({of, against, value}) => `${value} of ${of}${against ? ` / ${against}` : ''}`;

function tell(result) {
  for (const {name, values} of result.entries)
    say(`  ${name.padEnd(18)} ${Object.entries(values).filter(([, each]) => each).map(([key, each]) => `${key} ${short(each.middle)} (${short(each.low)}..${short(each.high)})`).join('  ')}`);
  for (const [name, reason] of Object.entries(result.out)) say(`  ${name.padEnd(18)} ${reason}`);
  for (const target of result.targets)
    say(`  ${target.verdict.padEnd(12)} ${label(target)}: ${target.ratio === undefined ? target.reason : `${short(target.ratio)} (${short(target.low)}..${short(target.high)})`}, target ${target.lowest ? '<' : target.atLeast ? '>=' : '<='} ${short(target.limit)}`);
}

// `keep` is given all results so far, after each figure: a run that is cut short has been worth something. `before`: results
// that these are added to.
async function measure(list, options, skipped, keep = () => {}, before = []) {
  const rounds = new Rounds({cpus: cores(), skipped, say});
  const results = [];
  try {
    for (const figure of list) {
      say(`${figure.id}: ${figure.title}`);
      results.push(await rounds.run(figure, options.rounds, before.find(({id}) => id === figure.id)));
      tell(results.at(-1));
      keep({results, about: rounds.about});
    }
  } finally {
    await rounds.end();
  }
  return {results, about: rounds.about};
}

// -- the short form --------------------------------------------------------------------------------

const recordedName = (figure, target) => `${figure.id}: ${label(target)}`;
const worseBy = ({ratio, atLeast}, recorded) => (atLeast ? recorded / ratio : ratio / recorded);

// Noise is not a defect: what looks worse is measured again, with more rounds.
async function quick(options) {
  const recorded = existsSync(RECORDED) && !options.record ? JSON.parse(readFileSync(RECORDED, 'utf8')) : {};
  const list = choose(options);
  let {results} = await measure(list, {rounds: options.rounds || 3}, missing());
  const isWorse = (figure, target) => target.ratio !== undefined && worseBy(target, recorded[recordedName(figure, target)]) > WORSE;
  const suspects = results.filter(figure => figure.targets.some(target => isWorse(figure, target)));
  if (suspects.length > 0) {
    say('once more, what looked worse');
    const again = await measure(list.filter(({id}) => suspects.some(each => each.id === id)), {rounds: 2 * (options.rounds || 3) + 1}, missing());
    results = results.map(figure => again.results.find(({id}) => id === figure.id) ?? figure);
  }
  const ratios = {};
  for (const figure of results) for (const target of figure.targets) if (target.ratio !== undefined) ratios[recordedName(figure, target)] = Number(target.ratio.toPrecision(4));
  if (options.record) {
    writeFileSync(RECORDED, JSON.stringify(ratios, null, 2) + '\n');
    return say('recorded');
  }
  const worse = results.flatMap(figure => figure.targets.filter(target => isWorse(figure, target)).map(target =>
    `${recordedName(figure, target)} is ${short(target.ratio)} (${short(target.low)}..${short(target.high)}), recorded ${recorded[recordedName(figure, target)]}`));
  for (const each of worse) say(`WORSE ${each}`);
  const unknown = Object.keys(ratios).filter(name => !(name in recorded));
  if (unknown.length > 0) say(`not recorded: ${unknown.join(', ')}`);
  say(worse.length ? `${worse.length} figures are worse by more than 10 %` : 'no figure is worse than recorded by more than 10 %');
  process.exitCode = worse.length ? 1 : 0;
  return undefined;
}

// -- everything ------------------------------------------------------------------------------------

function versions(about, skipped) {
  const text = (command, ...args) => execFileSync(command, args, {encoding: 'utf8'}).trim().split('\n')[0];
  const of = name => (skipped[name] ? `left out: ${skipped[name]}` : about[name] ? `${about[name].version}; ${about[name].settings}` : 'not measured');
  return {mora: `${text(join(binaries(), 'mora-broker'), '--version')}; memory engine, defaults but for limits of rates`,
    ...Object.fromEntries(peerNames.map(name => [name, of(name)]))};
}

async function full(options) {
  const began = Date.now();
  const list = choose(options);
  const wanted = [...new Set(list.flatMap(({entries}) => entries.map(({server}) => server)))].filter(isPeer);
  const skipped = await installPeers(wanted, say);
  const last = options.more && JSON.parse(readFileSync(RESULTS, 'utf8'));
  const partial = !last && options.only.length + options.without.length > 0;
  mkdirSync(join(root, 'build/bench'), {recursive: true});
  let all;
  await measure(list, {rounds: options.rounds || undefined}, skipped, ({results, about}) => {
    const minutes = Math.round((Date.now() - began) / 60000);
    if (last) all = {...last, minutes: last.minutes + minutes, figures: last.figures.map(figure => results.find(({id}) => id === figure.id) ?? figure)};
    else all = {machine: machine(), versions: versions(about, skipped), date: new Date().toISOString().slice(0, 10), minutes, figures: results};
    writeFileSync(partial ? RESULTS.replace('.json', '-partial.json') : RESULTS, JSON.stringify(all, null, 1));
  }, last?.figures);
  if (!partial) writePage(root, all);
  const targets = all.figures.flatMap(figure => figure.targets);
  say(`${targets.filter(({verdict}) => verdict === 'holds').length} of ${targets.length} targets hold; ${all.minutes} minutes`);
}

async function main() {
  const options = parse(process.argv.slice(2));
  for (const name of Object.keys(process.env)) if (name.startsWith('MORA_')) delete process.env[name];   // the broker knows its own only
  if (options.list) return say(choose(options).map(({id, title}) => `${id.padEnd(16)} ${title}`).join('\n'));
  if (options.page) return writePage(root, JSON.parse(readFileSync(RESULTS, 'utf8')));
  if (!existsSync(join(binaries(), 'bench_load'))) throw new Error(`${binaries()} has no bench_load: make bench builds it`);
  return options.quick ? quick(options) : full(options);
}

main().catch(error => {
  console.error(`tests/bench/run: ${error.stack}`);
  process.exit(1);
});
