// SPDX-License-Identifier: Apache-2.0
// The cases of the Autobahn websocket test suite, sections 1 to 7, 9 and 10, rebuilt as data under
// its numbers: what is sent, what must come back, who closes and with which code. Written against a
// server that echoes.
//
//   send     bytes, or a list of them; with `chop` in pieces of so many bytes, each a packet
//   steps    in place of send: each list is sent when the server had time to answer the one before
//   expect   the events before the close: ['text', payload], ['binary', ..], ['pong', ..]
//   fails    the server closes by itself with one of these codes, or drops the connection
//   closes   we close: the code that must come back (a list: one of them; undefined: none); then
//            the server ends the connection

import {frame, closeFrame, fragments, CONT, TEXT, BINARY, CLOSE, PING, PONG} from './frames.mjs';

export const cases = [];
const add = (id, rest) => cases.push({id, section: id.split('.')[0], ...rest});
const bytes = (text, n) => Buffer.alloc(n, text, 'latin1');
const part = {fin: false};

// -- 1 framing -------------------------------------------------------------------------------------

for (const [n, opcode, type, fill] of [[1, TEXT, 'text', '*'], [2, BINARY, 'binary', '\xfe']]) {
  [0, 125, 126, 127, 128, 65535, 65536].forEach((size, i) =>
    add(`1.${n}.${i + 1}`, {send: frame(opcode, bytes(fill, size)), expect: [[type, bytes(fill, size)]]}));
  add(`1.${n}.8`, {send: frame(opcode, bytes(fill, 65536)), chop: 997, expect: [[type, bytes(fill, 65536)]]});
}

// -- 2 pings and pongs -----------------------------------------------------------------------------

const wild = Buffer.from('00fffefdfcfb00ff', 'hex');
[Buffer.alloc(0), 'Hello, world!', wild, bytes('\xfe', 125)].forEach((payload, i) =>
  add(`2.${i + 1}`, {send: frame(PING, payload), expect: [['pong', payload]]}));
add('2.5', {send: frame(PING, bytes('\xfe', 126)), fails: [1002]});
add('2.6', {send: frame(PING, bytes('\xfe', 125)), chop: 1, expect: [['pong', bytes('\xfe', 125)]]});
add('2.7', {send: [frame(PONG), closeFrame(1000)], closes: 1000});
add('2.8', {send: [frame(PONG, 'unsolicited pong payload'), closeFrame(1000)], closes: 1000});
add('2.9', {send: [frame(PONG, 'unsolicited pong payload'), frame(PING, 'ping payload')], expect: [['pong', 'ping payload']]});
const ten = Array.from({length: 10}, (_, i) => `payload-${i}`);
add('2.10', {send: ten.map(each => frame(PING, each)), expect: ten.map(each => ['pong', each])});
add('2.11', {send: ten.map(each => frame(PING, each)), chop: 1, expect: ten.map(each => ['pong', each])});

// -- 3 reserved bits, 4 opcodes --------------------------------------------------------------------

const hello = 'Hello, world!';
const echoed = [['text', hello]];
add('3.1', {send: frame(TEXT, hello, {rsv: 1}), fails: [1002]});
for (const [n, rsv, chop] of [[2, 2], [3, 3, 'frame'], [4, 4, 1]])
  add(`3.${n}`, {send: [frame(TEXT, hello), frame(TEXT, hello, {rsv}), frame(PING)], chop, expect: echoed, fails: [1002]});
add('3.5', {send: frame(BINARY, wild, {rsv: 5}), fails: [1002]});
add('3.6', {send: frame(PING, hello, {rsv: 6}), fails: [1002]});
add('3.7', {send: frame(CLOSE, '', {rsv: 7}), fails: [1002]});
for (const [section, first] of [[1, 3], [2, 11]]) {
  add(`4.${section}.1`, {send: frame(first), fails: [1002]});
  add(`4.${section}.2`, {send: frame(first + 1, 'reserved opcode payload'), fails: [1002]});
  for (const [n, payload, chop] of [[3, ''], [4, hello], [5, hello, 1]])
    add(`4.${section}.${n}`, {send: [frame(TEXT, hello), frame(first + n - 1, payload), frame(PING)], chop, expect: echoed, fails: [1002]});
}

