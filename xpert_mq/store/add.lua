-- Records a job, once, and hands it out or parks it until it is due.
-- KEYS  job
-- ARGV  token logical shadow queue delay_ms envelope opts payload headers nonce resend
-- RETURNS  {'created' | 'kept' | 'conflict', state, holder's envelope on a conflict}
-- INCLUDE  record message

local state = state_of(job, token)
if state then
  local stored = redis.call('HGET', job, 'envelope')
  if stored == envelope then return {'created', state} end
  if logical_of(cjson.decode(stored)) ~= logical then return {'conflict', state, stored} end
  return {'kept', state}
end
if resend == '1' and redis.call('EXISTS', ANSWERS .. nonce) == 1 then
  return {'created', 'waiting'}
end

redis.call('HSET', job, 'envelope', envelope, 'opts', opts, 'payload', payload, 'timestamp', now)
if headers ~= '' then redis.call('HSET', job, 'headers', headers) end
local delay = tonumber(delay_ms)
if delay > 0 then
  redis.call('HSET', job, 'gen', redis.call('INCR', GENERATION))
  park_until(now + delay, queue, token)
  return {'created', 'delayed'}
end
hand_out(queue, token, shadow, 0, headers)
return {'created', 'waiting'}
