// SPDX-License-Identifier: Apache-2.0
// Sizes: a function aims at 60 lines and ends at 100; a file aims at 500 and ends at 900.

import {execFileSync} from 'node:child_process';
import {root, isC} from './tree.mjs';

const FUNCTION = {aim: 60, hard: 100};
const FILE = {aim: 500, hard: 900};
const SIZED = /\.([chm]?js|[ch]|lua|sh)$/;

function judge(path, line, what, size, {aim, hard}) {
  if (size > hard) return [{path, line, text: `${what} has ${size} lines, more than ${hard}`}];
  return size > aim ? [{path, line, text: `${what} has ${size} lines (aim: ${aim})`, warning: true}] : [];
}

export function fileSizes(files) {
  return files.filter(({path}) => SIZED.test(path)).flatMap(({path, text}) =>
    judge(path, 1, 'the file', text.split('\n').length - 1, FILE));
}

// Reads C files from the disk, below `folder`.
export function functionSizes(files, folder = root) {
  const paths = files.map(({path}) => path).filter(isC);
  if (paths.length === 0) return [];
  const tags = execFileSync('ctags', ['--options=NONE', '--output-format=json', '--languages=C', '--map-C=+.h', '--kinds-C=f', '--fields=+ne', '-L', '-', '-f', '-'],
                            {cwd: folder, input: paths.join('\n') + '\n', encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['pipe', 'pipe', 'ignore']});
  return tags.split('\n').filter(Boolean).map(line => JSON.parse(line)).filter(tag => tag._type === 'tag' && tag.end)
    .flatMap(({path, name, line, end}) => judge(path, line, `${name}()`, end - line + 1, FUNCTION));
}
