// SPDX-License-Identifier: Apache-2.0
// Runs the entries of figures in rounds, in turn, and judges the targets.
//
// Mora and the floors start anew for each measurement. A peer is started once and kept, so that what
// compiles while it runs has been compiled, unless the figure wants it fresh; its first measurement in a
// figure is thrown away. Entries with `turns` are measured last in a round, all at once, in turns of figure.turn seconds.

import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {ROUNDS} from './figures.mjs';
import {Unfit, isPeer, load, start} from './servers.mjs';
import {estimate, pairedRatio, shuffled} from './statistics.mjs';

const SOON = 50_000_000n;   // ns

// Where those who take turns meet: once all have come who do not stay away, each is told its place, in their order.
export class Meeting {
  constructor(count) {
    this.here = new Array(count);   // who has come, or null who stays away
    this.missing = count;
  }

  // Of one of them: come() gives the line that tells; leave() does nothing once it has come.
  ticket(i) {
    const close = resolve => {
      if (this.here[i] !== undefined) return;
      this.here[i] = resolve;
      if (--this.missing === 0) this.begin();
    };
    return {come: () => new Promise(close), leave: () => close(null)};
  }

  begin() {
    const at = process.hrtime.bigint() + SOON, all = this.here.filter(Boolean);
    all.forEach((tell, place) => tell(`${at} ${place} ${all.length}\n`));
  }
}

export class Rounds {
  // cpus: {server, load}; skipped: reasons by name, added to while running.
  constructor({cpus, skipped, say}) {
    Object.assign(this, {cpus, skipped, say});
    this.directory = mkdtempSync(join(tmpdir(), 'mora-bench-'));
    this.kept = new Map();
    this.about = {};       // of peers: {version, settings}
    this.capacity = {};    // deliveries a second that were seen, by server
    this.started = 0;
  }

  async server(name, {fresh, turns, settings, flags}) {
    if (this.kept.has(name) && !fresh) return this.kept.get(name);
    const options = {cpu: this.cpus.server, loadCpu: this.cpus.load, directory: join(this.directory, String(++this.started)), turns, settings, flags};
    const server = await start(name, options);
    if (isPeer(name)) this.about[name] = {version: server.version, settings: server.settings};
    if (isPeer(name) && !fresh) this.kept.set(name, server);
    return server;
  }

  async once(figure, entry, meet) {
    const {name, server: serverName, rounds, turns, settings, flags, check, ...changes} = entry;
    const fresh = figure.fresh || !isPeer(serverName);
    const server = await this.server(serverName, {fresh, turns, settings, flags});
    try {
      const report = await load(server, {...figure.load, ...changes, ...(meet && {turn: figure.turn})}, this.cpus.load, meet);
      if (figure.numbers) report.numbers = await server.numbers();
      check?.(report);
      return report;
    } finally {
      if (!this.kept.has(serverName) || fresh) await server.stop();
    }
  }

  // A peer that failed may be left in any state: it starts anew for the next figure.
  async giveUp(name) {
    const server = this.kept.get(name);
    this.kept.delete(name);
    await server?.stop();
  }

  // An entry that cannot take part, and why.
  unfit(figure, entry) {
    const capacity = this.capacity[entry.server];
    if (this.skipped[entry.server]) return this.skipped[entry.server];
    if (figure.capacity && capacity && capacity < 1.1 * figure.capacity) return `its most was ${Math.round(capacity).toLocaleString('en')} deliveries a second`;
    return null;
  }

  // One entry of one round. What a peer does wrong takes it out of this figure; Mora and the floors may do no wrong.
  async measure(figure, entry, result, meet) {
    let report;
    try {
      report = await this.once(figure, entry, meet);
    } catch (error) {
      if (!isPeer(entry.server)) throw new Error(`${figure.id}, ${entry.name}: ${error.message}`, {cause: error});
      result.out[entry.name] = error instanceof Unfit ? error.message : `failed: ${error.message}`;
      this.say(`  ${entry.name}: ${result.out[entry.name]}`);
      if (!(error instanceof Unfit)) await this.giveUp(entry.server);
      return null;
    }
    const values = Object.fromEntries(Object.entries(figure.values).map(([key, {of}]) => [key, of(report)]));
    if (figure.load.scenario === 'fanout' && !figure.load.rate && figure.load.clients === 1000)
      this.capacity[entry.server] = Math.max(this.capacity[entry.server] ?? 0, report.per_second);
    return values;
  }

  // All of them at once: [[entry, values]...].
  async inTurns(figure, list, result) {
    const meeting = new Meeting(list.length);
    const ended = await Promise.allSettled(list.map(async (entry, i) => {
      const {come, leave} = meeting.ticket(i);
      try {
        return [entry, await this.measure(figure, entry, result, come)];
      } finally {
        leave();
      }
    }));
    return ended.map(({value, reason}) => { if (reason) throw reason; return value; });
  }

