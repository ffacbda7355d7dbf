-- Limits of a node: how many jobs of a handler, or of a pool, it runs at a time. A job over a limit is parked: it waits without a
-- message. When a slot is free, the first of the parked is admitted to it: the slot is kept, and the message goes to the node alone.
-- INCLUDE  record message

-- What a limit is called: a handler's by scope and logical job, a pool's by its queue.
local function limit_of_handler(scope, logical)
  return scope and 'h' .. #scope .. ':' .. scope .. ':' .. logical or 'h:' .. logical
end

local function limit_of_pool(queue)
  return 'p:' .. queue
end

-- What jobs are parked at whose records are of a format that the node does not know.
local function name_of_format(envelope)
  return 'v:' .. format_of(envelope)
end

local function is_known_format(limit)
  local version = string.match(limit, '^v:(%d+)$')
  return version and tonumber(version) <= FORMAT
end

local function limits_of(node) return NODE .. node .. ':limits' end
local function slots_of(node, limit) return NODE .. node .. ':slots:' .. limit end
local function slotted_on(node) return NODE .. node .. ':slotted' end
local function admitted_to(node) return NODE .. node .. ':admitted' end

-- Parks a job: behind those that were admitted before `time`, or without one behind all.
local function park(job, token, queue, limit, time)
  local place = queue .. '\n' .. limit
  redis.call('HSET', job, 'parked', place)
  redis.call('ZADD', PARKED, 0, place)
  redis.call('ZADD', PARKED_AT .. place, time or behind(PARKED_AT .. place), token)
end

local function scope_of(envelope)
  local scope = string.match(envelope, '"scopeKey":"([^"\\]*)"')
  if not scope and string.find(envelope, '"scopeKey":"', 1, true) then scope = cjson.decode(envelope).scopeKey end
  return scope
end

-- Whether a node that is alive has a handler of the scope's own, or no limit for it where that for all scopes has one.
local function has_own_handler(scope, logical)
  for _, node in ipairs(redis.call('ZRANGE', NODES, 0, -1)) do
    if redis.call('HEXISTS', limits_of(node), limit_of_handler(scope, logical)) == 1 then return true end
  end
end

-- The limit at which others are parked that a new job comes under.
local function parked_at(queue, logical, envelope)
  if redis.call('EXISTS', PARKED) == 0 then return nil end
  local scope = scope_of(envelope)
  local limits = {limit_of_handler(nil, logical), limit_of_pool(queue)}
  if scope and has_own_handler(scope, logical) then limits[1] = limit_of_handler(scope, logical) end
  for _, limit in ipairs(limits) do
    if redis.call('ZSCORE', PARKED, queue .. '\n' .. limit) then return limit end
  end
end

local function first_parked(queue, limit)
  return redis.call('ZRANGE', PARKED_AT .. queue .. '\n' .. limit, 0, 0)[1]
end

-- Makes a message that this node alone fetches.
local function hand_to(node, job, queue, token)
  redis.call('ZADD', queue .. WAITING, behind(queue .. WAITING), token)
  redis.call('LPUSH', admitted_to(node), queue .. '\n' .. next_message(job, queue, token))
  wake(NODE .. node)
end

local function has_limit(node, limit)
  return tonumber(redis.call('HGET', limits_of(node), limit) or 0) > 0
end

-- Lets some that are parked at what is no limit any more wait as others do.
local function unpark_some(queue, limit)
  for _ = 1, 100 do
    local token = first_parked(queue, limit)
    if not token then return end
    local job = JOBS .. token
    unpark(job, token)
    put_last(queue, token, next_message(job, queue, token))
  end
end

