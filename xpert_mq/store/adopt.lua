-- Records a job that another queue had, as `add` does, and notes it in a ledger: no later call for that source adds it again,
-- whatever has become of the job.
-- KEYS  job ledger
-- ARGV  shadow logical queue delay_ms envelope payload source made
-- RETURNS  'already' | 'created <state>' | 'kept <state>' | 'conflict <state> <envelope of the holder>', as a status
-- INCLUDE  adding

if redis.call('SISMEMBER', ledger, source) == 1 then return redis.status_reply('already') end
local token = string.sub(job, #JOBS + 1)
local kept = held(job, token, logical, envelope)
if kept then return kept end
redis.call('SADD', ledger, source)
return record_new(job, token, logical, queue, shadow, tonumber(delay_ms), envelope, payload, '', tonumber(made))