// -- 5 fragments -----------------------------------------------------------------------------------

const f = Array.from({length: 5}, (_, i) => `fragment${i + 1}`);
const both = [['text', f[0] + f[1]]];
add('5.1', {send: [frame(PING, f[0], part), frame(CONT, f[1])], fails: [1002]});
add('5.2', {send: [frame(PONG, f[0], part), frame(CONT, f[1])], fails: [1002]});
[undefined, 'frame', 1].forEach((chop, i) => {
  add(`5.${3 + i}`, {send: [frame(TEXT, f[0], part), frame(CONT, f[1])], chop, expect: both});
  add(`5.${6 + i}`, {send: [frame(TEXT, f[0], part), frame(PING, 'ping payload'), frame(CONT, f[1])], chop, expect: [['pong', 'ping payload'], ...both]});
  for (const [n, options] of [[9, {}], [12, part]])
    add(`5.${n + i}`, {send: [frame(CONT, 'non-continuation payload', options), frame(TEXT, hello)], chop, fails: [1002]});
});
add('5.15', {send: [frame(TEXT, f[0], part), frame(CONT, f[1]), frame(CONT, f[2], part), frame(TEXT, f[3])], expect: both, fails: [1002]});
for (const [n, options] of [[16, part], [17, {}]]) {
  const round = () => [frame(CONT, f[0], options), frame(TEXT, f[1], part), frame(CONT, f[2])];
  add(`5.${n}`, {send: [...round(), ...round()], fails: [1002]});
}
add('5.18', {send: [frame(TEXT, f[0], part), frame(TEXT, f[1])], fails: [1002]});
for (const [n, chop] of [[19], [20, 'frame']])
  add(`5.${n}`, {
    steps: [[frame(TEXT, f[0], part), frame(CONT, f[1], part), frame(PING, 'pongme 1!')],
            [frame(CONT, f[2], part), frame(CONT, f[3], part), frame(PING, 'pongme 2!'), frame(CONT, f[4])]],
    chop, expect: [['pong', 'pongme 1!'], ['pong', 'pongme 2!'], ['text', f.join('')]],
  });

// -- 6 UTF-8 ---------------------------------------------------------------------------------------

const hex = text => Buffer.from(text, 'hex');
const umlauts = 'Hello-µ@ßöäüàá-UTF-8!!';
const kosme = hex('cebae1bdb9cf83cebcceb5');
const edited = Buffer.from('edited');
const broken = Buffer.concat([kosme, hex('eda080'), edited]);
const beyond = Buffer.concat([kosme, hex('f4908080'), edited]);
add('6.1.1', {send: frame(TEXT), expect: [['text', '']]});
add('6.1.2', {send: [frame(TEXT, '', part), frame(CONT, '', part), frame(CONT)], expect: [['text', '']]});
add('6.1.3', {send: [frame(TEXT, '', part), frame(CONT, 'middle frame payload', part), frame(CONT)], expect: [['text', 'middle frame payload']]});
add('6.2.1', {send: frame(TEXT, umlauts), expect: [['text', umlauts]]});
add('6.2.2', {send: [frame(TEXT, 'Hello-µ@ßöä', part), frame(CONT, 'üàá-UTF-8!!')], expect: [['text', umlauts]]});
add('6.2.3', {send: fragments(TEXT, umlauts, 1), expect: [['text', umlauts]]});
add('6.2.4', {send: fragments(TEXT, kosme, 1), expect: [['text', kosme]]});
add('6.3.1', {send: frame(TEXT, broken), fails: [1007]});
add('6.3.2', {send: fragments(TEXT, broken, 1), fails: [1007]});
// Fails before the rest is sent.
add('6.4.1', {send: [frame(TEXT, kosme, part), frame(CONT, hex('f4908080'), part)], chop: 'frame', fails: [1007]});
add('6.4.2', {send: [frame(TEXT, beyond.subarray(0, 12), part), frame(CONT, beyond.subarray(12, 13), part)], chop: 'frame', fails: [1007]});
const one = frame(TEXT, beyond);
const header = one.length - beyond.length;
add('6.4.3', {send: [one.subarray(0, header + 11), one.subarray(header + 11, header + 15)], chop: 'frame', fails: [1007]});
add('6.4.4', {send: [one.subarray(0, header + 12), one.subarray(header + 12, header + 13)], chop: 'frame', fails: [1007]});

