-- A worker that holds a message asks for the job. Only the message of the job's latest hand-out gets it, and only once.
-- KEYS  job
-- ARGV  token generation queue nonce
-- RETURNS  {'claimed', envelope, payload, made, stacks or false} | {'stale', state or false}
-- FLAGS  allow-oom
-- INCLUDE  record

local record = redis.call('HMGET', job, 'state', 'gen', 'claim', 'envelope', 'payload', 'made', 'stacks')
local again = record[1] == 'active' and record[3] == nonce
if not again then
  if record[1] ~= 'waiting' or record[2] ~= generation then return {'stale', record[1]} end
  redis.call('HSET', job, 'state', 'active', 'claim', nonce, 'processed_on', now)
  redis.call('ZREM', queue .. WAITING, token)
  local group = group_of(token, logical_of(record[4]))
  unlist('waiting', group, token)
  enlist('active', group, token)
end
return {'claimed', record[4], record[5], record[6] or '0', record[7]}
