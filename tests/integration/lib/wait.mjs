// SPDX-License-Identifier: Apache-2.0
// Waiting: for events, with deadlines so generous that only a fault reaches them.

import {scale} from './suite.mjs';

export const DEADLINE = 20000 * scale;

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// What is waited for: text, or a function that describes how far it got.
const say = what => (typeof what === 'function' ? what() : what);

// Rejects when `promise` has not settled in time; `what` says what was waited for.
export function within(promise, what, deadline = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${deadline} ms for ${say(what)}`)), deadline);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Asks again and again until the answer is truthy; returns it. For states that announce nothing
// (a counter of another process). A predicate that throws is asked again, its error is reported.
export async function until(predicate, what, deadline = DEADLINE) {
  const end = Date.now() + deadline;
  let last = null;
  for (;;) {
    try {
      const answer = await predicate();
      if (answer) return answer;
      last = null;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited ${deadline} ms for ${say(what)}${last ? `: ${last.message}` : ''}`);
    await sleep(20);
  }
}

// A list that can be waited on: whoever adds calls push(), who waits gives a predicate over the list.
export class Feed {
  constructor() {
    this.items = [];
    this.waiters = new Set();
  }
  get length() { return this.items.length; }
  push(...items) {
    this.items.push(...items);
    for (const look of [...this.waiters]) look();
  }
  // Ends every wait, present and future, that is not yet satisfied.
  end(error) {
    this.ended = error;
    for (const look of [...this.waiters]) look();
  }
  // Resolves with the first truthy answer of predicate(items).
  when(predicate, what, deadline = DEADLINE) {
    let look;
    const found = new Promise((resolve, reject) => {
      look = () => {
        try {
          const answer = predicate(this.items);
          if (answer) resolve(answer);
          else if (this.ended) reject(new Error(`waiting for ${say(what)}: ${this.ended.message}`));
        } catch (error) {
          reject(error);
        }
      };
      this.waiters.add(look);
      look();
    });
    return within(found, () => `${say(what)} (got ${this.items.length})`, deadline).finally(() => this.waiters.delete(look));
  }
  find(predicate, what, deadline) { return this.when(items => items.find(predicate), what, deadline); }
  count(n, what = `${n} items`, deadline) { return this.when(items => items.length >= n && items, what, deadline); }
}
