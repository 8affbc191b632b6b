-- SPDX-License-Identifier: Apache-2.0
-- Put in front of every script. The one Lua file that knows the keys, and what several scripts share.
--
-- Rules that all scripts keep:
-- * ARGV[1] is the namespace. All numbers travel as decimal text; ids of streams are written by
--   decimal(), because Lua would turn 1763700000000001 into 1.7637e+15.
-- * Everything is checked before the first write. Redis does not roll a script back.
-- * Redis tests memory, role, replicas and disk at a script's first write only. A script whose first
--   write is refused has written nothing; one whose first write passed is not refused later. So
--   scripts that take memory let that write tell (FULL), and scripts that must work when memory is
--   full begin with a deletion, which is never refused for memory: see `essential`.
-- * {'BAD', key}: a key does not hold what it should; nothing was written. An error reply says the
--   same of anything unforeseen: nothing was written.

local ns = ARGV[1]

local HOUR = 3600000
local HEARTBEAT = 3000           -- ms: without a tick for so long a node counts as dead
local FORGOTTEN = 60000          -- ms: and after so long it is not listed any more
local LINK_LIFE = HOUR           -- renewed by each tick
local MARK_LIFE = 2 * HOUR       -- twice the longest life of a session
local BACKSTOP = HOUR            -- a record outlives its deadline by this, should nobody reap it
local ONCE_LIFE = '300000'         -- text: Redis writes a number of Lua's by '%.17g', which takes long
local INBOX_LIFE = 60
local ENDED_LIFE = 60000         -- ms: so long no node may save an ended session again
local FROM_LIFE = 86400000      -- ms: an entry of another pod that comes again after so long would be one more
local INBOX_LENGTH = 10000
local EVENTS_LENGTH = 100000
local REVOKED_COUNT = 100000      -- tokens at a time

local head_key = ns .. ':head'               -- hash e p f s run
local journal_key = ns .. ':journal'         -- stream <position>-0
local sessions_key = ns .. ':sessions'       -- zset id -> deadline
local nodes_key = ns .. ':nodes'             -- zset node -> time of its last tick
local events_key = ns .. ':events'           -- stream of life-cycle events
local teller_key = ns .. ':teller'           -- the node that tells events to the webhook
local told_key = ns .. ':told'               -- hash at of t: how far it has got, see events.lua
local leaving_key = ns .. ':leaving'         -- zset "<channel> <user>" -> since when no session of the user is there
local revoked_key = ns .. ':revoked'         -- zset name of a token -> until when it opens no session
local pods_key = ns .. ':pods'               -- hash pod -> position of its journal up to which it is here

local function session_key(id) return ns .. ':session:' .. id end   -- hash, see `record`
local function subs_key(id) return ns .. ':subs:' .. id end         -- hash pattern -> start[:upto]
local function user_key(user) return ns .. ':user:' .. user end     -- set of session ids
local function token_key(token) return ns .. ':token:' .. token end  -- set of session ids
local function node_key(node) return ns .. ':node:' .. node end     -- hash head mark sessions
local function mark_key(node) return ns .. ':mark:' .. node end     -- position:epoch
local function link_key(node) return ns .. ':link:' .. node end     -- hash i role address since
local function inbox_key(node) return ns .. ':inbox:' .. node end   -- stream
local function ended_key(id) return ns .. ':ended:' .. id end       -- why
local function relay_key(pod) return ns .. ':relay:' .. pod end     -- the node that relays from this pod
local function from_key(node) return ns .. ':from:' .. node end     -- number of the last entry of a node of another pod
local function once_key(key) return ns .. ':once:' .. key end       -- position

-- Who is present on a channel that is counted: see `enter`.
local function here_key(channel) return ns .. ':here:' .. channel end     -- hash session id -> user
local function users_key(channel) return ns .. ':users:' .. channel end   -- hash user -> number of its sessions there
local function joined_key(channel) return ns .. ':joined:' .. channel end -- set of users whose join was told, and no leave
local function counted_key(id) return ns .. ':counted:' .. id end         -- set of channels where a session is counted

