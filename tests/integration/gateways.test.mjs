// SPDX-License-Identifier: Apache-2.0
// mora-api and mora-web as programs see them: schema, outcomes, tokens, what reaches the broker.
// Outcomes that a healthy broker does not show come from a listener that is told what to answer.

import assert from 'node:assert/strict';
import http from 'node:http';
import faye from 'faye';
import {test} from './lib/suite.mjs';
import {startBroker, startApi, startWeb, run, target} from './lib/daemon.mjs';
import {openJson, postJson, getJson, request} from './lib/http.mjs';
import {Feed, until, within} from './lib/wait.mjs';
import {fakeAdmin, EPOCH} from './support/admin.mjs';

const ready = (daemon, listener) =>
  until(async () => (await getJson(daemon.url(listener, '/readyz'))).status === 200, `${daemon.name} to be ready`);

async function apiOn(t, set = {}) {
  const admin = await fakeAdmin(t);
  const api = await startApi(t, admin, {set});
  return {admin, api, publish: (body, options) => postJson(api.url('api', '/v1/publish'), body, options)};
}

// A number of /metrics.
async function metric(daemon, name, headers = {}) {
  const {text} = await getJson(daemon.url('api', '/metrics'), {headers});
  const match = new RegExp(`^${name} (\\S+)$`, 'm').exec(text);
  assert.ok(match, `${name} is not in the metrics`);
  return Number(match[1]);
}

const entry = (channel = '/a', data = 1) => ({channel, data});

// -- POST /v1/publish ------------------------------------------------------------------------------

test('a published entry reaches the broker with the bytes of its data', async t => {
  const {admin, publish} = await apiOn(t);
  const data = '{"z":1.10,"n":12345678901234567890,"a":"\\u00e9\\/\\ud800", "l":[ 1 ,2]}';
  const answer = await publish(`{"data":${data},"id":"k","channel":"\\/a\\/b","ext":{"e":1}}`);
  assert.equal(answer.status, 200);
  assert.deepEqual(Object.keys(answer.json), ['position', 'epoch', 'outcome']);
  assert.equal(answer.json.outcome, 'acknowledged');
  assert.equal(answer.json.epoch, EPOCH);
  assert.equal(admin.requests.items[0].body, `[{"channel":"/a/b","data":${data},"ext":{"e":1},"id":"k"}]`);
});

test('a list is answered slot for slot, a bad entry spoils its own', async t => {
  const {admin, publish} = await apiOn(t);
  const answer = await publish([entry('/a'), entry('/b/*'), entry('/meta/x'), {channel: '/c'}, entry('/d')]);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json.map(slot => slot.outcome), ['acknowledged', undefined, undefined, undefined, 'acknowledged']);
  assert.equal(answer.json[4].position, answer.json[0].position + 1);
  for (const slot of answer.json.slice(1, 4)) assert.deepEqual(Object.keys(slot), ['error']);
  assert.deepEqual(admin.requests.items[0].items.map(item => item.channel), ['/a', '/d']);
  assert.deepEqual((await publish([])).json, []);
  assert.equal(admin.requests.length, 1);
});

test('a single bad entry is 400, too many are 413, and neither reaches the broker', async t => {
  const {admin, publish} = await apiOn(t);
  for (const body of [entry('/a/*'), entry('/meta/x'), {channel: '/a'}, entry('a'), {...entry(), client: 1},
                      {...entry(), id: 'x'.repeat(65)}, '{"channel":"/a","data":', '7', '']) {
    const answer = await publish(body);
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.deepEqual(Object.keys(answer.json), ['error']);
  }
  const many = await publish(Array.from({length: 1001}, () => entry()));
  assert.equal(many.status, 413);
  assert.ok(many.json.error);
  assert.equal((await publish(Array.from({length: 1000}, () => entry()))).json.length, 1000);
  assert.equal(admin.requests.length, 1);
});

