// SPDX-License-Identifier: Apache-2.0
// config/samples/gitter.sample.json with a scripted authority: Gitter's replies field by field, and what went wrong there
// and must not go wrong here.

import assert from 'node:assert/strict';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {CONNECTION_TYPES, PollSession} from './lib/bayeux.mjs';
import {getJson, postJson, request} from './lib/http.mjs';
import {until} from './lib/wait.mjs';
import {ANN, BOB, OPEN, PASSWORD, SAMPLE, SETTINGS, SHUT, startGitter} from './support/gitter.mjs';
import {Wire, drain, hold, post, settle} from './support/wire.mjs';
import {needsRedis, onMemory, startCluster} from './support/cluster.mjs';

async function start(t, set = {}) {
  const authority = await startGitter(t);
  const broker = await startBroker(t, {args: ['--config', SAMPLE], set: {'authority.url': authority.url, ...set}});
  return {authority, broker};
}
async function startNodes(t, set = {}) {
  const authority = await startGitter(t);
  return {authority, cluster: await startCluster(t, {set: {...SETTINGS, 'authority.url': authority.url, ...set}})};
}
const HELLO = {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: CONNECTION_TYPES};
const ADVICE = {reconnect: 'retry', interval: 500, timeout: 120000};
const AGAIN = {reconnect: 'handshake', interval: 2000};
const NEVER = {reconnect: 'none', interval: 864000000};
const server = (more = {}) => ({ext: {password: PASSWORD, ...more}});
async function sessionOf(url, token, ext = {}) {
  const session = new PollSession(url);
  await session.handshake({ext: token === undefined ? ext : {token, ...ext}});
  return session;
}
const room = (...rest) => ['/api/v1/rooms', OPEN, ...rest].join('/');
const chats = room('chatMessages');

// Over both transports: one request, and all that comes for it.
const over = {
  'long-polling': async (t, broker) => message => post(broker.bayeux, [message]),
  websocket: async (t, broker) => {
    const wire = await Wire.open(t, broker.socket);
    return async message => { wire.start = wire.frames.length; wire.send([message]); await wire.reply(message.id); return wire.gather(); };
  },
};

// -- the sample ------------------------------------------------------------------------------------

test('mora check-config says of the sample who may do what', async () => {
  const ask = async (...args) => (await run('mora', ['check-config', '--config', SAMPLE, ...args])).stdout.split('\n')[0];
  const user = ['--user', ANN];
  for (const [args, expected] of [
    [[...user, '--subscribe', chats], 'authority'], [['--subscribe', room()], 'authority'], [[...user, '--subscribe', room('chatMessages', 'c1', 'readBy')], 'authority'],
    [[...user, '--subscribe', `/api/v1/user/${ANN}`], 'allowed'], [[...user, '--subscribe', `/api/v1/user/${BOB}`], 'denied: 403::Authorisation denied.'],
    [['--subscribe', `/api/v1/user/${ANN}`], 'denied: 403::Authorisation denied.'], [[...user, '--subscribe', '/**'], 'denied: 404::Unknown subscription /**'],
    [[...user, '--subscribe', '/api/v1/rooms/*'], 'denied: 404::Unknown subscription /api/v1/rooms/*'], [['--server', '--subscribe', '/**'], 'allowed'],
    [[...user, '--subscribe', '/api/v1/ping2'], 'denied: 404::Unknown subscription /api/v1/ping2'], [['--subscribe', '/api/v1/ping/x'], 'allowed'],
    [[...user, '--publish', '/api/v1/ping2'], 'acknowledged'], [[...user, '--publish', chats], 'denied: 403::Push access denied'],
    [[...user, '--publish', `/api/v1/user/${ANN}`], 'denied: 403::Push access denied'], [['--server', '--publish', chats], 'allowed'],
  ]) assert.equal(await ask(...args), expected, String(args));
});

// -- handshakes ------------------------------------------------------------------------------------

