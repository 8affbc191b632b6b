// SPDX-License-Identifier: Apache-2.0
// docs/protect-a-channel.md is run: its configuration, its commands with what they print, its script.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {once} from 'node:events';
import {test} from './lib/suite.mjs';
import {adopt, binary, environment, root, startBroker} from './lib/daemon.mjs';
import {within} from './lib/wait.mjs';
import {claimsOf, folder, hs256} from './support/tokens.mjs';

const page = readFileSync(join(root, 'docs/protect-a-channel.md'), 'utf8');
const blocks = language => [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text);
const [json] = blocks('json');

// [command, output] of every line that begins with "$ ".
const commands = blocks('console').flatMap(text => text.split(/^\$ /m).slice(1).map(part => {
  const end = part.indexOf('\n');
  return [part.slice(0, end), part.slice(end + 1)];
}));

// What differs from run to run: ids of clients, and what is drawn by lot.
const plain = text => text.replace(/"clientId":"[0-9a-z]{31}"/g, '"clientId":"ID"').replace(/"interval":1\d\d\d\b/g, '"interval":N');

async function setUp(t) {
  const place = folder(t);
  const config = place.write('mora.json', json);
  const broker = await startBroker(t, {args: ['--config', config]});
  return {place, broker};
}

test('the commands print what the page shows', async t => {
  const {place, broker} = await setUp(t);
  const shell = adopt(spawn('sh', [], {cwd: place.path, stdio: ['pipe', 'pipe', 'inherit'],
    env: environment({PATH: `${dirname(binary('mora'))}:${process.env.PATH}`})}));
  t.after(async () => { shell.stdin.end(); await within(once(shell, 'close'), 'the shell to end'); });
  let said = '';
  shell.stdout.setEncoding('utf8').on('data', text => { said += text; shell.emit('said'); });
  const ask = async command => {
    said = '';
    shell.stdin.write(`${command.replaceAll('http://127.0.0.1:8000', broker.url('broker'))}\necho =done=\n`);
    while (!said.endsWith('=done=\n')) await within(once(shell, 'said'), command);
    return said.slice(0, -'=done=\n'.length);
  };
  assert.ok(commands.length >= 10);
  for (const [command, output] of commands) assert.equal(plain(await ask(command)), plain(output), command);
});

test('the examples of an authority are short', () => {
  for (const name of ['authority.mjs', 'authority.py']) {
    const lines = readFileSync(join(root, 'docs/examples', name), 'utf8').trimEnd().split('\n');
    assert.ok(lines.length <= 40, `${name}: ${lines.length} lines`);
    assert.ok(lines.every(line => line.length <= 140), name);
  }
});

test('the script makes a Faye client whose messages come', async t => {
  const {broker} = await setUp(t);
  const Faye = createRequire(import.meta.url)('faye');
  const client = new Faye.Client(broker.bayeux);
  t.after(() => client.disconnect());
  const [script] = blocks('js');
  new Function('client', 'token', script)(client, hs256(claimsOf('alice'), JSON.parse(json).auth.jwt.secret));
  const came = new Promise(resolve => { client.subscribe('/users/alice/mail', resolve).then(() => publish(), resolve); });
  const publish = () => fetch(broker.bayeux, {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify([{channel: '/users/alice/mail', data: {unread: 3}, ext: {password: JSON.parse(json).auth.superclient}}])});
  assert.deepEqual(await within(came, 'the message'), {unread: 3});
  await assert.rejects(within(Promise.resolve(client.subscribe('/users/bob/mail')), 'the denial'), /Not yours/);
});