test('a body over the limit is 413', async t => {
  const {publish, api} = await apiOn(t);
  // Only its length is said: the answer does not wait for the bytes.
  const large = http.request(api.url('api', '/v1/publish'), {method: 'POST', headers: {'content-length': 5 << 20}});
  const answer = new Promise((resolve, reject) => large.once('response', resolve).once('error', reject));
  large.flushHeaders();
  assert.equal((await within(answer, 'the refusal')).statusCode, 413);
  large.destroy();
  assert.equal((await publish(entry())).status, 200);
  assert.equal((await getJson(api.url('api', '/v1/publish'))).status, 405);
  assert.equal((await getJson(api.url('api', '/v1/nothing'))).status, 404);
});

test('an entry over limits.message is 413 through mora-api as at the broker, in a list its slot says so', async t => {
  const broker = await startBroker(t);
  const api = await startApi(t, broker);
  await ready(api, 'api');
  const large = entry('/a', 'x'.repeat(70000));
  for (const url of [broker.admin('/v1/publish'), api.url('api', '/v1/publish')]) {
    const {status, json} = await postJson(url, large);
    assert.equal(status, 413);
    assert.deepEqual(Object.keys(json), ['error']);
    const list = await postJson(url, [large, entry()]);
    assert.equal(list.status, 200);
    assert.deepEqual(list.json.map(slot => slot.outcome ?? slot), [json, 'acknowledged']);
  }
});

test('three outcomes: what the broker said, or did not say', async t => {
  const {admin, publish} = await apiOn(t, {'api.timeout': '500ms'});
  const refused = {status: 503, json: {outcome: 'refused', error: '503:/a:Not published'}};
  const unknown = {status: 504, json: {outcome: 'unknown', error: '504:/a:Outcome unknown'}};
  const rows = [
    [{status: 503}, refused], [{status: 401}, refused], [{status: 413}, refused],
    [{status: 500}, unknown], [{status: 504}, unknown], [{destroy: true}, unknown],
    [{text: 'nonsense'}, unknown], [{body: []}, unknown], [{body: [1]}, unknown],
    [{body: [{outcome: 'acknowledged'}]}, unknown],
    [{body: [{outcome: 'acknowledged', position: 1.5, epoch: 1}]}, unknown],
    [{body: [{outcome: 'refused', error: '503:/a:It says why'}]}, {status: 503, json: {outcome: 'refused', error: '503:/a:It says why'}}],
    [{body: [{outcome: 'unknown', error: '504:/a:Outcome unknown'}]}, unknown],
    [{body: [{error: 'no such thing'}]}, {status: 400, json: {error: 'no such thing'}}],
    [{body: [{error: 'data: too large'}]}, {status: 413, json: {error: 'data: too large'}}],
  ];
  for (const [told, expected] of rows) {
    admin.answer = () => told;
    const {status, json} = await publish(entry());
    assert.deepEqual({status, json}, expected, JSON.stringify(told));
  }
  const release = admin.hold();   // no answer in time
  const late = await publish([entry('/a'), entry('/b')]);
  release();
  assert.equal(late.status, 200);
  assert.deepEqual(late.json.map(slot => slot.error), ['504:/a:Outcome unknown', '504:/b:Outcome unknown']);
});

test('a broker that is not there refuses, and is found again', async t => {
  const {admin, api, publish} = await apiOn(t);
  await admin.stop();
  const gone = await publish(entry());
  assert.equal(gone.status, 503);
  assert.deepEqual(gone.json, {outcome: 'refused', error: '503:/a:Not published'});
  const state = await until(async () => {
    const answer = await getJson(api.url('api', '/readyz'));
    return answer.status === 503 && answer;
  }, 'mora-api not to be ready');
  assert.equal(state.json.ready, false);
  assert.match(state.json.reasons[0], /broker/);
  assert.equal((await getJson(api.url('api', '/healthz'))).status, 200);
  await admin.start();
  await ready(api, 'api');
  assert.equal((await publish(entry())).status, 200);
});