local function decimal(n) return string.format('%d', n) end   -- exact up to 2^53

-- A number out of a key or an argument, or nil. Sixteen digits stay exact in a double up to 2^53,
-- which positions reach in the year 2255.
local function number(text)
  if type(text) == 'string' and #text <= 16 and string.find(text, '^%d+$') then return tonumber(text) end
  return nil
end

-- The extent of a subscription: start, or start:upto while a backfill is not confirmed.
local function extent(text) return string.find(text, '^%d+$') or string.find(text, '^%d+:%d+$') end

-- An argument without the mark `+` of a channel that is counted, and whether it had it.
local function unmarked(text)
  if string.sub(text, -1) == '+' then return string.sub(text, 1, -2), true end
  return text, false
end

-- Milliseconds and whole seconds of this Redis' clock. Two values: as a last argument it is both.
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000), tonumber(t[1])
end

-- The first of the given (key, type) pairs that exists with another type, or nil.
local function misfit(...)
  local expected = {...}
  for i = 1, #expected, 2 do
    local is = redis.call('TYPE', expected[i]).ok
    if is ~= 'none' and is ~= expected[i + 1] then return expected[i] end
  end
  return nil
end

-- Begins the writes of a script that must work when memory is full.
local function essential() redis.call('DEL', ns .. ':none') end

-- What to answer when the first write of a script was refused: it tells for the whole call. An id of the
-- journal that is too small is a head that went back: the caller says hello, which begins an epoch above the
-- journal.
local function refused(reply)
  if string.find(reply.err, 'OOM', 1, true) then return {'FULL'} end
  if string.find(reply.err, 'equal or smaller', 1, true) then return {'EPOCH', '0'} end
  return reply
end

local function failed(reply) return type(reply) == 'table' and reply.err ~= nil end

local function arguments() return redis.error_reply('ERR wrong arguments') end

-- epoch, last position: nil, nil when there is no head; nil, key when it is malformed.
local function current()
  local values = redis.pcall('HMGET', head_key, 'e', 'p')
  if failed(values) then return nil, head_key end
  if not values[1] and not values[2] then return nil, nil end
  local e, p = number(values[1]), number(values[2])
  if not e or not p then return nil, head_key end
  return e, p
end

-- The reply for a caller whose epoch is not the current one, or nil. Then the last position.
local function other_epoch(e)
  local is, p = current()
  if not is then return p and {'BAD', p} or {'EPOCH', '0'}, 0 end
  if decimal(is) ~= e then return {'EPOCH', decimal(is)}, p end
  return nil, p
end

-- A link that was retired by a later hello, or whose node has departed, may not write.
local function fenced(node, incarnation)
  local is = redis.pcall('HGET', link_key(node), 'i')
  return failed(is) or is ~= incarnation
end

-- A record of a session, with numbers checked; or nil (there is none); or nil, key (malformed).
local function record(id)
  local key = session_key(id)
  local v = redis.pcall('HMGET', key, 'n', 'g', 'k', 'sent', 'cid', 'vary', 'life', 'user', 'created', 'e',
                         'here', 'tok')
  if failed(v) then return nil, key end
  if not v[1] and not v[2] and redis.call('EXISTS', key) == 0 then return nil, nil end
  local r = {n = v[1], g = number(v[2]), k = v[3], sent = v[4], cid = v[5] or '', vary = v[6] or '0',
             life = v[7], user = v[8] or '', created = v[9] or '0', e = v[10], here = v[11],
             tok = v[12] or ''}
  if not r.n or not r.g or not number(r.sent) or not number(r.life) or not (r.k == 'live' or number(r.k)) then
    return nil, key
  end
  return r
end

