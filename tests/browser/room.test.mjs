// SPDX-License-Identifier: Apache-2.0
// The room page in a browser: Debian's chromium, headless, through playwright-core. Two pages in one
// room see what is typed in either and what is sent by HTTP; they come back by themselves after the
// broker was killed; they run under their own security policy; people's text stays text.

import assert from 'node:assert/strict';
import {mkdirSync} from 'node:fs';
import {chromium} from 'playwright-core';
import {test} from '../integration/lib/suite.mjs';
import {startBroker, startApi, startWeb} from '../integration/lib/daemon.mjs';
import {postJson} from '../integration/lib/http.mjs';
import {within, until, DEADLINE} from '../integration/lib/wait.mjs';

const CHROMIUM = process.env.MORA_CHROMIUM || '/usr/bin/chromium';

async function startBrowser(t) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM, headless: true, timeout: DEADLINE,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-background-networking', '--no-proxy-server'],
  });
  t.after(() => within(browser.close(), 'the browser to close'));
  return browser;
}

// The three daemons and a browser.
async function house(t) {
  const broker = await startBroker(t);
  const api = await startApi(t, broker);
  const web = await startWeb(t, api, {set: {'web.broker': broker.bayeux}});
  return {broker, api, web, browser: await startBrowser(t)};
}

// A page of its own browser context, as another person has it. `complaints` gathers errors of
// scripts and of the security policy.
async function openRoom(t, {browser, web}, room, {without = [], ...options} = {}) {
  const context = await browser.newContext(options);
  await context.addInitScript(names => { for (const name of names) delete window[name]; }, without);
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  page.complaints = [];
  page.on('pageerror', error => page.complaints.push(String(error)));
  page.on('console', message => {
    // What the network says while the broker is away is not the page's doing.
    if (message.type() === 'error' && !/ERR_CONNECTION|WebSocket|net::|Failed to load resource/.test(message.text()))
      page.complaints.push(message.text());
  });
  t.onFailure(() => `a page in ${room} complained: ${page.complaints.join('\n') || 'no'}`);
  await page.goto(web.url('web', `/rooms/${room}`));
  await isLive(page);
  return page;
}

const isLive = page => page.waitForSelector('#connection[data-state="live"]');
const bodyOf = (page, text) => page.locator('.message .body', {hasText: text});
const sees = (page, text) => bodyOf(page, text).first().waitFor();

// Asked from here: the page's policy forbids what waitForFunction() does.
const sent = page => until(async () => await page.inputValue('#text') === '', 'the message to be sent');

async function type(page, name, text) {
  await page.fill('#name', name);
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
  await sent(page);
}

const say = (api, room, text) => postJson(api.url('api', `/v1/rooms/${room}/chatMessages`), {text}).then(answer => {
  assert.equal(answer.status, 200, answer.text);
});

test('what is typed in one page and what is sent by HTTP appear in both', {timeout: 120000}, async t => {
  const all = await house(t);
  const a = await openRoom(t, all, 'lobby'), b = await openRoom(t, all, 'lobby'), other = await openRoom(t, all, 'elsewhere');
  await type(a, 'Ann', 'typed in the first page');
  await sees(b, 'typed in the first page');
  await type(b, 'Bob', 'typed in the second page');
  await sees(a, 'typed in the second page');
  await say(all.api, 'lobby', 'sent by HTTP');
  for (const page of [a, b]) {
    await sees(page, 'sent by HTTP');
    const shown = await page.locator('.message').evaluateAll(items => items.map(item =>
      [item.querySelector('.author').textContent, item.querySelector('.body').textContent]));
    assert.deepEqual(shown, [['Ann', 'typed in the first page'], ['Bob', 'typed in the second page'], ['guest', 'sent by HTTP']]);
    assert.equal(await page.textContent('#state'), 'Live');
    assert.equal(await page.textContent('#transport'), 'websocket');
    assert.deepEqual(page.complaints, []);
  }
  await say(all.api, 'elsewhere', 'to the other room');
  await sees(other, 'to the other room');
  assert.equal(await other.locator('.message').count(), 1);
});

