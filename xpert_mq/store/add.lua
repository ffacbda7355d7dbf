-- Records a job, once, and hands it out or parks it until it is due.
-- KEYS  job
-- ARGV  shadow queue delay_ms envelope opts payload headers resend
-- RETURNS  'created <state>' | 'kept <state>' | 'conflict <state> <envelope of the holder>', as a status
-- INCLUDE  record message

local token = string.sub(job, #JOBS + 1)
local state = state_of(job, token)
if state then
  local stored = redis.call('HGET', job, 'envelope')
  if stored == envelope then return redis.status_reply('created ' .. state) end
  if logical_of(cjson.decode(stored)) ~= logical_of(cjson.decode(envelope)) then
    return redis.status_reply('conflict ' .. state .. ' ' .. stored)
  end
  return redis.status_reply('kept ' .. state)
end
if resend == '1' and redis.call('EXISTS', ANSWERS .. nonce_of(envelope)) == 1 then
  return redis.status_reply('created waiting')
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
return redis.status_reply('created ' .. state)
