-- Ends the flight of jobs: removes those that the managed queue has, and puts the others back where they were.
-- KEYS: the notes of jobs in flight; the lease; what the keys of the jobs begin with
-- ARGV: the lease's token, its ms, the list where waiting jobs of a paused queue are, how many are removed, their ids, and
-- the ids of those to be put back, the last to run first
-- Returns 1; -1: the lease is another's.

local notes, lease, prefix = KEYS[1], KEYS[2], KEYS[3]
local removed = tonumber(ARGV[4])
if redis.call('GET', lease) ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', lease, ARGV[2])

local STATES = {wait = 'waiting', paused = 'waiting'}
local listens = redis.call('EXISTS', prefix .. 'events') == 1
local paused = redis.call('HEXISTS', prefix .. 'meta', 'paused') + redis.call('EXISTS', prefix .. 'meta-paused') > 0
local waiting = paused and ARGV[3] or 'wait'

-- As at the end of a job: a key with a time is kept until then.
local function free_deduplication(id)
  local name = redis.pcall('HGET', prefix .. id, 'deid')
  if type(name) ~= 'string' then return end
  local key = prefix .. 'de:' .. name
  if redis.call('PTTL', key) == -1 and redis.call('GET', key) == id then redis.call('DEL', key) end
end

local function tell(id, place)
  local most = redis.call('HGET', prefix .. 'meta', 'opts.maxLenEvents') or 10000
  redis.call('XADD', prefix .. 'events', 'MAXLEN', '~', most, '*',
    'event', 'removed', 'jobId', id, 'prev', STATES[place] or place)
end

local function put_back(id, was)
  if was.priority then redis.call('ZADD', prefix .. 'priority', was.priority, id) end
  if was.score then
    redis.call('ZADD', prefix .. was.place, was.score, id)
  elseif not was.before or redis.call('LINSERT', prefix .. waiting, 'BEFORE', was.before, id) < 1 then
    redis.call('RPUSH', prefix .. waiting, id)
  end
end

local function wake_workers()
  redis.call('ZADD', prefix .. 'marker', 0, '0')
  local due = redis.call('ZRANGE', prefix .. 'delayed', 0, 0, 'WITHSCORES')
  if due[2] then redis.call('ZADD', prefix .. 'marker', math.floor(due[2] / 4096), '1') end
end

for i = 5, #ARGV do
  local id = ARGV[i]
  local record = redis.call('HGET', notes, id)
  if record then
    local was = cjson.decode(record)
    redis.call('HDEL', notes, id)
    if i < 5 + removed then
      free_deduplication(id)
      redis.call('DEL', prefix .. id, prefix .. id .. ':logs')
      if listens then tell(id, was.place) end
    else
      put_back(id, was)
    end
  end
end
if listens and not paused and #ARGV > 4 + removed then wake_workers() end
return 1
