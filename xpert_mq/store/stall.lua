-- Takes a job from a try that will not end it: its process has died, or it is over and could not say so. The try is named by its
-- hand-out, or by the nonce of its claim.
-- KEYS  job
-- ARGV  token generation nonce node most_stalls
--       generation, nonce: one of them is ''; most_stalls: '' where it is not to count
-- RETURNS  'rerun' | 'failed' | 'other'
-- FLAGS  allow-oom
-- INCLUDE  record limits recovery

local record = redis.call('HMGET', job, 'state', 'gen', 'claim')
if record[1] ~= 'active' or (record[2] ~= generation and record[3] ~= nonce) then
  if redis.call('HGET', running_on(node), token) == nonce then redis.call('HDEL', running_on(node), token) end
  return 'other'
end
redis.call('HDEL', running_on(node), token)
local what = take_back(job, token, most_stalls)
release(node, token)
return what
