-- SPDX-License-Identifier: Apache-2.0
-- sessions: a page of all sessions. Deadlines move while one reads, so pages are those of ZSCAN: what
-- is there all the time comes at least once. limit is a hint; an id without a record is left out.
--
-- ns after limit -> OK next [id owner state deadline]... | BAD key
-- after: 0 begins, then `next` of the page before; next = 0 ends. state: `live`, or the position.

local after, limit = ARGV[2], number(ARGV[3])
if #ARGV ~= 3 or not limit or limit < 1 or not string.find(after, '^%d+$') then return arguments() end

local bad = misfit(sessions_key, 'zset')
if bad then return {'BAD', bad} end

local page = redis.call('ZSCAN', sessions_key, after, 'COUNT', decimal(limit))
local reply, found = {'OK', page[1]}, page[2]
for i = 1, #found, 2 do
  local r = record(found[i])
  if r then
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = r.n
    reply[#reply + 1] = r.k
    reply[#reply + 1] = decimal(tonumber(found[i + 1]))
  end
end
return reply
