-- A worker that holds a message asks for the job. Only the message of the job's latest hand-out gets it, and only once; and no
-- node that was declared dead. A job of a format that came later is parked, for a node that knows it.
-- KEYS  job
-- ARGV  token generation queue node nonce
-- RETURNS  {'claimed', envelope, payload, made, stacks or false} | {'stale', state or false} | {'parked'}
-- FLAGS  allow-oom
-- INCLUDE  record limits

local record = redis.call('HMGET', job, 'state', 'gen', 'claim', 'envelope', 'payload', 'made', 'stacks', 'parked')
local again = record[1] == 'active' and record[3] == nonce
if not again then
  -- A parked one has no message any more: this is a copy, or one that was fetched twice.
  if record[1] ~= 'waiting' or record[2] ~= generation or record[8] then
    release_kept(node, token)
    return {'stale', record[1]}
  end
  if not redis.call('ZSCORE', NODES, node) then return {'stale', false} end
  local admitted = redis.call('ZSCORE', queue .. WAITING, token)
  redis.call('ZREM', queue .. WAITING, token)
  if format_of(record[4]) > FORMAT then
    release(node, token)
    park(job, token, queue, name_of_format(record[4]), admitted)
    return {'parked'}
  end
  local logical = logical_of(record[4])
  if not take_slots(node, job, token, queue, record[4], logical, admitted) then return {'parked'} end
  redis.call('HSET', job, 'state', 'active', 'claim', nonce, 'processed_on', now)
  redis.call('HSET', running_on(node), token, nonce)
  local group = group_of(token, logical)
  unlist('waiting', group, token)
  enlist('active', group, token)
end
return {'claimed', record[4], record[5], record[6] or '0', record[7]}
