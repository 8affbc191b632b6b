-- SPDX-License-Identifier: Apache-2.0
-- events: what is next to be told of the stream of events, for the one node that tells it to a webhook.
-- The others hear HELD. Who tells says how far it has got, under the term in which it was given that: an
-- answer from before a stall, when another has taken over, moves nothing. `of` counts the entries that
-- were told or missed; the stream knows how many there ever were, so what it has dropped untold is known.
--
-- ns node incarnation lease term told of limit
--   term: '0' has none. told: id of the last entry that was told, '' as before; of: as answered, + told
--   -> OK term of missed [entry kind id user detail]... | HELD | FENCED | BAD key
--   missed: entries in front of these that are gone; `of` has them in it

local node, incarnation, lease, term, told, of, limit =
  ARGV[2], ARGV[3], number(ARGV[4]), ARGV[5], ARGV[6], number(ARGV[7]), number(ARGV[8])
if #ARGV ~= 8 or not lease or not number(term) or not of or not limit then return arguments() end
if told ~= '' and not string.find(told, '^%d+%-%d+$') then return arguments() end
if fenced(node, incarnation) then return {'FENCED'} end
local bad = misfit(events_key, 'stream', teller_key, 'string', told_key, 'hash')
if bad then return {'BAD', bad} end

local ever, length = 0, 0
if redis.call('EXISTS', events_key) == 1 then
  local info = redis.call('XINFO', 'STREAM', events_key)
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then ever = tonumber(info[i + 1]) end
    if info[i] == 'length' then length = tonumber(info[i + 1]) end
  end
end
local gone = ever - length

local holder = redis.call('GET', teller_key)
if holder and holder ~= node then return {'HELD'} end
local state = redis.call('HMGET', told_key, 'at', 'of', 't')
local at, counted, is = state[1] or '0-0', number(state[2]), number(state[3]) or 0

-- Nobody is owed what was dropped before there was a webhook; a stream that was deleted begins again.
if not counted then counted = gone end
if counted > ever then counted, at = gone, '0-0' end

essential()
redis.call('SET', teller_key, node, 'PX', decimal(lease))
if holder and decimal(is) == term then
  if told ~= '' then at = told end
  if of > counted then counted = math.min(of, ever) end
else
  is = is + 1
end
redis.call('HSET', told_key, 'at', at, 'of', decimal(counted), 't', decimal(is))

local missed = math.max(gone - counted, 0)

local reply = {'OK', decimal(is), decimal(counted + missed), decimal(missed)}
if limit == 0 then return reply end
for _, entry in ipairs(redis.call('XRANGE', events_key, '(' .. at, '+', 'COUNT', decimal(limit))) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = fields.k or ''
  reply[#reply + 1] = fields.id or ''
  reply[#reply + 1] = fields.user or ''
  reply[#reply + 1] = fields.reason or fields.channel or ''
end
return reply
