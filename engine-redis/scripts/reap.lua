-- SPDX-License-Identifier: Apache-2.0
-- reap: ends the sessions whose deadline is before a time, whoever owns them; never one whose
-- deadline lies ahead on the clock of this Redis.
--
-- ns me before limit -> OK id... | BAD key

local me, before, limit = ARGV[2], number(ARGV[3]), number(ARGV[4])
if #ARGV ~= 4 or not before or not limit then return arguments() end

local bad = unfinishable(nil)
if bad then return {'BAD', bad} end

local time = now()
before = math.min(before, time)
local ids = redis.call('ZRANGEBYSCORE', sessions_key, '-inf', '(' .. decimal(before), 'LIMIT', '0', decimal(limit))
local reply = {'OK'}
for i = 1, #ids do
  -- A malformed record goes too; one that cannot go whole waits for the operator.
  local r = record(ids[i])
  if not unfinishable(r) and finish(ids[i], r, 'expired', me) then reply[#reply + 1] = ids[i] end
end
return reply
