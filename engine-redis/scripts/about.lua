-- SPDX-License-Identifier: Apache-2.0
-- about: a session for whoever looks at it from another node. Of one that is live the heartbeat of its
-- node tells: it has been served up to the head, and has confirmed at least up to the mark.
--
-- ns id -> OK live(0/1) then as load | NONE | BAD key

local id = ARGV[2]
if #ARGV ~= 2 then return arguments() end

local r, bad = record(id)
bad = bad or misfit(subs_key(id), 'hash', sessions_key, 'zset')
if bad then return {'BAD', bad} end
if not r then return {'NONE'} end

local live = r.k == 'live'
if live then
  local beat = redis.pcall('HMGET', node_key(r.n), 'head', 'mark')
  local head, mark = not failed(beat) and number(beat[1]), not failed(beat) and number(beat[2])
  r.sent = decimal(head or number(r.sent))
  r.k = decimal(mark or number(r.sent))
end
local reply = told(id, r)
table.insert(reply, 2, live and '1' or '0')
return reply
