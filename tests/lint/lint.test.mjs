// SPDX-License-Identifier: Apache-2.0
// The lints over the repository, each after it was seen to catch bad samples.

import assert from 'node:assert/strict';
import {mkdtempSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {test} from '../integration/lib/suite.mjs';
import {files, show} from './tree.mjs';
import {layers} from './layers.mjs';
import {fileSizes, functionSizes} from './sizes.mjs';
import {words, spdx, blanks} from './words.mjs';
import {headers, format} from './compiler.mjs';
import {operations, redis} from './docs.mjs';

const tree = files();

function judge(t, found) {
  for (const each of found.filter(each => each.warning)) t.log(`warning: ${show(each)}`);
  const wrong = found.filter(each => !each.warning);
  assert.equal(wrong.length, 0, `\n${wrong.map(show).join('\n')}\n`);
}

// Files {path: text} on the disk for one test; returns [list, folder].
function onDisk(t, samples) {
  const folder = mkdtempSync(join(tmpdir(), 'mora-lint-'));
  t.after(() => rmSync(folder, {recursive: true}));
  for (const [path, text] of Object.entries(samples)) {
    mkdirSync(dirname(join(folder, path)), {recursive: true});
    writeFileSync(join(folder, path), text);
  }
  return [Object.entries(samples).map(([path, text]) => ({path, text})), folder];
}

const caught = (lint, path, text) => lint([{path, text}]).length;

test('layers: forbidden includes are caught, allowed ones are not', () => {
  const cases = [
    ['bayeux/a.c', '"bayeux/base.h"', 0], ['bayeux/a.c', '<string.h>', 0], ['bayeux/a.c', '"config/config.h"', 1],
    ['bayeux/a.c', '<unistd.h>', 1], ['bayeux/a.c', '<sys/time.h>', 1], ['bayeux/a.c', '"../config/config.h"', 1],
    ['bayeux/a.c', '"base.h"', 1], ['bayeux/a.c', '<bayeux/base.h>', 1],
    ['config/a.c', '"bayeux/scan.h"', 0], ['config/a.c', '"broker/host/log.h"', 1],
    ['engine-redis/core/a.c', '"config/config.h"', 0], ['engine-redis/core/a.c', '<hiredis/hiredis.h>', 1],
    ['engine-redis/link/a.c', '<hiredis/async.h>', 0], ['engine-redis/link/a.c', '"broker/host/loop.h"', 1],
    ['broker/host/a.c', '<uv.h>', 0], ['broker/transport/a.c', '<uv.h>', 1], ['broker/host/a.c', '<libwebsockets.h>', 1],
    ['broker/host/a.c', '"broker/publish/publisher.h"', 1], ['broker/transport/a.c', '"broker/host/http.h"', 0],
    ['broker/transport/a.c', '"broker/admin/admin.h"', 1], ['broker/admin/a.c', '"broker/publish/handler.h"', 0],
    ['broker/publish/a.c', '"broker/admin/admin.h"', 1], ['broker/main.c', '"broker/admin/admin.h"', 0],
    ['broker/unknown/a.c', '"bayeux/base.h"', 1], ['broker/transport/a.c', '<jansson.h>', 1], ['broker/admin/a.c', '<jansson.h>', 0],
    ['broker/main.c', '"api-bridge/chat.h"', 1],
    ['api-bridge/a.c', '"broker/host/http.h"', 0], ['api-bridge/a.c', '"broker/publish/remote.h"', 0],
    ['api-bridge/a.c', '"broker/transport/transport.h"', 1], ['api-bridge/a.c', '"broker/broker.h"', 1],
    ['api-bridge/a.c', '"web-gateway/page.h"', 1], ['web-gateway/a.c', '"api-bridge/chat.h"', 0],
    ['web-gateway/a.c', '"broker/access/rules.h"', 1], ['tests/unit/test_a.c', '"broker/admin/admin.h"', 0],
    ['tests/unit/test_a.c', '<libwebsockets.h>', 1],
  ];
  for (const [path, include, expected] of cases)
    assert.equal(caught(layers, path, `#include ${include}\n`), expected, `${path} includes ${include}`);
  assert.equal(caught(layers, 'bayeux/a.c', '#  include "config/config.h"\n'), 1);
});

test('layers: the tree', t => judge(t, layers(tree)));

test('sizes: a long file and a long function are caught', t => {
  const file = lines => ({path: 'a.c', text: 'int x;\n'.repeat(lines)});
  const count = list => [list.filter(each => !each.warning).length, list.filter(each => each.warning).length];
  assert.deepEqual(count(fileSizes([file(500)])), [0, 0]);
  assert.deepEqual(count(fileSizes([file(501)])), [0, 1]);
  assert.deepEqual(count(fileSizes([file(901)])), [1, 0]);
  const body = lines => `static int f(int a) {\n${'  a++;\n'.repeat(lines - 3)}  return a;\n}\n`;
  for (const [lines, expected] of [[60, [0, 0]], [61, [0, 1]], [100, [0, 1]], [101, [1, 0]]])
    for (const path of ['a.c', 'b/a.h'])
      assert.deepEqual(count(functionSizes(...onDisk(t, {[path]: body(lines)}))), expected, `${path}, ${lines} lines`);
});

test('sizes: the tree', t => judge(t, [...fileSizes(tree), ...functionSizes(tree)]));

test('words: places of a machine, hosts in lock files and merge marks are caught', () => {
  const places = ['work', 'root', 'home', 'tmp'];
  for (const place of places) assert.equal(caught(words, 'docs/a.md', `see /${place}/a\n`), 1, place);
  assert.equal(caught(words, 'a.sh', `cd "/${places[1]}/a"\n`), 1);
  assert.equal(caught(words, 'a.c', '// GET /v1/home/a\n'), 0);
  assert.equal(caught(words, 'a.c', `${'<'.repeat(7)} ours\n`), 1);
  for (const [line, expected] of [['"resolved": "x"', 1], ['"x": "https://example.org/a.tgz"', 1],
                                  ['"a": "github:b/a#f9b7ec3"', 1], ['"version": "1.0.0"', 0], ['"url": "https://example.org/sponsor"', 0]])
    assert.equal(caught(words, 'tests/package-lock.json', `  ${line}\n`), expected, line);
});

test('words: a missing SPDX line, tabs, trailing blanks, a missing line end are caught', () => {
  const line = `SPDX-License-${'Identifier'}: Apache-2.0`;
  for (const path of ['a.c', 'a.h', 'x/CMakeLists.txt', 'Makefile', 'tests/run', '.ci/run', 'a.mjs']) {
    assert.equal(caught(spdx, path, 'x\n'), 1, path);
    assert.equal(caught(spdx, path, `// ${line}\nx\n`), 0, path);
  }
  assert.equal(caught(spdx, 'a.sh', `#!/bin/sh\n# ${line}\n`), 0);
  assert.equal(caught(spdx, 'a.c', `\n\n// ${line}\n`), 1);
  for (const [text, expected] of [['a\n', 0], ['a \n', 1], ['\ta\n', 1], ['a\r\n', 1], ['a', 1], ['a \u2014 b\n', 1]])
    assert.equal(caught(blanks, 'a.c', text), expected, JSON.stringify(text));
  assert.equal(caught(blanks, 'Makefile', 'a:\n\tb\n'), 0);
});

test('words: the tree', t => judge(t, [...words(tree), ...spdx(tree), ...blanks(tree)]));

test('headers: one that needs another is caught', async t => {
  const [list, folder] = onDisk(t, {
    'a/good.h': '#pragma once\n#include <stddef.h>\nsize_t f(void);\n',
    'a/user.h': '#pragma once\n#include "a/good.h"\nsize_t g(void);\n',
    'a/bad.h': '#pragma once\n\nsize_t h(void);\n',
  });
  assert.deepEqual((await headers(list, folder)).map(({path, line}) => [path, line]), [['a/bad.h', 3]]);
});

test('headers: each of the tree compiles alone', async t => judge(t, await headers(tree)));

test('format: a bad sample is caught', async t => {
  const style = tree.find(({path}) => path === '.clang-format').text;
  const [list, folder] = onDisk(t, {'.clang-format': style, 'good.c': 'int *f(int a) { return a ? 0 : 0; }\n', 'bad.c': 'int* f( int a ) {return a?0:0;}\n'});
  assert.deepEqual((await format(list, folder)).map(({path}) => path), ['bad.c']);
});

test('format: the tree', {timeout: 300000}, async t => judge(t, await format(tree)));

test('operations: a page that lacks an event or a metric, or has one too many, is caught', () => {
  const page = rows => ({path: 'docs/operations.md', text: `## Log events\n\n${rows[0]}\n\n## Metrics\n\n${rows[1]}\n`});
  const source = {path: 'broker/a.c', text: 'bk_info("a.b"); X("mora_x_total")'};
  assert.equal(operations([source, page(['| `a.b` | info |', '| `mora_x_total` | counter |'])]).length, 0);
  assert.equal(operations([source, page(['', ''])]).length, 2);
  assert.equal(operations([source, page(['| `a.b`, `c` | info |', '| `mora_x_total` | |\n| `mora_y` | |'])]).length, 2);
});

test('operations: the page is complete', t => judge(t, operations(tree)));

test('redis: a page that lacks a key or a script, or has one too many, is caught', () => {
  const sources = [{path: 'engine-redis/scripts/keys.lua', text: "local a_key = ns .. ':a'\nlocal function b_key(n) return ns .. ':b:' .. n end\n"},
    {path: 'engine-redis/scripts/do.lua', text: ''}];
  const page = (keys, scripts) => [...sources, {path: 'docs/redis.md', text: `## Keys\n\n${keys}\n\n## Scripts\n\n${scripts}\n`}];
  assert.equal(redis(page('| `a` | |\n| `b:<n>` | |', '| `do` | |')).length, 0);
  assert.equal(redis(page('| `a` | |', '')).length, 2);
  assert.equal(redis(page('| `a`, `b:<n>` | |\n| `c` | |', '| `do`, `dont` | |')).length, 2);
});

test('redis: the page is complete', t => judge(t, redis(tree)));
