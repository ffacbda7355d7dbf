-- Reads jobs of a place, in the order in which they run. Changes nothing.
-- KEYS: the place; what the keys of the jobs begin with
-- ARGV: kind of the place ('list', 'zset', 'hash'), first, count, bytes of data that may be returned
-- Returns {ms of the clock, jobs}; each job is {id, score or record, bytes of data, fields, locked,
-- of a flow}, and false for the fields where the key holds something else.

local kind, first, count, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local FIELDS = {'name', 'opts', 'timestamp', 'atm', 'attemptsMade', 'rjk', 'parentKey', 'defa', 'data'}

local ids, scores = {}, {}
if kind == 'list' then
  local found = redis.call('LRANGE', KEYS[1], -first - count, -first - 1)
  for i = #found, 1, -1 do ids[#ids + 1] = found[i] end
else
  local found
  if kind == 'zset' then
    found = redis.call('ZRANGE', KEYS[1], first, first + count - 1, 'WITHSCORES')
  else
    found = redis.call('HGETALL', KEYS[1])
  end
  for i = 1, #found, 2 do
    ids[#ids + 1] = found[i]
    scores[#ids] = found[i + 1]
  end
end

local jobs, sent = {}, 0
for i, id in ipairs(ids) do
  local key = KEYS[2] .. id
  local size = redis.pcall('HSTRLEN', key, 'data')
  local fields = false
  if type(size) ~= 'number' then
    size = 0
  elseif size > most then
    fields = redis.call('HMGET', key, unpack(FIELDS, 1, #FIELDS - 1))
  else
    if sent > 0 and sent + size > most then break end
    sent = sent + size
    fields = redis.call('HMGET', key, unpack(FIELDS))
  end
  local flow = redis.call('EXISTS', key .. ':dependencies', key .. ':processed', key .. ':failed', key .. ':unsuccessful')
  jobs[#jobs + 1] = {id, scores[i] or '', size, fields, redis.call('EXISTS', key .. ':lock'), flow}
end

local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), jobs}
