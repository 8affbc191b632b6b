-- SPDX-License-Identifier: Apache-2.0
-- relay: entries of another pod's journal, each once and in their order.
--
-- A pod remembers how far it has each other pod's journal; a caller that believes otherwise is told and
-- writes nothing. So any number of nodes may relay, calls may be repeated or come late. One at a time
-- holds the lease, which only saves work. An entry that its own pod lost and appended again has the
-- same origin, and is left out here.
--
-- ns pod node run cursor to maxlen [kind channel text origin]...
--   pod: the letter of the pod that the entries are from; run: of this Redis, as the link saw it
--   cursor, to: from where and up to where the entries reach. cursor '': ask only; with `to`: begin
--   there unless this pod knows better
--   -> OK added | AT position-or-'' | HELD | EPOCH [0] | FULL | BAD key

local pod, node, run, cursor, to, maxlen = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], number(ARGV[7])
if #ARGV < 7 or (#ARGV - 7) % 4 ~= 0 or not maxlen then return arguments() end
if (to ~= '' and not number(to)) or (cursor ~= '' and not (number(cursor) and number(to))) then return arguments() end

-- Positions are this pod's own: its nodes have to have greeted this Redis first.
local e, p = current()
if not e then return p and {'BAD', p} or {'EPOCH'} end
if redis.call('HGET', head_key, 'run') ~= run then return {'EPOCH'} end
local bad = misfit(journal_key, 'stream', pods_key, 'hash', relay_key(pod), 'string', revoked_key, 'zset')
if bad then return {'BAD', bad} end

local holder = redis.call('GET', relay_key(pod))
if holder and holder ~= node then return {'HELD'} end
local at, agreed = redis.call('HGET', pods_key, pod), nil
if cursor ~= '' then agreed = at == cursor else agreed = to ~= '' and not at end
if not agreed then
  essential()
  redis.call('SET', relay_key(pod), node, 'PX', HEARTBEAT)
  return {'AT', at or ''}
end

-- "<node>:<number>", counted by the node
local function known(origin)
  local source, digits = string.match(origin, '^(.*):(%d+)$')
  local seq = number(digits)
  if not source or not seq or #source > 64 then return nil end
  local last = redis.pcall('GET', from_key(source))
  return source, seq, not failed(last) and last and number(last) and seq <= number(last)
end

local added = 0
for i = 8, #ARGV, 4 do
  local kind, origin = ARGV[i], ARGV[i + 3]
  local source, seq, repeated = known(origin)
  if not repeated then
    local fields = {'c', ARGV[i + 1], 'm', ARGV[i + 2], 'o', origin, 'p', pod}
    if kind ~= '' then table.insert(fields, 'k') table.insert(fields, kind) end
    local id = decimal(p + 1) .. '-0'
    local written
    if maxlen == 0 then
      written = redis.pcall('XADD', journal_key, id, unpack(fields))
    else
      written = redis.pcall('XADD', journal_key, 'MAXLEN', '~', decimal(maxlen), id, unpack(fields))
    end
    if failed(written) then return refused(written) end   -- only the first can be
    p, added = p + 1, added + 1
    if kind == 'revoke-token' and number(ARGV[i + 2]) then revoke_token(ARGV[i + 1], number(ARGV[i + 2]), (now())) end
    if source then redis.call('SET', from_key(source), decimal(seq), 'PX', FROM_LIFE) end
  end
end

essential()
if added > 0 then redis.call('HSET', head_key, 'p', decimal(p)) end
redis.call('HSET', pods_key, pod, to)
redis.call('SET', relay_key(pod), node, 'PX', HEARTBEAT)
return {'OK', decimal(added)}