-- The record, if it is at (n, g); otherwise nil and the reply that refuses.
local function owned(id, n, g)
  local r, bad = record(id)
  if bad then return nil, {'BAD', bad} end
  if not r then return nil, {'NONE'} end
  if r.n ~= n or decimal(r.g) ~= g then return nil, {'MOVED', r.n, decimal(r.g)} end
  return r
end

local function deadline_of(id)
  return tonumber(redis.call('ZSCORE', sessions_key, id) or '0')
end

-- A token opens no session until then. Behind a script's first write.
local function revoke_token(token, till, time)
  redis.call('ZREMRANGEBYSCORE', revoked_key, '-inf', decimal(time))
  local is = redis.call('ZSCORE', revoked_key, token)
  if not is or tonumber(is) < till then redis.call('ZADD', revoked_key, decimal(till), token) end
end

-- The sets that a session is in: of its user, of the token that opened it.
local function sets_of(r)
  local sets = {}
  if r.user ~= '' then sets[#sets + 1] = user_key(r.user) end
  if r.tok ~= '' then sets[#sets + 1] = token_key(r.tok) end
  return sets
end

-- The first of them that is no set, or nil.
local function unfit(r)
  for _, key in ipairs(sets_of(r)) do
    if misfit(key, 'set') then return key end
  end
  return nil
end

-- Moves a deadline, and behind it the life of all that belongs to the session. A set of a user, or of a
-- token, lives as long as the last of the sessions in it.
local function set_deadline(id, r, at)
  local expiry = decimal(at + BACKSTOP)
  redis.call('ZADD', sessions_key, decimal(at), id)
  redis.call('PEXPIREAT', session_key(id), expiry)
  redis.call('PEXPIREAT', subs_key(id), expiry)
  for _, key in ipairs(sets_of(r)) do
    if redis.call('PEXPIRETIME', key) < at + BACKSTOP then redis.call('PEXPIREAT', key, expiry) end
  end
end

-- A message for a node. A node that is dead does not read: hence the bounds.
local function post(node, ...)
  local key = inbox_key(node)
  redis.call('XADD', key, 'MAXLEN', '~', INBOX_LENGTH, '*', ...)
  redis.call('EXPIRE', key, INBOX_LIFE)
end

-- The reply of load: the record with its subscriptions. The node's heartbeat tells whether it lives.
local function told(id, r)
  local reply = {'OK', r.n, decimal(redis.call('EXISTS', node_key(r.n))), decimal(r.g), r.k, r.sent, r.cid, r.vary,
                 r.life, r.user, r.created, decimal(deadline_of(id)), r.tok}
  local subs = redis.call('HGETALL', subs_key(id))
  for i = 1, #subs do reply[#reply + 1] = subs[i] end
  return reply
end

-- Tells a life-cycle event. Behind a script's first write, which tests memory.
local function happened(kind, id, ...)
  redis.call('XADD', events_key, 'MAXLEN', '~', EVENTS_LENGTH, '*', 'k', kind, 'id', id, ...)
end

-- -- presence ---------------------------------------------------------------------------------------
-- Sessions are counted in the same script that writes their subscriptions, or ends them: so the numbers are
-- right whatever dies. A user joins with its first session. When its last one is gone it stands in `leaving`,
-- and `settle` tells that it has left when it stayed away for the grace time. What has another type than it
-- should is left alone: presence is not worth refusing a subscription for.

local function soft(...)
  local reply = redis.pcall(...)
  if failed(reply) then return nil end
  return reply
end

local function quoted(user)
  if user == '' then return 'null' end
  return '"' .. string.gsub(user, '[%c"\\]', function(c) return string.format('\\u%04x', string.byte(c)) end) .. '"'
end

-- An entry on the companion of the channel. It stays in this pod, which knows nobody of others: field p.
local function announce(channel, event, user, users)
  local e, p = current()
  if not e then return false end
  local named = user and ',"user":' .. quoted(user) or ''
  local text = '{"channel":"/presence' .. channel .. '","data":{"event":"' .. event .. '"' .. named .. ',"users":' ..
               decimal(users) .. '}}'
  if not soft('XADD', journal_key, decimal(p + 1) .. '-0', 'c', '/presence' .. channel, 'm', text, 'p', '*') then return false end
  redis.call('HSET', head_key, 'p', decimal(p + 1))
  return true
end

-- Tells that a user joined or left, if what was told last is not how it is. Returns the number of entries; nil:
-- they cannot be written now.
local function settle(channel, user)
  local present = soft('HEXISTS', users_key(channel), user) == 1
  if soft(present and 'SADD' or 'SREM', joined_key(channel), user) ~= 1 then return 0 end
  local users = redis.call('SCARD', joined_key(channel))
  local told
  if present then
    told = (users > 1 or announce(channel, 'occupied', nil, users)) and announce(channel, 'join', user, users)
  else
    told = announce(channel, 'leave', user, users) and (users > 0 or announce(channel, 'vacated', nil, users))
  end
  if not told then
    redis.call(present and 'SREM' or 'SADD', joined_key(channel), user)
    return nil
  end
  return (users == (present and 1 or 0)) and 2 or 1
end

local function add_sessions(channel, user, more)
  local n = (number(soft('HGET', users_key(channel), user) or '') or 0) + more
  if n > 0 then soft('HSET', users_key(channel), user, decimal(n)) else soft('HDEL', users_key(channel), user) end
  return n
end

-- A session is on the channel; nothing when it was there. Behind a script's first write. Returns as `settle`, or 0.
local function enter(id, user, channel, time)
  if soft('HSETNX', here_key(channel), id, user) ~= 1 then return 0 end
  soft('SADD', counted_key(id), channel)
  soft('HSET', session_key(id), 'here', '1')
  add_sessions(channel, user, 1)
  local told = settle(channel, user)
  if told then
    soft('ZREM', leaving_key, channel .. ' ' .. user)
  else
    soft('ZADD', leaving_key, decimal(time), channel .. ' ' .. user)
  end
  return told or 0
end

local function exit(id, channel, time)
  local user = soft('HGET', here_key(channel), id)
  if not user then return end
  soft('HDEL', here_key(channel), id)
  if add_sessions(channel, user, -1) <= 0 then soft('ZADD', leaving_key, decimal(time), channel .. ' ' .. user) end
end

-- A session is on no channel any more, but for those of `except`, a table with their names as keys.
local function exit_all(id, time, except)
  for _, channel in ipairs(soft('SMEMBERS', counted_key(id)) or {}) do
    if not (except and except[channel]) then
      exit(id, channel, time)
      soft('SREM', counted_key(id), channel)
    end
  end
end

-- The keys that `finish` writes, if one of them has another type.
local function unfinishable(r)
  local bad = misfit(sessions_key, 'zset', events_key, 'stream')
  if not bad and r then bad = unfit(r) end
  if not bad and r and r.n ~= '' then bad = misfit(inbox_key(r.n), 'stream') end
  return bad
end

-- Ends a session; r may be nil (the record expired, or is malformed). True if it was this call: who
-- takes the id out of the set of sessions has ended it, and tells. ZREM is first also because it is
-- never refused for memory.
local function finish(id, r, reason, me)
  local was = redis.call('ZREM', sessions_key, id) == 1
  redis.call('DEL', session_key(id), subs_key(id))
  local user = r and r.user or ''
  for _, key in ipairs(r and sets_of(r) or {}) do redis.call('SREM', key, id) end
  if not r or r.here then exit_all(id, (now())) end
  if not was then return false end
  redis.call('SET', ended_key(id), reason, 'PX', ENDED_LIFE)
  happened('disconnect', id, 'reason', reason, 'user', user)
  if r and r.n ~= '' and r.n ~= me then post(r.n, 't', 'ended', 'id', id, 'reason', reason) end
  return true
end

