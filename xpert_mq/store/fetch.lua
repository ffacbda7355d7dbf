-- Takes messages from the pools' queues, the oldest of each in turn, and notes them as unacknowledged by this node, in one step:
-- a consumer that dies right here has lost none. What an earlier channel of the node has not acknowledged goes back first. Messages
-- that no job waits for any more are dropped.
-- KEYS  nodes
-- ARGV  node fresh channel count queues
--       fresh: '1' for an id that is not known yet; queues: JSON array of queue names
-- RETURNS  {queue, message, queue, message, ...} | 'more' | 'gone'
--          what can't be a message comes without a queue, and is not noted
--          more: there are messages, but the oldest all end here
--          gone: it was declared dead, and has to take a new id
-- FLAGS  allow-oom
-- INCLUDE  record message limits recovery

if not redis.call('ZSCORE', nodes, node) then
  if fresh ~= '1' or redis.call('HEXISTS', GONE, node) == 1 then return redis.status_reply('gone') end
  redis.call('ZADD', nodes, now, node)
  redis.call('HSET', NODE .. node, 'steady', now)
end
if redis.call('HGET', NODE .. node, 'channel') ~= channel then
  redis.call('HSET', NODE .. node, 'channel', channel)
  return_messages(node)
end

local unacked = unacked_of(node)
local taken = {}
local names = cjson.decode(queues)
local wanted = tonumber(count)
-- What a worker would only find out later ends here: messages that no job waits for, and jobs that must be parked behind others.
-- There may be thousands of them, so it costs, and there is an end.
local budget = 500
local parking = redis.call('EXISTS', PARKED) == 1

local function ends_here(queue, raw)
  local token, gen = named_in(raw)
  if not token then return false end
  local job = JOBS .. token
  if not is_wanted(token, gen) then
    release_kept(node, token)
    budget = budget - 1
    return true
  end
  if not parking then return false end
  local envelope = redis.call('HGET', job, 'envelope')
  local _, full = limits_over(node, token, queue, envelope, logical_of(envelope))
  if not full then return false end
  local admitted = redis.call('ZSCORE', queue .. WAITING, token)
  redis.call('ZREM', queue .. WAITING, token)
  park_over(node, job, token, queue, full, admitted)
  budget = budget - 10
  return true
end

local function take(queue, raw)
  if ends_here(queue, raw) then return end
  local tag = string.match(raw, '"delivery_tag": ?"([^"\\]+)"')
  if tag then redis.call('HSET', unacked, tag, queue .. '\n' .. raw) end
  taken[#taken + 1] = tag and queue or ''
  taken[#taken + 1] = raw
  wanted = wanted - 1
end

-- First those that slots are kept for.
while wanted > 0 and budget > 0 do
  local note = redis.call('RPOP', admitted_to(node))
  if not note then break end
  take(noted_in(note))
end
if redis.call('EXISTS', admitted_to(node)) == 1 then wake(NODE .. node) end

local empty = 0
local i = 0
while wanted > 0 and budget > 0 and empty < #names do
  local queue = names[i % #names + 1]
  i = i + 1
  local raw = redis.call('RPOP', queue)
  if raw then
    empty = 0
    take(queue, raw)
  else
    empty = empty + 1
  end
end
-- Whoever is idle learns of what is left.
for _, queue in ipairs(names) do
  if redis.call('EXISTS', queue) == 1 then wake(queue) end
end
if #taken == 0 and budget <= 0 then return redis.status_reply('more') end
return taken
