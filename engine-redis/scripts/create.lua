-- SPDX-License-Identifier: Apache-2.0
-- create: the record of a new session, owned by the node that answers the handshake; told as an event.
--
-- token: the name of what opened it, or empty; one that is revoked opens none.
-- ns e n id user life sent token -> OK g | EPOCH e | EXISTS | DENIED | FULL | BAD key

local e, n, id, life, sent = ARGV[2], ARGV[3], ARGV[4], number(ARGV[6]), number(ARGV[7])
local r = {user = ARGV[5], tok = ARGV[8]}
if #ARGV ~= 8 or not life or not sent then return arguments() end

local other = other_epoch(e)
if other then return other end
local bad = misfit(sessions_key, 'zset', events_key, 'stream', revoked_key, 'zset') or unfit(r)
if bad then return {'BAD', bad} end
-- An id whose record expired but which was not reaped is still somebody's.
if redis.call('EXISTS', session_key(id), subs_key(id)) > 0 or redis.call('ZSCORE', sessions_key, id) then
  return {'EXISTS'}
end

local time = now()
if r.tok ~= '' then
  local till = redis.call('ZSCORE', revoked_key, r.tok)
  if till and tonumber(till) > time then return {'DENIED'} end
end
local written = redis.pcall('HSET', session_key(id), 'n', n, 'g', '1', 'k', decimal(sent), 'sent', decimal(sent), 'cid', '',
                            'vary', '0', 'life', decimal(life), 'user', r.user, 'created', decimal(time))
if failed(written) then return refused(written) end
if r.tok ~= '' then redis.call('HSET', session_key(id), 'tok', r.tok) end
for _, key in ipairs(sets_of(r)) do redis.call('SADD', key, id) end
set_deadline(id, r, time + life)
happened('handshake', id, 'user', r.user)
return {'OK', '1'}
