-- Takes messages from the pools' queues, the oldest of each in turn, and notes them as unacked, in one step: a consumer that dies
-- right here has lost none. The notes are kombu's own (hash and index), so kombu restores those of a dead consumer.
-- KEYS  unacked unacked_index
-- ARGV  count queues
--       queues: JSON array of queue names
-- RETURNS  {queue, message, queue, message, ...}
-- FLAGS  allow-oom

local taken = {}
local names = cjson.decode(queues)
local wanted = tonumber(count)
local clock = redis.call('TIME')
local seconds = clock[1] + clock[2] / 1000000
local empty = 0
local i = 0
while wanted > 0 and empty < #names do
  local queue = names[i % #names + 1]
  i = i + 1
  local raw = redis.call('RPOP', queue)
  if raw then
    empty = 0
    wanted = wanted - 1
    local tag = string.match(raw, '"delivery_tag": ?"([^"\\]+)"')
    redis.call('HSET', unacked, tag, '[' .. raw .. ',"",' .. cjson.encode(queue) .. ']')
    redis.call('ZADD', unacked_index, seconds, tag)
    taken[#taken + 1] = queue
    taken[#taken + 1] = raw
  else
    empty = empty + 1
  end
end
-- Whoever is idle learns of what is left.
for _, queue in ipairs(names) do
  if redis.call('EXISTS', queue) == 1 then redis.call('ZADD', queue .. WAKE, 0, '0') end
end
return taken
