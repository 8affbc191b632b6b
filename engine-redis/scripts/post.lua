-- SPDX-License-Identifier: Apache-2.0
-- post: a message into the inbox of a node: t = ask, yours, call, done, moved, unknown.
--
-- ns node field value ... -> OK | BAD key

if #ARGV < 4 or #ARGV % 2 ~= 0 then return arguments() end
local bad = misfit(inbox_key(ARGV[2]), 'stream')
if bad then return {'BAD', bad} end

essential()
post(ARGV[2], unpack(ARGV, 3))
return {'OK'}