  // One after the other, but for those that take turns.
  async round(figure, list, result) {
    const all = [];
    for (const entry of list.filter(({turns}) => !turns)) all.push([entry, await this.measure(figure, entry, result)]);
    all.push(...await this.inTurns(figure, list.filter(({turns}) => turns), result));
    for (const [{name}, values] of all) if (values) result.rounds[name].push(values);
  }

  // `asked`: how many rounds at most, in place of what the figure says. `before`: the result of a run before; its rounds
  // count as well, and who could not take part then does not now.
  async run(figure, asked, before) {
    const roundsOf = ({rounds = figure.rounds ?? asked ?? ROUNDS}) => Math.min(rounds, asked ?? rounds);
    const result = {id: figure.id, title: figure.title, chart: figure.chart, units: {}, out: {}, slow: [], rounds: {}};
    for (const [key, {unit}] of Object.entries(figure.values)) result.units[key] = unit;
    for (const entry of figure.entries) {
      const known = before?.out[entry.name], reason = known ?? this.unfit(figure, entry);
      if (!reason) result.rounds[entry.name] = [];
      else result.out[entry.name] = reason;
      if (reason && !known && !this.skipped[entry.server]) result.slow.push(entry.name);
    }
    const warmed = new Set();
    for (let round = 0; round < Math.max(...figure.entries.map(roundsOf)); round++) {
      const takesPart = entry => !result.out[entry.name] && round < roundsOf(entry);
      const list = shuffled(figure.entries, 1000 + round);
      for (const entry of list.filter(entry => takesPart(entry) && isPeer(entry.server) && !figure.fresh && !warmed.has(entry.name))) {
        await this.measure(figure, entry, result);
        warmed.add(entry.name);
      }
      await this.round(figure, list.filter(takesPart), result);
    }
    for (const name of Object.keys(result.out)) delete result.rounds[name];
    return summarised(figure, before ? joined(before, result) : result);
  }

  async end() {
    for (const server of this.kept.values()) await server.stop().catch(error => this.say(error.message));
    rmSync(this.directory, {recursive: true, force: true});
  }
}

// The rounds of one run behind those of another. Who took part in fewer than others has null in the rounds it lacks: what
// stands at the same place is of one round.
export function joined(before, after) {
  const length = ({rounds}) => Math.max(0, ...Object.values(rounds).map(list => list.length));
  const list = (result, name) => Array.from({length: length(result)}, (_, i) => result.rounds[name]?.[i] ?? null);
  const out = {...before.out, ...after.out};
  const names = [...new Set([before, after].flatMap(({rounds}) => Object.keys(rounds)))].filter(name => !out[name]);
  return {...after, out, slow: [...new Set([...before.slow, ...after.slow])],
    rounds: Object.fromEntries(names.map(name => [name, [...list(before, name), ...list(after, name)]]))};
}

export function summarised(figure, result) {
  const entries = Object.entries(result.rounds).map(([name, rounds]) => ({name, values:
    Object.fromEntries(Object.keys(figure.values).map(key => {
      const list = valuesOf(rounds, key).filter(Number.isFinite);
      return [key, list.length ? estimate(list) : null];
    }))}));
  return {...result, entries, targets: figure.targets.map(target => judge(target, result, figure))};
}

const valuesOf = (rounds, key) => rounds.map(each => each?.[key]);

// What `of` comes to, in terms of `against` or as it is.
function compare({value, of, against}, rounds) {
  if (against) return pairedRatio(valuesOf(rounds[of], value), valuesOf(rounds[against], value));
  const list = valuesOf(rounds[of], value).filter(Number.isFinite);
  const {middle, low, high} = estimate(list);
  return {ratio: middle, low, high, rounds: list.length};
}

// Who does not reach a rate (`slow`) is not the lowest there. `again` is the floor, measured a second time.
export function judge(target, {rounds, out, slow = []}, {floor, again} = {}) {
  const missing = [target.of, target.against].filter(Boolean).find(name => !rounds[name]?.length);
  if (missing) return {...target, verdict: target.lowest && missing === target.against && slow.includes(missing) ? 'holds' : 'not measured', reason: `${missing}: ${out[missing] ?? 'no rounds'}`};
  const verdict = found => ((target.atLeast ? found.low >= target.limit : target.lowest ? found.high < target.limit : found.high <= target.limit) ? 'holds' : 'misses');
  const found = compare(target, rounds);
  const judged = {...target, ...found, verdict: verdict(found)};
  const inPlace = floor === target.against ? again : floor;
  if (judged.verdict === 'holds' || !rounds[inPlace]?.length) return judged;
  const other = compare({...target, of: inPlace}, rounds);
  if (inPlace === floor) return {...judged, floor: {name: floor, ...other, verdict: verdict(other)}};
  // Of two that are the same either could be the first: the interval counts the way about in which it reaches further.
  return {...judged, itself: {name: floor, ...other, tells: Math.max(other.high, 1 / other.low) <= target.limit}};
}
