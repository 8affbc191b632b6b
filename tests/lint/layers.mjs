// SPDX-License-Identifier: Apache-2.0
// Layers: which folder may include which, read off the include lines. An include names its layer
// because the repository's root is the only include path.

import {isC, eachLine} from './tree.mjs';

// Arrows point left; a folder may also include itself.
const LAYERS = ['bayeux', 'config', 'engine-redis', 'broker', 'api-bridge', 'web-gateway'];

// Inside broker/. A file directly in broker/ puts the parts together and may see all of them.
const BROKER = {
  host: ['bayeux', 'config'],
  engine: ['bayeux', 'config', 'engine-redis', 'broker/host'],
  publish: ['bayeux', 'config', 'engine-redis', 'broker/host', 'broker/engine'],
  access: ['bayeux', 'config', 'broker/host'],
  webhook: ['bayeux', 'config', 'engine-redis/core', 'broker/host'],
  transport: ['bayeux', 'config', 'broker/host', 'broker/access'],
  admin: ['bayeux', 'config', 'engine-redis', 'broker/host', 'broker/engine', 'broker/publish', 'broker/access', 'broker/webhook', 'broker/transport'],
  tool: ['bayeux', 'config', 'broker/access'],
};

// What the gateways may see of broker/.
const GATEWAYS = {'api-bridge': ['broker/host', 'broker/engine', 'broker/publish'], 'web-gateway': ['broker/host', 'broker/publish']};

// Libraries with one way in. `only`: the folders that may include the header; `never`: those that may not.
const LIBRARIES = [
  {header: /^libwebsockets\.h$/, only: ['tests/bench/reference']},
  {header: /^uv\.h$/, only: ['broker/host', 'engine-redis/link', 'tests']},
  {header: /^curl\//, only: ['broker/host', 'broker/tool']},
  {header: /^cjose\//, only: ['broker/access']},
  {header: /^hiredis(\/|\.h$)/, only: ['engine-redis/link', 'tests']},
  {header: /^jansson\.h$/, never: ['bayeux', 'config', 'engine-redis', 'broker/host', 'broker/transport']},
];

const STANDARD_C = new Set(['assert', 'complex', 'ctype', 'errno', 'fenv', 'float', 'inttypes', 'iso646', 'limits', 'locale',
  'math', 'setjmp', 'signal', 'stdalign', 'stdarg', 'stdatomic', 'stdbool', 'stddef', 'stdint', 'stdio', 'stdlib',
  'stdnoreturn', 'string', 'tgmath', 'time', 'uchar', 'wchar', 'wctype'].map(name => `${name}.h`));

const inside = (path, folder) => path.startsWith(`${folder}/`);
const top = path => path.split('/')[0];

function allowedIn(path) {
  const layer = top(path);
  if (layer === 'broker') {
    const part = path.split('/').length > 2 ? path.split('/')[1] : null;
    if (part && !BROKER[part]) return [];
    return part ? [...BROKER[part], `broker/${part}`] : ['bayeux', 'config', 'engine-redis', 'broker'];
  }
  const below = LAYERS.slice(0, LAYERS.indexOf(layer) + 1);
  return GATEWAYS[layer] ? [...below.filter(each => each !== 'broker'), ...GATEWAYS[layer]] : below;
}

function quoted(path, target) {
  if (target.startsWith('.')) return 'an include names its layer: from the root of the repository, without dots';
  if (top(path) === 'tests') return null;
  if (allowedIn(path).some(folder => inside(target, folder))) return null;
  return `${path.split('/').slice(0, -1).join('/')} may not include ${target}`;
}

function angled(path, target) {
  if (LAYERS.includes(top(target))) return `${target} is ours: include it with quotes`;
  for (const {header, only, never} of LIBRARIES) {
    if (!header.test(target)) continue;
    if (only && !only.some(folder => inside(path, folder))) return `${target} belongs to ${only[0]}`;
    if (never && never.some(folder => inside(path, folder))) return `${target} does not belong here`;
  }
  if (top(path) === 'bayeux' && !STANDARD_C.has(target)) return `bayeux is pure: ${target} is not a header of standard C`;
  return null;
}

export function layers(files) {
  return files.filter(({path}) => isC(path) && (LAYERS.includes(top(path)) || top(path) === 'tests')).flatMap(file =>
    eachLine(file, line => {
      const match = /^\s*#\s*include\s*(["<])([^">]+)[">]/.exec(line);
      return match && (match[1] === '"' ? quoted : angled)(file.path, match[2]);
    }));
}
