-- Taking jobs and messages back from nodes and processes that are gone.
-- INCLUDE  record message limits ending

local STALLED = 'job stalled more than allowable limit'

-- The job that a message names, and the hand-out; nothing for what can't be read.
local function named_in(raw)
  -- Where nothing is escaped, nothing has to be decoded.
  local plain, number = string.match(raw, '"id": ?"([^"\\]*):(%d+)"')
  if plain then return plain, number end
  local ok, decoded = pcall(cjson.decode, raw)
  local headers = ok and type(decoded) == 'table' and decoded.headers
  local id = type(headers) == 'table' and headers.id
  if type(id) == 'string' then return string.match(id, '^(.*):(%d+)$') end
end

-- Notes that a message is put in front of its queue: the waiting stay in the order of the queue, by which `sweep` finds those whose
-- message is gone.
local function admit_first(queue, token)
  local head = redis.call('ZRANGE', queue .. WAITING, 0, 0, 'WITHSCORES')
  redis.call('ZADD', queue .. WAITING, head[2] and math.min(now, head[2] - 1) or now, token)
end

-- Whether a job waits for the message of this hand-out. One that is parked has none.
local function is_wanted(token, gen)
  local record = redis.call('HMGET', JOBS .. token, 'state', 'gen', 'parked')
  return record[1] == 'waiting' and record[2] == gen and not record[3]
end

-- Puts a message in front of its queue, for any node: this one keeps no slot for its job. One that no job waits for is dropped; what
-- can't be read is nobody's to judge. Returns how many went back.
local function put_first(node, queue, raw)
  local token, gen = named_in(raw)
  local wanted = not token or is_wanted(token, gen)
  if wanted then
    if token then admit_first(queue, token) end
    redis.call('RPUSH', queue, raw)
    wake(queue)
  end
  if token then release_kept(node, token) end
  return wanted and 1 or 0
end

-- Puts the messages that only this node would fetch in front of their queues. Returns how many went back.
local function return_admitted(node)
  local notes, returned = redis.call('LRANGE', admitted_to(node), 0, -1), 0
  redis.call('DEL', admitted_to(node))
  for _, note in ipairs(notes) do returned = returned + put_first(node, noted_in(note)) end
  return returned
end

-- Puts a job in front of all that wait in its queue.
local function hand_out_first(job, queue, token)
  admit_first(queue, token)
  redis.call('RPUSH', queue, next_message(job, queue, token))
  wake(queue)
end

-- Age in ms and count of a job's retention after a failure; '' for a limit that is not there.
local function limits_of_failed(envelope)
  local keep = cjson.decode(envelope).opts.removeOnFail
  if keep == nil then return FAILED_AGE_MS, tostring(FAILED_COUNT) end
  if keep == true then return '', '0' end
  if keep == false then return '', '' end
  if type(keep) == 'number' then return '', string.format('%.0f', keep) end
  local age_ms = keep.age and math.floor(keep.age * 1000 + 0.5)
  if age_ms == 0 then return '', '0' end
  return age_ms or '', keep.count and string.format('%.0f', keep.count) or ''
end

local function fail_stalled(job, token, envelope, group, stacks)
  tally('failed', logical_of(envelope))
  stacks = stacks and cjson.decode(stacks) or {}
  stacks[#stacks + 1] = STALLED
  if #stacks > KEPT_STACKS then table.remove(stacks, 1) end
  redis.call('HSET', job, 'state', 'failed', 'finished_on', now)
  redis.call('HSET', job, 'failed_reason', STALLED, 'failed_type', STALLED_TYPE, 'stacks', cjson.encode(stacks))
  redis.call('HINCRBY', job, 'made', 1)
  redis.call('HDEL', job, 'claim')
  retain(job, token, 'failed', group, limits_of_failed(envelope))
end

-- Takes a running job from its try: nothing that the try still says counts. The job waits again, in front of all others, with no
-- attempt spent; or it has failed, if it was taken away too often. `most` '' does not count. Returns what became of it.
local function take_back(job, token, most)
  local record = redis.call('HMGET', job, 'envelope', 'stacks')
  local envelope = record[1]
  local group = group_of(token, logical_of(envelope))
  unlist('active', group, token)
  local too_often = most ~= '' and redis.call('HINCRBY', job, 'stalls', 1) > tonumber(most)
  if too_often and format_of(envelope) <= FORMAT then
    fail_stalled(job, token, envelope, group, record[2])
    return 'failed'
  end
  redis.call('HDEL', job, 'claim')
  enlist('waiting', group, token)
  hand_out_first(job, queue_of(envelope), token)
  return 'rerun'
end

-- Puts the node's unacknowledged messages back in front of their queues, in the order that they had. Returns how many went back.
local function return_messages(node)
  local notes = {}
  for _, note in ipairs(redis.call('HVALS', unacked_of(node))) do
    local queue, raw = noted_in(note)
    local token = named_in(raw)
    local admitted = token and redis.call('ZSCORE', queue .. WAITING, token) or 0
    notes[#notes + 1] = {queue = queue, raw = raw, admitted = tonumber(admitted)}
  end
  redis.call('DEL', unacked_of(node))
  table.sort(notes, function(one, other) return one.admitted > other.admitted end)
  local returned = 0
  for _, note in ipairs(notes) do returned = returned + put_first(node, note.queue, note.raw) end
  return returned
end
