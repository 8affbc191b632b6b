// SPDX-License-Identifier: Apache-2.0
// The scripts behind make: what is installed, and how the three daemons are started and stopped.
// With programs of a few lines in place of the real ones; and once with the real ones.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import net from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from './lib/suite.mjs';
import {alive, binary, environment, root, run} from './lib/daemon.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {until, within} from './lib/wait.mjs';

const deps = join(root, 'cmake/deps.sh');
const runner = join(root, 'cmake/run.sh');

// A folder with executable scripts in it.
function programs(t, scripts) {
  const folder = mkdtempSync(join(tmpdir(), 'mora-door-'));
  t.after(() => rmSync(folder, {recursive: true}));
  mkdirSync(join(folder, 'bin'));
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(folder, 'bin', name), text);
    chmodSync(join(folder, 'bin', name), 0o755);
  }
  return folder;
}

// A machine on which the packages of `absent` are missing and apt-get writes down what it is told.
// Nothing of the real machine is on the path but what the script needs.
function machine(t, {absent = [], node = true, uid = 0, sudo = false}) {
  const folder = programs(t, {
    'dpkg-query': `#!/bin/sh\nfor last; do :; done\ncase " ${absent.join(' ')} " in *" $last "*) exit 1 ;; esac\nprintf installed\n`,
    id: `#!/bin/sh\necho ${uid}\n`,
    'apt-get': '#!/bin/sh\necho "$@" >>"$0.calls"\n',
    ...(node && {node: '#!/bin/sh\n'}),
    ...(sudo && {sudo: '#!/bin/sh\necho sudo >>"$0.calls"\nexec "$@"\n'}),
  });
  const calls = name => {
    const file = join(folder, 'bin', `${name}.calls`);
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  };
  return {calls, deps: (group, env = {}) => run('/bin/sh', [deps, group], {env: {PATH: join(folder, 'bin'), ...env}})};
}

test('deps: with everything there nothing is called', async t => {
  const m = machine(t, {});
  const {code, stdout} = await m.deps('test');
  assert.deepEqual([code, stdout, m.calls('apt-get')], [0, '', []]);
});

test('deps: what is missing is printed, then installed', async t => {
  const m = machine(t, {absent: ['libuv1-dev', 'chromium']});
  const build = await m.deps('build');
  assert.equal(build.code, 0);
  assert.match(build.stdout, /^Installing missing packages:\n {2}apt-get install -y --no-install-recommends libuv1-dev\n/);
  assert.equal(m.calls('apt-get').length, 2);
  await m.deps('test');
  assert.match(m.calls('apt-get').pop(), /libuv1-dev chromium/);
});

test('deps: Redis for what runs, not for what is built', async t => {
  const m = machine(t, {absent: ['redis-server']});
  await m.deps('build');
  assert.deepEqual(m.calls('apt-get'), []);
  await m.deps('run');
  assert.match(m.calls('apt-get').pop(), / redis-server$/);
});

test('deps: nodejs and npm only where the command node is missing', async t => {
  const bare = machine(t, {node: false, absent: ['nodejs', 'npm']});
  await bare.deps('build');
  assert.match(bare.calls('apt-get')[1], / nodejs npm$/);
  const other = machine(t, {absent: ['nodejs', 'npm']});
  await other.deps('build');
  assert.deepEqual(other.calls('apt-get'), []);
});

test('deps: MORA_NO_INSTALL=1 prints the command and stops; without root sudo is used, or nothing', async t => {
  const m = machine(t, {absent: ['chromium']});
  const refused = await m.deps('test', {MORA_NO_INSTALL: '1'});
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /apt-get install -y --no-install-recommends chromium\n/);
  assert.deepEqual(m.calls('apt-get'), []);
  const user = machine(t, {absent: ['chromium'], uid: 1000});
  assert.equal((await user.deps('test')).code, 1);
  assert.deepEqual(user.calls('apt-get'), []);
  const admin = machine(t, {absent: ['chromium'], uid: 1000, sudo: true});
  assert.equal((await admin.deps('test')).code, 0);
  assert.deepEqual([admin.calls('apt-get').length, admin.calls('sudo').length], [2, 2]);
});

