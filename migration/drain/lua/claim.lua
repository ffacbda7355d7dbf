-- Takes jobs out of their place, as long as they are what was read, and notes where each was.
-- KEYS: the place; the notes of jobs in flight; the lease; what the keys of the jobs begin with
-- ARGV: the lease's token, its ms, name and kind of the place, the first one's distance from the end where jobs are taken;
-- then for each job: id, SHA-1 of what was read, score
-- Returns {the numbers (from 1) of the jobs that were taken, how many are there and not the same}; -1: the lease is another's.

local place, notes, lease, prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, lease_ms, name, kind, first = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local ASIDE = 200
local TAKEN = '\0taken'

if redis.call('GET', lease) ~= token then return -1 end
redis.call('PEXPIRE', lease, lease_ms)

local wanted = {}
for i = 6, #ARGV, 3 do wanted[ARGV[i]] = i end

local function unchanged(i)
  local key = prefix .. ARGV[i]
  local read = redis.pcall('HMGET', key, 'name', 'opts', 'timestamp', 'atm', 'attemptsMade', 'data')
  if read.err then return false end
  for field = 1, 6 do read[field] = read[field] or '' end
  return redis.sha1hex(table.concat(read, '\0')) == ARGV[i + 1] and redis.call('EXISTS', key .. ':lock') == 0
end

local taken, changed = {}, 0
local function note(i, score, before)
  local id = ARGV[i]
  local priority = redis.call('ZSCORE', prefix .. 'priority', id) or nil
  if priority then redis.call('ZREM', prefix .. 'priority', id) end
  taken[#taken + 1] = (i - 3) / 3
  local record = {place = name, score = score, before = before, priority = priority, number = #taken}
  redis.call('HSET', notes, id, cjson.encode(record))
end

if kind == 'zset' then
  for i = 6, #ARGV, 3 do
    local score = redis.call('ZSCORE', place, ARGV[i])
    if score and score == ARGV[i + 2] and unchanged(i) then
      redis.call('ZREM', place, ARGV[i])
      note(i, score)
    elseif score then
      changed = changed + 1
    end
  end
  return {taken, changed}
end

-- Workers may have taken jobs since, or jobs may have been put before these: so some more are looked at.
local last = math.max(first - ASIDE, 0) + 1
local near = redis.call('LRANGE', place, -first - (#ARGV - 5) / 3 - ASIDE, -last)
local before, gone = nil, 0
for at = #near, 1, -1 do
  local i = wanted[near[at]]
  if i and unchanged(i) then
    wanted[near[at]] = nil
    redis.call('LSET', place, -last - (#near - at), TAKEN)
    gone = gone + 1
    note(i, nil, before)
  else
    if i then changed = changed + 1 end
    before = near[at]
  end
end
if gone > 0 then redis.call('LREM', place, -gone, TAKEN) end
return {taken, changed}
