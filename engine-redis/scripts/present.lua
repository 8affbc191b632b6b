-- SPDX-License-Identifier: Apache-2.0
-- present: who is on a channel: those whose join was told, and no leave. Of very many some.
--
-- ns channel limit clients -> OK users sessions members [user sessions]xmembers [id user]... | BAD key
-- users, sessions: in all. clients: 1 when sessions are to be listed, too.

local channel, limit, clients = ARGV[2], number(ARGV[3]), ARGV[4]
if #ARGV ~= 4 or not limit then return arguments() end
local joined, here = joined_key(channel), here_key(channel)
local bad = misfit(joined, 'set', here, 'hash', users_key(channel), 'hash')
if bad then return {'BAD', bad} end

local users, sessions = redis.call('SCARD', joined), redis.call('HLEN', here)
local members
if users <= limit then
  members = redis.call('SMEMBERS', joined)
else
  members = redis.call('SRANDMEMBER', joined, decimal(limit))
end
table.sort(members)

local reply = {'OK', decimal(users), decimal(sessions), decimal(#members)}
for _, user in ipairs(members) do
  reply[#reply + 1] = user
  reply[#reply + 1] = redis.call('HGET', users_key(channel), user) or '0'
end
if clients == '1' and sessions > 0 then
  local rows
  if sessions <= limit then
    rows = redis.call('HGETALL', here)
  else
    rows = redis.call('HRANDFIELD', here, decimal(limit), 'WITHVALUES')
  end
  for i = 1, #rows do reply[#reply + 1] = rows[i] end
end
return reply
