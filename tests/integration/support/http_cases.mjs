// SPDX-License-Identifier: Apache-2.0
// Requests, right and wrong, and what RFC 9110 and 9112 have a server do with them, as a table.
//
//   name, bytes   what is sent, or a function that makes it of the largest body; %H is the listener's "host:port", %G a path that answers GET with 200,
//                 %P one that takes POST, %B a body for it, %L its length, %C the same in one chunk
//   answers       alternatives, separated by "|": the statuses that come in order, "ok" for that of a
//                 good POST, and "end" when the server has to close the connection by itself.
//                 Without "end" the connection is good for another request, which is tried.
//   counts        the number of /metrics that has to move; `bad` and `large` below
//   finish        the client sends its end of stream behind the bytes
//   head          answers to HEAD: no bodies
//
// "/smuggled" is in no answer: a request inside what is a body, or behind what is refused, is not run.

export const cases = [];
export const counters = {bad: 'mora_http_bad_requests_total', large: 'mora_http_too_large_total'};

const add = (name, bytes, answers, more = {}) => cases.push({name, bytes, answers, ...more});
const refused = (name, bytes, more = {}) => add(name, bytes, '400 end', {counts: 'bad', ...more});

const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: %H\r\n\r\n';
const get = (fields = '', line = 'GET %G HTTP/1.1') => `${line}\r\nHost: %H\r\n${fields}\r\n`;
const post = (fields, body = '') => `POST %P HTTP/1.1\r\nHost: %H\r\nContent-Type: application/json\r\n${fields}\r\n${body}`;
const chunks = (body, fields = 'Transfer-Encoding: chunked\r\n') => post(fields, body);

// -- request lines ---------------------------------------------------------------------------------

add('a plain request', get(), '200');
add('empty lines in front of it', `\r\n${get()}`, '200');
add('an absolute address', get('', 'GET http://%H%G HTTP/1.1'), '200');
add('HTTP/1.0 needs no Host and is closed', 'GET %G HTTP/1.0\r\n\r\n', '200 end');
add('HTTP/1.0 that asks to be kept', 'GET %G HTTP/1.0\r\nHost: %H\r\nConnection: keep-alive\r\n\r\n', '200');
add('a later minor version', get('', 'GET %G HTTP/1.2'), '200');
for (const line of ['GET %G HTTP/2.0', 'GET %G HTTP/0.9', 'GET %G HTTP/9.9']) add(line, get('', line), '505 end', {counts: 'bad'});
for (const line of ['GET %G HTTP/1.1x', 'GET %G HTTP/11', 'GET %G http/1.1', 'GET %G HTP/1.1', 'GET %G HTTP/1,1', 'GET %G HTTP/1.', 'GET %G HTTP/', 'GET %G HTTP/01.1',
                    'GET  %G HTTP/1.1', 'GET %G  HTTP/1.1', 'GET\t%G\tHTTP/1.1', 'GET %G HTTP/1.1 ', 'GET %G x HTTP/1.1', ' GET %G HTTP/1.1',
                    'GET healthz HTTP/1.1', 'GET ?x HTTP/1.1', 'GET %G#fragment HTTP/1.1', 'GET %G\x01 HTTP/1.1', 'GET %G\x7f HTTP/1.1',
                    'GET %G%zz HTTP/1.1', 'GET %G%4 HTTP/1.1', 'GET %G%00 HTTP/1.1', 'GET %G%0d%0aX:%20y HTTP/1.1', 'G@T %G HTTP/1.1', 'GET: %G HTTP/1.1', '%G', 'GET', 'GET HTTP/1.1'])
  add(JSON.stringify(line), get('', line) + NEXT, '400 end', {counts: 'bad'});
refused('HTTP/0.9', 'GET %G\r\n' + NEXT);
refused('a NUL in the address', get('', 'GET %G\0 HTTP/1.1') + NEXT);
for (const method of ['get', 'Get', 'BREW', 'TRACE', 'PROPFIND', 'GETGETGETGETGETGETGETGETGETGET'])
  add(`the method ${method}`, get('', `${method} %G HTTP/1.1`) + NEXT, '501 end', {counts: 'bad'});
add('CONNECT', `CONNECT %H HTTP/1.1\r\nHost: %H\r\n\r\n${NEXT}`, '501 end', {counts: 'bad'});
add('OPTIONS *', get('', 'OPTIONS * HTTP/1.1'), '400 end', {counts: 'bad'});
refused('GET *', get('', 'GET * HTTP/1.1') + NEXT);
add('an unknown path', get('', 'GET /nowhere HTTP/1.1'), '404', {counts: 'bad'});
add('a method that the path does not have', get('', 'DELETE %G HTTP/1.1'), '405', {counts: 'bad'});
for (const path of ['/../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/x/../..%2fetc/passwd', '//etc/passwd', '/\\etc\\passwd', '/static/../../etc/passwd', '/static/%2e%2e%2fmain.c'])
  add(`the path ${path}`, get('', `GET ${path} HTTP/1.1`), '404 | 400 end', {counts: 'bad'});