test('what comes while a request is under way waits, in order and within bounds', async t => {
  const {admin, api, publish} = await apiOn(t);
  const waiting = n => until(async () => await metric(api, 'mora_publisher_waiting') === n, `${n} to wait`);
  const release = admin.hold();
  const first = publish(entry('/first'));
  await admin.requests.count(1);
  const fill = Array.from({length: 999}, (_, n) => entry('/fill', n));
  const list = publish(fill);
  await waiting(999);
  const last = publish(entry('/last', 999));
  await waiting(1000);
  const overflow = await publish(entry('/overflow'));
  assert.equal(overflow.status, 503);
  assert.equal(overflow.json.outcome, 'refused');
  assert.equal(await metric(api, 'mora_publisher_overflows_total'), 1);
  release();
  assert.equal((await first).status, 200);
  assert.ok((await list).json.every(slot => slot.outcome === 'acknowledged'));
  assert.equal((await last).status, 200);
  assert.equal(admin.requests.length, 2);
  assert.deepEqual(admin.requests.items[1].items.map(item => item.data), Array.from({length: 1000}, (_, n) => n));
});

test('a client that leaves before its answer harms nobody', async t => {
  const {admin, api, publish} = await apiOn(t);
  const release = admin.hold();
  const connections = () => metric(api, 'mora_connections');
  const before = await connections();
  const left = openJson(api.url('api', '/v1/publish'), entry('/left'));
  await admin.requests.count(1);
  await left.reset();
  await until(async () => await connections() <= before, 'the reset to be noticed');
  release();
  assert.equal((await publish(entry('/next'))).status, 200);
  assert.equal(await metric(api, 'mora_publish_abandoned_total'), 1);
});

test('SIGTERM: what is under way is answered first', async t => {
  const {admin, api, publish} = await apiOn(t);
  const release = admin.hold();
  const pending = publish(entry());
  await admin.requests.count(1);
  const stopped = api.stop();
  await api.log.find(event => event.event === 'draining', 'the drain');
  release();
  assert.equal((await pending).status, 200);
  await stopped;
});

// -- tokens ----------------------------------------------------------------------------------------

test('tokens: any of the list, by their exact bytes', async t => {
  const {api, publish} = await apiOn(t, {'api.tokens': ['first-token', 'second-token']});
  const withToken = authorization => publish(entry(), {headers: authorization ? {authorization} : {}});
  for (const good of ['Bearer first-token', 'bearer second-token']) assert.equal((await withToken(good)).status, 200, good);
  for (const bad of [null, 'Bearer first-toke', 'Bearer first-tokenx', 'Bearer ', 'Basic first-token', 'first-token', 'Bearer FIRST-TOKEN',
                     `Bearer ${'x'.repeat(2000)}`]) {
    const answer = await withToken(bad);
    assert.equal(answer.status, 401, String(bad));
    assert.ok(answer.json.error);
    assert.equal(answer.headers['www-authenticate'], 'Bearer');
  }
  assert.equal((await postJson(api.url('api', '/v1/rooms/r/chatMessages'), {text: 'x'})).status, 401);
  assert.equal((await getJson(api.url('api', '/metrics'))).status, 401);
  const counted = name => metric(api, name, {authorization: 'Bearer first-token'});
  assert.equal(await counted('mora_publish_unauthorized_total'), 8);
  assert.equal(await counted('mora_chat_unauthorized_total'), 1);
  // A page's request carries no token, so with tokens its origin does not matter.
  const page = await publish(entry(), {headers: {authorization: 'Bearer first-token', origin: 'https://app.example'}});
  assert.equal(page.status, 200);
});

test('without tokens pages of other sites are refused, and names that are not this machine', async t => {
  const {admin, publish} = await apiOn(t);
  const sent = headers => publish(entry(), {headers}).then(answer => answer.status);
  assert.equal(await sent({origin: 'https://evil.example'}), 403);
  assert.equal(await sent({origin: 'null'}), 403);
  assert.equal(await sent({host: 'evil.example', origin: 'http://evil.example'}), 403);
  assert.equal(await sent({host: 'evil.example'}), 403);
  assert.equal(admin.requests.length, 0);
  assert.equal(await sent({host: 'localhost:8002'}), 200);
  assert.equal(await sent({host: 'localhost:8002', origin: 'http://localhost:8002'}), 200);
});

