-- SPDX-License-Identifier: Apache-2.0
-- settle: tells of users that have left: those without a session for the grace time. Also what could not be
-- told when it happened.
--
-- ns node incarnation grace limit -> OK told left | FENCED | BAD key
-- told: entries that were appended; left: 1 when there may be more.

local node, incarnation, grace, limit = ARGV[2], ARGV[3], number(ARGV[4]), number(ARGV[5])
if #ARGV ~= 5 or not grace or not limit then return arguments() end
if fenced(node, incarnation) then return {'FENCED'} end
local bad = misfit(leaving_key, 'zset', journal_key, 'stream')
if bad then return {'BAD', bad} end

local due = redis.call('ZRANGEBYSCORE', leaving_key, '-inf', decimal(math.max(now() - grace, 0)), 'LIMIT', '0', decimal(limit))
if #due == 0 then return {'OK', '0', '0'} end

local total = 0
essential()
for _, member in ipairs(due) do
  local channel, user = string.match(member, '^(%S+) (.*)$')
  local told = channel and settle(channel, user) or not channel and 0
  if not told then break end
  redis.call('ZREM', leaving_key, member)
  total = total + told
end
return {'OK', decimal(total), #due == limit and '1' or '0'}
