-- SPDX-License-Identifier: Apache-2.0
-- append: the publishes of one turn, in order, under consecutive positions.
--
-- ns e node incarnation deadline seq0 maxlen [clientId once channel text]...
--   -> OK r1 r2 ... | EPOCH e | FENCED | LATE | FULL | BAD key: nothing was written
-- ri: "<position>" | "=<position>" the first one's, from the once-key | "-401" no such session |
--     "-503" this one could not be written

local e, node, incarnation, deadline, seq, maxlen = ARGV[2], ARGV[3], ARGV[4], number(ARGV[5]), number(ARGV[6]), number(ARGV[7])
if #ARGV < 7 or (#ARGV - 7) % 4 ~= 0 or not deadline or not seq or not maxlen then return arguments() end

local other, p = other_epoch(e)
if other then return other end
if fenced(node, incarnation) then return {'FENCED'} end
if now() > deadline then return {'LATE'} end
local bad = misfit(journal_key, 'stream')
if bad then return {'BAD', bad} end

local function add(position, channel, text, origin)
  local id = position .. '-0'
  if maxlen == 0 then return redis.pcall('XADD', journal_key, id, 'c', channel, 'm', text, 'o', origin) end
  return redis.pcall('XADD', journal_key, 'MAXLEN', '~', ARGV[7], id, 'c', channel, 'm', text, 'o', origin)
end

-- Notes the position for a key before its entry is written: one call, where nearly every key is new.
-- Returns what came of that, or nil and the result: a key that is known is answered when memory is full, too.
local function note(once, position)
  local noted = redis.pcall('SET', once_key(once), position, 'PX', ONCE_LIFE, 'NX')
  if noted and not failed(noted) then return noted end
  local first = redis.pcall('GET', once_key(once))
  if failed(first) then return nil, '-503' end
  if first then return nil, '=' .. first end
  return noted
end

local known = {[''] = true}   -- by clientId: it has a session; one client often has several messages in a turn
local function has_session(client)
  local is = known[client]
  if is == nil then
    is = redis.call('EXISTS', session_key(client)) == 1
    known[client] = is
  end
  return is
end

local reply, began = {'OK'}, false
for i = 8, #ARGV, 4 do
  local client, once, result, written = ARGV[i], ARGV[i + 1], nil, nil
  local position = decimal(p + 1)
  if not has_session(client) then
    result = '-401'
  elseif once ~= '' then
    written, result = note(once, position)
  end
  if not result then
    local noted = written and not failed(written)
    if noted or once == '' then
      written = add(position, ARGV[i + 2], ARGV[i + 3], node .. ':' .. decimal(seq + (i - 8) / 4))
    end
    if not failed(written) then
      p, began, result = p + 1, true, position
    else
      if noted then redis.call('DEL', once_key(once)) end
      if not began then return refused(written) end
      result = '-503'
    end
  end
  reply[#reply + 1] = result
end

if began then redis.call('HSET', head_key, 'p', decimal(p)) end
return reply