test('the broker is killed and started again: both pages recover by themselves', {timeout: 180000}, async t => {
  const all = await house(t);
  const pages = [await openRoom(t, all, 'lobby'), await openRoom(t, all, 'lobby')];
  await say(all.api, 'lobby', 'before');
  for (const page of pages) await sees(page, 'before');
  await all.broker.kill();
  for (const page of pages) await page.waitForSelector('#connection[data-state="waiting"]');
  for (const page of pages) assert.equal(await page.textContent('#state'), 'Reconnecting');
  await pages[0].fill('#text', 'while it is away');
  await pages[0].click('#send');
  await pages[0].locator('#problem', {hasText: /^Not sent: /}).waitFor();
  assert.equal(await pages[0].inputValue('#text'), 'while it is away');   // nothing typed is lost
  await all.broker.start();
  for (const page of pages) {
    await isLive(page);
    await page.locator('.note').waitFor();   // it says that something may be missing
  }
  await pages[0].click('#send');
  await sent(pages[0]);
  await say(all.api, 'lobby', 'after');
  for (const page of pages) {
    for (const text of ['while it is away', 'after']) {
      await sees(page, text);
      assert.equal(await bodyOf(page, text).count(), 1);
    }
    assert.deepEqual(page.complaints, []);
  }
});

test('where there are no websockets the page polls', {timeout: 120000}, async t => {
  const all = await house(t);
  const page = await openRoom(t, all, 'lobby', {without: ['WebSocket', 'EventSource']});
  for (const text of ['one', 'two', 'three']) {
    await say(all.api, 'lobby', text);
    await sees(page, text);
  }
  assert.equal(await page.textContent('#transport'), 'cross-origin-long-polling');
  assert.deepEqual(await page.locator('.message .body').allTextContents(), ['one', 'two', 'three']);
  assert.deepEqual(page.complaints, []);
});

test("people's text stays text", {timeout: 120000}, async t => {
  const all = await house(t);
  const page = await openRoom(t, all, 'lobby'), script = '<img src=x onerror="document.title=1"><script>';
  const title = await page.title();
  const {status} = await postJson(all.api.url('api', '/v1/rooms/lobby/chatMessages'), {text: script, fromUser: {username: script}});
  assert.equal(status, 200);
  await page.locator('.message').waitFor();
  assert.equal(await page.textContent('.message .body'), script);
  assert.equal(await page.textContent('.message .author'), script);
  assert.equal(await page.locator('.message img, .message script').count(), 0);
  assert.equal(await page.title(), title);
  // Whatever else arrives on the channel does not break the page.
  for (const data of [null, 7, {operation: 'create'}, {operation: 'create', model: {id: 'x'}}, {operation: 'remove', model: {id: 'x'}}])
    await postJson(all.api.url('api', '/v1/publish'), {channel: '/api/v1/rooms/lobby/chatMessages', data});
  await say(all.api, 'lobby', 'still here');
  await sees(page, 'still here');
  assert.deepEqual(page.complaints, []);
});

test('a narrow screen and a wide one: nothing sticks out, in light and in dark', {timeout: 120000}, async t => {
  const all = await house(t);
  const shots = process.env.MORA_SCREENSHOTS;
  if (shots) mkdirSync(shots, {recursive: true});
  for (const [name, viewport] of [['phone', {width: 320, height: 640}], ['desktop', {width: 1280, height: 800}]]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await openRoom(t, all, 'lobby', {viewport, colorScheme});
      await type(page, 'A name that is rather long for a chat', `${name} ${colorScheme} ${'longword'.repeat(30)}`);
      await sees(page, `${name} ${colorScheme}`);
      const {width, wide, low} = await page.evaluate(() => ({
        width: document.documentElement.clientWidth,
        wide: Math.max(...[...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right)),
        low: document.getElementById('send').getBoundingClientRect().bottom,
      }));
      assert.ok(wide <= width + 1, `${name} ${colorScheme}: something reaches to ${wide} of ${width}`);
      assert.ok(low <= viewport.height, `${name} ${colorScheme}: the button is below the screen`);
      if (shots) await page.screenshot({path: `${shots}/${name}-${colorScheme}.png`});
      await page.context().close();
    }
  }
});
