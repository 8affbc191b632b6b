// SPDX-License-Identifier: Apache-2.0
// The suite runner: one file is one process is one suite.
//
//   import {test} from './lib/suite.mjs';
//   test('what must hold', async t => { ... });           // 60 s
//   test('a slow one', {timeout: 120000}, async t => {}); // milliseconds
//
// Tests are registered while the module is loaded and run one after the other, in that order.
// Output is TAP; the last line is `# summary {"suite","passed","failed","skipped"}`, which tests/run
// reads. Exit status 0 only when nothing failed and something ran.
//
//   MORA_TEST_ONLY=text    run only tests whose name contains the text
//   MORA_TEST_SCALE=2      multiply every deadline (a slow machine)

import {basename} from 'node:path';
import {format} from 'node:util';

export const scale = Math.max(1, Number(process.env.MORA_TEST_SCALE) || 1);
const only = process.env.MORA_TEST_ONLY || '';
const name = basename(process.argv[1] || 'suite').replace(/(\.test)?\.[mc]?js$/, '');

const tests = [];
const counts = {suite: name, passed: 0, failed: 0, skipped: 0};
let started = false;
let current = null;

export function test(title, ...rest) {
  const body = rest.pop(), [options = {}] = rest;
  if (typeof body !== 'function') throw new TypeError(`${title}: its body comes last`);
  tests.push({title, body, timeout: (options.timeout || 60000) * scale});
  if (started) return;
  started = true;
  setImmediate(run);
}

class Skip extends Error {}

// What a test gets. Cleanups run in reverse order, also after a failure; one that throws fails the
// test, so a daemon that does not end well is never overlooked.
class Context {
  constructor(title) {
    this.title = title;
    this.failed = false;
    this.cleanups = [];
    this.reports = [];
    this.stray = null;
    this.cancelled = new Promise((_, reject) => { this.cancel = reject; });
    this.cancelled.catch(() => {});
  }
  // fn runs when the test is over.
  after(fn) { this.cleanups.push(fn); }
  // fn returns text that is printed when the test fails (the end of a daemon's log).
  onFailure(fn) { this.reports.push(fn); }
  skip(reason) { throw new Skip(reason); }
  log(...values) { comment(format(...values)); }
}

const comment = text => process.stdout.write(text.replace(/^/gm, '  # ') + '\n');

async function attempt(t, body, timeout) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${timeout} ms`)), timeout);
  });
  try {
    await Promise.race([Promise.resolve().then(() => body(t)), late, t.cancelled]);
  } finally {
    clearTimeout(timer);
  }
}

async function cleanUp(t, errors) {
  while (t.cleanups.length > 0) {
    try {
      await attempt(t, t.cleanups.pop(), 60000 * scale);
    } catch (error) {
      errors.push(error);
      t.failed = true;
    }
  }
}

async function runOne({title, body, timeout}) {
  const t = (current = new Context(title));
  const errors = [];
  let skipped = null;
  try {
    await attempt(t, body, timeout);
  } catch (error) {
    if (error instanceof Skip) skipped = error.message;
    else errors.push(error);
    t.failed = errors.length > 0;
  }
  await cleanUp(t, errors);
  if (t.stray && !errors.includes(t.stray)) errors.push(t.stray);
  current = null;
  const number = counts.passed + counts.failed + counts.skipped + 1;
  if (errors.length > 0) {
    counts.failed++;
    process.stdout.write(`not ok ${number} - ${title}\n`);
    for (const error of errors) comment(String(error?.stack ?? error));
    for (const report of t.reports) comment(String(report()));
  } else if (skipped !== null) {
    counts.skipped++;
    process.stdout.write(`ok ${number} - ${title} # SKIP ${skipped}\n`);
  } else {
    counts.passed++;
    process.stdout.write(`ok ${number} - ${title}\n`);
  }
}

async function run() {
  const chosen = tests.filter(each => each.title.includes(only));
  for (const each of chosen) await runOne(each);
  process.stdout.write(`1..${chosen.length}\n# summary ${JSON.stringify(counts)}\n`);
  // Client libraries leave timers and sockets behind; what tests own was closed above.
  process.exit(counts.failed === 0 && counts.passed + counts.skipped > 0 ? 0 : 1);
}

// An error that nobody awaited belongs to the test that runs.
function stray(error) {
  if (!current) {
    process.stderr.write(`${error?.stack ?? error}\n`);
    process.exit(1);
  }
  current.failed = true;
  current.stray = error;
  current.cancel(error);
}
process.on('unhandledRejection', stray);
process.on('uncaughtException', stray);
