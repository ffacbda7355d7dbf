-- One page of the jobs of some groups that are in some states, by the time since when they are.
-- KEYS  -
-- ARGV  names states order oldest_ms newest_ms after_time after_token until_time limit
--       names, states: JSON arrays; order: 'newest' or 'oldest' first
--       oldest_ms, newest_ms: how long ago at most and at least, '' for no bound; after_*: of the last job of the page before, or ''
--       until_time: where to stop, or ''
-- RETURNS  {{token, time, state, envelope, made, processed_on, finished_on, failed_reason, due}, ...}
--          failed_reason is cut; the last five are false where there is none
-- FLAGS  no-writes
-- INCLUDE  record

local REASON_BYTES = 200
local newest_first = order == 'newest'

local first = oldest_ms == '' and -math.huge or now - oldest_ms
local last = newest_ms == '' and math.huge or now - newest_ms
local after = after_time ~= '' and {time = tonumber(after_time), token = after_token}
if after then
  if newest_first then last = math.min(last, after.time) else first = math.max(first, after.time) end
end
if until_time ~= '' then
  if newest_first then first = math.max(first, until_time) else last = math.min(last, until_time) end
end

-- Whether a job comes before another: by time, then by token.
local function before(one, other)
  if one.time ~= other.time then return (one.time > other.time) == newest_first end
  return one.token ~= other.token and (one.token > other.token) == newest_first
end

local bounds = {string.format('%.17g', first), string.format('%.17g', last)}
if newest_first then bounds[1], bounds[2] = bounds[2], bounds[1] end

-- `count` of a list's entries, flat with their times, from `offset` on.
local function entries(key, offset, count)
  if newest_first then
    return redis.call('ZRANGE', key, bounds[1], bounds[2], 'BYSCORE', 'REV', 'LIMIT', offset, count, 'WITHSCORES')
  end
  return redis.call('ZRANGE', key, bounds[1], bounds[2], 'BYSCORE', 'LIMIT', offset, count, 'WITHSCORES')
end

-- Brings a list to its next entry that was on no page before; without one it has no token.
local function advance(list)
  repeat
    list.place = list.place + 2
    if not list.entries[list.place] then
      list.read = list.read + #list.entries / 2
      list.entries, list.place = entries(list.key, list.read, 32), 1
    end
    list.token, list.time = list.entries[list.place], tonumber(list.entries[list.place + 1])
  until not list.token or not after or before(after, list)
end

-- A heap: the list whose next entry comes first is its first.
local lists = {}
local function sink(i)
  while true do
    local best = i
    for child = 2 * i, 2 * i + 1 do
      if lists[child] and before(lists[child], lists[best]) then best = child end
    end
    if best == i then return end
    lists[i], lists[best] = lists[best], lists[i]
    i = best
  end
end

local function open(key, state)
  local found = entries(key, 0, 2)
  if #found == 0 then return end
  local list = {key = key, state = state, read = 0, entries = found, place = -1}
  advance(list)
  if list.token then lists[#lists + 1] = list end
end
states = cjson.decode(states)
for _, group in ipairs(cjson.decode(names)) do
  for _, state in ipairs(states) do
    local key = list_of(state, group)
    open(key, state)
    if state == 'completed' or state == 'failed' then open(key .. ':kept', state) end
  end
end

for i = math.floor(#lists / 2), 1, -1 do sink(i) end

local function row(token, time, state)
  local job = JOBS .. token
  local record = redis.call('HMGET', job, 'envelope', 'made', 'processed_on', 'finished_on', 'failed_reason', 'expires_at')
  -- A job whose age is over is gone, also before it is removed.
  if not record[1] or (record[6] and tonumber(record[6]) <= now) then return nil end
  local due = state == 'delayed' and redis.call('ZSCORE', queue_of(record[1]) .. DELAYED, token)
  local reason = record[5] and string.sub(record[5], 1, REASON_BYTES)
  return {token, time, state, record[1], record[2], record[3], record[4], reason, due}
end

local rows = {}
while lists[1] and #rows < tonumber(limit) do
  local list = lists[1]
  rows[#rows + 1] = row(list.token, string.format('%.17g', list.time), list.state)
  advance(list)
  if not list.token then
    local tail = table.remove(lists)
    if lists[1] then lists[1] = tail end
  end
  sink(1)
end
return rows