for (const [transport, connect] of Object.entries(over)) {
  test(`handshakes over ${transport}: who it is, where, and ten days for who has no good token`, async t => {
    const {broker} = await start(t);
    const ask = await connect(t, broker);
    const shake = async (id, ext) => {
      const [reply, ...more] = await ask({...HELLO, id, ...(ext && {ext})});
      assert.deepEqual(more, [], 'one reply');
      return reply;
    };
    const welcome = (reply, id, ext) => {
      assert.match(reply.clientId, /^[0-9a-z]{31}$/);
      assert.deepEqual(reply, {id, channel: '/meta/handshake', successful: true, version: '1.0', supportedConnectionTypes: CONNECTION_TYPES, clientId: reply.clientId, advice: ADVICE, ext});
    };
    welcome(await shake('1', {token: 'token-of-ann', connType: 'online', client: 'web', troupeId: OPEN, eyeballs: 1, uniqueClientId: 'u', realtimeLibrary: 'halley', appVersion: '9', version: '8'}),
            '1', {appVersion: '1.0', userId: ANN, context: {user: {id: ANN}, troupe: {id: OPEN}}});
    welcome(await shake('2', {token: 'token-of-ann'}), '2', {appVersion: '1.0', userId: ANN, context: {user: {id: ANN}}});
    welcome(await shake('3', {token: '$anonymous'}), '3', {appVersion: '1.0', userId: null, context: {}});
    welcome(await shake('4', {password: PASSWORD}), '4', {appVersion: '1.0'});
    for (const [id, ext, error] of [['5', undefined, '401::Access token required'], ['6', {}, '401::Access token required'], ['7', {token: 5}, '401::Access token required'],
      ['8', {token: ''}, '401::Access token required'], ['9', {token: 'stolen'}, '401::Invalid access token']])
      assert.deepEqual(await shake(id, ext), {id, channel: '/meta/handshake', successful: false, error, version: '1.0', supportedConnectionTypes: CONNECTION_TYPES, advice: NEVER});
  });
}

// -- subscriptions ---------------------------------------------------------------------------------

