// SPDX-License-Identifier: Apache-2.0
// Words that may not be in the repository, and one that must: places of a machine, hosts in lock
// files, marks of an unfinished merge; the SPDX line.

import {eachLine} from './tree.mjs';

const SOURCE = /(\.([ch]|[cm]?js|sh|lua|cmake|css|html)|(^|\/)(CMakeLists\.txt|Makefile)|^\.ci\/run|^tests\/run)$/;
const LOCK = /(^|\/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock)$/;
const PROSE = /\.md$/;
const TABS = /(^|\/)Makefile$/;
const COPIED = /^LICENSE$/;

const MACHINE = /(^|[\s"'`=:(,@<])\/(work|root|home|tmp)\/[\w.-]/;
const MERGE = /^(<{7}|>{7}|={7})( |$)/;

export function words(files) {
  return files.filter(({path}) => !COPIED.test(path)).flatMap(file => {
    const lock = LOCK.test(file.path);
    return eachLine(file, line => {
      if (MACHINE.test(line)) return 'a path of one machine';
      if (MERGE.test(line)) return 'a mark of a merge';
      if (lock && /"resolved"/.test(line)) return 'a lock file names no places: omit-lockfile-registry-resolved=true';
      if (lock && /:\/\//.test(line) && !/^\s*"url":/.test(line)) return 'a lock file names no hosts';
      // Also a bug of npm 9: such a wish, though overridden, makes it refuse the whole file.
      if (lock && /"(git\+|github:|git:)/.test(line)) return 'a package comes from a registry: write its version here';
      return null;
    });
  });
}

export function spdx(files) {
  return files.filter(({path}) => SOURCE.test(path)).flatMap(({path, text}) =>
    text.split('\n', 2).some(line => line.includes('SPDX-License-Identifier: Apache-2.0'))
      ? [] : [{path, line: 1, text: 'the SPDX line is missing'}]);
}

export function blanks(files) {
  return files.filter(({path}) => SOURCE.test(path) || PROSE.test(path)).flatMap(file => {
    const found = eachLine(file, line => {
      if (/[ \t]$/.test(line)) return 'blanks at the end of the line';
      if (/\t/.test(line) && !TABS.test(file.path)) return 'a tab';
      if (/\r/.test(line)) return 'a carriage return';
      if (line.includes('\u2014')) return 'an em dash: use a full stop, a colon or a comma';
      return null;
    });
    if (file.text !== '' && !file.text.endsWith('\n')) found.push({path: file.path, line: file.text.split('\n').length, text: 'no line end at the end'});
    return found;
  });
}
