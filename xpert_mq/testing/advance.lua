-- Moves what the server keeps by time: as if `ms` had passed since it was written.
-- ARGV  ms, jobs, expiring, due, and the keys of the delayed jobs of each pool

-- Jobs that are due, and ages that are over, come earlier; and so do the ends of all keys that expire, a plugin's own among them.
-- Not so what nodes say of themselves: they are alive.
local ms, jobs, expiring, due = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]

local function shift(key)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ms, member) end
end

for i = 5, #ARGV do shift(ARGV[i]) end
for _, list in ipairs(redis.call('ZRANGE', expiring, 0, -1)) do
  for _, token in ipairs(redis.call('ZRANGE', list .. ':expiry', 0, -1)) do
    redis.call('HINCRBY', jobs .. token, 'expires_at', -ms)
  end
  shift(list .. ':expiry')
end
shift(expiring)
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left > ms then
    redis.call('PEXPIRE', key, left - ms)
  elseif left >= 0 then
    redis.call('DEL', key)
  end
end
-- Sleeping workers look again.
redis.call('PUBLISH', due, 0)
