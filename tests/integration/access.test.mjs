// SPDX-License-Identifier: Apache-2.0
// Who may do what: rules, secrets of servers, tokens; and what attackers try.

import fs from 'node:fs';
import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {getJson, getJsonp, postJson} from './lib/http.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {until} from './lib/wait.mjs';
import {Wire, drain, poller, pollerOf, post} from './support/wire.mjs';
import {SECRET, claimsOf, ecKey, folder, hs256, jwks, now, pemOf, publicPem, rsaKey, signed, unsigned} from './support/tokens.mjs';

const RULES = [
  {channel: '/users/{user}/**', subscribe: 'owner', publish: 'server', deny: '403::Not yours'},
  {channel: '/rooms/{room}/secret', deny: '403::Closed'},
  {channel: '/rooms/**', subscribe: 'user', publish: 'user'},
  {channel: '/news/*', subscribe: 'any'},
  {channel: '/api/v1/ping2', publish: 'ack'},
  {channel: '/with/ext', subscribe: 'any', publish: 'any', ext: true},
  {channel: '/**', subscribe: 'server', publish: 'server', deny: {subscribe: '404::Unknown subscription {channel}', publish: '403::Push access denied'}},
];
const SET = {'access.rules': RULES, 'auth.jwt.secret': SECRET, 'auth.superclient': ['the old one', 'the new one']};
const HELLO = {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling', 'websocket']};

const hello = async (url, ext) => (await post(url, [{...HELLO, id: '1', ...(ext && {ext})}]))[0];
async function sessionOf(broker, user) {
  const session = new PollSession(broker.bayeux);
  await session.handshake(user ? {ext: {token: hs256(claimsOf(user))}} : {});
  return session;
}
// The error of a message, or 'ok'.
const said = ([reply]) => reply.error ?? (reply.successful ? 'ok' : 'neither');
const subscribing = async (session, pattern, extra) => said(await post(session.url, [session.message.subscribe(pattern, extra)]));
const publishing = async (session, channel, extra) => said(await post(session.url, [session.message.publish(channel, 1, extra)]));
const asServer = {ext: {password: 'the new one'}};

// -- rules -----------------------------------------------------------------------------------------

test('rules decide who subscribes and publishes, on every transport', async t => {
  const broker = await startBroker(t, {set: SET});
  const [alice, nobody] = [await sessionOf(broker, 'alice'), await sessionOf(broker)];
  for (const [pattern, alices, nobodys] of [
    ['/users/alice/rooms', 'ok', '403::Not yours'],
    ['/users/alice/**', 'ok', '403::Not yours'],
    ['/users/bob/rooms', '403::Not yours', '403::Not yours'],
    ['/rooms/1/chat', 'ok', '403:/rooms/1/chat:Not allowed'],
    ['/rooms/1/secret', '403::Closed', '403::Closed'],
    ['/news/today', 'ok', 'ok'],
    ['/news/*', 'ok', 'ok'],
    ['/news/a/b', '404::Unknown subscription /news/a/b', '404::Unknown subscription /news/a/b'],
    ['/api/v1/ping2', '403:/api/v1/ping2:Not allowed', '403:/api/v1/ping2:Not allowed'],
  ]) {
    assert.equal(await subscribing(alice, pattern), alices, pattern);
    assert.equal(await subscribing(nobody, pattern), nobodys, pattern);
  }
  assert.equal(await publishing(alice, '/rooms/1/chat'), 'ok');
  assert.equal(await publishing(nobody, '/rooms/1/chat'), '403:/rooms/1/chat:Not allowed');
  assert.equal(await publishing(alice, '/users/alice/rooms'), '403::Not yours');
  assert.equal(await publishing(alice, '/elsewhere'), '403::Push access denied');
  assert.equal(said(await post(broker.bayeux, [{channel: '/rooms/1/chat', data: 1}])), '403:/rooms/1/chat:Not allowed');

  const wire = await Wire.open(t, broker.socket);
  await wire.handshake({ext: {token: hs256(claimsOf('alice'))}});
  await wire.subscribe('/users/alice/x');
  await assert.rejects(wire.subscribe('/users/bob/x'), /403::Not yours/);
  const {json: [hi]} = await getJsonp(broker.bayeux, [{...HELLO, ext: {token: hs256(claimsOf('alice'))}}]);
  const {json: replies} = await getJsonp(broker.bayeux, [{channel: '/meta/subscribe', clientId: hi.clientId, subscription: '/users/bob/x'}]);
  assert.equal(said(replies), '403::Not yours');
});

test('a denied pattern in a list denies the list; the reply names it as it was sent', async t => {
  const broker = await startBroker(t, {set: SET});
  const alice = await sessionOf(broker, 'alice');
  const [reply] = await post(broker.bayeux, [{id: '7', channel: '/meta/subscribe', clientId: alice.clientId, subscription: ['/news/a', '/users/bob/x']}]);
  assert.deepEqual(reply, {id: '7', clientId: alice.clientId, channel: '/meta/subscribe', successful: false, subscription: ['/news/a', '/users/bob/x'], error: '403::Not yours'});
  assert.deepEqual((await getJson(broker.admin(`/v1/clients/${alice.clientId}`))).json.subscriptions, []);
  const stats = (await getJson(broker.admin('/v1/stats'))).json;
  assert.equal(stats.denied, 1);
});

test('the admin listings tell whose a session is', async t => {
  const broker = await startBroker(t, {set: SET});
  const [alice, nobody] = [await sessionOf(broker, 'alice'), await sessionOf(broker)];
  await alice.subscribe('/news/a');
  await nobody.subscribe('/news/a');
  const {clients} = (await getJson(broker.admin('/v1/clients'))).json;
  assert.deepEqual(clients.map(({client, user}) => [client, user]).sort(), [[alice.clientId, 'alice'], [nobody.clientId, undefined]].sort());
  const {subscribers} = (await getJson(broker.admin('/v1/subscribers?channel=/news/a'))).json;
  assert.equal(subscribers.find(({client}) => client === alice.clientId).user, 'alice');
  assert.equal((await getJson(broker.admin(`/v1/clients/${alice.clientId}`))).json.user, 'alice');
});

test('ack: the session is looked at, and nobody gets the message', async t => {
  const broker = await startBroker(t, {set: SET});
  const [nobody, all] = [await sessionOf(broker), new PollSession(broker.bayeux)];
  await all.handshake();
  await all.subscribe('/**', asServer);
  const {head} = (await getJson(broker.admin('/v1/stats'))).json;
  const [reply] = await post(broker.bayeux, [{id: '15', channel: '/api/v1/ping2', clientId: nobody.clientId, data: {}}]);
  assert.deepEqual(reply, {id: '15', clientId: nobody.clientId, channel: '/api/v1/ping2', successful: true});
  assert.equal(await publishing({...nobody, message: pollerOf(broker.bayeux, 'nosuch').message, url: broker.bayeux}, '/api/v1/ping2'), '401:nosuch:Unknown client');
  assert.match(said(await post(broker.bayeux, [{channel: '/api/v1/ping2', data: 1}])), /^401:/);
  assert.equal((await getJson(broker.admin('/v1/stats'))).json.head, head);
  assert.deepEqual(await drain(all), []);
});

// -- patterns and look-alikes ----------------------------------------------------------------------

test('no pattern is wider than its rule, and no look-alike passes for a channel', async t => {
  const broker = await startBroker(t, {set: SET});
  const alice = await sessionOf(broker, 'alice');
  const wide = ['/**', '/*', '/users/**', '/users/*', '/rooms/**', '/rooms/1/**', '/rooms/1/*', '/news/**', '/with/*', '/api/**'];
  for (const pattern of wide) assert.notEqual(await subscribing(alice, pattern), 'ok', pattern);
  const odd = ['/users/bob/%2e%2e/alice/x', '/users%2Falice/x', '/users/alice%2Fx', '/users/\u0430lice/x', '/Users/alice/x', '/users/alice\u2215x', '/users/alice/../bob/x',
    '/users/./alice/x', '/users//alice/x', '//users/alice/x', '/users/alice/x/', 'users/alice/x', '/users/alice/**/x', '/users/*/x', '/users/alic\u00e9/x', '/users/alice /x',
    '/users/alice/x\u0000', '/users/{user}/x', '/users/alice/\u202ex', '/ne\u0301ws/a', '/users/ALICE/x', ''];
  for (const pattern of odd) assert.notEqual(await subscribing(alice, pattern), 'ok', JSON.stringify(pattern));
  for (const channel of odd) assert.notEqual(await publishing(alice, channel), 'ok', JSON.stringify(channel));
  assert.deepEqual((await getJson(broker.admin(`/v1/clients/${alice.clientId}`))).json.subscriptions, []);
});

test('/meta and what looks like it is nobody\'s to subscribe to or publish on, not even a server\'s', async t => {
  const broker = await startBroker(t, {set: SET});
  const session = await sessionOf(broker, 'alice');
  for (const channel of ['/meta/subscribe/x', '/meta', '/meta/*', '/meta/**', '/meta/mora/probe', '/service/x'])
    assert.match(await subscribing(session, channel, asServer), /^403:.*Forbidden channel$/, channel);
  for (const channel of ['/meta/foo', '/meta', '/meta/handshake/x', '/meta/mora/probe'])
    assert.match(await publishing(session, channel, asServer), /^403:.*Forbidden channel$/, channel);
  for (const channel of ['/Meta/handshake', '/meta%2fconnect', '/m\u0435ta/connect', '/meta/Connect', '/metax'])
    assert.notEqual(await publishing(session, channel), 'ok', channel);
});

// -- servers ---------------------------------------------------------------------------------------

test('a secret of servers opens what rules leave to servers, message by message', async t => {
  const broker = await startBroker(t, {set: SET});
  const session = await sessionOf(broker);
  for (const password of ['the old one', 'the new one']) {
    assert.equal(await subscribing(session, '/**', {ext: {password}}), 'ok');
    assert.equal(await publishing(session, '/users/bob/x', {ext: {password}}), 'ok');
    assert.equal(said(await post(broker.bayeux, [{channel: '/users/bob/x', data: 1, ext: {password}}])), 'ok');
  }
  assert.equal(await publishing(session, '/users/bob/x'), '403::Not yours');
  assert.equal(await subscribing(session, '/rooms/1/secret', asServer), 'ok');
  const closed = await startBroker(t, {set: {...SET, 'access.rules': [{channel: '/closed/*', subscribe: 'none', publish: 'none'}, ...RULES]}});
  const other = await sessionOf(closed);
  assert.equal(await publishing(other, '/closed/x', asServer), '403:/closed/x:Not allowed');
  for (const pattern of ['/closed/x', '/closed/**', '/**']) assert.notEqual(await subscribing(other, pattern, asServer), 'ok', pattern);
  assert.equal(await subscribing(other, '/open/**', asServer), 'ok');
});

test('secrets that are none: empty, a prefix, longer, another case, another type', async t => {
  const broker = await startBroker(t, {set: SET});
  const session = await sessionOf(broker);
  for (const password of ['', ' ', 't', 'the new on', 'the new one ', 'the new one\u0000', 'THE NEW ONE', null, true, 0, [], ['the new one'], {}, 'the new onethe new one'])
    assert.equal(await publishing(session, '/users/bob/x', {ext: {password}}), '403::Not yours', JSON.stringify(password));
  for (const ext of ['the new one', ['the new one'], {Password: 'the new one'}, {ext: {password: 'the new one'}}])
    assert.equal(await publishing(session, '/users/bob/x', {ext}), '403::Not yours', JSON.stringify(ext));
  assert.equal(await publishing(session, '/users/bob/x', {password: 'the new one'}), '403::Not yours');
});

test('an empty secret is refused at the start', async () => {
  for (const setting of ['auth.superclient=""', 'auth.superclient=["good one",""]', 'auth.jwt.secret=""']) {
    const {code, stderr} = await run('mora-broker', ['--check-config', '--set', setting]);
    assert.equal(code, 2, setting);
    assert.match(stderr, /auth\./);
  }
});

test('secrets and tokens are not delivered, not tailed, not logged', async t => {
  const broker = await startBroker(t, {set: {...SET, 'logging.level': 'debug'}});
  const token = hs256(claimsOf('alice'));
  const session = await poller(broker.bayeux, '/news/a', '/with/ext');
  for (const channel of ['/news/a', '/with/ext'])
    assert.equal(await publishing(session, channel, {ext: {password: 'the new one', token, kept: {password: 'inner'}}}), 'ok');
  await hello(broker.bayeux, {token, password: 'the new one'});
  await hello(broker.bayeux, {token: `${token}x`, password: 'the wrong one'});
  const got = (await drain(session)).map(({id, ...rest}) => rest);
  assert.deepEqual(got, [{channel: '/news/a', data: 1}, {channel: '/with/ext', data: 1, ext: {kept: {password: 'inner'}}}]);
  assert.doesNotMatch(broker.stderr, /the new one|the wrong one|eyJ/);
});

// -- tokens ----------------------------------------------------------------------------------------

const refused = {reconnect: 'handshake'};
async function assertRefused(broker, token, message) {
  const [reply, ...more] = await post(broker.bayeux, [{...HELLO, ext: {token}}]);
  assert.deepEqual(more, [], 'one reply');
  assert.equal(reply.error, '401::Invalid access token', message);
  assert.equal(reply.successful, false);
  assert.equal(reply.clientId, undefined);
  assert.equal(reply.advice.reconnect, refused.reconnect);
  assert.ok(reply.advice.interval >= 1000 && reply.advice.interval <= 2000);
}

test('a good token gives the session its user; a bad one is refused, also where none is needed', async t => {
  const broker = await startBroker(t, {set: {...SET, 'auth.jwt.audience': 'chat'}});
  const aud = 'chat';
  assert.equal((await hello(broker.bayeux, {token: hs256(claimsOf('alice', {aud}))})).successful, true);
  assert.equal((await hello(broker.bayeux, {token: hs256(claimsOf('alice', {aud: ['x', 'chat']}))})).successful, true);
  assert.equal((await hello(broker.bayeux)).successful, true);
  const bad = {
    'another secret': hs256(claimsOf('alice', {aud}), 'another secret'),
    'an empty secret': hs256(claimsOf('alice', {aud}), ''),
    'expired': hs256({sub: 'alice', exp: now() - 61, aud}),
    'without exp': hs256({sub: 'alice', aud}),
    'of the future': hs256(claimsOf('alice', {aud, nbf: now() + 120})),
    'for others': hs256(claimsOf('alice', {aud: 'mail'})),
    'for nobody': hs256(claimsOf('alice')),
    'without sub': hs256({exp: now() + 600, aud}),
    'a long user': hs256(claimsOf('a'.repeat(129), {aud})),
    'a user with a line end': hs256(claimsOf('a\r\nb', {aud})),
    'none': unsigned('none', claimsOf('alice', {aud})),
    'None': unsigned('None', claimsOf('alice', {aud}), 'AAAA'),
    'no algorithm': unsigned(undefined, claimsOf('alice', {aud})),
    'oversized': hs256(claimsOf('alice', {aud, fill: 'x'.repeat(9000)})),
    'critical': hs256(claimsOf('alice', {aud}), SECRET, {crit: ['b64'], b64: false}),
    'a number': 7, 'an object': {}, 'a list': [hs256(claimsOf('alice', {aud}))], 'no token': 'alice', 'true': true,
  };
  for (const [what, token] of Object.entries(bad)) await assertRefused(broker, token, what);
});

test('RS256 and ES256 with a JWKS; a public key is never a secret; other algorithms are closed', async t => {
  const {write} = folder(t);
  const [rsa, ec] = [rsaKey(), ecKey()];
  const set = {...SET, 'auth.jwt.jwks': write('keys.json', jwks({r: rsa, e: ec}))};
  const broker = await startBroker(t, {set});
  const claims = claimsOf('alice');
  for (const good of [hs256(claims), signed('RS256', claims, rsa), signed('RS256', claims, rsa, {kid: 'r'}), signed('ES256', claims, ec, {kid: 'e'})])
    assert.equal((await hello(broker.bayeux, {token: good})).successful, true);
  const {n} = JSON.parse(jwks({r: rsa})).keys[0];
  const bad = {
    'HS256 with the public PEM': hs256(claims, publicPem(rsa)),
    'HS256 with the public PEM, kid of RSA': hs256(claims, publicPem(rsa), {kid: 'r'}),
    'HS256 with n': hs256(claims, Buffer.from(n, 'base64url')),
    'HS256 with the JWKS': hs256(claims, jwks({r: rsa, e: ec})),
    'another RSA key': signed('RS256', claims, rsaKey()),
    'another RSA key in its header': signed('RS256', claims, rsa, {kid: 'x'}),
    'a key brought along': (key => signed('RS256', claims, key, {jwk: JSON.parse(jwks({r: key})).keys[0]}))(rsaKey()),
    'the kid of another kind': signed('RS256', claims, rsa, {kid: 'e'}),
    'RS512': signed('RS512', claims, rsa),
  };
  for (const [what, token] of Object.entries(bad)) await assertRefused(broker, token, what);

  const only = await startBroker(t, {set: {...set, 'auth.jwt.algorithms': ['ES256']}});
  assert.equal((await hello(only.bayeux, {token: signed('ES256', claims, ec)})).successful, true);
  for (const token of [hs256(claims), signed('RS256', claims, rsa)]) await assertRefused(only, token);
});

test('keys are read again: when the file changes, and at SIGHUP; a broken file changes nothing', async t => {
  const {write} = folder(t);
  const [first, second] = [rsaKey(), rsaKey()];
  const file = write('keys.json', jwks({1: first}));
  const broker = await startBroker(t, {set: {...SET, 'auth.jwt.jwks': file}});
  const passes = async key => (await hello(broker.bayeux, {token: signed('RS256', claimsOf('alice'), key)})).successful;
  assert.deepEqual([await passes(first), await passes(second)], [true, false]);
  write('keys.json', jwks({1: first, 2: second}));
  await until(() => passes(second), 'the second key');
  const failures = () => broker.log.items.filter(({event}) => event === 'tokens.reload_failed').length;
  fs.renameSync(file, `${file}.old`);
  await until(async () => await passes(first) && failures() === 1, 'the vanished file to be noticed');
  const looked = await broker.log.find(e => e.event === 'tokens.reload_failed', 'the reason');
  assert.match(looked.error, /No such file/);
  fs.renameSync(`${file}.old`, file);
  write('keys.json', '{');
  await until(async () => await passes(first) && failures() === 2, 'the broken file to be noticed');
  process.kill(broker.pid, 'SIGHUP');
  await until(() => failures() === 3, 'the answer to SIGHUP');
  assert.deepEqual([await passes(first), await passes(second)], [true, true]);
  write('keys.json', jwks({2: second}));
  process.kill(broker.pid, 'SIGHUP');
  await until(async () => !(await passes(first)), 'the first key to go');
  assert.equal(await passes(second), true);
  const {access} = (await getJson(broker.admin('/v1/stats'))).json;
  assert.equal(access.key_failures, 3);
  assert.ok(access.tokens_refused >= 2);
});

test('a token admits: the session goes on when it is over, and a new one needs a new token', async t => {
  const broker = await startBroker(t, {set: SET});
  const token = hs256({sub: 'alice', exp: now() - 57});   // a minute is given to clocks
  const session = new PollSession(broker.bayeux);
  await session.handshake({ext: {token}});
  await until(async () => (await hello(broker.bayeux, {token})).error === '401::Invalid access token', 'the token to be over');
  await session.subscribe('/users/alice/x');
  await session.publish('/rooms/1/x', 1);
  await session.connect({timeout: 0});
  assert.equal((await getJson(broker.admin(`/v1/clients/${session.clientId}`))).json.user, 'alice');
});

test('access.handshake: who gets a session at all', async t => {
  const users = await startBroker(t, {set: {...SET, 'access.handshake': 'user'}});
  assert.equal((await hello(users.bayeux)).error, '401::Access token required');
  assert.equal((await hello(users.bayeux, {token: ''})).error, '401::Access token required');
  assert.equal((await hello(users.bayeux, {token: hs256(claimsOf('alice'))})).successful, true);
  assert.equal((await hello(users.bayeux, asServer.ext)).successful, true);
  const servers = await startBroker(t, {set: {...SET, 'access.handshake': 'server'}});
  assert.equal((await hello(servers.bayeux, {token: hs256(claimsOf('alice'))})).error, '403::Forbidden');
  assert.equal((await hello(servers.bayeux, asServer.ext)).successful, true);
});

test('what handshakes are told can be configured: ext, and advice for ten days', async t => {
  const broker = await startBroker(t, {set: {...SET, 'access.handshake': 'user', 'access.handshake_ext': {appVersion: 'abc123'},
    'access.denied_reconnect': 'none', 'access.denied_interval': '10d'}});
  const {id, clientId, ...good} = await hello(broker.bayeux, {token: hs256(claimsOf('alice'))});
  assert.deepEqual(good.ext, {appVersion: 'abc123'});
  const reply = await hello(broker.bayeux);
  assert.deepEqual(reply, {id: '1', channel: '/meta/handshake', error: '401::Access token required', successful: false, version: '1.0',
    supportedConnectionTypes: reply.supportedConnectionTypes, advice: {reconnect: 'none', interval: 864000000}});
});

test('where no authority listens what it decides is unavailable, and nobody is sent away for good', async t => {
  const broker = await startBroker(t, {set: {...SET, 'access.rules': [{channel: '/a', subscribe: 'authority', publish: 'authority'}], 'authority.url': 'http://127.0.0.1:1/', 'access.denied_reconnect': 'none'}});
  const session = await sessionOf(broker, 'alice');
  assert.equal(await subscribing(session, '/a'), '503:/a:Authority unavailable');
  assert.equal(await publishing(session, '/a'), '503:/a:Authority unavailable');
  assert.equal((await getJson(broker.admin('/v1/stats'))).json.unavailable, 2);
});

// -- sessions --------------------------------------------------------------------------------------

test('client ids: guesses, those of sessions that ended, and a token used twice', async t => {
  const broker = await startBroker(t, {set: SET});
  const [alice, again] = [await sessionOf(broker, 'alice'), await sessionOf(broker, 'alice')];
  assert.notEqual(alice.clientId, again.clientId);
  const {clientId} = alice;
  const last = clientId.at(-1) === 'a' ? 'b' : 'a';
  await alice.disconnect();
  for (const guess of [clientId, clientId.slice(0, -1) + last, clientId.slice(1), `${again.clientId}0`, again.clientId.toUpperCase().replace(/^[0-9]*$/, 'x'), '*', '', '0'.repeat(31)]) {
    const guesser = pollerOf(broker.bayeux, guess);
    const [reply] = await post(broker.bayeux, [{channel: '/meta/subscribe', clientId: guess, subscription: '/users/alice/x'}]);
    assert.match(reply.error, /^40[12]:/, guess);
    const [connect] = await post(broker.bayeux, [{channel: '/meta/connect', clientId: guess, connectionType: 'long-polling'}]);
    assert.equal(connect.successful, false, guess);
    assert.notEqual(await publishing(guesser, '/rooms/1/x'), 'ok', guess);
  }
  // A new session is nobody's, whatever id it was asked for with.
  const reply = await hello(broker.bayeux);
  const [{clientId: fresh}] = await post(broker.bayeux, [{...HELLO, clientId: again.clientId}]);
  assert.notEqual(fresh, again.clientId);
  assert.equal((await getJson(broker.admin(`/v1/clients/${fresh}`))).json.user, undefined);
  assert.equal((await getJson(broker.admin(`/v1/clients/${reply.clientId}`))).json.user, undefined);
});

test('a hundred ids of one session after the other have nothing in common', async t => {
  const broker = await startBroker(t, {set: SET});
  const ids = [];
  for (let i = 0; i < 100; i++) ids.push((await hello(broker.bayeux)).clientId);
  assert.equal(new Set(ids).size, 100);
  assert.ok(ids.every(id => id.length === 31 || id.length === 32));
  assert.ok(new Set(ids.map(id => id.slice(0, 3))).size > 80);
  assert.ok(new Set(ids.map(id => id.slice(-3))).size > 80);
});

// -- configuration, the tool -------------------------------------------------------------------------

test('what does not fit together is refused at the start', async () => {
  const rules = 'access.rules=[{"channel":"/a","subscribe":"any"}]';
  for (const [settings, says] of [
    [['access.mode=open', rules], /access\.mode: access\.rules mean nothing/],
    [['access.mode=closed'], /access\.mode/],
    [['access.handshake=user'], /access\.handshake/],
    [[rules, 'access.handshake=user'], /auth\.jwt/],
    [[rules, 'access.handshake=server'], /auth\.superclient/],
    [['auth.jwt.algorithms=HS256'], /auth\.jwt\.secret/],
    [['auth.jwt.algorithms=RS256', `auth.jwt.secret=${SECRET}`], /auth\.jwt\.jwks/],
    [['auth.jwt.algorithms=none'], /HS256, RS256 or ES256/],
    [[`auth.jwt.secret=["${SECRET}","${SECRET.slice(0, 31)}"]`], /auth\.jwt\.secret: expected a secret of 32 bytes or more; found a text\n$/],
    [['auth.jwt.jwks=/nowhere'], /auth\.jwt\.jwks: \/nowhere: No such file/],
    [['access.rules=[{"channel":"/a","subscribe":"all"}]'], /any, user, owner/],
    [['access.rules=[{"channel":"/a/{user}"},{"channel":"/a/*/b"}]'], /access\.rules/],
  ]) {
    const {code, stderr} = await run('mora-broker', ['--check-config', ...settings.flatMap(setting => ['--set', setting])]);
    assert.equal(code, 2, settings.join(' '));
    assert.match(stderr, says);
  }
  const {code, stdout, stderr} = await run('mora-broker', ['--check-config', '--set', rules, '--set', 'broker.listen=0.0.0.0:0']);
  assert.equal(code, 0, stdout + stderr);   // with rules it may be reached
});

test('mora token: what it makes is what the broker takes', async t => {
  const {write} = folder(t);
  const [rsa, ec] = [rsaKey(), ecKey()];
  const broker = await startBroker(t, {set: {...SET, 'auth.jwt.audience': 'chat', 'auth.jwt.jwks': write('keys.json', jwks({r: rsa, e: ec}))}});
  const config = write('mora.json', JSON.stringify({auth: {jwt: {secret: SECRET, audience: 'chat'}}, broker: {timeout: '10s'}}));
  for (const args of [['--config', config], ['--set', `auth.jwt.secret=${SECRET}`, '--audience', 'chat'],
    ['--key', write('r.pem', pemOf(rsa)), '--audience', 'chat', '--kid', 'r'], ['--key', write('e.pem', pemOf(ec)), '--audience', 'chat', '--algorithm', 'ES256', '--expires', '5m']]) {
    const {code, stdout, stderr} = await run('mora', ['token', '--user', 'alice', ...args]);
    assert.equal(code, 0, stderr);
    const {clientId} = await hello(broker.bayeux, {token: stdout.trim()});
    assert.equal((await getJson(broker.admin(`/v1/clients/${clientId}`))).json.user, 'alice');
  }
  const {stdout} = await run('mora', ['token', '--user', 'bob'], {env: {MORA_JWT_SECRET: SECRET}});
  const claims = JSON.parse(Buffer.from(stdout.split('.')[1], 'base64url'));
  assert.equal(claims.sub, 'bob');
  assert.ok(claims.exp - claims.iat === 3600 && Math.abs(claims.iat - now()) < 60);
  for (const args of [[], ['--user', ''], ['--user', 'a', '--expires', '7'], ['--user', 'a', '--nonsense', 'x']])
    assert.equal((await run('mora', ['token', ...args])).code, 2, args.join(' '));
  for (const args of [['--user', 'a'], ['--user', 'a', '--key', '/nowhere'], ['--user', 'a', '--key', write('e2.pem', pemOf(ec)), '--algorithm', 'RS256']])
    assert.equal((await run('mora', ['token', ...args])).code, 1, args.join(' '));
});

test('mora check-config: which rule decides', async t => {
  const config = folder(t).write('mora.json', JSON.stringify({access: {rules: RULES}, limits: {clients: 5}}));
  const ask = async (...args) => {
    const {code, stdout} = await run('mora', ['check-config', '--config', config, ...args]);
    return [code, stdout.trimEnd().split('\n')];
  };
  assert.deepEqual(await ask('--user', 'alice', '--subscribe', '/users/alice/**'), [0, ['allowed', 'Rule 1: channel /users/{user}/**, subscribe owner.']]);
  assert.deepEqual(await ask('--user', 'bob', '--subscribe', '/users/alice/x'), [1, ['denied: 403::Not yours', 'Rule 1: channel /users/{user}/**, subscribe owner.']]);
  assert.deepEqual(await ask('--user', 'bob', '--subscribe', '/rooms/**'),
                   [1, ['denied: 403:/rooms/**:Not allowed', 'Rule 2: channel /rooms/{room}/secret, subscribe server.', 'It says otherwise about some channels of this pattern.']]);
  assert.deepEqual(await ask('--publish', '/api/v1/ping2'), [0, ['acknowledged', 'Rule 5: channel /api/v1/ping2, publish ack.']]);
  assert.deepEqual(await ask('--server', '--publish', '/x'), [0, ['allowed', 'Rule 7: channel /**, publish server.']]);
  assert.deepEqual(JSON.parse((await ask('--json', '--publish', '/x'))[1][0]), {ruling: 'denied', error: '403::Push access denied', rule: 7, channel: '/**'});
  assert.equal((await ask('--publish', '/x/*'))[0], 2);
  assert.equal((await ask('--subscribe', '/meta/x'))[0], 2);
  assert.equal((await ask())[0], 2);
  assert.equal((await run('mora', ['check-config', '--subscribe', '/x'])).stdout.split('\n')[0], 'allowed');
});

test('over HTTP a token is needed as anywhere: there are no cookies that a page of another site could use', async t => {
  const broker = await startBroker(t, {set: {...SET, 'access.handshake': 'user'}});
  const headers = {cookie: `token=${hs256(claimsOf('alice'))}`, authorization: `Bearer ${hs256(claimsOf('alice'))}`};
  const {json: [reply]} = await postJson(broker.bayeux, [HELLO], {headers});
  assert.equal(reply.error, '401::Access token required');
  const {json: [jsonp]} = await getJsonp(broker.bayeux, [HELLO], {headers});
  assert.equal(jsonp.error, '401::Access token required');
});
