// SPDX-License-Identifier: Apache-2.0
// Pages of other origins: who is admitted, and what a browser needs to see.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {getJsonp, postJson, request} from './lib/http.mjs';
import {Wire, asSocketUrl} from './support/wire.mjs';
import {sharedBroker} from './support/shared.mjs';

const broker = sharedBroker();
const message = {channel: '/cors', data: 1};
const cors = ({headers}) => Object.keys(headers).filter(name => name.startsWith('access-control-') || name === 'vary').sort();

// The three ways in; each resolves with {status, headers} of its answer.
const WAYS = {
  'long-polling': (url, headers) => postJson(url, [message], {headers}),
  'callback-polling': (url, headers) => getJsonp(url, [message], {headers}),
  preflight: (url, headers) => request(url, {method: 'OPTIONS', headers: {...headers, 'Access-Control-Request-Method': 'POST'}}),
};

for (const [way, ask] of Object.entries(WAYS)) {
  test(`${way}: pages of this machine see their origin, with credentials and Vary`, async () => {
    const {bayeux} = await broker();
    for (const Origin of ['http://localhost', 'http://localhost:3000', 'http://127.0.0.1:8080', 'https://localhost:8443', 'http://[::1]:3000']) {
      const answer = await ask(bayeux, {Origin});
      assert.equal(answer.status, 200, Origin);
      assert.equal(answer.headers['access-control-allow-origin'], Origin);
      assert.equal(answer.headers['access-control-allow-credentials'], 'true');
      assert.match(answer.headers.vary, /\borigin\b/i);
    }
  });

  test(`${way}: other origins, and those that only look near, are refused`, async () => {
    const {bayeux} = await broker();
    for (const Origin of ['http://evil.example', 'null', 'http://localhost.evil.example', 'http://127.0.0.1.evil.example', 'http://localhost:80@evil.example',
      'http://evil.example/localhost', 'file://', 'http://127.0.0.1:80x']) {
      const answer = await ask(bayeux, {Origin});
      assert.equal(answer.status, 403, Origin);
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
    }
  });
}

test('without an Origin there are no such headers', async () => {
  const {bayeux} = await broker();
  assert.deepEqual(cors(await WAYS['long-polling'](bayeux, {})), []);
  assert.deepEqual(cors(await WAYS['callback-polling'](bayeux, {})), []);
});

test('a preflight names methods and headers', async () => {
  const {headers} = await WAYS.preflight((await broker()).bayeux, {Origin: 'http://localhost:3000'});
  assert.equal(headers['access-control-allow-methods'], 'POST, GET');
  assert.equal(headers['access-control-allow-headers'], 'Accept, Authorization, Content-Type, Pragma, X-Requested-With');
  assert.equal(headers['access-control-max-age'], '86400');
});

test('the log names the page that was refused, and the key that would admit it', async () => {
  const {bayeux, log} = await broker();
  await postJson(bayeux, [message], {headers: {Origin: 'http://evil.example'}});
  const told = await log.when(events => events.find(({event}) => event === 'origin.refused'), 'the log');
  assert.equal(told.level, 'warn');
  assert.match(told.origin, /^(http|null|file)/);
  assert.match(told.hint, /access\.origins/);
});

test('what a refused page sends is not published', async t => {
  const {bayeux} = await broker();
  const listener = await Wire.client(t, asSocketUrl(bayeux), '/cors');
  for (const way of ['long-polling', 'callback-polling']) await WAYS[way](bayeux, {Origin: 'http://evil.example'});
  assert.deepEqual(await listener.barrier(), []);
});

test('websockets: the same origins', async t => {
  const url = asSocketUrl((await broker()).bayeux);
  for (const Origin of ['http://localhost:3000', 'http://127.0.0.1']) await (await Wire.open(t, url, {headers: {Origin}})).handshake();
  for (const Origin of ['http://evil.example', 'null', 'http://localhost.evil.example']) {
    await assert.rejects(Wire.open(t, url, {headers: {Origin}}), /403/, Origin);
  }
});

test('access.origins: those that are listed, and only those', async t => {
  const {bayeux} = await startBroker(t, {set: {'access.origins': ['https://chat.example.org']}});
  for (const [Origin, status] of Object.entries({'https://chat.example.org': 200, 'http://chat.example.org': 403, 'https://chat.example.org:444': 403,
    'https://xchat.example.org': 403})) {
    const answer = await WAYS['long-polling'](bayeux, {Origin});
    assert.equal(answer.status, status, Origin);
    assert.equal(answer.headers['access-control-allow-origin'], status === 200 ? Origin : undefined);
  }
});

test('access.origins *: any, echoed', async t => {
  const {bayeux} = await startBroker(t, {set: {'access.origins': '*'}});
  for (const Origin of ['https://any.example', 'null']) {
    assert.equal((await WAYS['long-polling'](bayeux, {Origin})).headers['access-control-allow-origin'], Origin);
  }
});

test('access.jsonp false: callback-polling is answered 400, nothing is published', async t => {
  const {bayeux} = await startBroker(t, {set: {'access.jsonp': false}});
  const listener = await Wire.client(t, asSocketUrl(bayeux), '/cors');
  const answer = await WAYS['callback-polling'](bayeux, {});
  assert.equal(answer.status, 400);
  assert.deepEqual(await listener.barrier(), []);
});

broker.endsWell();
