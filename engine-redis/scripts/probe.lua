-- SPDX-License-Identifier: Apache-2.0
-- probe: an entry that delivers nothing and proves that publishes would be taken.
--
-- ns e node incarnation -> OK p | EPOCH e | FENCED | FULL | BAD key

local e, node, incarnation = ARGV[2], ARGV[3], ARGV[4]
if #ARGV ~= 4 then return arguments() end

local other, p = other_epoch(e)
if other then return other end
if fenced(node, incarnation) then return {'FENCED'} end
local bad = misfit(journal_key, 'stream')
if bad then return {'BAD', bad} end

local written = redis.pcall('XADD', journal_key, decimal(p + 1) .. '-0', 'k', 'probe', 'c', '/meta/mora/' .. node)
if failed(written) then return refused(written) end
redis.call('HSET', head_key, 'p', decimal(p + 1))
return {'OK', decimal(p + 1)}
