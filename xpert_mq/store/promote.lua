-- Hands out the delayed jobs that are due, at most `limit`, in the order of their due times.
-- KEYS  queue
-- ARGV  limit
-- RETURNS  {how many, ms until the next is due or -1}
-- FLAGS  allow-oom
-- INCLUDE  record message

-- Much of the work is done once for all of them: thousands may be due together.

local delayed = queue .. DELAYED
local due = redis.call('ZRANGE', delayed, '-inf', '(' .. (now + 1), 'BYSCORE', 'LIMIT', 0, limit)
local waiting, messages = {}, {}

-- The logical job's name as JSON. Parts of JSON texts make one, so nothing has to be decoded where nothing is escaped.
local function shadow_of(text)
  if not string.find(text, '\\', 1, true) then
    local plugin, name, job = string.match(text, '"pluginName":"(.-)","queueName":"(.-)","jobName":"(.-)"')
    if job then return '"' .. plugin .. '/' .. name .. '/' .. job .. '"' end
  end
  local envelope = cjson.decode(text)
  return cjson.encode(envelope.pluginName .. '/' .. envelope.queueName .. '/' .. envelope.jobName)
end

if #due > 0 then
  local gen = redis.call('INCRBY', GENERATION, #due) - #due
  local queue_json = cjson.encode(queue)
  for _, token in ipairs(due) do
    local job = JOBS .. token
    local record = redis.call('HMGET', job, 'state', 'envelope', 'made', 'headers', 'born', 'gen')
    if record[1] == 'delayed' then
      gen = gen + 1
      redis.call('HSET', job, 'state', 'waiting', 'born', record[5] or record[6], 'gen', gen)
      waiting[#waiting + 1] = now
      waiting[#waiting + 1] = token
      messages[#messages + 1] = message(queue_json, token, gen, shadow_of(record[2]), record[3] or 0, record[4])
    end
  end
  redis.call('ZREM', delayed, unpack(due))
end
if #messages > 0 then
  redis.call('ZADD', queue .. WAITING, unpack(waiting))
  redis.call('LPUSH', queue, unpack(messages))
  wake(queue)
end
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if not first[2] then return {#due, -1} end
return {#due, math.max(0, math.floor(first[2]) - now)}
