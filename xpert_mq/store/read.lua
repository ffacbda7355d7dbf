-- KEYS  job
-- ARGV  token
-- RETURNS  the record's fields and values, alternating; empty where there is no such job
-- FLAGS  allow-oom
-- INCLUDE  record

if not state_of(job, token) then return {} end
return redis.call('HGETALL', job)
