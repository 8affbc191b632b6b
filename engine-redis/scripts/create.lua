-- SPDX-License-Identifier: Apache-2.0
-- create: the record of a new session, owned by the node that answers the handshake; told as an event.
--
-- ns e n id user life sent -> OK g | EPOCH e | EXISTS | FULL | BAD key

local e, n, id, user, life, sent = ARGV[2], ARGV[3], ARGV[4], ARGV[5], number(ARGV[6]), number(ARGV[7])
if #ARGV ~= 7 or not life or not sent then return arguments() end

local other = other_epoch(e)
if other then return other end
local bad = misfit(sessions_key, 'zset', events_key, 'stream')
if not bad and user ~= '' then bad = misfit(user_key(user), 'set') end
if bad then return {'BAD', bad} end
-- An id whose record expired but which was not reaped is still somebody's.
if redis.call('EXISTS', session_key(id), subs_key(id)) > 0 or redis.call('ZSCORE', sessions_key, id) then
  return {'EXISTS'}
end

local time = now()
local written = redis.pcall('HSET', session_key(id), 'n', n, 'g', '1', 'k', decimal(sent), 'sent', decimal(sent), 'cid', '',
                            'vary', '0', 'life', decimal(life), 'user', user, 'created', decimal(time))
if failed(written) then return refused(written) end
if user ~= '' then redis.call('SADD', user_key(user), id) end
set_deadline(id, user, time + life)
happened('handshake', id, 'user', user)
return {'OK', '1'}