const spaced = (from, to) => Buffer.from(Array.from({length: to - from}, (_, i) => [from + i, 0x20]).flat()).toString('hex');
const cut = ['c0', 'e080', 'f08080', 'f8808080', 'fc80808080', 'df', 'efbf', 'f7bfbf', 'fbbfbfbf', 'fdbfbfbfbf'];
const nonCharacters = ['f0', 'f1', 'f2', 'f3', 'f4'].flatMap(a => ['8f', '9f', 'af', 'bf'].filter(b => (a !== 'f4' || b === '8f') && (a !== 'f0' || b !== '8f'))
  .flatMap(b => ['be', 'bf'].map(c => `${a}${b}bf${c}`)));
const world = middle => Buffer.concat([Buffer.from('hello'), hex(middle), Buffer.from('world')]).toString('hex');
// After the decoder test of Markus Kuhn; "+" is valid, "-" is not.
const decoder = [
  [5, '+', [world('24'), world('c2a2'), world('e282ac'), world('f0a4ada2'), kosme.toString('hex')]],
  [6, '?', Array.from({length: kosme.length}, (_, i) => kosme.subarray(0, i + 1).toString('hex'))],
  [7, '+', ['00', 'c280', 'e0a080', 'f0908080']],
  [8, '-', ['f888808080', 'fc8480808080']],
  [9, '+', ['7f', 'dfbf', 'efbfbf', 'f48fbfbf']],
  [10, '-', ['f7bfbfbf', 'fbbfbfbfbf', 'fdbfbfbfbfbf']],
  [11, '?', ['ed9fbf', 'ee8080', 'efbfbd', 'f48fbfbf', 'f4908080']],
  [12, '-', ['80', 'bf', '80bf', '80bf80', '80bf80bf', '80bf80bf80', '80bf80bf80bf', Buffer.from(Array.from({length: 63}, (_, i) => 0x80 + i)).toString('hex')]],
  [13, '-', [spaced(0xc0, 0xdf), spaced(0xe0, 0xef), spaced(0xf0, 0xf7), spaced(0xf8, 0xfb), spaced(0xfc, 0xfd)]],
  [14, '-', cut],
  [15, '-', [cut.join('')]],
  [16, '-', ['fe', 'ff', 'fefeffff']],
  [17, '-', ['c0af', 'e080af', 'f08080af', 'f8808080af', 'fc80808080af']],
  [18, '-', ['c1bf', 'e09fbf', 'f08fbfbf', 'f887bfbfbf', 'fc83bfbfbfbf']],
  [19, '-', ['c080', 'e08080', 'f0808080', 'f880808080', 'fc8080808080']],
  [20, '-', ['eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf']],
  [21, '-', ['eda080', 'edadbf', 'edae80', 'edafbf'].flatMap(a => ['edb080', 'edbfbf'].map(b => a + b))],
  [22, '+', ['efbfbe', 'efbfbf', ...nonCharacters]],
  [23, '+', ['efbfb9', 'efbfba', 'efbfbb', 'efbfbc', 'efbfbd', 'efbfbe', 'efbfbf']],
];
const isUtf8 = text => Buffer.from(text.toString('utf8'), 'utf8').equals(text);
for (const [section, verdict, list] of decoder)
  list.map(hex).forEach((payload, i) =>
    add(`6.${section}.${i + 1}`, {send: frame(TEXT, payload), ...((verdict === '?' ? isUtf8(payload) : verdict === '+') ? {expect: [['text', payload]]} : {fails: [1007]})}));