for (const [transport, connect] of Object.entries(over)) {
  test(`subscriptions over ${transport}: each route, its snapshot, and who may not`, async t => {
    const {authority, broker} = await start(t);
    const carry = await connect(t, broker);
    const ann = await sessionOf(broker.bayeux, 'token-of-ann'), anonymous = await sessionOf(broker.bayeux, '$anonymous');
    let id = 0;
    const ask = async (session, subscription, ext, expected) => {
      const message = {id: String(++id), channel: '/meta/subscribe', clientId: session.clientId, subscription, ...(ext && {ext})};
      assert.deepEqual(await carry(message), [{id: message.id, clientId: session.clientId, channel: '/meta/subscribe', subscription, ...expected}], JSON.stringify(subscription));
    };
    const good = snapshot => ({successful: true, ...(snapshot && {ext: {snapshot}})});
    const bad = error => ({successful: false, error});
    const denied = bad('403::Authorisation denied.');
    const mine = `/api/v1/user/${ANN}`, his = `/api/v1/user/${BOB}`;
    for (const [channel, ext, snapshot] of [
      [room(), undefined, undefined], [room(), {snapshot: false}, undefined], [room(), {snapshot: true}, {id: OPEN, permissions: {admin: false}}],
      [chats, undefined, authority.chats], [chats, {snapshot: true}, authority.chats], [chats, {snapshot: {limit: 2}}, authority.chats.slice(-2)], [chats, {snapshot: false}, undefined],
      [chats, {snapshot: false, reassociate: {eyeballs: 0}}, undefined], [room('users'), undefined, [{id: ANN, online: true, role: 'admin'}]], [room('events'), undefined, [{id: 'e1'}]],
      [room('other'), undefined, undefined], [room('chatMessages', 'c1', 'readBy'), undefined, [{id: BOB}]], [room('chatMessages', 'c1', 'x'), undefined, undefined],
      [`${mine}/groups`, undefined, [{id: 'g'}]], [`${mine}/rooms`, undefined, [{id: OPEN}]], [`${mine}/troupes`, undefined, [{id: OPEN}]], [`${mine}/orgs`, undefined, [{id: 'o'}]],
      [`${mine}/groups`, {snapshot: false}, undefined], [`${mine}/rooms/${OPEN}/unreadItems`, undefined, {chat: ['c1'], mention: []}], [mine, undefined, undefined],
      ['/api/v1/token/token-of-ann', undefined, undefined], ['/api/v1/ping', undefined, undefined], ['/api/v1/ping/x', undefined, undefined], ['/api/private/diagnostics', undefined, undefined],
      [[chats], undefined, authority.chats],
    ]) await ask(ann, channel, ext, good(snapshot));
    for (const [channel, expected] of [
      [`/api/v1/rooms/${SHUT}`, denied], [`/api/v1/rooms/${SHUT}/chatMessages`, denied], [`/api/v1/rooms/${SHUT}/chatMessages/c1/readBy`, denied],
      ['/api/v1/rooms/nothex', bad('400::Invalid ID: nothex')], ['/api/v1/rooms/nothex/users', bad('400::Invalid ID: nothex')],
      [his, denied], [`${his}/rooms`, denied], [`${his}/rooms/${OPEN}/unreadItems`, denied], ['/api/v1/token/token-of-bob', denied],
      ...['/api/v1/ping2', '/api/v1/nothing', '/other', '/**', '/api/v1/rooms/*', '/api/v1/rooms/**', `${mine}/*`, `${mine}/**`, room('*'), room('a', 'b')]
        .map(channel => [channel, bad(`404::Unknown subscription ${channel}`)]),
      [[chats, room()], bad(`404::Unknown subscription ${chats},${room()}`)],
    ]) await ask(ann, channel, undefined, expected);
    for (const channel of [mine, `${mine}/rooms`, `${mine}/rooms/${OPEN}/unreadItems`, '/api/v1/token/token-of-ann', '/api/v1/token/$anonymous']) await ask(anonymous, channel, undefined, denied);
    await ask(anonymous, chats, undefined, good(authority.chats));
    await ask(anonymous, '/api/v1/ping', undefined, good());
    await ask({clientId: 'nosuch'}, chats, undefined, {...bad('401:nosuch:Unknown client'), advice: AGAIN});
  });
}

// -- the other replies -----------------------------------------------------------------------------

for (const [transport, connect] of Object.entries(over)) {
  test(`the other replies over ${transport}: ping2, publishes, connects with data, disconnect, what is unknown`, async t => {
    const {broker} = await start(t);
    const ask = await connect(t, broker);
    const ann = await sessionOf(broker.bayeux, 'token-of-ann');
    const {clientId} = ann;
    assert.deepEqual(await ask({id: '15', channel: '/api/v1/ping2', clientId, data: {}}), [{id: '15', clientId, channel: '/api/v1/ping2', successful: true}]);
    assert.deepEqual(await ask({id: '16', channel: '/api/v1/ping2', clientId: 'nosuch', data: {}}),
                     [{id: '16', clientId: 'nosuch', channel: '/api/v1/ping2', successful: false, error: '401::Client does not exist', advice: AGAIN}]);
    assert.deepEqual(await ask({id: '16', channel: '/api/v1/ping2', data: {}}), [{id: '16', channel: '/api/v1/ping2', successful: false, error: '401::Client does not exist', advice: AGAIN}]);
    assert.deepEqual(await ask({id: '17', channel: chats, clientId, data: {}}), [{id: '17', clientId, channel: chats, successful: false, error: '403::Push access denied'}]);
    assert.deepEqual(await ask({id: '18', channel: '/meta/foo', clientId}), [{id: '18', clientId, channel: '/meta/foo', successful: false, error: '403:/meta/foo:Forbidden channel'}]);
    assert.deepEqual(await ask({id: '19', channel: '/meta/connect', clientId: 'nosuch', connectionType: 'long-polling'}),
                     [{id: '19', channel: '/meta/connect', successful: false, error: '401:nosuch:Unknown client', advice: AGAIN}]);

    await ann.subscribe(chats, {ext: {snapshot: false}});
    const poll = hold(ann, {id: '20'});
    await poll.sent;
    await settle(broker.bayeux);
    const data = {operation: 'create', model: {id: 'c4'}};
    assert.deepEqual(await ask({id: '3', channel: chats, data, ...server({kept: 1})}), [{id: '3', channel: chats, successful: true}]);
    assert.deepEqual(await poll.answer, [{id: '20', clientId, channel: '/meta/connect', successful: true, advice: ADVICE}, {channel: chats, data, id: '3', ext: {kept: 1, c: 1}}]);
    assert.deepEqual(await ask({id: '25', channel: '/meta/disconnect', clientId}), [{id: '25', clientId, channel: '/meta/disconnect', successful: true}]);
  });
}

