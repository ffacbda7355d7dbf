-- Ends a job as completed or failed; only the holder of its claim can. Then applies its retention: the job's own age, and its
-- count to the jobs of the same tenant, logical job and outcome.
-- KEYS  job
-- ARGV  token nonce outcome logical age_ms count result failed_reason failed_type stacks resend
--       age_ms and count: '' where there is no such limit; count '0' removes at once
-- RETURNS  'done' | 'lost'
-- FLAGS  allow-oom
-- INCLUDE  record

local record = redis.call('HMGET', job, 'state', 'claim')
if record[1] ~= 'active' or record[2] ~= nonce then
  if record[1] == outcome and record[2] == nonce then return 'done' end
  return resend == '1' and redis.call('GET', ANSWERS .. nonce) or 'lost'
end
local group = group_of(token, logical)
unlist('active', group, token)
tally(outcome, logical)

if count == '0' then
  remember(nonce, 'done', TRY_MS)
  delete_record(job)
  prune(group)
  return 'done'
end

redis.call('HSET', job, 'state', outcome, 'finished_on', now)
redis.call('HINCRBY', job, 'made', 1)
if outcome == 'failed' then
  redis.call('HSET', job, 'failed_reason', failed_reason, 'failed_type', failed_type, 'stacks', stacks)
  -- It may be run again before this is sent again.
  remember(nonce, 'done', TRY_MS)
elseif result ~= '' then
  redis.call('HSET', job, 'result', result)
end

local list = list_of(outcome, group)
if age_ms == '' and count == '' then
  redis.call('ZADD', list .. ':kept', now, token)
  return 'done'
end
-- In the order of finishing, also within a millisecond.
local last = redis.call('ZRANGE', list, -1, -1, 'WITHSCORES')
redis.call('ZADD', list, math.max(now, (last[2] or 0) + 1 / 1024), token)
if age_ms ~= '' then
  local expires_at = now + age_ms
  redis.call('HSET', job, 'expires_at', expires_at)
  redis.call('PEXPIREAT', job, expires_at + BACKSTOP_MS)
  redis.call('ZADD', list .. ':expiry', expires_at, token)
  redis.call('ZADD', EXPIRING, 'LT', expires_at, list)
end
if count ~= '' then
  local surplus = redis.call('ZCARD', list) - count
  if surplus > 0 then surplus = surplus - expire_list(list, 1000) end
  if surplus > 0 then
    for _, oldest in ipairs(redis.call('ZRANGE', list, 0, math.min(surplus, 1000) - 1)) do forget_finished(list, oldest) end
  end
end
return 'done'
