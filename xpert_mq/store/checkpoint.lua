-- Replaces the payload of a running job; only the holder of its claim can.
-- KEYS  job
-- ARGV  nonce payload
-- RETURNS  'done' | 'lost'

local record = redis.call('HMGET', job, 'state', 'claim')
if record[1] ~= 'active' or record[2] ~= nonce then return 'lost' end
redis.call('HSET', job, 'payload', payload)
return 'done'
