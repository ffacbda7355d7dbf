-- Removes a job that has not started; its message, wherever it is, then finds nothing. With a generation, only the job that
-- this hand-out belongs to (what a revoke of a task id means).
-- KEYS  job
-- ARGV  token generation nonce resend
-- RETURNS  {'cancelled' | 'refused', state} | {'not_found'}
-- FLAGS  allow-oom
-- INCLUDE  record

if resend == '1' then
  local before = redis.call('GET', ANSWERS .. nonce)
  if before then return {'cancelled', before} end
end
local state = state_of(job, token)
if not state then return {'not_found'} end
if generation ~= '' then
  local life = redis.call('HMGET', job, 'gen', 'born')
  local named = tonumber(generation)
  if named > tonumber(life[1]) or named < tonumber(life[2] or life[1]) then return {'not_found'} end
end
if state ~= 'waiting' and state ~= 'delayed' then return {'refused', state} end

local envelope = redis.call('HGET', job, 'envelope')
local logical = logical_of(envelope)
local group = group_of(token, logical)
redis.call('ZREM', queue_of(envelope) .. (state == 'waiting' and WAITING or DELAYED), token)
unpark(job, token)
unlist(state, group, token)
tally('cancelled', logical)
delete_record(job)
prune(group)
remember(nonce, state, CALL_MS)
return {'cancelled', state}
