-- The holder gives its job back for another try: after a failure (a try is spent) or a Defer (none is).
-- KEYS  job
-- ARGV  token nonce node logical queue shadow delay_ms spent failed_reason failed_type stacks resend
-- RETURNS  'done' | 'lost'
-- FLAGS  allow-oom
-- INCLUDE  record message limits

local record = redis.call('HMGET', job, 'state', 'claim', 'made', 'headers', 'gen')
if record[1] ~= 'active' or record[2] ~= nonce then
  return resend == '1' and redis.call('GET', ANSWERS .. nonce) or 'lost'
end
remember(nonce, 'done', TRY_MS)
local group = group_of(token, logical)
redis.call('HDEL', running_on(node), token)
release(node, token)
unlist('active', group, token)
redis.call('HSETNX', job, 'born', record[5])

local made = tonumber(record[3] or '0')
if spent == '1' then
  tally('retried', logical)
  made = redis.call('HINCRBY', job, 'made', 1)
  redis.call('HSET', job, 'failed_reason', failed_reason, 'failed_type', failed_type, 'stacks', stacks)
end
local delay = tonumber(delay_ms)
enlist(delay > 0 and 'delayed' or 'waiting', group, token)
if delay > 0 then
  redis.call('HSET', job, 'state', 'delayed')
  park_until(now_or_later + delay, queue, token)
else
  hand_out(queue, token, next_generation(job), shadow, made, record[4] or '')
end
return 'done'