test('an open API off loopback does not start', async () => {
  const {code, stderr} = await run('mora-api', ['--set', 'api.listen=0.0.0.0:0']);
  assert.equal(code, 2);
  assert.match(stderr, /--set: api\.listen: .*set api\.tokens/);
});

test('an address that is taken, or one too many, ends the start with an event that names it', async t => {
  const {api} = await apiOn(t);
  const taken = api.address('api');
  const many = JSON.stringify(Array.from({length: 17}, () => '127.0.0.1:0'));
  for (const [program, key] of [['mora-api', 'api'], ['mora-web', 'web']]) {
    for (const [listen, address, why] of [[taken, taken, /in use/], [many, '127.0.0.1:0', /too many addresses/]]) {
      const {code, stderr} = await run(program, ['--set', 'logging.format=json', '--set', `${key}.listen=${listen}`]);
      assert.equal(code, 1);
      const events = stderr.trim().split('\n').map(line => JSON.parse(line));
      assert.equal(events[0].event, 'start');
      const failed = events.find(({event}) => event === 'listen.failed');
      assert.deepEqual([failed.listener, failed.address], [key, address]);
      assert.match(failed.error, why);
      assert.deepEqual([events.at(-1).event, events.at(-1).requests], ['stop', 0]);
    }
  }
});

test('the token for the broker is presented', async t => {
  const {admin, publish} = await apiOn(t, {'api.publish_token': 'to-the-broker'});
  await publish(entry());
  assert.equal(admin.requests.items[0].headers.authorization, 'Bearer to-the-broker');
});

// -- chat ------------------------------------------------------------------------------------------

test('a chat message becomes an event with a model', async t => {
  const {admin, api} = await apiOn(t);
  const before = Date.now();
  const answer = await postJson(api.url('api', '/v1/rooms/5f1e2d3c4b5a69788796a5b4/chatMessages'), {text: 'Grüße \u{1f600}'});
  assert.equal(answer.status, 200);
  const model = answer.json;
  assert.deepEqual(Object.keys(model), ['id', 'text', 'sent', 'fromUser']);
  assert.match(model.id, /^[0-9a-f]{24}$/);
  assert.ok(Math.abs(parseInt(model.id.slice(0, 8), 16) - before / 1000) < 300);
  assert.equal(model.text, 'Grüße \u{1f600}');
  assert.match(model.sent, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Math.abs(Date.parse(model.sent) - before) < 300000);
  assert.deepEqual(Object.keys(model.fromUser), ['id', 'username', 'displayName']);
  assert.equal(model.fromUser.username, 'guest');
  const [item] = admin.requests.items[0].items;
  assert.equal(item.channel, '/api/v1/rooms/5f1e2d3c4b5a69788796a5b4/chatMessages');
  assert.equal(item.id, model.id);
  assert.deepEqual(item.data, {operation: 'create', model});
});

test('ids of one process grow, and equal names are equal users', async t => {
  const {api} = await apiOn(t);
  const post = username => postJson(api.url('api', '/v1/rooms/r/chatMessages'), {text: 'x', fromUser: {username, displayName: 'D'}})
    .then(answer => answer.json);
  const models = [];
  for (const name of ['ann', 'bob', 'ann']) models.push(await post(name));
  assert.deepEqual(models.map(model => model.id), models.map(model => model.id).sort());
  assert.equal(new Set(models.map(model => model.id)).size, 3);
  assert.deepEqual(models[0].fromUser, models[2].fromUser);
  assert.notEqual(models[0].fromUser.id, models[1].fromUser.id);
  assert.equal(models[0].fromUser.displayName, 'D');
});