test('on a websocket messages have a number each and no clientId; servers may do everything, and their password goes nowhere', async t => {
  const {broker} = await start(t);
  const wire = await Wire.open(t, broker.socket);
  await wire.handshake({ext: {token: 'token-of-ann'}});
  await wire.subscribe(chats, {ext: {snapshot: false}});
  wire.connect();
  const web = await sessionOf(broker.bayeux, undefined, {password: PASSWORD});
  await web.subscribe('/**', server());
  await assert.rejects(web.subscribe('/**'), /404::Unknown subscription/, 'each message has to prove it');
  for (let n = 1; n <= 2; n++) await web.publish(chats, {n}, {id: String(n), ...server({more: true})});
  await wire.inbox.count(2);
  const expected = [1, 2].map(n => ({channel: chats, data: {n}, id: String(n), ext: {more: true, c: n}}));
  assert.deepEqual(wire.inbox.items, expected);
  assert.deepEqual(await drain(web), expected);
});

test('a session that the presence of the authority does not know: ping2 may be its to answer, and nobody gets it', async t => {
  const rules = structuredClone(SETTINGS['access.rules']);
  rules.find(({channel}) => channel === '/api/v1/ping2').publish = 'authority';
  const {authority, broker} = await start(t, {'access.rules': rules});
  const ann = await sessionOf(broker.bayeux, 'token-of-ann');
  const web = await sessionOf(broker.bayeux, undefined, {password: PASSWORD});
  await web.subscribe('/**', server());
  const {clientId} = ann, ping = id => post(broker.bayeux, [{id, channel: '/api/v1/ping2', clientId, data: {}}]);
  authority.script = {answer: () => ({allow: false, error: '401::Socket association does not exist'})};
  assert.deepEqual(await ping('1'), [{id: '1', clientId, channel: '/api/v1/ping2', successful: false, error: '401::Socket association does not exist', advice: AGAIN}]);
  authority.script = {answer: () => ({allow: true, deliver: false})};
  assert.deepEqual(await ping('2'), [{id: '2', clientId, channel: '/api/v1/ping2', successful: true}]);
  assert.deepEqual(await drain(web), []);
});

