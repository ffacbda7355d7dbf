-- Runs a failed job again with its full number of attempts: data and stack traces stay.
-- KEYS  job
-- ARGV  token nonce resend
-- RETURNS  {'done', state} | {'refused', state} | {'not_found'}
-- INCLUDE  record message

if resend == '1' and redis.call('EXISTS', ANSWERS .. nonce) == 1 then return {'done', 'waiting'} end
local state = state_of(job, token)
if not state then return {'not_found'} end
if state ~= 'failed' then return {'refused', state} end

local envelope = redis.call('HGET', job, 'envelope')
local group = group_of(token, logical_of(envelope))
unlist_finished(list_of('failed', group), token)
enlist('waiting', group, token)
redis.call('PERSIST', job)
redis.call('HDEL', job, 'made', 'stalls', 'claim', 'processed_on', 'finished_on', 'failed_reason', 'failed_type', 'expires_at')
remember(nonce, 'done', CALL_MS)
local shadow = table.concat({names_of(envelope)}, '/')
local gen = next_generation(job)
-- A new life: no task id from before the failure speaks of it.
redis.call('HSET', job, 'born', gen)
hand_out(queue_of(envelope), token, gen, shadow, 0, redis.call('HGET', job, 'headers') or '')
return {'done', 'waiting'}
