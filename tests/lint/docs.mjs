// SPDX-License-Identifier: Apache-2.0
// docs/operations.md names every log event and every metric there is, and no others; docs/redis.md
// every key and every script.

const SOURCE = /^(bayeux|engine-redis|broker|api-bridge|web-gateway)\/.*\.[ch]$/;
const EVENT = /\b(?:bk_(?:debug|info|warn|error)\(|er_event\(\w+, |\bevent\([^;"]*|notice\([^;"]*)"([^"]+)"/g;
const METRIC = /"(mora_[a-z0-9_]+)"/g;
const OPERATIONS = 'docs/operations.md';
const REDIS = 'docs/redis.md';
const SCRIPTS = 'engine-redis/scripts/';

const section = (text, title) => text.split(/^## /m).find(part => part.startsWith(title)) ?? '';
const all = (text, pattern) => [...text.matchAll(pattern)].map(match => match[1]);

function firstColumn(text) {
  return text.split('\n').filter(line => line.startsWith('| `')).flatMap(line => all(line.split('|')[1], /`([^`]+)`/g));
}

function compare(kind, inSources, onPage, path = OPERATIONS) {
  const missing = [...new Set(inSources)].filter(name => !onPage.includes(name));
  const stale = onPage.filter(name => !inSources.includes(name));
  return [...missing.map(name => ({path, line: 1, text: `the ${kind} ${name} is not on the page`})),
    ...stale.map(name => ({path, line: 1, text: `there is no ${kind} ${name}`}))];
}

export function operations(files) {
  const page = files.find(({path}) => path === OPERATIONS)?.text ?? '';
  const sources = files.filter(({path}) => SOURCE.test(path)).map(({text}) => text).join('\n');
  return [...compare('log event', all(sources, EVENT), firstColumn(section(page, 'Log events'))),
    ...compare('metric', all(sources, METRIC), firstColumn(section(page, 'Metrics')))];
}

// `session:<id>` on the page is ns .. ':session:' .. id in keys.lua.
export function redis(files) {
  const page = files.find(({path}) => path === REDIS)?.text ?? '';
  const keys = files.find(({path}) => path === `${SCRIPTS}keys.lua`)?.text ?? '';
  const named = all(keys, /_key(?:\(\w+\) return| =) ns \.\. ':(\w+)/g);
  const scripts = files.map(({path}) => path).filter(path => path.startsWith(SCRIPTS) && path.endsWith('.lua')).map(path => path.slice(SCRIPTS.length, -4));
  return [...compare('key', named, firstColumn(section(page, 'Keys')).map(key => key.replace(/:.*/, '')), REDIS),
    ...compare('script', scripts.filter(name => name !== 'keys'), firstColumn(section(page, 'Scripts')), REDIS)];
}
