// SPDX-License-Identifier: Apache-2.0
// Revoked tokens, and telling events, in the scripts: cases of redis-scripts.test.mjs.

export function lifeCases(scenario, {E, F, assert}) {
  scenario('revoke: a token opens no session until then, which moves later only; its sessions are a set', async db => {
    await db.begin();
    await db.create('s', 'A', 'bob', 'jti:1');
    await db.is(['OK', '1'], 'create', E, 'A', 't', '', 10, F, 'jti:1');
    assert.equal((await db.load('s')).token, 'jti:1');
    assert.deepEqual((await db.quiet('SMEMBERS', 'ns:token:jti:1')).sort(), ['s', 't']);
    assert.equal(await db.quiet('PEXPIRETIME', 'ns:token:jti:1'), (await db.load('s')).deadline + 3600000);
    assert.deepEqual((await db.run('members', '', 'jti:1', 10)).sort(), ['OK', 's', 't']);
    await db.is(['OK', String(F + 1)], 'revoke', E, 'A', 1, '', 'jti:1', 60000);
    const [[, [, kind, , name, , till]]] = await db.quiet('XRANGE', 'ns:journal', `${F + 1}-0`, '+');
    assert.deepEqual([kind, name, till], ['revoke-token', 'jti:1', await db.quiet('ZSCORE', 'ns:revoked', 'jti:1')]);
    await db.quietly('revoke', E, 'A', 1, '', 'jti:1', 1000);
    assert.equal(await db.quiet('ZSCORE', 'ns:revoked', 'jti:1'), till);
    await db.unchanged(async () => {
      await db.is(['DENIED'], 'create', E, 'A', 'u', 'bob', 60000, F, 'jti:1');
      await db.fails(/^ERR wrong arguments/, 'revoke', E, 'A', 1, '', '', 1000);
      await db.fails(/^ERR wrong arguments/, 'revoke', E, 'A', 1, 'bob', 'jti:1', 1000);
      await db.fails(/^ERR wrong arguments/, 'revoke', E, 'A', 1, '', 'jti:1', 'x');
    });
    await db.create('v', 'A', 'bob', 'jti:2');
    await db.raw('ZADD', 'ns:revoked', 1, 'jti:2');
    await db.create('w', 'A', 'bob', 'jti:2');
    await db.is(['OK'], 'end', 's', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.isRaw(['t'], 'SMEMBERS', 'ns:token:jti:1');
    await db.raw('HSET', 'ns:pods', 'b', 10);
    await db.quietly('relay', 'b', 'A', 'r1', 10, 11, 0, 'revoke-token', 'jti:9', till, 'B:1');
    await db.isRaw(till, 'ZSCORE', 'ns:revoked', 'jti:9');
    await db.raw('DEL', 'ns:session:v');
    await db.is(['OK', 'w'], 'members', '', 'jti:2', 10);
    await db.raw('DEL', 'ns:token:jti:2');
    await db.raw('SET', 'ns:token:jti:2', 'x');
    await db.is(['BAD', 'ns:token:jti:2'], 'create', E, 'A', 'y', '', 60000, F, 'jti:2');
    await db.is(['BAD', 'ns:token:jti:2'], 'end', 'w', 'A', 1, 1, 'disconnect', 0, 'A');
  });

  scenario('events: one node at a time, a term for each; what was told under it, and what went untold', async db => {
    await db.begin();
    const ask = (node, term, told, of, limit, lease = 60000) => db.run('events', node, 1, lease, term, told, of, limit);
    await db.is(['OK', '1', '0', '0'], 'events', 'A', 1, 60000, 0, '', 0, 10);
    await db.create('s');
    await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', 5);
    const ids = (await db.raw('XRANGE', 'ns:events', '-', '+')).map(([id]) => id);
    const [first, second] = [[ids[0], 'handshake', 's', 'bob', ''], [ids[1], 'subscribe', 's', 'bob', '/a']];
    assert.deepEqual(await ask('A', 1, '', 0, 10), ['OK', '1', '0', '0', ...first, ...second]);
    assert.deepEqual(await ask('A', 1, '', 0, 1), ['OK', '1', '0', '0', ...first], 'what was not told comes again');
    assert.deepEqual(await ask('A', 1, ids[0], 1, 10), ['OK', '1', '1', '0', ...second]);
    assert.deepEqual(await ask('A', 1, ids[0], 1, 0), ['OK', '1', '1', '0'], 'the lease alone; saying it twice is saying it once');
    assert.deepEqual(await ask('B', 0, '', 0, 10), ['HELD']);
    await db.raw('DEL', 'ns:teller');
    assert.deepEqual(await ask('A', 1, ids[1], 2, 10), ['OK', '2', '1', '0', ...second], 'under a term that is over nothing was told');
    assert.deepEqual(await ask('A', 1, ids[1], 2, 10), ['OK', '3', '1', '0', ...second]);
    await db.raw('DEL', 'ns:teller');
    assert.deepEqual(await ask('B', 0, '', 0, 10), ['OK', '4', '1', '0', ...second]);
    await db.is(['OK'], 'unsub', 's', 'A', 1, 1, '/a');
    await db.raw('XTRIM', 'ns:events', 'MAXLEN', 1);
    const reply = await ask('B', 4, '', 1, 10);
    assert.deepEqual([...reply.slice(0, 4), reply[5]], ['OK', '4', '2', '1', 'unsubscribe'], 'the one that was trimmed is counted');
    assert.deepEqual(await ask('B', 4, reply[4], 3, 10), ['OK', '4', '3', '0']);
    await db.raw('DEL', 'ns:events');
    await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/b', 5);
    assert.deepEqual((await ask('B', 4, '', 3, 10)).slice(5, 6), ['subscribe'], 'a stream that begins again');
    assert.deepEqual(await db.run('events', 'B', 2, 1000, 4, '', 0, 10), ['FENCED']);
    await db.fails(/^ERR wrong arguments/, 'events', 'B', 1, 1000, 4, 'x', 0, 10);
    await db.is(['OK'], 'depart', 'B', 1);
    await db.isRaw(0, 'EXISTS', 'ns:teller');
    await db.raw('SET', 'ns:told', 'x');
    await db.is(['BAD', 'ns:told'], 'events', 'A', 1, 1000, 0, '', 0, 10);
  });
}
