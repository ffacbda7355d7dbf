-- How many jobs of each group are in each state, and since when (ms) the oldest waits.
-- KEYS  -
-- ARGV  names
--       names: JSON array of group names
-- RETURNS  {{waiting, delayed, active, completed, failed, oldest or false}, ...} in the order of the names
-- FLAGS  no-writes
-- INCLUDE  record

local counts = {}
for i, group in ipairs(cjson.decode(names)) do
  local sizes = {}
  for place, state in ipairs({'waiting', 'delayed', 'active', 'completed', 'failed'}) do
    local list = list_of(state, group)
    sizes[place] = redis.call('ZCARD', list)
    if place > 3 then sizes[place] = sizes[place] + redis.call('ZCARD', list .. ':kept') end
  end
  sizes[6] = sizes[1] > 0 and redis.call('ZRANGE', list_of('waiting', group), 0, 0, 'WITHSCORES')[2]
  counts[i] = sizes
end
return counts
