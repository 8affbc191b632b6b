// SPDX-License-Identifier: Apache-2.0
// Clients that come from chosen addresses: another address of the loopback network, a unix socket, or
// behind a PROXY header.
//
//   new PollSession(url, {agent: from('127.0.0.2', {proxy: proxyV1('192.0.2.7', 99)})})
//   Wire.open(t, url, socketFrom('127.0.0.2', {proxy}))

import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';

// `proxy`: bytes that go in front. `path`: of a unix socket, in place of the URL's host and port. `keepAlive`: of an agent.
function connect(localAddress, {proxy, path, secure}, {host, port}) {
  const socket = path ? net.connect({path}) : net.connect({host, port, localAddress});
  if (proxy) socket.write(proxy);
  return secure ? tls.connect({socket, rejectUnauthorized: false}) : socket;
}

class PeerAgent extends http.Agent {
  constructor(localAddress, options) {
    super({keepAlive: options.keepAlive ?? true, maxSockets: 1});
    Object.assign(this, {localAddress, how: options});
  }
  createConnection(options) { return connect(this.localAddress, this.how, options); }
}

export function from(t, localAddress, options = {}) {
  const agent = new PeerAgent(localAddress, options);
  t.after(() => agent.destroy());
  return agent;
}

export const socketFrom = (localAddress, options = {}) =>
  ({createConnection: ({host, port}) => connect(localAddress, options, {host, port})});

export function proxyV1(ip, port) {
  return `PROXY ${net.isIPv6(ip) ? 'TCP6' : 'TCP4'} ${ip} ${net.isIPv6(ip) ? '::1' : '10.0.0.1'} ${port} 443\r\n`;
}

// IPv4; `extra` bytes follow the addresses, as a proxy's further fields do.
export function proxyV2(ip, port, extra = 0) {
  const head = Buffer.from([13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, (12 + extra) >> 8, (12 + extra) & 255]);
  const addresses = Buffer.from([...ip.split('.').map(Number), 10, 0, 0, 1, port >> 8, port & 255, 1, 187]);
  return Buffer.concat([head, addresses, Buffer.alloc(extra, 4)]);
}
