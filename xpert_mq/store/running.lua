-- The jobs that a node runs.
-- KEYS  -
-- ARGV  node
-- RETURNS  {token, nonce of its claim, token, nonce, ...}
-- FLAGS  no-writes
-- INCLUDE  record

return redis.call('HGETALL', running_on(node))
