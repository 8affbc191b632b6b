-- SPDX-License-Identifier: Apache-2.0
-- revoke: an entry that delivers nothing and tells every node, at its place in the journal, that what was
-- allowed to a user before it does not count any more.
--
-- ns e node incarnation user -> OK p | EPOCH e | FENCED | FULL | BAD key

local e, node, incarnation, user = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if #ARGV ~= 5 or user == '' then return arguments() end

local other, p = other_epoch(e)
if other then return other end
if fenced(node, incarnation) then return {'FENCED'} end
local bad = misfit(journal_key, 'stream')
if bad then return {'BAD', bad} end

local written = redis.pcall('XADD', journal_key, decimal(p + 1) .. '-0', 'k', 'revoke', 'c', user, 'm', '')
if failed(written) then
  if string.find(written.err, 'equal or smaller', 1, true) then return {'EPOCH', '0'} end
  return refused(written)
end
redis.call('HSET', head_key, 'p', decimal(p + 1))
return {'OK', decimal(p + 1)}
