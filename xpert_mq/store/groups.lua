-- The names of groups, in order.
-- KEYS  groups
-- ARGV  from to limit
--       from, to: bounds as ZRANGE BYLEX has them
-- RETURNS  {name, ...}
-- FLAGS  no-writes

return redis.call('ZRANGE', groups, from, to, 'BYLEX', 'LIMIT', 0, limit)
