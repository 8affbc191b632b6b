-- SPDX-License-Identifier: Apache-2.0
-- sub: adds subscriptions. One that is there already keeps its start. What was appended between the start
-- and now is noted as an extent: its owner reads it back, and should it die before that has arrived, the
-- next one does so again. Each that is new is told as an event.
--
-- A + behind the extent: who is on this channel is counted; `told` joins and the like were appended.
--
-- ns id n g incarnation [pattern start[:upto][+]]... -> OK [told] | FENCED | MOVED n g | NONE | FULL | BAD key

local id, n, g = ARGV[2], ARGV[3], ARGV[4]
if #ARGV < 5 or #ARGV % 2 ~= 1 then return arguments() end
for i = 7, #ARGV, 2 do
  if not extent((unmarked(ARGV[i]))) then return arguments() end
end
if fenced(n, ARGV[5]) then return {'FENCED'} end

local r, reply = owned(id, n, g)
if not r then return reply end
local bad = misfit(subs_key(id), 'hash', events_key, 'stream')
if bad then return {'BAD', bad} end

local _, p = current()
local told = 0
for i = 6, #ARGV, 2 do
  local extent_now, counts = unmarked(ARGV[i + 1])
  local start = number(extent_now)
  if start and type(p) == 'number' and p > start then extent_now = decimal(start) .. ':' .. decimal(p) end
  local written = redis.pcall('HSETNX', subs_key(id), ARGV[i], extent_now)
  -- Only the first can be refused: the type is known.
  if failed(written) then return refused(written) end
  if written == 1 then happened('subscribe', id, 'channel', ARGV[i], 'user', r.user) end
  if counts then told = told + enter(id, r.user, ARGV[i], (now())) end
end
local expiry = redis.call('PEXPIRETIME', session_key(id))
if expiry > 0 then redis.call('PEXPIREAT', subs_key(id), decimal(expiry)) end
if told > 0 then return {'OK', decimal(told)} end
return {'OK'}
