-- SPDX-License-Identifier: Apache-2.0
-- nodes: every node that ticked within the last minute; one whose age is beyond the heartbeat is
-- dead. Forgets the others.
--
-- ns -> OK [node role address since head mark sessions age]... | BAD key

local bad = misfit(nodes_key, 'zset')
if bad then return {'BAD', bad} end

local time, reply = now(), {'OK'}
-- What stands in its link stays: `claim` tells by it a node that died from one that departed.
redis.call('ZREMRANGEBYSCORE', nodes_key, '-inf', '(' .. decimal(time - FORGOTTEN))

local names = redis.call('ZRANGE', nodes_key, '0', '-1', 'WITHSCORES')
for i = 1, #names, 2 do
  local about = redis.pcall('HMGET', link_key(names[i]), 'role', 'address', 'since')
  local beat = redis.pcall('HMGET', node_key(names[i]), 'head', 'mark', 'sessions')
  reply[#reply + 1] = names[i]
  for j = 1, 3 do reply[#reply + 1] = not failed(about) and about[j] or '' end
  for j = 1, 3 do reply[#reply + 1] = not failed(beat) and beat[j] or '' end
  reply[#reply + 1] = decimal(math.max(0, time - tonumber(names[i + 1])))
end
return reply
