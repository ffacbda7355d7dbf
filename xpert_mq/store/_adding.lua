-- Recording a job under an id that is free.
-- INCLUDE  record message limits

-- The reply for an id that is kept: by this very call before, by the same logical job, or by another. nil: it is free.
local function held(job, token, logical, envelope)
  local state = state_of(job, token)
  if not state then return nil end
  local stored = redis.call('HGET', job, 'envelope')
  if nonce_of(stored) == nonce_of(envelope) then return redis.status_reply('created ' .. state) end
  if logical_of(stored) ~= logical then
    return redis.status_reply('conflict ' .. state .. ' ' .. stored)
  end
  return redis.status_reply('kept ' .. state)
end

-- Records the job, and hands it out or parks it for `delay` ms. `made`: tries that have ended already.
local function record_new(job, token, logical, queue, shadow, delay, envelope, payload, headers, made)
  local state = delay > 0 and 'delayed' or 'waiting'
  local gen = redis.call('INCR', GENERATION)
  local stored = string.sub(envelope, 1, -2) .. ',"enqueuedAt":' .. now .. '}'
  redis.call('HSET', job, 'envelope', stored, 'payload', payload, 'state', state, 'gen', gen)
  local group = group_of(token, logical)
  redis.call('ZADD', GROUPS, 0, group)
  enlist(state, group, token)
  tally('added', logical)
  if headers ~= '' then redis.call('HSET', job, 'headers', headers) end
  if made > 0 then redis.call('HSET', job, 'made', made) end
  if delay > 0 then
    park_until(now_or_later + delay, queue, token)
  else
    local limit = parked_at(queue, logical, stored)
    if limit then
      park(job, token, queue, limit)
    else
      hand_out(queue, token, gen, shadow, made, headers)
    end
  end
  return redis.status_reply('created ' .. state)
end