// -- 7 closing -------------------------------------------------------------------------------------

const answer = 'Hello World!';
add('7.1.1', {send: frame(TEXT, answer), expect: [['text', answer]]});
add('7.1.2', {send: [closeFrame(1000), frame(CLOSE)], closes: 1000});
add('7.1.3', {send: [closeFrame(1000), frame(PING)], closes: 1000});
add('7.1.4', {send: [closeFrame(1000), frame(TEXT, answer)], closes: 1000});
add('7.1.5', {send: [frame(TEXT, f[0], part), closeFrame(1000), frame(CONT, f[1])], closes: 1000});
// What of the large answer comes before the close is the server's affair.
add('7.1.6', {send: [frame(TEXT, bytes('BAsd7&jh23', 256 * 1024)), frame(TEXT, answer), closeFrame(1000), frame(PING)], any: true, closes: 1000});
add('7.3.1', {send: closeFrame(), closes: [undefined, 1000]});
add('7.3.2', {send: closeFrame(undefined, 'a'), fails: [1002]});
add('7.3.3', {send: closeFrame(1000), closes: 1000});
add('7.3.4', {send: closeFrame(1000, answer), closes: 1000});
add('7.3.5', {send: closeFrame(1000, '*'.repeat(123)), closes: 1000});
add('7.3.6', {send: closeFrame(1000, '*'.repeat(124)), fails: [1002]});
add('7.5.1', {send: closeFrame(1000, broken), fails: [1002, 1007]});
[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].forEach((code, i) =>
  add(`7.7.${i + 1}`, {send: closeFrame(code), closes: [1000, code]}));
[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].forEach((code, i) => add(`7.9.${i + 1}`, {send: closeFrame(code), fails: [1002]}));
// Undefined by the RFC; so are we like the others.
[5000, 65535].forEach((code, i) => add(`7.13.${i + 1}`, {send: closeFrame(code), fails: [1002]}));

// -- 9 sizes and speed, 10 fragments by a client -----------------------------------------------------

const KB = 1024, MB = 1024 * 1024;
for (const [n, opcode, type, fill] of [[0, TEXT, 'text', 'BAsd7&jh23'], [1, BINARY, 'binary', '\x00\xfe\x23\xfa\xf0']]) {
  const lazy = (id, size, make) => add(id, {large: true, get send() { return make(bytes(fill, size)); }, get expect() { return [[type, bytes(fill, size)]]; }});
  [64 * KB, 256 * KB, MB, 4 * MB, 8 * MB, 16 * MB].forEach((size, i) => lazy(`9.${1 + n}.${i + 1}`, size, all => frame(opcode, all)));
  [64, 256, KB, 4 * KB, 16 * KB, 64 * KB, 256 * KB, MB, 4 * MB].forEach((size, i) =>
    lazy(`9.${3 + n}.${i + 1}`, 4 * MB, all => Buffer.concat(fragments(opcode, all, size))));
  [64, 128, 256, 512, 1024, 2048].forEach((chop, i) =>
    add(`9.${5 + n}.${i + 1}`, {large: true, chop, packets: false, send: frame(opcode, bytes(fill, MB)), expect: [[type, bytes(fill, MB)]]}));
  [0, 16, 64, 256, 1024, 4096].forEach((size, i) =>
    add(`9.${7 + n}.${i + 1}`, {large: true, rounds: 1000, send: frame(opcode, bytes('*', size)), expect: [[type, bytes('*', size)]]}));
}
add('10.1.1', {send: fragments(TEXT, bytes('*', 65536), 1300), expect: [['text', bytes('*', 65536)]]});
