// SPDX-License-Identifier: Apache-2.0
// What many rounds say, and how sure it is.

// The same numbers in every run: rounds take turns in the same order.
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// How many of the sums of `n` signed ranks lie so far out on one side that 2.5 % of all do at most, exactly: every
// sign is as likely as the other.
function outside(n) {
  const sums = new Array(n * (n + 1) / 2 + 1).fill(0);   // in how many ways each can come about
  sums[0] = 1;
  for (let rank = 1; rank <= n; rank++) for (let sum = sums.length - 1; sum >= rank; sum--) sums[sum] += sums[sum - rank];
  let count = 0;
  for (let ways = sums[0]; ways <= 0.025 * 2 ** n; ways += sums[count]) count++;
  return count;
}

// The value in the middle, by Hodges and Lehmann: the median of the means of any two values, one of which may be the other.
// 95 % that it lies in the interval, by signed ranks; under six values that can not be had, and the interval is all of them.
export function estimate(values) {
  const means = values.flatMap((value, i) => values.slice(i).map(other => (value + other) / 2)).sort((a, b) => a - b);
  const from = Math.max(outside(values.length), 1) - 1;
  return {middle: median(means), low: means[from], high: means[means.length - 1 - from]};
}

// Both of one round are of the same minute: what slows the machine down slows both.
export function pairedRatio(mine, others) {
  const ratios = mine.map((value, i) => value / others[i]).filter(Number.isFinite);
  if (ratios.length === 0) return null;
  const {middle, low, high} = estimate(ratios.map(Math.log));
  return {ratio: Math.exp(middle), low: Math.exp(low), high: Math.exp(high), rounds: ratios.length};
}

export function shuffled(list, seed) {
  const random = generator(seed);
  const mixed = [...list];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}
