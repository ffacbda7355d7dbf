-- A node that lacks the handler of a job it holds gives it to one that has it. No attempt is spent.
-- KEYS  job
-- ARGV  token nonce node queue scope logical timeout_ms resend
--       scope: '' for none; timeout_ms: how old the other node's last beat may be
-- RETURNS  'done' | 'nobody' | 'lost'
-- FLAGS  allow-oom
-- INCLUDE  record limits

local record = redis.call('HMGET', job, 'state', 'claim', 'gen')
if record[1] ~= 'active' or record[2] ~= nonce then
  return resend == '1' and redis.call('GET', ANSWERS .. nonce) or 'lost'
end

local function has(list, wanted)
  for _, name in ipairs(cjson.decode(list)) do
    if name == wanted then return true end
  end
end

local function serves(other)
  local said = redis.call('HMGET', NODE .. other, 'queues', 'handlers', 'consuming')
  if said[3] ~= '1' or not has(said[1], queue) then return false end
  return has(said[2], limit_of_handler(nil, logical)) or scope ~= '' and has(said[2], limit_of_handler(scope, logical))
end

local able = {}
for _, other in ipairs(redis.call('ZRANGE', NODES, now - timeout_ms, '+inf', 'BYSCORE')) do
  if other ~= node and serves(other) then able[#able + 1] = other end
end
if #able == 0 then return 'nobody' end
local other = able[record[3] % #able + 1]

remember(nonce, 'done', TRY_MS)
local group = group_of(token, logical)
redis.call('HDEL', running_on(node), token)
redis.call('HDEL', job, 'claim')
release(node, token)
unlist('active', group, token)
enlist('waiting', group, token)
hand_to(other, job, queue, token)
return 'done'
