-- What every script knows about a job's record.
--
-- Fields of the hash: envelope (JSON with the options and the time of the enqueue, never changes), payload (JSON), state, gen (of
-- the latest hand-out); and, once there is something to say: born (gen of the first hand-out), headers, made (ended tries), claim
-- (nonce of the latest try), stalls, parked (where), processed_on, finished_on, failed_reason, failed_type, stacks (JSON), result
-- (JSON), expires_at.
-- Times are milliseconds of the server's clock.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- What is due some milliseconds from now counts from here: it may be late by a part of one, and never early.
local now_or_later = clock[1] * 1000 + math.ceil(clock[2] / 1000)

-- CALL_MS, TRY_MS: how long an answer is remembered for a call of a plugin, or of a try, that may be sent again. Redis itself
-- keeps a record this much beyond its age, in case that no node runs to remove it:
local BACKSTOP_MS = 86400000

-- The Celery queue of the job that the envelope (a JSON text) describes.
local function queue_of(envelope)
  local pool = cjson.decode(envelope).executionPool
  if pool == nil or pool == 'default' then return QUEUE end
  return QUEUE .. '-' .. pool
end

-- Plugin, queue and job name of the envelope. Where nothing is escaped, nothing has to be decoded.
local function names_of(envelope)
  if not string.find(envelope, '\\', 1, true) then
    local plugin, queue, job = string.match(envelope, '"pluginName":"(.-)","queueName":"(.-)","jobName":"(.-)"')
    if job then return plugin, queue, job end
  end
  local decoded = cjson.decode(envelope)
  return decoded.pluginName, decoded.queueName, decoded.jobName
end

-- The version of the record's format. Of a record that came later than this node's release only the envelope's first words, by which
-- jobs are routed, are known; what else is in it is left to nodes that know it.
local function format_of(envelope)
  return tonumber(string.match(envelope, '^{"v":(%d+)'))
end

local function logical_name(plugin, queue, job)
  return #plugin .. ':' .. plugin .. #queue .. ':' .. queue .. #job .. ':' .. job
end

local function logical_of(envelope)
  return logical_name(names_of(envelope))
end

-- Jobs are listed by state and group: the tenant, which the token begins with, and the logical job.
local function group_of(token, logical)
  local colon = string.find(token, ':', 1, true)
  if colon == 1 then return '-:' .. logical end
  return string.sub(token, 1, colon + string.sub(token, 1, colon - 1)) .. ':' .. logical
end

local function list_of(state, group)
  return LISTS .. state .. ':' .. group
end

-- A time for what comes last in a sorted set: the present, but behind all that is in it.
local function behind(key)
  local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  return math.max(now, (last[2] or 0) + 1 / 1024)
end

local function enlist(state, group, token)
  redis.call('ZADD', list_of(state, group), now, token)
end

local function unlist(state, group, token)
  redis.call('ZREM', list_of(state, group), token)
end

-- Takes a group without jobs from the index of groups.
local function prune(group)
  local completed, failed = list_of('completed', group), list_of('failed', group)
  local lists = {completed, failed, completed .. ':kept', failed .. ':kept'}
  for _, state in ipairs({'waiting', 'delayed', 'active'}) do lists[#lists + 1] = list_of(state, group) end
  if redis.call('EXISTS', unpack(lists)) == 0 then redis.call('ZREM', GROUPS, group) end
end

-- Counts an event of the logical job in the present minute.
local function tally(event, logical)
  local minute = TALLIES .. math.floor(now / 60000)
  if redis.call('HINCRBY', minute, event .. ':' .. logical, 1) == 1 then redis.call('EXPIRE', minute, TALLY_SECONDS) end
end

-- What a node holds: the jobs that it runs, with the nonces of their claims; and by their tags the messages that it has fetched and
-- not acknowledged, each behind the name of its queue and a line feed.
local function running_on(node)
  return NODE .. node .. ':active'
end

local function unacked_of(node)
  return NODE .. node .. ':unacked'
end

-- Queue and message of such a note.
local function noted_in(note)
  return string.match(note, '^(.-)\n(.*)$')
end

-- PARKED: what jobs are parked at, each with a sorted set of its own. Takes a job from where it is parked, if it is.
local function unpark(job, token)
  local place = redis.call('HGET', job, 'parked')
  if not place then return end
  redis.call('HDEL', job, 'parked')
  redis.call('ZREM', PARKED_AT .. place, token)
  if redis.call('EXISTS', PARKED_AT .. place) == 0 then redis.call('ZREM', PARKED, place) end
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
  local envelope = redis.call('HGET', job, 'envelope')
  if envelope and now - string.match(envelope, '"enqueuedAt":(%d+)}$') < CALL_MS then
    remember(nonce_of(envelope), 'created', CALL_MS)
  end
  redis.call('DEL', job)
end

-- Finished jobs: the list has those that a rule may remove, `:kept` beside it the others; `:expiry` by the end of their age.
-- EXPIRING: the lists by the end of their next age.
local function index_expiry(list)
  local first = redis.call('ZRANGE', list .. ':expiry', 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', EXPIRING, first[2], list)
  else
    redis.call('ZREM', EXPIRING, list)
  end
end

local function unlist_finished(list, token)
  redis.call('ZREM', list, token)
  redis.call('ZREM', list .. ':kept', token)
  if redis.call('ZREM', list .. ':expiry', token) == 1 then index_expiry(list) end
end

local function forget_finished(list, token)
  unlist_finished(list, token)
  delete_record(JOBS .. token)
end

-- Removes up to `limit` jobs of the list whose age is over. Returns how many.
local function expire_list(list, limit)
  local over = redis.call('ZRANGEBYSCORE', list .. ':expiry', '-inf', now, 'LIMIT', 0, limit)
  for _, token in ipairs(over) do forget_finished(list, token) end
  -- An entry of the index whose list is gone goes, too.
  index_expiry(list)
  return #over
end

-- The state of a kept job, or nil. A job whose age is over is gone, even if no node was there to remove it.
local function state_of(job, token)
  local record = redis.call('HMGET', job, 'state', 'expires_at', 'envelope')
  if record[2] and tonumber(record[2]) <= now then
    local group = group_of(token, logical_of(record[3]))
    forget_finished(list_of(record[1], group), token)
    prune(group)
    return nil
  end
  return record[1] or nil
end