-- The limits of the node that the job is under: their names; and one that is full, or that others are parked at, if not the one that
-- the job is the first at.
local function limits_over(node, token, queue, envelope, logical, first_at)
  local under = {}
  local scope = scope_of(envelope)
  -- The pool's is the last: a job that waits for its handler is not in the way of the pool's others.
  local names = {limit_of_handler(nil, logical), limit_of_pool(queue), scope and limit_of_handler(scope, logical) or nil}
  local numbers = redis.call('HMGET', limits_of(node), unpack(names))
  -- The handler of the scope goes before that of all scopes, also where it has no limit (0).
  if numbers[3] then names[1], numbers[1] = names[3], numbers[3] end
  for i = 1, 2 do
    local limit, number = names[i], tonumber(numbers[i] or 0)
    if number > 0 then
      local slots = slots_of(node, limit)
      local others = limit ~= first_at and redis.call('EXISTS', PARKED_AT .. queue .. '\n' .. limit) == 1
      if (others or redis.call('SCARD', slots) >= number) and redis.call('SISMEMBER', slots, token) == 0 then
        return under, limit
      end
      under[#under + 1] = limit
    end
  end
  return under
end

local function take(node, token, limits)
  if #limits == 0 then return end
  for _, limit in ipairs(limits) do redis.call('SADD', slots_of(node, limit), token) end
  redis.call('HSET', slotted_on(node), token, table.concat(limits, '\n'))
end

-- Gives free slots of the limit on this node to the parked, in their order. A job gets a slot of each limit that it is under, or none:
-- two that had one each would wait for the other's. Where another limit is full, it is parked there, in its order.
local function admit(node, limit)
  if redis.call('EXISTS', PARKED) == 0 then return end
  local record = redis.call('HMGET', NODE .. node, 'queues', 'consuming')
  if not record[1] or record[2] ~= '1' then return end
  local free = (redis.call('HGET', limits_of(node), limit) or 0) - redis.call('SCARD', slots_of(node, limit))
  local looks = 500
  for _, queue in ipairs(cjson.decode(record[1])) do
    local token = free > 0 and looks > 0 and first_parked(queue, limit)
    while token do
      local job = JOBS .. token
      local time, envelope = redis.call('ZSCORE', PARKED_AT .. queue .. '\n' .. limit, token), redis.call('HGET', job, 'envelope')
      unpark(job, token)
      local limits, full = limits_over(node, token, queue, envelope, logical_of(envelope), limit)
      if full then
        park(job, token, queue, full, time)
      else
        take(node, token, limits)
        hand_to(node, job, queue, token)
        free = free - 1
      end
      looks = looks - 1
      token = free > 0 and looks > 0 and first_parked(queue, limit)
    end
  end
end

-- Frees the slots that a job has on the node, for the next; those of `but`, by their names, stay its own.
local function release(node, token, but)
  local limits = redis.call('HGET', slotted_on(node), token)
  if not limits then return end
  redis.call('HDEL', slotted_on(node), token)
  local freed = {}
  for limit in string.gmatch(limits, '[^\n]+') do
    if not (but and but[limit]) then
      redis.call('SREM', slots_of(node, limit), token)
      freed[#freed + 1] = limit
    end
  end
  for _, limit in ipairs(freed) do admit(node, limit) end
end

-- Frees the slots that are kept for a job which the node will not run: it was cancelled, or its message has gone elsewhere.
local function release_kept(node, token)
  if redis.call('HEXISTS', running_on(node), token) == 0 then release(node, token) end
end

-- Parks a job that the node has fetched, at a limit that is full.
local function park_over(node, job, token, queue, limit, time)
  release(node, token)
  park(job, token, queue, limit, time)
  admit(node, limit)
end

-- Takes a slot of each limit of the node that the job is under. Where one is full, or others are parked at it, the job is parked
-- there. Returns whether it has its slots.
local function take_slots(node, job, token, queue, envelope, logical, time)
  local limits, full = limits_over(node, token, queue, envelope, logical)
  if full then
    park_over(node, job, token, queue, full, time)
    return false
  end
  local still = {}
  for _, limit in ipairs(limits) do still[limit] = true end
  -- One of another limit may have been kept for it: limits change, and a scope's own handler has another than that for all.
  release(node, token, still)
  take(node, token, limits)
  return true
end

-- Removes all slots of a node that is gone.
local function drop_slots(node)
  for _, limits in ipairs(redis.call('HVALS', slotted_on(node))) do
    for limit in string.gmatch(limits, '[^\n]+') do redis.call('DEL', slots_of(node, limit)) end
  end
  redis.call('DEL', limits_of(node), slotted_on(node), NODE .. node .. WAKE)
end