test('who is not there is told so whatever is asked; what is different from Gitter is as docs/gitter.md says', async t => {
  const {authority, broker} = await start(t);
  const ann = await sessionOf(broker.bayeux, 'token-of-ann'), {clientId} = ann;
  const ask = async message => (await post(broker.bayeux, [message]))[0];
  const subscribe = (subscription, more) => ask({channel: '/meta/subscribe', clientId, subscription, ...more});
  const bad = (subscription, error, more) => ({clientId, channel: '/meta/subscribe', successful: false, error, subscription, ...more});
  // An engine that knows the session, a presence that does not: here the authority's to say.
  const {script} = authority;
  authority.script = {answer: q => ({allow: false, error: `401::Client ${q.client} not authenticated`})};
  assert.deepEqual(await subscribe(chats), bad(chats, `401::Client ${clientId} not authenticated`, {advice: AGAIN}));
  authority.script = script;
  for (const channel of ['/nothing', `/api/v1/rooms/${SHUT}`])
    assert.deepEqual(await subscribe(channel, {clientId: 'nosuch'}), {...bad(channel, '401:nosuch:Unknown client', {advice: AGAIN}), clientId: 'nosuch'});
  for (const channel of ['/meta/x', '/service/x']) assert.deepEqual(await subscribe(channel), bad(channel, `403:${channel}:Forbidden channel`));
  assert.deepEqual(await subscribe('/a/*/b'), bad('/a/*/b', '405:/a/*/b:Invalid channel'));
  for (const channel of [room('a-b'), `/api/v1/rooms/${OPEN}!`]) assert.deepEqual(await subscribe(channel), bad(channel, `404::Unknown subscription ${channel}`), 'the authority has the last word of it');
  assert.equal((await subscribe('/api/v1/ping/a-b')).successful, true);
  assert.deepEqual(await ask({channel: chats, clientId: 'nosuch', data: {}}), {channel: chats, clientId: 'nosuch', successful: false, error: '401:nosuch:Unknown client', advice: AGAIN});
  // The password does not make a client of who is none.
  assert.equal((await subscribe('/**', {clientId: 'nosuch', ...server()})).error, '401:nosuch:Unknown client');
  assert.deepEqual(await subscribe('/**', server()), {clientId, channel: '/meta/subscribe', successful: true, subscription: '/**'});
  const [reply] = await post(broker.bayeux.replace(/bayeux$/, 'faye'), [{...HELLO, ext: {token: 'token-of-ann'}}]);
  assert.deepEqual(reply.advice, {...ADVICE, timeout: 300000}, 'the old mount');
});

// -- what went wrong there -------------------------------------------------------------------------

test('an empty password makes nobody a server: no broker starts with one, and none is believed', async t => {
  const {code, stderr} = await run('mora-broker', ['--check-config', '--config', SAMPLE, '--set', 'auth.superclient=""']);
  assert.equal(code, 2);
  assert.match(stderr, /auth\.superclient/);
  const {broker} = await start(t);
  for (const password of ['', null, 0, false, [], {}, PASSWORD.slice(0, -1), `${PASSWORD}x`, [PASSWORD]]) {
    const [reply] = await post(broker.bayeux, [{...HELLO, ext: {password}}]);
    assert.equal(reply.error, '401::Access token required', JSON.stringify(password));
    const [publish] = await post(broker.bayeux, [{channel: chats, data: 1, ext: {password}}]);
    assert.equal(publish.error, '403::Push access denied');
  }
});

test('the password of servers is not kept with their messages', async t => {
  needsRedis(t);
  const {cluster} = await startNodes(t);
  const ann = await sessionOf(cluster.nodes[0].bayeux, 'token-of-ann');
  await ann.subscribe(chats);
  await post(cluster.nodes[1].bayeux, [{channel: chats, data: 'kept words', ...server({kept: 1})}]);
  const kept = JSON.stringify(await cluster.redis.call('XRANGE', cluster.key('journal'), '-', '+'));
  assert.match(kept, /kept words/);
  assert.ok(!kept.includes(PASSWORD) && !kept.includes('password'));
});

test('an invalid token gets one reply, over HTTP and on a websocket', async t => {
  const {broker} = await start(t);
  const bad = {...HELLO, id: 'h', ext: {token: 'stolen'}};
  const {status, json} = await postJson(broker.bayeux, [bad]);
  assert.deepEqual([status, json.length], [200, 1]);
  const wire = await Wire.open(t, broker.socket);
  wire.send([bad]);
  await wire.reply('h');
  assert.deepEqual((await wire.gather()).map(({id, error}) => [id, error]), [['h', '401::Invalid access token']]);
  assert.equal(wire.frames.items.flat().filter(({id}) => id === 'h').length, 1);
});

