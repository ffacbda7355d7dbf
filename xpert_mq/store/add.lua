-- Records a job, once, and hands it out or parks it until it is due.
-- KEYS  job
-- ARGV  token logical shadow queue delay_ms envelope opts payload headers nonce resend
-- RETURNS  'created <state>' | 'kept <state>' | 'conflict <state> <envelope of the holder>'
-- INCLUDE  record message

local state = state_of(job, token)
if state then
  local stored = redis.call('HGET', job, 'envelope')
  if stored == envelope then return 'created ' .. state end
  if logical_of(cjson.decode(stored)) ~= logical then return 'conflict ' .. state .. ' ' .. stored end
  return 'kept ' .. state
end
if resend == '1' and redis.call('EXISTS', ANSWERS .. nonce) == 1 then
  return 'created waiting'
end

local delay = tonumber(delay_ms)
state = delay > 0 and 'delayed' or 'waiting'
local gen = redis.call('INCR', GENERATION)
redis.call('HSET', job, 'envelope', envelope, 'opts', opts, 'payload', payload, 'timestamp', now, 'state', state, 'gen', gen)
if headers ~= '' then redis.call('HSET', job, 'headers', headers) end
if delay > 0 then
  park_until(now_or_later + delay, queue, token)
else
  hand_out(queue, token, gen, shadow, 0, headers)
end
return 'created ' .. state
