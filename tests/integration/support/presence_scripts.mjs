// SPDX-License-Identifier: Apache-2.0
// Presence in the scripts: cases of redis-scripts.test.mjs.

export function presenceCases(scenario, {E, F, assert}) {
  // What was told on the companion of /a.
  const told = async db => (await db.raw('XRANGE', 'ns:journal', '-', '+')).map(([, fields]) => fields)
    .filter(([, channel]) => channel === '/presence/a')
    .map(([, , , text, ...rest]) => {
      assert.deepEqual(rest, ['p', '*'], 'it stays in its pod');
      const {channel, data: {event, user, users}} = JSON.parse(text);
      assert.equal(channel, '/presence/a');
      return `${event}${user === undefined ? '' : ` ${user}`} ${users}`;
    });
  const settle = (db, grace = 0) => db.run('settle', 'A', 1, grace, 10);
  const counted = async db => ({
    here: (await db.quiet('HLEN', 'ns:here:/a')), users: await db.quiet('HGETALL', 'ns:users:/a'), leaving: (await db.quiet('ZRANGE', 'ns:leaving', 0, -1, 'WITHSCORES')).filter((_, i) => i % 2 === 0).sort(),
  });

  scenario('presence: counted by users, told once; what settles a leave is that nobody came back', async db => {
    await db.begin();
    for (const [id, user] of [['s', 'bob'], ['t', 'bob'], ['u', 'a"\\\u00e4']]) await db.create(id, 'A', user);
    await db.is(['OK', '2'], 'sub', 's', 'A', 1, 1, '/a', `${F}+`, '/b', F);
    await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', `${F}+`);
    await db.is(['OK'], 'sub', 't', 'A', 1, 1, '/a', `${F}+`);
    await db.is(['OK', '1'], 'sub', 'u', 'A', 1, 1, '/a', `${F}+`);
    assert.deepEqual((await db.load('s')).subs, ['/a', String(F), '/b', String(F)], 'the mark is not of the record');
    await db.is(['OK', '2', '3', '2', 'a"\\\u00e4', '1', 'bob', '2'], 'present', '/a', 10, 0);
    await db.is(['OK', '2', '3', '2', 'a"\\\u00e4', '1', 'bob', '2', 's', 'bob', 't', 'bob', 'u', 'a"\\\u00e4'], 'present', '/a', 10, 1);
    await db.is(['OK', '0', '0', '0'], 'present', '/b', 10, 1);
    await db.is(['OK'], 'unsub', 's', 'A', 1, 1, '/a', '/none');
    await db.is(['OK', '0', '0'], 'settle', 'A', 1, 0, 10);
    await db.is(['OK'], 'end', 't', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.is(['OK', '0', '0'], 'settle', 'A', 1, 60000, 10);
    assert.deepEqual((await counted(db)).leaving, ['/a bob']);
    await db.is(['OK'], 'sub', 's', 'A', 1, 1, '/a', `${F}+`);
    assert.deepEqual(await counted(db), {here: 2, users: ['a"\\\u00e4', '1', 'bob', '1'], leaving: []});
    assert.deepEqual(await told(db), ['occupied 1', 'join bob 1', 'join a"\\\u00e4 2']);
    await db.is(['OK'], 'end', 's', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.is(['OK', '1', '0'], 'settle', 'A', 1, 0, 10);
    await db.is(['OK'], 'end', 'u', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.is(['OK', '2', '0'], 'settle', 'A', 1, 0, 10);
    assert.deepEqual((await told(db)).slice(3), ['leave bob 1', 'leave a"\\\u00e4 0', 'vacated 0']);
    await db.isRaw(0, 'EXISTS', 'ns:here:/a', 'ns:users:/a', 'ns:joined:/a', 'ns:counted:s', 'ns:counted:t', 'ns:counted:u', 'ns:leaving');
    await db.is(['FENCED'], 'settle', 'A', 2, 0, 10);
  });

  scenario('presence: sessions that are reaped, lost or whose record is gone leave, too', async db => {
    await db.begin();
    for (const [id, user] of [['r', 'ann'], ['s', 'bob'], ['t', '']]) {
      await db.create(id, 'A', user);
      await db.run('sub', id, 'A', 1, 1, '/a', `${F}+`);
    }
    for (const id of ['r', 't']) await db.isRaw(0, 'ZADD', 'ns:sessions', 1000, id);
    await db.raw('DEL', 'ns:session:t');
    await db.is(['OK', 'r', 't'], 'reap', 'B', 5000, 10);
    await db.raw('HSET', 'ns:session:s', 'k', 'live');
    await db.is(['LOST'], 'claim', 's', 1, 'B');
    assert.deepEqual(await counted(db), {here: 0, users: [], leaving: ['/a ', '/a ann', '/a bob']});
    for (const [i, user] of ['ann', '', 'bob'].entries()) await db.isRaw(0, 'ZADD', 'ns:leaving', 1000 + i, `/a ${user}`);
    await db.is(['OK', '2', '1'], 'settle', 'A', 1, 0, 2);
    await db.is(['OK', '2', '0'], 'settle', 'A', 1, 0, 2);
    assert.deepEqual((await told(db)).slice(-4), ['leave ann 2', 'leave null 1', 'leave bob 0', 'vacated 0']);
  });

  scenario('presence: written again after a rollback; what it took back is told again', async db => {
    await db.begin();
    const of = (...subs) => ['s', 1, 'live', 50, 'c', 1, 60000, 'bob', 123, '', subs.length / 2, ...subs];
    await db.is(['OK', 's'], 'resave', E, 'A', ...of('/a', '5+', '/b', '6:7'));
    assert.deepEqual((await db.load('s')).subs, ['/a', '5', '/b', '6:7']);
    await db.is(['OK', 's'], 'resave', E, 'A', ...of('/a', '5+', '/b', '6:7'));
    assert.deepEqual(await told(db), ['occupied 1', 'join bob 1']);
    await db.is(['OK', 's'], 'resave', E, 'A', ...of('/b', '6:7'));
    await settle(db);
    assert.deepEqual((await told(db)).slice(2), ['leave bob 0', 'vacated 0']);
    await db.is(['OK', 's'], 'resave', E, 'A', ...of('/a', '5:6+'));
    await db.is(['OK'], 'end', 's', 'A', 1, 1, 'disconnect', 0, 'A');
    await settle(db);
    assert.deepEqual((await told(db)).slice(4), ['occupied 1', 'join bob 1', 'leave bob 0', 'vacated 0']);
  });

  scenario('presence: keys of another type, or a head that is gone, do not keep a session from what it wants', async db => {
    await db.begin();
    await db.create('s');
    for (const key of ['here:/a', 'users:/b', 'joined:/c', 'counted:s']) await db.raw('SET', `ns:${key}`, 'x');
    await db.is(['OK', '2'], 'sub', 's', 'A', 1, 1, '/a', `${F}+`, '/b', `${F}+`, '/c', `${F}+`, '/d', `${F}+`);
    await db.is(['BAD', 'ns:here:/a'], 'present', '/a', 10, 1);
    await db.is(['OK'], 'unsub', 's', 'A', 1, 1, '/a', '/c');
    await db.raw('DEL', 'ns:counted:s');
    await db.create('t');
    const head = await db.raw('HGETALL', 'ns:head');
    await db.raw('DEL', 'ns:head');
    await db.is(['OK'], 'sub', 't', 'A', 1, 1, '/e', `${F}+`);
    await db.is(['OK', '0', '0'], 'settle', 'A', 1, 0, 10);
    await db.raw('HSET', 'ns:head', ...head);
    const [ok, n] = await settle(db);
    assert.deepEqual([ok, n], ['OK', '2'], 'told when there is a head again');
    await db.is(['OK', '1', '1', '1', 'bob', '1'], 'present', '/e', 10, 0);
    await db.is(['OK'], 'end', 't', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.raw('SET', 'ns:leaving', 'x');
    await db.is(['BAD', 'ns:leaving'], 'settle', 'A', 1, 0, 10);
  });

  scenario('presence: with full memory sessions still leave, and that is told', async db => {
    await db.begin();
    await db.create('s');
    await db.run('sub', 's', 'A', 1, 1, '/a', `${F}+`);
    await db.raw('CONFIG', 'SET', 'maxmemory', 1);
    await db.is(['OK'], 'end', 's', 'A', 1, 1, 'disconnect', 0, 'A');
    await db.is(['OK', '2', '0'], 'settle', 'A', 1, 0, 10);
    await db.raw('CONFIG', 'SET', 'maxmemory', 0);
    assert.deepEqual((await told(db)).slice(2), ['leave bob 0', 'vacated 0']);
  });
}
