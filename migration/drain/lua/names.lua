-- Reads names and times of jobs of a place, the first to run first. Changes nothing.
-- KEYS: the place; what the keys of the jobs begin with
-- ARGV: kind of the place ('list', 'zset'), first, count
-- Returns {id, name, ms of its creation} for each job; false for what the key does not have.

local first, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local ids
if ARGV[1] == 'list' then
  ids = redis.call('LRANGE', KEYS[1], -first - count, -first - 1)
else
  ids = redis.call('ZRANGE', KEYS[1], first, first + count - 1)
end
local jobs = {}
for i, id in ipairs(ids) do
  local found = redis.pcall('HMGET', KEYS[2] .. id, 'name', 'timestamp')
  jobs[i] = {id, found[1] or false, found[2] or false}
end
return jobs