// tests/run in a tree of its own with these suites {path: text}.
function door(t, suites) {
  const folder = mkdtempSync(join(tmpdir(), 'mora-door-'));
  t.after(() => rmSync(folder, {recursive: true}));
  mkdirSync(join(folder, 'tests/integration'), {recursive: true});
  copyFileSync(join(root, 'tests/run'), join(folder, 'tests/run'));
  for (const [name, text] of Object.entries(suites)) writeFileSync(join(folder, 'tests/integration', name), text);
  return {folder, run: (...args) => run(process.execPath, [join(folder, 'tests/run'), '--no-build', ...args])};
}

const SUMMARY = (passed, failed, code) => `
console.log('# summary ' + JSON.stringify({passed: ${passed}, failed: ${failed}, skipped: 1}));
process.exit(${code});
`;

test('tests/run: counts both kinds of suites, the last line and the exit status say how it went', async t => {
  const good = door(t, {
    'own.test.mjs': SUMMARY(3, 0, 0),
    'node.test.js': `const {test} = require('node:test');\ntest('a', () => {});\ntest('b', () => {});\n`,
    'helper.mjs': 'process.exit(1);\n',
  });
  const {code, stdout} = await good.run('--only', 'integration');
  assert.match(stdout, /\n5 passed, 0 failed\n$/);
  assert.equal(code, 0);
  assert.equal(stdout.split('\n').filter(line => /^ok /.test(line)).length, 2);
  assert.equal((await good.run('--only', 'nothing')).code, 1);
});

test('tests/run: a failed case, a crash, a bad end, an empty suite and a missing build each fail', async t => {
  const cases = {
    'own.test.mjs': [SUMMARY(3, 2, 1), 2],
    'node.test.js': [`const {test} = require('node:test');\ntest('a', () => { throw new Error('x'); });\ntest('b', () => {});\n`, 1],
    'crash.test.mjs': ['process.kill(process.pid, "SIGSEGV");\n', 1],
    'status.test.mjs': [SUMMARY(3, 0, 1), 1],
    'empty.test.mjs': ['', 1],
  };
  for (const [name, [text, failed]] of Object.entries(cases)) {
    const {code, stdout} = await door(t, {[name]: text}).run('--only', 'integration');
    assert.match(stdout, new RegExp(`\n\\d+ passed, ${failed} failed\n$`), `${name}: ${stdout}`);
    assert.equal(code, 1, name);
  }
  const bare = await door(t, {}).run();
  assert.match(bare.stdout, /FAIL ctest[^]*FAIL fuzz/);
  assert.equal(bare.code, 1);
});

test('tests/run: the tests of ctest are counted one by one, the fuzz targets too', async t => {
  const tree = door(t, {});
  mkdirSync(join(tree.folder, 'build/asan'), {recursive: true});
  mkdirSync(join(tree.folder, 'build/fuzz/bin'), {recursive: true});
  mkdirSync(join(tree.folder, 'build/ci/bin'), {recursive: true});
  const add = tests => writeFileSync(join(tree.folder, 'build/asan/CTestTestfile.cmake'),
                                     tests.map(([name, command]) => `add_test("${name}" "${command}")\n`).join(''));
  const program = (name, code) => {
    writeFileSync(join(tree.folder, 'build', name), `#!/bin/sh\nexit ${code}\n`);
    chmodSync(join(tree.folder, 'build', name), 0o755);
  };
  const target = (name, code) => program(`fuzz/bin/${name}`, code);
  add([['unit/a', 'true'], ['unit/b', 'true'], ['component/c', 'true']]);
  target('fuzz_a', 0);
  program('ci/bin/simulate', 0);
  const good = await tree.run();
  assert.match(good.stdout, /^ok {3}unit +2 passed[^]*\nok {3}component +1 passed[^]*\n5 passed, 0 failed\n$/);
  for (const beside of [/^ok {3}simulation\/2000 seeds +1 passed/m, /^ok {3}fuzz\/a +1 passed/m]) assert.match(good.stdout, beside);
  assert.equal(good.code, 0);
  add([['unit/a', 'true'], ['unit/b', 'false'], ['component/c', 'no-such-program']]);
  target('fuzz_b', 77);
  program('ci/bin/simulate', 1);
  const bad = await tree.run();
  assert.match(bad.stdout, /^FAIL unit +1 passed, 1 failed[^]*\n2 passed, 4 failed\n$/);
  assert.equal(bad.code, 1);
});

