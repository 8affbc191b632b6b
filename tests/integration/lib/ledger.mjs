// SPDX-License-Identifier: Apache-2.0
// Ledgers: what was published, what each subscriber got, and whether that is each message once and
// in order. Messages are told apart by a key, the value of `data.n` unless told otherwise.

import {Feed} from './wait.mjs';

const standardKey = data => (data !== null && typeof data === 'object' ? data.n : data);

export class Ledger {
  constructor(name = 'subscriber', {key = standardKey} = {}) {
    this.name = name;
    this.key = key;
    this.got = new Feed();
  }
  // As a subscription's callback: client.subscribe('/a', ledger.add).
  add = data => { this.got.push(this.key(data)); };

  // The keys 0..n-1, or a list of keys, each at least once.
  has(expected, deadline) {
    const wanted = list(expected);
    return this.got.when(got => {
      if (got.length < wanted.length) return false;
      const seen = new Set(got);
      return wanted.every(key => seen.has(key));
    }, () => this.describe(wanted), deadline);
  }
  // Throws unless exactly the expected keys came, each once, in this order.
  once(expected) {
    const wanted = list(expected);
    const got = this.got.items;
    if (got.length === wanted.length && wanted.every((key, i) => key === got[i])) return;
    throw new Error(`${this.name}: not each once and in order: ${this.describe(wanted)}`);
  }
  // Waits for all, then checks them.
  async complete(expected, deadline) {
    await this.has(expected, deadline);
    this.once(expected);
  }
  // What differs, shortly: missing, doubled, unexpected, and the first place out of order.
  describe(wanted) {
    const got = this.got.items;
    const times = new Map();
    for (const key of got) times.set(key, (times.get(key) || 0) + 1);
    const expected = new Set(wanted);
    const some = keys => `${keys.length}${keys.length ? ` (${keys.slice(0, 5).join(' ')}${keys.length > 5 ? ' ...' : ''})` : ''}`;
    const first = wanted.findIndex((key, i) => key !== got[i]);
    return `got ${got.length} of ${wanted.length}, missing ${some(wanted.filter(key => !times.has(key)))}, ` +
      `doubled ${some([...times].filter(([, n]) => n > 1).map(([key]) => key))}, ` +
      `unexpected ${some([...times.keys()].filter(key => !expected.has(key)))}, ` +
      `first difference at ${first}: expected ${wanted[first]}, got ${got[first]}`;
  }
}

const list = expected => (typeof expected === 'number' ? Array.from({length: expected}, (_, i) => i) : [...expected]);
