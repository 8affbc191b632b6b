// SPDX-License-Identifier: Apache-2.0
// Faye's browser client, loaded from the mount itself, in Debian's chromium, over each of its transports. The
// others are disabled in the client; which one was used is what the broker counted.

import assert from 'node:assert/strict';
import http from 'node:http';
import {chromium} from 'playwright-core';
import {test} from '../integration/lib/suite.mjs';
import {startBroker} from '../integration/lib/daemon.mjs';
import {getJson, postJson} from '../integration/lib/http.mjs';
import {DEADLINE, until, within} from '../integration/lib/wait.mjs';
import {drain, poller} from '../integration/support/wire.mjs';

const ALL = ['websocket', 'eventsource', 'long-polling', 'cross-origin-long-polling', 'callback-polling'];

let browser = null;   // one for all tests; each has a context of its own
const start = () => (browser ??= chromium.launch({
  executablePath: process.env.MORA_CHROMIUM || '/usr/bin/chromium', headless: true, timeout: DEADLINE,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-background-networking', '--no-proxy-server'],
}));

// The address of a page of another origin on this machine.
async function foreignPage(t, host = '127.0.0.1') {
  const server = http.createServer((request, response) =>
    response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>page</title>'));
  await new Promise(resolve => server.listen(0, host, resolve));
  t.after(() => server.close());
  return `http://${host}:${server.address().port}/`;
}

// A page whose client is subscribed to /to-page, with every transport disabled that is not in `wanted`.
async function openPage(t, broker, {wanted, foreign}) {
  const context = await (await start()).newContext();
  t.after(() => within(context.close(), 'the page to close'));
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  const complaints = [];
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('console', message => { if (message.type() === 'error' && !/favicon/.test(message.location().url)) complaints.push(message.text()); });
  t.onFailure(() => `the page complained: ${complaints.join('\n') || 'no'}`);
  await page.goto(foreign ? await foreignPage(t) : broker.url('broker', '/healthz'));   // any document will do
  await page.addScriptTag({url: `${broker.bayeux}/client.js`});
  await page.evaluate(async ({url, disabled}) => {
    const client = window.client = new Faye.Client(url, {timeout: 30, retry: 1});
    for (const each of disabled) client.disable(each);
    window.got = [];
    await client.subscribe('/to-page', message => window.got.push(message));
  }, {url: broker.bayeux, disabled: ALL.filter(each => !wanted.includes(each))});
  return {page, complaints, clientId: () => page.evaluate(() => window.client._dispatcher.clientId)};
}

const transportOf = async (broker, clientId) => (await getJson(broker.admin(`/v1/clients/${clientId}`))).json.transport;
const counters = async broker => (await getJson(broker.admin('/v1/stats'))).json.transport;

async function publishTo(broker, channel, data) {
  const {status, text} = await postJson(broker.admin('/v1/publish'), {channel, data});
  assert.equal(status, 200, text);
}

// wanted: what is left enabled; the handshake needs long-polling or callback-polling. counts: what must
// have grown; silent: what must not.
const cases = [
  {transport: 'websocket', wanted: ['websocket', 'long-polling'], counts: ['sockets_opened'],
   silent: ['streams_opened', 'form_requests', 'callback_requests']},
  {transport: 'eventsource', wanted: ['eventsource', 'long-polling'], counts: ['streams_opened', 'json_requests'],
   silent: ['sockets_opened', 'form_requests', 'callback_requests']},
  {transport: 'long-polling', wanted: ['long-polling'], counts: ['json_requests'],
   silent: ['sockets_opened', 'streams_opened', 'form_requests', 'callback_requests']},
  {transport: 'cross-origin-long-polling', foreign: true, wanted: ['cross-origin-long-polling', 'callback-polling'],
   counts: ['form_requests'], silent: ['sockets_opened', 'streams_opened', 'json_requests']},
  {transport: 'callback-polling', foreign: true, wanted: ['callback-polling'], counts: ['callback_requests'],
   silent: ['sockets_opened', 'streams_opened', 'form_requests', 'json_requests']},
  {transport: 'websocket', foreign: true, wanted: ALL, counts: ['sockets_opened'], silent: ['streams_opened', 'json_requests']},
];

for (const {transport, counts, silent, ...how} of cases) {
  test(`${transport} from a page of ${how.foreign ? 'another origin' : 'the same origin'}`, {timeout: 120000}, async t => {
    const broker = await startBroker(t);
    const {page, complaints, clientId} = await openPage(t, broker, how);
    const seen = count => page.waitForFunction(n => window.got.length >= n, count);
    // Faye's client connects behind its first subscription; only that says which transport it is.
    const id = await clientId();
    if (transport !== 'eventsource') await until(async () => await transportOf(broker, id) === transport, 'the connect');
    else await until(async () => (await counters(broker)).streams === 1, 'the stream');
    for (let n = 0; n < 3; n++) {
      await publishTo(broker, '/to-page', {n, text: 'a\u2028b\r\n\u20ac</script>'});
      await seen(n + 1);
    }
    assert.deepEqual(await page.evaluate(() => window.got),
                     [0, 1, 2].map(n => ({n, text: 'a\u2028b\r\n\u20ac</script>'})));
    assert.equal(await transportOf(broker, id), transport);
    const now = await counters(broker);
    for (const name of counts) assert.ok(now[name] > 0, `${name} ${now[name]}`);
    for (const name of silent) assert.equal(now[name], 0, name);
    assert.equal(now.refused_origins, 0);
    // The other way round.
    const session = await poller(broker.bayeux, '/from-page');
    await page.evaluate(() => window.client.publish('/from-page', {hello: 1}));
    assert.deepEqual((await drain(session)).map(m => m.data), [{hello: 1}]);
    await page.evaluate(() => window.client.disconnect());
    await until(async () => (await getJson(broker.admin(`/v1/clients/${id}`))).status === 404, 'its end');
    assert.deepEqual(complaints, []);
  });
}

// 127.0.0.2 is another site to a browser, and no name of this machine to the broker.
test('a page of another site: none of its ways in brings a message, unless access.origins has it', {timeout: 60000}, async t => {
  const site = await foreignPage(t, '127.0.0.2');
  const context = await (await start()).newContext();
  t.after(() => within(context.close(), 'the page to close'));
  const attack = async broker => {
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE);
    await page.goto(site);
    await page.evaluate(async url => {
      const text = way => JSON.stringify([{channel: '/to-all', data: way}]);
      const load = (name, fields) => new Promise(resolve => document.body.append(Object.assign(document.createElement(name), {onload: resolve, onerror: resolve, ...fields})));
      const address = way => `${url}?message=${encodeURIComponent(text(way))}&jsonp=f`;
      window.f = () => {};
      await load('script', {src: address('script')});
      await load('script', {src: address('silent script'), referrerPolicy: 'no-referrer'});
      await load('script', {src: address('script with credentials'), crossOrigin: 'use-credentials'});
      await load('img', {src: address('image')});
      document.body.append(Object.assign(document.createElement('iframe'), {src: address('frame')}));   // a download has no end that is told
      await fetch(url, {method: 'POST', mode: 'no-cors', body: text('fetch')}).catch(() => {});
      await fetch(url, {method: 'POST', mode: 'no-cors', body: new URLSearchParams({message: text('form')})}).catch(() => {});
      await fetch(address('get'), {mode: 'no-cors', referrerPolicy: 'no-referrer'}).catch(() => {});
      await new Promise(resolve => {
        const socket = new WebSocket(url.replace('http', 'ws'));
        socket.onopen = () => { socket.send(text('websocket')); setTimeout(resolve, 200); };
        socket.onerror = resolve;
      });
    }, broker.bayeux);
    await page.close();
  };
  const ways = async set => {
    const broker = await startBroker(t, {set});
    const session = await poller(broker.bayeux, '/to-all');
    await attack(broker);
    return (await drain(session)).map(({data}) => data).sort();
  };
  assert.deepEqual(await ways({}), []);
  const admitted = await ways({'access.origins': [new URL(site).origin]});
  for (const way of ['script', 'script with credentials', 'image', 'form', 'websocket']) assert.ok(admitted.includes(way), `${way}: ${admitted}`);
  for (const way of ['silent script', 'get']) assert.ok(!admitted.includes(way), `${way} does not say who asks`);
});

test('a stream of events goes on after the broker was killed and started again', {timeout: 120000}, async t => {
  const broker = await startBroker(t);
  const {page} = await openPage(t, broker, {wanted: ['eventsource', 'long-polling']});
  await until(async () => (await counters(broker)).streams === 1, 'the stream');
  await broker.kill();
  await broker.start();
  await until(async () => {
    await publishTo(broker, '/to-page', 'again');
    return page.evaluate(() => window.got.includes('again'));
  }, 'a message after the restart', 4 * DEADLINE);
});

test('the browser ends', async () => {
  await within((await start()).close(), 'the browser to close');
});
