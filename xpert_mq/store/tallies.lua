-- What was counted in the latest minutes.
-- KEYS  tallies
-- ARGV  minutes
-- RETURNS  {ms of the present minute that are over, {event:logical, count, ...} of the present minute, of the one before, ...}
-- FLAGS  no-writes
-- INCLUDE  record

local minute = math.floor(now / 60000)
local reply = {now - minute * 60000}
for back = 0, minutes - 1 do reply[#reply + 1] = redis.call('HGETALL', tallies .. (minute - back)) end
return reply
