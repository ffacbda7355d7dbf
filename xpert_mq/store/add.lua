-- Records a job, once, and hands it out or parks it until it is due.
-- KEYS  job
-- ARGV  shadow logical queue delay_ms envelope payload headers resend
-- RETURNS  'created <state>' | 'kept <state>' | 'conflict <state> <envelope of the holder>', as a status
-- INCLUDE  record message limits

local token = string.sub(job, #JOBS + 1)
local state = state_of(job, token)
if state then
  local stored = redis.call('HGET', job, 'envelope')
  if nonce_of(stored) == nonce_of(envelope) then return redis.status_reply('created ' .. state) end
  if logical_of(stored) ~= logical then
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
envelope = string.sub(envelope, 1, -2) .. ',"enqueuedAt":' .. now .. '}'
redis.call('HSET', job, 'envelope', envelope, 'payload', payload, 'state', state, 'gen', gen)
local group = group_of(token, logical)
redis.call('ZADD', GROUPS, 0, group)
enlist(state, group, token)
tally('added', logical)
if headers ~= '' then redis.call('HSET', job, 'headers', headers) end
if delay > 0 then
  park_until(now_or_later + delay, queue, token)
else
  local limit = parked_at(queue, logical, envelope)
  if limit then
    park(job, token, queue, limit)
  else
    hand_out(queue, token, gen, shadow, 0, headers)
  end
end
return redis.status_reply('created ' .. state)
