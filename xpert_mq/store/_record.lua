-- What every script knows about a job's record.
--
-- Fields of the hash: envelope, opts (JSON, never change), payload (JSON), state, gen (of the latest hand-out), timestamp;
-- and, once there is something to say: born (gen of the first hand-out), headers, made (ended tries), claim (nonce of the latest
-- try), processed_on, finished_on, failed_reason, failed_type, stacks (JSON), result (JSON), expires_at.
-- Times are milliseconds of the server's clock.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- What is due some milliseconds from now counts from here: it may be late by a part of one, and never early.
local now_or_later = clock[1] * 1000 + math.ceil(clock[2] / 1000)

-- CALL_MS, TRY_MS: how long an answer is remembered for a call of a plugin, or of a try, that may be sent again. Redis itself
-- keeps a record this much beyond its age, in case that no node runs to remove it:
local BACKSTOP_MS = 86400000

local function envelope_of(job)
  return cjson.decode(redis.call('HGET', job, 'envelope'))
end

local function queue_of(envelope)
  local pool = envelope.executionPool
  if pool == nil or pool == 'default' then return QUEUE end
  return QUEUE .. '-' .. pool
end

local function logical_of(envelope)
  local plugin, queue, job = envelope.pluginName, envelope.queueName, envelope.jobName
  return #plugin .. ':' .. plugin .. #queue .. ':' .. queue .. #job .. ':' .. job
end

local function finished_set(outcome, envelope)
  local tenant = envelope.tenantId
  tenant = tenant and (#tenant .. ':' .. tenant) or '-'
  return FINISHED .. outcome .. ':' .. tenant .. ':' .. logical_of(envelope)
end

-- What tells this call of an add from any other: the envelope's first words hold it.
local function nonce_of(envelope)
  return string.match(envelope, '"nonce":"(%w+)"')
end

local function remember(nonce, answer, ms)
  redis.call('SET', ANSWERS .. nonce, answer, 'PX', ms)
end

-- Removes the record. While it is young its enqueue may still be sent again, and must not add the job a second time.
local function delete_record(job)
  local record = redis.call('HMGET', job, 'envelope', 'timestamp')
  if record[2] and now - record[2] < CALL_MS then
    remember(nonce_of(record[1]), 'created', CALL_MS)
  end
  redis.call('DEL', job)
end

-- Finished jobs: `set` by finish time, `set:expiry` by the end of their age, `set:kept` those that no rule may remove.
-- EXPIRING: the sets by the end of their next age.
local function index_expiry(set)
  local first = redis.call('ZRANGE', set .. ':expiry', 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', EXPIRING, first[2], set)
  else
    redis.call('ZREM', EXPIRING, set)
  end
end

local function unlist_finished(set, token)
  redis.call('ZREM', set, token)
  redis.call('ZREM', set .. ':kept', token)
  if redis.call('ZREM', set .. ':expiry', token) == 1 then index_expiry(set) end
end

local function forget_finished(set, token)
  unlist_finished(set, token)
  delete_record(JOBS .. token)
end

-- Removes up to `limit` jobs of the set whose age is over. Returns how many.
local function expire_set(set, limit)
  local over = redis.call('ZRANGEBYSCORE', set .. ':expiry', '-inf', now, 'LIMIT', 0, limit)
  for _, token in ipairs(over) do forget_finished(set, token) end
  -- An entry of the index whose set is gone goes, too.
  index_expiry(set)
  return #over
end

-- The state of a kept job, or nil. A job whose age is over is gone, even if no node was there to remove it.
local function state_of(job, token)
  local record = redis.call('HMGET', job, 'state', 'expires_at')
  if record[2] and tonumber(record[2]) <= now then
    forget_finished(finished_set(record[1], envelope_of(job)), token)
    return nil
  end
  return record[1] or nil
end
