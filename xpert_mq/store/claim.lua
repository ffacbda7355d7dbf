-- A worker that holds a message asks for the job. Only the message of the job's latest hand-out gets it, and only once.
-- KEYS  job
-- ARGV  token generation queue nonce
-- RETURNS  {'claimed', envelope, opts, payload, made, stacks or false} | {'stale', state or false}
-- FLAGS  allow-oom
-- INCLUDE  record

local record = redis.call('HMGET', job, 'state', 'gen', 'claim', 'envelope', 'opts', 'payload', 'made', 'stacks')
local again = record[1] == 'active' and record[3] == nonce
if not again then
  if record[1] ~= 'waiting' or record[2] ~= generation then return {'stale', record[1]} end
  redis.call('HSET', job, 'state', 'active', 'claim', nonce, 'processed_on', now)
  redis.call('ZREM', queue .. WAITING, token)
  redis.call('ZADD', queue .. ACTIVE, now, token)
end
return {'claimed', record[4], record[5], record[6], record[7] or '0', record[8]}
