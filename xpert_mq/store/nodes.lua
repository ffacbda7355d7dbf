-- The nodes that are not gone.
-- KEYS  nodes
-- RETURNS  {{id, ms since the last beat, ms since the consumer's loop was seen or false, info or false}, ...}
-- FLAGS  no-writes
-- INCLUDE  record

local found = {}
for _, node in ipairs(redis.call('ZRANGE', nodes, 0, -1)) do
  local record = redis.call('HMGET', NODE .. node, 'ticked', 'info')
  found[#found + 1] = {node, now - redis.call('ZSCORE', nodes, node), record[1] and now - record[1], record[2]}
end
return found
