-- SPDX-License-Identifier: Apache-2.0
-- sub: adds subscriptions. One that is there already keeps its start.
--
-- ns id n g [pattern start[:upto]]... -> OK | MOVED n g | NONE | FULL | BAD key

local id, n, g = ARGV[2], ARGV[3], ARGV[4]
if #ARGV < 4 or #ARGV % 2 ~= 0 then return arguments() end
for i = 6, #ARGV, 2 do
  if not extent(ARGV[i]) then return arguments() end
end

local r, reply = owned(id, n, g)
if not r then return reply end
local bad = misfit(subs_key(id), 'hash')
if bad then return {'BAD', bad} end

for i = 5, #ARGV, 2 do
  local written = redis.pcall('HSETNX', subs_key(id), ARGV[i], ARGV[i + 1])
  -- Only the first can be refused: the type is known.
  if failed(written) then return refused(written) end
end
local expiry = redis.call('PEXPIRETIME', session_key(id))
if expiry > 0 then redis.call('PEXPIREAT', subs_key(id), decimal(expiry)) end
return {'OK'}
