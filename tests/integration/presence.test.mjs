// SPDX-License-Identifier: Apache-2.0
// Who is here: lists, joins and leaves, as clients and operators see them.

import assert from 'node:assert/strict';
import faye from 'faye';
import {test} from './lib/suite.mjs';
import {run, startBroker} from './lib/daemon.mjs';
import {getJson, postJson} from './lib/http.mjs';
import {PollSession} from './lib/bayeux.mjs';
import {Feed, sleep, until} from './lib/wait.mjs';
import {startScripted} from './support/authority.mjs';
import {needsRedis, startCluster} from './support/cluster.mjs';
import {long} from './support/crowd.mjs';
import {Resident, settleIn} from './support/load.mjs';
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
  // But an operator is believed, and nothing is counted by it.
  const hears = await sessionOf(node);
  await hears.subscribe('/presence/rooms/1');
  const {json: {outcome}} = await postJson(node.admin('/v1/publish'), {channel: '/presence/rooms/1', data: {event: 'join', user: 'eve', users: 9}});
  assert.equal(outcome, 'acknowledged');
  assert.equal((await hears.poll(all => all.length > 0, 'it'))[0].data.user, 'eve');
  assert.equal((await presence(node, '/rooms/1')).json.users, 0);
  assert.equal((await presence(node, '/rooms/quiet')).status, 404);
  assert.equal((await presence(node, '/rooms/*')).status, 400);
  assert.equal((await presence(node, '/elsewhere')).status, 404);
  assert.equal((await presence(node, '/rooms/empty')).json.users, 0);
  const [reply] = await post(node.bayeux, [nobody.message.subscribe('/rooms/quiet', listing)]);
  assert.equal(reply.ext, undefined);
});

test('mora check-config says that it is the broker who publishes there', async () => {
  const ask = async (...args) => (await run('mora', ['check-config', '--set', `access.rules=${JSON.stringify(RULES)}`, '--set', 'auth.superclient=of servers', ...args])).stdout;
  assert.equal(await ask('--server', '--publish', '/presence/rooms/1'), 'denied: 403:/presence/rooms/1:Not allowed\nOnly the broker publishes there: it tells who is present.\n');
  assert.equal(await ask('--subscribe', '/presence/rooms/1'), 'allowed\nRule 4: channel /rooms/*, subscribe any.\n');
  assert.equal((await ask('--user', 'bob', '--subscribe', '/presence/users/alice/x')).split('\n')[1], 'Rule 1: channel /users/{user}/*, subscribe owner.');
});

