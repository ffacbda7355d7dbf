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
-- By group: tokens, and the same with scores.
local leaving, joining = {}, {}

if #due > 0 then
  local gen = redis.call('INCRBY', GENERATION, #due) - #due
  local queue_json = cjson.encode(queue)
  local admitted = behind(queue .. WAITING)
  for _, token in ipairs(due) do
    local job = JOBS .. token
    local record = redis.call('HMGET', job, 'state', 'envelope', 'made', 'headers', 'born', 'gen')
    if record[1] == 'delayed' then
      gen = gen + 1
      redis.call('HSET', job, 'state', 'waiting', 'born', record[5] or record[6], 'gen', gen)
      waiting[#waiting + 1] = admitted
      admitted = admitted + 1 / 1024
      waiting[#waiting + 1] = token
      local plugin, name, work = names_of(record[2])
      local shadow = cjson.encode(plugin .. '/' .. name .. '/' .. work)
      messages[#messages + 1] = message(queue_json, token, gen, shadow, record[3] or 0, record[4])
      local group = group_of(token, logical_name(plugin, name, work))
      local leave, join = leaving[group] or {}, joining[group] or {}
      leaving[group], joining[group] = leave, join
      leave[#leave + 1] = token
      join[#join + 1] = now
      join[#join + 1] = token
    end
  end
  redis.call('ZREM', delayed, unpack(due))
end
if #messages > 0 then
  redis.call('ZADD', queue .. WAITING, unpack(waiting))
  for group, tokens in pairs(leaving) do
    redis.call('ZREM', list_of('delayed', group), unpack(tokens))
    redis.call('ZADD', list_of('waiting', group), unpack(joining[group]))
  end
  redis.call('LPUSH', queue, unpack(messages))
  wake(queue)
end
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if not first[2] then return {#due, -1} end
return {#due, math.max(0, math.floor(first[2]) - now)}
