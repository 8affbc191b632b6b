// SPDX-License-Identifier: Apache-2.0
// Configuration of the real binary: which layer wins, and what a mistake says.

import assert from 'node:assert/strict';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {getJson} from './lib/http.mjs';
import {PollSession} from './lib/bayeux.mjs';

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'mora-config-'));
  t.after(() => rmSync(path, {recursive: true}));
  let count = 0;
  return text => {
    const file = join(path, `file${++count}.json`);
    writeFileSync(file, text);
    return file;
  };
}

const broker = (args, options) => run('mora-broker', args, options);

// broker.timeout in more and more layers, and what it is then.
function layers(write) {
  const first = ['--config', write('{"broker": {"timeout": "11s", "ping": "7s"}}')];
  const second = [...first, '--config', write('{"broker": {"timeout": "12s"}}')];
  const env = {MORA_BROKER__TIMEOUT: '13s'};
  return [
    {name: 'default', seconds: 60},
    {name: 'file', args: first, seconds: 11},
    {name: 'later file', args: second, seconds: 12},
    {name: 'environment', args: second, env, seconds: 13},
    {name: 'flag', args: second, env, set: {'broker.timeout': '14s'}, seconds: 14},
  ];
}

test('defaults < files < environment < flags, as printed', async t => {
  for (const {name, args = [], env, set = {}, seconds} of layers(folder(t))) {
    const flags = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const {code, stdout, stderr} = await broker([...args, ...flags, '--print-config'], {env});
    assert.equal(code, 0, stderr);
    const printed = JSON.parse(stdout);
    assert.equal(printed.broker.timeout, `${seconds}s`, name);
    if (args.length > 0) assert.equal(printed.broker.ping, '7s', 'a key that only one layer sets');
  }
});

test('defaults < files < environment < flags, as clients see it', async t => {
  for (const {name, seconds, ...options} of layers(folder(t))) {
    const daemon = await startBroker(t, options);
    const {advice} = await new PollSession(daemon.bayeux).handshake();
    assert.equal(advice.timeout, seconds * 1000, name);
    await daemon.stop();
  }
});

test('listeners: a single value for a list, several addresses, and what the statistics say', async t => {
  const daemon = await startBroker(t, {set: {'broker.listen': ['127.0.0.1:0', '127.0.0.1:0'], 'admin.listen': '127.0.0.1:0'}});
  assert.equal(new Set(daemon.addresses.broker).size, 2);
  const {json} = await getJson(daemon.admin('/v1/stats'));
  const text = JSON.stringify(json.listeners);
  for (const address of [...daemon.addresses.broker, ...daemon.addresses.admin]) assert.ok(text.includes(`"${address}"`), `${address} in ${text}`);
  for (const address of daemon.addresses.broker) assert.equal((await getJson(`http://${address}/readyz`)).status, 200);
});

