-- A node says that it is alive, and which limits it has; and gives its free slots to the parked.
-- KEYS  nodes
-- ARGV  node fresh info queues handlers limits consuming tick_age_ms gap_ms
--       fresh: '1' for an id that is not known yet; queues, handlers: JSON arrays of names, of handlers as limits are called
--       limits: JSON array of names and numbers in turn; consuming: '1' if it takes jobs
--       tick_age_ms: since when the consumer's loop has not been seen; gap_ms: what counts as a gap between two beats
-- RETURNS  'alive' | 'gone'
--          gone: it was declared dead, and has to take a new id
-- FLAGS  allow-oom
-- INCLUDE  record message limits recovery

local last = redis.call('ZSCORE', nodes, node)
if not last and (fresh ~= '1' or redis.call('HEXISTS', GONE, node) == 1) then return 'gone' end
local record = NODE .. node
-- Since when it beats without a gap.
if not last or now - last > tonumber(gap_ms) then redis.call('HSET', record, 'steady', now) end
redis.call('ZADD', nodes, now, node)
redis.call('HSET', record, 'info', info, 'queues', queues, 'handlers', handlers, 'consuming', consuming, 'ticked', now - tick_age_ms)
if consuming ~= '1' then return_admitted(node) end

local own = cjson.decode(limits)
redis.call('DEL', limits_of(node))
if #own > 0 then redis.call('HSET', limits_of(node), unpack(own)) end

-- Jobs that are parked at what is no limit any more wait as others do.
local function unpark_some(queue, limit)
  for _ = 1, 100 do
    local token = first_parked(queue, limit)
    if not token then return end
    local job = JOBS .. token
    unpark(job, token)
    put_last(queue, token, next_message(job, queue, token))
  end
end

if consuming == '1' and redis.call('EXISTS', PARKED) == 1 then
  local names, limited = cjson.decode(handlers), {}
  queues = cjson.decode(queues)
  for _, queue in ipairs(queues) do names[#names + 1] = limit_of_pool(queue) end
  for i = 1, #own, 2 do
    limited[own[i]] = own[i + 1] > 0
    admit(node, own[i])
  end
  for _, limit in ipairs(names) do
    for _, queue in ipairs(limited[limit] and {} or queues) do unpark_some(queue, limit) end
  end
end
return 'alive'
