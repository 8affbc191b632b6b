-- SPDX-License-Identifier: Apache-2.0
-- revoke: an entry that delivers nothing and tells every node, at its place in the journal, that what was
-- allowed to a user before it does not count any more; or that a token does not, which from then on opens
-- no session for `lasting` ms. So many tokens at a time and not more: one that was forgotten early would
-- open sessions again.
--
-- ns e node incarnation user            -> OK p | EPOCH e | FENCED | FULL | BAD key
-- ns e node incarnation '' token lasting -> the same | MANY

local e, node, incarnation, user, token, lasting = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], number(ARGV[7])
if not (#ARGV == 5 and user ~= '') and not (#ARGV == 7 and user == '' and token ~= '' and lasting) then return arguments() end

local other, p = other_epoch(e)
if other then return other end
if fenced(node, incarnation) then return {'FENCED'} end
local bad = misfit(journal_key, 'stream', revoked_key, 'zset')
if bad then return {'BAD', bad} end

local time = now()
local till = token and time + lasting
if token and redis.call('ZCARD', revoked_key) >= REVOKED_COUNT then
  redis.call('ZREMRANGEBYSCORE', revoked_key, '-inf', decimal(time))
  if redis.call('ZCARD', revoked_key) >= REVOKED_COUNT and not redis.call('ZSCORE', revoked_key, token) then return {'MANY'} end
end

local id = decimal(p + 1) .. '-0'
local written
if token then
  written = redis.pcall('XADD', journal_key, id, 'k', 'revoke-token', 'c', token, 'm', decimal(till))
else
  written = redis.pcall('XADD', journal_key, id, 'k', 'revoke', 'c', user, 'm', '')
end
if failed(written) then return refused(written) end
if token then revoke_token(token, till, time) end
redis.call('HSET', head_key, 'p', decimal(p + 1))
return {'OK', decimal(p + 1)}