add('the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', '501 end', {counts: 'bad'});
add('TLS', Buffer.from('16030100c4010000c00303', 'hex').toString('latin1') + '\x5a'.repeat(190), '400 end', {counts: 'bad'});
add('SSH', 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n', '501 end', {counts: 'bad'});
add('bytes without sense', Buffer.from(Array.from({length: 300}, (_, i) => (i * 197 + 31) & 255)).toString('latin1') + '\r\n\r\n', '400 end', {counts: 'bad'});
add('an address of 20 KB', get('', `GET %G?${'x'.repeat(20000)} HTTP/1.1`), '414 end', {counts: 'large'});

// -- fields ----------------------------------------------------------------------------------------

refused('no Host', `GET %G HTTP/1.1\r\n\r\n${NEXT}`);
refused('two Hosts', get('Host: %H\r\n') + NEXT);
refused('two Hosts that differ', get('Host: other\r\n') + NEXT);
for (const host of ['a b', 'a/b', 'a,b', 'a?b', 'a@b', '%H, other', 'http://%H', '[::1', 'a:b', 'a:1:2'])
  add(`Host: ${host}`, `GET %G HTTP/1.1\r\nHost: ${host}\r\n\r\n${NEXT}`, '400 end', {counts: 'bad'});
refused('a folded field', get('X-Folded: a\r\n b\r\n') + NEXT);
refused('a folded first field', `GET %G HTTP/1.1\r\n Host: %H\r\n\r\n${NEXT}`);
refused('a folded Content-Length', post('Content-Length:\r\n 5\r\n', 'hello') + NEXT);
for (const field of ['X : y', 'X\t: y', ' X: y', ': y', 'X', 'X Y: z', 'X(: y', 'X"y: z', 'X\0: y', 'X\x01: y', 'X\x7f: y', 'X\xe9: y', 'X@: y', '{X}: y'])
  refused(`the field ${JSON.stringify(field)}`, get(`${field}\r\n`) + NEXT);
for (const value of ['a\0b', '\0', 'a\rb', 'a\x01b', 'a\x08b', 'a\x0bb', 'a\x1bb', 'a\x7fb'])
  refused(`the value ${JSON.stringify(value)}`, get(`X: ${value}\r\n`) + NEXT);
for (const value of ['', ' ', '\t', 'a\tb', ' a ', 'a\x80b\xff', '"quoted, with: all"', '%00', '()<>@,;:\\"/[]?={}'])
  add(`the value ${JSON.stringify(value)}`, get(`X:${value}\r\n`), '200');
add('names in any case', 'GET %G HTTP/1.1\r\nhOsT: %H\r\nconNECTION: cLoSe\r\n\r\n', '200 end');
add('Connection: close among others', get('Connection: keep-alive, x, Close\r\n') + NEXT, '200 end');
refused('line ends without CR', get().replace(/\r/g, '') + NEXT);
refused('one line end without CR', get('X: y\nA: b\r\n') + NEXT);
refused('a head that ends without CR', 'GET %G HTTP/1.1\r\nHost: %H\r\n\n' + NEXT);
refused('a CR alone as the line end', get().replace(/\n/g, '') + '\r\n\r\n');
add('100 fields', get(Array.from({length: 100}, (_, i) => `X-${i}: ${i}\r\n`).join('')), '200');
add('20 KB of fields', get(Array.from({length: 200}, (_, i) => `X-${i}: ${'x'.repeat(95)}\r\n`).join('')) + NEXT, '431 end', {counts: 'large'});
add('10,000 small fields', get(Array.from({length: 10000}, () => 'a:b\r\n').join('')) + NEXT, '431 end', {counts: 'large'});
add('a field of 64 KB', get(`X: ${'x'.repeat(65536)}\r\n`) + NEXT, '431 end', {counts: 'large'});
add('a field name of 64 KB', get(`${'x'.repeat(65536)}: y\r\n`) + NEXT, '431 end', {counts: 'large'});
add('a line without an end', `GET %G HTTP/1.1\r\nHost: %H\r\nX: ${'x'.repeat(300000)}`, '431 end', {counts: 'large'});
add('a request line without an end', 'G'.repeat(300000), '414 end', {counts: 'large'});
refused('empty lines without an end', '\r\n'.repeat(50000));

// -- lengths ---------------------------------------------------------------------------------------

add('a body with its length', post('Content-Length: %L\r\n', '%B'), 'ok');
add('a length with zeros in front', post('Content-Length: 000%L\r\n', '%B'), 'ok');
add('spaces around a length', post('Content-Length: \t %L \t\r\n', '%B'), 'ok');
for (const length of ['-1', '+5', '0x5', '5 5', '5,', ',5', '5;', '5.0', '5e0', 'five', '', ' ', '5, 5', '5, 6', '5\x0b', '"5"', '18446744073709551616', '18446744073709551621', '99999999999999999999999999', '1_0', '\xb9'])
  add(`Content-Length: ${JSON.stringify(length)}`, post(`Content-Length: ${length}\r\n`, 'hello') + NEXT, '400 end', {counts: 'bad'});
refused('the same length twice', post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello') + NEXT);
refused('two lengths', post('Content-Length: 5\r\nContent-Length: 42\r\n', `hello${NEXT}`));
refused('two lengths, the smaller last', post('Content-Length: 42\r\nContent-Length: 5\r\n', `hello${NEXT}`));
add('a length of 1 TB', post('Content-Length: 1099511627776\r\n', 'hello') + NEXT, '413 end', {counts: 'large'});
add('a length of 2^63', post('Content-Length: 9223372036854775808\r\n', 'hello') + NEXT, '400 end', {counts: 'bad'});
add('no length: no body', post(''), '400');
const inside = 'GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n';
add('a body on GET that looks like a request', get(`Content-Length: ${inside.length}\r\n`) + inside, '200');
add('a body that never comes', post('Content-Length: 100\r\n', 'hello'), 'end', {finish: true});

// -- codings ---------------------------------------------------------------------------------------

add('a body in chunks', chunks('%C'), 'ok');
add('Transfer-Encoding: Chunked', chunks('%C', 'Transfer-Encoding: Chunked\r\n'), 'ok');
add('a chunk extension', chunks('%X;name=value;other="quoted; \\" text"\r\n%B\r\n0;last\r\n\r\n'), 'ok');
add('trailers', chunks('%X\r\n%B\r\n0\r\nX-Trailer: a\r\nContent-Length: 999\r\nTransfer-Encoding: x\r\n\r\n'), 'ok');
add('a size with zeros in front', chunks('0000%X\r\n%B\r\n000\r\n\r\n'), 'ok');
for (const coding of ['identity', 'gzip', 'gzip, chunked', 'chunked, gzip', 'chunked, identity', 'chunked, chunked', 'xchunked', 'chunkedx', 'chunked;q=1', '"chunked"', 'chunked,', ',chunked', '', 'chunk', 'chunked\x0b', '\x0bchunked', 'chunked\0', '\x00chunked', 'chun ked', '\xa0chunked'])
  add(`Transfer-Encoding: ${JSON.stringify(coding)}`, chunks('%C', `Transfer-Encoding: ${coding}\r\n`) + NEXT, '400 end', {counts: 'bad'});
refused('a coding twice', chunks('%C', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n') + NEXT);
refused('two codings', chunks('%C', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n') + NEXT);
refused('two codings, chunked last', chunks('%C', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n') + NEXT);
refused('a length and a coding', chunks(`0\r\n\r\n${NEXT}`, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'));
refused('a coding and a length', chunks(`0\r\n\r\n${NEXT}`, 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'));
refused('a coding behind a space, and a length', chunks(`0\r\n\r\n${NEXT}`, 'Content-Length: 5\r\nTransfer-Encoding : chunked\r\n'));
refused('a coding that is folded', chunks('%C', 'Transfer-Encoding:\r\n chunked\r\n') + NEXT);
refused('a coding behind a CR', chunks('%C', 'X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n') + NEXT);
refused('a coding behind a LF', chunks('%C', 'X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n') + NEXT);
refused('a coding in HTTP/1.0', chunks('%C').replace('HTTP/1.1', 'HTTP/1.0') + NEXT);
add('chunks on GET', get('Transfer-Encoding: chunked\r\n') + '5\r\nhello\r\n0\r\n\r\n', '200');
for (const size of ['', '-5', '+5', '0x5', '5 5', 'g', '5 ', ' 5', '\t5', '5\x0b', '5\0', 'FFFFFFFFFFFFFFFFF', '10000000000000005', 'ffffffffffffffff', '8000000000000000', '\xb5', '5_', '5.'])
  add(`a chunk of size ${JSON.stringify(size)}`, chunks(`${size}\r\nhello\r\n0\r\n\r\n`) + NEXT, '400 end', {counts: 'bad'});
add('a chunk of 4 GB', chunks('ffffffff\r\nhello') + NEXT, '413 end', {counts: 'large'});
for (const [name, body] of [['a chunk without its line end', '5\r\nhello0\r\n\r\n'], ['a chunk that is longer than it says', '5\r\nhelloX\r\n0\r\n\r\n'], ['a chunk that ends with LF', '5\r\nhello\n0\r\n\r\n'],
  ['a size that ends with LF', '5\nhello\r\n0\r\n\r\n'], ['a size that ends with CR', '5\rhello\r\n0\r\n\r\n'], ['an extension with CR', '5;a\rb\r\nhello\r\n0\r\n\r\n'], ['an extension with LF', '5;a\nhello\r\n0\r\n\r\n'],
  ['an extension with NUL', '5;a\0\r\nhello\r\n0\r\n\r\n'], ['an end with LF', '5\r\nhello\r\n0\n\n'], ['a trailer without a colon', '5\r\nhello\r\n0\r\nTrailer\r\n\r\n'], ['a trailer that is folded', '5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n'], ['a trailer with NUL', '5\r\nhello\r\n0\r\nA: \0\r\n\r\n']])
  refused(name, chunks(body) + NEXT);
add('20 KB of extensions', chunks(`5;${'x'.repeat(20000)}\r\nhello\r\n0\r\n\r\n`) + NEXT, '400 end', {counts: 'bad'});
add('20 KB of extensions in small ones', chunks(`${'1;xxxx\r\na\r\n'.repeat(4000)}0\r\n\r\n`) + NEXT, '400 end', {counts: 'bad'});
add('20 KB of trailers', chunks(`5\r\nhello\r\n0\r\n${'A: b\r\n'.repeat(4000)}\r\n`) + NEXT, '400 end', {counts: 'bad'});
add('chunks that never end', chunks('5\r\nhello\r\n'), 'end', {finish: true});
// All of it is sent: the answer has to arrive nevertheless.
add('a body that is too large', max => post(`Content-Length: ${max + 1}\r\n`, 'x'.repeat(max + 1)), '413 end', {counts: 'large'});
add('a body that is too large, in chunks', max => chunks(`10000\r\n${'x'.repeat(65536)}\r\n`.repeat(max / 65536 + 1)), '413 end', {counts: 'large'});

// -- one behind the other --------------------------------------------------------------------------

add('three in one packet', get() + get() + get(), '200 200 200');
add('bodies in one packet', post('Content-Length: %L\r\n', '%B') + get() + post('Content-Length: %L\r\n', '%B') + get(), 'ok 200 ok 200');
add('chunks and others in one packet', chunks('%C') + get() + chunks('%C') + get(), 'ok 200 ok 200');
add('nothing runs behind one that is refused', get() + get('X : y\r\n') + NEXT, '200 400 end', {counts: 'bad'});
add('nothing runs behind Connection: close', get('Connection: close\r\n') + NEXT, '200 end');
add('200 in one packet', get().repeat(200), Array.from({length: 200}, () => '200').join(' '));
add('an empty line behind a body', post('Content-Length: %L\r\n', '%B\r\n') + get(), 'ok 200');
add('a body one byte longer than its length', post('Content-Length: %L\r\n', '%Bx') + get(), 'ok 501 end', {counts: 'bad'});
add('an end behind a request', get(), '200 end', {finish: true});

// -- expectations, HEAD ----------------------------------------------------------------------------

add('Expect: 100-continue', post('Content-Length: %L\r\nExpect: 100-continue\r\n', '%B'), '100 ok');
add('Expect: 100-Continue', post('Content-Length: %L\r\nExpect: 100-Continue\r\n', '%B'), '100 ok');
add('Expect with chunks', chunks('%C', 'Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n'), '100 ok');
add('Expect in HTTP/1.0', post('Content-Length: %L\r\nExpect: 100-continue\r\n', '%B').replace('HTTP/1.1', 'HTTP/1.0'), 'ok end');
add('Expect without a body', get('Expect: 100-continue\r\n'), '200');
add('Expect: something else', post('Content-Length: %L\r\nExpect: nonsense\r\n', '%B'), 'ok');
add('Expect in front of a body that is too large', post('Content-Length: 1099511627776\r\nExpect: 100-continue\r\n'), '413 end', {counts: 'large'});
add('Expect in front of a bad length', post('Content-Length: x\r\nExpect: 100-continue\r\n'), '400 end', {counts: 'bad'});
add('HEAD', get('', 'HEAD %G HTTP/1.1'), '200', {head: 1});
add('HEAD of nothing', get('', 'HEAD /nowhere HTTP/1.1'), '404', {head: 1});
add('HEAD, then GET', get('', 'HEAD %G HTTP/1.1') + get(), '200 200', {head: 1});
add('HEAD with a body', get(`Content-Length: 5\r\n`, 'HEAD %G HTTP/1.1') + 'hello', '200', {head: 1});

// -- upgrades --------------------------------------------------------------------------------------

add('h2c', get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n') + NEXT, '400 end', {counts: 'bad'});
add('an upgrade to tea', get('Connection: Upgrade\r\nUpgrade: tea\r\n'), '400 end', {counts: 'bad'});