// What is wrong, and what the message must say. `line` is that of the file.
const MISTAKES = {
  'unknown key': {file: '{"broker": {\n  "lisen": ["127.0.0.1:0"]\n}}', line: 2, says: [/broker\.lisen/, /did you mean.*broker\.listen/]},
  'unknown first word': {file: '{\n\n"brokr": {"timeout": "5s"}}', line: 3, says: [/brokr/, /broker/]},
  'wrong type': {file: '{"broker":\n{"ping":\ntrue}}', line: 3, says: [/broker\.ping/, /expected.*duration/]},
  'a number without a unit': {file: '{"broker": {\n\n"timeout": 60}}', line: 3, says: [/broker\.timeout/, /expected.*"\d+\w+"/]},
  'a unit that does not exist': {file: '{"broker": {\n"timeout": "60x"}}', line: 2, says: [/broker\.timeout/, /expected/]},
  'a size as a number': {file: '{"limits":\n {"body": 1024}}', line: 2, says: [/limits\.body/, /expected/]},
  'an unknown choice': {file: '{"logging": {"level": "inform"}}', line: 1, says: [/logging\.level/, /info/]},
  'a bad address': {file: '{"broker": {"listen": [\n"127.0.0.1"]}}', line: 2, says: [/broker\.listen/, /expected.*address/]},
  'bad JSON': {file: '{"broker": {\n"timeout": "5s",\n}}', line: 3, says: []},
  'a key given twice': {file: '{"broker": {\n"timeout": "5s",\n"timeout": "6s"}}', line: 3, says: [/broker\.timeout/]},
  'a dotted key': {file: '{\n"broker.timeout": "5s"}', line: 2, says: [/broker\.timeout/]},
  'a variable of the wrong type': {env: {MORA_BROKER__TIMEOUT: '60'}, says: [/MORA_BROKER__TIMEOUT/, /broker\.timeout/, /expected/]},
  'a variable that names no key': {env: {MORA_BROKER__LISEN: '127.0.0.1:0'}, says: [/MORA_BROKER__LISEN/, /did you mean.*MORA_BROKER__LISTEN|broker\.listen/]},
  'a setting of the wrong type': {args: ['--set', 'broker.timeout=5'], says: [/--set/, /broker\.timeout/, /expected/]},
  'a setting of an unknown key': {args: ['--set', 'broker.timeot=5s'], says: [/--set/, /broker\.timeot/, /did you mean.*broker\.timeout/]},
  'a file that is not there': {args: ['--config', '/nowhere/mora.json'], says: [/\/nowhere\/mora\.json/]},
  'an unknown flag': {args: ['--chek-config'], says: [/--chek-config/, /did you mean.*--check-config/]},
  'open, off loopback': {args: ['--set', 'broker.listen=0.0.0.0:0'], says: [/access\.insecure/]},
  'admin without a token, off loopback': {args: ['--set', 'admin.listen=0.0.0.0:0'], says: [/admin\.token/]},
};

for (const [name, {file, line, says, args = [], env}] of Object.entries(MISTAKES)) {
  test(`${name}: exit 2, and the message says where, what and what else`, async t => {
    const path = file === undefined ? null : folder(t)(file);
    for (const check of [[], ['--check-config']]) {
      const {code, stdout, stderr} = await broker([...(path ? ['--config', path] : []), ...args, ...check], {env});
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      if (path) assert.ok(stderr.includes(`${path}:${line}`), `${path}:${line} in ${stderr}`);
      for (const part of says) assert.match(stderr, part);
      assert.ok(!/listening/.test(stderr), 'nothing was opened');
    }
  });
}

test('several mistakes are told at once', async t => {
  const path = folder(t)('{"broker": {\n"timeout": 5,\n"lisen": []}}');
  const {code, stderr} = await broker(['--config', path, '--set', 'admin.toke=x']);
  assert.equal(code, 2);
  for (const part of [/:2/, /:3/, /admin\.toke/]) assert.match(stderr, part);
});

test('--check-config of a good configuration: exit 0, nothing is opened', async t => {
  const path = folder(t)('{"broker": {"listen": "127.0.0.1:1"}, "web": {"listen": "127.0.0.1:2"}}');
  const {code, stderr} = await broker(['--config', path, '--check-config']);
  assert.equal(code, 0, stderr);
  assert.ok(!/listening/.test(stderr));
});

test('--version, --help and --print-config-reference', async () => {
  const version = await broker(['--version']);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^mora-broker \d+\.\d+/);
  const help = await broker(['--help']);
  assert.equal(help.code, 0);
  for (const flag of ['--config', '--set', '--check-config', '--version', '--help']) assert.ok(help.stdout.includes(flag), flag);
  const reference = await broker(['--print-config-reference']);
  assert.equal(reference.code, 0);
  for (const key of ['broker.listen', 'broker.timeout', 'admin.token', 'journal.bytes']) assert.ok(reference.stdout.includes(`\`${key}\``), key);
});

test('secrets are not printed', async () => {
  const {code, stdout, stderr} = await broker(['--set', 'admin.token=open-sesame', '--print-config']);
  assert.equal(code, 0, stderr);
  assert.ok(!(stdout + stderr).includes('open-sesame'));
  assert.equal(JSON.parse(stdout).admin.token, '***');
});

test('an address that is taken is an error with its name', async t => {
  const daemon = await startBroker(t);
  const {code, stderr} = await broker(['--set', `broker.listen=${daemon.address('broker')}`, '--set', 'admin.listen=127.0.0.1:0']);
  assert.notEqual(code, 0);
  assert.ok(stderr.includes(daemon.address('broker')), stderr);
});
