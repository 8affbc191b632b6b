// SPDX-License-Identifier: Apache-2.0
// Who is here: lists, joins and leaves, as clients and operators see them.

import assert from 'node:assert/strict';
import faye from 'faye';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {getJson} from './lib/http.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {Feed, sleep, until} from './lib/wait.mjs';
import {post} from './support/wire.mjs';
import {SECRET, claimsOf, hs256} from './support/tokens.mjs';

const RULES = [
  {channel: '/users/{user}/*', subscribe: 'owner', presence: true},
  {channel: '/rooms/quiet', subscribe: 'any', publish: 'any'},
  {channel: '/rooms/staff', subscribe: 'server', presence: true},
  {channel: '/rooms/*', subscribe: 'any', publish: 'user', presence: true},
];
const SET = {'access.rules': RULES, 'auth.jwt.secret': SECRET, 'auth.superclient': 'of servers', 'presence.grace': '300ms'};

async function sessionOf(node, user) {
  const session = new PollSession(node.bayeux);
  await session.handshake(user ? {ext: {token: hs256(claimsOf(user))}} : {});
  return session;
}
const listing = {ext: {presence: true}};
const presence = async (node, channel) => (await getJson(node.admin(`/v1/presence?channel=${channel}`)));
const briefly = ({event, user}) => (user === undefined ? event : `${event} ${user}`);
// The error of a reply, or 'ok'.
const said = ([reply]) => reply.error ?? 'ok';

// Faye's client with the extension that an application would write: it asks for lists and keeps them.
function fayeClient(t, node, user) {
  const client = new faye.Client(node.bayeux, {retry: 1});
  client.lists = {};
  client.addExtension({
    outgoing(message, callback) {
      if (message.channel === '/meta/handshake' && user) message.ext = {token: hs256(claimsOf(user))};
      if (message.channel === '/meta/subscribe') message.ext = {presence: true};
      callback(message);
    },
    incoming(message, callback) {
      if (message.channel === '/meta/subscribe') Object.assign(client.lists, message.ext?.presence);
      callback(message);
    },
  });
  t.after(() => { client.disconnect(); return sleep(50); });
  return client;
}
const subscribed = (client, channel, callback) => new Promise((resolve, reject) => client.subscribe(channel, callback).then(resolve, reject));

test('a Faye client sees who is there, who comes and who goes', async t => {
  const node = await startBroker(t, {set: SET});
  const heard = new Feed();
  const [alice, bob] = [fayeClient(t, node, 'alice'), fayeClient(t, node, 'bob')];
  await subscribed(alice, '/rooms/1', () => {});
  await subscribed(bob, '/presence/rooms/1', data => heard.push(data));
  await subscribed(bob, '/rooms/1', () => {});
  assert.deepEqual(bob.lists['/rooms/1'].users, 2);
  assert.deepEqual(bob.lists['/rooms/1'].members.sort((a, b) => (a.user < b.user ? -1 : 1)), [{user: 'alice', sessions: 1}, {user: 'bob', sessions: 1}]);
  assert.equal('/presence/rooms/1' in bob.lists, false, 'a companion has no list of its own');
  const nobody = await sessionOf(node);
  await nobody.subscribe('/rooms/1');
  await heard.when(all => all.length === 2, 'two joins');
  await alice.disconnect();
  await heard.when(all => all.length === 3, 'a leave');
  assert.deepEqual(heard.items, [{event: 'join', user: 'bob', users: 2}, {event: 'join', user: null, users: 3}, {event: 'leave', user: 'alice', users: 2}]);

  const {json} = await presence(node, '/rooms/1');
  assert.deepEqual([json.channel, json.users, json.sessions, json.more], ['/rooms/1', 2, 2, undefined]);
  assert.deepEqual(json.members.map(({user}) => user).sort(), ['bob', null]);
  assert.equal(json.clients.find(({user}) => user === null).client, nobody.clientId);
  const tool = await run('mora', ['--admin', node.url('admin'), 'presence', '/rooms/1']);
  assert.match(tool.stdout, /SESSIONS +USER\n(.*\n)* *1 +bob\n/);
  const counters = (await getJson(node.admin('/v1/stats'))).json;
  assert.ok(counters.presence_told >= 5 && counters.presence_lists >= 3, JSON.stringify(counters));
});

