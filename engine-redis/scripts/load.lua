-- SPDX-License-Identifier: Apache-2.0
-- load: a record as it is, and whether its owner lives.
--
-- ns id -> OK n alive g k sent cid vary life user created deadline token [pattern start[:upto]]... | NONE | BAD key

local id = ARGV[2]
if #ARGV ~= 2 then return arguments() end

local r, bad = record(id)
bad = bad or misfit(subs_key(id), 'hash', sessions_key, 'zset')
if bad then return {'BAD', bad} end
if not r then return {'NONE'} end
return told(id, r)
