-- Records a job, once, and hands it out or parks it until it is due.
-- KEYS  job
-- ARGV  shadow logical queue delay_ms envelope payload headers resend
-- RETURNS  'created <state>' | 'kept <state>' | 'conflict <state> <envelope of the holder>', as a status
-- INCLUDE  record adding

local token = string.sub(job, #JOBS + 1)
local kept = held(job, token, logical, envelope)
if kept then return kept end
if resend == '1' and redis.call('EXISTS', ANSWERS .. nonce_of(envelope)) == 1 then
  return redis.status_reply('created waiting')
end
return record_new(job, token, logical, queue, shadow, tonumber(delay_ms), envelope, payload, headers, 0)
