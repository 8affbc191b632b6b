-- SPDX-License-Identifier: Apache-2.0
-- confirm: a write behind the entries up to a position, so that the WAIT which follows on this
-- connection counts the replicas that have them.
--
-- ns e node incarnation position -> OK | EPOCH e | FENCED | BAD key
-- Sent over a link of its own, perhaps to another Redis than the one that took the entries: hence the
-- checks. OK: this journal is that epoch's and has the position.

local e, node, incarnation, position = ARGV[2], ARGV[3], ARGV[4], number(ARGV[5])
if #ARGV ~= 5 or not position then return arguments() end

local other, p = other_epoch(e)
if other then return other end
if p < position then return {'EPOCH', '0'} end
if fenced(node, incarnation) then return {'FENCED'} end

redis.call('PEXPIRE', link_key(node), LINK_LIFE)   -- never refused for memory
return {'OK'}
