-- Ends a job as completed or failed; only the holder of its claim can. Then applies its retention: the job's own age, and its
-- count to the jobs of the same tenant, logical job and outcome.
-- KEYS  job
-- ARGV  token nonce node outcome logical age_ms count result failed_reason failed_type stacks resend
--       age_ms and count: '' where there is no such limit; count '0' removes at once
-- RETURNS  'done' | 'lost'
-- FLAGS  allow-oom
-- INCLUDE  record limits ending

local record = redis.call('HMGET', job, 'state', 'claim')
if record[1] ~= 'active' or record[2] ~= nonce then
  if record[1] == outcome and record[2] == nonce then return 'done' end
  return resend == '1' and redis.call('GET', ANSWERS .. nonce) or 'lost'
end
local group = group_of(token, logical)
redis.call('HDEL', running_on(node), token)
release(node, token)
unlist('active', group, token)
tally(outcome, logical)

-- It may be gone, or run again, before this is sent again.
if outcome == 'failed' or count == '0' then remember(nonce, 'done', TRY_MS) end
redis.call('HSET', job, 'state', outcome, 'finished_on', now)
redis.call('HINCRBY', job, 'made', 1)
if outcome == 'failed' then
  redis.call('HSET', job, 'failed_reason', failed_reason, 'failed_type', failed_type, 'stacks', stacks)
elseif result ~= '' then
  redis.call('HSET', job, 'result', result)
end
retain(job, token, outcome, group, age_ms, count)
return 'done'
