-- Ending a job: its retention.
-- INCLUDE  record

-- Lists a job that has just ended and applies its retention: its own age, and its count to the ended jobs of the group. '' stands
-- for a limit that is not there; a count of '0' removes at once.
local function retain(job, token, outcome, group, age_ms, count)
  if count == '0' then
    delete_record(job)
    prune(group)
    return
  end
  local list = list_of(outcome, group)
  if age_ms == '' and count == '' then
    redis.call('ZADD', list .. ':kept', now, token)
    return
  end
  -- In the order of finishing, also within a millisecond.
  redis.call('ZADD', list, behind(list), token)
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
end
