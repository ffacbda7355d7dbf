-- Pushes jobs again that wait and whose message is gone, at most `limit`. Jobs wait in the order of the queue: one that was admitted
-- before the oldest message in it, and that no node holds, has lost its own. Those that are parked at a limit that no node has any
-- more, nor so its handler, wait as others do.
-- KEYS  queue
-- ARGV  limit
-- RETURNS  {tokens of the jobs that were pushed again}
-- FLAGS  allow-oom
-- INCLUDE  record limits recovery

-- Whether a node that is alive has the limit.
local function is_limited(limit)
  for _, node in ipairs(redis.call('ZRANGE', NODES, 0, -1)) do
    if has_limit(node, limit) then return true end
  end
end

-- Nobody else would let these go on.
for _, place in ipairs(redis.call('ZRANGE', PARKED, 0, -1)) do
  local parked_in, parking_limit = noted_in(place)
  if parked_in == queue and not string.find(parking_limit, '^v:') and not is_limited(parking_limit) then
    unpark_some(queue, parking_limit)
  end
end

local before = '+inf'
local oldest = redis.call('LINDEX', queue, -1)
if oldest then
  local token, gen = named_in(oldest)
  local admitted = token and is_wanted(token, gen) and redis.call('ZSCORE', queue .. WAITING, token)
  -- A message that no job waits for says nothing; it goes when it is fetched.
  if not admitted then return {} end
  before = '(' .. admitted
end
if redis.call('ZCOUNT', queue .. WAITING, '-inf', before) == 0 then return {} end

local held, count = {}, tonumber(limit)
local holders = redis.call('ZRANGE', NODES, 0, -1)
for _, node in ipairs(redis.call('HKEYS', GONE)) do holders[#holders + 1] = node end
for _, node in ipairs(holders) do
  -- A message's tag is its job's generation.
  for _, tag in ipairs(redis.call('HKEYS', unacked_of(node))) do
    held[tag] = true
    count = count + 1
  end
  for _, note in ipairs(redis.call('LRANGE', admitted_to(node), 0, -1)) do
    local _, raw = noted_in(note)
    local _, gen = named_in(raw)
    if gen then
      held[gen] = true
      count = count + 1
    end
  end
end
local found = redis.call('ZRANGE', queue .. WAITING, '-inf', before, 'BYSCORE', 'LIMIT', 0, count)

local pushed = {}
for i = #found, 1, -1 do
  local token = found[i]
  local job = JOBS .. token
  local record = redis.call('HMGET', job, 'state', 'gen')
  if not held[record[2]] then
    redis.call('ZREM', queue .. WAITING, token)
    if record[1] == 'waiting' then
      hand_out_first(job, queue, token)
      for _, node in ipairs(holders) do release_kept(node, token) end
      pushed[#pushed + 1] = token
    end
  end
end
return pushed
