// SPDX-License-Identifier: Apache-2.0
// docs/benchmarks.md and its charts, from the results of one run.

import {mkdirSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {barChart, short} from './plot.mjs';

const HEAD = `# Benchmarks

Written by \`make bench\`; run it to have these figures of your own machine. It needs about 40 minutes, two cores, and what
\`make deps\` installs; a peer that the machine cannot have is left out, and the page says so. \`make bench-quick\` takes two minutes and holds Mora
against the ratios that were recorded last: what is 10 % worse than those fails.

## What the figures mean

One core for the server, the other for the clients (\`bench_load\`, C, one epoll loop); everything over loopback, plaintext, 128 bytes of data in
each message. Every message carries its number and the time it was due, and each subscriber checks that it gets each number once and in order: **a run in
which Mora or a floor loses, doubles or disorders one message fails as a whole**.

- **CPU per delivery**: the CPU time, user and system, of all the server's processes while messages flowed, by the kernel's clock of each
  process (nanoseconds), over the messages that subscribers received meanwhile. It survives a noisy machine better than anything that is timed.
- **in flight**: messages published and not yet delivered to all; the next is published then. With 8 of them a server may put several into one write.
- **latency**: from the time a message was due, not from when it was sent, so a server that makes the publisher wait hides nothing.
- **lag**: how long a turn of the server's loop took, as the server counts it (\`loop\` of \`/v1/stats\`): what comes meanwhile waits.
- **PSS per client**: what \`/proc/PID/smaps_rollup\` says after all clients are there, less what it said before, over the clients. What the kernel
  keeps for a socket is not in it.
- Figures are the middle of many rounds (Hodges-Lehmann), with the interval that holds it with 95 % (signed ranks, exact; of fewer than six rounds all of
  them). In a round all servers are measured once, one after the other, in an order that changes; **ratios are taken inside a round**. A target holds when
  the whole interval does. \`tests/bench/run --more\` adds rounds to those of the last run; all of them count.
- **Turns**: the other half of a virtual machine's core is somebody else's, and the same work takes up to half as long again beside it, for tenths of seconds or minutes. So servers
  that are close are up together in some figures (fan-out, 20,000 a second, ping-pong, on Redis, workers), each with all its clients, and take turns on the core of 0.06 to 0.8 s, in an
  order that is another one each time (\`tests/bench/load/turns.h\`): all meet with the same neighbour. Their rate is of the time in which messages were published, which is three quarters of a turn; their CPU is that
  of their whole turns, and \`aside\` says what else they used. Targets against the other servers pair a turn's figure with one that was measured alone in the same round.
  What a server does by the clock (pings, timers) it would do as many times as often, for each second of its own, as there are servers. So while others
  have their turn the clock of Mora and of the floors stands still, by a module that is loaded into them (\`tests/bench/load/clock.h\`); the kernel's timers go on. Mora gains by that 4 % at 8 messages in flight: it
  sends each client a ping along with a message every second or two, 833 a second when it is up alone, 2,204 in a second of its own in turns, and 835 with a clock that stands still.
- Where a target is missed, the table says what a floor would come to in its place. Where the floor misses as well, it is not what Mora does besides that stands in the way.
  A target against the floor itself names what the floor comes to against itself, started and measured a second time in the same rounds (\`epoll again\`): two that are the same. Where
  that interval, whichever of the two is taken first, goes beyond the target, these rounds cannot tell a server that is like the floor from one that misses.
- A peer that does not reach a rate is not the lowest there: the table says what its most was.

## The floors

| name | is |
|---|---|
| \`epoll\` | \`tests/bench/reference/epoll.c\`: websockets on raw epoll; no sessions, no JSON, no limits; one send for each message and subscriber |
| \`epoll-batch\` | the same, one send for all that a turn of its loop brought, as Mora does it |
| \`epoll-tls\` | the first over TLS, with what OpenSSL can be told to hold less memory |
| \`lws\` | \`tests/bench/reference/lws.c\`: bare libwebsockets on libuv, written directly, the cheapest way that was found; held GETs for long polling |

Nobody who listens sleeps: the clients' core spins. Over loopback it is the sender's kernel that wakes a client, which is no work of a server's
whose clients are elsewhere; a ping-pong costs 15 us more with it, and of some servers more than that. Each client of a floor says a word when it comes, as a Bayeux client has to: Linux delays the acknowledgements of a peer that has spoken, and over
loopback they are then the sender's work, a fifth of a write. Floors carry 128 bytes and no envelope; acknowledge no publish; remember nothing. The floor of connects is an upgrade and three texts that come back, of idle clients one that
sends the same pings and answers the same renewals. The other servers, and how they are set up: [peers](benchmarks-peers.md).

## What limits each

Up to a few messages a write it is the kernel: sending over loopback costs 4 to 7 us, most of what any server here spends on a delivery, and only fewer sends
help. What a server does besides is mostly waiting for memory: the state of one client is far from the last one's. Mora keeps what a delivery touches together
and fetches it ahead, so that each of 10,000 subscribers costs less than a third more than each of 1,000; and what a turn brings for a channel comes to a client in one visit. With many messages in one write it is what a server does for each message: reading the publish, its place in the journal, the
acknowledgement. A message that goes to and fro alone pays for waking up. An answered poll is four system calls: reading the request, a look whether the peer has gone, the
answer, and how much of the last answer the peer's TCP has acknowledged; two of them are there so that nothing is lost. Redis does the same for a
publish to 100 and to 1,000 subscribers, command by command, and shares a core with the node here: what the node asks
for next it asks before it delivers, else Redis goes to sleep and is woken for it. Over TLS nine tenths of a client's memory are OpenSSL's. For idle
clients it is waking up; for connects accept, the upgrade, and the session. System calls can be counted (\`bench_load --count\`); instructions only where the processor's counters are to be had.
`;

const QUOTE = {1: 'below it', [1 / 12]: '1/12', [1 / 30]: '1/30', [1 / 5]: '1/5', [1 / 3]: '1/3'};
const bound = ({limit, lowest, atLeast}) => (lowest ? '< 1' : `${atLeast ? '>=' : '<='} ${limit === 1 ? 1 : QUOTE[limit] ?? short(limit)}`);
const span = ({low, high}) => `${short(low)} to ${short(high)}`;

// Where a target is missed, what the floor would come to in its place.
const floorText = ({floor}) => (floor ? `${floor.verdict === 'misses' ? `; so does ${floor.name} in its place` : `; ${floor.name} in its place holds`}: ${short(floor.ratio)}, ${span(floor)}` : '');

const itselfText = ({itself, limit}) => (itself ? `; ${itself.name} over itself: ${short(itself.ratio)}, ${span(itself)}${itself.tells ? '' : `: these rounds cannot tell 1 from ${short(limit)}`}` : '');

function targetRow(figure, target) {
  const what = `${figure.title}: ${target.value} of ${target.of}${target.against ? ` over ${target.against}` : ''}`;
  if (target.reason) return `| ${what} | ${bound(target)} | | | | ${target.verdict}: ${target.reason} |`;
  return `| ${what} | ${bound(target)} | ${short(target.ratio)} | ${span(target)} | ${target.rounds} | ${target.verdict === 'holds' ? 'holds' : `**misses**${floorText(target)}${itselfText(target)}`} |`;
}

function figureText(figure) {
  const keys = Object.keys(figure.units).filter(key => figure.entries.some(({values}) => values[key]));
  const cell = value => (value ? `${short(value.middle)} <sub>${span(value)}</sub>` : '');
  const rows = figure.entries.map(({name, values}) => `| ${name} | ${keys.map(key => cell(values[key])).join(' | ')} |`);
  const out = Object.entries(figure.out).map(([name, reason]) => `\n${name}: ${reason}.`);
  return `### ${figure.title}\n\n${figure.chart ? `![${figure.title}](benchmarks/${figure.id}.svg)\n\n` : ''}` +
    `| | ${keys.map(key => `${key}: ${figure.units[key]}`).join(' | ')} |\n|---|${keys.map(() => '---').join('|')}|\n${rows.join('\n')}\n${out.join('\n')}\n`;
}

export function pageText({machine, versions, date, minutes, figures}) {
  if (figures.length === 0) return `${HEAD}\n## Targets\n\nNot recorded yet: \`make bench\` writes them here.\n`;
  const about = Object.entries(versions).map(([name, text]) => `| ${name} | ${text} |`);
  return `${HEAD}
## The machine

${machine.cpu}, ${machine.memory}, Linux ${machine.kernel}, ${machine.descriptors.toLocaleString('en')} descriptors a process; ${date}, ${minutes} minutes.

| server | version and settings |
|---|---|
${about.join('\n')}

## Targets

| figure | target | measured | 95 % interval | rounds | |
|---|---|---|---|---|---|
${figures.flatMap(figure => figure.targets.map(target => targetRow(figure, target))).join('\n')}

## Figures

${figures.map(figureText).join('\n')}`;
}

function chart(figure) {
  const bars = figure.entries.filter(({values}) => values[figure.chart]).map(({name, values}) => {
    const {middle, low, high} = values[figure.chart];
    return {name, value: middle, low, high, own: name.startsWith('mora')};
  });
  return barChart({title: figure.title, unit: figure.units[figure.chart], bars: bars.sort((a, b) => a.value - b.value)});
}

export function writePage(root, results) {
  const folder = join(root, 'docs/benchmarks');
  mkdirSync(folder, {recursive: true});
  for (const file of readdirSync(folder)) if (file.endsWith('.svg')) rmSync(join(folder, file));
  for (const figure of results.figures) if (figure.chart && figure.entries.length) writeFileSync(join(folder, `${figure.id}.svg`), chart(figure));
  writeFileSync(join(root, 'docs/benchmarks.md'), pageText(results));
}