test('subscribing to rooms, also again: where presence is counted who comes is told once, and nothing else is said', async t => {
  const rules = structuredClone(SETTINGS['access.rules']);
  rules[0].presence = true;   // of the room itself
  const {cluster} = await startNodes(t, {'access.rules': rules});
  const web = await sessionOf(cluster.nodes[0].bayeux, undefined, {password: PASSWORD});
  await web.subscribe('/**', server());
  const ann = await sessionOf(cluster.nodes[1].bayeux, 'token-of-ann', {troupeId: OPEN, eyeballs: 0});
  const channels = [room(), ...['chatMessages', 'users', 'events', 'a', 'b', 'c'].map(name => room(name))];
  for (const channel of [...channels, ...channels]) await ann.subscribe(channel, {ext: {reassociate: {eyeballs: 0}}});
  await post(cluster.nodes[1].bayeux, [{channel: '/last', data: 'last', ...server()}]);
  const seen = await web.poll(items => items.some(({data}) => data === 'last'), 'the last message');
  assert.deepEqual(seen.map(({channel, data}) => [channel, data.event ?? data, data.user]), [
    [`/presence${room()}`, 'occupied', undefined], [`/presence${room()}`, 'join', ANN], ['/last', 'last', undefined]]);
  if (onMemory) return;
  const rows = (await cluster.redis.call('XRANGE', cluster.key('events'), '-', '+')).map(([, fields]) => fields);
  assert.deepEqual(rows.filter(fields => fields.includes(ann.clientId) && fields.includes('subscribe')).length, channels.length);
});

test('ending a session ends its subscriptions, and no others; a session that does not exist cannot be ended', async t => {
  const {cluster} = await startNodes(t);
  const [one, two] = cluster.nodes;
  const ann = await sessionOf(one.bayeux, 'token-of-ann'), bob = await sessionOf(two.bayeux, 'token-of-bob');
  const channels = ['chatMessages', 'users', 'events'].map(name => room(name));
  for (const channel of channels) await ann.subscribe(channel);
  await bob.subscribe(channels[1]);
  const listed = async channel => (await getJson(one.admin(`/v1/subscribers?channel=${channel}`))).json.subscribers.map(({client}) => client).sort();
  const end = (node, id) => request(node.admin(`/v1/clients/${id}`), {method: 'DELETE'});
  assert.equal((await postJson(two.admin(`/v1/clients/${ann.clientId}/unsubscribe`), {channel: channels[0]})).status, 200);
  await until(async () => (await listed(channels[0])).length === 0, 'the subscription to end');
  assert.deepEqual(await listed(channels[1]), [ann.clientId, bob.clientId].sort());
  assert.deepEqual(await listed(channels[2]), [ann.clientId]);
  assert.equal((await end(two, ann.clientId)).status, 200);
  await until(async () => (await listed(channels[2])).length === 0, 'the session to be gone');
  assert.deepEqual([await listed(channels[0]), await listed(channels[1])], [[], [bob.clientId]]);
  for (const id of [ann.clientId, 'abc123', '0'.repeat(31)]) assert.equal((await end(two, id)).status, 404, id);
  if (onMemory) return;
  assert.deepEqual((await cluster.endings()).map(({id}) => id), [ann.clientId], 'told once');
  const rows = (await cluster.redis.call('XRANGE', cluster.key('events'), '-', '+')).map(([, fields]) => fields);
  assert.deepEqual(rows.filter(fields => fields.includes('unsubscribe')).map(fields => fields[fields.indexOf('channel') + 1]), [channels[0]]);
});

test('a handshake whose record cannot be made fails, and names no client', async t => {
  needsRedis(t);
  const {cluster} = await startNodes(t);
  await cluster.redis.kill();
  const [reply] = await post(cluster.nodes[0].bayeux, [{...HELLO, id: '1', ext: {token: 'token-of-ann'}}]);
  assert.equal(reply.successful, false);
  assert.match(reply.error, /^503:/);
  assert.ok(!('clientId' in reply));
  assert.equal(reply.advice.reconnect, 'handshake', 'nobody is sent away for ten days');
});

