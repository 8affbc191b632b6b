-- SPDX-License-Identifier: Apache-2.0
-- unsub: removes subscriptions, with their starts; each that was there is told as an event.
--
-- ns id n g incarnation [pattern]... -> OK | FENCED | MOVED n g | NONE | BAD key

local id, n, g = ARGV[2], ARGV[3], ARGV[4]
if #ARGV < 5 then return arguments() end
if fenced(n, ARGV[5]) then return {'FENCED'} end

local r, reply = owned(id, n, g)
if not r then return reply end
local bad = misfit(subs_key(id), 'hash', events_key, 'stream')
if bad then return {'BAD', bad} end

for i = 6, #ARGV do
  if redis.call('HDEL', subs_key(id), ARGV[i]) == 1 then happened('unsubscribe', id, 'channel', ARGV[i], 'user', r.user) end
  if r.here then
    exit(id, ARGV[i], (now()))
    soft('SREM', counted_key(id), ARGV[i])
  end
end
return {'OK'}
