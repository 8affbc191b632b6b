-- SPDX-License-Identifier: Apache-2.0
-- hello: the first command of each link. Retires the links of this node before it, and begins a new
-- epoch when positions may have gone back: so no position is ever used twice.
--
-- ns run node role address incarnation seen known -> OK e f s p time fresh | FENCED | BAD key
-- seen: the highest position that the node has seen; known: the newest epoch that it knows of. 0: none.

local run, node, role, address, incarnation = ARGV[2], ARGV[3], ARGV[4], ARGV[5], number(ARGV[6])
local seen, known = number(ARGV[7]), number(ARGV[8])
if #ARGV ~= 8 or not incarnation or not seen or not known then return arguments() end

local bad = misfit(head_key, 'hash', journal_key, 'stream', link_key(node), 'hash', node_key(node), 'hash', nodes_key, 'zset')
if bad then return {'BAD', bad} end

-- A hello that waited in the socket of a closed link must not retire the link after it.
local link = number(redis.call('HGET', link_key(node), 'i'))
if link and incarnation < link then return {'FENCED'} end

-- The id that the journal will not go below; the stream remembers it without entries too.
local last = 0
local info = redis.pcall('XINFO', 'STREAM', journal_key)
if not failed(info) then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = tonumber(string.match(info[i + 1], '^%d+')) end
  end
end

local e, p = current()
if not e and p then return {'BAD', p} end
local stored = redis.call('HMGET', head_key, 'f', 's', 'run')
local first, survived = number(stored[1]), number(stored[2])
if e and not (first and survived) then return {'BAD', head_key} end

local time = now()
essential()

-- last > p: the head went back without the journal; appends would be refused for their ids.
local fresh = not e or stored[3] ~= run or seen > p or known > e or last > p
if fresh then
  survived = p or 0
  -- Other nodes may have seen more than this one, though not by a million. The clock alone does not
  -- do: it may have gone back when nothing else remembers.
  first = math.max(survived + 1000000, seen > 0 and seen + 1000000 or 0, last + 1, time * 1000)
  -- At least the time, so that the number is new even where nothing remembers the one before.
  e = math.max((e or 0) + 1, known + 1, time)
  p = first
  redis.call('XADD', journal_key, decimal(first) .. '-0', 'k', 'epoch', 's', decimal(survived), 'e', decimal(e))
  redis.call('HSET', head_key, 'e', decimal(e), 'p', decimal(p), 'f', decimal(first), 's', decimal(survived), 'run', run)
end

-- What is told of a node outlives its heartbeat, so it stays with the link.
redis.call('HSET', link_key(node), 'i', decimal(incarnation), 'role', role, 'address', address)
redis.call('HSETNX', link_key(node), 'since', decimal(time))
redis.call('PEXPIRE', link_key(node), LINK_LIFE)
redis.call('HSETNX', node_key(node), 'sessions', '0')
redis.call('PEXPIRE', node_key(node), HEARTBEAT)
redis.call('ZREMRANGEBYSCORE', nodes_key, '-inf', '(' .. decimal(time - FORGOTTEN))
redis.call('ZADD', nodes_key, decimal(time), node)

return {'OK', decimal(e), decimal(first), decimal(survived), decimal(p), decimal(time), fresh and '1' or '0'}
