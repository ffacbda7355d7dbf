-- Handing jobs out: a new generation, a filled copy of the Celery message, the queue, and the wake-up of an idle worker.
-- FILL(id, tag, shadow, retries, queue, headers) is rendered from Celery's own message by xpert_mq.message.

-- Makes the job's next hand-out the latest one.
local function next_generation(job)
  local gen = redis.call('INCR', GENERATION)
  redis.call('HSET', job, 'gen', gen, 'state', 'waiting')
  return gen
end

-- `shadow` and `queue` are JSON texts.
local function message(queue, token, gen, shadow, retries, headers)
  return FILL(cjson.encode(token .. ':' .. gen), gen, shadow, retries, queue, headers or '')
end

local function wake(queue)
  redis.call('ZADD', queue .. WAKE, 0, '0')
end

-- Puts a message of the job at the back of its queue.
local function put_last(queue, token, raw)
  redis.call('ZADD', queue .. WAITING, behind(queue .. WAITING), token)
  redis.call('LPUSH', queue, raw)
  wake(queue)
end

-- Puts this hand-out of the job at the back of its queue.
local function hand_out(queue, token, gen, shadow, retries, headers)
  put_last(queue, token, message(cjson.encode(queue), token, gen, cjson.encode(shadow), retries, headers))
end

-- The message of a further hand-out, in the same life of the job: all that it needs is in the record.
local function next_message(job, queue, token)
  local record = redis.call('HMGET', job, 'envelope', 'made', 'headers', 'gen')
  redis.call('HSETNX', job, 'born', record[4])
  local shadow = cjson.encode(table.concat({names_of(record[1])}, '/'))
  return message(cjson.encode(queue), token, next_generation(job), shadow, record[2] or 0, record[3])
end

-- Parks the job until `due`; jobs due in the same millisecond keep their order (1024 of them). Tells the sleeping nodes when
-- it is due before all others.
local function park_until(due, queue, token)
  local delayed = queue .. DELAYED
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  local same = redis.call('ZRANGE', delayed, '(' .. (due + 1), due, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
  local score = due
  if same[2] then score = math.min(same[2] + 1 / 1024, due + 1023 / 1024) end
  redis.call('ZADD', delayed, score, token)
  if not first[2] or due < tonumber(first[2]) then redis.call('PUBLISH', DUE, due) end
end
