-- A node says that it is alive, and which limits it has; and gives its free slots to the parked. One that takes no jobs gives back
-- what it has fetched and not started.
-- KEYS  nodes
-- ARGV  node fresh info queues handlers limits consuming tick_age_ms gap_ms
--       fresh: '1' for an id that is not known yet; queues, handlers: JSON arrays of names, of handlers as limits are called
--       limits: JSON array of names and numbers in turn; consuming: '1' if it takes jobs
--       tick_age_ms: since when the consumer's loop has not been seen; gap_ms: what counts as a gap between two beats
-- RETURNS  'alive' | 'gone'
--          gone: it was declared dead, and has to take a new id
-- FLAGS  allow-oom
-- INCLUDE  record limits recovery

local last = redis.call('ZSCORE', nodes, node)
if not last and (fresh ~= '1' or redis.call('HEXISTS', GONE, node) == 1) then return 'gone' end
local record = NODE .. node
-- Since when it beats without a gap.
if not last or now - last > tonumber(gap_ms) then redis.call('HSET', record, 'steady', now) end
redis.call('ZADD', nodes, now, node)
redis.call('HSET', record, 'info', info, 'queues', queues, 'handlers', handlers, 'consuming', consuming, 'ticked', now - tick_age_ms)
if consuming ~= '1' then
  return_admitted(node)
  return_messages(node)
end

local own = cjson.decode(limits)
redis.call('DEL', limits_of(node))
if #own > 0 then redis.call('HSET', limits_of(node), unpack(own)) end

if consuming == '1' and redis.call('EXISTS', PARKED) == 1 then
  for i = 1, #own, 2 do admit(node, own[i]) end
  local serves = {}
  for _, handler in ipairs(cjson.decode(handlers)) do serves[handler] = true end
  for _, queue in ipairs(cjson.decode(queues)) do serves[queue], serves[limit_of_pool(queue)] = true, true end
  for _, place in ipairs(redis.call('ZRANGE', PARKED, 0, -1)) do
    local queue, limit = noted_in(place)
    if serves[queue] and (is_known_format(limit) or serves[limit] and not has_limit(node, limit)) then
      unpark_some(queue, limit)
    end
  end
end
return 'alive'
