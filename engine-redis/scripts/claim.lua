-- SPDX-License-Identifier: Apache-2.0
-- claim: takes a session whose owner does not answer. A record that says `live` has no position of
-- its own: the mark of the old owner stands for it. Without a mark nobody knows what has arrived. A mark
-- of another epoch than the record says nothing of it: a rollback may have brought back the record of an
-- owner that had let the session go, and its mark went on without it. Then `sent` is what is known.
-- What an exact position says was sent beyond it counts as not arrived: only the old owner could have told
-- whether that connection was reset, and the next connect id comes after a reset, too. An owner that has
-- departed did tell: then `sent` stays.
--
-- ns id g me -> OK as load, after the claim | MOVED n g | NONE | LOST: ended by this call | BAD key

local id, g, me = ARGV[2], ARGV[3], ARGV[4]
if #ARGV ~= 4 then return arguments() end

local r, bad = record(id)
bad = bad or unfinishable(r) or misfit(subs_key(id), 'hash')
if bad then return {'BAD', bad} end
if not r then return {'NONE'} end
if decimal(r.g) ~= g then return {'MOVED', r.n, decimal(r.g)} end

local mark = nil
if r.k == 'live' then
  local text, e = redis.pcall('GET', mark_key(r.n)), nil
  if type(text) == 'string' then mark, e = string.match(text, '^(%d+):(%d+)$') end
  mark = mark and number(mark) and mark or nil
  if mark and e ~= r.e then mark = r.sent end
  if not mark then
    finish(id, r, 'lost', me)
    return {'LOST'}
  end
end

local old = r.n
essential()
r.n, r.g = me, r.g + 1
if mark then r.k = mark end
if mark or redis.call('EXISTS', link_key(old)) == 1 then r.sent = r.k end
redis.call('HSET', session_key(id), 'n', r.n, 'g', decimal(r.g), 'k', r.k, 'sent', r.sent)
-- g is the new one: an owner below it has lost the session.
if old ~= '' and old ~= me then post(old, 't', 'lost', 'id', id, 'g', decimal(r.g)) end
return told(id, r)
