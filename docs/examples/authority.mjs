// SPDX-License-Identifier: Apache-2.0
// An authority for mora-broker (docs/authority.md), without packages: node authority.mjs PORT
import http from 'node:http';

const users = new Map([['token-of-ann', 'ann'], ['token-of-bob', 'bob']]);
const rooms = new Map([
  ['/rooms/1', {members: ['ann', 'bob'], texts: ['hello']}],
  ['/rooms/2', {members: ['ann'], texts: []}],
]);
const deny = error => ({allow: false, error});

function decide({verb, user, channel, data, ext}) {
  if (verb === 'handshake') {
    const name = users.get(ext?.token);
    return name ? {allow: true, user: name} : deny('401::Invalid access token');
  }
  const room = rooms.get(channel);
  if (!room?.members.includes(user)) return deny('403::Not a member');
  if (verb === 'subscribe') return {allow: true, ext: {snapshot: room.texts}};
  if (typeof data?.text !== 'string' || data.text.includes('spam')) return deny('403::No spam');
  room.texts.push(data.text);
  return {allow: true};
}

const server = http.createServer(async (request, response) => {
  try {
    const parts = [];
    for await (const part of request) parts.push(part);
    const {requests} = JSON.parse(Buffer.concat(parts));
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({answers: requests.map(decide)}));
  } catch (error) {
    response.writeHead(500).end(String(error));   // the broker answers its clients: unavailable
  }
});
server.listen(Number(process.argv[2] ?? 8020), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
