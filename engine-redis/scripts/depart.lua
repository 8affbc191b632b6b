-- SPDX-License-Identifier: Apache-2.0
-- depart: a node that has written down where its sessions stand is gone: nobody waits for its heartbeat
-- to end, and it is not listed any more. The mark stays, should a record still be live under it.
--
-- ns n incarnation -> OK | FENCED

local n, incarnation = ARGV[2], ARGV[3]
if #ARGV ~= 3 then return arguments() end
if fenced(n, incarnation) then return {'FENCED'} end

redis.call('DEL', node_key(n), link_key(n))
if redis.pcall('GET', teller_key) == n then redis.call('DEL', teller_key) end
if not misfit(nodes_key, 'zset') then redis.call('ZREM', nodes_key, n) end
return {'OK'}
