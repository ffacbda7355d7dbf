-- Handing jobs out: a new generation, a filled copy of the Celery message, the queue, and the wake-up of an idle worker.
-- FILL(id, tag, shadow, retries, queue, headers) is rendered from Celery's own message by xpert_mq.message.

local function next_generation(job)
  local gen = redis.call('INCR', GENERATION)
  local old = redis.call('HGET', job, 'gen')
  if old then redis.call('HSETNX', job, 'born', old) end
  redis.call('HSET', job, 'gen', gen)
  return gen
end

local function message(queue, token, gen, shadow, retries, headers)
  return FILL(cjson.encode(token .. ':' .. gen), tostring(gen), cjson.encode(shadow), tostring(retries), cjson.encode(queue), headers or '')
end

local function wake(queue)
  redis.call('ZADD', queue .. WAKE, 0, '0')
end

-- Puts the job at the back of its queue.
local function hand_out(queue, token, shadow, retries, headers)
  local job = JOBS .. token
  local gen = next_generation(job)
  redis.call('HSET', job, 'state', 'waiting')
  redis.call('ZADD', queue .. WAITING, now, token)
  redis.call('LPUSH', queue, message(queue, token, gen, shadow, retries, headers))
  wake(queue)
  return gen
end

-- Parks the job until `due`; jobs due in the same millisecond keep their order (1024 of them). Tells the sleeping nodes when
-- it is due before all others.
local function park_until(due, queue, token)
  local delayed = queue .. DELAYED
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  local same = redis.call('ZRANGE', delayed, '(' .. (due + 1), due, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
  local score = due
  if same[2] then score = math.min(same[2] + 1 / 1024, due + 1023 / 1024) end
  redis.call('HSET', JOBS .. token, 'state', 'delayed')
  redis.call('ZADD', delayed, score, token)
  if not first[2] or due < tonumber(first[2]) then redis.call('PUBLISH', DUE, due) end
end
