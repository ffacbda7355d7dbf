-- Declares nodes dead that have missed their beats, and takes back what nodes hold that are gone, at most `limit` jobs.
-- KEYS  nodes
-- ARGV  node timeout_ms most_stalls limit
-- RETURNS  {dead nodes, tokens of jobs that run again, tokens of failed ones, messages that went back, '1' if there is more to do}
-- FLAGS  allow-oom
-- INCLUDE  record limits recovery

local dead, rerun, failed, returned = {}, {}, {}, 0

-- A node that could not beat itself, for the whole timeout, can't know of the others.
local last, steady = redis.call('ZSCORE', nodes, node), redis.call('HGET', NODE .. node, 'steady')
if last and steady and now - last < timeout_ms / 2 and now - steady >= tonumber(timeout_ms) then
  dead = redis.call('ZRANGE', nodes, '-inf', now - timeout_ms, 'BYSCORE')
  for _, other in ipairs(dead) do
    redis.call('ZREM', nodes, other)
    redis.call('HSET', GONE, other, 'dead')
  end
end

-- The jobs that a node runs, that which was handed out last first: each is put in front of those before.
local function latest_first(running)
  local jobs, tokens, gens = redis.call('HGETALL', running), {}, {}
  for i = 1, #jobs, 2 do
    local record = redis.call('HMGET', JOBS .. jobs[i], 'state', 'claim', 'gen')
    if record[1] == 'active' and record[2] == jobs[i + 1] then
      tokens[#tokens + 1] = jobs[i]
      gens[jobs[i]] = tonumber(record[3])
    end
  end
  table.sort(tokens, function(one, other) return gens[one] > gens[other] end)
  return tokens
end

local left = tonumber(limit)
local gone = redis.call('HGETALL', GONE)
for i = 1, #gone, 2 do
  local other, most = gone[i], gone[i + 1] == 'dead' and most_stalls or ''
  drop_slots(other)
  returned = returned + return_admitted(other) + return_messages(other)
  for _, token in ipairs(latest_first(running_on(other))) do
    if left == 0 then return {dead, rerun, failed, returned, '1'} end
    local what = take_back(JOBS .. token, token, most)
    local tokens = what == 'rerun' and rerun or failed
    tokens[#tokens + 1] = token
    redis.call('HDEL', running_on(other), token)
    left = left - 1
  end
  redis.call('DEL', NODE .. other, running_on(other))
  redis.call('HDEL', GONE, other)
end
return {dead, rerun, failed, returned, '0'}
