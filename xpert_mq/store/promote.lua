-- Hands out the delayed jobs that are due, at most `limit`, in the order of their due times.
-- KEYS  queue
-- ARGV  limit
-- RETURNS  {how many, ms until the next is due or -1}
-- FLAGS  allow-oom
-- INCLUDE  record message

local delayed = queue .. DELAYED
local messages = {}
local due = redis.call('ZRANGE', delayed, '-inf', '(' .. (now + 1), 'BYSCORE', 'LIMIT', 0, limit)
for _, token in ipairs(due) do
  local job = JOBS .. token
  local record = redis.call('HMGET', job, 'state', 'envelope', 'made', 'headers')
  if record[1] == 'delayed' then
    local envelope = cjson.decode(record[2])
    local shadow = envelope.pluginName .. '/' .. envelope.queueName .. '/' .. envelope.jobName
    local gen = next_generation(job)
    redis.call('ZADD', queue .. WAITING, now, token)
    messages[#messages + 1] = message(queue, token, gen, shadow, record[3] or '0', record[4])
  end
end
if #due > 0 then redis.call('ZREM', delayed, unpack(due)) end
if #messages > 0 then
  redis.call('LPUSH', queue, unpack(messages))
  wake(queue)
end
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if not first[2] then return {#due, -1} end
return {#due, math.max(0, math.floor(first[2]) - now)}