test('nobody but the broker speaks on a companion, and whoever may subscribe to a channel may hear it', async t => {
  const node = await startBroker(t, {set: SET});
  const [alice, nobody] = [await sessionOf(node, 'alice'), await sessionOf(node)];
  const subscribing = async (session, channel, extra) => said(await post(session.url, [session.message.subscribe(channel, extra)]));
  const server = {ext: {password: 'of servers'}};
  for (const [channel, alices, nobodys] of [
    ['/presence/rooms/1', 'ok', 'ok'],
    ['/presence/rooms/staff', '403:/presence/rooms/staff:Not allowed', '403:/presence/rooms/staff:Not allowed'],
    ['/presence/users/alice/x', 'ok', '403:/presence/users/alice/x:Not allowed'],
    ['/presence/users/bob/x', '403:/presence/users/bob/x:Not allowed', '403:/presence/users/bob/x:Not allowed'],
    ['/presence/users/alice/*', 'ok', '403:/presence/users/alice/*:Not allowed'],
    ['/presence/rooms/*', '403:/presence/rooms/*:Not allowed', '403:/presence/rooms/*:Not allowed'],
    ['/presence/**', '403:/presence/**:Not allowed', '403:/presence/**:Not allowed'],
  ]) {
    assert.equal(await subscribing(alice, channel), alices, channel);
    assert.equal(await subscribing(nobody, channel), nobodys, channel);
    assert.equal(await subscribing(alice, channel, server), 'ok', channel);
  }
  for (const extra of [{}, server])
    assert.equal(said(await post(node.bayeux, [alice.message.publish('/presence/rooms/1', {event: 'join', user: 'eve', users: 9}, extra)])),
                 '403:/presence/rooms/1:Not allowed');
  assert.equal((await presence(node, '/rooms/quiet')).status, 404);
  assert.equal((await presence(node, '/rooms/*')).status, 400);
  assert.equal((await presence(node, '/elsewhere')).status, 404);
  assert.equal((await presence(node, '/rooms/empty')).json.users, 0);
  const [reply] = await post(node.bayeux, [nobody.message.subscribe('/rooms/quiet', listing)]);
  assert.equal(reply.ext, undefined);
});

test('back within the grace time: nothing is said; beyond it: left and joined', async t => {
  const node = await startBroker(t, {set: {...SET, 'presence.grace': '1500ms'}});
  const watcher = await sessionOf(node, 'watcher');
  await watcher.subscribe('/presence/rooms/1');
  const first = await sessionOf(node, 'alice');
  await first.subscribe('/rooms/1');
  await first.disconnect();
  const second = await sessionOf(node, 'alice');
  const [reply] = await post(node.bayeux, [second.message.subscribe('/rooms/1', listing)]);
  assert.deepEqual(reply.ext.presence['/rooms/1'], {users: 1, sessions: 1, members: [{user: 'alice', sessions: 1}]});
  await second.unsubscribe('/rooms/1');
  assert.deepEqual((await presence(node, '/rooms/1')).json.members, [{user: 'alice', sessions: 0}], 'in her grace time');
  await until(async () => (await presence(node, '/rooms/1')).json.users === 0, 'alice to leave');
  await second.subscribe('/rooms/1');
  const events = await watcher.poll(all => all.length >= 6, 'six events');
  assert.deepEqual(events.map(({data}) => briefly(data)), ['occupied', 'join alice', 'leave alice', 'vacated', 'occupied', 'join alice']);
});