test('back within the grace time: nothing is said; beyond it: left and joined', async t => {
  const node = await startBroker(t, {set: {...SET, 'presence.grace': '1500ms'}});
  const watcher = await sessionOf(node, 'watcher');
  await watcher.subscribe('/presence/rooms/1');
  const first = await sessionOf(node, 'alice');
  await first.subscribe('/rooms/1');
  await first.disconnect();
  await sleep(500);   // of the grace time, in which it is looked for those who are due
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

test('lists are cut, numbers are not', async t => {
  const node = await startBroker(t, {set: {...SET, 'presence.members': 2}});
  const sessions = await Promise.all(['ann', 'bob', 'cid', 'dan'].map(user => sessionOf(node, user)));
  for (const session of sessions) await session.subscribe('/rooms/1');
  const [reply] = await post(node.bayeux, [sessions[0].message.subscribe('/rooms/1', listing)]);
  const {users, sessions: count, members, more} = reply.ext.presence['/rooms/1'];
  assert.deepEqual([users, count, members.length, more], [4, 4, 2, true]);
  assert.ok(members.every(({user, sessions: n}) => n === 1 && ['ann', 'bob', 'cid', 'dan'].includes(user)), JSON.stringify(members));
  assert.equal((await getJson(node.admin('/v1/stats'))).json.presence_cut, 1);
  assert.equal((await presence(node, '/rooms/1')).json.members.length, 4);
  // More sessions than the admin API names, of one member.
  const hello = {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling']};
  for (let i = 0; i < 3; i++) {
    const welcomes = await post(node.bayeux, Array(340).fill(hello));
    const replies = await post(node.bayeux, welcomes.map(({clientId}) => ({channel: '/meta/subscribe', clientId, subscription: '/rooms/2'})));
    assert.ok(replies.every(({successful}) => successful), JSON.stringify(replies.find(({successful}) => !successful)));
  }
  const {json} = await presence(node, '/rooms/2');
  assert.deepEqual([json.users, json.sessions, json.members, json.clients.length], [1, 1020, [{user: null, sessions: 1020}], 1000]);
  assert.equal(new Set(json.clients.map(({client}) => client)).size, 1000);
});

test('the admin API names 1,000 users, counts all, and says that there are more', async t => {
  const node = await startBroker(t, {set: SET});
  const hello = {channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling']};
  let users = 0;
  for (const count of [500, 500, 1]) {
    const welcomes = await post(node.bayeux, Array.from({length: count}, () => ({...hello, ext: {token: hs256(claimsOf(`user ${users++}`))}})));
    const replies = await post(node.bayeux, welcomes.map(({clientId}) => ({channel: '/meta/subscribe', clientId, subscription: '/rooms/1'})));
    assert.ok(replies.every(({successful}) => successful), JSON.stringify(replies.find(({successful}) => !successful)));
    const {json} = await presence(node, '/rooms/1');
    assert.deepEqual([json.users, json.sessions, json.members.length, json.clients.length, json.more],
                     users <= 1000 ? [users, users, users, users, undefined] : [1001, 1001, 1000, 1000, true]);
  }
  const {stdout, stderr} = await run('mora', ['--admin', node.url('admin'), 'presence', '/rooms/1']);
  assert.equal(stderr, 'There are more users.\n');
  assert.equal(stdout.match(/user \d+$/gm).length, 1000);
});

test('an authority is asked about the companion, by its name', async t => {
  const authority = await startScripted(t, {answer: ({channel}) => ({allow: channel !== '/presence/rooms/1'})});
  const rules = [{channel: '/rooms/*', subscribe: 'authority', presence: true}];
  const node = await startBroker(t, {set: {'access.rules': rules, 'authority.url': authority.url}});
  const session = await sessionOf(node);
  const [list, ...rest] = await post(node.bayeux, [
    session.message.subscribe('/rooms/1', listing), session.message.subscribe('/presence/rooms/1'), session.message.subscribe('/presence/rooms/2')]);
  assert.deepEqual(list.ext.presence['/rooms/1'].users, 1);
  assert.deepEqual(rest.map(reply => reply.successful), [false, true]);
  assert.deepEqual(authority.asked.map(({channel}) => channel), ['/rooms/1', '/presence/rooms/1', '/presence/rooms/2']);
});

// -- several nodes, random joins, leaves and kills -------------------------------------------------------

const HALL = '/rooms/hall', GRACE = 2000;

// A session of a user on the hall that goes on elsewhere when its node dies.
class Guest extends Resident {
  constructor(cluster, options) {
    super(cluster, {...options, patterns: [HALL]});
    this.user = options.user;
  }
  get greeting() { return this.user ? {ext: {token: hs256(claimsOf(this.user))}} : {}; }
}

// Hears the companion at a node that lives on.
class Watcher extends Resident {
  heard = new Feed();
  took(messages) {
    this.heard.push(...messages.filter(({channel}) => channel === `/presence${HALL}`).map(({data}) => data));
    return super.took(messages.filter(({channel}) => channel.startsWith('/meta/')));
  }
}

// Numbers that a failure can be repeated with.
function dice(seed) {
  let state = seed >>> 0;
  const next = () => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return state / 2 ** 32; };
  return {below: n => Math.floor(next() * n), pick: list => list[Math.floor(next() * list.length)]};
}

// What nodes that are about to die do not answer is asked for again, elsewhere. 401: done by an earlier try.
async function insist(cluster, guest, message) {
  await until(async () => {
    try {
      const [reply] = await post(cluster.after(guest.node).bayeux, [message]);
      return reply.successful || /^401:/.test(reply.error);
    } catch {
      return false;
    }
  }, message.channel);
}

class Party {
  constructor(t, cluster, users, dice) {
    Object.assign(this, {t, cluster, dice, users: Array.from({length: users}, (_, i) => (i === 0 ? null : `user ${i} "\\ä`)), guests: new Set()});
    this.judged = 0;   // entries of the journal
    this.present = new Set();
  }
  of(user) { return [...this.guests].filter(guest => guest.user === user); }

  async enter(user, change) {
    const node = this.dice.pick(this.cluster.nodes), transport = this.dice.pick(['websocket', 'long-polling']);
    for (let guest; ; ) {
      guest = new Guest(this.cluster, {name: `guest ${user}`, user, transport, node: node.running ? node : this.cluster.after(node)});
      try {
        await guest.start(this.t);
      } catch {
        await sleep(50);
        continue;
      }
      this.guests.add(guest);
      change.entered = Math.min(change.entered ?? Infinity, Date.now());
      return;
    }
  }
  // By unsubscribing, by a disconnect, or without a word.
  async exit(guest, change) {
    const how = this.dice.pick(['unsubscribe', 'disconnect', 'vanish']);
    change.began = Math.min(change.began ?? Infinity, Date.now());
    this.guests.delete(guest);
    if (how === 'unsubscribe') await insist(this.cluster, guest, guest.session.message.unsubscribe(HALL));
    await guest.stop();
    if (how === 'disconnect') await insist(this.cluster, guest, guest.session.message.disconnect());
  }
  // Gone and soon back: a page that is loaded anew.
  async reload(guest, change) {
    change.began = Math.min(change.began ?? Infinity, Date.now());
    this.guests.delete(guest);
    await guest.stop();
    await insist(this.cluster, guest, guest.session.message.disconnect());
    await sleep(this.dice.below(700));
    await this.enter(guest.user, change);
  }

  // All users with three sessions each.
  async fill() {
    const changes = new Map(this.users.map(user => [user, {before: [], entered: null, began: null}]));
    const all = this.users.flatMap(user => [user, user, user]);
    for (let i = 0; i < all.length; i += 10) await Promise.all(all.slice(i, i + 10).map(user => this.enter(user, changes.get(user))));
    await this.settled();
    await this.judge(changes);
    assert.equal(this.present.size, this.users.length);
  }

  // One random step of each of many users; a node dies meanwhile.
  async round(victim) {
    const changes = new Map(this.users.map(user => [user, {before: this.of(user), entered: null, began: null}]));
    const deeds = [];
    for (const user of this.users) {
      const change = changes.get(user);
      for (const guest of change.before) {
        const what = this.dice.below(6);
        if (what < 2) deeds.push(() => this.exit(guest, change));
        if (what === 2 || what === 3) deeds.push(() => this.reload(guest, change));
      }
      for (let n = change.before.length; n < 3; n++) if (this.dice.below(2) === 0) deeds.push(() => this.enter(user, change));
    }
    const killing = victim && sleep(100).then(() => victim.kill());
    for (let i = 0; i < deeds.length; i += 10) await Promise.all(deeds.slice(i, i + 10).map(deed => deed()));
    await killing;
    await this.settled();
    await this.judge(changes);
    if (victim) await victim.start();
  }

  // All nodes list exactly those who are there.
  async settled() {
    const wanted = JSON.stringify([...this.guests].map(({clientId}) => clientId).sort());
    let lists;
    await until(async () => {
      lists = await Promise.all(this.cluster.living.map(async node => (await presence(node, HALL)).json));
      return lists.every(({members, clients, users, sessions}) => JSON.stringify(clients.map(({client}) => client).sort()) === wanted &&
        sessions === this.guests.size && members.length === users && members.every(({user, sessions: n}) => n > 0 && n === this.of(user).length));
    }, () => `the lists to be right: ${wanted}, but ${JSON.stringify(lists)}`, 60000);
  }

  async journal() {
    const rows = await this.cluster.redis.call('XRANGE', this.cluster.key('journal'), '-', '+');
    return rows.map(([, fields]) => Object.fromEntries(fields.flatMap((word, i) => (i % 2 ? [] : [[word, fields[i + 1]]]))))
      .filter(({c}) => c === `/presence${HALL}`).map(({m}) => JSON.parse(m).data);
  }

  // What was told since the last time makes sense by itself, and is what these changes had to bring about.
  async judge(changes) {
    const all = await this.journal(), told = new Map(this.users.map(user => [user, []]));
    for (; this.judged < all.length; this.judged++) {
      const {event, user, users} = all[this.judged];
      const at = `${this.judged}: ${JSON.stringify(all.slice(Math.max(0, this.judged - 3), this.judged + 2))}`;
      if (event === 'join') {
        assert.ok(!this.present.has(user), at);
        if (this.present.size === 0) assert.equal(all[this.judged - 1].event, 'occupied', at);
        this.present.add(user);
      } else if (event === 'leave') {
        assert.ok(this.present.delete(user), at);
        if (this.present.size === 0) assert.equal(all[this.judged + 1].event, 'vacated', at);
      } else {
        assert.equal(this.present.size, 0, at);
      }
      assert.equal(users, event === 'occupied' ? 1 : this.present.size, at);
      if (user !== undefined) told.get(user).push(event);
    }
    for (const [user, {before, entered, began}] of changes) {
      const stayed = before.some(guest => this.guests.has(guest)), here = this.of(user).length > 0;
      const inTime = began === null || entered === null || entered - began < GRACE - 500;
      const expected = stayed ? [''] : before.length === 0 ? [here ? 'join' : ''] : !here ? ['leave'] : inTime ? [''] : ['', 'leave,join'];
      assert.ok(expected.includes(told.get(user).join()), `${user}: ${told.get(user)} instead of ${expected.join(' or ')}`);
      assert.equal(this.present.has(user), here, `${user} in the end`);
    }
  }
}

async function celebrate(t, {users, rounds, kill}) {
  needsRedis(t);
  const seed = Number(process.env.MORA_TEST_SEED) || Date.now() % 2 ** 31;
  t.onFailure(() => `MORA_TEST_SEED=${seed}`);
  t.log(`seed ${seed}`);
  const cluster = await startCluster(t, {nodes: 3, set: {...SET, 'broker.timeout': '1s', 'presence.grace': `${GRACE}ms`}});
  const [watcher] = await settleIn(t, cluster, 1, () => ({kind: Watcher, patterns: [`/presence${HALL}`]}));
  const party = new Party(t, cluster, users, dice(seed));
  await party.fill();
  for (let n = 0; n < rounds; n++) await party.round(kill(n) ? cluster.nodes[1 + n % 2] : null);
  const guests = [...party.guests];
  party.guests.clear();
  const changes = new Map(party.users.map(user => [user, {before: guests.filter(guest => guest.user === user), entered: null, began: null}]));
  for (const guest of guests) {
    await guest.stop();
    await insist(cluster, guest, guest.session.message.disconnect());
  }
  await party.settled();
  await party.judge(changes);
  const all = await party.journal();
  await watcher.heard.when(heard => heard.length >= all.length, 'the watcher to hear all');
  assert.deepEqual(watcher.heard.items, all, 'as the journal has it');
  assert.deepEqual([all[0].event, all.at(-1).event], ['occupied', 'vacated']);
  assert.ok(guests.every(({handshakes}) => handshakes === 1), 'no session was lost');
  await until(async () => (await cluster.redis.call('ZCARD', cluster.key('sessions'))) === 1, 'all other sessions to end', 60000);
  const left = (await cluster.redis.keys(cluster.key('*'))).filter(key => /:(here|users|joined|counted|leaving)\b/.test(key));
  assert.deepEqual(left, [], 'and nothing is left of them');
  t.log(`${all.length} messages`);
}

test('sessions that come, go, vanish and reload on three nodes of which one is killed', {timeout: 120000}, t =>
  celebrate(t, {users: 12, rounds: 2, kill: n => n === 1}));

test('when Redis has lost everything those who come back are present again', {timeout: 120000}, async t => {
  needsRedis(t);
  const cluster = await startCluster(t, {nodes: 2, set: {...SET, 'broker.timeout': '2s'}});
  const guests = await settleIn(t, cluster, 6, i => ({kind: Guest, user: `user ${i % 3}`, node: cluster.nodes[i % 2]}));
  const party = new Party(t, cluster, 0, dice(1));
  for (const guest of guests) party.guests.add(guest);
  await party.settled();
  await cluster.redis.call('FLUSHALL');
  await until(() => guests.every(({handshakes}) => handshakes === 2), 'all to shake hands again');
  await party.settled();
  const events = (await party.journal()).map(briefly);
  assert.deepEqual([events[0], ...events.slice(1).sort()], ['occupied', 'join user 0', 'join user 1', 'join user 2']);
});

test('when Redis goes back in time presence goes with the sessions, and gets right again', {timeout: 180000}, async t => {
  needsRedis(t);
  if (!long) t.skip('MORA_TEST_LONG=1 runs it');
  const cluster = await startCluster(t, {nodes: 2, set: {...SET, 'broker.timeout': '1s'}});
  const party = new Party(t, cluster, 5, dice(1)), [nobody, stays, leaves, joins, moves] = party.users;
  for (const user of [nobody, stays, stays, leaves, moves]) await party.enter(user, {});
  await party.settled();
  await cluster.redis.call('SAVE');
  for (const guest of [...party.of(leaves), ...party.of(moves)]) {
    party.guests.delete(guest);
    await guest.stop();
    await insist(cluster, guest, guest.session.message.disconnect());
  }
  for (const user of [joins, moves]) await party.enter(user, {});
  await party.settled();
  assert.equal((await party.journal()).at(-1).users, 4, 'who left is gone, who joined is there');
  await cluster.redis.kill();
  await cluster.redis.start();
  await until(async () => (await Promise.all(cluster.nodes.map(node => cluster.readiness(node)))).every(({ready}) => ready), 'the nodes to be ready');
  await party.settled();
  await party.judge(new Map());
  assert.deepEqual([...party.present].map(String).sort(), [nobody, stays, joins, moves].map(String).sort());
  assert.ok([...party.guests].every(({handshakes}) => handshakes === 1), 'no session was lost');
});

test('50 users with 3 sessions each, nodes killed again and again', {timeout: 900000}, t => {
  if (!long) t.skip('MORA_TEST_LONG=1 runs it');
  return celebrate(t, {users: 50, rounds: 12, kill: n => n % 3 !== 0});
});
