-- A node puts a message back that it has fetched.
-- KEYS  -
-- ARGV  node tag
-- RETURNS  how many
-- FLAGS  allow-oom
-- INCLUDE  record recovery

local note = redis.call('HGET', unacked_of(node), tag)
if not note then return 0 end
redis.call('HDEL', unacked_of(node), tag)
return put_first(node, noted_in(note))
