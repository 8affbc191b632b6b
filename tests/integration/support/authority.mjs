// SPDX-License-Identifier: Apache-2.0
// An authority that does as a test says; what it was asked is in `calls`, `asked`.

import http from 'node:http';
import {Feed} from '../lib/wait.mjs';

// `script` (an object, to be changed): answer(question) -> an answer, or respond(request, response, questions).
export async function startScripted(t, script = {}) {
  const calls = new Feed();
  const state = {script, calls, open: 0, most: 0, get asked() { return calls.items.flatMap(({requests}) => requests); }};
  const server = http.createServer(async (request, response) => {
    state.most = Math.max(state.most, ++state.open);
    response.on('close', () => state.open--);
    const parts = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString();
    const {requests} = JSON.parse(text || '{"requests":[]}');
    calls.push({requests, headers: request.headers, method: request.method, url: request.url, port: request.socket.remotePort});
    if (state.script.respond) { await state.script.respond(request, response, requests); return; }
    const decide = state.script.answer ?? (() => ({allow: true, user: 'ann'}));
    response.end(JSON.stringify({answers: await Promise.all(requests.map(decide))}));
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return Object.assign(state, {url: `http://127.0.0.1:${server.address().port}/decide`});
}