test('chat messages that are refused', async t => {
  const {admin, api} = await apiOn(t);
  const post = (body, room = 'r') => postJson(api.url('api', `/v1/rooms/${room}/chatMessages`), body);
  assert.equal((await post({text: '\u{1f600}'.repeat(4096)})).status, 200);
  assert.equal((await post({text: 'x', status: true})).status, 200);
  for (const body of [{}, {text: ''}, {text: 7}, {text: 'x'.repeat(4097)}, [], '{', '', '{"text":"\xff"', {text: 'x', fromUser: 1},
                      {text: 'x', fromUser: {username: ''}}, {text: 'x', fromUser: {username: 'x'.repeat(65)}}]) {
    const answer = await post(body);
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.ok(answer.json.error);
  }
  for (const room of ['*', '**', 'a.b', 'a%20b', 'x'.repeat(129)]) assert.equal((await post({text: 'x'}, room)).status, 400, room);
  assert.ok([400, 404].includes((await post({text: 'x'}, 'a%2Fb')).status));   // decoded it is another path
  assert.equal(admin.requests.length, 2);
  assert.equal(await metric(api, 'mora_chat_created_total'), 2);
  assert.equal(await metric(api, 'mora_chat_bad_total'), 16);
});

test('a chat message that was not, or perhaps not, published', async t => {
  const {admin, api} = await apiOn(t);
  for (const status of [503, 504]) {
    admin.answer = () => ({status});
    const answer = await postJson(api.url('api', '/v1/rooms/r/chatMessages'), {text: 'x'});
    assert.equal(answer.status, status);
    assert.ok(answer.json.error);
  }
  for (const [name, value] of Object.entries({chat_posts: 2, chat_created: 0, chat_failed: 2, publisher_requests: 2, publisher_items: 2,
                                              publisher_refused: 1, publisher_unknown: 1}))
    assert.equal(await metric(api, `mora_${name}_total`), value, name);
});

// -- mora-web --------------------------------------------------------------------------------------

async function webOn(t, set = {}) {
  const {admin, api} = await apiOn(t);
  const web = await startWeb(t, api, {set});
  const post = (body, headers = {}, room = 'r') => postJson(web.url('web', `/rooms/${room}/messages`), body, {headers});
  return {admin, api, web, post};
}

