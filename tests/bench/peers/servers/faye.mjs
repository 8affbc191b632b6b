// SPDX-License-Identifier: Apache-2.0
// A Faye server as its documentation starts one:  faye.mjs PACKAGES PORT [REDIS_PORT]

import http from 'node:http';
import {createRequire} from 'node:module';

const [packages, port, redis] = process.argv.slice(2);
const load = createRequire(packages);
const faye = load('faye');

// timeout: the 45 seconds of Faye's documentation. No extensions, no logging, no permessage-deflate.
const options = {mount: '/faye', timeout: 45};
if (redis) options.engine = {type: load('faye-redis'), host: '127.0.0.1', port: Number(redis)};

const server = http.createServer();
new faye.NodeAdapter(options).attach(server);
server.listen({port: Number(port), host: '127.0.0.1', backlog: 4096});
process.on('SIGTERM', () => process.exit(0));
