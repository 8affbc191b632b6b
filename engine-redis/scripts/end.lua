-- SPDX-License-Identifier: Apache-2.0
-- end: the end of a session, told once in the stream of events. By its owner, by anybody once the
-- deadline is past, or by force.
--
-- ns id n g incarnation reason force me -> OK: it was this call | FENCED | MOVED n g | NONE | BAD key
-- incarnation: of the link of `me`, who calls.

local id, n, g, incarnation, reason, force, me = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if #ARGV ~= 8 then return arguments() end
if fenced(me, incarnation) then return {'FENCED'} end

local r, malformed = record(id)
local bad = unfinishable(r)
if bad then return {'BAD', bad} end

local deadline = deadline_of(id)
local over = force == '1' or (deadline > 0 and deadline <= now())
if not over then
  if malformed then return {'BAD', malformed} end
  if not r then return {'NONE'} end
  if r.n ~= n or decimal(r.g) ~= g then return {'MOVED', r.n, decimal(r.g)} end
end
return {finish(id, r, reason, me) and 'OK' or 'NONE'}
