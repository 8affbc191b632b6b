// SPDX-License-Identifier: Apache-2.0
// Medians, and the interval of a ratio that was measured in pairs.

// The same numbers in every run: the interval of the same figures is the same.
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

// 95 % of the medians of samples drawn from these with repetition lie in it.
export function interval(values, {samples = 10000, seed = 1} = {}) {
  const random = generator(seed);
  const medians = Array.from({length: samples}, () => median(values.map(() => values[Math.floor(random() * values.length)])));
  medians.sort((a, b) => a - b);
  return {low: medians[Math.floor(0.025 * samples)], high: medians[Math.ceil(0.975 * samples) - 1]};
}

// Both of one round are of the same minute: what slows the machine down slows both.
export function pairedRatio(mine, others) {
  const ratios = mine.map((value, i) => value / others[i]).filter(Number.isFinite);
  if (ratios.length === 0) return null;
  return {ratio: median(ratios), ...interval(ratios), rounds: ratios.length};
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