test('tests/run: what a suite leaves running is ended with it', async t => {
  const tree = door(t, {'own.test.mjs': `
    import {spawn} from 'node:child_process';
    import {writeFileSync} from 'node:fs';
    const child = spawn('sleep', ['1000'], {stdio: 'ignore'});
    writeFileSync('pid', String(child.pid));
    ${SUMMARY(1, 0, 0)}`});
  await tree.run('--only', 'integration');
  const pid = Number(readFileSync(join(tree.folder, 'pid'), 'utf8'));
  await until(() => !alive(pid), 'the forgotten child to be gone');
});

test('cmake: a build in the sources is refused, in words, before anything is looked for', async t => {
  const folder = programs(t, {});
  copyFileSync(join(root, 'CMakeLists.txt'), join(folder, 'CMakeLists.txt'));
  const {code, stdout, stderr} = await run('/usr/bin/env', ['cmake', '-S', folder, '-B', folder]);
  assert.notEqual(code, 0);
  assert.match(stderr, /Build outside the source tree: make build/);
  assert.doesNotMatch(stdout, /compiler/i);
});

// Four ports that are free now.
async function ports() {
  const servers = await Promise.all([0, 0, 0, 0].map(() => new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => resolve(server));
  })));
  const numbers = servers.map(server => server.address().port);
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))));
  return Object.fromEntries(['BROKER_PORT', 'ADMIN_PORT', 'API_PORT', 'WEB_PORT'].map((key, i) => [key, String(numbers[i])]));
}

// Daemons that listen where they are told, write their pid down, and end as their name says.
const DAEMON = `#!${process.execPath}
const fs = require('node:fs'), net = require('node:net'), path = require('node:path');
const name = path.basename(process.argv[1]);
fs.writeFileSync(process.argv[1] + '.pid', String(process.pid));
for (const word of process.argv) {
  const match = /^\\w+\\.listen=(.*):(\\d+)$/.exec(word);
  if (match) net.createServer().listen(Number(match[2]), match[1]);
}
const status = Number(process.env['STATUS_' + name.slice(5)] || 0);
process.on('SIGINT', () => process.exit(99));
process.on('SIGTERM', () => setTimeout(() => process.exit(status), 50));
`;

async function house(t, {bin, env = {}, scripts = ['mora-broker', 'mora-api', 'mora-web']} = {}) {
  const folder = bin ? null : programs(t, Object.fromEntries(scripts.map(name => [name, DAEMON])));
  if (folder) env = {ENGINE: 'memory', ...env};
  const numbers = await ports();
  const child = spawn(runner, [], {env: environment({BIN: bin || join(folder, 'bin'), ...numbers, ...env}), detached: true, stdio: ['ignore', 'pipe', 'pipe']});
  const h = {child, numbers, stdout: '', stderr: ''};
  child.stdout.setEncoding('utf8').on('data', text => { h.stdout += text; });
  child.stderr.setEncoding('utf8').on('data', text => { h.stderr += text; });
  h.ended = new Promise(resolve => child.on('close', (code, signal) => resolve(code ?? signal)));
  h.pid = name => Number(readFileSync(join(folder, 'bin', `${name}.pid`), 'utf8'));
  h.ready = () => until(() => /Mora is running/.test(h.stdout) || (child.exitCode !== null && Promise.reject(new Error(h.stderr))), 'the house to be up');
  t.after(async () => {
    if (child.exitCode === null) child.kill('SIGTERM');
    await within(h.ended, 'the house to end').finally(() => {
      child.kill('SIGKILL');
      for (const name of bin ? [] : scripts) {
        try { process.kill(h.pid(name), 'SIGKILL'); } catch { /* ended, as it should */ }
      }
    });
  });
  return h;
}

