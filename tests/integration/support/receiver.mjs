// SPDX-License-Identifier: Apache-2.0
// A back end that a webhook tells: it keeps what it took, and does to requests what a test says.

import {createHash, createHmac} from 'node:crypto';
import http from 'node:http';
import {Feed} from '../lib/wait.mjs';

export const WEBHOOK_SECRET = 'what the webhook is signed with';
export const signatureOf = (time, body, secret = WEBHOOK_SECRET) => createHmac('sha256', secret).update(`${time}.${body}`).digest('hex');
export const publicName = clientId => createHash('sha256').update(clientId).digest('hex').slice(0, 32);

// receiver.respond(response, events) -> true: it has dealt with it, nothing is kept. `attempts`: every request.
export async function startReceiver(t) {
  const receiver = {taken: new Feed(), attempts: new Feed(), respond: null};
  const server = http.createServer(async (request, response) => {
    const parts = [];
    try { for await (const part of request) parts.push(part); } catch { return; }
    const body = Buffer.concat(parts).toString();
    const {events} = JSON.parse(body);
    receiver.attempts.push({headers: request.headers, method: request.method, body, events});
    if (receiver.respond?.(response, events)) return;
    response.end();
    receiver.taken.push(...events);
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  receiver.url = `http://127.0.0.1:${server.address().port}/events`;
  receiver.options = {'events.webhook.url': receiver.url, 'events.webhook.secret': WEBHOOK_SECRET, 'events.webhook.timeout': '1s',
                      'events.webhook.pause': '400ms'};
  receiver.ids = () => receiver.taken.items.map(({id}) => id);
  return receiver;
}
