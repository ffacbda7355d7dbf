-- Removes finished jobs whose age is over, at most `limit`.
-- KEYS  expiring
-- ARGV  limit
-- RETURNS  {how many, ms until the next is over or -1}
-- FLAGS  allow-oom
-- INCLUDE  record

local removed = 0
local lists = redis.call('ZRANGE', expiring, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, list in ipairs(lists) do
  if removed >= tonumber(limit) then break end
  removed = removed + expire_list(list, limit - removed)
  prune(string.match(list, '^%a+:(.*)$', #LISTS + 1))
end
local first = redis.call('ZRANGE', expiring, 0, 0, 'WITHSCORES')
if not first[2] then return {removed, -1} end
return {removed, math.max(0, first[2] - now)}
