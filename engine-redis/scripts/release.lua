-- SPDX-License-Identifier: Apache-2.0
-- release: the owner gives a session to another node (or, with an empty name, to whoever claims it),
-- with the exact positions, and the extents of backfills that are not confirmed.
--
-- ns id n g incarnation to k sent cid vary [pattern start[:upto]]... -> OK g+1 | FENCED | MOVED n g | NONE | BAD key

local id, n, g, incarnation, to = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local k, sent, cid, vary = number(ARGV[7]), number(ARGV[8]), ARGV[9], ARGV[10]
if #ARGV < 10 or #ARGV % 2 ~= 0 or not k or not sent then return arguments() end
for i = 12, #ARGV, 2 do
  if not extent(ARGV[i]) then return arguments() end
end
if fenced(n, incarnation) then return {'FENCED'} end

local r, reply = owned(id, n, g)
if not r then return reply end
local bad = misfit(subs_key(id), 'hash')
if bad then return {'BAD', bad} end

essential()
redis.call('HSET', session_key(id), 'n', to, 'g', decimal(r.g + 1), 'k', decimal(k), 'sent', decimal(sent), 'cid', cid, 'vary', vary)
for i = 11, #ARGV, 2 do
  if redis.call('HEXISTS', subs_key(id), ARGV[i]) == 1 then redis.call('HSET', subs_key(id), ARGV[i], ARGV[i + 1]) end
end
return {'OK', decimal(r.g + 1)}
