-- SPDX-License-Identifier: Apache-2.0
-- members: the sessions of a user, or those that a token opened, at most `limit` of them. What the set has
-- and the records do not bear out (a record that expired, or that a rollback took back) leaves the set.
--
-- ns user token limit, of which user or token is empty -> OK id... | BAD key

local user, token, limit = ARGV[2], ARGV[3], number(ARGV[4])
if #ARGV ~= 4 or not limit then return arguments() end

local key = token ~= '' and token_key(token) or user_key(user)
local bad = misfit(key, 'set')
if bad then return {'BAD', bad} end

local reply = {'OK'}
essential()
local ids = redis.call('SMEMBERS', key)
table.sort(ids)
for _, id in ipairs(ids) do
  if #reply > limit then break end
  local r, malformed = record(id)
  if malformed or (r and (token ~= '' and r.tok == token or token == '' and r.user == user)) then
    reply[#reply + 1] = id
  else
    redis.call('SREM', key, id)
  end
end
return reply