test('the room page: escaped, without inline scripts, allowed to reach its broker only', async t => {
  const {web} = await webOn(t, {'web.broker': 'https://b.example:8000/bayeux'});
  const page = await getJson(web.url('web', '/rooms/a-b_(c)'));
  assert.equal(page.status, 200);
  assert.equal(page.headers['content-type'], 'text/html; charset=utf-8');
  assert.match(page.text, /data-room="a-b_\(c\)" data-broker="https:\/\/b\.example:8000\/bayeux"/);
  assert.doesNotMatch(page.text, /<script(?![^>]* src=)|\son\w+=|style=|\{\{/);
  const policy = page.headers['content-security-policy'];
  assert.match(policy, /script-src 'self' https:\/\/b\.example:8000;/);
  assert.match(policy, /connect-src 'self' https:\/\/b\.example:8000 wss:\/\/b\.example:8000;/);
  assert.doesNotMatch(policy, /unsafe/);
  for (const room of ['%3Cscript%3E', 'a.b', '%22x']) {
    const answer = await getJson(web.url('web', `/rooms/${room}`));
    assert.equal(answer.status, 404);
    assert.doesNotMatch(answer.text, /script>/);
  }
  const root = await getJson(web.url('web', '/'));
  assert.equal(root.status, 302);
  assert.equal(root.headers.location, '/rooms/lobby');
});

test('static files: known ones only, asked again cheaply', async t => {
  const {web} = await webOn(t);
  for (const [name, type] of [['room.js', /^text\/javascript/], ['room.css', /^text\/css/], ['faye.js', /^text\/javascript/], ['icon.svg', /^image\/svg/]]) {
    const file = await getJson(web.url('web', `/static/${name}`));
    assert.equal(file.status, 200, name);
    assert.match(file.headers['content-type'], type);
    assert.equal(file.headers['x-content-type-options'], 'nosniff');
    const again = await getJson(web.url('web', `/static/${name}`), {headers: {'if-none-match': file.headers.etag}});
    assert.equal(again.status, 304);
    assert.equal(again.text, '');
  }
  for (const path of ['/static/', '/static/none.js', '/static/room.html', '/static/../../etc/passwd'])
    assert.equal((await request(web.url('web', path))).status, 404, path);
  for (const path of ['/static/..%2Froom.js', '/static/%00'])
    assert.equal((await request(web.url('web', path))).status, 400, path);
  const head = await request(web.url('web', '/static/room.js'), {method: 'HEAD'});
  assert.equal(head.status, 200);
  assert.equal(head.text, '');
});

test('a post of the page goes through mora-api, one of another site goes nowhere', async t => {
  const {admin, web, post} = await webOn(t);
  const origin = web.url('web');
  const good = await post({text: 'hello', fromUser: {username: 'ann'}}, {origin, 'sec-fetch-site': 'same-origin'});
  assert.equal(good.status, 200);
  assert.equal(good.json.fromUser.username, 'ann');
  assert.equal(admin.requests.items[0].items[0].data.model.id, good.json.id);
  assert.equal((await post({text: ''})).status, 400);
  assert.equal((await post({text: 'x'}, {origin: 'https://evil.example'})).status, 403);
  assert.equal((await post({text: 'x'}, {origin: 'null'})).status, 403);
  assert.equal((await post({text: 'x'}, {origin, 'sec-fetch-site': 'cross-site'})).status, 403);
  assert.equal((await post({text: 'x'}, {'content-type': 'text/plain'})).status, 415);
  assert.equal((await post({text: 'x'}, {}, 'a.b')).status, 400);
  assert.equal((await post({text: 'x'.repeat(100000)})).status, 413);
  assert.equal(admin.requests.length, 1);
});

test('a post while mora-api is away says so', async t => {
  const {api, web, post} = await webOn(t);
  await api.stop();
  const answer = await post({text: 'x'});
  assert.equal(answer.status, 503);
  assert.match(answer.json.error, /not published/);
  await until(async () => (await getJson(web.url('web', '/readyz'))).status === 503, 'mora-web not to be ready');
  assert.equal((await getJson(web.url('web', '/rooms/r'))).status, 200);
  await api.start();
  await ready(web, 'web');
  assert.equal((await post({text: 'x'})).status, 200);
});

test('a folder without the files does not start', async () => {
  const {code, stderr} = await run('mora-web', ['--set', 'web.listen=127.0.0.1:0', '--set', 'web.static=/nowhere']);
  assert.equal(code, 2);
  assert.match(stderr, /--set: web\.static: \/nowhere: No such file/);
});

// -- the whole way ---------------------------------------------------------------------------------

test('from mora-web to a Faye client', async t => {
  if (target === 'faye') t.skip('Faye has no admin listener of ours');
  const broker = await startBroker(t);
  const api = await startApi(t, broker);
  const web = await startWeb(t, api, {set: {'web.broker': broker.bayeux}});
  const client = new faye.Client(broker.bayeux, {retry: 1});
  t.after(() => client.disconnect());
  const events = new Feed(), raw = new Feed();
  const subscribe = (pattern, feed) =>
    new Promise((resolve, reject) => client.subscribe(pattern, data => feed.push(data)).then(resolve, reject));
  await subscribe('/api/v1/rooms/**', events);
  await subscribe('/raw', raw);
  const one = (await postJson(api.url('api', '/v1/rooms/r/chatMessages'), {text: 'by curl'})).json;
  const two = (await postJson(web.url('web', '/rooms/r/messages'), {text: 'by the page'})).json;
  const list = await postJson(api.url('api', '/v1/publish'), [entry('/raw', {a: 1}), entry('/raw/*'), entry('/raw', 'two')]);
  assert.deepEqual(list.json.map(slot => slot.outcome), ['acknowledged', undefined, 'acknowledged']);
  assert.equal(list.json[2].position, list.json[0].position + 1);
  await raw.count(2);
  assert.deepEqual(raw.items, [{a: 1}, 'two']);
  await events.count(2);
  assert.deepEqual(events.items, [{operation: 'create', model: one}, {operation: 'create', model: two}]);
  // A message id is an idempotency key: what was published under it is not published again.
  const again = await postJson(broker.admin('/v1/publish'), {channel: '/raw', data: 'again', id: one.id});
  assert.equal(again.status, 200);
  await postJson(broker.admin('/v1/publish'), {channel: '/raw', data: 'last'});
  await raw.find(data => data === 'last', 'the last');
  assert.deepEqual(raw.items, [{a: 1}, 'two', 'last']);
});