test('a reply has an error, or is successful, whatever goes wrong behind it', async t => {
  const {authority, broker} = await start(t);
  const ann = await sessionOf(broker.bayeux, 'token-of-ann');
  const {script} = authority;
  for (const [respond, answer] of [
    [undefined, () => ({allow: true, user: 'a\u0000b', ext: {userId: 'x'}})], [undefined, () => ({allow: true, ext: 'no object'})], [undefined, () => ({allow: true, error: '500::Server error', ext: [1]})],
    [(request, response) => response.writeHead(500).end('Socket association failed'), undefined], [request => request.socket.destroy(), undefined],
  ]) {
    authority.script = respond ? {respond} : {answer};
    for (const [message, error] of [[{...HELLO, ext: {token: 'token-of-ann'}}, /^503:/], [ann.message.subscribe(chats), /^503:/]]) {
      const [reply] = await post(broker.bayeux, [message]);
      assert.deepEqual([reply.successful, 'clientId' in reply && message.clientId === undefined, reply.ext], [false, false, undefined]);
      assert.match(reply.error, error);
    }
    authority.script = script;
    await ann.subscribe(chats);   // the breaker stays closed
  }
});

test('a revoked token: its session reads the news of it first, then it is told, and is not let in again', async t => {
  const {authority, cluster} = await startNodes(t);
  const [one, two] = cluster.nodes;
  const wire = await Wire.open(t, one.socket);
  await wire.handshake({ext: {token: 'token-of-ann'}});
  await wire.subscribe('/api/v1/token/token-of-ann');
  const held = wire.connect();
  const bob = await sessionOf(one.bayeux, 'token-of-bob');
  authority.revoked.add('token-of-ann');
  await post(two.bayeux, [{channel: '/api/v1/token/token-of-ann', data: {notification: 'token_revoked'}, ...server()}]);
  assert.equal((await postJson(two.admin(`/v1/revoke?user=${ANN}`), {})).status, 200);
  await wire.ended();
  const told = wire.frames.items.flat();
  const news = told.findIndex(({data}) => data?.notification === 'token_revoked'), last = told.findIndex(({id}) => id === held);
  assert.ok(news >= 0 && last > news, JSON.stringify(told.slice(-3)));
  assert.deepEqual([told[last].error, told[last].advice], [`401:${wire.clientId}:Unknown client`, AGAIN]);
  for (const node of cluster.nodes) {
    const [refused] = await post(node.bayeux, [{...HELLO, ext: {token: 'token-of-ann'}}]);
    assert.deepEqual([refused.error, refused.advice], ['401::Invalid access token', NEVER]);
  }
  assert.equal((await bob.connect({timeout: 0}))[0].successful, true);
});

test('a permission that was kept does not outlive its revocation, on any node', async t => {
  const {authority, cluster} = await startNodes(t, {'authority.cache': '10m'});
  const visit = async node => {
    const ann = await sessionOf(node.bayeux, 'token-of-ann');
    return ann.post([ann.message.subscribe(room('other'))]);
  };
  const nodes = [...new Set(cluster.nodes)];
  for (const node of nodes) assert.equal((await visit(node))[0].successful, true);
  const {length} = authority.asked;
  for (const node of nodes) assert.equal((await visit(node))[0].successful, true);
  assert.ok(authority.asked.slice(length).every(({verb}) => verb === 'handshake'), 'kept');
  const {answer} = authority.script;
  authority.script = {answer: q => (q.verb === 'subscribe' ? {allow: false, error: '403::Authorisation denied.'} : answer(q))};
  assert.equal((await postJson(nodes[0].admin(`/v1/revoke?user=${ANN}`), {})).status, 200);
  await until(async () => (await cluster.sum('revocations')) === (onMemory ? 1 : nodes.length), 'every node to get there');
  for (const node of nodes) assert.equal((await visit(node))[0].error, '403::Authorisation denied.');
});
