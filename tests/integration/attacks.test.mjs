// SPDX-License-Identifier: Apache-2.0
// What an attacker tries against a running broker, beyond what access, cors, http-safety and authority-attacks
// hold; docs/security.md says which attack is held where. Most of it is written by hand: what libraries would not send.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {startBroker} from './lib/daemon.mjs';
import {connectRaw, getJson, overTls, postJson, request} from './lib/http.mjs';
import {PollSession, deliveries} from './lib/bayeux.mjs';
import {startScripted} from './support/authority.mjs';
import {post, settle} from './support/wire.mjs';
import {SECRET, claimsOf, ecKey, folder, hs256, jwks, now, rsaKey, signed, unsigned} from './support/tokens.mjs';

const PASSWORD = 'a secret of servers';
const RULES = [
  {channel: '/users/{user}/**', subscribe: 'owner', publish: 'owner', ext: true},
  {channel: '/users/{user}', subscribe: 'owner', publish: 'owner'},
  {channel: '/open/**', subscribe: 'any', publish: 'any', ext: true},
];
const SET = {'access.rules': RULES, 'auth.jwt.secret': SECRET, 'auth.superclient': PASSWORD, 'broker.timeout': '10s'};
const HELLO = {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling', 'websocket', 'callback-polling']};
const asServer = {ext: {password: PASSWORD}};

const said = reply => reply.error ?? (reply.successful ? 'ok' : 'neither');
async function sessionOf(broker, user) {
  const session = new PollSession(broker.bayeux);
  await session.handshake(user === undefined ? {} : {ext: {token: hs256(claimsOf(user))}});
  return session;
}
// Everything that anybody publishes from here on.
async function watcherOf(broker) {
  const watcher = await sessionOf(broker);
  await watcher.subscribe('/**', asServer);
  return async () => { await settle(broker.bayeux); return deliveries(await watcher.connect({timeout: 0})); };
}
const subscriptionsOf = async (broker, {clientId}) => (await getJson(broker.admin(`/v1/clients/${clientId}`))).json.subscriptions.map(({pattern}) => pattern);
// The replies to a text that is sent as it stands; a refusal of the whole text is none.
async function raw(broker, text, options) {
  const answer = await postJson(broker.bayeux, text, options);
  return answer.status === 200 ? answer.json : [];
}

// -- channels --------------------------------------------------------------------------------------

test('users whose names are patterns or paths own nothing of others', async t => {
  const broker = await startBroker(t, {set: SET});
  for (const user of ['*', '**', '{user}', 'bob/**', '../bob', '.', '%2A', 'bob/', '/bob', 'bob ', 'BOB', 'b\u043eb', 'bob\u200b', '\uff42ob']) {
    const session = await sessionOf(broker, user);
    for (const pattern of ['/users/*', '/users/**', '/users/*/x', '/users/**/x', '/users/bob', '/users/bob/*', '/users/bob/**', '/users/bob/x', '/users/{user}/x', ...(user === 'BOB' ? [] : [`/users/${user}`, `/users/${user}/**`]), '/**'])
      assert.notEqual(said((await post(broker.bayeux, [session.message.subscribe(pattern)]))[0]), 'ok', `${user}: ${pattern}`);
    assert.notEqual(said((await post(broker.bayeux, [session.message.publish('/users/bob/x', 1)]))[0]), 'ok', user);
    assert.deepEqual(await subscriptionsOf(broker, session), []);
  }
});

test('what is written twice, escaped, nested or of another type: what was asked about is what is done', async t => {
  const broker = await startBroker(t, {set: SET});
  const alice = await sessionOf(broker, 'alice'), seen = await watcherOf(broker);
  const id = JSON.stringify(alice.clientId);
  const subscribe = what => `[{"channel":"/meta/subscribe","clientId":${id},${what}}]`;
  for (const what of ['"subscription":"\\/users\\/bob\\/x"', '"subscription":"\\u002fusers\\u002fbob\\u002fx"', '"subscription":"/users/b\\u006fb/x"', '"subscription":["/open/a","/users/bob/x"]',
    '"subscription":["/users/alice/x",["/users/bob/x"]]', '"subscription":{"0":"/users/bob/x"}', '"subscription":["/open/a","/users/bob/\\u002a"]', '"subscription":"/users/bob/x\\u0000"',
    '"subscription":"/users/bob/x","subscription":"/users/bob/**"', '"subscription":["/users/**"]', '"subscription":["/open/a","\\u002f\\u002a\\u002a"]', '"subscription":["/open/a",null]', '"subscription":["/users/bob/x",null]', '"subscription":["/users/bob/x","/meta/x"]', '"subscription":[[]]'])
    for (const reply of await raw(broker, subscribe(what))) assert.equal(reply.successful, false, what);
  // Of a list, what stands in front of a name that is none is subscribed to, as Faye does it: if it may be.
  for (const pattern of await subscriptionsOf(broker, alice)) assert.match(pattern, /^\/(users\/alice|open)\//);
  // Of a name that comes twice one counts, for the question and for the deed.
  for (const what of ['"subscription":"/users/alice/x","subscription":"/users/bob/x"', '"subscription":"/users/bob/x","subscription":"/users/alice/x"', '"subscription":["/users/bob/x"],"subscription":"/open/a"'])
    await raw(broker, subscribe(what));
  for (const pattern of await subscriptionsOf(broker, alice)) assert.match(pattern, /^\/(users\/alice|open)\//);
  for (const channel of ['"/open/a","channel":"/users/bob/x"', '"/users/bob/x","channel":"/open/a"', '"\\/users\\/bob\\/x"', '"/users/b\\u006fb/x"', '["/users/bob/x"]', '"/users/alice/x","channel":["/users/bob/x"]', '{"channel":"/users/bob/x"}'])
    for (const more of [`,"clientId":${id}`, '', `,"clientId":${id},"clientId":null`, `,"clientId":[${id}]`]) await raw(broker, `[{"channel":${channel},"data":1${more}}]`);
  for (const {channel} of await seen()) assert.match(channel, /^\/open\//);
});

test('/meta, however it is written, is nobody\'s: not a server\'s, and not to be seen by who has /**', async t => {
  const broker = await startBroker(t, {set: SET});
  const session = await sessionOf(broker, 'alice'), seen = await watcherOf(broker);
  const id = JSON.stringify(session.clientId), ext = JSON.stringify(asServer.ext);
  for (const channel of ['/m\\u0065ta/x', '\\/meta\\/x', '/meta', '/meta/x', '/met\\u0061/connect/x', '/meta/*', '/meta/**']) {
    for (const text of [`[{"channel":"/meta/subscribe","clientId":${id},"subscription":"${channel}","ext":${ext}}]`, `[{"channel":"/meta/subscribe","clientId":${id},"subscription":["/open/a","${channel}"],"ext":${ext}}]`,
      `[{"channel":"${channel}","clientId":${id},"data":1,"ext":${ext}}]`, `[{"channel":"${channel}","data":1,"ext":${ext}}]`])
      for (const reply of await raw(broker, text)) assert.equal(reply.successful, false, text);
    assert.notEqual((await postJson(broker.admin('/v1/publish'), `{"channel":"${channel}","data":1}`)).json.outcome, 'acknowledged', channel);
  }
  assert.deepEqual(await subscriptionsOf(broker, session), ['/open/a']);
  assert.deepEqual(await seen(), [], 'nor do handshakes, subscribes and connects of others reach anybody');
});

test('nothing is decoded twice: percent signs in JSON, in forms and in callback-polling', async t => {
  const broker = await startBroker(t, {set: SET});
  const alice = await sessionOf(broker, 'alice'), seen = await watcherOf(broker);
  const ways = {
    json: text => postJson(broker.bayeux, text),
    form: text => request(broker.bayeux, {method: 'POST', headers: {'Content-Type': 'application/x-www-form-urlencoded'}, body: `message=${encodeURIComponent(text)}`}),
    script: text => request(`${broker.bayeux}?message=${encodeURIComponent(text)}&jsonp=f`),
  };
  for (const [way, send] of Object.entries(ways)) {
    for (const channel of ['/users%2fbob%2fx', '/users/%62ob/x', '/users/bob%2fx', '/users/%2562ob/x', '/users/b+ob/x', '%2fusers%2fbob%2fx', '/users/alice/%2e%2e/bob/x', '/users/bob/x%00', '/users/bob/x;a', '/users/bob/x?a', '/users/bob/x#']) {
      const {text} = await send(JSON.stringify([{channel, data: 1, clientId: alice.clientId}, alice.message.subscribe(channel)]));
      assert.doesNotMatch(text, /"successful":true/, `${way}: ${channel}`);
    }
    const {text} = await send(JSON.stringify([{channel: '/users/bob/x', data: 1, clientId: alice.clientId}]));
    assert.match(text, /"error":"403:/, way);
  }
  assert.deepEqual(await seen(), []);
});

// -- who somebody is -------------------------------------------------------------------------------

test('tokens that libraries would not make', async t => {
  const {write} = folder(t), [rsa, ec] = [rsaKey(), ecKey()];
  const broker = await startBroker(t, {set: {...SET, 'auth.jwt.jwks': write('keys.json', jwks({r: rsa, e: ec}))}});
  const claims = claimsOf('alice'), good = hs256(claims), part = value => Buffer.from(value).toString('base64url');
  const [head, body, signature] = good.split('.');
  const {x, y} = JSON.parse(jwks({e: ec})).keys[0];
  const hello = token => post(broker.bayeux, [{...HELLO, ext: {token}}]).then(([reply]) => reply);
  for (const token of [good, signed('ES256', claims, ec), signed('RS256', claims, rsa)]) assert.equal((await hello(token)).successful, true);
  const es256 = signed('ES256', claims, ec).split('.').slice(0, 2).join('.');
  const bad = {
    'no signature': `${head}.${body}.`, 'no third part': `${head}.${body}`, 'parts of an encrypted one': `${good}.a.b`, 'an empty header': `.${body}.${signature}`,
    'padding': `${head}.${body}.${signature}=`, 'a blank': ` ${good}`, 'a line end': `${good}\n`, 'a NUL': `${good}\u0000`, 'Bearer': `Bearer ${good}`, 'base64, not base64url': `${head}.${body}.${'+'.repeat(43)}`,
    'a list of algorithms': unsigned(['HS256', 'none'], claims, signature), 'none, signed': unsigned('none', claims, signature), 'hs256': unsigned('hs256', claims, signature), 'nOnE': unsigned('nOnE', claims), 'an algorithm twice': `${part('{"alg":"HS256","alg":"none"}')}.${body}.`,
    'zeros as ES256': `${es256}.${'A'.repeat(86)}`, 'DER as ES256': `${es256}.${part('0'.repeat(71))}`, 'HS256 with the point of the key': hs256(claims, Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])),
    'a URL of keys': signed('RS256', claims, rsaKey(), {jku: 'http://127.0.0.1:1/keys', kid: 'r'}), 'a certificate': signed('RS256', claims, rsaKey(), {x5c: ['AAAA'], kid: 'r'}), 'a file as kid': hs256(claims, '', {kid: '/dev/null'}),
    'the payload as it stands': hs256(claims, SECRET, {b64: false, crit: ['b64']}), 'another encoding of the header': `${part('{"alg":"HS256", "typ":"JWT"}')}.${body}.${signature}`,
    'exp in words': hs256({...claims, exp: String(now() + 600)}), 'exp true': hs256({...claims, exp: true}), 'exp null': hs256({...claims, exp: null}), 'exp below zero': hs256({...claims, exp: -1}), 'exp 1e400': hs256(`{"sub":"alice","exp":1e400}`),
    'exp twice': hs256(`{"sub":"alice","exp":1,"exp":${now() + 600}}`), 'exp over a minute ago': hs256({...claims, exp: now() - 61}), 'nbf in words': hs256({...claims, nbf: '0'}), 'issued tomorrow': hs256({...claims, iat: now() + 86400}),
    'sub twice': hs256(`{"sub":"alice","sub":"bob","exp":${now() + 600}}`), 'sub a list': hs256({...claims, sub: ['alice']}), 'sub empty': hs256({...claims, sub: ''}), 'sub a number': hs256({...claims, sub: 1}), 'sub with a NUL': hs256({...claims, sub: 'alice\u0000'}),
    'claims a list': hs256([claims]), 'claims no JSON': hs256('{'), 'claims not UTF-8': `${head}.${part(Buffer.from([0x7b, 0xff, 0x7d]))}.${signature}`,
    'just too long': hs256({...claims, fill: 'x'.repeat(6100)}), 'very much too long': `${head}.${body}.${'A'.repeat(50000)}`, 'dots': '.'.repeat(1000), 'two dots': '..',
  };
  assert.ok(bad['just too long'].length > 8192);
  assert.equal((await hello(hs256({...claims, fill: 'x'.repeat(5900)}))).successful, true, 'of nearly 8 KB');
  for (const [what, token] of Object.entries(bad)) {
    const reply = await hello(token);
    assert.deepEqual([reply.successful, reply.error, reply.clientId], [false, '401::Invalid access token', undefined], what);
  }
  assert.equal((await getJson(broker.admin('/v1/stats'))).json.sessions, 4);
});

test('client ids: parts, lists, other encodings of one; what one session may is not what another may', async t => {
  const broker = await startBroker(t, {set: SET});
  const [alice, bob] = [await sessionOf(broker, 'alice'), await sessionOf(broker, 'bob')];
  const {clientId: id} = alice;
  await alice.subscribe('/users/alice/x');
  const wrong = [`"${id} "`, `" ${id}"`, `"${id}\\u0000"`, `"${id.slice(0, -1)}"`, `"${id}/"`, `["${id}"]`, `{"0":"${id}"}`, `"${id.toUpperCase()}"`, '"*"', '"%"', 'true', '1', `"${id}\\n"`];
  for (const clientId of wrong) {
    for (const text of [`{"channel":"/meta/connect","clientId":${clientId},"connectionType":"long-polling","advice":{"timeout":0}}`, `{"channel":"/meta/subscribe","clientId":${clientId},"subscription":"/users/alice/y"}`,
      `{"channel":"/users/alice/x","data":"forged","clientId":${clientId}}`, `{"channel":"/meta/unsubscribe","clientId":${clientId},"subscription":"/users/alice/x"}`])
      for (const reply of await raw(broker, `[${text}]`)) assert.notEqual(reply.successful, true, text);
  }
  assert.deepEqual(await subscriptionsOf(broker, alice), ['/users/alice/x']);
  // One message with both ids is of one of them, for the question and for the deed.
  for (const [first, second] of [[alice, bob], [bob, alice]])
    await raw(broker, `[{"channel":"/meta/subscribe","clientId":"${first.clientId}","clientId":"${second.clientId}","subscription":"/users/alice/both"}]`);
  assert.deepEqual(await subscriptionsOf(broker, bob), []);
  // Two in one text: each is judged by itself.
  const replies = await post(broker.bayeux, [alice.message.subscribe('/users/alice/2'), bob.message.subscribe('/users/alice/2'), {...bob.message.publish('/users/alice/x', 1), ext: {token: hs256(claimsOf('alice'))}}]);
  assert.deepEqual(replies.map(({successful}) => successful), [true, false, false]);
  // A handshake that was recorded and is sent again gives another session, and nothing of the first.
  const [again] = await post(broker.bayeux, [{...HELLO, clientId: id, id: '1', ext: {token: hs256(claimsOf('bob'))}}]);
  assert.notEqual(again.clientId, id);
  assert.equal((await getJson(broker.admin(`/v1/clients/${id}`))).json.user, 'alice');
  assert.deepEqual(deliveries(await alice.connect({timeout: 0})), []);
  await alice.disconnect();
  const [late] = await post(broker.bayeux, [alice.message.connect({advice: {timeout: 0}})]);
  assert.equal(late.error, `401:${id}:Unknown client`);
});

test('the secret of servers: written twice or escaped it is still cut out, and half of it is nothing', async t => {
  const broker = await startBroker(t, {set: SET});
  const session = await sessionOf(broker), listener = await sessionOf(broker);
  await listener.subscribe('/open/a');
  const id = JSON.stringify(session.clientId), escaped = [...PASSWORD].map(c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
  const publish = (channel, ext) => raw(broker, `[{"channel":"${channel}","data":1,"clientId":${id},${ext}}]`);
  for (const ext of [`"ext":{"password":"${PASSWORD.slice(0, -1)}"}`, `"ext":{"password":""}`, `"ext":{"password":"${PASSWORD}\\u0000"}`, `"ext":{"password":"${PASSWORD}","password":""}`, `"ext":{"password":"${PASSWORD}"},"ext":{}`,
    `"ext":[{"password":"${PASSWORD}"}]`, `"ext":"{\\"password\\":\\"${PASSWORD}\\"}"`, `"ext":{"Password":"${PASSWORD}"}`, `"ext":{"password ":"${PASSWORD}"}`, `"data":{"password":"${PASSWORD}"}`, `"password":"${PASSWORD}"`])
    for (const reply of await publish('/users/bob/x', ext)) assert.equal(reply.successful, false, ext);
  for (const ext of [`"ext":{"password":"${PASSWORD}"}`, `"ext":{"pass\\u0077ord":"${PASSWORD}"}`, `"ext":{"password":"${escaped}"}`, `"ext":{"password":"","password":"${PASSWORD}"}`, `"ext":{},"ext":{"password":"${PASSWORD}"}`]) {
    assert.equal(said((await publish('/users/bob/x', ext))[0]), 'ok', ext);
    assert.equal(said((await publish('/open/a', ext.replace(/}$/, ',"t\\u006fken":"secret","kept":1}')))[0]), 'ok', ext);
  }
  const got = deliveries(await listener.connect({timeout: 0}));
  assert.equal(got.length, 5);
  for (const {ext} of got) assert.deepEqual(ext, {kept: 1});
  assert.doesNotMatch(broker.stderr, new RegExp(PASSWORD));
});

// -- pages -----------------------------------------------------------------------------------------

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
async function status(t, broker, head) {
  const socket = connectRaw(t, broker.address('broker'), {secure: overTls});
  await socket.opened;
  await socket.send(`${head}\r\n`);
  await socket.until(/\r\n\r\n/);
  socket.socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(socket.text)[1]);
}
const PUBLISH = encodeURIComponent('[{"channel":"/open/a","data":"forged"}]');

test('websockets and events of other sites, however they write their origin', async t => {
  const broker = await startBroker(t, {set: {'access.origins': ['https://chat.example.org']}});
  const ways = {websocket: fields => status(t, broker, `GET /bayeux HTTP/1.1\r\nHost: localhost\r\n${UPGRADE}${fields}`), events: fields => status(t, broker, `GET /bayeux/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n${fields}`)};
  assert.equal(await ways.websocket('Origin: https://chat.example.org\r\n'), 101);
  assert.equal(await ways.websocket('Origin: http://localhost:3000\r\n'), 101);
  for (const origin of ['https://chat.example.org.evil.example', 'https://chat.example.org@evil.example', 'https://evil.example/https://chat.example.org', 'https://chat.example.org:444', 'http://chat.example.org', 'https://chat.example.org.',
    'https://xn--chat-example-org', 'https://ch\u0430t.example.org', 'https://chat.example.org, https://evil.example', 'https://chat.example.org https://evil.example', 'http://localhost.', 'http://localhost:80:80', 'http://localhost:', 'http://[::1].evil.example',
    'http://127.0.0.1:80@evil.example', 'http://127.1.evil.example', 'http://127.0.0.2', 'http://0.0.0.0', 'ws://localhost', 'file://', 'null', `https://${'a'.repeat(600)}.chat.example.org`, 'https://chat.example.org/', 'chat.example.org', '*'])
    for (const [way, ask] of Object.entries(ways)) assert.equal(await ask(`Origin: ${Buffer.from(origin).toString('latin1')}\r\n`), 403, `${way}: ${origin}`);
  for (const fields of ['Origin: https://chat.example.org\r\nOrigin: https://evil.example\r\n', 'Origin: https://evil.example\r\nOrigin: https://chat.example.org\r\n', 'Origin: https://evil.example\r\nSec-WebSocket-Origin: https://chat.example.org\r\n',
    'Origin: https://evil.example\r\nReferer: https://chat.example.org/\r\nX-Forwarded-Host: chat.example.org\r\n', 'Origin:\r\nOrigin: https://evil.example\r\n'])
    for (const [way, ask] of Object.entries(ways)) assert.equal(await ask(fields), 403, `${way}: ${fields}`);
});

test('scripts, images and links of other sites: no Origin, but browsers say who asks', async t => {
  const broker = await startBroker(t, {set: {'access.origins': ['https://chat.example.org']}});
  const listener = await sessionOf(broker);
  await listener.subscribe('/open/a');
  const get = headers => request(`${broker.bayeux}?message=${PUBLISH}&jsonp=f`, {headers}).then(answer => answer.status);
  for (const headers of [
    {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'script', Referer: 'https://evil.example/'}, {'Sec-Fetch-Site': 'cross-site'}, {'Sec-Fetch-Site': 'cross-site', Referer: 'https://chat.example.org.evil.example/'},
    {'Sec-Fetch-Site': 'same-site', Referer: 'https://evil.example.org/'}, {'Sec-Fetch-Site': 'same-site'}, {'Sec-Fetch-Site': 'cross-site', Referer: 'https://evil.example/?https://chat.example.org/'}, {'Sec-Fetch-Site': 'cross-site, none', Referer: 'x'},
    {'Sec-Fetch-Site': 'cross-site', Referer: 'about:client'}, {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', Referer: `https://${'a'.repeat(600)}/`}, {'Sec-Fetch-Site': 'cross-site', Cookie: 'token=x', Authorization: 'Basic eDp5'},
  ]) assert.equal(await get(headers), 403, JSON.stringify(headers));
  assert.deepEqual(deliveries(await listener.connect({timeout: 0})), []);
  for (const headers of [{}, {'Sec-Fetch-Site': 'none'}, {'Sec-Fetch-Site': 'same-origin'}, {'Sec-Fetch-Site': 'cross-site', Referer: 'https://chat.example.org/rooms?x=1'}, {'Sec-Fetch-Site': 'cross-site', Referer: 'https://chat.example.org'},
    {'Sec-Fetch-Site': 'same-site', Referer: 'http://localhost:3000/'}]) assert.equal(await get(headers), 200, JSON.stringify(headers));
  assert.equal(deliveries(await listener.connect({timeout: 0})).length, 6);
  const all = await startBroker(t, {set: {'access.origins': '*'}});
  assert.equal((await request(`${all.bayeux}?message=${PUBLISH}&jsonp=f`, {headers: {'Sec-Fetch-Site': 'cross-site'}})).status, 200);
});

test('callback-polling calls names only, brings no credentials, and its answer is a script and nothing else', async t => {
  const broker = await startBroker(t, {set: {...SET, 'access.handshake': 'user'}});
  const hello = encodeURIComponent(JSON.stringify([HELLO]));
  const headers = {Cookie: `token=${hs256(claimsOf('alice'))}`, Authorization: `Bearer ${hs256(claimsOf('alice'))}`};
  const {text, headers: answered} = await request(`${broker.bayeux}?message=${hello}&jsonp=f&token=${hs256(claimsOf('alice'))}&ext=x`, {headers});
  assert.match(text, /^\/\*\*\/f\(\[\{.*"error":"401::Access token required".*\]\);$/);
  assert.deepEqual([answered['set-cookie'], answered['access-control-allow-origin'], answered['x-content-type-options'], answered['cache-control']], [undefined, undefined, 'nosniff', 'no-cache, no-store']);
  assert.match(answered['content-type'], /^text\/javascript/);
  for (const callback of ['alert(1)//', 'a;b', '<script>', 'a[0]', "a'", 'a\n', '\u2028a', '%61', 'a.', '.a', '1a', 'a b', '*/a', 'a=b', '\u0430'])
    assert.equal((await request(`${broker.bayeux}?message=${hello}&jsonp=${encodeURIComponent(callback)}`)).status, 400, callback);
});

test('a foreign name for this machine: on every way in, with whatever stands beside it', async t => {
  const broker = await startBroker(t);
  const ways = {
    post: (line, fields) => status(t, broker, `POST ${line} HTTP/1.1\r\n${fields}Content-Length: 0\r\n`), script: (line, fields) => status(t, broker, `GET ${line}?message=${PUBLISH} HTTP/1.1\r\n${fields}`),
    events: (line, fields) => status(t, broker, `GET ${line}/x HTTP/1.1\r\n${fields}Accept: text/event-stream\r\n`), websocket: (line, fields) => status(t, broker, `GET ${line} HTTP/1.1\r\n${fields}${UPGRADE}`),
    preflight: (line, fields) => status(t, broker, `OPTIONS ${line} HTTP/1.1\r\n${fields}Access-Control-Request-Method: POST\r\n`),
  };
  for (const [way, ask] of Object.entries(ways)) {
    for (const host of ['evil.example', 'evil.example:8000', 'localhost.evil.example', '127.0.0.1.evil.example', 'localhost@evil.example', 'evil.example#localhost', '0.0.0.0', '[::]', '10.0.0.1', 'localhost.', '2130706433', '0x7f.1', 'xn--localhost'])
      assert.equal(await ask('/bayeux', `Host: ${host}\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\nOrigin: http://localhost\r\n`) >= 400, true, `${way}: ${host}`);
    for (const fields of ['Host: localhost\r\nHost: evil.example\r\n', 'Host: evil.example\r\nHost: localhost\r\n', 'Host: localhost, evil.example\r\n', 'Host : localhost\r\nHost: evil.example\r\n'])
      assert.equal(await ask('/bayeux', fields) >= 400, true, `${way}: ${fields}`);
  }
  const port = new URL(broker.admin('/')).port;
  for (const [method, path] of [['GET', '/v1/stats'], ['POST', '/v1/drain'], ['POST', '/v1/publish'], ['POST', '/v1/revoke?user=a'], ['GET', '/metrics'], ['GET', '/']]) {
    for (const fields of ['Host: evil.example\r\n', `Host: evil.example:${port}\r\nOrigin: http://evil.example:${port}\r\n`, 'Host: localhost\r\nOrigin: http://evil.example\r\n', 'Host: localhost\r\nOrigin: null\r\n']) {
      const socket = connectRaw(t, `127.0.0.1:${port}`);
      await socket.send(`${method} ${path} HTTP/1.1\r\n${fields}Content-Length: 0\r\nConnection: close\r\n\r\n`);
      await socket.ended();
      assert.match(socket.text, /^HTTP\/1\.1 4\d\d /, `${method} ${path}: ${fields}`);
    }
  }
  assert.equal((await getJson(broker.admin('/v1/stats'))).json.published, 0);
});

// -- the authority ---------------------------------------------------------------------------------

const asking = (url, more) => ({set: {'access.rules': [{channel: '/**', subscribe: 'authority', publish: 'authority'}], 'access.handshake': 'authority', 'authority.url': url, 'broker.timeout': '10s', ...more}});

test('what a client says stays inside its own question; where it comes from it cannot say', async t => {
  const authority = await startScripted(t, {answer: q => (q.verb === 'handshake' ? {allow: true, user: q.ext?.user} : {allow: q.channel === '/mine'})});
  const broker = await startBroker(t, asking(authority.url));
  const headers = {'X-Forwarded-For': '10.9.9.9', Forwarded: 'for=10.9.9.9', 'X-Real-IP': '10.9.9.9', 'X-Mora-User': 'root', Authorization: 'Bearer x', Cookie: 'a=b'};
  const nasty = '"}]},{"verb":"subscribe","channel":"/mine","user":"root"}\\\r\n\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n\u2028\ud800';
  const [{clientId}] = (await postJson(broker.bayeux, [{...HELLO, user: 'root', verb: 'publish', address: '1.2.3.4', ext: {user: 'ann', [nasty]: nasty, __proto__x: 1}}], {headers})).json;
  await raw(broker, `[{"channel":"/yours","clientId":"${clientId}","user":"root","verb":"handshake","data":{"user":"root","channel":"/mine"},"data":${JSON.stringify({channel: '/mine', x: nasty})},"ext":{"allow":true,"user":"root"}}]`, {headers});
  await raw(broker, `[{"channel":"/meta/subscribe","clientId":"${clientId}","subscription":"/yours","channels":["/mine"],"user":"root"}]`, {headers});
  assert.deepEqual(authority.calls.items.map(({requests}) => requests.map(({verb, channel, user}) => [verb, channel, user])), [[['handshake', undefined, undefined]], [['publish', '/yours', 'ann']], [['subscribe', '/yours', 'ann']]]);
  assert.match(authority.asked[0].address, /^127\.0\.0\.1:\d+$/);
  for (const {headers: sent, url, method} of authority.calls.items) {
    assert.deepEqual([Object.keys(sent).sort(), url, method], [['accept', 'content-length', 'content-type', 'host'], '/decide', 'POST']);
    assert.equal(sent.host, new URL(authority.url).host);
  }
  assert.deepEqual(await subscriptionsOf(broker, {clientId}), []);
});

test('the authority is asked where authority.url says and nowhere else: redirects, proxies, other services, cookies', async t => {
  const trap = await startScripted(t), {port} = new URL(trap.url);
  const authority = await startScripted(t);
  const env = Object.fromEntries(['http_proxy', 'HTTP_PROXY', 'https_proxy', 'all_proxy', 'ALL_PROXY'].map(name => [name, `http://127.0.0.1:${port}`]));
  const broker = await startBroker(t, {env, ...asking(authority.url)});
  const session = await sessionOf(broker);
  const good = JSON.stringify({answers: [{allow: true, user: 'ann'}]});
  const answers = {
    303: {Location: trap.url}, 301: {Location: trap.url}, 305: {Location: trap.url}, 300: {Location: trap.url}, 401: {'WWW-Authenticate': 'Basic realm="x"'}, 407: {'Proxy-Authenticate': 'Basic'},
    200: {Location: trap.url, Refresh: `0; url=${trap.url}`, Link: `<${trap.url}>; rel=preload`, 'Alt-Svc': `http/1.1=":${port}"; ma=60`, 'Set-Cookie': 'a=b', 'Strict-Transport-Security': 'max-age=60', Upgrade: 'h2c'},
  };
  for (const [code, fields] of Object.entries(answers)) {
    authority.script = {respond: (_, response) => response.writeHead(Number(code), fields).end(good)};
    const [reply] = await session.post([session.message.subscribe(`/a/${code}`)]);
    assert.equal(reply.successful, code === '200', code);
    authority.script = {};
    await session.subscribe(`/between/${code}`);
  }
  assert.equal(trap.calls.length, 0);
  for (const {headers} of authority.calls.items) assert.deepEqual([headers.cookie, headers.authorization, headers.upgrade], [undefined, undefined, undefined]);
});

test('a permission that was asked for before a revocation is neither believed nor kept, whoever was meant', async t => {
  let gate = Promise.resolve();
  const authority = await startScripted(t, {answer: async q => { if (q.verb === 'handshake') return {allow: true, user: q.ext.user}; await gate; return {allow: true}; }});
  const broker = await startBroker(t, asking(authority.url, {'authority.cache': '10m', 'authority.timeout': '20s'}));
  const revoke = user => postJson(broker.admin(`/v1/revoke?user=${encodeURIComponent(user)}`), {});
  const session = async user => { const s = new PollSession(broker.bayeux); await s.handshake({ext: {user}}); return s; };
  const asks = async (user, channel) => {
    const {length} = authority.calls;
    const s = await session(user);
    await s.subscribe(channel);
    return authority.calls.length - length - 1;
  };
  const users = ['bob', 'bo', 'bobby', 'BOB', 'b%6fb', 'bob ', 'b\u043eb', 'bob"', '\ud83d\ude00'];
  for (const user of users) assert.deepEqual([await asks(user, '/kept'), await asks(user, '/kept')], [1, 0], user);
  let release;
  gate = new Promise(resolve => { release = resolve; });
  const late = await session('bob'), {length} = authority.calls;
  const replies = late.post([late.message.subscribe(['/kept', '/late']), late.message.publish('/late', 1)]);
  await authority.calls.count(length + 1);
  assert.equal((await revoke('bob')).status, 200);
  release();
  for (const reply of await replies) assert.equal(reply.successful, false);
  gate = Promise.resolve();
  assert.deepEqual([await asks('bob', '/late'), await asks('bob', '/kept')], [1, 1], 'nothing of it was kept');
  for (const user of users.slice(1)) assert.equal(await asks(user, '/kept'), 0, `${user} is somebody else`);
  for (const user of users.slice(1)) {
    assert.equal((await revoke(user)).status, 200);
    assert.equal(await asks(user, '/kept'), 1, user);
  }
  assert.equal(await asks('bob', '/kept'), 0);
});
