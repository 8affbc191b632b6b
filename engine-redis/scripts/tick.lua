-- SPDX-License-Identifier: Apache-2.0
-- tick: five times a second, all that a node has to say. The order is what makes a crash harmless:
-- sessions that stopped being live get their exact positions before the mark may pass them.
--
-- ns e n incarnation head sessions mark N [id g k sent cid vary]xN M [id g]xM T [id fromnow]xT
--   -> OK e time p [refused id, or id:reason of one that has ended]... | EPOCH e time p | FENCED | BAD key
-- N: exact positions. M: live now, with conf = sent. T: deadlines. mark may be empty: a node
-- without sessions has none.

local e, n, incarnation, head, sessions, mark = ARGV[2], ARGV[3], ARGV[4], number(ARGV[5]), number(ARGV[6]), ARGV[7]

-- The lists: where each begins, or nil when the arguments do not add up.
local exact = number(ARGV[8])
local live = exact and number(ARGV[9 + 6 * exact])
local at_live = live and 10 + 6 * exact
local dues = live and number(ARGV[at_live + 2 * live])
local at_dues = dues and at_live + 2 * live + 1
if not dues or #ARGV ~= at_dues - 1 + 2 * dues or not head or not sessions or not (mark == '' or number(mark)) then
  return arguments()
end
for i = 9, 8 + 6 * exact, 6 do
  if not number(ARGV[i + 2]) or not number(ARGV[i + 3]) then return arguments() end
end
for i = at_dues, #ARGV, 2 do
  if not number(ARGV[i + 1]) then return arguments() end
end

local time = now()
local is, p = current()
if not is and p then return {'BAD', p} end
if not is or decimal(is) ~= e then return {'EPOCH', decimal(is or 0), decimal(time), decimal(p or 0)} end
if fenced(n, incarnation) then return {'FENCED'} end
local bad = misfit(node_key(n), 'hash', nodes_key, 'zset', sessions_key, 'zset')
if bad then return {'BAD', bad} end

local reply, refusals = {'OK', decimal(is), decimal(time), decimal(p)}, {}
local function refuse(id)
  if not refusals[id] then
    local reason = redis.pcall('GET', ended_key(id))
    reply[#reply + 1] = type(reason) == 'string' and id .. ':' .. reason or id
  end
  refusals[id] = true
end

essential()
for i = 9, 8 + 6 * exact, 6 do
  local id = ARGV[i]
  if owned(id, n, ARGV[i + 1]) then
    redis.call('HSET', session_key(id), 'k', ARGV[i + 2], 'sent', ARGV[i + 3], 'cid', ARGV[i + 4], 'vary', ARGV[i + 5])
  else
    refuse(id)
  end
end
for i = at_live, at_live + 2 * live - 1, 2 do
  if owned(ARGV[i], n, ARGV[i + 1]) then
    -- `sent`: where it goes on should a rollback bring this record back after its owner has let it go.
    redis.call('HSET', session_key(ARGV[i]), 'k', 'live', 'e', e, 'sent', mark ~= '' and mark or decimal(head))
  else
    refuse(ARGV[i])
  end
end
for i = at_dues, #ARGV, 2 do
  local r = record(ARGV[i])
  if r and r.n == n and not unfit(r) then
    set_deadline(ARGV[i], r, time + number(ARGV[i + 1]))
  else
    refuse(ARGV[i])
  end
end
if mark ~= '' then redis.call('SET', mark_key(n), mark .. ':' .. e, 'PX', MARK_LIFE) end
redis.call('HSET', node_key(n), 'head', decimal(head), 'mark', mark, 'sessions', decimal(sessions))
redis.call('PEXPIRE', node_key(n), HEARTBEAT)
redis.call('PEXPIRE', link_key(n), LINK_LIFE)
redis.call('ZADD', nodes_key, decimal(time), n)
return reply
