-- SPDX-License-Identifier: Apache-2.0
-- resave: after a new epoch an owner writes its sessions again, because the records may have gone
-- back. Accepted where the record is malformed, has a lower g, is at (n, g), or is missing and
-- was not ended in the last minute.
--
-- ns e n [id g k sent cid vary life user created token nsubs [pattern start[:upto][+]]xnsubs]...
--   -> OK [accepted id]... | EPOCH e | BAD key

local e, n = ARGV[2], ARGV[3]
if #ARGV < 3 then return arguments() end

-- All is read before anything is written.
local wanted, i = {}, 4
while i <= #ARGV do
  local w = {id = ARGV[i], g = number(ARGV[i + 1]), k = ARGV[i + 2], sent = ARGV[i + 3], cid = ARGV[i + 4], vary = ARGV[i + 5],
             life = number(ARGV[i + 6]), user = ARGV[i + 7], created = ARGV[i + 8], tok = ARGV[i + 9], first = i + 11}
  local subs = number(ARGV[i + 10])
  if not subs or not w.g or not w.life or not number(w.sent) or not (w.k == 'live' or number(w.k)) then return arguments() end
  w.last = i + 10 + 2 * subs
  if w.last > #ARGV then return arguments() end
  for j = w.first + 1, w.last, 2 do
    if not extent((unmarked(ARGV[j]))) then return arguments() end
  end
  wanted[#wanted + 1] = w
  i = w.last + 1
end

local other = other_epoch(e)
if other then return other end
local bad = misfit(sessions_key, 'zset')
if bad then return {'BAD', bad} end

local reply, time = {'OK'}, now()
essential()
for _, w in ipairs(wanted) do
  local r = record(w.id)
  local mine = r and (r.g < w.g or (r.g == w.g and r.n == n)) or not r and redis.call('EXISTS', ended_key(w.id)) == 0
  if mine and not unfit(w) then
    redis.call('DEL', session_key(w.id), subs_key(w.id))
    redis.call('HSET', session_key(w.id), 'n', n, 'g', decimal(w.g), 'k', w.k, 'sent', w.sent, 'cid', w.cid, 'vary', w.vary,
               'life', decimal(w.life), 'user', w.user, 'created', w.created)
    if w.tok ~= '' then redis.call('HSET', session_key(w.id), 'tok', w.tok) end
    local counted = {}
    for j = w.first, w.last, 2 do
      local extent_now, counts = unmarked(ARGV[j + 1])
      redis.call('HSET', subs_key(w.id), ARGV[j], extent_now)
      if counts then counted[ARGV[j]] = true end
    end
    exit_all(w.id, time, counted)
    for j = w.first, w.last, 2 do
      if counted[ARGV[j]] then
        redis.call('HSET', session_key(w.id), 'here', '1')
        enter(w.id, w.user, ARGV[j], time)
      end
    end
    for _, key in ipairs(sets_of(w)) do redis.call('SADD', key, w.id) end
    set_deadline(w.id, w, time + w.life)
    reply[#reply + 1] = w.id
  end
end
return reply
