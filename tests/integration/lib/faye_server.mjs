// SPDX-License-Identifier: Apache-2.0
// Faye's own server behind the flags and log events of mora-broker, so that daemon.mjs can start
// either. It understands --set of broker.listen, broker.mounts, broker.timeout, broker.ping and
// admin.listen, and skips the rest. The admin listener has POST /v1/publish, straight to the engine.

import http from 'node:http';
import {createRequire} from 'node:module';

console.log = () => {};   // it prints what it cannot parse

const faye = createRequire(import.meta.url)('faye');

const set = {'broker.listen': ['127.0.0.1:0'], 'admin.listen': ['127.0.0.1:0'], 'broker.mounts': ['/bayeux'], 'broker.timeout': '10s'};
for (let i = 2; i < process.argv.length; i++) {
  if (process.argv[i] !== '--set') continue;
  const [, key, value] = /^([^=]*)=([^]*)$/.exec(process.argv[++i]);
  set[key] = JSON.parse(value);
}
const seconds = text => Number.parseFloat(text) * {ms: 0.001, s: 1, m: 60, h: 3600}[/[a-z]+$/.exec(text)[0]];

const adapter = new faye.NodeAdapter({
  mount: set['broker.mounts'][0], timeout: seconds(set['broker.timeout']),
  ...(set['broker.ping'] && {ping: seconds(set['broker.ping'])}),
});

function listen(server, listener, key) {
  const address = [].concat(set[key])[0];
  const colon = address.lastIndexOf(':');
  server.listen(Number(address.slice(colon + 1)), address.slice(0, colon), () => {
    const event = {level: 'info', event: 'listening', listener, address: `127.0.0.1:${server.address().port}`};
    process.stderr.write(JSON.stringify(event) + '\n');
  });
}

const answer = (response, status, value) =>
  response.writeHead(status, {'Content-Type': 'application/json'}).end(JSON.stringify(value));

const bayeux = http.createServer((request, response) =>
  request.url === '/readyz' ? answer(response, 200, {ready: true, reasons: []}) : answer(response, 404, {error: 'Not found'}));
adapter.attach(bayeux);

let position = 0;
const admin = http.createServer((request, response) => {
  if (request.url === '/readyz') return answer(response, 200, {ready: true, reasons: []});
  if (request.method !== 'POST' || request.url !== '/v1/publish') return answer(response, 404, {error: 'Not found'});
  let body = '';
  request.setEncoding('utf8').on('data', part => { body += part; }).on('end', () => {
    const value = JSON.parse(body);
    const outcomes = [].concat(value).map(({channel, data}) => {
      adapter._server._engine.publish({channel, data});
      return {position: ++position, epoch: 0, outcome: 'acknowledged'};
    });
    answer(response, 200, Array.isArray(value) ? outcomes : outcomes[0]);
  });
});

listen(bayeux, 'broker', 'broker.listen');
listen(admin, 'admin', 'admin.listen');
process.on('SIGTERM', () => process.exit(0));
