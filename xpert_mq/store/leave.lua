-- A node goes: what it still holds is free to be taken back, and nothing of it counts as a stall.
-- KEYS  nodes
-- ARGV  node
-- RETURNS  'done'
-- FLAGS  allow-oom

redis.call('ZREM', nodes, node)
redis.call('HSETNX', GONE, node, 'left')
return 'done'
