// SPDX-License-Identifier: Apache-2.0
// The files of the repository as the lints see them: {path, text}, path relative to the root, and
// the form of what they find: {path, line, text, warning}.

import {readdirSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {join} from 'node:path';

export const root = fileURLToPath(new URL('../..', import.meta.url));

const SKIPPED = new Set(['.git', 'node_modules', 'build']);
const BINARY = /\.(png|ico|gz|woff2?|bin)$/;

export function files() {
  const found = [];
  const walk = folder => {
    for (const entry of readdirSync(join(root, folder), {withFileTypes: true})) {
      const path = folder ? `${folder}/${entry.name}` : entry.name;
      if (entry.isDirectory()) {
        if (!SKIPPED.has(entry.name)) walk(path);
      } else if (entry.isFile() && !BINARY.test(path)) {
        found.push({path, text: readFileSync(join(root, path), 'utf8')});
      }
    }
  };
  walk('');
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

export const isC = path => /\.[ch]$/.test(path);

// Finds per line: each(line, number) returns what is wrong with the line, or nothing.
export function eachLine({path, text}, each) {
  const found = [];
  text.split('\n').forEach((line, i) => {
    const wrong = each(line, i + 1);
    if (wrong) found.push({path, line: i + 1, text: wrong});
  });
  return found;
}

export const show = ({path, line, text}) => `${path}:${line}: ${text}`;