test('run: prints the addresses; SIGINT to its group and SIGTERM to it stop all three, exit 0', async t => {
  for (const stop of [h => process.kill(-h.child.pid, 'SIGINT'), h => h.child.kill('SIGTERM')]) {
    const h = await house(t);
    await h.ready();
    for (const line of [`http://127.0.0.1:${h.numbers.WEB_PORT}/rooms/lobby`, `http://127.0.0.1:${h.numbers.API_PORT}/v1/rooms/lobby/chatMessages`, 'mora tail'])
      assert.ok(h.stdout.includes(line), line);
    const pids = ['mora-broker', 'mora-api', 'mora-web'].map(h.pid);
    stop(h);
    assert.equal(await within(h.ended, 'the end'), 0, h.stderr);
    assert.deepEqual(pids.map(alive), [false, false, false]);
  }
});

test('run: when one dies the others are stopped, exit 1', async t => {
  for (const victim of ['mora-broker', 'mora-api', 'mora-web']) {
    const h = await house(t);
    await h.ready();
    const pids = ['mora-broker', 'mora-api', 'mora-web'].map(h.pid);
    process.kill(h.pid(victim), 'SIGKILL');
    assert.equal(await within(h.ended, 'the end'), 1);
    assert.deepEqual(pids.map(alive), [false, false, false]);
    assert.match(h.stderr, new RegExp(`${victim} ended with status 137`));
  }
});

test('run: one that ends badly when asked to stop, or cannot be started, is told; exit 1', async t => {
  const bad = await house(t, {env: {STATUS_api: '7'}});
  await bad.ready();
  bad.child.kill('SIGTERM');
  assert.equal(await within(bad.ended, 'the end'), 1);
  assert.match(bad.stderr, /mora-api ended with status 7/);
  const none = await house(t, {scripts: ['mora-broker', 'mora-api']});
  assert.equal(await within(none.ended, 'the end'), 1);
  assert.equal(alive(none.pid('mora-broker')), false);
});

test('run: a port that is taken is named, and nothing is started', async t => {
  const taken = net.createServer();
  await new Promise(resolve => taken.listen(0, '127.0.0.1', resolve));
  t.after(() => taken.close());
  const {port} = taken.address();
  const h = await house(t, {env: {API_PORT: String(port)}});
  assert.equal(await within(h.ended, 'the end'), 1);
  assert.match(h.stderr, new RegExp(`already listens on 127\\.0\\.0\\.1:${port}\\..*API_PORT`));
  assert.throws(() => h.pid('mora-broker'), /ENOENT/);
});

for (const engine of ['redis', 'memory']) {
  test(`run: the real daemons on ${engine} serve what is printed, and stop with exit 0`, async t => {
    const data = mkdtempSync(join(tmpdir(), 'mora door-'));   // a path may have blanks
    t.after(() => rmSync(data, {recursive: true}));
    const bin = binary('mora-broker').replace(/\/[^/]*$/, '');
    const post = async h => {
      const [, body, url] = /-d '([^']*)' (\S+)/.exec(h.stdout);
      const answer = await postJson(url, body);
      assert.ok(answer.status === 200 || answer.status === 201, `${answer.status} ${answer.text}`);
      return (await getJson(`http://127.0.0.1:${h.numbers.ADMIN_PORT}/v1/stats`)).json;
    };
    const end = async h => {
      h.child.kill('SIGTERM');
      assert.equal(await within(h.ended, 'the end'), 0, h.stderr);
    };
    const h = await house(t, {bin, env: {ENGINE: engine, DATA: data}});
    await h.ready();
    const [room] = /http:\S+\/rooms\/lobby/.exec(h.stdout);
    assert.equal((await request(room)).status, 200);
    const {head} = await post(h);
    assert.equal(existsSync(join(data, 'redis.sock')), engine === 'redis');
    const second = await house(t, {bin, env: {ENGINE: engine, DATA: data}});
    if (engine === 'redis') {
      assert.equal(await within(second.ended, 'the end'), 1);
      assert.match(second.stderr, /A Redis already runs in/);
    } else {
      await second.ready();
      await end(second);
    }
    await end(h);
    const again = await house(t, {bin, env: {ENGINE: engine, DATA: data}});
    await again.ready();
    const stats = await post(again);
    if (engine === 'redis') assert.ok(stats.first <= head && stats.head > head, 'what was said before is still there');
    await end(again);
  });
}
