// SPDX-License-Identifier: Apache-2.0
// Takes mora-broker's life-cycle events (docs/events.md), without packages: SECRET=... node webhook.mjs PORT
import {createHmac, timingSafeEqual} from 'node:crypto';
import http from 'node:http';

const secret = process.env.SECRET ?? '';
const seen = new Set();   // ids; in earnest: a table with a unique key, of the last day

function isGenuine(header, body) {
  const fields = header.split(',').map(part => part.split('='));
  const time = fields.find(([name]) => name === 't')?.[1];
  if (!(Math.abs(Date.now() / 1000 - time) < 300)) return false;   // an old one, sent again by somebody
  const expected = createHmac('sha256', secret).update(`${time}.${body}`).digest();
  return fields.some(([name, value]) => {
    const given = Buffer.from(value ?? '', 'hex');
    return name === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const server = http.createServer(async (request, response) => {
  const parts = [];
  try { for await (const part of request) parts.push(part); } catch { return response.destroy(); }   // it was cut off
  const body = Buffer.concat(parts);
  if (!isGenuine(request.headers['mora-signature'] ?? '', body)) return response.writeHead(401).end();
  for (const {id, event, session, user, channel, reason} of JSON.parse(body).events) {
    if (seen.has(id)) continue;   // told before
    seen.add(id);
    console.log(event, session, user ?? '-', channel ?? reason ?? '');
  }
  return response.end();   // 200: all of them are kept
});
server.listen(Number(process.argv[2] ?? 8021), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
